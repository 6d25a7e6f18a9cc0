"""Claims against spikes that are made up: who is paired with whom, which error is told, how far a time may be off."""

import dataclasses
import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
from flint import arb
from mpmath import mp, mpf

import eventsolve as es
from eventsolve.certify.arithmetic import Enclosures, at_time, vague
from eventsolve.certify.boxes import PARAMETERS
from eventsolve.certify.claims import (
    GradientEnclosures,
    Refutation,
    SampleGradient,
    Tolerances,
    _advance,
    _crossing_error,
    _Errors,
    by_sample,
    checked_claim,
    compared,
    gradient_of,
    judge,
    largest_terms,
    sample_gradient,
    tolerances,
)
from eventsolve.certify.gradient import Sums, sized
from eventsolve.certify.network import Event, Spike

MS = 1e-3
ROUNDING = 4 * 2.0**-53
"""Four roundings of a number, relative to it."""
END = 8.0


# -- who is paired with whom -----------------------------------------------------------------------------------------


def judged(
    proven, claimed, *, allowed=0.0, doubtful=(), open_cells=(), open_allowed=(), exact=True, until=END
):
    """Judge neurons 0 to 2 of a population, which are cells 2 to 4: (cell, time or ball), and (time, neuron)."""
    given = [Spike(-1, at_time(0.5), -1), Spike(2, at_time(0.75), -1)]
    spikes = [
        *given,
        *(Spike(c, at_time(t) if isinstance(t, float) else vague(t), -1) for c, t in proven),
    ]
    box = SimpleNamespace(
        populations={"other": slice(0, 2), "p": slice(2, 5), "next": slice(5, 6)},
        until=np.array([1.0, until]),
        exact=exact,
    )
    enclosed = SimpleNamespace(
        spikes=spikes,
        n_given=2,
        open={c: (t, None) for c, t in open_cells},
        doubtful={2 + k for k in doubtful},
    )
    found = judge(
        box,
        enclosed,
        Tolerances([allowed] * len(spikes), dict(open_allowed)),
        "p",
        1,
        [t for t, _ in claimed],
        [n for _, n in claimed],
    )
    kinds = [(r.kind, r.population, r.sample, r.neuron, r.when) for r in found.refuted]
    return [k - 2 if k != -1 else None for k in found.matched], kinds, found.open_at_end


def test_each_claimed_spike_has_the_place_of_the_proven_one_of_its_neuron():
    proven = [(1, 1.0), (5, 1.0), (2, 1.0), (4, 1.5), (2, 2.0), (4, 3.0)]
    claimed = [(1.0, 0), (1.5, 2), (2.0, 0), (3.0, 2)]
    assert judged(proven, claimed) == ([2, 3, 4, 5], [], [])
    # neither a given one nor a neighbour's counts
    assert judged([(1, 1.0), (5, 1.0)], [(0.75, 0)]) == ([None], [("extra", "p", 1, 0, 0.75)], [])
    assert judged([(4, 1.0), (2, 3.0)], []) == (
        [],
        [("missed", "p", 1, 0, 3.0), ("missed", "p", 1, 2, 1.0)],
        [],
    )


def test_no_pairing_in_the_order_of_time_has_more_pairs():
    """Against all subsets of both, in order."""
    random = np.random.default_rng(0)
    for _ in range(150):
        true, mine = (
            sorted((0.125 * random.choice(40, size=random.integers(5), replace=False)).tolist())
            for _ in range(2)
        )
        allowed = 0.125 * float(random.integers(4))
        most = max(
            n
            for n in range(min(len(true), len(mine)) + 1)
            for some in itertools.combinations(true, n)
            for others in itertools.combinations(mine, n)
            if all(abs(a - b) <= allowed for a, b in zip(some, others, strict=True))
        )
        matched, _, _ = judged([(3, t) for t in true], [(t, 1) for t in mine], allowed=allowed)
        pairs = [(q, k) for q, k in enumerate(matched) if k is not None]
        assert len(pairs) == most
        assert all(abs(mine[q] - true[k]) <= allowed for q, k in pairs)
        assert [k for _, k in pairs] == sorted({k for _, k in pairs})


def test_what_is_told_of_a_neuron_is_its_first_error():
    proven = [(3, 1.0), (3, 2.0), (3, 4.0)]

    def told(*times, **options):
        _, kinds, _ = judged(proven, [(t, 1) for t in times], **options)
        return [(kind, when) for kind, *_, when in kinds]

    assert told(1.0, 2.0, 4.0) == []
    assert told(1.0, 2.0) == [("missed", 4.0)]
    assert told(4.0) == [("missed", 1.0)]
    assert told(1.0, 1.5, 1.75, 2.0, 4.0) == [("extra", 1.5)]
    assert told(0.5, 2.0, 4.0) == [("moved", 0.5)]
    assert told(1.25, 2.0, 4.0) == [("moved", 1.0)]
    assert told(1.25, 2.25, 4.0) == [("moved", 1.0)]
    assert told(0.5, 1.5, 4.0) == [("moved", 0.5)]
    assert told(1.5, 4.0) == [("missed", 1.0)]  # which is as much as one moved and one missing
    assert told(0.5, 1.5, 2.0, 4.0) == [("extra", 0.5)]
    # up to when the sample was solved, the end itself included
    assert told(1.0, 2.0, 4.0, END) == [("extra", END)]
    assert told(1.0, 2.0, 4.0, END + 1) == []
    # and before what is open, with the tolerance of what is open there
    is_open = {"open_cells": [(3, 5.0)]}
    assert told(1.0, 2.0, 4.0, 5.0, **is_open) == []
    assert told(1.0, 2.0, 4.0, 4.75, **is_open) == [("extra", 4.75)]
    assert told(1.0, 2.0, 4.0, 4.75, **is_open, open_allowed=[(3, 0.25)]) == []
    assert told(1.0, 2.0, 4.0, 4.5, **is_open, open_allowed=[(3, 0.25)]) == [("extra", 4.5)]
    assert told(1.0, 2.0, 4.0, 4.75, open_cells=[(2, 1.0)], open_allowed=[(2, 9.0)]) == [("extra", 4.75)]
    # a spike that came before it turned out that something earlier is open
    assert told(1.0, 2.0, doubtful=[2]) == []
    assert told(1.0, 2.0, 4.0, doubtful=[2]) == [("extra", 4.0)]


def test_the_very_first_spike_of_a_sample_is_matched_as_others_are():
    box = SimpleNamespace(populations={"p": slice(0, 1)}, until=np.array([END]), exact=True)
    enclosed = SimpleNamespace(spikes=[Spike(0, at_time(1.0), -1)], n_given=0, open={}, doubtful=set())
    found = judge(box, enclosed, Tolerances([0.0], {}), "p", 0, [1.0], [0])
    assert (found.matched, found.refuted) == ([0], [])


@pytest.mark.parametrize(("allowed", "absent"), [(0.0, False), (0.25, False), (0.5, True), (1.0, True)])
def test_a_spike_within_its_tolerance_of_the_end_may_be_missing(allowed, absent):
    proven = [(3, END - 0.5)]
    assert judged(proven, [(END - 0.5, 1)], allowed=allowed)[:2] == ([0], [])
    kinds = judged(proven, [], allowed=allowed)[1]
    assert [kind for kind, *_ in kinds] == ([] if absent else ["missed"])


def test_neurons_are_open_at_the_end_whose_spike_is_before_it_in_a_part_of_the_box():
    proven = [(2, arb(END, 0.5)), (3, arb(END - 1, 0.5)), (4, arb(END, 0.5)), (4, arb(END + 1, 0.5))]
    assert judged(proven, [], exact=False)[2] == [0, 2]
    assert judged(proven, [], exact=True)[2] == []


def test_a_refutation_says_who_and_when():
    who = ("p", 3, 7)
    for refutation, when, text in (
        (Refutation("missed", *who, 0.5, math.nan), 0.5, "spikes at 0.5 s, which is missing"),
        (Refutation("extra", *who, math.nan, 0.25), 0.25, "does not spike at 0.25 s, as is claimed"),
        (Refutation("moved", *who, 0.5, 0.25), 0.25, "spikes at 0.5 s, not at 0.25 s"),
        (Refutation("moved", *who, 0.5, 0.75), 0.5, "spikes at 0.5 s, not at 0.75 s"),
    ):
        assert refutation.when == when
        assert str(refutation) == f"neuron 7 of 'p' in sample 3 {text}"


def test_claimed_spikes_fit_the_solution_up_to_its_end():
    trains = es.SpikeTrains.from_lists([[[], []], [[1.0], [2.0]], [[3.0], [0.5, 2.5]]])
    assert checked_claim({"p": trains, "q": trains}, {"p": trains}, 3.0) == {"p": trains}
    silent = es.SpikeTrains.from_lists([[[]]])
    assert checked_claim({"p": silent}, {"p": silent}, 0.0) == {"p": silent}
    with pytest.raises(ValueError, match=r"must not be after t_end = 2.75 s; got 3.0 s"):
        checked_claim({"p": trains}, {"p": trains}, 2.75)
    with pytest.raises(TypeError, match="spikes must be a mapping of population to SpikeTrains; got"):
        checked_claim({"p": trains}, [trains], 3.0)
    with pytest.raises(ValueError, match=r"spikes name 'q', which is not a spiking population; .* \['p'\]"):
        checked_claim({"p": trains}, {"p": trains, "q": trains}, 3.0)
    with pytest.raises(TypeError, match=r"spikes\['p'\] must be SpikeTrains; got"):
        checked_claim({"p": trains}, {"p": [1.0]}, 3.0)
    for other in ([[[], []]] * 2, [[[]]] * 3):
        with pytest.raises(ValueError, match="must have 3 samples of 2 neurons"):
            checked_claim({"p": trains}, {"p": es.SpikeTrains.from_lists(other)}, 3.0)
    assert [by_sample(trains, s) for s in range(3)] == [
        ([], []),
        ([1.0, 2.0], [0, 1]),
        ([0.5, 2.5, 3.0], [1, 1, 0]),
    ]


# -- how far a time may be off ---------------------------------------------------------------------------------------


def flowed(pair, s, tau_mem, tau_syn):
    """V and I a time later, by the exponential of their equations' matrix."""
    with mp.workdps(30):
        matrix = mp.matrix([[-1 / mpf(tau_mem), 1 / mpf(tau_mem)], [0, -1 / mpf(tau_syn)]]) * mpf(s)
        v, i = mp.expm(matrix) * mp.matrix(pair)
        return float(v), float(i)


@pytest.mark.parametrize(("tau_mem", "tau_syn"), [(20.0, 5.0), (5.0, 20.0), (8.0, 8.0), (0.5, 3.0)])
@pytest.mark.parametrize("free_at", [-1.0, 2.0, 4.0, 9.0])
def test_sizes_and_errors_follow_the_equations_and_v_not_while_it_is_held(tau_mem, tau_syn, free_at):
    begin, end = 2.0, 7.0
    cell = _Errors(begin, free_at, -3.0, 5.0, 7.0, 11.0, 13.0)
    _advance(cell, end, tau_mem, tau_syn)
    moves = min(max(begin, free_at), end)
    held = math.exp(-(moves - begin) / tau_syn)
    size = flowed((5.0, 7.0 * held), end - moves, tau_mem, tau_syn)
    error = flowed((11.0, 13.0 * held), end - moves, tau_mem, tau_syn)
    assert (cell.time, cell.free_at) == (end, free_at)
    assert cell.current == pytest.approx(-3.0 * math.exp(-5.0 / tau_syn), rel=1e-14, abs=0.0)
    assert (cell.voltage_size, cell.current_size) == pytest.approx(size, rel=1e-13, abs=0.0)
    assert (cell.voltage_error, cell.current_error) == pytest.approx(error, rel=1e-13, abs=0.0)
    before = (cell.current, cell.voltage_size, cell.current_size, cell.voltage_error, cell.current_error)
    _advance(cell, end - 1.0, tau_mem, tau_syn)  # events are in order but for roundings
    assert (
        cell.current,
        cell.voltage_size,
        cell.current_size,
        cell.voltage_error,
        cell.current_error,
    ) == before


def test_a_crossing_is_off_by_the_error_of_v_over_its_slope_or_by_the_root_near_a_peak():
    error, tau_mem, tau_syn = 1e-6, 2.0, 0.5
    # steep: V' = drive / tau_mem
    for drive in (4.0, 1.0):
        found = _crossing_error(error, drive, 1.0, tau_mem, tau_syn)
        assert found == pytest.approx(error * tau_mem / drive, rel=1e-14, abs=0.0)
    # at a peak V'' = -I / (tau_syn tau_mem), and V' / tau_mem besides where it is small
    for drive in (0.0, 1e-8, -1e-8):
        bend = (3.0 / tau_syn + abs(drive) / tau_mem) / tau_mem
        for current in (3.0, -3.0):
            assert _crossing_error(error, drive, current, tau_mem, tau_syn) == pytest.approx(
                math.sqrt(2.0 * error / bend), rel=1e-12, abs=0.0
            )
    assert _crossing_error(error, 0.0, 0.0, tau_mem, tau_syn) == math.inf
    assert _crossing_error(error, -4.0, 0.0, tau_mem, tau_syn) == pytest.approx(
        math.sqrt(2.0 * error / 1.0), rel=1e-14, abs=0.0
    )


LEAK, THRESHOLD, RESET = -0.25, 1.0, -0.5
TAU_MEM, TAU_SYN, T_REF = 20 * MS, 5 * MS, 2 * MS
WEIGHTS = (40.0, -2.0, 30.0, 0.75, 8.0)
DELTA = (False, False, False, True, False)


def tolerances_of(history, spikes, *, start=None, subtracts=False, open_cells=()):
    """Tolerances of two cells, with given spikes first: one for each of (cell, trigger) that is (-1, -1)."""

    def middle(*values):
        return SimpleNamespace(middle=np.array(values))

    box = SimpleNamespace(
        parameters={
            "tau_mem": middle(TAU_MEM, 10 * MS),
            "tau_syn": middle(TAU_SYN, 10 * MS),
            "v_threshold": middle(THRESHOLD, 2.0),
            "v_reset": middle(RESET, 0.125),
            "v_leak": middle(LEAK, 0.5),
            "t_ref": middle(T_REF, 0.0),
            "v_initial": middle(0.5, 0.25),
            "i_initial": middle(-0.125, 3.0),
        },
        synapses=SimpleNamespace(weight=middle(*WEIGHTS), delta=np.array(DELTA)),
        start=start,
        subtracts=np.array([subtracts, subtracts]),
    )
    enclosed = SimpleNamespace(
        spikes=[Spike(cell, None, trigger) for cell, trigger in spikes],
        history=[Event(cell, at_time(t), spike, synapse) for cell, t, spike, synapse in history],
        open={c: (t, None) for c, t in open_cells},
    )
    return tolerances(box, 1, enclosed)


def kernel(s):
    """V that an I of 1 makes a time later."""
    return flowed((0.0, 1.0), s, TAU_MEM, TAU_SYN)[0]


def decayed(s, tau=TAU_MEM):
    return math.exp(-s / tau)


def crossing_error(error, drive, current):
    slope, bend = drive / TAU_MEM, (abs(current) / TAU_SYN + abs(drive) / TAU_MEM) / TAU_MEM
    return min(error / slope, math.sqrt(2 * error / bend)) if slope > 0 else math.sqrt(2 * error / bend)


LEVELS = abs(LEAK) + abs(THRESHOLD)
A, B, C = 1.0 * MS, 1.5 * MS, 3.0 * MS
"""Two arrivals, and a crossing."""


def by_superposition(v, i, begin):
    """The sizes of V and I, I, and what V and I may be off, at C: sums over the start and two arrivals before."""
    w = np.abs(WEIGHTS[:2])
    moved = w * ROUNDING * np.array([A, B])

    def sizes(t, n):
        """Of V and I at t with n arrivals, of which V has none at once."""
        v_size = abs(v) * decayed(t - begin) + abs(i) * kernel(t - begin)
        i_size = abs(i) * decayed(t - begin, TAU_SYN)
        for at, weight in list(zip((A, B), w, strict=True))[:n]:
            v_size += weight * kernel(t - at)
            i_size += weight * decayed(t - at, TAU_SYN)
        return v_size, i_size

    error = current_error = 0.0
    for n, at in enumerate((A, B)):
        v_size, i_size = sizes(at, n + 1)
        of_v = ROUNDING * (v_size + LEVELS) + moved[n] / TAU_MEM
        of_i = ROUNDING * i_size + moved[n] / TAU_SYN
        error += of_v * decayed(C - at) + of_i * kernel(C - at)
        current_error += of_i * decayed(C - at, TAU_SYN)
    current = i * decayed(C - begin, TAU_SYN)
    current += sum(w * decayed(C - at, TAU_SYN) for w, at in zip(WEIGHTS, (A, B), strict=False))
    return (*sizes(C, 2), current, error, current_error)


TWO_ARRIVALS = [(0, A, 0, 0), (0, B, 1, 1)]
GIVEN = [(-1, -1), (-1, -1)]


@pytest.mark.parametrize("started", [False, True])
def test_a_crossing_is_off_by_all_that_v_may_be_off(started):
    v, i, begin, start = 0.5 - LEAK, -0.125, 0.0, None
    if started:
        v, i, begin = 0.375, 0.5, 0.25 * MS
        columns = [[begin, 9.0], [v, 9.0], [i, 9.0], [0.125 * MS, 9.0], [0.0, 9.0]]
        start = {1: [np.array(column) for column in columns], 0: None}
    v_size, _, current, error, _ = by_superposition(v, i, begin)
    expected = (
        crossing_error(error + ROUNDING * (v_size + LEVELS), current + LEAK - THRESHOLD, current)
        + ROUNDING * C
    )
    spiked = [*TWO_ARRIVALS, (0, C, 2, -1)]
    found = tolerances_of(spiked, [*GIVEN, (0, -1)], start=start)
    assert found.spikes == [0.0, 0.0, pytest.approx(expected, rel=1e-12, abs=0.0)]
    assert found.open == {}
    # what is open there might be such a spike
    found = tolerances_of(TWO_ARRIVALS, GIVEN, start=start, open_cells=[(0, C)])
    assert found.open == {0: pytest.approx(expected, rel=1e-12, abs=0.0)}


def test_a_cell_to_which_nothing_happened_is_off_from_its_start():
    found = tolerances_of([], [], open_cells=[(1, 4 * MS)])
    tau, leak, threshold = 10 * MS, 0.5, 2.0
    v_size, current = flowed((abs(0.25 - leak), 3.0), 4 * MS, tau, tau)
    error = ROUNDING * (v_size + leak + threshold)
    drive = current + leak - threshold
    steep, bend = error / (drive / tau), (current / tau + drive / tau) / tau
    expected = min(steep, math.sqrt(2 * error / bend)) + ROUNDING * 4 * MS
    assert found.open == {1: pytest.approx(expected, rel=1e-12, abs=0.0)}


@pytest.mark.parametrize("subtracts", [False, True])
def test_after_a_reset_v_is_off_by_what_the_spike_is(subtracts):
    """By the slope with which it leaves the reset; over the refractory period I goes on alone."""
    D = 6.0 * MS
    v_size, i_size, current, error, current_error = by_superposition(0.5 - LEAK, -0.125, 0.0)
    first = crossing_error(error + ROUNDING * (v_size + LEVELS), current + LEAK - THRESHOLD, current)
    first += ROUNDING * C
    held = decayed(T_REF, TAU_SYN)
    s = D - C - T_REF
    v_error = first * abs(current + LEAK - RESET) / TAU_MEM
    v_size, _ = flowed((abs(RESET - LEAK), i_size * held), s, TAU_MEM, TAU_SYN)
    error, _ = flowed((v_error, current_error * held), s, TAU_MEM, TAU_SYN)
    current *= decayed(D - C, TAU_SYN)
    second = crossing_error(error + ROUNDING * (v_size + LEVELS), current + LEAK - THRESHOLD, current)
    history = [*TWO_ARRIVALS, (0, C, 2, -1), (0, D, 3, -1)]
    found = tolerances_of(history, [*GIVEN, (0, -1), (0, -1)], subtracts=subtracts)
    assert found.spikes[2:] == pytest.approx([first, second + ROUNDING * D], rel=1e-12, abs=0.0)


@pytest.mark.parametrize("subtracts", [False, True])
def test_a_spike_that_an_arrival_triggers_is_off_as_that_is(subtracts):
    """After it V is exact where it is reset, but for the time; lowered from where it was it stays as uncertain."""
    D = 6.0 * MS
    v_size, i_size, current, error, current_error = by_superposition(0.5 - LEAK, -0.125, 0.0)
    w = WEIGHTS[3]
    moved = w * ROUNDING * C
    history = [*TWO_ARRIVALS, (0, C, 2, 3), (0, C, 3, -1), (0, D, 4, -1)]
    spikes = [*GIVEN, (-1, -1), (0, 2), (0, -1)]
    found = tolerances_of(history, spikes, subtracts=subtracts)
    assert found.spikes[:4] == [0.0, 0.0, 0.0, pytest.approx(ROUNDING * C, rel=1e-14, abs=0.0)]
    error += ROUNDING * (v_size + LEVELS) + moved / TAU_MEM
    v_size += w
    if subtracts:
        error += ROUNDING * (v_size + LEVELS)
        v_size += THRESHOLD - RESET
    else:
        error = ROUNDING * C * abs(current + LEAK - RESET) / TAU_MEM
        v_size = abs(RESET - LEAK)
    held = decayed(T_REF, TAU_SYN)
    s = D - C - T_REF
    v_size, _ = flowed((v_size, i_size * held), s, TAU_MEM, TAU_SYN)
    error, _ = flowed((error, current_error * held), s, TAU_MEM, TAU_SYN)
    current *= decayed(D - C, TAU_SYN)
    expected = crossing_error(error + ROUNDING * (v_size + LEVELS), current + LEAK - THRESHOLD, current)
    assert found.spikes[4] == pytest.approx(expected + ROUNDING * D, rel=1e-12, abs=0.0)


@pytest.mark.parametrize("subtracts", [False, True])
def test_so_is_one_that_the_first_of_all_arrivals_triggers(subtracts):
    D = 6.0 * MS
    history, spikes = [(0, C, 0, 3), (0, C, 1, -1)], [(-1, -1), (0, 0)]
    found = tolerances_of(history, spikes, subtracts=subtracts, open_cells=[(0, D)])
    assert found.spikes == [0.0, pytest.approx(ROUNDING * C, rel=1e-14, abs=0.0)]
    v_size, i_size = flowed((0.5 - LEAK, 0.125), C, TAU_MEM, TAU_SYN)
    current = -i_size
    error = ROUNDING * (v_size + LEVELS) + WEIGHTS[3] * ROUNDING * C / TAU_MEM
    v_size += WEIGHTS[3]
    if subtracts:
        error += ROUNDING * (v_size + LEVELS)
        v_size += THRESHOLD - RESET
    else:
        error = ROUNDING * C * abs(current + LEAK - RESET) / TAU_MEM
        v_size = RESET - LEAK
    s = D - C - T_REF
    v_size, _ = flowed((abs(v_size), i_size * decayed(T_REF, TAU_SYN)), s, TAU_MEM, TAU_SYN)
    current *= decayed(D - C, TAU_SYN)
    error = error * decayed(s) + ROUNDING * (v_size + LEVELS)
    expected = crossing_error(error, current + LEAK - THRESHOLD, current) + ROUNDING * D
    assert found.open == {0: pytest.approx(expected, rel=1e-12, abs=0.0)}


def test_what_a_spike_is_off_is_carried_to_whom_it_reaches():
    """An arrival is off by its spike and by its own rounding; one that triggers, with all that its spike is off."""
    history = [*TWO_ARRIVALS, (0, C, 2, -1), (1, C, 2, 3), (1, C, 3, -1), (0, 6 * MS, 3, 4)]
    found = tolerances_of(history, [*GIVEN, (0, -1), (1, 3)], open_cells=[(0, 6 * MS)])
    first = found.spikes[2]
    assert found.spikes[3] == pytest.approx(first + ROUNDING * C, rel=1e-14, abs=0.0)
    exact = tolerances_of([*history[:3], (0, 6 * MS, 0, 4)], [*GIVEN, (0, -1)], open_cells=[(0, 6 * MS)])
    apart = WEIGHTS[4] * found.spikes[3] / TAU_MEM
    _, _, current, _, _ = by_superposition(0.5 - LEAK, -0.125, 0.0)
    drive = current * decayed(6 * MS - C, TAU_SYN) + WEIGHTS[4] + LEAK - THRESHOLD
    assert drive > 1.0
    assert found.open[0] - exact.open[0] == pytest.approx(apart / (drive / TAU_MEM), rel=1e-9, abs=0.0)


# -- gradients -------------------------------------------------------------------------------------------------------


NAMES = [f.name for f in dataclasses.fields(GradientEnclosures) if f.name != "value"]


def held_against(middle, radius, claimed, name="tau_mem", terms=0.0):
    """Compare one array of a gradient that has no others."""
    value = Enclosures(np.array(0.0), np.array(0.0))
    arrays = {n: {} for n in NAMES} | {name: {"k": Enclosures(np.array(middle), np.array(radius))}}
    claims = {n: {} for n in NAMES} | {name: {"k": np.array(claimed)}}
    return compared(GradientEnclosures(value, **arrays), SimpleNamespace(**claims), {(name, "k"): terms})


@pytest.mark.parametrize("name", NAMES)
def test_every_array_of_a_gradient_is_compared(name):
    mismatches, _ = held_against([[0.0, 1.0], [2.0, 3.0]], np.zeros((2, 2)), [[0.0, 1.0], [2.5, 3.25]], name)
    assert [(m.parameter, m.key, m.entry, m.claimed, m.proven) for m in mismatches] == [
        (name, "k", (1, 0), 2.5, 2.0)
    ]
    assert str(mismatches[0]) == f"the gradient for {name}['k'][1, 0] is 2.0, not 2.5"


def test_an_entry_is_wrong_that_is_beyond_its_radius_by_more_than_a_share_of_the_largest():
    size = 2.0**-4
    for radius in (0.0, 2.0**-10):
        for off, wrong in ((1.0 if radius == 0.0 else 0.99, False), (1.01, True)):
            for sign in (1, -1):
                claimed = sign * (radius + off * 1e-10 * size)
                mismatches, _ = held_against([-size, 0.0], [0.0, radius], [-size, claimed])
                assert bool(mismatches) is wrong
    assert held_against([], [], []) == ((), 0.0)
    assert held_against([0.0, 0.0], [0.0, 0.0], [0.0, 0.0]) == ((), 0.0)
    ((mismatch,), farthest) = held_against([0.0, 0.0], [0.0, 0.0], [0.0, 1.0])
    assert (mismatch.entry, mismatch.claimed, farthest) == ((1,), 1.0, 0.0)
    with pytest.raises(
        ValueError, match=r"claimed_gradients.tau_mem\['k'\] must have shape \(2,\); got \(1,\)"
    ):
        held_against([0.0, 1.0], [0.0, 0.0], [0.0])


def test_where_terms_cancel_an_entry_is_known_to_their_rounding():
    allowed = 64 * 2.0**-52 * 16.0
    for off, wrong in ((1.0, False), (1.01, True)):
        mismatches, farthest = held_against([0.0], [0.0], [off * allowed], terms=16.0)
        assert bool(mismatches) is wrong
        assert farthest == off * 64
    # an entry that is not so small is held against itself
    for off, wrong in ((0.99e-10, False), (1.01e-10, True)):
        mismatches, farthest = held_against([1.0], [0.0], [1.0 + off], terms=1e3)
        assert bool(mismatches) is wrong
        assert farthest == pytest.approx(off * 2.0**52, rel=1e-5, abs=0.0)


def test_an_array_without_entries_hides_none_behind_it():
    value = Enclosures(np.array(0.0), np.array(0.0))
    empty, one = Enclosures(np.empty(0), np.empty(0)), Enclosures(np.ones(1), np.zeros(1))
    arrays = {n: {} for n in NAMES} | {"weight": {"k": empty, "m": one}, "t_ref": {"p": one}}
    claims = {n: {key: np.zeros(e.radii.shape) for key, e in of.items()} for n, of in arrays.items()}
    terms = dict.fromkeys([("weight", "k"), ("weight", "m"), ("t_ref", "p")], 0.0)
    mismatches, _ = compared(GradientEnclosures(value, **arrays), SimpleNamespace(**claims), terms)
    assert [(m.parameter, m.key) for m in mismatches] == [("weight", "m"), ("t_ref", "p")]


def test_the_entries_of_a_sparse_gradient_are_compared_in_their_order():
    proven = np.array([1.0, 2.0, 3.0])
    for claimed, mismatch in ((proven, []), (np.array([1.0, 2.5, 3.0]), [(1,)])):
        values = sp.csr_array((claimed, ([0, 1, 1], [1, 0, 2])), shape=(2, 3))
        arrays = {n: {} for n in NAMES} | {"weight": {"k": Enclosures(proven, np.zeros(3))}}
        claims = {n: {} for n in NAMES} | {"weight": {"k": values}}
        gradient = GradientEnclosures(Enclosures(np.array(0.0), np.array(0.0)), **arrays)
        mismatches, _ = compared(gradient, SimpleNamespace(**claims), {("weight", "k"): 0.0})
        assert [m.entry for m in mismatches] == mismatch


def test_the_worst_entry_is_beyond_its_radius_by_most_or_is_no_number():
    (mismatch,), _ = held_against([1.0, 1.0, 1.0], [1.0, 0.0, 0.0], [3.0, 2.5, 2.0])
    assert mismatch.entry == (1,)
    (mismatch,), _ = held_against([1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [3.0, np.nan, 2.0])
    assert mismatch.entry == (1,)


def test_the_distance_is_in_steps_of_float64_at_the_largest_entry():
    _, farthest = held_against([1.0, -3.0], [2.0**-51, 0.0], [1.0 + 3 * 2.0**-51, -3.0])
    assert farthest == 4.0


def test_the_gradient_of_a_batch_is_the_sum_over_its_samples():
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("hidden", 3, es.LIF(20e-3, 5e-3))
    net.add_population("out", 1, es.LI(20e-3, 5e-3))
    net.connect("in", "hidden", sp.csr_array([[1.0, 0.0], [0.0, 2.0], [3.0, 4.0]]))
    net.connect("hidden", "out", [[5.0, 6.0, 7.0]])
    slices = {("hidden", "out"): slice(0, 3), ("in", "hidden"): slice(3, 7)}
    box = SimpleNamespace(
        synapses=SimpleNamespace(source=np.arange(7), slices=slices),
        n_cells=4,
        populations={"hidden": slice(0, 3), "out": slice(3, 4)},
    )

    def numbered(*shape, first):
        midpoints = (first + np.arange(np.prod(shape, dtype=int))).reshape(shape).astype(float)
        return Enclosures(midpoints, 2.0**-20 * (1.0 + midpoints))

    def part(s):
        parameters = {name: numbered(4, first=100 * s + 10 * k) for k, name in enumerate(PARAMETERS)}
        return SampleGradient(
            numbered(first=s),
            numbered(7, first=1000 * s),
            numbered(7, first=2000 * s),
            parameters,
            {"hidden": numbered(s, first=s)},
            {
                **{
                    (name, ""): s * np.array([1.0, 5.0, 2.0, 3.0, 9.0, 4.0, 7.0])
                    for name in ("weight", "delay")
                },
                **{(name, ""): s * np.array([1.0, 3.0, 2.0, 0.5]) for name in PARAMETERS},
                ("spike_times", "hidden"): np.arange(s) + 10.0 * (s != 2),
            },
        )

    parts = [part(1), part(2), part(4)]
    found = gradient_of(net, box, parts)
    # the sums of an entry over the samples, and of spikes, which are of one sample each, the largest
    assert largest_terms(box, parts) == {
        **{(name, ("hidden", "out")): 7 * 5.0 for name in ("weight", "delay")},
        **{(name, ("in", "hidden")): 7 * 9.0 for name in ("weight", "delay")},
        **{(name, "hidden"): 7 * 3.0 for name in PARAMETERS},
        **{(name, "out"): 7 * 0.5 for name in PARAMETERS},
        ("spike_times", "hidden"): 13.0,
    }
    assert largest_terms(box, []) == {}

    def is_sum(enclosures, of, place, shape):
        middle = sum(of(p).midpoints[place] for p in parts)
        radius = sum(of(p).radii[place] for p in parts)
        assert enclosures.midpoints.shape == enclosures.radii.shape == shape
        np.testing.assert_array_equal(enclosures.midpoints.reshape(-1), middle)
        assert (enclosures.radii.reshape(-1) >= radius).all()
        np.testing.assert_allclose(enclosures.radii.reshape(-1), radius, rtol=1.01 * 2.0**-10)

    assert float(found.value.midpoints) == 7.0
    assert float(found.value.radii) == pytest.approx(10 * 2.0**-20, rel=1.01 * 2.0**-10, abs=0.0)
    for name in ("weight", "delay"):
        assert set(getattr(found, name)) == set(slices)
        for key, shape in ((("in", "hidden"), (4,)), (("hidden", "out"), (1, 3))):
            is_sum(getattr(found, name)[key], lambda p: getattr(p, name), slices[key], shape)  # noqa: B023
    for name in PARAMETERS:
        own = {
            "hidden": slice(0, 3),
            **({} if name in ("v_threshold", "v_reset", "t_ref") else {"out": slice(3, 4)}),
        }
        assert set(getattr(found, name)) == set(own)
        for population, place in own.items():
            is_sum(
                getattr(found, name)[population],
                lambda p: p.parameters[name],  # noqa: B023
                place,
                (place.stop - place.start,),
            )
    assert found.spike_times["hidden"].midpoints.tolist() == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    assert gradient_of(net, box, parts[:1]).spike_times["hidden"].midpoints.tolist() == [1.0]
    empty = gradient_of(net, box, [])
    assert empty.spike_times == {}
    assert not empty.weight["hidden", "out"].midpoints.any()


def test_a_loss_without_an_enclosure_has_a_value_that_is_unknown():
    def sums(*terms):
        """Of each number and its negative and itself again: three terms as large."""
        found = Sums(len(terms))
        for k, term in enumerate(terms):
            found.add(k, sized(term), sized(-term), sized(term))
        return found

    adjoint = SimpleNamespace(
        weight=sums(arb(2), arb(3, 0.5)),
        delay=sums(arb(5), arb(7)),
        parameters={name: sums(arb(k)) for k, name in enumerate(PARAMETERS)},
        spike_times=sums(arb(11), arb(13), arb(17)),
    )
    matched = {"p": [2, 0], "q": []}
    found = sample_gradient(adjoint, arb(3, 0.25), matched, 4)
    assert (float(found.value.midpoints), found.value.midpoints.shape) == (0.75, ())
    assert 0.0625 <= float(found.value.radii) <= 0.0625 * (1 + 1.01 * 2.0**-10)
    unknown = sample_gradient(adjoint, None, matched, 4)
    assert math.isnan(float(unknown.value.midpoints))
    assert float(unknown.value.radii) == math.inf
    assert found.weight.midpoints.tolist() == [2.0, 3.0]
    assert found.delay.midpoints.tolist() == [5.0, 7.0]
    assert [found.parameters[name].midpoints.tolist() for name in PARAMETERS] == [[k] for k in range(8)]
    assert {name: e.midpoints.tolist() for name, e in found.spike_times.items()} == {
        "p": [17.0, 11.0],
        "q": [],
    }
    assert {key: sizes.tolist() for key, sizes in found.sizes.items()} == {
        ("weight", ""): [6.0, 9.0],
        ("delay", ""): [15.0, 21.0],
        **{(name, ""): [3.0 * k] for k, name in enumerate(PARAMETERS)},
        ("spike_times", "p"): [51.0, 33.0],
        ("spike_times", "q"): [],
    }
