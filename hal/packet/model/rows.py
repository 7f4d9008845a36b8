"""Rows of a table as the twin reads them: bytes in the wire form, decoded when somebody looks."""

from __future__ import annotations

from functools import cache, lru_cache
from struct import Struct
from typing import Any, NamedTuple

from hal.packet.schema.declare import Field, Table, Type
from hal.packet.schema.layout import Layout, Slot, layout

_CODES = {Type.U8: "B", Type.U16: "H", Type.U32: "I", Type.U64: "Q", Type.ID: "Q"}


class Prefix(NamedTuple):
    """A prefix: 16 bytes in network order (IPv4 mapped) and a length of 0-128."""

    address: bytes
    length: int

    def covers(self, address: bytes) -> bool:
        """True if the first `length` bits of `address` are this prefix's. ::/0 covers every address, IPv4 too."""
        return masked(address, self.length) == self.address


def masked(address: bytes, length: int) -> bytes:
    """`address` with all bits beyond `length` cleared."""
    return (int.from_bytes(address, "big") >> (128 - length) << (128 - length)).to_bytes(16, "big")


class Entry:
    """One row, read-only. Its fields are attributes: integers and ids as int, enumerations by name, MACs and
    addresses as bytes, prefixes as `Prefix`, names as str."""

    __slots__ = ("_fields", "id", "row", "table")

    def __init__(self, table: str, row: str, identity: int, fields: dict[str, Any]) -> None:
        self.table = table
        self.row = row
        self.id = identity
        self._fields = fields

    def __getattr__(self, name: str) -> Any:
        try:
            return self._fields[name]
        except KeyError:
            raise AttributeError(f"a {self.row} has no field {name}") from None

    def __deepcopy__(self, _memo: dict[int, Any]) -> Entry:
        return self

    def __repr__(self) -> str:
        return f"{self.row}(id={self.id}, {self._fields})"


def _code(slot: Slot) -> str:
    if slot.is_padding:
        return f"{slot.size}x"
    return _CODES.get(slot.type, f"{slot.size}s")


@cache
def _form(form: Layout) -> Struct:
    return Struct("<" + "".join(_code(slot) for slot in form.slots))


@cache
def key_form(table: Table) -> Struct:
    """Packs the wire values of a key (a prefix is two: address and length) into the bytes 8..key_end of a row."""
    form = layout(table, table.actions[0])
    return Struct("<" + "".join(_code(slot) for slot in form.slots if 8 <= slot.offset < form.key_end))


def _value(field: Field, raw: Any) -> Any:
    if field.enum:
        return {number: name for name, number in field.enum}[raw]
    if field.type is Type.NAME:
        return raw.rstrip(b"\0").decode("ascii")
    return raw


@lru_cache(maxsize=1 << 17)
def decode(table: Table, action: int, record: bytes) -> Entry:
    """The entry that the bytes of a row (checked before) hold."""
    form = layout(table, table.actions[action])
    slots = [slot for slot in form.slots if not slot.is_padding]
    raw = dict(zip((slot.name for slot in slots), _form(form).unpack(record), strict=True))
    fields: dict[str, Any] = {}
    for field in table.fields(table.actions[action]):
        if field.type is Type.PREFIX:
            fields[field.name] = Prefix(raw[field.name], raw[field.name + "_len"])
        else:
            fields[field.name] = _value(field, raw[field.name])
    return Entry(table.name, form.action.row, raw["id"], fields)
