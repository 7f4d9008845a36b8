"""Loose, where both ends say so: windows drop nothing, and connections are met mid-stream. The same on a strict one
beside it is dropped. What is not a matter of windows is as it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hal.packet.contract import TcpState
from hal.packet.frame._generated import Profile, Tracking
from tests.packets.card import Card
from tests.packets.tcp.talk import OPEN, Talk, asked
from tests.packets.world import GUARDED
from tests.packets.world import OPEN as UNGUARDED

WINDOW = 8192


@pytest.fixture
def loose(card: Card) -> Iterator[Card]:
    """A card whose guarded vNICs are loose."""
    card.gets(Tracking(id=1, mode="loose"))
    card.changes(Profile(id=GUARDED, tracking=1))
    yield card
    card.changes(Profile(id=GUARDED))


def _strict(card: Card) -> Card:
    card.changes(Profile(id=GUARDED))
    return card


@pytest.mark.parametrize(
    ("flags", "seq", "ack"),
    [("PA", WINDOW + 1, 0), ("PA", -WINDOW - 11, 0), ("A", 0, 1), ("A", 0, -WINDOW - 1), ("PA", 1 << 31, 1 << 31)],
)
def test_windows_drop_nothing(loose: Card, flags: str, seq: int, ack: int) -> None:
    talk = Talk(loose).plays(OPEN)
    numbers = {"seq": talk.next[0] + seq, "ack": talk.next[1] + ack}
    talk.passes(talk.a(flags, 10, **numbers), 0)
    other = Talk(_strict(loose), sport=4001).plays(OPEN)
    other.a(flags, 10, **numbers).is_dropped("tcp_window").silently()


def test_it_holds_at_once(loose: Card) -> None:
    """For connections that live: it is asked at each segment."""
    talk = Talk(loose).plays(OPEN)
    talk.passes(talk.a("PA", 10, seq=talk.next[0] + 70_000), 0)
    _strict(loose)
    talk.a("PA", 10, seq=talk.next[0] + 170_000).is_dropped("tcp_window")


def test_both_ends_have_to_be(loose: Card) -> None:
    """`open` isn't: what goes to it is held to its numbers."""
    talk = Talk(loose, ends=("db", "open")).plays(OPEN)
    talk.a("PA", 10, seq=talk.next[0] + 70_000).is_dropped("tcp_window")
    stranger = Talk(loose, ends=("db", "open"), sport=4001)
    stranger.a("A").is_dropped("tcp_no_session")
    loose.changes(Profile(id=UNGUARDED, tracking=1))
    talk.passes(talk.a("PA", 10, seq=talk.next[0] + 70_000), 0)
    stranger.plays("A:A")
    loose.changes(Profile(id=UNGUARDED))


@pytest.mark.parametrize("first", ["A:PA+10", "B:PA+10", "A:A", "B:A", "A:FA"])
def test_mid_stream(loose: Card, first: str) -> None:
    """Ever, not only after a start; policy is asked as ever, of the side that would have opened it."""
    loose.after(3600)
    talk = Talk(loose).plays(first)
    assert talk.state == (TcpState.FIN_WAIT if "F" in first else TcpState.ESTABLISHED)
    assert loose.flow().source == "10.1.0.20"
    assert loose.shard.counters().engine["pickups"] == 1
    for flags in ("R", "RA", "SA"):
        Talk(loose, sport=4001).a(flags).is_dropped("tcp_no_session").silently()
    refused = Talk(loose, sport=4002)
    refused.lines = tuple(line.replace(":80", ":500") for line in refused.lines)  # type: ignore[assignment]
    refused.a("A").is_dropped("firewall_default")
    Talk(_strict(loose), sport=4003).a("A").is_dropped("tcp_no_session").silently()


def test_the_answer_went_another_way(loose: Card) -> None:
    """Who opened is heard, who answers is not."""
    talk = Talk(loose).plays("A:S A:A A:PA+100 A:FA")
    assert talk.state == TcpState.FIN_WAIT
    other = Talk(_strict(loose), sport=4001).plays("A:S")
    other.a("A").is_dropped("tcp_state").silently()


def test_the_opening_went_another_way(loose: Card) -> None:
    talk = Talk(loose)
    talk.b("SA").is_dropped("tcp_no_session")
    assert talk.plays("B:PA+100 B:PA+100").state == TcpState.ESTABLISHED


def test_resets(loose: Card) -> None:
    """In the window they close, elsewhere they pass and close nothing; nobody is asked."""
    talk = Talk(loose).plays(OPEN)
    talk.passes(talk.a("R", seq=talk.next[0] + WINDOW + 1), 0)
    talk.passes(talk.a("R", seq=talk.next[0] - WINDOW - 1), 0)
    assert talk.state == TcpState.ESTABLISHED
    within = talk.next[0] + WINDOW
    talk.passes(talk.a("R", seq=within), 0)
    assert talk.plays("B:A").state == TcpState.CLOSED


def test_syns_are_asked_about_all_the_same(loose: Card) -> None:
    talk = Talk(loose).plays(OPEN)
    asked(talk.b("S", seq=9), seq=1001, ack=5001)
    talk.plays("A:A")


@pytest.mark.parametrize("wrong", ["SF", "", "FRA"])
def test_flags_are_what_they_are(loose: Card, wrong: str) -> None:
    talk = Talk(loose).plays(OPEN)
    talk.a(wrong).is_dropped("tcp_flags").silently()
    talk.plays("A:A")
