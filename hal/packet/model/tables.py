"""The tables of one generation: immutable, looked up as declared.

A commit makes new `TableVersion`s of what it touches and leaves the old ones as they are, so that a staged commit, a
trace and a packet each keep seeing the generation they began with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from hal.packet.model.rows import Entry, Prefix, decode, key_form, masked
from hal.packet.schema.declare import Match, Table
from hal.packet.schema.registry import Schema
from hal.packet.schema.rows import MAPPED

IPV4_LENGTH = 96
"""Prefixes at least this long, in the mapped range, are IPv4 prefixes."""


class Record(NamedTuple):
    """A row as it is kept: the number of its action, its bytes, the generation that last changed it, and the one that
    put it in: a row taken out and put in again under the same id is another one."""

    action: int
    data: bytes
    generation: int
    born: int


class TableVersion:
    """One table of one generation. Whoever holds it may rely on its never changing once it is in `Tables`."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.rows: dict[int, Record] = {}
        self.keys: dict[bytes, int] = {}
        self.lengths: Counter[int] = Counter()
        self.references: Counter[int] = Counter()
        self._indexes: dict[tuple[str, ...], dict[tuple[Any, ...], tuple[Entry, ...]]] = {}

    def copy(self) -> TableVersion:
        new = TableVersion(self.table)
        new.rows = self.rows.copy()
        new.keys = self.keys.copy()
        new.lengths = self.lengths.copy()
        new.references = self.references.copy()
        return new

    def entry(self, identity: int) -> Entry | None:
        record = self.rows.get(identity)
        return decode(self.table, record.action, record.data) if record else None

    def entries(self) -> Iterator[Entry]:
        """All entries by ascending id."""
        for identity in sorted(self.rows):
            record = self.rows[identity]
            yield decode(self.table, record.action, record.data)

    def by_key(self, key: bytes) -> Entry | None:
        identity = self.keys.get(key)
        return None if identity is None else self.entry(identity)

    def index(self, fields: tuple[str, ...]) -> dict[tuple[Any, ...], tuple[Entry, ...]]:
        """Entries by the values of these fields, made when first asked for."""
        if fields not in self._indexes:
            found: dict[tuple[Any, ...], list[Entry]] = {}
            for entry in self.entries():
                found.setdefault(tuple(getattr(entry, field) for field in fields), []).append(entry)
            self._indexes[fields] = {values: tuple(entries) for values, entries in found.items()}
        return self._indexes[fields]


class Tables:
    """All tables of one generation, as stages see them. Methods raise KeyError for a table that isn't declared."""

    def __init__(self, schema: Schema, generation: int, versions: Mapping[str, TableVersion]) -> None:
        self.schema = schema
        self.generation = generation
        self.versions = versions

    def __deepcopy__(self, _memo: dict[int, Any]) -> Tables:
        return self

    def get(self, table: str, identity: int) -> Entry | None:
        """The row with this id."""
        return self.versions[table].entry(identity)

    def born(self, table: str, identity: int) -> int:
        """The generation that put the row in; 0: there is none."""
        record = self.versions[table].rows.get(identity)
        return record.born if record else 0

    def exact(self, table: str, *key: Any) -> Entry | None:
        """The row of an EXACT or LPM table with these key fields: ints, bytes, and `Prefix` for prefixes."""
        version = self.versions[table]
        flat: list[Any] = []
        for value in key:
            flat += value if isinstance(value, Prefix) else [value]
        return version.by_key(key_form(version.table).pack(*flat))

    def longest(self, table: str, *key: Any) -> Entry | None:
        """The row of an LPM table with these key fields whose prefix is the longest that covers the address, which
        is the last argument. An IPv4 address is covered by IPv4 prefixes alone (::/0 is an IPv6 route)."""
        version = self.versions[table]
        *first, address = key
        shortest = IPV4_LENGTH if address.startswith(MAPPED) else 0
        for length in sorted(version.lengths, reverse=True):
            if length < shortest:
                break
            form = key_form(version.table)
            if entry := version.by_key(form.pack(*first, masked(address, length), length)):
                return entry
        return None

    def ordered(self, table: str, group: int) -> tuple[Entry, ...]:
        """The rows of a PRIORITY table whose first key field is `group`, by priority, then id."""
        version = self.versions[table]
        first = version.table.key[0].name
        return tuple(sorted(version.index((first,)).get((group,), ()), key=lambda entry: (entry.priority, entry.id)))

    def select(self, table: str, **fields: Any) -> tuple[Entry, ...]:
        """All rows with these values (enumerations by name), by ascending id."""
        return self.versions[table].index(tuple(fields)).get(tuple(fields.values()), ())


def is_unique(table: Table) -> bool:
    """True if no two rows may have the same key."""
    return bool(table.key) and table.match is not Match.PRIORITY
