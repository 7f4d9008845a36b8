"""To the card's own programs, and from them."""

from dataclasses import replace

from hal.packet.contract import EventKind, PacketIn, TcpState
from hal.packet.frame._generated import Vrf
from tests.packets.card import Card
from tests.packets.packets import other, tcp, udp, unreachable
from tests.packets.world import HOSTS, VRF

BGP = tcp("10.1.0.20:4000 > 10.1.0.1:179")


def test_what_the_profile_names_goes_to_the_tap(card: Card) -> None:
    card.host("client").sends(BGP).arrives_at("card", ttl=64, src="02:00:00:00:aa:05")
    answer = tcp("10.1.0.1:179 > 10.1.0.20:4000", flags="SA").frame(destination_mac="02:00:00:00:aa:05")
    card.host("card").sends(answer).arrives_at("client", ttl=64, src="02:00:00:00:aa:01")
    assert card.flow().operations[0][-1] == "punt vrf 1"


def test_what_it_does_not_name(card: Card) -> None:
    card.host("client").sends(tcp("10.1.0.20:4000 > 10.1.0.1:22")).is_dropped("punt_denied").silently()
    card.host("client").sends(udp("10.1.0.20:4000 > 10.1.0.1:179")).is_dropped("punt_denied")
    card.host("client").sends(BGP).arrives_at("card")
    card.host("client").sends(other("10.1.0.20 > 10.1.0.1", 89)).arrives_at("card")


def test_uplinks_send_everything(card: Card) -> None:
    card.host("gateway").sends(udp("203.0.113.9:4000 > 192.0.2.2:161")).arrives_at("card")


def test_no_tap(card: Card) -> None:
    card.changes(Vrf(id=VRF))
    card.host("client").sends(BGP).is_dropped("punt_no_tap")
    card.changes(Vrf(id=VRF, punt_port=9))
    card.host("client").sends(BGP).arrives_at("card")


def test_limit(card: Card) -> None:
    card.changes(replace(card.row("vnic", 20), punt_limit=2))
    for _ in range(2):
        card.host("client").sends(BGP).arrives_at("card")
    card.host("client").sends(BGP).is_dropped("punt_limit")
    card.host("db").sends(tcp("10.2.0.5:4000 > 10.2.0.1:179")).arrives_at("card")
    card.after(0.5)
    card.host("client").sends(BGP).arrives_at("card")
    card.host("client").sends(BGP).is_dropped("punt_limit")


def test_errors_are_limited_too(card: Card) -> None:
    card.changes(replace(card.row("vnic", 20), punt_limit=3))
    card.host("client").sends(BGP).arrives_at("card")
    answer = tcp("10.1.0.1:179 > 10.1.0.20:4000", flags="SA").frame(destination_mac="02:00:00:00:aa:05")
    card.host("card").sends(answer).arrives_at("client")
    error = unreachable("10.1.0.20", "10.1.0.1", answer)
    for _ in range(2):
        card.host("client").sends(error).arrives_at("card", code=3)
    for _ in range(2):
        card.host("client").sends(error).is_dropped("punt_limit").silently()
    assert card.flow().packets == (3, 1)
    card.after(0.4)
    card.host("client").sends(error).arrives_at("card", code=3)


def test_the_card_opens_connections(card: Card) -> None:
    to_host = tcp("10.2.0.1:4000 > 10.1.0.10:80").frame(destination_mac="02:00:00:00:aa:05")
    card.host("card").sends(to_host).arrives_at("web", ttl=64)
    card.host("web").sends(tcp("10.1.0.10:80 > 10.2.0.1:4000", flags="SA").via_gateway()).arrives_at("card")


def test_the_tap_is_no_bridge(card: Card) -> None:
    stray = tcp("10.2.0.1:4000 > 10.1.0.10:80").frame(destination_mac="02:00:00:00:00:0a")
    card.host("card").sends(stray).is_dropped("no_decision")


# --- floods by an uplink -----------------------------------------------------------------------------------------

UPLINK = 1
PEER, SPEAKER = "192.0.2.1:4000", "192.0.2.2:179"


def session_opens(card: Card) -> None:
    """A neighbour router's BGP."""
    card.resolves("gateway").host("gateway").sends(tcp(f"{PEER} > {SPEAKER}")).arrives_at("card")
    card.host("card").sends(tcp(f"{SPEAKER} > {PEER}", flags="SA")).arrives_at("gateway")
    card.host("gateway").sends(tcp(f"{PEER} > {SPEAKER}", flags="A")).arrives_at("card")


def strangers(card: Card, sources: range, port: int = 9, flags: str = "") -> int:
    """How many of their packets to the card get there: one of each of so many addresses."""
    lines = [f"203.0.{113 + n // 250}.{n % 250 + 1}:{n + 1} > 192.0.2.2:{port}" for n in sources]
    packets = [tcp(line, flags=flags) if flags else udp(line) for line in lines]
    frames = [PacketIn(card.host("gateway").frame(one), HOSTS["gateway"].port, card.now) for one in packets]
    return [result.reason for result in card.replays(frames)].count("")


def test_strangers_take_nothing_from_whom_the_card_speaks_with(card: Card) -> None:
    session_opens(card)
    card.changes(replace(card.row("vnic", UPLINK), punt_limit=160))
    card.after(2)
    assert strangers(card, range(600)) == 160  # ten of each bucket
    assert card.shard.counters().drops["punt_limit"] == 440
    assert [one.id for one in card.shard.events().events if one.kind is EventKind.PUNT_LIMIT] == [UPLINK]
    for _ in range(160):
        card.host("gateway").sends(tcp(f"{PEER} > {SPEAKER}", flags="PA")).arrives_at("card")
    card.host("gateway").sends(tcp(f"{PEER} > {SPEAKER}", flags="PA")).is_dropped("punt_limit").silently()
    card.after(1)
    assert strangers(card, range(600)) == 160
    card.host("gateway").sends(tcp(f"{PEER} > {SPEAKER}", flags="PA")).arrives_at("card")


def test_who_gets_no_answer_stays_a_stranger(card: Card) -> None:
    card.changes(replace(card.row("vnic", UPLINK), punt_limit=16))
    stranger = tcp("203.0.113.9:4000 > 192.0.2.2:179")
    card.host("gateway").sends(stranger).arrives_at("card")
    card.host("gateway").sends(stranger).is_dropped("punt_limit").silently()
    answer = tcp("192.0.2.2:179 > 203.0.113.9:4000", flags="SA")
    card.resolves("gateway").host("card").sends(answer).arrives_at("gateway")
    card.host("gateway").sends(stranger).is_dropped("punt_limit").silently()  # forged as the first one may have been
    card.after(1)
    card.host("gateway").sends(tcp("203.0.113.9:4000 > 192.0.2.2:179", flags="A")).arrives_at("card")
    for _ in range(16):
        card.host("gateway").sends(tcp("203.0.113.9:4000 > 192.0.2.2:179", flags="A")).arrives_at("card")
    card.host("gateway").sends(tcp("203.0.113.9:4000 > 192.0.2.2:179", flags="A")).is_dropped("punt_limit")


def test_what_the_card_asks_for_comes(card: Card) -> None:
    """By whatever protocol: an answer is no stranger's packet."""
    card.resolves("gateway").host("card").sends(udp("192.0.2.2:5000 > 203.0.113.53:53")).arrives_at("gateway")
    card.changes(replace(card.row("vnic", UPLINK), punt_limit=16))
    assert strangers(card, range(600)) == 16
    card.host("gateway").sends(udp("203.0.113.53:53 > 192.0.2.2:5000")).arrives_at("card")
    card.host("gateway").sends(udp("203.0.113.53:53 > 192.0.2.2:5001")).is_dropped("punt_limit")


def test_a_dropped_one_changes_nothing(card: Card) -> None:
    """Nor does what is dropped for another reason cost a token."""
    session_opens(card)
    card.changes(replace(card.row("vnic", UPLINK), punt_limit=1))
    card.host("gateway").sends(tcp(f"{PEER} > {SPEAKER}", flags="A", seq=1 << 31)).is_dropped("tcp_window")
    card.host("gateway").sends(tcp(f"{PEER} > {SPEAKER}", flags="A")).arrives_at("card")
    for flags in ("R", "FA"):
        card.host("gateway").sends(tcp(f"{PEER} > {SPEAKER}", flags=flags)).is_dropped("punt_limit").silently()
    assert card.flow(source_port=4000).tcp_state is TcpState.ESTABLISHED
    card.after(1)
    card.host("gateway").sends(tcp(f"{PEER} > {SPEAKER}", flags="FA")).arrives_at("card")
    assert card.flow(source_port=4000).tcp_state is TcpState.FIN_WAIT
