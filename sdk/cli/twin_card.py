"""An intent on a twin in this very process: what `--intent` looks at. No root, no daemon, the same code."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import entry_points
from typing import Final

from hal.packet.contract import (
    Backend,
    Capabilities,
    Counters,
    Events,
    Flow,
    FlowFilter,
    LoadConfig,
    PacketIn,
    PortConfig,
    Snapshot,
    Trace,
)
from hal.packet.derive import sync
from sdk.api.applied import Applied
from sdk.cli.client import CardStatus, ObjectStatus, Replay
from services.core import intent
from services.core.diff import change_summary, changes, since, words
from services.core.intent import Source
from services.core.objects import Objects
from services.core.plain import plain
from services.core.plan import Context, Plan, assumed_context, plan_all
from services.core.service import Services, View

DEVICE: Final = "replay"


@dataclass
class TwinCard:
    """A `CardClient` over a twin (or any backend that is loaded). Made by `open_twin`."""

    backend: Backend
    services: Services
    context: Context
    files: tuple[Source, ...] = ()
    loaded: Objects | None = None
    plan: Plan | None = None
    generation: int = 0
    since: dict[tuple[str, str], int] = field(default_factory=dict)

    def status(self) -> CardStatus:
        ports = {port.config.name: port.link for port in self.capabilities().ports}
        return CardStatus("twin", 0, 0, "forwarding", self.generation, "", "", 1, "", ports)

    def objects(self) -> list[ObjectStatus]:
        if self.loaded is None or self.plan is None:
            return []
        view = View.of(self.plan, self.backend)
        result = []
        for item in self.loaded:
            status = plain(self.services.status(item, self.loaded, view))
            said = words(item, self.services)
            both = (self.since[item.key], self.since[item.key])
            result.append(ObjectStatus(item.kind, item.name, said, *both, "", status))
        return result

    def intent(self) -> tuple[Source, ...]:
        return self.files

    def planning(self) -> Context:
        return replace(self.context, installed=self.snapshot().tables)

    def apply(self, files: Sequence[Source], *, set_name: str = "") -> Applied:
        files = intent.with_set(self.files, files, set_name)
        loaded = intent.load(files, self.services, self.context)
        objects = loaded.require()
        plan = plan_all(objects, self.planning(), self.services)
        digest = intent.digest(files)
        tables = self.capabilities().schema.table_numbers
        made = sync(self.backend.writer(), self.backend, *plan.rows, tables=tables, tag=digest, names=plan.names)
        self.generation = made.generation
        self.since = since(self.loaded or Objects(), self.since, objects, self.generation)
        summary = change_summary(changes(self.loaded or Objects(), objects, self.services))
        self.files, self.loaded, self.plan = tuple(files), objects, plan
        return Applied(self.generation, digest, summary, tuple(one.sentence for one in loaded.warnings))

    def stop(self) -> str:
        self.backend.stop()
        return ""

    def capabilities(self) -> Capabilities:
        return self.backend.capabilities()

    def snapshot(self, tables: Iterable[str] | None = None) -> Snapshot:
        return self.backend.snapshot(tables)

    def flows(self, which: FlowFilter | None = None) -> list[Flow]:
        return self.backend.flows(which)

    def settle(self) -> None:
        self.backend.settle()

    def counters(self) -> Counters:
        return self.backend.counters()

    def events(self, cursor: int = 0) -> Events:
        del cursor  # of a twin that was made for this one question nothing was read before
        return self.backend.events()

    def trace(self, packet: PacketIn) -> Trace:
        return self.backend.trace(packet)

    def replay(self, packets: Sequence[PacketIn], *, witness: bool = True, pickup: bool = False) -> Replay:
        shard = self.backend.shard(connections=65536, pickup=pickup)
        try:
            return Replay(tuple(shard.replay(packets, witness)), tuple(shard.flows()))
        finally:
            shard.close()

    def close(self) -> None:
        self.backend.close()


def open_twin(files: Sequence[Source], services: Services, context: Context | None = None) -> TwinCard:
    """A twin that has this intent. Without a context every port that the intent names is there.

    Raises:
        IntentError: the intent is refused.
        HalError: the twin refuses its entries.
    """
    objects = intent.load(files, services, context).require()
    context = context if context is not None else assumed_context(objects)
    card = TwinCard(_loaded(context), services, context)
    card.apply(files)
    return card


def _loaded(context: Context) -> Backend:
    """A twin with the context's ports, forwarding."""
    ports = tuple(PortConfig(port.number, name, DEVICE, port.mtu, port.mac) for name, port in context.ports.items())
    # Found as anyone's backend is: only boards name one.
    (point,) = entry_points(group="dsn.backends", name="twin")
    backend: Backend = point.load().Twin()
    # As a card at rest is: the time after its start in which it picks TCP up mid-stream is over.
    backend.load(LoadConfig(ports=ports, capacities=context.capacities, pickup_ns=0))
    backend.start()
    return backend
