"""Training of any network on any target, by gradient descent.

Files, each importing only from those before it: ``optimizers``, ``parameters`` (what is trained), ``descent``,
``archive`` (checkpoints as files), ``checkpoint`` (of a descent), ``choices`` (optimizers and losses by name).
"""

from validation.training.descent import Epoch as Epoch
from validation.training.descent import trained as trained
from validation.training.in_the_loop import InTheLoop as InTheLoop
from validation.training.optimizers import SGD as SGD
from validation.training.optimizers import Adam as Adam
from validation.training.optimizers import Optimizer as Optimizer
