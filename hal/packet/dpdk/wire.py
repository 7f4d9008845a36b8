"""The control protocol's structures, as `hal/packet/engine/wire.h` has them (a test compares size and offsets)."""

from __future__ import annotations

import ctypes
from ctypes import c_char, c_int16, c_int32, c_uint8, c_uint16, c_uint32, c_uint64
from enum import IntEnum
from typing import Any

MAGIC = 0x314E5344
VERSION = 2
MAX_MESSAGE = 8192
ANY_BASE = (1 << 64) - 1


class Verb(IntEnum):
    HELLO = 1
    LOAD = 2
    START = 3
    STOP = 4
    TAKE_UP = 5
    COMMIT = 10
    OUTCOME = 11
    STAGE = 12
    MAKE = 13
    UNSTAGE = 14
    FORGET = 15
    SNAPSHOT = 20
    FLOWS = 21
    FLOW = 22
    SETTLE = 23
    COUNTERS = 24
    EVENTS = 25
    CAPABILITIES = 26
    NEIGHBOURS = 27
    SHARD = 30
    REPLAY = 31
    SHARD_CLOSE = 32
    TRACE = 33


class SectionKind(IntEnum):
    INSERT = 1
    MODIFY = 2
    DELETE = 3
    DEPENDS = 4
    NAMES = 5
    TAGS = 6


class Request(ctypes.Structure):
    _fields_ = (
        ("magic", c_uint32), ("verb", c_uint16), ("version", c_uint16), ("request", c_uint64), ("length", c_uint32),
        ("shard", c_uint32),
    )  # fmt: skip


class Answer(ctypes.Structure):
    _fields_ = (
        ("magic", c_uint32), ("verb", c_uint16), ("kind", c_uint16), ("request", c_uint64), ("length", c_uint32),
        ("reserved", c_uint32),
    )  # fmt: skip


class Error(ctypes.Structure):
    _fields_ = (
        ("table", c_int32), ("row", c_int32), ("id", c_uint64), ("what", c_char * 64), ("field", c_char * 32),
        ("limit", c_char * 128), ("got", c_char * 96), ("fix", c_char * 160),
    )  # fmt: skip


class Hello(ctypes.Structure):
    _fields_ = (
        ("version", c_uint32), ("pid", c_uint32), ("started_ns", c_uint64), ("generation", c_uint64),
        ("loaded", c_uint32), ("running", c_uint32), ("owner", c_char * 32), ("tag", c_char * 128),
        ("build", c_char * 64), ("life", c_uint64),
    )  # fmt: skip


class Load(ctypes.Structure):
    _fields_ = (
        ("ports", c_uint32), ("owners", c_uint32), ("capacities", c_uint32), ("workers", c_uint32),
        ("connections", c_uint32), ("flow_limit", c_uint32), ("inbound_flow_limit", c_uint32),
        ("punt_limit", c_uint32), ("new_flow_limit", c_uint32), ("half_open_limit", c_uint32),
        ("fragment_limit", c_uint32), ("icmp_limit", c_uint32), ("challenge_limit", c_uint32), ("pickup_ns", c_uint64),
    )  # fmt: skip


class LoadPort(ctypes.Structure):
    _fields_ = (
        ("number", c_uint32), ("mtu", c_uint16), ("has_fd", c_uint8), ("reserved", c_uint8), ("mac", c_uint8 * 8),
        ("name", c_char * 32), ("device", c_char * 112),
    )  # fmt: skip


class LoadOwner(ctypes.Structure):
    _fields_ = (("owner", c_char * 32), ("table", c_char * 32), ("awaited", c_uint64))


class LoadCapacity(ctypes.Structure):
    _fields_ = (("table", c_char * 32), ("entries", c_uint64))


class Commit(ctypes.Structure):
    _fields_ = (
        ("transaction", c_uint64), ("base", c_uint64), ("lease_ns", c_uint64), ("sections", c_uint32),
        ("reserved", c_uint32), ("tag", c_char * 128), ("life", c_uint64),
    )  # fmt: skip


class Section(ctypes.Structure):
    _fields_ = (
        ("kind", c_uint16), ("table", c_uint16), ("action", c_uint16), ("reserved", c_uint16), ("count", c_uint32),
        ("stride", c_uint32), ("offset", c_uint64),
    )  # fmt: skip


class Name(ctypes.Structure):
    _fields_ = (
        ("id", c_uint64), ("line", c_uint32), ("reserved", c_uint32), ("text", c_char * 64), ("file", c_char * 128),
    )  # fmt: skip


class OwnerTag(ctypes.Structure):
    _fields_ = (("owner", c_char * 32), ("tag", c_char * 128))


class Committed(ctypes.Structure):
    _fields_ = (("generation", c_uint64), ("number", c_uint64), ("tag", c_char * 128))


class OutcomeAsk(ctypes.Structure):
    _fields_ = (("transaction", c_uint64),)


class OutcomeAnswer(ctypes.Structure):
    _fields_ = (("kind", c_uint64), ("generation", c_uint64), ("error_kind", c_uint64), ("error", Error))


class Number(ctypes.Structure):
    _fields_ = (("number", c_uint64),)


class TakeUp(ctypes.Structure):
    _fields_ = (("port", c_uint32), ("interface", c_uint32), ("namespace", c_uint64))


class Cursor(ctypes.Structure):
    _fields_ = (("number", c_uint64), ("life", c_uint64))


class SnapshotAsk(ctypes.Structure):
    _fields_ = (("tables", c_uint64),)


class FlowsAsk(ctypes.Structure):
    _fields_ = (
        ("given", c_uint64), ("cursor", c_uint64), ("vrf", c_uint64), ("vnic", c_uint64), ("id", c_uint64),
        ("source", c_uint8 * 16), ("destination", c_uint8 * 16), ("source_len", c_uint8),
        ("destination_len", c_uint8), ("protocol", c_uint8), ("reserved", c_uint8), ("source_port", c_uint16),
        ("destination_port", c_uint16),
    )  # fmt: skip


FLOWS_GIVEN = ("vrf", "vnic", "id", "source", "destination", "source_len", "destination_len", "protocol", "reserved",
               "source_port", "destination_port")  # fmt: skip
"""Bits of FlowsAsk.given, from bit 0."""


class Page(ctypes.Structure):
    _fields_ = (
        ("count", c_uint64), ("cursor", c_uint64), ("missed", c_uint64), ("life", c_uint64), ("lost", c_uint64),
    )  # fmt: skip


class FlowRecord(ctypes.Structure):
    _fields_ = (
        ("id", c_uint64), ("vrf", c_uint64), ("ingress", c_uint64), ("egress", c_uint64), ("generation", c_uint64),
        ("created_ns", c_uint64), ("last_ns", c_uint64), ("timeout_ns", c_uint64), ("packets", c_uint64 * 2),
        ("bytes", c_uint64 * 2), ("rules", c_uint64 * 2), ("source", c_uint8 * 16), ("destination", c_uint8 * 16),
        ("source_port", c_uint16), ("destination_port", c_uint16), ("protocol", c_uint8), ("tcp_state", c_uint8),
        ("worker", c_uint16),
    )  # fmt: skip


class NeighbourRecord(ctypes.Structure):
    _fields_ = (
        ("uplink", c_uint64), ("address", c_uint8 * 16), ("mac", c_uint8 * 6), ("worker", c_uint16),
        ("state", c_uint8), ("reserved", c_uint8 * 7),
    )  # fmt: skip


class EventRecord(ctypes.Structure):
    _fields_ = (
        ("number", c_uint64), ("time_ns", c_uint64), ("kind", c_uint16), ("table", c_int16), ("reserved", c_uint32),
        ("id", c_uint64), ("data", c_char * 128),
    )  # fmt: skip


class ShardAsk(ctypes.Structure):
    _fields_ = (("connections", c_uint32), ("pickup", c_uint32), ("stage", c_uint64))


class ReplayAsk(ctypes.Structure):
    _fields_ = (("stage", c_uint64), ("count", c_uint32), ("witness", c_uint32))


class PacketInRecord(ctypes.Structure):
    _fields_ = (("time_ns", c_uint64), ("port", c_uint32), ("length", c_uint32))


class PacketOutRecord(ctypes.Structure):
    _fields_ = (
        ("verdict", c_uint16), ("reason", c_uint16), ("steps", c_uint32), ("outputs", c_uint32), ("size", c_uint32),
    )  # fmt: skip


class StepRecord(ctypes.Structure):
    _fields_ = (
        ("kind", c_uint16), ("table", c_int16), ("reserved", c_uint32), ("id", c_uint64), ("value", c_uint64),
    )  # fmt: skip


STRUCTURES: dict[str, type[ctypes.Structure]] = {
    "dsn_request": Request, "dsn_answer": Answer, "dsn_error": Error, "dsn_hello": Hello, "dsn_load": Load,
    "dsn_load_port": LoadPort, "dsn_load_owner": LoadOwner, "dsn_load_capacity": LoadCapacity, "dsn_commit": Commit,
    "dsn_section": Section, "dsn_name": Name, "dsn_owner_tag": OwnerTag, "dsn_committed": Committed,
    "dsn_outcome_ask": OutcomeAsk, "dsn_outcome": OutcomeAnswer, "dsn_number": Number, "dsn_take_up": TakeUp,
    "dsn_cursor": Cursor,
    "dsn_snapshot_ask": SnapshotAsk,
    "dsn_flows_ask": FlowsAsk, "dsn_page": Page, "dsn_flow_record": FlowRecord, "dsn_neighbour_record": NeighbourRecord,
    "dsn_event_record": EventRecord,
    "dsn_shard_ask": ShardAsk, "dsn_replay_ask": ReplayAsk, "dsn_packet_in": PacketInRecord,
    "dsn_packet_out": PacketOutRecord, "dsn_step": StepRecord,
}  # fmt: skip
"""C name -> structure."""


def text(value: bytes) -> str:
    """A NUL-padded field as text."""
    return value.split(b"\0", 1)[0].decode("utf-8", "replace")


def fixed(value: str, size: int) -> bytes:
    """Text cut to `size` - 1 bytes of UTF-8, whole characters only."""
    return value.encode()[: size - 1].decode("utf-8", "ignore").encode()


def records(kind: type[ctypes.Structure], data: bytes, count: int) -> Any:
    """`count` structures read from the beginning of `data`."""
    return (kind * count).from_buffer_copy(data[: ctypes.sizeof(kind) * count])
