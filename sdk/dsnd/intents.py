"""Which intent holds: on disk, in the engine, and what was asked for and isn't known yet.

Nothing here locks: the card calls it while it holds the engine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hal.errors import ErrorKind, HalError
from hal.packet.contract import Backend
from hal.packet.derive import SyncResult
from sdk.dsnd.asked import Outstanding
from sdk.dsnd.store import EMPTY, Store, StoredIntent
from sdk.dsnd.tables import OWNER, NobodyKnowsError, Tables
from services.core.diff import since
from services.core.objects import IntentError, Objects
from services.core.plan import Plan

REFUSALS = (ErrorKind.INVALID, ErrorKind.DENIED, ErrorKind.FULL, ErrorKind.UNSUPPORTED)
"""Kinds of error with which an engine refuses an intent for good; behind the others it is the engine that ails."""


@dataclass(frozen=True)
class Holding:
    """What the card holds: the intent as given, its objects, its plan, the generation that carries them, and for each
    object, by kind and name, the one in which this engine got it as it is."""

    intent: StoredIntent
    objects: Objects
    plan: Plan
    generation: int
    since: Mapping[tuple[str, str], int]


@dataclass(frozen=True)
class Asked:
    """What an apply asks for."""

    intent: StoredIntent
    objects: Objects
    plan: Plan


class Intents:
    """The intents of a card.

    Args:
        store: the good one and a pending one, on disk.
        tables: the way to the engine.
        backend: gives the engine as it is now; raises HalError while there is none.
        log: where one-line messages go.
        fault: told what is wrong with what is stored.
        mended: called when the next one is in force in its place.

    Attributes:
        holding: what the engine holds of this daemon's; None: nobody knows.
        stored: digest of the good one on disk; "": it can't be read.
        asking: what is being applied.
        unsure: what was committed without an answer.
        refused: what was asked for last and isn't held, and why.
        damaged: the good one can't be read, or can't be in force on this card.
    """

    def __init__(
        self,
        store: Store,
        tables: Tables,
        backend: Callable[[], Backend],
        log: Callable[[str], None],
        fault: Callable[[str], None],
        mended: Callable[[], None],
    ) -> None:
        self._store = store
        self._tables = tables
        self._backend = backend
        self._log = log
        self._fault = fault
        self._mended = mended
        self.holding: Holding | None = None
        self.stored = ""
        self.asking: Asked | None = None
        self.unsure: Asked | None = None
        self.refused: Outstanding | None = None
        self.damaged = False

    def resume(self) -> None:
        """An engine was adopted: its tag says whether the pending intent went through."""
        tag = self._backend().snapshot(["seed"]).tags.get(OWNER, "")
        try:
            pending = self._store.pending()
        except HalError as error:  # never acknowledged: nobody counts on it
            self._log(f"{error}: dropped")
            self._drop_pending()
            pending = None
        good = None
        if pending is not None and pending.digest == tag:
            self._log(f"adopted an engine with the pending {tag}: it counts as good")
            try:
                self._store.confirm()
            except HalError as error:  # it holds for as long as the engine lives
                self._log(str(error))
                good = pending
        elif pending is not None:
            self._log(f"the pending {pending.digest} never reached the engine: dropped")
            self._drop_pending()
        good = good or self._good()
        try:
            planned = self._tables.planned(good) if good is not None else None
        except IntentError as error:
            planned = None
            self._doubt(error, "The engine goes on with what it holds.")
        if good is None or planned is None:
            self._log("the engine goes on with what it holds")
        elif good.digest == tag:
            _, objects, plan = planned
            self._hold_all(good, objects, plan, self._backend().snapshot(["seed"]).generation)
            self._tables.settle_taps(plan)
        else:
            self._log(f"the engine holds {tag or 'nothing'}, the card {good.digest}: brought to it")
            self.reload()

    def reload(self) -> None:
        """Bring the engine to the last good intent."""
        self._drop_pending()
        self.unsure = None
        good = self._good() or EMPTY  # what can't be read is not forwarded
        try:
            self._bring(good)
        except (IntentError, HalError) as error:
            if isinstance(error, HalError) and error.kind not in REFUSALS:
                raise
            self._doubt(error, "Nothing is forwarded.")
            self._bring(EMPTY)

    def _drop_pending(self) -> None:
        """A pending intent that no engine has: where the disk keeps it, it does no harm."""
        try:
            self._store.abandon()
        except OSError as error:
            self._log(f"the pending intent stays on disk: {error}")

    def _bring(self, intent: StoredIntent) -> None:
        _, objects, plan = self._tables.planned(intent)
        result = self._tables.commit(plan, intent.digest, self.plan_held())
        self._hold_all(intent, objects, plan, result.generation)

    def _hold_all(self, intent: StoredIntent, objects: Objects, plan: Plan, generation: int) -> None:
        """An engine holds it that hadn't it from us before."""
        self.holding = Holding(intent, objects, plan, generation, since(Objects(), {}, objects, generation))

    def _doubt(self, error: IntentError | HalError, so: str) -> None:
        """The good intent can't be in force on this card, as after a change of card.toml or of what is installed. The
        card's status tells it until the next apply; the intent stays on disk."""
        self.damaged = True
        fault = f"the stored intent doesn't fit this card: {first(error)}"
        more = sum(not one.warning for one in error.problems) - 1 if isinstance(error, IntentError) else 0
        fault = f"{fault.rstrip('.')}{f' (and {more} more)' if more else ''}. {so} Apply an intent that fits, or undo "
        fault += "what changed on the card and start it anew."
        self._fault(fault)

    def _good(self) -> StoredIntent | None:
        """The last good intent; None where it can't be read, which the card's status tells until the next apply."""
        try:
            good = self._store.good()
        except HalError as error:
            self.damaged = True
            self.stored = ""
            self._fault(str(error))
            return None
        self.stored = good.digest
        return good

    def outstanding(self) -> Outstanding | None:
        """What was asked for last and isn't held; None where the card has what was asked for."""
        unsure, asking = self.unsure, self.asking
        if unsure is not None:
            words = f"intent {unsure.intent.digest} was committed, and the engine hasn't said yet whether it holds"
            return Outstanding(unsure.objects, words)
        return Outstanding(asking.objects, "it is being applied") if asking is not None else self.refused

    def commit(self, asked: Asked) -> SyncResult:
        self._store.begin(asked.intent)
        try:
            result = self._tables.commit(asked.plan, asked.intent.digest, self.plan_held())
        except NobodyKnowsError:
            self.unsure = asked
            raise
        except HalError:
            self._drop_pending()
            raise
        self._hold(asked, result.generation)
        return result

    def plan_held(self) -> Plan | None:
        """What the tables are of."""
        return self.holding.plan if self.holding is not None else None

    def _hold(self, asked: Asked, generation: int) -> None:
        old, before = (self.holding.objects, self.holding.since) if self.holding is not None else (Objects(), {})
        kept = since(old, before, asked.objects, generation)
        self.holding = Holding(asked.intent, asked.objects, asked.plan, generation, kept)
        self.asking = None
        self._store.confirm()
        self.stored = asked.intent.digest
        if self.damaged:
            self.damaged = False
            self._mended()

    def resolve(self) -> None:
        """Find out what became of a commit without an answer. Raises HalError while the engine doesn't say."""
        if self.unsure is None:
            return
        generation = self._tables.went_through()
        asked, self.unsure = self.unsure, None
        if generation is None:
            self._log(f"{asked.intent.digest} never reached the engine: dropped")
            self._drop_pending()
            self._tables.settle_taps(self.plan_held())
        else:
            self._log(f"the engine holds {asked.intent.digest} after all: it counts as good")
            self._hold(asked, generation)
            self._tables.settle_taps(asked.plan)


def first(error: IntentError | HalError) -> str:
    """An error in one line."""
    if isinstance(error, HalError):
        return str(error)
    problem = next((one for one in error.problems if not one.warning), None)
    return problem.sentence if problem is not None else str(error)
