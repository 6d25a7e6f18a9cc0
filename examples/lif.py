"""A layered network of LIF neurons on a time grid, with EventProp gradients, which is wrong in one place."""

import numpy as np

import eventsolve as es

STEP = 5e-5  # seconds


def propagators(tau_mem, tau_syn):
    a, b = np.exp(-STEP / tau_mem), np.exp(-STEP / tau_syn)
    return a, b, (b - a) / (tau_syn - tau_mem)


def forward(spikes, weight, tau_mem, tau_syn):
    a, b, c = propagators(tau_mem, tau_syn)
    v, i = np.zeros(len(weight)), np.zeros(len(weight))
    fired, current = np.zeros((2, len(spikes), len(weight)))
    for k in range(len(spikes)):
        v, i = a * v + tau_syn * c * i, b * i
        fired[k], current[k] = v > 1.0, i
        v[v > 1.0] = 0.0
        i += weight @ spikes[k]
    return fired, current


def backward(spikes, weight, fired, current, errors, tau_mem, tau_syn):
    a, b, c = propagators(tau_mem, tau_syn)
    lambda_v, lambda_i = np.zeros(len(weight)), np.zeros(len(weight))
    gradient, earlier = np.zeros_like(weight), np.zeros_like(spikes)
    for k in reversed(range(len(spikes))):
        gradient -= np.outer(lambda_i, spikes[k])
        earlier[k] = spikes[k] * (weight.T @ (lambda_v - lambda_i))
        jump = (errors[k] + current[k] * lambda_v) / (current[k] - 1.0)
        lambda_v = np.where(fired[k] > 0, jump, lambda_v)
        lambda_v, lambda_i = a * lambda_v, b * lambda_i + tau_mem * c * lambda_v
    return gradient, earlier


def run(problem):
    """Return the spikes and the gradient of 1/2 sum (t - target)^2 over first spikes, mean over the samples."""
    projections = list(problem.network.projections.values())
    n_steps = round(problem.t_end / STEP) + 1
    spikes, gradients = {"in": problem.inputs["in"]}, {p.key: 0.0 for p in projections}
    lists = {p.post: [] for p in projections}
    for sample, given in enumerate(problem.inputs["in"].to_lists()):
        layers = [
            np.array(
                [np.bincount(np.rint(np.divide(t, STEP)).astype(int), minlength=n_steps) for t in given]
            ).T
        ]
        currents, constants = [], []
        for p in projections:
            neuron = problem.network.population(p.post).neuron
            constants.append((neuron.tau_mem, neuron.tau_syn))
            fired, current = forward(layers[-1], p.weight, *constants[-1])
            layers.append(fired)
            currents.append(current)
            lists[p.post].append([np.flatnonzero(train) * STEP for train in fired.T])
        first = layers[-1].argmax(axis=0)
        errors = np.zeros(layers[-1].shape)
        errors[first, np.arange(first.size)] = (
            first * STEP - problem.loss.targets[sample]
        ) / problem.n_samples
        for k, p in reversed(list(enumerate(projections))):
            step = layers[k], p.weight, layers[k + 1], currents[k], errors, *constants[k]
            gradient, errors = backward(*step)
            gradients[p.key] = gradients[p.key] + gradient
    spikes |= {name: es.SpikeTrains.from_lists(trains) for name, trains in lists.items()}
    return {"spikes": spikes, "weight": gradients}
