"""Port scans of a vNIC by its neighbour: each kind that nmap 7.93 and hping3 know, to a port that the policy allows and
to one that it doesn't. Nothing comes through but what opens a connection that is allowed, nothing else is answered, and
so the two ports look the same."""

from __future__ import annotations

from typing import Any

import pytest
from scapy.all import ICMP, IP, IPOption_LSRR, IPOption_RR, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrRouting

from hal.packet.contract import TcpState
from tests.packets.card import Card
from tests.packets.packets import Description, ping, tcp, udp
from tests.packets.world import HOSTS

FROM, TO = "10.1.0.20", "10.1.0.10"
ALLOWED, DENIED = 80, 22


def _raw(packet: Any) -> Description:
    v6 = packet.haslayer(IPv6)
    source, destination = HOSTS["client"].addresses[bool(v6)], HOSTS["web"].addresses[bool(v6)]
    packet.src, packet.dst = source, destination
    return Description(source, destination, lambda: packet)


def _without_ports(protocol: int) -> Description:
    """An IP packet without anything behind its header."""
    return _raw(IP(proto=protocol))


def _tcp(port: int, flags: str, **fields: Any) -> Description:
    return tcp(f"{FROM}:50000 > {TO}:{port}", flags, seq=0x1234, **fields)


OPENS = [
    ("SYN scan", lambda port: _tcp(port, "S", window=1024, options=[("MSS", 1460)])),
    ("OS detection, ECN", lambda port: _tcp(port, "SEC", window=3, options=[("WScale", 10), ("MSS", 1460)])),
    ("SYN scan from port 53", lambda port: tcp(f"{FROM}:53 > {TO}:{port}", "S")),
    ("SYN scan, TTL 1", lambda port: _tcp(port, "S", ip={"ttl": 1})),
    ("SYN scan, checksum wrong", lambda port: _tcp(port, "S", chksum=0xDEAD)),
    ("SYN scan in fragments of 24 bytes", lambda port: _tcp(port, "S", ip={"flags": "MF"}, options=[("MSS", 1460)])),
    ("IPv6 SYN scan", lambda port: tcp(f"[2001:db8:1::14]:50000 > [2001:db8:1::a]:{port}", "S")),
]
"""What may open a connection: name -> its packet to a port."""

NEVER = [
    ("FIN scan", lambda port: _tcp(port, "F"), "tcp_flags"),
    ("null scan", lambda port: _tcp(port, ""), "tcp_flags"),
    ("Xmas scan", lambda port: _tcp(port, "FPU"), "tcp_flags"),
    ("SYN+FIN scan", lambda port: _tcp(port, "SF"), "tcp_flags"),
    ("all flags", lambda port: _tcp(port, "FSRPAU"), "tcp_flags"),
    ("OS detection, T3", lambda port: _tcp(port, "SFUP", window=256), "tcp_flags"),
    ("ACK and window scan", lambda port: _tcp(port, "A", ack=1), "tcp_no_session"),
    ("Maimon scan", lambda port: _tcp(port, "FA", ack=1), "tcp_no_session"),
    ("SYN+ACK, an idle scan's question", lambda port: _tcp(port, "SA", ack=1), "tcp_no_session"),
    ("RST, an inverse mapping", lambda port: _tcp(port, "R"), "tcp_no_session"),
    ("RST+ACK", lambda port: _tcp(port, "RA", ack=1), "tcp_no_session"),
    ("PSH+ACK", lambda port: _tcp(port, "PA", payload=b"GET /", ack=1), "tcp_no_session"),
    ("data without a flag", lambda port: _tcp(port, "", payload=b"x"), "tcp_flags"),
    ("idle scan", lambda port: tcp(f"10.2.0.5:50000 > {TO}:{port}", "S"), "spoofed_address"),
    ("decoy", lambda port: tcp(f"10.1.0.99:50000 > {TO}:{port}", "S"), "spoofed_address"),
    ("fragments of 8 bytes", lambda port: _fragment(port, 8), "fragment_tiny"),
    ("fragments of 16 bytes", lambda port: _fragment(port, 16), "fragment_tiny"),
    ("a later fragment alone", lambda port: _tcp(port, "S", ip={"frag": 3}), "fragment_no_first"),
    ("record route", lambda port: _tcp(port, "S", ip={"options": [IPOption_RR()]}), "ipv4_option_refused"),
    ("loose source route", lambda port: _tcp(port, "S", ip={"options": [IPOption_LSRR()]}), "source_route"),
    ("SYN scan from port 0", lambda port: tcp(f"{FROM}:0 > {TO}:{port}", "S"), "l4_header"),
]  # fmt: skip
"""What opens nothing, to whichever port: name, its packet, the reason."""

OTHERS = [
    ("UDP to a port that is denied", udp(f"{FROM}:50000 > {TO}:161"), "firewall_default"),
    ("UDP to a port that is denied, from port 53", udp(f"{FROM}:53 > {TO}:161"), "firewall_default"),
    ("UDP to port 0", udp(f"{FROM}:50000 > {TO}:0"), "l4_header"),
    ("ICMP timestamp", _raw(IP() / ICMP(type=13)), "icmp_type"),
    ("ICMP address mask", _raw(IP() / ICMP(type=17)), "icmp_type"),
    ("ICMP information", _raw(IP() / ICMP(type=15)), "icmp_type"),
    ("echo reply", _raw(IP() / ICMP(type=0)), "icmp_type"),
    ("IP protocol scan, ICMP", _without_ports(1), "l4_truncated"),
    ("IP protocol scan, TCP", _without_ports(6), "l4_truncated"),
    ("IP protocol scan, UDP", _without_ports(17), "l4_truncated"),
    ("IPv6 OS detection, routing header", _raw(IPv6() / IPv6ExtHdrRouting(addresses=["::1"])), "source_route"),
    ("IPv6, cut options", _raw(IPv6(nh=60) / b"\x3b"), "ipv6_extension"),
    ("IPv6, nothing behind", _raw(IPv6() / IPv6ExtHdrDestOpt(nh=59)), "firewall_default"),
    *((f"IP protocol scan, {number}", _without_ports(number), "firewall_default")
      for number in (0, 2, 4, 41, 47, 51, 88, 89, 103, 132, 136, 253, 255)),
]  # fmt: skip
"""What is no TCP."""


def _fragment(port: int, size: int) -> Description:
    """The first of a SYN that is cut after so many bytes."""
    whole = tcp(f"{FROM}:50000 > {TO}:{port}", "S").build()
    return Description(FROM, TO, lambda: IP(src=FROM, dst=TO, proto=6, flags="MF") / bytes(whole.payload)[:size])


@pytest.mark.parametrize(("name", "probe"), OPENS, ids=[name for name, _ in OPENS])
def test_what_opens_a_connection_does_where_a_rule_allows_it(card: Card, name: str, probe: Any) -> None:
    card.host("client").sends(probe(DENIED)).is_dropped("firewall_default").silently()
    assert card.flows() == []
    sent = card.host("client").sends(probe(ALLOWED))
    assert [output.port for output in sent.outputs()] == [HOSTS["web"].port]
    assert len(card.flows()) == 1


@pytest.mark.parametrize(("name", "probe", "reason"), NEVER, ids=[name for name, *_ in NEVER])
def test_what_opens_none_is_dropped_at_either_port(card: Card, name: str, probe: Any, reason: str) -> None:
    for port in (ALLOWED, DENIED):
        card.host("client").sends(probe(port)).is_dropped(reason).silently()
    assert card.flows() == []
    card.host("client").sends(_tcp(ALLOWED, "S")).arrives_at("web")


@pytest.mark.parametrize(("name", "probe", "reason"), OTHERS, ids=[name for name, *_ in OTHERS])
def test_what_is_no_tcp_is_dropped(card: Card, name: str, probe: Description, reason: str) -> None:
    card.host("client").sends(probe).is_dropped(reason).silently()
    assert card.flows() == []
    card.host("client").sends(udp(f"{FROM}:50000 > {TO}:53")).arrives_at("web")
    card.host("client").sends(ping(f"{FROM} > {TO}")).arrives_at("web")


def test_a_closed_port_that_is_allowed_is_the_hosts_to_tell(card: Card) -> None:
    """Its RST, and ICMP errors about what was allowed, go back; who asks from elsewhere gets none."""
    card.host("client").sends(_tcp(ALLOWED, "S")).arrives_at("web")
    back = f"{TO}:{ALLOWED} > {FROM}"
    card.host("web").sends(tcp(f"{back}:50001", "RA", seq=0, ack=0x1235)).is_dropped("tcp_no_session").silently()
    card.host("web").sends(tcp(f"{back}:50000", "RA", seq=0, ack=0x1235)).arrives_at("client")


def test_an_ack_scan_while_connections_are_picked_up(card: Card) -> None:
    """It finds a host that may itself open connections to where it comes from, and nothing else; nothing opens so."""
    young = card.anew(pickup=True)
    client = young.host("client")
    client.sends(tcp(f"{FROM}:50000 > {TO}:{DENIED}", "A")).is_dropped("firewall_default").silently()
    client.sends(tcp(f"{FROM}:8080 > {TO}:{DENIED}", "A", ack=77)).arrives_at("web")
    young.host("web").sends(tcp(f"{TO}:{DENIED} > {FROM}:8080", "R", seq=77)).arrives_at("client")
    assert young.flow().tcp_state is TcpState.CLOSED
    client.sends(tcp(f"{FROM}:8080 > {TO}:{DENIED}", "S")).is_dropped("firewall_default").silently()
