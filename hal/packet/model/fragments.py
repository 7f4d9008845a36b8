"""Fragments: no reassembly. Later ones follow their first, and may not overlap (RFC 1858, RFC 5722)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from hal.packet.model.flows import Connection
from hal.packet.model.keys import Scope, scope_of
from hal.packet.model.parse import Dropped, Fragment, Packet
from hal.packet.model.tracking import SECOND

LIFETIME = 30 * SECOND
ROOM = 4096
RANGES = 8
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
    created_ns: int
    before: int
    """As `Fragment.before`: a datagram has the headers of its first fragment."""
    ranges: list[tuple[int, int]] = field(default_factory=list)
    refuses: bool = False
    """Two of them overlapped: none passes any more."""


def _key_of(packet: Packet, fragment: Fragment) -> FragmentKey:
    protocol = packet.protocol if packet.version == 4 else 0
    return FragmentKey(scope_of(packet.vnic), packet.source, packet.destination, fragment.identification, protocol)


class Fragments:
    """The first fragments of one shard."""

    def __init__(self) -> None:
        self._entries: dict[FragmentKey, FirstFragment] = {}

    def _living(self, key: FragmentKey, now: int) -> FirstFragment | None:
        entry = self._entries.get(key)
        if entry and now - entry.created_ns >= LIFETIME:
            del self._entries[key]
            return None
        return entry

    def admit(self, packet: Packet) -> None:
        """May this packet go on, as far as it is a fragment? A first one is remembered when it has passed."""
        fragment = packet.fragment
        if fragment is None:
            return
        end = packet.end_of(fragment)
        length = end - fragment.offset
        if fragment.before + end > LONGEST or (fragment.more and (length == 0 or length % 8)):
            raise Dropped("fragment_invalid")
        if packet.is_first:
            self._admit_first(packet, fragment)

    def _admit_first(self, packet: Packet, fragment: Fragment) -> None:
        entry = self._living(_key_of(packet, fragment), packet.now)
        if entry:
            entry.refuses = True
            raise Dropped("fragment_overlap")
        if len(self._entries) >= ROOM:
            self._entries = {
                key: entry for key, entry in self._entries.items() if packet.now - entry.created_ns < LIFETIME
            }
        if len(self._entries) >= ROOM:
            raise Dropped("fragment_table_full")

    def remember(self, packet: Packet, fragment: Fragment, connection: Connection, direction: int) -> None:
        """This first fragment has passed."""
        entry = FirstFragment(connection, direction, packet.now, fragment.before, [(0, packet.end_of(fragment))])
        self._entries[_key_of(packet, fragment)] = entry

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
        if first.refuses or any(begin < other_end and other < end for other, other_end in first.ranges):
            first.refuses = True
            raise Dropped("fragment_overlap")
        merged = _merge([*first.ranges, (begin, end)])
        if len(merged) > RANGES:
            raise Dropped("fragment_ranges")
        first.ranges = merged


def _merge(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The ranges in order, those that touch made one."""
    merged: list[tuple[int, int]] = []
    for begin, end in sorted(ranges):
        if merged and merged[-1][1] == begin:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((begin, end))
    return merged
