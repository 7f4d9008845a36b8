"""What is told of a vNIC's limits: how much of each is used, of how much, and how often each has refused.

Each test sends more than a limit has room for, and reads the number of that limit, and of all others that they refused
nothing. All of the engine's 65,536 neighbours are in tests/unit/test_engine_limits.py, first packets that wait in
tests/unit/test_engine_firsts.py.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hal.packet.contract import LIMITS, LIMITS_A_SECOND, Delete
from tests.packets.card import Card
from tests.packets.packets import tcp, udp
from tests.packets.tcp.talk import OPEN, Talk
from tests.packets.test_fragment_limits import fragments
from tests.packets.test_limits import opens, syn, victim_works
from tests.packets.windows import allowed
from tests.packets.world import HOSTS

UPLINK, WEB, CLIENT, DB = 1, 10, 20, 30
SERVER = "10.1.0.10:80"


def used(card: Card, vnic: int, limit: str) -> tuple[int, int]:
    """How much of a limit is used, and how much may be."""
    card.shard.settle()
    one = card.shard.counters().limits[vnic, limit]
    return one.used, one.most


def refused(card: Card) -> dict[tuple[int, str], int]:
    """By vNIC and limit, where it is not 0."""
    return {key: one.refused for key, one in card.shard.counters().limits.items() if one.refused}


def test_all_limits_of_all_rows_are_told(card: Card) -> None:
    card.shard.settle()
    limits = card.shard.counters().limits
    assert {name for _, name in limits} == {*LIMITS}
    assert {vnic for vnic, _ in limits} == {*card.shard.counters().vnics}
    assert all(limits[WEB, name].most for name in LIMITS)
    connections = {name for name in LIMITS if "flow" in name or "half_open" in name}
    for vnic in (UPLINK, HOSTS["card"].vnic):
        none = {name for name in LIMITS if not limits[vnic, name].most}
        by_uplinks = ("fragment", "icmp", "icmp_error", "first_packet")
        assert none == connections | {f"inbound_{name}_limit" for name in by_uplinks}
    assert not any(one.used or one.refused for one in limits.values())


def test_connections(card: Card) -> None:
    card.changes(replace(card.row("vnic", CLIENT), flow_limit=2), replace(card.row("vnic", WEB), inbound_flow_limit=1))
    for port in (1, 2):
        victim_works(card, port, "client")
    for port in (3, 4, 5):
        card.host("client").sends(udp(f"10.1.0.20:{port} > 10.1.0.10:53")).is_dropped("flow_limit")
    syn(card, 1, "gateway")
    for port in (2, 3):  # for whom the oldest makes way
        syn(card, port, "gateway")
    assert used(card, CLIENT, "flow_limit") == (2, 2)
    assert used(card, WEB, "inbound_flow_limit") == (1, 1)
    assert used(card, WEB, "flow_limit")[0] == used(card, CLIENT, "inbound_flow_limit")[0] == 0
    assert refused(card) == {(CLIENT, "flow_limit"): 3, (WEB, "inbound_flow_limit"): 2}
    card.after(300)
    assert used(card, CLIENT, "flow_limit") == (2, 2)  # no packet has come since
    victim_works(card, 1)
    assert used(card, CLIENT, "flow_limit") == (0, 2)


def test_connections_a_second(card: Card) -> None:
    card.changes(*(replace(card.row("vnic", one), new_flow_limit=2) for one in (CLIENT, WEB)))
    for port in range(1, 6):
        card.host("client").sends(udp(f"10.1.0.20:{port} > 10.1.0.10:53"))
    for port in range(1, 5):
        card.host("gateway").sends(tcp(f"203.0.113.9:{port} > {SERVER}"))
    assert used(card, CLIENT, "new_flow_limit") == used(card, WEB, "inbound_new_flow_limit") == (0, 2)
    assert refused(card) == {(CLIENT, "new_flow_limit"): 3, (WEB, "inbound_new_flow_limit"): 2}


def test_handshakes(card: Card) -> None:
    """Those that were pushed out are what this limit refused: no packet was dropped."""
    card.changes(*(replace(card.row("vnic", one), half_open_limit=3) for one in (CLIENT, WEB)))
    opens(card, 1)
    victim_works(card, 1)
    for port in range(2, 12):
        syn(card, port)
    for port in range(1, 6):
        syn(card, port, "gateway")
    assert used(card, CLIENT, "half_open_limit") == used(card, WEB, "inbound_half_open_limit") == (3, 3)
    assert used(card, CLIENT, "flow_limit")[0] == 4
    assert refused(card) == {(CLIENT, "half_open_limit"): 7, (WEB, "inbound_half_open_limit"): 2}
    assert sum(refused(card).values()) == card.shard.counters().engine["half_open_evicted"]
    card.changes(replace(card.row("vnic", CLIENT), half_open_limit=1))
    syn(card, 12)
    assert used(card, CLIENT, "half_open_limit") == (1, 1)
    assert refused(card)[CLIENT, "half_open_limit"] == 10


def test_what_goes_in_a_full_table_was_refused_by_no_limit(card: Card) -> None:
    full = card.anew(connections=20)
    for port in range(1, 21):
        full.host("client").sends(udp(f"10.1.0.20:{port} > 10.1.0.10:53"))
    victim_works(full, 1)
    assert full.shard.counters().engine["half_open_evicted"] == 1
    assert refused(full) == {}


def test_fragments_that_are_remembered(card: Card) -> None:
    card.changes(replace(card.row("vnic", CLIENT), fragment_limit=3))
    assert fragments(card, "client", range(5)).count("") == 3
    assert fragments(card, "gateway", range(7), "10.1.0.20").count("") == 3
    assert used(card, CLIENT, "fragment_limit") == used(card, CLIENT, "inbound_fragment_limit") == (3, 3)
    assert refused(card) == {(CLIENT, "fragment_limit"): 2, (CLIENT, "inbound_fragment_limit"): 4}
    assert sum(refused(card).values()) == card.shard.counters().drops["fragment_limit"]
    card.after(30)
    victim_works(card, 1)
    assert used(card, CLIENT, "fragment_limit") == used(card, CLIENT, "inbound_fragment_limit") == (0, 3)


def test_room_for_fragments_is_what_is_left(card: Card) -> None:
    """Where nobody says a number."""
    assert used(card, WEB, "fragment_limit") == (0, 1024)
    assert used(card, UPLINK, "fragment_limit") == (0, 1024)
    assert used(card, WEB, "inbound_fragment_limit") == (0, 256)
    for host in ("client", "db"):
        assert fragments(card, host, range(1024)).count("") == 1024
    assert fragments(card, "gateway", range(228)).count("") == 227
    assert used(card, WEB, "inbound_fragment_limit") == (227, 227)
    assert used(card, WEB, "fragment_limit") == (0, 1024)
    assert fragments(card, "client", range(2000, 2001)) == ["fragment_limit"]
    assert refused(card) == {(WEB, "inbound_fragment_limit"): 1, (CLIENT, "fragment_limit"): 1}
    card.changes(replace(card.row("vnic", WEB), fragment_limit=4000))
    assert used(card, WEB, "inbound_fragment_limit") == (227, 2048)


def test_icmp_that_is_made(card: Card) -> None:
    """Errors to a vNIC, and errors about what comes to it from outside."""
    card.changes(replace(card.row("vnic", CLIENT), icmp_limit=1))
    for _ in range(4):
        card.host("client").sends(udp("10.1.0.20:1 > 10.2.0.5:53", ip={"ttl": 1})).is_dropped("ttl_exceeded")
    for _ in range(3):
        card.host("gateway").sends(udp("203.0.113.9:1 > 10.1.0.20:53", ip={"ttl": 1})).is_dropped("ttl_exceeded")
    assert used(card, CLIENT, "icmp_limit") == used(card, CLIENT, "inbound_icmp_limit") == (0, 1)
    assert refused(card) == {(CLIENT, "icmp_limit"): 3, (CLIENT, "inbound_icmp_limit"): 2}
    assert sum(refused(card).values()) == card.shard.counters().engine["icmp_suppressed"]


def test_challenge_acks(card: Card) -> None:
    card.changes(replace(card.row("vnic", CLIENT), challenge_limit=1))
    talks = [Talk(card, ends=("client", "web"), sport=10_000 + place).plays(OPEN) for place in range(60)]
    sent = [talk.b("R", seq=5050).is_dropped("tcp_challenged") for talk in talks]
    answered = sum(bool(one.outputs()) for one in sent)
    assert answered == allowed("challenge", CLIENT, HOSTS["web"].addresses[0], card.now, 1)
    assert used(card, CLIENT, "challenge_limit") == (0, 512)
    assert refused(card) == {(CLIENT, "challenge_limit"): 60 - answered}


def test_punts(card: Card) -> None:
    card.changes(replace(card.row("vnic", CLIENT), punt_limit=2), replace(card.row("vnic", UPLINK), punt_limit=16))
    for number in range(5):
        sent = card.host("client").sends(tcp("10.1.0.20:4000 > 10.1.0.1:179"))
        sent.is_dropped("punt_limit") if number >= 2 else sent.arrives_at("card")
    for port in range(4):
        card.host("gateway").sends(udp(f"203.0.113.9:{port + 1} > 192.0.2.2:161"))
    assert (used(card, CLIENT, "punt_limit"), used(card, UPLINK, "punt_limit")) == ((0, 2), (0, 16))
    assert refused(card) == {(CLIENT, "punt_limit"): 3, (UPLINK, "punt_limit"): 3}
    assert sum(refused(card).values()) == card.shard.counters().drops["punt_limit"]


def test_neighbours_and_what_waits_for_them(card: Card) -> None:
    for place in range(32):
        card.host("client").sends(udp(f"10.1.0.20:1 > 192.0.2.{10 + place}:9")).waits()
    for place in range(3):
        sent = card.host("client").sends(udp(f"10.1.0.20:1 > 192.0.2.{80 + place}:9"))
        sent.is_dropped("neighbour_queue_limit")
    card.host("db").sends(udp("10.2.0.5:1 > 203.0.113.9:53")).waits()
    for vnic, count in ((CLIENT, 32), (DB, 1), (WEB, 0)):
        assert used(card, vnic, "neighbour_limit") == (count, 65536 - 33)
        assert used(card, vnic, "neighbour_queue_limit") == (count, 32)
    assert refused(card) == {(CLIENT, "neighbour_queue_limit"): 3}
    for _ in range(3):
        card.after(1).host("web").sends(udp("10.1.0.10:9 > 10.1.0.20:53"))
    assert used(card, CLIENT, "neighbour_queue_limit") == (0, 32)  # nobody has answered
    assert used(card, CLIENT, "neighbour_limit") == (32, 65536 - 33)


@pytest.mark.parametrize("name", sorted(name for name in LIMITS_A_SECOND if "error" not in name))
def test_a_row_that_changes_is_told_as_it_is(card: Card, name: str) -> None:
    field = name.removeprefix("inbound_")
    before = used(card, WEB, name)[1]
    card.changes(replace(card.row("vnic", WEB), **{field: before + 5}))
    assert used(card, WEB, name) == (0, before + 5)


def test_counts_stay_with_the_row_and_go_with_it(card: Card) -> None:
    """A vNIC that comes back has the connections that still live, and nothing of what was refused before."""
    row = replace(card.row("vnic", CLIENT), flow_limit=1)
    card.changes(row)
    opens(card, 1)
    card.host("client").sends(tcp(f"10.1.0.20:2 > {SERVER}")).is_dropped("flow_limit")
    card.changes(replace(row, mtu=1400))
    assert refused(card) == {(CLIENT, "flow_limit"): 1}
    rows = [one for table in card.backend.snapshot().tables.values() for some in table for one in some]
    hanging = [one for one in rows if getattr(one, "vnic", None) == CLIENT]
    gone: dict[str, list[int]] = {"vnic": [CLIENT]}
    for one in hanging:
        gone.setdefault(one.LAYOUT.table.name, []).append(one.id)
    card.commits(*(Delete(table, np.array(ids, np.uint64)) for table, ids in gone.items()))
    assert (CLIENT, "flow_limit") not in card.shard.counters().limits
    card.gets(row, *hanging)
    assert refused(card) == {}
    assert used(card, CLIENT, "flow_limit") == (1, 1)
