"""Handshakes: RFC 9293 3.5, RFC 5961 4.2, RFC 7413."""

from __future__ import annotations

from scapy.all import (
    TCP,
    Raw,
)

from tests.opinions.odd.story import WINDOW, Story, story


@story("syn-again", seq=(0, 1, 777))
def _syn_again(s: Story, seq: int) -> None:
    """Retransmitted, or begun anew with another number."""
    s.a("S", 0)
    s.a("S", seq)
    s.b("SA", 0, seq + 1)
    s.a("A", seq + 1, 1)
    s.a("PA", seq + 1, 1, 10)


@story("syn-ack-again", seq=(0, 9999))
def _syn_ack_again(s: Story, seq: int) -> None:
    """Retransmitted, or made anew by who keeps nothing (SYN cookies)."""
    s.a("S", 0)
    s.b("SA", 0, 1)
    s.a("S", 0)
    s.b("SA", seq, 1)
    s.a("A", 1, seq + 1)
    s.a("PA", 1, seq + 1, 10)
    s.b("A", seq + 1, 11)


@story("syn-ack-wrong", ack=(-1, 0, 2, 5000, 1 << 31))
def _syn_ack_wrong(s: Story, ack: int) -> None:
    s.a("S", 0)
    s.b("SA", 0, ack)
    s.b("SA", 0, 1)
    s.a("A", 1, 1)


@story("third-ack-wrong", off=(-1, 1, 70_000))
def _third_ack_wrong(s: Story, off: int) -> None:
    s.a("S", 0)
    s.b("SA", 0, 1)
    s.a("A", 1, 1 + off)
    s.a("A", 1, 1)


@story("open-at-once", how=("syn-acks", "acks"))
def _open_at_once(s: Story, how: str) -> None:
    s.a("S", 0)
    s.b("S", 0)
    if how == "syn-acks":
        s.a("SA", 0, 1)
        s.b("SA", 0, 1)
    s.a("A", 1, 1)
    s.b("A", 1, 1)
    s.says_hello()


@story("split-handshake", kind=(4, 5))
def _split_handshake(s: Story, kind: int) -> None:
    """Beardsley and Qian's: the server answers as if it called itself, to be taken for the client."""
    s.a("S", 0)
    if kind == 5:
        s.b("A", 9, 1)
    s.b("S", 0)
    s.a("SA", 0, 1)
    s.b("A", 1, 1)
    s.b("PA", 1, 1, 100)
    s.a("A", 1, 101)


@story("half-open-answer", ack=(0, 1, 2, 90_000))
def _half_open_answer(s: Story, ack: int) -> None:
    """RFC 9293 3.5.1: `b` still has an old connection; it acknowledges what that sent last, and is reset."""
    s.a("S", 0)
    s.b("A", 4000, ack)
    s.a("R", ack)
    s.a("S", 0)
    s.b("SA", 0, 1)
    s.a("A", 1, 1)


@story("syn-to-open", seq=(-5000, 101, 300, 100_000))
def _syn_to_open(s: Story, seq: int) -> None:
    """RFC 5961 4.2."""
    s.opens()
    s.says_hello()
    s.a("S", seq)
    s.b("A", 101, 101)
    s.goes_on()


@story("syn-ack-to-open", side=(0, 1))
def _syn_ack_to_open(s: Story, side: int) -> None:
    s.opens()
    s.says_hello()
    s.tells(side, s.segment(side, "SA", 101, 101))
    s.goes_on()


@story("fast-open", acked=(1, 101, 50, 102))
def _fast_open(s: Story, acked: int) -> None:
    """RFC 7413: data in the SYN, and how much of it the other took."""
    s.a("S", 0, size=100)
    s.b("SA", 0, acked)
    s.a("A", 1, 1)
    s.a("PA", min(acked, 101), 1, 20)


@story(
    "options-of-a-syn", options=("00", "0303", "03030e", "030300", "0203", "020405b4010303ff", "fe00", "fe01", "0101")
)
def _options(s: Story, options: str) -> None:
    """RFC 9293 3.1: an illegal length among them."""
    data = bytes.fromhex(options)
    data += bytes(-len(data) % 4)
    s.tells(0, s.ip(0) / TCP(sport=s.ports[0], dport=s.ports[1], flags="S", seq=s.iss[0], window=WINDOW,
                             dataofs=5 + len(data) // 4) / Raw(data))  # fmt: skip
    s.b("SA", 0, 1)
    s.a("A", 1, 1)
