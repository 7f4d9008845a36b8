"""Backends that are wrong in one small thing, to show that the comparison sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from hal.errors import ErrorKind, HalError
from hal.packet.contract import (
    Backend,
    Counters,
    Flow,
    FlowFilter,
    Neighbour,
    Operation,
    PacketIn,
    PacketResult,
    Shard,
    Writer,
)

Change = Callable[[Any], Any]


def same(value: Any) -> Any:
    return value


class MutantShard:
    """A shard whose packets, results, flows, neighbours or counters pass through a change."""

    def __init__(self, inner: Shard, changes: dict[str, Change]) -> None:
        self._inner = inner
        self._changes = changes

    def replay(self, packets: Sequence[PacketIn], witness: bool = False) -> list[PacketResult]:
        change = self._changes.get("packet", same)
        results = self._inner.replay([change(packet) for packet in packets], witness)
        return [self._changes.get("result", same)(result) for result in results]

    def flows(self, which: FlowFilter | None = None) -> list[Flow]:
        return [self._changes.get("flow", same)(flow) for flow in self._inner.flows(which)]

    def neighbours(self) -> list[Neighbour]:
        return [self._changes.get("neighbour", same)(one) for one in self._inner.neighbours()]

    def counters(self) -> Counters:
        changed: Counters = self._changes.get("counters", same)(self._inner.counters())
        return changed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class MutantWriter:
    """A writer whose commits or errors pass through a change."""

    def __init__(self, inner: Writer, changes: dict[str, Change]) -> None:
        self._inner = inner
        self._changes = changes

    def commit(self, operations: Sequence[Operation], **more: Any) -> int:
        try:
            return self._inner.commit(self._changes.get("operations", same)(operations), **more)
        except HalError as error:
            raise self._changes.get("error", same)(error) from error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class MutantBackend:
    """A backend that is wrong in one thing."""

    def __init__(self, inner: Backend, changes: dict[str, Change]) -> None:
        self._inner = inner
        self._changes = changes

    def shard(self, **more: Any) -> MutantShard:
        return MutantShard(self._inner.shard(**more), self._changes)

    def writer(self, owner: str = "dsnd") -> MutantWriter:
        return MutantWriter(self._inner.writer(owner), self._changes)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def _last_bit(result: PacketResult) -> PacketResult:
    outputs = tuple(replace(one, data=one.data[:-1] + bytes([one.data[-1] ^ 1])) for one in result.outputs)
    return replace(result, outputs=outputs)


MUTANTS: dict[str, dict[str, Change]] = {
    "a nanosecond late": {"packet": lambda packet: replace(packet, time_ns=packet.time_ns // 1_000_000 * 1_000_000)},
    "one bit of a packet": {"result": _last_bit},
    "a packet less": {"result": lambda result: replace(result, outputs=result.outputs[:-1])},
    "another port": {
        "result": lambda result: replace(result, outputs=tuple(replace(one, port=0) for one in result.outputs))
    },
    "another reason": {"result": lambda result: replace(result, reason="no_route" if result.reason else "")},
    "a step less": {"result": lambda result: replace(result, steps=result.steps[:-1])},
    "a flow's time-out": {"flow": lambda flow: replace(flow, timeout_ns=flow.timeout_ns + 1)},
    "a flow's bytes": {"flow": lambda flow: replace(flow, bytes=(flow.bytes[0] + 1, flow.bytes[1]))},
    "an op less": {"flow": lambda flow: replace(flow, operations=(flow.operations[0][1:], flow.operations[1]))},
    "a neighbour's MAC": {"neighbour": lambda one: replace(one, mac="")},
    "drops not counted": {"counters": lambda counters: replace(counters, drops={})},
    "rules not counted": {"counters": lambda counters: replace(counters, rows={})},
    "refusals not counted": {
        "counters": lambda counters: replace(
            counters, limits={key: one._replace(refused=0) for key, one in counters.limits.items()}
        )
    },
    "handshakes that last": {
        "counters": lambda counters: replace(
            counters, limits={key: one._replace(used=one.used and one.used + 1) for key, one in counters.limits.items()}
        )
    },
    "an operation lost": {"operations": lambda operations: list(operations)[:-1]},
    "another error": {"error": lambda error: HalError(ErrorKind.BUSY, error.what)},
}
"""What is wrong -> the change that makes it so."""
