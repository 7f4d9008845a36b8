"""What is kept of a side of a TCP connection, and what bounds the other's view of it: *TCP* of docs/tracking.md.

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
        finished: it has sent a FIN, with nothing behind it, as far as was seen: see `having_said`.
        said: of what was picked up: the largest window that it has said since, as headers say it.
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
    said: int | None = None
    half_open: int | None = None
    heard: bool = False

    @property
    def largest_window(self) -> int:
        """In bytes."""
        return self.largest << self.scale

    def rescaled(self, scale: int) -> Side:
        """With this scale in force."""
        return replace(self, largest=units(self.largest_window, scale), scale=scale)

    @property
    def is_over(self) -> bool:
        """The other side has acknowledged its FIN: it sends nothing beyond `end`."""
        return self.finished and at_most(self.end, self.una)

    def reaching(self, end: int) -> Side:
        """It has come this far."""
        return self if self.is_over else replace(self, end=later(self.end, end))

    def having_said(self, end: int, *, data: bool = False) -> Side:
        """It has said what ends here, data or not. A FIN with something behind it, or data in its place, is none for
        its receiver, and nobody's who said this (RFC 9293 3.10.7.4): if he has not acknowledged it, it is taken
        back."""
        ahead = self.reaching(end)
        if self.is_over or not (ahead.end != self.end or (data and end == self.end)):
            return ahead
        return replace(ahead, finished=False)

    def advertising(self, segment: Segment, *, opening: bool = False) -> Side:
        """Behind a segment of its own: what it has sent, and the window that it has.

        Args:
            opening: `una` is its initial sequence number.
        """
        largest = units(segment.window, self.scale) if segment.syn else max(segment.window, 1)
        said = None if self.said is None else max(self.said, segment.window)
        side = self.having_said(segment.end, data=segment.payload > 0 and not segment.fin)
        fin = segment.fin and segment.end == side.end and not at_most(side.end, plus(side.una, opening))
        return replace(side, largest=max(side.largest, largest), said=said, finished=side.finished or fin)

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


# --- what a segment may say -------------------------------------------------------------------------------------------


def exchange(sender: Side, receiver: Side, segment: Segment, *, opening: bool = False) -> tuple[Side, Side]:
    """Sender and receiver behind a segment that passes, but for what it acknowledges and ends."""
    receiver = receiver.allowed(segment.acknowledgement, segment.window << sender.scale)
    # What is acknowledged was sent, though it may have gone another way, or before the card was there.
    receiver = receiver.having_said(segment.acknowledgement)
    return sender.advertising(segment, opening=opening), receiver


def sequence_fits(sender: Side, receiver: Side, segment: Segment) -> bool:
    """I: it begins where its sender may still send. II: it does not end further back than a window. Nothing comes
    behind a FIN that was acknowledged. (RFC 9293 3.4; who does not know what arrived has a window that reaches from one
    to the other.)"""
    first = _begins_in_window(sender, segment)
    second = at_most(_oldest(sender, receiver), segment.end)
    return first and second and (not sender.is_over or at_most(segment.end, sender.end))


def _begins_in_window(sender: Side, segment: Segment) -> bool:
    """I. What holds no data may stand at the window's end, or behind what probed beyond it; data only in front of that
    end, but for the probe of a window that is shut (RFC 9293 3.8.6.1)."""
    if not segment.payload:
        return at_most(segment.sequence, later(sender.limit, sender.end))
    shut = at_most(sender.limit, plus(sender.una, 1))
    return at_most(plus(segment.sequence, not shut), sender.limit)


def _oldest(sender: Side, receiver: Side) -> int:
    """What its sender may still say again, at the least: it need not have heard what was acknowledged last, nor sent
    more than a window behind that. (What was sent does not tell: probes and data in a SYN are bounded by no window.)"""
    return plus(sender.una, -receiver.largest_window)


def acknowledgement_fits(sender: Side, receiver: Side, segment: Segment, picked_up: bool) -> bool:
    """III: what it acknowledges was sent. IV: nor is that further back than a window. (RFC 5961 5.2)"""
    highest = later(receiver.limit, receiver.end) if picked_up else receiver.end
    return is_in(plus(receiver.una, -sender.largest_window), segment.acknowledgement, highest)


def acknowledges_syn(side: Side, segment: Segment) -> bool:
    """It acknowledges what this side has sent, its SYN at least; `una` is its initial sequence number."""
    return segment.acknowledgement != side.una and is_in(side.una, segment.acknowledgement, side.end)


def is_old(sender: Side, segment: Segment) -> bool:
    """All of it was acknowledged: its receiver, who waits for what comes behind, answers and looks at nothing that it
    says (RFC 9293 3.10.7.4). So it opens no window, acknowledges nothing and ends nothing."""
    return not at_most(sender.una, segment.end)
