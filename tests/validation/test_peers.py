"""Other simulators as targets: where theory says that they agree with the oracle, they do."""

import numpy as np
import pytest

import eventsolve as es
from eventsolve.compare import compare
from eventsolve.compare.matching import match_spikes
from validation.oracle import oracle
from validation.peers import Peer


def problem(tau_mem=10e-3, t_ref=0.0, **changes):
    rng = np.random.default_rng(7)
    net = es.Network()
    net.add_input("in", 4)
    for name, n in (("hidden", 6), ("out", 2)):
        net.add_population(name, n, es.LIF(tau_mem, 5e-3, **{"t_ref": t_ref, **changes}))
    net.connect("in", "hidden", rng.normal(2.0, 0.5, (6, 4)))
    net.connect("hidden", "out", rng.normal(1.5, 0.5, (2, 6)))
    times = rng.permuted(np.tile(np.arange(8) * 1e-3, (3, 1)), axis=1)[:, :4]
    loss = es.losses.TTFSCrossEntropy("out", np.array([0, 1, 1]), tau0=1.5e-3, tau1=100e-3, alpha=0.01)
    return net, {"in": es.SpikeTrains.from_dense(times)}, 40e-3, loss


def test_a_runner_gives_back_what_it_is_given_the_other_way_round():
    """eventsolve itself, by the way of files and another process."""
    given = problem()
    comparison = compare(
        oracle(es.Problem(*given)), Peer("eventsolve").run(es.Problem(*given)), window=1e-3, tolerance=0.0
    )
    assert comparison.first is None
    assert comparison.spikes["out"].exact.n_spikes > 5


@pytest.mark.parametrize("ratio", [1, 2])
def test_jaxsnn_agrees_at_its_two_ratios(ratio):
    pytest.importorskip("jaxsnn", reason="jaxsnn is not installed")
    given = problem(tau_mem=5e-3 * ratio)
    comparison = compare(
        oracle(es.Problem(*given)), Peer("jaxsnn").run(es.Problem(*given)), window=1e-3, tolerance=1e-10
    )
    assert comparison.first is None, comparison.first
    assert max(match.max_shift for match in comparison.computed) < 1e-12


def test_eventax_agrees_to_the_accuracy_of_its_steps():
    """Sample by sample: of several at once its root finder loses the bracket."""
    pytest.importorskip("eventax", reason="eventax is not installed")
    net, inputs, t_end, _ = problem()
    loss = es.losses.TTFSCrossEntropy("out", [0], tau0=1.5e-3, tau1=100e-3, alpha=0.01)
    given = net, {"in": inputs["in"].select([0])}, t_end, loss
    comparison = compare(
        oracle(es.Problem(*given)),
        Peer("eventax", {"accurate": True}).run(es.Problem(*given)),
        window=1e-3,
        tolerance=1e-6,
    )
    assert comparison.first is None, comparison.first
    assert max(match.max_shift for match in comparison.computed) < 1e-8


@pytest.mark.parametrize("model", ["iaf_psc_exp_ps", "iaf_psc_exp_ps_lossless"])
def test_nest_agrees_given_its_refractory_period_and_its_first_spikes_without(model):
    pytest.importorskip("nest", reason="NEST is not installed")
    step = 1e-4
    given = problem(t_ref=step)
    record = Peer("nest", {"model": model, "dt": step}, t_ref=step).run(es.Problem(*given))
    for name in ("hidden", "out"):
        match = match_spikes(name, oracle(es.Problem(*given)).spikes[name], record.spikes[name], 1e-3)
        assert match.exact.n_spikes > 5
        assert match.missed.size == match.extra.size == 0
        # NEST rounds V at each of 400 steps: 1e-13; at slopes from 10 per second, 1e-14 s
        assert match.max_shift < 1e-11
    np.testing.assert_allclose(
        record.spikes["hidden"].first(), es.solve(*problem()[:3]).spikes["hidden"].first(), rtol=0, atol=1e-11
    )


@pytest.mark.parametrize(("runner", "package"), [("brian2", "brian2"), ("norse", "norse")])
def test_simulators_on_a_grid_converge_in_their_spikes(runner, package):
    pytest.importorskip(package, reason=f"{package} is not installed")
    given = problem()
    exact, shifts = oracle(es.Problem(*given)), []
    for step in (1e-4, 2.5e-5):
        record = Peer(runner, {"dt": step}, time_step=step).run(es.Problem(*given))
        matches = [
            match_spikes(name, exact.spikes[name], record.spikes[name], 2e-3) for name in ("hidden", "out")
        ]
        assert all(m.missed.size == m.extra.size == 0 for m in matches)
        shifts.append(max(m.max_shift for m in matches))
    assert shifts[1] < 0.5 * shifts[0]  # of first order: a quarter


@pytest.mark.parametrize(
    ("peer", "given", "sentence"),
    [
        (Peer("nest", t_ref=1e-4), problem(), "t_ref of population 'hidden' must be 0.0001 s with nest"),
        (Peer("jaxsnn"), problem(t_ref=1e-3), "t_ref of population 'hidden' must be 0.0 s with jaxsnn"),
        (Peer("jaxsnn"), problem(v_leak=0.1), "v_leak of population 'hidden' must be 0.0 with jaxsnn"),
        (
            Peer("jaxsnn"),
            problem(v_threshold=2.0),
            "v_threshold of population 'hidden' must be 1.0 with jaxsnn",
        ),
    ],
)
def test_what_a_peer_is_not_given_is_refused(peer, given, sentence):
    with pytest.raises(ValueError, match=sentence):
        peer.run(es.Problem(*given))


def test_inputs_and_losses_that_a_peer_is_not_given_are_refused():
    net, inputs, t_end, loss = problem()
    twice = {"in": es.SpikeTrains.from_lists([[[0.0, 1e-3], [0.0], [0.0], [0.0]]] * 3)}
    with pytest.raises(
        ValueError, match="every neuron of input 'in' must spike once; neuron 0 in sample 0 has 2"
    ):
        Peer("jaxsnn").run(es.Problem(net, twice, t_end, loss))
    other = es.losses.TTFSCrossEntropy("hidden", [0, 1, 1], tau0=1e-3, tau1=1e-3, alpha=0.0)
    with pytest.raises(ValueError, match="the loss must read 'out', the second layer; it reads 'hidden'"):
        Peer("jaxsnn").run(es.Problem(net, inputs, t_end, other))
    lenient = es.losses.TTFSCrossEntropy("out", [0, 1, 1], tau0=1e-3, tau1=1e-3, alpha=0.0, silent="skip")
    with pytest.raises(ValueError, match="silent must be 'raise' with jaxsnn; got 'skip'"):
        Peer("jaxsnn").run(es.Problem(net, inputs, t_end, lenient))
    deep = es.Network()
    deep.add_input("in", 1)
    deep.add_population("out", 1, es.LIF(10e-3, 5e-3))
    deep.connect("in", "out", [[9.0]])
    only = es.losses.TTFSCrossEntropy("out", [0], tau0=1e-3, tau1=1e-3, alpha=0.0)
    with pytest.raises(ValueError, match="jaxsnn is given an input and two layers in a row"):
        Peer("jaxsnn").run(es.Problem(deep, {"in": es.SpikeTrains.from_lists([[[0.0]]])}, t_end, only))


def test_a_peer_that_fails_is_quoted():
    with pytest.raises(RuntimeError, match=r"TypeError: .*unexpected keyword argument 'speed'"):
        Peer("eventsolve", {"speed": 1}).run(es.Problem(*problem()))
