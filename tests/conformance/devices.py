"""The cards that the kit is run against."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NoReturn

from hal.conformance import Device
from hal.errors import ErrorKind, HalError
from hal.packet.contract import Capabilities, Cursor
from hal.packet.model.device import TwinDevice
from hal.packet.model.twin import Twin
from tests.conformance.broken.parts import BrokenDevice
from tests.conformance.engines import EngineOnVeth, SanitizedEngine


class PortsOnly(Twin):
    """A twin without `replay`: what a card is that is only seen from outside."""

    def capabilities(self) -> Capabilities:
        return replace(super().capabilities(), absent=("shard",))

    def shard(self, *arguments: Any, **more: Any) -> NoReturn:
        raise HalError(ErrorKind.UNSUPPORTED, "shard", fix="Send packets to the ports.")


class PortsOnlyDevice(TwinDevice):
    """Driven through its ports, by a clock that is moved."""

    @property
    def name(self) -> str:
        return "twin through its ports"

    def open(self) -> Twin:
        return PortsOnly(self.stages)


class TablesOnly(Twin):
    """A twin that only holds tables, as a new backend does."""

    def capabilities(self) -> Capabilities:
        absent = ("counters", "events", "stage", "trace", "shard", "flows", "neighbours", "forget", "settle")
        return replace(super().capabilities(), absent=absent, level="tables")

    def writer(self, owner: str = "dsnd") -> Any:
        writer = super().writer(owner)
        object.__setattr__(writer, "stage", _refuse)
        object.__setattr__(writer, "forget", _refuse)
        return writer

    def shard(self, *arguments: Any, **more: Any) -> NoReturn:
        _refuse()

    def trace(self, *arguments: Any, **more: Any) -> NoReturn:
        _refuse()

    def flows(self, *arguments: Any) -> NoReturn:
        _refuse()

    def neighbours(self) -> NoReturn:
        _refuse()

    def settle(self) -> NoReturn:
        _refuse()

    def counters(self) -> NoReturn:
        _refuse()

    def events(self, cursor: Cursor | None = None) -> NoReturn:
        _refuse()


def _refuse(*_: object, **__: object) -> NoReturn:
    raise HalError(ErrorKind.UNSUPPORTED, "twin", fix="Ask capabilities first.")


class TablesOnlyDevice(TwinDevice):
    """Nothing but tables."""

    @property
    def name(self) -> str:
        return "twin with tables alone"

    def open(self) -> Twin:
        return TablesOnly(self.stages)


DEVICES: dict[str, Device] = {"twin": BrokenDevice(), "engine": SanitizedEngine()}
"""Backends that have to pass everything."""

ON_WIRES: dict[str, Device] = {"twin": DEVICES["twin"], "engine": EngineOnVeth()}
"""The same, for checks that send by the ports."""

OTHERS: dict[str, Device] = {device.name: device for device in (PortsOnlyDevice(), TablesOnlyDevice())}
"""Backends that lack something and say so."""
