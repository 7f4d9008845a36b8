"""*ICMP types* of docs/icmp.md: each line of its table, met by messages of that kind; and what the card says."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace

import pytest
from scapy.all import ICMP, UDP, ICMPv6DestUnreach

from hal.packet.contract import Verdict
from tests.packets.card import Card, Sent
from tests.packets.packets import other, ping, tcp, udp
from tests.packets.test_odd_ones import policies
from tests.packets.world import GATEWAY_MACS, HOSTS
from tests.property import frames
from tests.property.frames import Ip
from tests.tools.provoked import PROVOKED

CLIENT, DB = HOSTS["client"], HOSTS["db"]
FOUR, SIX = Ip("10.2.0.5", "10.1.0.20"), Ip("2001:db8:2::5", "2001:db8:1::14")
ASKED = {ip: replace(ip, source=ip.destination, destination=ip.source) for ip in (FOUR, SIX)}
"""Ends of the packet of client's that errors of db's are about."""


def quote(ip: Ip, port: int = 4000, size: int = 64) -> bytes:
    return ASKED[ip].wrap(frames.UDP, frames.udp(ASKED[ip], port, 53, bytes(size)))


def message(ip: Ip, kind: int, code: int = 0, rest: bytes = bytes(4), data: bytes | None = None) -> bytes:
    """A frame of db's to client."""
    body = frames.icmp(ip, kind, code, rest, quote(ip) if data is None else data)
    return frames.ethernet(
        GATEWAY_MACS[DB.subnet], DB.mac, 0x86DD if ip.v6 else 0x0800, ip.wrap(58 if ip.v6 else 1, body), DB.vlan
    )


def spoilt(frame: bytes) -> bytes:
    """A bit of its last byte is another: the ICMP checksum alone tells."""
    return frame[:-1] + bytes((frame[-1] ^ 1,))


def in_fragments(ip: Ip, kind: int) -> list[bytes]:
    """First fragments of frames of db's to client: all that is judged, and to the least that is quoted."""
    some = []
    for size in (96, 64):
        body = frames.icmp(ip, kind, 0, bytes(4), quote(ip))[:size]
        data = replace(ip, more=True, identification=size).wrap(58 if ip.v6 else 1, body)
        some.append(frames.ethernet(GATEWAY_MACS[DB.subnet], DB.mac, 0x86DD if ip.v6 else 0x0800, data, DB.vlan))
    return some


def mtu(value: int) -> bytes:
    return struct.pack("!I", value)


ERRORS4 = [(3, code) for code in range(16)] + [(11, 0), (11, 1), (12, 0), (12, 1), (12, 2)]
NO_CODES4 = [(3, 16), (3, 255), (11, 2), (12, 3)]
LATER = replace(ASKED[FOUR], offset=8).wrap(frames.UDP, bytes(16))
SHORT = bytearray(quote(FOUR))
SHORT[2:4] = struct.pack("!H", 27)
SHORT6 = bytearray(quote(SIX))
SHORT6[4:6] = struct.pack("!H", 7)

CASES: dict[str, list[bytes]] = {
    "ICMP 8, 0: echo": [message(FOUR, 8, rest=b"\0\7\0\1", data=b"ping")],
    "ICMP 3 codes 0-15, 11 codes 0-1, 12 codes 0-2, about a packet of a connection": [
        message(FOUR, kind, code, mtu(1280) if (kind, code) == (3, 4) else bytes(4), quote(FOUR)[:size])
        for kind, code in ERRORS4
        for size in (28, 92)
    ]
    + [message(FOUR, 3, 3, data=quote(FOUR)[:10] + wrong + quote(FOUR)[12:]) for wrong in (b"\0\0", b"\x12\x34")],
    "ICMP 3, 11, 12 with any other code": [message(FOUR, *one) for one in NO_CODES4],
    "ICMP 3/4 with an MTU of 1 to 67": [message(FOUR, 3, 4, mtu(value)) for value in (1, 67, 0x2A0001)],
    "ICMP 3/4 and ICMPv6 2 with an MTU that the quoted packet fits into": [
        *(message(FOUR, 3, 4, mtu(value)) for value in (92, 93, 1500, 65535)),
        *(message(SIX, 2, 0, mtu(value)) for value in (1280, 65535)),
    ],
    "ICMP 3/4 without an MTU": [message(FOUR, 3, 4), message(FOUR, 3, 4, b"\0\x20\0\0")],
    "an error about no connection, or one of which no such packet was": [
        *(message(ip, kind, data=quote(ip, 4001)) for ip, kind in ((FOUR, 3), (SIX, 1))),
        message(FOUR, 3, data=FOUR.wrap(frames.UDP, frames.udp(FOUR, 53, 4000))),
        message(SIX, 1, data=SIX.wrap(frames.UDP, frames.udp(SIX, 53, 4000))),
    ],
    "an error with a wrong checksum": [
        *(spoilt(message(ip, kind)) for ip, kind in ((FOUR, 3), (SIX, 1))),
        spoilt(message(FOUR, 3, 4, mtu(67))),
        spoilt(message(SIX, 2, 0, mtu(1280))),
        spoilt(message(FOUR, 3, data=quote(FOUR, 4001))),
    ],
    "an error in fragments": [*in_fragments(FOUR, 3), *in_fragments(SIX, 1)],
    "an error about a later fragment, or that quotes too little": [
        message(FOUR, 3, data=LATER),
        message(FOUR, 3, data=quote(FOUR)[:27]),
        message(FOUR, 3, data=b""),
        message(FOUR, 3, data=bytes(SHORT)),
        message(FOUR, 3, data=b"\x65" + quote(FOUR)[1:]),
        message(FOUR, 3, data=b"\x44" + quote(FOUR)[1:]),
        message(SIX, 1, data=quote(SIX)[:47]),
        message(SIX, 1, data=bytes(SHORT6)),
        message(SIX, 1, data=replace(ASKED[SIX], offset=8).wrap(frames.UDP, bytes(16))),
        message(SIX, 1, data=replace(ASKED[SIX], extensions=((43, bytes(7)),)).wrap(frames.UDP, quote(SIX)[40:])),
    ],
    "ICMP 4: source quench": [message(FOUR, 4)],
    "ICMP 5: redirect": [message(FOUR, 5, code, frames.packed("10.2.0.40")) for code in range(4)],
    "ICMP 9: router advertisement": [message(FOUR, 9)],
    "ICMP 10: router solicitation": [message(FOUR, 10)],
    "ICMP 13 to 18: timestamp, information, address mask": [message(FOUR, kind) for kind in range(13, 19)],
    "ICMP of any other type": [message(FOUR, kind) for kind in (1, 2, 6, 7, 19, 30, 37, 38, 40, 42, 43, 253, 255)],
    "ICMPv6 1, 2, 4 of any code, 3 of code 0 and 1, about a packet of a connection": [
        message(SIX, kind, code, mtu(1280), quote(SIX)[:size])
        for kind, codes in ((1, (*range(9), 255)), (2, (0, 1)), (3, (0, 1)), (4, (0, 1, 2, 3, 10)))
        for code in codes
        for size in (48, 112)
    ],
    "ICMPv6 2 with an MTU below 1,280": [message(SIX, 2, 0, mtu(value)) for value in (0, 68, 1279)],
    "ICMPv6 3 with any other code": [message(SIX, 3, 2), message(SIX, 3, 255)],
    "ICMPv6 128, 129: echo": [message(SIX, 128, rest=b"\0\7\0\1", data=b"ping")],
    "ICMPv6 130-132, 143, 151-153: multicast listeners and routers": [
        message(SIX, kind) for kind in (130, 131, 132, 143, 151, 152, 153)
    ],
    "ICMPv6 138-142, 144-150: renumbering, node information, inverse ND, mobility, SEND": [
        message(SIX, kind) for kind in (*range(138, 143), *range(144, 151))
    ],
    "ICMPv6 of any other type": [
        message(SIX, kind) for kind in (0, 5, 99, 100, 101, 126, 127, 154, 200, 201, 254, 255)
    ],
}


def asks(card: Card) -> None:
    """The connections that errors are about."""
    for ip in ASKED.values():
        frame = frames.ethernet(
            GATEWAY_MACS[CLIENT.subnet],
            CLIENT.mac,
            0x86DD if ip.v6 else 0x0800,
            ip.wrap(frames.UDP, frames.udp(ip, 4000, 53, bytes(64))),
        )
        card.receives(frame, CLIENT).arrives_at("db")


def test_each_line_has_its_messages() -> None:
    assert policies("ICMP types", "icmp").keys() == CASES.keys()


@pytest.mark.parametrize("what", CASES)
def test_policy(card: Card, what: str) -> None:
    policy = policies("ICMP types", "icmp")[what]
    asks(card)
    for count, frame in enumerate(CASES[what], 1):
        sent = card.receives(frame, DB)
        if policy == "passes":
            sent.arrives_at("client", ttl=63)
            continue
        assert (sent.result.verdict, sent.result.reason) == (Verdict.DROP, policy), frame.hex()
        assert card.shard.counters().drops[policy] == count
        PROVOKED.add(policy)
        sent.silently()


# --- what the card says: RFC 1812 5.2.7.1, RFC 4443 3.1 ---------------------------------------------------------------

UNREACHABLE: list[tuple[str, str, str, int, int]] = [
    ("no_route", "100.64.0.1", "2001:db8:77::1", 0, 0),
    ("next_hop_down", "203.0.9.9", "2001:db8:cafe::1", 0, 0),
    ("vnic_address_unknown", "10.2.0.99", "2001:db8:2::99", 1, 3),
]


def unreachable_code(sent: Sent, reason: str) -> int:
    answer = sent.is_dropped(reason).answer()
    if answer.haslayer(ICMPv6DestUnreach):
        assert bytes(answer[ICMPv6DestUnreach].payload) == sent.data[14:]
        return int(answer[ICMPv6DestUnreach].code)
    assert (answer[ICMP].type, answer["IP"].src) == (3, "10.1.0.1")
    assert bytes(answer[ICMP].payload) == sent.data[14:]
    return int(answer[ICMP].code)


@pytest.mark.parametrize(("reason", "v4", "v6", "code4", "code6"), UNREACHABLE)
def test_rfc1812_5_2_7_1_destination_unreachable(
    card: Card, reason: str, v4: str, v6: str, code4: int, code6: int
) -> None:
    if reason == "next_hop_down":
        card.loses("vnic", HOSTS["gateway"].vnic, HOSTS["second"].vnic)
    client = card.host("client")
    for ask in (udp(f"10.1.0.20:1 > {v4}:2"), tcp(f"10.1.0.20:1 > {v4}:2"), ping(f"10.1.0.20 > {v4}")):
        assert unreachable_code(client.sends(ask.via_gateway()), reason) == code4
    for ask in (udp(f"[2001:db8:1::14]:1 > [{v6}]:2"), other(f"2001:db8:1::14 > {v6}", 132)):
        assert unreachable_code(client.sends(ask.via_gateway()), reason) == code6


def test_a_blackhole_is_silent(card: Card) -> None:
    card.host("client").sends(udp("10.1.0.20:1 > 198.18.0.1:2")).is_dropped("blackhole").silently()
    assert unreachable_code(card.host("client").sends(udp("10.1.0.20:1 > 100.64.0.1:2")), "no_route") == 0


def to_nowhere(edit: Callable[[Ip], Ip], protocol: int = frames.UDP, payload: bytes | None = None) -> bytes:
    ip = edit(Ip("10.1.0.20", "100.64.0.1"))
    body = frames.udp(ip, 1, 2, bytes(8)) if payload is None else payload
    return frames.ethernet(GATEWAY_MACS[CLIENT.subnet], CLIENT.mac, 0x0800, ip.wrap(protocol, body))


def test_rfc1812_4_3_2_7_what_is_never_told_of(card: Card) -> None:
    """Errors, all but first fragments, what came to a group, and sources that are nobody."""
    same = to_nowhere(lambda ip: ip)
    assert unreachable_code(card.receives(same, CLIENT), "no_route") == 0
    error = frames.icmp(ASKED[FOUR], 3, 3, bytes(4), quote(FOUR))
    card.receives(to_nowhere(lambda ip: ip, 1, error), CLIENT).is_dropped("icmp_error_unrelated").silently()
    redirect = frames.icmp(ASKED[FOUR], 5, 0, bytes(4), quote(FOUR))
    card.receives(to_nowhere(lambda ip: ip, 1, redirect), CLIENT).is_dropped("redirect_guard").silently()
    later = to_nowhere(lambda ip: replace(ip, offset=8))
    card.receives(later, CLIENT).is_dropped("fragment_no_first").silently()
    for group in ("ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01"):
        card.receives(frames.mac(group) + same[6:], CLIENT).silently()
    for nobody in ("0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255"):
        frame = to_nowhere(lambda ip, source=nobody: replace(ip, source=source))  # type: ignore[misc]
        card.receives(frame, CLIENT).is_dropped("address_invalid").silently()
    assert unreachable_code(card.receives(to_nowhere(lambda ip: replace(ip, more=True)), CLIENT), "no_route") == 0


def test_spoofed_ones_are_told_nothing(card: Card) -> None:
    spoofed = to_nowhere(lambda ip: replace(ip, source="10.1.0.99"))
    card.receives(spoofed, CLIENT).is_dropped("spoofed_address").silently()


@pytest.mark.parametrize(("size", "quoted"), [(100, 128), (1400, 548)])
def test_rfc1812_4_3_2_3_as_much_as_fits_in_576_bytes(card: Card, size: int, quoted: int) -> None:
    frame = to_nowhere(lambda ip: ip, payload=bytes(UDP(sport=1, dport=2, len=8 + size)) + bytes(size))
    sent = card.receives(frame, CLIENT).is_dropped("no_route")
    assert sent.answer()[ICMP].code == 0
    assert sent.outputs()[0].data[14 + 28 :] == frame[14 : 14 + quoted]


# --- path MTU discovery: what each side is told, and what it then sends ---------------------------------------------


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_rfc1191_a_smaller_mtu_on_either_side(card: Card, protocol: str) -> None:
    """Behind where it leaves: the sender hears of it, quoted, with the MTU. In both directions, with and without DF."""
    card.changes(replace(card.row("vnic", DB.vnic), mtu=1280))
    big = bytes(1300)
    for flags in ("DF", 0):
        ask = udp("10.1.0.20:5 > 10.2.0.5:6", ip={"flags": flags}, payload=big)
        answer = card.host("client").sends(ask).is_dropped("mtu_exceeded").answer()
        assert (answer[ICMP].type, answer[ICMP].code, answer[ICMP].nexthopmtu) == (3, 4, 1280)
    ask6 = udp("[2001:db8:1::14]:5 > [2001:db8:2::5]:6", payload=big)
    assert card.host("client").sends(ask6).is_dropped("mtu_exceeded").answer()["ICMPv6PacketTooBig"].mtu == 1280
    opening = tcp("10.1.0.20:5 > 10.2.0.5:6") if protocol == "tcp" else udp("10.1.0.20:5 > 10.2.0.5:6")
    card.host("client").sends(opening).arrives_at("db")
    card.changes(replace(card.row("vnic", DB.vnic), mtu=1500), replace(card.row("vnic", CLIENT.vnic), mtu=1280))
    if protocol == "tcp":
        card.host("db").sends(tcp("10.2.0.5:6 > 10.1.0.20:5", flags="SA")).arrives_at("client")
        reply = tcp("10.2.0.5:6 > 10.1.0.20:5", flags="A", payload=big)
    else:
        reply = udp("10.2.0.5:6 > 10.1.0.20:5", payload=big)
    answer = card.host("db").sends(reply).is_dropped("mtu_exceeded").answer()
    assert (answer[ICMP].type, answer[ICMP].code, answer[ICMP].nexthopmtu) == (3, 4, 1280)
