"""Between subnets and out by the uplinks: longest prefix, TTL, MACs, ECMP, replies."""

from collections import Counter
from dataclasses import replace

import pytest

from hal.packet.frame._generated import Vrf
from hal.packet.stages.bridge._generated import LocalAddress
from hal.packet.stages.route._generated import BlackholeRoute, NextHop, NextHopMember, SubnetRoute
from hal.packet.stages.route._generated import Route as RouteRow
from tests.packets.card import Card
from tests.packets.packets import other, ping, tcp, udp
from tests.packets.world import BACK, SHOP, VRF


def test_between_subnets(card: Card) -> None:
    card.host("db").sends(tcp("10.2.0.5:4000 > 10.1.0.10:80")).arrives_at("web", ttl=63, src="02:00:00:00:aa:01")
    card.host("web").sends(tcp("10.1.0.10:80 > 10.2.0.5:4000", flags="SA")).arrives_at("db", ttl=63, vlan=7)
    card.host("db").sends(udp("[2001:db8:2::5]:1 > [2001:db8:1::14]:2")).arrives_at("client", ttl=63)


def test_out_by_the_uplink_and_back(card: Card) -> None:
    card.resolves("gateway")
    card.host("client").sends(tcp("10.1.0.20:4000 > 203.0.113.9:443")).arrives_at("gateway", ttl=63)
    card.host("gateway").sends(tcp("203.0.113.9:443 > 10.1.0.20:4000", flags="SA")).arrives_at("client", ttl=63)
    card.host("client").sends(tcp("[2001:db8:1::14]:4 > [2001:db8:cafe::1]:443")).arrives_at("gateway", ttl=63)


def test_replies_may_come_by_another_uplink(card: Card) -> None:
    card.resolves("gateway")
    card.host("client").sends(tcp("10.1.0.20:4000 > 203.0.113.9:443")).arrives_at("gateway")
    card.host("second").sends(tcp("203.0.113.9:443 > 10.1.0.20:4000", flags="SA")).arrives_at("client")


def test_from_the_uplink_and_the_reply_by_its_own_route(card: Card) -> None:
    card.resolves("gateway")
    card.host("second").sends(tcp("203.0.113.9:443 > 10.1.0.10:80")).arrives_at("web")
    card.host("web").sends(tcp("10.1.0.10:80 > 203.0.113.9:443", flags="SA")).arrives_at("gateway")


def test_no_way_back(card: Card) -> None:
    card.host("gateway").sends(tcp("100.64.0.1:443 > 10.1.0.10:80")).arrives_at("web")
    card.host("web").sends(tcp("10.1.0.10:80 > 100.64.0.1:443", flags="SA")).is_dropped("no_route")
    assert card.flow().operations[1] == ("check source-mac", "drop no_route")


def test_no_route(card: Card) -> None:
    card.host("client").sends(udp("10.1.0.20:1 > 100.64.0.1:2")).is_dropped("no_route")
    card.host("client").sends(udp("10.1.0.20:1 > 10.2.0.5:2")).arrives_at("db")


def test_an_ipv6_default_is_none_of_ipv4(card: Card) -> None:
    card.gets(RouteRow(id=99, vrf=VRF, prefix="::/0", next_hop=3))
    card.resolves("gateway")
    card.host("client").sends(udp("10.1.0.20:1 > 100.64.0.1:2")).is_dropped("no_route")
    card.host("client").sends(udp("[2001:db8:1::14]:1 > [2001:db8:9::1]:2")).arrives_at("gateway")


def test_blackhole(card: Card) -> None:
    card.host("client").sends(udp("10.1.0.20:1 > 198.18.5.5:2")).is_dropped("blackhole").silently()
    card.host("client").sends(udp("10.1.0.20:1 > 10.2.0.5:2")).arrives_at("db")


def test_longest_prefix_wins(card: Card) -> None:
    card.gets(SubnetRoute(id=99, vrf=VRF, prefix="198.18.0.0/24", subnet=BACK))
    card.host("client").sends(udp("10.1.0.20:1 > 198.18.0.1:2")).is_dropped("vnic_address_unknown")
    card.host("client").sends(udp("10.1.0.20:1 > 198.18.1.1:2")).is_dropped("blackhole")


def test_nobody_has_the_address(card: Card) -> None:
    card.host("client").sends(udp("10.1.0.20:1 > 10.2.0.77:2")).is_dropped("vnic_address_unknown")
    card.host("client").sends(udp("10.1.0.20:1 > 10.2.0.5:2")).arrives_at("db")


@pytest.mark.parametrize(
    ("ends", "good"),
    [
        ("[2001:db8:2::28]:1 > [fe80::9]:2", "[2001:db8:2::28]:1 > [2001:db8:1::14]:2"),
        ("[2001:db8:2::28]:1 > [febf::9]:2", "[2001:db8:2::28]:1 > [2001:db8:1::14]:2"),
        ("[fe80::28]:1 > [2001:db8:1::14]:2", "[fec0::28]:1 > [2001:db8:1::14]:2"),
        ("10.2.0.40:1 > 169.254.9.9:2", "10.2.0.40:1 > 10.1.0.20:2"),
        ("169.254.1.1:1 > 10.1.0.20:2", "169.253.255.255:1 > 10.1.0.20:2"),
        ("169.254.255.255:1 > 10.1.0.20:2", "169.255.0.0:1 > 10.1.0.20:2"),
    ],
)
def test_link_local_is_not_routed(card: Card, ends: str, good: str) -> None:
    card.gets(SubnetRoute(id=98, vrf=VRF, prefix="169.254.0.0/16", subnet=SHOP))
    card.host("open").sends(udp(ends).via_gateway()).is_dropped("address_invalid").silently()
    card.host("open").sends(udp(good)).arrives_at("client")


def test_link_local_is_bridged(card: Card) -> None:
    card.changes(replace(card.row("allowed_source", 200), prefix="169.254.0.0/16"))
    at_web = udp("169.254.0.20:1 > 169.254.0.10:53").frame(destination_mac="02:00:00:00:00:0a")
    card.host("client").sends(at_web).arrives_at("web", ttl=64)


def test_link_local_addresses_of_the_card_itself(card: Card) -> None:
    """Sent to, it is the card's; what crosses the card is not told from there."""
    card.gets(LocalAddress(id=98, vrf=VRF, address="169.254.0.1", subnet=BACK))
    card.host("open").sends(ping("10.2.0.40 > 169.254.0.1").via_gateway()).is_taken().answer()
    card.loses("local_address", 4)
    card.host("open").sends(udp("10.2.0.40:1 > 10.1.0.20:2", ip={"ttl": 1})).is_dropped("ttl_exceeded").silently()
    card.gets(LocalAddress(id=97, vrf=VRF, address="10.2.0.1", subnet=BACK))
    told = card.host("open").sends(udp("10.2.0.40:1 > 10.1.0.20:2", ip={"ttl": 1})).is_dropped("ttl_exceeded")
    assert told.answer()["IP"].src == "10.2.0.1"


def test_back_to_where_it_came_from(card: Card) -> None:
    hairpin = udp("10.1.0.20:1 > 10.1.0.20:2").via_gateway()
    card.host("client").sends(hairpin).is_dropped("same_interface")
    card.host("client").sends(udp("10.1.0.20:1 > 10.2.0.5:2")).arrives_at("db")


@pytest.mark.parametrize("ttl", [0, 1])
def test_ttl_ends(card: Card, ttl: int) -> None:
    sent = card.host("client").sends(udp("10.1.0.20:1 > 10.2.0.5:2", ip={"ttl": ttl})).is_dropped("ttl_exceeded")
    error = sent.answer()
    assert (error["ICMP"].type, error["ICMP"].code, error["IP"].src) == (11, 0, "10.1.0.1")
    assert bytes(error["ICMP"].payload) == sent.data[14:]
    assert card.flows() == []
    card.host("client").sends(udp("10.1.0.20:1 > 10.2.0.5:2", ip={"ttl": 2})).arrives_at("db", ttl=1)


def test_hop_limit_ends(card: Card) -> None:
    far = udp("[2001:db8:1::14]:1 > [2001:db8:2::5]:2", ip={"ttl": 1})
    error = card.host("client").sends(far).is_dropped("ttl_exceeded").answer()
    assert (error["IPv6"].src, error["ICMPv6TimeExceeded"].code) == ("2001:db8:1::1", 0)
    card.host("client").sends(udp("[2001:db8:1::14]:1 > [2001:db8:2::5]:2")).arrives_at("db")


def test_ttl_of_bridged_packets_stays(card: Card) -> None:
    card.host("client").sends(udp("10.1.0.20:1 > 10.1.0.10:53", ip={"ttl": 1})).arrives_at("web", ttl=1)


@pytest.mark.parametrize("flags", ["DF", 0])
def test_too_long_for_where_it_leaves(card: Card, flags: str | int) -> None:
    long = udp("10.1.0.20:1 > 10.2.0.5:2", payload=bytes(1473), ip={"flags": flags})
    error = card.host("client").sends(long).is_dropped("mtu_exceeded").answer()
    assert (error["ICMP"].type, error["ICMP"].code, error["ICMP"].nexthopmtu) == (3, 4, 1500)
    assert len(error["IP"]) == 576
    fits = udp("10.1.0.20:1 > 10.2.0.5:2", payload=bytes(1472), ip={"flags": flags})
    card.host("client").sends(fits).arrives_at("db")


def test_packet_too_big(card: Card) -> None:
    long = udp("[2001:db8:1::14]:1 > [2001:db8:2::5]:2", payload=bytes(1453))
    error = card.host("client").sends(long).is_dropped("mtu_exceeded").answer()
    assert error["ICMPv6PacketTooBig"].mtu == 1500
    assert len(error["IPv6"]) == 1280
    fits = udp("[2001:db8:1::14]:1 > [2001:db8:2::5]:2", payload=bytes(1452))
    card.host("client").sends(fits).arrives_at("db")


def test_ecmp_spreads_by_weight_and_keeps_to_its_choice(card: Card) -> None:
    card.resolves("gateway").resolves("second")
    left: Counter[int] = Counter()
    for port in range(1, 201):
        for _ in range(2):
            sent = card.host("client").sends(udp(f"10.1.0.20:{port} > 203.0.9.9:9"))
            left[sent.outputs()[0].port] += 1
    assert left[0] + left[5] == 400
    assert left[0] % 2 == left[5] % 2 == 0
    assert 240 < left[0] < 360


def test_empty_group(card: Card) -> None:
    card.loses("next_hop_member", 1, 2)
    card.host("client").sends(udp("10.1.0.20:1 > 203.0.9.9:9")).is_dropped("next_hop_down")
    card.gets(NextHopMember(id=1, group=1, position=0, next_hop=1))
    card.host("client").sends(udp("10.1.0.20:1 > 203.0.9.9:9")).waits()


def test_next_hop_on_no_uplink(card: Card) -> None:
    card.changes(NextHop(id=1, port=7, address="192.0.2.1"))
    card.host("client").sends(udp("10.1.0.20:1 > 203.0.113.9:9")).is_dropped("next_hop_down")
    card.changes(NextHop(id=1, port=0, address="192.0.2.1"))
    card.host("client").sends(udp("10.1.0.20:1 > 203.0.113.9:9")).waits()


def test_nothing_says_where(card: Card) -> None:
    places = card.backend.snapshot().rows("profile_stage")
    stages = [row for row in places if row.to_dict()["stage"] == "route"]
    card.loses("profile_stage", *(row.id for row in stages))
    card.host("client").sends(udp("10.1.0.20:1 > 10.2.0.5:2")).is_dropped("no_decision")
    card.host("client").sends(udp("10.1.0.20:1 > 10.1.0.10:53")).arrives_at("web")


def test_other_protocols_are_routed(card: Card) -> None:
    card.host("client").sends(other("2001:db8:1::14 > 2001:db8:2::5", 89)).arrives_at("db", nh=89)


def test_each_vrf_has_a_table_of_its_own(card: Card) -> None:
    """The same destination, from vNICs in two VRFs: where the one's route leads the other's doesn't."""
    packet, packet6 = udp("10.2.0.5:1 > 203.0.113.9:9"), udp("[2001:db8:2::5]:1 > [2001:db8:cafe::9]:9")
    client = udp("10.1.0.20:1 > 203.0.113.9:9")
    card.resolves("gateway").resolves("second")
    card.host("db").sends(udp("10.2.0.5:7 > 203.0.113.9:9")).arrives_at("gateway")
    card.gets(Vrf(id=2))
    # Subnet and vNIC of db move; as long as their VRF has no route, nothing of the other's holds.
    addresses = [row.id for row in card.backend.snapshot(["local_address"]).rows("local_address")]
    moving = [card.row("subnet", BACK), card.row("vnic", 30)]
    moving += [row for row in (card.row("local_address", row_id) for row_id in addresses) if row.subnet == BACK]
    card.changes(*(replace(row, vrf=2) for row in moving))
    card.host("db").sends(packet).is_dropped("no_route")
    card.host("db").sends(packet6).is_dropped("no_route")
    card.host("client").sends(client).arrives_at("gateway")
    card.gets(
        RouteRow(id=50, vrf=2, prefix="203.0.113.0/24", next_hop=2),
        BlackholeRoute(id=51, vrf=2, prefix="2001:db8:cafe::/48"),
    )
    card.host("db").sends(packet).arrives_at("second")
    card.host("db").sends(packet6).is_dropped("blackhole")
    card.host("client").sends(client).arrives_at("gateway")
    card.loses("route", 1, 3)
    card.host("client").sends(client).is_dropped("no_route")
    card.host("db").sends(packet).arrives_at("second")
    # Nor is a gateway of the one an address of the card in the other.
    card.host("db").sends(ping("10.2.0.5 > 10.2.0.1")).is_taken()
    card.host("db").sends(ping("10.2.0.5 > 10.1.0.1")).is_dropped("no_route")


@pytest.mark.parametrize("by", ["gateway", "second"])
def test_an_answer_comes_by_whichever_uplink(card: Card, by: str) -> None:
    """Two that lead to one fabric choose the way of each direction by themselves. As a first packet one that comes by
    where it leaves goes nowhere."""
    card.resolves("gateway").resolves("second")
    question, answer = "198.51.100.1:{} > 203.0.113.9:53", "203.0.113.9:53 > 198.51.100.1:{}"
    card.host("second").sends(udp(answer.format(1))).is_dropped("same_interface")
    card.host("second").sends(udp(question.format(2))).arrives_at("gateway")
    card.host(by).sends(udp(answer.format(2))).arrives_at("second")
    assert card.flow(source_port=2).packets == (1, 1)
