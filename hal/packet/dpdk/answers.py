"""From the engine's records to the contract's values, and the other way for what is asked."""

from __future__ import annotations

import ctypes
import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from hal.errors import ErrorKind, HalError
from hal.packet.contract import (
    Capabilities,
    Flow,
    FlowFilter,
    Neighbour,
    NeighbourState,
    Output,
    PacketIn,
    PacketResult,
    PortConfig,
    PortState,
    Step,
    StepKind,
    TcpState,
    Verdict,
)
from hal.packet.dpdk import wire
from hal.packet.dpdk.dictionary import Dictionary
from hal.packet.schema.registry import Schema
from hal.packet.schema.rows import pack_prefix, unpack_address


def flows_ask(which: FlowFilter) -> wire.FlowsAsk:
    """The filter as the engine takes it: one that `check_filter` has let through."""
    ask = wire.FlowsAsk()
    for bit, name in enumerate(wire.FLOWS_GIVEN):
        if name in ("source_len", "destination_len", "reserved"):
            continue
        value = getattr(which, name)
        if value is None:
            continue
        ask.given |= 1 << bit
        if name in ("source", "destination"):
            packed, length = pack_prefix(value)
            ctypes.memmove(getattr(ask, name), packed, 16)
            setattr(ask, name + "_len", length)
        else:
            setattr(ask, name, value)
    return ask


def flow(one: wire.FlowRecord) -> Flow:
    """A connection's record as a value."""
    return Flow(
        id=one.id, worker=one.worker, vrf=one.vrf, protocol=one.protocol,
        source=unpack_address(bytes(one.source)), destination=unpack_address(bytes(one.destination)),
        source_port=one.source_port, destination_port=one.destination_port,
        ingress=one.ingress, egress=one.egress, tcp_state=TcpState(one.tcp_state), generation=one.generation,
        created_ns=one.created_ns, last_ns=one.last_ns, timeout_ns=one.timeout_ns,
        packets=(one.packets[0], one.packets[1]), bytes=(one.bytes[0], one.bytes[1]),
        rules=(one.rules[0], one.rules[1]),
    )  # fmt: skip


def neighbours(records: Sequence[wire.NeighbourRecord]) -> list[Neighbour]:
    """Neighbours in the contract's order."""
    return [
        Neighbour(
            one.uplink, unpack_address(bytes(one.address)), NeighbourState(one.state),
            bytes(one.mac).hex(":") if any(one.mac) else "", one.worker,
        )
        for one in sorted(records, key=lambda one: (one.uplink, bytes(one.address), one.worker))
    ]  # fmt: skip


def flow_with_words(one: Flow, text: bytes) -> Flow:
    """The connection with its op lists, which come as NUL-separated words with an empty one behind each list."""
    lists: list[list[str]] = [[]]
    for word in text.split(b"\0"):
        if word:
            lists[-1].append(word.decode("utf-8", "replace"))
        elif len(lists) == 1:
            lists.append([])
        else:
            break
    return dataclasses.replace(one, operations=(tuple(lists[0]), tuple(lists[1]) if len(lists) > 1 else ()))


def pack_packets(packets: Sequence[PacketIn]) -> list[bytes]:
    """The memfd's pieces for replay."""
    pieces = []
    for packet in packets:
        pieces.append(bytes(wire.PacketInRecord(packet.time_ns, packet.port, len(packet.data))))
        pieces.append(packet.data + bytes(-len(packet.data) % 8))
    return pieces


def results(data: bytes, count: int, dictionary: Dictionary) -> list[PacketResult]:
    """What replay answered, a result a packet; verdict 0 (trace: no flow) becomes a DROP without reason."""
    result = []
    offset = 0
    for _ in range(count):
        head = wire.PacketOutRecord.from_buffer_copy(data, offset)
        at = offset + ctypes.sizeof(wire.PacketOutRecord)
        steps = []
        for _ in range(head.steps):
            one = wire.StepRecord.from_buffer_copy(data, at)
            kind = StepKind(one.kind)
            value = dictionary.step_value(kind, one.value)
            steps.append(Step(kind, dictionary.table_name(one.table), one.id, value))
            at += ctypes.sizeof(wire.StepRecord)
        outputs = []
        for _ in range(head.outputs):
            out = wire.PacketInRecord.from_buffer_copy(data, at)
            at += ctypes.sizeof(wire.PacketInRecord)
            outputs.append(Output(out.port, data[at : at + out.length]))
            at += out.length + -out.length % 8
        verdict = Verdict(head.verdict or Verdict.DROP)
        reason = dictionary.reason(head.reason) if head.verdict == Verdict.DROP else ""
        result.append(PacketResult(verdict, reason, tuple(outputs), tuple(steps)))
        offset += head.size
    return result


def capabilities(text: bytes, ours: Schema) -> Capabilities:
    """The engine's JSON as a value. Raises HalError(CORRUPT) where it can't be read."""
    try:
        data: dict[str, Any] = json.loads(text)
        ports = tuple(
            PortState(
                PortConfig(one["number"], one["name"], one["device"], one["mtu"], one.get("mac", "")),
                bool(one["link"]), bool(one["wakes"]),
            )
            for one in data["ports"]
        )  # fmt: skip
        return Capabilities(
            backend=data["backend"], version=data["version"], level=data["level"], absent=tuple(data["absent"]),
            stages=tuple(data["stages"]), schema=ours, workers=data["workers"], connections=data["connections"],
            ports=ports, capacities=dict(data["capacities"]), occupancy=dict(data["occupancy"]),
            awaited=tuple(data.get("awaited", ())), owners=dict(data.get("owners", {})),  # engines of before don't say
        )  # fmt: skip
    except (ValueError, KeyError, TypeError) as error:
        raise HalError(ErrorKind.CORRUPT, "capabilities of the engine", got=str(error)) from error
