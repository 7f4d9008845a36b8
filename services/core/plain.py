"""Values as JSON holds them, everywhere the same: names_like_this, ids as text, counts as numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hal.packet.schema.declare import NONE_ID

if TYPE_CHECKING:
    from google.protobuf.message import Message


def id_text(value: int) -> str | None:
    """An entry's or connection's id: text, since JSON's numbers hold 53 bits for many readers. None for none."""
    return None if value == NONE_ID else str(value)


def plain(message: Message) -> dict[str, Any]:
    """A status message by its fields' names, those that are zero too. 64-bit counts stay numbers, where proto3's own
    JSON makes texts of them; `id` and what ends in `_id` is an id."""
    return {field.name: _value(field.name, getattr(message, field.name)) for field in message.DESCRIPTOR.fields}


def _value(name: str, value: Any) -> Any:
    if hasattr(value, "DESCRIPTOR"):
        return plain(value)
    if isinstance(value, int) and (name == "id" or name.endswith("_id")):
        return id_text(value)
    if isinstance(value, str | bool | int | float):
        return value
    if hasattr(value, "items"):
        return {str(key): _value(name, one) for key, one in value.items()}
    return [_value(name, one) for one in value]
