"""What was one exchange makes way: UDP that was answered once and an echo are over though nobody says so. Who asks much
isn't refused because of it, and what goes on stays (RFC 4787 4.3, where there is room)."""

from __future__ import annotations

import pytest

from hal.packet.contract import EventKind, TcpState
from tests.packets.card import Card, Sent
from tests.packets.packets import Description, other, ping, pong, udp, unreachable
from tests.packets.tcp.talk import OPEN
from tests.packets.test_ended import SHUT, ended_evicted, limit, plays, used
from tests.packets.test_limits import CLIENT, WEB, evicted, goes_on, opens, refused, syn, told, transit, victim_works

ADDRESSES = {"client": "10.1.0.20", "gateway": "203.0.113.9", "db": "10.2.0.5"}


def asks(card: Card, number: int, host: str = "client", **ip: object) -> Sent:
    """A query of the web's resolver from this port."""
    query = udp(f"{ADDRESSES[host]}:{number} > 10.1.0.10:53", ip=ip)
    return card.host(host).sends(query)


def answers(card: Card, number: int, host: str = "client") -> Sent:
    return card.host("web").sends(udp(f"10.1.0.10:53 > {ADDRESSES[host]}:{number}"))


def exchange(card: Card, number: int, host: str = "client") -> None:
    asks(card, number, host).arrives_at("web")
    answers(card, number, host).arrives_at(host)


def echo(card: Card, number: int, host: str = "client") -> None:
    card.host(host).sends(ping(f"{ADDRESSES[host]} > 10.1.0.10", number)).arrives_at("web")
    card.host("web").sends(pong(f"10.1.0.10 > {ADDRESSES[host]}", number)).arrives_at(host)


def echo6(card: Card, number: int) -> None:
    card.host("client").sends(ping("2001:db8:1::14 > 2001:db8:1::a", number)).arrives_at("web")
    card.host("web").sends(pong("2001:db8:1::a > 2001:db8:1::14", number)).arrives_at("client")


def numbers(card: Card) -> list[int]:
    """Source ports and identifiers of all connections."""
    return sorted(flow.source_port for flow in card.flows())


# --- flow_limit --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("one", [exchange, echo, echo6])
def test_many_exchanges(card: Card, one: type) -> None:
    """As many as there are time for, however few may be at once: nothing is refused, and nothing told."""
    limit(card, CLIENT, flow_limit=3)
    plays(card, 1, OPEN)
    for number in range(2, 42):
        one(card, number)
    assert numbers(card) == [1, 40, 41]
    assert (ended_evicted(card), evicted(card), refused(card, "flow_limit")) == (38, 0, 0)
    assert used(card, CLIENT, "flow_limit") == (1, 3, 0)
    assert told(card) == []


def test_strangers_queries_end_nothing_new(card: Card) -> None:
    """A handshake with whom they ask finds room, and what is established stays."""
    card.resolves("gateway")
    limit(card, WEB, inbound_flow_limit=4)
    talk = plays(card, 1, OPEN, "gateway")
    for number in range(2, 22):
        exchange(card, number, "gateway")
    plays(card, 30, OPEN, "gateway")
    talk.plays("A:PA+10 B:A")
    strangers = sorted(flow.source_port for flow in card.flows(vnic=WEB))
    assert (strangers, ended_evicted(card), evicted(card)) == ([1, 20, 21, 30], 18, 0)
    assert used(card, WEB, "inbound_flow_limit") == (2, 4, 0)


def test_what_was_answered_first_goes_first(card: Card) -> None:
    """Not what was asked first, nor what was answered last of all."""
    limit(card, CLIENT, flow_limit=3)
    for number in (1, 2, 3):
        asks(card, number).arrives_at("web")
    for number in (2, 1, 3, 2):
        answers(card, number).arrives_at("client")
    gone = []
    for number in (4, 5, 6):
        before = numbers(card)
        asks(card, number).arrives_at("web")
        gone += sorted(set(before) - set(numbers(card)))
    assert gone == [2, 1, 3]
    for number in (4, 5, 6):
        answers(card, number).arrives_at("client")
        asks(card, number).arrives_at("web")
    asks(card, 7).is_dropped("flow_limit").silently()
    assert refused(card, "flow_limit") == 1


def test_what_goes_on_does_not_make_way(card: Card) -> None:
    """A stream, whose initiator has spoken behind an answer; and what has no ports and was answered."""
    limit(card, CLIENT, flow_limit=4)
    for number in (1, 2):
        exchange(card, number)
        asks(card, number).arrives_at("web")
    card.host("client").sends(other("10.1.0.20 > 10.1.0.10", 50)).arrives_at("web")
    card.host("web").sends(other("10.1.0.10 > 10.1.0.20", 50)).arrives_at("client")
    exchange(card, 3)
    assert used(card, CLIENT, "flow_limit") == (3, 4, 0)
    exchange(card, 4)
    asks(card, 4).arrives_at("web")
    assert (numbers(card), ended_evicted(card)) == ([0, 1, 2, 4], 1)
    asks(card, 5).is_dropped("flow_limit").silently()
    assert used(card, CLIENT, "flow_limit") == (4, 4, 1)
    assert told(card) == [(EventKind.FLOW_LIMIT, CLIENT)]
    answers(card, 1).arrives_at("client")  # nor is it one exchange ever again
    asks(card, 6).is_dropped("flow_limit").silently()
    assert evicted(card) == 0


def test_each_echo_is_an_exchange(card: Card) -> None:
    """Also of who asks again and again; he is heard again."""
    limit(card, CLIENT, flow_limit=2)
    for _ in range(3):
        echo(card, 1)
    echo(card, 2)
    echo(card, 1)
    echo(card, 3)
    assert (numbers(card), ended_evicted(card)) == ([2, 3], 1)
    echo(card, 1)
    assert (numbers(card), ended_evicted(card)) == ([1, 3], 2)


def test_rfc4787_4_3_with_room_it_is_kept(card: Card) -> None:
    """REQ-5: for as long as any that was answered."""
    limit(card, CLIENT, flow_limit=2)
    exchange(card, 1)
    card.after(299)
    answers(card, 1).arrives_at("client")
    card.after(299)
    exchange(card, 2)
    assert (numbers(card), ended_evicted(card)) == ([1, 2], 0)
    asks(card, 1).arrives_at("web")


def test_who_has_made_way(card: Card) -> None:
    """A second answer is a packet of its sender's own, as his rules see it; another question opens the connection."""
    limit(card, CLIENT, flow_limit=1)
    echo(card, 1)
    exchange(card, 2)
    exchange(card, 3)
    card.host("web").sends(pong("10.1.0.10 > 10.1.0.20", 1)).is_dropped("icmp_type").silently()
    answers(card, 2).is_dropped("firewall_default")
    exchange(card, 2)
    assert (numbers(card), ended_evicted(card)) == ([2], 3)


def test_nothing_goes_for_who_is_refused(card: Card) -> None:
    """Of as many a second as may be."""
    limit(card, CLIENT, flow_limit=2, new_flow_limit=2)
    for number in (1, 2):
        exchange(card, number)
    for number in (3, 4, 5):
        asks(card, number).is_dropped("new_flow_limit").silently()
    assert (numbers(card), ended_evicted(card)) == ([1, 2], 0)


def fragment_of(begin: int, back: bool) -> Description:
    """A datagram of 400 bytes in two, a query's or an answer's."""
    ends = "10.1.0.10:53 > 10.1.0.20:1" if back else "10.1.0.20:1 > 10.1.0.10:53"
    whole = bytes(udp(ends, bytes(400)).build().payload)
    a, b = (ends.split(" > ")[one].split(":", maxsplit=1)[0] for one in (0, 1))
    ip = {"id": 7, "flags": "MF" if begin == 0 else 0, "frag": begin // 8}
    return other(f"{a} > {b}", 17, whole[begin : 200 if begin == 0 else None], ip=ip)


def test_fragments_are_heard_as_packets_are(card: Card) -> None:
    """A question in two is one question; a part of another behind its answer goes on."""
    limit(card, CLIENT, flow_limit=1)
    for back in (False, True):
        for begin in (0, 200):
            sent = card.host("web" if back else "client").sends(fragment_of(begin, back))
            sent.arrives_at("client" if back else "web")
    assert used(card, CLIENT, "flow_limit")[0] == 0
    card.host("client").sends(fragment_of(0, back=False)).arrives_at("web")
    assert used(card, CLIENT, "flow_limit")[0] == 1
    asks(card, 2).is_dropped("flow_limit").silently()


def test_errors_are_neither_answers_nor_questions(card: Card) -> None:
    """RFC 4787 REQ-10: the client has closed its port, the resolver hasn't one."""
    limit(card, CLIENT, flow_limit=2)
    asks(card, 1).arrives_at("web")
    query, answer = udp("10.1.0.20:1 > 10.1.0.10:53"), udp("10.1.0.10:53 > 10.1.0.20:2")
    card.host("web").sends(unreachable("10.1.0.10", "10.1.0.20", query)).arrives_at("client")
    assert used(card, CLIENT, "flow_limit")[0] == 1
    exchange(card, 2)
    card.host("client").sends(unreachable("10.1.0.20", "10.1.0.10", answer)).arrives_at("web")
    assert used(card, CLIENT, "flow_limit")[0] == 1
    exchange(card, 3)
    assert (numbers(card), ended_evicted(card)) == ([1, 3], 1)


# --- with what else has ended, and in a full table ---------------------------------------------------------------


def test_what_ended_and_what_was_answered_go_in_turn(card: Card) -> None:
    limit(card, CLIENT, flow_limit=4)
    plays(card, 1, SHUT)
    exchange(card, 2)
    plays(card, 3, OPEN + " A:R")
    echo(card, 4)
    for number, left in ((5, [2, 3, 4, 5]), (6, [3, 4, 5, 6]), (7, [4, 5, 6, 7]), (8, [5, 6, 7, 8])):
        plays(card, number, OPEN)
        assert numbers(card) == left
    assert {flow.tcp_state for flow in card.flows()} == {TcpState.ESTABLISHED}


def test_in_a_full_table_who_has_most_of_them_gives(card: Card) -> None:
    """Its own first; before anything half-open. What goes on stays."""
    full = card.anew(connections=12)
    for number in range(1, 5):
        exchange(full, number)
    exchange(full, 6, "db")
    victim_works(full, 5)
    for port in range(11, 17):
        syn(full, port)
    exchange(full, 7, "db")
    assert numbers(full) == [1, 2, 3, 4, 5, 7, *range(11, 17)]
    full.host("open").sends(udp("10.2.0.40:8 > 10.1.0.10:53")).arrives_at("web")
    assert numbers(full) == [2, 3, 4, 5, 7, 8, *range(11, 17)]
    assert (ended_evicted(full), evicted(full), told(full)) == (2, 0, [])
    answers(full, 5, "db").arrives_at("db")


def test_transit_makes_way_for_transit(card: Card) -> None:
    """What is nobody's has a third of the table; who forges the answers as well takes from that alone."""
    full = card.anew(connections=100)
    full.resolves("gateway")
    before = len(full.flows())
    opens(full, 1)
    for first in range(1, 101, 10):
        some = range(first, first + 10)
        assert transit(full, some) == transit(full, some, back=True) == [""] * 10
    nobodys = [flow for flow in full.flows() if flow.source == "198.51.100.1"]
    assert 30 <= len(nobodys) <= 34
    assert (ended_evicted(full), evicted(full)) == (100 - len(nobodys), 0)
    goes_on(full, 1)
    assert len(full.flows()) == before + 1 + len(nobodys)
