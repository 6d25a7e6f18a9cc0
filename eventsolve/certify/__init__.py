"""Certificates: a solution, or a claim from elsewhere, proven spike by spike in ball arithmetic.

What is proven, under which assumptions and how, is in docs/concepts/certificates.md. In short: :mod:`balls` alone
compares, :mod:`flow` has the closed form between events, :mod:`crossing` decides an interval, :mod:`cells` a neuron,
:mod:`forward` a sample, and :mod:`claims` holds the result against what is claimed; :mod:`lives` and :mod:`adjoint`
enclose gradients. :mod:`rhythms` has the equations of a periodic orbit, and :mod:`orbits` proves one, as
docs/concepts/orbits.md says. Nothing is shared with the float64 kernels or the multiprecision solver.
"""

from eventsolve.certify.balls import Undecided as Undecided
from eventsolve.certify.certificate import Certificate as Certificate
from eventsolve.certify.certificate import certify as certify
from eventsolve.certify.claims import Refutation as Refutation
from eventsolve.certify.enclosures import Enclosures as Enclosures
from eventsolve.certify.gradients import GradientEnclosures as GradientEnclosures
from eventsolve.certify.gradients import Misfit as Misfit
from eventsolve.certify.orbits import OrbitCertificate as OrbitCertificate
from eventsolve.certify.orbits import certify_orbit as certify_orbit
from eventsolve.certify.samples import Doubt as Doubt
