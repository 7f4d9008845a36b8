"""The cards that the kit is run against."""

from __future__ import annotations

from hal.conformance import Device
from hal.packet.model.device import TwinDevice

DEVICES: dict[str, Device] = {"twin": TwinDevice()}
