"""Limits per vNIC: what one floods with is taken from nobody else, and what is established stays.

All of a card's vNICs are on one worker here: each test has an attacker whose packets a limit refuses, read from that
reason's counter, and a victim who opens connections and goes on with those that he has.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from hal.packet.contract import EventKind, PacketIn, TcpState
from tests.packets.card import SECOND, Card, answer_to_request
from tests.packets.packets import tcp, udp
from tests.packets.windows import allowance, allowed, bucket
from tests.packets.world import HOSTS

CLIENT, DB, WEB = 20, 30, 10
SERVER = "10.1.0.10:80"
SOURCES = {"client": "10.1.0.20", "db": "10.2.0.5", "gateway": "203.0.113.9"}


def refused(card: Card, reason: str) -> int:
    return card.shard.counters().drops[reason]


def evicted(card: Card) -> int:
    return card.shard.counters().engine["half_open_evicted"]


def told(card: Card) -> list[tuple[EventKind, int]]:
    return [(event.kind, event.id) for event in card.shard.events().events if event.kind is not EventKind.RULE_LOG]


def syn(card: Card, port: int, host: str = "client") -> None:
    card.host(host).sends(tcp(f"{SOURCES[host]}:{port} > {SERVER}")).arrives_at("web")


def synack(card: Card, port: int) -> None:
    card.host("web").sends(tcp(f"{SERVER} > 10.1.0.20:{port}", flags="SA")).arrives_at("client")


def opens(card: Card, port: int) -> None:
    """A whole handshake of the client's."""
    syn(card, port)
    synack(card, port)
    goes_on(card, port)


def goes_on(card: Card, port: int) -> None:
    card.host("client").sends(tcp(f"10.1.0.20:{port} > {SERVER}", flags="A")).arrives_at("web")


def victim_works(card: Card, port: int, host: str = "db") -> None:
    """UDP that goes on: it is more than one exchange."""
    card.host(host).sends(udp(f"{SOURCES[host]}:{port} > 10.1.0.10:53")).arrives_at("web")
    card.host("web").sends(udp(f"10.1.0.10:53 > {SOURCES[host]}:{port}")).arrives_at(host)
    card.host(host).sends(udp(f"{SOURCES[host]}:{port} > 10.1.0.10:53")).arrives_at("web")


# --- connections at a time ----------------------------------------------------------------------------------------


def test_own_limit(card: Card) -> None:
    card.changes(replace(card.row("vnic", 20), flow_limit=2))
    for port in (1, 2):
        victim_works(card, port, "client")
    card.host("client").sends(udp("10.1.0.20:3 > 10.1.0.10:53")).is_dropped("flow_limit")
    card.host("web").sends(udp("10.1.0.10:3 > 10.1.0.20:53")).arrives_at("client")
    card.host("client").sends(udp("10.1.0.20:1 > 10.1.0.10:53")).arrives_at("web")
    card.after(300)
    card.host("client").sends(udp("10.1.0.20:3 > 10.1.0.10:53")).arrives_at("web")


def test_inbound_limit(card: Card) -> None:
    """A share apart from what the vNIC opens itself, each of its own size."""
    card.changes(replace(card.row("vnic", 10), inbound_flow_limit=2, flow_limit=1))
    card.resolves("gateway")
    for port in (1, 2):
        victim_works(card, port, "gateway")
    card.host("gateway").sends(udp("203.0.113.9:3 > 10.1.0.10:53")).is_dropped("flow_limit")
    for host in ("web", "client", "web"):
        path = ("10.1.0.10:3", "10.1.0.20:53")[:: 1 if host == "web" else -1]
        card.host(host).sends(udp(" > ".join(path))).arrives_at("client" if host == "web" else "web")
    card.host("web").sends(udp("10.1.0.10:4 > 10.1.0.20:53")).is_dropped("flow_limit")


def test_table_is_full(card: Card) -> None:
    small = card.anew(connections=2)
    for port in (1, 2):
        small.host("client").sends(udp(f"10.1.0.20:{port} > 10.1.0.10:53")).arrives_at("web")
    small.host("client").sends(udp("10.1.0.20:3 > 10.1.0.10:53")).is_dropped("flow_table_full")
    small.after(120)
    small.host("client").sends(udp("10.1.0.20:3 > 10.1.0.10:53")).arrives_at("web")


# --- connections a second ----------------------------------------------------------------------------------------


def test_new_connections_a_second(card: Card) -> None:
    card.changes(replace(card.row("vnic", CLIENT), new_flow_limit=3))
    opens(card, 1)
    victim_works(card, 1)
    for port in (2, 3):
        syn(card, port)
    for port in range(4, 14):
        card.host("client").sends(tcp(f"10.1.0.20:{port} > {SERVER}")).is_dropped("new_flow_limit")
    assert refused(card, "new_flow_limit") == 10
    goes_on(card, 1)
    victim_works(card, 1)
    victim_works(card, 2)
    assert told(card) == [(EventKind.NEW_FLOW_LIMIT, CLIENT)]
    card.after(1 / 3 + 1e-9)
    syn(card, 14)
    card.host("client").sends(tcp(f"10.1.0.20:15 > {SERVER}")).is_dropped("new_flow_limit")
    assert told(card) == [(EventKind.NEW_FLOW_LIMIT, CLIENT)]


def test_a_limit_that_goes_on_biting_is_told_once_in_ten_seconds(card: Card) -> None:
    """However often it lets something through between: who floods doesn't push out what else is told."""
    card.changes(replace(card.row("vnic", CLIENT), new_flow_limit=2))
    began, port, passed = card.now, 0, 0
    while card.now - began < 20_500_000_000:
        card.after(0.25)
        for _ in range(2):
            port += 1
            sent = card.host("client").sends(udp(f"10.1.0.20:{port} > 10.1.0.10:53"))
            passed += sent.result.reason == ""
    assert passed == 42
    assert refused(card, "new_flow_limit") == 2 * 82 - passed
    assert told(card) == [(EventKind.NEW_FLOW_LIMIT, CLIENT)] * 3


def test_what_comes_to_it_a_second_is_apart(card: Card) -> None:
    card.changes(replace(card.row("vnic", WEB), new_flow_limit=2))
    for port in (1, 2):
        syn(card, port, "gateway")
    card.host("gateway").sends(tcp(f"203.0.113.9:3 > {SERVER}")).is_dropped("new_flow_limit")
    card.host("web").sends(udp("10.1.0.10:4 > 10.1.0.20:53")).arrives_at("client")
    victim_works(card, 1)  # it counts for who opens it
    assert told(card) == [(EventKind.NEW_FLOW_LIMIT, WEB)]


def test_no_token_where_there_is_no_room(card: Card) -> None:
    """Who has as many as he may is told so before it is asked how fast."""
    card.changes(replace(card.row("vnic", CLIENT), flow_limit=1, new_flow_limit=2))
    opens(card, 1)
    for port in (2, 3, 4):
        card.host("client").sends(tcp(f"10.1.0.20:{port} > {SERVER}")).is_dropped("flow_limit")
    card.changes(replace(card.row("vnic", CLIENT), flow_limit=9, new_flow_limit=2))
    syn(card, 5)
    card.host("client").sends(tcp(f"10.1.0.20:6 > {SERVER}")).is_dropped("new_flow_limit")


# --- half-open ---------------------------------------------------------------------------------------------------


def test_the_oldest_half_open_goes(card: Card) -> None:
    card.changes(replace(card.row("vnic", CLIENT), half_open_limit=3))
    opens(card, 1)
    victim_works(card, 1)
    for port in range(2, 12):
        syn(card, port)
    assert evicted(card) == 7
    assert sorted(flow.source_port for flow in card.flows(protocol=6)) == [1, 9, 10, 11]
    assert told(card) == [(EventKind.HALF_OPEN_LIMIT, CLIENT)]
    goes_on(card, 1)
    victim_works(card, 1)
    victim_works(card, 2)
    synack(card, 9)  # it isn't established yet, and the oldest
    syn(card, 12)
    card.host("client").sends(tcp(f"10.1.0.20:9 > {SERVER}", flags="A")).is_dropped("tcp_no_session")
    synack(card, 10)
    goes_on(card, 10)
    syn(card, 13)
    assert evicted(card) == 8
    assert card.flow(source_port=10).tcp_state is TcpState.ESTABLISHED


@pytest.mark.parametrize(("flows", "handshakes"), [(1, 1), (2, 1), (3, 1), (9, 4), (40, 20)])
def test_handshakes_leave_half_of_what_may_be(card: Card, flows: int, handshakes: int) -> None:
    """Whatever the card or a row says of them, by what a vNIC may open, and apart by what may be opened to it."""
    card.changes(
        replace(card.row("vnic", CLIENT), flow_limit=flows, half_open_limit=100),
        replace(card.row("vnic", WEB), inbound_flow_limit=flows),
    )
    for port in range(1, 2 * flows + 1):
        for host, source in (("client", "10.1.0.20"), ("gateway", "203.0.113.9")):
            card.host(host).sends(tcp(f"{source}:{port} > {SERVER}"))
    assert [len(card.flows(vnic=one)) for one in (CLIENT, 1)] == [handshakes, handshakes]
    card.shard.settle()
    limits = card.shard.counters().limits
    for one in ((CLIENT, "half_open_limit"), (WEB, "inbound_half_open_limit")):
        assert limits[one][:2] == (handshakes, handshakes)
    card.resolves("gateway")
    for port in range(101, 101 + flows - handshakes):
        for host in ("client", "gateway"):
            victim_works(card, port, host)
    card.shard.settle()
    limits = card.shard.counters().limits
    for one in ((CLIENT, "flow_limit"), (WEB, "inbound_flow_limit")):
        assert limits[one][:2] == (flows, flows)
    assert refused(card, "flow_limit") == 0


def test_half_open_to_it_is_apart(card: Card) -> None:
    """A flood from the network takes neither what the vNIC opens nor what is open to it already."""
    card.changes(replace(card.row("vnic", WEB), half_open_limit=2))
    card.host("web").sends(tcp("10.1.0.10:9 > 10.1.0.20:8080")).arrives_at("client")
    for port in range(1, 21):
        syn(card, port, "gateway")
    assert evicted(card) == 18
    assert told(card) == [(EventKind.HALF_OPEN_LIMIT, WEB)]
    assert sorted(flow.source_port for flow in card.flows(protocol=6)) == [9, 19, 20]
    opens(card, 1)
    victim_works(card, 1)


def test_expired_ones_are_no_half_open(card: Card) -> None:
    card.changes(replace(card.row("vnic", CLIENT), half_open_limit=2))
    for port in (1, 2):
        syn(card, port)
    card.after(240)
    for port in (3, 4):
        syn(card, port)
    assert evicted(card) == 0


def test_udp_is_never_half_open_by_its_limit(card: Card) -> None:
    card.changes(replace(card.row("vnic", CLIENT), half_open_limit=1))
    for port in range(1, 9):
        card.host("client").sends(udp(f"10.1.0.20:{port} > 10.1.0.10:53")).arrives_at("web")
    assert evicted(card) == 0
    assert len(card.flows()) == 8


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_full_table_has_room_for_who_has_less(card: Card, protocol: str) -> None:
    """Who filled it gives the oldest that nobody has answered; what is established stays, of both."""
    full = card.anew(connections=40)
    opens(full, 1)
    victim_works(full, 1)
    make = tcp if protocol == "tcp" else udp
    for port in range(2, 40):
        full.host("client").sends(make(f"10.1.0.20:{port} > 10.1.0.10:{80 if protocol == 'tcp' else 53}"))
    assert (len(full.flows()), evicted(full)) == (40, 0)
    full.host("client").sends(tcp(f"10.1.0.20:99 > {SERVER}")).is_dropped("flow_table_full")
    for port in range(2, 12):
        victim_works(full, port)
    assert evicted(full) == 10
    assert sorted(flow.source_port for flow in full.flows(vnic=CLIENT)) == [1, *range(12, 40)]
    assert len(full.flows()) == 40
    victim_works(full, 1)
    goes_on(full, 1)
    assert refused(full, "flow_table_full") == 1
    assert (EventKind.FLOW_TABLE_FULL, 0) in told(full)


@pytest.mark.parametrize(("hosts", "who"), [(("client", "db"), CLIENT), (("db", "client"), DB)])
def test_of_two_with_as_many_who_has_got_no_other_for_longest(card: Card, hosts: tuple[str, str], who: int) -> None:
    """That one of his has expired since, so that he has come to have as many just now, changes nothing."""
    full = card.anew(connections=5)

    def asks(host: str, *ports: int) -> None:
        source = {"client": "10.1.0.20", "db": "10.2.0.5"}[host]
        for port in ports:
            full.host(host).sends(udp(f"{source}:{port} > 10.1.0.10:53")).arrives_at("web")

    asks(hosts[0], 9)
    full.after(60)
    asks(hosts[0], 1, 2)
    asks(hosts[1], 1, 2)
    full.after(61)
    syn(full, 1, "gateway")
    assert (evicted(full), len(full.flows())) == (0, 5)
    syn(full, 2, "gateway")
    assert evicted(full) == 1
    assert [flow.source_port for flow in full.flows(vnic=who)] == [2]
    assert len(full.flows()) == 5


def test_in_a_full_table_handshakes_go_before_what_is_older(card: Card) -> None:
    """TCP is asked for again, and one way is all that many uses of UDP have."""
    full = card.anew(connections=16)
    for port in range(1, 15):
        full.host("client").sends(udp(f"10.1.0.20:{port} > 10.1.0.10:53")).arrives_at("web")
    syn(full, 1)
    syn(full, 2)
    assert (len(full.flows()), evicted(full)) == (16, 0)
    for handshakes, queries in (([2], range(1, 15)), ([], range(1, 15)), ([], range(2, 15))):
        victim_works(full, len(handshakes) * 100 + len(queries))
        assert [flow.source_port for flow in full.flows(vnic=CLIENT, protocol=6)] == handshakes
        assert sorted(flow.source_port for flow in full.flows(vnic=CLIENT, protocol=17)) == [*queries]
    assert (len(full.flows()), evicted(full)) == (16, 3)


def test_established_ones_never_go(card: Card) -> None:
    full = card.anew(connections=3)
    for port in (1, 2, 3):
        victim_works(full, port)
    full.host("client").sends(tcp(f"10.1.0.20:1 > {SERVER}")).is_dropped("flow_table_full")
    assert evicted(full) == 0


# --- places in the table -----------------------------------------------------------------------------------------


def transit(card: Card, ports: range, back: bool = False) -> list[str]:
    """UDP from behind one uplink to behind the other; back: what claims to be its answers, by the uplink it came by."""
    ends = "203.0.113.5:9 > 198.51.100.1:{}" if back else "198.51.100.1:{} > 203.0.113.5:9"
    second = card.host("second")
    packets = [PacketIn(second.frame(udp(ends.format(port))), HOSTS["second"].port, card.now) for port in ports]
    return [result.reason for result in card.replays(packets)]


def with_transit(card: Card, many: int) -> Card:
    """A table of 100 with so much transit, answered and going on, and a connection of the client's."""
    full = card.anew(connections=100)
    full.host("client").sends(udp("10.1.0.20:1 > 192.0.2.1:9")).waits()
    full.receives(answer_to_request(HOSTS["gateway"], "192.0.2.1"), HOSTS["gateway"])
    for back in (False, True, False):
        assert transit(full, range(1, many + 1), back) == [""] * many
    assert (len(full.flows()), evicted(full)) == (many + 1, 0)
    return full


@pytest.fixture
def flooded(card: Card) -> Card:
    """As much of it as may be."""
    return with_transit(card, 33)


def test_transit_leaves_room(flooded: Card) -> None:
    """What is between uplinks, whoever answers it, has a third of the table and no more."""
    assert transit(flooded, range(34, 44)) == ["flow_table_full"] * 10
    assert refused(flooded, "flow_table_full") == 10
    assert (EventKind.FLOW_TABLE_FULL, 0) in told(flooded)
    for port in range(1, 67):
        victim_works(flooded, port)
    assert (len(flooded.flows()), evicted(flooded)) == (100, 0)


def test_many_handshakes_go_before_the_table_is_full(card: Card) -> None:
    """What others have half-open is as good as free, however many have a part of it: who has most gives the oldest."""
    full = card.anew(connections=100)
    full.host("client").sends(udp("10.1.0.20:1 > 192.0.2.1:9")).waits()
    full.receives(answer_to_request(HOSTS["gateway"], "192.0.2.1"), HOSTS["gateway"])
    full.after(300)
    for port in range(1, 25):
        full.host("client").sends(udp(f"10.1.0.20:{port} > 10.1.0.10:53")).arrives_at("web")
        full.host("db").sends(udp(f"10.2.0.5:{port} > 10.1.0.10:53")).arrives_at("web")
    for port in range(1, 13):
        syn(full, port, "gateway")
    for port in range(1, 35):
        for back in (False, True, False):
            assert transit(full, range(port, port + 1), back) == [""]
        assert evicted(full) == max(0, port - 14)
    assert transit(full, range(35, 45)) == ["flow_table_full"] * 10
    assert refused(full, "flow_table_full") == 10
    assert [sum(flow.ingress == one for flow in full.flows()) for one in (CLIENT, DB)] == [14, 14]
    assert (len(full.flows()), evicted(full)) == (34 + 14 + 14 + 12, 20)
    victim_works(full, 99)


def test_a_flood_pushes_out_no_bystanders_few(flooded: Card) -> None:
    for port in range(1, 9):
        syn(flooded, port)
    assert transit(flooded, range(34, 35)) == ["flow_table_full"]
    assert (evicted(flooded), len(flooded.flows(vnic=CLIENT))) == (0, 9)
    assert refused(flooded, "flow_table_full") == 1


def asks(card: Card, ports: range) -> None:
    """Queries of two vNICs that nobody answers, a half each."""
    for port in ports:
        host, source = ("client", "10.1.0.20") if port % 2 else ("db", "10.2.0.5")
        card.host(host).sends(udp(f"{source}:{port} > 10.1.0.10:53")).arrives_at("web")


def test_what_others_would_give_away_is_half_as_much_as_is_free(card: Card) -> None:
    """Or more: by one less nothing is taken of it (ADR 0202)."""
    full = with_transit(card, 30)
    victim_works(full, 99)
    asks(full, range(2, 23))
    assert transit(full, range(31, 32)) == ["flow_table_full"]  # 22 of theirs, with the client's first; 47 are free
    assert (len(full.flows()), evicted(full), refused(full, "flow_table_full")) == (53, 0, 1)
    asks(full, range(23, 24))
    assert transit(full, range(32, 33)) == [""]  # 23 of theirs, 46 are free
    assert (len(full.flows()), evicted(full), refused(full, "flow_table_full")) == (54, 1, 1)
    assert transit(full, range(33, 34)) == ["flow_table_full"]  # 22 of theirs: its own that is half-open is not
    assert (len(full.flows()), evicted(full), refused(full, "flow_table_full")) == (54, 1, 2)


@pytest.mark.parametrize(("others", "reason"), [(0, ""), (1, "flow_table_full")])
def test_who_takes_of_it_has_fewer_than_half_as_many_as_both_together(flooded: Card, others: int, reason: str) -> None:
    """33, while 36 are free and 31 of theirs; 35 are free where somebody else has one that goes on."""
    for port in range(99, 99 + others):
        victim_works(flooded, port)
    asks(flooded, range(2, 32))
    assert len(flooded.flows()) == 64 + others
    assert transit(flooded, range(34, 35)) == [reason]
    assert (evicted(flooded), refused(flooded, "flow_table_full")) == (1 - others, others)
    assert len(flooded.flows()) == 64 + others


# --- what the card makes -----------------------------------------------------------------------------------------


def suppressed(card: Card) -> int:
    return card.shard.counters().engine["icmp_suppressed"]


def errors(card: Card, source: str, many: int, host: str = "client", to: str = "10.2.0.5") -> int:
    """How many of so many packets that can't go on are answered by an ICMP error."""
    frame = card.host(host).frame(udp(f"{source}:1 > {to}:53", ip={"ttl": 1}))
    packets = [PacketIn(frame, HOSTS[host].port, card.now)] * many
    return sum(len(result.outputs) for result in card.replays(packets))


def test_what_timers_tell_counts_when_it_is_told(card: Card) -> None:
    """That nobody answers for a neighbour, in the second of the packet that time passes with."""
    card.changes(replace(card.row("vnic", CLIENT), icmp_limit=640))
    for port in range(1, 5):
        card.host("client").sends(udp(f"10.1.0.20:{port} > 192.0.2.77:9")).waits()
    sent = card.after(31).host("client").sends(udp("10.1.0.20:1 > 10.1.0.10:53"))
    told = sum(one.port == HOSTS["client"].port for one in sent.outputs())
    assert told == 4
    assert told + errors(card, "10.1.0.20", 100) == allowed("icmp", CLIENT, "10.1.0.20", card.now, 640)


def test_icmp_errors_a_second(card: Card) -> None:
    """Between half and three halves of a sixteenth, another number every second."""
    limit, got = 640, []
    card.changes(replace(card.row("vnic", CLIENT), icmp_limit=limit))
    for second in range(20):
        got.append(errors(card, "10.1.0.20", 70))
        assert got[-1] == allowed("icmp", CLIENT, "10.1.0.20", card.now, limit)
        if second == 0:
            assert (suppressed(card), refused(card, "ttl_exceeded")) == (70 - got[0], 70)
            assert told(card) == [(EventKind.ICMP_LIMIT, CLIENT)]
            assert errors(card, "10.1.0.10", 10, "web") == 10  # another vNIC has its own
            victim_works(card, 1)
            assert errors(card, "10.1.0.20", 10) == 0
        card.after(1)
    assert 20 <= min(got) < 30 < 50 < max(got) <= 60
    assert 35 < sum(got) / len(got) < 45


def test_fewer_than_buckets_are_one_each(card: Card) -> None:
    card.now = 100 * SECOND
    card.changes(replace(card.row("vnic", CLIENT), icmp_limit=1))
    assert errors(card, "10.1.0.20", 3) == 1
    assert errors(card.after(1 - 1e-9), "10.1.0.20", 3) == 0
    assert errors(card.after(1e-9), "10.1.0.20", 3) == 1


def test_who_is_at_another_address_learns_nothing(card: Card) -> None:
    """By an uplink, where the limit is one for all who send to a vNIC: in other buckets nothing is missing."""
    card.changes(replace(card.row("vnic", DB), icmp_limit=16))
    got = {f"203.0.113.{last}": 0 for last in range(1, 60)}
    taken = dict.fromkeys(range(16), 0)
    for address in got:
        place = bucket("icmp to", DB, address)
        left = allowance("icmp to", DB, place, card.now, 16) - taken[place]
        taken[place] += left
        assert errors(card, address, 5, "gateway") == left
    assert all(taken.values())


def test_errors_about_what_comes_to_one_vnic_take_nothing_from_another(card: Card) -> None:
    """Nor from what that vNIC itself is told, or those who send to nobody's address."""
    card.changes(replace(card.row("vnic", CLIENT), icmp_limit=16))
    for last in range(1, 100):
        errors(card, f"203.0.113.{last}", 5, "gateway", "10.1.0.20")
    assert errors(card, "203.0.113.200", 5, "gateway", "10.1.0.20") == 0
    assert told(card) == [(EventKind.ICMP_LIMIT, CLIENT)]
    for to in ("10.2.0.5", "10.1.0.10", "192.168.9.9"):
        assert errors(card, "203.0.113.200", 20, "gateway", to) == 20
    assert errors(card, "10.1.0.20", 1) == 1


def test_path_mtu_discovery_goes_on(card: Card) -> None:
    """Of connections that live, whatever else is told of, from outside and from within."""
    card.changes(replace(card.row("vnic", DB), mtu=1400, icmp_limit=160), replace(card.row("vnic", WEB), icmp_limit=16))
    peer = "203.0.113.7:5 > 10.2.0.5:53"
    card.host("gateway").sends(udp(peer)).arrives_at("db")
    for last in range(1, 100):
        errors(card, f"203.0.113.{last}", 20, "gateway")
    large = udp(peer, bytes(1450), ip={"flags": "DF"})
    fresh = udp("203.0.113.7:6 > 10.2.0.5:53", bytes(1450), ip={"flags": "DF"})
    assert not card.host("gateway").sends(fresh).is_dropped("mtu_exceeded").outputs()
    assert card.host("gateway").sends(large).is_dropped("mtu_exceeded").answer().code == 4
    most = allowed("too big to", DB, "203.0.113.7", card.now, 160)
    answered = [bool(card.host("gateway").sends(large).outputs()) for _ in range(20)]
    assert answered == [True] * (most - 1) + [False] * (21 - most)


def test_resets_are_among_them(card: Card) -> None:
    card.changes(replace(card.row("vnic", CLIENT), icmp_limit=16))
    most = allowed("icmp", CLIENT, "10.1.0.20", card.now, 16)
    syns = [card.host("client").sends(tcp(f"10.1.0.20:{port} > 10.1.0.10:445")) for port in range(1, 5)]
    assert [len(sent.outputs()) for sent in syns] == [1] * most + [0] * (4 - most)
    assert refused(card, "firewall_reset") == 4
    assert suppressed(card) == 4 - most
