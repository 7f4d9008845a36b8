"""No answer, a connection that breaks, a card that is gone, damaged bytes: what a writer is told, what then holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from hal.conformance.bench import Bench, Card, insert
from hal.conformance.check import Level, check, equal, expect, raises
from hal.errors import ErrorKind
from hal.packet.contract import OutcomeKind, Writer
from hal.packet.frame._generated import Vrf

OUTCOME = "LOST or TIMEOUT: `outcome` knows."
UNKNOWN = "asked within its next 1,024 commits UNKNOWN means: nothing of it is or will be applied."
NO_ANSWER = "No answer in time: the outcome is unknown until `outcome(transaction)` is asked."
GONE = "The peer went away in between: the outcome is unknown until `outcome(transaction)` is asked."
IN_FLIGHT = range(2, 10)
"""Transactions, and ids of the VRFs they insert. So many that a card which serves its connections in turn can't be
done with all of them when somebody else asks."""
EITHER = (ErrorKind.LOST, ErrorKind.TIMEOUT)
WRONG = 99
"""A transaction that is refused once somebody looks at it."""


def _committing(card: Card, number: int, row: int) -> Callable[[], int]:
    return lambda: card.commit(insert(Vrf(id=row)), transaction=number)


def _told_true(card: Card, writer: Writer, transactions: Sequence[int]) -> None:
    """What `outcome` tells this writer of the owner about these transactions, last one first, is so and stays so."""
    told = {number: writer.outcome(number) for number in reversed(transactions)}
    later = writer.commit(insert(Vrf(id=500)), transaction=500)
    there = card.ids("vrf")
    for number, outcome in told.items():
        committed = outcome.kind is OutcomeKind.COMMITTED
        equal(number in there, committed, f"VRF {number} is there, whose commit's outcome was {outcome}")
        expect(not committed or 1 < (outcome.generation or 0) < later, f"{outcome} is a generation after the first")
        equal(writer.outcome(number), outcome, f"outcome of {number}, asked again after another commit")
    refused = told.get(WRONG)
    expect(refused is None or refused.kind is not OutcomeKind.COMMITTED, "an insert of an id that exists went through")


@check(Level.TABLES, OUTCOME, NO_ANSWER, needs=("hang",))
def no_answer_is_a_timeout(bench: Bench) -> None:
    """TIMEOUT where the card doesn't answer in time; when it does again, it can be asked and written as before."""
    card = bench.card()
    card.commit(insert(Vrf(id=1)))
    with bench.device.hang(card.backend):
        raises(ErrorKind.TIMEOUT, _committing(card, 7, 7), "a commit that isn't answered")
    card.commit(insert(Vrf(id=8)))
    expect(8 in card.ids("vrf"), "a commit after one that wasn't answered is not there")


@check(Level.TABLES, OUTCOME, NO_ANSWER, UNKNOWN, needs=("hang",))
def outcome_after_a_timeout(bench: Bench) -> None:
    """Without an answer another writer learns of each commit what became of it, and what it learns stays so."""
    card = bench.card()
    card.commit(insert(Vrf(id=1)))
    other = card.backend.writer("dsnd")
    with bench.device.hang(card.backend):
        for number in IN_FLIGHT:
            raises(EITHER, _committing(card, number, number), "a commit that isn't answered")
        raises(EITHER, _committing(card, WRONG, 1), "a wrong commit that isn't answered")
    _told_true(card, other, (*IN_FLIGHT, WRONG))


@check(Level.TABLES, OUTCOME, GONE, needs=("cut",))
def a_broken_connection_is_lost(bench: Bench) -> None:
    """LOST where the connection breaks before the answer; a new writer goes on."""
    card = bench.card()
    card.commit(insert(Vrf(id=1)))
    with bench.device.cut(card.backend):
        raises(ErrorKind.LOST, _committing(card, 7, 7), "a commit whose connection breaks")
    card.backend.writer("dsnd").commit(insert(Vrf(id=8)))
    expect(8 in card.ids("vrf"), "a new writer's commit, after a connection that broke, is not there")


@check(Level.TABLES, OUTCOME, GONE, UNKNOWN, needs=("cut",))
def outcome_after_a_loss(bench: Bench) -> None:
    """After a broken connection a new writer learns what became of the commit, and what it learns stays so."""
    for number, row in ((2, 2), (WRONG, 1)):
        card = bench.card()
        card.commit(insert(Vrf(id=1)))
        with bench.device.cut(card.backend):
            raises(EITHER, _committing(card, number, row), "a commit whose connection breaks")
        _told_true(card, card.backend.writer("dsnd"), (number,))


@check(Level.TABLES, GONE, needs=("kill",))
def a_card_that_is_gone_is_lost(bench: Bench) -> None:
    """LOST, and at once, whatever is asked of a card that is gone."""
    card = bench.card()
    card.commit(insert(Vrf(id=1)))
    bench.device.kill(card.backend)
    for _ in range(2):
        raises(ErrorKind.LOST, _committing(card, 7, 7), "a commit to a card that is gone")
        raises(ErrorKind.LOST, lambda: card.writer().outcome(7), "the outcome, of a card that is gone")
        raises(ErrorKind.LOST, card.backend.snapshot, "a snapshot of a card that is gone")


@check(
    Level.TABLES,
    "CORRUPT: after all of these nothing changed.",
    "Bytes that can't be what they claim: a bad frame, a memfd that isn't sealed or is short.",
    needs=("damages",),
)
def damaged_bytes_are_corrupt(bench: Bench) -> None:
    """CORRUPT where what a writer handed over isn't whole or may still change; nothing of it is ever applied."""
    card = bench.card()
    card.commit(insert(Vrf(id=1)))
    damages = bench.device.damages(card.backend)
    expect(damages, "a device that can damage names no way to")
    for number, (words, damage) in enumerate(damages.items(), 1):
        writer = card.backend.writer("dsnd")
        with damage:
            operations = insert(*(Vrf(id=number) for number in range(2, 40)))
            card.refuses(
                ErrorKind.CORRUPT,
                f"a commit whose bytes {words}",
                partial(writer.commit, operations, transaction=number),
            )
        kind = card.backend.writer("dsnd").outcome(number).kind
        expect(kind is not OutcomeKind.COMMITTED, f"a commit whose bytes {words} counts as committed")
    card.backend.writer("dsnd").commit(insert(Vrf(id=2)))
    equal(card.ids("vrf"), [1, 2], "VRFs after commits of damaged bytes")
