"""What a commit refuses as INVALID or DENIED: each cause with its place, and nothing changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from hal.conformance.bench import OTHER, Bench, Card, delete, insert, modify
from hal.conformance.check import Level, check
from hal.conformance.samples import Samples
from hal.errors import ErrorKind
from hal.packet.contract import Delete, Insert, Name, Operation
from hal.packet.frame._generated import Profile, ProfilePunt, Vrf
from hal.packet.schema.declare import NONE_ID, Type
from hal.packet.schema.layout import Slot
from hal.packet.schema.rows import Rows
from hal.packet.stages.bridge._generated import FdbEntry, LocalAddress, Subnet
from hal.packet.stages.firewall._generated import FirewallPolicy, FirewallRule
from hal.packet.stages.route._generated import BlackholeRoute, NextHop, Route

INVALID = ErrorKind.INVALID
MAC = "02:00:00:00:aa:01"
NOTHING_CHANGED = "after all of these nothing changed."


def _kinds_of_rows(card: Card) -> Iterator[tuple[Rows, list[Operation]]]:
    """Three good rows (ids 1 to 3) of each kind, and what they refer to."""
    samples = Samples(card.schema, card.classes, next(iter(card.capabilities.stages), ""))
    for table in samples.tables():
        parents = [one for rows in samples.parents(table, range(1, 4)) for one in insert(rows)]
        for action in table.actions:
            yield samples.rows(table, range(1, 4), action), parents


def _spoilt(rows: Rows, place: int, at: int, raw: bytes) -> list[Operation]:
    """These rows as bytes, with some of row `place` replaced."""
    data = bytearray(rows.data.tobytes())
    start = place * rows.data.dtype.itemsize + at
    data[start : start + len(raw)] = raw
    return [Insert(Rows(rows.row, np.frombuffer(bytes(data), rows.data.dtype)))]


def _copied(rows: Rows) -> np.ndarray[Any, np.dtype[Any]]:
    """A copy that may be changed. Through bytes: numpy copies the fields and leaves the padding to chance."""
    return np.frombuffer(bytearray(rows.data.tobytes()), rows.data.dtype)


def _refuse_fields(bench: Bench, what: str, spoil: str) -> None:
    """Each value that `_wrong_values` finds for `spoil` in a slot is refused, in a commit whose other rows are good."""
    card = bench.card()
    for rows, parents in _kinds_of_rows(card):
        form = rows.row.LAYOUT
        if form.table.capacity < len(rows):
            rows = Rows(rows.row, rows.data[:1])
        place = len(rows) - 1
        for slot in form.slots:
            for raw, field in _wrong_values(slot, spoil):
                known = {} if slot.name == "id" else {"row_id": place + 1}
                card.refuses_commit(
                    INVALID,
                    f"a {form.action.row} whose {slot.name} is {raw.hex()} ({what})",
                    parents,
                    _spoilt(rows, place, slot.offset, raw),
                    place={"table": form.table.name, "row": place, **known, **field},
                )


def _wrong_values(slot: Slot, spoil: str) -> Iterator[tuple[bytes, dict[str, str]]]:
    """Bytes that a slot must not have, and what the error says of the field."""
    field = slot.field
    named = {"field": slot.name}
    if spoil == "padding" and slot.is_padding:
        yield b"\1" + bytes(slot.size - 1), {}
        yield bytes(slot.size - 1) + b"\x80", {}
    if slot.is_padding:
        return
    if spoil == "id" and slot.name == "id":
        yield NONE_ID.to_bytes(8, "little"), named
    if field is None:
        return
    is_length = slot.name != field.name
    if spoil == "length" and is_length:
        yield bytes((129,)), named
        yield bytes((255,)), named
    if spoil == "prefix" and field.type is Type.PREFIX and not is_length:
        yield b"\x20\x01" + bytes(13) + b"\1", named
    if spoil == "name" and field.type is Type.NAME:
        for text in (
            bytes(24),
            b"x" * 24,
            b"a\0b".ljust(24, b"\0"),
            b"a\x07".ljust(24, b"\0"),
            b"\xc3".ljust(24, b"\0"),
        ):
            yield text, named
    if spoil == "range" and slot.type in (Type.U8, Type.U16, Type.U32, Type.U64):
        low, high = field.limit
        top = 1 << 8 * slot.size
        outside = [low - 1, high + 1, top - 1]
        for number in sorted({one for one in outside if 0 <= one < top and not (low <= one <= high)}):
            if not is_length:
                yield number.to_bytes(slot.size, "little"), named


@check(Level.TABLES, "INVALID (a field out of range", NOTHING_CHANGED)
def fields_out_of_range(bench: Bench) -> None:
    """Integers and enumerations outside their limits, in every field of every kind of row."""
    _refuse_fields(bench, "out of range", "range")


@check(Level.TABLES, "INVALID (a field out of range", NOTHING_CHANGED)
def names_in_fields(bench: Bench) -> None:
    """Names that are empty, unprintable, or not padded with NUL."""
    _refuse_fields(bench, "no name", "name")


@check(Level.TABLES, "non-zero padding", NOTHING_CHANGED)
def padding_is_zero(bench: Bench) -> None:
    """Padding between fields and behind them is zero."""
    _refuse_fields(bench, "padding", "padding")


@check(Level.TABLES, "bits beyond a prefix's length", NOTHING_CHANGED)
def bits_beyond_the_length(bench: Bench) -> None:
    """A prefix has no bits beyond its length: an IPv4 /24 is not /120's."""
    card = bench.card()
    for rows, parents in _kinds_of_rows(card):
        for slot in rows.row.LAYOUT.slots:
            if slot.field is None or slot.field.type is not Type.PREFIX or slot.name != slot.field.name:
                continue
            data = _copied(rows)
            data[slot.name][1] = np.frombuffer(bytes.fromhex("00000000000000000000ffff0a000001"), np.uint8)
            data[slot.name + "_len"][1] = 120
            card.refuses_commit(
                INVALID,
                f"a {rows.row.__name__} with {slot.name} 10.0.0.1/24",
                parents,
                [Insert(Rows(rows.row, data))],
                place={"table": rows.row.LAYOUT.table.name, "row": 1, "row_id": 2, "field": slot.name},
            )


@check(Level.TABLES, "INVALID (a field out of range", NOTHING_CHANGED)
def prefix_lengths(bench: Bench) -> None:
    """A prefix is at most 128 long."""
    _refuse_fields(bench, "a prefix length beyond 128", "length")


@check(Level.TABLES, "INVALID (a field out of range", NOTHING_CHANGED)
def ids_are_not_the_none_id(bench: Bench) -> None:
    """2^64-1 is no id: it is what an optional reference says for none."""
    _refuse_fields(bench, "the id that means none", "id")


@check(Level.TABLES, "an id that exists (Insert)", NOTHING_CHANGED)
def insert_of_an_id_that_exists(bench: Bench) -> None:
    """An inserted row's id is new to its table."""
    card = bench.card()
    card.commit(insert(Vrf(id=1)))
    place = {"table": "vrf", "row": 1, "row_id": 1, "field": "id"}
    card.refuses_commit(INVALID, "an insert of an id that exists", insert(Vrf(id=2), Vrf(id=1)), place=place)


@check(Level.TABLES, "or doesn't (Modify, Delete)", "Rows whose ids are in the table", NOTHING_CHANGED)
def modify_of_an_id_that_does_not_exist(bench: Bench) -> None:
    """A modified row's id is in its table."""
    card = bench.card()
    card.commit(insert(Vrf(id=1)))
    place = {"table": "vrf", "row": 1, "row_id": 2, "field": "id"}
    wrong = modify(Vrf(id=1, punt_port=3), Vrf(id=2))
    card.refuses_commit(INVALID, "a modify of an id that isn't there", wrong, place=place)


@check(Level.TABLES, "or doesn't (Modify, Delete)", NOTHING_CHANGED)
def delete_of_an_id_that_does_not_exist(bench: Bench) -> None:
    """A deleted row's id is in its table."""
    card = bench.card()
    card.commit(insert(Vrf(id=1)))
    place = {"table": "vrf", "row": 1, "row_id": 2, "field": "id"}
    card.refuses_commit(INVALID, "a delete of an id that isn't there", delete("vrf", 1, 2), place=place)


@check(Level.TABLES, "two writes to one id", NOTHING_CHANGED)
def two_writes_to_one_id(bench: Bench) -> None:
    """One commit writes an id once, whatever the two writes are."""
    card = bench.card()
    card.commit(insert(Vrf(id=1), Vrf(id=2)))
    place = {"table": "vrf", "row_id": 1}
    twice: dict[str, list[Operation]] = {
        "modifies in one array": modify(Vrf(id=1, punt_port=3), Vrf(id=1, punt_port=4)),
        "modifies in two": modify(Vrf(id=1, punt_port=3)) + modify(Vrf(id=1, punt_port=4)),
        "writes, modify and delete,": modify(Vrf(id=1, punt_port=3)) + delete("vrf", 1),
        "writes, delete and insert,": delete("vrf", 1) + insert(Vrf(id=1, punt_port=3)),
        "deletes": delete("vrf", 1, 1),
    }
    for words, operations in twice.items():
        card.refuses_commit(INVALID, f"two {words} of one id", operations, place=place)
    inserts = insert(Vrf(id=5)) + insert(Vrf(id=5))
    card.refuses_commit(INVALID, "two inserts of one id", inserts, place={"table": "vrf", "row_id": 5})


@check(Level.TABLES, "a key used twice", NOTHING_CHANGED)
def a_key_used_twice(bench: Bench) -> None:
    """Keys are unique after the commit: against rows that are there, and within it, over all actions of a table."""
    card = bench.card()
    card.commit(
        insert(
            Vrf(id=1),
            Subnet(id=1, vrf=1, mac=MAC),
            NextHop(id=1, port=0, address="::1"),
            BlackholeRoute(id=1, vrf=1, prefix="10.0.0.0/8"),
            BlackholeRoute(id=2, vrf=1, prefix="11.0.0.0/8"),
            LocalAddress(id=1, vrf=1, address="10.0.0.1", subnet=1),
        )
    )
    place = {"table": "route", "row": 0, "row_id": 3}
    route = Route(id=3, vrf=1, prefix="10.0.0.0/8", next_hop=1)
    card.refuses_commit(INVALID, "a key that another row has", insert(route), place=place)
    twin = modify(BlackholeRoute(id=2, vrf=1, prefix="10.0.0.0/8"))
    card.refuses_commit(INVALID, "a modify to another row's key", twin, place={"table": "route", "row_id": 2})
    both = insert(BlackholeRoute(id=3, vrf=1, prefix="12.0.0.0/8"), BlackholeRoute(id=4, vrf=1, prefix="12.0.0.0/8"))
    card.refuses_commit(INVALID, "a key twice in one commit", both, place={"table": "route"})
    address = insert(LocalAddress(id=2, vrf=1, address="10.0.0.1", subnet=1))
    card.refuses_commit(INVALID, "an exact key twice", address, place={"table": "local_address", "row_id": 2})


@check(Level.TABLES, "a key used twice")
def rules_may_share_a_key(bench: Bench) -> None:
    """Only tables that are looked up exactly or by longest prefix have unique keys; rules may be equal."""
    card = bench.card()
    rules = [FirewallRule(id=n, policy=1, priority=5, verdict="drop") for n in (1, 2)]
    card.commit(insert(FirewallPolicy(id=1), *rules))


@check(Level.TABLES, "a reference to nothing", NOTHING_CHANGED)
def a_reference_to_nothing(bench: Bench) -> None:
    """Each reference of each kind of row, to an id that isn't there; NONE_ID only where it is optional."""
    card = bench.card()
    for rows, parents in _kinds_of_rows(card):
        form = rows.row.LAYOUT
        for field in form.table.fields(form.action):
            if field.type is not Type.ID:
                continue
            for wrong in (77, *(() if field.optional else (NONE_ID,))):
                data = _copied(rows)
                data[field.name][1] = wrong
                card.refuses_commit(
                    INVALID,
                    f"a {form.action.row} whose {field.name} is {wrong}",
                    parents,
                    [Insert(Rows(rows.row, data))],
                    place={"table": form.table.name, "row": 1, "row_id": 2, "field": field.name},
                )


@check(Level.TABLES, "a reference to nothing")
def modify_to_a_reference_to_nothing(bench: Bench) -> None:
    """A modified row refers to what is there after the commit."""
    card = bench.card()
    card.commit(insert(Vrf(id=1), Vrf(id=2), Subnet(id=1, vrf=1, mac=MAC)))
    place = {"table": "subnet", "row": 0, "row_id": 1, "field": "vrf"}
    card.refuses_commit(
        INVALID, "a modify to a reference to nothing", modify(Subnet(id=1, vrf=7, mac=MAC)), place=place
    )
    gone = modify(Subnet(id=1, vrf=2, mac=MAC)) + delete("vrf", 2)
    card.refuses_commit(INVALID, "a reference to what this commit takes out", gone)


@check(Level.TABLES, "a row taken out that others refer to", NOTHING_CHANGED)
def delete_of_a_row_that_is_referred_to(bench: Bench) -> None:
    """A row that others refer to stays until they go or refer to another."""
    card = bench.card()
    card.commit(insert(Vrf(id=1), Subnet(id=1, vrf=1, mac=MAC), Subnet(id=2, vrf=1, mac=MAC)))
    place = {"table": "vrf", "row_id": 1}
    card.refuses_commit(INVALID, "a delete of a VRF that subnets refer to", delete("vrf", 1), place=place)
    one_left = delete("vrf", 1) + delete("subnet", 1)
    card.refuses_commit(INVALID, "a delete of a VRF that a subnet still refers to", one_left, place=place)


@check(Level.TABLES, "CORRUPT: after all of these nothing changed.")
def a_refused_commit_leaves_no_trace(bench: Bench) -> None:
    """Of a large commit with one bad row at its end nothing is applied, and no generation is used up."""
    card = bench.card()
    card.commit(insert(Vrf(id=1), Profile(id=1)), names=[Name("vrf", 1, "red")], tag="before")
    good = insert(*(Vrf(id=number) for number in range(2, 200)))
    more = insert(Subnet(id=1, vrf=5, mac=MAC), ProfilePunt(id=1, profile=1, protocol=17, port=179))
    bad = insert(FdbEntry(id=1, subnet=1, mac=MAC, vnic=99))
    change = modify(Vrf(id=1, punt_port=4))
    names = [Name("vrf", 1, "blue"), Name("vrf", 2, "green")]
    card.refuses_commit(INVALID, "a commit with one bad row of 201", good, more, change, bad, names=names, tag="after")
    card.commit(good, tag="again")


@check(Level.TABLES, "tag: opaque text (at most 127 bytes)", NOTHING_CHANGED)
def tags_too_long(bench: Bench) -> None:
    """A tag has at most 127 bytes: they count, not characters."""
    card = bench.card()
    card.refuses_commit(INVALID, "a tag of 128 bytes", insert(Vrf(id=1)), tag="x" * 128)
    card.refuses_commit(INVALID, "a tag of 64 characters and 128 bytes", insert(Vrf(id=1)), tag="é" * 64)


@check(Level.TABLES, "`text` (at most 63 bytes)", NOTHING_CHANGED)
def names_too_long(bench: Bench) -> None:
    """An entry's name has at most 63 bytes."""
    card = bench.card()
    row = insert(Vrf(id=1))
    card.refuses_commit(INVALID, "a name of 64 bytes", row, names=[Name("vrf", 1, "n" * 64)])
    card.refuses_commit(INVALID, "a name of 64 bytes in 32 characters", row, names=[Name("vrf", 1, "é" * 32)])


@check(Level.TABLES, "Where several things are wrong, any of them is told.", NOTHING_CHANGED)
def any_of_several_mistakes(bench: Bench) -> None:
    """A commit that is wrong three times is refused for one of them, and nothing of it is applied."""
    card = bench.shared()
    base = card.commit(insert(Vrf(id=1)))
    card.commit(insert(Vrf(id=2)))
    hop = insert(NextHop(id=1, port=0, address="::1"))
    kinds = (ErrorKind.DENIED, ErrorKind.STALE, INVALID)
    card.refuses_commit(kinds, "another's table, an old base and an id that exists", hop, insert(Vrf(id=1)), base=base)


@check(Level.TABLES, "names: what people call entries.", NOTHING_CHANGED)
def names_of_nothing(bench: Bench) -> None:
    """A name is of a row that is there after the commit."""
    card = bench.card()
    card.commit(insert(Vrf(id=1)))
    card.refuses_commit(INVALID, "a name of no row", names=[Name("vrf", 2, "red")])
    card.refuses_commit(INVALID, "a name of a row that goes", delete("vrf", 1), names=[Name("vrf", 1, "red")])


@check(Level.TABLES, "DENIED (another owner's table)", NOTHING_CHANGED)
def another_owners_table(bench: Bench) -> None:
    """Insert, modify and delete in a table of another owner are DENIED, with the rest of their commit."""
    card = bench.shared()
    hop = NextHop(id=1, port=0, address="::1")
    card.commit(insert(hop), owner=OTHER)
    card.commit(insert(Vrf(id=1)))
    for what, operations in (
        ("an insert", insert(NextHop(id=2, port=0, address="::2"))),
        ("a modify", modify(NextHop(id=1, port=0, address="::2"))),
        ("a delete", delete("next_hop", 1)),
        ("a delete of nothing", [Delete("next_hop", np.zeros(0, np.uint64))]),
    ):
        denied = f"{what} in another owner's table"
        place = {"table": "next_hop"}
        card.refuses_commit(ErrorKind.DENIED, denied, insert(Vrf(id=2)), operations, place=place)
    card.refuses_commit(ErrorKind.DENIED, "a row of dsnd's table", insert(Vrf(id=3)), owner=OTHER)


@check(Level.TABLES, "DENIED (another owner's table)", NOTHING_CHANGED)
def names_in_another_owners_table(bench: Bench) -> None:
    """Entries are named by the owner of their table."""
    card = bench.shared()
    card.commit(insert(NextHop(id=1, port=0, address="::1")), owner=OTHER, names=[Name("next_hop", 1, "mine")])
    stolen = [Name("next_hop", 1, "stolen")]
    card.refuses_commit(ErrorKind.DENIED, "a name of another owner's row", names=stolen)
