"""What tests of the daemon's card apply, and how they look at it."""

from __future__ import annotations

from hal.packet.contract import LoadConfig, PortConfig
from sdk.dsnd.card import Card

CONFIG = LoadConfig(ports=tuple(PortConfig(number, name, "replay") for number, name in enumerate(("host0", "uplink0"))))


ONE = """
kind: Subnet
name: shop
spec: {gateways: [10.1.0.1/24]}
"""


TWO = (
    ONE
    + """
---
kind: Vnic
name: web
spec: {port: host0, mac: 02:00:00:00:00:0a, subnet: shop, addresses: [10.1.0.10]}
"""
)


def whole(text: str) -> tuple[tuple[str, str, str], ...]:
    return (("", "a.yaml", text),)


def rows(card: Card, table: str) -> int:
    return len(card.backend.snapshot([table]).rows(table))
