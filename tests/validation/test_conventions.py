"""Factors between other people's numbers and ours: those that can be run here are what they are said to be."""

import numpy as np
import pytest

import eventsolve as es
from validation import conventions

TAU_MEM, TAU_SYN = 20e-3, 5e-3


def one_neuron():
    """Return its first spike time and dt/dw, for weights 6 and 5 with spikes at 1 and 3 ms."""
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("out", 1, es.LIF(TAU_MEM, TAU_SYN))
    net.connect("in", "out", [[6.0, 5.0]])
    solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[1e-3], [3e-3]]])}, 30e-3)
    gradient = es.vjp(solution, {"out": np.arange(solution.spikes["out"].n_spikes) == 0}).weight["in", "out"]
    return solution.spikes["out"].times[0], gradient


def test_each_convention_is_named_once_and_has_a_source():
    names = [(c.system, c.readout) for c in conventions.CONVENTIONS]
    assert len(set(names)) == len(names)
    for convention in conventions.CONVENTIONS:
        assert convention.source
        assert (convention.gradient_factor is None) == (convention.formula == "none")
        assert convention.gradient_factor or convention.remark


def test_factors_are_their_formulas():
    """Each formula, read as arithmetic, gives the factor."""
    constants = {"tau_mem": 20e-3, "tau_syn": 5e-3, "time_step": 0.1e-3, "t_end": 60e-3}
    names = {"tau_mem": 20e-3, "tau_syn": 5e-3, "dt": 0.1e-3, "T": 60e-3, "exp": np.exp}
    for c in conventions.CONVENTIONS:
        if c.gradient_factor is not None:
            formula = c.formula.replace(" T", "*T")
            want = eval(formula, {"__builtins__": {}}, names)
            np.testing.assert_allclose(c.gradient([[3.0]], **constants), [[3.0 * want]], rtol=1e-12)


def test_a_factor_per_neuron_scales_the_rows():
    tau_mem = np.array([10e-3, 20e-3])
    theirs = np.ones((4, 2, 3))
    exact = conventions.of("norse", "adjoint").gradient(theirs, tau_mem=tau_mem, tau_syn=TAU_SYN)
    np.testing.assert_array_equal(exact, np.broadcast_to(-TAU_SYN / tau_mem[:, None], (4, 2, 3)))


def test_what_has_no_factor_and_what_lacks_a_constant_say_so():
    with pytest.raises(
        ValueError, match=r"snnTorch \(any\) has no gradient that a factor makes exact: surrogate"
    ):
        conventions.of("snnTorch", "any").gradient([[1.0]], tau_mem=1.0)
    with pytest.raises(
        ValueError, match=r"tau_mem T/dt, needs more than \['tau_mem'\]; not given are \['tau_syn', "
    ):
        conventions.of("mlGeNN", "SumVar").gradient([[1.0]], tau_mem=20e-3)
    with pytest.raises(
        ValueError, match=r"there is no convention of mlGeNN \(Loudest\); there are eventprop"
    ):
        conventions.of("mlGeNN", "Loudest")


def test_the_factors_of_delgrad_are_those_of_its_closed_form():
    """Göltz et al. 2021, eq. 12, with C = 1 and g_leak = 1/tau_mem: the first spike where tau_mem = 2 tau_syn."""
    tau_mem, tau_syn = 10e-3, 5e-3
    times, theirs = np.array([1e-3, 3e-3]) / tau_syn, np.array([3.0, 2.5])

    def first_spike(weight):
        a1, a2 = weight @ np.exp(times), weight @ np.exp(times / 2)
        return 2 * np.log(2 * a1 / (a2 + np.sqrt(a2**2 - 4 * a1 * tau_syn / tau_mem))) * tau_syn

    convention = conventions.of("DelGrad", "first spike times")
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("out", 1, es.LIF(tau_mem, tau_syn))
    net.connect("in", "out", convention.weight([theirs], tau_mem=tau_mem, tau_syn=tau_syn))
    solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[1e-3], [3e-3]]])}, 30e-3)
    assert solution.spikes["out"].times[0] == pytest.approx(first_spike(theirs), rel=1e-14, abs=0.0)
    step = 1e-5  # central differences: errors of step**2 and eps / step, both near 1e-10
    slopes = [[(first_spike(theirs + h) - first_spike(theirs - h)) / (2 * step) for h in step * np.eye(2)]]
    exact = es.vjp(solution, {"out": np.arange(solution.spikes["out"].n_spikes) == 0}).weight["in", "out"]
    got = convention.gradient(slopes, tau_mem=tau_mem, tau_syn=tau_syn)
    np.testing.assert_allclose(got, exact, rtol=1e-8)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:FutureWarning")
def test_the_factor_of_norses_adjoint():
    pytest.importorskip("norse.torch", reason="Norse is not installed")
    import torch
    from norse.torch.functional.adjoint.lif_adjoint import lif_feed_forward_adjoint_step
    from norse.torch.functional.lif import LIFFeedForwardState, LIFParameters

    _, exact = one_neuron()
    parameters = LIFParameters(
        tau_syn_inv=torch.tensor(1 / TAU_SYN, dtype=torch.float64),
        tau_mem_inv=torch.tensor(1 / TAU_MEM, dtype=torch.float64),
    )
    errors = []
    for step in (1e-4, 2.5e-5):
        weight = torch.tensor([[6.0, 5.0]], dtype=torch.float64, requires_grad=True)
        nothing = torch.zeros(1, 1, dtype=torch.float64)
        state, rows = LIFFeedForwardState(nothing, nothing), []
        for k in range(round(6e-3 / step)):
            fired = torch.tensor([[k == round(1e-3 / step), k == round(3e-3 / step)]], dtype=torch.float64)
            spikes, state = lif_feed_forward_adjoint_step(fired @ weight.T, state, parameters, step)
            rows.append(spikes)
        raster = torch.cat(rows)[:, 0]
        raster[int(torch.argmax(raster.detach()))].backward()  # an error of 1 at the first spike
        converted = conventions.of("norse", "adjoint").gradient(weight.grad, tau_mem=TAU_MEM, tau_syn=TAU_SYN)
        errors.append(np.abs(converted / exact - 1).max())
    assert errors[0] < 0.1
    assert errors[1] < 0.5 * errors[0]  # of first order: a quarter


def test_the_factor_of_a_loss_in_steps():
    """An error per step instead of per second gives dt times the gradient; so does the published code."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from validation.torch_eventprop import _constants, _EventProp

    _, exact = one_neuron()
    net = es.Network()
    net.add_population("out", 1, es.LIF(TAU_MEM, TAU_SYN))
    errors = []
    for step in (1e-4, 2.5e-5):
        weight = torch.tensor([[6.0, 5.0]], dtype=torch.float64, requires_grad=True)
        arriving = torch.zeros(round(6e-3 / step), 1, 2, dtype=torch.float64)
        arriving[round(1e-3 / step), 0, 0] = arriving[round(3e-3 / step), 0, 1] = 1.0
        raster = _EventProp.apply(arriving, weight, *_constants(net, "out", step, torch.float64))
        index = int(torch.argmax(raster.detach()[:, 0, 0]))
        raster[index, 0, 0].backward()  # L = t / dt, in steps: dL/dt = 1 per step, and dL/dw = dt/dw / dt
        in_steps = exact / step
        theirs = weight.grad.numpy()
        converted = conventions.of("pytorch-eventprop", "SpikeCE in steps").gradient(theirs, time_step=step)
        errors.append(np.abs(converted / in_steps - 1).max())
    assert errors[0] < 0.1
    assert errors[1] < 0.5 * errors[0]


def test_the_weight_of_snntorch_is_driven_by_one_minus_beta():
    """The charge of a spike, the integral of V without a threshold, is w tau_syn in either convention."""
    step = 1e-5
    alpha, beta = np.exp(-step / TAU_SYN), np.exp(-step / TAU_MEM)
    theirs = 1.0
    current = theirs * alpha ** np.arange(40_000)
    voltage, total = 0.0, 0.0
    for i in current:
        voltage = beta * voltage + i
        total += voltage * step
    ours = conventions.of("snnTorch", "any").weight(1.0, tau_mem=TAU_MEM, time_step=step)
    assert total == pytest.approx(ours * TAU_SYN, rel=step / TAU_SYN, abs=0.0)
