"""RFC 9293 3.6: closing, one side after the other or both at once; what may come behind the end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hal.packet.contract import TcpState
from tests.packets.card import Card
from tests.packets.tcp.talk import OPEN, Talk, asked
from tests.packets.world import HOSTS

SHUT = OPEN + " A:FA B:FA A:A"


@pytest.mark.parametrize("isn", [(1000, 5000), (0xFFFF_FFFE, 0xFFFF_FFFD)])
def test_rfc9293_3_6_case_1_one_after_the_other(card: Card, isn: tuple[int, int]) -> None:
    """Half-closed, the other side still sends; then it ends too."""
    talk = Talk(card, isn=isn).plays(OPEN + " A:PA+10 B:A A:FA")
    assert talk.state == TcpState.FIN_WAIT
    talk.plays("B:A B:PA+1000 A:A B:PA+1000 A:A")
    assert talk.state == TcpState.FIN_WAIT
    assert talk.plays("B:FA").state == TcpState.CLOSING
    assert talk.plays("A:A").state == TcpState.TIME_WAIT


def test_rfc5382_req_5_half_closed(card: Card) -> None:
    """Four minutes of silence end it; whatever either says begins them anew, a probe of keep-alive too (ADR 0184)."""
    talk = Talk(card).plays(OPEN + " A:PA+10 B:A A:FA B:A")
    card.after(239)
    talk.passes(talk.b("A", seq=talk.next[1] - 1), 1)
    talk.plays("A:A")
    card.after(239)
    talk.plays("B:PA+100 A:A")
    assert talk.state == TcpState.FIN_WAIT
    card.after(240)
    talk.b("PA", 100).is_dropped("tcp_no_session")
    assert card.flows() == []


def test_rfc9293_3_6_the_other_side_first(card: Card) -> None:
    talk = Talk(card).plays(OPEN + " B:FA A:A A:PA+10 B:A A:FA")
    assert talk.state == TcpState.CLOSING
    assert talk.plays("B:A").state == TcpState.TIME_WAIT


@pytest.mark.parametrize("order", ["A:A B:A", "B:A A:A"])
def test_rfc9293_3_6_case_3_both_at_once(card: Card, order: str) -> None:
    """The FINs cross; in whatever order they are acknowledged, both have to be."""
    talk = Talk(card).plays(OPEN)
    talk.passes(talk.a("FA", seq=1001), 0)
    talk.passes(talk.b("FA", seq=5001), 1)
    talk.next = [1002, 5002]
    for segment, state in zip(order.split(), (TcpState.CLOSING, TcpState.TIME_WAIT), strict=True):
        assert talk.plays(segment).state == state


def test_rfc9293_3_6_fins_with_data_again_and_out_of_order(card: Card) -> None:
    """A FIN that overtakes data, data again behind it, the FIN again: as long as it ends where the FIN did."""
    talk = Talk(card).plays(OPEN)
    talk.loses(0, 1000)
    talk.plays("A:FA+500")
    end = talk.next[0]
    talk.passes(talk.b("A", ack=1001), 1)
    talk.passes(talk.a("PA", 1000, seq=1001), 0)
    talk.passes(talk.a("FA", 500, seq=2001), 0)
    assert (talk.state, end) == (TcpState.FIN_WAIT, 2502)
    talk.plays("B:A B:FA")
    talk.passes(talk.b("FA", seq=5001), 1)
    assert talk.plays("A:A").state == TcpState.TIME_WAIT


def test_rfc9293_3_10_7_4_nothing_comes_behind_a_fin(card: Card) -> None:
    """Which its receiver has acknowledged: neither data nor another FIN; what ends there passes."""
    talk = Talk(card).plays(OPEN + " A:PA+10 A:FA B:A")
    end = talk.next[0]
    talk.a("PA", 10, seq=end).is_dropped("tcp_window").silently()
    talk.a("PA", 2, seq=end - 1).is_dropped("tcp_window").silently()
    talk.a("FA", seq=end).is_dropped("tcp_window").silently()
    talk.a("FA", 1, seq=end - 1).is_dropped("tcp_window").silently()
    talk.passes(talk.a("FA", seq=end - 1), 0)
    talk.passes(talk.a("PA", 10, seq=end - 11), 0)
    talk.plays("B:PA+10 A:A B:FA A:A")
    talk.b("PA", 1).is_dropped("tcp_window").silently()
    assert talk.state == TcpState.TIME_WAIT


def test_rfc9293_3_6_time_wait_answers_the_fin_again(card: Card) -> None:
    """The last ACK was lost: the FIN comes again and is acknowledged again."""
    talk = Talk(card).plays(SHUT)
    card.after(239)
    talk.passes(talk.b("FA", seq=5001), 1)
    assert talk.plays("A:A").state == TcpState.TIME_WAIT
    card.after(240)
    talk.b("FA", seq=5001).is_dropped("tcp_no_session")


def test_rfc1337_old_duplicates_in_time_wait(card: Card) -> None:
    """Within the window they pass, and are answered; others are dropped."""
    talk = Talk(card).plays(OPEN + " A:PA+1000 B:A A:FA B:FA A:A")
    talk.passes(talk.a("PA", 1000, seq=1001), 0)
    talk.plays("B:A")
    talk.a("PA", 10, seq=1001 - 20_000).is_dropped("tcp_window").silently()
    talk.a("PA", 10, seq=1001 + 20_000).is_dropped("tcp_window").silently()
    assert talk.state == TcpState.TIME_WAIT


def test_rfc1337_a_reset_in_time_wait(card: Card) -> None:
    """The hazard is its receiver's, who should ignore it (3, fix F1). Here it must be exact as ever; what stays of
    the connection is gone ten seconds later, and an old duplicate with it."""
    talk = Talk(card).plays(OPEN + " A:PA+1000 B:A A:FA B:FA A:A")
    talk.a("R", seq=talk.next[0] + 20_000).is_dropped("tcp_window").silently()
    card.after(1)
    asked(talk.a("R", seq=talk.next[0] + 1), seq=talk.next[1], ack=talk.next[0])
    talk.passes(talk.a("R"), 0)
    assert talk.state == TcpState.CLOSED
    talk.passes(talk.a("PA", 1000, seq=1001), 0)
    card.after(10)
    talk.a("PA", 1000, seq=1001).is_dropped("tcp_no_session").silently()


@pytest.mark.parametrize("closed", [SHUT, OPEN + " A:R"])
@pytest.mark.parametrize("isn", [7, 1_000_000])
def test_rfc6191_rfc1122_4_2_2_13_a_syn_in_time_wait(card: Card, closed: str, isn: int) -> None:
    """Whether the number is high enough its receiver decides: it opens another connection, as policy says."""
    talk = Talk(card).plays(closed)
    first = card.flow().id
    again = Talk(card, isn=(isn, 9000)).plays("A:S")
    assert (card.flow().id != first, talk.state) == (True, TcpState.SYN_SENT)
    assert again.plays("B:SA A:A").state == TcpState.ESTABLISHED


@pytest.mark.parametrize("closed", [SHUT, OPEN + " A:R"])
def test_a_syn_behind_the_end_the_other_way_is_asked_as_any(card: Card, closed: str) -> None:
    """What is dropped changes nothing: the FIN comes again, and is acknowledged again."""
    talk = Talk(card).plays(closed)
    first = card.flow()
    talk.b("S", seq=123_456).is_dropped("firewall_default")
    assert card.flow() == first
    talk.passes(talk.b("FA" if closed == SHUT else "A", seq=5001), 1)


@pytest.mark.parametrize("limit", ["new_flow_limit", "flow_limit"])
def test_a_syn_in_time_wait_that_finds_no_room(card: Card, limit: str) -> None:
    """It needs no more room than what it ends has; where a limit refuses it, that one stays."""
    talk = Talk(card).plays(SHUT)
    first = card.flow()
    card.changes(replace(card.row("vnic", HOSTS["client"].vnic), **{limit: 1}))
    if limit == "new_flow_limit":
        Talk(card, sport=4001).plays("A:S")
        Talk(card, isn=(7, 9)).a("S").is_dropped("new_flow_limit")
        assert first.id in [flow.id for flow in card.flows()]
        talk.passes(talk.b("FA", seq=5001), 1)
        card.after(1)
    assert Talk(card, isn=(1 << 31, 9)).plays(OPEN).card.flows()
    assert first.id not in [flow.id for flow in card.flows()]


def test_a_syn_in_time_wait_makes_no_way_for_itself(card: Card) -> None:
    """Where its place goes to nobody, since more live than may: what it would end isn't evicted for it."""
    Talk(card, sport=4001).plays(OPEN)
    talk = Talk(card).plays(SHUT)
    client = card.row("vnic", HOSTS["client"].vnic)
    card.changes(replace(client, flow_limit=1))
    Talk(card, isn=(1 << 31, 9)).a("S").is_dropped("flow_limit").silently()
    assert card.flow(source_port=4000).tcp_state == TcpState.TIME_WAIT
    assert card.shard.counters().engine["ended_evicted"] == 0
    talk.passes(talk.b("FA", seq=5001), 1)
    card.changes(replace(client, flow_limit=2))
    Talk(card, isn=(1 << 31, 9)).plays(OPEN)
    assert card.shard.counters().engine["ended_evicted"] == 0


@pytest.mark.parametrize("isn", [1000, 77_000])
def test_rfc9293_3_10_7_4_what_a_syn_in_time_wait_leaves_of_the_one_before(card: Card, isn: int) -> None:
    """An old duplicate of the SYN, a forged one, or a call: the FIN comes again, since the ACK of it was lost, and is
    acknowledged again, until the call is answered."""
    talk = Talk(card).plays(OPEN + " B:PA+100 A:A A:FA B:A B:FA A:A")
    talk.passes(talk.a("S", seq=isn), 0)
    assert talk.state == TcpState.SYN_SENT
    for fin in (("FA", 0, 5101), ("FPA", 100, 5001), ("PA", 50, 5001)):
        talk.passes(talk.b(fin[0], fin[1], seq=fin[2], ack=1002), 1)
        talk.passes(talk.a("A", seq=1002, ack=5102), 0)
    for seq, ack, size in ((5102, 1002, 1), (5101, 1001, 1), (5101, 1003, 1), (5100, 1002, 3)):
        talk.b("PA", size, seq=seq, ack=ack).is_dropped("tcp_state").silently()
    talk.a("A", seq=1002, ack=5101).is_dropped("tcp_state").silently()
    talk.a("A", seq=1003, ack=5102).is_dropped("tcp_state").silently()
    talk.passes(talk.b("SA", seq=9000, ack=isn + 1), 1)
    talk.b("FA", seq=5101, ack=1002).is_dropped("tcp_window").silently()


def test_rfc9293_3_10_7_4_two_calls_leave_nothing_of_the_one_before(card: Card) -> None:
    """Where the first of them stays beside the newest, there is no place for what was before."""
    talk = Talk(card).plays(SHUT)
    talk.passes(talk.a("S", seq=77_000), 0)
    talk.passes(talk.b("FA", seq=5001, ack=1002), 1)
    talk.passes(talk.a("A", seq=1002, ack=5002), 0)
    talk.passes(talk.a("S", seq=99_000), 0)
    talk.b("FA", seq=5001, ack=1002).is_dropped("tcp_state").silently()
    talk.a("A", seq=1002, ack=5002).is_dropped("tcp_state").silently()
    talk.passes(talk.b("SA", seq=9000, ack=77_001), 1)
    assert talk.state == TcpState.SYN_RECEIVED


def test_rfc9293_3_10_7_3_a_call_that_is_answered_by_the_fin_before(card: Card) -> None:
    """The other side has not heard of the end: its FIN comes again, is reset by who calls, and the call comes again."""
    Talk(card).plays(SHUT)
    talk = Talk(card, isn=(77_000, 9000)).plays("A:S")
    talk.passes(talk.b("FA", seq=5001, ack=1002), 1)
    talk.a("R", seq=1001).is_dropped("tcp_state").silently()
    talk.passes(talk.a("R", seq=1002), 0)
    talk.passes(talk.a("S", seq=77_000), 0)
    assert talk.plays("B:SA A:A").state == TcpState.ESTABLISHED


def test_rfc9293_3_10_7_4_a_call_the_other_way(card: Card) -> None:
    """Sides change; what is said of the one before passes as it did."""
    talk = Talk(card, ends=("client", "open"), sport=80).plays(SHUT)
    talk.passes(talk.b("S", seq=9), 1)
    assert (card.flow().source, talk.state) == (HOSTS["open"].addresses[0], TcpState.SYN_SENT)
    talk.passes(talk.a("FA", seq=1001, ack=5002), 0)
    talk.passes(talk.b("A", seq=5002, ack=1002), 1)
    talk.passes(talk.a("SA", seq=700, ack=10), 0)
    assert talk.state == TcpState.SYN_RECEIVED


def test_a_syn_ack_behind_the_end(card: Card) -> None:
    """It opens nothing: in TIME_WAIT its sender is asked, in CLOSED not even that."""
    talk = Talk(card).plays(SHUT)
    asked(talk.b("SA", seq=9000), seq=1002, ack=5002)
    talk = Talk(card, sport=4001).plays(OPEN + " A:R")
    talk.b("SA", seq=9000).is_dropped("tcp_state").silently()
    talk.plays("B:A")


def test_rfc5961_3_2_closed_the_other_side_did_not_take_the_reset(card: Card) -> None:
    """Data in front of the RST was lost, so it is not exact where it arrives: the ACK that says so passes, and so does
    the RST that answers it, exactly."""
    talk = Talk(card).plays(OPEN + " A:PA+1000 A:RA")
    assert talk.state == TcpState.CLOSED
    talk.passes(talk.b("A", ack=1001, seq=5001), 1)
    talk.b("A", ack=talk.next[0] + 1, seq=5001).is_dropped("tcp_window").silently()
    talk.passes(talk.a("R", seq=1001), 0)
    talk.a("R", seq=1001 + 20_000).is_dropped("tcp_window").silently()


def test_rfc9293_3_5_1_closed_the_reset_was_lost(card: Card) -> None:
    """The other side goes on: what it says reaches who has closed, who says again that nothing is there."""
    talk = Talk(card).plays(OPEN + " A:R B:PA+100 B:PA+100")
    talk.b("PA", 10, seq=talk.next[1] + 20_000).is_dropped("tcp_window").silently()
    talk.b("PA", 10, seq=talk.next[1], ack=1002).is_dropped("tcp_window").silently()
    talk.passes(talk.a("R"), 0)
    assert talk.state == TcpState.CLOSED


def test_closed_with_both_fins_and_both_acknowledged(card: Card) -> None:
    """A RST that closed nothing, in CLOSING: what shows that acknowledges the last FIN too."""
    talk = Talk(card).plays(OPEN + " B:FA A:FA")
    talk.passes(talk.a("R", seq=1001), 0)
    assert talk.state == TcpState.CLOSED
    assert talk.plays("B:A").state == TcpState.TIME_WAIT


def test_closed_ends_ten_seconds_after_it_closed(card: Card) -> None:
    """Nothing that still passes keeps it."""
    talk = Talk(card).plays(OPEN + " A:R")
    for _ in range(9):
        card.after(1)
        talk.plays("B:A")
    card.after(1 - 1e-9)
    talk.plays("B:A B:PA+10")
    card.after(1e-9)
    talk.b("A").is_dropped("tcp_no_session").silently()


def test_closed_by_a_refusal(card: Card) -> None:
    """The other side has never had a number: nothing of it passes but what opens anew."""
    talk = Talk(card).plays("A:S")
    talk.passes(talk.b("RA", seq=0), 1)
    talk.b("RA", seq=0).is_dropped("tcp_state").silently()
    talk.a("A").is_dropped("tcp_state").silently()
    assert talk.state == TcpState.CLOSED
    talk.passes(talk.a("S", seq=9), 0)
