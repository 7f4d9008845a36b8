"""The daemon's API as the CLI's `CardClient`.

gRPC takes a quarter of a second to import: this module is imported where a card is asked, and only there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hal.errors import ErrorKind, HalError
from hal.packet.contract import Capabilities, Counters, Events, Flow, FlowFilter, PacketIn, Snapshot, Trace
from hal.packet.frame._generated import Seed
from sdk.api import client
from sdk.api.applied import Applied
from sdk.api.client import GrpcCard, IntentText
from sdk.cli.client import CardStatus, ObjectStatus, Replay

if TYPE_CHECKING:
    from services.core.intent import Source
    from services.core.plan import Context


class DaemonCard:
    """A card behind its daemon's socket."""

    def __init__(self, socket: Path) -> None:
        self._card = GrpcCard(socket)

    def status(self) -> CardStatus:
        found = self._card.status()
        ports = {port.config.name: port.link for port in found.capabilities.ports}
        return CardStatus(
            found.board,
            found.daemon_pid,
            found.engine_pid,
            found.engine_state,
            found.generation,
            found.engine_tag,
            found.intent_digest,
            found.engine_starts,
            found.last_fault,
            ports,
            found.namespaces,
            found.last_fault_time,
        )

    def objects(self) -> list[ObjectStatus]:
        return [
            ObjectStatus(
                one.kind,
                one.name,
                one.summary,
                one.wanted_generation,
                one.applied_generation,
                one.reason,
                json.loads(one.status or "{}"),
            )
            for one in self._card.objects()
        ]

    def intent(self) -> tuple[Source, ...]:
        from services.core.intent import Source

        return tuple(Source(file.name, file.text, file.set) for file in self._card.intent())

    def planning(self) -> Context:
        from services.core.plan import Context, card_ports, card_stages

        status = self._answering()
        now, state = status.capabilities, self.snapshot()
        return Context(
            ports=card_ports(now),
            seed=next((row.value for row in state.rows("seed") if isinstance(row, Seed)), b""),
            capacities=now.capacities,
            installed=state.tables,
            stages=card_stages(now),
            owners={table: owner for table, owner in now.owners.items() if owner != "dsnd"},
            connections=now.connections * now.workers,
        )

    def apply(self, files: Sequence[Source], *, set_name: str = "") -> Applied:
        texts = [IntentText(file.file, file.data, set_name) for file in files]
        return self._card.apply(texts, set_name)

    def capabilities(self) -> Capabilities:
        return self._answering().capabilities

    def _answering(self) -> client.CardStatus:
        """The card with an engine that says what it can. Raises HalError where it doesn't."""
        found = self._card.status()
        if found.engine_state == "does not answer":
            raise HalError(ErrorKind.TIMEOUT, "packet engine", got="no answer",
                           fix="Look at its process (ps: T is stopped): continue it or kill it.")  # fmt: skip
        if found.engine_state != "forwarding":
            raise HalError(ErrorKind.LOST, "packet engine", got=found.last_fault or found.engine_state,
                           fix="Try again; dsn card status says how it is doing.")  # fmt: skip
        return found

    def snapshot(self, tables: Iterable[str] | None = None) -> Snapshot:
        return self._card.snapshot(tables)

    def flows(self, which: FlowFilter | None = None) -> list[Flow]:
        return self._card.flows(which)

    def settle(self) -> None:
        self._card.counters(settle=True)

    def counters(self) -> Counters:
        return self._card.counters()

    def events(self, cursor: int = 0) -> Events:
        return self._card.events(cursor)

    def trace(self, packet: PacketIn) -> Trace:
        return self._card.trace(packet)

    def replay(self, packets: Sequence[PacketIn], *, witness: bool = True, pickup: bool = False) -> Replay:
        results, flows = self._card.replay(packets, witness, pickup)
        return Replay(tuple(results), tuple(flows))

    def stop(self) -> str:
        return self._card.stop()

    def close(self) -> None:
        self._card.close()
