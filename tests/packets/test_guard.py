"""What vNICs may only say if it is declared: RA guard (RFC 6105, 7113), redirects, DHCP guard (RFC 7610)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from scapy.all import (
    IP,
    UDP,
    Dot1Q,
    Ether,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6ND_Redirect,
    ICMPv6NDOptPrefixInfo,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    PadN,
    Raw,
    in6_chksum,
)

from hal.packet.frame._generated import Vnic
from hal.packet.stages.antispoof._generated import AllowedSource
from tests.packets.card import Card, Sent
from tests.packets.packets import other, udp
from tests.packets.world import HOSTS

CLIENT, WEB, DB = HOSTS["client"], HOSTS["web"], HOSTS["db"]
ALL_NODES = ("ff02::1", "33:33:00:00:00:01")
ROUTER, DHCP = 1, 2
LINK_LOCAL = "fe80::14"
RA = ICMPv6ND_RA(routerlifetime=1800) / ICMPv6NDOptPrefixInfo(prefix="2001:db8:bad::")
REDIRECT = ICMPv6ND_Redirect(tgt="fe80::99", dst="2001:db8:cafe::1")


def serves(card: Card, host: str, what: int) -> None:
    """Declare the host's vNIC so; it may use a link-local address, as it would by intent."""
    row: Vnic = card.row("vnic", HOSTS[host].vnic)
    card.changes(replace(row, serves=what))


def link_local(card: Card) -> None:
    card.gets(AllowedSource(id=999, vnic=CLIENT.vnic, prefix=LINK_LOCAL))


def six(card: Card, message: Any, to: tuple[str, str] = ALL_NODES, **ip: Any) -> Sent:
    """From the client, by default to all nodes."""
    address, mac = to
    header = IPv6(**{"src": LINK_LOCAL, "dst": address, "hlim": 255, **ip})
    return card.receives(bytes(Ether(src=CLIENT.mac, dst=mac) / header / message), CLIENT)


TO_WEB = ("2001:db8:1::a", WEB.mac)
TO_GATEWAY = ("2001:db8:1::1", "02:00:00:00:aa:01")


@pytest.mark.parametrize("to", [ALL_NODES, TO_WEB, TO_GATEWAY])
@pytest.mark.parametrize(("message", "reason"), [(RA, "ra_guard"), (REDIRECT, "redirect_guard")])
def test_rfc6105_who_is_no_router_says_nothing_as_one(
    card: Card, message: Any, reason: str, to: tuple[str, str]
) -> None:
    link_local(card)
    six(card, message, to).is_dropped(reason).silently()
    serves(card, "client", DHCP)
    six(card, message, to).is_dropped(reason).silently()
    six(card, ICMPv6ND_NS(tgt="2001:db8:1::1"), ("ff02::1:ff00:1", "33:33:ff:00:00:01")).is_taken()


@pytest.mark.parametrize(
    "chain",
    [
        IPv6ExtHdrHopByHop(options=[PadN(optdata=b"\0" * 4)]),
        IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 4)]),
        IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 4)]) / IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 4)]),
        IPv6ExtHdrFragment(m=0, offset=0, id=1),
        IPv6ExtHdrFragment(m=1, offset=0, id=1),
    ],
)
def test_rfc7113_headers_before_it_hide_nothing(card: Card, chain: Any) -> None:
    """Nor do a wrong hop limit or checksum."""
    for to in (ALL_NODES, TO_WEB):
        six(card, chain / ICMPv6ND_RA() / Raw(bytes(8)), to).is_dropped("ra_guard").silently()
        six(card, chain / ICMPv6ND_RA(cksum=1) / Raw(bytes(8)), to, hlim=64).is_dropped("ra_guard").silently()


def test_rfc7113_a_first_fragment_without_its_message(card: Card) -> None:
    """What hides the type in a later fragment has no first one that passes, and so no later one."""
    headers = IPv6ExtHdrFragment(m=1, offset=0, id=9, nh=60) / Raw(b"\x3a\0" + bytes(6))
    six(card, headers, TO_WEB, src="2001:db8:1::14").is_dropped("fragment_tiny").silently()
    later = IPv6ExtHdrFragment(m=0, offset=1, id=9, nh=60) / Raw(bytes(RA))
    six(card, later, TO_WEB, src="2001:db8:1::14").is_dropped("fragment_no_first").silently()
    six(card, later, ALL_NODES, src="2001:db8:1::14").is_dropped("multicast").silently()


@pytest.mark.parametrize(("kind", "reason"), [(9, "ra_guard"), (5, "redirect_guard")])
def test_rfc1256_and_redirects_of_ipv4(card: Card, kind: int, reason: str) -> None:
    message = other("10.1.0.20 > 10.1.0.10", 1, bytes([kind, 0, 0, 0]) + bytes(32))
    card.host("client").sends(message).is_dropped(reason).silently()
    serves(card, "client", ROUTER)
    card.host("client").sends(message).is_dropped("icmp_type").silently()


def test_a_declared_router_tells_others_of_its_subnet(card: Card) -> None:
    """One at a time: the card floods nothing. The frame stays as it is."""
    link_local(card)
    serves(card, "client", ROUTER)
    for message in (RA, REDIRECT):
        sent = six(card, message, TO_WEB).arrives_at("web")
        (output,) = sent.outputs()
        assert output.data == sent.data
        six(card, message).is_dropped("nd_ignored").silently()
        six(card, message, TO_GATEWAY).is_dropped("nd_ignored").silently()
        six(card, message, ("2001:db8:1::99", "02:00:00:00:00:99")).is_dropped("bridge_unknown_mac").silently()
        six(card, message, ("2001:db8:1::14", CLIENT.mac)).is_dropped("same_interface").silently()
    assert card.flows() == []
    counters = card.shard.counters().vnics
    assert counters[WEB.vnic]["tx_packets"] == 2
    serves(card, "client", 0)
    six(card, RA, TO_WEB).is_dropped("ra_guard")


def test_a_declared_router_obeys_the_rest(card: Card) -> None:
    """Form, antispoof, MTU and VLAN."""
    link_local(card)
    serves(card, "client", ROUTER)
    six(card, RA, TO_WEB, hlim=254).is_dropped("nd_malformed")
    six(card, RA, TO_WEB, src="2001:db8:1::14").is_dropped("nd_malformed")
    six(card, ICMPv6ND_Redirect(tgt="fe80::99"), TO_WEB).arrives_at("web")
    short = b"\x86\0" + bytes(10)
    total = in6_chksum(58, IPv6(src=LINK_LOCAL, dst=TO_WEB[0]), short)
    short = short[:2] + total.to_bytes(2, "big") + short[4:]
    six(card, Raw(short), TO_WEB, nh=58).is_dropped("nd_malformed")
    six(card, RA, TO_WEB, src="fe80::15").is_dropped("spoofed_nd")
    card.changes(replace(card.row("vnic", WEB.vnic), mtu=1280))
    six(card, RA / Raw(bytes([253, 255]) + bytes(2038)), TO_WEB).is_dropped("mtu_exceeded").silently()
    card.changes(replace(card.row("vnic", WEB.vnic), vlan=9))
    (output,) = six(card, RA, TO_WEB).outputs()
    assert Ether(output.data)[Dot1Q].vlan == 9


def test_uplinks_are_where_routers_are(card: Card) -> None:
    """The card follows none: its routes are declared (RFC 4861 8.2)."""
    gateway = HOSTS["gateway"]
    for message in (RA, REDIRECT):
        frame = Ether(src=gateway.mac, dst=ALL_NODES[1]) / IPv6(src="fe80::fe", dst="ff02::1", hlim=255) / message
        card.receives(bytes(frame), gateway).is_dropped("nd_ignored").silently()
    client = Ether(src=CLIENT.mac, dst=WEB.mac) / IPv6(src=LINK_LOCAL, dst="2001:db8:1::a", hlim=255) / RA
    card.receives(bytes(client), CLIENT).is_dropped("ra_guard")


# --- DHCP --------------------------------------------------------------------------------------------------------

OFFERS = {4: "10.2.0.5:67 > 10.1.0.20:68", 6: "[2001:db8:2::5]:547 > [2001:db8:1::14]:546"}
ASKS = {4: "10.1.0.20:68 > 10.2.0.5:67", 6: "[2001:db8:1::14]:546 > [2001:db8:2::5]:547"}


@pytest.mark.parametrize("family", [4, 6])
def test_rfc7610_who_is_no_server_offers_nothing(card: Card, family: int) -> None:
    card.host("db").sends(udp(OFFERS[family])).is_dropped("dhcp_guard").silently()
    serves(card, "db", ROUTER)
    card.host("db").sends(udp(OFFERS[family])).is_dropped("dhcp_guard").silently()
    serves(card, "db", DHCP)
    card.host("db").sends(udp(OFFERS[family])).arrives_at("client")
    # Established ones obey as well.
    serves(card, "db", 0)
    card.host("db").sends(udp(OFFERS[family])).is_dropped("dhcp_guard").silently()
    assert card.flows() == []


@pytest.mark.parametrize("family", [4, 6])
def test_rfc7610_nor_is_asked(card: Card, family: int) -> None:
    """Else what it says would pass as a reply."""
    card.host("client").sends(udp(ASKS[family])).is_dropped("dhcp_guard").silently()
    serves(card, "db", DHCP)
    card.host("client").sends(udp(ASKS[family])).arrives_at("db")
    card.host("db").sends(udp(OFFERS[family])).arrives_at("client")
    serves(card, "db", 0)
    card.host("db").sends(udp(OFFERS[family])).is_dropped("dhcp_guard").silently()


def test_rfc7610_bridged(card: Card) -> None:
    card.host("client").sends(udp("10.1.0.20:67 > 10.1.0.10:68")).is_dropped("dhcp_guard").silently()
    card.host("client").sends(udp("10.1.0.20:67 > 10.1.0.10:53")).arrives_at("web")
    card.host("client").sends(udp("10.1.0.20:53 > 10.1.0.10:68")).is_dropped("dhcp_guard").silently()
    card.host("client").sends(udp("10.1.0.20:68 > 10.1.0.10:53")).arrives_at("web")


@pytest.mark.parametrize("source", [1, 67, 546, 547, 1067, 65535])
def test_rfc7610_from_whatever_port(card: Card, source: int) -> None:
    """A client looks at the port that it hears at alone."""
    lines = f"10.2.0.5:{source} > 10.1.0.20:68", f"[2001:db8:2::5]:{source} > [2001:db8:1::14]:546"
    for line in lines:
        card.host("db").sends(udp(line)).is_dropped("dhcp_guard").silently()
    serves(card, "db", DHCP)
    for line in lines:
        card.host("db").sends(udp(line)).arrives_at("client")


@pytest.mark.parametrize("more", [False, True])
def test_rfc7610_to_a_group(card: Card, more: bool) -> None:
    """A fragment's ports say as much. What a declared server sends to all goes nowhere either."""
    flags = {"flags": "MF"} if more else {}
    offer = IP(src="10.1.0.20", dst="255.255.255.255", **flags) / UDP(sport=67, dport=68, chksum=0) / Raw(bytes(240))
    frames = [Ether(src=CLIENT.mac, dst=mac) / offer for mac in ("ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01")]
    advertise = IPv6(src=LINK_LOCAL, dst="ff02::1:2") / UDP(sport=547, dport=546) / Raw(bytes(40))
    frames.append(Ether(src=CLIENT.mac, dst="33:33:00:01:00:02") / advertise)
    for frame in frames:
        card.receives(bytes(frame), CLIENT).is_dropped("dhcp_guard").silently()
    discover = IP(src="0.0.0.0", dst="255.255.255.255") / UDP(sport=68, dport=67) / Raw(bytes(240))
    ether = Ether(src=CLIENT.mac, dst="ff:ff:ff:ff:ff:ff")
    card.receives(bytes(ether / discover), CLIENT).is_dropped("broadcast").silently()
    cut = IP(src="10.1.0.20", dst="255.255.255.255", proto=17) / Raw(b"\0\x43\0")
    card.receives(bytes(ether / cut), CLIENT).is_dropped("broadcast").silently()
    later = IP(src="10.1.0.20", dst="255.255.255.255", proto=17, frag=5) / Raw(b"\0\x43\0\x44" + bytes(8))
    card.receives(bytes(ether / later), CLIENT).is_dropped("broadcast").silently()
    serves(card, "client", DHCP)
    wanted = ("broadcast", "group_mismatch", "multicast")
    for frame, reason in zip(frames, wanted, strict=True):
        card.receives(bytes(frame), CLIENT).is_dropped(reason).silently()


def test_servers_behind_uplinks_are_no_affair_of_the_guard(card: Card) -> None:
    card.resolves("gateway")
    card.host("client").sends(udp("10.1.0.20:68 > 203.0.113.9:67")).arrives_at("gateway")
    card.host("gateway").sends(udp("203.0.113.9:67 > 10.1.0.20:68")).arrives_at("client")
    card.host("gateway").sends(udp("203.0.113.10:67 > 10.1.0.20:68")).arrives_at("client")
