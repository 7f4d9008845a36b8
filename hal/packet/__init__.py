"""The packet engine contract, its twin and the driver of the real one.

What agents and scripts need is here by name: `connect()`, `twin()`, `Card`, and the row class of every table (`Route`,
...; those of installed stages too).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hal.packet.card import Card
    from hal.packet.frame._generated import Profile, ProfilePunt, ProfileStage, Seed, Vnic, Vrf
    from hal.packet.stages.antispoof._generated import AllowedSource
    from hal.packet.stages.bridge._generated import FdbEntry, LocalAddress, Subnet, VnicAddress
    from hal.packet.stages.firewall._generated import FirewallBinding, FirewallPolicy, FirewallRule
    from hal.packet.stages.route._generated import (
        BlackholeRoute,
        EcmpRoute,
        NextHop,
        NextHopGroup,
        NextHopMember,
        Route,
        SubnetRoute,
    )

__all__ = [
    "AllowedSource",
    "BlackholeRoute",
    "Card",
    "EcmpRoute",
    "FdbEntry",
    "FirewallBinding",
    "FirewallPolicy",
    "FirewallRule",
    "LocalAddress",
    "NextHop",
    "NextHopGroup",
    "NextHopMember",
    "Profile",
    "ProfilePunt",
    "ProfileStage",
    "Route",
    "Seed",
    "Subnet",
    "SubnetRoute",
    "Vnic",
    "VnicAddress",
    "Vrf",
    "connect",
    "twin",
]

RUN = "/run/dsn"

PORTS = ("uplink0", "uplink1", "host0", "host1", "host2", "host3")


def twin(ports: Sequence[str] = PORTS, stages: Iterable[str] = ()) -> Card:
    """A card in plain Python in this process: no root, no DPDK, forgotten when it is closed.

    Args:
        ports: their names; their numbers are their places.
        stages: packages of stages beside ours and the installed ones.
    """
    from hal.packet.model.card import TwinCard

    return TwinCard(ports, stages)


def connect(run: str = "", stages: Iterable[str] = ()) -> Card:
    """The card whose engine runs in this folder.

    Args:
        run: the engine's run folder, which holds its sockets; "": "engine" below $DSN_RUN, or below /run/dsn.
        stages: packages of stages beside ours and the installed ones.

    Raises:
        HalError: LOST where no engine answers, DENIED where its sockets may not be opened.
    """
    from hal.packet.card import Card
    from hal.packet.dpdk import connect as connect_engine

    folder, more = run or Path(os.environ.get("DSN_RUN") or RUN) / "engine", tuple(stages)
    return Card(connect_engine(folder, more), again=lambda: connect_engine(folder, more))


def __getattr__(name: str) -> Any:
    """Row classes and `Card`, imported when they are first asked for."""
    if not name[0].isupper():  # a module of this package, which the import looks for next
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from hal.packet.card import Card
    from hal.packet.schema.classes import row_classes

    found = {"Card": Card, **row_classes()}
    if name not in found:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals().update(found)
    return found[name]
