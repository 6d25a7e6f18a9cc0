"""A circuit of neurons without memory, step by step, in integers (compiled).

A step, in this order: what arrives is summed, with the bias; a neuron fires if the sum is above ``threshold``, unless
it fired less than ``pause`` steps ago; its spike sets out, to arrive a step later and after its delay; plastic weights
between what fired in this step change. Over a plastic synapse a spike has the weight before this change, or after.
"""

from __future__ import annotations

from eventsolve.compiled import compiled, without_refcount


@without_refcount
def sent(row, weights, start):
    """Add a row of weights to what arrives."""
    for j in range(row.size):
        row[j] += weights[start + j]


@compiled
def run(tables, arriving, limits, begin, lines, weights, fired, spikes, kept, counts, stop):
    """Run trials, whose first step is number ``begin``; change the lines and the weights.

    ``fired`` holds a place for each neuron; ``spikes`` (n_trials, n_phases, n_neurons) and ``kept`` (n_trials,
    n_weights) are what is recorded, by phase and after each trial, unless they are empty. ``counts`` (n_trials, 4) are
    spikes, synaptic events over fixed and over plastic synapses, and changes of weights.
    """
    threshold, step_size, low, high, after = limits
    n_slots, n_neurons = lines.sums.shape
    n_phases = tables.rewarded.size
    n_plastic = tables.plastic_pre.size
    bounds = tables.bounds
    n_fired = fired.n_fired
    for trial in range(counts.shape[0]):
        for place in range(n_phases):
            if stop[0]:
                return
            phase = (place + 1) % n_phases
            step = begin + trial * n_phases + place
            sums = lines.sums[step % n_slots]
            ahead = lines.sums[(step + 1) % n_slots]
            for k in range(arriving.into.size):
                if arriving.at[k] == phase:
                    first = bounds[arriving.into[k]]
                    for i in range(bounds[arriving.into[k] + 1] - first):
                        sums[first + i] += arriving.weight * arriving.values[trial, arriving.first[k] + i]
            for population in range(bounds.size - 1):
                count = bounds[population]
                for i in range(bounds[population], bounds[population + 1]):
                    fires = sums[i] + tables.bias[i] > threshold and lines.free[i] <= step
                    sums[i] = 0
                    fired.flags[i] = fires
                    if fires:
                        lines.free[i] = step + tables.pause[i]
                        fired.neurons[count] = i
                        count += 1
                n_fired[population] = count - bounds[population]
                counts[trial, 0] += n_fired[population]
            for k in range(tables.pre.size):
                row = lines.sums[(step + 1 + tables.delay[k]) % n_slots]
                pre, post = tables.pre[k], tables.post[k]
                if tables.fans[k]:
                    if fired.flags[pre]:
                        for i in range(tables.size[k]):
                            row[post + i] += tables.weight[k]
                        counts[trial, 1] += tables.size[k]
                else:
                    for i in range(tables.size[k]):
                        if fired.flags[pre + i]:
                            row[post + i] += tables.weight[k]
                            counts[trial, 1] += 1
            change = step_size if tables.rewarded[phase] else -step_size
            for k in range(n_plastic):
                pre, post = tables.plastic_pre[k], tables.plastic_post[k]
                first, end = bounds[post], bounds[post + 1]
                n_post = n_fired[post] if tables.learns[k] else 0
                for a in range(n_fired[pre]):
                    start = tables.starts[k] + (fired.neurons[bounds[pre] + a] - bounds[pre]) * (end - first)
                    if not after:
                        sent(ahead[first:end], weights, start)
                    for b in range(n_post):
                        at = start + fired.neurons[first + b] - first
                        changed = min(max(weights[at] + change, low), high)
                        counts[trial, 3] += changed != weights[at]
                        weights[at] = changed
                    if after:
                        sent(ahead[first:end], weights, start)
                counts[trial, 2] += n_fired[pre] * (end - first)
            if spikes.size:
                for i in range(n_neurons):
                    spikes[trial, phase, i] = fired.flags[i]
        if kept.size:
            for w in range(weights.size):
                kept[trial, w] = weights[w]
