"""Windows: RFC 9293 3.4, 3.8 and 3.10.7.4, RFC 5961 5.2, RFC 7323."""

from __future__ import annotations

from tests.opinions.odd.story import TURN, WINDOW, Story, story


@story("data-at-right-edge", off=(-1, 0, 1, 2, 4000, 70_000, 1 << 30, (1 << 31) - 9000, 1 << 31))
def _right_edge(s: Story, off: int) -> None:
    """`b` has acknowledged 101 with a window of 8,000: 8,100 is the last byte that may come."""
    s.opens()
    s.says_hello()
    s.b("A", 101, 101)
    s.a("PA", 101 + WINDOW + off, 101, 1)
    s.goes_on()


@story("data-over-right-edge", size=(7999, 8000, 8001, 8900))
def _over_right_edge(s: Story, size: int) -> None:
    """It begins inside the window and ends at it, or beyond."""
    s.opens()
    s.says_hello()
    for part in range(0, size, 1400):
        s.a("A", 101 + part, 101, min(1400, size - part))
    s.b("A", 101, 101 + min(size, 8000))


@story("old-data", back=(0, 100, 7998, 7999, 8000, 8001, 8002, 30_000, 100_000, 1 << 30))
def _old_data(s: Story, back: int) -> None:
    """A byte that `b` has long acknowledged, so far behind what was sent last."""
    s.opens()
    for part in range(0, 42_000, 1400):
        s.a("A", 1 + part, 1, 1400)
        s.b("A", 1, 1401 + part)
    s.a("A", 42_000 - back, 1, 1)
    s.goes_on(42_001, 1)


@story("ack-of-unsent", off=(0, 1, 2, 1000, 100_000, 1 << 30, (1 << 31) - 1))
def _ack_of_unsent(s: Story, off: int) -> None:
    s.opens()
    s.says_hello()
    s.a("PA", 101, 101 + off, 10)
    s.goes_on(111 if off == 0 else 101, 101)


@story("old-ack", back=(1, 100, 7999, 8000, 8001, 30_000, 65_999, 66_000, 66_001, 100_000, 1 << 30))
def _old_ack(s: Story, back: int) -> None:
    """An acknowledgement so far behind the latest one of `a`."""
    s.opens()
    for part in range(0, 140_000, 1400):
        s.b("A", 1 + part, 1, 1400)
        s.a("A", 1, 1401 + part)
    s.a("PA", 1, 140_001 - back, 10)
    s.goes_on(11, 140_001)


@story("forged-window", ack=(101, 102, 60_000))
def _forged_window(s: Story, ack: int) -> None:
    """An acknowledgement that would open the window, and what would come in by it."""
    s.opens()
    s.says_hello()
    s.b("A", 101, ack, window=65_535)
    s.a("PA", 101 + WINDOW + 100, 101, 1)
    s.a("PA", 101, 101, 50)
    s.b("A", 101, 151)


@story("zero-window", probe=(-1, 0, 1))
def _zero_window(s: Story, probe: int) -> None:
    """RFC 9293 3.8.6.1: a probe has a byte at the edge, or one that is known."""
    s.opens()
    s.says_hello()
    for part in range(0, WINDOW, 1000):
        s.a("A", 101 + part, 101, 1000)
    s.b("A", 101, 101 + WINDOW, window=0)
    s.a("A", 101 + WINDOW + probe, 101, 1)
    s.b("A", 101, 101 + WINDOW, window=0)
    s.b("A", 101, 101 + WINDOW, window=WINDOW)
    s.a("A", 101 + WINDOW, 101, 500)


@story("keep-alive", size=(0, 1))
def _keep_alive(s: Story, size: int) -> None:
    """RFC 9293 3.8.4."""
    s.opens()
    s.says_hello()
    s.a("A", 100, 101, size)
    s.b("A", 101, 101)
    s.b("A", 100, 101, size)
    s.a("A", 101, 101)
    s.goes_on()


@story("window-taken-back")
def _window_taken_back(s: Story) -> None:
    """RFC 9293 3.8.6: a receiver should not, but what was allowed may be on its way."""
    s.opens()
    s.says_hello()
    s.b("A", 101, 101, window=100)
    s.a("A", 101, 101, 1400)
    s.a("A", 1501, 101, 1400)
    s.b("A", 101, 2901, window=WINDOW)


@story("around", iss=((TURN - 1, 5), (TURN - 50, TURN - 60), (5, TURN - 101), ((1 << 31) - 1, 1 << 31)))
def _around(s: Story, iss: tuple[int, int]) -> None:
    """RFC 9293 3.4: numbers go around."""
    s.iss = iss
    s.opens()
    s.says_hello()
    for part in range(0, 7000, 1400):
        s.a("A", 101 + part, 101, 1400)
        s.b("A", 101, 1501 + part)
    s.a("R", 101 + 9000 + WINDOW)
    s.goes_on(7101, 101)


@story("scale", scales=((None, 7), (7, None), (0, 0), (1, 3), (14, 14), (15, 2), (255, 255), (7, 7)))
def _scale(s: Story, scales: tuple[int | None, int | None]) -> None:
    """RFC 7323 2.2, 2.3: only if both offer it; above 14 is 14."""
    s.opens(scales, window=60_000)
    s.a("A", 1, 1, window=1000)
    s.b("A", 1, 1, 1000, window=1000)
    given = 1000 << min(scales[1], 14) if None not in scales and scales[1] is not None else 1000
    s.a("A", 1 + max(given, 60_000) - 1, 1001, 1, window=1000)
    s.a("A", 1 + max(given, 60_000) + 1, 1001, 1, window=1000)
    s.a("A", 1, 1001, 100, window=1000)
    s.b("A", 1001, 101, window=1000)
