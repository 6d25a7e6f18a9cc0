"""Why a target's gradient differs from the exact one, in numbers.

Each file imports only from those before it: ``ablation`` (what is measured), ``shapley`` (orders of causes, and means
over them), ``causes`` (what each approximation of a target contributes), ``changes`` (which part of an error sits on
samples whose spikes changed), ``convergence`` (errors over time steps and formats), ``recommendation`` (the cheapest
setting that is good enough), ``report``, ``pictures``.
"""

from typing import TYPE_CHECKING, Any

from eventsolve.renamed import missing
from validation.attribution.ablation import Ablation as Ablation
from validation.attribution.causes import Attribution as Attribution
from validation.attribution.causes import attribute as attribute

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        raise missing(__name__, name)
