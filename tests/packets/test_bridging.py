"""Between vNICs of one subnet: by MAC, unchanged, to nobody else."""

from dataclasses import replace

import pytest

from tests.packets.card import Card
from tests.packets.packets import other, tcp, udp
from tests.packets.world import HOSTS, OPEN


def test_goes_to_the_vnic_with_the_mac(card: Card) -> None:
    card.host("client").sends(tcp("10.1.0.20:40000 > 10.1.0.10:80")).arrives_at("web", ttl=64, src="02:00:00:00:00:14")
    card.host("web").sends(tcp("10.1.0.10:80 > 10.1.0.20:40000", flags="SA")).arrives_at("client", ttl=64)
    card.host("client").sends(tcp("[2001:db8:1::14]:40000 > [2001:db8:1::a]:80")).arrives_at("web", ttl=64)


def test_padding_is_not_forwarded(card: Card) -> None:
    frame = card.host("client").frame(tcp("10.1.0.20:40000 > 10.1.0.10:80"))
    sent = card.host("client").sends(frame + bytes(6)).arrives_at("web")
    assert len(sent.outputs()[0].data) == len(frame)


def test_unknown_mac_is_not_flooded(card: Card) -> None:
    stray = tcp("10.1.0.20:40000 > 10.1.0.10:80").frame(destination_mac="02:00:00:00:00:99")
    card.host("client").sends(stray).is_dropped("bridge_unknown_mac").silently()
    card.host("client").sends(tcp("10.1.0.20:40000 > 10.1.0.10:80")).arrives_at("web")


def test_own_mac_as_destination(card: Card) -> None:
    to_itself = tcp("10.1.0.20:40000 > 10.1.0.10:80").frame(destination_mac="02:00:00:00:00:14")
    card.host("client").sends(to_itself).is_dropped("same_interface").silently()
    card.host("client").sends(tcp("10.1.0.20:40000 > 10.1.0.10:80")).arrives_at("web")


@pytest.mark.parametrize("open_one", [False, True], ids=["guarded", "open"])
def test_a_source_mac_that_another_vnic_has(card: Card, open_one: bool) -> None:
    """A vNIC without antispoof may have many MACs; those of other vNICs of its subnet aren't among them."""
    if open_one:
        card.changes(replace(card.row("vnic", 20), profile=OPEN))
    client = card.host("client")
    for protocol, port in ((udp, 53), (tcp, 80)):
        client.sends(protocol(f"10.1.0.20:1 > 10.1.0.10:{port}").frame(source_mac="02:00:00:00:00:99"))
        stolen = protocol(f"10.1.0.20:2 > 10.1.0.10:{port}").frame(source_mac=HOSTS["web"].mac)
        client.sends(stolen).is_dropped("bridge_source_mac" if open_one else "spoofed_mac").silently()
    assert len(card.flows()) == (2 if open_one else 0)
    client.sends(udp("10.1.0.20:3 > 10.1.0.10:53")).arrives_at("web")


def test_other_mac_than_the_first(card: Card) -> None:
    card.host("client").sends(udp("10.1.0.20:53 > 10.1.0.10:53")).arrives_at("web")
    stray = udp("10.1.0.20:53 > 10.1.0.10:53").frame(destination_mac="02:00:00:00:00:99")
    card.host("client").sends(stray).is_dropped("mac_mismatch")
    card.host("client").sends(udp("10.1.0.20:53 > 10.1.0.10:53")).arrives_at("web")


def test_uplinks_are_not_bridged(card: Card) -> None:
    stray = tcp("203.0.113.9:1 > 10.1.0.10:80").frame(destination_mac="02:00:00:00:00:0a")
    card.host("gateway").sends(stray).is_dropped("not_for_us")
    card.host("gateway").sends(tcp("203.0.113.9:1 > 10.1.0.10:80")).arrives_at("web", ttl=63)


def test_vlan_tags_come_and_go(card: Card) -> None:
    card.host("db").sends(udp("10.2.0.5:1 > 10.2.0.40:2")).arrives_at("open")
    card.host("open").sends(udp("10.2.0.40:2 > 10.2.0.5:1")).arrives_at("db", vlan=7)


def test_other_protocols(card: Card) -> None:
    card.host("client").sends(other("10.1.0.20 > 10.1.0.10", 50)).arrives_at("web", proto=50)
    card.host("web").sends(other("10.1.0.10 > 10.1.0.20", 50)).arrives_at("client", proto=50)
    assert card.flow().source_port == 0


def test_priority_tag_is_untagged(card: Card) -> None:
    frame = card.host("client").frame(tcp("10.1.0.20:40000 > 10.1.0.10:80"))
    tagged = frame[:12] + bytes.fromhex("8100e000") + frame[12:]
    sent = card.host("client").sends(tagged).arrives_at("web")
    assert len(sent.outputs()[0].data) == len(frame)
