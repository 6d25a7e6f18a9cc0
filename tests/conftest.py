"""Hypothesis profiles and the versions that decide the last digits."""

import importlib.metadata
import os

from hypothesis import HealthCheck, Phase, settings

slow = [HealthCheck.too_slow]  # the first example compiles
settings.register_profile("dev", max_examples=50, deadline=None, suppress_health_check=slow)
settings.register_profile(
    "ci", max_examples=200, deadline=None, suppress_health_check=slow, derandomize=True, print_blob=True
)
# that a test fails is all that is asked for
settings.register_profile(
    "mutants", settings.get_profile("ci"), max_examples=20, phases=(Phase.explicit, Phase.generate)
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev"))


def pytest_report_header(config):
    packages = ("numpy", "scipy", "numba", "llvmlite", "mpmath")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    jit = "off" if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0") else "on"
    return f"{versions}; compiled kernels {jit}; hypothesis profile {settings.get_current_profile_name()}"
