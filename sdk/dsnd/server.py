"""The API over a unix socket: calls become calls of `Card`, values become messages."""

from __future__ import annotations

import json
import os
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar, cast

import grpc

from hal.authority import NOBODY, Holder
from hal.errors import ErrorKind, HalError
from hal.packet.contract import Shard
from sdk.api import card_pb2 as pb
from sdk.api import card_pb2_grpc, problems, values
from sdk.card_config import owned
from sdk.dsnd.asked import states
from sdk.dsnd.card import Card
from sdk.dsnd.collector import Collector
from sdk.dsnd.patience import Streams
from sdk.dsnd.tables import OWNER
from sdk.dsnd.taps import in_use
from services.core.diff import words
from services.core.objects import IntentError
from services.core.plain import plain
from services.core.service import View

F = TypeVar("F", bound=Callable[..., Any])

MOST_MESSAGE = 256 << 20
REPLAY_CONNECTIONS = 65536
AT_ONCE = 24
"""Calls that are answered at once, streams included: more are refused as RESOURCE_EXHAUSTED."""


def _answers(method: F) -> F:
    """Turn what a call raises into a status with a Problem; what nobody foresaw is logged and told as LOST, since what
    became of the call is unknown. Streams are bounded in number, and one that rests too long is ended."""
    name = method.__name__

    def fail(self: CardServicer, context: grpc.ServicerContext, error: Exception) -> None:
        if not context.is_active():
            raise error  # who asked is gone
        if isinstance(error, HalError):
            code, problem = problems.of_hal(error)
        elif isinstance(error, IntentError):
            code, problem = problems.of_intent(error)
        else:
            self.log(f"{name} failed:\n" + "".join(traceback.format_exception(error)).rstrip())
            what = HalError(ErrorKind.LOST, f"{name} of dsnd", got=f"{type(error).__name__}: {error}",
                            fix="Read dsnd.log, and look what became of it: dsn card status.")  # fmt: skip
            code, problem = grpc.StatusCode.INTERNAL, problems.of_hal(what)[1]
        context.set_trailing_metadata(((problems.METADATA_KEY, problem.SerializeToString()),))
        context.abort(code, problems.details(problem))

    if name in STREAMS:

        @wraps(method)
        def stream(self: CardServicer, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            try:
                with self.streams.one(name, context) as moved:
                    if name == "Replay":
                        request = moved.each(request)
                    yield from moved.each(method(self, request, context))
            except Exception as error:  # noqa: BLE001 - told and logged
                fail(self, context, error)

        return cast("F", stream)

    @wraps(method)
    def unary(self: CardServicer, request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return method(self, request, context)
        except Exception as error:
            fail(self, context, error)
            raise

    return cast("F", unary)


STREAMS = ("GetTables", "GetFlows", "GetObjects", "Replay")


class CardServicer(card_pb2_grpc.CardServicer):
    """The service `dsn.v1.Card`.

    Args:
        card: what it serves.
        collector: events, kept over restarts of the engine.
        end: called when the card is told to stop.
        log: where lines about what nobody foresaw go.
        streams: how many there may be, and how long one may rest.
    """

    def __init__(
        self,
        card: Card,
        collector: Collector,
        end: Callable[[], None],
        log: Callable[[str], None],
        streams: Streams | None = None,
    ) -> None:
        self.log = log
        self.streams = streams or Streams()
        self._card = card
        self._collector = collector
        self._end = end

    @_answers
    def GetStatus(self, request: pb.GetStatusRequest, context: grpc.ServicerContext) -> pb.CardStatus:
        card = self._card
        fault = card.faults()
        status = pb.CardStatus(
            board=card.hardware.facts.name,
            daemon_pid=os.getpid(),
            engine_pid=card.hardware.packet.pid() or 0,
            engine_state=card.life.state,
            intent_digest=card.stored,
            engine_starts=card.life.starts,
            last_fault=fault.words,
            last_fault_time=fault.time,
            owners=owned(card.config.owners),
        )
        if card.life.state != "forwarding":
            return status
        try:
            snapshot, capabilities = self._card.probe.ask(
                lambda: (card.backend.snapshot(["seed", "vrf"]), card.backend.capabilities())
            )
        except HalError as error:
            status.engine_state = "does not answer" if error.kind is ErrorKind.TIMEOUT else "restarting"
            status.last_fault, status.last_fault_time = str(error), ""
            return status
        status.generation = snapshot.generation
        status.engine_tag = snapshot.tags.get(OWNER, "")
        status.namespaces.update(in_use(capabilities.ports, snapshot))
        values.capabilities_into_pb(capabilities, status)
        return status

    @_answers
    def Apply(self, request: pb.ApplyRequest, context: grpc.ServicerContext) -> pb.ApplyReply:
        files = tuple((file.set, file.name, file.text.decode("utf-8", "surrogateescape")) for file in request.files)
        try:
            applied = self._card.apply(files, request.set)
        except IntentError as error:
            if not request.problems_in_reply:
                raise
            return pb.ApplyReply(refused=problems.of_intent(error, most=None)[1])
        return pb.ApplyReply(
            generation=applied.generation, digest=applied.digest, summary=applied.summary, warnings=applied.warnings
        )

    @_answers
    def GetIntent(self, request: pb.GetIntentRequest, context: grpc.ServicerContext) -> pb.Intent:
        good = self._card.store.good()
        files = [
            pb.IntentFile(set=part, name=name, text=text.encode("utf-8", "surrogateescape"))
            for part, name, text in good.files
        ]
        return pb.Intent(files=files, digest=good.digest)

    @_answers
    def Stop(self, request: pb.StopRequest, context: grpc.ServicerContext) -> pb.StopReply:
        told = self._card.stop_engine()
        threading.Timer(0.05, self._end).start()  # behind the answer
        return pb.StopReply(told=told)

    @_answers
    def GetTables(self, request: pb.GetTablesRequest, context: grpc.ServicerContext) -> Iterator[pb.TablePart]:
        self._card.must_answer()
        yield from values.table_parts(self._card.backend.snapshot(list(request.tables) or None))

    @_answers
    def GetFlows(self, request: pb.GetFlowsRequest, context: grpc.ServicerContext) -> Iterator[pb.Flow]:
        with self._card.steady() as backend:
            flows = backend.flows(values.filter_from_pb(request.filter))
        for flow in flows:
            yield values.flow_to_pb(flow)

    @_answers
    def ForgetFlows(self, request: pb.ForgetFlowsRequest, context: grpc.ServicerContext) -> pb.ForgetFlowsReply:
        return pb.ForgetFlowsReply(forgotten=self._card.forget(values.filter_from_pb(request.filter)))

    @_answers
    def GetCounters(self, request: pb.GetCountersRequest, context: grpc.ServicerContext) -> pb.Counters:
        with self._card.steady() as backend:
            if request.settle:
                backend.settle()
            return values.counters_to_pb(backend.counters())

    @_answers
    def GetEvents(self, request: pb.GetEventsRequest, context: grpc.ServicerContext) -> pb.Events:
        try:
            self._card.must_answer()
        except HalError as error:
            if error.kind is not ErrorKind.LOST:  # what one that died has told is read
                raise
        return values.events_to_pb(self._collector.read(request.cursor))

    @_answers
    def GetObjects(self, request: pb.GetObjectsRequest, context: grpc.ServicerContext) -> Iterator[pb.ObjectStatus]:
        services = self._card.services
        with self._card.steady() as backend:
            holding, outstanding = self._card.holding, self._card.outstanding()
            if holding is None:
                return
            view = View.of(holding.plan, backend)
        for state in states(holding.objects, holding.since, holding.generation, outstanding):
            item = state.item
            held = item.key in holding.objects
            yield pb.ObjectStatus(
                kind=item.kind,
                name=item.name,
                summary=words(item, services),
                wanted_generation=state.wanted,
                applied_generation=state.applied,
                reason=state.reason,
                status=json.dumps(plain(services.status(item, holding.objects, view))) if held else "{}",
            )

    @_answers
    def Trace(self, request: pb.TraceRequest, context: grpc.ServicerContext) -> pb.TraceReply:
        with self._card.steady() as backend:
            return values.trace_to_pb(backend.trace(values.packet_from_pb(request.packet)))

    @_answers
    def Replay(self, request: Iterator[pb.ReplayRequest], context: grpc.ServicerContext) -> Iterator[pb.ReplayReply]:
        first = next(request, pb.ReplayRequest())
        self._card.must_answer()
        shard: Shard = self._card.backend.shard(REPLAY_CONNECTIONS, pickup=first.pickup)
        try:
            for part in chain((first,), request):
                packets = [values.packet_from_pb(packet) for packet in part.packets]
                for result in shard.replay(packets, part.witness):
                    yield pb.ReplayReply(result=values.result_to_pb(result))
            for flow in shard.flows():
                yield pb.ReplayReply(flow=values.flow_to_pb(flow))
        finally:
            shard.close()


def serve(servicer: CardServicer, socket: Path, callers: Holder = NOBODY) -> grpc.Server:
    """Listen on a unix socket that root and the callers may open. Raises OSError where it can't."""
    server = grpc.server(
        ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="api"),
        maximum_concurrent_rpcs=AT_ONCE,
        options=[("grpc.max_receive_message_length", MOST_MESSAGE), ("grpc.max_send_message_length", MOST_MESSAGE)],
    )
    card_pb2_grpc.add_CardServicer_to_server(servicer, server)
    socket.unlink(missing_ok=True)
    before = os.umask(0o177)
    try:
        if not server.add_insecure_port(f"unix:{socket}"):
            raise OSError(f"nobody can listen on {socket}")
    finally:
        os.umask(before)
    callers.give(socket)
    server.start()
    return server
