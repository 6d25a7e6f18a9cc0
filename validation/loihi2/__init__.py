"""Loihi 2 by the integers that Lava computes, from a network to a NetX file, with each of its roundings to be left out.

Each file imports only from those before it: ``program`` (layers of integers), ``kernels`` (what is compiled),
``running``, ``netx`` (files), ``causes`` (what can be left out), ``quantities`` (a network in the chip's quantities),
``exporting``, ``target``.
"""

from typing import TYPE_CHECKING

from validation.lazily import names_of

if TYPE_CHECKING:
    from validation.loihi2.exporting import Export, export, network_of
    from validation.loihi2.netx import read_netx, write_netx
    from validation.loihi2.program import Dense, Layer, Program
    from validation.loihi2.quantities import Settings
    from validation.loihi2.running import Run, run
    from validation.loihi2.target import Loihi2, logits

__all__ = [
    "Dense",
    "Export",
    "Layer",
    "Loihi2",
    "Program",
    "Run",
    "Settings",
    "export",
    "logits",
    "network_of",
    "read_netx",
    "run",
    "write_netx",
]

__getattr__ = names_of(
    __name__,
    {
        "exporting": ["Export", "export", "network_of"],
        "netx": ["read_netx", "write_netx"],
        "program": ["Dense", "Layer", "Program"],
        "quantities": ["Settings"],
        "running": ["Run", "run"],
        "target": ["Loihi2", "logits"],
    },
)
