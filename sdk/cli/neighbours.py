"""Neighbours of a replayed capture: a private shard knows none, and a capture at one port doesn't show them answer.

Whom a replay asks for, and who says nothing in the capture, is taken to be there: a made ARP reply (RFC 826) or
neighbour advertisement (RFC 4861) goes in behind the packet that needs it, and again before it grows old. Without,
all that leaves by an uplink would be told to wait, or as dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from hal.packet.contract import Output, PacketIn, PacketResult
from hal.packet.describe import ROUTER_MAC, checksum
from hal.packet.schema.rows import pack_mac
from sdk.cli.client import CardClient, Replay
from sdk.cli.frames import ICMP6, Seen, read

AGAIN_NS: Final = 30_000_000_000
"""A neighbour is asked again a minute after it was last heard of."""
PASSES: Final = 4
"""One finds who is asked for. Who failed hides others: what waits for it isn't routed anew."""
_ARP, _IPV6 = 0x0806, 0x86DD
_SOLICITATION, _ADVERTISEMENT = 135, 136

Neighbour = tuple[int, bytes]
"""Port, and address as in the message."""


def asked(seen: Seen | None) -> bytes | None:
    """Of an ARP request or a neighbour solicitation: which address it asks for."""
    if seen is not None and seen.ethertype == _ARP and seen.body[6:8] == b"\0\1":
        return seen.body[24:28]
    return _target(seen, _SOLICITATION)


def told(seen: Seen | None) -> bytes | None:
    """Of an ARP reply or a neighbour advertisement: about which address it is."""
    if seen is not None and seen.ethertype == _ARP and seen.body[6:8] == b"\0\2":
        return seen.body[14:18]
    return _target(seen, _ADVERTISEMENT)


def _target(seen: Seen | None, kind: int) -> bytes | None:
    found = seen is not None and seen.talk is not None and seen.talk.protocol == ICMP6 and not seen.offset
    return seen.payload[8:24] if seen is not None and found and seen.payload[:1] == bytes([kind]) else None


def answer(request: bytes) -> bytes:
    """The frame that answers such a request, from the MAC of some router."""
    seen = read(request)
    target = asked(seen)
    assert seen is not None
    assert target is not None
    mac, asker = pack_mac(ROUTER_MAC), pack_mac(seen.source_mac)
    link = asker + mac + request[12 : len(request) - len(seen.body)]
    if seen.ethertype == _ARP:
        return link + seen.body[:6] + b"\0\2" + mac + target + asker + seen.body[14:18]
    # Solicited and override; the option is the target's link-layer address.
    body = bytes([_ADVERTISEMENT, 0, 0, 0]) + b"\x60\0\0\0" + target + b"\2\1" + mac
    ends = target + seen.body[8:24]
    total = checksum(ends + len(body).to_bytes(4, "big") + bytes([0, 0, 0, ICMP6]) + body)
    header = b"\x60\0\0\0" + len(body).to_bytes(2, "big") + bytes([ICMP6, 255]) + ends
    return link + header + body[:2] + total.to_bytes(2, "big") + body[4:]


def replay(card: CardClient, packets: Sequence[PacketIn], pickup: bool = False) -> tuple[Replay, int]:
    """Run packets through a private shard whose neighbours answer. The results of `packets`, of which the first that
    needed a neighbour shows what waited leave, and how many neighbours were taken to answer."""
    heard = {(one.port, target) for one in packets if (target := told(read(one.data))) is not None}
    known: dict[Neighbour, tuple[int, bytes]] = {}
    merged, places = list(packets), [(place, True) for place in range(len(packets))]
    found = card.replay(merged, pickup=pickup)
    for _ in range(PASSES):
        new: dict[Neighbour, tuple[int, bytes]] = {}
        for (place, _), result in zip(places, found.results, strict=True):
            for output in result.outputs:
                target = asked(read(output.data))
                key = (output.port, target or b"")
                if target is not None and key not in heard and key not in known:
                    new.setdefault(key, (place, answer(output.data)))
        if not new:
            break
        known |= new
        merged, places = _with_answers(packets, known)
        found = card.replay(merged, pickup=pickup)
    return Replay(tuple(_of_packets(places, found.results)), found.flows), len(known)


def _with_answers(
    packets: Sequence[PacketIn], known: dict[Neighbour, tuple[int, bytes]]
) -> tuple[list[PacketIn], list[tuple[int, bool]]]:
    """Packets with the answers behind those that need them; for each the place of the packet that it belongs to, and
    whether it is that packet."""
    merged: list[PacketIn] = []
    places: list[tuple[int, bool]] = []
    last: dict[Neighbour, int] = {}
    first: dict[int, list[Neighbour]] = {}
    for key, (begin, _) in known.items():
        first.setdefault(begin, []).append(key)
    for place, packet in enumerate(packets):
        again = [key for key, time in last.items() if packet.time_ns - time >= AGAIN_NS]
        now = first.get(place, [])
        before, behind = ([PacketIn(known[key][1], key[0], packet.time_ns) for key in keys] for keys in (again, now))
        merged += [*before, packet, *behind]
        places += [*((place, False) for _ in before), (place, True), *((place, False) for _ in behind)]
        last |= dict.fromkeys((*again, *now), packet.time_ns)
    return merged, places


def _of_packets(places: Sequence[tuple[int, bool]], results: Sequence[PacketResult]) -> list[PacketResult]:
    """Each packet's own result, and what left by the answers that belong to it."""
    left: dict[int, tuple[Output, ...]] = {}
    for (place, own), result in zip(places, results, strict=True):
        if not own:
            left[place] = left.get(place, ()) + result.outputs
    return [
        replace(result, outputs=result.outputs + left.get(place, ()))
        for (place, own), result in zip(places, results, strict=True)
        if own
    ]
