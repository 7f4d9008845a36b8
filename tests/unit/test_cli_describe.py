"""Described packets against scapy's; witnesses and status in words; card.toml."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.all import (
    ICMP,
    IP,
    TCP,
    UDP,
    Dot1Q,
    Ether,
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    Raw,
    fragment,
)

from hal.errors import HalError
from hal.packet.describe import build, parse
from sdk.card_config import CardConfig
from sdk.card_config import parse as parse_card
from sdk.cli.frames import frame_words
from services.core.objects import IntentError

ONE, OTHER = "02:00:00:00:00:0a", "02:00:00:00:00:0b"


@given(st.booleans(), st.sampled_from(["tcp", "udp", "icmp"]), st.integers(0, 2**128 - 1), st.integers(1, 65535),
       st.integers(0, 300), st.integers(0, 4094))  # fmt: skip
def test_frames_are_what_scapy_builds(v6: bool, protocol: str, number: int, port: int, size: int, vlan: int) -> None:
    if v6:
        ends = [str(ipaddress.IPv6Address(number)), "2001:db8::1"]
    else:
        ends = [str(ipaddress.IPv4Address(number % 2**32)), "192.0.2.1"]
    if ends[0].startswith("::ffff:"):
        return
    written = [f"[{end}]:{port}" if v6 else f"{end}:{port}" for end in ends] if protocol != "icmp" else ends
    made = build(parse(f"{protocol} {written[0]} > {written[1]} bytes {size}"), ONE, OTHER, vlan)
    network = IPv6(src=ends[0], dst=ends[1]) if v6 else IP(src=ends[0], dst=ends[1], id=0, flags="DF")
    transport = {
        "tcp": TCP(sport=port, dport=port, seq=1, ack=0, flags="S", window=65535),
        "udp": UDP(sport=port, dport=port),
        "icmp": ICMPv6EchoRequest(id=1, seq=1) if v6 else ICMP(id=1, seq=1),
    }[protocol]
    link = Ether(src=ONE, dst=OTHER) / Dot1Q(vlan=vlan) if vlan else Ether(src=ONE, dst=OTHER)
    assert made == bytes(link / network / transport / Raw(bytes(size)))


@pytest.mark.parametrize("text", ["tcp 10.1.0.1:{} > 10.1.0.2:80", "{} 10.1.0.1 > 10.1.0.2",
                                  "icmp 10.1.0.1 > 10.1.0.2 ttl {}", "icmp 10.1.0.1 > 10.1.0.2 type {}"])  # fmt: skip
def test_a_number_of_any_length_is_too_large_and_nothing_worse(text: str) -> None:
    """Python refuses to read one of more than 4,300 digits, by a ValueError of its own."""
    assert parse(text.format(80 if "tcp" in text else 1)).source == "10.1.0.1"
    with pytest.raises(HalError) as error:
        parse(text.format("9" * 5000))
    assert error.value.limit.endswith(("0..65535", "0..255"))


@given(st.binary(max_size=120))
def test_any_frame_has_words(data: bytes) -> None:
    assert frame_words(data)


def test_frames_in_words() -> None:
    made = build(parse("tcp 10.0.0.1:1 > 10.0.0.2:2 fin ack ttl 3"), ONE, OTHER, 7)
    assert frame_words(made) == f"{ONE} > {OTHER} vlan 7, 58 bytes, tcp 10.0.0.1:1 > 10.0.0.2:2 fin ack ttl 3"


def test_fragments_and_extension_headers_in_words() -> None:
    """The payload of a later fragment is no ports, and the transport is behind the extension headers."""
    link = Ether(src=ONE, dst=OTHER)
    udp = UDP(sport=5000, dport=53) / Raw(bytes(3000))
    first, middle, last = fragment(link / IP(src="10.0.0.1", dst="10.0.0.2", id=7) / udp, 1480)
    ends = "udp 10.0.0.1:5000 > 10.0.0.2:53"
    assert f"{ends}, first fragment of id 7, ttl 64" in frame_words(bytes(first))
    assert "udp 10.0.0.1 > 10.0.0.2, later fragment at byte 1480 of id 7, ttl 64" in frame_words(bytes(middle))
    assert "later fragment at byte 2960 of id 7, the last, ttl 64" in frame_words(bytes(last))
    net = IPv6(src="2001:db8::1", dst="2001:db8::2")
    ends = "[2001:db8::1]:5000 > [2001:db8::2]:53"
    options = IPv6ExtHdrHopByHop() / IPv6ExtHdrRouting(addresses=["2001:db8::9"]) / IPv6ExtHdrDestOpt()
    assert frame_words(bytes(link / net / options / udp)).endswith(f"udp {ends} ttl 64")
    authenticated = bytes(link / net)[:-34] + b"\x33\x40" + bytes(link / net)[-32:]
    authenticated += bytes([6, 4]) + bytes(22) + bytes(TCP(sport=5000, dport=53))
    assert frame_words(authenticated).endswith(f"tcp {ends} syn ttl 64")
    later = IPv6ExtHdrFragment(offset=185, m=0, id=9, nh=17) / Raw(bytes(range(20)))
    words = "udp 2001:db8::1 > 2001:db8::2, later fragment at byte 1480 of id 9, the last, ttl 64"
    assert frame_words(bytes(link / net / later)).endswith(words)
    first = IPv6ExtHdrFragment(offset=0, m=1, id=9) / UDP(sport=5000, dport=53)
    assert f"udp {ends}, first fragment of id 9," in frame_words(bytes(link / net / first))


@pytest.mark.parametrize(
    ("ends", "fix"),
    [
        ("10.1.0.21 > 10.2.0.20:80", "Write tcp 10.1.0.21:40000 > 10.2.0.20:80."),
        ("10.1.0.21:1 > 10.2.0.20", "Write tcp 10.1.0.21:1 > 10.2.0.20:80."),
        ("10.1.0.21 > 10.2.0.20", "Write tcp 10.1.0.21:40000 > 10.2.0.20:80."),
        ("2001:db8::a > [2001:db8::b]:443", "Write tcp [2001:db8::a]:40000 > [2001:db8::b]:443."),
        ("[2001:db8::a]:9 > 2001:db8::b", "Write tcp [2001:db8::a]:9 > [2001:db8::b]:80."),
    ],
)
def test_the_fix_for_a_missing_port_is_a_packet(ends: str, fix: str) -> None:
    with pytest.raises(HalError) as error:
        parse(f"tcp {ends}")
    assert (error.value.got, error.value.limit, error.value.fix) == ("no port", "a port at both ends", fix)
    parse(fix.removeprefix("Write ").removesuffix("."))
    with pytest.raises(HalError) as error:
        parse("icmp 10.1.0.20:1 > 10.1.0.10")
    assert (error.value.got, error.value.fix) == ("icmp with a port", "Write icmp 10.1.0.20 > 10.1.0.10.")


# --- card.toml ----------------------------------------------------------------------------------------------------

CARD = """\
board = "software"
workers = 2
pickup = "30s"

[ports]
uplink0 = "linux:eth1"
host0 = {device = "linux:veth0", mtu = 9000, mac = "02-00-00-00-00-01"}

[capacities]
route = 2000

[owners]
agent = ["route", "next_hop"]
"""


def test_a_card_is_read() -> None:
    card = parse_card(CARD.encode())
    assert (card.board, card.workers, card.pickup_ns, card.capacities) == ("software", 2, 30 * 10**9, {"route": 2000})
    assert [(port.number, port.name, port.device, port.mtu, port.mac) for port in card.ports] == [
        (1, "uplink0", "linux:eth1", 1500, ""),
        (0, "host0", "linux:veth0", 9000, "02:00:00:00:00:01"),
    ]
    assert card.load_config().owners == {"agent": ("route", "next_hop")}
    assert card.context().ports["host0"].mtu == 9000
    assert parse_card(b"") == CardConfig()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("workers = 2", "workrs = 2"), "card.toml:2:1: error: field workrs: unknown field; limit: board,"),
        (
            ("workers = 2", "workers = 99"),
            "card.toml:2:1: error: field workers: '99' is out of range; limit: a",
        ),
        (('"linux:eth1"', '"linx:eth1"'), "card.toml:6:1: error: field ports.uplink0: 'linx:eth1' is not a device"),
        (('"linux:eth1"', '"linux:a-very-long-name"'), "limit: linux:IFNAME, a name of 1 to 15 characters"),
        (('"linux:eth1"', '"linux:veth0"'), "error: field ports.host0: port uplink0 is linux:veth0 too"),
        (("mtu = 9000", "mtu = 9"), "card.toml:7:34: error: field ports.host0.mtu: '9' is out of range"),
        (("route = 2000", "rout = 2000"), "error: field capacities.rout: no such table; limit: seed,"),
        (('"route", "next', '"rout", "next'), "error: field owners.agent: no such table: 'rout'; did you mean route?"),
        (('pickup = "30s"', 'pickup = "30"'), "error: field pickup: '30' is not a duration"),
        (("[ports]", "[ports"), "card.toml:5:7: error: not TOML: Expected ']' at the end of a table declaration"),
        (("board =", "board = 3 #"), "card.toml:1:1: error: field board: '3' is not a text. Fix: Put it in quotes."),
    ],
)
def test_a_wrong_card_is_told_where_it_is_wrong(change: tuple[str, str], said: str) -> None:
    assert change[0] in CARD
    with pytest.raises(IntentError) as error:
        parse_card(CARD.replace(*change).encode())
    (problem,) = error.value.problems
    assert said in problem.sentence


@given(st.one_of(st.binary(max_size=300), st.tuples(st.integers(0, len(CARD)), st.text(max_size=6)).map(
    lambda change: (CARD[: change[0]] + change[1] + CARD[change[0] + 2 :]).encode("utf-8", "replace"))))  # fmt: skip
def test_any_bytes_are_a_card_or_problems(data: bytes) -> None:
    try:
        card = parse_card(data)
    except IntentError as error:
        assert str(error)  # noqa: PT017
    else:
        assert isinstance(card, CardConfig)
