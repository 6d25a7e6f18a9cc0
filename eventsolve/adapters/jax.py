"""JAX: the exact solver as a function that can be compiled, differentiated and mapped; the extra ``jax``.

The solver runs on the host, through ``pure_callback``, in float64: ``jax_enable_x64`` has to be on. As a compiled
function has no memory, the backward pass solves the network again before it differentiates it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from eventsolve.adapters.arrays import ArrayProblem, array_problem
from eventsolve.checks import count
from eventsolve.network import Network
from eventsolve.solve import MAX_SPIKES

Parameters: TypeAlias = dict[str, dict[str, Any]]
"""By quantity and label: ``parameters["weight"]["pre->post"]``."""
_COPIED_AT_ONCE = 50_000
"""Bytes: half of what was seen to wait for ever."""
Solve: TypeAlias = Callable[[Parameters, Mapping[str, Any]], dict[str, Any]]


def exact_function(
    network: Network,
    t_end: float,
    *,
    n_spikes: int | Mapping[str, int],
    outputs: Sequence[str] | None = None,
    trainable: Sequence[str] = ("weight",),
    voltage_times: ArrayLike = (),
    max_spikes: int = MAX_SPIKES,
) -> tuple[Solve, Parameters]:
    """Return a network as a function of its parameters and input times, and the parameters that it was given.

    The function takes parameters, ``{"weight": {"pre->post": array}}``, and input times, ``{"in": array}`` with arrays
    (n_samples, n_neurons) or (n_samples, n_neurons, n_spikes), inf where there is no further spike. It returns, by
    output, spike times (n_samples, n_neurons, n_spikes), ascending and then inf, or voltages of an LI
    (n_samples, n_neurons, n_times). Entries of inf have derivative 0.

    Parameters
    ----------
    n_spikes : int or mapping of output to int
        How many spikes of a neuron there is room for: JAX has to know beforehand. More are an error, never cut off.
    network, t_end, outputs, trainable, voltage_times, max_spikes
        As in :func:`eventsolve.adapters.arrays.array_problem`.

    Raises
    ------
    ValueError
        If an argument is not what it should be; or, when the function is called, on a single core with large arrays,
        for which JAX would wait for ever unless ``jax_cpu_enable_async_dispatch`` is off. What a parameter or a time
        should be is found out on the host: there JAX makes an error of its own that quotes this one.
    """
    problem = array_problem(
        network,
        t_end,
        outputs=outputs,
        trainable=trainable,
        voltage_times=voltage_times,
        max_spikes=max_spikes,
    )
    widths = _widths(problem, n_spikes)

    def solved(*arrays: Any) -> tuple[Any, ...]:
        parameters, times = _split(problem, arrays)
        return problem.results(problem.solve(parameters, times), widths)

    def pulled_back(arrays: tuple[Any, ...], cotangents: tuple[Any, ...]) -> tuple[Any, ...]:
        parameters, times = _split(problem, arrays)
        found = problem.pullback(problem.solve(parameters, times), times, cotangents)
        return (*found.parameters, *found.times)

    @jax.custom_vjp
    def solve(*arrays: Any) -> tuple[Any, ...]:
        n_samples = arrays[-1].shape[0] if problem.inputs else 1
        shapes = tuple(
            jax.ShapeDtypeStruct((n_samples, network.population(name).size, width), jnp.float64)
            for name, width in widths.items()
        )
        return tuple(jax.pure_callback(solved, shapes, *arrays, vmap_method="sequential"))

    def forward(*arrays: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        return solve(*arrays), arrays

    def backward(arrays: tuple[Any, ...], cotangents: tuple[Any, ...]) -> tuple[Any, ...]:
        shapes = tuple(jax.ShapeDtypeStruct(a.shape, jnp.float64) for a in arrays)
        return tuple(jax.pure_callback(pulled_back, shapes, arrays, cotangents, vmap_method="sequential"))

    solve.defvjp(forward, backward)

    def function(parameters: Parameters, inputs: Mapping[str, Any]) -> dict[str, Any]:
        if not jax.config.jax_enable_x64:
            raise ValueError("exact spike times need float64: jax.config.update('jax_enable_x64', True)")
        if set(inputs) != set(problem.inputs):
            raise ValueError(f"inputs must be given for {sorted(problem.inputs)}; got {sorted(inputs)}")
        values = [parameters[place.quantity][place.label] for place in problem.places]
        times = [inputs[name] for name in problem.inputs]
        _check_trap(sum(int(np.prod(np.shape(a))) for a in (*values, *times)))
        results = solve(*(jnp.asarray(a, jnp.float64) for a in (*values, *times)))
        return dict(zip(problem.outputs, results, strict=True))

    initial: Parameters = {}
    for place, values in zip(problem.places, problem.initial(), strict=True):
        initial.setdefault(place.quantity, {})[place.label] = np.asarray(values)
    return function, initial


def _check_trap(n_numbers: int) -> None:
    """Refuse what JAX would wait for, for ever, with one core: it has one thread, which calls back.

    Arrays beyond some 100 kB, which the call is made with, are copied on that very thread.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asynchronous = jax.config.values.get("jax_cpu_enable_async_dispatch", False)
    if cores == 1 and asynchronous and 8 * n_numbers > _COPIED_AT_ONCE and jax.default_backend() == "cpu":
        raise ValueError(
            f"on one core JAX would wait for ever with arrays of {8 * n_numbers} bytes: before anything else, "
            "jax.config.update('jax_cpu_enable_async_dispatch', False)"
        )


def _split(problem: ArrayProblem, arrays: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    numbers = [np.asarray(a) for a in arrays]
    return numbers[: len(problem.places)], numbers[len(problem.places) :]


def _widths(problem: ArrayProblem, n_spikes: int | Mapping[str, int]) -> dict[str, int]:
    """Return the length of every result's last axis."""
    widths = {}
    for name in problem.outputs:
        if not problem.spiking(name):
            widths[name] = problem.voltage_times.size
        elif isinstance(n_spikes, Mapping):
            if name not in n_spikes:
                raise ValueError(f"n_spikes must have an entry for output {name!r}; got {sorted(n_spikes)}")
            widths[name] = count(f"n_spikes of {name!r}", n_spikes[name])
        else:
            widths[name] = count("n_spikes", n_spikes)
    return widths
