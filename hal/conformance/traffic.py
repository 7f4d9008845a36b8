"""Ways to send a packet and see what became of it: through `replay`, or through the ports of a running card."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from hal.conformance.check import equal, expect
from hal.conformance.device import Wire
from hal.packet.contract import (
    Backend,
    Counters,
    Cursor,
    Events,
    Flow,
    FlowFilter,
    Neighbour,
    Output,
    PacketIn,
    Shard,
    Step,
    StepKind,
    Verdict,
)

SECOND = 1_000_000_000


@dataclass(frozen=True)
class Sent:
    """What became of a packet. Through the ports there is no verdict to read: it is None, and there are no steps."""

    outputs: tuple[Output, ...]
    reason: str
    verdict: Verdict | None = None
    steps: tuple[Step, ...] = ()

    def of(self, kind: StepKind) -> list[Step]:
        return [step for step in self.steps if step.kind is kind]

    def dropped(self, reason: str, what: str = "the packet") -> Sent:
        expect(self.verdict in (None, Verdict.DROP), f"{what} was to be dropped as {reason}: {self.words()}")
        equal(self.reason, reason, f"{what}: drop reason")
        return self

    def left_by(self, port: int, what: str = "the packet", verdict: Verdict = Verdict.FORWARD) -> bytes:
        """The one frame that left, by this port."""
        expect(self.verdict in (None, verdict), f"{what} was to be {verdict.name}: {self.words()}")
        equal([output.port for output in self.outputs], [port], f"{what}: ports that frames left by ({self.words()})")
        return self.outputs[0].data

    def words(self) -> str:
        verdict = self.verdict.name if self.verdict else "no verdict seen"
        return f"{verdict}{f' as {self.reason}' if self.reason else ''}, {len(self.outputs)} frames out"


class Traffic(Protocol):
    """One place to send packets through, with a clock that starts at a second."""

    def send(self, port: int, frame: bytes, after: int = 0) -> Sent:
        """A frame arrives, this many nanoseconds after the last one."""

    def flows(self, which: FlowFilter | None = None) -> list[Flow]: ...

    def neighbours(self) -> list[Neighbour]: ...

    def settle(self) -> None: ...

    def counters(self) -> Counters: ...

    def events(self, cursor: Cursor | None = None) -> Events: ...


class ShardTraffic:
    """Through `replay` in a private shard."""

    def __init__(self, shard: Shard) -> None:
        self.shard = shard
        self.now = SECOND

    def send(self, port: int, frame: bytes, after: int = 0) -> Sent:
        self.now += after
        (result,) = self.shard.replay([PacketIn(frame, port, self.now)], witness=True)
        return Sent(result.outputs, result.reason, result.verdict, result.steps)

    def flows(self, which: FlowFilter | None = None) -> list[Flow]:
        return self.shard.flows(which)

    def neighbours(self) -> list[Neighbour]:
        return self.shard.neighbours()

    def settle(self) -> None:
        self.shard.settle()

    def counters(self) -> Counters:
        return self.shard.counters()

    def events(self, cursor: Cursor | None = None) -> Events:
        return self.shard.events(cursor)


class WireTraffic:
    """Through the ports; why a packet was dropped is read from the drop counters."""

    def __init__(self, backend: Backend, wire: Wire, advance: Callable[[int], None]) -> None:
        self._backend = backend
        self._wire = wire
        self._advance = advance

    def send(self, port: int, frame: bytes, after: int = 0) -> Sent:
        self._wire.receive()
        before = self._backend.counters().drops
        if after:
            self._advance(after)
        self._wire.send(port, frame)
        outputs = tuple(self._wire.receive())
        after_it = self._backend.counters().drops
        reasons = [reason for reason, count in after_it.items() if count > before.get(reason, 0)]
        return Sent(outputs, reasons[0] if reasons else "")

    def flows(self, which: FlowFilter | None = None) -> list[Flow]:
        return self._backend.flows(which)

    def neighbours(self) -> list[Neighbour]:
        return self._backend.neighbours()

    def settle(self) -> None:
        self._backend.settle()

    def counters(self) -> Counters:
        return self._backend.counters()

    def events(self, cursor: Cursor | None = None) -> Events:
        return self._backend.events(cursor)
