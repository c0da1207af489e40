"""Settings of the test session.

CI=1 takes the same random examples every time. STOS_STRICT=1 takes a skipped test as a failed one:
used where everything has to be there. STOS_SEED=N gives the core other random runs.
"""

import os
import shlex

import pytest
from hypothesis import settings

# In CI the same examples every time: what is red there is red because of the change.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


def pytest_collection_modifyitems(items):
    """Begin with what takes minutes, so that no worker has it left at the end."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def _be_strict(report) -> None:
    if os.environ.get("STOS_STRICT") and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome, report.longrepr = "failed", f"STOS_STRICT allows no skip: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    report = yield
    _be_strict(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Say how to repeat a failed test, with the variables that choose its examples."""
    report = yield
    _be_strict(report)
    if report.failed:
        chosen = [f"{name}={value}" for name in ("CI", "STOS_STRICT", "STOS_SEED")
                  if (value := os.environ.get(name))]  # fmt: skip
        command = shlex.join([*chosen, "python", "-m", "pytest", item.nodeid])
        report.sections.append(("to repeat this test alone", command))
    return report
