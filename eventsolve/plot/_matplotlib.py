"""Imported before all else here: matplotlib comes with an extra, and its absence is a sentence."""

from importlib.util import find_spec

if find_spec("matplotlib") is None:
    raise ImportError("pictures need matplotlib: pip install 'eventsolve[validate]'")
