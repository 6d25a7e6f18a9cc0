"""The stages of a comparison as test cases, in the JUnit XML that continuous integration reads."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from validation.report import Run, number, summary

_FORBIDDEN = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def to_junit(run: Run) -> str:
    """Return one test suite with a test case per stage; one that does not agree is a failure with its finding."""
    stages = run.comparison.stages
    failures = sum(not stage.agrees for stage in stages)
    suite = ElementTree.Element(
        "testsuite",
        name=_printable(run.title),
        tests=str(len(stages)),
        failures=str(failures),
        errors="0",
        time=f"{run.seconds:.3f}",
    )
    for stage in stages:
        case = ElementTree.SubElement(
            suite, "testcase", classname=_printable(run.title), name=_printable(stage.label), time="0"
        )
        if not stage.agrees:
            what = "spikes missed or extra" if stage.kind == "spikes" else "relative error"
            said = f"{what} {number(stage.error)}, tolerance {number(stage.tolerance)}"
            failure = ElementTree.SubElement(case, "failure", message=said, type="difference")
            failure.text = _printable(run.findings.get(stage.label, said))
    ElementTree.SubElement(suite, "system-out").text = _printable(summary(run.comparison))
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _printable(text: str) -> str:
    """Return the text with a ? for every character that XML cannot hold."""
    return _FORBIDDEN.sub("?", text)
