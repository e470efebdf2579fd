"""Under CI nothing is skipped: a test that would be is a failure there, because nothing would have been tested.

What the kernel lacks, no package brings: such a reason begins with "the kernel ", and remains a skip, by name.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator

import pytest
import started
from hypothesis import HealthCheck, settings

# mutmut runs each test in several processes and by several executors, which hypothesis would object to.
settings.register_profile("mutation", suppress_health_check=[HealthCheck.differing_executors])

# Thousands of small files come and go: in memory where there is enough of it, and programs may be run there.
if "TMPDIR" not in os.environ and os.access("/dev/shm", os.W_OK):
    memory = os.statvfs("/dev/shm")
    if memory.f_bavail * memory.f_frsize > 4 << 30 and not memory.f_flag & os.ST_NOEXEC:
        os.environ["TMPDIR"] = tempfile.tempdir = "/dev/shm"

started.begin()

# The system's store of certificates takes 50 ms to read, for each client that trusts it: here it is empty.
os.environ.setdefault("SUITE_SSL_CERT_FILE", os.environ.get("SSL_CERT_FILE", ""))
os.environ["SSL_CERT_FILE"] = os.devnull

#: As it was at the start: tests change it.
CI = bool(os.environ.get("CI"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Twice as many as there are cores: terminals, processes and servers are waited for."""
    return (os.cpu_count() or 1) * 2


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if CI and report.skipped and not hasattr(report, "wasxfail") and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if not reason.startswith("the kernel "):
            report.outcome = "failed"
            report.longrepr = f"skipped under CI: {reason}"
    return report
