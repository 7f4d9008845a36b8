"""`dsn trace` of captures as tcpdump writes them at one port: both directions, of which the card sent one."""

import json
import struct
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from scapy.all import (
    ARP,
    Dot1Q,
    Ether,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
)

from hal.packet.contract import PacketIn
from hal.packet.describe import build, parse
from sdk.cli import capture
from sdk.cli.main import main
from sdk.cli.neighbours import answer
from sdk.cli.twin_card import TwinCard, open_twin
from services.core.intent import sources
from services.core.service import discover

INTENT = """\
{kind: Subnet, name: a, spec: {gateways: [10.1.0.1/24]}}
---
{kind: Subnet, name: b, spec: {gateways: [10.2.0.1/24]}}
---
{kind: Vnic, name: host, spec: {port: ph, mac: 02:00:00:00:00:01, subnet: a, addresses: [10.1.0.21], policy: all}}
---
{kind: Vnic, name: near, spec: {port: pn, mac: 02:00:00:00:00:03, subnet: a, addresses: [10.1.0.22], policy: web}}
---
{kind: Vnic, name: far, spec: {port: pf, mac: 02:00:00:00:00:02, subnet: b, addresses: [10.2.0.20], policy: web}}
---
{kind: Uplink, name: u1, spec: {port: up1, addresses: [203.0.113.2/24]}}
---
{kind: Uplink, name: u2, spec: {port: up2, addresses: [198.51.100.2/24]}}
---
{kind: Route, name: out, spec: {prefixes: [0.0.0.0/0], via: [198.51.100.1@u2]}}
---
{kind: FirewallPolicy, name: web, spec: {rules: {web: allow tcp from any to any port 80}}}
---
{kind: FirewallPolicy, name: all, spec: {rules: {out: allow out any from any to any}}}
"""
HOST, NEAR, FAR, ROUTER = (f"02:00:00:00:00:0{number}" for number in (1, 3, 2, 9))
CLIENT, ROUTED, BRIDGED, REMOTE = "10.1.0.21:40000", "10.2.0.20:80", "10.1.0.22:80", "192.0.2.7:80"


class Wires:
    """A twin whose ports are captured at, as tcpdump does: what came in and what left."""

    def __init__(self, file: Path) -> None:
        file.write_text(INTENT)
        self.card: TwinCard = open_twin(sources([file]), discover())
        self.ports = {name: port.number for name, port in self.card.planning().ports.items()}
        macs = {str(row.to_dict()["id"]): row.to_dict()["mac"] for row in self.card.snapshot().rows("subnet")}
        names = {name.text: str(key[1]) for key, name in self.card.snapshot().names.items() if key[0] == "subnet"}
        self.gateway = {name: str(macs[key]) for name, key in names.items()}
        self.seen: dict[int, list[capture.Frame]] = {number: [] for number in self.ports.values()}
        self.now = 0

    def send(self, port: str, data: bytes) -> None:
        self.now += 10**6
        number = self.ports[port]
        self.seen[number].append(capture.Frame(data, self.now, port))
        inject = getattr(self.card.backend, "inject")  # noqa: B009  a twin's own, no verb of the contract
        result = inject(PacketIn(data, number, self.now))
        names = {number: name for name, number in self.ports.items()}
        for output in result.outputs:
            self.seen[output.port].append(capture.Frame(output.data, self.now + 1, names[output.port]))

    def tcp(self, here: tuple[str, str, str], there: tuple[str, str, str], ends: Sequence[str]) -> None:
        """A whole connection. Of each side: its port, its MAC and to which it sends."""
        said = [1, 1]
        for flags, size, back in (("syn", 0, False), ("syn ack", 0, True), ("ack", 0, False), ("psh ack", 70, False),
                                  ("psh ack", 900, True), ("ack", 0, False), ("fin ack", 0, False),
                                  ("fin ack", 0, True), ("ack", 0, False)):  # fmt: skip
            port, source, destination = there if back else here
            first, second = reversed(ends) if back else ends
            numbers = f"seq {said[back]}" + (f" acks {said[not back]}" if "ack" in flags else "")
            words = f"tcp {first} > {second} {flags} {numbers} bytes {size}"
            self.send(port, build(parse(words), source, destination, 0))
            said[back] += size + ("syn" in flags) + ("fin" in flags)

    def at(self, port: str) -> list[capture.Frame]:
        return self.seen[self.ports[port]]


@pytest.fixture
def wires(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wires:
    monkeypatch.setenv("DSN_RUN", str(tmp_path / "no-card"))
    monkeypatch.chdir(tmp_path)
    return Wires(tmp_path / "intent.yaml")


def routed(wires: Wires) -> None:
    wires.tcp(("ph", HOST, wires.gateway["a"]), ("pf", FAR, wires.gateway["b"]), (CLIENT, ROUTED))


def trace(frames: list[capture.Frame] | bytes, *words: str) -> tuple[dict[str, Any], str]:
    Path("x.pcap").write_bytes(frames if isinstance(frames, bytes) else capture.write(frames))
    both = [CliRunner().invoke(main, ["trace", "x.pcap", "--intent", "intent.yaml", *words, *more])
            for more in (("--json",), ())]  # fmt: skip
    assert [one.exit_code for one in both] == [0, 0], both[1].output
    return json.loads(both[0].stdout), both[1].stdout


def verdicts(found: dict[str, Any], side: str) -> list[object]:
    return [one["verdict"] for one in found["packets"] if one["side"] == side]


@pytest.mark.parametrize("words", [(), ("--from", "host"), ("--from", "ph")])
def test_a_capture_at_the_clients_port(wires: Wires, words: tuple[str, ...]) -> None:
    routed(wires)
    assert len(wires.at("ph")) == 9
    found, text = trace(wires.at("ph"), *words)
    assert verdicts(found, "sent by the card") == [None] * 3
    assert verdicts(found, "came in") == ["FORWARD"]
    assert verdicts(found, "picked up mid-stream") == ["FORWARD"] * 5
    (flow,) = found["flows"]
    assert (flow["source"], flow["destination_port"], flow["packets"]) == ("10.1.0.21", 80, [5, 0])
    assert "9 packets, 0 dropped, 3 sent by the card, 1 flows" in text
    assert "3 frames were sent by the card and skipped. What came in elsewhere for them is not in this" in text
    assert "TCP is seen from one side only" in text


def test_a_capture_at_the_servers_port(wires: Wires) -> None:
    """The SYN+ACK answers what isn't there; what follows is picked up, the other side being the initiator."""
    routed(wires)
    found, text = trace(wires.at("pf"), "--from", "far")
    assert verdicts(found, "sent by the card") == [None] * 6
    assert verdicts(found, "not judged") == [None]
    assert verdicts(found, "picked up mid-stream") == ["FORWARD"] * 2
    assert [flow["source"] for flow in found["flows"]] == ["10.1.0.21"]
    assert "9 packets, 0 dropped, 6 sent by the card, 1 not judged, 1 flows" in text
    assert "answers what the card sent here" in text


def test_what_is_dropped_is_told_in_a_capture_of_one_side(wires: Wires) -> None:
    routed(wires)
    scan = build(parse("tcp 10.1.0.21:7 > 10.2.0.20:22"), HOST, wires.gateway["a"], 0)
    stray = build(parse("tcp 10.1.0.21:8 > 10.2.0.20:80 ack"), HOST, wires.gateway["a"], 0)
    spoofed = build(parse("tcp 10.1.0.22:9 > 10.2.0.20:80"), NEAR, wires.gateway["a"], 0)
    for data in (scan, stray, spoofed):
        wires.send("ph", data)
    found, text = trace(wires.at("ph"), "--from", "host")
    assert [one["reason"] for one in found["packets"][-3:]] == ["firewall_default", "tcp_no_session", "spoofed_mac"]
    assert "12 packets, 3 dropped, 3 sent by the card" in text


def test_what_is_bridged_to_a_port_was_sent_by_the_card(wires: Wires) -> None:
    wires.tcp(("ph", HOST, NEAR), ("pn", NEAR, HOST), (CLIENT, BRIDGED))
    found, _ = trace(wires.at("ph"), "--from", "host")
    assert len(verdicts(found, "sent by the card")) == 3
    assert {*verdicts(found, "came in"), *verdicts(found, "picked up mid-stream")} == {"FORWARD"}
    # Without a port named, each came in where its sender is: both sides are there.
    found, text = trace(wires.at("ph"))
    assert verdicts(found, "came in") == ["FORWARD"] * 9
    assert text.splitlines()[-1] == "9 packets, 0 dropped, 1 flows"
    assert found["note"] == ""


@pytest.mark.parametrize("words", [(), ("--from", "host")])
def test_an_answer_for_a_vnic_was_sent_by_the_card(wires: Wires, words: tuple[str, ...]) -> None:
    """In that vNIC's name, to who asked; what nobody asked for came from there."""
    ask = ARP(op=1, hwsrc=HOST, psrc="10.1.0.21", pdst="10.1.0.22")
    wires.send("ph", bytes(Ether(src=HOST, dst="ff:ff:ff:ff:ff:ff") / ask))
    assert len(wires.at("ph")) == 2
    found, _ = trace(wires.at("ph"), *words)
    assert [one["side"] for one in found["packets"]] == ["came in", "sent by the card"]
    found, _ = trace(wires.at("ph")[1:])
    assert [(one["side"], one["reason"]) for one in found["packets"]] == [("came in", "arp_ignored")]


def test_two_ports_show_both_sides(wires: Wires) -> None:
    routed(wires)
    frames = sorted(wires.at("ph") + wires.at("pf"), key=lambda one: one.time_ns)
    found, text = trace(frames)
    assert verdicts(found, "came in") == ["FORWARD"] * 9
    assert [flow["tcp_state"] for flow in found["flows"]] == ["TIME_WAIT"]
    assert text.splitlines()[-1] == "9 frames were sent by the card and skipped."


@pytest.mark.parametrize("opened", ["udp 10.1.0.21:5 > 10.2.0.20:53", "icmp 10.1.0.21 > 10.2.0.20"])
def test_answers_without_what_they_answer_are_not_judged(wires: Wires, opened: str) -> None:
    frames = [capture.Frame(build(parse(opened), wires.gateway["b"], FAR, 0), 1)]
    back = opened.replace("10.1.0.21", "x").replace("10.2.0.20", "10.1.0.21").replace("x", "10.2.0.20")
    back = back.replace(":5 > 10.1.0.21:53", ":53 > 10.1.0.21:5") + (" type echo-reply" if "icmp" in back else "")
    answer = capture.Frame(build(parse(back), FAR, wires.gateway["b"], 0), 2)
    found, _ = trace([*frames, answer], "--from", "far")
    assert [one["side"] for one in found["packets"]] == ["sent by the card", "not judged"]
    found, _ = trace([answer], "--from", "far")
    assert verdicts(found, "came in") == ["DROP"]


def beyond(wires: Wires) -> None:
    """A connection to what the uplink u2 leads to; its router answers the card's ARP."""
    mac = wires.gateway["u2"]
    wires.send("ph", build(parse(f"tcp {CLIENT} > {REMOTE}"), HOST, wires.gateway["a"], 0))
    reply = ARP(op=2, hwsrc=ROUTER, psrc="198.51.100.1", hwdst=mac, pdst="198.51.100.2")
    wires.send("up2", bytes(Ether(src=ROUTER, dst=mac) / reply))
    wires.tcp(("ph", HOST, wires.gateway["a"]), ("up2", ROUTER, mac), (CLIENT, REMOTE))


def test_what_leaves_by_an_uplink_finds_its_neighbour(wires: Wires) -> None:
    """The router's answer isn't in a capture at the host's port."""
    beyond(wires)
    found, text = trace(wires.at("ph"), "--from", "host")
    assert verdicts(found, "came in") == ["QUEUE", "FORWARD"]
    assert verdicts(found, "picked up mid-stream") == ["QUEUE", *["FORWARD"] * 4]
    assert all(len(one["outputs"]) == (2 if one["verdict"] == "QUEUE" else 1)
               for one in found["packets"] if one["verdict"])  # fmt: skip
    assert "0 dropped, 3 sent by the card, 1 flows" in text
    assert text.rstrip().endswith("1 neighbours on uplinks that don't answer in it are taken to be there.")
    both = sorted(wires.at("ph") + wires.at("up2"), key=lambda one: one.time_ns)
    assert "taken to be there" in trace(both, "--from", "ph")[1]
    found, text = trace(_named(both))
    assert verdicts(found, "came in") == ["QUEUE", "CONSUME", *["FORWARD"] * 9]
    assert "taken to be there" not in text
    assert " 0 dropped" in text


def test_a_capture_at_an_uplink(wires: Wires) -> None:
    """What the card sent is no spoofer's; the SYN+ACK and the router's ARP answer what isn't there."""
    beyond(wires)
    for words in (("--from", "u2"), ("--from", "up2")):
        found, text = trace(wires.at("up2"), *words)
        assert verdicts(found, "not judged") == [None] * 2
        assert verdicts(found, "picked up mid-stream") == ["FORWARD"] * 2
        assert "12 packets, 0 dropped, 8 sent by the card, 2 not judged, 1 flows" in text
    one_uplink = INTENT.replace("{kind: Uplink, name: u1, spec: {port: up1, addresses: [203.0.113.2/24]}}\n---\n", "")
    Path("intent.yaml").write_text(one_uplink)
    found, text = trace(wires.at("up2"))
    assert "12 packets, 0 dropped, 8 sent by the card, 2 not judged, 1 flows" in text


def test_a_capture_at_an_interface_in_a_vlan(wires: Wires) -> None:
    """Such an interface shows no tags. Who says whose it is gets frames as they are on the wire; a port has no VLAN."""
    beyond(wires)
    here, there = wires.at("ph"), wires.at("up2")
    in_vlans = INTENT.replace("{port: ph, mac", "{port: ph, vlan: 7, mac").replace(
        "{port: up2, ", "{port: up2, vlan: 8, "
    )
    Path("intent.yaml").write_text(in_vlans)
    found, text = trace(here, "--from", "host")
    assert verdicts(found, "picked up mid-stream") == ["QUEUE", *["FORWARD"] * 4]
    assert all(" vlan 7, " in one["words"] for one in found["packets"] if one["verdict"])
    assert "7 frames were given the tags of host, VLAN 7: no frame has any." in text
    found, text = trace(there, "--from", "u2")
    assert verdicts(found, "picked up mid-stream") == ["FORWARD"] * 2
    assert "12 packets, 0 dropped, 8 sent by the card, 2 not judged, 1 flows" in text
    for words in (("--from", "ph"), ()):
        found, text = trace(here, *words)
        assert {one["reason"] for one in found["packets"] if one["verdict"]} == {"vnic_unknown"}
        assert "frames without VLAN tag from the MAC of host, which is in VLAN 7." in text
        assert "say so: --from host." in found["note"]
    tagged = [replace(one, data=one.data[:12] + b"\x81\x00\x00\x07" + one.data[12:]) for one in here[:3]]
    found, text = trace([*tagged, *here[3:]], "--from", "host")
    assert "given the tag" not in text
    assert {one["reason"] for one in found["packets"] if " vlan 7, " not in one["words"]} == {"vnic_unknown", ""}


def test_an_ipv6_neighbour_is_taken_to_be_there() -> None:
    net = IPv6(src="2001:db8::2", dst="ff02::1:ff00:1")
    option = ICMPv6NDOptSrcLLAddr(lladdr=HOST)
    request = Ether(src=HOST, dst="33:33:ff:00:00:01") / Dot1Q(vlan=7) / net / ICMPv6ND_NS(tgt="2001:db8::1") / option
    made = Ether(answer(bytes(request)))
    assert (made.dst, made[Dot1Q].vlan, made[IPv6].src, made[IPv6].dst, made[IPv6].hlim) == (
        HOST, 7, "2001:db8::1", "2001:db8::2", 255)  # fmt: skip
    assert (made[ICMPv6ND_NA].tgt, made[ICMPv6ND_NA].S, made[ICMPv6ND_NA].O) == ("2001:db8::1", 1, 1)
    assert made[ICMPv6NDOptDstLLAddr].lladdr == made.src
    whole = bytes(made)
    del made[ICMPv6ND_NA].cksum
    assert bytes(made) == whole


def _named(frames: list[capture.Frame]) -> bytes:
    """As pcapng, which names interfaces."""
    names = sorted({frame.interface for frame in frames})
    blocks = [(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))]
    for name in names:
        text = name.encode()
        options = struct.pack("<HH", 2, len(text)) + text + bytes(-len(text) % 4) + struct.pack("<HHBxxxI", 9, 1, 9, 0)
        blocks.append((1, struct.pack("<HHI", 1, 0, 0) + options))
    for frame in frames:
        head = struct.pack("<IIIII", names.index(frame.interface), frame.time_ns >> 32, frame.time_ns & 0xFFFFFFFF,
                           len(frame.data), len(frame.data))  # fmt: skip
        blocks.append((6, head + frame.data + bytes(-len(frame.data) % 4)))
    return b"".join(
        struct.pack("<II", kind, len(body) + 12) + body + struct.pack("<I", len(body) + 12) for kind, body in blocks
    )


def test_an_interface_is_a_port_or_its_linux_device(wires: Wires) -> None:
    """With --from as the only word on it, the router's frames would come from elsewhere."""
    beyond(wires)
    frames = wires.at("up2")
    card = "".join(f'{name} = "linux:nc{name}"\n' for name in wires.ports if not name.startswith("punt"))
    Path("card.toml").write_text(f'board = "software"\n[ports]\n{card}')
    as_device = [capture.Frame(one.data, one.time_ns, f"nc{one.interface}") for one in frames]
    for some, words in ((frames, ()), (as_device, ("--card", "card.toml"))):
        found, _ = trace(_named(some), *words)
        assert {one["port"] for one in found["packets"]} == {None, "up2"}
    Path("x.pcap").write_bytes(_named(as_device))
    refused = CliRunner().invoke(main, ["trace", "x.pcap", "--intent", "intent.yaml"])
    assert "limit a known port. Say at which port it was captured: --from NAME." in refused.stderr
