"""A model of discretised EventProp on SpiNNaker2 cores: programs that talk by packets, in a chosen arithmetic."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from validation.spinnaker2.arithmetic import FLOAT32, FLOAT64, Arithmetic, FloatFormat
    from validation.spinnaker2.chip import Chip
    from validation.spinnaker2.chip_state import Batch, ChipState
    from validation.spinnaker2.optimizer_program import SGD, Adam, OptimizerProgram
    from validation.spinnaker2.switched import SwitchedCore
    from validation.spinnaker2.switches import Switches
    from validation.spinnaker2.target import SpiNNaker2Core

__all__ = [
    "FLOAT32",
    "FLOAT64",
    "SGD",
    "Adam",
    "Arithmetic",
    "Batch",
    "Chip",
    "ChipState",
    "FloatFormat",
    "OptimizerProgram",
    "SpiNNaker2Core",
    "SwitchedCore",
    "Switches",
]

_MODULES = {
    "FLOAT32": "arithmetic",
    "FLOAT64": "arithmetic",
    "SGD": "optimizer_program",
    "Adam": "optimizer_program",
    "Arithmetic": "arithmetic",
    "Batch": "chip_state",
    "Chip": "chip",
    "ChipState": "chip_state",
    "FloatFormat": "arithmetic",
    "OptimizerProgram": "optimizer_program",
    "SpiNNaker2Core": "target",
    "SwitchedCore": "switched",
    "Switches": "switches",
}
"""Imported when they are asked for: the command line names this package's commands, and helps without numpy."""


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
