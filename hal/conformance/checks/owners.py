"""Whose tables changed since: `base` and `depends`, and what became of a transaction."""

from __future__ import annotations

import numpy as np

from hal.conformance.bench import OTHER, Bench, Card, delete, insert, modify
from hal.conformance.check import Level, check, equal, expect
from hal.errors import ErrorKind
from hal.packet.contract import Delete, Generation, Name, Outcome, OutcomeKind
from hal.packet.frame._generated import Vrf
from hal.packet.stages.route._generated import NextHop

STALE = ErrorKind.STALE
BASE = "STALE (this owner's tables, or a row in `depends`, changed since `base`"
OUTCOME = "What became of a transaction: COMMITTED as `generation`, REFUSED with `error` (its words), or UNKNOWN."
LAST = 1024


def _hop(number: int, port: int = 0) -> NextHop:
    return NextHop(id=number, port=port, address=f"::{number}")


@check(Level.TABLES, BASE, "base: the generation this was computed from, as `commit` or `snapshot` gave it")
def an_old_base_is_stale(bench: Bench) -> None:
    """STALE where this owner's tables changed since, whichever of them."""
    card = bench.card()
    base = card.commit(insert(Vrf(id=1)))
    card.commit(insert(_hop(1)))
    card.refuses_commit(STALE, "a commit from before this owner's last", insert(Vrf(id=2)), base=base)
    card.refuses_commit(STALE, "a commit from before the first", insert(Vrf(id=2)), base=card.generation(0))


@check(Level.TABLES, BASE, "base: the generation this was computed from, as `commit` or `snapshot` gave it")
def a_current_base_is_not_stale(bench: Bench) -> None:
    """The generation that is there is no stale base, from the first commit on."""
    card = bench.card()
    base = card.commit(insert(Vrf(id=1)), base=card.generation(0))
    base = card.commit(insert(Vrf(id=2)), base=base)
    equal(card.commit(delete("vrf", 1), base=base), 3, "generation of a third commit on a current base")


@check(Level.TABLES, BASE)
def a_base_is_judged_per_owner(bench: Bench) -> None:
    """Another owner's commits make no base stale."""
    card = bench.shared()
    base = card.commit(insert(Vrf(id=1)))
    for number in range(1, 5):
        card.commit(insert(_hop(number)), owner=OTHER)
    card.commit(insert(Vrf(id=2)), base=base)
    card.commit(insert(_hop(9)), owner=OTHER, base=card.generation(5))


@check(
    Level.TABLES,
    "or it is of another life of the card",
    "A card that was started anew knows nothing of before, and holds nothing of it.",
)
def a_base_of_another_life_is_stale(bench: Bench) -> None:
    """STALE where the base is a generation of a card before this one, though this one has come to the same number and
    knows nothing of what was committed there."""
    before, card = bench.card(), bench.card()
    empty = before.generation(0)
    base = before.commit(insert(Vrf(id=1)), transaction=7)
    own = card.commit(insert(Vrf(id=2)))
    expect(int(own) == int(base) and own != base, f"{own!r} and {base!r} are generations of two lives, and as one")
    card.refuses_commit(STALE, "a base of another life, as new as this one's", insert(Vrf(id=3)), base=base)
    card.refuses_commit(STALE, "a base of another life, before its first", insert(Vrf(id=3)), base=empty)
    equal(_outcome(card, 7), Outcome(OutcomeKind.UNKNOWN), "outcome of a commit in another life")
    card.commit(insert(Vrf(id=3)), base=own)


@check(Level.TABLES, BASE, "or still to come)")
def a_base_to_come_is_stale(bench: Bench) -> None:
    """STALE where the base is a generation that this card hasn't come to, the next one or one far ahead."""
    card = bench.card()
    base = card.commit(insert(Vrf(id=1)))
    for ahead in (1, 2, 900):
        words = f"a base {ahead} ahead of the last generation"
        card.refuses_commit(STALE, words, insert(Vrf(id=2)), base=card.generation(base + ahead))
    card.commit(insert(Vrf(id=2)), base=base)


@check(Level.TABLES, "A plain number is INVALID: it doesn't say of which life of the card it is.")
def a_plain_number_is_no_base(bench: Bench) -> None:
    """INVALID where a base is a number that doesn't say of which life, or that no commit can have come to."""
    card = bench.card()
    base = card.commit(insert(Vrf(id=1)))
    for wrong in (int(base), 0, -1, card.generation(-1), card.generation((1 << 64) - 1), "1"):
        words = f"a commit on base {wrong!r}"
        card.refuses_commit(ErrorKind.INVALID, words, insert(Vrf(id=2)), place={"field": "base"}, base=wrong)
    card.commit(insert(Vrf(id=2)), base=Generation.of(base.token))


@check(Level.TABLES, "None for whatever is there.")
def no_base_is_never_stale(bench: Bench) -> None:
    """Without a base a commit is made on whatever is there, though another writer of this owner was faster."""
    card = bench.card()
    one, two = card.backend.writer("dsnd"), card.backend.writer("dsnd")
    for number in range(1, 7):
        (one if number % 2 else two).commit(insert(Vrf(id=number)), base=None)
    equal(card.ids("vrf"), [1, 2, 3, 4, 5, 6], "VRFs committed without a base")


@check(Level.TABLES, BASE)
def a_refused_commit_makes_no_base_stale(bench: Bench) -> None:
    """What was refused changed nothing, so it makes no base old either."""
    card = bench.card()
    base = card.commit(insert(Vrf(id=1)))
    card.refuses_commit(ErrorKind.INVALID, "an insert of an id that exists", insert(Vrf(id=1)))
    card.commit(insert(Vrf(id=2)), base=base)


@check(Level.TABLES, BASE)
def an_empty_commit_makes_no_base_stale(bench: Bench) -> None:
    """Only what changed a row or a name of the owner's makes a base old: a generation that changes nothing doesn't."""
    card = bench.card()
    base = card.commit(insert(Vrf(id=1)))
    for tag in ("nothing", "again"):
        card.commit([Delete("vrf", np.array([], np.uint64))], tag=tag)
    equal(card.commit(insert(Vrf(id=2)), base=base), 4, "generation of a commit from before two empty ones")
    card.commit(names=[Name("vrf", 1, "red")])
    card.refuses_commit(STALE, "a commit from before a name", insert(Vrf(id=3)), base=card.generation(4))


@check(Level.TABLES, BASE, "depends: (table, id) of rows of others that this builds on.")
def a_dependence_that_changed_is_stale(bench: Bench) -> None:
    """STALE where another owner's row that this builds on was modified since, and it is named."""
    card = bench.shared()
    base = card.commit(insert(_hop(1), _hop(2)), owner=OTHER)
    card.commit(modify(_hop(1, port=3)), owner=OTHER)
    on_it = [("next_hop", 2), ("next_hop", 1)]
    place = {"table": "next_hop", "row_id": 1}
    card.refuses_commit(STALE, "a commit on a changed row", insert(Vrf(id=1)), base=base, depends=on_it, place=place)
    card.commit(insert(Vrf(id=1)), base=card.generation(base + 1), depends=on_it)


@check(Level.TABLES, BASE, "depends: (table, id) of rows of others that this builds on.")
def a_dependence_that_went_is_stale(bench: Bench) -> None:
    """STALE where another owner's row that this builds on was taken out since."""
    card = bench.shared()
    base = card.commit(insert(_hop(1)), owner=OTHER)
    card.commit(delete("next_hop", 1), owner=OTHER)
    depends = [("next_hop", 1)]
    place = {"table": "next_hop", "row_id": 1}
    card.refuses_commit(
        STALE, "a commit on a row that went", insert(Vrf(id=1)), base=base, depends=depends, place=place
    )


@check(Level.TABLES, BASE, "One that was taken out has changed, though it was put back.")
def a_dependence_that_came_back_is_stale(bench: Bench) -> None:
    """STALE where another owner's row that this builds on was taken out since, and one like it put in its place."""
    card = bench.shared()
    base = card.commit(insert(_hop(1)), owner=OTHER)
    card.commit(delete("next_hop", 1), owner=OTHER)
    back = card.commit(insert(_hop(1)), owner=OTHER)
    depends = [("next_hop", 1)]
    place = {"table": "next_hop", "row_id": 1}
    what = "a commit on a row that went and came back"
    card.refuses_commit(STALE, what, insert(Vrf(id=1)), base=base, depends=depends, place=place)
    card.commit(insert(Vrf(id=1)), base=back, depends=depends)


@check(Level.TABLES, BASE, "depends: (table, id) of rows of others that this builds on.")
def a_dependence_that_stayed_is_not_stale(bench: Bench) -> None:
    """Other rows of the table may change: only those named count."""
    card = bench.shared()
    base = card.commit(insert(_hop(1), _hop(2)), owner=OTHER)
    card.commit(modify(_hop(2, port=3)), insert(_hop(3)), owner=OTHER)
    card.commit(insert(Vrf(id=1)), base=base, depends=[("next_hop", 1)])


@check(
    Level.TABLES,
    "tag: of this generation, whoever committed it.",
    "tags: owner -> the tag of its own last commit, whatever others committed since; none of one that never did.",
)
def tags_are_per_owner(bench: Bench) -> None:
    """Each owner finds its own last tag, the generation's is the last one's; what was refused left none."""
    card = bench.shared()
    card.commit(tag="")
    card.commit(insert(Vrf(id=1)), tag="mine")
    equal(dict(card.backend.snapshot().tags), {"dsnd": "mine"}, "tags, when one owner has committed")
    card.commit(insert(_hop(1)), owner=OTHER, tag="x" * 127)
    card.refuses_commit(ErrorKind.INVALID, "an id that exists", insert(Vrf(id=1)), tag="refused")
    now = card.backend.snapshot(["seed"])
    equal((now.tag, dict(now.tags)), ("x" * 127, {"dsnd": "mine", OTHER: "x" * 127}), "tag and tags of two owners")
    if "stage" not in card.absent:
        card.stage(insert(Vrf(id=2)), tag="staged").drop()
    card.commit(owner=OTHER)
    now = card.backend.snapshot([])
    equal((now.tag, dict(now.tags)), ("", {"dsnd": "mine", OTHER: ""}), "after a commit without a tag")


def _outcome(card: Card, transaction: int, owner: str = "dsnd") -> Outcome:
    return card.writer(owner).outcome(transaction)


@check(Level.TABLES, OUTCOME, "transaction: 64-bit id to ask `outcome` with")
def outcome_of_a_commit(bench: Bench) -> None:
    """COMMITTED as its generation, for any 64-bit id."""
    card = bench.card()
    ids = (0, 1, (1 << 64) - 1, 1 << 63)
    for number, transaction in enumerate(ids, 1):
        card.commit(insert(Vrf(id=number)), transaction=transaction)
    for number, transaction in enumerate(ids, 1):
        equal(
            _outcome(card, transaction),
            Outcome(OutcomeKind.COMMITTED, card.generation(number)),
            f"outcome of {transaction}",
        )


@check(Level.TABLES, OUTCOME)
def outcome_of_a_refused_commit(bench: Bench) -> None:
    """REFUSED with the words of the error that the commit raised."""
    card = bench.card()
    card.commit(insert(Vrf(id=1)))
    error = card.refuses_commit(ErrorKind.INVALID, "an id that exists", insert(Vrf(id=1)), transaction=7)
    equal(_outcome(card, 7), Outcome(OutcomeKind.REFUSED, None, str(error)), "outcome of a refused commit")


@check(
    Level.TABLES,
    "asked within its next 1,024 commits UNKNOWN means: nothing of it is or will be applied.",
    "LOST or TIMEOUT: `outcome` knows.",
)
def outcome_of_what_never_came(bench: Bench) -> None:
    """UNKNOWN for a transaction that nobody sent."""
    card = bench.card()
    card.commit(insert(Vrf(id=1)), transaction=7)
    equal(_outcome(card, 8), Outcome(OutcomeKind.UNKNOWN), "outcome of a transaction that was never sent")


@check(Level.TABLES, "What became of a transaction of this owner, whichever of its writers asks;")
def outcomes_are_told_to_any_writer(bench: Bench) -> None:
    """A writer of the same owner that was there before, and one that came behind, know what became of a commit of
    another: who lost his connection asks by a new one."""
    card = bench.card()
    before = card.backend.writer("dsnd")
    made = card.commit(insert(Vrf(id=1)), transaction=7)
    card.refuses_commit(ErrorKind.INVALID, "an id that exists", insert(Vrf(id=1)), transaction=8)
    for words, writer in (("before", before), ("behind", card.backend.writer("dsnd"))):
        equal(
            writer.outcome(7), Outcome(OutcomeKind.COMMITTED, made), f"outcome of a commit, for a writer from {words}"
        )
        equal(writer.outcome(8), _outcome(card, 8), f"outcome of a refused commit, for a writer from {words}")


@check(Level.TABLES, "What became of a transaction of this owner")
def outcomes_are_per_owner(bench: Bench) -> None:
    """Owners may use the same ids and don't learn of each other's."""
    card = bench.shared()
    card.commit(insert(Vrf(id=1)), transaction=7)
    equal(_outcome(card, 7, OTHER).kind, OutcomeKind.UNKNOWN, "outcome of another owner's transaction")
    card.commit(insert(_hop(1)), owner=OTHER, transaction=7)
    equal((_outcome(card, 7).generation, _outcome(card, 7, OTHER).generation), (1, 2), "generations of transaction 7")


@check(Level.TABLES, "asked within its next 1,024 commits UNKNOWN means")
def outcomes_of_the_last_commits_are_kept(bench: Bench) -> None:
    """The last 1,024 of an owner, refused ones among them, however much others commit."""
    card = bench.shared()
    card.commit(insert(Vrf(id=1)), transaction=1)
    for number in range(2, LAST + 1):
        card.commit(transaction=number)
        if number % 16 == 0:
            card.commit(owner=OTHER)
    lost = [n for n in range(1, LAST + 1) if _outcome(card, n).kind is not OutcomeKind.COMMITTED]
    equal(lost[:3], [], f"transactions among the last {LAST} whose outcome isn't known")


@check(Level.TABLES, "None: a random one.")
def a_transaction_needs_no_id(bench: Bench) -> None:
    """Commits without an id of their own don't get in each other's way."""
    card = bench.card()
    for number in range(1, 30):
        expect(card.commit(insert(Vrf(id=number)), transaction=None) == number, "a commit without transaction id")
    for transaction in range(40):
        equal(_outcome(card, transaction).kind, OutcomeKind.UNKNOWN, f"outcome of {transaction}, which nobody chose")
