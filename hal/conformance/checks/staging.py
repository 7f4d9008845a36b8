"""Staged commits: checked and built, then made or dropped."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

from hal.conformance.bench import OTHER, Bench, Card, insert, modify
from hal.conformance.check import Level, check, equal, expect, raises
from hal.errors import ErrorKind, HalError
from hal.packet.contract import Name, Staged
from hal.packet.frame._generated import Vrf
from hal.packet.stages.route._generated import NextHop

ANY = tuple(ErrorKind)
MILLISECOND = 1_000_000
SECOND = 1000 * MILLISECOND
NEEDS = ("stage",)


def _hop(number: int) -> NextHop:
    return NextHop(id=number, port=0, address=f"::{number}")


def _vrf(card: Card, number: int, **more: Any) -> Staged:
    return card.stage(insert(Vrf(id=number)), **more)


@check(Level.STATELESS, "Check and build a commit without making it.", needs=NEEDS)
def staging_changes_nothing(bench: Bench) -> None:
    """A staged commit isn't seen in tables, generation, tag or names."""
    card = bench.card()
    card.commit(insert(Vrf(id=1)), tag="before")
    before = card.state()
    card.stage(insert(Vrf(id=2)), modify(Vrf(id=1, punt_port=3)), tag="staged", names=[Name("vrf", 1, "red")])
    equal(card.state(), before, "tables while a commit is staged")


@check(
    Level.STATELESS,
    "A commit that is checked and built but not made",
    "Commit it; raises STALE if its owner's tables changed since it was staged.",
    needs=NEEDS,
)
def a_staged_commit_is_made(bench: Bench) -> None:
    """Made, it is the next generation, with its rows, tag and names."""
    card = bench.card()
    card.commit(insert(Vrf(id=1)), tag="before")
    name = Name("vrf", 2, "blue", "intent.yaml", 3)
    staged = card.stage(insert(Vrf(id=2)), modify(Vrf(id=1, punt_port=3)), tag="staged", names=[name])
    equal(staged.make(), 2, "generation of a staged commit that was made")
    now = card.state()
    equal((now.generation, now.tag, now.names), (2, "staged", {("vrf", 2): name}), "generation, tag and names")
    equal(card.backend.snapshot().rows("vrf"), [Vrf(id=1, punt_port=3), Vrf(id=2)], "rows")


@check(Level.STATELESS, "A commit that is checked and built but not made", needs=NEEDS)
def a_staged_commit_is_dropped(bench: Bench) -> None:
    """Dropped, it is gone: it can't be made, and another can be staged."""
    card = bench.card()
    staged = _vrf(card, 1)
    staged.drop()
    card.refuses(ANY, "making a staged commit that was dropped", staged.make)
    equal(_vrf(card, 2).make(), 1, "generation of the commit staged after it")


@check(Level.STATELESS, "A commit that is checked and built but not made", needs=NEEDS)
def a_staged_commit_is_made_once(bench: Bench) -> None:
    """Made a second time, it is refused; another can be staged."""
    card = bench.card()
    staged = _vrf(card, 1)
    staged.make()
    card.refuses(ANY, "making a staged commit a second time", staged.make)
    _vrf(card, 2).drop()


@check(
    Level.STATELESS,
    "Raises as `commit`; BUSY while another of this owner is staged, and then says whose and for how long.",
    needs=NEEDS,
)
def only_one_is_staged(bench: Bench) -> None:
    """BUSY while another of this owner is staged, whichever of its writers staged it: whose, and until when."""
    card = bench.card()
    staged = card.backend.writer("dsnd").stage(insert(Vrf(id=1)), lease_ns=30 * SECOND)
    error = card.refuses(ErrorKind.BUSY, "a second staged commit", lambda: _vrf(card, 2))
    told = re.search(r"\bdsnd\b.* (\d+\.\d) s\b", str(error))
    expect(told is not None and 15 < float(told[1]) <= 30, f"whose it is and for how long, not only: {error}")
    staged.make()
    _vrf(card, 2).make()


@check(Level.STATELESS, "What other owners stage keeps nobody from staging or committing.", needs=NEEDS)
def each_owner_stages_its_own(bench: Bench) -> None:
    """Two owners' staged commits stand beside each other; each is made, or dropped, without the other, and both are
    seen in the end."""
    card = bench.shared()
    first, second = _vrf(card, 1), card.stage(insert(_hop(1)), owner=OTHER)
    equal((card.ids("vrf"), card.ids("next_hop")), ([], []), "rows while two commits are staged")
    equal((first.make(), second.make()), (1, 2), "generations of two staged commits")
    first, second = _vrf(card, 2), card.stage(insert(_hop(2)), owner=OTHER)
    first.drop()
    equal(second.make(), 3, "generation of a staged commit beside one that was dropped")
    equal((card.ids("vrf"), card.ids("next_hop")), ([1], [1, 2]), "rows of both owners")


@check(Level.STATELESS, "Raises as `commit`", needs=NEEDS)
def staging_refuses_as_commit_does(bench: Bench) -> None:
    """What commit would refuse isn't staged: INVALID, DENIED, FULL, STALE; nothing stays behind."""
    card = bench.shared(capacities={"vrf": 2})
    card.commit(insert(Vrf(id=1)))
    card.commit(insert(Vrf(id=2)))
    denied = insert(NextHop(id=1, port=0, address="::1"))
    card.refuses(ErrorKind.INVALID, "staging an id that exists", lambda: _vrf(card, 1))
    card.refuses(ErrorKind.DENIED, "staging into another's table", lambda: card.stage(denied))
    card.refuses(ErrorKind.FULL, "staging an entry too many", lambda: _vrf(card, 3))
    stale = modify(Vrf(id=1, punt_port=1))
    card.refuses(ErrorKind.STALE, "staging on an old base", lambda: card.stage(stale, base=card.generation(1)))
    equal(card.stage(stale, base=card.generation(2)).make(), 3, "generation of what was staged then")


@check(Level.STATELESS, "raises STALE if its owner's tables changed since it was staged.", needs=NEEDS)
def a_staged_commit_may_be_stale(bench: Bench) -> None:
    """STALE where its owner committed in between."""
    card = bench.card()
    staged = _vrf(card, 1)
    card.commit(insert(Vrf(id=2)))
    card.refuses(ErrorKind.STALE, "making a staged commit after another of this owner", staged.make)


@check(Level.STATELESS, "raises STALE if its owner's tables changed since it was staged.", needs=NEEDS)
def others_make_nothing_staged_stale(bench: Bench) -> None:
    """Another owner's commit in between is kept, and the staged one is made on top of it."""
    card = bench.shared()
    staged = _vrf(card, 1)
    card.commit(insert(NextHop(id=1, port=0, address="::1")), owner=OTHER)
    equal(staged.make(), 2, "generation of a staged commit after another owner's")
    equal((card.ids("vrf"), card.ids("next_hop")), ([1], [1]), "rows of both owners")


@check(Level.STATELESS, "Dropped at its lease's end or with its connection.", needs=NEEDS)
def a_lease_ends(bench: Bench) -> None:
    """Not before its end, but then: it can't be made, and another can be staged."""
    card = bench.card()
    kept = _vrf(card, 1, lease_ns=60 * SECOND)
    card.advance(20 * MILLISECOND)
    equal(kept.make(), 1, "generation of a commit that was staged for a minute")
    staged = _vrf(card, 2, lease_ns=50 * MILLISECOND)
    card.advance(100 * MILLISECOND)
    card.refuses(ANY, "making a staged commit after its lease", staged.make)
    equal(_vrf(card, 3).make(), 2, "generation of the commit staged after it")


@check(
    Level.STATELESS,
    "A lease of more than 60 s is INVALID: an owner's writers wait for the one of them that staged.",
    needs=NEEDS,
)
def a_lease_has_a_limit(bench: Bench) -> None:
    """A minute is taken; what is longer is refused, and nothing is staged by it."""
    card = bench.card()
    for lease in (60 * SECOND + 1, (1 << 64) - 1):
        card.refuses(ErrorKind.INVALID, f"staging for {lease} ns", partial(_vrf, card, 1, lease_ns=lease))
    equal(_vrf(card, 1, lease_ns=60 * SECOND).make(), 1, "generation of a commit that was staged for a minute")


@check(Level.STATELESS, "Dropped at its lease's end or with its connection.", needs=NEEDS)
def a_staged_commit_goes_with_its_connection(bench: Bench) -> None:
    """Where a writer has a connection, closing it drops what it staged."""
    card = bench.card()
    writer = card.backend.writer("dsnd")
    staged = writer.stage(insert(Vrf(id=1)))
    close = getattr(writer, "close", None)
    if close is None:
        return
    close()
    for _ in range(50):
        try:
            card.stage(insert(Vrf(id=2))).drop()
            break
        except HalError as error:
            if error.kind is not ErrorKind.BUSY:
                raise
            card.advance(10 * MILLISECOND)
    equal(_vrf(card, 3).make(), 1, "generation of what was staged after the connection had gone")
    raises(ANY, staged.make, "making what was staged over a closed connection")
