"""Networks and inputs with all of their numbers moved, and what is discrete about a solution."""

import numpy as np

import eventsolve as es

PARAMETERS = (
    *("tau_mem", "tau_syn", "v_threshold", "v_reset", "v_leak", "t_ref"),
    *("v_initial", "i_initial"),
)
NAMES = ("weight", "delay", "spike_times", *PARAMETERS)


def moved(solution, steps):
    """The solution of a network and inputs whose numbers are moved: steps[name][key] are flat, as in a pattern."""
    net = solution.network

    def new(name, key, values):
        step = steps.get(name, {}).get(key, 0.0)
        values = values + step
        return np.maximum(values, 0.0) if name in ("delay", "t_ref", "spike_times") else values

    other = net.with_weights(
        {k: p.shaped(new("weight", k, p.weights)) for k, p in net.projections.items()}
    ).with_delays({k: p.shaped(new("delay", k, p.delay)) for k, p in net.projections.items()})
    neurons = {}
    for name, p in net.populations.items():
        if p.neuron is not None:
            reset = {"reset": p.neuron.reset} if p.neuron.spiking else {}
            fields = PARAMETERS if p.neuron.spiking else ("tau_mem", "tau_syn", "v_leak", *PARAMETERS[-2:])
            values = {q: new(q, name, p.parameter(q)) for q in fields}
            neurons[name] = type(p.neuron)(**values, **reset)
    inputs = {}
    for name, p in net.populations.items():
        if p.neuron is None:
            trains = solution.spikes[name]
            times = new("spike_times", name, trains.times)
            order = np.lexsort((trains.neurons, times, trains.samples))
            inputs[name] = es.SpikeTrains.from_arrays(
                times[order],
                trains.neurons[order],
                trains.samples[order],
                n_neurons=trains.n_neurons,
                n_samples=trains.n_samples,
            )
    return es.solve(other.with_neurons(neurons), inputs, solution.t_end)


def orders(solution):
    """Everything discrete, sample by sample: every neuron's spikes, what they come after, and what triggers them."""
    found = []
    for s in range(solution.n_samples):
        rows = []
        for name, p in solution.network.populations.items():
            if p.neuron is None or not p.neuron.spiking:
                continue
            spikes = solution.spikes[name]
            here = spikes.samples == s
            arrivals = np.concatenate([c.spikes[name].arrivals for c in solution.chunks])[here]
            trigger = np.concatenate([c.spikes[name].trigger for c in solution.chunks])[here] >= 0
            neurons, times = spikes.neurons[here], spikes.times[here]
            ends = times + p.parameter("t_ref")[neurons]
            received = np.zeros(neurons.size, int)
            for q in solution.network.afferents(name):
                pre = solution.spikes[q.pre]
                delay = np.full(q.weight.shape, np.nan)
                delay[np.repeat(np.arange(p.size), np.diff(q.row_offsets)), q.sources] = q.delay
                of = pre.samples == s
                reach = pre.times[of][None, :] + delay[neurons][:, pre.neurons[of]]
                received += ((reach <= ends[:, None]) & (reach <= solution.t_end)).sum(axis=1)
            order = np.lexsort((times, neurons))
            rows += [c[order].tobytes() for c in (neurons, arrivals, trigger, received)]
        found.append(b"|".join(rows))
    return found


def distance(limit, margins):
    """The distance of the limiting place in other margins: of its kind and neuron, the one closest in time."""
    d = getattr(margins, limit.kind)[limit.population]
    same = (d.samples == limit.sample) & (d.neurons == limit.neuron)
    if limit.kind == "gap":
        same &= np.array([d.event(k) == limit.event for k in range(d.values.size)], bool)
    places = np.flatnonzero(same)
    return d.values[places[np.argmin(np.abs(d.times[places] - limit.time))]]


def worst_direction(solution, limit):
    """The corner of a box of weights towards which one distance shrinks fastest, by central differences."""
    corner = {}
    for key, p in solution.network.projections.items():
        corner[key] = np.zeros(p.weights.size)
        for k in range(p.weights.size):
            one = 1e-7 * (np.arange(p.weights.size) == k)
            up, down = (es.margins(moved(solution, {"weight": {key: s * one}})) for s in (1, -1))
            corner[key][k] = -np.sign(distance(limit, up) - distance(limit, down))
    return corner
