"""Conversations: two ends, a protocol, and the frames they exchange."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from tests.property import frames
from tests.property.frames import ACK, FIN, SYN, Ip
from tests.property.universe import ENDS, GATEWAY_MAC, End


@dataclass
class Numbers:
    """Which sequence numbers both sides of a TCP connection have come to: each has heard all that the other said.

    Args:
        isn: of the latest SYN of each.
        next: what each says next.
        opening: a side has said nothing but its SYN yet.
        drawn: how many initial numbers were drawn.
    """

    isn: list[int] = field(default_factory=lambda: [0, 0])
    next: list[int] = field(default_factory=lambda: [1, 1])
    opening: list[bool] = field(default_factory=lambda: [False, False])
    drawn: int = 0

    def draw(self, side: int) -> None:
        """This side begins anew: some begin where numbers wrap around, or where they change sign."""
        self.drawn += 1
        self.isn[side] = (1000, TOP - 3, 1 << 31, TOP - 70_000, (1 << 31) - 500)[self.drawn % 5] + 7919 * self.drawn
        self.next[side] = self.isn[side]
        self.opening[side] = False

    def of(self, side: int, flags: int) -> tuple[int, int]:
        """Sequence number and acknowledgement of a segment of this side."""
        first = flags & SYN and self.opening[side]
        return self.isn[side] if first else self.next[side], self.next[1 - side] if flags & ACK else 0

    def say(self, side: int, flags: int, length: int) -> None:
        """It was said: the next one follows it."""
        if flags & SYN:
            self.next[side] = self.isn[side]
        self.next[side] += length + bool(flags & SYN) + bool(flags & FIN)
        self.opening[side] = bool(flags & SYN)


TOP = 0xFFFF_FFFF
SCALES = ((None, None), (7, 7), (14, 14), (0, 2), (None, 7), (15, 3), (7, None))
WINDOWS = (65535, 8192, 1000)
BAD_OPTIONS = (b"\x02\x01", b"\x03\x00", b"\x01\x01\x01\x08", b"\x05\x06")


@dataclass
class Conversation:
    """Two ends and what they speak; `step` is how far a TCP connection has come, `numbers` in which numbers."""

    source: int = 0
    destination: int = 1
    v6: bool = False
    protocol: int = frames.TCP
    sport: int = 40000
    dport: int = 80
    step: int = 0
    identification: int = 1
    numbers: Numbers = field(default_factory=Numbers)

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
        """(protocol number, transport bytes) of the next packet, which is not said yet."""
        data = bytes(size)
        match self.protocol:
            case frames.TCP:
                return self.protocol, self.segment(ip, reply, flags, size)
            case frames.UDP:
                return self.protocol, frames.udp(ip, *self.ports(reply), data)
            case frames.ICMP:
                kind = ((128, 129) if self.v6 else (8, 0))[int(reply)]
                rest = struct.pack("!HH", self.sport & 0xFFFF, 1)
                return (frames.ICMP6 if self.v6 else frames.ICMP), frames.icmp(ip, kind, 0, rest, data)
            case _:
                return self.protocol, b"\0" * 8 + data

    @property
    def scales(self) -> tuple[int | None, int | None]:
        return SCALES[(self.sport + self.dport) % len(SCALES)]

    @property
    def window(self) -> int:
        return WINDOWS[self.sport % len(WINDOWS)]

    def segment(self, ip: Ip, reply: bool, flags: int, size: int, bent: Bent | None = None) -> bytes:
        """The next segment, or one that differs from it."""
        bent = bent or Bent()
        side = int(reply)
        options = b""
        if flags & SYN:
            scale = self.scales[side]
            options = b"\x02\x04\x05\xb4" + (b"" if scale is None else bytes((1, 3, 3, scale)))
        if bent.options:
            options = BAD_OPTIONS[bent.options % len(BAD_OPTIONS)]
        seq, ack = self.numbers.of(side, flags)
        return frames.tcp(
            ip,
            *self.ports(reply),
            flags,
            seq + bent.sequence,
            ack + bent.acknowledgement,
            bytes(size),
            self.window if bent.window is None else bent.window,
            options,
        )

    def says(self, ip: Ip, reply: bool, flags: int, size: int) -> tuple[int, bytes]:
        """As `l4`, of what is really said."""
        side = int(reply)
        if self.protocol == frames.TCP and flags & SYN and not self.numbers.opening[side]:
            self.numbers.draw(side)
        made = self.l4(ip, reply, flags, size)
        if self.protocol == frames.TCP:
            self.numbers.say(side, flags, size)
        return made


@dataclass(frozen=True)
class Bent:
    """How a segment differs from the next: what is added to its numbers, another window, malformed options."""

    sequence: int = 0
    acknowledgement: int = 0
    window: int | None = None
    options: int = 0


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
