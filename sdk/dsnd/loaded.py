"""What an engine was loaded with, held against what this dsnd would load it with.

An engine outlives its dsnd. Ports, owners and sizes are fixed from its load on: under another card.toml a row's port
number would mean another port, and rows would go to whom they don't belong. So an engine that was loaded otherwise is
not adopted (docs/adr/0051-adopted-as-it-was-loaded.md).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from hal.errors import ErrorKind, HalError
from hal.packet.contract import Capabilities, LoadConfig, PortConfig
from sdk.dsnd.store import write_durably

FIX = "Give dsnd the card.toml of before, or load the engine anew: dsn card stop, dsn card start."
NUMBERS = (
    "workers",
    "connections",
    "pickup_ns",
    "flow_limit",
    "inbound_flow_limit",
    "punt_limit",
    "new_flow_limit",
    "half_open_limit",
    "fragment_limit",
    "icmp_limit",
    "challenge_limit",
)
MOST_SHOWN = 8


class Record:
    """The configuration that engines of a run folder are loaded with, in a file beside them.

    Written before an engine is started; only who holds the run folder starts one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, config: LoadConfig) -> None:
        """Raises OSError where the disk doesn't take it; what was recorded before is gone then."""
        if self.read() == config:
            return
        self.path.unlink(missing_ok=True)
        write_durably(self.path, json.dumps(asdict(config)).encode())

    def read(self) -> LoadConfig | None:
        """None where there is none that can be read."""
        try:
            raw: dict[str, Any] = json.loads(self.path.read_bytes())
            raw["ports"] = tuple(PortConfig(**port) for port in raw["ports"])
            raw["owners"] = {owner: tuple(tables) for owner, tables in raw["owners"].items()}
            raw["awaited"] = tuple(raw.get("awaited", ()))
            return LoadConfig(**raw)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None


def check(wanted: LoadConfig, now: Capabilities, recorded: LoadConfig | None) -> None:
    """Pure: raise HalError(INVALID) naming every difference between `wanted` and what the engine was loaded with.

    Args:
        now: the engine's own words, which count before the record's.
        recorded: says what an engine doesn't tell (owners, limits); None: only what it tells is compared.
    """
    found = list(dict.fromkeys(_differences(wanted, now, recorded)))
    if found:
        more = [f"{len(found) - MOST_SHOWN} more"] if len(found) > MOST_SHOWN else []
        raise HalError(ErrorKind.INVALID, "card.toml", got="another than the running engine was loaded with: "
                       + "; ".join([*found[:MOST_SHOWN], *more]), fix=FIX)  # fmt: skip


def _differences(wanted: LoadConfig, now: Capabilities, recorded: LoadConfig | None) -> Iterator[str]:
    yield from _ports(wanted.ports, [port.config for port in now.ports])
    for name in ("workers", "connections"):
        yield from _values(name, getattr(wanted, name), getattr(now, name))
    for table, entries in wanted.capacities.items():
        yield from _values(f"capacities.{table}", entries, now.capacities.get(table))
    if recorded is None:
        return
    for name in NUMBERS:
        yield from _values(name, getattr(wanted, name), getattr(recorded, name))
    for table in sorted(recorded.capacities.keys() - wanted.capacities.keys()):
        yield f"capacities.{table} not given, the engine's {recorded.capacities[table]}"
    for owner in sorted({*wanted.owners, *recorded.owners}):
        yield from _values(f"owners.{owner}", wanted.owners.get(owner), recorded.owners.get(owner))
        waits = (owner in wanted.awaited, owner in recorded.awaited)
        yield from _values(f"owners.{owner}.wait", *(str(one).lower() for one in waits))


def _ports(wanted: Iterable[PortConfig], has: Iterable[PortConfig]) -> Iterator[str]:
    ours, theirs = ({port.name: port for port in ports} for ports in (wanted, has))
    for name in sorted(ours.keys() - theirs.keys()):
        yield f"ports.{name} is not among its ports"
    for name in sorted(theirs.keys() - ours.keys()):
        yield f"its port {name} is not in card.toml"
    for name in sorted(ours.keys() & theirs.keys()):
        for field in fields(PortConfig):
            one, other = getattr(ours[name], field.name), getattr(theirs[name], field.name)
            if one or field.name != "mac":  # a MAC that nobody chose is the device's
                yield from _values(f"ports.{name}.{field.name}", one, other)


def _values(what: str, wanted: object, has: object) -> Iterator[str]:
    if wanted != has:
        yield f"{what} {_shown(wanted)}, the engine's {_shown(has)}"


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(sorted(map(str, value))) + "]"
    return "not given" if value is None else str(value)
