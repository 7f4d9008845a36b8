"""Ends: RFC 9293 3.6, RFC 1337, RFC 6191."""

from __future__ import annotations

from tests.opinions.odd.story import WINDOW, Story, story


def _closes(s: Story) -> None:
    s.a("FA", 101, 101)
    s.b("A", 101, 102)
    s.b("FA", 101, 102)
    s.a("A", 102, 102)


@story("close")
def _close(s: Story) -> None:
    s.opens()
    s.says_hello()
    _closes(s)
    s.b("FA", 101, 102)
    s.a("A", 102, 102)


@story("close-at-once")
def _close_at_once(s: Story) -> None:
    s.opens()
    s.says_hello()
    s.a("FA", 101, 101)
    s.b("FA", 101, 101)
    s.a("A", 102, 102)
    s.b("A", 102, 102)


@story("half-close")
def _half_close(s: Story) -> None:
    s.opens()
    s.says_hello()
    s.a("FA", 101, 101, 10)
    for part in range(0, 7000, 1400):
        s.b("A", 101 + part, 112, 1400)
        s.a("A", 112, 1501 + part)
    s.b("FA", 7101, 112)
    s.a("A", 112, 7102)


@story("data-after-fin", size=(1, 500))
def _data_after_fin(s: Story, size: int) -> None:
    """Whoever sends more has not ended there."""
    s.opens()
    s.says_hello()
    s.a("FA", 101, 101)
    s.a("FA", 101, 101)
    s.a("PA", 102, 101, size)
    s.b("A", 101, 102)


@story("data-after-acked-fin", size=(1, 500))
def _data_after_acked_fin(s: Story, size: int) -> None:
    """Nothing follows a FIN but itself again."""
    s.opens()
    s.says_hello()
    s.a("FA", 101, 101)
    s.b("A", 101, 102)
    s.a("FA", 101, 101)
    s.a("PA", 102, 101, size)
    s.b("A", 101, 102)


@story("fin-ahead", off=(50, 99, 100, 777))
def _fin_ahead(s: Story, off: int) -> None:
    """Somebody else's; its sender says what lies in front of it, in its place and behind it."""
    s.opens()
    s.says_hello()
    s.a("FA", 101 + off, 101)
    for part in range(0, 1000, 100):
        s.a("PA", 101 + part, 101, 100)
        s.b("A", 101, 201 + part)
    s.a("FA", 1101, 101)
    s.b("FA", 101, 1102)
    s.a("A", 1102, 102)


@story("fin-out-of-window", off=(-20_000, WINDOW + 1))
def _fin_out_of_window(s: Story, off: int) -> None:
    s.opens()
    s.says_hello()
    s.a("FA", 101 + off, 101)
    s.goes_on()


@story("fin-in-handshake", side=(0, 1))
def _fin_in_handshake(s: Story, side: int) -> None:
    s.a("S", 0)
    s.b("SA", 0, 1)
    s.tells(side, s.segment(side, "FA", 1, 1))
    s.a("A", 1 + (side == 0), 1 + side)
    s.b("A", 1 + side, 1 + (side == 0))


@story("syn-after-close", case=((0, 50_000), (0, 50), (1, 50_000), (0, -400_000)))
def _syn_after_close(s: Story, case: tuple[int, int]) -> None:
    """RFC 9293 3.10.7.4, RFC 6191: in TIME-WAIT the receiver decides."""
    side, seq = case
    s.opens()
    s.says_hello()
    _closes(s)
    s.tells(side, s.segment(side, "S", seq))
    s.tells(1 - side, s.segment(1 - side, "SA", 90_000, seq + 1))
    s.tells(side, s.segment(side, "A", seq + 1, 90_001))


@story("call-again-resets", case=((0, 102), (1, 102), (1, 101)))
def _call_again_resets(s: Story, case: tuple[int, int]) -> None:
    """RFC 9293 3.10.7.3: who calls anew resets what comes late of the connection before."""
    side, seq = case
    s.opens()
    s.says_hello()
    _closes(s)
    s.tells(side, s.segment(side, "S", 50_000))
    s.tells(side, s.segment(side, "R", seq))
    s.tells(1 - side, s.segment(1 - side, "SA", 90_000, 50_001))
    s.tells(side, s.segment(side, "A", 50_001, 90_001))


@story("after-close", case=(("R", 102), ("R", 101), ("R", 5000), ("A", 102), ("PA", 102), ("SA", 102)))
def _after_close(s: Story, case: tuple[str, int]) -> None:
    """RFC 1337 among it."""
    flags, seq = case
    s.opens()
    s.says_hello()
    _closes(s)
    s.a(flags, seq, 102, 10 if "P" in flags else 0)
    s.b("FA", 101, 102)
    s.a("A", 102, 102)
