"""Certificates as JSON: plain numbers, lists and text, read with nothing taken on trust.

NaN and infinity are null. Whatever does not have the form that is written is refused with a sentence that says where.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from eventsolve.bounded import Budget, Unreadable, parsed
from eventsolve.certify.arithmetic import Enclosures, is_written
from eventsolve.certify.claims import GradientEnclosures, Mismatch, Refutation
from eventsolve.certify.samples import OneSidedEnclosure, OpenQuestion, SampleProof
from eventsolve.checks import shown

if TYPE_CHECKING:
    from eventsolve.certify.certificate import Certificate
    from eventsolve.certify.orbits import OrbitCertificate

FORMAT = "eventsolve certificate 2"
ORBIT_FORMAT = "eventsolve certificate of an orbit 1"
LARGEST = float(np.finfo(float).max)
KINDS = ("missed", "extra", "moved")

Item = TypeVar("Item")


def text_of(certificate: Certificate | OrbitCertificate) -> str:
    """Return a certificate as JSON."""
    return json.dumps(_said(certificate) | {"digest": certificate.digest}, allow_nan=False, indent=1) + "\n"


def digest_of(certificate: Certificate | OrbitCertificate) -> str:
    """Return the SHA-256 of all that a certificate says: it tells that something was altered, and proves nothing."""
    text = json.dumps(_said(certificate), allow_nan=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _said(certificate: Certificate | OrbitCertificate) -> dict[str, Any]:
    from eventsolve.certify.orbits import OrbitCertificate

    if isinstance(certificate, OrbitCertificate):
        return _orbit_document(certificate)
    return _document(certificate)


def _orbit_document(certificate: OrbitCertificate) -> dict[str, Any]:
    multipliers = certificate.multipliers
    return {
        "format": ORBIT_FORMAT,
        "digits": certificate.digits,
        "bits": certificate.bits,
        "period": [_number(x) for x in certificate.period],
        "spikes": {
            name: {"midpoints": _numbers(e.midpoints), "radii": _numbers(e.radii)}
            for name, e in certificate.spike_times.items()
        },
        "multipliers": {
            "real": _numbers(multipliers.midpoints.real),
            "imag": _numbers(multipliers.midpoints.imag),
            "radii": _numbers(multipliers.radii),
        },
        "radius": _number(certificate.radius),
        "stable": certificate.stable,
        "refuted": list(certificate.refuted),
        "undecided": certificate.undecided,
        "fingerprint": certificate.fingerprint,
    }


def _document(certificate: Certificate) -> dict[str, Any]:
    gradients = certificate.gradients
    return {
        "format": FORMAT,
        "digits": certificate.digits,
        "tolerance": certificate.tolerance,
        "n_samples": certificate.n_samples,
        "fingerprint": certificate.fingerprint,
        "samples": [_proof_record(proof) for proof in certificate.proofs],
        "gradients": None if gradients is None else _gradient_record(gradients),
        "misfits": [
            [m.parameter, _key_record(m.key), list(m.entry), _number(m.claimed), _number(m.proven)]
            for m in certificate.mismatches
        ],
        "gradient_distance": _number(certificate.gradient_distance),
    }


def _proof_record(proof: SampleProof) -> dict[str, Any]:
    return {
        "sample": proof.sample,
        "bits": proof.bits,
        "intervals": proof.intervals,
        "spikes": {
            name: {
                "midpoints": _numbers(enclosures.midpoints),
                "radii": _numbers(enclosures.radii),
                "decimals": list(proof.decimals[name]),
                "tolerances": _numbers(proof.tolerances[name]),
            }
            for name, enclosures in proof.spike_times.items()
        },
        "undecided": [[d.population, d.sample, d.neuron, _number(d.time), d.why] for d in proof.undecided],
        "one_sided": [[p.population, p.sample, p.neuron, _number(p.time), p.why] for p in proof.one_sided],
        "refuted": [
            [r.kind, r.population, r.sample, r.neuron, _number(r.time), _number(r.claimed)]
            for r in proof.refuted
        ],
        "distance": _number(proof.distance),
    }


def _gradient_record(gradients: GradientEnclosures) -> dict[str, Any]:
    record: dict[str, Any] = {"value": [_number(float(x)) for x in gradients.value]}
    for name in _gradient_names():
        record[name] = [
            [_key_record(key), list(e.midpoints.shape), _numbers(e.midpoints), _numbers(e.radii)]
            for key, e in getattr(gradients, name).items()
        ]
    return record


def _gradient_names() -> list[str]:
    return [f.name for f in fields(GradientEnclosures) if f.name != "value"]


def _key_record(key: Any) -> Any:
    return list(key) if isinstance(key, tuple) else key


def _number(x: float) -> float | None:
    return float(x) if math.isfinite(x) else None


def _numbers(values: Any) -> list[float | None]:
    return [_number(x) for x in np.asarray(values).reshape(-1).tolist()]


# -- reading -------------------------------------------------------------------------------------------------------


def _record(text: bytes, budget: Budget) -> Any:
    try:
        return parsed(text, budget)
    except Unreadable as error:
        raise ValueError(f"the record is not that of a certificate: {error}") from error


def orbit_fields_from(text: bytes, budget: Budget) -> dict[str, Any]:
    """Return the fields of the certificate of an orbit that JSON holds, with columns for its multipliers.

    Raises
    ------
    ValueError
        If it is not the JSON of one.
    """
    names = ("format", "digits", "bits", "period", "spikes", "multipliers", "radius", "stable", "refuted")
    r = _object(_record(text, budget), "the record", (*names, "undecided", "fingerprint", "digest"))
    _require(r["format"] == ORBIT_FORMAT, "format", repr(ORBIT_FORMAT), r["format"])
    digits = _count(r["digits"], "digits")
    _require(digits >= 1, "digits", "at least 1", digits)
    period = _row(r["period"], "period", 2)
    _require(isinstance(r["spikes"], dict), "spikes", "an object", r["spikes"])
    spikes = {}
    for name, entry in r["spikes"].items():
        e = _object(entry, f"spikes[{name!r}]", ("midpoints", "radii"))
        spikes[name] = _enclosures(e["midpoints"], e["radii"], f"spikes[{name!r}]")
    m = _object(r["multipliers"], "multipliers", ("real", "imag", "radii"))
    columns = [_vector(m[name], f"multipliers.{name}", math.nan) for name in ("real", "imag", "radii")]
    _require(len({c.size for c in columns}) == 1, "multipliers", "lists of one length", m)
    _require(bool((columns[2] >= 0).all()), "multipliers.radii", "numbers >= 0", m["radii"])
    _require(r["stable"] in (True, False, None), "stable", "true, false or null", r["stable"])
    return {
        "digits": digits,
        "bits": _count(r["bits"], "bits"),
        "period": (_float(period[0], "period", math.nan), _float(period[1], "period", math.inf)),
        "spike_times": spikes,
        "multipliers": (columns[0] + 1j * columns[1], columns[2]),
        "radius": _positive(r["radius"], "radius"),
        "stable": r["stable"],
        "refuted": tuple(_list(r["refuted"], "refuted", _text)),
        "undecided": None if r["undecided"] is None else _text(r["undecided"], "undecided"),
        "fingerprint": _text(r["fingerprint"], "fingerprint"),
        "digest": _text(r["digest"], "digest"),
    }


def fields_from(text: bytes, budget: Budget) -> dict[str, Any]:
    """Return the fields of the certificate that JSON holds.

    Raises
    ------
    ValueError
        If it is not the JSON of a certificate.
    """
    record = _record(text, budget)
    names = ("format", "digits", "tolerance", "n_samples", "fingerprint", "samples", "gradients", "misfits")
    r = _object(record, "the record", (*names, "gradient_distance", "digest"))
    _require(r["format"] == FORMAT, "format", repr(FORMAT), r["format"])
    n_samples = _count(r["n_samples"], "n_samples")
    fingerprint = _text(r["fingerprint"], "fingerprint")
    proofs = tuple(_list(r["samples"], "samples", _proof))
    samples = [proof.sample for proof in proofs]
    rising = samples == sorted(set(samples)) and all(s < n_samples for s in samples)
    _require(rising, "samples", f"different samples of {n_samples}, in their order", samples)
    alike = len({tuple(proof.spike_times) for proof in proofs}) <= 1
    _require(alike, "samples", "of the same populations", [tuple(p.spike_times) for p in proofs])
    digits = _count(r["digits"], "digits")
    _require(digits >= 1, "digits", "at least 1", digits)
    return {
        "digits": digits,
        "tolerance": None if r["tolerance"] is None else _positive(r["tolerance"], "tolerance"),
        "n_samples": n_samples,
        "proofs": proofs,
        "fingerprint": fingerprint,
        "gradients": None if r["gradients"] is None else _gradients(r["gradients"]),
        "mismatches": tuple(_list(r["misfits"], "misfits", _mismatch)),
        "gradient_distance": _positive(r["gradient_distance"], "gradient_distance"),
        "digest": _text(r["digest"], "digest"),
    }


def _proof(record: Any, where: str) -> SampleProof:
    names = ("sample", "bits", "intervals", "spikes", "undecided", "one_sided", "refuted", "distance")
    r = _object(record, where, names)
    sample = _count(r["sample"], f"{where}.sample")
    _require(isinstance(r["spikes"], dict), f"{where}.spikes", "an object", r["spikes"])
    spike_times, decimals, tolerances = {}, {}, {}
    for name, entry in r["spikes"].items():
        here = f"{where}.spikes[{name!r}]"
        e = _object(entry, here, ("midpoints", "radii", "decimals", "tolerances"))
        spike_times[name] = _enclosures(e["midpoints"], e["radii"], here)
        n = spike_times[name].midpoints.size
        decimals[name] = tuple(_list(e["decimals"], f"{here}.decimals", _decimal))
        tolerances[name] = _vector(e["tolerances"], f"{here}.tolerances", math.nan)
        lengths = {len(decimals[name]), tolerances[name].size, n}
        _require(len(lengths) == 1, here, "lists of one length", sorted(lengths))
    return SampleProof(
        sample,
        _count(r["bits"], f"{where}.bits"),
        _count(r["intervals"], f"{where}.intervals"),
        spike_times,
        decimals,
        tolerances,
        tuple(OpenQuestion(*place) for place in _list(r["undecided"], f"{where}.undecided", _place)),
        tuple(_list(r["refuted"], f"{where}.refuted", _refutation)),
        _positive(r["distance"], f"{where}.distance"),
        None,
        tuple(OneSidedEnclosure(*place) for place in _list(r["one_sided"], f"{where}.one_sided", _place)),
    )


def _place(record: Any, where: str) -> tuple[str, int, int, float, str]:
    population, sample, neuron, time, why = _row(record, where, 5)
    return (
        _text(population, where),
        _count(sample, where),
        _count(neuron, where),
        _float(time, where, math.nan),
        _text(why, where),
    )


def _refutation(record: Any, where: str) -> Refutation:
    kind, population, sample, neuron, time, claimed = _row(record, where, 6)
    _require(kind in KINDS, where, f"one of {KINDS}", kind)
    return Refutation(
        kind,
        _text(population, where),
        _count(sample, where),
        _count(neuron, where),
        _float(time, where, math.nan),
        _float(claimed, where, math.nan),
    )


def _mismatch(record: Any, where: str) -> Mismatch:
    parameter, key, entry, claimed, proven = _row(record, where, 5)
    return Mismatch(
        _text(parameter, where),
        _key(key, where),
        tuple(_list(entry, where, _count)),
        _float(claimed, where, math.nan),
        _float(proven, where, math.nan),
    )


def _gradients(record: Any) -> GradientEnclosures:
    r = _object(record, "gradients", ("value", *_gradient_names()))
    value = _row(r["value"], "gradients.value", 2)
    columns: dict[str, Mapping[Any, Enclosures]] = {}
    for name in _gradient_names():
        entries = _list(r[name], f"gradients.{name}", _gradient)
        columns[name] = dict(entries)
        _require(
            len(columns[name]) == len(entries), f"gradients.{name}", "different keys", [k for k, _ in entries]
        )
    middle, radius = (
        _float(value[0], "gradients.value", math.nan),
        _float(value[1], "gradients.value", math.inf),
    )
    return GradientEnclosures(Enclosures(np.array(middle), np.array(radius)), **columns)


def _gradient(record: Any, where: str) -> tuple[Any, Enclosures]:
    key, shape, midpoints, radii = _row(record, where, 4)
    enclosures = _enclosures(midpoints, radii, where)
    sizes = tuple(_list(shape, where, _count))
    fits = math.prod(sizes) == enclosures.midpoints.size
    _require(fits, where, f"{enclosures.midpoints.size} numbers", sizes)
    return _key(key, where), Enclosures(*(column.reshape(sizes) for column in enclosures))


def _key(record: Any, where: str) -> Any:
    return _text(record, where) if isinstance(record, str) else tuple(_list(record, where, _text))


def _enclosures(midpoints: Any, radii: Any, where: str) -> Enclosures:
    middle, radius = _vector(midpoints, where, math.nan), _vector(radii, where, math.inf)
    _require(middle.size == radius.size, where, "as many radii as midpoints", (middle.size, radius.size))
    _require(bool((radius >= 0).all()), where, "radii >= 0", radii)
    known = np.array_equal(np.isnan(middle), np.isinf(radius))
    _require(known, where, "no midpoint exactly where there is no radius", radii)
    return Enclosures(middle, radius)


def _require(holds: bool, where: str, expected: str, got: object) -> None:
    if not holds:
        raise ValueError(
            f"the record is not that of a certificate: {where} must be {expected}; got {shown(got)}"
        )


def _object(record: Any, where: str, names: tuple[str, ...]) -> dict[str, Any]:
    fits = isinstance(record, dict) and set(record) == set(names)
    _require(fits, where, f"an object of {names}", list(record) if isinstance(record, dict) else record)
    found: dict[str, Any] = record
    return found


def _list(record: Any, where: str, item: Callable[[Any, str], Item]) -> list[Item]:
    _require(isinstance(record, list), where, "a list", record)
    return [item(entry, f"{where}[{k}]") for k, entry in enumerate(record)]


def _row(record: Any, where: str, length: int) -> list[Any]:
    _require(isinstance(record, list) and len(record) == length, where, f"a list of {length}", record)
    found: list[Any] = record
    return found


def _vector(record: Any, where: str, absent: float) -> Any:
    return np.array(_list(record, where, lambda entry, place: _float(entry, place, absent)), dtype=np.float64)


def _float(record: Any, where: str, absent: float) -> float:
    if record is None:
        return absent
    fits = isinstance(record, int | float) and not isinstance(record, bool) and abs(record) <= LARGEST
    _require(fits, where, "a finite number or null", record)
    return float(record)


def _positive(record: Any, where: str) -> float:
    number = _float(record, where, math.nan)
    _require(number >= 0, where, "a number >= 0", record)
    return number


def _count(record: Any, where: str) -> int:
    fits = isinstance(record, int) and not isinstance(record, bool) and record >= 0
    _require(fits, where, "an integer >= 0", record)
    return int(record)


def _decimal(record: Any, where: str) -> str:
    _require(
        record == "" or (isinstance(record, str) and is_written(record)), where, "a decimal ball", record
    )
    return str(record)


def _text(record: Any, where: str) -> str:
    _require(isinstance(record, str), where, "text", record)
    return str(record)
