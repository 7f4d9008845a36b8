"""Is a `LoadConfig` one that a card can be loaded with?"""

from __future__ import annotations

from typing import Any

from hal.errors import ErrorKind, HalError
from hal.packet.arguments import check_awaited
from hal.packet.contract import LoadConfig
from hal.packet.schema.registry import Schema

MAX_PORT = 65534
MAX_WORKERS = 64
MTU = range(1280, 9217)

LEAST = {
    "connections": 1,
    "flow_limit": 0,
    "inbound_flow_limit": 0,
    "punt_limit": 1,
    "new_flow_limit": 1,
    "half_open_limit": 0,
    "fragment_limit": 0,
    "icmp_limit": 1,
    "challenge_limit": 1,
}


def wrong(what: str, field: str, limit: str, got: Any) -> HalError:
    return HalError(ErrorKind.INVALID, what, field=field, limit=limit, got=got)


def check_load(config: LoadConfig, schema: Schema) -> None:
    """Raises INVALID for the first thing that is wrong."""
    numbers: set[int] = set()
    names: set[str] = set()
    for port in config.ports:
        what = f"port {port.name}"
        if not 0 <= port.number <= MAX_PORT or port.number in numbers:
            raise wrong(what, "number", f"0..{MAX_PORT}, one port each", port.number)
        if not port.name or port.name in names:
            raise wrong(what, "name", "a name of its own", repr(port.name))
        if port.mtu not in MTU:
            raise wrong(what, "mtu", f"{MTU[0]}..{MTU[-1]}", port.mtu)
        numbers.add(port.number)
        names.add(port.name)
    owned: dict[str, str] = {}
    for owner, tables in config.owners.items():
        for table in tables:
            schema.table(table)
            if owned.setdefault(table, owner) != owner:
                raise wrong(f"table {table}", "owner", "one owner", f"{owned[table]} and {owner}")
    check_awaited(config)
    for table, capacity in config.capacities.items():
        schema.table(table)
        if capacity < 1:
            raise wrong(f"table {table}", "capacity", "1 or more", capacity)
    if not 1 <= config.workers <= MAX_WORKERS:
        raise wrong("card", "workers", f"1..{MAX_WORKERS}", config.workers)
    for field, least in LEAST.items():
        if getattr(config, field) < least:
            raise wrong("card", field, f"{least} or more", getattr(config, field))
    if config.pickup_ns < 0:
        raise wrong("card", "pickup_ns", "0 or more", config.pickup_ns)
