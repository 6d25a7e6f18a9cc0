"""Spiking backpropagation: does the circuit compute its closed form, and is that backpropagation but for a sign?"""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from learning import LARGEST, lesson
from plain_sbp import PLASTIC, Circuit, closed_form

from validation.sbp import circuit, reference
from validation.sbp.rule import CHIP, EXACT, SCRIPT, Rule
from validation.sbp.weights import Weights, initial, matrices, one_hot
from validation.sbp.wiring import LEARNING

GOLDEN = np.load(Path(__file__).parents[1] / "data" / "sbp_golden.npz")
OF_GOLDEN = {"w1": "W1", "w2": "W2", "plus": "W2T_plus", "minus": "W2T_minus"}
seeds = st.integers(0, 2**32 - 1)


def rows(weights):
    return [list(map(int, row)) for row in weights]


# -- golden vectors --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("read", ["before", "after"])
def test_the_circuit_does_what_is_recorded_in_every_spike_and_weight(read):
    trials = circuit.learned(
        Weights(GOLDEN["W1_start"], GOLDEN["W2_start"]), GOLDEN["x"], GOLDEN["target"], Rule(read=read)
    )
    first = 0
    for layer in GOLDEN["layers"]:
        name, _, size = layer.partition(":")
        spikes = GOLDEN[f"{read}_spikes"][:, :, first : first + int(size)]
        assert np.array_equal(trials.spikes[name], spikes), name
        first += int(size)
    assert first == GOLDEN["before_spikes"].shape[2]
    assert GOLDEN["before_spikes"].any()
    for p in LEARNING.plastic:
        assert np.array_equal(trials.weights[p.name], GOLDEN[f"{read}_{OF_GOLDEN[p.holds]}"]), p.name
    assert (trials.weights["x->h"][-1] != GOLDEN["W1_start"]).any()


@pytest.mark.parametrize("read", ["before", "after"])
def test_the_closed_form_does_what_is_recorded_after_every_trial(read):
    weights, copies = Weights(GOLDEN["W1_start"], GOLDEN["W2_start"]), None
    for n in range(len(GOLDEN["x"])):
        found = reference.learned(
            weights, GOLDEN["x"][n : n + 1], GOLDEN["target"][n : n + 1], Rule(read=read), copies=copies
        )
        weights, copies = found.weights, (found.plus, found.minus)
        for name, values in zip(OF_GOLDEN.values(), (*weights, *copies), strict=True):
            assert np.array_equal(values, GOLDEN[f"{read}_{name}"][n]), (n, name)


# -- twins -----------------------------------------------------------------------------------------------------------


@given(seeds)
def test_the_circuit_is_its_plain_twin(seed):
    rule, weights, x, t = lesson(seed, n_samples=2, largest=5)
    low, high = map(int, rule.bounds)
    held = circuit.held(weights, rule=rule)
    plain = {name: rows(held[name]) for name in PLASTIC}
    twin = Circuit(weights.sizes, plain, read=rule.read, low=low, high=high)
    trials = circuit.learned(weights, x, t, rule)
    for n in range(len(x)):
        for phase, fired in twin.trial(x[n], t[n]).items():
            for name, neurons in fired.items():
                assert set(np.flatnonzero(trials.spikes[name][n, phase])) == neurons, (n, phase, name)
        for name in PLASTIC:
            assert rows(trials.weights[name][n]) == plain[name], (n, name)


@given(
    seeds,
    st.sampled_from(["before", "after"]),
    st.sampled_from(["none", "chip", "symmetric"]),
    st.sampled_from([1023, 1024]),
)
def test_the_closed_form_is_its_plain_twin(seed, read, limits, edge):
    rule, weights, x, t = lesson(seed, rule=Rule(read=read, limits=limits, edge=edge))
    low, high = map(int, rule.bounds)
    plain = [rows(m) for m in matrices(weights, rule)]
    z2 = [closed_form(*plain, x[n], t[n], read=read, edge=edge, low=low, high=high) for n in range(len(x))]
    found = reference.learned(weights, x, t, rule)
    assert found.z2.tolist() == z2
    for values, expected in zip((*found.weights, found.plus, found.minus), plain, strict=True):
        assert values.tolist() == expected


@given(seeds, st.sampled_from(["before", "after"]), st.sampled_from(["none", "chip"]))
def test_exact_backpropagation_is_its_plain_twin(seed, read, limits):
    rule = Rule(error="real", read=read, limits=limits)
    _, weights, x, t = lesson(seed)
    plain = [[list(map(float, row)) for row in w] for w in weights]
    low, high = rule.bounds
    unused = [[[0] * weights.sizes[1] for _ in range(weights.sizes[2])] for _ in range(2)]
    z2 = [
        closed_form(*plain, *unused, x[n], t[n], read=read, low=low, high=high, error=2 / 72)
        for n in range(len(x))
    ]
    found = reference.learned(weights, x, t, rule)
    assert found.z2.tolist() == z2
    assert [w.tolist() for w in found.weights] == plain


# -- laws ------------------------------------------------------------------------------------------------------------


@given(seeds)
def test_the_circuit_computes_the_closed_form(seed):
    """In all bits, whatever the sizes, as long as no sum reaches what lifts a silenced neuron."""
    rule, weights, x, t = lesson(seed, largest=LARGEST)
    trials = circuit.learned(weights, x, t, rule)
    found = reference.learned(weights, x, t, rule)
    known = {"w1": found.weights.w1, "w2": found.weights.w2, "plus": found.plus, "minus": found.minus}
    for p in LEARNING.plastic:
        assert np.array_equal(trials.weights[p.name][-1], known[p.holds]), p.name
    assert np.array_equal(trials.spikes["o"][:, 3], found.z2 > 512)


@given(
    seeds, st.sampled_from([SCRIPT, Rule(dead=20), Rule(bits=6), Rule(limits="none"), Rule(edge=600, dead=2)])
)
def test_the_circuit_of_a_rule_computes_it(seed, rule):
    """The edge of the box, and errors that have no sign, are weights of gates; the grid is the rule's."""
    _, weights, x, t = lesson(seed, largest=LARGEST, rule=Rule(limits="symmetric"))
    weights = Weights(*(np.trunc(w / rule.unit) * rule.unit for w in weights))
    trials, found = circuit.learned(weights, x, t, rule), reference.learned(weights, x, t, rule)
    assert np.array_equal(trials.weights["x->h"][-1], found.weights.w1)
    assert np.array_equal(trials.weights["h->o"][-1], found.weights.w2)


@given(seeds)
def test_four_steps_answer_what_twelve_answer_in_their_third(seed):
    rule, weights, x, t = lesson(seed, largest=LARGEST, n_samples=1)
    assert np.array_equal(
        circuit.answered(weights, x, rule), circuit.learned(weights, x, t, rule).spikes["o"][:, 3]
    )
    assert np.array_equal(circuit.answered(weights, x, rule), reference.outputs(weights, x, rule) > 512)


def change(weights, x, t, rule):
    after = reference.learned(weights, x, t, rule).weights
    return [new - np.asarray(old) for new, old in zip(after, weights, strict=True)]


FREE = Rule(limits="none")


@given(seeds)
def test_the_last_layer_learns_by_the_exact_gradient(seed):
    """dW2 = -2 dL/d(W2/1024), to the last bit: all numbers are integers over a power of two."""
    _, weights, x, t = lesson(seed, n_samples=1)
    _, d_w2 = change(weights, x, t, FREE)
    assert np.array_equal(d_w2, -2 * 1024 * reference.gradient(weights, x, t).w2[0])


@given(seeds)
def test_no_update_points_uphill(seed):
    """<dW1, -dL/dW1> = 2 |x|_1 sum_j |e_j| f'(z1_j), in numbers of which the gradient has 1024^2 as its denominator."""
    _, weights, x, t = lesson(seed, n_samples=1)
    d_w1, _ = change(weights, x, t, FREE)
    gradient = 1024**2 * reference.gradient(weights, x, t).w1[0]
    steepest = np.abs(gradient).max(axis=0)  # |e_j| f'(z1_j), if any input spikes
    assert -(d_w1 * gradient).sum() == 2 * x.sum() * steepest.sum()


def test_updates_of_the_first_layer_are_not_all_none():
    """The laws above hold of something: most random lessons change W1, and in many the sign is not the error."""
    moved = apart = 0
    for seed in range(200):
        _, weights, x, t = lesson(seed, n_samples=1)
        d_w1, _ = change(weights, x, t, FREE)
        moved += d_w1.any()
        e = np.unique(np.abs(1024**2 * reference.gradient(weights, x, t).w1))
        apart += np.count_nonzero(e) > 1
    assert moved > 40
    assert apart > 20


@given(seeds)
def test_copies_are_equal_while_no_weight_is_at_its_limit(seed):
    rule, weights, x, t = lesson(seed, n_samples=20, rule=Rule())
    weights = Weights(*(w // 8 * 2 for w in weights))  # far from the limits, some of which are reached
    trials = circuit.learned(weights, x, t, rule)
    for n in range(len(x)):
        held = {name: values[n] for name, values in trials.weights.items()}
        for layer, post in (("x", "h"), ("h", "o")):
            for mark in ("_lo", "_hi"):
                assert np.array_equal(held[f"{layer}->{post}{mark}"], held[f"{layer}->{post}"])
        if max(-held["h->o"].min(), held["h->o"].max()) >= 254:
            break
        assert np.array_equal(held["o->hT"], held["h->o"].T)
        assert np.array_equal(held["oTm->hT"], -held["h->o"].T)


def test_copies_part_at_the_lower_limit():
    """At -256 the copy of -W2 stands at 254, and goes on from there when W2 comes back."""
    w = Weights([[254, 254, 254], [254, 254, 254], [254, 254, 254]], [[-256, 254], [254, 254], [254, 254]])
    held = circuit.held(w)
    assert held["o->hT"][0, 0] == -256
    assert held["oTm->hT"][0, 0] == 254
    trials = circuit.learned(w, [[1, 1, 0]], [[1, 0]])
    assert trials.weights["h->o"][0, 0, 0] == trials.weights["o->hT"][0, 0, 0]


@given(seeds)
def test_an_order_of_neurons_means_nothing(seed):
    rule, weights, x, t = lesson(seed)
    rng = np.random.default_rng(seed)
    a, b, c = (rng.permutation(n) for n in weights.sizes)
    for learn in (reference.learned, lambda *given: circuit.learned(*given).state):
        found = learn(weights, x, t, rule).weights
        moved = learn(Weights(weights.w1[a][:, b], weights.w2[b][:, c]), x[:, a], t[:, c], rule).weights
        pairs = (
            zip(found, moved, strict=True)
            if isinstance(found, Weights)
            else [(found[key], moved[key]) for key in ("x->h", "h->o")]
        )
        for (old, new), (p, q) in zip(pairs, ((a, b), (b, c)), strict=True):
            assert np.array_equal(old[p][:, q], new)


@given(seeds)
def test_the_orders_of_transport_differ_by_twice_the_errors(seed):
    """e' = e + 2 h |d2|_1: the authors' script is the closed form that reads after learning, at another edge."""
    _, weights, x, t = lesson(seed, n_samples=1, rule=Rule(limits="none"))
    before, after = (change(weights, x, t, Rule(read=read, limits="none"))[0] for read in ("before", "after"))
    w2 = np.asarray(weights.w2)
    h = np.asarray(x @ np.asarray(weights.w1))[0] > 512
    z2 = h @ w2
    d2 = (t[0].astype(int) - (z2 > 512)) * ((z2 > 0) & (z2 <= 1024))
    e = w2 @ d2
    z1 = x[0] @ np.asarray(weights.w1)
    inside = (z1 > 0) & (z1 <= 1024)
    moved = np.sign(e + 2 * h * np.abs(d2).sum()) * inside
    assert np.array_equal(after, 2 * x[0][:, None] * moved)
    assert np.array_equal(before, 2 * x[0][:, None] * (np.sign(e) * inside))


# -- exact backpropagation -------------------------------------------------------------------------------------------


@given(seeds)
def test_backpropagation_through_clipped_ramps_is_the_central_difference(seed):
    """Between two ends of a box L is a polynomial of degree 2 in each weight, so that a difference has only rounding.

    That of L, at most n_out/2 and made of sums of n products, is below 8 (n_in + n_hidden + n_out) eps n_out/2.
    """
    _, weights, x, t = lesson(seed, n_samples=1, largest=6)
    w1, w2 = (np.asarray(w, dtype=float) + 0.3 for w in weights)  # off the ends of the box
    found = reference.gradient(Weights(w1, w2), x, t, "ramp")
    z1 = x[0] @ w1
    h = np.clip(z1 / 1024, 0, 1)
    z2 = h @ w2
    # no corner within reach of the difference
    assume(min(np.abs(np.subtract.outer(z, (0, 1024))).min() for z in (z1, z2)) > 1)
    bound = 8 * sum(weights.sizes) * np.finfo(float).eps * weights.sizes[2] / 2
    for k, w in enumerate((w1, w2)):
        for place in np.ndindex(w.shape):
            sides = []
            for sign in (1, -1):
                moved = [w1.copy(), w2.copy()]
                moved[k][place] += sign
                sides.append(reference.loss(Weights(*moved), x, t, "ramp")[0])
            assert abs(found[k][0][place] - (sides[0] - sides[1]) / 2) <= bound, place


@given(seeds)
def test_learning_by_the_real_error_goes_down_the_gradient(seed):
    """dW1 = -2/72 1024^2 dL/dW1 and dW2 = -2 1024 dL/dW2, to the rounding of one product and one sum in each weight."""
    _, weights, x, t = lesson(seed, n_samples=1)
    d_w1, d_w2 = change(Weights(*(np.asarray(w, dtype=float) for w in weights)), x, t, EXACT)
    g1, g2 = (g[0] for g in reference.gradient(weights, x, t))
    assert np.array_equal(d_w2, -2 * 1024 * g2)
    assert np.abs(d_w1 + 2 / 72 * 1024**2 * g1).max() <= 4 * np.finfo(float).eps * (
        256 + np.abs(1024**2 * g1).max()
    )


def test_the_sign_is_backpropagation_where_all_errors_are_one_size():
    """|W2| = 72 and one wrong output: the real error at the usual rate changes W1 as its sign does."""
    w = Weights(np.full((3, 4), 254), [[72, -72], [72, 72], [72, -72], [72, 72]])
    x, t = [[1, 1, 1]], [[1, 0]]
    assert reference.outputs(w, x).tolist() == [[288, 0]]
    sign = change(w, x, t, Rule(limits="none", edge=1024))
    real = change(w, x, t, EXACT)
    assert np.array_equal(sign[0], real[0])
    assert np.array_equal(sign[1], real[1])
    assert sign[0].any()


# -- what is given ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "x", "t", "said"),
    [
        (Weights([[1]], [[2]]), [[1]], [[1]], r"w1 must be multiples of 2, the grid of weights; entry \[0, 0\] is 1"),
        (Weights([[2]], [[0.5]]), [[1]], [[1]], "w2 must be multiples of 2"),
        (Weights([[np.nan]], [[2]]), [[1]], [[1]], "w1 must be multiples of 2.*nan"),
        (Weights([[256]], [[2]]), [[1]], [[1]], r"w1 must lie in -256..254.*; entry \[0, 0\] is 256"),
        (Weights(np.zeros((0, 2)), np.zeros((2, 1))), np.zeros((1, 0)), [[1]], r"w1 must have the shape \(at least 1"),
        (Weights(np.zeros((2, 0)), np.zeros((0, 1))), [[1, 1]], [[1]], r"w1 must have the shape \(at least 1"),
        (Weights(np.zeros((2, 3)), np.zeros((3, 0))), [[1, 1]], [[1]], r"w2 must have the shape \(3, at least 1\)"),
        (Weights(np.zeros((2, 3)), np.zeros((4, 1))), [[1, 1]], [[1]], r"w2 must have the shape \(3, at least 1\)"),
        (Weights([["a"]], [[2]]), [[1]], [[1]], "w1 must be weights"),
        (Weights([[2]], [[2]]), [[0.5]], [[1]], r"inputs must be binary, 0 or 1, .*; entry \[0, 0\] is 0.5"),
        (Weights([[2]], [[2]]), [[1]], [[2]], "targets must be binary"),
        (Weights([[2]], [[2]]), [[1, 0]], [[1]], r"inputs must have the shape \(n_samples, 1\); got \(1, 2\)"),
        (Weights([[2]], [[2]]), [[1]], [[1], [1]], "targets must be as many as inputs; got 2 and 1"),
    ],
)  # fmt: skip
def test_what_no_chip_holds_is_refused(weights, x, t, said):
    for learn in (reference.learned, circuit.learned):
        with pytest.raises(ValueError, match=said):
            learn(weights, x, t)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([0, 3], r"labels must lie in 0..2, one for each output; entry \[1\] is 3"),
        ([-1], "labels must lie in 0..2"),
        ([0.5], "labels must be a vector of integers"),
        ([[1]], "labels must be a vector of integers"),
    ],
)
def test_labels_are_outputs(labels, said):
    with pytest.raises(ValueError, match=said):
        one_hot(labels, 3)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"error": "both"}, "error must be one of sign, real; got 'both'"),
        ({"read": "never"}, "read must be one of before, after"),
        ({"limits": 8}, "limits must be one of"),
        ({"edge": 0}, "edge must be an integer in 1"),
        ({"bits": 1}, "bits must be an integer in 2..16; got 1"),
        ({"dead": 1.5}, "dead must be an integer"),
        ({"box": 1}, "box must be True or False"),
        ({"typical": 0}, "typical must be a finite number > 0"),
    ],
)
def test_a_rule_is_one_that_there_is(options, said):
    with pytest.raises(ValueError, match=said):
        Rule(**options)


def test_a_circuit_has_no_real_error():
    with pytest.raises(
        ValueError, match="a circuit has a box, and computes the sign of the error in integers; got exact"
    ):
        circuit.learned(Weights([[2]], [[2]]), [[1]], [[1]], Rule(error="real"))
    with pytest.raises(ValueError, match="targets must be given to a circuit that learns"):
        circuit.learned(Weights([[2]], [[2]]), [[1]], None)


@pytest.mark.parametrize("sizes", [(0, 3, 2), (2, 0, 2), (2, 3, 0), (2, 3, True), (2.0, 3, 2)])
def test_weights_of_a_layer_of_no_neurons_are_not_drawn(sizes):
    with pytest.raises(ValueError, match="must be an integer >= 1"):
        initial(sizes, 1)


def test_nothing_that_is_given_is_changed():
    w = Weights(np.array([[254, 254]]), np.array([[100], [100]]))
    x, t = np.array([[1]]), np.array([[1]])
    copies = [a.copy() for a in (*w, x, t)]
    reference.learned(w, x, t), circuit.learned(w, x, t), reference.learned(w, x, t, EXACT)
    assert all(np.array_equal(a, b) for a, b in zip((*w, x, t), copies, strict=True))


def test_trials_in_pieces_are_trials_in_one_go():
    """What is under way after a trial goes on in the next one."""
    rule, weights, x, t = lesson(5, n_samples=9, largest=8)
    whole = circuit.learned(weights, x, t, rule)
    state = circuit.begun(circuit.held(weights, rule=rule))
    for n in range(len(x)):
        piece = circuit.ran(state, x[n : n + 1], t[n : n + 1], rule=rule)
        state = piece.state
        for name, spikes in whole.spikes.items():
            assert np.array_equal(piece.spikes[name][0], spikes[n])
    assert all(np.array_equal(state.weights[name], w) for name, w in whole.state.weights.items())


def test_the_rules_have_names():
    assert CHIP.name == "sign of the hidden error"
    assert (
        SCRIPT.name == "sign of the hidden error, transport after learning, upper edge 1023, symmetric limits"
    )
    assert EXACT.name == "exact backpropagation, no limits"
    assert Rule(bits=5, box=False, dead=8).name == "sign of the hidden error, no box, 5 bits, no sign up to 8"


@pytest.mark.parametrize("bits", [4, 8, 10])
def test_weights_of_other_bits_stay_on_their_grid_and_learn_by_its_unit(bits):
    rule = Rule(bits=bits)
    weights = initial((9, 30, 3), 4, rule)
    rng = np.random.default_rng(0)
    x, t = rng.random((30, 9)) < 0.6, rng.random((30, 3)) < 0.4
    found = reference.learned(weights, x, t, rule)
    assert all((w == np.round(w / rule.unit) * rule.unit).all() for w in found.weights)
    assert (found.weights.w1 != weights.w1).any()
    assert (found.weights.w2 != weights.w2).any()
    first = reference.learned(weights, x[:1], t[:1], rule)
    assert {*np.unique(np.abs(first.weights.w2 - weights.w2))} <= {0, rule.unit}
    assert np.array_equal(reference.outputs(weights, x, rule)[0], found.z2[0])
