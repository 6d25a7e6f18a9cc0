"""Why a target's gradient differs from the exact one, in numbers.

Files, each importing only from those before it: ``study`` (what is measured), ``shapley`` (orders of causes, and what
they average to), ``causes`` (what each approximation of a target contributes), ``changes`` (what sits on samples whose
spikes changed), ``convergence`` (errors over time steps and formats), ``recommendation`` (the cheapest that is good
enough), ``pictures``, ``report``.
"""

from validation.attribution.causes import Attribution as Attribution
from validation.attribution.causes import attribute as attribute
from validation.attribution.study import Study as Study
