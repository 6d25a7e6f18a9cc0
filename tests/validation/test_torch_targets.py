"""PyTorch modules as implementations under test: the exact one, a published discretised one, and snnTorch's."""

import numpy as np
import pytest

import eventsolve as es
from eventsolve.compare import compare
from validation.grid import TimeStepped
from validation.oracle import oracle
from validation.spinnaker2 import SpiNNaker2Core

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
from eventsolve.adapters.torch import ExactModule  # noqa: E402
from validation.torch_eventprop import TorchEventProp, _constants  # noqa: E402
from validation.torch_targets import RasterTarget, TimesTarget  # noqa: E402

LABELS = np.array([0, 1, 1, 0])
T_END = 40e-3


def problem(seed=0, n_samples=4):
    """in -> hidden -> out with a skip connection; inputs on a grid of 1 ms, and silent outputs count as t_end."""
    rng = np.random.default_rng(seed)
    net = es.Network()
    net.add_input("in", 4)
    net.add_population("hidden", 6, es.LIF(20e-3, 5e-3, v_threshold=rng.uniform(0.9, 1.1, 6), v_reset=-0.1))
    net.add_population("out", 2, es.LIF(20e-3, 5e-3))
    net.connect("in", "hidden", rng.normal(4.0, 2.0, (6, 4)))
    net.connect("hidden", "out", rng.normal(2.0, 1.0, (2, 6)))
    net.connect("in", "out", rng.normal(0.5, 0.5, (2, 4)))
    trains = es.SpikeTrains.from_dense(
        np.array([rng.permutation(12)[:8].reshape(4, 2) for _ in range(n_samples)]) * 1e-3
    )
    loss = es.losses.TTFSCrossEntropy("out", LABELS, tau0=1.5e-3, tau1=100e-3, alpha=0.01, silent="t_end")
    return net, {"in": trains}, T_END, loss


def exact_module(network):
    module = ExactModule(network, T_END, outputs=("hidden", "out"))
    return module, {key: module.weight["->".join(key)] for key in network.projections}


def test_the_exact_module_is_the_oracle():
    given = problem()
    record, exact = (
        TimesTarget("exact, in torch", exact_module).run(es.Problem(*given)),
        oracle(es.Problem(*given)),
    )
    comparison = compare(exact, record, window=1e-9)
    assert comparison.missed == comparison.extra == 0
    for name in ("hidden", "out"):
        np.testing.assert_array_equal(record.spikes[name].times, exact.spikes[name].times)
    np.testing.assert_allclose(record.loss_values, exact.loss_values, rtol=1e-12)
    for key, gradient in exact.weight.items():
        np.testing.assert_allclose(record.weight[key], gradient, rtol=0, atol=1e-12 * np.abs(gradient).max())
    slopes = exact.spike_times["in"]
    np.testing.assert_allclose(record.spike_times["in"], slopes, rtol=0, atol=1e-12 * np.abs(slopes).max())


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_eventprop_in_torch_is_the_core_number_by_number(seed):
    """Two programs of the same equations: tensors of whole layers here, packet after packet there."""
    given = problem(seed)
    record = TorchEventProp(1e-3, torch.float64).run(es.Problem(*given))
    core = SpiNNaker2Core(1e-3, "float64", decay="exponential").run(es.Problem(*given))
    for name in ("hidden", "out"):
        assert core.spikes[name].n_spikes > 5
        np.testing.assert_array_equal(record.spikes[name].times, core.spikes[name].times)
        np.testing.assert_array_equal(record.spikes[name].neurons, core.spikes[name].neurons)
    np.testing.assert_allclose(record.loss_values, core.loss_values, rtol=1e-12)
    for key, gradient in core.weight.items():
        assert gradient.any()
        # sums of a few hundred products in another order
        np.testing.assert_allclose(record.weight[key], gradient, rtol=0, atol=1e-12 * np.abs(gradient).max())
    errors = core.spike_times["in"]
    np.testing.assert_allclose(record.spike_times["in"], errors, rtol=0, atol=1e-12 * np.abs(errors).max())


def calm(seed):
    """in -> hidden -> out with few spikes, none of which is close to appearing or vanishing."""
    rng = np.random.default_rng(seed)
    net = es.Network()
    net.add_input("in", 4)
    net.add_population("hidden", 6, es.LIF(rng.uniform(10e-3, 30e-3, 6), 5e-3))
    net.add_population("out", 2, es.LIF(20e-3, 5e-3))
    net.connect("in", "hidden", rng.normal(3.0, 1.0, (6, 4)))
    net.connect("hidden", "out", rng.normal(1.5, 0.5, (2, 6)))
    times = rng.permuted(np.tile(np.arange(8) * 1e-3, (4, 1)), axis=1)[:, :4]
    return net, {"in": es.SpikeTrains.from_dense(times)}, T_END, problem()[3]


@pytest.mark.parametrize("seed", [7, 11])
def test_eventprop_in_torch_converges_to_the_oracle(seed):
    given = calm(seed)
    exact = oracle(es.Problem(*given))
    errors, shifts = [], []
    for step in (8e-5, 2e-5):
        comparison = compare(exact, TorchEventProp(step, torch.float64).run(es.Problem(*given)), window=2e-3)
        assert comparison.missed == comparison.extra == 0
        shifts.append(max(m.max_shift for m in comparison.computed))
        errors.append(max(w.mean.relative_error for w in comparison.weight.values()))
    assert shifts[1] < 0.5 * shifts[0]  # of first order: a quarter
    assert errors[1] < 0.5 * errors[0]


class Raster(torch.nn.Module):
    """A user's module: one step per row, spikes that are exact on the grid, gradients by a steep sigmoid."""

    def __init__(self, network):
        super().__init__()
        self.fc = torch.nn.Linear(4, 6, bias=False)
        self.down = torch.nn.Linear(6, 2, bias=False)
        self.skip = torch.nn.Linear(4, 2, bias=False)
        self.thresholds = [
            torch.tensor(network.population(n).parameter("v_threshold")).float() for n in ("hidden", "out")
        ]

    def layer(self, arriving, threshold, reset):
        voltage, current, rows = torch.zeros_like(arriving[0]), torch.zeros_like(arriving[0]), []
        for row in arriving:
            current = 0.98 * current + row
            voltage = 0.995 * voltage + 0.005 * current
            soft = torch.sigmoid(25 * (voltage - threshold))
            fired = (voltage > threshold).float() + soft - soft.detach()
            voltage = torch.where(fired.detach() > 0, reset, voltage)
            rows.append(fired)
        return torch.stack(rows)

    def forward(self, rasters):
        hidden = self.layer(self.fc(rasters["in"]), self.thresholds[0], -0.1)
        out = self.layer(self.down(hidden) + self.skip(rasters["in"]), self.thresholds[1], 0.0)
        return {"hidden": hidden, "out": out}


def raster_module(network):
    module = Raster(network)
    keys = (("in", "hidden"), ("hidden", "out"), ("in", "out"))
    return module, dict(zip(keys, (p.weight for p in (module.fc, module.down, module.skip)), strict=True))


def test_rasters_have_the_spikes_of_their_grid_and_the_gradients_of_torch():
    given = problem()
    record = RasterTarget("mine", raster_module, 0.1e-3, first_step=1).run(es.Problem(*given))
    first = record.spikes["out"].first()
    rows = np.arange(4)
    shown = np.where(np.isfinite(first), first, T_END)
    want = shown[rows, LABELS] / 1.5e-3 + np.log(np.exp(-shown / 1.5e-3).sum(axis=1))
    np.testing.assert_allclose(
        record.loss_values, want + 0.01 * np.expm1(shown[rows, LABELS] / 100e-3), rtol=1e-12
    )
    assert record.spike_times == {}
    for key, gradient in record.weight.items():
        assert gradient.shape == (4, *given[0].projections[key].weight.shape)
        assert gradient.any()
        assert np.isfinite(gradient).all()


def test_the_rows_of_a_raster_are_steps():
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("out", 2, es.LIF(20e-3, 5e-3))
    net.connect("in", "out", np.eye(2))

    def build(network):
        weight = torch.zeros(2, 2, requires_grad=True)
        return lambda rasters: {"out": rasters["in"] @ weight.T}, {("in", "out"): weight}

    trains = es.SpikeTrains.from_lists([[[2e-3, 5e-3], [4e-3]]])
    loss = es.losses.TTFSCrossEntropy("out", [1], tau0=1e-3, tau1=1e-2, alpha=0.0)
    record = RasterTarget("copy", build, 1e-3, first_step=3).run(es.Problem(net, {"in": trains}, 10e-3, loss))
    assert record.spikes["in"].to_lists() == trains.to_lists()
    assert record.spikes["out"].to_lists() == [[[5e-3, 8e-3], [7e-3]]]
    # with s the raster, t_1 = h sum_k prod_{j <= k} (1 - s[j]); its derivative by s[2] and s[5] is that of a product
    share = 1 / (1 + np.exp((5e-3 - 7e-3) / 1e-3))
    slopes = np.array([-share, share]) / 1e-3  # of t_1 + ... by t_0 and t_1
    lost = -1e-3 * np.array(
        [5 - 2, 10 - 4]
    )  # steps that s[2] and s[4] cut off, until the next spike or the end
    np.testing.assert_allclose(np.diag(record.weight["in", "out"][0]), slopes * lost, rtol=1e-6)


def test_per_sample_gradients_are_those_of_the_sample_alone():
    net, inputs, t_end, loss = problem()
    target = RasterTarget("mine", raster_module, 0.5e-3, first_step=1)
    together = target.run(es.Problem(net, inputs, t_end, loss))
    for sample in range(4):
        alone = es.losses.TTFSCrossEntropy(
            "out", LABELS[[sample]], tau0=1.5e-3, tau1=100e-3, alpha=0.01, silent="t_end"
        )
        record = target.run(es.Problem(net, {"in": inputs["in"].select([sample])}, t_end, alone))
        for key, gradient in together.weight.items():
            scale = np.abs(gradient[sample]).max()
            # single precision, summed over another batch
            np.testing.assert_allclose(record.weight[key][0], gradient[sample], rtol=0, atol=1e-4 * scale)


def test_snntorch_converges_in_its_spikes_and_says_that_its_gradients_are_surrogates():
    pytest.importorskip("snntorch", reason="snnTorch is not installed")
    from validation.snntorch import SnnTorch

    given = calm(7)
    exact, shifts = oracle(es.Problem(*given)), []
    for step in (8e-5, 3.2e-5):
        target = SnnTorch(step)
        assert "surrogate gradients" in target.name
        record = target.run(es.Problem(*given))
        comparison = compare(exact, record, window=2e-3)
        assert comparison.missed == comparison.extra == 0
        shifts.append(max(m.max_shift for m in comparison.computed))
        assert all(g.any() and np.isfinite(g).all() for g in record.weight.values())
    assert shifts[1] < 0.5 * shifts[0]


def test_what_a_module_lacks_is_named():
    net, inputs, t_end, loss = problem()

    def run(change, module=None):
        def build(network):
            own, weights = exact_module(network)
            return module or own, change(weights)

        TimesTarget("x", build).run(es.Problem(net, inputs, t_end, loss))

    with pytest.raises(ValueError, match="build must return weights for"):
        run(lambda weights: {})
    with pytest.raises(ValueError, match=r"must have shape \(n_post, n_pre\) = \(6, 4\); got \(4, 6\)"):
        run(lambda weights: weights | {("in", "hidden"): torch.zeros(4, 6)})
    with pytest.raises(ValueError, match="the module gives no spikes of 'out'"):
        run(lambda weights: weights, lambda times: {"hidden": torch.zeros(4, 6, 0)})
    with pytest.raises(ValueError, match="time_step must be finite and > 0; got 0"):
        RasterTarget("x", raster_module, 0)
    with pytest.raises(ValueError, match="time_step must be finite and > 0; got -1"):
        TorchEventProp(-1)


@pytest.mark.parametrize(
    ("neuron", "settings", "sentence"),
    [
        ({"t_ref": 1e-3}, {}, "t_ref of population 'out' must be 0"),
        ({"v_leak": 0.5}, {}, "v_leak of population 'out' must be 0"),
        ({"i_initial": 0.5}, {}, "i_initial of population 'out' must be 0"),
        ({}, {"delay": 1e-3}, r"delay of \('in', 'out'\) must be 0"),
    ],
)
def test_what_eventprop_in_torch_cannot_represent_is_refused(neuron, settings, sentence):
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("out", 2, es.LIF(20e-3, 5e-3, **neuron))
    net.connect("in", "out", [[9.0], [8.0]], **settings)
    loss = es.losses.TTFSCrossEntropy("out", [0], tau0=1e-3, tau1=1e-3, alpha=0.0)
    with pytest.raises(ValueError, match=sentence):
        TorchEventProp(1e-3).run(es.Problem(net, {"in": es.SpikeTrains.from_lists([[[0.0]]])}, 20e-3, loss))


def test_a_finer_grid_brings_no_target_further_from_the_time_stepped_one():
    """With exact propagators and without the transport delay the errors are smaller, not of another kind."""
    given = problem(1)
    exact = oracle(es.Problem(*given))
    step = 2e-5
    ours, theirs = (
        max(
            w.mean.relative_error
            for w in compare(exact, t.run(es.Problem(*given)), window=2e-3).weight.values()
        )
        for t in (TimeStepped(step), TorchEventProp(step, torch.float64))
    )
    assert ours < theirs


def test_what_decays_leave_is_rounded_from_float64_as_in_the_published_code():
    net = es.Network()
    net.add_population("out", 1, es.LIF(20e-3, 5e-3))
    alpha, beta, rests, *_ = _constants(net, "out", 10e-6, torch.float32)
    assert [float(alpha), float(beta)] == [float(np.float32(np.exp(-10e-6 / tau))) for tau in (5e-3, 20e-3)]
    assert rests[:, 0].tolist() == [float(np.float32(1 - np.exp(-10e-6 / tau))) for tau in (5e-3, 20e-3)]
    assert (rests[:, 0] != torch.stack([1 - alpha[0], 1 - beta[0]])).all()  # what float32 would make of them
