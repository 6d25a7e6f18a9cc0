"""Loihi 2 by the integers that Lava computes, from a network to a NetX file, with each of its roundings to be left out.

Files, each importing only from those before it: ``program`` (layers of integers), ``kernels`` (what is compiled),
``running``, ``netx`` (files), ``causes`` (what can be left out), ``quantities`` (a network in the chip's quantities),
``export``, ``target``.
"""

from validation.loihi2.export import Export as Export
from validation.loihi2.export import export as export
from validation.loihi2.export import network_of as network_of
from validation.loihi2.netx import read_netx as read_netx
from validation.loihi2.netx import write_netx as write_netx
from validation.loihi2.program import Dense as Dense
from validation.loihi2.program import Layer as Layer
from validation.loihi2.program import Program as Program
from validation.loihi2.quantities import Settings as Settings
from validation.loihi2.running import Run as Run
from validation.loihi2.running import run as run
from validation.loihi2.target import Loihi2 as Loihi2
from validation.loihi2.target import logits as logits
