"""`hal.packet.derive` over this card: it needs nothing but commit and reading."""

from __future__ import annotations

from typing import Any

from hal.conformance.bench import OTHER, Bench, Card, insert
from hal.conformance.check import Level, check, equal
from hal.packet.contract import Generation, Writer
from hal.packet.derive import sync
from hal.packet.frame._generated import Vrf
from hal.packet.stages.bridge._generated import Subnet
from hal.packet.stages.route._generated import BlackholeRoute, NextHop, Route

MAC = "02:00:00:00:aa:01"
DERIVED = "`hal.packet.derive` builds `sync` and the rest from it and from reading."


def _tables(card: Card) -> dict[str, list[Any]]:
    now = card.backend.snapshot()
    return {table: now.rows(table) for table, parts in now.tables.items() if parts}


@check(Level.TABLES, DERIVED)
def sync_brings_tables_to_rows(bench: Bench) -> None:
    """Rows are added, changed and removed by one commit, until nothing is to do."""
    card = bench.card()
    first = [Vrf(id=1), Vrf(id=2), Subnet(id=1, vrf=2, mac=MAC)]
    done = sync(card.writer(), card.backend, *first, tag="first")
    equal((done.generation, dict(done.changes)), (1, {"vrf": (2, 0, 0), "subnet": (1, 0, 0)}), "the first sync")
    then = [Vrf(id=2, punt_port=4), Vrf(id=3), Subnet(id=1, vrf=3, mac=MAC)]
    done = sync(card.writer(), card.backend, *then, tag="then")
    equal((done.generation, dict(done.changes)), (2, {"vrf": (1, 1, 1), "subnet": (0, 1, 0)}), "the second sync")
    equal(_tables(card), {"vrf": then[:2], "subnet": then[2:]}, "tables")
    done = sync(card.writer(), card.backend, *then, tag="then")
    equal((done.generation, dict(done.changes)), (2, {}), "a sync with nothing to do")


@check(Level.TABLES, DERIVED)
def sync_changes_actions(bench: Bench) -> None:
    """A row of the same id with another action is a change, not one more and one less."""
    card = bench.card()
    parents = [Vrf(id=1), NextHop(id=1, port=0, address="::1")]
    card.commit(insert(*parents, Route(id=1, vrf=1, prefix="10.0.0.0/8", next_hop=1)))
    wanted = BlackholeRoute(id=1, vrf=1, prefix="10.0.0.0/8")
    done = sync(card.writer(), card.backend, wanted)
    equal(dict(done.changes), {"route": (0, 1, 0)}, "what the sync did")
    equal(_tables(card)["route"], [wanted], "routes")


class _Late:
    """A writer before whose first commits somebody of the same owner commits."""

    def __init__(self, card: Card) -> None:
        self._card = card
        self._writer = card.writer()
        self.turns = 3

    @property
    def owner(self) -> str:
        return self._writer.owner

    def commit(self, *operations: Any, **more: Any) -> Generation:
        if self.turns:
            self.turns -= 1
            self._card.commit(insert(Vrf(id=100 + self.turns)))
        return self._writer.commit(*operations, **more)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)


@check(Level.TABLES, DERIVED)
def sync_reads_again_after_stale(bench: Bench) -> None:
    """Where others were faster, sync reads again and comes to the same tables."""
    card = bench.card()
    late = _Late(card)
    writer: Writer = late
    sync(writer, card.backend, Vrf(id=1))
    equal((late.turns, _tables(card)), (0, {"vrf": [Vrf(id=1)]}), "turns left, and tables")


@check(Level.TABLES, DERIVED)
def sync_leaves_others_alone(bench: Bench) -> None:
    """It touches the tables that it is given rows of, and those named, and no others."""
    card = bench.shared()
    hop = NextHop(id=1, port=0, address="::1")
    card.commit(insert(hop), owner=OTHER)
    card.commit(insert(Vrf(id=1), Subnet(id=1, vrf=1, mac=MAC)))
    sync(card.writer(), card.backend, Vrf(id=1), Vrf(id=2))
    equal(_tables(card), {"next_hop": [hop], "vrf": [Vrf(id=1), Vrf(id=2)], "subnet": [Subnet(id=1, vrf=1, mac=MAC)]},
          "tables")  # fmt: skip
    sync(card.writer(), card.backend, Vrf(id=2), Vrf(id=3), tables=["subnet", "vrf"])
    equal(_tables(card), {"next_hop": [hop], "vrf": [Vrf(id=2), Vrf(id=3)]}, "tables, one of them named without a row")
