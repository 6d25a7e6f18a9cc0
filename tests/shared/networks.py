"""Hypothesis strategies for networks and inputs, and the bound to which float64 must know their spikes."""

from dataclasses import dataclass

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

import eventsolve as es

EPS = np.finfo(float).eps
COMPUTED = ("hidden", "out")
RATIOS = (0.1, 0.5, 1.0, 1.0 + 1e-9, 2.0, 3.7, 4.0, 20.0)


@dataclass(frozen=True)
class Case:
    """A feed-forward network, its inputs, and how long to look at them."""

    net: es.Network
    inputs: dict[str, es.SpikeTrains]
    t_end: float

    def solve(self, **changes):
        values = {"net": self.net, "inputs": self.inputs, "t_end": self.t_end, **changes}
        return es.solve(values["net"], values["inputs"], values["t_end"])


def random_case(seed, *, leak=True, delays=True, refractory=True, n_samples=2, ratio=None):
    """in -> hidden -> out with a skip connection in -> out; every parameter per neuron."""
    rng = np.random.default_rng(seed)
    n_in, n_hidden, n_out = 3, 4, 2
    net = es.Network()
    net.add_input("in", n_in)
    for name, n in (("hidden", n_hidden), ("out", n_out)):
        tau_syn = rng.uniform(3e-3, 12e-3, n)
        tau_mem = tau_syn * (ratio if ratio is not None else rng.choice(RATIOS, n))
        v_leak = rng.uniform(-0.5, 1.2, n) if leak else 0.0
        reset = rng.uniform(-0.4, 0.4, n)
        t_ref = rng.choice([0.0, 2e-3], n) if refractory else 0.0
        net.add_population(name, n, es.LIF(tau_mem, tau_syn, rng.uniform(0.8, 1.2, n), reset, v_leak, t_ref))
    for pre, post, n_post, n_pre in (
        ("in", "hidden", n_hidden, n_in),
        ("hidden", "out", n_out, n_hidden),
        ("in", "out", n_out, n_in),
    ):
        weight = rng.normal(1.5, 2.0, (n_post, n_pre))
        net.connect(pre, post, weight, delay=rng.uniform(0, 4e-3, weight.shape) if delays else 0.0)
    trains = [
        [np.sort(rng.uniform(0, 30e-3, rng.integers(1, 4))) for _ in range(n_in)] for _ in range(n_samples)
    ]
    return Case(net, {"in": es.SpikeTrains.from_lists(trains)}, 50e-3)


@st.composite
def cases(draw, margin=0.02, **options):
    """Cases in which every spike crosses with a slope of at least margin * threshold / tau_mem."""
    case = random_case(draw(st.integers(0, 2**32 - 1)), **options)
    solution = case.solve()
    assume(not solution.warnings)
    for name in ("hidden", "out"):
        assume(slopes(solution, name)[1].min(initial=np.inf) > margin)
    return case


def slopes(solution, name):
    """V' just before every spike, in 1/s, and relative to v_threshold / tau_mem."""
    spikes = solution.spikes[name]
    population = solution.network.population(name)
    current = solution.current(name, spikes.times)[spikes.samples, spikes.neurons, np.arange(spikes.n_spikes)]
    tau_mem, threshold, leak = (
        population.parameter(p)[spikes.neurons] for p in ("tau_mem", "v_threshold", "v_leak")
    )
    slope = (leak - threshold + current) / tau_mem
    return slope, slope * tau_mem / threshold


def local_errors(solution):
    """Bound the error of every spike time in seconds, by population, given all earlier events.

    V at a crossing is a sum of at most m = 2 + (arrivals) terms that add up in size to at most
    sum |weights| + |threshold| + |leak|, each with a few roundings: the error of the time is that over V', and half an
    ulp of t_end.
    """
    net = solution.network
    local = {"in": np.full(solution.spikes["in"].n_spikes, EPS * solution.t_end)}
    for name in ("hidden", "out"):
        population = net.population(name)
        terms, total = 2 + solution.spikes[name].counts().max(initial=0), 0.0
        for p in net.afferents(name):
            counts = solution.spikes[p.pre].counts().max(axis=0, initial=0)
            terms += int(counts.sum())
            total += float((np.abs(p.weight) @ counts).max())
        total += (
            np.abs(population.parameter("v_threshold")).max() + np.abs(population.parameter("v_leak")).max()
        )
        local[name] = 16 * EPS * terms * total / slopes(solution, name)[0] + EPS * solution.t_end
    return local


def reached(solution, cotangents):
    """Bound the error of sum_k c_k t_k to first order: that of every spike reaches the sum through the adjoint."""
    local = local_errors(solution)
    reach = es.vjp(solution, cotangents).spike_times
    return sum(float(np.abs(reach[name]) @ local[name]) for name in local)


def one_by_one(solution):
    """Solve every spike's sample again; return that batch, which samples it is of, and cotangents of 1 at each spike.

    What each spike alone does to the gradients is one vjp then: a sample has the same bits in any batch.
    """
    of = np.concatenate([solution.spikes[name].samples for name in COMPUTED])
    again = es.solve(solution.network, {"in": solution.spikes["in"].select(of)}, solution.t_end)
    cotangents, first = {}, 0
    for name in COMPUTED:
        spikes, copies = solution.spikes[name], again.spikes[name]
        place = np.arange(spikes.n_spikes) - spikes.offsets[spikes.samples]
        cotangents[name] = np.zeros(copies.n_spikes)
        cotangents[name][copies.offsets[first : first + spikes.n_spikes] + place] = 1.0
        first += spikes.n_spikes
    return again, of, cotangents


def time_bounds(solution):
    """Bound the error of every spike time in seconds, to first order, by population: see :func:`reached`."""
    again, of, cotangents = one_by_one(solution)
    reach = es.vjp(again, cotangents).spike_times
    bounds = np.zeros(again.n_samples)
    for name, errors in local_errors(solution).items():
        copies = again.spikes[name]
        place = np.arange(copies.n_spikes) - copies.offsets[copies.samples]
        error = errors[solution.spikes[name].offsets[of[copies.samples]] + place]
        bounds += np.bincount(copies.samples, np.abs(reach[name]) * error, again.n_samples)
    ends = np.cumsum([solution.spikes[name].n_spikes for name in COMPUTED])
    return dict(zip(COMPUTED, np.split(bounds, ends[:-1]), strict=True))


def gradient_bounds(solution, cotangents):
    """Bound the error of every gradient, to first order, by the names of gradients.

    It is what the derivatives of the spike times are off by, and a few roundings of each cotangent and product.
    """
    condition = es.gradient_condition(solution)
    return {
        name: sum(
            (np.abs(c) * (condition.errors[name][p] + 4 * EPS * condition.sizes[name][p])).sum()
            for p, c in cotangents.items()
        )
        for name in condition.errors
    }


def rounded_behind_the_peak():
    """Return a solution in which float64 puts about half of eight spikes behind the peak of V, which just reaches 1.

    At 2^29 s numbers are 1.2e-7 s apart.
    """
    rng = np.random.default_rng(0)
    tau_mem, tau_syn = rng.uniform(5e-3, 40e-3, 8), rng.uniform(1e-3, 4.9e-3, 8)
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("out", 8, es.LIF(tau_mem, tau_syn))
    weight = np.exp(np.log(tau_mem / tau_syn) * tau_mem / (tau_mem - tau_syn))  # whose response peaks at 1
    net.connect("in", "out", (weight * (1 + 1e-13))[:, None])
    return es.solve(net, {"in": es.SpikeTrains.from_lists([[[2.0**29]]])}, 2.0**29 + 0.1)
