"""A model of discretised EventProp on SpiNNaker2 cores: programs that talk by packets, in a chosen arithmetic."""

from typing import TYPE_CHECKING

from validation.lazily import names_of

if TYPE_CHECKING:
    from validation.spinnaker2.arithmetic import FLOAT32, FLOAT64, Arithmetic, FloatFormat
    from validation.spinnaker2.chip import Chip
    from validation.spinnaker2.chip_state import BatchResult, ChipState
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
    "BatchResult",
    "Chip",
    "ChipState",
    "FloatFormat",
    "OptimizerProgram",
    "SpiNNaker2Core",
    "SwitchedCore",
    "Switches",
]

__getattr__ = names_of(
    __name__,
    {
        "arithmetic": ["FLOAT32", "FLOAT64", "Arithmetic", "FloatFormat"],
        "chip": ["Chip"],
        "chip_state": ["BatchResult", "ChipState"],
        "optimizer_program": ["SGD", "Adam", "OptimizerProgram"],
        "switched": ["SwitchedCore"],
        "switches": ["Switches"],
        "target": ["SpiNNaker2Core"],
    },
)
