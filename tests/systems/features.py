"""A pytest plugin: which feature works with which system, by the tests that ran for it.

A test says with ``@pytest.mark.feature("sap", "kill")`` what it shows. At the end a table of all systems and
all features is printed; with ``--features`` the run fails where a cell is empty, or one of its tests did not
pass.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Iterator
from typing import Final

import pytest

__all__ = ["FEATURES", "SYSTEMS", "Cells"]

SYSTEMS: Final = ("sap", "qarion", "invision", "informatica", "panoply", "ogc", "airflow")

#: What each system is asked for, in the order of a job's life.
FEATURES: Final = {
    "credential": "the connection's credential is sent, and a wrong one fails without being shown",
    "start": "a task starts the job, with all that the page can say of it",
    "options": "headers, parameters, body, timeout: what the page lets one choose of a request",
    "error answer": "a start that is refused fails the task with what the system said",
    "answer at once": "the outcome is in the answer to the start",
    "running": "a job that goes on is asked for again; an answer that takes its time is waited for",
    "success": "the job ends well, on worker and triggerer",
    "failure": "the job fails or its answer breaks a rule, and the task with its message",
    "bad check": "a check that fails is not a job that fails, nor is a call that may be made again",
    "one job": "neither a retry of the task nor a lost answer starts a second job",
    "kill": "whoever ends the task ends the job, or is told that it goes on",
    "limit": "how long a job, or an answer, may take",
    "result": "what the system answered is handed on to other tasks",
    "DAG success": "the example DAG on a real Airflow",
    "DAG failure": "the same with a job that fails",
    "DAG cancel": "the same with a task that is marked as failed",
    "operation log": "what was done is in the operation log",
    "test run": "the command line runs the call alone",
}


class Cells:
    """The outcomes of tests by system and feature."""

    def __init__(self) -> None:
        self.passed: dict[tuple[str, str], int] = defaultdict(int)
        self.failed: dict[tuple[str, str], int] = defaultdict(int)

    def note(self, cell: tuple[str, str], report: pytest.TestReport) -> None:
        """Take the outcome of a phase of a test; one that was skipped shows nothing."""
        if report.failed:
            self.failed[cell] += 1
        elif report.when == "call" and report.passed:
            self.passed[cell] += 1

    def open(self) -> list[tuple[str, str]]:
        """The cells that nothing has shown, or something has refuted."""
        cells = [(system, feature) for system in SYSTEMS for feature in FEATURES]
        return [cell for cell in cells if not self.passed[cell] or self.failed[cell]]

    def lines(self) -> Iterator[str]:
        """The table: in each cell the number of tests that passed, and of those that did not."""
        yield f"{'':16}" + "".join(f"{system:>13}" for system in SYSTEMS)
        for feature in FEATURES:
            yield f"{feature:16}" + "".join(f"{self._cell(system, feature):>13}" for system in SYSTEMS)

    def _cell(self, system: str, feature: str) -> str:
        passed, failed = self.passed[system, feature], self.failed[system, feature]
        if failed:
            return f"{failed} FAILED"
        return str(passed) if passed else "-"


_CELLS: Final = pytest.StashKey[Cells]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--features", action="store_true", help="fail where a cell of the table is not shown")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_CELLS] = Cells()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for system, feature in _cells_of(item):
            if system not in SYSTEMS or feature not in FEATURES:
                raise pytest.UsageError(f"{item.nodeid}: there is no cell {system!r}, {feature!r}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    for cell in _cells_of(item):
        item.config.stash[_CELLS].note(cell, report)
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.config.option.features and session.config.stash[_CELLS].open() and session.exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    cells = config.stash[_CELLS]
    terminalreporter.section("systems and features: tests that passed")
    for line in cells.lines():
        terminalreporter.write_line(line)
    terminalreporter.write_line(f"{len(cells.open())} of {len(SYSTEMS) * len(FEATURES)} cells are not shown")


def _cells_of(item: pytest.Item) -> list[tuple[str, str]]:
    """The pairs that the test names; ``feature("sap", "kill", "limit")`` names two."""
    return [(mark.args[0], feature) for mark in item.iter_markers("feature") for feature in mark.args[1:]]
