"""Do errors reach the process that waits for them, with all that they carry?"""

import importlib
import pickle
import pkgutil

import numpy as np
import pytest

import eventsolve
import eventsolve as es
import validation
from eventsolve.dynamics import ContinuationError, LyapunovError, NoOrbitError
from eventsolve.errors import Carrying

OPTIONAL = {"jax", "torch", "snntorch", "norse", "neo", "ipywidgets"}


def errors():
    """Every class of errors of the project."""
    for package in (eventsolve, validation):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if "__main__" in module.name or ".kernels" in module.name:
                continue
            try:
                names = vars(importlib.import_module(module.name))
            except ModuleNotFoundError as missing:
                if missing.name not in OPTIONAL:
                    raise
                continue
            for value in names.values():
                if (
                    isinstance(value, type)
                    and issubclass(value, BaseException)
                    and value.__module__ == module.name
                ):
                    yield value


def test_errors_of_more_than_a_message_can_be_pickled():
    found = set(errors())
    assert len(found) > 20
    for kind in found:
        if "__init__" in vars(kind):
            raised = kind.__new__(kind, "why", 3)
            raised.what = 5
            again = pickle.loads(pickle.dumps(raised))
            assert type(again) is kind
            assert (again.args, again.what) == (("why", 3), 5)


@pytest.fixture
def net():
    network = es.Network()
    network.add_population("n", 1, es.LIF(20e-3, 5e-3, v_leak=1.5, t_ref=2e-3))
    return network


def test_what_they_carry_comes_along(net):
    with pytest.raises(es.SpikeBudgetError) as stopped:
        es.solve(net, {}, 1.0, max_spikes=3)
    again = pickle.loads(pickle.dumps(stopped.value))
    assert str(again) == str(stopped.value)
    assert again.solution.spikes["n"] == stopped.value.solution.spikes["n"]
    quiet = es.Network()
    quiet.add_population("n", 1, es.LIF(20e-3, 5e-3))
    with pytest.raises(NoOrbitError) as none:
        es.periodic_orbit(quiet)
    assert pickle.loads(pickle.dumps(none.value)).why == none.value.why
    with pytest.raises(ContinuationError) as ended:
        es.continuation(net, ("t_ref", "n", 0), (2e-3, -1e-3), of=es.periodic_orbit(net))
    again = pickle.loads(pickle.dumps(ended.value))
    assert again.value == ended.value.value
    np.testing.assert_array_equal(again.so_far.branches[-1].values, ended.value.so_far.branches[-1].values)
    with pytest.raises(LyapunovError) as dead:
        es.lyapunov_spectrum(quiet, None, t=0.1, k=1)
    assert str(pickle.loads(pickle.dumps(dead.value))) == str(dead.value)
    assert issubclass(LyapunovError, Carrying)
