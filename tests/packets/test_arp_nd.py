"""ARP and neighbour discovery: answered for gateways and declared vNICs, from declared vNICs."""

from __future__ import annotations

from typing import Any

import pytest
from scapy.all import (
    ARP,
    Dot1Q,
    Ether,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    ICMPv6NDOptUnknown,
    IPv6,
    IPv6ExtHdrFragment,
)

from tests.packets.card import Card, Sent, checksums_hold
from tests.packets.packets import udp
from tests.packets.world import HOSTS

CLIENT = HOSTS["client"].mac
BROADCAST = "ff:ff:ff:ff:ff:ff"


def arp(card: Card, name: str = "client", **fields: Any) -> Sent:
    """An ARP message of a host; what isn't given is honest."""
    host = HOSTS[name]
    honest = {
        "op": 1,
        "hwsrc": host.mac,
        "psrc": host.addresses[0] if host.addresses else "10.9.9.9",
        "pdst": "10.1.0.1",
    }
    ether = Ether(src=host.mac, dst=BROADCAST)
    if host.vlan:
        ether /= Dot1Q(vlan=host.vlan)
    return card.host(name).sends(bytes(ether / ARP(**{**honest, **fields})))


@pytest.mark.parametrize(("target", "mac"), [("10.1.0.1", "02:00:00:00:aa:01"), ("10.1.0.10", "02:00:00:00:00:0a")])
def test_answered(card: Card, target: str, mac: str) -> None:
    sent = arp(card, pdst=target).is_taken()
    answer = sent.answer()
    assert (answer.src, answer[ARP].op, answer[ARP].hwsrc, answer[ARP].psrc) == (mac, 2, mac, target)
    assert (answer[ARP].hwdst, answer[ARP].pdst) == (CLIENT, "10.1.0.20")
    assert len(sent.outputs()[0].data) == 42


def test_answered_in_the_vlan(card: Card) -> None:
    assert arp(card, "db", pdst="10.2.0.1").is_taken().answer()[Dot1Q].vlan == 7


def test_probes_are_answered(card: Card) -> None:
    arp(card, psrc="0.0.0.0", pdst="10.1.0.10").is_taken().answer()


def test_the_tap_is_answered_for_everything(card: Card) -> None:
    assert arp(card, "card", pdst="1.2.3.4").is_taken().answer()[ARP].hwsrc == "02:00:00:00:aa:05"


@pytest.mark.parametrize("target", ["10.1.0.20", "10.1.0.99", "10.2.0.5", "10.2.0.1"])
def test_not_answered(card: Card, target: str) -> None:
    arp(card, pdst=target).is_dropped("arp_ignored").silently()
    arp(card).is_taken()


def test_replies_nobody_asked_for(card: Card) -> None:
    arp(card, op=2).is_dropped("arp_ignored")
    arp(card, "gateway", op=2, pdst="192.0.2.2").is_dropped("arp_ignored")


@pytest.mark.parametrize(
    "fields",
    [
        {"hwtype": 2},
        {"ptype": 0x86DD},
        {"hwlen": 5},
        {"plen": 16},
        {"op": 3},
        {"op": 0},
        {"hwsrc": "02:00:00:00:00:99"},
        {"hwsrc": "00:00:00:00:00:00"},
    ],
)
def test_malformed(card: Card, fields: dict[str, Any]) -> None:
    if "hwlen" in fields or "plen" in fields:
        frame = bytearray(
            bytes(Ether(src=CLIENT, dst=BROADCAST) / ARP(hwsrc=CLIENT, psrc="10.1.0.20", pdst="10.1.0.1"))
        )
        frame[18], frame[19] = fields.get("hwlen", 6), fields.get("plen", 4)
        card.host("client").sends(bytes(frame)).is_dropped("arp_malformed")
    else:
        arp(card, **fields).is_dropped("arp_malformed").silently()
    card.host("client").sends(bytes(Ether(src=CLIENT, dst=BROADCAST, type=0x806)) + bytes(27)).is_dropped(
        "arp_malformed"
    )
    arp(card).is_taken()


OWN, SHARED = "02:00:00:00:00:f0", "00:00:5e:00:01:07"
"""MACs of a router, and one of all routers that may be the gateway (RFC 9568 7.3)."""


def of_router(card: Card, operation: int, link: str, target: str = "192.0.2.2") -> Sent:
    """ARP of an uplink's router, in a frame from its own MAC."""
    gateway = HOSTS["gateway"]
    to = BROADCAST if operation == 1 else gateway.next_to
    frame = Ether(src=OWN, dst=to) / ARP(op=operation, hwsrc=link, psrc="192.0.2.1", pdst=target)
    return card.host("gateway").sends(bytes(frame))


@pytest.mark.parametrize("link", [SHARED, OWN])
def test_rfc826_the_sender_is_who_the_message_says(card: Card, link: str) -> None:
    """On an uplink, whatever MAC the frame comes from; nobody's MAC is no answer."""
    card.host("client").sends(udp("10.1.0.20:1 > 203.0.113.9:53")).waits()
    for nobody in ("00:00:00:00:00:00", BROADCAST, "01:00:5e:00:00:01"):
        of_router(card, 2, nobody).is_dropped("arp_malformed").silently()
    (sent,) = of_router(card, 2, link).is_taken().outputs()
    assert Ether(sent.data).dst == link
    passed = card.host("client").sends(udp("10.1.0.20:1 > 203.0.113.9:53"))
    assert [Ether(output.data).dst for output in passed.result.outputs] == [link]


def test_rfc826_the_answer_goes_to_who_the_message_says(card: Card) -> None:
    (sent,) = of_router(card, 1, SHARED).is_taken().outputs()
    answer = Ether(sent.data)
    assert (answer.dst, answer[ARP].hwdst, answer[ARP].psrc) == (SHARED, SHARED, "192.0.2.2")


def test_rfc5227_2_4_who_the_message_says_is_in_conflict(card: Card) -> None:
    """By the message: the card's own MAC in it is the card's own frame that came back, whoever bridged it."""
    gateway = HOSTS["gateway"]
    for link, reason in ((SHARED, "address_conflict"), (gateway.next_to, "arp_ignored")):
        frame = Ether(src=OWN, dst=BROADCAST) / ARP(op=1, hwsrc=link, psrc="192.0.2.2", pdst="192.0.2.2")
        card.host("gateway").sends(bytes(frame)).is_dropped(reason)


def test_spoofed(card: Card) -> None:
    arp(card, psrc="10.1.0.10").is_dropped("spoofed_arp").silently()
    arp(card, op=2, psrc="0.0.0.0").is_dropped("spoofed_arp")
    foreign = "02:00:00:00:00:99"
    frame = Ether(src=foreign, dst=BROADCAST) / ARP(hwsrc=foreign, psrc="10.1.0.20", pdst="10.1.0.1")
    card.host("client").sends(bytes(frame)).is_dropped("spoofed_arp")
    arp(card).is_taken()
    arp(card, "open", psrc="10.2.0.5", pdst="10.2.0.1").is_taken()


# --- neighbour discovery -----------------------------------------------------------------------------------------


def nd(card: Card, message: Any, name: str = "client", ip: dict[str, Any] | None = None, mac: str = "") -> Sent:
    host = HOSTS[name]
    fields = {"src": host.addresses[1], "dst": "ff02::1:ff00:1", "hlim": 255, **(ip or {})}
    destination = mac or (
        "33:33:ff:00:00:01" if fields["dst"].startswith("ff02") else host.next_to or "02:00:00:00:aa:01"
    )
    return card.host(name).sends(bytes(Ether(src=host.mac, dst=destination) / IPv6(**fields) / message))


def ns(target: str = "2001:db8:1::1", source: str = CLIENT) -> Any:
    message = ICMPv6ND_NS(tgt=target)
    return message / ICMPv6NDOptSrcLLAddr(lladdr=source) if source else message


@pytest.mark.parametrize(
    ("target", "mac", "router"),
    [
        ("2001:db8:1::1", "02:00:00:00:aa:01", 1),
        ("fe80::1", "02:00:00:00:aa:01", 1),
        ("2001:db8:1::a", "02:00:00:00:00:0a", 0),
    ],
)
def test_solicitations_are_answered(card: Card, target: str, mac: str, router: int) -> None:
    answer = nd(card, ns(target)).is_taken().answer()
    advertisement = answer[ICMPv6ND_NA]
    assert (advertisement.tgt, advertisement.R, advertisement.S, advertisement.O) == (target, router, 1, 1)
    assert (answer[ICMPv6NDOptDstLLAddr].lladdr, answer.src) == (mac, mac)
    assert (answer[IPv6].src, answer[IPv6].dst, answer[IPv6].hlim) == (target, "2001:db8:1::14", 255)


@pytest.mark.parametrize(
    ("target", "mac", "router"),
    [("2001:db8:1::1", "02:00:00:00:aa:01", 1), ("2001:db8:1::a", "02:00:00:00:00:0a", 0)],
)
@pytest.mark.parametrize("nonce", [b"", b"\x0e\x01nonce!"])
def test_rfc4862_5_4_3_who_looks_for_a_duplicate_learns_of_it(
    card: Card, target: str, mac: str, router: int, nonce: bytes
) -> None:
    """To all nodes, as who asks has no address yet (RFC 4861 7.2.4). A nonce says whose probe it is (RFC 7527): the
    card sends none, so each is somebody's."""
    message = ns(target, source="") / nonce
    group = "ff02::1:ff" + ("00:1" if router else "00:a")
    sent = nd(card, message, ip={"src": "::", "dst": group}).is_taken()
    (output,) = sent.outputs()
    answer = Ether(output.data)
    assert (output.port, answer.dst, answer.src, answer[IPv6].src) == (1, "33:33:00:00:00:01", mac, target)
    assert (answer[IPv6].dst, answer[IPv6].hlim) == ("ff02::1", 255)
    advertisement = answer[ICMPv6ND_NA]
    assert (advertisement.tgt, advertisement.R, advertisement.S, advertisement.O) == (target, router, 0, 1)
    assert answer[ICMPv6NDOptDstLLAddr].lladdr == mac
    assert checksums_hold(output.data)


def test_unicast_solicitations_are_answered(card: Card) -> None:
    nd(card, ns(), ip={"dst": "2001:db8:1::1"}).is_taken()
    nd(card, ns("2001:db8:1::a"), ip={"dst": "2001:db8:1::a"}, mac="02:00:00:00:00:0a").is_taken()


@pytest.mark.parametrize(
    ("message", "ip"),
    [
        (ns(), {"hlim": 254}),
        (ICMPv6ND_NS(code=1, tgt="2001:db8:1::1"), {}),
        (ICMPv6ND_NS(cksum=1, tgt="2001:db8:1::1"), {}),
        (ns("ff02::1"), {}),
        (ns("::ffff:10.1.0.1"), {}),
        (ns(), {"src": "::ffff:10.1.0.10"}),
        (ns(), {"src": "ff02::5"}),
        (ns(), {"src": "::1"}),
        (ICMPv6ND_NS(tgt="2001:db8:1::1") / ICMPv6NDOptUnknown(type=9, len=0, data=b"123456"), {}),
        (ICMPv6ND_NS(tgt="2001:db8:1::1") / ICMPv6NDOptUnknown(type=9, len=2, data=b"123456"), {}),
        (ns(), {"src": "::"}),
        (ns(source=""), {"src": "::", "dst": "ff02::1"}),
        (ns(source="00:00:00:00:00:00"), {}),
        (ns(source="33:33:00:00:00:01"), {}),
        (ns() / ICMPv6NDOptSrcLLAddr(lladdr="00:00:00:00:00:00"), {}),
        (ns() / ICMPv6NDOptSrcLLAddr(lladdr="33:33:00:00:00:01"), {}),
        (ns() / ICMPv6NDOptDstLLAddr(lladdr=CLIENT) / ICMPv6NDOptDstLLAddr(lladdr="01:00:5e:00:00:01"), {}),
        (ICMPv6ND_NA(tgt="2001:db8:1::14", S=1) / ICMPv6NDOptDstLLAddr(lladdr=CLIENT), {"dst": "ff02::1"}),
        (IPv6ExtHdrFragment(m=0, offset=0, nh=58, id=1) / ICMPv6ND_RS(code=1), {}),
    ],
)
def test_malformed_discovery(card: Card, message: Any, ip: dict[str, Any]) -> None:
    nd(card, message, ip=ip).is_dropped("nd_malformed").silently()
    nd(card, ns()).is_taken()


@pytest.mark.parametrize(
    ("message", "ip"),
    [
        (ICMPv6ND_RS(), {}),
        (ns("2001:db8:1::99"), {}),
        (ns("2001:db8:1::14"), {}),
        (ns("2001:db8:1::99", source=""), {"src": "::", "dst": "ff02::1:ff00:99"}),
        (ns("2001:db8:1::14", source=""), {"src": "::", "dst": "ff02::1:ff00:14"}),
        (ICMPv6ND_NA(tgt="2001:db8:1::14") / ICMPv6NDOptDstLLAddr(lladdr=CLIENT), {}),
    ],
)
def test_ignored_discovery(card: Card, message: Any, ip: dict[str, Any]) -> None:
    nd(card, message, ip=ip).is_dropped("nd_ignored").silently()
    nd(card, ns()).is_taken()


@pytest.mark.parametrize(
    ("message", "ip"),
    [
        (ns(source="02:00:00:00:00:99"), {}),
        (ns(), {"src": "2001:db8:1::a"}),
        (ICMPv6ND_NA(tgt="2001:db8:1::a") / ICMPv6NDOptDstLLAddr(lladdr=CLIENT), {}),
        (ICMPv6ND_NA(tgt="2001:db8:1::14") / ICMPv6NDOptDstLLAddr(lladdr="02:00:00:00:00:99"), {}),
    ],
)
def test_spoofed_discovery(card: Card, message: Any, ip: dict[str, Any]) -> None:
    nd(card, message, ip=ip).is_dropped("spoofed_nd").silently()
    nd(card, ns()).is_taken()


def test_of_several_options_of_one_type_the_first_counts(card: Card) -> None:
    """Each has to be somebody's (`test_malformed_discovery`)."""
    other = ICMPv6NDOptSrcLLAddr(lladdr="02:00:00:00:00:99")
    nd(card, ns() / other).is_taken()
    nd(card, ns(source="") / other / ICMPv6NDOptSrcLLAddr(lladdr=CLIENT)).is_dropped("spoofed_nd")


def test_other_groups_are_dropped(card: Card) -> None:
    nd(card, b"x" * 8, ip={"nh": 17}).is_dropped("multicast")
    nd(card, ns()).is_taken()
