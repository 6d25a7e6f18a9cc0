"""The stages of a comparison as test cases, in the JUnit XML that continuous integration reads."""

from __future__ import annotations

from xml.etree import ElementTree

from eventsolve.checks import printable
from validation.report import Run, number, summary
from validation.report.document import Document, sentences


def to_junit(run: Run) -> str:
    """Return one test suite with a test case per stage; the first is the verdict.

    Where that is that nothing is wrong, no stage fails; else one that does not agree does, with its finding.
    """
    stages = run.comparison.stages
    failed = [stage for stage in stages if not stage.agrees and not run.accepted]
    failures = len(failed) + (not run.accepted)
    suite = ElementTree.Element(
        "testsuite",
        name=printable(run.title),
        tests=str(len(stages) + 1),
        failures=str(failures),
        errors="0",
        time=f"{run.seconds:.3f}",
    )
    verdict = ElementTree.SubElement(
        suite, "testcase", classname=printable(run.title), name="verdict", time="0"
    )
    if not run.accepted:
        said = "does not agree" if run.diagnosis is None else printable(run.diagnosis.sentence)
        ElementTree.SubElement(verdict, "failure", message=said, type="difference").text = said
    for stage in stages:
        case = ElementTree.SubElement(
            suite, "testcase", classname=printable(run.title), name=printable(stage.label), time="0"
        )
        if stage in failed:
            what = "spikes missed or extra" if stage.kind == "spikes" else "relative error"
            said = f"{what} {number(stage.error)}, tolerance {number(stage.tolerance)}"
            failure = ElementTree.SubElement(case, "failure", message=said, type="difference")
            failure.text = printable(run.findings.get(stage.label, said))
    ElementTree.SubElement(suite, "system-out").text = printable(summary(run.comparison))
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def of_judgement(document: Document, accepted: bool) -> str:
    """Return one test suite with one test case, the verdict of a record that judges itself."""
    title, said = printable(document.title), " ".join(sentences(document.headline))
    suite = ElementTree.Element(
        "testsuite", name=title, tests="1", failures=str(int(not accepted)), errors="0", time="0"
    )
    case = ElementTree.SubElement(suite, "testcase", classname=title, name="verdict", time="0")
    if not accepted:
        failure = ElementTree.SubElement(case, "failure", message=printable(said), type="difference")
        failure.text = printable(said)
    ElementTree.SubElement(suite, "system-out").text = printable(said)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"
