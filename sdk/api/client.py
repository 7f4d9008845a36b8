"""The client of a card's API: the contract's values over a unix socket."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import grpc

from hal.packet.contract import (
    Capabilities,
    Counters,
    Events,
    Flow,
    FlowFilter,
    PacketIn,
    PacketResult,
    Snapshot,
    Trace,
)
from hal.packet.schema.classes import row_classes
from hal.packet.schema.portable import made_classes
from hal.packet.schema.registry import schema
from sdk.api import card_pb2 as pb
from sdk.api import card_pb2_grpc, problems, values
from sdk.api.applied import Applied

F = TypeVar("F", bound=Callable[..., Any])
REPLAY_AT_ONCE = 512
MOST_MESSAGE = 256 << 20
SECONDS = {"GetStatus": 10.0, "GetIntent": 15.0, "GetEvents": 30.0, "Trace": 30.0, "Stop": 60.0, "Replay": 600.0}
"""How long a call may take in all; others 120 s. The card ends streams that rest."""
OTHERS_SECONDS = 120.0


@dataclass(frozen=True)
class CardStatus:
    """How the card is doing. Digests are tags as the engine carries them; pids are 0 where there is none; `namespaces`:
    punt tap's port -> the network namespace that its programs are started in."""

    board: str
    daemon_pid: int
    engine_pid: int
    engine_state: str
    generation: int
    engine_tag: str
    intent_digest: str
    engine_starts: int
    last_fault: str
    last_fault_time: str
    namespaces: Mapping[str, str]
    capabilities: Capabilities


@dataclass(frozen=True)
class IntentText:
    """One file of an intent, as it was given."""

    name: str
    text: bytes
    set: str = ""


@dataclass(frozen=True)
class ObjectStatus:
    """The status of an object. `status` is its kind's status message as JSON (`services.core.plain`)."""

    kind: str
    name: str
    summary: str
    wanted_generation: int
    applied_generation: int
    reason: str
    status: str


def _raises(method: F) -> F:
    @wraps(method)
    def call(self: GrpcCard, *arguments: Any, **more: Any) -> Any:
        try:
            return method(self, *arguments, **more)
        except grpc.RpcError as error:
            problems.raise_for(error, str(self.socket))
            raise

    return cast("F", call)


class GrpcCard:
    """A card behind its socket. Every call raises HalError (LOST where nobody answers) or IntentError.

    Args:
        socket: the daemon's socket, RUN/dsnd.sock.
        timeout: seconds for one call, whichever; None: as is right for each (`SECONDS`).
    """

    def __init__(self, socket: Path, timeout: float | None = None) -> None:
        self.socket = socket
        self._timeout = timeout
        options = [
            ("grpc.max_receive_message_length", MOST_MESSAGE),
            ("grpc.max_send_message_length", MOST_MESSAGE),
            ("grpc.enable_http_proxy", 0),
        ]
        self._channel = grpc.insecure_channel(f"unix:{socket}", options=options)
        self._card = card_pb2_grpc.CardStub(self._channel)

    def close(self) -> None:
        self._channel.close()

    def _seconds(self, verb: str) -> float:
        return SECONDS.get(verb, OTHERS_SECONDS) if self._timeout is None else self._timeout

    @_raises
    def status(self) -> CardStatus:
        message = self._card.GetStatus(pb.GetStatusRequest(), timeout=self._seconds("GetStatus"))
        return CardStatus(
            board=message.board,
            daemon_pid=message.daemon_pid,
            engine_pid=message.engine_pid,
            engine_state=message.engine_state,
            generation=message.generation,
            engine_tag=message.engine_tag,
            intent_digest=message.intent_digest,
            engine_starts=message.engine_starts,
            last_fault=message.last_fault,
            last_fault_time=message.last_fault_time,
            namespaces=dict(sorted(message.namespaces.items())),  # a map on the wire has no order
            capabilities=values.capabilities_from_pb(message, schema()),
        )

    @_raises
    def apply(self, files: Sequence[IntentText], only_set: str = "") -> Applied:
        some = [pb.IntentFile(name=file.name, text=file.text, set=file.set) for file in files]
        request = pb.ApplyRequest(files=some, set=only_set, problems_in_reply=True)
        reply = self._card.Apply(request, timeout=self._seconds("Apply"))
        if reply.HasField("refused"):
            raise problems.from_pb(reply.refused)
        return Applied(reply.generation, reply.digest, reply.summary, tuple(reply.warnings))

    @_raises
    def intent(self) -> tuple[IntentText, ...]:
        reply = self._card.GetIntent(pb.GetIntentRequest(), timeout=self._seconds("GetIntent"))
        return tuple(IntentText(file.name, file.text, file.set) for file in reply.files)

    @_raises
    def stop(self) -> str:
        """End the engine and the daemon. Returns what was unusual about it, "" for nothing."""
        return str(self._card.Stop(pb.StopRequest(), timeout=self._seconds("Stop")).told)

    @_raises
    def snapshot(self, tables: Iterable[str] | None = None) -> Snapshot:
        request = pb.GetTablesRequest(tables=list(tables or ()))
        parts = list(self._card.GetTables(request, timeout=self._seconds("GetTables")))
        classes = row_classes()
        if any(part.row and part.row not in classes for part in parts):  # of a stage that isn't installed here
            classes |= made_classes(self.status().capabilities.schema, classes)
        return values.snapshot_from_parts(parts, classes)

    @_raises
    def flows(self, which: FlowFilter | None = None) -> list[Flow]:
        request = pb.GetFlowsRequest(filter=values.filter_to_pb(which))
        return [values.flow_from_pb(flow) for flow in self._card.GetFlows(request, timeout=self._seconds("GetFlows"))]

    @_raises
    def forget(self, which: FlowFilter) -> int:
        request = pb.ForgetFlowsRequest(filter=values.filter_to_pb(which))
        return int(self._card.ForgetFlows(request, timeout=self._seconds("ForgetFlows")).forgotten)

    @_raises
    def counters(self, settle: bool = True) -> Counters:
        reply = self._card.GetCounters(pb.GetCountersRequest(settle=settle), timeout=self._seconds("GetCounters"))
        return values.counters_from_pb(reply)

    @_raises
    def events(self, cursor: int = 0) -> Events:
        request = pb.GetEventsRequest(cursor=cursor)
        return values.events_from_pb(self._card.GetEvents(request, timeout=self._seconds("GetEvents")))

    @_raises
    def objects(self) -> list[ObjectStatus]:
        return [
            ObjectStatus(
                one.kind,
                one.name,
                one.summary,
                one.wanted_generation,
                one.applied_generation,
                one.reason,
                one.status,
            )
            for one in self._card.GetObjects(pb.GetObjectsRequest(), timeout=self._seconds("GetObjects"))
        ]

    @_raises
    def trace(self, packet: PacketIn) -> Trace:
        request = pb.TraceRequest(packet=values.packet_to_pb(packet))
        return values.trace_from_pb(self._card.Trace(request, timeout=self._seconds("Trace")))

    @_raises
    def replay(
        self, packets: Sequence[PacketIn], witness: bool = True, pickup: bool = False
    ) -> tuple[list[PacketResult], list[Flow]]:
        """Run packets through a private shard of the card; their results, and the connections that they left in it.
        `pickup`: TCP may be picked up mid-stream there."""

        def requests() -> Iterator[pb.ReplayRequest]:
            for start in range(0, len(packets), REPLAY_AT_ONCE):
                some = [values.packet_to_pb(packet) for packet in packets[start : start + REPLAY_AT_ONCE]]
                yield pb.ReplayRequest(packets=some, witness=witness, pickup=pickup)

        results: list[PacketResult] = []
        flows: list[Flow] = []
        for reply in self._card.Replay(requests(), timeout=self._seconds("Replay")):
            if reply.WhichOneof("what") == "flow":
                flows.append(values.flow_from_pb(reply.flow))
            else:
                results.append(values.result_from_pb(reply.result))
        return results, flows
