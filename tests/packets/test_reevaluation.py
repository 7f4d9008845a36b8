"""Established connections obey the tables as they are now."""

from dataclasses import replace
from ipaddress import ip_network

import numpy as np
import pytest
from scapy.all import ICMP, IP, Raw

from hal.packet.contract import Delete, Modify, StepKind
from hal.packet.frame._generated import Vrf
from hal.packet.schema.rows import as_rows
from hal.packet.stages.bridge._generated import VnicAddress
from hal.packet.stages.firewall._generated import FirewallBinding
from hal.packet.stages.route._generated import BlackholeRoute, SubnetRoute
from tests.packets.card import Card, answer_to_request
from tests.packets.packets import Description, tcp, udp
from tests.packets.world import BACK, HOSTS, RULES, SHOP, VRF

ASK, REPLY = udp("10.1.0.20:1 > 10.1.0.10:53"), udp("10.1.0.10:53 > 10.1.0.20:1")


def test_a_deny_ends_it_from_either_side(card: Card) -> None:
    card.host("client").sends(ASK).arrives_at("web")
    card.changes(replace(RULES["dns"], verdict="drop"))
    sent = card.host("web").sends(REPLY).is_dropped("firewall_rule").silently()
    assert len(sent.steps(StepKind.REEVALUATE)) == 1
    assert card.flows() == []
    card.changes(RULES["dns"])
    card.host("client").sends(ASK).arrives_at("web")


def test_a_reset_tells_the_sender_of_this_packet(card: Card) -> None:
    card.host("client").sends(tcp("10.1.0.20:4000 > 10.1.0.10:80")).arrives_at("web")
    card.changes(replace(RULES["web"], verdict="reset"))
    reply = tcp("10.1.0.10:80 > 10.1.0.20:4000", flags="SA", ack=555)
    answer = card.host("web").sends(reply).is_dropped("firewall_reset").answer()
    assert (answer["TCP"].flags, answer["TCP"].seq) == ("R", 555)


def test_tcp_is_not_revived(card: Card) -> None:
    card.host("client").sends(tcp("10.1.0.20:4000 > 10.1.0.10:80")).arrives_at("web")
    card.changes(replace(RULES["web"], verdict="drop"))
    card.host("client").sends(tcp("10.1.0.20:4000 > 10.1.0.10:80", flags="A")).is_dropped("firewall_rule")
    card.changes(RULES["web"])
    card.host("client").sends(tcp("10.1.0.20:4000 > 10.1.0.10:80", flags="A")).is_dropped("tcp_no_session")


def test_what_does_not_concern_it_changes_nothing(card: Card) -> None:
    card.host("client").sends(ASK).arrives_at("web")
    before = card.flow()
    card.changes(replace(RULES["web"], verdict="drop"))
    card.host("web").sends(REPLY).arrives_at("client")
    after = card.flow()
    assert (after.id, after.rules, after.created_ns) == (before.id, before.rules, before.created_ns)


def test_hits_do_not_count_again_and_traffic_goes_to_the_new_rule(card: Card) -> None:
    for _ in range(3):  # not all of them are with their rule yet when it changes
        card.host("client").sends(ASK).arrives_at("web")
    card.gets(replace(RULES["dns"], id=300, priority=5))
    card.host("client").sends(ASK).arrives_at("web")
    card.shard.settle()
    rows = card.shard.counters().rows
    old, new = rows["firewall_rule", RULES["dns"].id], rows["firewall_rule", 300]
    assert ((old.hits, old.packets), (new.hits, new.packets)) == ((1, 3), (0, 1))
    assert card.flow().rules[1] == 300


def test_the_vnic_is_gone(card: Card) -> None:
    card.host("client").sends(ASK).arrives_at("web")
    rows = {
        table: [row.id for row in card.backend.snapshot().rows(table) if getattr(row, "vnic", 0) == 20]
        for table in ("allowed_source", "vnic_address", "fdb", "firewall_binding")
    }
    card.commits(*(Delete(table, np.array(ids, np.uint64)) for table, ids in {**rows, "vnic": [20]}.items()))
    card.host("web").sends(REPLY).is_dropped("vnic_unknown")
    card.host("db").sends(udp("10.2.0.5:1 > 10.1.0.10:53")).arrives_at("web")


def test_the_gateway_has_another_mac(card: Card) -> None:
    card.host("client").sends(udp("10.1.0.20:1 > 10.2.0.5:2")).arrives_at("db")
    card.changes(replace(card.row("subnet", 1), mac="02:00:00:00:aa:99"))
    card.host("db").sends(udp("10.2.0.5:2 > 10.1.0.20:1")).is_dropped("vnic_unknown")


def test_the_address_moves_to_another_vnic(card: Card) -> None:
    ask, reply = udp("10.1.0.20:1 > 10.2.0.5:2"), udp("10.2.0.5:2 > 10.1.0.20:1")
    card.host("client").sends(ask).arrives_at("db")
    card.changes(replace(card.row("vnic_address", 300), vnic=40))
    card.host("client").sends(ask).arrives_at("open")
    assert card.flow().egress == 40
    card.host("open").sends(reply).arrives_at("client")
    card.host("db").sends(reply).is_dropped("flow_table_full")


def test_the_policy_is_another(card: Card) -> None:
    card.host("client").sends(tcp("10.1.0.20:4000 > 10.1.0.10:80")).arrives_at("web")
    card.changes(FirewallBinding(id=10, vnic=10, policy=2))
    card.host("client").sends(tcp("10.1.0.20:4000 > 10.1.0.10:80")).arrives_at("web")
    assert card.flow().rules == (200, 200)


def test_replies_that_now_come_from_elsewhere(card: Card) -> None:
    ask = udp("10.1.0.20:1 > 10.2.0.5:2")
    card.host("client").sends(ask).arrives_at("db")
    reply = udp("10.2.0.5:2 > 10.1.0.20:1", payload=bytes(16), ip={"flags": "MF", "id": 5})
    card.host("db").sends(reply).arrives_at("client")
    card.changes(replace(card.row("vnic_address", 300), vnic=40))
    error = IP(src="10.2.0.5", dst="10.1.0.20") / ICMP(type=3, code=3) / bytes(ask.build())
    card.host("db").sends(Description("10.2.0.5", "10.1.0.20", lambda: error)).is_dropped("icmp_error_unrelated")
    rest = IP(src="10.2.0.5", dst="10.1.0.20", id=5, frag=3, proto=17) / Raw(bytes(8))
    card.host("db").sends(Description("10.2.0.5", "10.1.0.20", lambda: rest)).is_dropped("fragment_no_first")
    card.host("client").sends(ask).arrives_at("open")


def test_whose_replies_come_from_elsewhere_is_as_old_as_it_was(card: Card) -> None:
    """It counts for who it did, and makes way before what he has asked for since."""
    full = card.anew(connections=4)
    asks = [udp(f"10.1.0.20:{port} > 10.2.0.5:2") for port in (1, 2, 3)]
    for ask in asks:
        full.host("client").sends(ask).arrives_at("db")
    full.changes(replace(full.row("vnic_address", 300), vnic=40))
    full.host("client").sends(asks[0]).arrives_at("open")
    for port in (1, 2):
        full.host("gateway").sends(tcp(f"203.0.113.9:{port} > 10.1.0.10:80")).arrives_at("web")
    assert full.shard.counters().engine["half_open_evicted"] == 1
    assert sorted(flow.source_port for flow in full.flows(protocol=17)) == [2, 3]
    assert len(full.flows()) == 4


def test_the_address_moves_to_a_vnic_that_denies(card: Card) -> None:
    card.host("open").sends(udp("10.2.0.5:2 > 10.1.0.20:1")).arrives_at("client")
    card.changes(replace(card.row("vnic_address", 200), vnic=10))
    card.host("open").sends(udp("10.2.0.5:2 > 10.1.0.20:1")).is_dropped("firewall_default")
    assert card.flows() == []


def test_the_way_back_leads_to_where_it_comes_from(card: Card) -> None:
    """From an uplink of another VRF: in its own, nobody outside has an address of a vNIC's."""
    card.gets(Vrf(id=2), SubnetRoute(id=76, vrf=2, prefix="10.1.0.0/24", subnet=SHOP))
    card.changes(replace(card.row("vnic", HOSTS["second"].vnic), vrf=2))
    card.gets(SubnetRoute(id=77, vrf=VRF, prefix="203.0.113.9/32", subnet=BACK))
    card.gets(VnicAddress(id=78, subnet=BACK, address="203.0.113.9", vnic=10))
    card.host("second").sends(tcp("203.0.113.9:1 > 10.1.0.10:80")).arrives_at("web")
    card.host("web").sends(tcp("10.1.0.10:80 > 203.0.113.9:1", flags="SA")).is_dropped("same_interface")
    card.host("second").sends(tcp("203.0.113.8:1 > 10.1.0.10:80")).arrives_at("web")
    card.resolves("gateway")
    card.host("web").sends(tcp("10.1.0.10:80 > 203.0.113.8:1", flags="SA")).arrives_at("gateway")


@pytest.mark.parametrize("length", [8, 9, 15, 16, 17, 24, 31, 32])
def test_a_route_of_any_length_comes_and_goes(card: Card, length: int) -> None:
    covering_routes(card, "100.255.255.255", "100.0.0.0/7", length)


@pytest.mark.parametrize("length", [4, 16, 31, 32, 33, 48, 64, 127, 128])
def test_a_v6_route_of_any_length_comes_and_goes(card: Card, length: int) -> None:
    covering_routes(card, "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2000::/3", length)


def covering_routes(card: Card, far: str, wide: str, length: int) -> None:
    """All bits of `far` behind the wide prefix are 1, so that whatever is kept of a route's first bits is other than
    what is kept of an address that it covers."""
    near = "10.1.0.20" if "." in far else "2001:db8:1::14"
    card.gets(
        VnicAddress(id=77, subnet=BACK, address=far, vnic=40), SubnetRoute(id=77, vrf=VRF, prefix=wide, subnet=BACK)
    )
    ask = udp(f"{near}:1 > {far}:2") if "." in far else udp(f"[{near}]:1 > [{far}]:2")
    card.host("client").sends(ask).arrives_at("open")
    net = ip_network(f"{far}/{length}", strict=False)
    beside = ip_network((int(net.network_address) ^ 1 << (net.max_prefixlen - length), length))
    card.gets(BlackholeRoute(id=78, vrf=VRF, prefix=str(beside)))
    card.host("client").sends(ask).arrives_at("open")
    card.gets(BlackholeRoute(id=79, vrf=VRF, prefix=str(net)))
    card.host("client").sends(ask).is_dropped("blackhole")
    card.commits(Delete("route", np.array([79], np.uint64)))
    card.host("client").sends(ask).arrives_at("open")


BACK_SYN, BACK_ACK = tcp("203.0.113.8:1 > 10.1.0.10:80"), tcp("10.1.0.10:80 > 203.0.113.8:1", flags="SA")


def test_the_way_back_is_another_route(card: Card) -> None:
    """Of who comes from an uplink the replies' route is looked up as well, and obeyed when it changes."""
    card.resolves("gateway")
    card.host("gateway").sends(BACK_SYN).arrives_at("web")
    card.host("web").sends(BACK_ACK).arrives_at("gateway")
    card.gets(BlackholeRoute(id=77, vrf=VRF, prefix="203.0.113.9/32"))
    card.host("web").sends(BACK_ACK).arrives_at("gateway")
    card.gets(BlackholeRoute(id=78, vrf=VRF, prefix="203.0.113.8/32"))
    card.host("web").sends(BACK_ACK).is_dropped("blackhole")
    card.loses("route", 78)
    card.host("web").sends(BACK_ACK).arrives_at("gateway")


def test_the_way_back_fails_over(card: Card) -> None:
    """A reply's next hop fails: the other one of the group is taken, though the way there has no next hop at all."""
    card.resolves("gateway").resolves("second")
    begins = [tcp(f"203.0.0.8:{port} > 10.1.0.10:80") for port in range(1, 17)]
    replies = [tcp(f"10.1.0.10:80 > 203.0.0.8:{port}", flags="SA") for port in range(1, 17)]
    for begin in begins:
        card.host("gateway").sends(begin).arrives_at("web")
    assert {card.host("web").sends(reply).outputs()[0].port for reply in replies} == {0, 5}
    card.after(60)
    card.host("web").sends(replies[0])  # both were used, and are asked whether they are there still
    card.receives(answer_to_request(HOSTS["second"], "198.51.100.1"), HOSTS["second"]).is_taken()
    card.after(3).host("client").sends(ASK)  # timers run before it
    for reply in replies:
        card.host("web").sends(reply).arrives_at("second")


def test_more_rules_change_than_are_kept(card: Card) -> None:
    """What changed first in a commit of hundreds of rules is obeyed like what changed last."""
    card.host("client").sends(ASK).arrives_at("web")
    others = [
        replace(RULES["dns"], id=1000 + number, priority=1000 + number, source="10.9.0.0/16", port_low=5000 + number,
                port_high=5000 + number)
        for number in range(600)
    ]  # fmt: skip
    card.gets(*others)
    card.host("web").sends(REPLY).arrives_at("client")
    changed = [replace(row, verdict="drop") for row in others]
    card.commits(*(Modify(rows) for rows in as_rows([replace(RULES["dns"], verdict="drop"), *changed])))
    card.host("web").sends(REPLY).is_dropped("firewall_rule")
