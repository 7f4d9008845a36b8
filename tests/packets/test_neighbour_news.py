"""What neighbours on uplinks say of themselves, asked or not: RFC 826, RFC 4861 7.2 and 7.3."""

from __future__ import annotations

from typing import Any

import pytest
from scapy.all import ARP, Ether, ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptDstLLAddr, ICMPv6NDOptSrcLLAddr, IPv6

from hal.packet.contract import EventKind, NeighbourState
from tests.packets.card import Card, Sent, answer_to_request
from tests.packets.packets import udp
from tests.packets.test_neighbours import requests, tick
from tests.packets.world import HOSTS

GATEWAY = HOSTS["gateway"]
OTHER = "02:00:00:00:0b:ad"
V4, V6 = GATEWAY.addresses
OURS = {V4: "192.0.2.2", V6: "2001:db8:ff::2"}
REACHABLE, PROBE, FAILED = NeighbourState.REACHABLE, NeighbourState.PROBE, NeighbourState.FAILED


def arp(card: Card, mac: str = OTHER, **fields: Any) -> Sent:
    """ARP from the uplink; what isn't given is a gratuitous request of the gateway."""
    message = ARP(**{"op": 1, "hwsrc": mac, "psrc": V4, "pdst": V4, "hwdst": "00:00:00:00:00:00", **fields})
    return card.receives(bytes(Ether(src=mac, dst="ff:ff:ff:ff:ff:ff") / message), GATEWAY)


def na(card: Card, mac: str = OTHER, flags: str = "", to: str = "ff02::1", target: str = V6) -> Sent:
    """An advertisement from the uplink, by default to all nodes. `mac` "": without option."""
    message = ICMPv6ND_NA(tgt=target, R=int("R" in flags), S=int("S" in flags), O=int("O" in flags))
    option = ICMPv6NDOptDstLLAddr(lladdr=mac) if mac else b""
    dst = "33:33:00:00:00:01" if to == "ff02::1" else GATEWAY.next_to
    ether = Ether(src=mac or GATEWAY.mac, dst=dst)
    return card.receives(bytes(ether / IPv6(src=V6, dst=to, hlim=255) / message / option), GATEWAY)


def ns(card: Card, mac: str, target: str = OURS[V6], option: bool = True) -> Sent:
    """A solicitation of the gateway's, multicast."""
    group = "ff02::1:ff" + "00:" + target.rsplit("::", 1)[1]
    message = ICMPv6ND_NS(tgt=target) / (ICMPv6NDOptSrcLLAddr(lladdr=mac) if option else b"")
    ether = Ether(src=mac, dst="33:33:ff:00:00:02")
    return card.receives(bytes(ether / IPv6(src=V6, dst=group, hlim=255) / message), GATEWAY)


def state(card: Card, address: str = V4) -> tuple[NeighbourState, str]:
    """What the card says of the gateway by this address."""
    (found,) = [one for one in card.shard.neighbours() if one.address == address]
    return found.state, found.mac


def next_mac(card: Card, address: str = V4) -> str:
    """Where a packet to the gateway goes now."""
    source = "10.1.0.20" if address == V4 else "[2001:db8:1::14]"
    to = address if address == V4 else f"[{address}]"
    (output,) = card.host("client").sends(udp(f"{source}:7 > {to}:9")).outputs()
    mac: str = Ether(output.data).dst
    return mac


def solicitations(sent: Sent) -> list[str]:
    """Addresses that were asked for by neighbour solicitations."""
    frames = [Ether(output.data) for output in sent.outputs()]
    return [frame[ICMPv6ND_NS].tgt for frame in frames if frame.haslayer(ICMPv6ND_NS)]


def probed(card: Card) -> Card:
    """The gateway is known, and asked whether it is still there."""
    card.resolves("gateway")
    for address in (V4, V6):
        next_mac(card, address)
    tick(card.after(60))
    assert [state(card, address) for address in (V4, V6)] == [(PROBE, GATEWAY.mac)] * 2
    return card


# --- ARP ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fields", [{}, {"op": 2}, {"pdst": "192.0.2.99"}, {"pdst": OURS[V4]}])
def test_rfc826_whoever_is_known_is_known_anew(card: Card, fields: dict[str, Any]) -> None:
    """Merge_flag: the sender's MAC is taken up from any ARP packet. That he is there is asked at once, by broadcast."""
    card.resolves("gateway").after(1)
    assert requests(arp(card, **fields).is_taken()) == [V4]
    assert state(card) == (PROBE, OTHER)
    assert next_mac(card) == OTHER
    card.receives(answer_to_request(GATEWAY, V4), GATEWAY).is_taken()
    assert state(card) == (REACHABLE, GATEWAY.mac)
    assert next_mac(card) == GATEWAY.mac


def test_rfc826_the_same_again_changes_nothing(card: Card) -> None:
    card.resolves("gateway")
    next_mac(card)
    arp(card.after(30), GATEWAY.mac).is_taken().silently()
    assert state(card) == (REACHABLE, GATEWAY.mac)
    # Nor is it a confirmation: nobody knows whether he hears us.
    assert V4 in requests(tick(card.after(30)))


def test_rfc826_who_is_not_known_stays_unknown(card: Card) -> None:
    before = card.shard.neighbours()
    arp(card).is_dropped("arp_ignored").silently()
    arp(card, op=2, pdst=OURS[V4]).is_dropped("arp_ignored").silently()
    assert card.shard.neighbours() == before == []
    assert [frame[ARP].hwdst for frame in [arp(card, pdst=OURS[V4]).is_taken().answer()]] == [OTHER]
    assert card.shard.neighbours() == []


def test_rfc826_one_that_is_asked_for_is_found(card: Card) -> None:
    """What waits goes out; the request that is under way says whether he hears us."""
    card.host("client").sends(udp("10.1.0.20:1 > 203.0.113.9:53")).waits()
    (output,) = arp(card, GATEWAY.mac).is_taken().outputs()
    assert Ether(output.data)["UDP"].sport == 1
    assert state(card) == (PROBE, GATEWAY.mac)
    assert requests(tick(card.after(1))) == [V4]


def test_rfc826_one_that_failed_is_tried_again(card: Card) -> None:
    card.host("client").sends(udp("10.1.0.20:1 > 203.0.113.9:53")).waits()
    tick(card.after(3))
    assert state(card) == (FAILED, "")
    assert requests(arp(card, GATEWAY.mac).is_taken()) == [V4]
    card.host("client").sends(udp("10.1.0.20:1 > 203.0.113.9:53")).arrives_at("gateway")
    tick(card.after(3))
    assert state(card) == (FAILED, GATEWAY.mac)
    kinds = [event.kind for event in card.shard.events().events]
    assert kinds == [EventKind.NEXT_HOP_DOWN, EventKind.NEXT_HOP_UP, EventKind.NEXT_HOP_DOWN]


# --- neighbour discovery -----------------------------------------------------------------------------------------


def test_rfc4861_7_2_5_another_mac_without_override_does_not_replace(card: Card) -> None:
    card.resolves("gateway")
    for flags, to in (("", "ff02::1"), ("S", OURS[V6])):
        sent = na(card.after(1), flags=flags, to=to).is_taken()
        assert state(card, V6) == (PROBE, GATEWAY.mac)
        assert solicitations(sent) == [V6]
        na(card, flags=flags, to=to).is_taken().silently()  # not REACHABLE: ignored
        assert next_mac(card, V6) == GATEWAY.mac
        card.receives(answer_to_request(GATEWAY, V6), GATEWAY).is_taken()
        assert state(card, V6) == (REACHABLE, GATEWAY.mac)


def test_rfc4861_7_2_5_override_replaces(card: Card) -> None:
    probed(card)
    na(card, flags="SO", to=OURS[V6]).is_taken().silently()
    assert state(card, V6) == (REACHABLE, OTHER)
    assert solicitations(na(card.after(1), GATEWAY.mac, flags="O", to=OURS[V6]).is_taken()) == [V6]
    assert state(card, V6) == (PROBE, GATEWAY.mac)


def test_rfc4861_7_2_5_solicited_is_who_was_asked(card: Card) -> None:
    """A solicited advertisement that answers no request of ours is an announcement, whatever its flag says."""
    card.resolves("gateway").after(1)
    na(card, GATEWAY.mac, "SO", OURS[V6]).is_taken().silently()
    assert solicitations(na(card, flags="SO", to=OURS[V6]).is_taken()) == [V6]
    assert state(card, V6) == (PROBE, OTHER)


def test_rfc4861_7_2_6_an_unsolicited_one_to_all_nodes_is_taken_up(card: Card) -> None:
    na(card, flags="O").is_dropped("nd_ignored").silently()
    card.resolves("gateway").after(1)
    na(card, flags="O").is_taken()
    assert state(card, V6) == (PROBE, OTHER)
    assert next_mac(card, V6) == OTHER
    na(card, flags="O", target="2001:db8:ff::99").is_dropped("nd_ignored").silently()


def test_rfc4861_7_2_5_the_same_mac_unsolicited_changes_nothing(card: Card) -> None:
    card.resolves("gateway")
    for flags in ("", "O", "R"):
        na(card, GATEWAY.mac, flags).is_taken().silently()
    na(card, "", "O").is_taken().silently()
    assert state(card, V6) == (REACHABLE, GATEWAY.mac)


def test_rfc4861_7_2_5_solicited_without_option_confirms(card: Card) -> None:
    """Who was asked by multicast has to say his MAC; who is known needn't."""
    probed(card)
    na(card, "", "S", OURS[V6]).is_taken().silently()
    assert solicitations(tick(card.after(2))) == []
    assert state(card, V6) == (REACHABLE, GATEWAY.mac)


def test_rfc4861_7_2_5_nothing_is_learned_without_a_mac(card: Card) -> None:
    card.host("client").sends(udp("[2001:db8:1::14]:1 > [2001:db8:cafe::1]:2")).waits()
    na(card, "", "SO", OURS[V6]).is_dropped("nd_ignored").silently()
    sent = na(card, GATEWAY.mac, "", OURS[V6]).is_taken()  # neither solicited nor override: STALE, but it is known
    assert [Ether(output.data).dst for output in sent.outputs()] == [GATEWAY.mac]
    assert state(card, V6) == (PROBE, GATEWAY.mac)


def test_rfc4861_7_2_3_a_solicitation_tells_of_the_asker(card: Card) -> None:
    """Whether it hears us is not known by that; without option nothing is."""
    card.resolves("gateway")
    ns(card, OTHER, option=False).is_taken()
    assert state(card, V6) == (REACHABLE, GATEWAY.mac)
    sent = ns(card.after(1), OTHER).is_taken()
    assert len(sent.outputs()) == 2  # the answer, and the question whether it is there
    assert state(card, V6) == (PROBE, OTHER)
    # For a target that isn't ours it is none of our business.
    ns(card, GATEWAY.mac, "2001:db8:ff::99").is_dropped("nd_ignored").silently()
    assert state(card, V6) == (PROBE, OTHER)


def test_rfc4861_7_3_3_who_does_not_answer_is_given_up(card: Card) -> None:
    """A lie lives three seconds at most: the one who has the address is asked by broadcast, whoever spoke."""
    card.resolves("gateway").after(1)
    arp(card).is_taken()
    asked = [requests(tick(card.after(1))) for _ in range(3)]
    assert [V4 in some for some in asked] == [True, True, False]
    assert state(card) == (FAILED, OTHER)
    card.host("client").sends(udp("10.1.0.20:1 > 203.0.113.9:53")).is_dropped("next_hop_down")


# --- who is believed: an answer while it is asked for, the first of two, and who had the address before ------------


def reply(card: Card, mac: str = GATEWAY.mac) -> Sent:
    return arp(card, mac, op=2, pdst=OURS[V4], hwdst=GATEWAY.next_to)


def test_rfc826_a_reply_that_nobody_asked_for_confirms_nothing(card: Card) -> None:
    """It is an announcement: its MAC is used for as long as it takes to ask who is there."""
    card.resolves("gateway")
    next_mac(card)
    reply(card.after(59)).is_taken().silently()
    assert requests(tick(card.after(1))) == [V4]
    reply(card).is_taken()
    assert requests(reply(card.after(1), OTHER).is_taken()) == [V4]
    assert state(card) == (PROBE, OTHER)


def test_rfc826_one_that_failed_believes_answers_alone(card: Card) -> None:
    """For a second behind each request; any other time what a reply says is asked about."""
    card.host("client").sends(udp("10.1.0.20:1 > 203.0.113.9:53")).waits()
    tick(card.after(3))
    assert requests(tick(card.after(10))) == [V4]
    reply(card.after(0.999)).is_taken().silently()
    assert state(card) == (REACHABLE, GATEWAY.mac)
    next_mac(card)
    for _ in range(4):
        tick(card.after(60 if state(card)[0] is REACHABLE else 1))
    assert state(card) == (FAILED, GATEWAY.mac)
    assert requests(reply(card).is_taken()) == [V4]  # the latest request is a second old
    assert state(card) == (PROBE, GATEWAY.mac)
    tick(card.after(3))
    tick(card.after(10))
    assert requests(reply(card.after(1)).is_taken()) == [V4]
    assert state(card) == (PROBE, GATEWAY.mac)


@pytest.mark.parametrize("known", [True, False])
def test_rfc5227_two_with_one_address_the_first_answer_stays(card: Card, known: bool) -> None:
    """For a second, as Linux's `locktime` has it: else packets went in turns to one and the other."""
    if known:
        probed(card)
    else:
        card.host("client").sends(udp("10.1.0.20:1 > 203.0.113.9:53")).waits()
    for mac in (GATEWAY.mac, OTHER, GATEWAY.mac, OTHER):
        reply(card, mac).is_taken()
        assert next_mac(card) == GATEWAY.mac
    assert state(card) == (REACHABLE, GATEWAY.mac)
    reply(card.after(0.999), OTHER).is_taken().silently()
    assert state(card) == (REACHABLE, GATEWAY.mac)
    assert requests(reply(card.after(0.001), OTHER).is_taken()) == [V4]
    assert state(card) == (PROBE, OTHER)


def test_rfc4861_7_2_5_two_with_one_address_the_first_answer_stays(card: Card) -> None:
    probed(card)
    for mac in (GATEWAY.mac, OTHER, GATEWAY.mac, OTHER):
        na(card, mac, "SO", OURS[V6]).is_taken().silently()
        assert state(card, V6) == (REACHABLE, GATEWAY.mac)
    assert next_mac(card, V6) == GATEWAY.mac


@pytest.mark.parametrize("fields", [{}, {"op": 2}, {"op": 2, "pdst": OURS[V4]}])
def test_a_liar_who_answers_himself_is_found_out(card: Card, fields: dict[str, Any]) -> None:
    """He says that the address is his, and answers the question that this leads to before anybody else: who had the
    address takes it back by his own answer, and keeps it for a second."""
    card.resolves("gateway").after(1)
    assert requests(arp(card, **fields).is_taken()) == [V4]
    reply(card, OTHER).is_taken()
    assert state(card) == (REACHABLE, OTHER)
    reply(card).is_taken()
    assert state(card) == (REACHABLE, GATEWAY.mac)
    for _ in range(9):
        reply(card.after(0.1), OTHER).is_taken()
        arp(card, **fields).is_taken()
        assert next_mac(card) == GATEWAY.mac


def test_who_had_the_address_before_takes_it_back_at_once_or_not(card: Card) -> None:
    """Who is silent while another answers has lost it: later he is one who announces himself."""
    card.resolves("gateway").after(1)
    arp(card).is_taken()
    reply(card, OTHER).is_taken()
    assert requests(reply(card.after(1)).is_taken()) == [V4]
    assert state(card) == (PROBE, GATEWAY.mac)
    reply(card, OTHER).is_taken()
    assert state(card) == (REACHABLE, OTHER)


@pytest.mark.parametrize("new", ["answers", "is silent"])
def test_an_announcement_behind_an_answer_is_asked_about_a_second_later(card: Card, new: str) -> None:
    """RFC 4861 7.2.2: no neighbour is asked more often. So a router that takes over is found within two seconds, and a
    flood of announcements is one question a second."""
    card.resolves("gateway")
    for _ in range(9):
        assert requests(arp(card.after(0.1)).is_taken()) == []
        assert state(card) == (PROBE, GATEWAY.mac)
        assert next_mac(card) == GATEWAY.mac
    assert V4 in requests(tick(card.after(0.1)))
    if new == "answers":
        reply(card, OTHER).is_taken()
        assert state(card) == (REACHABLE, OTHER)
    else:
        reply(card).is_taken().silently()
        assert state(card) == (REACHABLE, GATEWAY.mac)
    assert V4 not in requests(tick(card.after(1)))
    assert next_mac(card) == (OTHER if new == "answers" else GATEWAY.mac)


def test_rfc4861_7_2_5_an_announcement_behind_an_answer(card: Card) -> None:
    card.resolves("gateway")
    for flags in ("O", "", "O"):
        na(card.after(0.3), flags=flags).is_taken().silently()
        assert state(card, V6) == (PROBE, GATEWAY.mac)
    assert solicitations(tick(card.after(0.1))) == [V6]
    na(card, flags="SO", to=OURS[V6]).is_taken().silently()
    assert state(card, V6) == (REACHABLE, OTHER)
