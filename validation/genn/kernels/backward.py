"""GeNN's adjoint, one sample after the other (compiled).

Backward step m treats forward step n = n_steps - 1 - m and takes the adjoints from (n + 1) dt to n dt. In its order:

1. every spike of step n that is heard answers for its synapses, with the adjoints at its arrival (n + 1 + delay) dt:

       Gradient -= lambda_I tau_syn;   DelayGradient -= w (lambda_I - lambda_V);   Rev += w (lambda_V - lambda_I)

2. every neuron, D being the drive of this step, 0 but for readouts:

       lambda_I := D + (lambda_I - D) beta + A (lambda_V - D)(alpha - beta);   lambda_V := D + (lambda_V - D) alpha

   then every neuron that spiked in step n and was heard:

       lambda_V += (theta lambda_V + Rev)/(I - V), and what its loss and the regulariser add

A spike is heard if it found room in the ring buffer, and if GeNN's clock meets its time exactly enough; one that is not
met keeps all earlier ones of its neuron from being heard.
"""

from __future__ import annotations

import numpy as np

from eventsolve.compiled import compiled, without_refcount
from validation.genn.kernels.forward import cleared


@without_refcount
def answer(source, m, synapses, neurons, lambda_v, lambda_i, past_v, past_i, weight, delay):
    """Add what a spike is worth to the gradients of its synapses."""
    depth = past_v.shape[0]
    for row in range(synapses.bounds[source], synapses.bounds[source + 1]):
        first, post = synapses.first[row], synapses.post[row]
        if synapses.delayed[row]:
            for k in range(first, first + synapses.length[row]):
                j, since = post + synapses.targets[k], m - 1 - synapses.steps[k]
                if since >= 0:
                    i, v = past_i[since % depth, j], past_v[since % depth, j]
                    weight[k] -= i * neurons.tau_syn[j]
                    delay[k] -= synapses.weights[k] * (i - v)
        elif synapses.dense[row]:
            for k in range(synapses.length[row]):
                weight[first + k] -= lambda_i[post + k] * neurons.tau_syn[post + k]
        else:
            for k in range(first, first + synapses.length[row]):
                j = post + synapses.targets[k]
                weight[k] -= lambda_i[j] * neurons.tau_syn[j]


@without_refcount
def returned(source, m, synapses, lambda_v, lambda_i, past_v, past_i, rev):
    """Add what a spike's arrivals return to its neuron to ``rev``, (1,)."""
    depth, total = past_v.shape[0], rev[0]
    for row in range(synapses.bounds[source], synapses.bounds[source + 1]):
        first, post = synapses.first[row], synapses.post[row]
        if synapses.delayed[row]:
            for k in range(first, first + synapses.length[row]):
                j, since = post + synapses.targets[k], m - 1 - synapses.steps[k]
                if since >= 0:
                    total += synapses.weights[k] * (past_v[since % depth, j] - past_i[since % depth, j])
        elif synapses.dense[row]:
            for k in range(synapses.length[row]):
                total += synapses.weights[first + k] * (lambda_v[post + k] - lambda_i[post + k])
        else:
            for k in range(first, first + synapses.length[row]):
                j = post + synapses.targets[k]
                total += synapses.weights[k] * (lambda_v[j] - lambda_i[j])
    rev[0] = total


@without_refcount
def decayed(neurons, push, sample, step, lambda_v, lambda_i):
    """Take the adjoints through a step."""
    n_outputs = push.kick.shape[1]
    driven = push.drive.shape[0] > 0
    last = push.first + n_outputs if driven else push.first
    for j in range(push.first):
        lambda_i[j] = neurons.a[j] * lambda_v[j] * neurons.spread[j] + lambda_i[j] * neurons.beta[j]
        lambda_v[j] *= neurons.alpha[j]
    for j in range(last, neurons.alpha.size):
        lambda_i[j] = neurons.a[j] * lambda_v[j] * neurons.spread[j] + lambda_i[j] * neurons.beta[j]
        lambda_v[j] *= neurons.alpha[j]
    for j in range(push.first, last):
        d = push.drive[sample, step, j - push.first]
        lambda_i[j] = (
            d + (lambda_i[j] - d) * neurons.beta[j] + neurons.a[j] * (lambda_v[j] - d) * neurons.spread[j]
        )
        lambda_v[j] = d + (lambda_v[j] - d) * neurons.alpha[j]
    for k in range(n_outputs):
        if push.kick_step[sample, k] == step:
            lambda_v[push.first + k] += push.kick[sample, k]


@without_refcount
def jumped(neurons, found, push, heard, error, sample, low, high, rev, lambda_v):
    """Let the neurons of spikes low .. high - 1 jump."""
    for k in range(low, high):
        if heard[k]:
            j = found.neurons[k]
            lambda_v[j] += push.reciprocals[k] * (neurons.swing[j] * lambda_v[j] + rev[j])
            lambda_v[j] += push.at_spike[k]
            lambda_v[j] -= push.at_spikes[sample, j]
            error[k] = found.slopes[k] * lambda_v[j]


@compiled
def backward(neurons, synapses, rules, inputs, n_steps, bounds, found, matched, push, out, stop):
    """Run the adjoint of all samples.

    Parameters
    ----------
    neurons, synapses, rules, inputs, n_steps, bounds, found
        As the forward pass took and gave them.
    matched : ndarray of bool, (n_steps,)
        Whether the clock meets a spike of a step.
    push : Push
    out : Found
        Filled; zeros before.
    stop : ndarray of int64, (1,)
        As :func:`eventsolve.interrupts.call` passes it.
    """
    n, n_sources = neurons.alpha.size, synapses.bounds.size - 1
    lambda_v, lambda_i, rev = (
        np.zeros_like(neurons.alpha),
        np.zeros_like(neurons.alpha),
        np.zeros_like(neurons.alpha),
    )
    depth = synapses.longest + 1
    past_v, past_i = (
        np.zeros((depth, n), neurons.alpha.dtype),
        np.zeros((depth, n), neurons.alpha.dtype),
    )
    kept, kept_before = np.zeros(n_sources, np.int64), np.zeros(n_sources, np.int64)
    blocked = np.zeros(n_sources, np.bool_)
    input_heard = np.ones(inputs.steps.size, np.bool_)
    for sample in range(inputs.bounds.size - 1):
        for source in range(n_sources):
            kept_before[source] = kept[source] if rules.consecutive else 0
            kept[source], blocked[source] = 0, False
        if rules.room >= 0:
            for k in range(inputs.bounds[sample], inputs.bounds[sample + 1]):
                source = inputs.places[k]
                input_heard[k] = kept[source] < rules.room - kept_before[source]
                kept[source] += input_heard[k]
            for k in range(bounds[sample], bounds[sample + 1]):
                source = synapses.n_inputs + found.neurons[k]
                out.heard[k] = kept[source] < rules.room - kept_before[source]
                kept[source] += out.heard[k]
        else:
            for k in range(bounds[sample], bounds[sample + 1]):
                out.heard[k] = True
        cleared(lambda_v)
        cleared(lambda_i)
        at, low = inputs.bounds[sample + 1] - 1, bounds[sample + 1]
        for m in range(n_steps + 1):
            if stop[0] != 0:
                break
            step = n_steps - 1 - m
            while at >= inputs.bounds[sample] and inputs.steps[at] == step:
                source = inputs.places[at]
                if input_heard[at]:
                    missed = step >= 0 and not matched[step] and not rules.inputs_met
                    blocked[source] = blocked[source] or missed
                    if not blocked[source]:
                        answer(
                            source,
                            m,
                            synapses,
                            neurons,
                            lambda_v,
                            lambda_i,
                            past_v,
                            past_i,
                            out.weight[sample],
                            out.delay[sample],
                        )
                at -= 1
            if step < 0:
                break
            high = low
            while low > bounds[sample] and found.steps[low - 1] == step:
                low -= 1
                j = found.neurons[low]
                source = synapses.n_inputs + j
                if out.heard[low]:
                    blocked[source] = blocked[source] or not matched[step]
                    out.heard[low] = not blocked[source]
                if out.heard[low]:
                    answer(
                        source,
                        m,
                        synapses,
                        neurons,
                        lambda_v,
                        lambda_i,
                        past_v,
                        past_i,
                        out.weight[sample],
                        out.delay[sample],
                    )
                    rev[j] = 0
                    returned(source, m, synapses, lambda_v, lambda_i, past_v, past_i, rev[j : j + 1])
            if not rules.late_jump:
                jumped(neurons, found, push, out.heard, out.error, sample, low, high, rev, lambda_v)
            decayed(neurons, push, sample, step, lambda_v, lambda_i)
            if rules.late_jump:
                jumped(neurons, found, push, out.heard, out.error, sample, low, high, rev, lambda_v)
            if depth > 1:
                for j in range(n):
                    past_v[m % depth, j], past_i[m % depth, j] = lambda_v[j], lambda_i[j]
            if out.lambda_v.shape[0] > 0:
                for j in range(n):
                    out.lambda_v[sample, m, j], out.lambda_i[sample, m, j] = lambda_v[j], lambda_i[j]
