"""A direction of a connection: what its packets have to pass and where they go; in words, its op list."""

from __future__ import annotations

from dataclasses import dataclass

from hal.packet.model.rows import Entry
from hal.packet.model.stage import TCP, Op
from hal.packet.schema.rows import unpack_address, unpack_mac


@dataclass(frozen=True)
class Path:
    """One direction's op list, as decided.

    Args:
        ingress: row of table vnic that the packets come from.
        egress: row they leave by; None where `drop` says why they don't.
        neighbour: its address, where `egress` is an uplink.
        routed: addressed to the card's own MAC.
        protocol: IP protocol number.
        ops: what the stages of the ingress row's chain put on every packet.
        destination_mac: of the first packet in this direction, where bridged.
        to_card: one of the ends is the card itself: TTL stays.
        drop: reason to drop all of them.
    """

    ingress: Entry
    egress: Entry | None
    neighbour: bytes | None
    routed: bool
    protocol: int
    ops: frozenset[Op]
    destination_mac: bytes = b""
    to_card: bool = False
    drop: str = ""

    @property
    def punts(self) -> bool:
        """True if the packets go to the card's own programs."""
        return self.egress is not None and self.egress.role == "card"

    def words(self) -> tuple[str, ...]:
        """The op list as `show flow` prints it."""
        checks = [op.value for op in Op if op in self.ops]
        if not self.routed:
            checks.append(f"check destination-mac {unpack_mac(self.destination_mac)}")
        if self.egress is None:
            return (*checks, f"drop {self.drop}")
        words = [*checks]
        if self.protocol == TCP:
            words.append("track tcp")
        if self.punts:
            words.append("meter punt")
        words.append("count")
        if self.routed:
            words += [] if self.to_card else ["rewrite ttl"]
            words.append(self._rewrite(self.egress))
        if self.ingress.vlan:
            words.append(f"pop vlan {self.ingress.vlan}")
        if self.egress.vlan:
            words.append(f"push vlan {self.egress.vlan}")
        words.append(f"punt vrf {self.egress.vrf}" if self.punts else f"send vnic {self.egress.id}")
        return tuple(words)

    def _rewrite(self, egress: Entry) -> str:
        if self.neighbour is None:
            return f"rewrite macs vnic {egress.id}"
        return f"rewrite macs neighbour {unpack_address(self.neighbour)} on vnic {egress.id}"
