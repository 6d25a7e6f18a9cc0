"""Is a fault that is planted in a program found where it is, and named?"""

from dataclasses import replace

import numpy as np
import pytest

import eventsolve as es
from validation.fixedpoint import FixedFormat
from validation.spinnaker2 import Arithmetic, SpiNNaker2Core, packetwise, target
from validation.spinnaker2.arithmetic import Calculator, decode
from validation.spinnaker2.faults import Reference, Rules, plain_gradient, raster
from validation.spinnaker2.layer_program import LayerProgram
from validation.spinnaker2.localisation import localised
from validation.spinnaker2.loss_program import LossProgram
from validation.spinnaker2.packets import SpikePackets

DT, T_END = 1e-3, 30e-3
CORE = SpiNNaker2Core(DT, "s16.15")


def problem(seed=0, n_samples=4, scale=1.0):
    """in -> a -> b -> out, of which a and b are alike in size."""
    rng = np.random.default_rng(seed)
    sizes = {"in": 4, "a": 5, "b": 5, "out": 3}
    net = es.Network()
    net.add_input("in", 4)
    for name in ("a", "b", "out"):
        net.add_population(name, sizes[name], es.LIF(20e-3, 5e-3, v_reset=-0.1))
    for pre, post in (("in", "a"), ("a", "b"), ("b", "out")):
        net.connect(pre, post, scale * rng.normal(3.0, 2.0, (sizes[post], sizes[pre])))
    times = [[[float(t) * DT] for t in rng.integers(0, 12, 4)] for _ in range(n_samples)]
    loss = es.losses.TTFSCrossEntropy(
        "out", rng.integers(0, 3, n_samples), tau0=1.5e-3, tau1=0.1, alpha=0.01, silent="t_end"
    )
    return net, {"in": es.SpikeTrains.from_lists(times)}, T_END, loss


# -- faults


class LostReset(LayerProgram):
    def forward(self, step, received):
        sent = super().forward(step, received)
        self._voltage = self.voltages[step].copy()
        return sent


class StepLate(LayerProgram):
    waiting = ()

    def forward(self, step, received):
        now, self.waiting = self.waiting, received
        return super().forward(step, now)


class GradientSign(LayerProgram):
    def gradient_blocks(self):
        return [b._replace(values=-b.values) for b in super().gradient_blocks()]


class TransposedErrors(LayerProgram):
    def summed(self, k, packets, carried):
        block = self._image.afferents[k]
        turned = self._image._replace(afferents=(block._replace(values=block.values.T.copy()),))
        straight, self._image = self._image, turned
        total = super().summed(k, packets, carried)
        self._image = straight
        return total


class PostResetDenominator(LayerProgram):
    def _jump(self, step, lam_v, received):
        _, samples, neurons = self.spikes[step]
        kept = self.voltages[step].copy()
        self.voltages[step][samples, neurons] = self._image.v_reset[neurons]
        super()._jump(step, lam_v, received)
        self.voltages[step] = kept


class DroppedPacket(LayerProgram):
    dropped = False

    def forward(self, step, received):
        if received and not self.dropped:
            self.dropped = True
            first, *others = received
            fewer = SpikePackets(first.population, first.samples[1:], first.neurons[1:])
            received = [fewer, *others] if fewer.samples.size else others
        return super().forward(step, received)


class DroppedErrors(LayerProgram):
    def settled(self, packets, total):
        sent = super().settled(packets, total)
        return sent._replace(payloads=np.where(sent.samples == 0, 0, sent.payloads))


def computing_otherwise(**changes):
    class Other(LayerProgram):
        def __init__(self, population, image, n_samples, n_steps, arithmetic, calculator):
            calculator = Calculator(replace(arithmetic, **changes), 0)
            super().__init__(population, image, n_samples, n_steps, arithmetic, calculator)

    return Other


def loaded_with(network, core, names=("increments", "afferents")):
    class Stale(LayerProgram):
        def __init__(self, population, image, *rest):
            old = core.image(network).layers[population]
            super().__init__(population, image._replace(**{n: getattr(old, n) for n in names}), *rest)

    return Stale


class ErrorSign(LossProgram):
    @property
    def errors(self):
        return -LossProgram.errors.func(self)


def suspect(monkeypatch, core, case, layer=None, program=None, loss=None, gradients=None):
    """The record of a core whose program of one layer, or of the loss, or whose optimizer is another one."""

    def chosen(population, *rest):
        return (program if population == layer else LayerProgram)(population, *rest)

    with monkeypatch.context() as patch:
        if program is not None:
            patch.setattr(packetwise, "LayerProgram", chosen)
        if loss is not None:
            patch.setattr(packetwise, "LossProgram", loss)
        if gradients is not None:
            patch.setattr(target, "sample_gradients", gradients)
        return core.run_packet_by_packet(es.Problem(*case))


CASE = problem()
OLD = problem(seed=9)[0]
NARROW = SpiNNaker2Core(DT, replace(Arithmetic.preset("s16.15"), state=FixedFormat(4, 15)))
STRONG = problem(seed=1, scale=2.0)


def without_tau_syn(block, error_scale):
    return np.swapaxes(decode(block.values, block.number), 1, 2) * (-1.0 / error_scale)


PLANTED = [
    ("wrong sign", "a", {"program": GradientSign}, ("layer", "a", "gradient"), "a factor -1"),
    ("wrong sign", "out", {"loss": ErrorSign}, ("loss", "out", "loss errors"), "a factor -1"),
    ("lost reset", "a", {"program": LostReset}, ("layer", "a", "voltage"), "a lost reset"),
    ("lost reset", "out", {"program": LostReset}, ("layer", "out", "voltage"), "a lost reset"),
    ("off-by-one step", "out", {"program": StepLate}, ("layer", "out", "current"), "arrivals a step late"),
    ("off-by-one step", "b", {"program": StepLate}, ("layer", "b", "current"), "arrivals a step late"),
    ("stale weights", "b", {"program": loaded_with(OLD, CORE)}, ("layer", "b", "current"), "stale weights"),
    (
        "stale weights",
        "b",
        {"program": loaded_with(OLD, CORE, ("afferents",))},
        ("layer", "b", "error packets"),
        "stale weights",
    ),
    ("transposed", "b", {"program": TransposedErrors}, ("layer", "b", "error packets"), "transposed weights"),
    (
        "missing tau_syn",
        "",
        {"gradients": without_tau_syn},
        ("optimizer", "", "gradient"),
        "a factor 1/tau_syn",
    ),
    ("dropped packet", "b", {"program": DroppedPacket}, ("layer", "b", "current"), "a lost packet"),
    (
        "dropped packet",
        "out",
        {"program": DroppedErrors},
        ("layer", "out", "error packets"),
        "lost error packets",
    ),
    (
        "wrapped overflow",
        "a",
        {"program": computing_otherwise(overflow="wrap"), "core": NARROW, "case": STRONG},
        ("layer", "a", "current"),
        "overflow 'wrap' in place of 'saturate'",
    ),
    (
        "wrong rounding",
        "b",
        {"program": computing_otherwise(rounding="down")},
        ("layer", "b", "voltage"),  # the first current is a sum of weights, which is exact
        "rounding 'down' in place of 'half_up'",
    ),
    (
        "denominator",
        "b",
        {"program": PostResetDenominator},
        ("layer", "b", "adjoint"),
        "a denominator from the voltage after the reset",
    ),
    (
        "denominator",
        "out",
        {"program": PostResetDenominator},
        ("layer", "out", "adjoint"),
        "a denominator from the voltage after the reset",
    ),
]


@pytest.mark.parametrize(
    ("layer", "options", "where", "words"), [p[1:] for p in PLANTED], ids=[f"{p[0]}-{p[1]}" for p in PLANTED]
)
def test_a_planted_fault_is_found_and_named(monkeypatch, layer, options, where, words):
    options = dict(options)
    core, case = options.pop("core", CORE), options.pop("case", CASE)
    got = suspect(monkeypatch, core, case, layer, **options)
    found = localised(core, es.Problem(*case), got, previous=OLD)
    assert (found.program, found.layer, found.quantity) == where
    assert any(words in look for look in found.looks_like), str(found)


def test_ten_kinds_are_planted():
    assert len({name for name, *_ in PLANTED}) == 10


@pytest.mark.parametrize("core", [CORE, SpiNNaker2Core(DT, "float32")])
def test_nothing_is_found_where_nothing_is_wrong(core):
    assert (
        localised(core, es.Problem(*CASE), core.run_packet_by_packet(es.Problem(*CASE)), previous=OLD) is None
    )


def test_the_plain_adjoint_gives_the_models_gradient():
    """In float64, from recorded spikes and states alone, but for the model's guard: 1e-10 of every denominator.

    An adjoint passes one denominator per spike of its neuron on the way back.
    """
    core = SpiNNaker2Core(DT, "float64")
    case = Reference.of(core, es.Problem(*CASE), None)
    slopes = min(
        (t.current - t.voltage)[raster(case.expected, name, case.n_steps, DT)].min()
        for name, t in case.expected.traces.items()
    )
    n_passed = sum(case.expected.spikes[name].counts().max() for name in case.expected.traces)
    for key, want in case.expected.weight.items():
        bound = 2 * n_passed * 1e-10 / slopes * np.abs(want).max()
        assert np.abs(plain_gradient(case, key, Rules()) - want).max() <= bound
        assert np.abs(want).max() > 0


def test_traces_are_needed():
    got = replace(CORE, traces=False).run(es.Problem(*CASE))
    with pytest.raises(ValueError, match="traces of 'a' are needed to localise a fault"):
        localised(CORE, es.Problem(*CASE), got)
    short = CORE.run(es.Problem(CASE[0], CASE[1], 20e-3, CASE[3]))
    with pytest.raises(ValueError, match=r"traces of 'a' must have shape \(4, 5, 30\); got \(4, 5, 20\)"):
        localised(CORE, es.Problem(*CASE), short)
