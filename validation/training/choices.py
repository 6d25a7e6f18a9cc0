"""Optimizers and losses by name: ``adam``, ``sgd:momentum=0.9``, ``MeanVoltageCrossEntropy:population=out``."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import eventsolve as es
from eventsolve import losses
from eventsolve.io.records.losses import KINDS
from validation.durations import number
from validation.registry import settings
from validation.training.optimizers import SGD, Adam, Optimizer

OPTIMIZERS: Mapping[str, type[Adam] | type[SGD]] = {"adam": Adam, "sgd": SGD}


def optimizer(text: str, rate: float) -> Optimizer:
    """Return a rule by its name, with options after a colon.

    Raises
    ------
    ValueError
        If there is no such rule or option, or a value does not fit.
    """
    name, options = _split("optimizer", text, OPTIMIZERS)
    rule = OPTIMIZERS[name]
    known = [entry.name for entry in fields(rule) if entry.name != "rate"]
    return rule(rate, **{option: _value(name, option, value, known) for option, value in options.items()})


def loss(text: str, problem: es.Problem) -> es.Problem:
    """Return a problem with another loss, by its name, with options after a colon.

    What is not given, the population and its labels or targets, is taken over from the loss that the problem has.

    Raises
    ------
    ValueError
        If there is no such loss or option, a value does not fit, or something is not given.
    """
    name, options = _split("loss", text, KINDS)
    kind: Any = getattr(losses, name)
    known = [entry.name for entry in fields(kind)]
    given: dict[str, Any] = {
        option: getattr(problem.loss, option)
        for option in ("population", "labels", "targets", "silent")
        if option in known and hasattr(problem.loss, option)
    }
    for option, value in options.items():
        given[option] = _value(name, option, value, known)
    needed = [
        option
        for option, parameter in inspect.signature(kind).parameters.items()
        if parameter.default is inspect.Parameter.empty and option not in given
    ]
    if needed:
        raise ValueError(f"the loss {name} needs {' and '.join(f'{option}=...' for option in needed)}")
    return es.Problem(problem.network, problem.inputs, problem.t_end, kind(**given), problem.max_spikes)


def _split(what: str, text: str, known: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    name, _, options = text.partition(":")
    if name not in known:
        raise ValueError(f"{what} {name!r} is not one of {', '.join(known)}")
    return name, settings([options]) if options else {}


def _value(of: str, option: str, text: str, known: list[str]) -> Any:
    if option not in known:
        raise ValueError(f"{of} has no option {option!r}; it has {', '.join(known)}")
    value = number(text)
    return text if value is None else value
