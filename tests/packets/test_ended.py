"""TCP that has ended makes way: who opens many short connections isn't refused because of those that are over, and what
lives stays, of whoever it is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hal.packet.contract import EventKind, TcpState
from tests.packets.card import Card
from tests.packets.packets import tcp, udp
from tests.packets.tcp.talk import OPEN, Talk
from tests.packets.test_limits import CLIENT, DB, WEB, evicted, refused, told, victim_works

SHUT = OPEN + " A:FA B:FA A:A"
RESET = OPEN + " A:R"


def ended_evicted(card: Card) -> int:
    return card.shard.counters().engine["ended_evicted"]


def limit(card: Card, vnic: int, **limits: int) -> None:
    card.changes(replace(card.row("vnic", vnic), **limits))


def used(card: Card, vnic: int, name: str) -> tuple[int, int, int]:
    card.shard.settle()
    found = card.shard.counters().limits[vnic, name]
    return found.used, found.most, found.refused


def plays(card: Card, port: int, segments: str, host: str = "client") -> Talk:
    return Talk(card, (host, "web"), sport=port).plays(segments)


def ports(card: Card) -> list[int]:
    return sorted(flow.source_port for flow in card.flows(protocol=6))


# --- flow_limit --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("short", [SHUT, RESET, OPEN + " B:FA A:FA B:A", "A:S B:RA"])
def test_many_short_connections(card: Card, short: str) -> None:
    """As many as there are time for, however few may be at once: nothing is refused, and nothing told."""
    limit(card, CLIENT, flow_limit=3)
    plays(card, 1, OPEN)
    for port in range(2, 42):
        plays(card, port, short)
    assert ports(card) == [1, 40, 41]
    assert (ended_evicted(card), evicted(card), refused(card, "flow_limit")) == (38, 0, 0)
    assert used(card, CLIENT, "flow_limit") == (1, 3, 0)
    assert told(card) == []


def test_what_comes_to_it_has_a_share_apart(card: Card) -> None:
    limit(card, WEB, inbound_flow_limit=2, flow_limit=1)
    card.resolves("gateway")
    own = Talk(card, ("web", "client"), sport=9)
    own.lines = ("10.1.0.10:9 > 10.1.0.20:8080", "10.1.0.20:8080 > 10.1.0.10:9")
    own.plays(SHUT)
    for port in range(1, 21):
        plays(card, port, SHUT, "gateway")
    assert ports(card) == [9, 19, 20]
    assert ended_evicted(card) == 18
    assert used(card, WEB, "inbound_flow_limit") == (0, 2, 0)


def test_what_ended_first_goes_first(card: Card) -> None:
    """Not what began first."""
    limit(card, CLIENT, flow_limit=4)
    talks = {port: plays(card, port, OPEN) for port in (1, 2, 3, 4)}
    for port in (3, 1, 4):
        talks[port].plays("A:FA B:FA A:A")
    for port, left in ((5, [1, 2, 4, 5]), (6, [2, 4, 5, 6]), (7, [2, 5, 6, 7])):
        plays(card, port, OPEN)
        assert ports(card) == left
    Talk(card, sport=8).a("S").is_dropped("flow_limit").silently()
    talks[2].plays("A:PA+10 B:A")


def test_what_lives_does_not_make_way(card: Card) -> None:
    """Established, half-closed, or a stream: then the limit refuses, and that is told."""
    limit(card, CLIENT, flow_limit=4)
    established, closing = plays(card, 1, OPEN), plays(card, 2, OPEN + " A:FA B:A B:FA")
    victim_works(card, 4, "client")
    plays(card, 5, SHUT)
    assert used(card, CLIENT, "flow_limit") == (3, 4, 0)
    victim_works(card, 6, "client")
    assert ended_evicted(card) == 1
    card.host("client").sends(udp("10.1.0.20:7 > 10.1.0.10:53")).is_dropped("flow_limit").silently()
    assert used(card, CLIENT, "flow_limit") == (4, 4, 1)
    assert told(card) == [(EventKind.FLOW_LIMIT, CLIENT)]
    established.plays("A:PA+10 B:A")
    closing.plays("A:A")
    plays(card, 8, OPEN)
    assert (ended_evicted(card), evicted(card)) == (2, 0)


def test_nobody_elses_goes_for_a_limit(card: Card) -> None:
    limit(card, CLIENT, flow_limit=1)
    plays(card, 1, SHUT, "db")
    plays(card, 2, OPEN)
    Talk(card, sport=3).a("S").is_dropped("flow_limit").silently()
    assert ports(card) == [1, 2]


def test_closed_in_doubt_it_may_live(card: Card) -> None:
    """A RST that its receiver may not have taken has ended nothing yet: the connection goes on. An exact one has."""
    limit(card, CLIENT, flow_limit=1)
    talk = plays(card, 1, OPEN + " A:PA+10")
    talk.passes(talk.a("R", seq=1001), 0)
    assert talk.state == TcpState.CLOSED
    Talk(card, sport=2).a("S").is_dropped("flow_limit").silently()
    assert talk.plays("A:PA+10").state == TcpState.ESTABLISHED
    talk.passes(talk.a("R", seq=1001), 0)
    Talk(card, sport=2).a("S").is_dropped("flow_limit").silently()
    talk.plays("A:R")
    plays(card, 2, OPEN)
    assert (ports(card), ended_evicted(card)) == ([2], 1)


def test_one_that_begins_anew_has_not_ended(card: Card) -> None:
    limit(card, CLIENT, flow_limit=2)
    plays(card, 1, SHUT)
    plays(card, 2, SHUT)
    Talk(card, isn=(1 << 31, 9), sport=1).plays(OPEN)
    plays(card, 3, OPEN)
    assert (ports(card), ended_evicted(card)) == ([1, 3], 1)
    Talk(card, sport=4).a("S").is_dropped("flow_limit").silently()


def test_one_that_could_not_begin_anew_goes_behind_the_others(card: Card) -> None:
    limit(card, CLIENT, flow_limit=3, new_flow_limit=2)
    for port in (1, 2):
        plays(card, port, SHUT)
    Talk(card, isn=(1 << 31, 9), sport=1).a("S").is_dropped("new_flow_limit").silently()
    card.after(1)
    for port in (3, 4):
        plays(card, port, OPEN)
    assert (ports(card), ended_evicted(card)) == ([1, 3, 4], 1)
    card.after(1)
    plays(card, 5, OPEN)
    assert (ports(card), ended_evicted(card)) == ([3, 4, 5], 2)


def test_late_packets_of_what_made_way(card: Card) -> None:
    """They are strangers: a FIN again, since its ACK was lost, and a duplicate; nobody is reset for them."""
    limit(card, CLIENT, flow_limit=1)
    talk = plays(card, 1, SHUT)
    talk.passes(talk.b("FA", seq=5001), 1)
    plays(card, 2, OPEN)
    talk.b("FA", seq=5001).is_dropped("tcp_no_session").silently()
    talk.a("A").is_dropped("tcp_no_session").silently()


def test_nothing_goes_for_who_is_refused(card: Card) -> None:
    """Of as many a second as may be."""
    limit(card, CLIENT, flow_limit=2, new_flow_limit=2)
    for port in (1, 2):
        plays(card, port, SHUT)
    for port in (3, 4, 5):
        Talk(card, sport=port).a("S").is_dropped("new_flow_limit").silently()
    assert (ports(card), ended_evicted(card)) == ([1, 2], 0)
    assert told(card) == [(EventKind.NEW_FLOW_LIMIT, CLIENT)]


def test_expired_ones_go_before(card: Card) -> None:
    limit(card, CLIENT, flow_limit=2)
    plays(card, 1, SHUT)
    card.after(239)
    plays(card, 2, SHUT)
    card.after(1)
    plays(card, 3, OPEN)
    assert (ports(card), ended_evicted(card)) == ([2, 3], 0)


def test_a_limit_that_is_lowered(card: Card) -> None:
    """Eight go for one, at most: more of them at once would keep others waiting."""
    for port in range(1, 21):
        plays(card, port, SHUT)
    plays(card, 21, OPEN)
    limit(card, CLIENT, flow_limit=4)
    for left in ([*range(9, 22)], [*range(17, 22)]):
        Talk(card, sport=99).a("S").is_dropped("flow_limit").silently()
        assert ports(card) == left
    plays(card, 22, OPEN)
    assert ports(card) == [19, 20, 21, 22]
    assert ended_evicted(card) == 18
    assert used(card, CLIENT, "flow_limit") == (2, 4, 2)


# --- a full table ------------------------------------------------------------------------------------------------


def test_in_a_full_table_its_own_goes_first(card: Card) -> None:
    """Though another share has more of them, and a third more that are half-open."""
    full = card.anew(connections=12)
    for port in (1, 2, 3):
        plays(full, port, SHUT, "db")
    for port in (4, 5):
        plays(full, port, SHUT)
    for port in range(11, 18):
        full.host("web").sends(tcp(f"10.1.0.10:{port} > 10.1.0.20:8080")).arrives_at("client")
    for port in (6, 7):
        plays(full, port, OPEN)
    assert ports(full) == [1, 2, 3, 6, 7, *range(11, 18)]
    assert (ended_evicted(full), evicted(full)) == (2, 0)
    assert told(full) == []


def test_in_a_full_table_who_has_most_of_them_gives(card: Card) -> None:
    """Before anything half-open goes; of several with as many, who has had that many for longest."""
    full = card.anew(connections=12)
    for port in (1, 2):
        plays(full, port, SHUT, "db")
    for port in (3, 4, 5):
        plays(full, port, SHUT)
    for port in range(11, 18):
        full.host("web").sends(tcp(f"10.1.0.10:{port} > 10.1.0.20:8080")).arrives_at("client")
    gone = []
    for port in range(1, 6):
        before = ports(full)
        full.host("gateway").sends(udp(f"203.0.113.9:{port} > 10.1.0.10:53")).arrives_at("web")
        gone += sorted(set(before) - set(ports(full)))
    assert gone == [3, 1, 4, 2, 5]
    assert (ended_evicted(full), evicted(full), told(full)) == (5, 0, [])
    victim_works(full, 9)
    assert (ended_evicted(full), evicted(full)) == (5, 1)
    assert told(full) == [(EventKind.FLOW_TABLE_FULL, 0)]


def test_between_uplinks_they_make_way_too(card: Card) -> None:
    """Connections that count for no vNIC."""
    full = card.anew(connections=8).resolves("gateway").resolves("second")
    Talk(full, ("gateway", "second"), sport=4).plays(SHUT)
    for port in (1, 2, 3):
        victim_works(full, port)
    assert (len(full.flows()), ports(full)) == (8, [4])
    victim_works(full, 5)
    assert (len(full.flows()), ports(full), ended_evicted(full), evicted(full)) == (8, [], 1, 0)


def test_a_full_table_of_what_lives_is_full(card: Card) -> None:
    full = card.anew(connections=3)
    for port in (1, 2):
        victim_works(full, port)
    plays(full, 3, SHUT, "db")
    plays(full, 4, OPEN)
    Talk(full, sport=5).a("S").is_dropped("flow_table_full").silently()
    assert refused(full, "flow_table_full") == 1
    assert (ports(full), ended_evicted(full)) == ([4], 1)
    assert used(full, DB, "flow_limit")[0] == 2
