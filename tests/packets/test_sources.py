"""Nobody behind an uplink is one of us: what comes from there under an address of this card (RFC 2827, RFC 3704).

Whatever is refused here passes from a stranger's address on the same wires, and the counter says how many were."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from scapy.all import (
    ICMP,
    IP,
    TCP,
    UDP,
    ICMPv6DestUnreach,
    ICMPv6PacketTooBig,
    ICMPv6TimeExceeded,
    IPv6,
    IPv6ExtHdrFragment,
    Raw,
)

from hal.packet.contract import EventKind
from hal.packet.frame._generated import Vrf
from hal.packet.stages.bridge._generated import LocalAddress, VnicAddress
from hal.packet.stages.route._generated import BlackholeRoute, SubnetRoute
from tests.packets.card import Card, bracket
from tests.packets.packets import Description, other, ping, raw, tcp, udp, unreachable
from tests.packets.world import BACK, GATEWAY_MACS, HOSTS, SHOP, TAP_NET, TAP_PORT, TRANSIT0, TRANSIT1, VRF


@dataclass(frozen=True)
class Family:
    """Addresses of the world, of IPv4 or IPv6."""

    stranger: str
    router: str
    client: str
    web: str
    db: str
    uplink: str
    gateway: str
    """The card's, of the client's subnet."""
    other_uplink: str
    nobody: str
    """No route leads there."""
    gap: str
    """A vNIC's subnet has it, and no vNIC."""

    @property
    def ours(self) -> tuple[str, ...]:
        return (self.client, self.web, self.db, self.uplink, self.gateway, self.other_uplink)


V4 = Family("203.0.113.9", "192.0.2.1", "10.1.0.20", "10.1.0.10", "10.2.0.5", "192.0.2.2", "10.1.0.1", "198.51.100.2",
            "100.64.0.1", "10.1.0.99")  # fmt: skip
V6 = Family("2001:db8:cafe::9", "2001:db8:ff::1", "2001:db8:1::14", "2001:db8:1::a", "2001:db8:2::5", "2001:db8:ff::2",
            "2001:db8:1::1", "2001:db8:fe::2", "2001:db8:dead::1", "2001:db8:1::99")  # fmt: skip
BOTH = pytest.mark.parametrize("family", [V4, V6], ids=["v4", "v6"])
Make = Callable[[str, str], Description]


def a_syn(source: str, destination: str) -> Description:
    return tcp(f"{bracket(source)}:4000 > {bracket(destination)}:80")


def a_segment(source: str, destination: str) -> Description:
    return tcp(f"{bracket(source)}:4000 > {bracket(destination)}:80", flags="A")


def a_datagram(source: str, destination: str) -> Description:
    return udp(f"{bracket(source)}:4000 > {bracket(destination)}:53")


def a_ping(source: str, destination: str) -> Description:
    return ping(f"{bracket(source)} > {bracket(destination)}")


def sctp(source: str, destination: str) -> Description:
    return other(f"{bracket(source)} > {bracket(destination)}", 132)


def piece(source: str, destination: str, begin: int, end: int) -> Description:
    """Bytes of a UDP datagram of 808, as a fragment."""
    data = Raw((bytes(UDP(sport=4000, dport=53, len=808)) + bytes(800))[begin:end])
    more = end < 808
    if ":" in source:
        header = IPv6(src=source, dst=destination) / IPv6ExtHdrFragment(id=7, m=int(more), offset=begin // 8, nh=17)
    else:
        header = IP(src=source, dst=destination, id=7, flags="MF" if more else 0, frag=begin // 8, proto=17)
    return Description(source, destination, lambda: header / data)


def a_first_fragment(source: str, destination: str) -> Description:
    return piece(source, destination, 0, 400)


def are_refused(card: Card, *what: Description, by: str = "gateway") -> None:
    before = card.lost("address_conflict")
    for one in what:
        card.host(by).sends(one).is_dropped("address_conflict").silently()
    assert card.lost("address_conflict") - before == len(what)


# --- connections -----------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("make", [a_syn, a_datagram, a_ping, sctp, a_first_fragment])
def test_rfc2827_nobody_opens_a_connection_in_our_name(card: Card, family: Family, make: Make) -> None:
    """Of whom packets to the address would go to, on this uplink and on another."""
    for uplink in ("gateway", "second"):
        are_refused(card, *(make(address, family.client) for address in family.ours), by=uplink)
    assert card.flows() == []
    card.host("gateway").sends(make(family.stranger, family.client)).arrives_at("client")
    assert card.lost("address_conflict") == 12


@BOTH
@pytest.mark.parametrize("make", [a_syn, a_datagram])
def test_to_the_cards_own_programs(card: Card, family: Family, make: Make) -> None:
    are_refused(card, *(make(address, family.uplink) for address in family.ours))
    card.host("gateway").sends(make(family.stranger, family.uplink)).arrives_at("card")


@BOTH
def test_through_the_card_by_another_uplink(card: Card, family: Family) -> None:
    card.resolves("gateway")
    are_refused(card, *(a_datagram(address, family.stranger) for address in family.ours), by="second")
    far = "100.64.7.7" if family is V4 else "2001:db8:dead::7"
    card.host("second").sends(a_datagram(far, family.router)).arrives_at("gateway")


@BOTH
def test_mid_stream_nothing_is_picked_up(card: Card, family: Family) -> None:
    """As who opened the connection, and as who answers."""
    fresh = card.anew(pickup=True)
    are_refused(fresh, *(a_segment(address, family.client) for address in family.ours))
    assert (fresh.flows(), fresh.shard.counters().engine["pickups"]) == ([], 0)
    fresh.host("gateway").sends(a_segment(family.stranger, family.client)).arrives_at("client")
    assert fresh.shard.counters().engine["pickups"] == 1
    are_refused(fresh, a_segment(family.web, family.client))
    card.host("gateway").sends(a_segment(family.web, family.client)).is_dropped("tcp_no_session")


def test_mid_stream_nobody_replies_in_our_name(card: Card) -> None:
    """The rules of `web` let it open such a connection, and refuse the packet as a first one."""
    fresh = card.anew(pickup=True)
    lines = [f"{address}:8080 > 10.1.0.10:4000" for address in V4.ours]
    are_refused(fresh, *(tcp(line, flags="A") for line in lines))
    fresh.host("gateway").sends(tcp("203.0.113.9:8080 > 10.1.0.10:4000", flags="A")).arrives_at("web")
    assert [(flow.source, flow.packets) for flow in fresh.flows()] == [("10.1.0.10", (0, 1))]


@BOTH
def test_fragments_have_no_first(card: Card, family: Family) -> None:
    are_refused(card, piece(family.web, family.client, 0, 400))
    gateway = card.host("gateway")
    gateway.sends(piece(family.web, family.client, 400, 808)).is_dropped("fragment_no_first").silently()
    gateway.sends(piece(family.stranger, family.client, 0, 400)).arrives_at("client")
    gateway.sends(piece(family.stranger, family.client, 400, 808)).arrives_at("client")


def test_a_hairpin_without_nat_is_refused(card: Card) -> None:
    """A load balancer outside sends a vNIC's packet back to another vNIC: its source is not to be told from a forged
    one, and the reply would not go by it. With a source of its own it passes."""
    card.resolves("gateway")
    card.host("client").sends(udp("10.1.0.20:4000 > 203.0.113.9:53")).arrives_at("gateway")
    are_refused(card, udp("10.1.0.20:4000 > 10.2.0.5:53"))
    card.host("gateway").sends(udp("203.0.113.9:4000 > 10.2.0.5:53")).arrives_at("db")


# --- what the card says ----------------------------------------------------------------------------------------------


@BOTH
def test_the_cards_addresses_are_not_pinged_in_our_name(card: Card, family: Family) -> None:
    for pinged in (family.uplink, family.gateway):
        are_refused(card, *(a_ping(address, pinged) for address in family.ours))
        card.host("gateway").sends(a_ping(family.stranger, pinged)).is_taken().answer()


def test_nor_by_a_fragment_or_with_a_wrong_checksum(card: Card) -> None:
    for reason, icmp, more in (("card_fragment", ICMP(type=8), 1), ("l4_checksum", ICMP(type=8, chksum=1), 0)):
        for source in ("10.1.0.10", "203.0.113.9"):
            built = IP(src=source, dst="192.0.2.2", flags=more, id=9) / icmp / Raw(bytes(16))
            sent = card.host("gateway").sends(raw(source, "192.0.2.2", bytes(built)))
            sent.is_dropped("address_conflict" if source == "10.1.0.10" else reason).silently()


@BOTH
def test_nobody_of_us_is_told_what_became_of_it(card: Card, family: Family) -> None:
    """ICMP errors and resets: a stranger gets them."""
    ttl_ends = udp(f"{bracket(family.stranger)}:4000 > {bracket(family.client)}:53", ip={"ttl": 1})
    too_big = udp(f"{bracket(family.stranger)}:4000 > {bracket(family.client)}:53", payload=bytes(1500))
    reset = tcp(f"{bracket(family.stranger)}:4000 > {bracket(family.web)}:445")
    nowhere, unknown = (a_datagram(family.stranger, one) for one in (family.nobody, family.gap))
    reasons = ("ttl_exceeded", "mtu_exceeded", "firewall_reset", "no_route", "vnic_address_unknown")
    v6 = (ICMPv6TimeExceeded, ICMPv6PacketTooBig, TCP, ICMPv6DestUnreach, ICMPv6DestUnreach)
    kinds = v6 if family is V6 else (ICMP, ICMP, TCP, ICMP, ICMP)
    for reason, kind, honest in zip(reasons, kinds, (ttl_ends, too_big, reset, nowhere, unknown), strict=True):
        for address in family.ours:
            forged = honest.build()
            forged[IPv6 if family is V6 else IP].src = address
            are_refused(card, raw(address, honest.destination, bytes(forged)))
        assert card.host("gateway").sends(honest).is_dropped(reason).answer().haslayer(kind)


@BOTH
def test_icmp_errors_from_us_are_forged(card: Card, family: Family) -> None:
    """A router's come from any address of his own (RFC 1812 4.3.2.4)."""
    card.resolves("gateway")
    question = a_datagram(family.client, family.stranger)
    card.host("client").sends(question).arrives_at("gateway")
    are_refused(card, *(unreachable(address, family.client, question) for address in family.ours))
    for address in (family.router, family.stranger):
        card.host("gateway").sends(unreachable(address, family.client, question)).arrives_at("client")
    assert card.flow(destination=family.stranger).packets == (1, 2)


# --- what it takes ---------------------------------------------------------------------------------------------------


def test_it_takes_nothing_of_anybodys(card: Card) -> None:
    """Neither tokens nor hits of rules nor room for events."""
    card.changes(replace(card.row("vnic", HOSTS["client"].vnic), new_flow_limit=1))
    are_refused(card, *(a_datagram(address, "10.1.0.20") for address in V4.ours))
    card.host("gateway").sends(udp("203.0.113.9:1 > 10.1.0.20:53")).arrives_at("client")
    card.host("gateway").sends(udp("203.0.113.9:2 > 10.1.0.20:53")).is_dropped("new_flow_limit")
    card.after(10)
    are_refused(card, tcp("10.1.0.20:4000 > 10.1.0.10:23"))
    assert card.shard.counters().rows["firewall_rule", 101].hits == 0
    told = {EventKind.RULE_LOG, EventKind.ADDRESS_CONFLICT}
    assert [one for one in card.shard.events().events if one.kind in told] == []
    card.host("gateway").sends(tcp("203.0.113.9:4000 > 10.1.0.10:23")).is_dropped("firewall_rule")
    assert card.shard.counters().rows["firewall_rule", 101].hits == 1
    assert [one.kind for one in card.shard.events().events if one.kind in told] == [EventKind.RULE_LOG]


# --- whose an address is ---------------------------------------------------------------------------------------------


def second_is_apart(card: Card) -> None:
    """The second uplink is in a VRF of its own, whose routes lead to the shop and nowhere else."""
    card.gets(
        Vrf(id=2),
        SubnetRoute(id=90, vrf=2, prefix="10.1.0.0/24", subnet=SHOP),
        SubnetRoute(id=91, vrf=2, prefix="2001:db8:1::/64", subnet=SHOP),
    )
    card.changes(replace(card.row("vnic", HOSTS["second"].vnic), vrf=2))


@BOTH
@pytest.mark.parametrize("make", [a_syn, a_datagram, a_first_fragment])
def test_in_another_vrf_it_is_somebody_elses(card: Card, family: Family, make: Make) -> None:
    """Unless routes lead to the vNIC from there, too."""
    second_is_apart(card)
    for address in (family.db, family.uplink, family.gateway, family.other_uplink):
        card.host("second").sends(make(address, family.client)).arrives_at("client")
    are_refused(card, make(family.db, family.client))
    are_refused(card, make(family.web, family.client), by="second")


@BOTH
def test_where_routes_lead_elsewhere_it_is_somebody_elses(card: Card, family: Family) -> None:
    are_refused(card, a_datagram(family.web, family.client))
    card.gets(BlackholeRoute(id=77, vrf=VRF, prefix=f"{family.web}/{128 if family is V6 else 32}"))
    card.host("gateway").sends(a_datagram(family.web, family.client)).arrives_at("client")
    are_refused(card, a_datagram(family.db, family.client))


def test_rfc4007_6_a_link_local_address_is_of_its_link(card: Card) -> None:
    """The shop's gateway is fe80::1, and so may be a router on an uplink."""
    card.gets(LocalAddress(id=99, vrf=VRF, address="fe80::99", subnet=TRANSIT0))
    for to in (V6.uplink, "fe80::99"):
        card.host("gateway").sends(a_ping("fe80::1", to)).is_taken().answer()
        are_refused(card, a_ping("fe80::99", to))


@BOTH
def test_taps_send_from_the_cards_addresses(card: Card, family: Family) -> None:
    for address in (family.gateway, family.uplink):
        said = a_datagram(address, family.client)
        card.host("card").sends(said.frame(destination_mac=GATEWAY_MACS[TAP_NET])).arrives_at("client")
        are_refused(card, said)


@BOTH
def test_vnics_are_antispoofs_affair(card: Card, family: Family) -> None:
    """One that has none, as a nested bridge, may use its neighbours' addresses."""
    said = a_datagram(family.web, family.client)
    card.host("open").sends(said.frame(destination_mac=GATEWAY_MACS[BACK])).arrives_at("client")
    card.host("db").sends(said.frame(destination_mac=GATEWAY_MACS[BACK])).is_dropped("spoofed_address")
    are_refused(card, said)


# --- when it becomes ours --------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("uplink", ["gateway", "second"])
def test_a_strangers_address_becomes_a_vnics(card: Card, family: Family, uplink: str) -> None:
    """By a row of `vnic_address` and a route that leads to it, whichever comes last; its connections end. By routes of
    an uplink's own VRF, whatever those of the vNIC's say."""
    if uplink == "second":
        second_is_apart(card)
    vrf = 2 if uplink == "second" else VRF
    row = VnicAddress(id=98, subnet=BACK, address=family.stranger, vnic=40)
    route = SubnetRoute(id=98, vrf=vrf, prefix=f"{family.stranger}/{128 if family is V6 else 32}", subnet=BACK)
    said = a_datagram(family.stranger, family.client)
    for first, last in ((row, route), (route, row)):
        card.host(uplink).sends(said).arrives_at("client")
        card.gets(first)
        card.host(uplink).sends(said).arrives_at("client")
        card.gets(last)
        are_refused(card, said, by=uplink)
        assert card.flows() == []
        card.loses("route", 98)
        card.host(uplink).sends(said).arrives_at("client")
        card.loses("vnic_address", 98)


@BOTH
def test_a_strangers_address_becomes_the_cards(card: Card, family: Family) -> None:
    said = a_datagram(family.stranger, family.client)
    card.host("gateway").sends(said).arrives_at("client")
    card.gets(LocalAddress(id=99, vrf=VRF, address=family.stranger, subnet=SHOP))
    are_refused(card, said)
    assert card.flows() == []
    card.loses("local_address", 99)
    card.host("gateway").sends(said).arrives_at("client")


TWIN_VRF = 12417
"""Of another VRF than `VRF` the engine keeps the same of 203.0.0.0/16: path/tests/test_stamps.c holds it to that."""


def test_a_strangers_address_becomes_ours_where_what_is_kept_of_two_vrfs_is_the_same(card: Card) -> None:
    """To the card itself, whose tap is in another VRF: no route was looked up on the way there, and on the way back one
    of that VRF. What becomes of the address in the uplink's own is seen all the same."""
    card.gets(Vrf(id=TWIN_VRF, punt_port=TAP_PORT))
    card.changes(replace(card.row("vnic", HOSTS["second"].vnic), vrf=TWIN_VRF))
    card.gets(LocalAddress(id=99, vrf=TWIN_VRF, address="198.51.100.99", subnet=TRANSIT1))
    card.gets(VnicAddress(id=98, subnet=BACK, address=V4.stranger, vnic=40))
    said = a_datagram(V4.stranger, "198.51.100.99")
    card.host("second").sends(said).arrives_at("card")
    for prefix in ("203.0.0.0/8", "203.0.113.9/32"):
        card.gets(SubnetRoute(id=98, vrf=TWIN_VRF, prefix=prefix, subnet=BACK))
        are_refused(card, said, by="second")
        card.loses("route", 98)
        card.host("second").sends(said).arrives_at("card")
