"""Whose time-outs a connection has, that each ends exactly, and that a commit changes it for connections that live."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import cast

import pytest

from hal.packet.frame._generated import Profile, Tracking
from hal.packet.model.twin import TwinShard
from hal.packet.schema.declare import NONE_ID
from tests.packets.card import ON_TWIN, SECOND, Card
from tests.packets.packets import Description, other, ping, tcp, udp
from tests.packets.test_limits import victim_works
from tests.packets.test_tcp import CLIENT, HANDSHAKE, WEB, play
from tests.packets.world import GUARDED, OPEN, UPLINK

FIELDS = {
    "tcp_syn_sent": 11, "tcp_syn_received": 12, "tcp_established": 13, "tcp_fin_wait": 14, "tcp_closing": 15,
    "tcp_time_wait": 16, "tcp_closed": 17, "udp": 18, "udp_replied": 19, "icmp": 20, "other": 21,
}  # fmt: skip
LEAST = 1e-9
ANOTHER = udp("10.1.0.20:77 > 10.1.0.10:53")
QUERY, REPLY = udp("10.1.0.20:1 > 10.1.0.10:53"), udp("10.1.0.10:53 > 10.1.0.20:1")


def follows(card: Card, tracking: Tracking, *profiles: int) -> None:
    """The row, named by these profiles."""
    card.gets(tracking)
    card.changes(*(Profile(id=profile, tracking=tracking.id) for profile in profiles))


def asks(card: Card) -> Card:
    card.host("client").sends(QUERY).arrives_at("web")
    return card


def is_answered(card: Card) -> Card:
    asks(card).host("web").sends(REPLY).arrives_at("client")
    return card


def goes_on(card: Card) -> Card:
    """It is more than one exchange."""
    return asks(is_answered(card))


BEGINS: dict[str, Callable[[Card], object]] = {
    "tcp_syn_sent": lambda card: play(card, "A:S"),
    "tcp_syn_received": lambda card: play(card, "A:S B:SA"),
    "tcp_established": lambda card: play(card, HANDSHAKE),
    "tcp_fin_wait": lambda card: play(card, HANDSHAKE + " A:FA"),
    "tcp_closing": lambda card: play(card, HANDSHAKE + " A:FA B:FA"),
    "tcp_time_wait": lambda card: play(card, HANDSHAKE + " A:FA B:FA A:A"),
    "tcp_closed": lambda card: play(card, HANDSHAKE + " A:R"),
    "udp": asks,
    "udp_replied": goes_on,
    "icmp": lambda card: card.host("client").sends(ping("10.1.0.20 > 10.1.0.10")).arrives_at("web"),
    "other": lambda card: card.host("client").sends(other("10.1.0.20 > 10.1.0.10", 50)).arrives_at("web"),
}
"""The field -> what makes a connection that has this time-out."""
ENDED = ("tcp_time_wait", "tcp_closed")
"""It makes way before."""


def let_pass(card: Card, seconds: float) -> int:
    """Connections that are there after that."""
    card.after(seconds).receives(b"", card.host("client").host)  # time is told by packets, whatever they are
    return len(card.flows())


@pytest.mark.parametrize("field", FIELDS)
def test_each_ends_exactly(card: Card, field: str) -> None:
    follows(card, Tracking(id=1, **FIELDS), GUARDED)
    BEGINS[field](card)
    assert card.flow().timeout_ns == FIELDS[field] * SECOND
    assert let_pass(card, FIELDS[field] - LEAST) == 1
    assert let_pass(card, LEAST) == 0


@pytest.mark.parametrize("field", FIELDS)
def test_a_commit_shortens_it_for_who_lives(card: Card, field: str) -> None:
    """Found expired by the packet that would have been its own, by who lists, and by who needs the room."""
    small = card.anew(connections=1)
    for one in (card, small):
        BEGINS[field](one)
    card.gets(Tracking(id=1, **{field: 3}))
    card.changes(Profile(id=GUARDED, tracking=1))
    for one in (card, small):
        assert one.flow().timeout_ns == 3 * SECOND
        assert let_pass(one, 3 - LEAST) == 1
    if field not in ENDED:
        small.host("client").sends(ANOTHER).is_dropped("flow_table_full")
    small.after(LEAST).host("client").sends(ANOTHER).arrives_at("web")
    assert small.shard.counters().engine["ended_evicted"] == 0  # it had expired
    assert let_pass(card, LEAST) == 0


def test_a_commit_lengthens_it_for_who_lives(card: Card) -> None:
    follows(card, Tracking(id=1, tcp_established=5), GUARDED)
    play(card, HANDSHAKE)
    card.changes(Tracking(id=1, tcp_established=604_800))
    assert let_pass(card, 604_800 - LEAST) == 1
    card.host("client").sends(tcp(CLIENT, flags="A")).arrives_at("web")
    card.after(604_800)
    card.host("web").sends(tcp(WEB, flags="A")).is_dropped("tcp_no_session")


def test_nothing_is_decided_anew(card: Card) -> None:
    is_answered(card)
    follows(card, Tracking(id=1), OPEN)
    card.host("client").sends(QUERY).arrives_at("web")
    before = card.flow()
    card.changes(Tracking(id=1, udp=1, udp_replied=1))
    assert replace(card.flow(), last_ns=before.last_ns) == before


def test_a_reply_may_leave_it_less_time(card: Card) -> None:
    """Shorter with a reply than without: who needs the room finds it as soon as that is over."""
    follows(card, Tracking(id=1, udp=300, udp_replied=2), GUARDED)
    small = goes_on(card.anew(connections=1))
    small.after(2 - LEAST).host("client").sends(ANOTHER).is_dropped("flow_table_full")
    small.after(LEAST).host("client").sends(ANOTHER).arrives_at("web")


def test_it_is_that_of_whom_it_counts_for(card: Card) -> None:
    """Of the vNIC that opens it; from an uplink of the vNIC it goes to, whatever the other end's is."""
    card.gets(Tracking(id=1, udp=31), Tracking(id=2, udp=32), Tracking(id=3, udp=33))
    card.changes(*(Profile(id=profile, tracking=row) for profile, row in ((GUARDED, 1), (OPEN, 2), (UPLINK, 3))))
    card.host("open").sends(udp("10.2.0.40:1 > 10.1.0.20:9")).arrives_at("client", ttl=63)
    assert card.flow(vnic=40).timeout_ns == 32 * SECOND
    card.host("client").sends(udp("10.1.0.20:9 > 10.2.0.40:2")).arrives_at("open", ttl=63)
    assert card.flow(source_port=9).timeout_ns == 31 * SECOND
    card.host("gateway").sends(udp("203.0.113.9:3 > 10.2.0.40:53")).arrives_at("open", ttl=63)
    assert card.flow(source_port=3).timeout_ns == 32 * SECOND
    card.host("gateway").sends(udp("203.0.113.9:4 > 198.51.100.1:53")).waits()
    assert card.flow(source_port=4).timeout_ns == 33 * SECOND


def test_without_the_vnic_the_defaults_hold(card: Card) -> None:
    follows(card, Tracking(id=1, udp=5), OPEN)
    card.host("open").sends(udp("10.2.0.40:1 > 10.1.0.20:9")).arrives_at("client", ttl=63)
    for table, ids in (("allowed_source", (400, 401)), ("vnic_address", (400, 401)), ("fdb", (40,)), ("vnic", (40,))):
        card.loses(table, *ids)
    assert card.flow().timeout_ns == 120 * SECOND
    assert let_pass(card, 120 - LEAST) == 1
    assert let_pass(card, LEAST) == 0


def test_a_profile_that_names_none_has_the_defaults(card: Card) -> None:
    follows(card, Tracking(id=1, udp=5), GUARDED)
    assert asks(card).flow().timeout_ns == 5 * SECOND
    card.changes(Profile(id=GUARDED, tracking=NONE_ID))
    assert card.flow().timeout_ns == 120 * SECOND


def test_many_are_found_where_room_is_needed(card: Card) -> None:
    """A full table, all of which a commit lets expire: each first packet finds room."""
    many = 512
    full = card.anew(connections=many)
    card.changes(replace(card.row("vnic", 20), flow_limit=many))
    for port in range(1, many + 1):
        victim_works(full, port, "client")
    follows(card, Tracking(id=1, udp=1, udp_replied=1), GUARDED)
    full.after(1)
    for port in range(1, many + 1):
        victim_works(full, many + port, "client")
    full.host("client").sends(udp("10.1.0.20:1 > 10.1.0.10:53")).is_dropped("flow_limit")
    assert len(full.flows()) == many


# --- strict and loose --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sends", "packet", "loose", "is_strict"),
    [
        ("client", QUERY, (GUARDED,), False),
        ("client", QUERY, (), True),
        ("client", udp("10.1.0.20:1 > 10.2.0.40:53"), (GUARDED,), True),  # the other end isn't
        ("client", udp("10.1.0.20:1 > 10.2.0.40:53"), (OPEN,), True),  # who opens it isn't
        ("client", udp("10.1.0.20:1 > 10.2.0.40:53"), (GUARDED, OPEN), False),
        ("gateway", udp("203.0.113.9:3 > 10.2.0.40:53"), (OPEN,), False),  # the uplink's doesn't count
        ("gateway", udp("203.0.113.9:3 > 10.2.0.40:53"), (UPLINK,), True),
        ("gateway", udp("203.0.113.9:3 > 198.51.100.1:53"), (UPLINK,), False),  # between uplinks
    ],
)
@ON_TWIN
def test_loose_is_who_says_so_at_both_ends(
    card: Card, sends: str, packet: Description, loose: tuple[int, ...], is_strict: bool
) -> None:
    """Asked of the twin; of the engine packets tell it, where TCP is held to windows."""
    follows(card, Tracking(id=1, mode="loose"), *loose)
    card.host(sends).sends(packet)
    shard = cast("TwinShard", card.shard)
    (connection,) = shard._path.flows
    assert connection.is_strict == is_strict
