"""RFC 9293 3.10.7.4, eighth: a FIN is taken in its turn, once all in front of it has come. One that lies ahead of what
its sender says next may be somebody else's: it is final when its receiver has acknowledged it, and not before."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hal.packet.contract import TcpState
from hal.packet.frame._generated import Profile, Tracking
from tests.packets.card import SECOND, Card, Sent
from tests.packets.tcp.talk import OPEN, Talk, asked
from tests.packets.world import GUARDED

WINDOW = 8192
OPENED = TcpState.ESTABLISHED
ISNS = [(1000, 5000), (0xFFFF_FF00, 0xFFFF_FE00)]


def _says(talk: Talk, side: int) -> Callable[..., Sent]:
    return (talk.a, talk.b)[side]


def _forges(talk: Talk, side: int, ahead: int, data: int = 0) -> int:
    """A FIN in a side's name, so many bytes ahead of what it says next; returns the number behind that."""
    seq = talk.next[side] + ahead
    talk.passes(_says(talk, side)("FPA" if data else "FA", data, seq=seq), side)
    return seq + data + 1


def _goes_on(talk: Talk, side: int, segments: int = 12, size: int = 100) -> None:
    """A side says so much more, and each segment is acknowledged."""
    for _ in range(segments):
        talk.passes(_says(talk, side)("PA", size), side)
        talk.passes(_says(talk, 1 - side)("A"), 1 - side)


def _lives(talk: Talk, state: TcpState = OPENED) -> None:
    """It is in this state, by its time-out too, and nothing was dropped."""
    assert (talk.state, talk.card.flow().timeout_ns // SECOND) == (state, 7440 if state is OPENED else 240)
    assert sum(talk.card.shard.counters().drops.values()) == 0


@pytest.mark.parametrize("isn", ISNS)
@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize(("ahead", "data"), [(0, 0), (1, 0), (99, 0), (100, 0), (777, 0), (700, 77), (WINDOW, 0)])
def test_rfc9293_3_10_7_4_a_fin_ahead_of_what_its_sender_says(
    card: Card, isn: tuple[int, int], side: int, ahead: int, data: int
) -> None:
    """Its receiver takes all that its sender says in front of it, and what lies in its place and behind it."""
    talk = Talk(card, isn=isn).plays(OPEN + " A:PA+10 B:PA+10 A:A")
    _forges(talk, side, ahead, data)
    _lives(talk, TcpState.FIN_WAIT)
    _goes_on(talk, side, (ahead + data) // 100)
    _lives(talk, TcpState.FIN_WAIT)
    _goes_on(talk, side, 10)
    _goes_on(talk, 1 - side)
    _lives(talk)
    close = "A:FA B:A B:FA A:A" if side == 0 else "B:FA A:A A:FA B:A"
    assert talk.plays(close).state == TcpState.TIME_WAIT


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize(("before", "after"), [(0, 7439), (1, 7000), (239, 7439)])
def test_rfc5382_req_5_taken_back_it_lives_as_long_as_before(card: Card, side: int, before: int, after: int) -> None:
    talk = Talk(card).plays(OPEN)
    _forges(talk, side, 150)
    card.after(before)
    _goes_on(talk, side, 2)
    _lives(talk)
    card.after(after)
    _goes_on(talk, side, 1)
    _lives(talk)
    card.after(7440)
    talk.a("PA", 10).is_dropped("tcp_no_session")


def test_rfc5382_req_5_until_then_it_has_the_time_of_what_closes(card: Card) -> None:
    """Silence is what a FIN whose other end has vanished looks like; whatever either says begins it anew."""
    talk = Talk(card).plays(OPEN)
    _forges(talk, 0, 150)
    for _ in range(3):
        card.after(239)
        talk.passes(talk.a("A", seq=talk.next[0] - 1), 0)
        talk.plays("B:A")
    _lives(talk, TcpState.FIN_WAIT)
    card.after(240)
    talk.a("PA", 10).is_dropped("tcp_no_session")


@pytest.mark.parametrize("isn", ISNS)
@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("ahead", [0, 100, 777])
def test_rfc9293_3_10_7_4_behind_a_fin_that_was_acknowledged_nothing_comes(
    card: Card, isn: tuple[int, int], side: int, ahead: int
) -> None:
    """Whoever acknowledges it has taken it, whether or not it is he who says so (ADR 0209)."""
    talk = Talk(card, isn=isn).plays(OPEN)
    end = _forges(talk, side, ahead)
    talk.passes(_says(talk, 1 - side)("A", ack=end), 1 - side)
    for flags, data, seq in (("PA", 10, end), ("PA", 2, end - 1), ("A", 0, end + 1), ("FA", 0, end), ("FPA", 2, end)):
        _says(talk, side)(flags, data, seq=seq).is_dropped("tcp_window").silently()
    for flags, data, seq in (("FA", 0, end - 1), ("A", 0, end), ("PA", 10, end - 10)):
        talk.passes(_says(talk, side)(flags, data, seq=seq), side)
    assert talk.card.shard.counters().drops["tcp_window"] == 5
    assert (talk.state, talk.card.flow().timeout_ns) == (TcpState.FIN_WAIT, 240 * SECOND)


@pytest.mark.parametrize(
    ("flags", "data", "off", "state"),
    [
        ("A", 0, 2, OPENED),  # who has sent more says so by the number of his ACKs
        ("PA", 1, 0, OPENED),  # data in its place
        ("PA", 50, -49, OPENED),
        ("PA", 1, 1, OPENED),
        ("PUA", 100, -10, OPENED),
        ("FA", 0, 1, TcpState.FIN_WAIT),  # it ends further on
        ("FPA", 100, -10, TcpState.FIN_WAIT),
        ("A", 0, 1, TcpState.FIN_WAIT),  # what follows a FIN
        ("A", 0, 0, TcpState.FIN_WAIT),
        ("PA", 50, -50, TcpState.FIN_WAIT),  # what lies in front of it
        ("FPA", 50, -50, TcpState.FIN_WAIT),  # the FIN again, with more in front of it
        ("A", 0, -101, TcpState.FIN_WAIT),  # probes of keep-alive
        ("A", 1, -101, TcpState.FIN_WAIT),
    ],
)
@pytest.mark.parametrize("side", [0, 1])
def test_rfc9293_3_10_7_4_what_shows_that_a_fin_was_not_there(
    card: Card, side: int, flags: str, data: int, off: int, state: TcpState
) -> None:
    """`off`: where it begins, from the FIN's number on."""
    talk = Talk(card).plays(OPEN)
    fin = _forges(talk, side, 100) - 1
    talk.passes(_says(talk, side)(flags, data, seq=fin + off), side)
    _lives(talk, state)


@pytest.mark.parametrize("side", [0, 1])
def test_rfc9293_3_10_7_4_what_takes_a_fin_back_fits_in_every_other_way(card: Card, side: int) -> None:
    talk = Talk(card).plays(OPEN)
    end = _forges(talk, side, 100)
    says = _says(talk, side)
    says("PA", 10, seq=talk.next[side] + WINDOW).is_dropped("tcp_window").silently()  # I
    says("PA", 10, seq=end, ack=talk.next[1 - side] + 1).is_dropped("tcp_window").silently()  # III
    says("PA", 10, seq=end, ack=talk.next[1 - side] - WINDOW - 1).is_dropped("tcp_window").silently()  # IV
    assert talk.card.flow().timeout_ns == 240 * SECOND
    talk.passes(says("PA", 10, seq=end, ack=talk.next[1 - side] - WINDOW), side)
    assert talk.state == TcpState.ESTABLISHED


@pytest.mark.parametrize("forged_first", [True, False])
@pytest.mark.parametrize("side", [0, 1])
def test_rfc9293_3_6_one_side_has_closed_and_the_other_has_not(card: Card, side: int, forged_first: bool) -> None:
    """One FIN is somebody else's: what its side says behind it passes, and no more of the one that has closed."""
    talk = Talk(card).plays(OPEN)
    closes, goes_on = _says(talk, 1 - side), _says(talk, side)
    if forged_first:
        _forges(talk, side, 250)
    talk.passes(closes("FA"), 1 - side)
    if not forged_first:
        _forges(talk, side, 250)
    _lives(talk, TcpState.CLOSING)
    talk.passes(goes_on("A"), side)
    _lives(talk, TcpState.CLOSING)
    for _ in range(3):
        talk.passes(goes_on("PA", 100), side)
        talk.passes(closes("A"), 1 - side)
    _lives(talk, TcpState.FIN_WAIT)
    closes("PA", 1).is_dropped("tcp_window").silently()
    talk.next[1 - side] -= 1
    talk.passes(goes_on("FA"), side)
    talk.passes(closes("A"), 1 - side)
    assert talk.state == TcpState.TIME_WAIT
    for says in (closes, goes_on):
        says("PA", 1).is_dropped("tcp_window").silently()


def test_rfc9293_3_6_both_fins_are_somebody_elses(card: Card) -> None:
    talk = Talk(card).plays(OPEN)
    for side in (0, 1):
        _forges(talk, side, 250)
    _lives(talk, TcpState.CLOSING)
    _goes_on(talk, 0, 3)
    _lives(talk, TcpState.FIN_WAIT)
    _goes_on(talk, 1, 3)
    _lives(talk)
    assert talk.plays("A:FA B:FA A:A").state == TcpState.TIME_WAIT


@pytest.mark.parametrize("side", [0, 1])
def test_rfc5961_3_2_closed_in_doubt_behind_such_a_fin(card: Card, side: int) -> None:
    """Neither is its sender's, who goes on."""
    talk = Talk(card).plays(OPEN)
    says = _says(talk, side)
    _forges(talk, side, 250)
    talk.passes(says("PA", 100), side)
    talk.passes(says("R", seq=talk.next[side] - 100), side)
    assert talk.state == TcpState.CLOSED
    talk.passes(says("PA", 200), side)
    _lives(talk)


@pytest.mark.parametrize("handshake", ["A:S B:SA", "A:S+10 B:SA"])
@pytest.mark.parametrize("side", [0, 1])
def test_rfc9293_3_10_7_4_a_fin_in_the_place_of_a_syn(card: Card, side: int, handshake: str) -> None:
    """It is in front of all that its receiver waits for."""
    talk = Talk(card).plays(handshake)
    talk.passes(_says(talk, side)("FA", seq=talk.isn[side]), side)
    talk.plays("A:A A:PA+10 B:PA+10 A:PA+10 B:A A:A")
    _lives(talk)


@pytest.mark.parametrize("side", [0, 1])
def test_rfc9293_3_10_7_4_a_fin_in_the_handshake_ahead(card: Card, side: int) -> None:
    talk = Talk(card).plays("A:S B:SA")
    _forges(talk, side, 50)
    _lives(talk, TcpState.FIN_WAIT)
    talk.plays("A:A A:PA+100 B:PA+100 A:PA+10 B:A")
    _lives(talk)


@pytest.mark.parametrize("side", [0, 1])
def test_picked_up_by_a_fin_ahead(card: Card, side: int) -> None:
    """Nothing has to be taken up anew: what its sender says fits."""
    talk = Talk(card.anew(pickup=True))
    _forges(talk, side, 250)
    _lives(talk, TcpState.FIN_WAIT)
    _goes_on(talk, side, 4)
    _lives(talk)
    assert talk.card.shard.counters().engine["pickups"] == 1


@pytest.mark.parametrize("side", [0, 1])
def test_picked_up_what_is_acknowledged_behind_a_fin_takes_it_back(card: Card, side: int) -> None:
    """What went another way was sent too; a FIN that was acknowledged stays."""
    talk = Talk(card.anew(pickup=True)).plays("A:PA+100 B:A A:A")
    _forges(talk, side, 250)
    talk.loses(side, 300)
    talk.passes(_says(talk, 1 - side)("A"), 1 - side)
    _lives(talk)
    end = _forges(talk, side, 250)
    talk.passes(_says(talk, 1 - side)("A", ack=end), 1 - side)
    _says(talk, side)("PA", 100, seq=end).is_dropped("tcp_window").silently()
    assert talk.state == TcpState.FIN_WAIT


@pytest.mark.parametrize("side", [0, 1])
def test_loose_a_fin_that_was_acknowledged_is_final_too(card: Card, side: int) -> None:
    """What comes behind it passes, as all does, and is not what its sender has sent."""
    card.gets(Tracking(id=1, mode="loose"))
    card.changes(Profile(id=GUARDED, tracking=1))
    talk = Talk(card).plays(OPEN)
    _forges(talk, side, 250)
    _goes_on(talk, side, 4)
    _lives(talk)
    end = _forges(talk, side, 0)
    other = _says(talk, 1 - side)
    talk.passes(other("A", ack=end), 1 - side)
    for off in (0, 1000, 100_000):
        talk.passes(_says(talk, side)("PA", 100, seq=end + off), side)
    _lives(talk, TcpState.FIN_WAIT)
    asked(other("S", seq=1), seq=end, ack=talk.next[1 - side])
    talk.next[side] = end
    talk.passes(other("FA"), 1 - side)
    talk.passes(_says(talk, side)("A"), side)
    assert talk.state == TcpState.TIME_WAIT
