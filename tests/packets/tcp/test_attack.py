"""Who is not on the way, and forges what one side might have said: nothing of it reaches the other, no state changes,
and the connection works on. Each attack is beside the segment that it imitates, which passes."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from hal.packet.contract import TcpState
from tests.packets.card import Card
from tests.packets.packets import tcp
from tests.packets.tcp.talk import OPEN, Talk, asked
from tests.packets.world import HOSTS

WINDOW = 8192
WHOLE = 1 << 32


def _works(talk: Talk) -> None:
    """Both sides still speak."""
    talk.plays("A:PA+100 B:A B:PA+100 A:A")
    assert talk.state == TcpState.ESTABLISHED


def _drops(card: Card) -> dict[str, int]:
    return {reason: count for reason, count in card.shard.counters().drops.items() if count}


def test_blind_reset(card: Card) -> None:
    """RSTs a window apart, as RFC 5961 1 counts them: one in so many falls into the window, and none closes. The end
    that is asked says nothing."""
    talk = Talk(card, isn=(1000, 3_000_000_000)).plays(OPEN)
    hit = 0
    for guess in range(0, WHOLE, 1 << 24):
        card.after(1)
        hit += bool(talk.b("R", seq=guess).result.outputs)
    inside = [talk.next[1] + off for off in (1, WINDOW // 2, WINDOW)]
    for guess in inside:
        card.after(1)
        asked(talk.b("R", seq=guess), seq=talk.next[0], ack=talk.next[1])
    told = _drops(card)
    assert told["tcp_window"] + told["tcp_challenged"] == 256 + len(inside)
    assert told["tcp_challenged"] == hit + len(inside)
    _works(talk)
    talk.passes(talk.b("R"), 1)


def test_blind_reset_by_syn(card: Card) -> None:
    """RFC 793 had a SYN in the window reset a connection (RFC 5961 4)."""
    talk = Talk(card).plays(OPEN)
    for guess in (5001, 5002, 9000, 700_000):
        card.after(1)
        asked(talk.b("S", seq=guess), seq=1001, ack=5001)
    assert _drops(card) == {"tcp_challenged": 4}
    _works(talk)


def test_blind_injection(card: Card) -> None:
    """RFC 5961 5: a guessed number is not enough, the acknowledgement has to be guessed too."""
    talk = Talk(card, isn=(7, 1 << 31)).plays(OPEN)
    guesses = [number for number in range(0, WHOLE, WHOLE // 64) if abs(number - talk.next[0]) > 2 * WINDOW]
    for ack in guesses:
        talk.b("PA", 100, seq=talk.next[1], ack=ack).is_dropped("tcp_window").silently()
    assert len(guesses) > 60
    talk.b("PA", 100, seq=talk.next[1], ack=talk.next[0] + 1).is_dropped("tcp_window").silently()
    talk.b("PA", 100, seq=talk.next[1] + WINDOW + 1).is_dropped("tcp_window").silently()
    _works(talk)


def test_blind_fin(card: Card) -> None:
    """The same for a FIN: nobody is told that there is no more."""
    talk = Talk(card).plays(OPEN)
    talk.b("FA", seq=talk.next[1], ack=talk.next[0] + 1).is_dropped("tcp_window").silently()
    talk.b("FA", seq=talk.next[1] + WINDOW + 1, ack=talk.next[0]).is_dropped("tcp_window").silently()
    _works(talk)
    assert talk.plays("B:FA").state == TcpState.FIN_WAIT


@pytest.mark.parametrize("back", [2000, 1500, 1001, 1000, 2, 1])
def test_rfc9293_3_10_7_4_a_fin_in_an_old_segment(card: Card, back: int) -> None:
    """Its receiver has had what is there, answers with an ACK and does not look at the FIN: nor is it one here, or
    who guesses a number that far back would end what its two ends go on with."""
    talk = Talk(card).plays(OPEN + " A:PA+1000 B:A A:PA+1000 B:A")
    talk.passes(talk.a("FA", seq=talk.next[0] - back), 0)
    talk.passes(talk.a("FPA", min(max(back - 2, 0), 1000), seq=talk.next[0] - back), 0)
    assert talk.state == TcpState.ESTABLISHED
    talk.passes(talk.a("PA", 1000), 0)
    _works(talk)
    assert talk.plays("A:FA B:A").state == TcpState.FIN_WAIT
    talk.a("PA", 10).is_dropped("tcp_window").silently()


@pytest.mark.parametrize("back", [999, 500, 2])
def test_rfc9293_3_10_7_4_a_fin_in_front_of_what_was_sent(card: Card, back: int) -> None:
    """Nor where that is not acknowledged yet: whoever has sent more has not ended there."""
    talk = Talk(card).plays(OPEN + " A:PA+1000")
    talk.passes(talk.a("FA", seq=talk.next[0] - back), 0)
    assert talk.state == TcpState.ESTABLISHED
    talk.plays("A:PA+100 B:A")
    _works(talk)
    assert talk.plays("A:FA").state == TcpState.FIN_WAIT


def test_ack_storm(card: Card) -> None:
    """Each side acknowledges what the other never sent, and answers such an ACK with another (RFC 5961 5, and before it
    Joncheray 1995): the first does not pass, so there is no second. Nor does the card answer ACKs."""
    talk = Talk(card).plays(OPEN)
    for _ in range(50):
        talk.a("A", seq=talk.next[0] + 10 * WINDOW, ack=talk.next[1]).is_dropped("tcp_window").silently()
        talk.a("A", ack=talk.next[1] + 500).is_dropped("tcp_window").silently()
        talk.b("A", ack=talk.next[0] + 500).is_dropped("tcp_window").silently()
    assert _drops(card) == {"tcp_window": 150}
    _works(talk)


def test_no_storm_of_challenges(card: Card) -> None:
    """A challenge that is answered with an ACK is answered with nothing more: that ACK passes on as any."""
    talk = Talk(card).plays(OPEN)
    asked(talk.a("S", seq=1), seq=5001, ack=1001)
    talk.passes(talk.a("A"), 0)
    talk.passes(talk.b("A"), 1)
    for _ in range(100):
        talk.a("S", seq=1)
    assert _drops(card) == {"tcp_challenged": 101}
    _works(talk)


def test_split_handshake(card: Card) -> None:
    """The other side answers with an ACK, or nothing but a SYN of its own, so that who looks on takes it for the
    initiator (Beardsley and Qian, 2010): sides stay what they were, and rules count whose connection it is."""
    talk = Talk(card).plays("A:S")
    talk.b("A", seq=4999, ack=1001).is_dropped("tcp_state").silently()
    talk.plays("B:S")
    assert (card.flow().source, talk.state) == ("10.1.0.20", TcpState.SYN_RECEIVED)
    talk.b("PA", 10, seq=5001, ack=1000).is_dropped("tcp_window").silently()
    talk.passes(talk.a("SA", seq=1000), 0)
    assert talk.state == TcpState.SYN_RECEIVED
    assert talk.plays("B:A").state == TcpState.ESTABLISHED
    assert (card.flow().source, card.flow().destination_port) == ("10.1.0.20", 80)
    _works(talk)


def test_split_handshake_opens_nothing_the_other_way(card: Card) -> None:
    """Without the initiator's SYN its answer is a connection of its own, which policy refuses."""
    talk = Talk(card)
    talk.b("S").is_dropped("firewall_default")
    talk.b("SA").is_dropped("tcp_no_session")
    talk.plays("A:S B:S")


@pytest.mark.parametrize("forged", [[777, 10_777, 20_777], [777, 1000, 20_777], []])
def test_forged_syns_keep_nobody_from_opening(card: Card, forged: list[int]) -> None:
    """While the first SYN is not answered, others with its ends pass; the answer to the first one fits all the same."""
    talk = Talk(card).plays("A:S")
    for seq in forged:
        talk.passes(talk.a("S", seq=seq), 0)
    assert talk.plays("B:SA A:A").state == TcpState.ESTABLISHED


def test_who_forges_first_keeps_nobody_from_opening(card: Card) -> None:
    """The answer to the newest fits too."""
    talk = Talk(card)
    talk.passes(talk.a("S", seq=777), 0)
    assert talk.plays("A:S B:SA A:A").state == TcpState.ESTABLISHED


def test_a_forged_syn_ack_opens_nothing(card: Card) -> None:
    talk = Talk(card, isn=(2_000_000_000, 5000)).plays("A:S")
    for ack in (0, 1, 2_000_000_000, 2_000_000_002, WHOLE - 1):
        talk.b("SA", seq=9, ack=ack).is_dropped("tcp_window").silently()
        talk.b("RA", seq=9, ack=ack).is_dropped("tcp_window").silently()
    assert talk.plays("B:SA A:A").state == TcpState.ESTABLISHED


def test_a_half_open_answer_does_not_end_the_real_one(card: Card) -> None:
    """Whoever forges one makes the initiator reset what it acknowledges: it passes, and changes nothing."""
    talk = Talk(card).plays("A:S")
    talk.passes(talk.b("A", seq=1, ack=500_000), 1)
    talk.passes(talk.a("R", seq=500_000), 0)
    assert talk.state == TcpState.SYN_SENT
    assert talk.plays("B:SA A:A").state == TcpState.ESTABLISHED


def test_a_flood_of_half_open_answers_is_one_for_each_call(card: Card) -> None:
    """Each would have the initiator send a RST. The first stays the one that it may send one for; whoever has really
    a connection of before answers the next call too."""
    talk = Talk(card).plays("A:S")
    talk.passes(talk.b("A", seq=700, ack=300), 1)
    for ack in (300, 301, 500_000, WHOLE - 1):
        talk.b("A", seq=1, ack=ack).is_dropped("tcp_state").silently()
    talk.a("R", seq=500_000).is_dropped("tcp_state").silently()
    talk.passes(talk.a("R", seq=300), 0)
    talk.b("A", seq=700, ack=300).is_dropped("tcp_state").silently()
    talk.passes(talk.a("S", seq=1000), 0)
    talk.passes(talk.a("R", seq=300), 0)  # it was on its way when the call came again
    talk.passes(talk.b("A", seq=700, ack=400), 1)
    talk.b("A", seq=1, ack=500_000).is_dropped("tcp_state").silently()
    talk.passes(talk.a("R", seq=400), 0)
    assert talk.state == TcpState.SYN_SENT
    assert talk.plays("B:SA A:A").state == TcpState.ESTABLISHED


@pytest.mark.parametrize("seed", range(3))
def test_a_thousand_forged_segments(card: Card, seed: int) -> None:
    """Of whatever flags and numbers, from both ends: no state changes, nothing passes, and the connection works on. Who
    forges does not know the numbers; here he misses each by a window at least."""
    draw = random.Random(seed)
    talk = Talk(card, scale=(2, 2)).plays(OPEN + " A:PA+1000 B:A B:PA+1000 A:A")
    far = WINDOW * 8
    for _ in range(333):
        flags = draw.choice(("A", "PA", "FA", "RA", "R", "S", "SA", "PUA"))
        numbers = {
            "seq": talk.next[0] + draw.randrange(far, WHOLE - far),
            "ack": talk.next[1] + draw.randrange(far, WHOLE - far) if "A" in flags else 0,
        }
        sent = talk.a(flags, draw.choice((0, 1, 100)) if "R" not in flags else 0, **numbers)
        assert sent.result.reason in ("tcp_window", "tcp_challenged")
        assert all(output.port == sent.host.port for output in sent.result.outputs)
    assert sum(_drops(card).values()) == 333
    _works(talk)


OPENED = 20


def _counts(card: Card, flags: str | None, reason: str = "", sport: int = 4000, **numbers: Any) -> tuple[int, int, int]:
    """What counts for a vNIC to which a stranger has a connection, once such a segment was forged in his name:
    connections, half-open ones, and how many more may be opened in this second."""
    shard = card.anew()
    shard.now = 1 << 40
    shard.resolves("gateway")
    web = HOSTS["web"].vnic
    shard.changes(replace(card.row("vnic", web), half_open_limit=4, new_flow_limit=OPENED))
    talk = Talk(shard, ends=("gateway", "web")).plays(OPEN + " A:PA+100 B:A")
    if flags is not None:
        forged = talk if sport == 4000 else Talk(shard, ends=("gateway", "web"), sport=sport)
        assert forged.a(flags, **{"data": 0, **numbers}).result.reason == reason
    shard.shard.settle()
    limits = shard.shard.counters().limits
    many = [shard.host("gateway").sends(tcp(f"192.0.2.1:{port} > 10.1.0.10:80")) for port in range(5000, 5000 + OPENED)]
    assert {sent.result.reason for sent in many} == {"", "new_flow_limit"}
    more = sum(not sent.result.reason for sent in many)
    assert shard.shard.counters().drops["new_flow_limit"] == OPENED - more
    talk.plays("B:PA+100")
    return limits[web, "inbound_flow_limit"].used, limits[web, "inbound_half_open_limit"].used, more


def test_counts_tell_that_a_connection_exists_and_never_its_numbers(card: Card) -> None:
    """ADR 0205: who forges a packet in another's name, and reads limits by what becomes of his own, learns whether it
    opened something. What meets a connection changes nothing of them, whether its numbers fit or not."""
    still = _counts(card, None)
    assert still == (1, 0, OPENED - 1)
    far = {"seq": 900_000_000, "ack": 5001}
    assert _counts(card, "S", "tcp_challenged", seq=1101) == still
    assert _counts(card, "S", "tcp_challenged", **far) == still
    assert _counts(card, "R", "tcp_challenged", seq=1102) == still
    assert _counts(card, "R", "tcp_window", **far) == still
    assert _counts(card, "A", "", seq=1101, ack=5001) == still
    assert _counts(card, "A", "tcp_window", **far) == still
    assert _counts(card, "PA", "", seq=1101, ack=5001, data=10) == still
    assert _counts(card, "PA", "tcp_window", seq=1101, ack=3_000_000_000, data=10) == still
    assert _counts(card, "SA", "tcp_challenged", **far) == still
    assert _counts(card, "S", "", sport=4001) == (2, 1, OPENED - 2)
    assert _counts(card, "R", "tcp_no_session", sport=4001) == still
