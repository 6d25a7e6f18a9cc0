"""Certificates: a solution, or a claim from elsewhere, proven spike by spike in ball arithmetic.

What is proven, under which assumptions and how, is in docs/concepts/certificates.md. In short: :mod:`arithmetic` alone
compares, :mod:`membrane` has the closed form between events, :mod:`crossing` decides an interval, :mod:`neuron` a cell
and :mod:`network` a sample of a problem in a box (:mod:`boxes`). :mod:`gradient` and :mod:`losses` enclose gradients,
:mod:`coincidences` says where these have two sides,
:mod:`claims` holds what is claimed against what is proven, :mod:`samples` does all that for a batch, and
:mod:`certificate` is the record of it. :mod:`rhythms` has the equations of a periodic orbit, and :mod:`orbits` proves
one, as docs/concepts/orbits.md says. Nothing is shared with the float64 kernels or the multiprecision solver.
"""

from eventsolve.certify.arithmetic import Enclosures as Enclosures
from eventsolve.certify.arithmetic import Undecided as Undecided
from eventsolve.certify.certificate import Certificate as Certificate
from eventsolve.certify.certificate import certify as certify
from eventsolve.certify.claims import GradientEnclosures as GradientEnclosures
from eventsolve.certify.claims import Mismatch as Mismatch
from eventsolve.certify.claims import Refutation as Refutation
from eventsolve.certify.orbits import OrbitCertificate as OrbitCertificate
from eventsolve.certify.orbits import certify_orbit as certify_orbit
from eventsolve.certify.samples import OneSidedEnclosure as OneSidedEnclosure
from eventsolve.certify.samples import OpenQuestion as OpenQuestion
from eventsolve.lazily import attached as _attached

__getattr__, __dir__ = _attached(__name__)
