"""Training of any network on any target, by gradient descent.

Files, each importing only from those before it: ``batches`` (the loop), ``optimizers``, ``parameters`` (what is
trained), ``descent``, ``archive`` (checkpoints as files), ``checkpoint`` (of a descent), ``choices`` (optimizers and
losses by name). Recipes that repeat published trainings, which lie beside their task or their chip,
go through the same loop, but each with the steps that were published with its numbers: roundings, silent-neuron rules
and shares of a rate are parts of what they repeat.
"""

from validation.training.descent import Epoch as Epoch
from validation.training.descent import trained as trained
from validation.training.in_the_loop import InTheLoop as InTheLoop
from validation.training.optimizers import SGD as SGD
from validation.training.optimizers import Adam as Adam
from validation.training.optimizers import Optimizer as Optimizer
