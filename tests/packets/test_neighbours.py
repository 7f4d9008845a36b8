"""Neighbours on uplinks: asked for, confirmed, probed, given up; next hops that fail over."""

from __future__ import annotations

from scapy.all import ARP, ICMP, IP, Dot1Q, Ether, ICMPv6ND_NS, IPv6

from hal.packet.contract import EventKind, StepKind
from hal.packet.model import Twin
from hal.packet.stages.route._generated import NextHop
from tests.packets.card import ON_TWIN, Card, Sent, answer_to_request, checksums_hold
from tests.packets.packets import tcp, udp, unreachable
from tests.packets.world import HOSTS

GATEWAY = HOSTS["gateway"]


def out(card: Card, port: int = 1, to: str = "203.0.113.9") -> Sent:
    return card.host("client").sends(udp(f"10.1.0.20:{port} > {to}:53"))


def answers(card: Card) -> Sent:
    return card.receives(answer_to_request(GATEWAY, "192.0.2.1"), GATEWAY)


def tick(card: Card) -> Sent:
    """A packet that has nothing to do with neighbours: timers that are due run before it."""
    return card.host("client").sends(udp("10.1.0.20:9 > 10.1.0.10:53"))


def sports(sent: Sent) -> list[int]:
    """Source ports of packets that left to the gateway."""
    frames = [Ether(output.data) for output in sent.outputs()]
    assert {frame.dst for frame in frames} <= {GATEWAY.mac}
    return [frame["UDP"].sport for frame in frames]


def requests(sent: Sent) -> list[str]:
    """Addresses that were asked for by ARP."""
    frames = [Ether(output.data) for output in sent.outputs()]
    return [frame[ARP].pdst for frame in frames if frame.haslayer(ARP) and frame[ARP].op == 1]


def test_asked_for_at_once(card: Card) -> None:
    (request,) = [Ether(output.data) for output in out(card).waits().outputs()]
    assert (request.dst, request.src) == ("ff:ff:ff:ff:ff:ff", GATEWAY.next_to)
    assert (request[ARP].psrc, request[ARP].pdst, request[ARP].hwdst) == ("192.0.2.2", "192.0.2.1", "00:00:00:00:00:00")


def test_asked_for_by_neighbour_discovery(card: Card) -> None:
    sent = card.host("client").sends(udp("[2001:db8:1::14]:1 > [2001:db8:cafe::1]:2")).waits()
    (request,) = [Ether(output.data) for output in sent.outputs()]
    assert (request.dst, request[IPv6].dst, request[IPv6].src) == (
        "33:33:ff:00:00:01",
        "ff02::1:ff00:1",
        "2001:db8:ff::2",
    )
    assert request[ICMPv6ND_NS].tgt == "2001:db8:ff::1"
    assert checksums_hold(sent.outputs()[0].data)
    assert request["ICMPv6NDOptSrcLLAddr"].lladdr == GATEWAY.next_to


def test_waiting_packets_go_out_in_order(card: Card) -> None:
    for port in (1, 2, 3, 4):
        out(card, port).waits()
    assert sports(answers(card).is_taken()) == [1, 2, 3, 4]
    out(card, 5).arrives_at("gateway")


def test_rfc4861_7_2_2_the_newest_replaces_the_oldest(card: Card) -> None:
    for port in (1, 2, 3, 4, 5, 6):
        sent = out(card, port).waits()
        assert sent.steps(StepKind.DROP) == []
    assert card.lost("neighbour_queue_full") == 2
    assert card.shard.counters().vnics[HOSTS["client"].vnic]["drops"] == 2
    assert sports(answers(card).is_taken()) == [3, 4, 5, 6]


def test_a_flood_pushes_out_nothing_but_its_own(card: Card) -> None:
    for port in (1, 2, 3, 4):
        out(card, port).waits()
    db = card.host("db")
    for port in (101, 102, 103):
        db.sends(udp(f"10.2.0.5:{port} > 203.0.113.9:53")).waits()
    for port in range(5, 40):
        out(card, port).waits()
    # Two and two: whose third comes loses his oldest.
    assert sports(answers(card).is_taken()) == [102, 103, 38, 39]
    drops = card.shard.counters().vnics
    assert (drops[HOSTS["client"].vnic]["drops"], drops[HOSTS["db"].vnic]["drops"]) == (37, 1)


def test_rfc4861_7_2_2_senders_are_told_that_nobody_answered(card: Card) -> None:
    """Of each packet that waited; not of one that was pushed out, and about no ICMP error."""
    for port in (1, 2, 3, 4, 5):
        out(card, port).waits()
    told = tick(card.after(1)), tick(card.after(1)), tick(card.after(1))
    frames = [Ether(output.data) for sent in told for output in sent.outputs() if output.port == 1]
    assert [(frame[ICMP].type, frame[ICMP].code, frame["UDPerror"].sport) for frame in frames] == [
        (3, 1, port) for port in (2, 3, 4, 5)
    ]
    assert {(frame.dst, frame.src, frame[IP].src, frame[IP].dst) for frame in frames} == {
        (HOSTS["client"].mac, "02:00:00:00:aa:01", "10.1.0.1", "10.1.0.20")
    }
    assert all(checksums_hold(output.data) for sent in told for output in sent.outputs())
    assert [frame["IPerror"].ttl for frame in frames] == [63] * 4


def test_rfc4861_7_2_2_an_address_that_nobody_has(card: Card) -> None:
    def six(port: int) -> Sent:
        return card.host("db").sends(udp(f"[2001:db8:2::5]:{port} > [2001:db8:ff::77]:2"))

    six(1).waits()
    told = [tick(card.after(1)) for _ in range(3)]
    (frame,) = [Ether(output.data) for sent in told for output in sent.outputs() if output.port == 3]
    assert (frame[Dot1Q].vlan, frame[IPv6].src, frame[IPv6].dst) == (7, "2001:db8:2::1", "2001:db8:2::5")
    assert (frame["ICMPv6DestUnreach"].code, frame["UDPerror"].sport) == (3, 1)
    # While it is given up they are told at once; where it is a route's next hop, the route is down.
    at_once = six(2).is_dropped("neighbour_unresolved").answer()
    assert (at_once["ICMPv6DestUnreach"].code, at_once["UDPerror"].sport) == (3, 2)
    assert at_once["IPerror6"].hlim == 63


def test_rfc1122_3_2_2_no_error_about_an_error(card: Card) -> None:
    card.resolves("gateway")
    request = udp("192.0.2.1:5 > 10.1.0.20:6")
    card.host("gateway").sends(request).arrives_at("client")
    tick(card.after(60))
    tick(card.after(4))
    error = unreachable("10.1.0.20", "192.0.2.1", request)
    card.host("client").sends(error).waits()
    sent = [tick(card.after(1)) for _ in range(3)]
    assert [output.port for one in sent for output in one.outputs() if output.port == 1] == []
    assert card.lost("neighbour_unresolved") == 1


def test_a_scan_takes_its_own_share(card: Card) -> None:
    for place in range(32):
        out(card, place % 4 + 1, to=f"192.0.2.{10 + place // 4}").waits()
    out(card, 1, to="192.0.2.80").is_dropped("neighbour_queue_limit")
    out(card, 5, to="192.0.2.10").waits()
    assert card.lost("neighbour_queue_full") == 1
    card.host("db").sends(udp("10.2.0.5:1 > 203.0.113.9:53")).waits()
    tick(card).arrives_at("web")
    for _ in range(3):
        tick(card.after(1))
    assert card.shard.counters().drops["neighbour_unresolved"] == 33
    out(card, 1, to="192.0.2.80").waits()


def test_given_up_after_three_requests(card: Card) -> None:
    assert requests(out(card, to="192.0.2.77").waits()) == ["192.0.2.77"]
    assert [requests(tick(card.after(wait))) for wait in (0.9, 0.1, 1)] == [[], ["192.0.2.77"], ["192.0.2.77"]]
    tick(card.after(1))
    tick(card).arrives_at("web")
    assert card.shard.counters().drops["neighbour_unresolved"] == 1
    out(card, 2, to="192.0.2.77").is_dropped("neighbour_unresolved")
    out(card, 2, to="192.0.2.1").waits()


def test_one_that_failed_is_asked_for_while_wanted(card: Card) -> None:
    out(card, to="192.0.2.77").waits()
    tick(card.after(3))
    asked = [len(requests(tick(card.after(10)))) for _ in range(8)]
    assert asked == [1, 1, 1, 1, 1, 0, 0, 0]
    assert requests(out(card, to="192.0.2.77").waits()) == ["192.0.2.77"]


def test_what_is_dropped_for_it_keeps_nothing(card: Card) -> None:
    """It is forgotten after as many requests, whoever goes on sending to it; then it is asked for anew."""
    card.after(100)
    out(card, to="192.0.2.77").waits()
    tick(card.after(3))
    asked = []
    for _ in range(5):
        out(card, to="192.0.2.77").is_dropped("neighbour_unresolved")
        asked.append(len(requests(tick(card.after(10)))))
    assert asked == [1] * 5
    out(card, to="192.0.2.77").is_dropped("neighbour_unresolved")
    assert requests(tick(card.after(10))) == []
    assert card.shard.neighbours() == []
    assert requests(out(card, to="192.0.2.77").waits()) == ["192.0.2.77"]


def test_a_next_hop_that_failed_is_asked_for_for_ever(card: Card) -> None:
    out(card).waits()
    tick(card.after(3))
    out(card, 2).is_dropped("next_hop_down")
    assert [requests(tick(card.after(10))) for _ in range(9)] == [["192.0.2.1"]] * 9
    answers(card).is_taken()
    out(card, 2).arrives_at("gateway")
    kinds = [(event.kind, event.id) for event in card.shard.events().events]
    assert kinds == [(EventKind.NEXT_HOP_DOWN, 1), (EventKind.NEXT_HOP_UP, 1)]


def test_forgotten_when_unused(card: Card) -> None:
    out(card).waits()
    answers(card)
    assert requests(tick(card.after(60))) == []
    out(card).waits()


def test_probed_when_used(card: Card) -> None:
    out(card).waits()
    answers(card)
    out(card).arrives_at("gateway")
    assert requests(tick(card.after(60))) == ["192.0.2.1"]
    out(card).arrives_at("gateway")
    assert [requests(tick(card.after(1))) for _ in range(2)] == [["192.0.2.1"]] * 2
    out(card.after(1)).is_dropped("next_hop_down")


def test_used_before_its_latest_confirmation(card: Card) -> None:
    """What was sent to it before says nothing about whether it is needed now."""
    out(card).waits()
    answers(card)
    out(card).arrives_at("gateway")
    tick(card.after(60))
    answers(card).is_taken()
    assert requests(tick(card.after(60))) == []
    out(card).waits()


def test_probed_and_there(card: Card) -> None:
    out(card).waits()
    answers(card)
    out(card).arrives_at("gateway")
    tick(card.after(60))
    answers(card).is_taken()
    assert requests(tick(card.after(3))) == []
    out(card).arrives_at("gateway")


def test_established_flows_fail_over_and_back(card: Card) -> None:
    card.resolves("gateway").resolves("second")
    port = next(port for port in range(1, 99) if out(card, port, "203.0.9.9").outputs()[0].port == 0)
    for _ in range(7):
        tick(card.after(10))
        card.receives(answer_to_request(HOSTS["second"], "198.51.100.1"), HOSTS["second"])
        out(card, port, "203.0.9.9")
        out(card, 7, "198.51.100.1")
    out(card, port, "203.0.9.9").arrives_at("second")
    answers(card).is_taken()
    out(card, port, "203.0.9.9").arrives_at("gateway")
    assert card.flow(source_port=port, destination="203.0.9.9/32").egress == GATEWAY.vnic


def test_requests_of_the_neighbour_confirm_it(card: Card) -> None:
    out(card).waits()
    asks = Ether(src=GATEWAY.mac, dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc=GATEWAY.mac, psrc="192.0.2.1", pdst="192.0.2.2")
    sent = card.receives(bytes(asks), GATEWAY).is_taken()
    assert [output.port for output in sent.outputs()] == [0, 0]
    out(card).arrives_at("gateway")


@ON_TWIN
def test_uplink_without_link(card: Card, twin: Twin) -> None:
    card.resolves("gateway")
    card.host("client").sends(tcp("10.1.0.20:4000 > 203.0.113.9:443")).arrives_at("gateway")
    twin.set_link(0, False)
    card.host("client").sends(tcp("10.1.0.20:4000 > 203.0.113.9:443")).is_dropped("next_hop_down")
    twin.set_link(0, True)
    card.host("client").sends(tcp("10.1.0.20:4000 > 203.0.113.9:443")).arrives_at("gateway")


@ON_TWIN
def test_port_without_link(card: Card, twin: Twin) -> None:
    twin.set_link(2, False)
    card.host("client").sends(udp("10.1.0.20:1 > 10.1.0.10:53")).is_dropped("port_down").silently()
    twin.set_link(2, True)
    card.host("client").sends(udp("10.1.0.20:1 > 10.1.0.10:53")).arrives_at("web")


@ON_TWIN
def test_port_without_room(card: Card, twin: Twin) -> None:
    twin.set_room(2, False)
    card.host("client").sends(udp("10.1.0.20:1 > 10.1.0.10:53")).is_dropped("port_full").silently()
    assert card.shard.counters().ports[2]["tx_full"] == 1
    twin.set_room(2, True)
    card.host("client").sends(udp("10.1.0.20:1 > 10.1.0.10:53")).arrives_at("web")


def test_next_hop_moves_under_an_established_flow(card: Card) -> None:
    card.resolves("gateway").resolves("second")
    card.host("client").sends(tcp("10.1.0.20:4000 > 203.0.113.9:443")).arrives_at("gateway")
    card.changes(NextHop(id=1, port=5, address="198.51.100.1"))
    card.host("client").sends(tcp("10.1.0.20:4000 > 203.0.113.9:443")).arrives_at("second")


@ON_TWIN
def test_waiting_packets_meet_a_port_that_went_down(card: Card, twin: Twin) -> None:
    out(card).waits()
    twin.set_link(0, False)
    answers(card).is_taken().silently()
    assert card.shard.counters().drops["port_down"] == 1
    twin.set_link(0, True)
    out(card).arrives_at("gateway")


def test_an_uplink_that_is_gone_takes_its_neighbours_along(card: Card) -> None:
    out(card).waits()
    rows = [row for row in card.backend.snapshot(["vnic"]).rows("vnic") if row.id == GATEWAY.vnic]
    card.loses("vnic", GATEWAY.vnic)
    tick(card).arrives_at("web")
    assert card.shard.counters().drops["neighbour_unresolved"] == 1
    card.gets(*rows)
    out(card).waits()


def test_what_a_timer_did_is_no_step_of_the_next_packet(card: Card) -> None:
    """A packet that waited is given up when its neighbour fails; the trace of the one that came then is its own."""
    card.host("client").sends(udp("10.1.0.20:1 > 203.0.113.9:9")).waits()
    frame = bytearray(card.host("client").frame(udp("10.1.0.20:2 > 224.0.0.1:9")))
    frame[:6] = bytes.fromhex("01005e000001")
    before = card.shard.counters().drops
    sent = card.after(5).receives(bytes(frame), HOSTS["client"]).is_dropped("multicast")
    after = card.shard.counters().drops
    assert after["neighbour_unresolved"] == before["neighbour_unresolved"] + 1
    numbers = card.backend.capabilities().schema.reason_numbers
    assert sent.steps(StepKind.DROP) == [("", 0, numbers["multicast"])]
