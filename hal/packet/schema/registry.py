"""Which stages there are, and the one schema that they and the frame make together.

Stages are found as entry points of the group `dsn.stages` (ours too) and in folders given by `--with DIR`;
each is a package with `schema.SCHEMA`. Numbers (table, action, reason, stage) are positions in this schema;
between processes everything is spoken by name, with the greeting's schema as the dictionary.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import entry_points
from typing import Any

from hal.errors import ErrorKind, HalError
from hal.packet.schema.declare import REQUIRED, Action, Reason, StageSchema, Table
from hal.packet.schema.layout import Layout, layout

OWN_STAGES = ("antispoof", "firewall", "bridge", "route")


@dataclass(frozen=True)
class Schema:
    """All tables, rows and reasons of a set of stages; `stages[0]` is the frame."""

    stages: tuple[StageSchema, ...]

    @cached_property
    def tables(self) -> tuple[Table, ...]:
        return tuple(table for stage in self.stages for table in stage.tables)

    @cached_property
    def table_numbers(self) -> dict[str, int]:
        return {table.name: number for number, table in enumerate(self.tables)}

    @cached_property
    def rows(self) -> dict[str, Layout]:
        """Row class name -> its layout."""
        return {action.row: layout(table, action) for table in self.tables for action in table.actions}

    @cached_property
    def reasons(self) -> tuple[Reason, ...]:
        return tuple(reason for stage in self.stages for reason in stage.reasons)

    @cached_property
    def reason_numbers(self) -> dict[str, int]:
        return {reason.name: number for number, reason in enumerate(self.reasons)}

    def table(self, name: str) -> Table:
        """Raises HalError(INVALID) for a table that is not declared."""
        if name not in self.table_numbers:
            raise HalError(ErrorKind.INVALID, f"table {name}", limit="one of " + ", ".join(self.table_numbers))
        return self.tables[self.table_numbers[name]]

    def to_dict(self) -> dict[str, Any]:
        """The schema as plain data: what the greeting carries, and what a stranger's agent reads."""
        return {
            "version": 1,
            "stages": [
                {
                    "name": stage.name,
                    "tables": [_table_dict(table) for table in stage.tables],
                    "reasons": [reason.name for reason in stage.reasons],
                }
                for stage in self.stages
            ],
        }

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), separators=(",", ":"))


def _table_dict(table: Table) -> dict[str, Any]:
    def action_dict(action: Action) -> dict[str, Any]:
        form = layout(table, action)
        return {
            "row": action.row,
            "size": form.size,
            "key_end": form.key_end,
            "fields": [
                {
                    "name": slot.name,
                    "type": slot.type.text,
                    "offset": slot.offset,
                    **({"ref": slot.field.ref} if slot.field and slot.field.ref else {}),
                    **({"default": slot.field.default} if slot.field and slot.field.default is not REQUIRED else {}),
                }
                for slot in form.slots
                if not slot.is_padding
            ],
        }

    return {
        "name": table.name,
        "match": table.match.value,
        "capacity": table.capacity,
        **({"counts": True} if table.counts else {}),
        "actions": [action_dict(action) for action in table.actions],
    }


def load_stage(package: str) -> StageSchema:
    """The schema of the stage in this Python package."""
    schema = importlib.import_module(package + ".schema").SCHEMA
    if not isinstance(schema, StageSchema):
        raise HalError(ErrorKind.INVALID, f"stage {package}", field="schema.SCHEMA", limit="a StageSchema")
    return schema


def own_packages() -> tuple[str, ...]:
    """The packages of the frame and of our own stages, in the order of their numbers."""
    return ("hal.packet.frame", *(f"hal.packet.stages.{name}" for name in OWN_STAGES))


_known: set[str] = set()


def make_known(package: str) -> None:
    """Have a stage found in this process as an entry point would have it found: one in a folder that isn't installed.

    Raises:
        HalError: INVALID for what is no stage, or can't be imported.
    """
    try:
        load_stage(package)
    except (ImportError, AttributeError, SyntaxError) as error:
        raise HalError(ErrorKind.INVALID, f"stage {package}", got=str(error), limit="a package with schema.SCHEMA",
                       fix="Begin one with dsn new stage NAME.") from error  # fmt: skip
    _known.add(package)


def found_packages(more: Iterable[str]) -> Iterator[str]:
    """The packages of the frame, our stages, those installed or made known, and `more`, each once."""
    own = own_packages()
    yield from own
    found = {point.value for point in entry_points(group="dsn.stages")} | _known | set(more)
    yield from sorted(found - set(own))


def schema(more: Iterable[str] = (), own_only: bool = False) -> Schema:
    """The schema of the frame, our stages, those installed as entry points, and the packages in `more`.

    Raises:
        HalError: INVALID where two stages declare the same table, row or reason.
    """
    packages = own_packages() if own_only else tuple(found_packages(more))
    return _joined(tuple(load_stage(package) for package in packages))


@cache
def _joined(stages: tuple[StageSchema, ...]) -> Schema:
    """One for the same stages: what is derived from it is derived once."""
    result = Schema(stages)
    for what, names in (
        ("table", [table.name for table in result.tables]),
        ("row", [action.row for table in result.tables for action in table.actions]),
        ("reason", [reason.name for reason in result.reasons]),
        ("stage", [stage.name for stage in result.stages]),
    ):
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise HalError(ErrorKind.INVALID, f"{what} {twice[0]}", limit="declared once", fix="Rename one of the two.")
    return result
