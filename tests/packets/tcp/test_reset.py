"""RFC 5961 3.2 and 4.2: RSTs and SYNs in synchronized states; challenge ACKs and their limits (5961 7)."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from scapy.all import Dot1Q

from hal.packet.contract import EventKind, PacketIn, StepKind, TcpState
from hal.packet.frame._generated import Seed
from tests.packets.card import Card
from tests.packets.packets import tcp
from tests.packets.tcp.talk import OPEN, Talk, asked
from tests.packets.windows import allowance, allowed, bucket
from tests.packets.world import HOSTS

WINDOW = 8192
STATES = {
    TcpState.ESTABLISHED: OPEN,
    TcpState.FIN_WAIT: OPEN + " B:FA A:A",
    TcpState.CLOSING: OPEN + " B:FA A:FA",
    TcpState.TIME_WAIT: OPEN + " B:FA A:FA B:A",
}
BY_STATE = pytest.mark.parametrize("state", STATES, ids=lambda state: state.name)


@BY_STATE
@pytest.mark.parametrize("flags", ["R", "RA"])
def test_rfc5961_3_2_an_exact_reset_closes(card: Card, state: TcpState, flags: str) -> None:
    talk = Talk(card).plays(STATES[state])
    assert talk.state == state
    talk.passes(talk.b(flags), 1)
    assert talk.state == TcpState.CLOSED
    assert card.flow().timeout_ns == 10 * 10**9


@BY_STATE
@pytest.mark.parametrize("off", [1, 2, WINDOW - 2])
@pytest.mark.parametrize("isn", [(1000, 5000), (0xFFFF_FFF0, 0xFFFF_FFF0)])
def test_rfc5961_3_2_a_reset_in_the_window_is_asked_about(
    card: Card, state: TcpState, off: int, isn: tuple[int, int]
) -> None:
    """Dropped, and who sent it gets an ACK with what the other side has said last, in its name."""
    talk = Talk(card, isn=isn).plays(STATES[state])
    sent = talk.b("R", seq=talk.next[1] + off)
    asked(sent, seq=talk.next[0], ack=talk.next[1])
    assert [value for _, _, value in sent.steps(StepKind.MAKE)] == [6]
    assert talk.state == state
    talk.passes(talk.b("R"), 1)


@BY_STATE
@pytest.mark.parametrize("off", [-1, -2, WINDOW + 1, 1 << 31, -WINDOW])
def test_rfc5961_3_2_a_reset_out_of_the_window_is_dropped(card: Card, state: TcpState, off: int) -> None:
    talk = Talk(card).plays(STATES[state])
    talk.b("R", seq=talk.next[1] + off).is_dropped("tcp_window").silently()
    assert talk.state == state
    talk.passes(talk.b("R"), 1)


def test_rfc5961_3_2_exact_is_what_was_sent_or_acknowledged_last(card: Card) -> None:
    """Its receiver's RCV.NXT lies between; what is between, but neither, is asked about, by what is acknowledged."""
    for exact in (1001, 1301):
        talk = Talk(card, sport=4000 + exact).plays(OPEN + " A:PA+100 A:PA+100 A:PA+100")
        asked(talk.a("R", seq=1101), seq=5001, ack=1001, window=WINDOW)
        talk.a("R", seq=1000).is_dropped("tcp_window").silently()
        talk.passes(talk.a("R", seq=exact), 0)


def test_rfc9293_3_10_7_1_the_answer_to_a_challenge_is_exact(card: Card) -> None:
    """Who has no such connection resets it by the number that it was asked with."""
    talk = Talk(card).plays(OPEN + " A:PA+100 B:A A:PA+100")
    frame = talk.a("R", seq=1250).answer()
    assert (frame["TCP"].ack, frame["TCP"].seq) == (1101, 5001)
    talk.passes(talk.a("R", seq=frame["TCP"].ack), 0)
    assert talk.state == TcpState.CLOSED


@pytest.mark.parametrize(
    ("state", "flags"),
    [(state, flags) for state in STATES for flags in ("S", "SA") if (state, flags) != (TcpState.TIME_WAIT, "S")],
)
@pytest.mark.parametrize("seq", [0x8000_0000, 5050, 900_000])
def test_rfc5961_4_2_a_syn_is_asked_about_whatever_its_number(
    card: Card, state: TcpState, flags: str, seq: int
) -> None:
    """But for a bare one in TIME_WAIT, which is another connection's (test_close.py), and the SYN+ACK that comes again
    with its own number (test_handshake.py), which may be up to a window back."""
    talk = Talk(card).plays(STATES[state])
    asked(talk.b(flags, seq=seq), seq=talk.next[0], ack=talk.next[1])
    assert talk.state == state


SIGNATURES = [[("MD5", bytes(16))], [("NOP", None), (29, bytes(14))]]


@pytest.mark.parametrize("options", SIGNATURES, ids=["md5", "ao"])
@pytest.mark.parametrize("played", [OPEN, "A:S B:SA"])
def test_rfc5925_who_signs_is_asked_by_whom_he_calls(card: Card, options: list[object], played: str) -> None:
    """The card has no key, and who signs hears nobody without: a call from anew passes on and changes nothing. In the
    window, or with data, it is asked about as any (RFC 5961 4)."""
    talk = Talk(card).plays(played)
    state = talk.state
    talk.passes(talk.a("S", seq=77_000, options=options), 0)
    talk.a("S", seq=78_000, options=options).is_dropped("tcp_challenged").silently()
    card.after(1)
    talk.passes(talk.a("S", seq=999, options=options), 0)
    card.after(1)
    for what in ({"seq": 1002}, {"seq": 1001 + WINDOW}, {"seq": 77_000, "data": 1}, {"seq": 77_000, "flags": "SA"}):
        flags = str(what.pop("flags", "S"))
        asked(talk.a(flags, **what, options=options), seq=5001, ack=1001)
        card.after(1)
    asked(talk.a("S", seq=77_000, options=[("NOP", None)]), seq=5001, ack=1001)
    assert talk.state == state
    assert talk.plays("A:A A:PA+10 B:A").state == TcpState.ESTABLISHED


@pytest.mark.parametrize("options", [[(19, b"")], [(19, bytes(15))], [(29, b"")], [(29, bytes(1))]])
def test_rfc2385_3_0_what_is_too_short_for_a_signature_is_none(card: Card, options: list[object]) -> None:
    """RFC 5925 2.2: an option of authentication has four bytes at least; MD5's has eighteen."""
    talk = Talk(card).plays(OPEN)
    asked(talk.a("S", seq=77_000, options=options), seq=5001, ack=1001)
    talk.plays("A:PA+10 B:A")


def _went_on(card: Card, who: str) -> Talk:
    """A RST at what was acknowledged, whose receiver has more; he, or whom it names, goes on."""
    talk = Talk(card).plays(OPEN + " A:PA+100")
    talk.passes(talk.a("R", seq=1001), 0)
    assert talk.state == TcpState.CLOSED
    return talk.plays("A:PA+10" if who == "A" else "B:A")


@pytest.mark.parametrize("who", ["A", "B"])
def test_rfc5961_3_2_a_reset_that_was_not_exact_has_closed_nothing(card: Card, who: str) -> None:
    """Exact is the receiver's RCV.NXT alone: who has acknowledged more has not believed it, and whose it never was goes
    on; both live on, for longer than what is closed does."""
    talk = _went_on(card, who)
    assert talk.state == TcpState.ESTABLISHED
    for _ in range(10):
        card.after(3)
        talk.plays("A:PA+10 B:A")
    assert talk.plays("A:FA B:A B:FA A:A").state == TcpState.TIME_WAIT


def test_rfc5961_3_2_a_reset_that_was_exact_stays(card: Card) -> None:
    """Who says nothing new does not bring back what was closed, nor does anybody behind a RST at the end."""
    talk = Talk(card).plays(OPEN + " A:PA+100")
    talk.passes(talk.a("R", seq=1001), 0)
    talk.passes(talk.b("A", ack=1001), 1)
    talk.b("A", ack=1102).is_dropped("tcp_window").silently()
    talk.a("PA", 10, seq=1101 + 20_000).is_dropped("tcp_window").silently()
    assert talk.state == TcpState.CLOSED
    talk.passes(talk.a("R", seq=1101), 0)
    talk.plays("B:A A:PA+10")
    assert talk.state == TcpState.CLOSED
    card.after(10)
    talk.b("A").is_dropped("tcp_no_session").silently()


def test_rfc9293_3_10_7_4_what_was_acknowledged_brings_nothing_back(card: Card) -> None:
    """Data of S again that has come through: it changes nothing, in doubt or not. What is new does."""
    talk = Talk(card).plays(OPEN + " A:PA+100 B:A A:PA+100")
    talk.passes(talk.a("R", seq=1101), 0)
    talk.passes(talk.a("PA", 50, seq=1001), 0)
    assert card.flow().tcp_state == TcpState.CLOSED
    talk.passes(talk.a("PA", 100, seq=1101), 0)
    assert talk.state == TcpState.ESTABLISHED


@pytest.mark.parametrize(
    ("closing", "state", "rest", "behind"),
    [
        (" A:FA", TcpState.FIN_WAIT, "B:FA", TcpState.CLOSING),
        (" B:FA A:FA", TcpState.CLOSING, "B:A", TcpState.TIME_WAIT),
        (" B:FA A:PA+10", TcpState.FIN_WAIT, "A:FA", TcpState.CLOSING),
    ],
)
def test_rfc5961_3_2_back_in_the_state_before(
    card: Card, closing: str, state: TcpState, rest: str, behind: TcpState
) -> None:
    """And whoever has not closed yet can."""
    talk = Talk(card).plays(OPEN + closing)
    assert talk.state == state
    talk.passes(talk.a("R", seq=1001), 0)
    assert talk.state == TcpState.CLOSED
    talk.passes(talk.a("A"), 0)
    assert talk.state == state
    assert talk.plays(rest).state == behind


def test_rfc7323_2_2_refused_in_its_handshake_and_back_it_has_no_scale(card: Card) -> None:
    """That only one side has offered. Its windows are followed by the quick way then, which no witness sees."""
    talk = Talk(card, ("client", "open"), scale=(7, None)).plays("A:S B:SA")  # routed, as the quick way wants
    talk.passes(talk.b("RA", seq=5000, ack=1001), 1)
    assert talk.state is TcpState.CLOSED
    assert talk.plays("A:A").state is TcpState.ESTABLISHED
    data = tcp(talk.lines[0], "PA", bytes(100), seq=1001, ack=5001, window=8192)
    (result,) = card.replays([PacketIn(card.host("client").frame(data), HOSTS["client"].port, card.now)])
    assert result.reason == ""
    asked(talk.b("R", seq=5003), 1101, 5001, window=8192)


@pytest.mark.parametrize("v6", [False, True])
def test_rfc5961_a_challenge_is_byte_by_byte_an_ack(card: Card, v6: bool) -> None:
    talk = Talk(card, scale=(3, 2), window=(100, 200), v6=v6).plays(OPEN + " B:A A:A")
    sent = talk.a("R", seq=1002)
    asked(sent, seq=5001, ack=1001, window=200)
    card.after(1)
    told = sent.answer()
    assert (told["TCP"].sport, told["TCP"].dport, told["TCP"].urgptr, told["TCP"].dataofs) == (80, 4000, 0, 5)
    assert (told.src, told.dst) == ("02:00:00:00:00:0a", "02:00:00:00:00:14")
    asked(talk.b("S"), seq=1001, ack=5001, window=100)


def test_rfc5961_a_challenge_never_says_more_than_a_window_can(card: Card) -> None:
    """65,535 at most, though the other side has granted more, before its window shrank and its scale was known."""
    talk = Talk(card, scale=(0, 0), window=(1000, 65535)).plays(OPEN + " A:PA+1000 B:A")
    asked(talk.a("R", seq=talk.next[0] + 1), seq=5001, ack=2001, window=65535)
    card.after(1)
    talk.passes(talk.b("A", window=0), 1)
    asked(talk.a("R", seq=talk.next[0] + 1), seq=5001, ack=2001, window=65535)


def test_rfc5961_a_challenge_over_a_vlan_and_a_gateway(card: Card) -> None:
    """Routed, it comes from the gateway's MAC, in the VLAN of who sent."""
    talk = Talk(card, ends=("db", "web")).plays(OPEN)
    sent = talk.a("R", seq=1002)
    asked(sent, seq=5001, ack=1001)
    assert (sent.answer().src, sent.answer()[Dot1Q].vlan) == ("02:00:00:00:aa:02", 7)


# --- limits (RFC 5961 7) ---------------------------------------------------------------------------------------------


def test_rfc5961_7_a_connection_is_asked_once_in_half_a_second(card: Card) -> None:
    """More are dropped all the same, silently; the exact one still passes."""
    card.now = 1 << 40
    talk = Talk(card).plays(OPEN)
    other = Talk(card, sport=4001).plays(OPEN)
    asked(talk.a("R", seq=1050), seq=5001, ack=1001)
    for seq in (1050, 1051, 7000):
        talk.a("R", seq=seq).is_dropped("tcp_challenged").silently()
        talk.b("S").is_dropped("tcp_challenged").silently()
    asked(other.a("R", seq=1050), seq=5001, ack=1001)
    card.now = (1 << 40) + (1 << 29) - 1
    talk.a("R", seq=1050).is_dropped("tcp_challenged").silently()
    card.now += 1
    asked(talk.a("R", seq=1050), seq=5001, ack=1001)
    talk.passes(talk.a("R"), 0)


def _connections(card: Card, end: str, count: int, first: int = 10_000) -> list[Talk]:
    return [Talk(card, ends=(end, "web"), sport=first + place).plays(OPEN) for place in range(count)]


def _answered(talks: list[Talk]) -> int:
    """How many of them are asked about a RST in the window."""
    sent = [talk.a("R", seq=1050).is_dropped("tcp_challenged") for talk in talks]
    return sum(bool(one.outputs()) for one in sent)


def test_rfc5961_7_a_vnic_is_limited_by_who_writes_to_it(card: Card) -> None:
    """A sixteenth for each bucket, which the sender's address picks, half of it more or less: one address takes what is
    in its own, another has all of another one's; and each second has a number of its own."""
    card.now = 1 << 40
    card.changes(*(replace(card.row("vnic", HOSTS[name].vnic), challenge_limit=512) for name in ("client", "db")))
    inside, outside = _connections(card, "client", 50), _connections(card, "db", 50)
    seen = set()
    for _ in range(6):
        for name, talks in ("client", inside), ("db", outside):
            most = allowed("challenge", HOSTS[name].vnic, HOSTS[name].addresses[0], card.now, 512)
            assert _answered(talks) == most
            seen.add(most)
        card.after(1)
    assert len(seen) > 3
    assert 16 <= min(seen) < max(seen) <= 48


def test_rfc5961_7_all_that_may_be_asked_about_counts(card: Card) -> None:
    """CVE-2016-5696: a RST out of the window takes what one within takes, so what is left tells nobody which it was."""
    limited = replace(card.row("vnic", HOSTS["client"].vnic), challenge_limit=512)
    most = allowed("challenge", HOSTS["client"].vnic, HOSTS["client"].addresses[0], 1 << 40, 512)
    left = []
    for seq in (1050, 900_000):
        shard = card.anew()
        shard.now = 1 << 40
        shard.changes(limited)
        talks = _connections(shard, "client", most)
        for talk in talks[: most - 3]:
            talk.a("R", seq=seq)
        left.append(_answered(talks[most - 3 :] + talks[: most - 3]))
        more = _connections(shard, "client", 10, first=20_000)
        left.append(_answered(more))
    assert left == [3, 0, 3, 0]
    # The same where nothing was sent: all have theirs.
    shard = card.anew()
    shard.now = 1 << 40
    assert _answered(_connections(shard, "client", most + 4)) == most


@pytest.mark.parametrize("limit", [1, 16, 64, 511])
def test_cve_2016_5696_however_small_a_limit_chance_is_in_it(card: Card, limit: int) -> None:
    """A connection takes two a second of a bucket at most. What is in one differs by more than that from second to
    second, and is never so little that a count of one's own says what those took."""
    card.now = 1 << 40
    card.changes(replace(card.row("vnic", HOSTS["client"].vnic), challenge_limit=limit))
    talks = _connections(card, "client", 50)
    seen = []
    for _ in range(8):
        seen.append(_answered(talks))
        assert seen[-1] == allowed("challenge", HOSTS["client"].vnic, HOSTS["client"].addresses[0], card.now, limit)
        card.after(1)
    assert min(seen) >= 16
    assert max(seen) - min(seen) > 8
    assert len(set(seen)) > 3


def test_one_limit_is_not_anothers(card: Card) -> None:
    """Of what one vNIC's connections take from an address's bucket, those of another vNIC miss nothing."""
    card.now = 1 << 40
    for name in ("client", "db"):
        card.changes(replace(card.row("vnic", HOSTS[name].vnic), challenge_limit=512))
    mine, address = HOSTS["client"].vnic, HOSTS["client"].addresses[0]
    assert _answered(_connections(card, "client", 50)) == allowed("challenge", mine, address, card.now, 512)
    others = [Talk(card, ends=("db", "client"), sport=10_000 + place).plays(OPEN) for place in range(50)]
    sent = [talk.b("R", seq=5050).is_dropped("tcp_challenged") for talk in others]
    most = allowed("challenge", HOSTS["db"].vnic, address, card.now, 512)
    assert sum(bool(one.outputs()) for one in sent) == most


def test_a_vnics_row_says_another_limit_and_that_it_bites_is_told(card: Card) -> None:
    card.changes(replace(card.row("vnic", 20), challenge_limit=512))
    card.now = 1 << 40
    inside, outside = _connections(card, "client", 49), _connections(card, "db", 49)
    most = allowed("challenge", 20, HOSTS["client"].addresses[0], card.now, 512)
    assert _answered(inside[:most]) == most
    assert card.shard.events().events == ()
    assert _answered(inside[most:]) == 0
    assert _answered(outside) == 49
    assert [(event.kind, event.id) for event in card.shard.events().events] == [(EventKind.CHALLENGE_LIMIT, 20)]
    card.after(1)
    assert _answered(inside) == allowed("challenge", 20, HOSTS["client"].addresses[0], card.now, 512)


@pytest.mark.parametrize("seed", [bytes(16), bytes(range(16)), b"another one here"])
def test_buckets_are_picked_by_a_keyed_hash(card: Card, seed: bytes) -> None:
    """Of thirty addresses with sixteen connections each those that share a bucket share what it has; who shares
    one with whom is the seed's secret, and the same in twin and engine."""
    card.changes(Seed(id=0, value=seed), replace(card.row("vnic", 40), challenge_limit=512))
    card.now = 1 << 40
    buckets: Counter[int] = Counter()
    asked_about = wanted = 0
    for number in range(30):
        address = f"10.2.0.{100 + number}"
        place = bucket("challenge", 40, address, seed)
        for sport in range(4000, 4016):
            talk = Talk(card, ends=("open", "web"), sport=sport)
            talk.lines = (f"{address}:{sport} > 10.1.0.10:80", f"10.1.0.10:80 > {address}:{sport}")
            talk.plays(OPEN)
            wanted += buckets[place] < allowance("challenge", 40, place, card.now, 512, seed)
            buckets[place] += 1
            asked_about += bool(talk.a("R", seq=1050).is_dropped("tcp_challenged").outputs())
            assert asked_about == wanted
    assert max(buckets.values()) > 48
    card.changes(Seed(id=0, value=bytes(16)))
