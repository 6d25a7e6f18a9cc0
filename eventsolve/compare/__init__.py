"""One result beside another: which spikes pair, how well numbers agree, and where the two part first.

The same rule everywhere, in :mod:`eventsolve.testing` as in the command line's reports: among all pairings of the
spikes of a neuron that keep their order and pair none further apart than a window, one with the most pairs and then the
smallest shifts. What has no partner is missed or extra.
"""

from eventsolve.compare.agreement import Agreement as Agreement
from eventsolve.compare.agreement import Split as Split
from eventsolve.compare.agreement import agreement as agreement
from eventsolve.compare.comparison import Comparison as Comparison
from eventsolve.compare.comparison import GradientComparison as GradientComparison
from eventsolve.compare.comparison import Stage as Stage
from eventsolve.compare.comparison import WorstSpike as WorstSpike
from eventsolve.compare.comparison import worst_spike as worst_spike
from eventsolve.compare.divergence import Divergence as Divergence
from eventsolve.compare.matching import SpikeMatch as SpikeMatch
from eventsolve.compare.matching import match_spikes as match_spikes
from eventsolve.compare.records import compare as compare
from eventsolve.lazily import attached as _attached

__getattr__, __dir__ = _attached(__name__)
