"""V and I between two spikes in balls: held by every network of a box, and to first order by no smaller ball.

Each number has a radius alone and acts in one way alone, so that a term left out of an enclosure leaves its ends out.
"""

import itertools

import pytest
from enclosing import WIDE, exactly, holds, radius, response
from flint import arb

from eventsolve.certify.arithmetic import ball, working_precision
from eventsolve.certify.membrane import Folded, Held, rates_of

BITS = 120
RELATIVE = 1e-6
FLAT = WIDE.mpf(RELATIVE) * 100
"""The second order relative to the first, of numbers that are a few time constants."""

NUMBERS = {
    "tau_mem": 11e-3,
    "tau_syn": 4e-3,
    "leak": 0.25,
    "reset": -0.5,
    "release": 3e-3,
    "earlier": 0.0,
    "background": 1e-3,
    "time": 6e-3,
    "current": 0.0,
    "jump": 0.0,
}
AT = 9e-3
SOURCES = {
    "the reset": {},
    "a current of before": {"earlier": 1.5, "reset": NUMBERS["leak"]},
    "an arrival": {"current": 2.0, "reset": NUMBERS["leak"]},
    "a jump": {"jump": 0.75, "reset": NUMBERS["leak"]},
    "the reset, and a current of before": {"earlier": 1.5},
    "a jump, then an arrival": {"jump": 0.75, "current": 2.0, "reset": NUMBERS["leak"]},
    "the reset, and an arrival": {"current": 2.0},
    "a current of before, and an arrival": {"earlier": 1.5, "current": 2.0, "reset": NUMBERS["leak"]},
    "a current of before, and a jump against it": {"earlier": 1.5, "jump": -2.0, "reset": NUMBERS["leak"]},
}
"""What V comes from, each alone, and two together: with V at v_leak the reset is nothing.

A number that acts in two ways is one whose two derivatives have to be added with their signs."""


def truth(n, t, *, slope=False):
    """V and I at a time, or V', of exact numbers."""
    s, since = t - n["release"], t - n["time"]
    decay_mem, decay_syn = (lambda x: WIDE.exp(-x / n["tau_mem"])), (lambda x: WIDE.exp(-x / n["tau_syn"]))
    left = n["earlier"] * decay_syn(n["release"] - n["background"])
    voltage = (
        n["leak"] + (n["reset"] - n["leak"]) * decay_mem(s) + left * response(s, n["tau_mem"], n["tau_syn"])
    )
    voltage += n["current"] * response(since, n["tau_mem"], n["tau_syn"]) + n["jump"] * decay_mem(since)
    current = left * decay_syn(s) + n["current"] * decay_syn(since)
    return (n["leak"] - voltage + current) / n["tau_mem"] if slope else (voltage, current)


def membrane(n, *, listed):
    """The membrane of numbers that are balls."""
    held = Held(rates_of(n["tau_mem"], n["tau_syn"]), n["leak"], n["background"], n["earlier"], listed)
    free = held.released(n["release"], n["reset"])
    for weight, delta in ((n["jump"], True), (n["current"], False)):
        if weight != 0:
            free = free.arrived(n["time"], weight, delta=delta)
    return free


def box(given, name):
    """The numbers as balls, one with a radius; and all as they are at its two ends."""
    balls = {k: ball(v) for k, v in given.items()}
    if name is not None:
        balls[name] = arb(given[name], RELATIVE * abs(given[name]))
    exact = {k: exactly(b.mid()) for k, b in balls.items()}
    ends = (
        [exact | {name: exact[name] + side * exactly(balls[name].rad())} for side in (-1, 1)]
        if name
        else [exact]
    )
    return balls, ends


ACTS = {
    "the reset": ("tau_mem", "leak", "reset", "release"),
    "a current of before": ("tau_mem", "tau_syn", "release", "earlier"),
    "an arrival": ("tau_mem", "tau_syn", "time", "current"),
    "a jump": ("tau_mem", "time", "jump"),
    "the reset, and a current of before": ("release",),
    "a jump, then an arrival": ("jump", "current"),
    "the reset, and an arrival": ("tau_mem",),
    "a current of before, and an arrival": ("tau_mem", "tau_syn"),
    "a current of before, and a jump against it": ("tau_mem",),
}
"""The numbers that act in each of these ways."""


def cases():
    """Every number with every way in which it acts."""
    return [
        pytest.param(NUMBERS | given, name, id=f"{name}-{source}")
        for source, given in SOURCES.items()
        for name in ACTS[source]
    ]


@pytest.mark.parametrize(("numbers", "name"), cases())
@pytest.mark.parametrize("ratio", [11 / 4, 1.0, 0.5])
def test_a_box_is_enclosed_to_first_order(numbers, name, ratio):
    numbers = numbers | {"tau_syn": numbers["tau_mem"] / ratio}
    with working_precision(BITS):
        balls, ends = box(numbers, name)
        voltage, current = membrane(balls, listed=True).at(ball(AT))
    values = [truth(end, WIDE.mpf(AT)) for end in ends]
    for v, i in values:
        assert holds(voltage, v)
        assert holds(current, i)
    reach = abs(values[1][0] - values[0][0]) / 2
    assert radius(voltage) <= reach * (1 + FLAT) + WIDE.mpf(2) ** (10 - BITS)


@pytest.mark.parametrize("source", [source for source, names in ACTS.items() if len(names) > 1])
@pytest.mark.parametrize("ratio", [11 / 4, 0.5])
def test_two_numbers_at_once_reach_as_far_as_both(source, ratio):
    numbers = NUMBERS | SOURCES[source] | {"tau_syn": NUMBERS["tau_mem"] / ratio}
    for pair in itertools.combinations(ACTS[source], 2):
        with working_precision(BITS):
            balls = {k: arb(v, RELATIVE * abs(v)) if k in pair else ball(v) for k, v in numbers.items()}
            voltage, current = membrane(balls, listed=True).at(ball(AT))
            exact = {k: (exactly(b.mid()), exactly(b.rad())) for k, b in balls.items()}
        for signs in itertools.product((-1, 1), repeat=2):
            sides = dict(zip(pair, signs, strict=True))
            v, i = truth({k: m + sides.get(k, 0) * r for k, (m, r) in exact.items()}, WIDE.mpf(AT))
            assert holds(voltage, v)
            assert holds(current, i)


@pytest.mark.parametrize(("numbers", "name"), cases())
@pytest.mark.parametrize(("wide", "tau_syn"), [(0.3, 0.1e-3), (0.007, 0.02e-3)])
def test_a_wide_box_whose_numbers_act_far_from_linearly_is_enclosed(numbers, name, wide, tau_syn):
    """With time constants far below the durations a derivative at the midpoint is none of the box."""
    numbers = numbers | {"tau_mem": 0.5e-3, "tau_syn": tau_syn}
    wide = min(wide, 0.05) if name in ("time", "release") else wide
    with working_precision(BITS):
        balls = {k: ball(v) for k, v in numbers.items()}
        balls[name] = arb(numbers[name], wide * abs(numbers[name]))
        voltage, current = membrane(balls, listed=True).at(ball(AT))
        slope = membrane(balls, listed=True).slope(ball(AT))
    exact = {k: exactly(b.mid()) for k, b in balls.items()}
    reach = exactly(balls[name].rad())
    for side in (-1, WIDE.mpf(-0.5), 0, WIDE.mpf(0.5), 1):
        each = exact | {name: exact[name] + side * reach}
        v, i = truth(each, WIDE.mpf(AT))
        assert holds(voltage, v)
        assert holds(current, i)
        assert holds(slope, truth(each, WIDE.mpf(AT), slope=True))


@pytest.mark.parametrize("source", SOURCES)
def test_one_network_is_enclosed_in_either_form(source):
    numbers = NUMBERS | SOURCES[source]
    with working_precision(BITS):
        balls, (exact,) = box(numbers, None)
        for listed in (False, True):
            free = membrane(balls, listed=listed)
            for t in (3e-3, 6e-3, AT, 0.1):
                voltage, current = free.at(ball(t))
                v, i = truth(exact, WIDE.mpf(t))
                assert holds(voltage, v)
                assert holds(current, i)
                assert holds(free.slope(ball(t)), truth(exact, WIDE.mpf(t), slope=True))
                moved = free.moved(ball(t))
                assert holds(moved.voltage, v)
                assert holds(moved.current, i)
                assert holds(moved.at(ball(AT))[0], truth(exact, WIDE.mpf(AT))[0])
                assert max(map(radius, (voltage, current))) <= WIDE.mpf(2) ** (12 - BITS)


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("source", SOURCES)
def test_a_slope_over_a_ball_of_times_holds_that_at_each(source, listed):
    numbers = NUMBERS | SOURCES[source]
    with working_precision(BITS):
        balls, (exact,) = box(numbers, None)
        times = arb(AT, 1e-4)
        found = membrane(balls, listed=listed).slope(times)
        ends = [exactly(times.mid()) + side * exactly(times.rad()) for side in (-1, 1)]
    slopes = [truth(exact, t, slope=True) for t in ends]
    assert all(holds(found, s) for s in slopes)
    assert radius(found) <= 8 * abs(slopes[1] - slopes[0])


@pytest.mark.parametrize(("numbers", "name"), cases())
def test_a_slope_holds_that_of_every_network_of_a_box(numbers, name):
    with working_precision(BITS):
        balls, ends = box(numbers, name)
        found = membrane(balls, listed=True).slope(ball(AT))
    slopes = [truth(end, WIDE.mpf(AT), slope=True) for end in ends]
    assert all(holds(found, s) for s in slopes)
    assert slopes[0] != slopes[1]


@pytest.mark.parametrize("name", ["release", "time"])
@pytest.mark.parametrize("source", SOURCES)
def test_a_state_that_is_folded_holds_what_came_at_a_time_that_is_a_ball(name, source):
    """As one network's own spikes are known: its release and what arrives from others are balls."""
    numbers = NUMBERS | SOURCES[source]
    with working_precision(BITS):
        balls, ends = box(numbers, name)
        free = membrane(balls, listed=False)
        assert isinstance(free, Folded)
        assert free.origin.is_exact()
        voltage, current = free.at(ball(AT))
        spike = arb(AT, 1e-6)
        held = free.held(spike)
        assert held.origin.is_exact()
        assert not held.listed
    for end in ends:
        v, i = truth(end, WIDE.mpf(AT))
        assert holds(voltage, v)
        assert holds(current, i)
        with working_precision(BITS):
            later = held.arrived(ball(0.012), ball(0.5)).current_at(ball(0.015))
        decayed = truth(end, WIDE.mpf(0.015))[1] + WIDE.mpf(0.5) * WIDE.exp(
            -(WIDE.mpf(0.015) - WIDE.mpf(0.012)) / end["tau_syn"]
        )
        assert holds(later, decayed)


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("the reset", ("leak", "reset")),
        ("a current of before", ("tau_mem", "tau_syn")),
        ("an arrival", ("tau_mem", "tau_syn")),
    ],
)
def test_what_two_numbers_of_a_box_do_adds_up(source, names):
    numbers = NUMBERS | SOURCES[source]
    with working_precision(BITS):
        balls = {k: arb(v, RELATIVE * abs(v)) if k in names else ball(v) for k, v in numbers.items()}
        voltage, _ = membrane(balls, listed=True).at(ball(AT))
    for signs in itertools.product((-1, 1), repeat=2):
        moved = {
            name: exactly(balls[name].mid()) + side * exactly(balls[name].rad())
            for side, name in zip(signs, names, strict=True)
        }
        exact = {k: exactly(b.mid()) for k, b in balls.items()}
        assert holds(voltage, truth(exact | moved, WIDE.mpf(AT))[0])


def test_all_numbers_of_a_box_at_once():
    numbers = NUMBERS | {"earlier": 1.5, "current": 2.0, "jump": 0.75}
    with working_precision(BITS):
        balls = {k: arb(v, RELATIVE * abs(v)) if k != "background" else ball(v) for k, v in numbers.items()}
        free = membrane(balls, listed=True)
        voltage, current = free.at(ball(AT))
        slope = free.slope(ball(AT))
        held = free.held(arb(AT, 1e-6))
        assert held.listed
        assert not membrane(balls, listed=False).held(arb(AT, 1e-6)).listed
        assert held.origin.is_exact()
        exact = {k: (exactly(b.mid()), exactly(b.rad())) for k, b in balls.items()}
    for signs in itertools.islice(itertools.product((-1, 1), repeat=len(exact)), 0, None, 37):
        corner = {k: m + side * r for side, (k, (m, r)) in zip(signs, exact.items(), strict=True)}
        v, i = truth(corner, WIDE.mpf(AT))
        assert holds(voltage, v)
        assert holds(current, i)
        assert holds(held.current, i)
        assert holds(slope, truth(corner, WIDE.mpf(AT), slope=True))


def test_what_comes_while_v_is_held_moves_the_current_alone():
    with working_precision(BITS):
        held = Held(rates_of(ball(8e-3), ball(4e-3)), ball(0.0), ball(1e-3), arb(1.0, 1e-9), True)
        wide = arb(2e-3, 1e-7)
        later = held.arrived(wide, arb(0.5, 1e-9))
        now = later.current_at(ball(4e-3))
        ends = [exactly(wide.mid()) + side * exactly(wide.rad()) for side in (-1, 1)]
    for arrival in ends:
        for side in (-1, 1):
            each = (1 + side * WIDE.mpf(1e-9)) * WIDE.exp(-(WIDE.mpf(4e-3) - WIDE.mpf(1e-3)) / WIDE.mpf(4e-3))
            each += (WIDE.mpf(0.5) + side * WIDE.mpf(1e-9)) * WIDE.exp(
                -(WIDE.mpf(4e-3) - arrival) / WIDE.mpf(4e-3)
            )
            assert holds(now, each)
    assert radius(now) < 1e-4
