"""Connections that are met mid-stream: what cannot be known is assumed to be as large as it may be. Fragments, whose
numbers the later ones don't tell."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from scapy.all import IP, TCP, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, PadN, Raw, fragment6

from hal.packet.contract import TcpState
from hal.packet.frame._generated import Profile, Tracking
from tests.packets.card import SECOND, Card
from tests.packets.packets import Description
from tests.packets.tcp.talk import OPEN, Talk, asked
from tests.packets.world import GUARDED, HOSTS

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
def test_whom_one_side_alone_speaks_of_lives_as_a_handshake(card: Card, first: str, same: str, other: str) -> None:
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
def test_picked_up_it_makes_way_as_what_has_ended(card: Card, first: str) -> None:
    """The oldest of whom one side alone has spoken goes for the next one; who was answered stays."""
    client = HOSTS["client"].vnic
    card.changes(replace(card.row("vnic", client), flow_limit=4))
    fresh = card.anew(pickup=True)
    answered = Talk(fresh, sport=3999).plays("A:PA+100 B:A")
    for sport in range(4000, 4010):
        Talk(fresh, sport=sport).plays(first)
    assert sorted(flow.source_port for flow in fresh.flows()) == [3999, 4007, 4008, 4009]
    fresh.shard.settle()
    counters = fresh.shard.counters()
    assert (counters.engine["ended_evicted"], counters.engine["half_open_evicted"]) == (7, 0)
    used = counters.limits[client, "flow_limit"]
    assert (used.used, used.refused, counters.limits[client, "half_open_limit"].used) == (1, 0, 0)
    answered.plays("A:PA+100 B:A")
    Talk(fresh, sport=4011).plays(OPEN)
    for sport in (4000, 4001):  # and is picked up again by its next segment
        Talk(fresh, sport=sport).plays(first)
    assert fresh.shard.counters().engine["pickups"] == 13


@pytest.mark.parametrize("limits", [{"half_open_limit": 2}, {"flow_limit": 4}])
@pytest.mark.parametrize("is_loose", [False, True])
def test_what_is_forged_pushes_out_no_handshake(card: Card, is_loose: bool, limits: dict[str, int]) -> None:
    """It counts as if the vNIC had opened it, whose own calls are answered all the same."""
    card.changes(replace(card.row("vnic", HOSTS["client"].vnic), **limits))
    if is_loose:
        card.gets(Tracking(id=1, mode="loose"))
        card.changes(Profile(id=GUARDED, tracking=1))
    fresh = card.anew(pickup=True)
    calls = [Talk(fresh, sport=3000 + n).plays("A:S") for n in range(2)]
    for sport in range(4000, 4020):
        _forges(Talk(fresh, sport=sport), 1, "A")
    counters = fresh.shard.counters()
    assert (counters.engine["pickups"], counters.engine["half_open_evicted"]) == (20, 0)
    for call in calls:
        call.plays("B:SA A:A")
    assert fresh.shard.counters().drops["tcp_no_session"] == 0


def test_what_is_forged_takes_no_token_of_whom_it_is_sent_to(card: Card) -> None:
    """Though it counts as if the vNIC had opened it: `new_flow_limit` is about who sends."""
    client = HOSTS["client"].vnic
    card.changes(replace(card.row("vnic", client), new_flow_limit=5))
    fresh = card.anew(pickup=True)
    for sport in range(4000, 4020):
        says = Talk(fresh, sport=sport).b("A", seq=FAR[0], ack=FAR[1])
        if sport < 4005:
            says.arrives_at("client")
        else:
            says.is_dropped("new_flow_limit").silently()
    for sport in range(3000, 3005):
        Talk(fresh, sport=sport).plays(OPEN)
    Talk(fresh, sport=3005).a("S").is_dropped("new_flow_limit").silently()
    limits = fresh.shard.counters().limits
    assert [limits[client, name].refused for name in ("new_flow_limit", "inbound_new_flow_limit")] == [1, 15]


@pytest.mark.parametrize(("first", "other"), [("A:PA+100", 1), ("B:PA+100", 0)])
def test_an_old_segment_of_the_other_side_is_no_answer(card: Card, first: str, other: int) -> None:
    """Whose receiver looks at nothing that it says (RFC 9293 3.10.7.4): it passes, and it is one side alone still."""
    talk = _met(card, first)
    says = (talk.a, talk.b)[other]
    talk.passes(says("A", seq=talk.next[other] - 1), other)
    assert talk.card.flow().timeout_ns == 240 * SECOND
    talk.passes(says("A"), other)
    assert talk.card.flow().timeout_ns == 7440 * SECOND


def test_who_was_reset_is_closed(card: Card) -> None:
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
    talk.a("PA", 10, seq=talk.next[0] + (1 << 30)).is_dropped("tcp_window").silently()
    talk.passes(talk.a("PA", 10, seq=talk.next[0] + (1 << 30) - 1), 0)
    talk.passes(talk.b("PA", 10, seq=talk.next[1] + grown - 1), 1)
    talk.b("PA", 10, seq=talk.next[1] + grown).is_dropped("tcp_window").silently()
    talk.a("A", ack=talk.next[1] + (1 << 31)).is_dropped("tcp_window").silently()


def test_what_is_acknowledged_was_sent(card: Card) -> None:
    """Though it was not seen: the other side's numbers may be further on than what the first segment acknowledged."""
    talk = _met(card).plays("B:A")
    talk.loses(1, 50_000)
    talk.plays("A:A")
    asked(talk.a("S", seq=1), seq=talk.next[1], ack=talk.next[0])
    talk.card.after(1)
    asked(talk.b("R", seq=talk.next[1] + 1), seq=talk.next[0], ack=talk.next[1])
    talk.passes(talk.b("R"), 1)
    talk.plays("B:A")  # it was at the end of what was sent: there is no doubt
    assert talk.state == TcpState.CLOSED


def test_resets_are_as_exact_as_ever(card: Card) -> None:
    talk = _met(card, "A:PA+100 B:A B:PA+10 A:A")
    talk.b("R", seq=talk.next[1] - 1).is_dropped("tcp_window").silently()
    talk.card.after(1)
    asked(talk.b("R", seq=talk.next[1] + 100), seq=talk.next[0], ack=talk.next[1])
    assert talk.plays("B:R").state == TcpState.CLOSED


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("window", [0, 1, 700, 65535])
def test_a_challenge_opens_no_window_that_nobody_opened(card: Card, side: int, window: int) -> None:
    """What is assumed of a window is no more than its receiver has said, in his units; nothing is none."""
    other = 1 - side
    talk = _met(card, "AB"[side] + ":PA+100")
    says, answers = (talk.a, talk.b)[side], (talk.a, talk.b)[other]
    asked(says("R", seq=talk.next[side] + 3000), seq=talk.next[other], ack=talk.next[side] - 100, window=0)
    for told in (window, window // 2):
        talk.card.after(1)
        talk.passes(answers("A", window=told), other)
        talk.passes(says("A", window=9), side)
        asked(says("R", seq=talk.next[side] + 3000), seq=talk.next[other], ack=talk.next[side], window=window)
    talk.card.after(1)
    asked(answers("R", seq=talk.next[other] + 8), seq=talk.next[side], ack=talk.next[other], window=8192)
    talk.passes(says("PA", 1000, seq=talk.next[side] + (1 << 30) - 200), side)


@pytest.mark.parametrize("window", [0, 1, 700, 65535])
def test_behind_a_handshake_a_challenge_says_the_window_that_is_left(card: Card, window: int) -> None:
    talk = Talk(card, window=(8192, window)).plays(OPEN)
    asked(talk.a("S", seq=9), seq=5001, ack=1001, window=window)
    if window:
        talk.plays("A:PA+1")
        card.after(1)
        talk.passes(talk.b("A", window=window - 1), 1)
        asked(talk.a("S", seq=9), seq=5001, ack=1002, window=window - 1)


def test_syns_are_asked_about(card: Card) -> None:
    talk = _met(card, "A:PA+100 B:A")
    asked(talk.a("S", seq=1), seq=talk.next[1], ack=talk.next[0])
    talk.plays("A:A")


# --- what may be forged: whom one side alone speaks of is taken up anew ----------------------------------------------

FAR = (1_500_000_000, 2_800_000_000)
"""What nobody's numbers are near to who begins at `Talk`'s: sequence number and acknowledgement."""


def _pickups(talk: Talk) -> int:
    return talk.card.shard.counters().engine["pickups"]


def _forges(talk: Talk, side: int, flags: str, data: int = 0) -> None:
    """Somebody who knows the addresses and ports, and no numbers, says something in a side's name."""
    says = (talk.a, talk.b)[side]
    talk.passes(says(flags, data, seq=FAR[0], ack=FAR[1], window=0), side)


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("flags", ["A", "PA", "FA"])
@pytest.mark.parametrize("real", ["A:PA+100 B:A", "B:PA+100 A:A", "A:A A:PA+10 B:PA+10"])
def test_two_real_segments_settle_what_was_forged(card: Card, side: int, flags: str, real: str) -> None:
    talk = Talk(card.anew(pickup=True))
    _forges(talk, side, flags, data=100 * ("P" in flags))
    assert _pickups(talk) == 1
    talk.plays(real)
    flow = talk.card.flow()
    assert (_pickups(talk), flow.source, flow.tcp_state) == (2, "10.1.0.20", TcpState.ESTABLISHED)
    assert (sum(flow.packets), flow.timeout_ns) == (len(real.split()), 7440 * SECOND)
    for says in (talk.a, talk.b):
        says("A", seq=FAR[0], ack=FAR[1]).is_dropped("tcp_window").silently()
    assert talk.plays("A:PA+1000 B:A B:FA A:FA B:A").state == TcpState.TIME_WAIT
    assert _pickups(talk) == 2


def test_a_forger_has_to_come_between_each_two(card: Card) -> None:
    talk = Talk(card.anew(pickup=True))
    for side in (0, 1, 0, 1):
        _forges(talk, side, "A")
        talk.plays("A:PA+10" if side == 0 else "B:PA+10")
    assert (_pickups(talk), talk.card.flow().timeout_ns) == (8, 240 * SECOND)
    assert talk.plays("A:A").card.flow().timeout_ns == 7440 * SECOND
    assert _pickups(talk) == 8


def test_a_segment_that_fits_settles_it(card: Card) -> None:
    """As if nobody forged anything: it is the same connection."""
    talk = _met(card)
    before = talk.card.flow()
    talk.plays("A:PA+100 B:A")
    flow = talk.card.flow()
    assert (flow.id, flow.packets, _pickups(talk)) == (before.id, (2, 1), 1)


def test_rsts_and_syns_take_nothing_up(card: Card) -> None:
    talk = Talk(card.anew(pickup=True))
    _forges(talk, 1, "A")
    for says in (talk.a, talk.b):
        says("R", seq=90).is_dropped("tcp_window").silently()
        says("RA", seq=90).is_dropped("tcp_window").silently()
        says("S", seq=90).is_dropped("tcp_challenged")
        says("SA", seq=90).is_dropped("tcp_challenged")
    assert _pickups(talk) == 1
    talk.plays("A:A B:A")
    assert _pickups(talk) == 2


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("real", ["A:PA+100 B:A", "B:PA+100 A:A"])
def test_a_forged_rst_ends_nothing_that_one_side_alone_spoke_of(card: Card, side: int, real: str) -> None:
    """Who forges a segment knows which RST is exact for it: what that ended is taken up anew as well."""
    talk = Talk(card.anew(pickup=True))
    says = (talk.a, talk.b)[side]
    for _ in range(3):
        _forges(talk, side, "A")
        talk.passes(says("R", seq=FAR[0]), side)
        assert (talk.state, talk.card.flow().timeout_ns) == (TcpState.CLOSED, 10 * SECOND)
    assert _pickups(talk) == 3
    talk.plays(real)
    assert (_pickups(talk), talk.state, talk.card.flow().timeout_ns) == (4, TcpState.ESTABLISHED, 7440 * SECOND)
    says("R", seq=FAR[0]).is_dropped("tcp_window").silently()
    talk.plays("A:PA+10 B:A")


@pytest.mark.parametrize("side", [0, 1])
def test_a_real_rst_ends_it(card: Card, side: int) -> None:
    """A call begins anew behind it, and what still comes of it is met as it was: mid-stream."""
    talk = Talk(card.anew(pickup=True))
    talk.plays("A:PA+10 B:R" if side else "B:PA+10 A:R")
    assert talk.state == TcpState.CLOSED
    talk.plays("A:PA+10")
    assert (talk.state, _pickups(talk)) == (TcpState.ESTABLISHED, 2)
    talk.plays("B:R")
    talk.again(0)
    talk.again(1)
    assert talk.plays(OPEN).state == TcpState.ESTABLISHED


def test_behind_the_time_for_it_what_a_rst_ended_stays_closed(card: Card) -> None:
    card.gets(Tracking(id=1, mode="loose"))
    card.changes(Profile(id=GUARDED, tracking=1))
    late = Talk(card.anew())
    early = Talk(card.anew(pickup=True))
    for talk in (late, early):
        talk.plays("A:PA+10 B:R")
    card.changes(Profile(id=GUARDED))
    for talk, reason in ((late, "tcp_window"), (early, "")):
        sent = talk.a("PA", 10, seq=FAR[0], ack=FAR[1])
        talk.passes(sent, 0) if not reason else sent.is_dropped(reason).silently()
    assert (late.state, early.state) == (TcpState.CLOSED, TcpState.ESTABLISHED)
    assert (_pickups(late), _pickups(early)) == (1, 2)


def _calls(talk: Talk, times: int = 1) -> None:
    """Somebody who knows the addresses and ports calls in the initiator's name."""
    for time in range(times):
        talk.passes(talk.a("S", seq=FAR[0] + 1000 * time), 0)


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize(
    ("real", "behind"),
    [
        ("A:PA+100 B:A A:PA+100 B:A", TcpState.ESTABLISHED),
        ("B:A A:PA+100 B:A", TcpState.ESTABLISHED),  # who has the connection answers a call in it (RFC 5961 4)
        ("B:A B:PA+100 A:A B:A", TcpState.ESTABLISHED),
        ("B:PA+100 B:PA+100 A:A B:PA+100 A:A", TcpState.ESTABLISHED),
        ("B:FA A:A A:FA B:A", TcpState.FIN_WAIT),
        ("B:A A:FA B:FA A:A", TcpState.TIME_WAIT),
    ],
)
def test_a_forged_call_ends_no_connection_of_before(card: Card, real: str, behind: TcpState, times: int) -> None:
    """Both sides speak of one: who calls acknowledges nothing before he is answered."""
    talk = Talk(card.anew(pickup=True))
    _calls(talk, times)
    assert talk.state == TcpState.SYN_SENT
    talk.plays(real)
    assert (_pickups(talk), talk.state) == (1, behind)
    if behind is TcpState.ESTABLISHED:
        assert talk.card.flow().timeout_ns == 7440 * SECOND
        talk.a("S", seq=FAR[0]).is_dropped("tcp_challenged")
        talk.plays("A:PA+1000 B:A B:PA+100 A:A")


def test_a_forged_call_ends_no_loose_connection(card: Card) -> None:
    card.gets(Tracking(id=1, mode="loose"))
    card.changes(Profile(id=GUARDED, tracking=1))
    talk = Talk(card.anew())
    _calls(talk)
    talk.plays("B:PA+100 B:PA+100 B:FA A:A")
    assert (talk.state, talk.card.flow().packets) == (TcpState.ESTABLISHED, (2, 3))


@pytest.mark.parametrize("side", [0, 1])
def test_who_calls_in_fact_is_harmed_by_no_mid_stream_segment(card: Card, side: int) -> None:
    """Of either side, any number, as long as not both are forged."""
    talk = Talk(card.anew(pickup=True)).plays("A:S")
    for n in range(3):
        _forges(talk, side, "PA", 10 * n)
    assert (talk.state, _pickups(talk)) == (TcpState.SYN_SENT, 0)
    assert talk.plays("B:SA A:A A:PA+10 B:A").state == TcpState.ESTABLISHED
    assert _pickups(talk) == 0


def test_behind_the_time_for_it_a_call_has_one_such_answer(card: Card) -> None:
    talk = Talk(card.anew())
    _calls(talk)
    talk.b("PA", 10, seq=FAR[0], ack=FAR[1]).is_dropped("tcp_state").silently()
    talk.plays("B:A")
    talk.b("A").is_dropped("tcp_state").silently()
    talk.a("A").is_dropped("tcp_state").silently()
    assert _pickups(talk) == 0


def test_behind_the_time_for_it_nothing_is_taken_up_anew(card: Card) -> None:
    """Picked up where TCP was loose, which is strict now: nobody picks up any more."""
    card.gets(Tracking(id=1, mode="loose"))
    card.changes(Profile(id=GUARDED, tracking=1))
    late = Talk(card.anew())
    early = Talk(card.anew(pickup=True))
    for talk in (late, early):
        _forges(talk, 1, "A")
    card.changes(Profile(id=GUARDED))
    late.a("PA", 100).is_dropped("tcp_window").silently()
    late.b("PA", 100).is_dropped("tcp_window").silently()
    early.plays("A:PA+100 B:A")
    assert (_pickups(late), _pickups(early)) == (1, 2)


def test_loose_nothing_has_to_be_taken_up_anew(card: Card) -> None:
    """What is outside windows passes, of the connection that is there."""
    card.gets(Tracking(id=1, mode="loose"))
    card.changes(Profile(id=GUARDED, tracking=1))
    talk = Talk(card.anew(pickup=True))
    _forges(talk, 1, "A")
    talk.plays("A:PA+100 B:A")
    assert (_pickups(talk), talk.card.flow().packets) == (1, (1, 2))


def test_taken_up_anew_it_is_a_new_connection_to_limits(card: Card) -> None:
    """`new_flow_limit` is asked, and what was there stays where it says no."""
    card.changes(replace(card.row("vnic", HOSTS["client"].vnic), new_flow_limit=2))
    talk = Talk(card.anew(pickup=True))
    Talk(talk.card, sport=4002).plays("B:A")
    _forges(talk, 1, "A")
    talk.plays("A:PA+10")
    talk.b("A", seq=FAR[0], ack=FAR[1]).is_dropped("new_flow_limit").silently()
    assert (_pickups(talk), talk.card.flow(source_port=4000).packets) == (3, (1, 0))
    assert talk.plays("B:A").card.flow(source_port=4000).packets == (1, 1)
    talk.card.after(1)
    other = Talk(talk.card, sport=4001)
    _forges(other, 1, "A")
    other.plays("A:A B:A")


@pytest.mark.parametrize("limit", ["flow_limit", "half_open_limit"])
def test_taken_up_anew_it_counts_once(card: Card, limit: str) -> None:
    """It is in nobody's way, its own least of all."""
    card.changes(replace(card.row("vnic", HOSTS["client"].vnic), **{limit: 1}))
    talk = Talk(card.anew(pickup=True))
    _forges(talk, 0, "A")
    talk.plays("A:PA+10")
    counters = talk.card.shard.counters()
    assert (len(talk.card.flows()), counters.engine["pickups"], counters.engine["chain_walks"]) == (1, 2, 2)
    assert (counters.engine["half_open_evicted"], counters.limits[HOSTS["client"].vnic, limit].refused) == (0, 0)
    talk.plays("B:A")
    other = Talk(talk.card, sport=4001).a("A")
    other.is_dropped("flow_limit") if limit == "flow_limit" else other.arrives_at("web")


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
