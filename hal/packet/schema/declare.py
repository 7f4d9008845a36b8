"""The language in which tables are declared: once, in Python, in the folder of the stage that reads them.

A declaration is data. From it come the numpy dtypes and C structs (`layout`), the typed rows (`rows`), the
engine's descriptors and the greeting's schema, so that no field is written down twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any


class Type(Enum):
    """The types a field may have. `value` is (name, numpy format, C type, bytes, alignment) of its wire form."""

    U8 = ("u8", "u1", "uint8_t", 1, 1)
    U16 = ("u16", "<u2", "uint16_t", 2, 2)
    U32 = ("u32", "<u4", "uint32_t", 4, 4)
    U64 = ("u64", "<u8", "uint64_t", 8, 8)
    ID = ("id", "<u8", "uint64_t", 8, 8)
    """A reference: the 64-bit id of a row of the table that `Field.ref` names."""
    MAC = ("mac", "(6,)u1", "uint8_t", 6, 1)
    """An IEEE 802 MAC address in network order."""
    ADDRESS = ("address", "(16,)u1", "uint8_t", 16, 8)
    """An IPv6 address in network order; an IPv4 one is mapped (::ffff:a.b.c.d, RFC 4291 2.5.5.2)."""
    PREFIX = ("prefix", "(16,)u1", "uint8_t", 16, 8)
    """An address as above, followed by the wire field NAME_len (U8, 0-128, an IPv4 /24 is /120)."""
    KEY128 = ("key128", "(16,)u1", "uint8_t", 16, 8)
    """Sixteen opaque bytes."""
    NAME = ("name", "S24", "char", 24, 8)
    """A name of up to 23 ASCII characters, padded with NUL."""

    @property
    def text(self) -> str:
        """The name by which the greeting's schema calls it."""
        return self.value[0]

    @property
    def numpy(self) -> str:
        return self.value[1]

    @property
    def c(self) -> str:
        """The C type of one element; `size` over the element's own size is their number."""
        return self.value[2]

    @property
    def size(self) -> int:
        return self.value[3]

    @property
    def align(self) -> int:
        return self.value[4]


class Match(Enum):
    """How the table's key is looked up."""

    EXACT = "exact"
    """All key fields equal."""
    LPM = "lpm"
    """All key fields but the last equal, the last one (a PREFIX) the longest that covers the address."""
    PRIORITY = "priority"
    """The first key field equal (an ID), the others cover the packet; lowest `priority` wins, then the lowest id."""


REQUIRED = object()

NONE_ID = (1 << 64) - 1
"""The value of an optional reference that refers to nothing; every other 64-bit value is an id."""


@dataclass(frozen=True)
class Field:
    """One declared field.

    Args:
        name: as users write it.
        type: see `Type`.
        doc: one sentence, with the unit or the source of the meaning.
        ref: for ID: the table whose ids it holds.
        optional: for ID: NONE_ID means none.
        low, high: inclusive limits of an integer.
        enum: an integer's names, {name: number}; text is accepted for it and shown.
        default: a value for rows that don't give the field; REQUIRED where there is none.
    """

    name: str
    type: Type
    doc: str
    ref: str = ""
    optional: bool = False
    low: int = 0
    high: int | None = None
    enum: tuple[tuple[str, int], ...] = ()
    default: Any = REQUIRED

    @property
    def limit(self) -> tuple[int, int]:
        """Inclusive limits, with the type's own where none are declared."""
        if self.type is Type.PREFIX:
            return (0, 128)
        return (self.low, self.high if self.high is not None else (1 << (8 * self.type.size)) - 1)


@dataclass(frozen=True)
class Action:
    """What an entry does: a row class of its own with the key's fields and these."""

    row: str
    doc: str
    fields: tuple[Field, ...] = ()

    def __hash__(self) -> int:
        """Of the name alone, as a table's: layouts are looked up by them all the time."""
        return hash(self.row)


@dataclass(frozen=True)
class Table:
    """A declared table.

    Args:
        name: as the contract speaks it, unique among all stages.
        doc: what an entry is.
        capacity: how many entries fit unless `load` says otherwise.
        match: how it is looked up.
        key: the fields whose values are unique together (EXACT, LPM) or matched (PRIORITY); empty: only the id.
        counts: whether its rows count what they decide: hits, and the packets and bytes of connections that they let
            through. Some memory an entry and worker; for tables whose rows a stage names as what decided.
        actions: at least one. All actions of a table share capacity, ids and key.
    """

    name: str
    doc: str
    capacity: int
    actions: tuple[Action, ...]
    key: tuple[Field, ...] = ()
    match: Match = Match.EXACT
    counts: bool = False

    def __hash__(self) -> int:
        return hash(self.name)

    def fields(self, action: Action) -> Iterator[Field]:
        """The declared fields of a row of `action`, in order, without the id that each row begins with."""
        yield from self.key
        yield from action.fields


@dataclass(frozen=True)
class Reason:
    """Why a packet is dropped. `name` is unique among all stages."""

    name: str
    doc: str


@dataclass(frozen=True)
class StageSchema:
    """What a stage declares. The frame's own tables and reasons are declared in the same form.

    Args:
        name: the folder's name.
        doc: what the stage decides, in a sentence.
        tables: its tables.
        reasons: its drop reasons.
    """

    name: str
    doc: str
    tables: tuple[Table, ...] = ()
    reasons: tuple[Reason, ...] = ()


def u8(name: str, doc: str, **more: Any) -> Field:
    return Field(name, Type.U8, doc, **more)


def u16(name: str, doc: str, **more: Any) -> Field:
    return Field(name, Type.U16, doc, **more)


def u32(name: str, doc: str, **more: Any) -> Field:
    return Field(name, Type.U32, doc, **more)


def u64(name: str, doc: str, **more: Any) -> Field:
    return Field(name, Type.U64, doc, **more)


def ref(name: str, table: str, doc: str, **more: Any) -> Field:
    """A reference to a row of `table`; `optional=True` allows NONE_ID."""
    return Field(name, Type.ID, doc, ref=table, high=NONE_ID if more.get("optional") else NONE_ID - 1, **more)


def mac(name: str, doc: str, **more: Any) -> Field:
    return Field(name, Type.MAC, doc, **more)


def address(name: str, doc: str, **more: Any) -> Field:
    return Field(name, Type.ADDRESS, doc, **more)


def prefix(name: str, doc: str, **more: Any) -> Field:
    return Field(name, Type.PREFIX, doc, **more)


def choice(name: str, doc: str, names: dict[str, int], **more: Any) -> Field:
    numbers = names.values()
    return Field(name, Type.U8, doc, enum=tuple(names.items()), low=min(numbers), high=max(numbers), **more)
