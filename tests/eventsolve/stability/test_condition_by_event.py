"""What every event adds to the errors of derivatives: second derivatives of V and I, times what is off.

Roundings are taken for eighths here, and what is off and how large derivatives are for numbers drawn at random, so that
no term is too small to be seen.
"""

from collections import Counter

import mpmath
import numpy as np
import pytest
import scipy.sparse as sp

import eventsolve as es
from eventsolve.kernels.perturbation import Changes, Reach, Scales
from eventsolve.kernels.trajectories import ARRIVAL, END, RELEASE, SPIKE
from eventsolve.patterns import NAMES, NEURON_PARAMETERS
from eventsolve.stability import condition
from eventsolve.stability.condition import _Events
from eventsolve.stability.margins import spiking_layers
from eventsolve.stability.parts import layer_part_of

MS, EPS = 1e-3, np.finfo(float).eps
ROUNDING, SPACING = 0.125, 0.0625


def everything():
    """Resets of both kinds with and without a refractory period; one neuron would spike if nothing arrived."""
    net = es.Network()
    net.add_input("in", 2)
    net.add_input("kicks", 2)
    net.add_population(
        "value",
        3,
        es.LIF(
            [20 * MS, 15 * MS, 10 * MS],
            [5 * MS, 4 * MS, 3 * MS],
            v_threshold=[1.0, 0.9, 1.2],
            v_reset=[0.1, -0.3, -2.0],
            v_leak=[1.5, 0.2, -0.1],
            t_ref=[2 * MS, 0.0, 1 * MS],
        ),
    )
    net.add_population(
        "subtract",
        3,
        es.LIF(
            [12 * MS, 18 * MS, 22 * MS],
            [6 * MS, 5 * MS, 2 * MS],
            v_reset=[0.2, -0.2, 0.0],
            v_leak=[0.0, 0.3, 0.1],
            t_ref=[0.0, 1.5 * MS, 0.0],
            reset="subtract",
        ),
    )
    for name, kick in (("value", 1.2), ("subtract", 0.4)):
        net.connect("in", name, [[9.0, -2.0], [14.0, 8.0], [15.0, 12.0]])
        net.connect("kicks", name, [[kick, 0.8], [1.4, -0.4], [0.9, 0.5]], synapse="delta")
    net.connect("value", "subtract", 3.0 * sp.eye_array(3), delay=1 * MS)
    net.connect("subtract", "value", -0.2 * sp.eye_array(3), delay=0.3 * MS, synapse="delta")
    inputs = {
        "in": es.SpikeTrains.from_lists([[[3 * MS], [6 * MS]], [[0.5 * MS], [2 * MS]]]),
        "kicks": es.SpikeTrains.from_lists([[[4 * MS], [1 * MS]], [[0.4 * MS, 4.5 * MS], []]]),
    }
    return net, inputs


def solutions():
    """From the start, where neurons are held by earlier spikes, with a first arrival that triggers, and with none."""
    net, inputs = everything()

    def some(late):
        return {
            name: es.SpikeTrains.from_lists(
                [
                    [[t for t in train if (t > 4.6 * MS) == late] for train in sample]
                    for sample in trains.to_lists()
                ]
            )
            for name, trains in inputs.items()
        }

    before = es.solve(net, some(False), 4.6 * MS)
    yield es.solve(net, inputs, 6 * MS)
    yield es.solve(net, some(True), 8 * MS, initial=before.final_state).from_start()
    first = es.Network()
    first.add_input("in", 1)
    first.add_population("out", 1, es.LIF(20 * MS, 5 * MS, v_reset=-0.2, reset="subtract"))
    first.connect("in", "out", [[1.6]], synapse="delta")
    yield es.solve(first, {"in": es.SpikeTrains.from_lists([[[1 * MS]]])}, 2 * MS)
    alone = es.Network()
    alone.add_population("out", 1, es.LIF(20 * MS, 5 * MS, v_leak=2.0, t_ref=1 * MS))
    yield es.solve(alone, {}, 16 * MS)


def sizes_of_derivatives(f, at, orders):
    """Return abs of mixed derivatives of f at a point, each by the places that it names."""
    counts = [tuple(which.count(k) for k in range(len(at))) for which in orders]
    return [float(abs(mpmath.diff(f, at, n))) for n in counts]


def v_after(h, start, i, tau_mem, tau_syn, leak):
    """Return V a time h after it was at start, and I at i."""
    a, b = mpmath.exp(-h / tau_mem), mpmath.exp(-h / tau_syn)
    return leak + (start - leak) * a + i * tau_syn / (tau_mem - tau_syn) * (a - b)


class Walk:
    """The trajectories of a sample, and what is drawn at random for it."""

    def __init__(self, layer_part, sample, rng, early):
        self.layer, self.own = layer_part.layer, layer_part.own
        self.origin, self.of = layer_part.origin, layer_part.trajectories[sample]
        n, n_own, n_given = len(self.of.states), self.own.times.size, self.origin.size
        self.off, self.size = (Reach(*(rng.uniform(1, 2, m) for m in (n, n, n_own + 1))) for _ in range(2))
        for reach in (self.off, self.size):
            reach.spikes[-1] = 0.0  # of no spike
        self.off.spikes[:2] = early
        self.off_given, self.size_given = rng.uniform(1, 2, (2, n_given + 1))
        self.unit = Changes(*rng.uniform(1, 2, (5, n)))
        synapses = self.layer.afferents.weight.size
        self.scales = Scales(*rng.uniform(1, 2, (2, synapses)), rng.uniform(1, 2, (8, self.layer.size)))
        for g in np.flatnonzero(self.of.events[:, 1] == ARRIVAL):
            delta = self.layer.afferents.delta[self.of.synapses[g]]
            (self.unit.early_i if delta else self.unit.early_v)[g + 1] = 0.0  # a weight is one of I or of V
        self.met = Counter()

    def of_arrival(self, g, spikes, given):
        cause = self.of.causes[g]
        place = self.origin[cause]
        self.met["own arrival" if place >= 0 else "arrival from elsewhere"] += 1
        return spikes[place] if place >= 0 else given[cause]

    def expected(self):
        """Return V, I at the start and at the end of each segment; NaN where V is held at its end."""
        found = Changes(*np.zeros((5, len(self.of.states))))
        for neuron in range(self.layer.size):
            last_spike = -1
            for g in range(self.of.first[neuron], self.of.last[neuron]):
                last_spike = self.segment(found, neuron, g, last_spike)
        return found

    def segment(self, found, neuron, g, last_spike):
        neurons, off, size, unit = self.layer.neurons, self.off, self.size, self.unit
        held, ending, which = self.of.events[g]
        begin, h, u, i, *_ = self.of.states[g].tolist()
        fields = (neurons.tau_mem, neurons.tau_syn, neurons.v_leak, neurons.v_threshold, neurons.v_reset)
        tau_mem, tau_syn, leak, threshold, reset = (float(x[neuron]) for x in fields)
        d = dict(zip(NEURON_PARAMETERS, self.scales.neurons[:, neuron], strict=True))
        d_mem, d_syn, d_leak = d["tau_mem"], d["tau_syn"], d["v_leak"]
        end, level = begin + h, abs(threshold) + abs(leak)
        # of I and V at the end by what they are at the start and by parameters, and by pairs of both
        i_by_i, i_by_syn, i_by_both = sizes_of_derivatives(
            lambda x, tau: x * mpmath.exp(-h / tau), (i, tau_syn), ([0], [1], [0, 1])
        )
        by_v, by_i, by_leak, by_v_mem, by_i_mem, by_i_syn = sizes_of_derivatives(
            lambda *x: v_after(h, *x),
            (u + leak, i, tau_mem, tau_syn, leak),
            ([0], [1], [4], [0, 2], [1, 2], [1, 3]),
        )
        found.late_i[g] = ROUNDING * (i_by_i * size.i[g] + i_by_syn * d_syn) + i_by_both * d_syn * off.i[g]
        owed = by_leak * d_leak + d_mem * (by_v_mem * abs(u) + by_i_mem * abs(i)) + d_syn * by_i_syn * abs(i)
        late_v = ROUNDING * (by_v * size.v[g] + by_i * size.i[g] + owed)
        late_v += d_mem * (by_v_mem * off.v[g] + by_i_mem * off.i[g]) + d_syn * by_i_syn * off.i[g]
        found.late_v[g] = np.nan if held else late_v
        if ending == END:
            return last_spike
        behind = g + 1

        def pace(slope, v, current):
            """Return how fast the derivative of V goes: V' is (I - V + v_leak)/tau_mem."""
            return (v + current + d_leak) / tau_mem + abs(slope) / tau_mem * d_mem

        if ending == ARRIVAL:
            synapse = self.of.synapses[g]
            weight, delta = float(self.layer.afferents.weight[synapse]), self.layer.afferents.delta[synapse]
            moved = self.of_arrival(g, off.spikes, self.off_given) + SPACING * end
            shifted = self.of_arrival(g, size.spikes, self.size_given) + unit.shift[g]
            heavier = (unit.early_v if delta else unit.early_i)[behind]
            self.met["delta" if delta else "exponential", "held" if held else "free"] += 1

            def response(t, w, mem, syn):  # behind the arrival, which comes at t
                return w * mpmath.exp(t / mem) if delta else v_after(-t, 0, w, mem, syn, 0)

            at = (0.0, weight, tau_mem, tau_syn)
            found.early_i[behind] = np.nan if np.isinf(moved) else 0.0  # 0 times infinity
            if not delta:
                by, twice, by_w, by_syn = sizes_of_derivatives(
                    lambda t, w, _, syn: w * mpmath.exp(t / syn), at, ([0], [0, 0], [0, 1], [0, 3])
                )
                found.early_i[behind] = moved * (twice * shifted + by_w * heavier + by_syn * d_syn)
                found.early_i[behind] += ROUNDING * (by * shifted + heavier)
            if not held:
                by, twice, by_w, by_mem = sizes_of_derivatives(response, at, ([0], [0, 0], [0, 1], [0, 2]))
                found.early_v[behind] = moved * (twice * shifted + by_w * heavier + by_mem * d_mem)
                found.early_v[behind] += ROUNDING * (by * shifted + heavier * delta)
            return last_spike
        spike = which if ending == SPIKE else last_spike
        late, reach = (off.spikes[spike], size.spikes[spike]) if spike >= 0 else (0.0, 0.0)
        # how far V' is off at an event that is late: through I, and by roundings of its terms
        current = i_by_i * abs(i)
        off_i = i_by_i * off.i[g] + ROUNDING * abs(i) + current / tau_syn * late
        off_slope = (off_i + ROUNDING * (current + abs(u) + level)) / tau_mem
        u_end = u if held else float(v_after(h, u, i, tau_mem, tau_syn, 0.0))
        u_behind = self.of.states[behind, 2]
        slopes = [(i_by_i * i - x) / tau_mem for x in (u_end, u_behind)]
        slow = [
            pace(
                slopes[0],
                by_v * size.v[g] + by_i * size.i[g] + unit.late_v[g],
                i_by_i * size.i[g] + unit.late_i[g],
            ),
            pace(slopes[1], size.v[behind], size.i[behind]),
        ]
        crosses, held_on = self.own.trigger[spike] < 0, self.of.events[behind, 0]
        subtracts = ending == SPIKE and not crosses and neurons.subtracts[neuron] == 1.0
        self.met[
            "release"
            if ending == RELEASE
            else "crossing"
            if crosses
            else "subtraction"
            if subtracts
            else "reset",
            "of before" if spike < 0 else "held" if held_on else "free",
        ] += 1
        if ending == SPIKE and crosses:
            found.late_v[g] += slow[0] * late + (off_slope + ROUNDING * abs(slopes[1])) * reach
        if not held_on:  # V goes on with its slope for as long as the spike, and its release, is early
            reach += d["t_ref"]
            off_after = off_slope + (off.v[g] / tau_mem if subtracts or ending == RELEASE else 0.0)
            found.early_v[behind] = (off_after + ROUNDING * abs(slopes[1])) * reach + slow[1] * late
        if subtracts:  # the slope changes by what is subtracted, or ends
            change = abs(slopes[0]) if held_on else (threshold - reset) / tau_mem
            found.early_v[behind] += (off_slope + ROUNDING * change) * reach + sum(slow) * late
        return spike


def test_every_event_adds_second_derivatives_times_what_is_off(monkeypatch):
    monkeypatch.setattr(condition, "ROUNDING", ROUNDING)
    monkeypatch.setattr(condition, "SPACING", SPACING)
    met = Counter()
    rng = np.random.default_rng(1)
    # how far the first two spikes are off: infinitely where they have no slope
    for part, early in zip(solutions(), [1.5, np.inf, 1.5, 1.5], strict=True):
        layer_part = layer_part_of(part, *spiking_layers(part))
        for sample, trajectories in enumerate(layer_part.trajectories):
            walk = Walk(layer_part, sample, rng, early)
            events = _Events(layer_part, trajectories)
            with np.errstate(invalid="ignore"):
                found = events.errors(
                    walk.off, walk.size, walk.unit, walk.scales, walk.off_given, walk.size_given
                )
            for name, wanted, got in zip(Changes._fields, walk.expected(), found, strict=True):
                assert got.shape == wanted.shape
                told = ~np.isnan(wanted)
                np.testing.assert_allclose(got[told], wanted[told], rtol=1e-10, atol=0.0, err_msg=name)
            met += walk.met
    assert set(met) == {
        *("own arrival", "arrival from elsewhere", ("release", "free"), ("release", "of before")),
        *(
            (what, how)
            for what in ("exponential", "delta", "crossing", "subtraction", "reset")
            for how in ("free", "held")
        ),
    }


def test_what_rounding_changes_between_events(monkeypatch):
    """Of u exp(-a) that is (1 + a) exp(-a), of i K 4.1 (1 + a + b) K and no more than 1, and of I all of it."""
    monkeypatch.setattr(condition, "ROUNDING", ROUNDING)
    monkeypatch.setattr(condition, "SPACING", SPACING)
    met = Counter()
    for part in solutions():
        layer_part = layer_part_of(part, *spiking_layers(part))
        neurons = layer_part.layer.neurons
        for of in layer_part.trajectories:
            found = _Events(layer_part, of).roundings()
            assert not np.any(found.early_v)
            assert not np.any(found.early_i)
            for neuron, (first, last) in enumerate(zip(of.first, of.last, strict=True)):
                tau_mem, tau_syn = float(neurons.tau_mem[neuron]), float(neurons.tau_syn[neuron])
                level = abs(neurons.v_threshold[neuron]) + abs(neurons.v_leak[neuron])
                for g in range(first, last):
                    begin, h, u, i, *_ = of.states[g].tolist()
                    a, b = h / tau_mem, h / tau_syn
                    share = 4.1 * float(v_after(h, 0, 1, tau_mem, tau_syn, 0)) * (1 + a + b)
                    met[share > 1.0] += 1
                    terms = abs(u) * float(mpmath.exp(-a)) * (1 + a) + abs(i) * min(share, 1.0) + level
                    assert found.late_v[g] == pytest.approx(ROUNDING * terms, rel=1e-12, abs=0.0)
                    assert found.late_i[g] == ROUNDING * abs(i)
                    assert found.shift[g] == SPACING * (begin + h)
    assert min(met.values()) > 0
    assert len(met) == 2


def test_the_sizes_of_one_contribution_each_are_its_derivatives():
    """One arrival makes one spike; only of its time V and I tell the two halves, which cancel in part."""
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("out", 1, es.LIF(20 * MS, 5 * MS))
    net.connect("in", "out", [[8.0]])
    inputs, t_end = {"in": es.SpikeTrains.from_lists([[[1 * MS]]])}, 8 * MS
    condition_of = es.gradient_condition(solution := es.solve(net, inputs, t_end))
    assert solution.spikes["out"].n_spikes == 1
    grads = es.vjp(solution, {"out": [1.0]})
    h = float(solution.spikes["out"].times[0]) - 1 * MS
    current, response = 8.0 * np.exp(-h / (5 * MS)), float(v_after(h, 0, 1, 20 * MS, 5 * MS, 0))
    both = (8.0 * np.exp(-h / (20 * MS)) + 8.0 * response * 4) / (current - 1.0)
    for name in NAMES:
        found = getattr(grads, name)
        (wanted,) = np.abs(found["in" if name == "spike_times" else next(iter(found))]).ravel()
        if name in ("delay", "spike_times"):
            assert wanted == pytest.approx(1.0)
            wanted = both
        assert condition_of.sizes[name]["out"] == pytest.approx(wanted, rel=64 * EPS, abs=0.0), name
    assert sum(condition_of.sizes[name]["out"][0] > 0.0 for name in NAMES) >= 9


def test_where_nothing_happens_there_is_nothing_to_know():
    net = es.Network()
    net.add_population("out", 1, es.LIF(20 * MS, 5 * MS))
    assert es.gradient_condition(es.solve(net, {}, 1 * MS)).digits["out"].tolist() == []


# -- what is said of it --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("digits", "said"), [(-3.0, "0.0"), (0.26, "0.3"), (5.26, "5.3")])
def test_no_digits_are_less_than_none_in_words(digits, said):
    assert str(condition.IllConditioned("out", 0, 0, 1.0, digits, "weight")).endswith(f" have {said} digits")


def test_any_number_of_digits_from_0_on_may_be_asked_for():
    found = next(solutions())
    known = es.gradient_condition(found)
    least = min(d.min() for d in known.digits.values())
    assert known.flagged(digits=0) == known.flagged(0.5) == ()
    assert known.flagged(digits=least + 1e-9)
    with pytest.raises(ValueError, match="digits must be a number >= 0"):
        known.flagged(digits=-0.5)


@pytest.mark.parametrize("name", ["sizes", "errors"])
def test_a_condition_has_an_entry_for_each_spike(name):
    found = es.gradient_condition(next(solutions()))
    given = {field: getattr(found, field) for field in ("solution", "time_error", "sizes", "errors")}
    es.Condition(**given)
    with pytest.raises(ValueError, match=rf"{name}\['weight'\]\['value'\] must have an entry for each"):
        es.Condition(**{**given, name: {"weight": {"value": np.zeros(2)}}})


def test_what_is_known_cannot_be_written():
    found = es.gradient_condition(next(solutions()))
    for column in (found.time_error["value"], found.sizes["weight"]["value"], found.errors["delay"]["value"]):
        with pytest.raises(ValueError, match="read-only"):
            column[0] = 0.0
