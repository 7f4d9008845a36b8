"""`dsn trace` of captures that were taken before segmentation offload: frames that no wire carries."""

import struct
from pathlib import Path
from typing import Any

import pytest
from scapy.all import ICMP, IP, TCP, UDP, Dot1Q, Ether, IPv6, Raw

from hal.packet.contract import LONGEST_FRAME
from sdk.cli import capture
from sdk.cli.frames import read
from sdk.cli.segments import announced, cut, offloaded
from tests.unit.test_cli_captures import CLIENT, FAR, HOST, ROUTED, Wires, trace, wires

__all__ = ["wires"]
DATA = bytes(range(256)) * 240
"""61,440 bytes."""
FIRST = 0xFFFF_F000
"""Sequence number of the first byte that the host sends."""
STAMPS = [("NOP", None), ("NOP", None), ("Timestamp", (1, 2))]


def ends(source: str, destination: str) -> dict[str, Any]:
    return {"src": source.partition(":")[0], "dst": destination.partition(":")[0]}


def segment(wires: Wires, flags: str, payload: bytes = b"", options: Any = STAMPS, ecn: str = "") -> bytes:
    """A TCP segment of the host's connection to the web server in the other subnet."""
    seq = FIRST - ("S" in flags)
    tcp = TCP(sport=40000, dport=80, flags=flags + ecn, seq=seq, ack=9, window=65535, options=options)
    frame = Ether(src=HOST, dst=wires.gateway["a"]) / IP(id=0xFFF0, flags="DF", **ends(CLIENT, ROUTED)) / tcp
    return bytes(frame / Raw(payload)) if payload else bytes(frame)


def answer(wires: Wires, flags: str, options: Any = ()) -> bytes:
    tcp = TCP(sport=80, dport=40000, flags=flags, seq=8, ack=FIRST, window=65535, options=list(options))
    return bytes(Ether(src=FAR, dst=wires.gateway["b"]) / IP(**ends(ROUTED, CLIENT)) / tcp)


def frames(*some: tuple[str, bytes]) -> bytes:
    """A capture with the interfaces' names, as pcapng has them."""
    names = sorted({name for name, _ in some})
    section = struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)
    blocks = [section]
    for name in names:
        option = struct.pack("<HH", 2, len(name)) + name.encode().ljust(-(-len(name) // 4) * 4, b"\0") + bytes(4)
        size = 20 + len(option)
        blocks.append(struct.pack("<IIHHI", 1, size, 1, 0, 0) + option + struct.pack("<I", size))
    for number, (name, data) in enumerate(some):
        padded = data.ljust(-(-len(data) // 4) * 4, b"\0")
        size = 32 + len(padded)
        head = struct.pack("<IIIIIII", 6, size, names.index(name), 0, 1000 * number, len(data), len(data))
        blocks.append(head + padded + struct.pack("<I", size))
    return b"".join(blocks)


def opened(wires: Wires, mss: int = 1460) -> list[tuple[str, bytes]]:
    options = [("MSS", mss)]
    return [
        ("ph", segment(wires, "S", options=options)),
        ("pf", answer(wires, "SA", options)),
        ("ph", segment(wires, "A")),
    ]


def sent(found: dict[str, Any], number: int) -> list[bytes]:
    """What left of a frame of the capture."""
    return [
        bytes.fromhex(output["data"])
        for one in found["packets"]
        if one["number"] == number
        for output in one["outputs"]
    ]


def test_a_large_tcp_segment_is_cut_and_runs(wires: Wires) -> None:
    large = segment(wires, "PFA", DATA, ecn="C")
    assert len(large) > LONGEST_FRAME
    found, text = trace(frames(*opened(wires), ("ph", large)))
    parts = [one for one in found["packets"] if one["number"] == 4]
    assert {one["verdict"] for one in parts} == {"FORWARD"}
    assert [(one["segment"], one["segments"]) for one in parts] == [(place, 43) for place in range(1, 44)]
    assert [(one["segment"], one["segments"]) for one in found["packets"][:3]] == [(1, 1)] * 3
    out = [Ether(frame) for frame in sent(found, 4)]
    assert b"".join(bytes(one[TCP].payload) for one in out) == DATA
    assert max(len(bytes(one[IP])) for one in out) == 1500
    assert [one[TCP].seq for one in out[:3]] == [FIRST, FIRST + 1448, FIRST + 2896]
    assert out[-1][TCP].seq == (FIRST + 42 * 1448) % 2**32
    assert [one[IP].id for one in out[:20]] == [(0xFFF0 + number) % 2**16 for number in range(20)]
    assert [str(one[TCP].flags) for one in (out[0], out[1], out[-1])] == ["AC", "A", "FPA"]
    for one in out:  # scapy's own sums are the third opinion
        again = Ether(bytes(one))
        del again[IP].chksum, again[TCP].chksum
        assert bytes(again) == bytes(one)
    assert found["note"].startswith("1 frame was taken before segmentation offload: cut into 43, as the sender's")
    assert "4, segment 2 of 43. +0.003000 s, in by ph: " in text
    assert "46 packets, 0 dropped, 1 flows" in text


def test_who_announced_less_gets_less(wires: Wires) -> None:
    """Also of a frame that a wire could have carried: nobody may send more than the other side takes."""
    found, _ = trace(frames(*opened(wires, 600), ("ph", segment(wires, "PA", DATA[:1400]))))
    assert [len(Ether(one)[TCP].payload) for one in sent(found, 4)] == [588, 588, 224]


def test_a_long_frame_without_a_sign_is_the_cards_to_judge(wires: Wires) -> None:
    """It may be a jumbo frame. Beside one that can't be, it is none."""
    jumbo = segment(wires, "PA", DATA[:4000])
    start = [("ph", segment(wires, "S")), ("pf", answer(wires, "SA")), ("ph", segment(wires, "A"))]
    found, _ = trace(frames(*start, ("ph", jumbo)))
    assert [(one["verdict"], one["reason"]) for one in found["packets"][3:]] == [("DROP", "mtu_exceeded")]
    assert found["note"] == ""
    found, _ = trace(frames(*start, ("ph", jumbo), ("ph", segment(wires, "PA", DATA))))
    assert {one["verdict"] for one in found["packets"]} == {"FORWARD"}
    assert len(sent(found, 4)) == 3
    assert found["note"].startswith("2 frames were taken before segmentation offload: cut into 46,")


def test_large_udp_is_cut_too(wires: Wires) -> None:
    plain = Ether(src=HOST, dst=wires.gateway["a"]) / IP(**ends(CLIENT, "10.2.0.20")) / UDP(sport=7, dport=9)
    found, _ = trace(frames(("ph", bytes(plain / Raw(DATA)))))
    assert {one["segments"] for one in found["packets"]} == {-(-len(DATA) // 1472)}
    assert {one["reason"] for one in found["packets"]} == {"firewall_default"}  # web lets no UDP in
    data = bytes(Ether(src=HOST, dst=FAR) / Dot1Q(vlan=5) / IPv6(src="2001:db8::1", dst="2001:db8::2")
                 / UDP(sport=7, dport=9) / Raw(DATA))  # fmt: skip
    parts = [Ether(one) for one in cut(data, read(data), 1500)]
    assert b"".join(bytes(one[UDP].payload) for one in parts) == DATA
    assert {(one[Dot1Q].vlan, len(bytes(one[IPv6])) <= 1500, one[IPv6].plen == one[UDP].len) for one in parts} == {
        (5, True, True)
    }
    for one in parts:
        again = Ether(bytes(one))
        del again[UDP].chksum
        assert bytes(again) == bytes(one)


def test_what_can_not_be_cut_is_skipped_and_told(wires: Wires) -> None:
    echo = bytes(Ether(src=HOST, dst=wires.gateway["a"]) / IP(**ends(CLIENT, ROUTED)) / ICMP() / Raw(DATA[:20000]))
    found, text = trace(frames(*opened(wires), ("ph", echo), ("ph", segment(wires, "PA", b"x"))))
    assert [(one["number"], one["side"], one["verdict"]) for one in found["packets"][3:]] == [
        (4, "too long", None), (5, "came in", "FORWARD"),
    ]  # fmt: skip
    assert (
        "frame 4, of 20,042 bytes, is longer than 9,238, and no TCP or UDP segment that could be cut: skipped" in text
    )
    assert "5 packets, 0 dropped, 1 too long, 1 flows" in text
    assert found["note"] == "1 frame was too long and skipped."


@pytest.mark.parametrize("what", ["syn", "rst", "fragment", "short", "no header", "bare"])
def test_what_is_no_large_segment(wires: Wires, what: str) -> None:
    data = bytearray(segment(wires, {"syn": "S", "rst": "R"}.get(what, "A"), DATA))
    if what == "fragment":
        data[20:22] = b"\x20\x00"
    elif what == "short":
        data[16:18] = (900).to_bytes(2, "big")
    elif what == "no header":
        data[46] = 0x10
    elif what == "bare":
        data = data[:66]
        data[16:18] = (52).to_bytes(2, "big")
    frame = bytes(data)
    assert cut(frame, read(frame), 1500) == [frame]
    if what != "bare":
        assert offloaded([(frame, read(frame))], {}) == set()
        found, _ = trace(frames(("ph", frame)))
        assert [one["side"] for one in found["packets"]] == ["too long"]


@pytest.mark.parametrize(
    "options", [b"\x02\x04\x05", b"\x02\x00\x05\xb4", b"\x03\x01\x07\x00", b"\x01\x01\x01\x01", b""]
)
def test_options_of_a_syn_that_say_no_size(options: bytes) -> None:
    head = struct.pack(">HHIIBBHHH", 1, 2, 3, 0, (20 + len(options) + 3) // 4 << 4, 2, 100, 0, 0)
    data = bytes(Ether(src=HOST, dst=FAR) / IP(src="10.0.0.1", dst="10.0.0.2", proto=6) / Raw(head + options))
    assert announced([read(data), None]) == {}


def test_a_capture_of_large_frames_is_read(tmp_path: Path) -> None:
    frame = capture.Frame(b"\0" * 65000, 1)
    assert capture.parse(capture.write([frame])) == [frame]
