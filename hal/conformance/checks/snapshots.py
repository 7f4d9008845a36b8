"""Reading the tables of one generation."""

from __future__ import annotations

import itertools
import threading
import time

from hal.conformance.bench import PAUSE_SECONDS, Bench, delete, insert, modify
from hal.conformance.check import Level, check, equal, expect
from hal.packet.frame._generated import Vrf
from hal.packet.schema.rows import Row
from hal.packet.stages.bridge._generated import Subnet
from hal.packet.stages.route._generated import BlackholeRoute, NextHop, Route

MAC = "02:00:00:00:aa:01"
READINGS = 40


@check(Level.TABLES, "table -> its rows, one `Rows` an action present, ordered by id.")
def rows_are_ordered(bench: Bench) -> None:
    """An array for each action that is present, each by ascending id, whatever the order of coming."""
    card = bench.card()
    card.commit(insert(Vrf(id=1), NextHop(id=1, port=0, address="::1")))
    for number in (9, 3, 200, 1, 77):
        card.commit(
            insert(
                Route(id=2 * number, vrf=1, prefix=f"10.{number}.0.0/16", next_hop=1),
                BlackholeRoute(id=2 * number + 1, vrf=1, prefix=f"11.{number}.0.0/16"),
            )
        )
    parts = {rows.row.__name__: rows.data["id"].tolist() for rows in card.backend.snapshot().tables["route"]}
    wanted = [1, 3, 9, 77, 200]
    equal(parts, {"Route": [2 * n for n in wanted], "BlackholeRoute": [2 * n + 1 for n in wanted]}, "ids of routes")


@check(Level.TABLES, "The typed rows of one table, ordered by id.")
def typed_rows_are_ordered(bench: Bench) -> None:
    """Rows of all actions of a table, as values, by ascending id; none for a table without rows."""
    card = bench.card()
    rows: list[Row] = [
        BlackholeRoute(id=7, vrf=1, prefix="10.0.0.0/8"),
        Route(id=5, vrf=1, prefix="0.0.0.0/0", next_hop=1),
        BlackholeRoute(id=2, vrf=1, prefix="2001:db8::/32"),
    ]
    card.commit(insert(Vrf(id=1), NextHop(id=1, port=0, address="::1"), *rows))
    equal(card.backend.snapshot().rows("route"), sorted(rows, key=lambda row: row.id), "rows of table route")
    equal(card.backend.snapshot().rows("fdb"), [], "rows of table fdb")


@check(Level.TABLES, "The tables of one generation: table -> its rows")
def a_part_may_be_read(bench: Bench) -> None:
    """Asked for some tables, a snapshot has those and no others; asked for all, all that have rows."""
    card = bench.card()
    made = card.commit(insert(Vrf(id=1), Subnet(id=1, vrf=1, mac=MAC), NextHop(id=1, port=0, address="::1")), tag="t")
    part = card.backend.snapshot(["vrf", "next_hop"])
    equal({name for name, rows in part.tables.items() if rows}, {"vrf", "next_hop"}, "tables asked for")
    expect("subnet" not in part.tables, "a table that wasn't asked for was read")
    equal((part.generation, part.tag), (made, "t"), "generation and tag of a part")
    whole = card.backend.snapshot()
    equal({name for name, rows in whole.tables.items() if rows}, {"vrf", "subnet", "next_hop"}, "all tables")


@check(Level.TABLES, "The tables of one generation")
def a_snapshot_stays(bench: Bench) -> None:
    """What was read once doesn't change with later commits."""
    card = bench.card()
    card.commit(insert(Vrf(id=1), Vrf(id=2, punt_port=3)), tag="before")
    old = card.backend.snapshot()
    card.commit(modify(Vrf(id=1, punt_port=4)), delete("vrf", 2), insert(Vrf(id=3)), tag="after")
    equal((old.generation, old.tag), (1, "before"), "generation and tag of an older snapshot")
    equal(old.rows("vrf"), [Vrf(id=1), Vrf(id=2, punt_port=3)], "rows of an older snapshot")


@check(Level.TABLES, "The tables of one generation", "Apply all operations in one step")
def a_snapshot_is_of_one_generation(bench: Bench) -> None:
    """Read while another commits, tables, generation and tag are of one commit, never of two."""
    card = bench.card()
    card.commit(insert(Vrf(id=1, punt_port=1), NextHop(id=1, port=1, address="::1")), tag="1")
    stop = threading.Event()

    def change() -> None:
        # A pause after each: two threads that never rest take turns of the interpreter, ten times slower for both.
        for turn in itertools.count(2):
            if stop.wait(PAUSE_SECONDS):
                return
            card.commit(modify(Vrf(id=1, punt_port=turn), NextHop(id=1, port=turn, address="::1")), tag=str(turn))

    writing = threading.Thread(target=change)
    writing.start()
    mixed = []
    try:
        for _ in range(READINGS):
            time.sleep(PAUSE_SECONDS)
            now = card.backend.snapshot()
            (vrf,), (hop,) = now.rows("vrf"), now.rows("next_hop")
            seen = (now.generation, int(now.tag), vrf.to_dict()["punt_port"], hop.to_dict()["port"])
            if len(set(seen)) > 1:
                mixed.append(seen)
    finally:
        stop.set()
        writing.join()
    equal(mixed[:1], [], "snapshots that mix commits (generation, tag, vrf, next hop)")


@check(
    Level.TABLES,
    "left_out: table -> how many of its rows are missing here, being of a form that this program has no class for.",
)
def nothing_known_is_left_out(bench: Bench) -> None:
    """Of tables that the program has classes for all rows are read, and none is told to be missing."""
    card = bench.card()
    card.commit(insert(Vrf(id=1), Vrf(id=2)))
    now = card.backend.snapshot()
    equal((len(now.rows("vrf")), dict(now.left_out)), (2, {}), "VRFs that were read, and rows left out")
