"""From declarations to bytes: the wire form of every row.

A row is its 64-bit id, the key fields, then the action's fields, in declared order at natural alignment with
explicit padding (`_padN`, zero), its size a multiple of eight. Integers are in host order, addresses in network
order. The key is one run of bytes from offset 8, the same in all actions of a table.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from hal.later import Later
from hal.packet.schema.declare import Action, Field, Table, Type

if TYPE_CHECKING:
    import numpy as np
else:
    np = Later("numpy")


@dataclass(frozen=True)
class Slot:
    """One wire field: `field` is the declaration it comes from, None for id and padding."""

    name: str
    type: Type
    offset: int
    size: int
    field: Field | None = None

    @cached_property
    def is_padding(self) -> bool:
        return self.name.startswith("_pad")

    @cached_property
    def integer(self) -> np.dtype[Any] | None:
        """What its bytes are read as; None for padding, and for what has no number."""
        numbers = self.type in (Type.U8, Type.U16, Type.U32, Type.U64, Type.ID) and not self.is_padding
        return np.dtype(self.type.numpy) if numbers else None

    @cached_property
    def takes_all(self) -> bool:
        """Whether any bytes are a value of it by themselves."""
        if self.is_padding or self.name == "id":
            return False
        if self.field is None or self.type in (Type.MAC, Type.ADDRESS, Type.PREFIX, Type.KEY128):
            return True
        return self.type is not Type.NAME and not self.field.enum and self.field.limit == (0, (1 << 8 * self.size) - 1)


@dataclass(frozen=True)
class Layout:
    """Where the fields of one action's row are; `key_end` is the offset behind the key, padding included."""

    table: Table
    action: Action
    slots: tuple[Slot, ...]
    key_end: int
    size: int

    def __hash__(self) -> int:
        return hash(self.action)

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """The numpy dtype of one row; padding is left out by name but kept in offsets and itemsize."""
        shown = [slot for slot in self.slots if not slot.is_padding]
        return np.dtype(
            {
                "names": [slot.name for slot in shown],
                "formats": [slot.type.numpy for slot in shown],
                "offsets": [slot.offset for slot in shown],
                "itemsize": self.size,
            }
        )


def _wire_fields(fields: tuple[Field, ...]) -> Iterator[tuple[str, Type, Field]]:
    for field in fields:
        yield field.name, field.type, field
        if field.type is Type.PREFIX:
            yield field.name + "_len", Type.U8, field


@cache
def layout(table: Table, action: Action) -> Layout:
    """The layout of a row of `action` in `table`."""
    slots = [Slot("id", Type.U64, 0, 8)]
    offset = 8
    pads = 0

    def pad_to(alignment: int) -> None:
        nonlocal offset, pads
        if gap := -offset % alignment:
            slots.append(Slot(f"_pad{pads}", Type.U8, offset, gap))
            offset += gap
            pads += 1

    def place(fields: tuple[Field, ...]) -> None:
        nonlocal offset
        for name, type_, field in _wire_fields(fields):
            pad_to(type_.align)
            slots.append(Slot(name, type_, offset, type_.size, field))
            offset += type_.size

    place(table.key)
    pad_to(8)
    key_end = offset
    place(action.fields)
    pad_to(8)
    return Layout(table, action, tuple(slots), key_end, offset)


def dtype(table: Table, action: Action) -> np.dtype[Any]:
    """The numpy dtype of a row of `action` in `table`."""
    return layout(table, action).dtype
