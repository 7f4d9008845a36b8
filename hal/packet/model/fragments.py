"""Fragments: no reassembly. Later ones follow their first, and may not overlap (RFC 1858, RFC 5722)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from hal.packet.model.flows import Connection, Share
from hal.packet.model.keys import Scope, scope_of
from hal.packet.model.parse import Dropped, Fragment, Packet
from hal.packet.model.stage import TCP
from hal.packet.model.tcp import base_of
from hal.packet.model.tracking import SECOND

LIFETIME = 30 * SECOND
ROOM = 4096
RANGES = 8
TCP_HEADER = 20
LONGEST = 65535
"""Most that IPv4's total length, or IPv6's payload length, can say of a whole datagram (RFC 791 3.1, RFC 8200 4.5)."""


class FragmentKey(NamedTuple):
    scope: Scope
    source: bytes
    destination: bytes
    identification: int
    protocol: int
    """Of IPv4; 0 for IPv6, where only the first fragment knows it."""


@dataclass
class FirstFragment:
    """What a first fragment leaves for those that follow it."""

    connection: Connection
    direction: int
    share: Share
    """Whom it counts for."""
    created_ns: int
    before: int
    """As `Fragment.before`: a datagram has the headers of its first fragment."""
    by_uplink: bool
    """It came by an uplink."""
    base: int | None
    """Of TCP: what makes the sequence number behind a fragment of where that ends; see `tcp.base_of`."""
    ranges: list[tuple[int, int]] = field(default_factory=list)
    total: int = 0
    """Bytes of the fragmentable part, as its last fragment says; 0: that one has not come."""
    refuses: bool = False
    """Two of them overlapped: none passes any more."""

    @property
    def highest(self) -> int:
        """Where the last range that has come ends."""
        return self.ranges[-1][1]


def _key_of(packet: Packet, fragment: Fragment) -> FragmentKey:
    protocol = packet.protocol if packet.version == 4 else 0
    return FragmentKey(scope_of(packet.vnic), packet.source, packet.destination, fragment.identification, protocol)


class Fragments:
    """The first fragments of one shard."""

    def __init__(self) -> None:
        self._entries: dict[FragmentKey, FirstFragment] = {}
        """The oldest first: all live equally long."""
        self._of: Counter[Share] = Counter()
        self._by_uplinks = 0

    def _living(self, key: FragmentKey, now: int) -> FirstFragment | None:
        self.expire(now)
        return self._entries.get(key)

    def expire(self, now: int) -> None:
        """Those that are too old go."""
        while self._entries:
            oldest = next(iter(self._entries))
            if now - self._entries[oldest].created_ns < LIFETIME:
                break
            self._forget(oldest)

    def _forget(self, key: FragmentKey) -> None:
        entry = self._entries.pop(key)
        self._of[entry.share] -= 1
        self._by_uplinks -= entry.by_uplink

    def of(self, share: Share) -> int:
        """How many of this share are remembered."""
        return self._of[share]

    def most(self, share: Share, role: str, limit: int) -> int:
        """How many of a share may be, by what its row or the card says (0: nothing) and by what room there is."""
        free, inbound = ROOM - len(self._entries), share[1] == "inbound"
        if role != "uplink" and not inbound:
            return limit or min(ROOM // 4, free)
        free = min(free, ROOM // 2 - self._by_uplinks)
        if limit:
            return min(limit, self.of(share) + free)
        return free // (8 if inbound else 2)  # one stranger can send to many

    def admit(self, packet: Packet) -> None:
        """May this packet go on, as far as it is a fragment? A first one is remembered when it has passed."""
        fragment = packet.fragment
        if fragment is None:
            return
        end = packet.end_of(fragment)
        length = end - fragment.offset
        if fragment.before + end > LONGEST or length == 0 or (fragment.more and length % 8):
            raise Dropped("fragment_invalid")
        if packet.version == 4 and packet.protocol == TCP and 0 < fragment.offset < TCP_HEADER:
            raise Dropped("fragment_tiny")  # it would write over what the first one said (RFC 1858 3.2.2, RFC 3128)
        if packet.is_first:
            self._admit_first(packet, fragment)

    def _admit_first(self, packet: Packet, fragment: Fragment) -> None:
        entry = self._living(_key_of(packet, fragment), packet.now)
        if entry:
            raise Dropped(_again(entry, 0, packet.end_of(fragment)))
        if len(self._entries) >= ROOM:
            raise Dropped("fragment_table_full")

    def remember(
        self, packet: Packet, fragment: Fragment, connection: Connection, direction: int, share: Share
    ) -> None:
        """This first fragment has passed; it counts for `share`."""
        base = base_of(packet, fragment) if packet.protocol == TCP else None
        ranges, by_uplink = [(0, packet.end_of(fragment))], packet.vnic.role == "uplink"
        entry = FirstFragment(connection, direction, share, packet.now, fragment.before, by_uplink, base, ranges)
        self._entries[_key_of(packet, fragment)] = entry
        self._of[share] += 1
        self._by_uplinks += by_uplink

    def first_of(self, packet: Packet, fragment: Fragment) -> FirstFragment:
        """The first fragment that this later one follows."""
        entry = self._living(_key_of(packet, fragment), packet.now)
        if entry is None:
            raise Dropped("fragment_no_first")
        return entry

    def follow(self, packet: Packet, fragment: Fragment, first: FirstFragment) -> None:
        """May this later fragment follow its first? If so, its bytes are taken."""
        begin, end = fragment.offset, packet.end_of(fragment)
        if first.before + end > LONGEST:
            raise Dropped("fragment_invalid")
        if first.refuses:
            raise Dropped("fragment_overlap")
        if any(begin < other_end and other < end for other, other_end in first.ranges):
            raise Dropped(_again(first, begin, end))
        # A datagram has one end, and no byte is behind it.
        beyond = end > first.total or not fragment.more if first.total else not fragment.more and end < first.highest
        if beyond:
            raise Dropped("fragment_invalid")
        merged = _merge([*first.ranges, (begin, end)])
        if len(merged) > RANGES:
            raise Dropped("fragment_ranges")
        first.ranges = merged
        if not fragment.more:
            first.total = end
        if merged == [(0, first.total)]:  # it is whole: another with its identification may come (RFC 4963)
            self._forget(_key_of(packet, fragment))


def _again(first: FirstFragment, begin: int, end: int) -> str:
    """What a fragment meets whose bytes have come before, all or some."""
    if not first.refuses and any(other <= begin and end <= other_end for other, other_end in first.ranges):
        return "fragment_duplicate"
    first.refuses = True
    return "fragment_overlap"


def _merge(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The ranges in order, those that touch made one."""
    merged: list[tuple[int, int]] = []
    for begin, end in sorted(ranges):
        if merged and merged[-1][1] == begin:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((begin, end))
    return merged
