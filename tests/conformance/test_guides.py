"""Each guide is followed word for word in an empty folder: files written, commands run, their words compared."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.tools.tree import ROOT

BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"(?:#|/\*) ([\w./-]+\.\w+)(?: \*/)?\n")
GUIDES = ("new-stage.md", "new-backend.md", "agent.md")
ON_A_CARD = ("agent.md",)
"""Those that start a card: they are followed on a machine that has no other, and nothing else of those names."""


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, what stands behind it, and its lines."""

    language: str
    more: str
    text: str


def blocks(guide: str) -> list[Block]:
    return [
        Block(language, more.strip(), text)
        for language, more, text in BLOCK.findall((ROOT / "docs/guides" / guide).read_text())
    ]


@contextlib.contextmanager
def machine_of_its_own() -> Iterator[tuple[str, ...]]:
    """What to put before a command so that it runs with interfaces, processes and a folder /run that nobody else has.
    All that was started there ends with it."""
    apart = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
    ready = "mount -t tmpfs tmpfs /run && ip link set lo up && echo ready && exec sleep infinity"
    with subprocess.Popen([*apart, "sh", "-e", "-c", ready], stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "ready\n"
            (first,) = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()
            yield ("nsenter", "--target", first, "--net", "--mount", "--pid")
        finally:
            holder.kill()


def run(commands: str, folder: Path, inside: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run commands as a reader would, with the environment of this interpreter active and no other help."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHON"))}
    active = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip's word for: don't fetch the build backend, it is here
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "COLUMNS": "200",
    }
    return subprocess.run(
        [*inside, "bash", "-e", "-c", f"cd {shlex.quote(str(folder))}\n{commands}"],
        env={**kept, **active},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=600,
    )


@pytest.mark.parametrize("guide", GUIDES)
def test_guide(guide: str, tmp_path: Path) -> None:
    with machine_of_its_own() if guide in ON_A_CARD else contextlib.nullcontext(()) as inside:
        follow(guide, tmp_path, lambda commands: run(commands, tmp_path, inside))


def follow(guide: str, folder: Path, said_by: Callable[[str], subprocess.CompletedProcess[str]]) -> None:
    said = ""
    for block in blocks(guide):
        if block.language == "sh":
            done = said_by(block.text)
            said = done.stdout
            assert (done.returncode != 0) == (block.more == "fails"), f"{block.text}\n{said}"
        elif block.language == "text":
            missing = [line for line in block.text.splitlines() if line not in said]
            assert missing == [], f"not said by the commands before: {missing}\n{said}"
        else:
            found = FILE.match(block.text)
            assert found, f"a block of {block.language} that isn't a file: its first line is a comment with its name"
            path = folder / found.group(1)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)


@pytest.mark.parametrize("guide", GUIDES)
def test_guide_begins_with_the_environment(guide: str) -> None:
    """What its first lines say makes the commands of all others be found, where nothing else does."""
    head = (ROOT / "docs/guides" / guide).read_text().partition("```")[0]
    first = "".join(line for line in head.splitlines(keepends=True) if line.startswith("    "))
    assert first.count("\n") == 2
    told = "\ncommand -v dsn python; python -c 'import hal, pytest; print(hal.__name__)'; pwd"
    clean = {"PATH": "/usr/bin:/bin", "HOME": "/"}
    done = subprocess.run(["bash", "-e", "-c", first + told], cwd=ROOT, env=clean, capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    dsn, python, package, folder = done.stdout.splitlines()
    assert {Path(dsn).parent.parent.name, Path(python).parent.parent.name, package} == {".venv", "hal"}
    assert list(Path(folder).iterdir()) == []
    Path(folder).rmdir()


@pytest.mark.parametrize("guide", GUIDES[:2])  # an agent is held to nothing
def test_guide_ends_with_conformance(guide: str) -> None:
    commands = "".join(block.text for block in blocks(guide) if block.language == "sh" and block.more != "fails")
    assert "python -m hal.conformance" in commands
    assert "python -m pytest" in commands
    assert {block.more for block in blocks(guide) if block.language == "sh"} <= {"", "fails"}
