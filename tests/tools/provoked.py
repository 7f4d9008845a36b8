"""Which drop reasons a run of tests has seen counted; `-p tests.tools.provoked` writes them to a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

PROVOKED: set[str] = set()
"""Reasons that packets of this run were seen to be dropped for, by the counters."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--provoked", type=Path, help="write which drop reasons were provoked, as JSON")


def pytest_sessionfinish(session: pytest.Session) -> None:
    if path := session.config.getoption("--provoked"):
        path.write_text(json.dumps(sorted(PROVOKED)))
