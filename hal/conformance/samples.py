"""Valid rows of any declared table, made from its declaration alone: what checks of commits need, for strangers'
tables as for ours."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from hal.packet.schema.declare import Action, Field, Table, Type
from hal.packet.schema.registry import Schema
from hal.packet.schema.rows import Row, Rows

__all__ = ["Samples"]

NET = int(ipaddress.IPv6Address("2001:db8::"))


class Samples:
    """Makes rows. The number of a row is its id, and what makes its key one of its own.

    Args:
        schema: all tables.
        classes: row class name -> class.
        stage: the name of a stage with code, for fields that name one; "" where there is none.
    """

    def __init__(self, schema: Schema, classes: Mapping[str, type[Row]], stage: str) -> None:
        self.schema = schema
        self.classes = classes
        self.stage = stage

    def tables(self) -> tuple[Table, ...]:
        """Tables that rows can be made of: where no stage has code, none that names one."""
        return tuple(
            table
            for table in self.schema.tables
            if self.stage or all(f.type is not Type.NAME for action in table.actions for f in table.fields(action))
        )

    def rows(self, table: Table, numbers: range, action: Action | None = None, **fields: Any) -> Rows:
        """Rows with these ids; `fields` replaces columns."""
        action = action or table.actions[0]
        columns: dict[str, Any] = {"id": list(numbers)}
        for field in table.fields(action):
            in_key = field in table.key
            columns[field.name] = [self._value(field, table, n if in_key else 1) for n in numbers]
        return self.classes[action.row].array(**{**columns, **fields})

    def parents(self, table: Table, numbers: range) -> list[Rows]:
        """Rows that `rows(table, numbers)` refer to, and those that they refer to."""
        wanted: dict[str, int] = {}

        def want(child: Table, last: int) -> None:
            for action in child.actions:
                for field in child.fields(action):
                    if not field.ref:
                        continue
                    count = last if self._only_references(child) and field in child.key else 1
                    if wanted.get(field.ref, 0) < count:
                        wanted[field.ref] = count
                        want(self.schema.table(field.ref), count)

        want(table, numbers[-1])
        return [self.rows(self.schema.table(name), range(1, count + 1)) for name, count in wanted.items()]

    @staticmethod
    def _only_references(table: Table) -> bool:
        """True if only references tell its keys apart."""
        return all(field.ref for field in table.key)

    def _value(self, field: Field, table: Table, number: int) -> Any:
        low, high = field.limit
        match field.type:
            case Type.ID:
                return number if field in table.key and self._only_references(table) else 1
            case Type.MAC:
                return bytes((2, 0, *number.to_bytes(4, "big")))
            case Type.ADDRESS:
                return str(ipaddress.IPv6Address(NET + number))
            case Type.PREFIX:
                return f"{ipaddress.IPv6Address(NET + number)}/128"
            case Type.KEY128:
                return number.to_bytes(16, "big")
            case Type.NAME:
                return self.stage
            case _ if field.enum:
                return field.enum[number % len(field.enum)][1]
            case _:
                return low + number % (high - low + 1)
