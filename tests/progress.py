"""A pytest plugin that writes a test's begin and end into a file while it happens, for who prints it (`tests.lanes`).

`-p tests.progress --progress=FILE`; without the option it does nothing. A line is a JSON object: {"began": test},
{"failed": test, "when": phase, "words": why} or {"ended": test}.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--progress", type=Path, help="a file to tell each test's begin and end in")


def pytest_configure(config: pytest.Config) -> None:
    if path := config.getoption("--progress"):
        config.pluginmanager.register(_Progress(path))


class _Progress:
    def __init__(self, path: Path) -> None:
        self._path = path

    def _tell(self, **words: str) -> None:
        # Opened each time: a test that forks or closes descriptors can't do harm here.
        with self._path.open("a") as file:
            file.write(json.dumps(words) + "\n")

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._tell(began=nodeid)

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            told = [report.longreprtext, *(f"{title}:\n{text}" for title, text in report.sections)]
            self._tell(failed=report.nodeid, when=report.when or "", words="\n".join(told))

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self._tell(ended=nodeid)
