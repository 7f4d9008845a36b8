"""To the card's own programs, and from them."""

from dataclasses import replace

from hal.packet.frame._generated import Vrf
from tests.packets.card import Card
from tests.packets.packets import other, tcp, udp, unreachable
from tests.packets.world import VRF

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
