"""A schema as text and back, with all that declarations say, and the row classes of stages that aren't installed here.

What a card shows of a stage needs no code of it: names, types and meanings are enough. The greeting of an engine says
less (`Schema.to_json`): what is needed to speak to it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import make_dataclass
from functools import partial
from typing import Any, ClassVar

from hal.errors import ErrorKind, HalError
from hal.packet.schema.declare import REQUIRED, Action, Field, Match, Reason, StageSchema, Table, Type
from hal.packet.schema.layout import Layout, layout
from hal.packet.schema.registry import Schema
from hal.packet.schema.rows import Row

_TYPES = {type_.text: type_ for type_ in Type}


def to_text(schema: Schema) -> str:
    """The schema as JSON."""
    return json.dumps([_stage_dict(stage) for stage in schema.stages], separators=(",", ":"))


def from_text(text: str) -> Schema:
    """What `to_text` made a text of. Raises HalError(CORRUPT) for what isn't that."""
    with _corrupt():
        return Schema(tuple(_stage(data) for data in json.loads(text)))


def made_classes(schema: Schema, known: Mapping[str, type[Row]]) -> dict[str, type[Row]]:
    """Row class name -> a class, for the rows of a schema that are not among those known. Raises HalError(CORRUPT)
    where no class can be made of a row: two fields of one name, a keyword for a name."""
    with _corrupt():
        return {
            action.row: _class(table, action)
            for table in schema.tables
            for action in table.actions
            if action.row not in known
        }


@contextmanager
def _corrupt() -> Iterator[None]:
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise HalError(ErrorKind.CORRUPT, "schema of the card", got=f"{type(error).__name__}: {error}",
                       fix="Use the dsn of the version that the card runs.") from error  # fmt: skip


def _class(table: Table, action: Action) -> type[Row]:
    fields = [(field.name, Any) for field in table.fields(action)]
    space = {"LAYOUT": layout(table, action), "__annotations__": {"LAYOUT": ClassVar[Layout]}, "__doc__": action.doc}
    return make_dataclass(action.row, fields, bases=(Row,), namespace=space, frozen=True, kw_only=True)


def _stage_dict(stage: StageSchema) -> dict[str, Any]:
    return {
        "name": stage.name,
        "doc": stage.doc,
        "tables": [_table_dict(table) for table in stage.tables],
        "reasons": [{"name": reason.name, "doc": reason.doc} for reason in stage.reasons],
    }


def _table_dict(table: Table) -> dict[str, Any]:
    return {
        "name": table.name,
        "doc": table.doc,
        "capacity": table.capacity,
        "match": table.match.value,
        "counts": table.counts,
        "key": [_field_dict(field) for field in table.key],
        "actions": [
            {"row": action.row, "doc": action.doc, "fields": [_field_dict(field) for field in action.fields]}
            for action in table.actions
        ],
    }


def _field_dict(field: Field) -> dict[str, Any]:
    return {
        "name": field.name,
        "type": field.type.text,
        "doc": field.doc,
        "ref": field.ref,
        "optional": field.optional,
        "low": field.low,
        "high": field.high,
        "enum": field.enum,
        **({} if field.default is REQUIRED else {"default": field.default}),
    }


def _stage(data: Mapping[str, Any]) -> StageSchema:
    return StageSchema(
        name=_text(data["name"]),
        doc=_text(data["doc"]),
        tables=tuple(_table(table) for table in data["tables"]),
        reasons=tuple(Reason(_text(reason["name"]), _text(reason["doc"])) for reason in data["reasons"]),
    )


def _table(data: Mapping[str, Any]) -> Table:
    actions = tuple(
        Action(_identifier(action["row"]), _text(action["doc"]), tuple(_field(field) for field in action["fields"]))
        for action in data["actions"]
    )
    return Table(
        name=_text(data["name"]),
        doc=_text(data["doc"]),
        capacity=int(data["capacity"]),
        actions=actions,
        key=tuple(_field(field) for field in data["key"]),
        match=Match(data["match"]),
        counts=bool(data["counts"]),
    )


def _field(data: Mapping[str, Any]) -> Field:
    if not isinstance(data.get("default", ""), str | int):
        raise TypeError(f"{data['default']!r} where a default belongs")
    make = partial(Field, default=data["default"]) if "default" in data else Field
    return make(
        _identifier(data["name"]),
        _TYPES[data["type"]],
        _text(data["doc"]),
        ref=_text(data["ref"]),
        optional=bool(data["optional"]),
        low=int(data["low"]),
        high=None if data["high"] is None else int(data["high"]),
        enum=tuple((_text(name), int(number)) for name, number in data["enum"]),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} where a text belongs")
    return value


def _identifier(value: object) -> str:
    """A name that classes and their fields may have."""
    text = _text(value)
    if not text.isidentifier():
        raise ValueError(f"{text!r} is no identifier")
    return text
