"""Kernels and signals: KeyboardInterrupt comes out of a running kernel at once, and nothing else is harmed.

Compiled code hands its arrays over through Python functions. A signal that is pending then, and whose handler raises,
raises inside of them, which numba does not expect: the process dies. And until compiled code returns, Python runs no
handler at all. So on the main thread, the only one on which handlers run, they are put off while kernels run. Another
thread hears of each signal through the interpreter's wakeup descriptor and sets the flag that every kernel takes as its
last argument and looks at in its long loops. Once the kernel has returned, the handler runs, and mostly raises.

A kernel that is not compiled yet is called on a thread of its own, for which the main thread waits: numba is not made
to be interrupted. What is being compiled then is finished in the background, and there for the next call.
"""

from __future__ import annotations

import _signal
import os
import signal
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable
from itertools import repeat
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from eventsolve.errors import Carrying

Result = TypeVar("Result")
Flag = NDArray[np.int64]

_NAMES = "SIGINT SIGTERM SIGHUP SIGQUIT SIGALRM SIGUSR1 SIGUSR2 SIGBREAK"
SIGNALS = tuple(int(getattr(signal, name)) for name in _NAMES.split() if hasattr(signal, name))
"""Those whose handlers are put off. Any other whose handler raises would do so inside of what a kernel hands over."""

# what the functions of signal wrap to turn numbers into enumerations, which takes ten times as long
_handler_of: Callable[[int], Any] = _signal.getsignal
_set_handler: Callable[[int, Any], Any] = _signal.signal


class Interrupted(Carrying, KeyboardInterrupt):
    """A KeyboardInterrupt that carries what was finished until then, so that no long work is lost.

    Whoever catches KeyboardInterrupt catches it too; :func:`eventsolve.certify` and :func:`eventsolve.trust_radius`
    raise it. At a prompt, ``sys.last_value.so_far`` is what was finished.

    Attributes
    ----------
    so_far : Certificate, TrustRadius or another result
        Of what was done: it says that it is not complete. None if nothing was.
    """

    def __init__(self, so_far: Any) -> None:
        super().__init__(
            "nothing was finished before it: the attribute so_far of this error is None"
            if so_far is None
            else f"what was finished before it is in the attribute so_far of this error: {so_far}"
        )
        self.so_far = so_far


class Stopped(BaseException):
    """A kernel was told to stop; what it returned is not complete."""


class NotCompiled(BaseException):
    """A kernel would have to be compiled while handlers are put off."""


class _Here(threading.local):
    """Of a thread: the flag of the kernels that it calls, and whether handlers are put off."""

    stop: Flag | None = None
    deferring = False


_here = _Here()


def new_flag() -> Flag:
    """Return the flag of kernels that nobody has told to stop yet. A flag that is set is never used again."""
    return np.zeros(1, np.int64)


def within() -> bool:
    """Return whether this thread is doing work that can be stopped already."""
    return _here.stop is not None


def call(kernel: Callable[..., Any], *arguments: Any) -> Any:
    """Return ``kernel(*arguments, flag)``: every kernel is called through this.

    Raises
    ------
    Stopped
        If it was told to stop: only within :func:`interruptible` or :func:`attempt`, which deal with it.
    """
    stop = _here.stop
    if stop is None:
        return interruptible(lambda: call(kernel, *arguments))
    if _here.deferring and not getattr(kernel, "overloads", True):
        raise NotCompiled
    if stop[0]:
        raise Stopped
    result = kernel(*arguments, stop)
    if stop[0]:
        raise Stopped
    return result


def interruptible(work: Callable[[], Result]) -> Result:
    """Return work(), which calls kernels, and is begun again where a handler has stopped it but not raised.

    Nothing that it changes may outlive it.
    """
    if _here.stop is not None:
        return work()
    heard: set[int] = set()
    while True:
        try:
            return attempt(work, new_flag(), heard)
        except Stopped:
            continue


def attempt(work: Callable[[], Result], stop: Flag, heard: set[int]) -> Result:
    """Return work(), whose kernels take the flag ``stop``.

    Signals set it, but for those in ``heard``, to which those are added whose handlers have run and not raised: a
    signal that comes again and again does not keep the work from ending.

    Raises
    ------
    Stopped
        If the flag was set, and no handler has raised.
    """
    if threading.get_ident() != threading.main_thread().ident:
        return with_flag(work, stop)
    try:
        return _deferring(work, stop, heard)
    except NotCompiled:
        return _beside(work, stop, heard)


def with_flag(work: Callable[[], Result], stop: Flag) -> Result:
    """Return work(), whose kernels take the flag ``stop``, on a thread that no handler runs on."""
    _here.stop = stop
    try:
        return work()
    finally:
        _here.stop = None


def _deferring(work: Callable[[], Result], stop: Flag, heard: set[int]) -> Result:
    """Return work() on the main thread; handlers of signals that arrive meanwhile run when it has ended."""
    arrived: list[int] = []

    def note(number: int, _: Any) -> None:
        arrived.append(number)
        if number not in heard:
            stop[0] = 1

    handlers = {number: handler for number in SIGNALS if callable(handler := _handler_of(number))}
    wakeup = -1
    watcher = _watcher()
    try:
        deque(map(_set_handler, handlers, repeat(note)), maxlen=0)  # no handler runs inside of one call in C
        wakeup = watcher.begin(stop, handlers.keys() - heard)
        _here.stop, _here.deferring = stop, True
        return work()
    finally:
        _here.stop, _here.deferring = None, False
        watcher.end(wakeup)
        deque(map(_set_handler, handlers, handlers.values()), maxlen=0)
        for number in arrived:
            handlers[number](number, sys._getframe())
        heard.update(arrived)


def _beside(work: Callable[[], Result], stop: Flag, heard: set[int]) -> Result:
    """Return work() from another thread, which is told to stop, and left to itself, if a handler raises."""
    outcome: list[tuple[bool, Any]] = []

    def run() -> None:
        try:
            outcome.append((True, with_flag(work, stop)))
        except BaseException as error:
            outcome.append((False, error))

    thread = threading.Thread(target=run, name="eventsolve compiles")
    try:
        _deferring(thread.start, stop, heard)  # interrupted, Python's own start would raise a RuntimeError
        thread.join()
    except BaseException:
        stop[0] = 1
        raise
    succeeded, value = outcome[0]
    if not succeeded:
        raise value
    result: Result = value
    return result


class _Watcher:
    """A thread that hears of signals while the main thread is in a kernel, and tells the kernel to stop."""

    def __init__(self) -> None:
        self._stop: Flag | None = None
        self._wanted: set[int] = set()
        self._forward = -1
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._descriptor = self._writer.fileno()
        threading.Thread(target=self._listen, daemon=True, name="eventsolve signals").start()

    def begin(self, stop: Flag, wanted: set[int]) -> int:
        """Set the flag when one of the wanted signals arrives; return the descriptor that was told of them before."""
        self._stop, self._wanted = stop, wanted
        self._forward = signal.set_wakeup_fd(self._descriptor, warn_on_full_buffer=False)
        return self._forward

    def end(self, wakeup: int) -> None:
        """Let signals go where they went before."""
        signal.set_wakeup_fd(wakeup)
        self._stop = None

    def _listen(self) -> None:
        while numbers := self._reader.recv(256):
            stop = self._stop
            if stop is not None and not self._wanted.isdisjoint(numbers):
                stop[0] = 1
            if self._forward >= 0:
                try:
                    os.write(self._forward, numbers)
                except (
                    OSError
                ):  # closed meanwhile, or full, which its owner is not told of by the interpreter either
                    continue


_watchers: list[_Watcher] = []  # none or one; a forked process has none of its parent's threads


def _watcher() -> _Watcher:
    if not _watchers:
        _watchers.append(_Watcher())
    return _watchers[0]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_watchers.clear)
