"""The first rule that covers the packet decides; behind the last one: drop."""

from dataclasses import replace

import pytest

from hal.packet.contract import Cursor, EventKind, PacketIn
from hal.packet.stages.firewall._generated import FirewallBinding
from tests.packets.card import Card
from tests.packets.packets import Description, other, ping, pong, tcp, udp
from tests.packets.world import HOSTS, RULES


@pytest.mark.parametrize(
    "allowed",
    [
        tcp("10.1.0.20:4000 > 10.1.0.10:80"),
        tcp("10.1.0.20:4000 > 10.1.0.10:443"),
        udp("10.1.0.20:4000 > 10.1.0.10:53"),
        ping("10.1.0.20 > 10.1.0.10"),
        ping("2001:db8:1::14 > 2001:db8:1::a"),
        tcp("[2001:db8:1::14]:4000 > [2001:db8:1::a]:80"),
    ],
)
def test_allowed(card: Card, allowed: Description) -> None:
    card.host("client").sends(allowed).arrives_at("web")


@pytest.mark.parametrize(
    "denied",
    [
        tcp("10.1.0.20:4000 > 10.1.0.10:79"),
        tcp("10.1.0.20:4000 > 10.1.0.10:444"),
        udp("10.1.0.20:4000 > 10.1.0.10:80"),
        other("10.1.0.20 > 10.1.0.10", 89),
    ],
)
def test_default_deny(card: Card, denied: Description) -> None:
    card.host("client").sends(denied).is_dropped("firewall_default").silently()


def test_rules_have_sources(card: Card) -> None:
    card.host("db").sends(ping("10.2.0.5 > 10.1.0.10")).is_dropped("firewall_default")
    card.host("client").sends(ping("10.1.0.20 > 10.1.0.10")).arrives_at("web")


def test_rules_have_directions(card: Card) -> None:
    card.host("web").sends(tcp("10.1.0.10:4000 > 10.1.0.20:80")).is_dropped("firewall_default")
    card.host("web").sends(tcp("10.1.0.10:4000 > 10.1.0.20:8080")).arrives_at("client")
    card.host("client").sends(tcp("10.1.0.20:4000 > 10.1.0.10:8080")).is_dropped("firewall_default")


def test_drop_counts_and_logs(card: Card) -> None:
    card.host("client").sends(tcp("10.1.0.20:4000 > 10.1.0.10:23")).is_dropped("firewall_rule").silently()
    card.host("client").sends(tcp("10.1.0.20:4000 > 10.1.0.10:80")).arrives_at("web")
    hits = {key: counted.hits for key, counted in card.shard.counters().rows.items() if counted.hits}
    assert hits == {
        ("firewall_rule", RULES["no-scan"].id): 1,
        ("firewall_rule", RULES["web"].id): 1,
        ("firewall_rule", RULES["anything"].id): 1,
    }
    (event,) = card.shard.events().events
    assert (event.kind, event.table, event.id) == (EventKind.RULE_LOG, "firewall_rule", RULES["no-scan"].id)
    assert event.data == "drop tcp 10.1.0.20:4000 > 10.1.0.10:23"


def scans(card: Card, count: int, step_ns: int = 0) -> None:
    """So many SYNs of the client to a port whose rule logs, each of a port of its own."""
    frame = bytearray(card.host("client").sends(tcp("10.1.0.20:1 > 10.1.0.10:23")).data)
    packets = []
    for port in range(2, count + 1):
        frame[34:36] = port.to_bytes(2, "big")
        card.now += step_ns
        packets.append(PacketIn(bytes(frame), HOSTS["client"].port, card.now))
    assert {result.reason for result in card.replays(packets)} == {"firewall_rule"}


def test_a_flood_of_logs_is_cut(card: Card) -> None:
    """A hundred at once, and as many a second, for whom the connection would count."""
    scans(card, 150)
    assert (len(card.shard.events().events), card.shard.counters().engine["logs_suppressed"]) == (100, 50)
    assert card.shard.counters().rows["firewall_rule", RULES["no-scan"].id].hits == 150
    card.after(0.02)
    scans(card, 5)
    assert (len(card.shard.events().events), card.shard.counters().engine["logs_suppressed"]) == (102, 53)
    card.host("gateway").sends(tcp("203.0.113.9:4000 > 10.1.0.10:23")).is_dropped("firewall_rule")
    last = card.shard.events().events[-1]
    assert (last.number, last.data) == (103, "drop tcp 203.0.113.9:4000 > 10.1.0.10:23")


def test_logs_push_out_nothing_but_logs(card: Card) -> None:
    card.changes(replace(card.row("vnic", 20), flow_limit=1))
    card.host("client").sends(tcp("10.1.0.20:4000 > 10.1.0.10:80")).arrives_at("web")
    card.host("client").sends(tcp("10.1.0.20:4001 > 10.1.0.10:80")).arrives_at("web")  # for which that makes way
    scans(card, 4200, step_ns=10_000_000)
    found = card.shard.events()
    assert [event.number for event in found.events if event.kind is EventKind.FLOW_LIMIT] == [1]
    logs = [event.number for event in found.events if event.kind is EventKind.RULE_LOG]
    assert logs == list(range(4201 - 4095, 4202))
    assert (found.missed, card.shard.counters().engine["logs_suppressed"]) == (4200 - 4096, 0)
    again = card.shard.events(Cursor(4200, found.cursor.life))
    assert ([event.number for event in again.events], again.missed) == ([4201], 0)


def test_reset_of_tcp(card: Card) -> None:
    sent = card.host("client").sends(tcp("10.1.0.20:4000 > 10.1.0.10:445", seq=100)).is_dropped("firewall_reset")
    answer = sent.answer()
    assert (answer["IP"].src, answer["IP"].ttl, answer["IP"].id) == ("10.1.0.10", 64, 0)
    assert (answer["TCP"].sport, answer["TCP"].flags, answer["TCP"].ack) == (445, "RA", 101)
    card.host("client").sends(tcp("10.1.0.20:4000 > 10.1.0.10:80")).arrives_at("web")


def test_reset_of_udp(card: Card) -> None:
    error = card.host("client").sends(udp("10.1.0.20:4000 > 10.1.0.10:445")).is_dropped("firewall_reset").answer()
    assert (error["ICMP"].type, error["ICMP"].code) == (3, 13)
    v6 = udp("[2001:db8:1::14]:4000 > [2001:db8:1::a]:445")
    error = card.host("client").sends(v6).is_dropped("firewall_reset").answer()
    assert (error["ICMPv6DestUnreach"].code, error["IPv6"].src) == (1, "2001:db8:1::1")


def test_no_policy(card: Card) -> None:
    card.loses("firewall_binding", 10)
    card.host("client").sends(tcp("10.1.0.20:4000 > 10.1.0.10:80")).is_dropped("firewall_no_policy")
    card.gets(FirewallBinding(id=10, vnic=10, policy=1))
    card.host("client").sends(tcp("10.1.0.20:4000 > 10.1.0.10:80")).arrives_at("web")


def test_replies_are_not_asked(card: Card) -> None:
    card.host("client").sends(ping("10.1.0.20 > 10.1.0.10")).arrives_at("web")
    card.host("web").sends(pong("10.1.0.10 > 10.1.0.20")).arrives_at("client")
    card.host("web").sends(pong("10.1.0.10 > 10.1.0.20", ident=8)).is_dropped("icmp_type")


def test_a_rule_that_decides_on_both_sides_counts_once(card: Card) -> None:
    card.host("client").sends(udp("10.1.0.20:1 > 10.2.0.5:53")).arrives_at("db")
    assert card.flow().rules == (RULES["anything"].id, RULES["anything"].id)
    card.shard.settle()
    counted = card.shard.counters().rows["firewall_rule", RULES["anything"].id]
    assert (counted.hits, counted.packets) == (1, 1)


def test_traffic_of_a_rule_after_settle(card: Card) -> None:
    card.host("client").sends(udp("10.1.0.20:4000 > 10.1.0.10:53", payload=bytes(10))).arrives_at("web")
    card.host("web").sends(udp("10.1.0.10:53 > 10.1.0.20:4000", payload=bytes(100))).arrives_at("client")
    card.shard.settle()
    counted = card.shard.counters().rows["firewall_rule", RULES["dns"].id]
    assert (counted.hits, counted.packets, counted.bytes) == (1, 2, 38 + 128)


def test_traffic_of_a_rule_when_its_connections_end(card: Card) -> None:
    """Nobody has settled before: by its time-out, and by a change that it doesn't outlive."""
    ask = udp("10.1.0.20:4000 > 10.1.0.10:53", payload=bytes(10))
    for end in (lambda: card.after(1000), lambda: card.gets(replace(RULES["dns"], id=300, priority=5, verdict="drop"))):
        for _ in range(3):
            card.host("client").sends(ask).arrives_at("web")
        end()
    card.host("client").sends(ask).is_dropped("firewall_rule")
    assert card.flows() == []
    counted = card.shard.counters().rows["firewall_rule", RULES["dns"].id]
    assert (counted.hits, counted.packets, counted.bytes) == (2, 6, 6 * 38)


# --- antispoof ---------------------------------------------------------------------------------------------------


def test_spoofed_mac(card: Card) -> None:
    forged = tcp("10.1.0.20:4000 > 10.1.0.10:80").frame(source_mac="02:00:00:00:00:99")
    card.host("client").sends(forged).is_dropped("spoofed_mac").silently()
    card.host("client").sends(tcp("10.1.0.20:4000 > 10.1.0.10:80")).arrives_at("web")
    card.host("client").sends(forged).is_dropped("spoofed_mac")


def test_spoofed_mac_in_a_reply(card: Card) -> None:
    card.host("client").sends(tcp("10.1.0.20:4000 > 10.1.0.10:80")).arrives_at("web")
    reply = tcp("10.1.0.10:80 > 10.1.0.20:4000", flags="SA")
    card.host("web").sends(reply.frame(source_mac="02:00:00:00:00:99")).is_dropped("spoofed_mac")
    card.host("web").sends(reply).arrives_at("client")


def test_spoofed_address(card: Card) -> None:
    card.host("client").sends(tcp("10.1.0.21:4000 > 10.1.0.10:80")).is_dropped("spoofed_address")
    card.host("client").sends(tcp("10.1.0.20:4000 > 10.1.0.10:80")).arrives_at("web")
    card.host("open").sends(udp("10.9.9.9:4000 > 10.2.0.5:80")).arrives_at("db")
