"""What may be waited for: RFC 9293 3.4, 3.8 and 3.10.7.4, RFC 7323 2, RFC 5961 5.2, as a bystander can tell."""

from __future__ import annotations

import pytest

from hal.packet.contract import TcpState
from tests.packets.card import Card
from tests.packets.tcp.talk import OPEN, Talk

TOP = 0xFFFF_FFFF
WINDOW = 8192
ISNS = [(1000, 5000), (TOP - 3, TOP - 3), (1 << 31, TOP)]


@pytest.mark.parametrize("isn", ISNS)
def test_rfc9293_3_10_7_4_first_bound_is_the_window_that_was_granted(card: Card, isn: tuple[int, int]) -> None:
    """Data begins in front of the window's end; what holds none may stand there, as who has filled it does."""
    talk = Talk(card, isn=isn).plays(OPEN)
    end = talk.next[0] + WINDOW
    talk.a("PA", 100, seq=end + 1).is_dropped("tcp_window").silently()
    talk.a("PA", 100, seq=end).is_dropped("tcp_window").silently()
    talk.a("A", 0, seq=end + 1).is_dropped("tcp_window").silently()
    talk.passes(talk.a("A", 0, seq=end), 0)
    talk.passes(talk.a("PA", 1, seq=end - 1), 0)
    talk.a("PA", 100, seq=end).is_dropped("tcp_window").silently()
    talk.plays("A:PA+100 B:A A:PA+100")


def test_rfc9293_3_8_6_1_a_probe_in_the_place_of_the_last_ack(card: Card) -> None:
    """The answer's window is shut: who has something to say probes it, with what ends the handshake too."""
    talk = Talk(card, window=(WINDOW, 0)).plays("A:S B:SA")
    talk.a("PA", 1, seq=1002).is_dropped("tcp_window").silently()
    assert talk.plays("A:PA+1").state == TcpState.ESTABLISHED


def test_rfc7323_2_2_the_window_of_a_syn_is_rounded_up(card: Card) -> None:
    """1,000 in a SYN are eight units of 128 behind the handshake: so far back what was said may come again."""
    talk = Talk(card, scale=(7, 0), window=(1000, WINDOW)).plays("A:S B:SA")
    talk.window = (1, WINDOW)
    talk.plays("A:A B:PA+1000 A:A")
    talk.b("A", seq=6001 - 1025).is_dropped("tcp_window").silently()
    talk.passes(talk.b("A", seq=6001 - 1024), 1)


def test_rfc9293_3_10_7_4_a_fin_at_the_windows_end(card: Card) -> None:
    """All that was allowed is said, and then that there is no more."""
    talk = Talk(card).plays(OPEN + " A:PA+1024" * 8)
    talk.a("FPA", 1, seq=talk.next[0]).is_dropped("tcp_window").silently()
    assert talk.plays("A:FA").state == TcpState.FIN_WAIT


@pytest.mark.parametrize("isn", ISNS)
def test_rfc9293_3_4_second_bound_is_a_window_behind_what_was_sent(card: Card, isn: tuple[int, int]) -> None:
    """Old duplicates of what may still be missing pass, older ones don't."""
    talk = Talk(card, isn=isn).plays(OPEN)
    for _ in range(10):
        talk.plays("A:PA+1000 B:A")
    last = talk.next[0] - WINDOW
    talk.passes(talk.a("PA", 100, seq=last - 100), 0)
    talk.a("PA", 100, seq=last - 101).is_dropped("tcp_window").silently()
    talk.a("A", 0, seq=last - 1).is_dropped("tcp_window").silently()
    talk.passes(talk.a("A", 0, seq=last), 0)
    talk.a("PA", 100, seq=last + (1 << 31)).is_dropped("tcp_window").silently()
    talk.plays("A:PA+100")


@pytest.mark.parametrize("isn", ISNS)
def test_rfc5961_5_2_third_bound_is_what_was_sent(card: Card, isn: tuple[int, int]) -> None:
    """Nothing is acknowledged that was not sent."""
    talk = Talk(card, isn=isn).plays(OPEN + " B:PA+500")
    sent = talk.next[1]
    talk.a("A", ack=sent + 1).is_dropped("tcp_window").silently()
    talk.a("PA", 100, seq=talk.next[0], ack=sent + 100).is_dropped("tcp_window").silently()
    talk.a("A", ack=sent + (1 << 31)).is_dropped("tcp_window").silently()
    talk.passes(talk.a("A", ack=sent), 0)


@pytest.mark.parametrize("isn", ISNS)
def test_rfc5961_5_2_fourth_bound_is_a_window_behind_what_was_acknowledged(card: Card, isn: tuple[int, int]) -> None:
    """SND.UNA - MAX.SND.WND: what is older acknowledges nothing any more."""
    talk = Talk(card, isn=isn).plays(OPEN)
    for _ in range(10):
        talk.plays("B:PA+1000 A:A")
    last = talk.next[1] - WINDOW
    talk.a("PA", 100, seq=talk.next[0], ack=last - 1).is_dropped("tcp_window").silently()
    talk.a("A", ack=last - 1).is_dropped("tcp_window").silently()
    talk.passes(talk.a("A", ack=last), 0)


def test_rfc5961_5_2_a_forged_ack_does_not_open_the_window(card: Card) -> None:
    """One that is dropped grants nothing, whatever it says; one that passes does."""
    talk = Talk(card).plays(OPEN)
    beyond = talk.next[0] + WINDOW
    for ack in (talk.next[0] + 1, talk.next[0] - WINDOW - 1, talk.next[0] + (1 << 31)):
        talk.b("A", ack=ack, window=65535).is_dropped("tcp_window").silently()
        talk.a("PA", 10, seq=beyond).is_dropped("tcp_window").silently()
    talk.passes(talk.b("A", window=65535), 1)
    talk.passes(talk.a("PA", 10, seq=beyond), 0)


def test_rfc9293_3_10_7_4_an_old_segment_opens_no_window(card: Card) -> None:
    """All of it was acknowledged: its receiver answers, and takes neither its window nor what it acknowledges. One
    byte further on it does."""
    talk = Talk(card, window=(1000, 1000)).plays(OPEN + " A:PA+500 B:A B:PA+500 A:A")
    bound = talk.next[1] + 1000
    for length in (0, 100, 499):
        talk.passes(talk.a("A", length, seq=talk.next[0] - 500, window=65535), 0)
        talk.b("PA", 10, seq=bound).is_dropped("tcp_window").silently()
    talk.passes(talk.a("A", 500, seq=talk.next[0] - 500, window=2000), 0)
    talk.passes(talk.b("PA", 10, seq=bound), 1)
    talk.b("PA", 10, seq=bound + 1000).is_dropped("tcp_window").silently()


def test_rfc9293_3_8_6_a_window_is_never_taken_back(card: Card) -> None:
    """SHLD-14: who shrinks it must still take what it allowed before."""
    talk = Talk(card).plays(OPEN)
    talk.passes(talk.b("A", window=10), 1)
    talk.passes(talk.a("PA", 100, seq=talk.next[0] + WINDOW - 1), 0)
    talk.a("PA", 100, seq=talk.next[0] + WINDOW).is_dropped("tcp_window").silently()


def test_rfc9293_3_8_6_1_probes_of_a_zero_window(card: Card) -> None:
    """The window is full and closed: a byte at its end is asked with, again and again, and taken in the end."""
    talk = Talk(card).plays(OPEN)
    for _ in range(8):
        talk.plays("A:PA+1024")
    talk.passes(talk.b("A", window=0), 1)
    at = talk.next[0]
    for _ in range(3):
        talk.passes(talk.a("A", 1, seq=at), 0)
        talk.passes(talk.b("A", window=0), 1)
        talk.a("A", 1, seq=at + 1).is_dropped("tcp_window").silently()
        card.after(60)
    talk.passes(talk.a("A", 1), 0)
    # Who counts the probe as sent says so in what it acknowledges, though nothing was allowed there.
    talk.passes(talk.a("A"), 0)
    talk.a("A", seq=at + 2).is_dropped("tcp_window").silently()
    talk.passes(talk.b("A", window=5000), 1)
    talk.plays("A:PA+1000 B:A")


def test_rfc9293_3_8_6_1_a_connection_may_open_with_a_zero_window(card: Card) -> None:
    talk = Talk(card, window=(WINDOW, 0)).plays("A:S B:SA A:A")
    talk.a("PA", 10, seq=1002).is_dropped("tcp_window").silently()
    talk.passes(talk.a("A", 1, seq=1001), 0)
    talk.passes(talk.b("A", ack=1001, window=10), 1)
    talk.plays("A:PA+10")


@pytest.mark.parametrize("data", [0, 1])
def test_rfc9293_3_8_4_keep_alives(card: Card, data: int) -> None:
    """MUST-24..28: from the byte before the next, with that byte of garbage or without; even where windows are shut."""
    talk = Talk(card).plays(OPEN + " A:PA+100 B:A B:PA+100 A:A")
    for _ in range(3):
        card.after(7200)
        talk.passes(talk.a("A", data, seq=talk.next[0] - 1), 0)
        talk.plays("B:A")
        talk.passes(talk.b("A", data, seq=talk.next[1] - 1), 1)
        talk.plays("A:A")
    shut = Talk(card, window=(0, 0), sport=4001).plays("A:S B:SA A:A")
    shut.passes(shut.a("A", data, seq=shut.next[0] - 1), 0)
    shut.passes(shut.b("A", data, seq=shut.next[1] - 1), 1)


def test_rfc9293_3_10_8_retransmitted_and_out_of_order(card: Card) -> None:
    """Lost behind the card, lost before it, and overtaken: all of it passes, and so do the ACKs that say so."""
    talk = Talk(card).plays(OPEN)
    first = talk.next[0]
    talk.plays("A:PA+1000 A:PA+1000")
    talk.loses(0, 1000)
    talk.plays("A:PA+1000")
    talk.passes(talk.b("A", ack=first), 1)
    for at in (0, 2000, 1000, 0):
        talk.passes(talk.a("PA", 1000, seq=first + at), 0)
    talk.passes(talk.b("A", ack=first + 1000), 1)
    talk.plays("B:A")
    talk.passes(talk.b("A", ack=first + 1000), 1)


def test_rfc9293_3_8_5_urgent_data_passes_untouched(card: Card) -> None:
    """RFC 6093: it is data like other data."""
    talk = Talk(card).plays(OPEN)
    sent = talk.passes(talk.a("PUA", 10, urgptr=5), 0)
    assert sent.outputs()[0].data[34:] == sent.data[34:]
    talk.a("PUA", 10, urgptr=5, seq=talk.next[0] + WINDOW + 1).is_dropped("tcp_window")


# --- window scale (RFC 7323) -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scale", "shift"),
    [
        ((None, None), 0),
        ((7, None), 0),
        ((None, 7), 0),
        ((0, 7), 7),
        ((7, 0), 0),
        ((2, 14), 14),
        ((0, 15), 14),
        ((0, 255), 14),
    ],
)
def test_rfc7323_2_2_scales_count_where_both_offer(
    card: Card, scale: tuple[int | None, int | None], shift: int
) -> None:
    """The window that B grants A in segments behind the handshake. (2.3: above 14 is 14)"""
    talk = Talk(card, scale=scale, window=(1000, 1000)).plays(OPEN + " B:A")
    bound = talk.next[0] + (1000 << shift)
    talk.a("PA", 10, seq=bound).is_dropped("tcp_window").silently()
    talk.passes(talk.a("PA", 10, seq=bound - 1), 0)


def test_rfc7323_2_2_a_window_in_a_syn_is_not_scaled(card: Card) -> None:
    talk = Talk(card, scale=(7, 7), window=(1000, 1000)).plays(OPEN)
    talk.a("PA", 10, seq=talk.next[0] + 1000).is_dropped("tcp_window").silently()
    talk.passes(talk.a("PA", 10, seq=talk.next[0] + 999), 0)
    talk.b("PA", 10, seq=talk.next[1] + (1000 << 7)).is_dropped("tcp_window").silently()
    talk.passes(talk.b("PA", 10, seq=talk.next[1] + (1000 << 7) - 1), 1)


def test_rfc7323_2_2_the_last_of_several_options_counts(card: Card) -> None:
    talk = Talk(card, scale=(0, 0), window=(1000, 1000)).plays("A:S")
    two = [("WScale", 9), ("NOP", None), ("WScale", 3)]
    talk.passes(talk.b("SA", options=two), 1)
    talk.plays("A:A B:A")
    talk.a("PA", 10, seq=talk.next[0] + 8000).is_dropped("tcp_window")
    talk.passes(talk.a("PA", 10, seq=talk.next[0] + 7999), 0)


def test_rfc7323_2_3_the_largest_window(card: Card) -> None:
    """2^30 - 2^14 bytes both ways: old duplicates and new data as far apart as numbers allow."""
    talk = Talk(card, scale=(14, 14), window=(65535, 65535), isn=(TOP - 9, 1 << 31)).plays(OPEN + " B:A A:A")
    talk.plays("A:PA+1000 B:A")
    whole = 65535 << 14
    talk.a("PA", 10, seq=talk.next[0] + whole + 1).is_dropped("tcp_window").silently()
    talk.passes(talk.a("PA", 0, seq=talk.next[0] + whole), 0)
    talk.a("PA", 9, seq=talk.next[0] - 10 - whole).is_dropped("tcp_window").silently()
    talk.passes(talk.a("PA", 10, seq=talk.next[0] - 10 - whole), 0)


def test_rfc7323_a_syn_again_may_offer_less(card: Card) -> None:
    """Stacks leave options out when a SYN isn't answered: who answers with a scale has seen the one that offered."""
    talk = Talk(card, scale=(7, 7), window=(1000, 1000)).plays("A:S")
    talk.passes(talk.a("S", seq=1000, options=[]), 0)
    talk.plays("B:SA A:A B:A")
    talk.passes(talk.a("PA", 10, seq=talk.next[0] + (1000 << 7) - 1), 0)
    talk.a("PA", 10, seq=talk.next[0] + (1000 << 7)).is_dropped("tcp_window")


def test_rfc4987_3_6_another_answer_may_offer_otherwise(card: Card) -> None:
    """Scales are settled anew with it, windows seen so far with them."""
    talk = Talk(card, scale=(7, None), window=(1001, 1000)).plays("A:S B:SA")
    talk.scale, talk.next[1] = (7, 3), 6000
    talk.plays("B:SA A:A B:A")
    talk.passes(talk.a("PA", 10, seq=talk.next[0] + 7999), 0)
    talk.a("PA", 10, seq=talk.next[0] + 8000).is_dropped("tcp_window")
    talk.passes(talk.b("PA", 10, seq=talk.next[1] + (1001 << 7) - 1), 1)
    talk.b("PA", 10, seq=talk.next[1] + (1001 << 7)).is_dropped("tcp_window")
    assert talk.state == TcpState.ESTABLISHED


def test_rfc7323_2_2_scales_in_a_simultaneous_open(card: Card) -> None:
    talk = Talk(card, scale=(2, 3), window=(1000, 1000)).plays("A:S B:S")
    talk.passes(talk.a("SA", seq=1000), 0)
    talk.passes(talk.b("SA", seq=5000), 1)
    talk.plays("A:A B:A")
    talk.passes(talk.a("PA", 10, seq=talk.next[0] + 7999), 0)
    talk.b("PA", 10, seq=talk.next[1] + 4000).is_dropped("tcp_window")
    talk.passes(talk.b("PA", 10, seq=talk.next[1] + 3999), 1)


def test_rfc9293_3_10_7_4_nothing_of_a_dropped_segment_counts(card: Card) -> None:
    """Neither its number nor its window nor its time: the connection ends when the last that passed says."""
    talk = Talk(card).plays(OPEN)
    card.after(7000)
    talk.a("PA", 10, seq=talk.next[0] + WINDOW + 1).is_dropped("tcp_window").silently()
    flow = card.flow()
    assert (flow.packets, flow.last_ns) == ((2, 1), flow.created_ns)
    card.after(440)
    talk.a("A").is_dropped("tcp_no_session")


@pytest.mark.parametrize("window", [0, 1])
def test_rfc9293_3_8_4_keep_alive_behind_a_probe(card: Card, window: int) -> None:
    """A probe of a closed window holds a byte that is not taken; the keep-alive behind it is one before what was, and
    that is as far back as such a window goes."""
    talk = Talk(card, window=(8192, window)).plays(OPEN)
    if window:
        talk.plays("A:PA+1")
        talk.passes(talk.b("A", window=0), 1)
    una = talk.next[0]
    talk.passes(talk.a("A", 1, seq=una), 0)
    talk.passes(talk.b("A", window=0, ack=una), 1)
    card.after(60)
    talk.passes(talk.a("A", seq=una - 1), 0)
    talk.a("A", seq=una - 2).is_dropped("tcp_window").silently()


def test_rfc7413_who_has_not_heard_the_latest_ack_goes_on_from_before(card: Card) -> None:
    """Data of a SYN that was not taken lies far beyond a small window; what comes again begins where its sender has
    heard that it was acknowledged, which is up to a window back."""
    talk = Talk(card, window=(8192, 2)).plays("A:S+500")
    talk.passes(talk.b("SA", ack=1001), 1)
    talk.next[0] = 1001
    talk.plays("A:A A:PA+2 B:A")
    for seq, data in ((1001, 2), (1001, 0), (1002, 0), (1000, 1)):
        talk.passes(talk.a("A", data, seq=seq), 0)
    talk.a("A", seq=1000).is_dropped("tcp_window").silently()
