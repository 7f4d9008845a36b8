"""The way from an intent to the engine's tables: read, planned, brought there by one commit, with the taps it needs.

A commit that got no answer is asked for by its transaction: nobody guesses what became of it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from hal.errors import ErrorKind, HalError
from hal.later import Later
from hal.packet.contract import Backend, FlowFilter, Generation, LoadConfig, OutcomeKind, Writer
from hal.packet.derive import SyncResult, sync
from sdk.card_config import owned
from sdk.dsnd.naming import named
from sdk.dsnd.store import StoredIntent
from sdk.dsnd.taps import Taps
from services.core.intent import Intent, Source, load, with_excerpts
from services.core.objects import IntentError, Objects
from services.core.plan import Context, Plan, card_ports, card_stages, plan_all
from services.core.service import Services
from services.routing.plan import NO_PORT

if TYPE_CHECKING:
    import pyroute2
else:
    pyroute2 = Later("pyroute2")

OWNER = "dsnd"
"""As whom it writes: of the engine's tags this one's is its own."""
ENDING_SECONDS = 1.0
"""From when an engine closes its connections until its process is gone."""


class NobodyKnowsError(HalError):
    """A commit without an answer, of an engine that lives and doesn't say."""


class Tables:
    """The daemon's own tables of the engine that runs.

    Args:
        backend: gives the engine as it is now; raises HalError while there is none.
        alive: whether its process still runs.
        config: what engines are loaded with.
        services: who plans.
        seed: gives the card's secret.
        log: where one-line messages go.
        taps: punt taps to move and to configure; None: the board has none.
    """

    def __init__(
        self,
        backend: Callable[[], Backend],
        alive: Callable[[], bool],
        config: LoadConfig,
        services: Services,
        seed: Callable[[], bytes],
        log: Callable[[str], None],
        taps: Taps | None = None,
    ) -> None:
        self._backend = backend
        self._alive = alive
        self._config = config
        self._services = services
        self._seed = seed
        self._log = log
        self._taps = taps
        self._writer: Writer | None = None
        self._transaction: int | None = None  # of the last commit, None where none was sent

    def connect(self) -> None:
        """Write to the engine that runs now. Raises HalError."""
        self._writer = self._backend().writer(OWNER)

    def disconnect(self) -> None:
        """The engine is gone."""
        self._writer = None

    def _connected(self) -> Writer:
        if self._writer is None:
            raise HalError(ErrorKind.LOST, "packet engine", got="it is being restarted", fix="Try again.")
        return self._writer

    # --- reading and planning ---

    def context(self) -> Context:
        """What planning depends on besides the objects."""
        backend = self._backend()
        now = backend.capabilities()
        return Context(
            ports=card_ports(now),
            seed=self._seed(),
            capacities=now.capacities,
            installed=backend.snapshot(["firewall_rule", "vrf"]).tables,
            stages=card_stages(now),
            owners=owned(self._config.owners),
            connections=now.connections * now.workers,
        )

    def read(self, intent: StoredIntent, context: Context) -> Intent:
        """The objects of a stored intent, and what is wrong with them."""
        return load(_sources(intent), self._services, context)

    def planned(self, intent: StoredIntent, context: Context | None = None) -> tuple[Intent, Objects, Plan]:
        """Read and planned, for the engine as it is now or as it was in that context. Raises IntentError with all that
        is wrong with it."""
        context = context or self.context()
        read = self.read(intent, context)
        objects = read.require()
        plan = plan_all(objects, context, self._services)
        errors = [problem for problem in plan.problems if not problem.warning]
        if errors:
            raise IntentError((*read.warnings, *with_excerpts(errors, _sources(intent))), objects)
        return read, objects, plan

    # --- writing ---

    def _own(self) -> tuple[str, ...]:
        """The tables that this daemon writes: all that no other owner was given."""
        others = owned(self._config.owners)
        return tuple(name for name in self._backend().capabilities().schema.table_numbers if name not in others)

    def commit(self, plan: Plan, digest: str, before: Plan | None) -> SyncResult:
        """Bring the tables to a plan by one commit; `before` is the plan that they are of. What needs another owner's
        table, planning has refused; `sync` and the engine would too.

        Raises:
            NobodyKnowsError: an engine that lives doesn't say whether it has it; `went_through` asks again.
            HalError: nothing changed.
        """
        writer, own = self._connected(), self._own()
        self._transaction = None
        try:
            if self._taps is not None:
                self._taps.give(_tap_ports(plan))
            result = sync(
                writer, self._backend(), *plan.rows,
                tag=digest, names=plan.names, tables=own, transaction=self._number,
            )  # fmt: skip
        except HalError as error:
            generation = self._outcome(error)
            if generation is None:
                self.settle_taps(before)
                raise named(error, self._backend(), plan.names, owned(self._config.owners)) from error
            self._log(f"lost the engine's answer; it holds {digest}")
            result = SyncResult(generation)
        self.settle_taps(plan)
        return result

    def _number(self) -> int:
        self._transaction = secrets.randbits(64)
        return self._transaction

    def _outcome(self, error: HalError) -> Generation | None:
        """The generation that a commit became which ended in this error, None where nothing of it is or will be.

        Raises:
            NobodyKnowsError: an engine that lives doesn't say.
        """
        if error.kind not in (ErrorKind.LOST, ErrorKind.TIMEOUT) or self._transaction is None:
            return None
        try:
            if error.kind is ErrorKind.LOST:  # of a new connection; after TIMEOUT the old one keeps the order
                self.connect()
            return self.went_through()
        except HalError as other:
            if self._goes_on(other):
                limit = "an answer to this commit; it is found out as soon as the engine answers"
                fix = "Ask dsn card status which intent it holds."
                raise NobodyKnowsError(
                    ErrorKind.TIMEOUT, "packet engine", got=str(error), limit=limit, fix=fix
                ) from other
            self._log(f"the engine is gone: {other}")
            return None

    def _goes_on(self, error: HalError) -> bool:
        """Whether the engine lives. One that has closed its connections is about to end, and its process is there for a
        moment longer: the kernel closes what it holds before it takes it away."""
        deadline = time.monotonic() + (ENDING_SECONDS if error.kind is ErrorKind.LOST else 0)
        while alive := self._alive():
            if time.monotonic() >= deadline:
                break
            time.sleep(0.02)
        return alive

    def went_through(self) -> Generation | None:
        """The generation that the last commit became, None where nothing of it is or will be. Raises HalError where
        the engine doesn't say."""
        if self._transaction is None:
            return None
        outcome = self._connected().outcome(self._transaction)
        return outcome.generation if outcome.kind is OutcomeKind.COMMITTED else None

    def forget(self, which: FlowFilter) -> int:
        """Take connections out of the flow table; returns how many. Raises HalError."""
        return self._connected().forget(which)

    def settle_taps(self, plan: Plan | None) -> None:
        """Leave the taps as this plan has them, with the card's addresses. What the kernel refuses is told; packets
        are forwarded all the same."""
        if self._taps is None or plan is None:
            return
        vrfs = _vrf_names(plan)
        rows = [row for part in plan.tables.get("local_address", ()) for row in part]
        try:
            self._taps.settle(_tap_ports(plan))
            self._taps.give(_tap_ports(plan))
            self._taps.configure((vrfs.get(row.to_dict()["vrf"], ""), row) for row in rows)
        except (HalError, OSError, pyroute2.NetlinkError) as error:
            self._log(f"a punt tap can't be configured: {error}")


def _sources(intent: StoredIntent) -> list[Source]:
    return [Source(name, text.encode("utf-8", "surrogateescape")) for _set, name, text in intent.files]


def _vrf_names(plan: Plan) -> dict[int, str]:
    return {row_id: origin.name for (table, row_id), origin in plan.origins.items() if table == "vrf"}


def _tap_ports(plan: Plan) -> dict[str, int]:
    """VRF -> port of its punt tap."""
    names = _vrf_names(plan)
    rows = [row.to_dict() for part in plan.tables.get("vrf", ()) for row in part]
    return {names[row["id"]]: row["punt_port"] for row in rows if row["id"] in names and row["punt_port"] != NO_PORT}
