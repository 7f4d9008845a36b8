"""A commit as the memfd of sections that the engine takes, and the way back from a snapshot's."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hal.packet.contract import FILE_BYTES, Delete, Generation, Insert, Name, Operation, Snapshot
from hal.packet.dpdk import wire
from hal.packet.dpdk.dictionary import Dictionary
from hal.packet.dpdk.wire import SectionKind
from hal.packet.schema.rows import Row, Rows


@dataclass
class Sections:
    """The parts of a memfd: heads first, then each section's bytes, padded to 8."""

    heads: list[wire.Section]
    parts: list[Any]

    def bytes(self) -> list[Any]:
        """The pieces in order, offsets filled in."""
        offset = ctypes.sizeof(wire.Section) * len(self.heads)
        pieces: list[Any] = []
        for head, part in zip(self.heads, self.parts, strict=True):
            size = memoryview(part).nbytes
            head.offset = offset
            pieces.append(part)
            if gap := -size % 8:
                pieces.append(bytes(gap))
            offset += size + gap
        return [b"".join(bytes(head) for head in self.heads), *pieces]


def _end_of(file: str) -> bytes:
    return file.encode()[-FILE_BYTES:].decode(errors="ignore").encode()


def pack(
    operations: Sequence[Operation],
    depends: Sequence[tuple[str, int]],
    names: Sequence[Name],
    dictionary: Dictionary,
) -> Sections:
    """The sections of a commit. Raises HalError where the engine can't hold what is asked."""
    sections = Sections([], [])

    def add(kind: SectionKind, table: int, action: int, count: int, stride: int, part: Any) -> None:
        sections.heads.append(wire.Section(kind, table, action, 0, count, stride, 0))
        sections.parts.append(part)

    for operation in operations:
        if isinstance(operation, Delete):
            ids = np.ascontiguousarray(operation.ids, np.uint64)
            add(
                SectionKind.DELETE,
                dictionary.table_number(operation.table),
                0,
                len(ids),
                8,
                ids.view(np.uint8),
            )
            continue
        dictionary.check_stages(operation.rows)
        engine, data = dictionary.to_engine(operation.rows)
        kind = SectionKind.INSERT if isinstance(operation, Insert) else SectionKind.MODIFY
        add(kind, engine.table, engine.action, len(data), engine.dtype.itemsize, data.view(np.uint8))
    by_table: dict[str, list[int]] = {}
    for table, row_id in depends:
        by_table.setdefault(table, []).append(row_id)
    for table, ids_list in by_table.items():
        ids = np.array(ids_list, np.uint64)
        add(SectionKind.DEPENDS, dictionary.table_number(table), 0, len(ids), 8, ids.view(np.uint8))
    names_by_table: dict[str, list[Name]] = {}
    for name in names:
        names_by_table.setdefault(name.table, []).append(name)
    for table, some in names_by_table.items():
        packed = (wire.Name * len(some))(
            *(wire.Name(one.id, one.line, 0, wire.fixed(one.text, 64), _end_of(one.file)) for one in some)
        )
        add(
            SectionKind.NAMES,
            dictionary.table_number(table),
            0,
            len(some),
            ctypes.sizeof(wire.Name),
            bytes(packed),
        )
    return sections


def unpack(
    answer: wire.Committed, data: bytes, dictionary: Dictionary, classes: dict[str, type[Row]], life: int
) -> Snapshot:
    """The snapshot that a memfd of sections holds, of this life of the engine."""
    tables: dict[str, list[Rows]] = {}
    names: dict[tuple[str, int], Name] = {}
    tags: dict[str, str] = {}
    left_out: dict[str, int] = {}
    for head in wire.records(wire.Section, data, answer.number):
        size = head.count * head.stride
        body = data[head.offset : head.offset + size]
        if head.kind == SectionKind.TAGS:
            tags = {wire.text(one.owner): wire.text(one.tag) for one in wire.records(wire.OwnerTag, body, head.count)}
            continue
        table = dictionary.table_name(head.table)
        if head.kind == SectionKind.NAMES:
            for one in wire.records(wire.Name, body, head.count):
                names[table, one.id] = Name(table, one.id, wire.text(one.text), wire.text(one.file), one.line)
            continue
        tables.setdefault(table, [])
        found = dictionary.from_engine(head.table, head.action, body, head.count)
        if found is not None and found[0] in classes:
            row_name, rows = found
            tables[table].append(Rows(classes[row_name], rows).take(np.argsort(rows["id"], kind="stable")))
        elif head.count:
            left_out[table] = left_out.get(table, 0) + head.count
    held = {name: tuple(rows) for name, rows in tables.items()}
    return Snapshot(Generation(answer.generation, life), wire.text(answer.tag), held, names, tags, left_out)
