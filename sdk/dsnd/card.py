"""The card itself: an engine kept alive and loaded with the last good intent. Knows no sockets and no gRPC.

One lock serialises what changes the engine, another one those who apply: what they read and plan keeps nobody waiting
for the engine. Looking needs no lock. The keeper thread waits for the engine's death,
starts it again, ever more slowly if it dies again, and loads it from the last good intent.
"""

from __future__ import annotations

import contextlib
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from board_support.board import Hardware
from hal.errors import ErrorKind, HalError
from hal.packet.contract import Backend, EventKind, FlowFilter, LoadConfig
from hal.packet.derive import SyncResult
from sdk.api.applied import Applied
from sdk.dsnd.asked import Outstanding, refusal
from sdk.dsnd.backoff import Backoff
from sdk.dsnd.interfaces import Interfaces
from sdk.dsnd.loaded import Record, check
from sdk.dsnd.patience import Probe
from sdk.dsnd.store import EMPTY, Store, StoredIntent
from sdk.dsnd.tables import OWNER, NobodyKnowsError, Tables
from sdk.dsnd.taps import Taps
from services.core.diff import since
from services.core.objects import IntentError, Objects
from services.core.plan import Plan
from services.core.service import Services

WATCH_SECONDS = 0.02
END_SECONDS = 10.0
HELD_SECONDS = 30.0
"""How long a call waits for another that changes the engine."""
PLANNED_AGAIN = 3
"""How often an apply plans at most where the engine that it plans for dies meanwhile."""
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
class Life:
    """How the engine is doing. `state`: "starting", "forwarding", "restarting", "stopped"."""

    state: str = "starting"
    starts: int = 0
    fault: str = ""


@dataclass(frozen=True)
class _Asked:
    """What an apply asks for."""

    intent: StoredIntent
    objects: Objects
    plan: Plan


class Card:
    """The card.

    Args:
        hardware: what the board built.
        config: what to load the engine with.
        services: who plans.
        store: what outlives everything.
        log: where one-line messages go.
        backoff: how long to wait between deaths of the engine.
        taps: punt taps to make and to configure; None: the board has none.
        record: of what engines are loaded with; None: an engine that is adopted says itself all that is asked.
        interfaces: of its ports; None: the board has none.
        tell: where events of the daemon's own go.
    """

    def __init__(
        self,
        hardware: Hardware,
        config: LoadConfig,
        services: Services,
        store: Store,
        log: Callable[[str], None],
        backoff: Backoff | None = None,
        taps: Taps | None = None,
        record: Record | None = None,
        interfaces: Interfaces | None = None,
        tell: Callable[[EventKind, str], None] = lambda _kind, _words: None,
    ) -> None:
        self.hardware = hardware
        self.config = config
        self.services = services
        self.store = store
        self.life = Life()
        self.probe = Probe()
        self.holding: Holding | None = None
        self._log = log
        self._tell = tell
        self._backoff = backoff or Backoff()
        self.tables = Tables(lambda: self.backend, hardware.packet.alive, config, services, store.seed, log, taps)
        self._taps = taps
        self._record = record
        self._interfaces = interfaces
        self._lock = threading.RLock()
        self._applying = threading.Lock()  # taken before the other
        self._ending = threading.Event()
        self._backend: Backend | None = None
        self._unsure: _Asked | None = None  # what was committed without an answer
        self._asking: _Asked | None = None  # what is about to be committed
        self._refused: Outstanding | None = None  # what was asked for last and isn't held, and why
        self._damaged = False  # the good intent on disk can't be read, or can't be in force on this card
        self._closed = False
        self._refusal = ""
        self._born = 0.0
        self._deaths = 0
        self._keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)

    @property
    def backend(self) -> Backend:
        """The engine as it is now. Raises HalError(LOST) while it is being restarted."""
        backend = self._backend
        if backend is None:
            raise HalError(ErrorKind.LOST, "packet engine", got=self.life.fault or self.life.state,
                           fix="Try again: it is being restarted.")  # fmt: skip
        return backend

    def begin(self) -> None:
        """Adopt or start the engine, bring it to the intent it should hold, and watch over it from now on.

        Raises:
            HalError: where the first start fails, nothing is left running that wasn't; where a running engine was
                loaded with another configuration, it goes on as it is.
        """
        with self._lock:
            adopted = self.hardware.packet.adopt()
            if adopted is None:
                self._first_launch()
            else:
                self._adopt(adopted)
        self._keeper.start()

    def _adopt(self, backend: Backend) -> None:
        now = backend.capabilities()
        if now.workers == 0:
            self._log("the engine that runs was never loaded: another is started")
            backend.stop()
            self._gone()
            self._launch()  # BUSY where it still runs
            return
        try:
            check(self.config, now, self._record.read() if self._record is not None else None)
        except HalError:
            backend.close()
            raise
        self._take(backend)
        self._resume()
        backend.start()  # where an earlier dsnd ended in between

    def _first_launch(self) -> None:
        try:
            self._launch()
        except BaseException as error:
            # BUSY: an engine that didn't answer has the taps, another card an interface.
            if not (isinstance(error, HalError) and error.kind is ErrorKind.BUSY):
                if self._taps is not None:
                    self._taps.remove()
                if self._interfaces is not None:
                    self._interfaces.release()
            raise

    def _launch(self) -> None:
        """Start an engine and load it from the last good intent; forwarding begins behind the commit."""
        if self._interfaces is not None:
            self._interfaces.prepare()
        if self._taps is not None:
            self._taps.prepare()
        if self._record is not None:
            try:
                self._record.write(self.config)
            except OSError as error:
                self._log(f"what the engine is loaded with can't be noted: {error}")
        backend = self.hardware.packet.launch()
        try:
            backend.load(self.config)
            self._take(backend)
            self._reload()
            backend.start()
        except BaseException:
            self._forget_engine()
            with contextlib.suppress(HalError):
                backend.stop()
            raise
        self.life = replace(self.life, state="forwarding", starts=self.life.starts + 1)

    def _take(self, backend: Backend) -> None:
        self._backend = backend
        self.tables.connect()
        self._born = time.monotonic()

    def _resume(self) -> None:
        """An engine was adopted: its tag says whether the pending intent went through."""
        tag = self.backend.snapshot(["seed"]).tags.get(OWNER, "")
        try:
            pending = self.store.pending()
        except HalError as error:  # never acknowledged: nobody counts on it
            self._log(f"{error}: dropped")
            self._drop_pending()
            pending = None
        good = None
        if pending is not None and pending.digest == tag:
            self._log(f"adopted an engine with the pending {tag}: it counts as good")
            try:
                self.store.confirm()
            except HalError as error:  # it holds for as long as the engine lives
                self._log(str(error))
                good = pending
        elif pending is not None:
            self._log(f"the pending {pending.digest} never reached the engine: dropped")
            self._drop_pending()
        good = good or self._good()
        try:
            planned = self.tables.planned(good) if good is not None else None
        except IntentError as error:
            planned = None
            self._doubt(error, "The engine goes on with what it holds.")
        if good is None or planned is None:
            self._log("the engine goes on with what it holds")
        elif good.digest == tag:
            _, objects, plan = planned
            self._hold_all(good, objects, plan, self.backend.snapshot(["seed"]).generation)
            self.tables.settle_taps(plan)
        else:
            self._log(f"the engine holds {tag or 'nothing'}, the card {good.digest}: brought to it")
            self._reload()
        self.life = replace(self.life, state="forwarding", starts=self.life.starts)

    def _reload(self) -> None:
        """Bring the engine to the last good intent."""
        self._drop_pending()
        self._unsure = None
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
            self.store.abandon()
        except OSError as error:
            self._log(f"the pending intent stays on disk: {error}")

    def _bring(self, intent: StoredIntent) -> None:
        _, objects, plan = self.tables.planned(intent)
        result = self.tables.commit(plan, intent.digest, self._plan())
        self._hold_all(intent, objects, plan, result.generation)

    def _hold_all(self, intent: StoredIntent, objects: Objects, plan: Plan, generation: int) -> None:
        """An engine holds it that hadn't it from us before."""
        self.holding = Holding(intent, objects, plan, generation, since(Objects(), {}, objects, generation))

    def _doubt(self, error: IntentError | HalError, so: str) -> None:
        """The good intent can't be in force on this card, as after a change of card.toml or of what is installed. The
        card's status tells it until the next apply; the intent stays on disk."""
        self._damaged = True
        fault = f"the stored intent doesn't fit this card: {_first(error)}"
        more = sum(not one.warning for one in error.problems) - 1 if isinstance(error, IntentError) else 0
        fault = f"{fault.rstrip('.')}{f' (and {more} more)' if more else ''}. {so} Apply an intent that fits, or undo "
        fault += "what changed on the card and start it anew."
        self.life = replace(self.life, fault=fault)
        self._log(fault)

    def _good(self) -> StoredIntent | None:
        """The last good intent; None where it can't be read, which the card's status tells until the next apply."""
        try:
            good = self.store.good()
        except HalError as error:
            self._damaged = True
            self.life = replace(self.life, fault=str(error))
            self._log(str(error))
            return None
        return good

    # --- intent ---

    def apply(self, files: tuple[tuple[str, str, str], ...], only_set: str = "") -> Applied:
        """Make (set, file, text)s the whole intent, or the whole of one set; acknowledged when durable and in force.

        Raises:
            IntentError: what is wrong with it; nothing changed.
            HalError: why the engine refused; nothing changed. After LOST or TIMEOUT the outcome is asked first.
        """
        if not self._applying.acquire(timeout=HELD_SECONDS):
            raise _busy("another apply")
        try:
            applied = self._apply(files, only_set)
        except (IntentError, HalError) as error:
            asking, self._refused = self._asking, None
            if not isinstance(error, NobodyKnowsError):
                plans = (asking.plan if asking is not None else None, self._plan())
                self._refused = refusal(error, asking.objects if asking is not None else None, *plans)
            raise
        else:
            self._refused = None
            return applied
        finally:
            self._asking = None
            self._applying.release()

    def outstanding(self) -> Outstanding | None:
        """What was asked for last and isn't held; None where the card has what was asked for."""
        unsure, asking = self._unsure, self._asking
        if unsure is not None:
            words = f"intent {unsure.intent.digest} was committed, and the engine hasn't said yet whether it holds"
            return Outstanding(unsure.objects, words)
        return Outstanding(asking.objects, "it is being applied") if asking is not None else self._refused

    def _apply(self, files: tuple[tuple[str, str, str], ...], only_set: str) -> Applied:
        files = tuple((only_set, name, text) for _set, name, text in files)
        for _ in range(PLANNED_AGAIN):
            with self._held():
                self._open()
                self._resolve()
                kept = tuple(one for one in self.store.good().files if one[0] != only_set) if only_set else ()
                backend, context = self.backend, self.tables.context()
            intent = StoredIntent((*kept, *files))
            read, objects, plan = self.tables.planned(intent, context)  # long for a large one: nobody waits for it
            self._asking = _Asked(intent, objects, plan)
            with self._held():
                self._open()
                if self._backend is backend:
                    result = self._commit(self._asking)
                    warnings = (*read.warnings, *(problem for problem in plan.problems if problem.warning))
                    return Applied(result.generation, intent.digest, result.words, tuple(map(str, warnings)))
        raise HalError(ErrorKind.LOST, "packet engine", got=f"it died {PLANNED_AGAIN} times meanwhile",
                       fix="Nothing was changed. Look why: dsn card status, dsnd.log.")  # fmt: skip

    def _open(self) -> None:
        if self._closed or self.life.state == "stopped":
            raise HalError(ErrorKind.LOST, "dsnd", got="it is ending", fix="Start it again: dsn card start.")

    def _commit(self, asked: _Asked) -> SyncResult:
        self.store.begin(asked.intent)
        try:
            result = self.tables.commit(asked.plan, asked.intent.digest, self._plan())
        except NobodyKnowsError:
            self._unsure = asked
            raise
        except HalError:
            self._drop_pending()
            raise
        self._hold(asked, result.generation)
        return result

    def _plan(self) -> Plan | None:
        """What the tables are of."""
        return self.holding.plan if self.holding is not None else None

    def _hold(self, asked: _Asked, generation: int) -> None:
        old, before = (self.holding.objects, self.holding.since) if self.holding is not None else (Objects(), {})
        kept = since(old, before, asked.objects, generation)
        self.holding = Holding(asked.intent, asked.objects, asked.plan, generation, kept)
        self._asking = None
        self.store.confirm()
        if self._damaged:
            self._damaged = False
            self.life = replace(self.life, fault="")

    def _resolve(self) -> None:
        """Find out what became of a commit without an answer. Raises HalError while the engine doesn't say."""
        if self._unsure is None:
            return
        generation = self.tables.went_through()
        asked, self._unsure = self._unsure, None
        if generation is None:
            self._log(f"{asked.intent.digest} never reached the engine: dropped")
            self._drop_pending()
            self.tables.settle_taps(self._plan())
        else:
            self._log(f"the engine holds {asked.intent.digest} after all: it counts as good")
            self._hold(asked, generation)
            self.tables.settle_taps(asked.plan)

    # --- the engine's life ---

    def faults(self) -> str:
        """What is wrong now, or was last."""
        lost = self._interfaces.lost() if self._interfaces is not None and self.life.state == "forwarding" else ()
        return "; ".join(filter(None, (*lost, self.life.fault)))

    def _keep(self) -> None:
        failed = 0
        while not self._ending.wait(self._backoff.wait_s(failed) if failed else WATCH_SECONDS):
            try:
                self._look_after()
                failed = 0
            except Exception:  # noqa: BLE001 - without its keeper a dead engine would stay dead
                failed += 1
                self._log("the keeper failed and goes on:\n" + traceback.format_exc().rstrip())

    def _look_after(self) -> None:
        if not self.hardware.packet.alive():
            self._restart()
        elif self._unsure is not None:
            with self._lock, contextlib.suppress(HalError):
                self._resolve()

    def _forget_engine(self) -> None:
        self._backend, self._unsure = None, None
        self.tables.disconnect()

    def _restart(self) -> None:
        lived, how = time.monotonic() - self._born, self.hardware.how_ended()
        died = f"died after {lived:.1f} s{f', {how}' if how else ''}"
        self._deaths = self._backoff.deaths_after(self._deaths, lived)
        wait_s = self._backoff.wait_s(self._deaths)
        with self._lock:
            self._forget_engine()
            again = f"{died}, {_ordinal(self._deaths)} in a row; started again in {wait_s:.2f} s"
            if self.life.state == "restarting":  # it didn't even start: why is worth more than that
                again = f"{self._refusal}; tried again in {wait_s:.2f} s"
            else:
                self._tell(EventKind.ENGINE_DIED, died.removeprefix("died "))
            self.life = replace(self.life, state="restarting", fault=again)
        self._log(f"the engine {died}; started again in {wait_s:.2f} s")
        if self._ending.wait(wait_s):
            return
        self._born = time.monotonic()
        try:
            with self._lock:
                if self._ending.is_set():  # it was stopped in between
                    return
                self._launch()
            if not self._damaged:
                times = f", {_ordinal(self._deaths)} in a row" if self._deaths > 1 else ""
                self.life = replace(self.life, fault=f"{died}{times}")
            self._log(f"the engine runs again, pid {self.hardware.packet.pid()}")
            self._tell(
                EventKind.ENGINE_STARTED, f"pid {self.hardware.packet.pid()}, start {self.life.starts} of this dsnd"
            )
        except Exception as error:  # noqa: BLE001 - whatever it was, the next try may go well
            self._refusal = str(error) or type(error).__name__
            self.life = replace(self.life, fault=self._refusal)
            self._log(f"the engine did not start: {self._refusal}")

    @contextlib.contextmanager
    def steady(self) -> Iterator[Backend]:
        """The engine, held still against applies and restarts while the caller uses it. Raises HalError: BUSY while
        another call holds it for long, TIMEOUT where it doesn't answer."""
        with self._held():
            yield self.backend

    def must_answer(self) -> None:
        """Raise HalError(TIMEOUT) where the engine doesn't answer: who asked it would wait for long. Of one that is
        being restarted `backend` tells."""
        if (backend := self._backend) is not None:
            self.probe.ask(backend.capabilities)

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        if not self._lock.acquire(timeout=HELD_SECONDS):
            raise _busy("another call")
        try:
            self.must_answer()
            yield
        finally:
            self._lock.release()

    def forget(self, which: FlowFilter) -> int:
        """Take connections out of the flow table; returns how many. Raises HalError."""
        with self.steady():
            return self.tables.forget(which)

    def stop_engine(self) -> str:
        """End the engine on purpose, and the watch over it: behind a call that has begun, unless the engine keeps that
        waiting. The intent is kept.

        Returns:
            What was unusual about it, "" for nothing.

        Raises:
            HalError: TIMEOUT where it doesn't end, not even killed.
        """
        self._ending.set()
        held = self._lock.acquire(timeout=END_SECONDS)
        try:
            told = self._end_engine()
            if not held:  # who waited for the engine knows now that it is gone; or he has just started another
                held = self._lock.acquire(timeout=END_SECONDS)
                told = self._end_engine() or told
            self._forget_engine()
            self.life = replace(self.life, state="stopped")
            if self._taps is not None:
                self._taps.remove()
            if self._interfaces is not None:
                self._interfaces.release()
        finally:
            if held:
                self._lock.release()
        return told

    def _end_engine(self) -> str:
        process, told = self.hardware.packet, ""
        if self._backend is not None:
            try:
                self.probe.ask(self._backend.stop)
            except HalError as error:
                told = self.probe.why(error)
        if process.pid() is None or (not told and self._gone()):
            return ""
        process.kill()
        if not self._gone():
            fix = "Look at its process (ps: D waits for a device)."
            raise HalError(ErrorKind.TIMEOUT, f"engine {process.pid()}", got="killed, it goes on", fix=fix)
        told = f"the engine was killed: {told or f'asked to end, it went on for {END_SECONDS:g} s'}"
        self._log(told)
        return told

    def _gone(self) -> bool:
        """Wait until the engine has ended; False where it goes on."""
        deadline = time.monotonic() + END_SECONDS
        while self.hardware.packet.alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(WATCH_SECONDS)
        return True

    def let_go(self) -> None:
        """End the watch, behind an apply that is being committed; one that is only planned changes nothing any more.
        The engine goes on forwarding."""
        self._ending.set()
        with self._lock:
            self._closed = True
        if self._keeper.is_alive():
            self._keeper.join(timeout=5)


def _busy(who: str) -> HalError:
    return HalError(ErrorKind.BUSY, "packet engine", got=f"{who} holds it", limit=f"{HELD_SECONDS:g} s",
                    fix="Try again; dsn card status says how the engine is doing.")  # fmt: skip


def _ordinal(number: int) -> str:
    return {1: "the first time", 2: "the second time", 3: "the third time"}.get(number, f"the {number}th time")


def _first(error: IntentError | HalError) -> str:
    """An error in one line."""
    if isinstance(error, HalError):
        return str(error)
    problem = next((one for one in error.problems if not one.warning), None)
    return problem.sentence if problem is not None else str(error)
