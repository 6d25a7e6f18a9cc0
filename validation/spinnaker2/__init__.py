"""A model of discretised EventProp on SpiNNaker2 cores: programs that talk by packets, in a chosen arithmetic."""

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
