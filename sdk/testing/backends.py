"""For authors of backends: the kit that holds a card to the packet contract, and the twin, which keeps all of it."""

from hal.conformance import (
    Check,
    Device,
    Level,
    Report,
    Result,
    State,
    Unmet,
    Wire,
    checks_for,
    find_device,
    run,
    run_one,
)
from hal.packet.model.device import TwinDevice

__all__ = [
    "Check",
    "Device",
    "Level",
    "Report",
    "Result",
    "State",
    "TwinDevice",
    "Unmet",
    "Wire",
    "checks_for",
    "find_device",
    "run",
    "run_one",
]
