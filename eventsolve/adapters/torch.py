"""PyTorch: a module whose forward pass is the exact solver and whose backward pass is its exact adjoint.

Needs the extra ``torch``. The solver runs on the CPU in float64; tensors come from and go to wherever they are.
``torch.func`` (grad, jacrev, vmap) works through it, vmap one call after the other, and ``torch.compile`` breaks its
graph around it. A gradient cannot be differentiated again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from numpy.typing import ArrayLike, NDArray

from eventsolve.adapters.arrays import QUANTITIES, ArrayProblem, array_problem
from eventsolve.network import Network
from eventsolve.solution import Solution
from eventsolve.solve import MAX_SPIKES


class ExactModule(torch.nn.Module):
    """A network as a module: input spike times go in, output spike times or voltages come out, exactly.

    Its parameters, float64, are ``module.weight["pre->post"]``, shaped like a dense weight or (n_synapses,) for a
    sparse one, and further quantities alike: ``module.delay["pre->post"]``, ``module.tau_mem["population"]``. An
    optimizer that moves one out of its range (a negative delay, say) is stopped by an error in the next forward pass.

    Parameters
    ----------
    network, t_end, outputs, trainable, voltage_times, max_spikes
        As in :func:`eventsolve.adapters.arrays.array_problem`.

    Examples
    --------
    >>> import torch, eventsolve as es
    >>> from eventsolve.adapters.torch import ExactModule
    >>> net = es.Network()
    >>> net.add_input("in", 1)
    >>> net.add_population("out", 1, es.LIF(tau_mem=20e-3, tau_syn=5e-3))
    >>> net.connect("in", "out", [[10.0]])
    >>> module = ExactModule(net, t_end=50e-3)
    >>> first = module({"in": torch.zeros(1, 1)})["out"][0, 0, 0]
    >>> first.backward()
    >>> bool(module.weight["in->out"].grad < 0)  # a larger weight spikes earlier
    True
    """

    def __init__(
        self,
        network: Network,
        t_end: float,
        *,
        outputs: Sequence[str] | None = None,
        trainable: Sequence[str] = ("weight",),
        voltage_times: ArrayLike = (),
        max_spikes: int = MAX_SPIKES,
    ) -> None:
        super().__init__()
        self.problem = array_problem(
            network,
            t_end,
            outputs=outputs,
            trainable=trainable,
            voltage_times=voltage_times,
            max_spikes=max_spikes,
        )
        for quantity in QUANTITIES:
            if quantity in trainable:
                self.register_module(quantity, torch.nn.ParameterDict())
        for place, values in zip(self.problem.places, self.problem.initial(), strict=True):
            if "." in place.label:
                raise ValueError(
                    f"{place.label!r} must not contain '.', which parts the names of torch's parameters"
                )
            getattr(self, place.quantity)[place.label] = torch.nn.Parameter(torch.from_numpy(values))

    def forward(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Solve for a batch.

        Parameters
        ----------
        inputs : mapping of str to Tensor, (n_samples, n_neurons) or (n_samples, n_neurons, n_spikes)
            Seconds, inf where there is no further spike. They may require gradients.

        Returns
        -------
        dict of str to Tensor of float64
            Of a spiking output its spike times, (n_samples, n_neurons, n_spikes), ascending and then inf; of an LI its
            voltages, (n_samples, n_neurons, n_times). Entries of inf have gradient 0.

        Raises
        ------
        ValueError
            If inputs are missing or unknown, or parameters or times are not what the solver takes.
        """
        if set(inputs) != set(self.problem.inputs):
            raise ValueError(f"inputs must be given for {sorted(self.problem.inputs)}; got {sorted(inputs)}")
        times = [inputs[name] for name in self.problem.inputs]
        results = _solved(self.problem, *self._values(), *times)
        return dict(zip(self.problem.outputs, results, strict=True))

    def network(self) -> Network:
        """Return the network with the parameters as they are now."""
        return self.problem.with_parameters([_numbers(value) for value in self._values()])

    def _values(self) -> list[torch.Tensor]:
        return [getattr(self, place.quantity)[place.label] for place in self.problem.places]


@torch.compiler.disable  # which breaks a compiled graph here: the solver is nothing that torch could compile
def _solved(problem: ArrayProblem, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    results: tuple[torch.Tensor, ...] = _Exact.apply([], problem, *tensors)
    return results


class _Exact(torch.autograd.Function):
    """Takes a list that it leaves its solution in, an ArrayProblem, its parameters and its input times."""

    @staticmethod
    def forward(
        kept: list[Solution], problem: ArrayProblem, *tensors: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        n = len(problem.places)
        arrays = [_numbers(tensor) for tensor in tensors]
        kept.append(problem.solve(arrays[:n], arrays[n:]))
        device = tensors[0].device if tensors else None
        return tuple(torch.from_numpy(result).to(device) for result in problem.results(kept[0]))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.kept, ctx.problem, *tensors = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, *cotangents: torch.Tensor) -> tuple[Any, ...]:
        return None, None, *_Pullback.apply(ctx.kept, ctx.problem, *ctx.saved_tensors, *cotangents)

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[Any, ...], _: Any, problem: ArrayProblem, *tensors: torch.Tensor
    ) -> Any:
        results = [
            _Exact.apply([], problem, *each) for each in _one_by_one(info.batch_size, in_dims[2:], tensors)
        ]
        return tuple(_stacked(column) for column in zip(*results, strict=True)), (0,) * len(problem.outputs)


class _Pullback(torch.autograd.Function):
    """Takes what :class:`_Exact` takes, and a cotangent of each of its results; returns those of its tensors.

    Where the list holds no solution, as under ``torch.func.vmap``, the network is solved again.
    """

    @staticmethod
    def forward(
        kept: list[Solution], problem: ArrayProblem, *tensors: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        n, n_given = len(problem.places), len(problem.places) + len(problem.inputs)
        arrays = [_numbers(tensor) for tensor in tensors]
        times = arrays[n:n_given]
        solution = kept[0] if kept else problem.solve(arrays[:n], times)
        found = problem.pullback(solution, times, arrays[n_given:])
        return tuple(
            torch.from_numpy(array).to(tensor.device, tensor.dtype)
            for array, tensor in zip((*found.parameters, *found.times), tensors[:n_given], strict=True)
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *_: torch.Tensor) -> Any:
        raise RuntimeError(
            "an exact gradient cannot be differentiated again: it is a constant to torch, which would take its "
            "derivative for 0"
        )

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[Any, ...], _: Any, problem: ArrayProblem, *tensors: torch.Tensor
    ) -> Any:
        results = [
            _Pullback.apply([], problem, *each) for each in _one_by_one(info.batch_size, in_dims[2:], tensors)
        ]
        columns = tuple(torch.stack(column) for column in zip(*results, strict=True))
        return columns, (0,) * len(columns)


def _one_by_one(
    n: int, in_dims: tuple[int | None, ...], tensors: tuple[torch.Tensor, ...]
) -> Iterator[list[torch.Tensor]]:
    """Yield the tensors of each of n calls that ``torch.func.vmap`` makes one of."""
    for k in range(n):
        yield [t if dim is None else t.select(dim, k) for t, dim in zip(tensors, in_dims, strict=True)]


def _stacked(results: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Return results as one tensor; those with fewer spikes are filled up with inf."""
    width = max(result.shape[-1] for result in results)
    padded = [torch.nn.functional.pad(r, (0, width - r.shape[-1]), value=math.inf) for r in results]
    return torch.stack(padded)


def _numbers(tensor: torch.Tensor) -> NDArray[Any]:
    numbers: NDArray[Any] = tensor.detach().cpu().double().numpy()
    return numbers
