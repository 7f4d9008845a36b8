"""Options: of a SYN they must make sense (RFC 9293 3.1, MUST-7), and the card changes none (MUST-6)."""

from __future__ import annotations

from typing import Any

import pytest
from scapy.all import IP, TCP, Raw, in4_chksum

from tests.packets.card import Card
from tests.packets.packets import Description
from tests.packets.tcp.talk import OPEN, Talk
from tests.packets.world import HOSTS


def _syn(options: bytes) -> Description:
    """A SYN with these bytes as its options."""
    padded = options + bytes(-len(options) % 4)
    header = bytearray(bytes(TCP(sport=4000, dport=80, flags="S", seq=1000)) + padded)
    header[12] = (5 + len(padded) // 4) << 4
    ip = IP(src="10.1.0.20", dst="10.1.0.10", proto=6)
    header[16:18] = bytes(2)
    total = in4_chksum(6, ip, bytes(header))
    header[16:18] = total.to_bytes(2, "big")
    return Description("10.1.0.20", "10.1.0.10", lambda: ip / Raw(bytes(header)))


@pytest.mark.parametrize(
    "options",
    [b"\x02\x01\x05\xb4", b"\x03\x00\x01\x01", b"\x01\x01\x01\x03", b"\x02\x05\x05\xb4", b"\x08\x0a\x00\x00"],
    ids=["length 1", "length 0", "no length", "beyond the header", "a timestamp cut off"],
)
def test_rfc9293_must_7_malformed_options(card: Card, options: bytes) -> None:
    card.host("client").sends(_syn(options)).is_dropped("tcp_options").silently()
    card.host("client").sends(_syn(b"\x02\x04\x05\xb4")).arrives_at("web")


@pytest.mark.parametrize(
    "options",
    [
        b"",
        b"\x00\x03\x00\x00",
        b"\x01\x01\x01\x01",
        b"\x02\x04\x05\xb4\x04\x02\x08\x0a" + bytes(8) + b"\x01\x03\x03\x07",
        b"\xfd\x06\x00\x00\x00\x00\x01\x01",
        b"\x22\x0a" + bytes(8) + b"\x00\x00",
        b"\x1e\x0c" + bytes(10),
    ],
    ids=["none", "behind the end", "nothing", "as Linux", "unknown", "Fast Open cookie", "multipath"],
)
def test_rfc9293_must_6_options_pass_untouched(card: Card, options: bytes) -> None:
    """Unknown ones too (MUST-6)."""
    sent = card.host("client").sends(_syn(options))
    assert [output.port for output in sent.outputs()] == [HOSTS["web"].port]
    assert sent.outputs()[0].data[34:] == sent.data[34:]


def test_rfc9293_3_1_options_of_others_are_not_looked_at(card: Card) -> None:
    """What is no SYN may have what it likes between header and data: its receiver looks at it."""
    talk = Talk(card).plays(OPEN)
    odd: dict[str, Any] = {"options": [(5, b"\x00" * 6), ("Timestamp", (7, 9)), ("SAck", (5, 9))]}
    sent = talk.passes(talk.a("PA", 10, **odd), 0)
    assert sent.outputs()[0].data[34:] == sent.data[34:]
    sent = talk.passes(talk.a("PUECA", 10, urgptr=4, reserved=5), 0)
    assert sent.outputs()[0].data[34:] == sent.data[34:]


def _untouched(talk: Talk, side: int, flags: str, data: int = 0, **fields: Any) -> None:
    """A segment with these options arrives, byte for byte; so it does when it is sent again."""
    speak = (talk.a, talk.b)[side]
    at = talk.next[side]
    for _ in range(2):
        sent = talk.passes(speak(flags, data, **{"seq": at, **fields}), side)
        assert sent.outputs()[0].data[34:] == sent.data[34:]
    talk.loses(side, data + ("S" in flags))


def test_rfc2018_2_sack_passes_untouched(card: Card) -> None:
    """Offered in a SYN and its answer, used behind them (3), about what came before too (RFC 2883)."""
    talk = Talk(card)
    permitted: dict[str, Any] = {"options": [("MSS", 1460), ("SAckOK", b"")]}
    _untouched(talk, 0, "S", **permitted)
    _untouched(talk, 1, "SA", **permitted)
    talk.plays("A:A")
    at = talk.next[0]
    talk.loses(0, 1000)
    _untouched(talk, 0, "PA", 500)
    _untouched(talk, 1, "A", ack=at, options=[("SAck", (at + 1000, at + 1500))])
    talk.passes(talk.a("PA", 1000, seq=at), 0)
    _untouched(talk, 1, "A", options=[("SAck", (at, at + 1000, at + 2000, at + 3000))])


def test_rfc7323_3_timestamps_pass_untouched(card: Card) -> None:
    """In a SYN, in its answer, behind them. One that is older, or missing, is its receiver's to judge (5)."""
    talk = Talk(card)
    _untouched(talk, 0, "S", options=[("MSS", 1460), ("Timestamp", (100, 0)), ("WScale", 7)])
    _untouched(talk, 1, "SA", options=[("MSS", 1460), ("Timestamp", (900, 100)), ("WScale", 7)])
    talk.passes(talk.a("A", options=[("Timestamp", (101, 900))]), 0)
    for value in (102, 103, 0xFFFF_FFFF, 50):
        _untouched(talk, 0, "PA", 100, options=[("Timestamp", (value, 900))])
    _untouched(talk, 0, "PA", 100)
    _untouched(talk, 1, "PA", 100, options=[("Timestamp", (901, 103))])
