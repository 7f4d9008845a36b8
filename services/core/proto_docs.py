"""The comments of .proto files: protobuf leaves them out of generated code, people want them in their editor."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

_OPEN = re.compile(r"(message|enum|oneof)\s+(\w+)\s*\{(\s*\})?")
_FIELD = re.compile(r"(?:repeated\s+|optional\s+)?(?:map<[^>]*>|[\w.]+)?\s*(\w+)\s*=\s*\d+\s*[;\[]")


@cache
def comments(path: Path) -> dict[str, str]:
    """Name of a message, field or enumeration value below the package ("Vnic.port") -> the comment above it."""
    return dict(_comments(path.read_text().splitlines()))


def _comments(lines: list[str]) -> Iterator[tuple[str, str]]:
    scope: list[str] = []
    comment: list[str] = []
    for line in (line.strip() for line in lines):
        if line.startswith("//"):
            comment.append(line.removeprefix("//").strip())
            continue
        opened, field = _OPEN.match(line), _FIELD.match(line)
        if opened is not None:
            yield ".".join([*scope, opened[2]]), " ".join(comment)
            if opened[3] is None:
                scope.append(opened[2])
        elif field is not None and scope:
            yield ".".join([*scope, field[1]]), " ".join(comment)
        elif line == "}" and scope:
            scope.pop()
        comment = []


def doc(descriptor: Any) -> str:
    """The comment of a message's, field's or enumeration value's descriptor; "" where its .proto isn't beside us."""
    file = descriptor.file if hasattr(descriptor, "file") else descriptor.containing_type.file
    path = _find(file.name)
    full: str = descriptor.full_name
    found = comments(path) if path is not None else {}
    return found.get(full.removeprefix(f"{file.package}."), "")


@cache
def _find(name: str) -> Path | None:
    import sys

    for folder in (Path(__file__).resolve().parent.parent.parent, *map(Path, sys.path)):
        if (folder / name).is_file():
            return folder / name
    return None
