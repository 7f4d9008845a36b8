"""The least that forwards: two hosts of one subnet, each a vNIC, and one policy for both."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.netns.world import World, without_a_trace

A, B = "10.1.0.10", "10.1.0.20"
MAC_A, MAC_B = "02:00:00:00:00:0a", "02:00:00:00:00:0b"


def add_hosts(world: World) -> None:
    """Hosts `a` and `b`, at the card's ports host0 and host1."""
    world.host("a", "host0", MAC_A, [f"{A}/24"])
    world.host("b", "host1", MAC_B, [f"{B}/24"])


def apply(world: World, rule: str) -> None:
    """Apply the intent with this sentence as the policy's only rule."""
    world.apply(
        f"""
kind: Subnet
name: net
spec: {{gateways: [10.1.0.1/24]}}
---
kind: FirewallPolicy
name: all
spec: {{rules: {{only: {rule}}}}}
---
kind: Vnic
name: a
spec: {{port: host0, mac: {MAC_A}, subnet: net, addresses: [{A}], policy: all}}
---
kind: Vnic
name: b
spec: {{port: host1, mac: {MAC_B}, subnet: net, addresses: [{B}], policy: all}}
"""
    )


@contextlib.contextmanager
def forwarding(folder: Path, rule: str, engine: Path | None = None, **more: str) -> Iterator[World]:
    """A card that forwards between them by this rule. Nothing is left of it.

    Args:
        folder, engine: as a `World` has them.
        more: lines of card.toml, as `World.write_card` has them.
    """
    with without_a_trace(folder, engine) as world:
        add_hosts(world)
        world.write_card(**more)
        world.start_card()
        apply(world, rule)
        yield world
