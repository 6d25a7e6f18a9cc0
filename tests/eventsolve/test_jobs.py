"""Jobs on executors: a process pool, a Dask cluster, and workers that are lost."""

import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest
from mishaps import double, halve

from eventsolve.jobs import LostJobsError, as_finished, finished, in_order
from tests.campaign import Tally, campaign, run_batch
from validation.spinnaker2.yinyang import Job
from validation.spinnaker2.yinyang import campaign as yinyang_campaign

JOBS = [Job("5-120-3", step, "float64", samples=2, seed=3) for step in (1e-3, 0.5e-3)]


@pytest.fixture(scope="module")
def dask():
    """The executor of a local cluster of two worker processes."""
    distributed = pytest.importorskip("distributed", reason="Dask's distributed is not installed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client.get_executor()


@pytest.fixture(scope="module")
def pool():
    with ProcessPoolExecutor(2) as executor:
        yield executor


@pytest.mark.parametrize("executor", ["pool", "dask"])
def test_the_yin_yang_campaign_is_the_same_wherever_it_runs(executor, request):
    here = list(yinyang_campaign(JOBS))
    there = list(yinyang_campaign(JOBS, request.getfixturevalue(executor)))
    assert [run.title for run in there] == [run.title for run in here]
    for a, b in zip(here, there, strict=True):
        for key, weight in a.comparison.weight.items():
            np.testing.assert_array_equal(b.comparison.weight[key].exact, weight.exact)
            np.testing.assert_array_equal(b.comparison.weight[key].model, weight.model)


@pytest.mark.parametrize("executor", ["pool", "dask"])
def test_the_campaign_against_mpmath_adds_up_wherever_it_runs(executor, request):
    total = Tally()
    for _, tally in campaign(4, [range(3), range(3, 6)], request.getfixturevalue(executor)):
        total.add(tally)
    assert total == run_batch(4, range(6))


def collected(gather, function, jobs, executor):
    """Return the results by job, and the error at the end."""
    found = {}
    try:
        for job, result in gather(function, jobs, executor):
            found[job] = result
    except LostJobsError as error:
        return found, error
    return found, None


@pytest.mark.parametrize("gather", [as_finished, in_order])
def test_a_lost_worker_of_a_pool_loses_no_finished_result(gather, tmp_path):
    jobs = [(k, str(tmp_path), k == 4) for k in range(8)]
    with ProcessPoolExecutor(2) as executor:
        found, error = collected(gather, double, jobs, executor)
    assert "of 8 jobs did not finish; the first is" in str(error)
    assert all(result == 2 * job[0] for job, result in found.items())
    assert (
        len(found) >= 2
    )  # three had been done when the worker was lost, of which one may still have been on its way
    assert set(error.jobs) == set(jobs) - set(found)
    with ProcessPoolExecutor(2) as executor:
        again, error = collected(gather, double, error.jobs, executor)
    assert error is None
    assert found | again == {job: 2 * job[0] for job in jobs}


def test_dask_does_the_jobs_of_a_lost_worker_again(dask, tmp_path):
    jobs = [(k, str(tmp_path), k == 4) for k in range(8)]
    assert {job[0]: result for job, result in as_finished(double, jobs, dask)} == {k: 2 * k for k in range(8)}
    assert list(tmp_path.glob("tried-*"))


def test_a_job_that_fails_costs_its_own_result_only():
    with ThreadPoolExecutor(2) as executor:
        found, error = collected(in_order, halve, [2, 3, 4, 5, 6], executor)
    assert list(found.items()) == [(2, 1), (4, 2), (6, 3)]
    assert error.jobs == (3, 5)
    assert str(error) == "2 of 5 jobs did not finish; the first is 3: ValueError: 3 is odd"
    assert isinstance(error.__cause__, ValueError)


def test_without_an_executor_jobs_are_done_here_and_errors_come_at_once():
    found = as_finished(halve, [2, 3, 4])
    assert next(found) == (2, 1)
    with pytest.raises(ValueError, match="3 is odd"):
        next(found)


def test_closing_early_cancels_what_has_not_started():
    started, closed = [], threading.Event()

    def work(number):
        started.append(number)
        if number > 0:
            closed.wait()
        return number

    with ThreadPoolExecutor(1) as executor:
        jobs = as_finished(work, range(1000), executor)
        next(jobs)
        jobs.close()
        closed.set()
    assert len(started) <= 2  # the first, and one that had started meanwhile


def failing(k):
    if k == 1:
        raise ValueError("of its own")
    return [k]


def test_a_part_of_one_answer_that_fails_ends_all_with_its_own_error():
    with ThreadPoolExecutor(1) as executor:
        assert finished(failing, [0, 2, 3], executor, None) == ([0, 2, 3], None)
        with pytest.raises(ValueError, match="of its own"):
            finished(failing, range(5), executor, None)
        found, error = collected(as_finished, failing, range(5), executor)
    assert sorted(found) == [0, 2, 3, 4]
    assert error.jobs == (1,)
