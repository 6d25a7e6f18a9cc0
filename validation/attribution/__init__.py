"""Why a target's gradient differs from the exact one, in numbers.

Files, each importing only from those before it: ``ablation`` (what is measured), ``shapley`` (orders of causes, and what
they average to), ``causes`` (what each approximation of a target contributes), ``changes`` (what sits on samples whose
spikes changed), ``convergence`` (errors over time steps and formats), ``recommendation`` (the cheapest that is good
enough), ``pictures``, ``report``.
"""

from typing import TYPE_CHECKING, Any

from eventsolve.renamed import hint
from validation.attribution.ablation import Ablation as Ablation
from validation.attribution.causes import Attribution as Attribution
from validation.attribution.causes import attribute as attribute

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}{hint(__name__, name)}")
