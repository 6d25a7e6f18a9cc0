"""Data that comes from outside, or goes there."""

from typing import TYPE_CHECKING as _TYPE_CHECKING

if _TYPE_CHECKING:
    from eventsolve.io import datasets as datasets
    from eventsolve.io import neo as neo
    from eventsolve.io import nir as nir
    from eventsolve.io import pynn as pynn
    from eventsolve.io import records as records
    from eventsolve.io import shd as shd
else:
    from eventsolve.lazily import attached as _attached

    __getattr__, __dir__ = _attached(__name__, "datasets", "neo", "nir", "pynn", "records", "shd")
