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
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from board_support.board import Hardware
from hal.errors import ErrorKind, HalError
from hal.packet.contract import Backend, EventKind, FlowFilter, LoadConfig
from sdk.api.applied import Applied
from sdk.dsnd.asked import Outstanding, refusal
from sdk.dsnd.backoff import Backoff
from sdk.dsnd.intents import Asked, Holding, Intents
from sdk.dsnd.interfaces import Interfaces
from sdk.dsnd.loaded import Record, check
from sdk.dsnd.patience import Probe, doing
from sdk.dsnd.store import Fault, Store, StoredIntent
from sdk.dsnd.tables import NobodyKnowsError, Tables
from sdk.dsnd.taps import Taps
from services.core.objects import IntentError
from services.core.service import Services

WATCH_SECONDS = 0.02
END_SECONDS = 10.0
HELD_SECONDS = 10.0
"""How long a call waits for another that changes the engine."""
STUCK_SECONDS = 2.0
"""The same where the engine is stopped or waits for a device: the other waits for it too."""
LOOK_SECONDS = 1.0
"""Between two looks at interfaces."""
PLANNED_AGAIN = 3
"""How often an apply plans at most where the engine that it plans for dies meanwhile."""


@dataclass(frozen=True)
class Life:
    """How the engine is doing. `state`: "starting", "forwarding", "restarting", "stopped"."""

    state: str = "starting"
    starts: int = 0
    fault: str = ""


class Lock(Protocol):
    """Of `threading`."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool: ...


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
        self._log = log
        self._tell = tell
        self._backoff = backoff or Backoff()
        self.tables = Tables(lambda: self.backend, hardware.packet.alive, config, services, store.seed, log, taps)
        self._intents = Intents(store, self.tables, lambda: self.backend, log, self._doubted, self._mended)
        self._taps = taps
        self._record = record
        self._interfaces = interfaces
        self._lock = threading.RLock()
        self._applying = threading.Lock()  # taken before the other
        self._ending = threading.Event()
        self._backend: Backend | None = None
        self._closed = False
        self._last = store.last_fault()
        self._look_again = 0.0
        self._refusal = ""
        self._born_ns = 0  # as `PacketProcess.started_ns`, or when the last start was tried
        self._deaths = 0
        self._keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)

    @property
    def holding(self) -> Holding | None:
        """What the engine holds of this daemon's; None: nobody knows."""
        return self._intents.holding

    @property
    def stored(self) -> str:
        """Digest of the good intent on disk; "": it can't be read."""
        return self._intents.stored

    def outstanding(self) -> Outstanding | None:
        """What was asked for last and isn't held; None where the card has what was asked for."""
        return self._intents.outstanding()

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
        self._intents.resume()
        self.life = replace(self.life, state="forwarding")
        backend.start()  # where an earlier dsnd ended in between

    def _first_launch(self) -> None:
        before = self._record.read() if self._record is not None else None
        if before is not None and self._interfaces is not None:
            self._interfaces.release_earlier(before.ports)
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
        if self._record is not None:  # first: by it `dsn card stop` knows what to give back, whenever we are killed
            try:
                self._record.write(self.config)
            except OSError as error:
                self._log(f"what the engine is loaded with can't be noted: {error}")
        if self._interfaces is not None:
            self._interfaces.prepare()
        if self._taps is not None:
            self._taps.prepare()
        backend = self.hardware.packet.launch()
        try:
            backend.load(self.config)
            self._take(backend)
            self._intents.reload()
            backend.start()
        except BaseException:
            self._forget_engine()
            with contextlib.suppress(HalError):
                backend.stop()
            raise
        self.life = replace(self.life, state="forwarding", starts=self.life.starts + 1)
        if awaits := self.awaits():
            self._log(awaits)
            self._tell(EventKind.OWNER_AWAITED, ", ".join(backend.capabilities().awaited))

    def _take(self, backend: Backend) -> None:
        self._backend = backend
        self.tables.connect()
        self._born_ns = self.hardware.packet.started_ns()

    # --- intent ---

    def apply(self, files: tuple[tuple[str, str, str], ...], only_set: str = "") -> Applied:
        """Make (set, file, text)s the whole intent, or the whole of one set; acknowledged when durable and in force.

        Raises:
            IntentError: what is wrong with it; nothing changed.
            HalError: why the engine refused; nothing changed. After LOST or TIMEOUT the outcome is asked first.
        """
        self._get(self._applying, "another apply")
        try:
            applied = self._apply(files, only_set)
        except (IntentError, HalError) as error:
            asking, self._intents.refused = self._intents.asking, None
            if not isinstance(error, NobodyKnowsError):
                plans = (asking.plan if asking is not None else None, self._intents.plan_held())
                self._intents.refused = refusal(error, asking.objects if asking is not None else None, *plans)
            raise
        else:
            self._intents.refused = None
            return applied
        finally:
            self._intents.asking = None
            self._applying.release()

    def _apply(self, files: tuple[tuple[str, str, str], ...], only_set: str) -> Applied:
        files = tuple((only_set, name, text) for _set, name, text in files)
        for _ in range(PLANNED_AGAIN):
            with self._held():
                self._open()
                self._intents.resolve()
                kept = tuple(one for one in self.store.good().files if one[0] != only_set) if only_set else ()
                backend, context = self.backend, self.tables.context()
            intent = StoredIntent((*kept, *files))
            read, objects, plan = self.tables.planned(intent, context)  # long for a large one: nobody waits for it
            asked = self._intents.asking = Asked(intent, objects, plan)
            with self._held():
                self._open()
                if self._backend is backend:
                    result = self._intents.commit(asked)
                    warnings = (*read.warnings, *(problem for problem in plan.problems if problem.warning))
                    return Applied(result.generation, intent.digest, result.words, tuple(map(str, warnings)))
        raise HalError(ErrorKind.LOST, "packet engine", got=f"it died {PLANNED_AGAIN} times meanwhile",
                       fix="Nothing was changed. Look why: dsn card status, dsnd.log.")  # fmt: skip

    def _open(self) -> None:
        if self._closed or self.life.state == "stopped":
            raise HalError(ErrorKind.LOST, "dsnd", got="it is ending", fix="Start it again: dsn card start.")

    # --- the engine's life ---

    def faults(self) -> Fault:
        """What is wrong now, or was last: of an earlier dsnd where this one has seen nothing yet."""
        lost = self._interfaces.lost() if self._interfaces is not None and self.life.state == "forwarding" else ()
        if awaits := self.awaits():
            lost = (*lost, awaits)
        last = self._last
        if not self.life.fault and lost:
            return Fault("; ".join(lost))
        return replace(last, words="; ".join(filter(None, (*lost, last.words))))

    def _fault(self, words: str) -> None:
        """Tell it in the card's status, and to those after us."""
        self.life = replace(self.life, fault=words)
        self._last = Fault.of_now(words)
        self.store.keep_fault(self._last)

    def _doubted(self, words: str) -> None:
        self._log(words)
        self._fault(words)

    def _mended(self) -> None:
        self.life, self._last = replace(self.life, fault=""), Fault()
        self.store.keep_fault(self._last)

    def _look_at_interfaces(self) -> None:
        if self._interfaces is None or self.life.state != "forwarding" or time.monotonic() < self._look_again:
            return
        if not self._lock.acquire(blocking=False):  # whoever has it may be ending the engine; the next look is soon
            return
        try:
            if self._ending.is_set():
                return
            self._look_again = time.monotonic() + LOOK_SECONDS
            changes = self._interfaces.changes(self.hardware.packet.take_up)
        finally:
            self._lock.release()
        for kind, words in changes:
            self._log(words)
            self._tell(kind, words)

    def awaits(self) -> str:
        """Whom the engine waits for before it forwards, "" for nobody."""
        awaited: tuple[str, ...] = ()
        with contextlib.suppress(HalError):
            awaited = self.backend.capabilities().awaited if self.config.awaited else ()
        if not awaited:
            return ""
        who = ", ".join(awaited)
        return f"nothing is forwarded: {who} of [owners] {'has' if len(awaited) == 1 else 'have'} yet to commit"

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
            return
        if self._intents.unsure is not None:
            with self._lock, contextlib.suppress(HalError):
                self._intents.resolve()
        self._look_at_interfaces()

    def _forget_engine(self) -> None:
        self._backend, self._intents.unsure = None, None
        self.tables.disconnect()

    def _restart(self) -> None:
        lived, how = max(0, _now_ns() - self._born_ns) / 1e9, self.hardware.how_ended()
        died = f"died after {_lifetime(lived)}{f', {how}' if how else ''}"
        self._deaths = self._backoff.deaths_after(self._deaths, lived)
        wait_s = self._backoff.wait_s(self._deaths)
        with self._lock:
            self._forget_engine()
            again = f"{died}, {_ordinal(self._deaths)} in a row; started again in {wait_s:.2f} s"
            if self.life.state == "restarting":  # it didn't even start: why is worth more than that
                again = f"{self._refusal}; tried again in {wait_s:.2f} s"
            else:
                self._tell(EventKind.ENGINE_DIED, died.removeprefix("died "))
            self.life = replace(self.life, state="restarting")
            self._fault(again)
        self._log(f"the engine {died}; started again in {wait_s:.2f} s")
        if self._ending.wait(wait_s):
            return
        self._born_ns = _now_ns()
        try:
            with self._lock:
                if self._ending.is_set():  # it was stopped in between
                    return
                self._launch()
            if not self._intents.damaged:
                times = f", {_ordinal(self._deaths)} in a row" if self._deaths > 1 else ""
                self._fault(f"{died}{times}")
            self._log(f"the engine runs again, pid {self.hardware.packet.pid()}")
            self._tell(
                EventKind.ENGINE_STARTED, f"pid {self.hardware.packet.pid()}, start {self.life.starts} of this dsnd"
            )
        except Exception as error:  # noqa: BLE001 - whatever it was, the next try may go well
            self._refusal = str(error) or type(error).__name__
            self._fault(self._refusal)
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
        self._get(self._lock, "another call")
        try:
            self.must_answer()
            yield
        finally:
            self._lock.release()

    def _get(self, lock: Lock, who: str) -> None:
        """Take a lock. Raises HalError(BUSY) where another call has it for long: as long as the engine works a good
        while, where it can't (stopped, waiting for a device) a short one."""
        begun = time.monotonic()
        while not lock.acquire(timeout=STUCK_SECONDS / 4):
            waited, state = time.monotonic() - begun, doing(self.hardware.packet.pid())
            limit = STUCK_SECONDS if state.stuck else HELD_SECONDS
            if waited >= limit:
                fix = state.fix or "Try again; dsn card status says how the engine is doing."
                raise HalError(ErrorKind.BUSY, "packet engine", got=f"{who} holds it{state.words}",
                               limit=f"{limit:g} s", fix=fix)  # fmt: skip

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


def _now_ns() -> int:
    """Of the clock by which engines tell their start."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def _lifetime(seconds: float) -> str:
    """How long something lived, in its two largest units."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86400)
    if hours == 0:
        return f"{minutes} min {int(seconds % 60)} s"
    return f"{hours} h {minutes % 60} min" if days == 0 else f"{days} d {hours % 24} h"


def _ordinal(number: int) -> str:
    return {1: "the first time", 2: "the second time", 3: "the third time"}.get(number, f"the {number}th time")
