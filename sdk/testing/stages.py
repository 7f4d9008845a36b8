"""For authors of stages: a small world to send packets in, on any backend. Its picture: `hal/conformance/world.py`."""

from hal.conformance import Check, Level, State, checks_for, find_device, run_one
from hal.conformance.bench import Bench, Card, delete, insert, modify
from hal.conformance.frames import echo, tcp, udp
from hal.conformance.traffic import SECOND, Sent, Traffic
from hal.conformance.world import (
    GUARDED,
    OPEN,
    A,
    B,
    C,
    bridged,
    chain,
    firewalled,
    replied,
    routed,
    segment,
    vnic,
    world,
)

__all__ = [
    "GUARDED",
    "OPEN",
    "SECOND",
    "A",
    "B",
    "Bench",
    "C",
    "Card",
    "Check",
    "Level",
    "Sent",
    "State",
    "Traffic",
    "bridged",
    "chain",
    "checks_for",
    "delete",
    "echo",
    "find_device",
    "firewalled",
    "insert",
    "modify",
    "replied",
    "routed",
    "run_one",
    "segment",
    "tcp",
    "udp",
    "vnic",
    "world",
]
