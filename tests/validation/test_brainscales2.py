"""The noisy chip in the loop: is it what it says, and is its gradient the one that the formulas give?"""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from bss2 import DATA, ROWS, TAU, golden_chip, golden_problem, layered, lines, rows_of
from comparing import Comparison
from hypothesis import given, settings
from hypothesis import strategies as st

import eventsolve as es
from eventsolve.problem import network_of
from validation.brainscales2 import BrainScaleS2, Mismatch
from validation.brainscales2.causes import MEANINGS
from validation.brainscales2.closed_forms import SLOPES
from validation.oracle import oracle

EPS = float(np.finfo(np.float64).eps)
IDEAL = "+".join(MEANINGS)
few = settings(max_examples=2, deadline=None)


def small(seed=0, *, delays=True, n_samples=8, ratio=1.0, **settings):
    """A network of 4x5-6-3 that spikes."""
    rng = np.random.default_rng(seed)
    weights = [rng.normal(0.75, 0.4, (ROWS, 6, 4)) * ratio, rng.normal(1.5, 0.4, (1, 3, 6)) * ratio]
    delay = [rng.uniform(2.0, 3.5, 4), rng.uniform(2.0, 3.5, 6)] if delays else None
    labels = rng.integers(0, 3, n_samples)
    return layered(weights, delay, labels, rng.uniform(0.15, 2.0, (n_samples, 4)), ratio=ratio, **settings)


def without(*names):
    return tuple(name for name in MEANINGS if name not in names)


def allowed(problem, solution):
    """By how much gradients of the mean loss may be off: roundings of the derivatives, and of the loss's own slope."""
    condition = es.gradient_condition(solution)
    trains = solution.spikes["out"]
    errors = np.abs(problem.loss.evaluate(solution).spike_times["out"])
    worst = np.zeros(problem.n_samples)
    np.maximum.at(worst, trains.samples, condition.time_error["out"] + EPS * trains.times)
    slope = 2 * 3 * worst[trains.samples]  # a difference of two times for each of three outputs
    return {
        what: float((condition.errors[what]["out"] * errors + condition.sizes[what]["out"] * slope).sum())
        / problem.n_samples
        for what in ("weight", "delay", "spike_times")
    }


def mean_gradients(record):
    return {
        what: {k: g.mean(axis=0) for k, g in getattr(record, what).items()} for what in ("weight", "delay")
    }


def true_gradients(chip, problem):
    """The exact gradient of the chip that this really is, by what was programmed."""
    other = replace(problem, network=chip.chip(problem.network))
    _, grads = es.value_and_grad(other.solution, problem.loss)
    delay = {key: grads.delay[key] for key, p in problem.network.projections.items() if p.delay.any()}
    return other, {"weight": chip.by_programmed(problem.network, grads.weight), "delay": delay}


# -- a chip that was worked out elsewhere --------------------------------------------------------------------


@pytest.mark.parametrize(("slope", "name"), [("crossing", "loop"), ("measured", "loop_measured")])
def test_the_chip_that_was_worked_out_elsewhere_is_reproduced(slope, name):
    problem, chip = golden_problem(), golden_chip(slope=slope)
    measured, _ = chip.measured(problem)
    solution = es.solve(chip.chip(problem.network), problem.inputs, problem.t_end)
    condition = es.gradient_condition(solution)
    for population in ("hidden", "out"):
        found, want = measured.spikes[population][:, :, 0] / TAU, DATA[f"spikes_{population}"]
        limit = 2 * condition.time_error[population].max() / TAU + 4 * EPS * want.max()
        assert np.abs(found - want).max() <= limit
    for population, want in (("in", DATA["arrivals_1"]), ("hidden", DATA["arrivals_2"])):
        limit = 2 * condition.time_error["hidden"].max() / TAU + 4 * EPS * want.max()
        assert np.abs(measured.arrivals[population][:, :, 0] / TAU - want).max() <= limit
    record = chip.run(problem)
    limits = allowed(problem, solution)
    assert record.loss_values.mean() / TAU**2 == pytest.approx(float(DATA["loss"]), rel=1e-12, abs=0.0)
    compared = Comparison()
    first = np.stack([record.weight["in", "hidden", f"row {c}"].mean(axis=0) for c in range(ROWS)])
    compared.close(first / TAU**2, rows_of(DATA[f"grad_{name}_w1"]), 2 * limits["weight"] / TAU**2)
    second = record.weight["hidden", "out"].mean(axis=0)
    compared.close(second / TAU**2, DATA[f"grad_{name}_w2"].T, 2 * limits["weight"] / TAU**2)
    by_line = sum(record.delay["in", "hidden", f"row {c}"].mean(axis=0).sum(axis=0) for c in range(ROWS))
    for k, got in (("1", by_line), ("2", record.delay["hidden", "out"].mean(axis=0).sum(axis=0))):
        delay = lines(DATA[f"d{k}"])
        through = (delay - 2.0) * (3.5 - delay) / 1.5  # of the sigmoid
        compared.close(got / TAU * through, DATA[f"grad_{name}_d{k}"], 2 * got.size * limits["delay"] / TAU)
    compared.demand(0.99)


def test_the_true_gradient_of_that_chip_is_reproduced():
    problem, chip = golden_problem(), golden_chip()
    other, true = true_gradients(chip, problem)
    limits = allowed(other, other.solution)
    compared = Comparison()
    first = np.stack([true["weight"]["in", "hidden", f"row {c}"] for c in range(ROWS)])
    compared.close(first / TAU**2, rows_of(DATA["grad_true_w1"]), 4 * limits["weight"] / TAU**2)
    compared.close(
        true["weight"]["hidden", "out"] / TAU**2, DATA["grad_true_w2"].T, 4 * limits["weight"] / TAU**2
    )
    compared.demand(0.99)


# -- laws ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flavour", ["delgrad", "jaxsnn"])
@pytest.mark.parametrize("ratio", [1.0, 2.0])
@few
@given(seed=st.integers(0, 2**31), delays=st.booleans())
def test_without_causes_the_record_is_the_oracles(flavour, ratio, seed, delays):
    problem = small(seed, ratio=ratio, delays=delays, silent="t_end")
    exact, limits = oracle(problem), allowed(problem, problem.solution)
    condition = es.gradient_condition(problem.solution)
    compared = Comparison()
    for slope in SLOPES if flavour == "delgrad" else (None,):
        record = BrainScaleS2(flavour=flavour, slope=slope, without=IDEAL).run(problem)
        for name in ("hidden", "out"):
            a, b = record.spikes[name], exact.spikes[name]
            np.testing.assert_array_equal(a.neurons, b.neurons)
            if not delays:  # the same operations in the same order
                np.testing.assert_array_equal(a.times, b.times)
            compared.close(a.times, b.times, 2 * condition.time_error[name] + 4 * EPS * b.times)
        for what in ("weight", "delay"):
            for key, got in mean_gradients(record)[what].items():
                compared.close(
                    got, exact.gradients[what][key].mean(axis=0), 2 * limits[what], (slope, what, key)
                )
    compared.demand(0.5)


def sampled_mismatch(rng, problem, spread):
    return Mismatch(
        threshold={
            name: rng.normal(0.1, spread, problem.network.population(name).size) for name in ("hidden", "out")
        }
    )


@few
@given(seed=st.integers(0, 2**31), spread=st.floats(0.0, 0.5))
def test_whatever_the_thresholds_are_the_measured_slope_gives_the_true_gradient(seed, spread):
    problem = small(seed)
    mismatch = sampled_mismatch(np.random.default_rng(seed + 1), problem, spread)
    chip = BrainScaleS2(slope="measured", mismatch=mismatch, without=without("threshold_spread"))
    other, true = true_gradients(chip, problem)
    limits = allowed(other, other.solution)
    compared = Comparison()
    for what, places in mean_gradients(chip.run(problem)).items():
        for key, got in places.items():
            compared.close(got, true[what][key], 2 * limits[what], (what, key))


def test_the_other_slopes_are_not_free_of_the_thresholds():
    problem = small(3)
    mismatch = sampled_mismatch(np.random.default_rng(4), problem, 0.2)
    for slope in SLOPES:
        chip = BrainScaleS2(slope=slope, mismatch=mismatch, without=without("threshold_spread"))
        _, true = true_gradients(chip, problem)
        got = mean_gradients(chip.run(problem))["weight"]
        off = {
            k: np.linalg.norm(got[k] - w) / np.linalg.norm(w) for k, w in true["weight"].items() if w.any()
        }
        assert (max(off.values()) > 0.01) == (slope != "measured"), (slope, off)


@few
@given(seed=st.integers(0, 2**31))
def test_delays_of_circuits_that_are_off_bias_no_slope(seed):
    problem = small(seed)
    for slope in SLOPES:
        chip = BrainScaleS2(seed, slope=slope, without=without("delay_spread"))
        other, true = true_gradients(chip, problem)
        assert not np.array_equal(other.solution.spikes["out"].times, problem.solution.spikes["out"].times)
        limits = allowed(other, other.solution)
        compared = Comparison()
        for what, places in mean_gradients(chip.run(problem)).items():
            for key, got in places.items():
                compared.close(got, true[what][key], 2 * limits[what], (slope, what, key))


@pytest.mark.parametrize("slope", SLOPES)
@pytest.mark.parametrize("ratio", [1.0, 2.0])
def test_the_gradient_in_the_loop_is_that_along_the_observed_spikes(slope, ratio):
    compared = Comparison()
    for seed in range(3):
        problem = small(seed, delays=False, ratio=ratio)
        chip = BrainScaleS2(seed, slope=slope, without="unrounded")
        record = chip.run(problem)
        assert record.counters["falling"] == 0  # which observe refuses, or takes no gradient through
        spikes = {name: record.spikes[name] for name in ("hidden", "out")}
        seen = es.observe(
            chip.programmed(problem.network), problem.inputs, spikes, problem.t_end, slope, undefined="zero"
        )
        _, grads = es.value_and_grad(seen, problem.loss, reduction="none")
        for key, got in record.weight.items():
            want = np.asarray(grads.weight[key])
            steepest = min(float(np.nanmin(v * TAU)) for v in seen.slopes.values())
            # sums of at most two dozen terms against V' in the hidden and the output layer
            limit = 1e3 * EPS * np.abs(want).max() / min(steepest, 1.0) ** 2
            compared.close(got, want, limit, (seed, key))
    compared.demand(0.5)


# -- causes --------------------------------------------------------------------------------------------------


def test_every_cause_changes_something_and_only_while_it_is_on():
    problem, sizes = (
        small(2, silent="t_end"),
        {"extra": 0.2, "lost": 0.2, "jitter": 0.3e-6, "refractory": 1e-6},
    )
    chip = BrainScaleS2(**sizes)
    bare = {
        name: [] if name != "unrounded" else ["weight_grid"] for name in MEANINGS
    }  # where weights are rounded
    for name, others in bare.items():
        with_it = chip.with_causes([*others, name])
        assert set(with_it.causes()) == {*others, name}
        one, again = (with_it.run(problem).weight for _ in range(2))
        none = chip.with_causes(others).run(problem).weight
        assert all(np.array_equal(w, again[k]) for k, w in one.items())
        assert not all(np.array_equal(w, none[k]) for k, w in one.items()), name


def test_one_cause_does_not_change_what_another_draws():
    problem = small(2)
    alone, both = (
        BrainScaleS2(without=without(*names)).drawn(problem.network)
        for names in (["gain_spread"], ["gain_spread", "tau_spread", "threshold_spread"])
    )
    for key, gain in alone.gain.items():
        np.testing.assert_array_equal(gain, both.gain[key])


def test_mismatch_is_the_chips_and_noise_the_trials():
    problem = small(2)
    chip = BrainScaleS2(7, trials=3, without="lost")
    record = chip.run(problem)
    assert record.n_samples == 3 * problem.n_samples
    assert record.trials == 3
    n = problem.n_samples
    trials = [record.spikes["out"][k * n : (k + 1) * n].first() for k in range(3)]
    assert not np.array_equal(trials[0], trials[1])
    alone = BrainScaleS2(7, noise_seed=1, without="lost").run(problem)
    np.testing.assert_array_equal(alone.spikes["out"].first(), trials[1])
    np.testing.assert_array_equal(alone.weight["hidden", "out"], record.weight["hidden", "out"][n : 2 * n])
    fixed = [BrainScaleS2(7, noise_seed=k).drawn(problem.network).threshold["out"] for k in range(2)]
    np.testing.assert_array_equal(*fixed)
    assert not np.array_equal(BrainScaleS2(8).drawn(problem.network).threshold["out"], fixed[0])


def test_jitter_averages_out_as_one_over_the_root_of_the_trials():
    problem = small(2, delays=False)
    ideal = problem.solution.spikes["hidden"].first()
    chip = BrainScaleS2(trials=100, without=without("jitter"))
    times = chip.run(problem).spikes["hidden"].first().reshape(100, *ideal.shape)
    assert np.isfinite(ideal).sum() > 40
    off = ((times - ideal) / chip.jitter)[:, np.isfinite(ideal)]
    n = off.shape[1]
    # standard normal numbers: their mean over 100 trials is off by 1/10, the mean square of that by sqrt(2/n) of it
    assert abs((off.mean(axis=0) ** 2).mean() * 100 - 1) < 5 * np.sqrt(2 / n)
    assert abs((off**2).mean() - 1) < 5 * np.sqrt(2 / off.size)


def test_spikes_are_lost_and_extra_as_often_as_it_says():
    problem = small(2, delays=False, n_samples=400, silent="skip")
    chip = BrainScaleS2(lost=0.1, extra=0.05, without=without("lost", "extra"))
    counters = chip.run(problem).counters
    fired = BrainScaleS2(lost=0.1, without=without("lost")).run(problem)
    hidden = problem.solution.spikes["hidden"].n_spikes
    n = 400 * 6
    assert abs(hidden - fired.spikes["hidden"].n_spikes - 0.1 * hidden) < 5 * np.sqrt(0.09 * hidden)
    assert abs(counters["extra"] - 0.05 * (n + 1200)) < 5 * np.sqrt(0.05 * (n + 1200))


def test_grids_hold_what_is_programmed_and_recorded():
    problem = small(2)
    chip = BrainScaleS2(1, without="lost")
    held = chip.programmed(problem.network)
    for p in held.projections.values():
        np.testing.assert_allclose(p.weights * 30, np.rint(p.weights * 30), rtol=0, atol=1e-12)
        assert np.abs(p.weights).max() <= 2.1 + 1e-12
        np.testing.assert_allclose(p.delay / 0.125e-6, np.rint(p.delay / 0.125e-6), rtol=0, atol=1e-9)
    record = chip.run(problem)
    assert record.time_step == 8e-9
    assert chip.name.startswith("BrainScaleS-2, chip 1, delgrad, slope crossing")
    far = replace(problem, network=problem.network.with_weights({("hidden", "out"): np.full((3, 6), 2.5)}))
    counters = BrainScaleS2(delay_max=15e-6).run(far).counters
    assert counters["weights_out_of_range"] == 18
    assert counters["delays_out_of_range"] > 0
    notes = " ".join(BrainScaleS2(delay_max=15e-6).run(far).notes)
    assert "18 weights are beyond what the chip holds, 2.1, and held at its end" in notes


def test_a_neuron_that_may_spike_again_is_recorded_once():
    problem = small(2, delays=False)
    chip = BrainScaleS2(refractory=1e-6, without=without("refractory"))
    record = chip.run(problem)
    assert record.counters["repeated"] > 0
    assert record.spikes["hidden"].counts().max() == 1
    np.testing.assert_array_equal(record.spikes["hidden"].first(), problem.solution.spikes["hidden"].first())


def test_the_cap_drops_what_a_sample_gives_too_much():
    problem = small(2)
    free = BrainScaleS2(without=IDEAL).run(problem)
    largest = max(np.abs(w).max() for w in free.weight.values())
    capped = BrainScaleS2(without=IDEAL, cap=largest / 2).run(problem)
    assert capped.counters["dropped"] > 0
    assert max(np.abs(w).max() for w in capped.weight.values()) <= largest / 2
    kept = np.isclose(free.weight["hidden", "out"], capped.weight["hidden", "out"], rtol=0, atol=0)
    assert ((capped.weight["hidden", "out"] == 0) | kept).all()
    np.testing.assert_array_equal(capped.spike_times["in"], free.spike_times["in"])


# -- what it refuses -----------------------------------------------------------------------------------------


LIF = es.LIF(TAU, TAU, v_threshold=2.6, t_ref=1.0)


def refused(neuron=LIF, between=None, loss=None, **projection):
    net = network_of(
        {"in": 2, "hidden": (2, neuron), "out": (2, neuron if neuron.spiking else LIF)},
        {
            ("in", "hidden"): {"weight": np.full((2, 2), 4.0)},
            ("hidden", "out"): {"weight": np.full((2, 2), 4.0)} | projection,
        }
        | ({("out", "hidden"): {"weight": np.eye(2)}} if between else {}),
    )
    trains = es.SpikeTrains.from_dense(np.array([[0.5, 1.0]]) * TAU)
    ttfs = es.losses.TTFSCrossEntropy("out", [0], tau0=TAU, tau1=1.0, alpha=0.0, silent="t_end")
    return es.Problem(net, {"in": trains}, 30 * TAU, ttfs if loss is None else loss)


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (lambda: refused(es.LIF(TAU, TAU, v_threshold=2.6)), "t_ref of 'hidden' must be at least t_end"),
        (lambda: refused(es.LIF(4 * TAU, TAU, t_ref=1.0)), "closed forms for tau_mem / tau_syn of 1 and 2"),
        (lambda: refused(es.LIF([TAU, 2 * TAU], TAU, t_ref=1.0)), "must be one number, to which its neurons"),
        (lambda: refused(es.LIF(TAU, TAU, t_ref=1.0, v_initial=0.5)), "start at rest; v_initial of 'hidden'"),
        (lambda: refused(between=True), "must have no cycle; got one through hidden, out"),
        (lambda: refused(delay=np.array([[1e-5, 2e-5], [2e-5, 2e-5]])), "every column of the delays of"),
        (lambda: refused(weight=sp.csr_array(np.full((2, 2), 4.0))), "weights on the chip are dense"),
        (lambda: refused(synapse="delta"), "synapses on the chip are exponential"),
        (
            lambda: refused(loss=es.losses.TrajectoryMSE("out", lambda t, s: np.zeros((2, t.size)))),
            "records spikes, and no voltages",
        ),
        (lambda: replace(refused(), inputs={}), "inputs must have spikes of 2 neurons of 'in'; got none"),
    ],
)  # fmt: skip
def test_what_the_chip_cannot_hold_is_refused_in_a_sentence(problem, words):
    with pytest.raises(ValueError, match=words):
        BrainScaleS2().run(problem())


def test_two_projections_of_a_neuron_share_its_delay_circuit():
    net = network_of(
        {"in": 2, "a": (2, LIF), "b": (2, LIF)},
        {
            ("in", "a"): {"weight": np.full((2, 2), 4.0), "delay": 1e-5},
            ("in", "b"): {"weight": np.full((2, 2), 4.0), "delay": 2e-5},
        },
    )
    problem = es.Problem(net, {"in": es.SpikeTrains.from_dense(np.ones((1, 2)) * TAU)}, 30 * TAU)
    with pytest.raises(ValueError, match="'in' has one delay circuit for each neuron"):
        BrainScaleS2().run(problem)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"without": "gains"}, "causes are weight_grid"),
        ({"flavour": "hxtorch"}, "flavour must be one of delgrad, jaxsnn"),
        ({"slope": "ideal"}, "slope must be one of crossing, measured, threshold"),
        ({"flavour": "jaxsnn", "slope": "measured"}, "flavour 'jaxsnn' has slope 'threshold'"),
        ({"jitter": -1e-9}, "jitter must be >= 0"),
        ({"lost": 1.5}, "lost must be a probability"),
        ({"gain_spread": np.inf}, "gain_spread must be finite"),
        ({"weight_step": 0.0}, "weight_step must be > 0"),
        ({"delay_min": 1e-5, "delay_max": 1e-6}, "delay_max must be at least delay_min"),
        ({"trials": 0}, "trials must be at least 1"),
        ({"seed": -1}, "seed must be an integer >= 0"),
        ({"cap": 0.0}, "cap must be > 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        BrainScaleS2(**options)


@pytest.mark.parametrize(
    ("mismatch", "words"),
    [
        (Mismatch(threshold={"readout": np.zeros(2)}), "threshold of the mismatch names 'readout'"),
        (Mismatch(tau={"in": np.ones(4)}), "tau of the mismatch names 'in'"),
        (
            Mismatch(tau={"out": np.ones(4)}),
            r"tau of 'out' in the mismatch must be finite numbers of shape \(3,\)",
        ),
        (Mismatch(gain={("hidden", "out"): np.ones((6, 3))}), "shape \\(3, 6\\); got shape \\(6, 3\\)"),
        (Mismatch(delay={"in": np.full(4, np.nan)}), "delay of 'in' in the mismatch must be finite"),
        (Mismatch(delay={"in": np.full(4, -1.0)}), "delay of"),
        (Mismatch(threshold={"out": np.full(3, -5.0)}), "v_threshold"),
    ],
)
def test_a_mismatch_that_no_chip_of_the_network_has_is_refused(mismatch, words):
    with pytest.raises(ValueError, match=words):
        BrainScaleS2(mismatch=mismatch).run(small())
