"""The engine of the release before: built from a copy of this tree's, whose schema lacks a stage and a field.

Its C is ours without what names them; all else, the numbers of tables and reasons among it, follows from its schema.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

from hal.packet.schema.generate import c_header, c_source
from hal.packet.schema.registry import Schema, schema
from tests.tools.tree import ROOT

FOLDER = ROOT / "build/engine-older"
STAGE = "antispoof"
"""The stage that it lacks, with a table and four reasons."""
TABLE, FIELD = "vnic", "punt_limit"
"""The field that it lacks."""
_WITHOUT = {
    "engine/meson.build": (f"'{STAGE}', ", ""),
    "engine/path/derive_vnics.c": ("        .punt_limit = row->punt_limit,\n", ""),
    # The op that checks a source MAC is of every engine; without the stage no chain has it.
    "engine/path/way.h": ("DSN_REASON_SPOOFED_MAC", "DSN_REASON_MAC_MISMATCH"),
}
"""File -> (text, what stands there instead)."""


def older_schema() -> Schema:
    """Ours less one stage and one field."""
    whole = schema(own_only=True)
    stages = []
    for stage in whole.stages:
        tables = tuple(
            replace(
                table,
                actions=tuple(
                    replace(action, fields=tuple(one for one in action.fields if one.name != FIELD))
                    for action in table.actions
                ),
            )
            if table.name == TABLE
            else table
            for table in stage.tables
        )
        if stage.name != STAGE:
            stages.append(replace(stage, tables=tables))
    return Schema(tuple(stages))


def _put(path: Path, data: bytes) -> None:
    """Write a file that has changed: what hasn't is not built again."""
    if not path.exists() or path.read_bytes() != data:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def older_engine() -> Path:
    """The program, built where it isn't yet; half a minute the first time.

    Raises:
        AssertionError: the tree's C has changed where this takes something out, or doesn't build without it.
    """
    source, build = FOLDER / "source", FOLDER / "build"
    for origin in (ROOT / "hal/packet/engine", ROOT / "hal/packet/stages"):
        for path in origin.rglob("*"):
            if path.is_dir() or "__pycache__" in path.parts or "generated" in path.parts:
                continue
            name = str(path.relative_to(ROOT / "hal/packet"))
            data = path.read_bytes()
            if name in _WITHOUT:
                there, instead = (one.encode() for one in _WITHOUT[name])
                assert data.count(there) == 1, f"{name} has {there!r} {data.count(there)} times"
                data = data.replace(there, instead)
            _put(source / name, data)
    for path in source.rglob("*"):
        if (
            path.is_file()
            and "generated" not in path.parts
            and not (ROOT / "hal/packet" / path.relative_to(source)).exists()
        ):
            path.unlink()
    whole = older_schema()
    _put(source / "engine/generated/schema.h", c_header(whole).encode())
    _put(source / "engine/generated/schema.c", c_source(whole).encode())
    if not (build / "build.ninja").exists():
        shutil.rmtree(build, ignore_errors=True)
        options = ("--buildtype=debugoptimized", "-Doptimization=1", "-Dc_args=-g1", "-Db_ndebug=false")
        _run("meson", "setup", str(build), str(source / "engine"), *options)
    _run("ninja", "-C", str(build), "dsn-engine")
    return build / "dsn-engine"


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
