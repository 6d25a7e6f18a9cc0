"""Other people's gradients and weights in the units of this repository: every factor in one place, with its source.

The gradient here is dL/dw of the loss as :mod:`eventsolve.losses` defines it, in seconds, per sample; the weight is the
jump of a current I in ``tau_mem dV/dt = v_leak - V + I``. Multiply what a system gives by its factor to get that:

    exact = conventions.of("mlGeNN", "AvgVar").gradient(theirs, tau_mem=20e-3)

``basis`` says how a factor is known: "run" where a test of this repository runs the system and finds it, "read" where
it is taken from the source that is named.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from eventsolve.typing import Reals


class Constants(NamedTuple):
    """Of the neurons that receive, where nothing else is said, and of the run; seconds.

    Not given is NaN, and so is a factor that needs it.
    """

    tau_mem: Any = math.nan
    tau_syn: Any = math.nan
    time_step: float = math.nan
    t_end: float = math.nan


Factor = Callable[[Constants], Any]


@dataclass(frozen=True)
class Convention:
    """How one system's numbers relate to those here.

    Attributes
    ----------
    system, readout : str
        Whose, and with which loss or readout.
    gradient_factor, weight_factor : callable, optional
        From :class:`Constants` to the factor by which their dL/dw, and their weight, has to be multiplied. None where
        there is no such factor, as with surrogate gradients.
    formula : str
        The gradient's factor in words.
    remark : str
        What else is different.
    source : str
        Where it is to be read: repository, version and file, or paper.
    basis : {"run", "read"}
    """

    system: str
    readout: str
    gradient_factor: Factor | None
    formula: str
    source: str
    basis: Literal["run", "read"]
    remark: str = ""
    weight_factor: Factor | None = lambda c: 1.0

    def gradient(self, theirs: ArrayLike, **constants: Any) -> Reals:
        """Return dL/dw, (n_post, n_pre), from theirs, n_samples first if so; constants as in :class:`Constants`.

        Raises
        ------
        ValueError
            If there is no factor, or it needs a constant that is not given.
        """
        return self._times("gradient", self.gradient_factor, theirs, constants)

    def weight(self, theirs: ArrayLike, **constants: Any) -> Reals:
        """Return weights as they are here, (n_post, n_pre), from theirs; raises as :meth:`gradient` does."""
        return self._times("weight", self.weight_factor, theirs, constants)

    def _times(self, what: str, factor: Factor | None, theirs: ArrayLike, constants: dict[str, Any]) -> Reals:
        if factor is None:
            raise ValueError(
                f"{self.system} ({self.readout}) has no {what} that a factor makes exact: {self.remark}"
            )
        value = np.asarray(factor(Constants(**constants)), dtype=np.float64)
        if np.isnan(value).any():
            missing = [name for name in Constants._fields if name not in constants]
            raise ValueError(
                f"the {what} factor of {self.system} ({self.readout}), {self.formula}, needs more than "
                f"{sorted(constants)}; not given are {missing}"
            )
        return np.asarray(theirs, dtype=np.float64) * (value[..., None] if value.ndim else value)


def _one(_: Constants) -> float:
    return 1.0


def _tau_mem_in_ms(c: Constants) -> Any:
    return 1e3 * np.asarray(c.tau_mem)


_ML_GENN = "genn-team/ml_genn @02114c3 (v2.3.1)"
_GENN_EVENTPROP = "genn_eventprop (January 2025)"
_BENA = "GabrielBena/pytorch-eventprop @1f76f7a"

CONVENTIONS = (
    Convention(
        "eventprop", "TTFS or largest voltage", _one, "1", "eventprop/eventprop @3cf602e (v0.1)", "read"
    ),
    Convention("jaxsnn", "first spike times", _one, "1", "jaxsnn 0.3.0", "run"),
    Convention(
        "eventax",
        "first spike times",
        _one,
        "1",
        "eventax 0.1.0",
        "run",
        "times as given to it, here in ms",
    ),
    Convention(
        "mlGeNN",
        "AvgVar",
        _tau_mem_in_ms,
        "1e3*tau_mem",
        _ML_GENN,
        "run",
        "its times are in ms; tau_mem is the readout's, for every projection; also AvgVarExpWeight",
    ),
    Convention(
        "mlGeNN",
        "SumVar",
        lambda c: 1e3 * c.tau_mem * c.t_end / c.time_step,
        "1e3*tau_mem T/dt",
        _ML_GENN,
        "run",
        "of the loss of the summed voltages; as AvgVar",
    ),
    Convention(
        "mlGeNN",
        "MaxVar",
        lambda c: 1e3 * c.t_end / -np.expm1(-c.time_step / np.asarray(c.tau_mem)),
        "1e3*T/(1 - exp(-dt/tau_mem))",
        _ML_GENN,
        "run",
        "a source of one step; as AvgVar",
    ),
    Convention(
        "mlGeNN",
        "Var",
        _tau_mem_in_ms,
        "1e3*tau_mem",
        _ML_GENN,
        "run",
        "mean squared error, its target read at the end of each step; as AvgVar",
    ),
    Convention(
        "mlGeNN",
        "FirstSpikeTime",
        _one,
        "1",
        _ML_GENN,
        "run",
        "times in ms; relative MSE, in ms^2, without 1/N",
    ),
    Convention(
        "genn_eventprop",
        "sum, exp, linear, sigmoid",
        _tau_mem_in_ms,
        "1e3*tau_mem",
        _GENN_EVENTPROP,
        "read",
        "as mlGeNN's AvgVar",
    ),
    Convention(
        "genn_eventprop",
        "avg_xentropy",
        _tau_mem_in_ms,
        "1e3*tau_mem",
        _GENN_EVENTPROP,
        "read",
        "as mlGeNN's AvgVar",
    ),
    Convention(
        "genn_eventprop",
        "max",
        lambda c: 1e3 * c.t_end,
        "1e3*T",
        _GENN_EVENTPROP,
        "read",
        "its times are in ms; lambda_V jumps by g/(tau_mem T), as it should but for T",
    ),
    Convention("genn_eventprop", "first_spike", _one, "1", _GENN_EVENTPROP, "read"),
    Convention(
        "pytorch-eventprop",
        "SpikeCE in steps",
        lambda c: 1.0 / c.time_step,
        "1/dt",
        _BENA,
        "run",
        "its loss counts steps and its tau_syn seconds; every layer delays by one step",
    ),
    Convention(
        "norse",
        "adjoint",
        lambda c: -np.asarray(c.tau_syn) / np.asarray(c.tau_mem),
        "-tau_syn/tau_mem",
        "norse 1.1.0, torch/functional/adjoint/lif_adjoint.py",
        "run",
        "it jumps by 1/V', so that its adjoint is tau_mem times that of Wunderlich & Pehle; errors passed down to a "
        "layer below lack lambda_V",
    ),
    Convention(
        "lolemacs/pytorch-eventprop",
        "TTFS",
        lambda c: c.tau_syn,
        "tau_syn",
        "lolemacs/pytorch-eventprop",
        "read",
        "Euler steps",
    ),
    Convention(
        "DelGrad",
        "first spike times",
        lambda c: np.asarray(c.tau_syn) / np.asarray(c.tau_mem),
        "tau_syn/tau_mem",
        "fastAndDeep @33e4876",
        "read",
        "of a loss of the same seconds: its own times are in units of tau_syn; first spikes only, without a reset",
        lambda c: np.asarray(c.tau_mem) / np.asarray(c.tau_syn),
    ),
    Convention(
        "snnTorch",
        "any",
        None,
        "none",
        "snntorch 1.0.0, _neurons/synaptic.py",
        "run",
        "surrogate gradients of a discretised model",
        lambda c: 1.0 / -np.expm1(-c.time_step / np.asarray(c.tau_mem)),
    ),
    Convention(
        "norse",
        "surrogate",
        None,
        "none",
        "norse 1.1.0, torch/functional/lif.py",
        "run",
        "surrogate gradients",
    ),
    Convention(
        "lava-dl", "any", None, "none", "lava-dl @d825ac5", "read", "surrogate gradients; 12-bit decays", None
    ),
    Convention("spyx", "any", None, "none", "spyx @38374e9", "read", "surrogate gradients", None),
    Convention(
        "NIR",
        "CubaLIF",
        None,
        "none",
        "nir 1.0.8, ir/neuron.py",
        "run",
        "a format, not a simulator; a spike adds r w_in w / tau_syn to the current (eventsolve.io.nir)",
        lambda c: 1.0 / np.asarray(c.tau_syn),
    ),
)


def of(system: str, readout: str) -> Convention:
    """Return the convention of a system's readout, or raise a ValueError that lists what there is."""
    for convention in CONVENTIONS:
        if (convention.system, convention.readout) == (system, readout):
            return convention
    known = ", ".join(f"{c.system} ({c.readout})" for c in CONVENTIONS)
    raise ValueError(f"there is no convention of {system} ({readout}); there are {known}")
