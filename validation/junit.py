"""The stages of a comparison as test cases, in the JUnit XML that continuous integration reads."""

from __future__ import annotations

from xml.etree import ElementTree

from eventsolve.checks import printable
from validation.report import Run, number, summary


def to_junit(run: Run) -> str:
    """Return one test suite with a test case per stage; one that does not agree is a failure with its finding."""
    stages = run.comparison.stages
    failures = sum(not stage.agrees for stage in stages)
    suite = ElementTree.Element(
        "testsuite",
        name=printable(run.title),
        tests=str(len(stages)),
        failures=str(failures),
        errors="0",
        time=f"{run.seconds:.3f}",
    )
    for stage in stages:
        case = ElementTree.SubElement(
            suite, "testcase", classname=printable(run.title), name=printable(stage.label), time="0"
        )
        if not stage.agrees:
            what = "spikes missed or extra" if stage.kind == "spikes" else "relative error"
            said = f"{what} {number(stage.error)}, tolerance {number(stage.tolerance)}"
            failure = ElementTree.SubElement(case, "failure", message=said, type="difference")
            failure.text = printable(run.findings.get(stage.label, said))
    ElementTree.SubElement(suite, "system-out").text = printable(summary(run.comparison))
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"
