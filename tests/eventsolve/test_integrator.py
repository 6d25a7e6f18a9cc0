"""The solver against a general-purpose integrator, which knows the differential equations but not their solution.

``scipy.integrate.solve_ivp`` (DOP853) runs from event to event: arrivals, ends of refractory periods, and crossings
that it finds itself. It keeps a book on its own errors, so that each spike comes with a bound of its own.
"""

import heapq
import itertools

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import eventsolve as es
from eventsolve import multiprecision

RTOL, ATOL = 1e-12, 1e-14
STEP = 0.5e-3  # at most, so that no voltage can rise above its threshold and fall again within a step
PARAMETERS = ("tau_mem", "tau_syn", "v_threshold", "v_reset", "v_leak", "t_ref", "v_initial", "i_initial")


def integrate(net, inputs, t_end):
    """Return one sample's spikes as rows (time, population, neuron, bound on the time's error), by time.

    The bound is first order in the errors of the state. Those of V and I, one pair per neuron, follow from the
    equations by the triangle inequality: a step of the integrator adds its tolerance; I's decays and enters V; a spike
    at threshold is late by V's over the slope, and leaves V with that times the slope after the reset; a synapse of
    weight w that acts dt late adds w dt / tau_syn and w dt / tau_mem.
    """
    cells = [(name, k) for name, p in net.populations.items() if p.neuron is not None for k in range(p.size)]
    place = {cell: i for i, cell in enumerate(cells)}
    p = {
        parameter: np.array([net.population(name).parameter(parameter)[k] for name, k in cells])
        for parameter in PARAMETERS
    }
    synapses = {}
    for (pre, post, *_), projection in net.projections.items():
        rows = np.repeat(np.arange(net.population(post).size), np.diff(projection.row_offsets))
        columns = (projection.sources, rows, projection.weights, projection.delay)
        for source, target, weight, delay in zip(*columns, strict=True):
            synapses.setdefault((pre, int(source)), []).append((place[post, int(target)], weight, delay))

    n, serial, queue = len(cells), itertools.count(), []
    voltage, current = p["v_initial"].copy(), p["i_initial"].copy()
    error_v, error_i = np.zeros(n), np.zeros(n)
    held, spikes, now = np.zeros(n, dtype=bool), [], 0.0

    def slope(i):
        return (p["v_leak"][i] - voltage[i] + current[i]) / p["tau_mem"][i]

    def send(cell, time, late):
        for target, weight, delay in synapses.get(cell, ()):
            heapq.heappush(queue, (time + delay, next(serial), target, weight, late))

    def flow(_, y):
        v_dot = (p["v_leak"] - y[:n] + y[n:]) / p["tau_mem"]
        return np.concatenate([np.where(held, 0.0, v_dot), -y[n:] / p["tau_syn"]])

    def advance(time, events=()):
        options = {"method": "DOP853", "rtol": RTOL, "atol": ATOL, "max_step": STEP}
        found = solve_ivp(
            flow, (now, time), np.concatenate([voltage, current]), events=events or None, **options
        )
        assert found.success, found.message
        return found

    def crossing_of(i):
        def crossing(_, y):
            return -1.0 if held[i] else y[i] - p["v_threshold"][i]

        crossing.terminal, crossing.direction = True, 1.0
        return crossing

    def first_crossing(time):
        """The neuron that crosses first up to a time, if any, and when: Newton on the integrated voltage."""
        found = advance(time, [crossing_of(i) for i in range(n)])
        if found.status != 1:
            return None, time, found
        i = next(i for i, times in enumerate(found.t_events) if times.size)
        spike = found.t_events[i][0]  # by the interpolant, which is of lower order than the steps
        for _ in range(3):
            found = advance(spike)
            v, current_then = found.y[i, -1], found.y[n + i, -1]
            change = (p["v_threshold"][i] - v) * p["tau_mem"][i] / (p["v_leak"][i] - v + current_then)
            spike = min(spike + change, time)
        return i, spike, advance(spike)

    for name, trains in inputs.items():
        for time, channel in zip(trains.times, trains.neurons, strict=True):
            send((name, int(channel)), time, 0.0)
    while True:
        until = min(queue[0][0], t_end) if queue else t_end
        i, time, found = first_crossing(until) if until > now else (None, until, None)
        if found is not None:
            span = time - now
            slowest = np.maximum(p["tau_mem"], p["tau_syn"])
            # the integrator bounds the root mean square over all 2 n numbers
            step = np.sqrt(2 * n) * (RTOL * np.abs(found.y).max() + ATOL) * (found.t.size - 1)
            from_i = error_i * span / p["tau_mem"] * np.exp(-span / slowest)
            error_v = np.where(held, error_v, error_v * np.exp(-span / p["tau_mem"]) + from_i) + step
            error_i = error_i * np.exp(-span / p["tau_syn"]) + step
            voltage, current, now = found.y[:n, -1].copy(), found.y[n:, -1].copy(), time
        if i is not None:
            late = error_v[i] / slope(i) + np.spacing(now)
            spikes.append((now, *cells[i], late))
            voltage[i] = p["v_reset"][i]
            error_v[i] = late * abs(slope(i))
            if p["t_ref"][i] > 0:
                held[i] = True
                heapq.heappush(queue, (now + p["t_ref"][i], next(serial), i, None, late))
            send(cells[i], now, late)
        elif until == t_end:
            return spikes
        else:
            _, _, target, weight, late = heapq.heappop(queue)
            if weight is None:  # a refractory period ends
                held[target] = False
                error_v[target] = late * abs(slope(target))
            else:
                current[target] += weight
                error_i[target] += abs(weight) * late / p["tau_syn"][target]
                if not held[target]:
                    error_v[target] += abs(weight) * late / p["tau_mem"][target]


def neurons_of(rng, n, *, ratio):
    tau_syn = rng.uniform(4e-3, 9e-3, n)
    tau_mem = tau_syn * (rng.choice([0.5, 1.0, 2.0, 3.7], n) if ratio is None else ratio)
    return es.LIF(
        tau_mem,
        tau_syn,
        v_threshold=rng.uniform(0.8, 1.2, n),
        v_reset=rng.uniform(-0.4, 0.2, n),
        v_leak=rng.uniform(-0.3, 0.3, n),
        t_ref=rng.choice([0.0, 1.5e-3], n),
    )


def network(seed, *, recurrent, ratio=None):
    """in -> a -> b and in -> b, delays on most synapses; if recurrent also a -> a and b -> a."""
    rng = np.random.default_rng(seed)
    sizes = {"in": 3, "a": 4, "b": 3}
    net = es.Network()
    net.add_input("in", sizes["in"])
    for name in "ab":
        net.add_population(name, sizes[name], neurons_of(rng, sizes[name], ratio=ratio))
    pairs = [("in", "a", 2.5), ("a", "b", 2.0), ("in", "b", 1.0)]
    pairs += [("a", "a", -0.5), ("b", "a", -0.5)] if recurrent else []
    for pre, post, mean in pairs:
        weight = rng.normal(mean, 0.8, (sizes[post], sizes[pre]))
        delay = np.where(rng.random(weight.shape) < 0.2, 0.0, rng.uniform(0.2e-3, 4e-3, weight.shape))
        net.connect(pre, post, weight, delay=delay)
    trains = [np.sort(rng.uniform(0.0, 20e-3, 2)) for _ in range(sizes["in"])]
    return net, {"in": es.SpikeTrains.from_lists([trains])}, 30e-3


def assert_agrees(spikes, given):
    """Every neuron's spikes are those of the integrator, one by one and within its bounds."""
    found = integrate(*given)
    assert len(found) > 10
    for name in ("a", "b"):
        got = sorted(zip(spikes[name].neurons.tolist(), spikes[name].times.tolist(), strict=True))
        want = sorted((k, time, bound) for time, population, k, bound in found if population == name)
        assert [k for k, _ in got] == [k for k, *_ in want]
        bounds = np.array([bound for *_, bound in want])
        assert (bounds < 1e-7).all()  # small against every interval between spikes, else it says nothing
        error = np.abs(np.array([time for _, time in got]) - np.array([time for _, time, _ in want]))
        assert (error <= bounds).all(), (error.max(), (error / bounds).max())


@pytest.mark.parametrize(("seed", "ratio"), [(0, None), (1, None), (2, 1.0), (3, 4.0)])
def test_layered_networks(seed, ratio):
    given = network(seed, recurrent=False, ratio=ratio)
    assert_agrees(es.solve(*given).spikes, given)


@pytest.mark.parametrize("seed", range(4))
def test_recurrent_networks_with_delays_and_a_life_of_its_own_per_neuron(seed):
    given = network(seed, recurrent=True)
    assert_agrees(es.solve(*given).spikes, given)


def test_the_multiprecision_solver_on_a_recurrent_network():
    given = network(4, recurrent=True)
    solution = multiprecision.solve(*given, digits=20)
    assert_agrees({name: solution.to_spiketrains(name) for name in ("a", "b")}, given)
