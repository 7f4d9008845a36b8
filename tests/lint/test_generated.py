"""Generated code is what its sources yield today, no more and no less."""

import difflib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools import tree

STALE = "# stale\n"


def generated(root: Path) -> dict[Path, str]:
    paths = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
    return {path: (root / path).read_text() for path in paths if tree.is_generated(path) and path.suffix != ".pyc"}


def stale(root: Path) -> str:
    """How generated files in `root`, a copy that may be spoiled, differ from what generating yields now."""
    before = generated(root)
    for path, text in before.items():
        # A file that no generator writes any more would else look fresh.
        comment = f"/* {STALE} */" if path.suffix in {".c", ".h"} else STALE
        (root / path).write_text(text + comment)
    command = [sys.executable, "-B", str(root / ".ci" / "generate.py")]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        return done.stderr
    after = generated(root)
    lines: list[str] = []
    for path in sorted(before.keys() | after.keys()):
        old, new = (side.get(path, "").splitlines(keepends=True) for side in (before, after))
        lines += difflib.unified_diff(old, new, f"committed/{path}", f"generated/{path}")
    return "".join(lines)


def test_generated_code_is_fresh(tmp_path: Path) -> None:
    tree.copy(tmp_path)
    difference = stale(tmp_path)
    if difference:
        pytest.fail(f"run `make generate`:\n{difference[:20_000]}", pytrace=False)


def test_a_stale_file_is_seen(tmp_path: Path) -> None:
    """Both ways of being stale: other than its source, and without one."""
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".ci" / "generate.py").write_bytes((tree.ROOT / ".ci" / "generate.py").read_bytes())
    proto = tmp_path / "services" / "some" / "some.proto"
    proto.parent.mkdir(parents=True)
    proto.write_text('syntax = "proto3";\npackage some;\nmessage Some { string name = 1; }\n')
    assert "generated/services/some/some_pb2.py" in stale(tmp_path)  # generated for the first time
    assert stale(tmp_path) == ""
    assert not list(tmp_path.rglob("*_grpc.py"))  # no service, no stubs
    proto.write_text(proto.read_text().replace("name", "title"))
    assert "title" in stale(tmp_path)
    proto.unlink()
    assert "# stale" in stale(tmp_path)
