"""Counts of the public suite, by family, at the end of a run."""

from __future__ import annotations

from collections import Counter

import pytest

_outcome: dict[str, bool] = {}
PASSED: Counter[str] = Counter()
RUN: Counter[str] = Counter()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """A case is counted when it is torn down: by then its family is known."""
    if report.when == "call":
        _outcome[report.nodeid] = report.passed
    family = dict(report.user_properties).get("family")
    if family and report.when == "teardown":
        RUN[family] += 1
        PASSED[family] += _outcome.pop(report.nodeid, False)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if RUN:
        terminalreporter.section("ONNX backend suite: passed of run")
        for family in sorted(RUN):
            terminalreporter.line(f"{family:40} {PASSED[family]:5} of {RUN[family]}")
        terminalreporter.line(f"{'all':40} {PASSED.total():5} of {RUN.total()}")
