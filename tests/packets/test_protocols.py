"""UDP by RFC 4787, echo by its identifier, and protocols without ports by their number: who shares a connection."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from scapy.all import GRE, IP, SCTP

from hal.packet.frame._generated import ProfilePunt
from hal.packet.stages.firewall._generated import FirewallRule
from tests.packets.card import Card
from tests.packets.packets import Description, other, ping, pong, udp, unreachable
from tests.packets.world import GUARDED, POLICY

SECOND = 1_000_000_000
THERE, BACK = "10.1.0.20 > 10.2.0.5", "10.2.0.5 > 10.1.0.20"
THERE6, BACK6 = "2001:db8:1::14 > 2001:db8:2::5", "2001:db8:2::5 > 2001:db8:1::14"
NUMBERS = {
    "HOPOPT": 0,
    "IPIP": 4,
    "IPv6": 41,
    "GRE": 47,
    "ESP": 50,
    "AH": 51,
    "SCTP": 132,
    "UDP-Lite": 136,
    "last": 255,
}


def built(destination: str, body: Any) -> Description:
    """A packet of client's."""
    return Description("10.1.0.20", destination, lambda: IP(src="10.1.0.20", dst=destination) / body)


def is_gone(card: Card) -> bool:
    """The only connection, once a packet of another one has told the time."""
    card.host("client").sends(ping(THERE)).arrives_at("db")
    return card.flow().protocol == 1


# --- UDP (RFC 4787) ---------------------------------------------------------------------------------------------------


def test_rfc4787_req_5_one_way_and_replied(card: Card) -> None:
    """Two minutes until a reply was seen, then five; each packet of either side begins them anew."""
    client, db = card.host("client"), card.host("db")
    client.sends(udp("10.1.0.20:4000 > 10.2.0.5:53")).arrives_at("db")
    assert card.flow().timeout_ns == 120 * SECOND
    card.after(119)
    client.sends(udp("10.1.0.20:4000 > 10.2.0.5:53")).arrives_at("db")
    card.after(119)
    assert card.flow().packets == (2, 0)
    db.sends(udp("10.2.0.5:53 > 10.1.0.20:4000")).arrives_at("client")
    assert card.flow().timeout_ns == 300 * SECOND
    card.after(299)
    db.sends(udp("10.2.0.5:53 > 10.1.0.20:4000")).arrives_at("client")  # REQ-6: inbound ones keep it too
    card.after(299)
    assert card.flow().packets == (2, 2)
    card.after(1)
    assert is_gone(card)


def test_rfc4787_req_8_replies_come_from_who_was_asked(card: Card) -> None:
    """Filtering by address and port: anybody else's packet is a first one, which rules judge."""
    card.host("web").sends(udp("10.1.0.10:4000 > 10.1.0.20:53")).arrives_at("client")
    card.host("client").sends(udp("10.1.0.20:54 > 10.1.0.10:4000")).is_dropped("firewall_default")
    card.host("db").sends(udp("10.2.0.5:53 > 10.1.0.10:4000")).is_dropped("firewall_default")
    card.host("client").sends(udp("10.1.0.20:53 > 10.1.0.10:4000")).arrives_at("web")


def test_an_error_is_no_reply(card: Card) -> None:
    """RFC 4787 REQ-10: ICMP errors don't end a connection, nor keep it."""
    question = udp("10.1.0.20:4000 > 10.2.0.5:53")
    card.host("client").sends(question).arrives_at("db")
    card.after(60)
    card.host("db").sends(unreachable("10.2.0.5", "10.1.0.20", question)).arrives_at("client")
    assert card.flow().timeout_ns == 120 * SECOND
    card.after(60)
    assert is_gone(card)


# --- echo -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("there", "back"), [(THERE, BACK), (THERE6, BACK6)])
def test_rfc5508_3_1_echo_is_a_connection_by_its_identifier(card: Card, there: str, back: str) -> None:
    for ident in (7, 8):
        for seq in (1, 2):
            card.host("client").sends(ping(there, ident=ident, seq=seq)).arrives_at("db")
    assert len(card.flows()) == 2
    card.host("db").sends(pong(back, ident=8, seq=2)).arrives_at("client")
    card.host("db").sends(pong(back, ident=9)).is_dropped("icmp_type").silently()
    assert sorted(flow.packets for flow in card.flows()) == [(2, 0), (2, 1)]
    assert {flow.timeout_ns for flow in card.flows()} == {60 * SECOND}


def test_echo_the_other_way_is_another_connection(card: Card) -> None:
    card.host("client").sends(ping(THERE)).arrives_at("db")
    card.host("db").sends(ping(BACK)).arrives_at("client")
    card.host("client").sends(pong(THERE)).arrives_at("db")
    assert sorted(flow.packets for flow in card.flows()) == [(1, 0), (1, 1)]


# --- protocols without ports here: (protocol, source, destination) ----------------------------------------------------


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize(("there", "back"), [(THERE, BACK), (THERE6, BACK6)], ids=["IPv4", "IPv6"])
def test_each_number_is_a_connection_of_its_own(card: Card, name: str, there: str, back: str) -> None:
    number, six = NUMBERS[name], ":" in there
    if six and number in (0, 51):
        number = 253 + number % 2  # extension headers there: experiments in their place (RFC 3692)
    card.host("client").sends(other(there, number)).arrives_at("db")
    assert (card.flow().protocol, card.flow().source_port, card.flow().timeout_ns) == (number, 0, 600 * SECOND)
    card.host("db").sends(other(back, number)).arrives_at("client")
    assert card.flow().packets == (1, 1)
    card.host("client").sends(other(there, 99)).arrives_at("db")
    assert len(card.flows()) == 2


def test_an_sctp_association_and_a_gre_tunnel_share_nothing(card: Card) -> None:
    """Nor does a rule for one let the other pass."""
    one = built("10.1.0.10", SCTP(sport=9, dport=9))
    two = built("10.1.0.10", GRE() / IP(src="10.8.0.1", dst="10.8.0.2"))
    client = card.host("client")
    client.sends(one).is_dropped("firewall_default")
    client.sends(two).is_dropped("firewall_default")
    sctp = FirewallRule(id=300, policy=POLICY, priority=1, protocol_low=132, protocol_high=132, verdict="allow")
    card.gets(sctp)
    client.sends(one).arrives_at("web")
    client.sends(two).is_dropped("firewall_default")
    card.changes(replace(sctp, protocol_low=47, protocol_high=47))
    client.sends(one).is_dropped("firewall_default")
    client.sends(two).arrives_at("web")
    assert [flow.protocol for flow in card.flows()] == [47]


def test_ports_of_sctp_are_nobodys_affair(card: Card) -> None:
    """One connection for all associations of two hosts; a rule that names a port covers none of them."""
    client = card.host("client")
    for port in (9, 10):
        client.sends(built("10.2.0.5", SCTP(sport=port, dport=port))).arrives_at("db")
    assert card.flow().packets == (2, 0)
    ported = FirewallRule(id=300, policy=POLICY, priority=1, protocol_low=132, protocol_high=132, port_low=9,
                          port_high=9, verdict="allow")  # fmt: skip
    card.gets(ported)
    association = built("10.1.0.10", SCTP(sport=9, dport=9))
    client.sends(association).is_dropped("firewall_default")
    card.changes(replace(ported, port_low=0, port_high=65535))
    client.sends(association).arrives_at("web")


def test_a_punt_by_number(card: Card) -> None:
    client = card.host("client")
    client.sends(other("10.1.0.20 > 10.1.0.1", 132)).is_dropped("punt_denied").silently()
    card.gets(ProfilePunt(id=9, profile=GUARDED, protocol=132, port=0))
    client.sends(other("10.1.0.20 > 10.1.0.1", 132)).arrives_at("card")
    client.sends(other("10.1.0.20 > 10.1.0.1", 47)).is_dropped("punt_denied")
