"""A batch of spike trains as flat, sorted, read-only arrays."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eventsolve.checks import (
    count,
    first_entry,
    index_vector,
    instance,
    require_mapping,
    seconds_array,
    shown,
)
from eventsolve.frozen import Frozen
from eventsolve.shown import Summary, several
from eventsolve.units import with_unit

_NESTED = "nested as [sample][neuron][spike]"
_MOST_TRAINS = np.iinfo(np.int64).max  # trains are numbered through


@dataclass(frozen=True, eq=False, repr=False)
class SpikeTrains(Frozen):
    """Spikes of ``n_neurons`` neurons in ``n_samples`` samples.

    Build one with :meth:`from_lists`, :meth:`from_arrays` or :meth:`from_dense`. The arrays are parallel, read-only and
    sorted by sample, then time, then neuron: a total order, because one neuron cannot spike twice at one time. The
    constructor, and ``dataclasses.replace`` with it, checks and copies as :meth:`from_arrays` does.

    ``trains[sample, neuron]`` are the times of one neuron, ``trains[sample]`` and ``trains[2:5]`` the batch of these
    samples; ``len(trains)`` is the number of samples. Two batches are equal if every spike is.

    Attributes
    ----------
    times : ndarray of float64, (n_spikes,)
        Seconds, finite, >= 0.
    neurons, samples : ndarray of int64, (n_spikes,)
        Which neuron of which sample spiked.
    n_samples, n_neurons : int
        Sizes of the batch and of the population; both may exceed the indices that occur.

    Raises
    ------
    ValueError
        If a time is negative or not finite, an index is out of range, lengths differ, or the order is another one.
    """

    times: NDArray[np.float64]
    neurons: NDArray[np.int64]
    samples: NDArray[np.int64]
    n_samples: int
    n_neurons: int

    def __post_init__(self) -> None:
        n_samples = count("n_samples", self.n_samples)
        n_neurons = count("n_neurons", self.n_neurons)
        if n_samples * n_neurons > _MOST_TRAINS:
            raise ValueError(
                f"n_samples * n_neurons must be at most {_MOST_TRAINS}; got {n_samples} * {n_neurons}"
            )
        times = _time_vector("times", self.times)
        neurons = index_vector("neurons", self.neurons, n_neurons)
        samples = index_vector("samples", self.samples, n_samples)
        _check_order(times, neurons, samples)
        self._fill(times, neurons, samples, n_samples, n_neurons)

    @classmethod
    def _trusted(
        cls,
        times: NDArray[np.float64],
        neurons: NDArray[np.int64],
        samples: NDArray[np.int64],
        n_samples: int,
        n_neurons: int,
    ) -> SpikeTrains:
        """Return the trains of arrays that were made here and are in order: neither checked nor copied."""
        trains = cls.__new__(cls)
        trains._fill(times, neurons, samples, n_samples, n_neurons)
        return trains

    def _fill(
        self,
        times: NDArray[np.float64],
        neurons: NDArray[np.int64],
        samples: NDArray[np.int64],
        n_samples: int,
        n_neurons: int,
    ) -> None:
        # views, so that kernels, compiled for arrays that can be written, may keep theirs
        columns = times.view(), neurons.view(), samples.view()
        for column in columns:
            column.setflags(write=False)
        times, neurons, samples = columns
        vars(self).update(
            times=times, neurons=neurons, samples=samples, n_samples=n_samples, n_neurons=n_neurons
        )

    @classmethod
    def from_arrays(
        cls,
        times: ArrayLike,
        neurons: ArrayLike,
        samples: ArrayLike | None = None,
        *,
        n_neurons: int,
        n_samples: int | None = None,
    ) -> SpikeTrains:
        """Take flat arrays that are already sorted by sample, then time, then neuron.

        Parameters
        ----------
        times : array_like, (n_spikes,)
            Seconds.
        neurons, samples : array_like of int, (n_spikes,)
            ``samples`` may be left out for a batch of one.
        n_neurons, n_samples : int
            ``n_samples`` is 1 without ``samples``, else it has to be given.

        Raises
        ------
        ValueError
            If a time is negative or not finite, an index is out of range, lengths differ, or the order is not the one
            documented (reordering silently would detach the spikes from data that the caller holds beside them).
        """
        if n_samples is None:
            if samples is not None:
                raise ValueError("n_samples must be given with samples: trailing samples may be silent")
            n_samples = 1
        if samples is None:
            if count("n_samples", n_samples) != 1:
                raise ValueError(f"samples must be given for a batch of n_samples = {n_samples}")
            times = _time_vector("times", times)
            samples = np.zeros(times.size, dtype=np.int64)
        return cls(times, neurons, samples, n_samples, n_neurons)  # type: ignore[arg-type]

    @classmethod
    def from_lists(
        cls, trains: Sequence[Sequence[Iterable[float]]], *, n_neurons: int | None = None
    ) -> SpikeTrains:
        """Take nested lists ``trains[sample][neuron]`` of strictly increasing times, in seconds.

        Every sample has to list the same number of neurons; ``n_neurons`` is needed for an empty batch only.

        Raises
        ------
        ValueError
            If samples differ in their number of neurons, or a train is unsorted, repeats a time, or holds anything but
            finite numbers >= 0.
        """
        n_samples = _length("trains", trains, "samples")
        sizes = {_length(f"trains[{k}]", sample, "neurons") for k, sample in enumerate(trains)}
        listed = [
            [_listed(f"trains[{k}][{n}]", train) for n, train in enumerate(sample)]
            for k, sample in enumerate(trains)
        ]
        if len(sizes) > 1:
            raise ValueError(
                f"trains must list the same number of neurons in every sample; got {sorted(sizes)}"
            )
        if n_neurons is None:
            if not sizes:
                raise ValueError("n_neurons must be given for an empty batch")
            (n_neurons,) = sizes
        n_neurons = count("n_neurons", n_neurons)
        if sizes and sizes != {n_neurons}:
            raise ValueError(f"n_neurons is {n_neurons} but the samples of trains list {sizes.pop()} neurons")
        columns: list[tuple[NDArray[np.float64], int, int]] = []
        for sample, neurons in enumerate(listed):
            for neuron, train in enumerate(neurons):
                name = f"trains[{sample}][{neuron}]"
                times = _time_vector(name, train)
                where = np.flatnonzero(times[1:] <= times[:-1])
                if where.size:
                    k = int(where[0]) + 1
                    raise ValueError(
                        f"{name} must be strictly increasing; entry {k} is {float(times[k])!r} "
                        f"after {float(times[k - 1])!r}"
                    )
                columns.append((times, neuron, sample))
        return cls._sorted(columns, n_samples=n_samples, n_neurons=n_neurons)

    @classmethod
    def from_dense(cls, times: ArrayLike) -> SpikeTrains:
        """Take an array (n_samples, n_neurons) or (n_samples, n_neurons, n_spikes), in seconds, inf where silent.

        The times of one neuron may stand in any order along the last axis.

        Raises
        ------
        ValueError
            If the array has another shape, holds NaN, -inf, a negative time, or repeats a time within a neuron.
        """
        array = seconds_array("times", times)
        if array.ndim not in (2, 3):
            raise ValueError(
                "times must have shape (n_samples, n_neurons) or (n_samples, n_neurons, n_spikes); "
                f"got {array.shape}"
            )
        bad = np.isnan(array) | (array < 0)
        if bad.any():
            raise ValueError(f"times must be >= 0, or inf where silent; {first_entry(array, bad)}")
        if array.ndim == 2:
            array = array[:, :, None]
        array = np.sort(array, axis=2)
        samples, neurons, slots = np.nonzero(np.isfinite(array))
        flat = array[samples, neurons, slots]
        return sorted_trains(flat, neurons, samples, (array.shape[0], array.shape[1]))

    @classmethod
    def _sorted(
        cls, columns: list[tuple[NDArray[np.float64], int, int]], *, n_samples: int, n_neurons: int
    ) -> SpikeTrains:
        t = np.concatenate([c[0] for c in columns]) if columns else np.empty(0)
        n = (
            np.concatenate([np.full(c[0].size, c[1], np.int64) for c in columns])
            if columns
            else np.empty(0, np.int64)
        )
        s = (
            np.concatenate([np.full(c[0].size, c[2], np.int64) for c in columns])
            if columns
            else np.empty(0, np.int64)
        )
        return sorted_trains(t, n, s, (n_samples, n_neurons))

    @property
    def n_spikes(self) -> int:
        """Number of spikes in the whole batch."""
        return int(self.times.size)

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """Where each sample starts in the flat arrays, (n_samples + 1,)."""
        offsets = np.searchsorted(self.samples, np.arange(self.n_samples + 1))
        offsets.setflags(write=False)
        return offsets

    def counts(self) -> NDArray[np.int64]:
        """Return the number of spikes per sample and neuron, (n_samples, n_neurons)."""
        flat = self.samples * self.n_neurons + self.neurons
        counts = np.bincount(flat, minlength=self.n_samples * self.n_neurons)
        return counts.reshape(self.n_samples, self.n_neurons)

    @cached_property
    def _first_index(self) -> NDArray[np.int64]:
        index = np.full(self.n_samples * self.n_neurons, -1, dtype=np.int64)
        backwards = np.arange(self.n_spikes - 1, -1, -1)
        index[(self.samples * self.n_neurons + self.neurons)[backwards]] = backwards
        index.setflags(write=False)
        return index.reshape(self.n_samples, self.n_neurons)

    def first_index(self) -> NDArray[np.int64]:
        """Return the place of each neuron's first spike in the flat arrays, (n_samples, n_neurons), -1 where silent."""
        return self._first_index

    def first(self) -> NDArray[np.float64]:
        """Return the first spike times in seconds, (n_samples, n_neurons), inf where silent."""
        index = self.first_index()
        first = np.full(index.shape, np.inf)
        spiking = index >= 0
        first[spiking] = self.times[index[spiking]]
        return first

    @cached_property
    def _slots(self) -> NDArray[np.int64]:
        train = self.samples * self.n_neurons + self.neurons
        order = np.argsort(train, kind="stable")  # by time within each train, as the spikes are
        slots = np.empty(self.n_spikes, dtype=np.int64)
        slots[order] = np.arange(self.n_spikes) - np.searchsorted(train[order], train[order])
        slots.setflags(write=False)
        return slots

    def slots(self) -> NDArray[np.int64]:
        """Return how many spikes of its own neuron come before each spike in its sample, (n_spikes,)."""
        return self._slots

    def to_dense(self, n_spikes: int | None = None) -> NDArray[np.float64]:
        """Return the times as :meth:`from_dense` takes them, (n_samples, n_neurons, n_spikes), inf where silent.

        Spike k lies at ``[samples[k], neurons[k], slots()[k]]``. By default the last axis is as long as the longest
        train, but 1 at least, so that the first spikes always lie at ``[..., 0]``.

        Raises
        ------
        ValueError
            If a train is longer than ``n_spikes``.
        """
        longest = int(self.counts().max(initial=0))
        width = max(1, longest) if n_spikes is None else count("n_spikes", n_spikes)
        if longest > width:
            sample, neuron = (int(i) for i in np.argwhere(self.counts() == longest)[0])
            raise ValueError(
                f"n_spikes must be at least {longest}, the spikes of neuron {neuron} in sample {sample}; got {width}"
            )
        dense = np.full((self.n_samples, self.n_neurons, width), np.inf)
        dense[self.samples, self.neurons, self._slots] = self.times
        return dense

    def select(self, samples: Sequence[int] | NDArray[np.int64]) -> SpikeTrains:
        """Return the batch made of the given samples, in the given order; one may be chosen several times."""
        chosen = index_vector("samples", samples, self.n_samples)
        starts, stops = self.offsets[chosen], self.offsets[chosen + 1]
        index = np.concatenate(
            [np.arange(a, b) for a, b in zip(starts, stops, strict=True)] or [np.empty(0, np.int64)]
        )
        return SpikeTrains._trusted(
            self.times[index],
            self.neurons[index],
            np.repeat(np.arange(chosen.size), stops - starts),
            int(chosen.size),
            self.n_neurons,
        )

    def to_lists(self) -> list[list[list[float]]]:
        """Return nested lists ``[sample][neuron]`` of times in seconds."""
        lists: list[list[list[float]]] = [[[] for _ in range(self.n_neurons)] for _ in range(self.n_samples)]
        for t, n, s in zip(self.times.tolist(), self.neurons.tolist(), self.samples.tolist(), strict=True):
            lists[s][n].append(t)
        return lists

    def to_pandas(self) -> Any:
        """Return the spikes as a ``pandas.DataFrame`` with the columns sample, neuron and time, in seconds.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        return _pandas().DataFrame({"sample": self.samples, "neuron": self.neurons, "time": self.times})

    @classmethod
    def from_pandas(cls, frame: Any, *, n_neurons: int, n_samples: int | None = None) -> SpikeTrains:
        """Take a table with the columns neuron and time, and sample if there are several; rows may stand in any order.

        Parameters
        ----------
        frame : pandas.DataFrame
            Other columns are left alone.
        n_neurons, n_samples : int
            As for :meth:`from_arrays`: tables do not say how many are silent.

        Raises
        ------
        ValueError
            If a column is missing, or as :meth:`from_arrays` raises.
        """
        columns = [str(name) for name in getattr(frame, "columns", ())]
        wanted = ["neuron", "time"] + (["sample"] if n_samples is not None or "sample" in columns else [])
        missing = [name for name in wanted if name not in columns]
        if missing:
            raise ValueError(f"frame must have the columns {', '.join(wanted)}; it has {shown(columns)}")
        time, neuron = (frame[name].to_numpy() for name in ("time", "neuron"))
        sample = frame["sample"].to_numpy() if "sample" in wanted else np.zeros(time.size, np.int64)
        order = np.lexsort((neuron, time, sample))
        return cls.from_arrays(
            time[order],
            neuron[order],
            sample[order] if n_samples is not None or "sample" in wanted else None,
            n_neurons=n_neurons,
            n_samples=n_samples,
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SpikeTrains):
            return NotImplemented
        return (
            (self.n_samples, self.n_neurons) == (other.n_samples, other.n_neurons)
            and np.array_equal(self.times, other.times)
            and np.array_equal(self.neurons, other.neurons)
            and np.array_equal(self.samples, other.samples)
        )

    def __hash__(self) -> int:
        return hash((self.n_samples, self.n_neurons, self.times.tobytes(), self.neurons.tobytes()))

    def __len__(self) -> int:
        return self.n_samples

    @overload
    def __getitem__(self, index: tuple[int, int]) -> NDArray[np.float64]: ...

    @overload
    def __getitem__(self, index: int | slice) -> SpikeTrains: ...

    def __getitem__(self, index: int | slice | tuple[int, int]) -> SpikeTrains | NDArray[np.float64]:
        if isinstance(index, tuple):
            if len(index) != 2:
                raise IndexError(f"spike trains have [sample, neuron]; got {shown(index)}")
            sample = _within("sample", index[0], self.n_samples)
            neuron = _within("neuron", index[1], self.n_neurons)
            here = slice(self.offsets[sample], self.offsets[sample + 1])
            times: NDArray[np.float64] = self.times[here][self.neurons[here] == neuron]
            times.setflags(write=False)
            return times
        if isinstance(index, slice):
            return self.select(range(*index.indices(self.n_samples)))
        return self.select([_within("sample", index, self.n_samples)])

    def _summary(self) -> Summary:
        sizes = f"{several(self.n_spikes, 'spike')}, {several(self.n_samples, 'sample')}"
        title = f"SpikeTrains({sizes}, {several(self.n_neurons, 'neuron')})"
        return title, []


def _within(what: str, given: object, bound: int) -> int:
    """Return an index as Python's sequences take it, from the end if it is negative."""
    try:
        number = operator.index(given)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{what} must be an integer; got {shown(given)}") from None
    if not -bound <= number < bound:
        raise IndexError(f"{what} must be below {bound}; got {number}")
    return number % bound


def _pandas() -> Any:
    try:
        import pandas
    except ImportError as error:
        raise ImportError("tables need pandas: pip install eventsolve[pandas]") from error
    return pandas


def _check_order(times: NDArray[np.float64], neurons: NDArray[np.int64], samples: NDArray[np.int64]) -> None:
    if not times.size == neurons.size == samples.size:
        raise ValueError(
            "times, neurons and samples must have one length; "
            f"got {times.size}, {neurons.size} and {samples.size}"
        )
    same_sample = samples[1:] == samples[:-1]
    same_time = same_sample & (times[1:] == times[:-1])
    disorder = (
        (samples[1:] < samples[:-1])
        | (same_sample & (times[1:] < times[:-1]))
        | (same_time & (neurons[1:] < neurons[:-1]))
    )
    if disorder.any():
        k = int(np.argmax(disorder)) + 1
        raise ValueError(
            "times, neurons and samples must be sorted by sample, then time, then neuron; "
            f"spike {k} (sample {samples[k]}, {float(times[k])!r} s, neuron {neurons[k]}) comes after "
            f"spike {k - 1} (sample {samples[k - 1]}, {float(times[k - 1])!r} s, neuron {neurons[k - 1]})"
        )
    duplicate = same_time & (neurons[1:] == neurons[:-1])
    if duplicate.any():
        k = int(np.argmax(duplicate)) + 1
        raise ValueError(
            "times must not repeat, as a neuron can spike once at a time; "
            f"spike {k} repeats sample {samples[k]}, neuron {neurons[k]}, {float(times[k])!r} s"
        )


def _time_vector(name: str, values: object) -> NDArray[np.float64]:
    times = seconds_array(name, values)
    if times.ndim != 1:
        raise ValueError(f"{name} must be one-dimensional; got shape {times.shape}")
    bad = ~(np.isfinite(times) & (times >= 0))
    if bad.any():
        raise ValueError(f"{name} must be finite and >= 0; {first_entry(times, bad)}")
    return times


def _listed(name: str, train: object) -> object:
    if isinstance(train, np.ndarray) or (
        with_unit(train) is not None and not isinstance(train, list | tuple)
    ):
        return train
    if isinstance(train, str | bytes) or not isinstance(train, Iterable):
        raise ValueError(
            f"{name} must be a list of times in seconds, as trains are {_NESTED}; got {shown(train)}"
            + (": give one sample as [[train, train, ...]]" if isinstance(train, Real) else "")
        )
    return list(train)


def _length(name: str, values: object, of: str) -> int:
    try:
        return len(values)  # type: ignore[arg-type]
    except TypeError as error:
        raise ValueError(
            f"{name} must be a list of {of}, as trains are {_NESTED}; got {shown(values)}"
            + (": give one train as [[train]]" if isinstance(values, Real) else "")
        ) from error


def sorted_trains(
    times: NDArray[Any], neurons: NDArray[Any], samples: NDArray[Any], shape: tuple[int, int]
) -> SpikeTrains:
    """Return spikes in any order, times in seconds, as those of (n_samples, n_neurons) neurons."""
    order = np.lexsort((neurons, times, samples))
    return SpikeTrains.from_arrays(
        np.asarray(times, dtype=np.float64)[order],
        np.asarray(neurons, dtype=np.int64)[order],
        np.asarray(samples, dtype=np.int64)[order],
        n_samples=shape[0],
        n_neurons=shape[1],
    )


def require_spike_trains(name: str, given: object) -> None:
    """Raise a TypeError if what was given is no mapping of names to SpikeTrains."""
    require_mapping(name, given, "str to SpikeTrains")
    assert isinstance(given, Mapping)
    for key, trains in given.items():
        if not isinstance(key, str):
            raise TypeError(f"{name} must be by name; got {shown(key)}")
        instance(f"{name}[{key!r}]", trains, SpikeTrains)
