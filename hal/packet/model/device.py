"""The twin as the conformance kit is handed it."""

from __future__ import annotations

from collections.abc import Sequence

from hal.conformance.device import Device, Wire
from hal.packet.contract import Backend, Output, PacketIn
from hal.packet.model.twin import Twin


class TwinWire:
    """The outside of a twin's ports."""

    def __init__(self, twin: Twin) -> None:
        self._twin = twin
        self._left: list[Output] = []

    @property
    def now(self) -> int:
        return self._twin.live.now

    def advance(self, nanos: int) -> None:
        """Time passes; what timers send leaves by the ports too."""
        self._left += self._twin.advance(self._twin.live.now + nanos)

    def send(self, port: int, data: bytes) -> None:
        self._left += self._twin.inject(PacketIn(data, port, self._twin.live.now)).outputs

    def receive(self) -> Sequence[Output]:
        left, self._left = self._left, []
        return left


class TwinDevice(Device):
    """Twins. Their clock is moved, never waited for."""

    @property
    def name(self) -> str:
        return "twin"

    def open(self) -> Twin:
        return Twin(self.stages)

    def wire(self, backend: Backend) -> Wire:
        return _wire(backend)

    def advance(self, backend: Backend, nanos: int) -> None:
        _wire(backend).advance(nanos)

    def now_ns(self, backend: Backend) -> int:
        return _wire(backend).now


def _wire(backend: Backend) -> TwinWire:
    """The one wire of a twin, kept by it."""
    if not isinstance(backend, Twin):
        raise TypeError(f"a twin is wanted, not {type(backend).__name__}")
    wire: TwinWire = vars(backend).setdefault("_wire", TwinWire(backend))
    return wire


def device() -> Device:
    return TwinDevice()
