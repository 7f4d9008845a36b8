"""Conversations: two ends, a protocol, and the frames they exchange."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from tests.property import frames
from tests.property.frames import Ip
from tests.property.universe import ENDS, GATEWAY_MAC, End


@dataclass
class Conversation:
    """Two ends and what they speak; `step` is how far a TCP connection has come."""

    source: int = 0
    destination: int = 1
    v6: bool = False
    protocol: int = frames.TCP
    sport: int = 40000
    dport: int = 80
    step: int = 0
    identification: int = 1

    def ends(self, reply: bool) -> tuple[End, End]:
        pair = ENDS[self.source], ENDS[self.destination]
        return (pair[1], pair[0]) if reply else pair

    def ip(self, reply: bool, ttl: int = 64) -> Ip:
        source, destination = self.ends(reply)
        addresses = (source.v6, destination.v6) if self.v6 else (source.v4, destination.v4)
        return Ip(*addresses, ttl=ttl, identification=self.identification)

    def ports(self, reply: bool) -> tuple[int, int]:
        return (self.dport, self.sport) if reply else (self.sport, self.dport)

    def l4(self, ip: Ip, reply: bool, flags: int, size: int) -> tuple[int, bytes]:
        """(protocol number, transport bytes) of the next packet."""
        data = bytes(size)
        match self.protocol:
            case frames.TCP:
                return self.protocol, frames.tcp(ip, *self.ports(reply), flags, data=data)
            case frames.UDP:
                return self.protocol, frames.udp(ip, *self.ports(reply), data)
            case frames.ICMP:
                kind = ((128, 129) if self.v6 else (8, 0))[int(reply)]
                rest = struct.pack("!HH", self.sport & 0xFFFF, 1)
                return (frames.ICMP6 if self.v6 else frames.ICMP), frames.icmp(ip, kind, 0, rest, data)
            case _:
                return self.protocol, b"\0" * 8 + data


def destination_mac(source: End, destination: End) -> str:
    """Bridged inside a subnet of vNICs, else to the gateway."""
    if source.subnet == destination.subnet and source.subnet in (1, 2):
        return destination.mac
    return GATEWAY_MAC[source.subnet]


def wrap(source: End, destination: End, ip: Ip, protocol: int, payload: bytes) -> bytes:
    kind = 0x86DD if ip.v6 else 0x0800
    return frames.ethernet(
        destination_mac(source, destination), source.mac, kind, ip.wrap(protocol, payload), source.vlan
    )
