"""Between our schema and that of the running engine, which may be older or newer: all translation is by name."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from hal.errors import ErrorKind, HalError
from hal.packet.contract import StepKind
from hal.packet.schema.declare import REQUIRED, Type
from hal.packet.schema.layout import Layout
from hal.packet.schema.registry import Schema
from hal.packet.schema.rows import Rows, pack_address, pack_mac, pack_prefix

_TYPES = {type_.text: type_ for type_ in Type}


@dataclass(frozen=True)
class EngineRow:
    """A row class as the engine has it. `defaults`: wire field -> value, for what we may leave out."""

    table: int
    action: int
    name: str
    dtype: np.dtype[Any]
    defaults: dict[str, Any] = field(hash=False)


def _default(type_: Type, value: Any) -> tuple[Any, int | None]:
    """(wire value, prefix length or None) of a declared default."""
    match type_:
        case Type.PREFIX:
            packed, length = pack_prefix(value)
            return np.frombuffer(packed, np.uint8), length
        case Type.ADDRESS:
            return np.frombuffer(pack_address(value), np.uint8), None
        case Type.MAC:
            return np.frombuffer(pack_mac(value), np.uint8), None
        case _:
            return value, None


class Dictionary:
    """What the greeting says of the engine's schema, held against ours.

    Args:
        text: the greeting's JSON.
        schema: ours.

    Raises:
        HalError: CORRUPT where the greeting's schema can't be read.
    """

    def __init__(self, text: bytes, schema: Schema) -> None:
        self.schema = schema
        try:
            data = json.loads(text)
            self.stages: tuple[str, ...] = tuple(stage["name"] for stage in data["stages"])
            self.reasons: tuple[str, ...] = tuple(reason for stage in data["stages"] for reason in stage["reasons"])
            tables = [table for stage in data["stages"] for table in stage["tables"]]
            self.tables: tuple[str, ...] = tuple(table["name"] for table in tables)
            self.rows: dict[str, EngineRow] = {}
            for number, table in enumerate(tables):
                for place, action in enumerate(table["actions"]):
                    self.rows[action["row"]] = _engine_row(number, place, action)
        except (ValueError, KeyError, TypeError) as error:
            raise HalError(ErrorKind.CORRUPT, "schema in the engine's greeting", got=str(error)) from error

    @cached_property
    def by_number(self) -> dict[tuple[int, int], EngineRow]:
        return {(row.table, row.action): row for row in self.rows.values()}

    def table_number(self, name: str) -> int:
        """Raises HalError: INVALID for a table nobody declares, UNSUPPORTED for one this engine lacks."""
        self.schema.table(name)
        if name not in self.tables:
            raise HalError(
                ErrorKind.UNSUPPORTED,
                f"table {name}",
                table=name,
                fix="The running engine was built without its stage.c: build and restart it.",
            )
        return self.tables.index(name)

    def reason(self, number: int) -> str:
        return self.reasons[number] if number < len(self.reasons) else f"reason {number}"

    def step_value(self, kind: StepKind, value: int) -> int:
        """The value of a witness's step in our numbers, of a reason or a stage. One that we lack has a number that
        nothing of ours has."""
        if kind not in (StepKind.DROP, StepKind.STAGE):
            return value
        drop = kind is StepKind.DROP
        ours, theirs = (self._our_reasons, self.reasons) if drop else (self._our_stages, self.stages)
        name = theirs[value] if value < len(theirs) else ""
        return ours.get(name, len(ours) + value)

    @cached_property
    def _our_reasons(self) -> dict[str, int]:
        return self.schema.reason_numbers

    @cached_property
    def _our_stages(self) -> dict[str, int]:
        return {stage.name: number for number, stage in enumerate(self.schema.stages)}

    def table_name(self, number: int) -> str:
        return self.tables[number] if 0 <= number < len(self.tables) else ""

    def to_engine(self, rows: Rows) -> tuple[EngineRow, np.ndarray[Any, Any]]:
        """Our rows in the engine's form; the same array where the forms agree.

        Raises:
            HalError: UNSUPPORTED where the engine lacks the row, or a field that doesn't have its default.
        """
        layout = rows.row.LAYOUT
        engine = self.rows.get(layout.action.row)
        if engine is None:
            raise HalError(
                ErrorKind.UNSUPPORTED,
                f"table {layout.table.name}",
                field=layout.action.row,
                table=layout.table.name,
                fix="The running engine was built without its stage.c: build and restart it.",
            )
        if engine.dtype == rows.data.dtype:
            return engine, np.ascontiguousarray(rows.data)
        result = np.zeros(len(rows.data), engine.dtype)
        ours = rows.data.dtype.names or ()
        for name in engine.dtype.names or ():
            if name in ours:
                result[name] = rows.data[name]
            elif name in engine.defaults:
                result[name] = engine.defaults[name]
            else:
                raise HalError(
                    ErrorKind.UNSUPPORTED,
                    f"table {layout.table.name}",
                    field=name,
                    table=layout.table.name,
                    limit="known to this program",
                    fix="The running engine is newer: upgrade this program.",
                )
        self._check_lost(layout, rows.data, set(engine.dtype.names or ()))
        return engine, result

    def check_stages(self, rows: Rows) -> None:
        """Raises HalError(UNSUPPORTED) for a profile with a stage that we know and the running engine was built
        without; one that nobody knows is the engine's to refuse."""
        if rows.row.LAYOUT.table.name != "profile_stage":
            return
        ours = {stage.name for stage in self.schema.stages} - set(self.stages)
        for row, name in enumerate(rows.data["stage"].tolist()):
            stage = name.decode("ascii", "replace")
            if stage in ours:
                raise HalError(
                    ErrorKind.UNSUPPORTED,
                    "table profile_stage",
                    field="stage",
                    limit="one of " + ", ".join(self.stages[1:]),
                    got=stage,
                    fix=f"Write stage.c of stage {stage}, build the engine with it and restart it.",
                    table="profile_stage",
                    row=row,
                    row_id=int(rows.data["id"][row]),
                )

    def _check_lost(self, layout: Layout, data: np.ndarray[Any, Any], kept: set[str]) -> None:
        for slot in layout.slots:
            if slot.is_padding or slot.field is None or slot.name in kept:
                continue
            wanted = None
            if slot.field.default is not REQUIRED:
                value, length = _default(slot.field.type, slot.field.default)
                wanted = length if slot.name != slot.field.name else value
            differs = np.ones(len(data), bool) if wanted is None else data[slot.name] != wanted
            if differs.ndim > 1:
                differs = differs.any(axis=1)
            if differs.any():
                raise HalError(
                    ErrorKind.UNSUPPORTED,
                    f"table {layout.table.name}",
                    field=slot.name,
                    table=layout.table.name,
                    row=int(np.flatnonzero(differs)[0]),
                    fix="The running engine doesn't know this field: restart it to use it.",
                )

    def from_engine(self, table: int, action: int, data: bytes, count: int) -> tuple[str, np.ndarray[Any, Any]] | None:
        """(row class name, rows in our form) of a section; None for a row class we don't know."""
        engine = self.by_number.get((table, action))
        if engine is None or engine.name not in self.schema.rows:
            return None
        theirs = np.frombuffer(data, engine.dtype, count)
        layout = self.schema.rows[engine.name]
        if engine.dtype == layout.dtype:
            return engine.name, theirs
        ours = np.zeros(count, layout.dtype)
        for slot in layout.slots:
            if slot.is_padding:
                continue
            if slot.name in (theirs.dtype.names or ()):
                ours[slot.name] = theirs[slot.name]
            elif slot.field is not None and slot.field.default is not REQUIRED:
                value, length = _default(slot.field.type, slot.field.default)
                ours[slot.name] = value if slot.name == slot.field.name else length
        return engine.name, ours


def _engine_row(table: int, place: int, action: dict[str, Any]) -> EngineRow:
    names, formats, offsets = [], [], []
    defaults: dict[str, Any] = {}
    types = {one["name"]: _TYPES[one["type"]] for one in action["fields"]}
    for one in action["fields"]:
        names.append(one["name"])
        formats.append(types[one["name"]].numpy)
        offsets.append(one["offset"])
        if "default" in one:
            base = one["name"].removesuffix("_len")
            if base != one["name"] and types.get(base) is Type.PREFIX:
                defaults[one["name"]] = _default(Type.PREFIX, one["default"])[1]
            else:
                defaults[one["name"]] = _default(types[one["name"]], one["default"])[0]
    dtype = np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": action["size"]})
    return EngineRow(table, place, action["row"], dtype, defaults)
