"""A pytest plugin that lets a long run go on where it was interrupted.

`-p tests.continued --continued=FILE`; without the option it does nothing. FILE has the names of tests that have passed,
a line each. They aren't run again; those that pass now are added. One that shares a fixture of its module with others
counts when all of the module is done: what the fixture's end finds is of them all.
"""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--continued", type=Path, help="a file with the names of tests that have passed")


def pytest_configure(config: pytest.Config) -> None:
    if path := config.getoption("--continued"):
        config.pluginmanager.register(_Continued(path))


def passed(path: Path) -> list[str]:
    """Names of the tests that have passed."""
    return path.read_text().splitlines() if path.exists() else []


class _Continued:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._failed = False
        self._waiting: list[str] = []  # their module isn't done

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        earlier = set(passed(self._path))
        # One remains: a run without a test has no result.
        done = [item for item in items if item.nodeid in earlier][: len(items) - 1]
        config.hook.pytest_deselected(items=done)
        items[:] = [item for item in items if item not in done]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._failed |= report.failed

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> object:
        self._failed = False
        ran = yield
        if self._failed:
            self._waiting = []
        else:
            self._waiting.append(item.nodeid)
        if nextitem is None or nextitem.path != item.path:
            self._add(self._waiting)
            self._waiting = []
        elif self._waiting and not _shares(item):
            self._add([self._waiting.pop()])
        return ran

    def _add(self, names: list[str]) -> None:
        new = [name for name in names if name not in set(passed(self._path))]
        with self._path.open("a") as file:  # opened each time: another suite adds to it too
            file.write("".join(f"{name}\n" for name in new))


def _shares(item: pytest.Item) -> bool:
    """Whether it has a fixture that lives as long as its module, or a package."""
    info = getattr(item, "_fixtureinfo", None)
    found = info.name2fixturedefs.values() if info is not None else ()
    return any(one.scope in ("class", "module", "package") for definitions in found for one in definitions)
