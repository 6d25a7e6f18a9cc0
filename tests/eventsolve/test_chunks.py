"""Work on chunks: in order, on any number of threads, and over at the first error."""

import threading
import time

import pytest

from eventsolve.chunks import map_chunks


@pytest.mark.parametrize("threads", [1, 2, 5, None])
def test_results_are_in_order_of_the_chunks(threads):
    def slower_first(k):
        time.sleep(0.002 * (7 - k))
        return k

    assert map_chunks(slower_first, 7, threads) == list(range(7))


@pytest.mark.parametrize("threads", [1, 3])
def test_the_error_is_that_of_the_first_chunk_that_fails_and_ends_the_work(threads):
    begun = []

    def fails(k):
        begun.append(k)
        time.sleep(0.02 if k == 3 else 0.001)
        if k >= 3:
            raise ValueError(f"chunk {k}")

    with pytest.raises(ValueError, match="chunk 3"):
        map_chunks(fails, 1000, threads)
    assert len(begun) < 10


@pytest.mark.parametrize("where", ["calling", "other"])
def test_an_interrupt_ends_the_work(where):
    main = threading.current_thread()
    begun = []

    def interrupted(k):
        begun.append(k)
        time.sleep(0.005)
        if k > 3 and (threading.current_thread() is main) == (where == "calling"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        map_chunks(interrupted, 1000, 2)
    assert len(begun) < 20


def test_no_chunks_are_no_work():
    assert map_chunks(lambda k: 1 / 0, 0, 2) == []


@pytest.mark.parametrize("threads", [0, -1, 1.5, True, "2"])
def test_threads_are_counted_in_integers(threads):
    with pytest.raises(ValueError, match="threads must be an integer >= 1; got"):
        map_chunks(lambda k: k, 3, threads)
