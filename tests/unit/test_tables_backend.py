"""What authors of backends begin with: commits of several threads, hardware that doesn't answer, cards that run."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import pytest

from hal.conformance import Device, Level, State, run
from hal.errors import ErrorKind, HalError
from hal.packet import checks
from hal.packet.contract import (
    NONE_ID,
    Backend,
    Delete,
    Generation,
    Insert,
    LoadConfig,
    Modify,
    Operation,
    Outcome,
    OutcomeKind,
)
from hal.packet.frame._generated import ProfileStage, Vrf
from hal.packet.model.hardware import HardwareStore
from hal.packet.model.store import Store
from hal.packet.model.tables_backend import Change, TablesBackend
from hal.packet.schema.registry import schema
from hal.packet.schema.rows import Row, as_rows
from hal.packet.stages.route._generated import BlackholeRoute


def _insert(*rows: Row) -> list[Insert]:
    return [Insert(one) for one in as_rows(rows)]


def _modify(*rows: Row) -> list[Modify]:
    return [Modify(one) for one in as_rows(rows)]


class Card(TablesBackend):
    """Its hardware is a dict; `trouble` is raised behind the first `takes` of a commit's changes."""

    name, version = "acme", "1"
    readable = True

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        super().__init__()
        self.hardware = {(row.LAYOUT.table.name, row.id): row for row in rows}
        self.trouble: BaseException | None = None
        self.takes = 0
        self.told: list[list[Change]] = []
        self.load(LoadConfig())

    def program(self, changes: Sequence[Change]) -> None:
        self.told.append(list(changes))
        trouble, self.trouble = self.trouble, None
        for change in changes[: self.takes if trouble else None]:
            assert self.hardware.pop((change.table, change.id), None) == change.before
            if change.after is not None:
                self.hardware[change.table, change.id] = change.after
        if trouble:
            raise trouble

    def held(self) -> Iterable[Row] | None:
        return self.hardware.values() if self.readable else None

    def generation(self, number: int) -> Generation:
        return Generation(number, self.store.life)

    @property
    def rows(self) -> list[Row]:
        return self.snapshot().rows("vrf")


@pytest.fixture(autouse=True)
def often() -> Iterator[None]:
    """Threads take turns a thousand times more often."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(before)


def test_two_threads_commit() -> None:
    card = Card()
    found: list[Generation] = []

    def commit(first: int) -> None:
        writer = card.writer()
        for number in range(first, first + 100):
            made = writer.commit(_insert(Vrf(id=number)), transaction=number)
            found.append(made)
            assert writer.outcome(number) == Outcome(OutcomeKind.COMMITTED, made)

    threads = [threading.Thread(target=commit, args=(first,)) for first in (1, 101)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(found) == list(range(1, 201))
    assert [row.id for row in card.rows] == list(range(1, 201))
    assert len(card.hardware) == 200


def test_an_outcome_waits_for_the_commit_that_is_on_its_way() -> None:
    card, begun, go = Card(), threading.Event(), threading.Event()
    program = card.program

    def slow(changes: Sequence[Change]) -> None:
        begun.set()
        assert go.wait(10)
        program(changes)

    card.program = slow  # type: ignore[method-assign]
    writing = threading.Thread(target=lambda: card.writer().commit(_insert(Vrf(id=1)), transaction=7))
    told: list[Outcome] = []
    asking = threading.Thread(target=lambda: told.append(card.writer().outcome(7)))
    writing.start()
    assert begun.wait(10)
    asking.start()
    asking.join(0.1)
    assert (told, card.snapshot().generation) == ([], 0)
    go.set()
    writing.join(10)
    asking.join(10)
    assert told == [Outcome(OutcomeKind.COMMITTED, card.generation(1))]


LOST = HalError(ErrorKind.LOST, "cable")
TROUBLE = [LOST, HalError(ErrorKind.TIMEOUT, "cable"), OSError("no such bus")]


@pytest.mark.parametrize("trouble", TROUBLE, ids=lambda one: type(one).__name__)
def test_a_lost_commit_that_the_hardware_took_is_made(trouble: BaseException) -> None:
    card = Card()
    card.trouble, card.takes = trouble, 2
    assert card.writer().commit(_insert(Vrf(id=1), Vrf(id=2)), transaction=7, tag="t") == 1
    assert card.writer().outcome(7) == Outcome(OutcomeKind.COMMITTED, card.generation(1))
    assert (len(card.rows), card.snapshot().tag) == (2, "t")


@pytest.mark.parametrize("takes", [0, 1])
@pytest.mark.parametrize("trouble", TROUBLE, ids=lambda one: type(one).__name__)
def test_a_lost_commit_that_the_hardware_did_not_take_whole_is_not_made(trouble: BaseException, takes: int) -> None:
    card = Card()
    card.writer().commit(_insert(Vrf(id=1), Vrf(id=5)))
    before = dict(card.hardware)
    card.trouble, card.takes = trouble, takes
    gone = Delete("vrf", np.array([5], np.uint64))
    with pytest.raises(HalError) as caught:
        card.writer().commit([gone, *_modify(Vrf(id=1, punt_port=4)), *_insert(Vrf(id=2))], transaction=7)
    assert caught.value.kind in (ErrorKind.LOST, ErrorKind.TIMEOUT)
    assert card.writer().outcome(7) == Outcome(OutcomeKind.REFUSED, error=str(caught.value))
    assert (card.hardware, card.snapshot().generation) == (before, 1)
    assert card.writer().commit(_insert(Vrf(id=3))) == 2


def test_a_card_that_cannot_be_read_back_is_closed_until_it_can() -> None:
    card = Card()
    card.readable = False
    card.trouble, card.takes = OSError("no such bus"), 1
    writer = card.writer()
    asked: list[Callable[[], object]] = [
        lambda: writer.commit(_insert(Vrf(id=1)), transaction=7),
        lambda: writer.commit(_insert(Vrf(id=2)), transaction=8),
        lambda: writer.stage([]),
        lambda: writer.outcome(7),
        card.snapshot,
    ]
    for ask in asked:
        with pytest.raises(
            HalError, match=r"LOST: hardware: got nothing.*OSError: no such bus.*it is closed"
        ) as caught:
            ask()
        assert caught.value.kind is ErrorKind.LOST
    assert len(card.told) == 1
    card.readable = True
    assert writer.outcome(7) == Outcome(OutcomeKind.COMMITTED, card.generation(1))
    assert writer.outcome(8) == Outcome(OutcomeKind.UNKNOWN)
    assert [row.id for row in card.rows] == [1]


def test_a_staged_commit_that_was_lost() -> None:
    card = Card()
    staged = card.writer().stage(_insert(Vrf(id=1)))
    card.trouble, card.takes = LOST, 1
    assert staged.make() == 1
    staged = card.writer().stage(_insert(Vrf(id=2)))
    card.trouble, card.takes = LOST, 0
    with pytest.raises(HalError, match="LOST: cable"):
        staged.make()
    assert card.snapshot().generation == 1


def test_what_the_hardware_refuses_is_refused() -> None:
    card = Card()
    card.trouble = HalError(ErrorKind.FULL, "registers")
    with pytest.raises(HalError, match="FULL: registers"):
        card.writer().commit(_insert(Vrf(id=1)), transaction=7)
    assert card.writer().outcome(7).kind is OutcomeKind.REFUSED
    assert card.snapshot().generation == 0


def test_a_card_begins_with_what_it_holds() -> None:
    held = [Vrf(id=1), Vrf(id=2, punt_port=3), BlackholeRoute(id=9, vrf=2, prefix="10.0.0.0/8")]
    card = Card(held)
    now = card.snapshot()
    assert (now.generation, now.tag, dict(now.tags)) == (1, "", {})
    assert (now.rows("vrf"), now.rows("route")) == (held[:2], held[2:])
    assert card.told == []
    with pytest.raises(HalError, match="rows that refer to it"):
        card.writer().commit([Delete("vrf", np.array([2], np.uint64))])
    card.writer().commit([Delete("route", np.array([9], np.uint64))], base=card.generation(1))
    assert [(change.table, change.before, change.after) for change in card.told[0]] == [("route", held[2], None)]


def test_a_card_does_not_begin_with_what_no_commit_could_have_made() -> None:
    with pytest.raises(HalError, match="an id of table vrf"):
        Card([BlackholeRoute(id=9, vrf=2, prefix="10.0.0.0/8")])


def test_a_commit_costs_what_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the rows that stay none is made anew or compared."""
    card = Card()
    card.writer().commit(_insert(Vrf(id=1), *(Vrf(id=n) for n in range(10, 2010))))
    made = []
    whole = HardwareStore._row
    monkeypatch.setattr(HardwareStore, "_row", lambda *of: made.append(of) or whole(*of))  # type: ignore[func-returns-value]
    card.writer().commit([*_insert(Vrf(id=3)), *_modify(Vrf(id=1, punt_port=4))])
    assert [(one.id, one.before, one.after) for one in card.told[-1]] == [
        (1, Vrf(id=1), Vrf(id=1, punt_port=4)),
        (3, None, Vrf(id=3)),
    ]
    assert len(made) == 4
    assert card.store.current.written == {"vrf": {1, 3}}


class CodeFirst(Card):
    """A card without stages that asks for their code before anything else."""

    def _new_store(self, config: LoadConfig) -> Store:
        store = super()._new_store(config)
        drafted = store._drafted

        def code_first(owner: str | None, operations: Sequence[Operation], *more: Any) -> Any:
            named = [one for one in operations if not isinstance(one, Delete) and one.rows.row is ProfileStage]
            if named:
                raise HalError(ErrorKind.UNSUPPORTED, "table profile_stage", table="profile_stage")
            return drafted(owner, operations, *more)

        vars(store).update(_drafted=code_first)
        return store


class FreshDevice(Device):
    def open(self) -> Backend:
        card = CodeFirst()
        vars(card).update(_config=None)  # the card of these tests is loaded at once, the kit loads its own
        return card


def test_the_kit_leaves_open_what_is_refused_first() -> None:
    """Where several things are wrong, a card may tell any of them."""
    report = run(FreshDevice())
    assert [(result.check.name, result.words) for result in report.failed] == []
    assert report.reached is Level.TABLES


class Apart(FreshDevice):
    """Its hardware takes what it is told and, while it hangs, answers neither that nor when it is read back."""

    def hang(self, backend: Backend) -> AbstractContextManager[None]:
        return self._late(backend)

    @contextmanager
    def _late(self, card: Any) -> Iterator[None]:
        program, held = card.program, card.held

        def late(*of: Any) -> None:
            if of:
                program(*of)
            raise HalError(ErrorKind.TIMEOUT, "cable")

        card.program = card.held = late
        yield
        card.program, card.held = program, held


def test_a_card_that_hangs_is_late_not_lost() -> None:
    report = run(Apart())
    assert [(result.check.name, result.words) for result in report.failed] == []
    late = {result.check.name: result.state for result in report.results if "hang" in result.check.needs}
    assert late == {"no_answer_is_a_timeout": State.PASSED, "outcome_after_a_timeout": State.PASSED}
    assert report.reached is Level.TABLES


def test_the_checkers_are_for_everybody() -> None:
    (rows,) = as_rows([Vrf(id=1)])
    assert checks.check_rows(rows).shape == (1, Vrf.LAYOUT.size)
    rows.data["id"][0] = NONE_ID
    with pytest.raises(HalError, match="table vrf"):
        checks.check_rows(rows)
    with pytest.raises(HalError, match="workers"):
        checks.check_load(LoadConfig(workers=0), schema())
    with pytest.raises(HalError, match="a Generation of the card"):
        checks.check_base(3)  # type: ignore[arg-type]
    with pytest.raises(HalError, match="a Cursor of the card"):
        checks.check_cursor(3)  # type: ignore[arg-type]
