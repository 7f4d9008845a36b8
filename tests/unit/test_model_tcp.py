"""Parts of the twin's TCP that no packet shows alone: arithmetic of numbers, what may be on its way, SipHash."""

from __future__ import annotations

import pytest

from hal.packet.contract import TcpState
from hal.packet.model.parse import ACK, SYN
from hal.packet.model.siphash import siphash
from hal.packet.model.tcp import Talk, begin, could_have_sent, follow
from hal.packet.model.windows import Segment, at_most, is_in, later, plus

TOP = 0xFFFF_FFFF


@pytest.mark.parametrize(
    ("a", "b", "is_at_most"),
    [(1, 1, True), (1, 2, True), (2, 1, False), (TOP, 0, True), (0, TOP, False), (TOP - 5, 100, True),
     (0, (1 << 31) - 1, True), (0, 1 << 31, False), (1 << 31, 0, False)],
)  # fmt: skip
def test_numbers_are_compared_modulo_2_to_the_32(a: int, b: int, is_at_most: bool) -> None:
    """RFC 9293 3.4. Of two that are half of all apart neither is at most the other."""
    assert at_most(a, b) == is_at_most
    assert later(a, b) == (b if is_at_most else a)


def test_numbers_wrap_around() -> None:
    assert (plus(TOP, 1), plus(0, -1), plus(TOP, 3)) == (0, TOP, 2)
    assert is_in(TOP - 1, 0, 1)
    assert not is_in(TOP - 1, 2, 1)
    assert not is_in(TOP - 1, TOP - 2, 1)


def _open(isn: int) -> Talk:
    talk: object = begin(Segment(SYN, isn, 0, 1000, 0), 0)
    for segment, direction in (
        (Segment(SYN | ACK, 7, plus(isn, 1), 500, 0), 1),
        (Segment(ACK, plus(isn, 1), 8, 1000, 0), 0),
        (Segment(ACK, plus(isn, 1), 8, 1000, 300), 0),
        (Segment(ACK, 8, plus(isn, 101), 500, 0), 1),
    ):
        assert isinstance(talk, Talk)
        talk = follow(talk, segment, direction)
    assert isinstance(talk, Talk)
    assert talk.state is TcpState.ESTABLISHED
    return talk


@pytest.mark.parametrize("isn", [1000, TOP - 100])
def test_rfc5927_4_1_what_may_be_on_its_way(isn: int) -> None:
    """What is not acknowledged, and what an error may still come for: a window back at most."""
    talk = _open(isn)
    end = plus(isn, 301)
    for off, may in ((0, True), (-300, True), (-500, True), (-501, False), (1, False), (1 << 31, False)):
        assert could_have_sent(talk, 0, plus(end, off)) == may, off
    assert could_have_sent(talk, 1, 8)
    assert not could_have_sent(talk, 1, 9)


def test_rfc5927_4_1_a_syn_may_be_on_its_way() -> None:
    talk = begin(Segment(SYN, 1000, 0, 1000, 0), 0)
    assert could_have_sent(talk, 0, 1000)
    assert not could_have_sent(talk, 0, 998)
    assert not could_have_sent(talk, 0, 1002)


@pytest.mark.parametrize(
    ("length", "value"),
    [(0, 0x726FDB47DD0E0E31), (1, 0x74F839C593DC67FD), (2, 0x0D6C8009D9A94F5A), (3, 0x85676696D7FB7E2D),
     (8, 0x93F5F5799A932462), (15, 0xA129CA6149BE45E5)],
)  # fmt: skip
def test_siphash_is_its_authors(length: int, value: int) -> None:
    """Their test vectors: key 00 01 .. 0f, message 00 01 and so on."""
    assert siphash(bytes(range(16)), bytes(range(length))) == value
