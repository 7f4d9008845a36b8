"""What `dsn` imports: who asks a card doesn't wait for what only planning needs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest

from sdk.cli.main import COMMANDS, main

HEAVY = ("google.protobuf.descriptor", "grpc", "numpy", "rich", "services.core.service", "yaml")
"""Each takes at least a third of what Python and click take together."""


def imported(statement: str, run: Path) -> set[str]:
    """Which heavy modules a statement leaves imported, in a Python of its own."""
    lines = ("import json, sys", "try:", f"    {statement}", "finally:", "    print(json.dumps(list(sys.modules)))")
    command = [sys.executable, "-c", "\n".join(lines)]
    done = subprocess.run(command, env={"DSN_RUN": str(run)}, capture_output=True, text=True, check=False)
    return set(HEAVY) & set(json.loads(done.stdout.splitlines()[-1]))


def dsn(*words: str) -> str:
    return f"from sdk.cli.main import main; main({words!r}, standalone_mode=False)"


@pytest.mark.parametrize(
    ("statement", "needed"),
    [
        (dsn("--help"), set()),
        (dsn("card", "--help"), set()),
        (dsn("show", "--help"), set()),
        (dsn("card", "status", "--json"), set()),  # no card runs, and that needs no gRPC to tell
        ("import sdk.cli.show, sdk.cli.card, sdk.cli.daemon_card", {"google.protobuf.descriptor", "grpc"}),
        (dsn("check", "/nowhere.yaml"), {"google.protobuf.descriptor", "services.core.service", "yaml"}),
    ],
)
def test_what_a_command_imports(statement: str, needed: set[str], tmp_path: Path) -> None:
    assert imported(statement, tmp_path) == needed


def test_help_says_what_the_commands_say() -> None:
    context = click.Context(main)
    assert main.list_commands(context) == sorted(COMMANDS)
    for name, (_, line) in COMMANDS.items():
        command = main.get_command(context, name)
        assert command is not None
        assert command.name == name
        assert " ".join((command.help or "").split()).startswith(line.rstrip("."))
    assert main.get_command(context, "nothing") is None
