"""RFC 9293 3.5 (establishing), 3.10.7.3 (SYN-SENT), RFC 7413 (Fast Open); flags."""

from __future__ import annotations

import pytest
from scapy.all import TCP, Ether

from hal.packet.contract import TcpState
from tests.packets.card import Card
from tests.packets.tcp.talk import OPEN, Talk, asked

TOP = 0xFFFF_FFFF


@pytest.mark.parametrize("isn", [(1000, 5000), (TOP, TOP), (TOP - 1, 0), (0, TOP), (1 << 31, (1 << 31) - 1)])
@pytest.mark.parametrize("v6", [False, True])
def test_rfc9293_3_5_three_ways(card: Card, isn: tuple[int, int], v6: bool) -> None:
    """From any numbers, modulo 2^32 (3.4)."""
    talk = Talk(card, isn=isn, v6=v6)
    for segment, state in (("A:S", TcpState.SYN_SENT), ("B:SA", TcpState.SYN_RECEIVED), ("A:A", TcpState.ESTABLISHED)):
        assert talk.plays(segment).state == state
    talk.plays("A:PA+100 B:A B:PA+100 A:A")
    assert talk.state == TcpState.ESTABLISHED


@pytest.mark.parametrize("order", ["AB", "BA"])
def test_rfc9293_3_5_simultaneous_open(card: Card, order: str) -> None:
    """Figure 7: both SYNs are bare and cross, then each acknowledges the other's. Then it is open, and lasts as long as
    any, though nobody says anything more."""
    talk = Talk(card)
    talk.plays("A:S B:S")
    for side, state in zip(order, (TcpState.SYN_RECEIVED, TcpState.ESTABLISHED), strict=True):
        assert talk.state == TcpState.SYN_RECEIVED
        sent = talk.a("SA", seq=1000) if side == "A" else talk.b("SA", seq=5000)
        talk.passes(sent, "AB".index(side))
        assert talk.state == state
    card.after(3600)
    talk.plays("B:PA+10 A:A A:PA+10 B:A")
    talk.passes(talk.b("SA", seq=5000, ack=1001), 1)
    assert card.flow().source == "10.1.0.20"


@pytest.mark.parametrize("rest", ["A:PA+10 B:A", "B:A A:PA+10"])
def test_rfc9293_3_5_simultaneous_open_a_syn_ack_is_lost(card: Card, rest: str) -> None:
    """In front of the card: what comes behind it acknowledges as much."""
    talk = Talk(card).plays("A:S B:S")
    assert talk.plays(rest).state == TcpState.ESTABLISHED


@pytest.mark.parametrize("flags", ["S", "SA"])
def test_rfc9293_3_5_simultaneous_open_begins_anew(card: Card, flags: str) -> None:
    """While nobody has answered the initiator it may call from another number: it has crashed, or the first number was
    never its own. Who sends a SYN+ACK has heard the other side."""
    talk = Talk(card, scale=(3, 2)).plays("A:S B:S")
    talk.a("SA", seq=77_000, ack=5002).is_dropped("tcp_challenged").silently()
    talk.passes(talk.a(flags, seq=77_000, ack=5001 if "A" in flags else 0), 0)
    assert talk.state == TcpState.SYN_RECEIVED
    talk.b("SA", seq=5000, ack=1001).is_dropped("tcp_challenged").silently()
    talk.passes(talk.b("SA", seq=5000, ack=77_001), 1)
    assert talk.state == (TcpState.ESTABLISHED if "A" in flags else TcpState.SYN_RECEIVED)
    talk.next[0] = 77_001
    card.after(1)
    asked(talk.a("S", seq=1000), seq=5001, ack=77_001)
    assert talk.plays("A:A B:PA+10 A:PA+1000 B:A").state == TcpState.ESTABLISHED


def test_rfc9293_3_5_simultaneous_open_ends_when_both_are_acknowledged(card: Card) -> None:
    """The initiator's ACK alone does not end it: nobody has acknowledged its SYN."""
    talk = Talk(card).plays("A:S B:S A:A")
    assert talk.state == TcpState.SYN_RECEIVED
    talk.passes(talk.b("SA", seq=5000), 1)
    assert talk.plays("A:A").state == TcpState.ESTABLISHED


def test_rfc9293_3_5_syn_again(card: Card) -> None:
    """Retransmitted SYNs and SYN+ACKs, each as often as it takes."""
    talk = Talk(card).plays("A:S")
    talk.passes(talk.a("S", seq=1000), 0)
    talk.plays("B:SA")
    for _ in range(2):
        talk.passes(talk.a("S", seq=1000), 0)
        talk.passes(talk.b("SA", seq=5000), 1)
    assert talk.state == TcpState.SYN_RECEIVED
    assert talk.plays("A:A").state == TcpState.ESTABLISHED


def test_rfc9293_3_5_syn_ack_again_when_its_ack_was_lost(card: Card) -> None:
    """The last ACK has passed the card and not arrived: the SYN+ACK comes again, and its receiver must say it again,
    with the options that it has."""
    talk = Talk(card).plays(OPEN)
    talk.passes(talk.b("SA", seq=5000), 1)
    talk.plays("A:A A:PA+10")
    talk.passes(talk.b("SA", seq=5000, ack=1001), 1)
    assert talk.state == TcpState.ESTABLISHED
    for numbers in ({"seq": 4999 - 8192}, {"seq": 5001}, {"seq": 5000, "ack": talk.next[0] + 1}):
        talk.b("SA", **numbers).is_dropped("tcp_challenged")
        card.after(1)


def test_rfc9293_3_10_7_1_syn_ack_again_when_its_refusal_was_lost(card: Card) -> None:
    """Nobody is there who wants the answer, and the RST that says so has passed the card and not arrived: each SYN+ACK
    is answered by another one. It opens nothing."""
    talk = Talk(card).plays("A:S B:SA A:R")
    for _ in range(2):
        card.after(1)
        talk.passes(talk.b("SA", seq=5000, ack=1001), 1)
        talk.passes(talk.a("R", seq=1001), 0)
    for numbers in ({"seq": 5001}, {"seq": 4999 - 8192}, {"seq": 5000, "ack": 1002}):
        talk.b("SA", **numbers).is_dropped("tcp_state").silently()
    assert talk.state == TcpState.CLOSED


def test_rfc9293_3_5_begins_anew_in_syn_sent(card: Card) -> None:
    """The initiator gives up and calls again from the same port, twice: the newest SYN counts, and the first."""
    talk = Talk(card).plays("A:S")
    talk.again(0)
    talk.plays("A:S")
    middle = talk.isn[0]
    talk.again(0)
    talk.plays("A:S")
    talk.b("SA", ack=middle + 1, seq=5000).is_dropped("tcp_window").silently()
    assert talk.plays("B:SA A:A").state == TcpState.ESTABLISHED


@pytest.mark.parametrize("flags", ["SA", "RA"])
@pytest.mark.parametrize("scale", [(None, 2), (3, None), (3, 2)])
def test_rfc9293_3_10_7_3_the_first_call_is_answered(
    card: Card, flags: str, scale: tuple[int | None, int | None]
) -> None:
    """Whoever calls from other numbers meanwhile, with other windows, offers and data: what the first call said counts
    where that is the one that is answered."""
    talk = Talk(card, scale=scale, window=(2000, 1000)).plays("A:S")
    for other in (77_000, 99_000):
        talk.passes(talk.a("S", 10, seq=other, window=9, options=[("WScale", 14)]), 0)
        talk.passes(talk.a("S", seq=1000), 0)
    talk.b(flags, ack=77_001, seq=5000).is_dropped("tcp_window").silently()
    talk.b(flags, ack=1002, seq=5000).is_dropped("tcp_window").silently()
    talk.plays(f"B:{flags}")
    if flags == "RA":
        # That call is over; the newest may still be answered, and the first no more.
        talk.b("SA", ack=1001, seq=5000).is_dropped("tcp_window").silently()
        assert talk.state == TcpState.SYN_SENT
        talk.passes(talk.b("SA", ack=99_001, seq=5000), 1)
        return
    factors = [1 << (one or 0) if None not in scale else 1 for one in scale]
    talk.plays("A:A B:A")
    assert talk.state == TcpState.ESTABLISHED
    for side, window in ((0, 2000), (1, 1000)):
        receiver = 1 - side
        says = (talk.a, talk.b)[receiver]
        next_ = talk.next[receiver]
        talk.passes(says("A", seq=next_ + window * factors[side]), receiver)
        says("A", seq=next_ + window * factors[side] + 1).is_dropped("tcp_window")


def test_rfc9293_3_5_1_old_duplicate_syn(card: Card) -> None:
    """Figure 8: an old SYN arrives late and is answered; the initiator resets that, and its own SYN opens."""
    talk = Talk(card).plays("A:S")
    talk.passes(talk.a("S", seq=90), 0)
    talk.passes(talk.b("SA", ack=91), 1)
    talk.passes(talk.a("R", seq=91), 0)
    assert talk.state == TcpState.CLOSED
    talk.isn, talk.next = (1000, 7000), [1000, 7000]
    assert talk.plays(OPEN).state == TcpState.ESTABLISHED


def test_rfc9293_3_5_1_half_open_that_the_card_does_not_know(card: Card) -> None:
    """Figure 9: the other side still has a connection of before. It answers the SYN from the middle of that, is reset
    by who knows nothing of it, and the SYN comes again."""
    talk = Talk(card).plays("A:S")
    talk.a("R", seq=300).is_dropped("tcp_state").silently()
    talk.passes(talk.b("A", seq=700, ack=300), 1)
    assert talk.state == TcpState.SYN_SENT
    talk.a("R", seq=301).is_dropped("tcp_state").silently()
    talk.passes(talk.a("R", seq=300), 0)
    talk.passes(talk.a("S", seq=1000), 0)
    assert talk.plays("B:SA A:A").state == TcpState.ESTABLISHED


def test_rfc9293_3_5_1_half_open_that_the_card_knows(card: Card) -> None:
    """The initiator has crashed, and calls again from the same port: it is asked, says that it knows nothing, exactly,
    and calls again."""
    talk = Talk(card).plays(OPEN + " A:PA+100 B:A")
    talk.again(0)
    asked(talk.a("S"), seq=5001, ack=1101, window=8192)
    talk.passes(talk.a("R", seq=1101), 0)
    talk.next = [talk.isn[0], 9000]
    assert talk.plays(OPEN).state == TcpState.ESTABLISHED


@pytest.mark.parametrize("data", [0, 10])
def test_rfc9293_3_5_1_a_half_open_answer_carries_nothing(card: Card, data: int) -> None:
    talk = Talk(card).plays("A:S")
    sent = talk.b("PA", data, seq=700, ack=300)
    sent.is_dropped("tcp_state").silently() if data else talk.passes(sent, 1)
    talk.b("FA", seq=700, ack=300).is_dropped("tcp_state").silently()
    talk.b("A", seq=700, ack=1001).is_dropped("tcp_state").silently()
    assert talk.state == TcpState.SYN_SENT


@pytest.mark.parametrize(("ack", "fits"), [(1000, False), (1001, True), (1002, False), (1001 + (1 << 31), False)])
def test_rfc9293_3_10_7_3_syn_ack_acknowledges_the_syn(card: Card, ack: int, fits: bool) -> None:
    talk = Talk(card).plays("A:S")
    sent = talk.b("SA", ack=ack)
    talk.passes(sent, 1) if fits else sent.is_dropped("tcp_window").silently()
    assert talk.state == (TcpState.SYN_RECEIVED if fits else TcpState.SYN_SENT)


@pytest.mark.parametrize(
    ("flags", "ack", "fits"), [("RA", 1001, True), ("RA", 1000, False), ("RA", 1002, False), ("R", 0, False)]
)
def test_rfc9293_3_10_7_3_a_refusal_acknowledges_the_syn(card: Card, flags: str, ack: int, fits: bool) -> None:
    """RFC 5961 3.2 leaves SYN-SENT as it was: a RST is believed if it acknowledges the SYN."""
    talk = Talk(card).plays("A:S")
    sent = talk.b(flags, seq=0, ack=ack)
    talk.passes(sent, 1) if fits else sent.is_dropped("tcp_window").silently()
    assert talk.state == (TcpState.CLOSED if fits else TcpState.SYN_SENT)


def test_rfc9293_3_10_7_3_a_refusal_of_the_syn_that_came_again(card: Card) -> None:
    """Who answered once has forgotten it, and refuses the SYN that comes again, from sequence number 0 (3.10.7.1)."""
    talk = Talk(card).plays("A:S B:SA")
    talk.b("RA", seq=0, ack=1002).is_dropped("tcp_window").silently()
    talk.passes(talk.b("RA", seq=0, ack=1001), 1)
    assert talk.state == TcpState.CLOSED


@pytest.mark.parametrize("first", ["A:A", "A:PA+10", "B:SA A:A"])
@pytest.mark.parametrize("seq", [0, 3_000_000])
def test_rfc9293_3_10_7_4_a_refusal_that_its_answer_overtook(card: Card, first: str, seq: int) -> None:
    """The first SYN was refused, and the one that came again answered, since somebody listens by now; the answer comes
    first. Whom it is for has it and ignores the refusal, so whatever he says brings the connection back."""
    talk = Talk(card).plays("A:S B:SA")
    talk.passes(talk.b("RA", seq=seq, ack=1001), 1)
    if first.startswith("B"):
        talk.passes(talk.b("SA", seq=5000), 1)
    assert talk.state == TcpState.CLOSED
    talk = talk.plays(first[-3:] if first.startswith("B") else first)
    assert talk.state == TcpState.ESTABLISHED
    card.after(20)
    assert talk.plays("B:PA+10 A:A").state == TcpState.ESTABLISHED


def test_rfc9293_3_10_7_4_a_refusal_that_is_taken(card: Card) -> None:
    """Who says nothing behind it has taken it."""
    talk = Talk(card).plays("A:S B:SA")
    talk.passes(talk.b("RA", seq=0, ack=1001), 1)
    card.after(10)
    talk.a("A", seq=1001).is_dropped("tcp_no_session").silently()


@pytest.mark.parametrize("wrong", ["A", "PA", "FA", "SA", "R"])
def test_rfc9293_3_10_7_3_nothing_but_a_syn_before_the_answer(card: Card, wrong: str) -> None:
    talk = Talk(card).plays("A:S")
    talk.a(wrong, seq=1001, ack=5001).is_dropped("tcp_state").silently()
    assert talk.plays("B:SA A:A").state == TcpState.ESTABLISHED


@pytest.mark.parametrize(("ack", "fits"), [(5000, False), (5001, True), (5002, False)])
def test_rfc9293_3_10_7_4_the_last_ack_acknowledges_the_answer(card: Card, ack: int, fits: bool) -> None:
    talk = Talk(card).plays("A:S B:SA")
    sent = talk.a("A", ack=ack)
    talk.passes(sent, 0) if fits else sent.is_dropped("tcp_window").silently()
    assert talk.state == (TcpState.ESTABLISHED if fits else TcpState.SYN_RECEIVED)


def test_rfc4987_3_6_another_cookie(card: Card) -> None:
    """Who keeps nothing of a SYN may answer it, when it comes again, from another number."""
    talk = Talk(card).plays("A:S B:SA")
    talk.next[1] = 6000
    talk.b("SA", ack=1002, seq=6000).is_dropped("tcp_challenged")
    card.after(1)
    talk.b("S", seq=6000).is_dropped("tcp_challenged")
    talk.plays("B:SA")
    talk.a("A", ack=5002).is_dropped("tcp_window").silently()
    talk.a("A", ack=6002).is_dropped("tcp_window").silently()
    assert talk.plays("A:A").state == TcpState.ESTABLISHED


@pytest.mark.parametrize("taken", [5000, 6000, 7000])
@pytest.mark.parametrize("scale", [(None, None), (7, 3)])
@pytest.mark.parametrize("says", ["A", "PA", "FA"])
def test_rfc9293_3_10_7_3_the_first_of_two_answers_is_taken(
    card: Card, taken: int, scale: tuple[int | None, int | None], says: str
) -> None:
    """A SYN was sent again, and both are answered, each from a number of its own, in front of what acknowledges the
    first (RFC 4987 3.6; two who answer for one). Whoever called takes what comes to it first: the last two stand."""
    talk = Talk(card, scale=scale, window=(1000, 1000)).plays("A:S")
    talk.passes(talk.a("S", seq=1000), 0)
    for number in (7000, 5000, 6000):
        talk.passes(talk.b("SA", seq=number), 1)
    talk.next[1] = taken + 1
    sent = talk.a(says, 10 * (says == "PA"), seq=1001)
    if taken == 7000:
        sent.is_dropped("tcp_window").silently()
        assert talk.state == TcpState.SYN_RECEIVED
        return
    talk.passes(sent, 0)
    assert talk.state == (TcpState.FIN_WAIT if says == "FA" else TcpState.ESTABLISHED)
    talk.next[0] = 1001 + 10 * (says == "PA") + (says == "FA")
    talk.plays("B:PA+100 A:A")
    bound = talk.next[1] + 1000 * (128 if scale[0] else 1)
    talk.b("PA", 10, seq=bound).is_dropped("tcp_window").silently()
    talk.passes(talk.b("PA", 10, seq=bound - 1), 1)


ANSWERS = [
    ({"window": 5000, "scale": 7}, {"window": 100, "scale": 2}),
    ({"window": 100, "scale": 2}, {"window": 5000, "scale": 7}),
]


def _answered_twice(card: Card, answers: tuple[dict[str, int], dict[str, int]], scaled: bool) -> Talk:
    """Two answers stand, of which the initiator has taken the first."""
    talk = Talk(card, scale=(3 if scaled else None, None)).plays("A:S")
    for number, said in zip((5000, 6000), answers, strict=True):
        options = [("WScale", said["scale"])] if scaled else []
        talk.passes(talk.b("SA", seq=number, window=said["window"], options=options), 1)
    talk.next[1] = 5001
    return talk


@pytest.mark.parametrize("answers", ANSWERS)
def test_rfc9293_3_10_7_3_of_two_answers_the_larger_window_counts(
    card: Card, answers: tuple[dict[str, int], dict[str, int]]
) -> None:
    """As the initiator may have heard that one: it may say as much, and as far back."""
    talk = _answered_twice(card, answers, scaled=False)
    talk.a("PA", 10, seq=1001 + 5000).is_dropped("tcp_window").silently()
    talk.passes(talk.a("PA", 10, seq=1001 + 4999), 0)
    assert talk.state == TcpState.ESTABLISHED
    talk.window = (8192, 100)
    talk.passes(talk.b("A", ack=1001 + 5000), 1)
    talk.a("A", seq=1000).is_dropped("tcp_window").silently()
    talk.passes(talk.a("A", seq=1001), 0)


@pytest.mark.parametrize("answers", ANSWERS)
def test_rfc7323_2_2_of_two_answers_the_larger_scale_counts(
    card: Card, answers: tuple[dict[str, int], dict[str, int]]
) -> None:
    talk = _answered_twice(card, answers, scaled=True).plays("A:A")
    talk.passes(talk.b("A", window=1000), 1)
    talk.a("PA", 10, seq=1001 + 128_000).is_dropped("tcp_window").silently()
    talk.passes(talk.a("PA", 10, seq=1001 + 127_999), 0)


def test_rfc9293_3_10_7_3_the_answer_that_was_taken_comes_again(card: Card) -> None:
    """Whichever comes again is the newest then: of three, two stand."""
    talk = Talk(card).plays("A:S B:SA")
    for number in (6000, 5000, 6000):
        talk.passes(talk.b("SA", seq=number), 1)
    talk.a("R", seq=1001).arrives_at("web")
    assert talk.state == TcpState.CLOSED
    again = Talk(card, sport=4001).plays("A:S B:SA")
    again.passes(again.b("SA", seq=6000), 1)
    again.passes(again.b("SA", seq=5000), 1)
    again.passes(again.a("S", seq=1000, window=9000), 0)
    again.next[1] = 6001
    again.plays("A:A B:PA+10 A:PA+10")
    assert card.flow(source_port=4001).tcp_state == TcpState.ESTABLISHED


def test_rfc9293_3_10_7_4_another_syn_while_the_first_is_answered(card: Card) -> None:
    """SYN-RECEIVED: a second SYN from elsewhere in the number space is asked about, in the name of who has answered."""
    talk = Talk(card).plays("A:S B:SA")
    asked(talk.a("S", seq=77_000), seq=5001, ack=1001, window=8192)
    card.after(1)
    asked(talk.a("SA", seq=1000), seq=5001, ack=1001)
    talk.passes(talk.a("R", seq=1001), 0)
    assert talk.state == TcpState.CLOSED


def test_nothing_is_said_for_who_has_said_nothing(card: Card) -> None:
    """In the handshake the initiator has not acknowledged the other side's SYN: nobody does in its name."""
    talk = Talk(card).plays("A:S B:SA")
    talk.b("R", seq=5050).is_dropped("tcp_challenged").silently()
    card.after(1)
    talk.b("S", seq=5050).is_dropped("tcp_challenged").silently()
    card.after(1)
    asked(talk.a("S", seq=1050), seq=5001, ack=1001)
    assert talk.plays("A:A").state == TcpState.ESTABLISHED


# --- Fast Open (RFC 7413) --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [0, 100])
@pytest.mark.parametrize("again", [False, True])
def test_rfc7413_more_data_in_the_syn_than_the_answer_has_room_for(card: Card, window: int, again: bool) -> None:
    """Data in a SYN is bounded by no window, and a proxy answers with 0: what was not taken comes again, in parts."""
    talk = Talk(card, window=(8192, window)).plays("A:S+500")
    talk.passes(talk.b("SA", ack=1001), 1)
    if again:
        talk.passes(talk.a("S", 500, seq=1000), 0)
        talk.passes(talk.b("SA", seq=5000, ack=1001), 1)
    talk.next[0] = 1001
    talk.plays("A:A")
    assert talk.state == TcpState.ESTABLISHED
    talk.a("PA", 10, seq=1001 + window + 1).is_dropped("tcp_window").silently()
    talk.plays(f"A:PA+{max(window, 1)} B:A")


def test_rfc7413_syn_ack_again_behind_data(card: Card) -> None:
    """The answer and what came behind it were acknowledged, but that was lost behind the card: the answer alone comes
    again, with data or without, and its receiver has to say its ACK again."""
    talk = Talk(card).plays("A:S+50 B:SA+100 B:PA+1000 A:A")
    assert talk.state == TcpState.ESTABLISHED
    card.after(1)
    talk.passes(talk.b("SA", 100, seq=5000, ack=1051), 1)
    talk.passes(talk.b("SA", seq=5000, ack=1051), 1)
    talk.b("SA", seq=talk.next[1], ack=1051).is_dropped("tcp_challenged")
    talk.plays("A:A B:PA+10")


@pytest.mark.parametrize("taken", [0, 50, 100])
def test_rfc7413_data_in_the_syn(card: Card, taken: int) -> None:
    """The answer acknowledges all of it, some or none; what was not taken comes again."""
    talk = Talk(card).plays("A:S+100")
    talk.b("SA", ack=1102, seq=5000).is_dropped("tcp_window")
    talk.passes(talk.b("SA", ack=1001 + taken, seq=5000), 1)
    talk.loses(1, 1)
    talk.passes(talk.a("PA", 100 - taken, seq=1001 + taken), 0)
    assert talk.state == TcpState.ESTABLISHED


@pytest.mark.parametrize("seq", [1001, 1050, 1051, 1101])
def test_rfc7413_4_2_a_reset_of_whatever_of_the_syn_was_acknowledged(card: Card, seq: int) -> None:
    """Who has called and is gone answers the answer by a RST with the number that it acknowledges (RFC 9293 3.10.7.1):
    of data in the SYN any part. Where it was another number its receiver asks, and the connection is as it was."""
    talk = Talk(card).plays("A:S+100")
    talk.passes(talk.b("SA", ack=1051), 1)
    for off in (1000, 1102):
        talk.a("R", seq=off).is_dropped("tcp_challenged")
    talk.passes(talk.a("R", seq=seq), 0)
    assert talk.state == TcpState.CLOSED
    talk.passes(talk.b("A", ack=1051), 1)
    back = seq < 1101
    assert talk.state == (TcpState.ESTABLISHED if back else TcpState.CLOSED)
    talk.passes(talk.a("R", seq=1051), 0)
    assert talk.state == TcpState.CLOSED


def test_rfc7413_syn_again_without_data(card: Card) -> None:
    talk = Talk(card).plays("A:S+100")
    talk.passes(talk.a("S", seq=1000), 0)
    talk.passes(talk.b("SA", ack=1101), 1)
    assert talk.plays("A:A").state == TcpState.ESTABLISHED


def test_rfc7413_answers_data_before_the_handshake_ends(card: Card) -> None:
    """4.2.2: the server sends data, and its FIN, before the handshake's last ACK."""
    talk = Talk(card).plays("A:S+100 B:SA B:PA+500")
    assert talk.state == TcpState.SYN_RECEIVED
    assert talk.plays("B:FA").state == TcpState.FIN_WAIT
    talk.passes(talk.b("SA", seq=5000), 1)
    assert talk.plays("A:A A:FA B:A A:A").state == TcpState.TIME_WAIT


@pytest.mark.parametrize(("asks", "answers"), [("SEC", "SAE"), ("SECN", "SAN"), ("SECN", "SAECN"), ("SECN", "SAC")])
def test_rfc9768_3_1_ecn_is_agreed_on_by_the_two(card: Card, asks: str, answers: str) -> None:
    """AE, CWR and ECE of a SYN and of its answer, by RFC 3168 and accurate, and counters in them behind that."""
    talk = Talk(card)
    for says, flags in ((talk.a, asks), (talk.b, answers), *((talk.a, each) for each in ("AE", "AC", "AN", "AECN"))):
        (output,) = says(flags).outputs()
        assert str(Ether(output.data)[TCP].flags) == flags
    assert talk.state == TcpState.ESTABLISHED


@pytest.mark.parametrize("kind", [30, 254])
def test_rfc8684_options_of_others_pass_untouched(card: Card, kind: int) -> None:
    """MPTCP's (30), and one for experiments (RFC 4727): what the card does not look at is the ends' own."""
    talk = Talk(card)
    for says, flags in ((talk.a, "S"), (talk.b, "SA"), (talk.a, "A")):
        (output,) = says(flags, options=[(kind, bytes(range(10)))]).outputs()
        assert output.data[54:] == bytes([kind, 12, *range(10)])
    assert talk.plays("B:PA+10 A:A").state == TcpState.ESTABLISHED


# --- flags -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flags", ["", "F", "P", "U", "SF", "SR", "FRA", "SFA", "FPU", "SRFA"])
def test_rfc9293_3_1_flags_that_nobody_sends(card: Card, flags: str) -> None:
    """With a connection and without one."""
    talk = Talk(card)
    talk.a(flags, seq=1000).is_dropped("tcp_flags").silently()
    talk.plays(OPEN)
    talk.a(flags, seq=1001).is_dropped("tcp_flags").silently()
    talk.plays("A:PUA+1")
