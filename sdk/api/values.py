"""Between the API's messages and the contract's values. Every pair of functions is an inverse."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from hal.errors import ErrorKind, HalError
from hal.later import Later
from hal.packet.contract import (
    Capabilities,
    Counters,
    Cursor,
    Event,
    EventKind,
    Events,
    Flow,
    FlowFilter,
    Generation,
    LimitCounters,
    Name,
    Output,
    PacketIn,
    PacketResult,
    PortConfig,
    PortState,
    RowCounters,
    Snapshot,
    Step,
    StepKind,
    TcpState,
    Trace,
    Verdict,
)
from hal.packet.schema import portable
from hal.packet.schema.registry import Schema
from hal.packet.schema.rows import Row, Rows
from sdk.api import card_pb2 as pb

if TYPE_CHECKING:
    import numpy as np
else:
    np = Later("numpy")

NO_LIFE = 0
"""Of generations and cursors that came by the daemon: who commits speaks to the engine itself, and has them from it."""

FILTER_FIELDS = ("vrf", "vnic", "protocol", "source", "destination", "source_port", "destination_port", "id")


def filter_to_pb(which: FlowFilter | None) -> pb.FlowFilter:
    result = pb.FlowFilter()
    for name in FILTER_FIELDS:
        value = getattr(which, name) if which is not None else None
        if value is not None:
            setattr(result, name, value)
    return result


def filter_from_pb(message: pb.FlowFilter) -> FlowFilter:
    present = {field.name for field, _ in message.ListFields()}
    return FlowFilter(**{name: getattr(message, name) for name in FILTER_FIELDS if name in present})


def flow_to_pb(flow: Flow) -> pb.Flow:
    return pb.Flow(
        id=flow.id,
        worker=flow.worker,
        vrf=flow.vrf,
        protocol=flow.protocol,
        source=flow.source,
        destination=flow.destination,
        source_port=flow.source_port,
        destination_port=flow.destination_port,
        ingress=flow.ingress,
        egress=flow.egress,
        tcp_state=int(flow.tcp_state),
        generation=flow.generation,
        created_ns=flow.created_ns,
        last_ns=flow.last_ns,
        timeout_ns=flow.timeout_ns,
        packets=flow.packets,
        bytes=flow.bytes,
        rules=flow.rules,
        initiator_operations=flow.operations[0],
        reply_operations=flow.operations[1],
    )


def flow_from_pb(message: pb.Flow) -> Flow:
    return Flow(
        id=message.id,
        worker=message.worker,
        vrf=message.vrf,
        protocol=message.protocol,
        source=message.source,
        destination=message.destination,
        source_port=message.source_port,
        destination_port=message.destination_port,
        ingress=message.ingress,
        egress=message.egress,
        tcp_state=TcpState(message.tcp_state),
        generation=message.generation,
        created_ns=message.created_ns,
        last_ns=message.last_ns,
        timeout_ns=message.timeout_ns,
        packets=(message.packets[0], message.packets[1]),
        bytes=(message.bytes[0], message.bytes[1]),
        rules=(message.rules[0], message.rules[1]),
        operations=(tuple(message.initiator_operations), tuple(message.reply_operations)),
    )


def counters_to_pb(counters: Counters) -> pb.Counters:
    result = pb.Counters(drops=dict(counters.drops), engine=dict(counters.engine))
    for number, values in counters.vnics.items():
        result.vnics[number].values.update(values)
    for number, values in counters.ports.items():
        result.ports[number].values.update(values)
    for (table, row_id), row in counters.rows.items():
        result.rows.add(table=table, id=row_id, hits=row.hits, packets=row.packets, bytes=row.bytes)
    for (row_id, name), one in counters.limits.items():
        result.limits.add(id=row_id, name=name, used=one.used, most=one.most, refused=one.refused)
    return result


def counters_from_pb(message: pb.Counters) -> Counters:
    return Counters(
        drops=dict(message.drops),
        vnics={number: dict(values.values) for number, values in message.vnics.items()},
        ports={number: dict(values.values) for number, values in message.ports.items()},
        rows={(row.table, row.id): RowCounters(row.hits, row.packets, row.bytes) for row in message.rows},
        engine=dict(message.engine),
        limits={(one.id, one.name): LimitCounters(one.used, one.most, one.refused) for one in message.limits},
    )


def events_to_pb(events: Events) -> pb.Events:
    some = [
        pb.Event(number=one.number, time_ns=one.time_ns, kind=int(one.kind), table=one.table, id=one.id, data=one.data)
        for one in events.events
    ]
    return pb.Events(events=some, missed=events.missed, cursor=events.cursor)


def events_from_pb(message: pb.Events) -> Events:
    some = tuple(
        Event(one.number, one.time_ns, EventKind(one.kind), one.table, one.id, one.data) for one in message.events
    )
    return Events(some, message.missed, Cursor(message.cursor, NO_LIFE))


def packet_to_pb(packet: PacketIn) -> pb.PacketIn:
    return pb.PacketIn(data=packet.data, port=packet.port, time_ns=packet.time_ns)


def packet_from_pb(message: pb.PacketIn) -> PacketIn:
    return PacketIn(message.data, message.port, message.time_ns)


def result_to_pb(result: PacketResult) -> pb.PacketResult:
    return pb.PacketResult(
        verdict=int(result.verdict),
        reason=result.reason,
        outputs=[pb.Output(port=one.port, data=one.data) for one in result.outputs],
        steps=[pb.Step(kind=int(one.kind), table=one.table, id=one.id, value=one.value) for one in result.steps],
    )


def result_from_pb(message: pb.PacketResult) -> PacketResult:
    return PacketResult(
        Verdict(message.verdict),
        message.reason,
        tuple(Output(one.port, one.data) for one in message.outputs),
        tuple(Step(StepKind(one.kind), one.table, one.id, one.value) for one in message.steps),
    )


def trace_to_pb(trace: Trace) -> pb.TraceReply:
    return pb.TraceReply(
        generation=trace.generation,
        flow=flow_to_pb(trace.flow) if trace.flow else None,
        installed=result_to_pb(trace.installed) if trace.installed else None,
        now=result_to_pb(trace.now),
    )


def trace_from_pb(message: pb.TraceReply) -> Trace:
    return Trace(
        message.generation,
        flow_from_pb(message.flow) if message.HasField("flow") else None,
        result_from_pb(message.installed) if message.HasField("installed") else None,
        result_from_pb(message.now),
    )


def port_to_pb(port: PortState) -> pb.PortState:
    config = port.config
    return pb.PortState(
        number=config.number,
        name=config.name,
        device=config.device,
        mtu=config.mtu,
        mac=config.mac,
        link=port.link,
        wakes=port.wakes,
    )


def port_from_pb(message: pb.PortState) -> PortState:
    config = PortConfig(message.number, message.name, message.device, message.mtu, message.mac)
    return PortState(config, message.link, message.wakes)


def capabilities_into_pb(capabilities: Capabilities, status: pb.CardStatus) -> None:
    """Fill in what the status says of the engine's capabilities."""
    status.backend = capabilities.backend
    status.version = capabilities.version
    status.level = capabilities.level
    status.absent.extend(capabilities.absent)
    status.stages.extend(capabilities.stages)
    status.workers = capabilities.workers
    status.connections = capabilities.connections
    status.ports.extend(port_to_pb(port) for port in capabilities.ports)
    status.capacities.update(capabilities.capacities)
    status.occupancy.update(capabilities.occupancy)
    status.schema = portable.to_text(capabilities.schema)


def capabilities_from_pb(message: pb.CardStatus, ours: Schema) -> Capabilities:
    """The other way. `ours`: the schema of a card that doesn't say its own. Raises HalError(CORRUPT)."""
    schema = portable.from_text(message.schema) if message.schema else ours
    return Capabilities(
        backend=message.backend,
        version=message.version,
        level=message.level,
        absent=tuple(message.absent),
        stages=tuple(message.stages),
        schema=schema,
        workers=message.workers,
        connections=message.connections,
        ports=tuple(port_from_pb(port) for port in message.ports),
        capacities=dict(message.capacities),
        occupancy=dict(message.occupancy),
        owners={table.name: message.owners.get(table.name, "dsnd") for table in schema.tables},
    )


def table_parts(snapshot: Snapshot, most_rows: int = 20_000) -> Iterable[pb.TablePart]:
    """A snapshot in messages of bounded size; the first carries the names and stands even without a row."""
    names = [
        pb.EntryName(table=one.table, id=one.id, text=one.text, file=one.file, line=one.line)
        for one in snapshot.names.values()
    ]
    for start in range(0, max(len(names), 1), most_rows):
        some = names[start : start + most_rows]
        yield pb.TablePart(generation=snapshot.generation, tag=snapshot.tag, tags=snapshot.tags, names=some)
    for table, parts in snapshot.tables.items():
        yield pb.TablePart(generation=snapshot.generation, tag=snapshot.tag, table=table)
        for rows in parts:
            layout = json.dumps(_describe(rows.data.dtype))
            for start in range(0, len(rows.data), most_rows):
                some_rows = np.ascontiguousarray(rows.data[start : start + most_rows])
                yield pb.TablePart(
                    generation=snapshot.generation,
                    tag=snapshot.tag,
                    table=table,
                    row=rows.row.__name__,
                    layout=layout,
                    stride=rows.data.dtype.itemsize,
                    rows=some_rows.tobytes(),
                )


def snapshot_from_parts(parts: Iterable[pb.TablePart], classes: Mapping[str, type[Row]]) -> Snapshot:
    """The snapshot that the messages hold. Raises HalError(CORRUPT) where a layout is not the one we know."""
    pieces: dict[str, dict[str, list[bytes]]] = {}
    names: dict[tuple[str, int], Name] = {}
    tags: dict[str, str] = {}
    generation, tag = 0, ""
    for part in parts:
        generation, tag = part.generation, part.tag
        tags.update(part.tags)
        for one in part.names:
            names[one.table, one.id] = Name(one.table, one.id, one.text, one.file, one.line)
        if not part.table:
            continue
        table = pieces.setdefault(part.table, {})
        if not part.row:
            continue
        if part.row not in classes or json.loads(part.layout) != _describe(classes[part.row].LAYOUT.dtype):
            raise HalError(ErrorKind.CORRUPT, f"rows of table {part.table}", field="layout", got=part.row,
                           fix="Use the dsn of the version that the card runs.")  # fmt: skip
        table.setdefault(part.row, []).append(part.rows)
    tables = {
        table: tuple(
            Rows(classes[row], np.frombuffer(b"".join(some), classes[row].LAYOUT.dtype)) for row, some in by_row.items()
        )
        for table, by_row in pieces.items()
    }
    return Snapshot(Generation(generation, NO_LIFE), tag, tables, names, tags)


def _describe(dtype: np.dtype[Any]) -> list[list[Any]]:
    fields: Any = dtype.fields or {}
    return [[name, field[0].str, list(field[0].shape), field[1]] for name, field in fields.items()]
