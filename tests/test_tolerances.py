"""Tolerances are what they say: pytest.approx lets 1e-12 pass beside any ``rel``, and numpy.isclose 1e-8 beside any."""

import ast
from pathlib import Path

ABSOLUTE = {"approx": "abs", "isclose": "atol", "allclose": "atol"}


def not_said(source):
    """The lines that say how far numbers may be off relatively, and leave open how far absolutely."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            said, of = {word.arg for word in node.keywords}, getattr(node.func.value, "id", "")
            absolute = ABSOLUTE.get(node.func.attr) if of in ("pytest", "np") else None
            if absolute and absolute not in said and (said & {"rel", "rtol"} or of == "np"):
                found.append(node.lineno)
    return sorted(found)


def test_who_says_how_far_relatively_says_how_far_absolutely():
    wrong = "assert a == pytest.approx(b, rel=1e-15)\nnp.isclose(a, b)\nnp.allclose(a, b, rtol=0)\n"
    right = "pytest.approx(b)\npytest.approx(b, abs=1)\npytest.approx(b, rel=1, abs=0)\nnp.isclose(a, b, atol=0)\n"
    assert not_said(wrong) == [1, 2, 3]
    assert not_said(right) == []
    root = Path(__file__).parent
    found = [
        f"{file.relative_to(root)}:{line}"
        for file in sorted(root.rglob("*.py"))
        if any(f".{name}(" in (text := file.read_text(encoding="utf-8")) for name in ABSOLUTE)
        for line in not_said(text)
    ]
    assert found == []
