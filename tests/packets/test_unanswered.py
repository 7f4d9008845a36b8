"""What nobody answers makes way: a flood of it takes no connection from whom it comes to, whatever it is made of, and
what was answered stays (RFC 4787 4.3, where there is room)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hal.packet.contract import EventKind, TcpState
from tests.packets.card import Card
from tests.packets.packets import other, udp
from tests.packets.tcp.talk import OPEN, Talk
from tests.packets.test_ended import SHUT, ended_evicted, limit, plays, used
from tests.packets.test_exchanges import asks, echo, exchange, numbers
from tests.packets.test_limits import CLIENT, WEB, evicted, refused, syn, told, victim_works

LIMIT = 8


def datagram(card: Card, number: int) -> None:
    card.host("gateway").sends(udp(f"203.0.113.9:{number} > 10.1.0.10:53")).arrives_at("web")


def tunnel(card: Card, number: int) -> None:
    card.host("gateway").sends(other(f"203.0.113.{number} > 10.1.0.10", 50)).arrives_at("web")


def call(card: Card, number: int) -> None:
    syn(card, number, "gateway")


@pytest.mark.parametrize("flood", [datagram, tunnel, call])
def test_a_flood_that_nobody_answers(card: Card, flood: Callable[[Card, int], None]) -> None:
    """Who is called all the same answers, and what was answered before goes on."""
    card.resolves("gateway")
    limit(card, WEB, inbound_flow_limit=LIMIT)
    talk = plays(card, 1000, OPEN, "gateway")
    victim_works(card, 1001, "gateway")
    for number in range(10, 10 + 5 * LIMIT):
        flood(card, number)
    plays(card, 2000, OPEN + " A:PA+10 B:A", "gateway")
    victim_works(card, 2001, "gateway")
    talk.plays("A:PA+10 B:A")
    victim_works(card, 1001, "gateway")
    alive = {flow.source_port for flow in card.flows(vnic=WEB)}
    assert {1000, 1001, 2000, 2001} <= alive
    assert len(alive | {0}) <= LIMIT + 1
    assert refused(card, "flow_limit") == 0
    assert evicted(card) > 4 * LIMIT - 4
    kinds = {event.kind for event in card.shard.events().events} - {EventKind.RULE_LOG}
    assert kinds <= {EventKind.FLOW_LIMIT, EventKind.HALF_OPEN_LIMIT}
    card.shard.settle()
    limits = card.shard.counters().limits
    pushed = [limits[WEB, name].refused for name in ("inbound_flow_limit", "inbound_half_open_limit")]
    assert sum(pushed) == evicted(card)
    assert (pushed[0] > 0) == (EventKind.FLOW_LIMIT in kinds)


def test_what_has_ended_goes_first_and_handshakes_last(card: Card) -> None:
    """Of each kind the oldest, by when it came to be of it."""
    limit(card, CLIENT, flow_limit=6)
    syn(card, 1)
    asks(card, 2).arrives_at("web")
    exchange(card, 3)
    asks(card, 4).arrives_at("web")
    plays(card, 5, SHUT)
    plays(card, 6, OPEN)
    gone = []
    for number in range(7, 12):
        before = numbers(card)
        plays(card, number, OPEN)
        gone += sorted({*before} - {*numbers(card)})
    assert gone == [3, 5, 2, 4, 1]
    assert (ended_evicted(card), evicted(card)) == (2, 3)
    assert used(card, CLIENT, "flow_limit") == (6, 6, 3)
    assert told(card) == [(EventKind.FLOW_LIMIT, CLIENT)]
    Talk(card, sport=12).a("S").is_dropped("flow_limit").silently()
    asks(card, 13).is_dropped("flow_limit").silently()
    assert used(card, CLIENT, "flow_limit") == (6, 6, 5)
    assert {flow.tcp_state for flow in card.flows()} == {TcpState.ESTABLISHED}


def test_one_way_goes_on_though_it_makes_way(card: Card) -> None:
    """Its next packet is a first packet, and passes the rules again."""
    limit(card, CLIENT, flow_limit=2)
    for _ in range(3):
        for number in (1, 2, 3):
            asks(card, number).arrives_at("web")
    assert numbers(card) == [2, 3]
    assert evicted(card) == 7


def test_nothing_goes_for_what_is_refused(card: Card) -> None:
    """`new_flow_limit` is asked first, and nobody else's goes for a limit."""
    limit(card, CLIENT, flow_limit=2, new_flow_limit=2)
    asks(card, 9, "db").arrives_at("web")
    asks(card, 1).arrives_at("web")
    asks(card, 2).arrives_at("web")
    asks(card, 3).is_dropped("new_flow_limit").silently()
    assert (numbers(card), evicted(card)) == ([1, 2, 9], 0)
    card.after(1)
    echo(card, 4)
    assert (numbers(card), evicted(card)) == ([2, 4, 9], 1)
