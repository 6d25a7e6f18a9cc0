"""The PyTorch module: what torch differentiates by it is what eventsolve solves."""

import numpy as np
import pytest
from readouts import VOLTAGE_TIMES, readout_problem

import eventsolve as es

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
from eventsolve.adapters.arrays import QUANTITIES  # noqa: E402
from eventsolve.adapters.torch import ExactModule  # noqa: E402


def classifier(seed=0, n_samples=4):
    rng = np.random.default_rng(seed)
    net = es.Network()
    net.add_input("in", 3)
    net.add_population("hidden", 6, es.LIF(20e-3, 5e-3))
    net.add_population("out", 2, es.LIF(20e-3, 5e-3))
    net.connect("in", "hidden", rng.normal(4.0, 2.0, (6, 3)))
    net.connect("hidden", "out", rng.normal(2.5, 1.0, (2, 6)), delay=1e-3)
    return net, rng.uniform(0, 10e-3, (n_samples, 3))


@pytest.mark.parametrize("seed", [4, 8])
def test_gradcheck(seed):
    """By every parameter and every input time, in units in which all are of order 1."""
    net, times, t_end = readout_problem(seed)
    settings = {"outputs": ("a", "b", "read"), "voltage_times": VOLTAGE_TIMES}
    module = ExactModule(net, t_end, trainable=QUANTITIES, **settings)
    kept = [name for name, p in module.named_parameters() if not name.startswith("t_ref") or p.all()]
    scales = [1.0 if name.startswith(("w", "v", "i")) else 1e-3 for name in kept]
    start = [module.get_parameter(name).detach() for name in kept]
    finite = torch.from_numpy(np.isfinite(times))

    def results(*moves):
        moved = {n: p + s * m for n, p, s, m in zip(kept, start, scales, moves[:-1], strict=True)}
        inputs = torch.where(finite, torch.from_numpy(times) + 1e-3 * moves[-1], torch.inf)
        found = torch.func.functional_call(module, moved, ({"in": inputs},))
        return torch.cat(
            [1e3 * found[n][torch.isfinite(found[n])] for n in ("a", "b")] + [found["read"].flatten()]
        )

    moves = [torch.zeros_like(p, requires_grad=True) for p in start]
    moves.append(torch.zeros(times.shape, dtype=torch.float64, requires_grad=True))
    assert results(*moves).numel() > 12
    # times in ms are known to 1e-11, over steps of 2e-5; truncation is of second order in the step
    assert torch.autograd.gradcheck(results, moves, eps=1e-5, atol=1e-5, rtol=1e-5)


def test_a_loss_written_in_torch_has_the_gradient_of_the_loss_here():
    net, times = classifier()
    labels = torch.tensor([0, 1, 1, 0])
    module = ExactModule(net, 60e-3, trainable=("weight", "delay"))
    first = module({"in": torch.from_numpy(times)})["out"][..., 0]
    label = first.gather(1, labels[:, None])[:, 0]
    tau0, tau1, alpha = 0.5e-3, 6.4e-3, 3e-3
    value = (label / tau0 + torch.logsumexp(-first / tau0, dim=1) + alpha * torch.expm1(label / tau1)).mean()
    value.backward()
    solution = es.solve(net, {"in": es.SpikeTrains.from_dense(times)}, 60e-3)
    want, grads = es.value_and_grad(
        solution, es.losses.TTFSCrossEntropy("out", labels.numpy(), tau0=tau0, tau1=tau1, alpha=alpha)
    )
    assert value.item() == pytest.approx(want, rel=1e-13, abs=0.0)
    for key in net.projections:
        for quantity in ("weight", "delay"):
            got = getattr(module, quantity)["->".join(key)].grad
            exact = getattr(grads, quantity)[key]
            np.testing.assert_allclose(got, exact, rtol=0, atol=1e-12 * np.abs(exact).max())


def test_training_lowers_the_loss():
    net, times = classifier(seed=2)
    module = ExactModule(net, 60e-3)
    inputs = {"in": torch.from_numpy(times)}
    target = module(inputs)["out"][..., 0].detach() + torch.tensor([1e-3, 2e-3])
    optimizer = torch.optim.Adam(module.parameters(), lr=0.02)
    values = []
    for _ in range(20):
        optimizer.zero_grad()
        value = (((module(inputs)["out"][..., 0] - target) * 1e3) ** 2).mean()
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < 0.2 * values[0]
    trained = es.solve(module.network(), {"in": es.SpikeTrains.from_dense(times)}, 60e-3)
    np.testing.assert_array_equal(
        trained.spikes["out"].to_dense(), module({"in": torch.from_numpy(times)})["out"].detach()
    )


def test_silent_neurons_have_gradient_0():
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("out", 2, es.LIF(20e-3, 5e-3))
    net.connect("in", "out", [[10.0], [1.0]])
    module = ExactModule(net, 50e-3)
    times = module({"in": torch.zeros(1, 1, dtype=torch.float64)})["out"]
    assert torch.isinf(times[0, 1]).all()
    torch.exp(-times / 1e-3).sum().backward()
    gradient = module.weight["in->out"].grad
    assert gradient[0, 0] != 0
    assert gradient[1, 0] == 0


def test_inputs_of_single_precision_get_gradients_of_single_precision():
    net, times = classifier()
    inputs = torch.tensor(times, dtype=torch.float32, requires_grad=True)
    ExactModule(net, 60e-3)({"in": inputs})["out"][..., 0].sum().backward()
    assert inputs.grad.dtype == torch.float32
    solution = es.solve(net, {"in": es.SpikeTrains.from_dense(inputs.detach().double().numpy())}, 60e-3)
    first = solution.spikes["out"].first_index()
    cotangent = np.zeros(solution.spikes["out"].n_spikes)
    cotangent[first] = 1.0
    want = es.vjp(solution, {"out": cotangent}).spike_times["in"]
    got = inputs.grad.numpy()[solution.spikes["in"].samples, solution.spikes["in"].neurons]
    np.testing.assert_array_equal(got, want.astype(np.float32))


def test_a_state_dict_carries_the_parameters():
    (net, _), (other, _) = classifier(seed=0), classifier(seed=1)
    module = ExactModule(net, 60e-3)
    module.load_state_dict(ExactModule(other, 60e-3).state_dict())
    for key, projection in other.projections.items():
        np.testing.assert_array_equal(module.network().projections[key].weight, projection.weight)


def test_what_the_solver_does_not_take_is_refused():
    net, times = classifier()
    module = ExactModule(net, 60e-3, trainable=("delay",))
    with pytest.raises(ValueError, match=r"inputs must be given for \['in'\]; got \['input'\]"):
        module({"input": torch.from_numpy(times)})
    with torch.no_grad():
        module.delay["hidden->out"][0, 0] = -1.0
    with pytest.raises(ValueError, match=r"delay of \('hidden', 'out'\) must be finite and >= 0"):
        module({"in": torch.from_numpy(times)})
    dotted = es.Network()
    dotted.add_input("in", 1)
    dotted.add_population("a.b", 1, es.LIF(20e-3, 5e-3))
    dotted.connect("in", "a.b", [[1.0]])
    with pytest.raises(ValueError, match=r"'in->a\.b' must not contain '\.'"):
        ExactModule(dotted, 50e-3)


def test_a_second_derivative_is_refused():
    net, times = classifier()
    module = ExactModule(net, 60e-3)
    first = module({"in": torch.from_numpy(times)})["out"][..., 0].sum()
    weight = module.weight["in->hidden"]
    (gradient,) = torch.autograd.grad(first, [weight], create_graph=True)
    with pytest.raises(RuntimeError, match="an exact gradient cannot be differentiated again"):
        gradient.sum().backward()


def of_samples():
    """A module, its inputs, and a function of its parameters and one sample: the sum of first spike times."""
    net, times = classifier()
    module = ExactModule(net, 60e-3)
    parameters = {name: value.detach() for name, value in module.named_parameters()}

    def loss(parameters, sample):
        found = torch.func.functional_call(module, parameters, ({"in": sample[None]},))["out"]
        return torch.where(torch.isinf(found), 0.0, found)[..., 0].sum()

    return module, torch.from_numpy(times), parameters, loss


def test_function_transforms_give_the_gradients_of_each_sample():
    _, times, parameters, loss = of_samples()
    each = [torch.func.grad(loss)(parameters, sample) for sample in times]
    for k, sample in enumerate(times):
        again = {name: value.clone().requires_grad_() for name, value in parameters.items()}
        loss(again, sample).backward()
        for name, value in again.items():
            assert torch.equal(each[k][name], value.grad)
    together = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, times)
    for name in parameters:
        assert torch.equal(together[name], torch.stack([gradient[name] for gradient in each]))
    values = torch.func.vmap(loss, in_dims=(None, 0))(parameters, times)
    assert torch.equal(values, torch.stack([loss(parameters, sample) for sample in times]))


def test_jacobians_are_those_of_every_output():
    module, times, parameters, _ = of_samples()

    def first_spikes(parameters):
        found = torch.func.functional_call(module, parameters, ({"in": times[:1]},))["out"]
        return torch.where(torch.isinf(found), 0.0, found)[0, :, 0]

    jacobian = torch.func.jacrev(first_spikes)(parameters)
    for k in range(first_spikes(parameters).numel()):
        row = torch.func.grad(lambda p, k=k: first_spikes(p)[k])(parameters)
        for name, value in row.items():
            assert torch.equal(jacobian[name][k], value)


@pytest.mark.filterwarnings("ignore")  # of torch's compiler itself
def test_a_compiled_module_breaks_its_graph_and_has_the_same_gradients():
    module, times, _, _ = of_samples()
    compiled = torch.compile(module, backend="eager")
    found = {}
    for name, solved in (("plain", module), ("compiled", compiled)):
        module.zero_grad()
        out = solved({"in": times})["out"]
        torch.where(torch.isinf(out), 0.0, out).sum().backward()
        found[name] = [out.detach().clone(), *(p.grad.clone() for p in module.parameters())]
    for plain, other in zip(found["plain"], found["compiled"], strict=True):
        assert torch.equal(plain, other)
