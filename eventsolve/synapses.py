"""Gradients of sparse projections by synapse: one number for each stored weight, as an array."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from eventsolve.checks import real_array
from eventsolve.typing import Reals, Synaptic, Weights

Synapses: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Target and source neuron of every stored entry of a sparse weight, (n_synapses,) each."""


def synapses_of(gradient: Synaptic) -> Synapses | None:
    """Return the synapses of a sparse gradient, or of the first of a list of them; None of a dense one."""
    first = gradient[0] if isinstance(gradient, list | tuple) and gradient else gradient
    if not sp.issparse(first):
        return None
    return _entries(sp.csr_array(first))


def _entries(rows: sp.csr_array) -> Synapses:
    return np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr)), np.asarray(rows.indices, dtype=np.int64)


def by_synapse(name: str, values: Weights, like: Synaptic) -> Reals:
    """Return a gradient as an array; beside a sparse one, (n_synapses,) with as many axes before as there were.

    Nothing sparse is made dense: of values that are dense, the entries of the synapses are taken, and a synapse that
    sparse ones do not store has 0.

    Raises
    ------
    ValueError
        If they are no real numbers, of another shape, or, sparse themselves, not 0 where there is no synapse.
    """
    synapses = synapses_of(like)
    if sp.issparse(values) and isinstance(like, list | tuple):
        raise ValueError(f"{name} must be by sample, as many matrices as there are samples; got one")
    if isinstance(values, list | tuple) and any(sp.issparse(entry) for entry in values):
        first = like[0] if isinstance(like, list | tuple) and like else like
        return np.stack([by_synapse(name, entry, first) for entry in values])
    if sp.issparse(values):
        if synapses is None:
            return real_array(name, values.toarray())
        first = sp.csr_array(like)
        rows = canonical_rows(values)
        if rows.shape != first.shape:
            raise ValueError(f"{name} must have shape {first.shape}; got {rows.shape}")
        if not same_synapses(rows, first):
            _require_synapses(name, rows, first)
            picked = rows[synapses]
            return real_array(name, picked.toarray() if sp.issparse(picked) else picked).reshape(-1)
        return real_array(name, rows.data)
    array = real_array(name, values)
    if synapses is None:
        return array
    shape = (like[0] if isinstance(like, list | tuple) else like).shape
    whole = array.ndim == 2 + isinstance(like, list | tuple) and array.shape[-2:] == shape
    return array[..., synapses[0], synapses[1]] if whole else array


def canonical_rows(matrix: Any, dtype: type | None = None) -> Any:
    """Return a copy in compressed rows with sorted columns, duplicates summed and stored zeros kept."""
    rows = sp.csr_array(matrix, dtype=dtype, copy=True)
    rows.has_canonical_format = rows.has_sorted_indices = (
        False  # a flag copied from the caller may be out of date
    )
    rows.sum_duplicates()
    return rows


def same_synapses(rows: sp.csr_array, others: sp.csr_array) -> bool:
    """Return whether two matrices in compressed rows store the same entries in one order."""
    return (
        rows.shape == others.shape
        and np.array_equal(rows.indptr, others.indptr)
        and np.array_equal(rows.indices, others.indices)
    )


def _require_synapses(name: str, rows: sp.csr_array, first: sp.csr_array) -> None:
    """Raise a ValueError at a number other than 0 where there is no synapse: it would be lost."""
    (post, pre), (posts, pres) = _entries(rows), _entries(first)
    missing = ~np.isin(post * rows.shape[1] + pre, posts * rows.shape[1] + pres)
    for k in np.flatnonzero(missing & (rows.data != 0))[:1]:
        raise ValueError(f"{name} is {rows.data[k]} at [{post[k]}, {pre[k]}], where there is no synapse")
