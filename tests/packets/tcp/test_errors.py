"""ICMP errors about TCP: what they quote must be what its sender may have on its way (RFC 5927 4.1)."""

from __future__ import annotations

import pytest

from tests.packets.card import Card, Sent
from tests.packets.packets import tcp, unreachable
from tests.packets.tcp.talk import Talk

ISN = (0xFFFFFF00, 5000)
"""The initiator's numbers wrap."""


def opened(card: Card) -> Talk:
    """A connection on which the initiator has 500 bytes in flight, of 8,192 that it may."""
    talk = Talk(card, isn=ISN)
    talk.a("S")
    talk.b("SA")
    talk.a("A")
    talk.a("A", data=500)
    return talk


def quoting(talk: Talk, sequence: int) -> Sent:
    line = talk.lines[0]
    here, there = (end.rsplit(":", 1)[0].strip("[]") for end in line.split(" > "))
    question = tcp(line, flags="A", seq=sequence & 0xFFFFFFFF)
    return talk.card.host("web").sends(unreachable(there, here, question))


@pytest.mark.parametrize("sequence", [ISN[0], ISN[0] + 1, ISN[0] + 300, ISN[0] + 501])
def test_rfc5927_4_1_what_may_be_on_its_way(card: Card, sequence: int) -> None:
    quoting(opened(card), sequence).arrives_at("client")


@pytest.mark.parametrize("sequence", [ISN[0] + 502, ISN[0] + 0x80000000, ISN[0] - 8192, ISN[0] - 100_000])
def test_rfc5927_4_1_what_can_not_be(card: Card, sequence: int) -> None:
    """Beyond what was sent, or older than a window: who guesses is right once in half a million times."""
    talk = opened(card)
    quoting(talk, sequence).is_dropped("icmp_error_unrelated").silently()
    quoting(talk, ISN[0] + 1).arrives_at("client")


def test_an_error_about_a_syn(card: Card) -> None:
    talk = Talk(card, isn=ISN)
    talk.a("S")
    quoting(talk, ISN[0] + 2).is_dropped("icmp_error_unrelated")
    quoting(talk, ISN[0]).arrives_at("client")


def test_an_error_about_a_syn_of_two(card: Card) -> None:
    """Called from two numbers, either may be the one that an error is about; who has said nothing sent nothing."""
    talk = Talk(card, isn=ISN)
    talk.a("S")
    talk.passes(talk.a("S", seq=77_000), 0)
    for fits, sequence in ((True, ISN[0]), (True, 77_000), (False, ISN[0] + 2), (False, 77_002), (False, 76_999)):
        sent = quoting(talk, sequence)
        sent.arrives_at("client") if fits else sent.is_dropped("icmp_error_unrelated")
