"""What errors that carry results have in common: they can be pickled, and so be raised in a process pool."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Carrying(BaseException):
    """An error that carries what it was raised with, in any process: its arguments are not those of its constructor."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _carried, (type(self), self.args, self.__dict__)


def _carried(
    kind: type[BaseException], args: tuple[Any, ...], attributes: Mapping[str, Any]
) -> BaseException:
    error = kind.__new__(kind, *args)
    error.__dict__.update(attributes)
    return error
