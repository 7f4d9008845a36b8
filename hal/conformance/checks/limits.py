"""Limits on connections: how many, whose they count as, and what becomes of that when vNICs come and go."""

from __future__ import annotations

from hal.conformance import world
from hal.conformance.bench import Bench, delete, insert, modify
from hal.conformance.check import Level, check, equal
from hal.conformance.frames import IPV4, echo, ethernet, fragment, tcp, udp
from hal.conformance.traffic import SECOND, Sent, Traffic
from hal.conformance.world import NO_MAC, OPEN, UPLINK_ID, VRF, A, B, C, Host
from hal.packet.contract import LIMITS, LIMITS_A_SECOND, EventKind, LimitCounters
from hal.packet.frame._generated import Vnic
from hal.packet.stages.bridge._generated import FdbEntry, VnicAddress

NEEDS = ("packets", "bridge", "route", "flows")
MAC = "02:00:00:00:00:77"
OTHER = Vnic(id=77, port=3, vlan=0, match_mac=NO_MAC, role="vnic", mac=MAC, vrf=VRF, profile=OPEN,
             subnet=1, flow_limit=1)  # fmt: skip
"""A vNIC that is there while A is not."""


def _from_other(traffic: Traffic, sport: int) -> Sent:
    packet = udp("10.1.0.77", C.ip, sport, 53)
    return traffic.send(OTHER.port, ethernet(A.gateway, MAC, IPV4, packet))


@check(
    Level.STATEFUL,
    "A connection counts for the vNIC with its id: one that is taken out and put in again has those that still live.",
    needs=("packets", "bridge", "route"),
)
def flow_counts_are_the_vnics(bench: Bench) -> None:
    """A vNIC that comes back under its id has its connections, though another had its place meanwhile."""
    card = world.world(bench)
    traffic = card.traffic()

    def others() -> list[int]:
        return [flow.source_port for flow in traffic.flows() if flow.source == "10.1.0.77"]

    card.commit(modify(world.vnic(A, flow_limit=2)))
    world.streams(traffic, (1, 2))
    world.routed(traffic, sport=3).dropped("flow_limit", "connection 3 of 2")
    card.commit(delete("vnic_address", A.vnic, A.vnic + 100), delete("fdb", A.vnic), delete("vnic", A.vnic))
    card.commit(insert(OTHER))
    for sport in (1, 2):
        _from_other(traffic, sport).left_by(C.port)
    equal(others(), [2], "connections of another vNIC, which may have one")
    card.commit(
        insert(
            world.vnic(A, flow_limit=2),
            FdbEntry(id=A.vnic, subnet=A.subnet, mac=A.mac, vnic=A.vnic),
            VnicAddress(id=A.vnic, subnet=A.subnet, address=A.ip, vnic=A.vnic),
        )
    )
    world.routed(traffic, sport=3).dropped("flow_limit", "connection 3 of 2 of a vNIC that came back")
    world.routed(traffic, sport=2).left_by(C.port)
    _from_other(traffic, 3).left_by(C.port)
    equal(others(), [3], "connections of another vNIC, later")


@check(
    Level.STATEFUL,
    "flow_limit, inbound_flow_limit, punt_limit: defaults for vNICs whose row says 0.",
    "Something to tell",
    needs=NEEDS,
)
def flows_are_limited(bench: Bench) -> None:
    """A vNIC opens as many connections as load allows, or its row; the first one too many is told as an event."""
    for own, limit in ((0, 3), (5, 5)):
        card = world.world(bench, flow_limit=3)
        card.commit(modify(world.vnic(A, flow_limit=own)))
        traffic = card.traffic()
        world.streams(traffic, range(1, limit + 1))
        world.routed(traffic, sport=99).dropped("flow_limit", f"connection {limit + 1} of {limit}")
        world.routed(traffic, sport=1).left_by(C.port, "a packet of an older connection")
        told = [(event.table, event.id) for event in traffic.events().events if event.kind is EventKind.FLOW_LIMIT]
        equal(told, [("vnic", A.vnic)], "FLOW_LIMIT events")


@check(Level.STATEFUL, "flow_limit, inbound_flow_limit, punt_limit: defaults for vNICs whose row says 0.", needs=NEEDS)
def inbound_flows_are_limited(bench: Bench) -> None:
    """What uplinks open to a vNIC has a limit apart from what it opens itself."""
    card = world.world(bench, inbound_flow_limit=2, flow_limit=1)
    traffic = card.traffic()

    def from_far(sport: int) -> bytes:
        packet = udp(world.FAR, A.ip, sport)
        return bytes.fromhex((world.UPLINK_MAC + world.ROUTER_MAC).replace(":", "")) + b"\x08\0" + packet

    world.far(traffic)
    world.router_answers(traffic)
    world.routed(traffic).left_by(C.port, "a connection that A opens")
    for sport in (1, 2):
        traffic.send(0, from_far(sport)).left_by(A.port, f"connection {sport} of 2 from the uplink")
        answer = A.frame(udp(A.ip, world.FAR, 53, sport))
        traffic.send(A.port, answer).left_by(0, f"its answer {sport}")
        traffic.send(0, from_far(sport)).left_by(A.port, f"more of {sport}")
    traffic.send(0, from_far(3)).dropped("flow_limit", "connection 3 of 2 from the uplink")


@check(
    Level.STATEFUL,
    "What has ended makes way for what is opened: TCP, and UDP and echo that were one exchange so far.",
    "where a vNIC has as many connections as may be, the one of the same share that ended first goes for one that is "
    "opened.",
    needs=NEEDS,
)
def what_has_ended_makes_way(bench: Bench) -> None:
    """Of more short connections than a vNIC may have those that ended first go, by FINs or a RST; what lives stays."""
    card = world.world(bench, flow_limit=3)
    traffic = card.traffic()
    handshake, shut = (("S", False), ("SA", True), ("A", False)), (("FA", False), ("FA", True), ("A", False))

    def plays(sport: int, segments: tuple[tuple[str, bool], ...]) -> None:
        numbers = [0, 0]
        for flags, back in segments:
            said = {"seq": numbers[back], "ack": numbers[not back] if "A" in flags else 0}
            numbers[back] += ("S" in flags) + ("F" in flags)
            where = f"{flags} {'to' if back else 'of'} port {sport}"
            world.segment(traffic, flags, back, sport=sport, **said).left_by(A.port if back else C.port, where)

    def opened() -> list[int]:
        return sorted(flow.source_port for flow in traffic.flows())

    plays(1, handshake)
    for sport in range(2, 8):
        plays(sport, handshake + (shut if sport % 2 else (("RA", False),)))
    equal(opened(), [1, 6, 7], "source ports of the connections that are left")
    for sport in (8, 9):
        plays(sport, handshake)
    equal(opened(), [1, 8, 9], "source ports of the connections that live")
    world.segment(traffic, "S", sport=10).dropped("flow_limit", "connection 4 of 3 that live")


@check(
    Level.STATEFUL,
    "What has ended makes way for what is opened: TCP, and UDP and echo that were one exchange so far.",
    "UDP that was answered, and of whose initiator no packet has come since, and echo that was answered, count as "
    "ended:",
    needs=NEEDS,
)
def one_exchange_makes_way(bench: Bench) -> None:
    """Of more questions and echoes than a vNIC may have those that were answered first go; who asks more by UDP stays,
    and what nobody has answered does as long as there are any."""
    card = world.world(bench, flow_limit=4)
    traffic = card.traffic()

    def asks(port: int) -> Sent:
        return world.routed(traffic, sport=port)

    def exchanged(port: int) -> None:
        asks(port).left_by(C.port, f"question {port}")
        world.replied(traffic, dport=port).left_by(A.port, f"answer {port}")

    def echoed(identifier: int) -> None:
        traffic.send(A.port, A.frame(echo(A.ip, C.ip, identifier))).left_by(C.port, f"echo request {identifier}")
        answer = C.frame(echo(C.ip, A.ip, identifier, reply=True))
        traffic.send(C.port, answer).left_by(A.port, f"echo reply {identifier}")

    def left() -> list[int]:
        return sorted(flow.source_port for flow in traffic.flows())

    exchanged(1)
    asks(1).left_by(C.port, "a question behind an answer")
    asks(2).left_by(C.port, "a question that nobody answers")
    for port in (3, 4, 5):
        exchanged(port)
    equal(left(), [1, 2, 4, 5], "source ports of the connections that are left")
    echoed(6)
    exchanged(7)
    echoed(8)
    equal(left(), [1, 2, 7, 8], "source ports and identifiers of the connections that are left")
    for port in (9, 10):
        asks(port).left_by(C.port, f"question {port}")
    equal(left(), [1, 2, 9, 10], "source ports of the connections that go on, or wait for an answer")


@check(
    Level.STATEFUL,
    "Behind that, in the share that is full, what nobody has answered does, the oldest first, TCP last.",
    "Where none has, the oldest half-open one of the share does, TCP behind all others.",
    needs=NEEDS,
)
def what_nobody_answers_makes_way(bench: Bench) -> None:
    """A flood that nobody answers ends nothing new: the oldest of it goes, in front of handshakes, and what was
    answered stays."""
    card = world.world(bench, flow_limit=4)
    traffic = card.traffic()

    def left() -> list[int]:
        return sorted(flow.source_port for flow in traffic.flows())

    world.segment(traffic, "S", sport=1).left_by(C.port, "a handshake")
    world.streams(traffic, (2,))
    for sport in (3, 4):
        world.routed(traffic, sport=sport).left_by(C.port, f"question {sport}, that nobody answers")
    for sport, gone in ((5, 3), (6, 4), (7, 1)):
        before = left()
        world.streams(traffic, (sport,))
        equal({*before} - {*left()}, {gone}, f"who went for connection {sport}")
    world.routed(traffic, sport=8).dropped("flow_limit", "connection 5 of 4 that were answered")


@check(
    Level.STATEFUL,
    "new_flow_limit, half_open_limit: defaults as well, the first a second.",
    "A token bucket for each of the two, `new_flow_limit` tokens a second and as many deep, full at first, is asked "
    "for each connection that the limit before has room for, or that what has ended makes way for: `new_flow_limit`.",
    needs=NEEDS,
)
def new_flows_a_second_are_limited(bench: Bench) -> None:
    """A vNIC opens as many connections a second as its row says, or load where that says 0; others open theirs."""
    for own, limit in ((0, 3), (2, 2)):
        card = world.world(bench, new_flow_limit=3)
        card.commit(modify(world.vnic(A, new_flow_limit=own)))
        traffic = card.traffic()
        for sport in range(limit):
            world.routed(traffic, sport=1 + sport).left_by(C.port, f"connection {sport + 1} of {limit} in a second")
        world.routed(traffic, sport=99).dropped("new_flow_limit", f"connection {limit + 1} of {limit} in a second")
        world.routed(traffic, sport=1).left_by(C.port, "a packet of an open connection")
        world.replied(traffic, sport=9, dport=9).left_by(A.port, "a connection of another vNIC")


@check(
    Level.STATEFUL,
    "each once in ten seconds for a vNIC, and apart for what it opens and what is opened to it, so that who floods "
    "does not push out what else is told",
    needs=NEEDS,
)
def limits_are_told_once_in_ten_seconds(bench: Bench) -> None:
    """A limit that bites again and again, with packets that pass in between, is an event each ten seconds."""
    card = world.world(bench, new_flow_limit=1)
    traffic = card.traffic()
    before = 0
    for second, told in ((0, 1), (2, 1), (9, 1), (10, 2)):
        after, before = (second - before) * SECOND, second
        world.routed(traffic, sport=100 + second, after=after).left_by(C.port, f"a connection after {second} s")
        world.routed(traffic, sport=200 + second).dropped("new_flow_limit", f"another one after {second} s")
        kinds = [event.kind for event in traffic.events().events]
        equal(kinds.count(EventKind.NEW_FLOW_LIMIT), told, f"NEW_FLOW_LIMIT events after {second} s")


@check(
    Level.STATEFUL,
    "Of the second 0 means an eighth of what fits in all workers.",
    "One more handshake is not refused: the oldest of them goes, the one that has counted for the vNIC in this way for "
    "longest.",
    needs=NEEDS,
)
def the_oldest_half_open_makes_way(bench: Bench) -> None:
    """Of more TCP connections in their handshake than a vNIC may have the oldest goes; what is established stays."""
    for own, limit in ((0, 8), (3, 3)):
        card = world.world(bench, connections=64)
        card.commit(modify(world.vnic(A, half_open_limit=own)))
        traffic = card.traffic(connections=64)
        for flags, back in (("S", False), ("SA", True), ("A", False)):
            world.segment(traffic, flags, back, sport=5000)
        for sport in range(limit + 1):
            world.segment(traffic, "S", sport=1 + sport).left_by(C.port, f"handshake {sport + 1} of {limit}")
        ports = sorted(flow.source_port for flow in traffic.flows())
        equal(ports, [*range(2, limit + 2), 5000], "source ports of the connections that are left")
        world.segment(traffic, "SA", back=True, sport=1).dropped("tcp_no_session", "a reply to the oldest")


@check(
    Level.STATEFUL,
    "Half of what a vNIC may open, and of what may be opened to it, is the most that it means, and one the least.",
    "of either never more than half of its `flow_limit` or `inbound_flow_limit`, one at least, whatever is said: else "
    "handshakes alone could fill that.",
    needs=NEEDS,
)
def handshakes_leave_half(bench: Bench) -> None:
    """Handshakes that nobody answers leave half of what a vNIC may open to what is answered; and so do those to it."""
    card = world.world(bench, half_open_limit=16)
    card.commit(modify(world.vnic(A, flow_limit=6, inbound_flow_limit=4)))
    traffic = card.traffic()
    for sport in range(1, 10):
        world.segment(traffic, "S", sport=sport).left_by(C.port, f"handshake {sport}")
        syn = world.from_router(tcp(world.FAR, A.ip, sport, 80, "S"))
        traffic.send(0, syn).left_by(A.port, f"handshake {sport} to the vNIC")
    left = [flow.source for flow in traffic.flows()]
    equal([left.count(one) for one in (A.ip, world.FAR)], [3, 2], "handshakes that are left of each")
    world.streams(traffic, (21, 22, 23))
    left = [flow.source for flow in traffic.flows()]
    equal([left.count(one) for one in (A.ip, world.FAR)], [6, 2], "connections, once others were answered")


@check(
    Level.STATEFUL,
    "fragment_limit: a default, too: fragmented datagrams of a vNIC that a worker remembers; 0: a part of all it can.",
    needs=NEEDS,
)
def remembered_fragments_are_limited(bench: Bench) -> None:
    """Of as many datagrams as the row of a vNIC says, or load where that says 0, a first fragment is remembered."""
    for own, default, limit in ((0, 3, 3), (2, 3, 2), (0, 0, 4)):
        card = world.world(bench, fragment_limit=default)
        card.commit(modify(world.vnic(A, fragment_limit=own)))
        traffic = card.traffic()
        datagram = udp(A.ip6, C.ip6)[40:].ljust(16, b"\0")
        for number in range(limit):
            packet = bytearray(fragment(A.ip6, C.ip6, 0, True, datagram))
            packet[44:48] = number.to_bytes(4, "big")
            traffic.send(A.port, A.frame(bytes(packet))).left_by(C.port, f"first fragment {number + 1} of {limit}")
        if own or default:
            packet = bytearray(fragment(A.ip6, C.ip6, 0, True, datagram))
            packet[44:48] = (99).to_bytes(4, "big")
            traffic.send(A.port, A.frame(bytes(packet))).dropped("fragment_limit", f"fragment {limit + 1} of {limit}")


@check(
    Level.STATEFUL,
    "icmp_limit, challenge_limit: defaults, a second, of what the card makes for a vNIC.",
    needs=NEEDS,
)
def what_the_card_makes_is_limited(bench: Bench) -> None:
    """ICMP errors to a vNIC end where its row says, or load where that says 0: one of 16 parts for an address, half of
    it more or less."""
    for own, part in ((0, 10), (16 * 40, 40)):
        card = world.world(bench, icmp_limit=16 * 10)
        card.commit(modify(world.vnic(A, icmp_limit=own)))
        traffic = card.traffic()
        nowhere = A.frame(udp(A.ip, "192.168.7.7"))
        answers = 0
        for number in range(2 * part):
            sent = traffic.send(A.port, nowhere).dropped("no_route", f"packet {number + 1} to nowhere")
            answers += len(sent.outputs)
        within = part // 2 <= answers <= part + part // 2
        equal(within, True, f"{answers} ICMP errors are half of {part} to three halves, about {2 * part} packets")


def _used(traffic: Traffic, host: Host) -> dict[str, LimitCounters]:
    """What a host's vNIC uses of its limits."""
    traffic.settle()
    return {name: one for (vnic, name), one in traffic.counters().limits.items() if vnic == host.vnic}


@check(
    Level.STATEFUL,
    "`limits` by (id of a row of table vnic, name)",
    "What a vNIC, uplink or tap uses of one of its limits, of all workers together.",
    "`used` of `most`, as of the latest `settle`, what has ended not counted;",
    needs=(*NEEDS, "settle", "counters"),
)
def limits_tell_what_is_used(bench: Bench) -> None:
    """Connections, handshakes and datagrams that count for a vNIC, and as many as its row says, or load, may be."""
    card = world.world(bench, half_open_limit=9)
    card.commit(modify(world.vnic(A, flow_limit=5)))
    traffic = card.traffic()
    world.routed(traffic).left_by(C.port, "a connection by UDP")
    for sport in (1, 2):
        world.segment(traffic, "S", sport=sport).left_by(C.port, f"handshake {sport}")
    packet = fragment(A.ip6, C.ip6, 0, True, udp(A.ip6, C.ip6, 3)[40:].ljust(16, b"\0"))
    traffic.send(A.port, A.frame(packet)).left_by(C.port, "a first fragment")
    for flags, back in (("SA", True), ("A", False)):
        world.segment(traffic, flags, back, sport=1)
    names = {name for _, name in traffic.counters().limits}
    equal(names, {*LIMITS}, "the names of limits")
    found, others = _used(traffic, A), _used(traffic, B)
    used = {name: one.used for name, one in found.items() if one.used}
    equal(used, {"flow_limit": 4, "half_open_limit": 1, "fragment_limit": 1}, "what vNIC A uses")
    most = [found[name].most for name in ("flow_limit", "half_open_limit", "inbound_half_open_limit")]
    equal(most, [5, 2, 9], "how many of them may be, of handshakes at most half of that")
    equal([name for name, one in others.items() if one.used], [], "what vNIC B uses")
    for flags, back in (("SA", True), ("A", False)):
        world.segment(traffic, flags, back, sport=2)
    equal(_used(traffic, A)["half_open_limit"].used, 0, "handshakes, once the last of them is finished")
    world.segment(traffic, "RA", sport=2).left_by(C.port, "a RST")
    equal(_used(traffic, A)["flow_limit"].used, 3, "connections, once one of them has ended")


@check(
    Level.STATEFUL,
    "of limits that are by the second `used` is 0, and where one holds for no such row `most` is.",
    needs=(*NEEDS, "settle", "counters"),
)
def limits_by_the_second_are_never_used(bench: Bench) -> None:
    """What is by the second has a number that may be and none that is; connections have no limits on an uplink."""
    traffic = world.world(bench, new_flow_limit=8, punt_limit=6).traffic()
    for sport in (1, 2):
        world.routed(traffic, sport=sport).left_by(C.port)
    found = _used(traffic, A)
    equal({found[name].used for name in LIMITS_A_SECOND}, {0}, "what is used of limits by the second")
    equal((found["new_flow_limit"].most, found["punt_limit"].most), (8, 6), "what a vNIC may a second")
    limits = traffic.counters().limits
    none = [name for name in LIMITS if limits[UPLINK_ID, name].most == 0]
    equal(
        none,
        [name for name in LIMITS if "flow_" in name or "open_" in name or "inbound_" in name],
        "what no uplink has",
    )


@check(
    Level.STATEFUL,
    "`refused`, at once: packets that were dropped for it, half-open connections that went, answers that weren't made.",
    needs=(*NEEDS, "counters"),
)
def limits_count_what_they_refuse(bench: Bench) -> None:
    """Each refusal counts for the limit and the vNIC whose it is, and for none else."""
    card = world.world(bench, icmp_limit=1)
    card.commit(modify(world.vnic(A, flow_limit=8, half_open_limit=4)))
    traffic = card.traffic()
    for sport in range(7):
        world.segment(traffic, "S", sport=1 + sport).left_by(C.port, f"handshake {sport + 1}")
    world.streams(traffic, range(21, 25))
    for sport in (31, 32):
        world.routed(traffic, sport=sport).left_by(C.port, "a connection that a half-open one makes way for")
    for number in range(3):
        packet = A.frame(udp(A.ip, "192.168.7.7"))
        traffic.send(A.port, packet).dropped("no_route", f"packet {number + 1} to nowhere, of which one is answered")
    found = {key: one.refused for key, one in traffic.counters().limits.items() if one.refused}
    wanted = {(A.vnic, "half_open_limit"): 3, (A.vnic, "flow_limit"): 2, (A.vnic, "icmp_limit"): 2}
    equal(found, wanted, "what was refused, by vNIC and limit")
