"""A card as an agent holds it, and packets described in words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scapy.all import ICMP, IP, TCP, UDP, Dot1Q, Ether, ICMPv6EchoRequest, IPv6

from hal import packet
from hal.errors import ErrorKind, HalError
from hal.packet import Card, NextHop, Route
from hal.packet.contract import Delete, Insert, Verdict
from hal.packet.describe import build, parse
from hal.packet.model import Twin
from hal.packet.schema.rows import as_rows
from tests.packets import world


@pytest.fixture
def card() -> Card:
    twin = Twin()
    twin.load(world.CONFIG)
    twin.writer().commit([Insert(rows) for rows in as_rows(world.rows())])
    twin.start()
    return Card(twin)


def test_as_the_design_has_it() -> None:
    with packet.twin() as card:
        card.writer("dsnd", [packet.Vrf]).sync(packet.Vrf(id=0))
        mine = card.writer("my-agent", [NextHop, Route])
        hop = NextHop(id=1, port=card.port("uplink0"), address="192.0.2.1")
        prefixes = ["203.0.113.0/24", "198.51.100.0/24"]
        routes = Route.array(id=range(2, len(prefixes) + 2), vrf=0, prefix=prefixes, next_hop=hop.id)
        assert str(mine.sync(hop, routes, tag="feed 12:00")).startswith("generation 2: +1 next hop, +2 routes, ")


def test_rows_by_name() -> None:
    assert packet.FirewallRule.LAYOUT.table.name == "firewall_rule"
    with pytest.raises(AttributeError, match="Nothing"):
        packet.Nothing  # noqa: B018


def test_tables_belong_to_who_asks_first() -> None:
    with packet.twin() as card:
        card.writer("agent", [packet.Vrf]).sync(packet.Vrf(id=0))
        with pytest.raises(HalError) as caught:
            card.writer("other", [packet.Vrf])
        assert str(caught.value).startswith("DENIED: table vrf: got other, limit its owner agent. Name the owner")


def test_a_writer_writes_its_tables_and_no_others() -> None:
    """It is refused when it is asked for, not by its first commit; and it keeps to the tables that it was made for."""
    twin = Twin()
    twin.load(replace(world.CONFIG, owners={"agent": ("next_hop", "route")}))
    card = Card(twin)
    with pytest.raises(HalError, match="DENIED: table vrf: got agent, limit its owner dsnd"):
        card.writer("agent", [NextHop, packet.Vrf])
    with pytest.raises(HalError, match="DENIED: table route: got dsnd, limit its owner agent"):
        card.writer("dsnd", [Route])
    mine = card.writer("agent", [NextHop])
    hop = next(iter(as_rows([NextHop(id=1, port=1, address="192.0.2.1")])))
    with pytest.raises(HalError) as caught:
        mine.commit([Insert(hop), Delete("route", np.zeros(0, np.uint64))])
    assert (caught.value.kind, caught.value.table) == (ErrorKind.DENIED, "route")
    assert mine.commit([Insert(hop)]) == 1


def test_ports_by_name(card: Card) -> None:
    assert card.port("punt0") == 9
    with pytest.raises(HalError, match="uplink0 is meant"):
        card.port("uplnk0")


def test_trace_in_words(card: Card) -> None:
    told = card.trace("tcp 10.1.0.20:40000 > 10.1.0.10:80", port="host0")
    assert told.trace.now.verdict == Verdict.FORWARD
    assert str(told).splitlines() == [
        "generation 1",
        "installed: no connection",
        "now:",
        "  stage antispoof",
        "    allowed_source 200",
        "  stage firewall",
        "    firewall_rule 200",
        "  stage bridge",
        "    fdb 10",
        "  stage route",
        "  stage firewall",
        "    firewall_rule 103",
        "  send to 10",
        "  FORWARD",
    ]
    assert told.to_dict()["now"]["verdict"] == "FORWARD"


@pytest.mark.parametrize(
    ("text", "port", "reason"),
    [
        ("udp 10.1.0.20:1 > 10.2.0.5:2", "host0", ""),
        ("udp 10.1.0.20:1 > 10.2.0.5:2 ttl 1", "host0", "ttl_exceeded"),
        ("tcp 203.0.113.9:1 > 10.1.0.10:80", "uplink0", ""),
        ("icmp 10.2.0.5 > 10.1.0.10", "host2", "firewall_default"),
        ("icmp6 2001:db8:1::14 > 2001:db8:1::a", "host0", ""),
        ("tcp [2001:db8:1::14]:1 > [2001:db8:1::a]:81 flags A", "host0", "tcp_no_session"),
        ("udp 10.1.0.20:1 > 10.2.0.5:2 len 1600", "host0", "mtu_exceeded"),
        ("udp 10.1.0.20:1 > 10.2.0.5:2 from 02:00:00:00:00:99", "host0", "spoofed_mac"),
        ("udp 10.1.0.20:1 > 10.2.0.5:2 vlan 99 ", "host0", None),
        ("50 10.1.0.20 > 10.1.0.10", "host0", ""),
    ],
)
def test_described_packets(card: Card, text: str, port: str, reason: str | None) -> None:
    if reason is None:
        with pytest.raises(HalError, match="a vNIC or uplink"):
            card.trace(text, port)
        return
    assert card.trace(text, port).trace.now.reason == reason


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tcp 10.1.0.20 > 10.1.0.10:80", "no port, limit a port at both ends"),
        ("icmp 10.1.0.20:7 > 10.1.0.10", "a port"),
        ("tcp 10.1.0.20:1 > 2001:db8::1", "one family"),
        ("tcp 10.1.0.300:1 > 10.1.0.10:80", "10.1.0.300"),
        ("tcp 10.1.0.20:1 > 10.1.0.10:99999", "port 0..65535"),
        ("tpc 10.1.0.20:1 > 10.1.0.10:80", "one of icmp, tcp, udp, icmp6"),
        ("tcp 10.1.0.20:1 10.1.0.10:80", "no packet"),
        ("tcp 10.1.0.20:1 > 10.1.0.10:80 flags X", "flags X"),
        ("tcp 10.1.0.20:1 > 10.1.0.10:80 ttl 300", "ttl 0..255"),
        ("tcp 10.1.0.20:1 > 10.1.0.10:80 ttl", "ttl"),
        ("tcp 10.1.0.20:1 > 10.1.0.10:80 from here", "here"),
        ("tcp 10.1.0.20:1 > 10.1.0.10:80 quickly", "quickly"),
    ],
)
def test_descriptions_that_are_wrong(text: str, said: str) -> None:
    with pytest.raises(HalError) as caught:
        parse(text)
    assert caught.value.kind == ErrorKind.INVALID
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "like"),
    [
        ("tcp 10.1.0.20:1 > 10.1.0.10:80 flags SA len 3",
         IP(id=0, flags="DF", src="10.1.0.20", dst="10.1.0.10")
         / TCP(sport=1, dport=80, flags="SA", seq=1, ack=2, window=65535) / bytes(3)),
        ("tcp 10.1.0.20:1 > 10.1.0.10:80 psh ack seq 4294967295 acks 70000 bytes 3",
         IP(id=0, flags="DF", src="10.1.0.20", dst="10.1.0.10")
         / TCP(sport=1, dport=80, flags="PA", seq=2**32 - 1, ack=70000, window=65535) / bytes(3)),
        ("udp [2001:db8::1]:1 > [2001:db8::2]:2 len 5 ttl 9",
         IPv6(src="2001:db8::1", dst="2001:db8::2", hlim=9) / UDP(sport=1, dport=2) / bytes(5)),
        ("icmp 10.1.0.20 > 10.1.0.10 id 7 type 0",
         IP(id=0, flags="DF", src="10.1.0.20", dst="10.1.0.10") / ICMP(type=0, id=7, seq=1)),
        ("icmp 2001:db8::1 > 2001:db8::2 id 7",
         IPv6(src="2001:db8::1", dst="2001:db8::2") / ICMPv6EchoRequest(id=7, seq=1)),
    ],
)  # fmt: skip
def test_bytes_are_those_of_scapy(text: str, like: object) -> None:
    ether = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    frame = build(parse(text), "02:00:00:00:00:01", "02:00:00:00:00:02", 7)
    assert frame == bytes(ether / Dot1Q(vlan=7) / like)


def test_two_vnics_on_a_port(card: Card) -> None:
    row = next(row for row in card.backend.snapshot(["vnic"]).rows("vnic") if row.id == 20)
    other = replace(row, id=21, match_mac="02:00:00:00:00:15", mac="02:00:00:00:00:15")  # type: ignore[call-arg]
    card.backend.writer().commit([Insert(rows) for rows in as_rows([other])])
    card.trace("udp 10.1.0.20:1 > 10.1.0.10:53", "host0")
    with pytest.raises(HalError, match="one vNIC with the address"):
        card.trace("udp 10.1.0.21:1 > 10.1.0.10:53", "host0")
    named = card.trace("udp 10.1.0.21:1 > 10.1.0.10:53 from 02:00:00:00:00:15", "host0")
    assert named.trace.now.reason == "spoofed_address"


def test_the_card_is_looked_for_where_dsn_run_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSN_RUN", str(tmp_path))
    with pytest.raises(HalError, match=f"LOST: socket {tmp_path}/engine/read.sock: got nobody listens"):
        packet.connect()
    with pytest.raises(HalError, match=r"LOST: socket elsewhere/read\.sock"):
        packet.connect("elsewhere")
