"""What does not change once it is made, also where it was copied or came back from a file or another process.

numpy forgets that an array is read-only when it is pickled or deep-copied. So what holds arrays makes them read-only
again, whichever way it came to be.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np
import scipy.sparse as sp

from eventsolve.errors import Carrying
from eventsolve.kinds import kinds_of
from eventsolve.renamed import hint
from eventsolve.shown import Shown

Key = TypeVar("Key")
Value = TypeVar("Value", covariant=True)


class MissingKeyError(Carrying, KeyError):
    """A key that a mapping does not have; the message says which there are, and which is the nearest."""

    def __init__(self, key: object, known: Iterable[object]) -> None:
        super().__init__(key, tuple(known))

    def __str__(self) -> str:
        key, known = self.args
        if not known:
            return f"there is no {key!r}, as the mapping is empty"
        words = {_word(name): name for name in known}
        near = difflib.get_close_matches(_word(key), list(words), n=1)
        meant = f"; was {words[near[0]]!r} meant?" if near else ""
        return f"there is no {key!r}, but {', '.join(map(repr, known))}{meant}"


def _word(key: object) -> str:
    return "->".join(map(str, key)) if isinstance(key, tuple) else str(key)


class FrozenMapping(Mapping[Key, Value]):
    """A mapping that cannot be changed, nor the arrays in it. It prints as a dict, and can be pickled and copied.

    It is equal to a mapping of the same keys to the same: of arrays the same shapes and numbers, of which NaN is one.
    """

    __slots__ = ("_items",)
    _items: dict[Key, Value]

    def __init__(self, items: Mapping[Key, Value]) -> None:
        object.__setattr__(self, "_items", {key: read_only(value) for key, value in items.items()})

    @classmethod
    def of_read_only(cls, items: dict[Key, Any]) -> Self:
        """Return a mapping of what was made here and cannot be written any more: nothing is looked at."""
        mapping = cls.__new__(cls)
        object.__setattr__(mapping, "_items", items)
        return mapping

    def __getitem__(self, key: Key) -> Value:
        try:
            return self._items[key]
        except KeyError:
            raise MissingKeyError(key, self._items) from None

    def __iter__(self) -> Iterator[Key]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, key: object) -> bool:
        return key in self._items

    def keys(self) -> KeysView[Key]:
        """Return the keys; as values and items, without a look at each, as a mapping would by itself."""
        return self._items.keys()

    def values(self) -> ValuesView[Value]:
        """Return the values, in the order of the keys."""
        return self._items.values()

    def items(self) -> ItemsView[Key, Value]:
        """Return the pairs of keys and values."""
        return self._items.items()

    def __eq__(self, other: object) -> bool:
        return _same(self, other) if isinstance(other, Mapping) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __or__(self, other: Mapping[Any, Any]) -> FrozenMapping[Any, Any]:
        if not isinstance(other, Mapping):
            return NotImplemented
        return FrozenMapping({**self, **other})

    def __ror__(self, other: Mapping[Any, Any]) -> FrozenMapping[Any, Any]:
        if not isinstance(other, Mapping):
            return NotImplemented
        return FrozenMapping({**other, **self})

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a FrozenMapping cannot be changed")

    def __repr__(self) -> str:
        return repr(self._items)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._items.copy(),)


class MadeWhenRead(FrozenMapping[Key, Value]):
    """A FrozenMapping whose items are made once one of them is asked for, by a function that makes them read-only."""

    __slots__ = ("_make",)
    _make: Callable[[], dict[Key, Value]] | None

    def __init__(self, make: Callable[[], dict[Key, Value]]) -> None:
        object.__setattr__(self, "_make", make)

    def __getattr__(self, name: str) -> Any:
        if name != "_items":
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        make = self._make
        if make is not None:  # as it is where another thread has made them meanwhile
            object.__setattr__(self, "_items", make())
            object.__setattr__(self, "_make", None)  # nor is what it holds kept any longer
        return object.__getattribute__(self, "_items")

    def __reduce__(self) -> tuple[Any, ...]:
        return FrozenMapping, (self._items.copy(),)


class Frozen(Shown):
    """The base of frozen dataclasses: what they hold, but for what is private, is :func:`read_only`.

    So it is once they are made, and once they are unpickled or copied. They print in a few lines, however large. What
    is given for a field is of the kind that the field is annotated with, or refused.

    A record is equal to itself alone, also one that is a mapping, and may be a key. What it holds can be compared:
    mappings by what is in them, :class:`eventsolve.SpikeTrains` by their spikes.
    """

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __post_init__(self) -> None:
        given = vars(self)
        record: Any = type(self)  # mypy takes no class with a __hash__ of its own for hashable
        for name, taken in kinds_of(record).items():
            given[name] = taken(name, given[name])
        self.__setstate__(given)

    @classmethod
    def _made(cls, **parts: Any) -> Self:
        """Return a record of parts that were made here and belong together, which it does not check again."""
        made = cls.__new__(cls)
        made.__setstate__(parts)
        return made

    def __setstate__(self, state: dict[str, Any]) -> None:
        held = vars(self)
        for name, value in list(state.items()):
            held[name] = value if name.startswith("_") else read_only(value)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            known = (hint(kind.__name__, name) for kind in type(self).__mro__)
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute {name!r}{next(filter(None, known), '')}"
            )


def _same(one: Any, other: Any) -> bool:
    """Return whether two values have the same numbers, also in arrays, sparse matrices, mappings and sequences."""
    if one is other:
        return True
    if isinstance(one, np.ndarray):
        nan = one.dtype.kind in "fc"
        return isinstance(other, np.ndarray) and np.array_equal(one, other, equal_nan=nan)
    if sp.issparse(one):
        return (
            sp.issparse(other)
            and one.shape == other.shape
            and all(
                _same(getattr(one, part), getattr(other, part, None))
                for part in ("data", "indices", "indptr")
            )
        )
    if isinstance(one, Mapping) and not isinstance(one, Frozen):
        return (
            isinstance(other, Mapping)
            and len(one) == len(other)
            and all(key in other and _same(value, other[key]) for key, value in one.items())
        )
    if isinstance(one, (tuple, list)):
        return isinstance(other, (tuple, list)) and len(one) == len(other) and all(map(_same, one, other))
    return not (isinstance(other, np.ndarray) or sp.issparse(other)) and bool(one == other)


_UNCHANGING = {type(None), bool, int, float, str, FrozenMapping, MadeWhenRead}


def read_only(value: Any) -> Any:
    """Return arrays as views that cannot be written, also those in mappings, tuples and lists, which become tuples.

    Of a sparse matrix in compressed rows it is a new matrix of such arrays.
    """
    kind = type(value)  # it is asked first: of what class an abstract one is takes longest
    if kind in _UNCHANGING:
        return value
    if kind is dict:
        return FrozenMapping(value)
    if isinstance(value, np.ndarray):
        if not value.flags.writeable:
            return value
        view = value.view()
        view.setflags(write=False)
        return view
    if isinstance(value, (int, float, str, Frozen)):
        return value
    if isinstance(value, tuple):
        items = [read_only(item) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    if isinstance(value, list):
        return tuple(read_only(item) for item in value)
    if isinstance(value, FrozenMapping):
        return value
    if sp.issparse(value):
        arrays = tuple(read_only(array) for array in (value.data, value.indices, value.indptr))
        return sp.csr_array(arrays, shape=value.shape, copy=False)
    return FrozenMapping(value) if isinstance(value, Mapping) else value
