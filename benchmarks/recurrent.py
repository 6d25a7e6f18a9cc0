"""Time recurrent networks, forward and back: python benchmarks/recurrent.py.

Each dense network is set against a plain compiled loop, in the same run, that does nothing but add the weight row of
every spike to a state vector: the least that any event-driven simulator has to do. Where every synapse has a delay of
its own, the plain loop advances one neuron for each delivery, which it is given in order. Medians over the repetitions,
one thread; a network's synapses are laid out once, before.
"""

import argparse
import statistics
import time

import numba
import numpy as np
import scipy.sparse as sp

import eventsolve as es


@numba.njit
def add_rows(rows, spikes, state):
    """Add the row of every spike to the state."""
    for k in range(spikes.size):
        row = rows[spikes[k]]
        for n in range(state.size):
            state[n] += row[n]


@numba.njit
def advance_all(times, targets, weights, u, i, last, tau_mem, tau_syn):
    """Advance the target of every delivery to its arrival, and add the weight to its current."""
    for k in range(times.size):
        m, h = targets[k], times[k] - last[targets[k]]
        a, b = np.exp(-h / tau_mem), np.exp(-h / tau_syn)
        u[m] = u[m] * a + i[m] * (b - a) * (tau_syn / (tau_syn - tau_mem))
        i[m] = i[m] * b + weights[k]
        last[m] = times[k]


def deliveries(spikes, weight, delay, t_end: float):
    """Return (times, targets, weights) of all that arrives up to t_end, in order."""
    weight, delay = sp.csc_array(weight), sp.csc_array(delay)
    counts = np.diff(weight.indptr)[spikes.neurons]
    place = np.repeat(weight.indptr[spikes.neurons] - np.cumsum(counts) + counts, counts)
    place += np.arange(place.size)
    times = np.repeat(spikes.times, counts) + delay.data[place]
    order = np.argsort(times)
    order = order[times[order] <= t_end]
    return times[order], weight.indices[place[order]], weight.data[place[order]]


def network(n: int, delay, rng, density: float = 1.0):
    """Return excitatory and inhibitory neurons with a bias, 1000 synapses each or so, and its recurrent weights."""
    strength = 0.6 / np.sqrt(n * density)
    if density < 1:
        weight = sp.random_array(
            (n, n), density=density, rng=rng, data_sampler=lambda size: rng.normal(0, strength, size)
        )
        weight = sp.csr_array(weight)
        delays = sp.csr_array(
            (rng.uniform(1e-3, 5e-3, weight.nnz), weight.indices, weight.indptr), shape=(n, n)
        )
    else:
        weight = rng.normal(-0.1 * strength, strength, (n, n))
        delays = delay(n)
    net = es.Network()
    neuron = es.LIF(
        20e-3, 5e-3, v_leak=rng.uniform(0.9, 1.3, n), t_ref=1e-3, v_initial=rng.uniform(0, 0.9, n)
    )
    net.add_population("loop", n, neuron)
    net.connect("loop", "loop", weight, delay=delays)
    return net, weight


def warm_up() -> None:
    """Compile, or load what has been compiled."""
    net, _ = network(20, lambda n: 1e-3, np.random.default_rng(0))
    solution = es.solve(net, {}, 0.05, threads=1)
    es.vjp(solution, {"loop": np.ones(solution.spikes["loop"].n_spikes)}, threads=1)


def median_time(function, repeat: int):
    """Return the median of the wall-clock times in seconds, and what the function returned."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        result = function()
        times.append(time.perf_counter() - start)
    return statistics.median(times), result


def advancing(net, spikes, span: float, repeat: int):
    """Return how long the loop takes that advances a neuron for each delivery, in seconds, and how many there are."""
    projection = net.projections["loop", "loop"]
    n = projection.weight.shape[0]
    given = deliveries(spikes, projection.weight, projection.shaped(projection.delay), span)
    advance_all(*(column[:10] for column in given), *np.zeros((3, n)), 20e-3, 5e-3)
    plain, _ = median_time(lambda: advance_all(*given, *np.zeros((3, n)), 20e-3, 5e-3), repeat)
    return plain, given[0].size


def dense(n: int, t_end: float, repeat: int) -> None:
    rng = np.random.default_rng(1)
    kinds = {
        "one delay": lambda n: 1.5e-3,
        "a delay per source": lambda n: np.broadcast_to(rng.uniform(1e-3, 5e-3, n), (n, n)),
        "a delay per synapse": lambda n: rng.uniform(1e-3, 5e-3, (n, n)),
    }
    print(f"dense, {n} neurons, {n * n} synapses: ns per synaptic event (spikes x {n})")
    for label, delay in kinds.items():
        net, weight = network(n, delay, rng)
        span = t_end if label != "a delay per synapse" else t_end / 20
        es.solve(net, {}, 0.0)  # lay the synapses out, once for every network
        forward, solution = median_time(lambda net=net, span=span: es.solve(net, {}, span, threads=1), repeat)
        spikes = solution.spikes["loop"]
        if label == "a delay per synapse":
            plain = advancing(net, spikes, span, repeat)[0]
        else:
            rows, state = np.ascontiguousarray(weight.T), np.zeros(n)
            add_rows(rows, spikes.neurons[:10], state)
            plain, _ = median_time(
                lambda rows=rows, s=spikes, state=state: add_rows(rows, s.neurons, state), repeat
            )
        cotangent = {"loop": np.ones(spikes.n_spikes)}
        for_weights, for_all = (
            median_time(
                lambda solution=solution, c=cotangent, wrt=wrt: es.vjp(solution, c, wrt=wrt, threads=1),
                repeat,
            )[0]
            for wrt in (("weight",), None)
        )
        scale = 1e9 / (spikes.n_spikes * n)
        print(
            f"  {label:20} {spikes.n_spikes:7d} spikes  plain loop {plain * scale:6.3f}  "
            + "  ".join(
                f"{what} {seconds * scale:7.2f} ({seconds / plain:.1f} times)"
                for what, seconds in (
                    ("forward", forward),
                    ("gradient for weights", for_weights),
                    ("for all", for_all),
                )
            )
        )


def sparse(repeat: int) -> None:
    print("sparse, 100 synapses per neuron with a delay each: ns per synaptic event")
    for n in (1000, 10_000):
        net, _ = network(n, None, np.random.default_rng(2), density=100 / n)
        span = 0.4 if n == 1000 else 0.04
        es.solve(net, {}, 0.0)
        forward, solution = median_time(lambda net=net, span=span: es.solve(net, {}, span, threads=1), repeat)
        spikes = solution.spikes["loop"]
        plain, n_events = advancing(net, spikes, span, repeat)
        cotangent = {"loop": np.ones(spikes.n_spikes)}
        backward, _ = median_time(
            lambda solution=solution, c=cotangent: es.vjp(solution, c, threads=1), repeat
        )
        scale = 1e9 / n_events
        print(
            f"  {n:6d} neurons {spikes.n_spikes:7d} spikes  forward {forward * scale:7.1f}  "
            f"plain loop {plain * scale:6.1f}  ratio {forward / plain:5.2f}  "
            f"gradient for all {backward * scale:7.1f} ({backward / forward:.1f} times forward)"
        )


def keywords(repeat: int) -> None:
    """700 inputs, 8000 input spikes, 1024 recurrent hidden, 20 LI outputs, 1 s."""
    rng = np.random.default_rng(3)
    n_in, n, n_out, n_spikes = 700, 1024, 20, 8000
    net = es.Network()
    net.add_input("in", n_in)
    net.add_population("hidden", n, es.LIF(20e-3, 10e-3))
    net.add_population("out", n_out, es.LI(20e-3, 10e-3))
    net.connect("in", "hidden", rng.normal(0.02, 0.2, (n, n_in)), delay=1e-3)
    net.connect("hidden", "hidden", rng.normal(-0.01, 0.03, (n, n)), delay=1e-3)
    net.connect("hidden", "out", rng.normal(0.0, 0.03, (n_out, n)))
    times = np.sort(rng.uniform(0, 1.0, n_spikes))
    inputs = {"in": es.SpikeTrains.from_arrays(times, rng.integers(0, n_in, n_spikes), n_neurons=n_in)}
    forward, solution = median_time(lambda: es.solve(net, inputs, 1.0, threads=1), repeat)
    print(
        f"keyword spotting size, 1 sample: {solution.spikes['hidden'].n_spikes} hidden spikes; forward {forward:.3f} s"
    )
    losses = {
        "largest voltages": es.losses.MaxVoltageCrossEntropy("out", [0]),
        "mean voltages, in closed form": es.losses.MeanVoltageCrossEntropy(
            "out", [0], weighting="exponential"
        ),
        "mean voltages, at nodes": es.losses.MeanVoltageCrossEntropy("out", [0], weighting="sigmoid"),
    }
    for said, loss in losses.items():
        for wrt in (("weight",), ("weight", "delay"), None):
            backward, _ = median_time(
                lambda wrt=wrt, loss=loss: es.value_and_grad(solution, loss, wrt=wrt, threads=1), repeat
            )
            what = "all" if wrt is None else " and ".join(wrt)
            print(
                f"  {said}: loss and gradient for {what} {backward:.3f} s, {backward / forward:.1f} times forward"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--neurons", type=int, default=1000)
    parser.add_argument("--t-end", type=float, default=2.0, help="seconds of biological time")
    arguments = parser.parse_args()
    warm_up()
    dense(arguments.neurons, arguments.t_end, arguments.repeat)
    sparse(arguments.repeat)
    keywords(arguments.repeat)


if __name__ == "__main__":
    main()
