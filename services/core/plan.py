"""The plan: what all services' objects are as table entries. Pure: same objects and context, same entries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message

from hal.later import Later
from hal.packet.contract import Capabilities, Name
from hal.packet.frame._generated import Seed
from hal.packet.schema.registry import schema
from hal.packet.schema.rows import Row, Rows, as_rows
from hal.text import printable_line
from services.core.ids import Ids
from services.core.objects import NOWHERE, Object, Objects, Position, Problem

if TYPE_CHECKING:
    import numpy as np

    from services.core.service import Services
else:
    np = Later("numpy")


@dataclass(frozen=True)
class Port:
    """A port of the card: its number in rows, its device's MAC ("" if it isn't known), its longest IP packet."""

    number: int
    mac: str = ""
    mtu: int = 9216


@dataclass(frozen=True)
class Context:
    """What planning depends on besides the objects. A value.

    Args:
        ports: by name. A port called `punt-VRF` is the punt tap of that VRF, `spare-tap-N` one of any that needs it.
        seed: the card's secret, 16 bytes; b"" for none (offline).
        capacities: table -> entries that fit, where it isn't the declared capacity.
        installed: the card's tables as they are (`Snapshot.tables`): priorities of rules that stay are kept, and
            the taps that VRFs have.
        stages: the stages that profiles may name; () for those that are installed here.
        owners: table -> who else writes it by card.toml. Entries of it are nobody's here.
        connections: how many fit in all workers; 0: not known.
    """

    ports: Mapping[str, Port] = field(default_factory=dict)
    seed: bytes = b""
    capacities: Mapping[str, int] = field(default_factory=dict)
    installed: Mapping[str, tuple[Rows, ...]] = field(default_factory=dict)
    stages: tuple[str, ...] = ()
    owners: Mapping[str, str] = field(default_factory=dict)
    connections: int = 0
    ids: Ids = field(default_factory=Ids, compare=False)

    def capacity(self, table: str) -> int:
        """How many entries fit into a table."""
        return self.capacities.get(table, schema().table(table).capacity)


def card_ports(now: Capabilities) -> dict[str, Port]:
    """A running card's ports. They are the engine's own: one that was adopted was perhaps started otherwise."""
    configs = [port.config for port in now.ports]
    return {port.name: Port(port.number, port.mac, port.mtu) for port in configs}


def card_stages(now: Capabilities) -> tuple[str, ...]:
    """The stages that profiles of a running card may name."""
    return tuple(stage for stage in now.stages if stage != "frame")


@dataclass(frozen=True, slots=True)
class Origin:
    """Which object, and which part of it (a rule, an address), an entry comes from."""

    kind: str
    name: str
    part: str = ""


@dataclass
class Planned:
    """What one service's planner gives: rows, their names and origins, and what it finds doubtful. `beyond`: how many
    rows of a table it counted and didn't make, for the table is full without them."""

    rows: list[Row | Rows] = field(default_factory=list)
    names: list[Name] = field(default_factory=list)
    origins: dict[tuple[str, int], Origin] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    beyond: dict[str, int] = field(default_factory=dict)

    def add(self, row: Row, item: Object[Message] | None = None, text: str = "", path: str = "", part: str = "") -> int:
        """Add an entry that comes from `item`, called `text`, written at field `path`. Returns its id."""
        self.rows.append(row)
        self.origin(row.LAYOUT.table.name, row.id, item, text, path, part)
        return row.id

    def origin(
        self, table: str, row_id: int, item: Object[Message] | None, text: str = "", path: str = "", part: str = ""
    ) -> None:
        """Say where an entry comes from that went into `rows` as part of an array."""
        if item is None:
            return
        self.origins[table, row_id] = Origin(item.kind, item.name, part)
        if text:
            self.names.append(entry_name(table, row_id, text, item.at(path)))


def entry_name(table: str, row_id: int, text: str, at: Position = NOWHERE) -> Name:
    """A name cut to what the contract takes: 63 bytes of text, the last 127 of the file, no control characters."""
    said = printable_line(text).encode()[:63].decode(errors="ignore")
    return Name(table, row_id, said, _tail(printable_line(at.file), 127), at.line)


def _tail(text: str, most: int) -> str:
    return text.encode()[-most:].decode(errors="ignore")


@dataclass(frozen=True, eq=False)
class Plan:
    """The entries of all services.

    Args:
        tables: table -> its rows, one array an action.
        names: what people call entries.
        origins: (table, id) -> the object that it comes from. Entries that several share have that of the first.
        problems: what is doubtful, and tables that are too small (errors).
        beyond: table -> entries that weren't even made, for it is too small.
    """

    tables: Mapping[str, tuple[Rows, ...]]
    names: tuple[Name, ...]
    origins: Mapping[tuple[str, int], Origin]
    problems: tuple[Problem, ...] = ()
    beyond: Mapping[str, int] = field(default_factory=dict)

    @property
    def rows(self) -> list[Rows]:
        """All rows, for `sync`."""
        return [rows for parts in self.tables.values() for rows in parts]

    @cached_property
    def counts(self) -> dict[str, int]:
        """Table -> entries."""
        return {
            table: sum(len(rows) for rows in parts) + self.beyond.get(table, 0) for table, parts in self.tables.items()
        }

    @cached_property
    def by_object(self) -> dict[tuple[str, str], list[tuple[str, int, str]]]:
        """(kind, name) -> its entries as (table, id, part)."""
        result: dict[tuple[str, str], list[tuple[str, int, str]]] = {}
        for (table, row_id), origin in self.origins.items():
            result.setdefault((origin.kind, origin.name), []).append((table, row_id, origin.part))
        return result

    def entries(self, item: Object[Message], table: str = "") -> Iterator[tuple[str, int, str]]:
        """The entries of one object, in one table or all."""
        return (entry for entry in self.by_object.get(item.key, ()) if table in ("", entry[0]))


def by_table(rows: Iterable[Row | Rows]) -> dict[str, tuple[Rows, ...]]:
    """Rows by table, ordered by id within each array, as a snapshot has them."""
    result: dict[str, tuple[Rows, ...]] = {}
    for part in as_rows(rows):
        table = part.row.LAYOUT.table.name
        ordered = part.take(np.argsort(part.data["id"], kind="stable"))
        result[table] = (*result.get(table, ()), ordered)
    return result


def plan_all(objects: Objects, context: Context, services: Services) -> Plan:
    """Plan every service, in their order. The objects are checked ones: `load(...).require()`."""
    context = replace(context, ids=Ids())
    total = Planned()
    if context.seed:
        total.rows.append(Seed(id=context.ids("seed", "card"), value=context.seed))
    for service in services.members:
        planned = service.plan(objects, context)
        total.rows += planned.rows
        total.names += planned.names
        total.problems += planned.problems
        total.beyond |= planned.beyond
        for key, origin in planned.origins.items():
            total.origins.setdefault(key, origin)
    tables = by_table(total.rows)
    plan = Plan(tables, tuple(total.names), total.origins, beyond=total.beyond)
    full = (*_too_many(plan, context, objects), *_of_others(plan, context, objects))
    return replace(plan, problems=(*total.problems, *full))


def _of_others(plan: Plan, context: Context, objects: Objects) -> Iterator[Problem]:
    """A problem for each object that needs entries of a table which another writer was given."""
    found: dict[tuple[str, str], dict[str, None]] = {}
    for table, parts in plan.tables.items():
        if table not in context.owners:
            continue
        for row_id in (int(one) for rows in parts for one in rows.data["id"]):
            origin = plan.origins.get((table, row_id), Origin("", ""))
            found.setdefault((origin.kind, origin.name), {})[table] = None
    items = {item.key: item for item in objects}
    for key, tables in found.items():
        owned = ", ".join(f"{table} ({context.owners[table]})" for table in tables)
        message = f"it needs entries of tables that card.toml gives to others: {owned}"
        fix = "Take it out and have their owner write them, or take them out of [owners]."
        yield items[key].problem("", message, fix=fix) if key in items else Problem(NOWHERE, message, fix=fix)


def _too_many(plan: Plan, context: Context, objects: Objects) -> Iterator[Problem]:
    """A problem for each table that is too small, told at the object whose entries are the first that don't fit."""
    for table, count in plan.counts.items():
        capacity = context.capacity(table)
        if count <= capacity:
            continue
        origins = [origin for (where, _), origin in plan.origins.items() if where == table]
        first = origins[min(capacity, len(origins) - 1)] if origins else Origin("", "")
        item = next((one for one in objects if one.key == (first.kind, first.name)), None)
        message = f"the intent takes {count:,} entries of table {table}" + (", and here it is full" if item else "")
        fix = f"Ask for less, or raise capacities.{table} in card.toml; that counts from the next start on."
        limit = f"{capacity:,} entries"
        yield item.problem("", message, limit=limit, fix=fix) if item else Problem(NOWHERE, message, "", "", limit, fix)


def assumed_context(objects: Objects, **more: Any) -> Context:
    """A context for planning without a card: every port that an object names is there, numbered by name."""
    names = sorted(set(port_names(objects)))
    return Context(ports={name: Port(number) for number, name in enumerate(names)}, **more)


def port_names(objects: Objects) -> Iterator[str]:
    """The card's ports that objects name."""
    for item in objects:
        port = getattr(item.spec, "port", "")
        if isinstance(port, str) and port:
            yield port
