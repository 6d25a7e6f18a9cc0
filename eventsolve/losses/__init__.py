"""Losses on spike times and on voltages, each with its exact derivative.

A loss is evaluated per sample; ``value_and_grad`` reduces. With t_k the first spike time of output k:

- :class:`TTFSCrossEntropy`         t_l/tau0 + ln sum_k exp(-t_k/tau0) + alpha (exp(t_l/tau1) - 1)
- :class:`FirstSpikeCrossEntropy`   t_l/tau0 + ln sum_k exp(-t_k/tau0) + alpha/(1.01 t_end - t_l)
- :class:`TargetTimeMSE`            1/2 sum_k (t_k - target_k)^2
- :class:`RelativeMSE`              1/2 sum_{k != l} (t_k - t_l - gap)^2
- :class:`SpikeCountLoss`           1/2 sum_j (S_j - target_j)^2, S_j = sum of 1 - t/T over all spikes of j
- :class:`SpikeTimeLoss`            any function of spike times, with its derivative
- :class:`MaxVoltageCrossEntropy`   -ln softmax(max_t V(t))_l
- :class:`MaxVoltageLoss`           any function of max_t V(t), with its derivative
- :class:`SilentHinge`              1/2 sum_j max(0, level_j - max_t V_j(t))^2 over the neurons j that do not spike
- :class:`MeanVoltageCrossEntropy`  -ln softmax(1/T int weight(t) V(t) dt)_l
- :class:`SumVoltageCrossEntropy`   -ln softmax(1/dt int V(t) dt)_l
- :class:`MeanVoltageLoss`          any function of 1/T int weight(t) V(t) dt, with its derivative
- :class:`InstantCrossEntropy`      1/T int -ln softmax(V(t))_l dt
- :class:`TrajectoryMSE`            1/T int 1/2 sum_j (V_j(t) - target_j(t))^2 dt
- :class:`RunningLoss`              1/T int l(V(t), t) dt, any smooth l with its derivative
- :class:`SampledVoltage`           any function of voltages at fixed times, with its derivative
- :class:`Sum`                      a weighted sum of losses

What a loss on spike times does with an output that it reads and that never spikes is its argument ``silent``:

- "raise": a ValueError that names the samples, because the loss is not defined there;
- "skip": those samples get loss 0 and gradient 0 (Wunderlich & Pehle 2021), and still count in a mean;
- "t_end": a silent output counts as one that spikes at t_end, without a gradient of its own.

The samples to which it was applied are reported in ``grads.silent_samples``.
"""

from eventsolve.lazily import attached as _attached
from eventsolve.losses.evaluation import Evaluation as Evaluation
from eventsolve.losses.evaluation import Loss as Loss
from eventsolve.losses.evaluation import Readings as Readings
from eventsolve.losses.evaluation import ReadInPieces as ReadInPieces
from eventsolve.losses.evaluation import VoltageSamples as VoltageSamples
from eventsolve.losses.evaluation import read_at_nodes as read_at_nodes
from eventsolve.losses.spike_times import FirstSpikeCrossEntropy as FirstSpikeCrossEntropy
from eventsolve.losses.spike_times import RelativeMSE as RelativeMSE
from eventsolve.losses.spike_times import SilentOutputError as SilentOutputError
from eventsolve.losses.spike_times import SpikeCountLoss as SpikeCountLoss
from eventsolve.losses.spike_times import SpikeTimeLoss as SpikeTimeLoss
from eventsolve.losses.spike_times import TargetTimeMSE as TargetTimeMSE
from eventsolve.losses.spike_times import TTFSCrossEntropy as TTFSCrossEntropy
from eventsolve.losses.sums import Sum as Sum
from eventsolve.losses.voltages import InstantCrossEntropy as InstantCrossEntropy
from eventsolve.losses.voltages import MaxVoltageCrossEntropy as MaxVoltageCrossEntropy
from eventsolve.losses.voltages import MaxVoltageLoss as MaxVoltageLoss
from eventsolve.losses.voltages import MeanVoltageCrossEntropy as MeanVoltageCrossEntropy
from eventsolve.losses.voltages import MeanVoltageLoss as MeanVoltageLoss
from eventsolve.losses.voltages import RunningLoss as RunningLoss
from eventsolve.losses.voltages import SampledVoltage as SampledVoltage
from eventsolve.losses.voltages import SilentHinge as SilentHinge
from eventsolve.losses.voltages import SumVoltageCrossEntropy as SumVoltageCrossEntropy
from eventsolve.losses.voltages import TrajectoryMSE as TrajectoryMSE

__getattr__, __dir__ = _attached(__name__)
