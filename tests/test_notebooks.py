"""Do the notebooks run from clean, and do they still say what they were saved with? ``pytest -m notebooks``."""

from pathlib import Path

import pytest

NAMES = sorted(path.stem for path in (Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


@pytest.mark.notebooks
@pytest.mark.parametrize("name", NAMES)
def test_it_says_what_it_says(name):
    import nbformat
    from rerun import FOLDER, executed, texts

    path = FOLDER / f"{name}.ipynb"
    assert texts(executed(path)) == texts(nbformat.read(path, as_version=4))


def test_there_are_notebooks_and_they_are_small():
    assert NAMES
    for name in NAMES:
        assert (Path(__file__).parents[1] / "notebooks" / f"{name}.ipynb").stat().st_size < 300 * 1024, name
