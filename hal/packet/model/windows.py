"""What is kept of a side of a TCP connection, and what of a segment is looked at: *TCP* of docs/forwarding.md.

Sequence numbers are those of RFC 9293 3.4: 32 bits, compared modulo 2^32.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from hal.packet.model.parse import ACK, FIN, RST, SYN

MASK = 0xFFFF_FFFF
LARGEST_WINDOW = 0xFFFF


def at_most(a: int, b: int) -> bool:
    """a <= b, modulo 2^32."""
    return (b - a) & MASK < 1 << 31


def later(a: int, b: int) -> int:
    """The later of two sequence numbers."""
    return b if at_most(a, b) else a


def plus(sequence: int, distance: int) -> int:
    return (sequence + distance) & MASK


def is_in(low: int, sequence: int, high: int) -> bool:
    """low <= sequence <= high."""
    return at_most(low, sequence) and at_most(sequence, high)


@dataclass(frozen=True)
class Segment:
    """What of a TCP segment is looked at.

    Args:
        window: as its header says it.
        payload: bytes behind its header, as far as this packet holds them.
        offer: the window scale that a SYN offers (RFC 7323 2.2), at most 14; None: it has no such option.
        signed: a SYN that has a signature (RFC 2385, 5925), which the card does not verify.
    """

    flags: int
    sequence: int
    acknowledgement: int
    window: int
    payload: int
    offer: int | None = None
    signed: bool = False

    @property
    def syn(self) -> bool:
        return bool(self.flags & SYN)

    @property
    def ack(self) -> bool:
        return bool(self.flags & ACK)

    @property
    def rst(self) -> bool:
        return bool(self.flags & RST)

    @property
    def fin(self) -> bool:
        return bool(self.flags & FIN)

    @property
    def end(self) -> int:
        """The sequence number behind it; SYN and FIN count."""
        return plus(self.sequence, self.payload + self.syn + self.fin)


@dataclass(frozen=True)
class Side:
    """One side of a connection, as far as the other can know it.

    Args:
        end: behind the last that it sent (its SND.NXT, or what of it was seen).
        limit: highest that the other side has allowed it to send: acknowledgement + window, never taken back.
        una: what the other side has acknowledged of it (its SND.UNA); in the handshake its initial sequence number.
        largest: largest window that it has advertised, in units of its scale; at least 1, at most 65,535.
        scale: of windows that it advertises, in force (RFC 7323 2.2): 0 until both have offered one.
        offer: scale that its SYN offered.
        known: it has sent something.
        acked: its SYN was acknowledged; asked in SYN_RECEIVED.
        bare: it answered a SYN with a SYN that acknowledges nothing (simultaneous open, RFC 9293 3.5).
        finished: it has sent a FIN, with nothing behind it: it sends nothing beyond `end`. (A FIN in front of what was
            sent is none for its receiver, and nobody's who sent more: RFC 9293 3.10.7.4.)
        half_open: in SYN_SENT, the acknowledgement of what may be the answer of a half-open connection (3.5.1).
        heard: in SYN_SENT, one such answer has passed since the other side called last.
    """

    end: int = 0
    limit: int = 0
    una: int = 0
    largest: int = 1
    scale: int = 0
    offer: int | None = None
    known: bool = False
    acked: bool = False
    bare: bool = False
    finished: bool = False
    half_open: int | None = None
    heard: bool = False

    @property
    def largest_window(self) -> int:
        """In bytes."""
        return self.largest << self.scale

    def rescaled(self, scale: int) -> Side:
        """With this scale in force."""
        return replace(self, largest=units(self.largest_window, scale), scale=scale)

    def advertising(self, segment: Segment) -> Side:
        """Behind a segment of its own: what it has sent, and the window that it has."""
        largest = units(segment.window, self.scale) if segment.syn else max(segment.window, 1)
        end = later(self.end, segment.end)
        finished = self.finished or (segment.fin and segment.end == end)
        return replace(self, end=end, largest=max(self.largest, largest), finished=finished)

    def allowed(self, acknowledgement: int, window: int) -> Side:
        """Behind a segment of the other side, which has this much room (bytes) behind what it acknowledges."""
        return replace(self, limit=later(self.limit, plus(acknowledgement, window)))


def units(window: int, scale: int) -> int:
    """A window in bytes, in units of 2^scale, rounded up."""
    return min(LARGEST_WINDOW, max(1, (window + (1 << scale) - 1) >> scale))


def begun(segment: Segment) -> Side:
    """Who has sent this SYN."""
    return Side(
        end=segment.end,
        limit=segment.end,
        una=segment.sequence,
        largest=units(segment.window, 0),
        offer=segment.offer,
        known=True,
    )
