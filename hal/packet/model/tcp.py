"""TCP as a bystander follows it, from handshake to close: *TCP* of docs/tracking.md, readable next to RFC 9293.

A bystander sees what both sides send and what they allow each other, but not what arrives. Of each side it keeps what
bounds the other's view (`Side`), by RFC 9293 3.3.1, 3.4 and RFC 5961; `follow` is all there is to do for a segment.
Sequence numbers are those of RFC 9293 3.4: 32 bits, compared modulo 2^32. Nothing here reads a clock or keeps state.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from hal.packet.contract import TcpState
from hal.packet.model.parse import LARGEST_SCALE, Ask, Fragment, Packet, word
from hal.packet.model.windows import (
    LARGEST_WINDOW,
    MASK,
    Segment,
    Side,
    acknowledgement_fits,
    acknowledges_syn,
    at_most,
    begun,
    exchange,
    is_in,
    is_old,
    later,
    plus,
    sequence_fits,
    units,
)


def segment_of(packet: Packet) -> Segment:
    """Of a TCP packet that is no later fragment."""
    header = packet.payload
    payload = len(header) - (header[12] >> 4) * 4
    numbers = word(header, 4, 4), word(header, 8, 4)
    return Segment(packet.flags, *numbers, word(header, 14), payload, packet.offer, packet.signed)


@dataclass(frozen=True)
class Talk:
    """A connection. Side 0 is the initiator.

    Args:
        picked_up: it was met mid-stream: what its sides offered and have sent is not known.
        alone: picked up, the side that alone has been heard since; None: both have. In CLOSED, that was when it closed.
        first: SYN_SENT, what the initiator called with before it called from another number.
        earlier: SYN_RECEIVED, the number that the other side has answered with before it answered from another one.
        behind: SYN_SENT, the ends of both sides of a connection that had ended, which this one replaces.
        doubted: CLOSED, the side whose RST did that, with a number that its receiver may be beyond; None: none is.
        refused: CLOSED, in doubt, in the handshake: whatever the receiver says shows that it goes on.
    """

    state: TcpState
    sides: tuple[Side, Side]
    picked_up: bool = False
    alone: int | None = None
    first: Side | None = None
    earlier: int | None = None
    behind: tuple[int, int] | None = None
    doubted: int | None = None
    refused: bool = False

    def with_sides(self, direction: int, sender: Side, receiver: Side, state: TcpState | None = None) -> Talk:
        sides = (sender, receiver) if direction == 0 else (receiver, sender)
        return replace(self, sides=sides, state=self.state if state is None else state)


@dataclass(frozen=True)
class Refused:
    """A segment that is dropped; nothing changes.

    Args:
        counts: it counts as one that is challenged, whether or not it is: see *Challenges* of docs/tracking.md.
        challenge: what its sender gets, if limits allow it.
    """

    reason: str
    counts: bool = False
    challenge: Ask | None = None


@dataclass(frozen=True)
class Anew:
    """It is the first packet of another connection: a bare SYN behind the end of this one (RFC 9293 3.10.7.4, RFC
    6191), or one of a connection that this one is in the place of, made by a segment that was not its own."""


@dataclass(frozen=True)
class Signed:
    """A call from anew with a signature: it passes, if the connection may be asked, and changes nothing."""


Outcome = Talk | Refused | Anew | Signed

STATE = Refused("tcp_state")
WINDOW = Refused("tcp_window")


def begin(segment: Segment, direction: int, behind: tuple[int, int] | None = None) -> Talk:
    """The connection that a first packet opens: a bare SYN, or one from the middle of a stream, of either side.

    Args:
        behind: what `ends_of` says of the connection that it replaces.
    """
    if segment.syn:
        return Talk(TcpState.SYN_SENT, (begun(segment), Side()), behind=behind)
    return pick_up(segment, direction)


def ends_of(talk: Talk, direction: int) -> tuple[int, int] | None:
    """Of a connection in TIME_WAIT the ends of both sides, of the one of this direction first."""
    if talk.state is not TcpState.TIME_WAIT:
        return None
    return talk.sides[direction].end, talk.sides[1 - direction].end


def pick_up(segment: Segment, direction: int) -> Talk:
    """A connection met mid-stream by a segment that goes in this direction: all that is possible is assumed."""
    unknown = Side(largest=LARGEST_WINDOW, scale=LARGEST_SCALE, known=True, acked=True)
    sender = replace(
        unknown,
        end=segment.end,
        una=segment.sequence,
        limit=plus(segment.end, 1 << 30),
        finished=segment.fin,
        said=segment.window,
    )
    acknowledged = segment.acknowledgement
    receiver = replace(unknown, end=acknowledged, una=acknowledged, limit=acknowledged, said=0)
    receiver = receiver.allowed(acknowledged, segment.window << LARGEST_SCALE)
    state = TcpState.FIN_WAIT if segment.fin else TcpState.ESTABLISHED
    talk = Talk(state, (sender, receiver), picked_up=True, alone=direction)
    return talk.with_sides(direction, sender, receiver)


def follow(talk: Talk, segment: Segment, direction: int, *, strict: bool = True, picks_up: bool = False) -> Outcome:
    """The connection behind a segment of its side `direction`, or why it is dropped.

    Args:
        strict: False: windows are followed, but what is outside them passes all the same.
        picks_up: connections are picked up. What only one side has spoken of may be forged, so who says something else
            is believed as much.
    """
    match talk.state:
        case TcpState.SYN_SENT if direction == 0:
            return _before_the_answer(talk, segment, strict, picks_up)
        case TcpState.SYN_SENT:
            return _the_answer(talk, segment, picks_up or not strict)
        case TcpState.SYN_RECEIVED:
            return _half_way(_settled(talk), segment, direction, strict)
        case TcpState.TIME_WAIT | TcpState.CLOSED if segment.syn and not segment.ack:
            return Anew()
        case TcpState.CLOSED:
            if strict and picks_up and talk.alone is not None and not (segment.syn or segment.rst):
                return Anew()  # who forges one segment forges the RST that is exact for it
            return _closed(talk, segment, direction, strict)
        case _:
            return _synchronized(talk, segment, direction, strict, picks_up)


# --- SYN_SENT (RFC 9293 3.10.7.3) ------------------------------------------------------------------------------------


def _before_the_answer(talk: Talk, segment: Segment, strict: bool, picks_up: bool) -> Outcome:
    """The initiator speaks though nobody has answered."""
    a, b = talk.sides
    if segment.rst:
        # 3.5.1: the other side has answered for a connection of before, and is told that it is gone.
        return talk if segment.sequence == b.half_open else STATE
    if segment.syn and not segment.ack:
        b = replace(b, heard=False)
        if segment.sequence == a.una:
            return replace(talk, sides=(_called_again(a, segment), b))
        if talk.first and segment.sequence == talk.first.una:
            return replace(talk, sides=(a, b), first=_called_again(talk.first, segment))
        # The first number stays: who answers has taken that one, if this here is not the initiator's (RFC 5961 4).
        return replace(talk, sides=(begun(segment), b), first=talk.first or a, behind=None)
    if _is_of_before(talk, segment, 0):
        return talk
    if segment.syn:
        return STATE
    if strict and picks_up:  # who calls acknowledges nothing: if both speak of a connection, the call was forged
        return talk if b.half_open is None else Anew()
    if strict:
        return STATE
    return pick_up(segment, 0)  # the answer went another way


def _the_answer(talk: Talk, segment: Segment, met_mid_stream: bool) -> Outcome:
    """The other side speaks for the first time.

    Args:
        met_mid_stream: what it says would open a connection if nothing were there.
    """
    a, b = talk.sides
    fits = segment.ack and acknowledges_syn(a, segment)
    fits_first = segment.ack and not fits and talk.first is not None and acknowledges_syn(talk.first, segment)
    if segment.rst:
        if fits_first:  # that call is over, the newest is not
            return replace(talk, first=None)
        return replace(talk, state=TcpState.CLOSED, first=None, behind=None) if fits else WINDOW
    if segment.syn:
        called = replace(talk, sides=(talk.first, b)) if talk.first and fits_first else talk
        return _answered(called, segment) if fits or fits_first or not segment.ack else WINDOW
    # 3.5.1: maybe half-open. The initiator resets each, so it gets one for each call (ADR 0189).
    before = _is_of_before(talk, segment, 1)
    if fits or (not (before or met_mid_stream) and (b.heard or segment.fin or segment.payload)):
        return STATE
    return replace(talk, sides=(a, replace(b, half_open=segment.acknowledgement, heard=b.heard or not before)))


def _called_again(a: Side, segment: Segment) -> Side:
    """The same SYN again, with data or without (RFC 7413). Who gets no answer may do without options."""
    again = replace(a.advertising(segment), offer=a.offer if segment.offer is None else segment.offer)
    return replace(again, limit=later(again.limit, again.end))


def _is_of_before(talk: Talk, segment: Segment, direction: int) -> bool:
    """A segment of the connection that this one replaces: all that was said is acknowledged, and comes again, since
    what acknowledged it was lost (RFC 9293 3.6, 3.10.7.4)."""
    if talk.behind is None or segment.syn or segment.rst:
        return False
    sent, received = talk.behind[direction], talk.behind[1 - direction]
    return segment.acknowledgement == received and at_most(segment.end, sent)


def _answered(talk: Talk, segment: Segment) -> Talk:
    """The other side's SYN is there, with an ACK or without one (simultaneous open)."""
    a = talk.sides[0]
    b = replace(begun(segment), bare=not segment.ack)
    b = replace(b, limit=plus(segment.sequence + 1, a.largest_window))
    acknowledged = segment.acknowledgement if segment.ack else plus(a.una, 1)
    # No more: data in a SYN is bounded by no window, and what of it was not taken comes again (RFC 7413 4.2).
    a = replace(a, limit=plus(acknowledged, segment.window), acked=a.acked or segment.ack)
    return replace(talk, state=TcpState.SYN_RECEIVED, sides=_scaled(a, b), first=None, behind=None)


def _scaled(a: Side, b: Side) -> tuple[Side, Side]:
    """Both SYNs are there: both offers count, or none (RFC 7323 2.2)."""
    both = a.offer is not None and b.offer is not None
    return a.rescaled((a.offer or 0) if both else 0), b.rescaled((b.offer or 0) if both else 0)


# --- SYN_RECEIVED ----------------------------------------------------------------------------------------------------


def _half_way(talk: Talk, segment: Segment, direction: int, strict: bool) -> Outcome:
    """Both SYNs are there; `una` of both is still their initial sequence number."""
    if segment.rst:
        return _reset(talk, segment, direction, strict)
    if segment.syn:
        return _syn_again(talk, segment, direction)
    if direction == 0:
        talk = _chosen(talk, segment)
    sender, receiver = talk.sides[direction], talk.sides[1 - direction]
    fits = sequence_fits(sender, receiver, segment) and acknowledges_syn(receiver, segment)
    if strict and not fits:
        return WINDOW
    if strict and is_old(sender, segment):
        return talk
    sender, receiver = exchange(sender, replace(receiver, acked=True), segment, opening=True)
    return _maybe_open(talk.with_sides(direction, sender, receiver), segment, direction)


def _settled(talk: Talk) -> Talk:
    """Where two answers stand, what the other side may send follows from the initiator's largest window."""
    if talk.earlier is None:
        return talk
    a, b = talk.sides
    return replace(talk, sides=(a, replace(b, limit=plus(b.una, 1 + a.largest_window))))


def _chosen(talk: Talk, segment: Segment) -> Talk:
    """The initiator has taken one of two answers, and says which (RFC 9293 3.10.7.3: the first that comes to it)."""
    if talk.earlier is None or not segment.ack:
        return talk
    a, b = talk.sides
    if segment.acknowledgement == plus(talk.earlier, 1):
        limit = plus(talk.earlier, 1 + a.largest_window)
        b = replace(b, una=talk.earlier, end=plus(talk.earlier, 1), limit=limit)
    elif not acknowledges_syn(b, segment):
        return talk
    return replace(talk, sides=(a, b), earlier=None)


def _maybe_open(talk: Talk, segment: Segment, direction: int) -> Talk:
    """Behind a segment that acknowledges the other side's SYN: the handshake has ended when both are acknowledged, or
    with a FIN. Until then data may come (RFC 7413)."""
    sender, receiver = talk.sides[direction], talk.sides[1 - direction]
    if not sender.finished and not sender.acked:
        return talk
    talk = replace(talk, earlier=None)
    sender = replace(sender, una=plus(sender.una, 1))
    receiver = replace(receiver, una=segment.acknowledgement)
    return _in_its_state(talk.with_sides(direction, sender, receiver))


def _syn_again(talk: Talk, segment: Segment, direction: int) -> Outcome:
    """A SYN of either side though both have sent one: the same again, the initiator's SYN+ACK where both opened at
    once, or another answer (SYN cookies)."""
    sender, receiver = talk.sides[direction], talk.sides[1 - direction]
    same = segment.sequence == sender.una
    fits = segment.ack and acknowledges_syn(receiver, segment)
    if direction == 1 and fits and not same:
        return _answered(talk, segment) if sender.bare else _answered_again(talk, segment)
    if direction == 0 and receiver.bare and not sender.acked and not same and (fits or not segment.ack):
        return _begun_anew(talk, segment)
    if not same and _is_asked_by_who_gets_it(sender, segment):
        return Signed()
    if not same or (segment.ack and not fits) or (segment.ack and direction == 0 and not receiver.bare):
        return _challenged(talk, direction)
    sender = sender.advertising(segment)
    if not segment.ack:
        return talk.with_sides(direction, sender, receiver)
    receiver = replace(receiver, acked=True).allowed(segment.acknowledgement, segment.window)
    return _maybe_open(talk.with_sides(direction, sender, receiver), segment, direction)


def _answered_again(talk: Talk, segment: Segment) -> Talk:
    """Another answer, from another number: who keeps nothing of a SYN has a number for each that comes (RFC 4987 3.6),
    and so have two who answer for one. The initiator takes the first that comes to it: both stand until it says which.
    What either grants and offers counts."""
    a, b = talk.sides
    offers = [offer for offer in (b.offer, segment.offer) if offer is not None]
    behind = _answered(talk, replace(segment, offer=max(offers) if offers else None))
    newer_a, newer_b = behind.sides
    newer_a = replace(newer_a, limit=later(newer_a.limit, a.limit))
    newer_b = replace(newer_b, largest=max(newer_b.largest, units(b.largest_window, newer_b.scale)))
    return _settled(replace(behind, sides=(newer_a, newer_b), earlier=b.una))


def _begun_anew(talk: Talk, segment: Segment) -> Talk:
    """Both opened at once, nobody has answered the initiator, and it calls from another number: it has forgotten the
    first, or that was never its own."""
    b = talk.sides[1]
    a = replace(begun(segment), limit=plus(segment.sequence + 1, b.largest_window))
    acknowledged = segment.acknowledgement if segment.ack else plus(b.una, 1)
    b = replace(b, limit=plus(acknowledged, segment.window), acked=segment.ack)
    return replace(talk, sides=_scaled(a, b))


# --- synchronized, and behind its end (RFC 9293 3.10.7.4) ------------------------------------------------------------


def _synchronized(talk: Talk, segment: Segment, direction: int, strict: bool, picks_up: bool) -> Outcome:
    """ESTABLISHED, FIN_WAIT, CLOSING, TIME_WAIT."""
    sender, receiver = talk.sides[direction], talk.sides[1 - direction]
    if segment.syn:
        if _is_handshake_again(talk, segment, direction):
            return talk
        if _is_asked_by_who_gets_it(sender, segment):
            return Signed()
        return _challenged(talk, direction)  # RFC 5961 4.2
    if segment.rst:
        return _reset(talk, segment, direction, strict)
    if strict and not _fits(talk, segment, direction):
        return Anew() if picks_up and talk.alone is not None else WINDOW
    if strict and is_old(sender, segment):
        return talk
    sender, receiver = exchange(sender, receiver, segment)
    receiver = replace(receiver, una=later(receiver.una, segment.acknowledgement))
    behind = talk.with_sides(direction, sender, receiver)
    if talk.alone == 1 - direction:
        behind = replace(behind, alone=None)
    return _in_its_state(behind)


def _closed(talk: Talk, segment: Segment, direction: int, strict: bool) -> Outcome:
    """CLOSED by a RST. Who did not take it, since something in front of it is missing or it was lost, is heard by who
    sent it, and gets the exact one (RFC 5961 3.2, RFC 9293 3.5.1). A RST that is not believed by its receiver, who has
    acknowledged more than its number, or was never sent by whom it names, who goes on, has closed nothing."""
    if not talk.sides[1].known:
        return STATE
    if segment.syn:  # who has refused it with a RST that was lost says it again (RFC 9293 3.10.7.1)
        return talk if _is_handshake_again(talk, segment, direction) else STATE
    if strict and not _fits(talk, segment, direction):
        return WINDOW
    if segment.rst:
        exact = segment.sequence == talk.sides[direction].end
        return replace(talk, doubted=None, refused=False) if exact else talk
    if strict and is_old(talk.sides[direction], segment):
        return talk
    before = talk.sides[1 - direction]
    sender, receiver = exchange(talk.sides[direction], before, segment)
    receiver = replace(receiver, una=later(receiver.una, segment.acknowledgement))
    behind = talk.with_sides(direction, sender, receiver)
    goes_on = talk.doubted == direction or receiver.una != before.una or talk.refused
    if talk.doubted is None or not goes_on:
        return behind
    return _in_its_state(replace(behind, alone=None, doubted=None, refused=False))


def _in_its_state(talk: Talk) -> Talk:
    """Synchronized: in the state that its FINs make."""
    a, b = talk.sides
    state = TcpState.ESTABLISHED
    if a.finished and b.finished:
        state = TcpState.TIME_WAIT if a.is_over and b.is_over else TcpState.CLOSING
    elif a.finished or b.finished:
        state = TcpState.FIN_WAIT
    return replace(talk, state=state)


def _is_handshake_again(talk: Talk, segment: Segment, direction: int) -> bool:
    """A SYN+ACK that comes again, since what it was answered with was lost: its receiver has to say it again. Data
    behind it may have come through (RFC 7413); then who repeats no more than it is within the window of its number."""
    sender, receiver = talk.sides[direction], talk.sides[1 - direction]
    lowest = plus(sender.una, -receiver.largest_window)
    again = segment.ack and is_in(lowest, plus(segment.sequence, 1), sender.una)
    return again and acknowledgement_fits(sender, receiver, segment, talk.picked_up)


def _fits(talk: Talk, segment: Segment, direction: int) -> bool:
    """I to IV: its receiver may be waiting for it."""
    sender, receiver = talk.sides[direction], talk.sides[1 - direction]
    return sequence_fits(sender, receiver, segment) and (
        not segment.ack or acknowledgement_fits(sender, receiver, segment, talk.picked_up)
    )


def _is_asked_by_who_gets_it(sender: Side, segment: Segment) -> bool:
    """A call from anew with a signature: its sender hears nobody who does not sign, so its receiver has to ask (RFC
    2385 4.1, RFC 5925 7.7). Out of the window, where nobody takes it for a reason to reset (RFC 5961 4)."""
    called = segment.signed and not segment.ack and not segment.payload
    return called and not is_in(sender.una, segment.sequence, sender.limit)


# --- RST and challenges (RFC 5961) -----------------------------------------------------------------------------------


def _reset(talk: Talk, segment: Segment, direction: int, strict: bool) -> Outcome:
    """A RST (RFC 5961 3.2). Its receiver waits for what it acknowledged last, or for what was sent last: a RST with one
    of these numbers is exact as far as a bystander can tell."""
    sender, receiver = talk.sides[direction], talk.sides[1 - direction]
    half_way = talk.state is TcpState.SYN_RECEIVED
    exact = segment.sequence in (sender.end, plus(sender.una, half_way))
    if half_way and direction == 0:  # of data in its SYN any part may have been acknowledged (RFC 7413 4.2)
        exact = is_in(plus(sender.una, 1), segment.sequence, sender.end)
    # RFC 9293 3.10.7.3: who knows of no connection answers the initiator's SYN, sent again, from sequence number 0.
    refusal = half_way and direction == 1 and segment.ack and acknowledges_syn(receiver, segment)
    if exact or refusal or (not strict and sequence_fits(sender, receiver, segment)):
        doubted = direction if segment.sequence != sender.end else None
        a, b = (replace(side, una=plus(side.una, half_way)) for side in talk.sides)
        refused = half_way and not exact
        closed = replace(talk, state=TcpState.CLOSED, sides=(a, b), earlier=None)
        return replace(closed, doubted=doubted, refused=refused)
    if not strict:
        return talk
    if is_in(sender.una, segment.sequence, sender.limit):
        return _challenged(talk, direction)
    return Refused("tcp_window", counts=True)


def _challenged(talk: Talk, direction: int) -> Refused:
    """A segment of this side may be forged: it is asked, with what the other side has said last. In the handshake that
    may have said nothing yet: then nothing is said in its name."""
    sender, receiver = talk.sides[direction], talk.sides[1 - direction]
    half_way = talk.state is TcpState.SYN_RECEIVED
    if half_way and not sender.acked:
        return Refused("tcp_challenged", counts=True)
    acknowledgement = plus(sender.una, half_way)
    window = ((sender.limit - acknowledgement) & MASK) >> receiver.scale
    most = LARGEST_WINDOW if receiver.said is None else receiver.said  # what is assumed was said by nobody
    return Refused("tcp_challenged", True, Ask(receiver.end, acknowledgement, min(most, window)))


# --- for other chapters ----------------------------------------------------------------------------------------------


def base_of(packet: Packet, fragment: Fragment) -> int:
    """Of a first fragment: the sequence number that offset 0 of its datagram would have, one more with a FIN, so that
    base + where a fragment ends is the sequence number behind it."""
    segment = segment_of(packet)
    held = packet.end_of(fragment)
    return plus(segment.end, -held)


def reached(talk: Talk, direction: int, end: int) -> Talk:
    """The connection behind a later fragment that ends at this sequence number."""
    sender, receiver = talk.sides[direction], talk.sides[1 - direction]
    if not sender.known:
        return talk
    return talk.with_sides(direction, sender.reaching(end), receiver)


def could_have_sent(talk: Talk, direction: int, sequence: int) -> bool:
    """True if a segment with this number, of this side, may be on its way: what an ICMP error must quote (RFC 5927
    4.1), as far as a bystander can tell."""
    talk = _settled(talk)
    sender, receiver = talk.sides[direction], talk.sides[1 - direction]
    if not sender.known:
        return False
    if direction == 0 and talk.first and is_in(talk.first.una, sequence, talk.first.end):
        return True
    sent = sender.limit if at_most(sender.limit, sender.end) else sender.end
    oldest = plus(sent, -receiver.largest_window)
    return is_in(sender.una, sequence, sender.end) or is_in(oldest, sequence, sender.end)
