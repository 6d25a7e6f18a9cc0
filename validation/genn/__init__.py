"""GeNN's discretised EventProp, as mlGeNN compiles it, with each of its approximations and faults to be left out.

Files, each importing only from those before it: ``kernels`` (what is compiled), ``causes`` (what can be left out),
``clock``, ``tables`` (a network in GeNN's terms), ``readouts`` (losses), ``adapters`` (GeNN's arrays and their
conventions), ``outcome`` (what a run gives), ``simulation``, ``target``.
"""

from validation.genn.causes import Causes as Causes
from validation.genn.target import GeNN as GeNN
