"""Resets: RFC 5961 3.2, RFC 9293 3.10.7."""

from __future__ import annotations

from tests.opinions.odd.story import WINDOW, Story, story


@story("reset", off=(-9000, -1, 0, 1, 50, WINDOW, WINDOW + 1, 100_000, 1 << 31))
def _reset(s: Story, off: int) -> None:
    """All has been acknowledged, so only 101 is exact."""
    s.opens()
    s.says_hello()
    s.a("R", 101 + off)
    s.b("A", 101, 101)
    s.goes_on()


@story("reset-of-replies", off=(-1, 0, 1, WINDOW + 1))
def _reset_of_replies(s: Story, off: int) -> None:
    s.opens()
    s.says_hello()
    s.b("RA", 101 + off, 101)
    s.a("A", 101, 101)
    s.goes_on()


@story("reset-in-flight", seq=(100, 101, 102, 1501, 2901, 2902))
def _reset_in_flight(s: Story, seq: int) -> None:
    """2,800 bytes are on their way: 101 is what was acknowledged, 2901 what was sent."""
    s.opens()
    s.says_hello()
    s.a("A", 101, 101, 1400)
    s.a("A", 1501, 101, 1400)
    s.a("R", seq)
    s.b("A", 101, 101)
    s.a("R", 101)
    s.b("PA", 101, 101, 10)


@story("reset-of-older-acks", newest=(True, False))
def _reset_of_older_acks(s: Story, newest: bool) -> None:
    """`a` has closed and is gone. It answers all that is still on its way by a RST with the number that this
    acknowledges (RFC 9293 3.10.7.1), when a newer one has passed: the commonest difference in captures of the wild."""
    s.opens()
    s.says_hello()
    s.a("PA", 101, 101, 31)
    s.a("FA", 132, 101)
    s.b("PA", 101, 132, 31)
    s.b("FA", 132, 132)
    s.b("A", 133, 133)
    s.a("R", 132)
    s.a("R", 132)
    if newest:
        s.a("R", 133)
    s.b("FA", 132, 133)


@story("reset-of-syn", ack=(0, 1, 2, 70_000))
def _reset_of_syn(s: Story, ack: int) -> None:
    """RFC 9293 3.10.7.3: only one that acknowledges the SYN."""
    s.a("S", 0)
    s.b("RA", 0, ack)
    s.a("S", 0)
    s.b("SA", 0, 1)
    s.a("A", 1, 1)


@story("reset-in-handshake", case=((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 9000), (1, 9000)))
def _reset_in_handshake(s: Story, case: tuple[int, int]) -> None:
    side, seq = case
    s.a("S", 0)
    s.b("SA", 0, 1)
    s.tells(side, s.segment(side, "R", seq))
    s.a("A", 1, 1)
    s.a("PA", 1, 1, 10)


@story("reset-of-syn-without-ack")
def _reset_of_syn_without_ack(s: Story) -> None:
    s.a("S", 0)
    s.b("R", 0)
    s.b("SA", 0, 1)
    s.a("A", 1, 1)


@story("after-reset", what=("S", "SA", "A", "PA", "R", "FA"))
def _after_reset(s: Story, what: str) -> None:
    s.opens()
    s.says_hello()
    s.a("R", 101)
    s.b(what, 101, 101, 10 if "P" in what else 0)
    s.a(what, 101, 101, 10 if "P" in what else 0)


@story("refusal-is-lost")
def _refusal_is_lost(s: Story) -> None:
    """Nobody wants the answer to a SYN, and the RST that says so is lost: each answer gets another."""
    s.a("S", 0)
    for _ in range(3):
        s.b("SA", 0, 1)
        s.a("R", 1)


@story("answer-again-behind-data")
def _answer_again_behind_data(s: Story) -> None:
    """What acknowledges the answer and data behind it is lost (RFC 7413): the answer alone comes again."""
    s.a("S", 0)
    s.b("SA", 0, 1)
    s.b("PA", 1, 1, 100)
    s.a("A", 1, 101)
    s.b("SA", 0, 1)
    s.a("A", 1, 101)
    s.b("PA", 101, 1, 10)
