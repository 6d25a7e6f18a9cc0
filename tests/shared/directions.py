"""Random directions in the space of all numbers of a solution, and what they make of a gradient and of a problem."""

from dataclasses import replace

import numpy as np
import scipy.sparse as sp

import eventsolve as es
from eventsolve import multiprecision
from eventsolve.multiprecision.problems import context

TIMES = ("tau_mem", "tau_syn", "t_ref", "delay", "spike_times")
FOR_SPIKING = ("v_threshold", "v_reset", "t_ref")
NEURONS = ("tau_mem", "tau_syn", "v_threshold", "v_reset", "v_leak", "t_ref", "v_initial", "i_initial")


def random_direction(solution, seed, emitted=False):
    """A step of up to 1 for every number in a unit of voltage, up to 1 ms for times; also of spikes' emission."""
    rng = np.random.default_rng([seed, 7])
    network, found = solution.network, {}

    def step(name, n):
        return rng.uniform(-1.0, 1.0, n) * (1e-3 if name in TIMES else 1.0)

    for name in ("weight", "delay"):
        found[name] = {k: p.shaped(step(name, p.weights.size)) for k, p in network.projections.items()}
    for name in NEURONS:
        found[name] = {
            p.name: step(name, p.size)
            for p in network.populations.values()
            if p.neuron is not None and (p.neuron.spiking or name not in FOR_SPIKING)
        }
    found["spike_times"] = {
        name: step("spike_times", trains.n_spikes)
        for name, trains in solution.spikes.items()
        if emitted or network.population(name).neuron is None
    }
    return found


def flat(values):
    """The numbers of a weight's or any other gradient."""
    return values.data if sp.issparse(values) else np.asarray(values).reshape(-1)


def products(grads, direction):
    """Every product of a derivative and a step, in one array."""
    return np.concatenate(
        [
            flat(getattr(grads, name)[key]) * flat(step)
            for name, by_key in direction.items()
            for key, step in by_key.items()
        ]
    )


def largest_step(by_key):
    """The largest step of one kind, in size."""
    return max((float(np.abs(flat(step)).max(initial=0.0)) for step in by_key.values()), default=0.0)


def known_to(solution, direction):
    """A bound on the error of every dt_k by population: |step| times that of its derivatives, kind by kind.

    ``gradient_condition`` bounds the sum of the errors of the derivatives by all numbers of a kind.
    """
    errors = es.gradient_condition(solution).errors
    bound = {}
    for name, by_key in direction.items():
        largest = largest_step(by_key)
        for population, error in errors[name].items():
            bound[population] = bound.get(population, 0.0) + largest * error
    return bound


def moved_problem(given, direction, h):
    """A multiprecision problem with all of its numbers moved by h along a direction."""

    def moved(value, step, k):  # in the digits of h
        return h.context.mpf(value) + h * float(flat(step)[k])

    synapses = dict(given.synapses)
    for name in ("weight", "delay"):
        for key, step in direction.get(name, {}).items():
            synapses[key] = tuple(
                replace(s, **{name: moved(getattr(s, name), step, k)}) for k, s in enumerate(synapses[key])
            )
    neurons = dict(given.neurons)
    for name in NEURONS:
        for key, step in direction.get(name, {}).items():
            neurons[key] = tuple(
                replace(n, **{name: moved(getattr(n, name), step, k)}) for k, n in enumerate(neurons[key])
            )
    inputs = dict(given.inputs)
    for key, step in direction.get("spike_times", {}).items():
        k, samples = 0, []
        for sample in inputs[key]:
            samples.append(tuple((moved(t, step, k + j), n) for j, (t, n) in enumerate(sample)))
            k += len(sample)
        inputs[key] = tuple(samples)
    return replace(given, synapses=synapses, neurons=neurons, inputs=inputs)


def differences(given, direction, value, digits=40, step="1e-15"):
    """(value(+h) - value(-h))/2h of what a multiprecision solution of a problem says, along a direction; as mpf.

    The truncation is h^2 of the third derivative, the rounding 10^-digits/h.
    """
    ctx = context(digits + 20)
    h = ctx.mpf(step)
    sides = [
        value(multiprecision.solve_problem(moved_problem(given, direction, s * h), digits=digits))
        for s in (1, -1)
    ]
    assert len(sides[0]) == len(sides[1])
    return [(a - b) / (2 * h) for a, b in zip(*sides, strict=True)]


def central_difference(solution, inputs, direction, value, digits=40, step="1e-15"):
    """The differences of a solution's problem, as an array of float64."""
    given = multiprecision.problem(solution.network, inputs, solution.t_end)
    return np.array([float(d) for d in differences(given, direction, value, digits, step)])


def signed_step(rng, name, values):
    """A step of either sign for every number of a kind, in a unit of voltage or 1 ms; none where a time is 0."""
    step = rng.uniform(0.5, 1.0, np.shape(values)) * rng.choice([-1.0, 1.0], np.shape(values))
    return step * np.where(np.asarray(values) > 0.0, 1e-3, 0.0) if name in TIMES else step
