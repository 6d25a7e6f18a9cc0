"""What arguments and results are, as types: arrays by their dtype, what numbers belong to, and what may be given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

Reals: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]
Booleans: TypeAlias = NDArray[np.bool_]

Key: TypeAlias = tuple[str, str] | tuple[str, str, str]
"""A projection: (pre, post), or (pre, post, name)."""
Owner: TypeAlias = str | Key
"""What numbers belong to: a population by its name, or a projection."""

Weights: TypeAlias = Any
"""One number for every synapse as it is given: a number, array_like or scipy.sparse, which has no types of its own."""
Synaptic: TypeAlias = Any
"""One number for every synapse as it is returned, in the layout of the weight: an ndarray, a csr_array, or a tuple of
these, one for each sample. Which of them it is follows from the weight, so that a union would have to be narrowed
wherever it is used."""

Number = TypeVar("Number")
ByProjection: TypeAlias = Mapping[Key, Number] | Mapping[tuple[str, str], Number]
"""A mapping from projections; keys of mappings are invariant, so that the one without names is one of its own."""
ByOwner: TypeAlias = Mapping[str, Number] | ByProjection[Number]
Place: TypeAlias = int | tuple[int, int]
"""Which number of an owner: a neuron or spike, or target and source of a synapse."""
Direction: TypeAlias = Mapping[str, ByOwner[Weights]]
"""Numbers by name and owner, such as ``{"weight": {("in", "out"): dw}, "tau_mem": {"out": 1e-3}}``."""
