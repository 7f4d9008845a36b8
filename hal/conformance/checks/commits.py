"""What a commit does: one step, one generation, tables as they were asked for."""

from __future__ import annotations

import itertools
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from hal.conformance.bench import OTHER, Bench, delete, insert, modify
from hal.conformance.check import Level, check, equal, expect
from hal.conformance.samples import Samples
from hal.packet.contract import Name, Outcome, OutcomeKind
from hal.packet.frame._generated import Vrf
from hal.packet.schema.rows import Row
from hal.packet.stages.bridge._generated import LocalAddress, Subnet
from hal.packet.stages.route._generated import BlackholeRoute, NextHop, Route, SubnetRoute

MAC = "02:00:00:00:aa:01"
AT_ONCE = 200
"""Commits of each of two writers."""
TURN_SECONDS = 1e-5
"""How often threads of a card within this process change, while they commit: what isn't locked is found."""


@check(Level.TABLES, "The tables of one generation: table -> its rows")
def a_fresh_card_is_empty(bench: Bench) -> None:
    """Before the first commit: generation 0, no tag, no rows, no names."""
    now = bench.card().state()
    equal((now.generation, now.tag, dict(now.tables), dict(now.names)), (0, "", {}, {}), "a fresh card")


@check(
    Level.TABLES,
    "`commit` is the one required primitive",
    "operations: what changes.",
    "Rows whose ids and keys are new to the table.",
    "Ids (uint64 array of shape (n,)) to take out of a table.",
)
def rows_come_back_as_committed(bench: Bench) -> None:
    """Every kind of row comes back byte for byte, and goes when it is deleted."""
    card = bench.card()
    samples = Samples(card.schema, card.classes, next(iter(card.capabilities.stages), ""))
    for table in samples.tables():
        for action in table.actions:
            fresh = bench.card()
            parents = [one for rows in samples.parents(table, range(100, 101)) for one in insert(rows)]
            row = samples.rows(table, range(100, 101), action)
            fresh.commit(parents, insert(row))
            held = fresh.state().tables[table.name]
            equal(held.get(100), (action.row, row.data.tobytes()), f"the {action.row} that was committed")
            fresh.commit(delete(table.name, 100))
            expect(100 not in fresh.state().tables.get(table.name, {}), f"the {action.row} is still there")
            bench.close()


@check(Level.TABLES, "all fields, the key and the action included, become these.")
def modify_replaces_the_row(bench: Bench) -> None:
    """Fields, key and action of a modified row are the new ones, and its old key is free."""
    card = bench.card()
    card.commit(
        insert(
            Vrf(id=1),
            NextHop(id=1, port=0, address="192.0.2.1"),
            Subnet(id=1, vrf=1, mac=MAC),
            Route(id=1, vrf=1, prefix="10.0.0.0/8", next_hop=1),
        )
    )
    new: list[Row] = [SubnetRoute(id=1, vrf=1, prefix="10.1.0.0/16", subnet=1), NextHop(id=1, port=3, address="::9")]
    card.commit(modify(*new))
    now = card.backend.snapshot()
    equal((now.rows("route"), now.rows("next_hop")), ([new[0]], [new[1]]), "the modified rows")
    card.commit(insert(BlackholeRoute(id=2, vrf=1, prefix="10.0.0.0/8")))
    equal(card.ids("route"), [1, 2], "routes, the old key used again")


@check(Level.TABLES, "return its generation (ascending by one)")
def generations_ascend_by_one(bench: Bench) -> None:
    """1, 2, 3 ..., whoever commits."""
    card = bench.shared()
    found = [card.commit(insert(Vrf(id=n)), owner="dsnd") for n in (1, 2)]
    found.append(card.commit(insert(NextHop(id=1, port=0, address="192.0.2.1")), owner=OTHER))
    found.append(card.commit(delete("vrf", 1)))
    equal(found, [1, 2, 3, 4], "generations")


@check(Level.TABLES, "return its generation (ascending by one)", "COMMITTED as `generation`")
def writers_take_turns(bench: Bench) -> None:
    """Two writers that commit at once, each in a thread of its own: every commit has a generation of its own, its rows
    and its outcome."""
    card = bench.card()
    begin = threading.Barrier(2)

    def commit(numbers: range) -> dict[int, int]:
        writer = card.backend.writer("dsnd")
        begin.wait()
        return {number: writer.commit(insert(Vrf(id=number)), transaction=number) for number in numbers}

    before = sys.getswitchinterval()
    sys.setswitchinterval(TURN_SECONDS)
    try:
        with ThreadPoolExecutor(2) as pool:
            one, two = pool.map(commit, (range(1, AT_ONCE + 1), range(AT_ONCE + 1, 2 * AT_ONCE + 1)))
    finally:
        sys.setswitchinterval(before)
    made = {**one, **two}
    equal(sorted(made.values()), list(range(1, 2 * AT_ONCE + 1)), "generations that two writers were told")
    equal(card.ids("vrf"), sorted(made), "rows that two writers were told to be in")
    for number, generation in made.items():
        outcome = Outcome(OutcomeKind.COMMITTED, card.generation(generation))
        equal(card.writer().outcome(number), outcome, f"outcome of {number}")


@check(Level.TABLES, "return its generation (ascending by one) when packets see it.")
def commit_returns_when_it_is_made(bench: Bench) -> None:
    """What commit returned is the generation that is read afterwards."""
    card = bench.card()
    for number in range(1, 20):
        made = card.commit(insert(Vrf(id=number)))
        now = card.backend.snapshot(["vrf"])
        equal((now.generation, len(now.rows("vrf"))), (made, number), "generation and rows read after a commit")


@check(Level.TABLES, "An empty commit is a generation too.")
def an_empty_commit_is_a_generation(bench: Bench) -> None:
    """Nothing to do, and yet a generation with a tag."""
    card = bench.card()
    first = card.commit(insert(Vrf(id=1)), tag="one")
    equal(card.commit(tag="two"), first + 1, "generation of an empty commit")
    now = card.state()
    equal((now.generation, now.tag, sorted(now.tables["vrf"])), (first + 1, "two", [1]), "after an empty commit")


@check(Level.TABLES, "Their order means nothing: only the tables before and after count.")
def order_means_nothing(bench: Bench) -> None:
    """A commit's operations in any order come to the same tables."""
    before = insert(Vrf(id=1), Subnet(id=1, vrf=1, mac=MAC), LocalAddress(id=1, vrf=1, address="10.0.0.1", subnet=1))
    operations = [
        delete("local_address", 1)[0],
        delete("subnet", 1)[0],
        insert(Subnet(id=2, vrf=2, mac=MAC))[0],
        insert(Vrf(id=2))[0],
        insert(LocalAddress(id=2, vrf=1, address="10.0.0.1", subnet=2))[0],
    ]
    found = []
    for order in itertools.islice(itertools.permutations(operations), 0, 120, 17):
        card = bench.card()
        card.commit(before)
        card.commit(list(order))
        found.append(card.state().tables)
        bench.close()
    equal(sorted(found[0]["subnet"]), [2], "subnets")
    expect(all(tables == found[0] for tables in found), "another order of the same operations made other tables")


@check(Level.TABLES, "only the tables before and after count.")
def keys_are_swapped_in_one_commit(bench: Bench) -> None:
    """Two rows exchange their keys; a key passes from a deleted row to a new one."""
    card = bench.card()
    card.commit(
        insert(
            Vrf(id=1),
            BlackholeRoute(id=1, vrf=1, prefix="10.0.0.0/8"),
            BlackholeRoute(id=2, vrf=1, prefix="172.16.0.0/12"),
        )
    )
    swapped = [
        BlackholeRoute(id=1, vrf=1, prefix="172.16.0.0/12"),
        BlackholeRoute(id=2, vrf=1, prefix="10.0.0.0/8"),
    ]
    card.commit(modify(*swapped))
    equal(card.backend.snapshot().rows("route"), swapped, "routes that swapped keys")
    card.commit(insert(BlackholeRoute(id=3, vrf=1, prefix="10.0.0.0/8")), delete("route", 2))
    equal(card.ids("route"), [1, 3], "routes, after a key went from one to another")


@check(Level.TABLES, "only the tables before and after count.")
def references_may_come_together(bench: Bench) -> None:
    """A row and the row it refers to come in one commit, and go in one commit."""
    card = bench.card()
    card.commit(insert(Vrf(id=1)), insert(Subnet(id=1, vrf=1, mac=MAC)))
    card.commit(delete("subnet", 1), delete("vrf", 1))
    equal(card.state().tables, {}, "tables after both were deleted")
    card.commit(insert(Vrf(id=1), Vrf(id=2), Subnet(id=1, vrf=1, mac=MAC)))
    card.commit(modify(Subnet(id=1, vrf=2, mac=MAC)), delete("vrf", 1))
    equal(card.ids("vrf"), [2], "VRFs after the reference was moved away")


@check(Level.TABLES, "tag: opaque text (at most 127 bytes) kept with the generation.")
def tags_are_kept(bench: Bench) -> None:
    """The tag of the last commit is read with its tables, up to 127 bytes of any text."""
    card = bench.card()
    for tag in ("sha256:0123", "", "x" * 127, "é" * 63):
        card.commit(tag=tag)
        equal(card.backend.snapshot().tag, tag, "tag")


@check(
    Level.TABLES,
    "names: what people call entries.",
    "What a person calls an entry: `text` (at most 63 bytes), from `file` (its last 127 bytes) at `line`.",
)
def names_are_kept(bench: Bench) -> None:
    """Names are read with the tables, replaced by later ones; of a file's name the end is kept."""
    card = bench.card()
    long = "/".join(["folder"] * 30) + "/intent.yaml"
    names = [Name("vrf", 1, "red", "intent.yaml", 7), Name("vrf", 2, "n" * 63, long, 9)]
    card.commit(insert(Vrf(id=1), Vrf(id=2)), names=names)
    wanted = {("vrf", 1): names[0], ("vrf", 2): Name("vrf", 2, "n" * 63, long[-127:], 9)}
    equal(card.state().names, wanted, "names")
    wanted["vrf", 1] = Name("vrf", 1, "crimson")
    card.commit(names=[wanted["vrf", 1]])
    equal(card.state().names, wanted, "names, one of them changed")


@check(Level.TABLES, "names: what people call entries.")
def names_go_with_their_rows(bench: Bench) -> None:
    """A deleted row's name is gone, for a later row with that id too; a modified row's stays."""
    card = bench.card()
    card.commit(insert(Vrf(id=1), Vrf(id=2)), names=[Name("vrf", 1, "red"), Name("vrf", 2, "blue")])
    card.commit(delete("vrf", 1), modify(Vrf(id=2, punt_port=9)))
    card.commit(insert(Vrf(id=1)))
    equal(card.state().names, {("vrf", 2): Name("vrf", 2, "blue")}, "names")
