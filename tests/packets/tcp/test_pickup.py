"""Connections that are met mid-stream: what cannot be known is assumed to be as large as it may be. Fragments, whose
numbers the later ones don't tell."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from scapy.all import IP, TCP, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, PadN, Raw, fragment6

from hal.packet.contract import TcpState
from tests.packets.card import SECOND, Card
from tests.packets.packets import Description
from tests.packets.tcp.talk import OPEN, Talk, asked
from tests.packets.world import HOSTS

LARGEST = 65535 << 14


def _met(card: Card, first: str = "A:PA+100") -> Talk:
    """A connection that is picked up by this segment."""
    return Talk(card.anew(pickup=True)).plays(first)


@pytest.mark.parametrize("first", ["A:PA+100", "B:PA+100", "A:A", "B:A"])
def test_it_works_on(card: Card, first: str) -> None:
    talk = _met(card, first).plays("A:PA+1000 B:A B:PA+1000 A:A")
    assert talk.state == TcpState.ESTABLISHED
    assert talk.plays("A:FA B:FA A:A").state == TcpState.TIME_WAIT


@pytest.mark.parametrize(("first", "same", "other"), [("A:PA+100", "A:PA+10", "B:A"), ("B:PA+100", "B:PA+10", "A:A")])
def test_whom_one_side_alone_speaks_of_is_half_open(card: Card, first: str, same: str, other: str) -> None:
    """Whoever forges a segment makes it: it lives as a handshake does, until the other side is heard."""
    talk = _met(card, first).plays(same)
    fresh = talk.card
    assert (talk.state, fresh.flow().timeout_ns) == (TcpState.ESTABLISHED, 240 * SECOND)
    fresh.after(241)
    assert fresh.shard.counters().engine["pickups"] == 1
    talk.plays(same)
    assert fresh.shard.counters().engine["pickups"] == 2
    talk.plays(other)
    assert fresh.flow().timeout_ns == 7440 * SECOND
    fresh.after(7439)
    talk.plays(same)
    assert fresh.shard.counters().engine["pickups"] == 2


@pytest.mark.parametrize("first", ["A:PA+100", "B:PA+100"])
def test_picked_up_it_makes_way_as_half_open(card: Card, first: str) -> None:
    """The oldest of whom one side alone has spoken goes for the next one; who was answered stays."""
    card.changes(replace(card.row("vnic", HOSTS["client"].vnic), half_open_limit=3))
    fresh = card.anew(pickup=True)
    answered = Talk(fresh, sport=3999).plays("A:PA+100 B:A")
    for sport in range(4000, 4010):
        Talk(fresh, sport=sport).plays(first)
    assert sorted(flow.source_port for flow in fresh.flows()) == [3999, 4007, 4008, 4009]
    assert fresh.shard.counters().engine["half_open_evicted"] == 7
    answered.plays("A:PA+100 B:A")
    Talk(fresh, sport=4011).plays(OPEN)


def test_who_was_reset_is_not_half_open(card: Card) -> None:
    """The host that was spoken to knows of no such connection."""
    talk = _met(card, "B:PA+100")
    assert talk.plays("A:R").state == TcpState.CLOSED
    assert talk.card.flow().timeout_ns == 10 * SECOND


@pytest.mark.parametrize("first", ["A:FA", "B:FA"])
def test_by_a_fin(card: Card, first: str) -> None:
    talk = _met(card, first)
    assert talk.state == TcpState.FIN_WAIT
    assert talk.plays("A:FA" if first == "B:FA" else "B:FA").state == TcpState.CLOSING


def test_rfc7323_scales_are_taken_to_be_the_largest(card: Card) -> None:
    """What was granted, at the largest scale: beyond it nothing is waited for."""
    talk = _met(card)
    talk.plays("B:A")
    grown = 8192 << 14
    talk.a("PA", 10, seq=talk.next[0] + (1 << 30) + 1).is_dropped("tcp_window").silently()
    talk.passes(talk.b("PA", 10, seq=talk.next[1] + grown - 1), 1)
    talk.b("PA", 10, seq=talk.next[1] + grown).is_dropped("tcp_window").silently()
    talk.a("A", ack=talk.next[1] + (1 << 31)).is_dropped("tcp_window").silently()


def test_what_is_acknowledged_was_sent(card: Card) -> None:
    """Though it was not seen: the other side's numbers may be further on than what the first segment acknowledged."""
    talk = _met(card)
    talk.loses(1, 50_000)
    talk.plays("A:A")
    asked(talk.b("R", seq=talk.next[1] + 1), seq=talk.next[0], ack=talk.next[1])
    talk.passes(talk.b("R"), 1)


def test_resets_are_as_exact_as_ever(card: Card) -> None:
    talk = _met(card, "A:PA+100 B:A B:PA+10 A:A")
    talk.b("R", seq=talk.next[1] - 1).is_dropped("tcp_window").silently()
    talk.card.after(1)
    asked(talk.b("R", seq=talk.next[1] + 100), seq=talk.next[0], ack=talk.next[1])
    assert talk.plays("B:R").state == TcpState.CLOSED


def test_syns_are_asked_about(card: Card) -> None:
    talk = _met(card, "A:PA+100 B:A")
    asked(talk.a("S", seq=1), seq=talk.next[1], ack=talk.next[0])
    talk.plays("A:A")


# --- fragments -------------------------------------------------------------------------------------------------------


def _pieces(data: int, flags: str, seq: int, ack: int, v6: bool, before: int = 0, every: int = 800) -> list[bytes]:
    """The fragments of one segment, as IP packets."""
    segment = TCP(sport=4000, dport=80, flags=flags, seq=seq, ack=ack, window=8192) / Raw(bytes(data))
    if not v6:
        whole = IP(bytes(IP(src="10.1.0.20", dst="10.1.0.10", id=7) / segment))
        return [bytes(piece) for piece in whole.fragment(every)]
    ends = {"src": "2001:db8:1::14", "dst": "2001:db8:1::a"}
    head: Any = IPv6(**ends) / IPv6ExtHdrFragment(id=7)
    body = IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(before - 4))]) / segment if before else segment
    return [bytes(piece) for piece in fragment6(IPv6(bytes(head / body)), every + 60)]


def _sends(talk: Talk, pieces: list[bytes], v6: bool) -> None:
    ends = [HOSTS[end].addresses[v6] for end in talk.ends]
    for piece in pieces:
        talk.card.host("client").sends(
            Description(ends[0], ends[1], lambda piece=piece: Raw(piece))  # type: ignore[misc]
        ).arrives_at("web")


@pytest.mark.parametrize(("v6", "before"), [(False, 0), (True, 0), (True, 16)])
@pytest.mark.parametrize("flags", ["PA", "FPA"])
def test_later_fragments_move_the_end(card: Card, v6: bool, before: int, flags: str) -> None:
    """RFC 791, RFC 8200 4.5: what all of them hold is acknowledged, no byte more. Extension headers in front of the
    segment are no bytes of it."""
    talk = Talk(card, v6=v6).plays(OPEN)
    pieces = _pieces(2000, flags, 1001, 5001, v6, before)
    assert len(pieces) == 3
    _sends(talk, pieces[:1], v6)
    talk.b("A", ack=3001 + ("F" in flags)).is_dropped("tcp_window").silently()
    _sends(talk, pieces[1:], v6)
    end = 3001 + ("F" in flags)
    talk.b("A", ack=end + 1).is_dropped("tcp_window").silently()
    talk.passes(talk.b("A", ack=end), 1)
    assert talk.state == (TcpState.FIN_WAIT if "F" in flags else TcpState.ESTABLISHED)


def test_first_fragments_are_held_to_the_window(card: Card) -> None:
    """Those behind one that does not pass have no first."""
    talk = Talk(card).plays(OPEN)
    first, second, *_ = _pieces(2000, "PA", 1001 + 8193, 5001, False)
    host = card.host("client")
    make = Description("10.1.0.20", "10.1.0.10", lambda: Raw(first))
    host.sends(make).is_dropped("tcp_window").silently()
    host.sends(replace(make, build=lambda: Raw(second))).is_dropped("fragment_no_first")
    _sends(talk, _pieces(2000, "PA", 1001, 5001, False), False)


def test_later_fragments_keep_nothing_that_is_closed(card: Card) -> None:
    talk = Talk(card).plays(OPEN)
    pieces = _pieces(2000, "PA", 1001, 5001, False)
    _sends(talk, pieces[:1], False)
    talk.plays("B:R")
    card.after(9)
    _sends(talk, pieces[1:2], False)
    card.after(1)
    make = Description("10.1.0.20", "10.1.0.10", lambda: Raw(pieces[2]))
    card.host("client").sends(make).is_dropped("fragment_no_first")
