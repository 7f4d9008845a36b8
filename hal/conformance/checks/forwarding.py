"""Packets that are forwarded, dropped or answered by tables alone."""

from __future__ import annotations

from functools import partial

from hal.conformance import world
from hal.conformance.bench import OTHER, Bench, delete, insert, modify
from hal.conformance.check import Level, check, equal, expect, raises
from hal.conformance.frames import ARP, IPV4, ISS, arp, dissect, echo, ethernet, solicitation, tcp, udp
from hal.conformance.world import A, B, C
from hal.errors import ErrorKind
from hal.packet.contract import Step, StepKind, Verdict
from hal.packet.stages.route._generated import BlackholeRoute, Route

NEEDS = ("packets", "bridge", "route")
DROPPED = "Dropped, counted under its reason."
SENT_ON = "Sent on, to another vNIC or uplink."
TAKEN_IN = "Taken in by the engine: ARP, neighbour discovery and echo for its own addresses."
MADE = (
    "The card made a packet of its own; value: 1 ARP, 2 ND, 3 ICMP echo, 4 ICMP error, 5 TCP RST, 6 TCP challenge ACK."
)
CHAIN = "Which stages packets pass, in which order."


@check(
    Level.STATELESS,
    "Nothing is forwarded before the first commit",
    "drops count as `not_configured`.",
    needs=("packets", "counters"),
)
def nothing_passes_before_the_first_commit(bench: Bench) -> None:
    """A card that was loaded and started, but not committed to, drops everything, and counts it."""
    traffic = bench.card().traffic()
    world.bridged(traffic).dropped("not_configured")
    traffic.send(0, b"").dropped("not_configured", "an empty frame")
    expect(traffic.counters().drops.get("not_configured", 0) >= 2, "drops as not_configured are not counted")


@check(
    Level.STATELESS,
    "Nothing is forwarded before the first commit, and the first of each awaited owner in this life of the card: drops "
    "count as `not_configured`.",
    "awaited: owners without whose rows nothing may be forwarded, among those that are named in `owners`.",
    "awaited: owners awaited since load that have yet to commit.",
    needs=("packets", "counters", "bridge", "route"),
)
def nothing_passes_without_an_awaited_owner(bench: Bench) -> None:
    """What `dsnd` has committed forwards nothing, bridged or routed, v4 or v6, while another owner is awaited, who is
    told; an empty commit of his ends it. Who isn't named so at load isn't awaited, and one who was given no table can't
    be."""
    owners = {"waited-for": ("next_hop",), OTHER: ("firewall_policy",)}
    card = bench.card(owners=owners, awaited=("waited-for",))
    equal(card.capabilities.awaited, ("waited-for",), "owners that are awaited")
    traffic = card.traffic()
    theirs = ("next_hop", "next_hop_group", "next_hop_member", "firewall_policy")
    rows = (row for row in world.rows() if row.LAYOUT.table.name not in theirs and not isinstance(row, Route))
    card.commit(insert(*rows))
    packets = (  # what an engine may have a short cut for among them
        ("bridged UDP", A.frame(udp(A.ip, B.ip), to=B.mac), B.port),
        ("routed UDP", A.frame(udp(A.ip, C.ip)), C.port),
        ("routed UDP of IPv6", A.frame(udp(A.ip6, C.ip6)), C.port),
        ("a routed SYN", A.frame(tcp(A.ip, C.ip, 4000, 80, "S")), C.port),
    )
    for what, frame, _ in packets:
        traffic.send(A.port, frame).dropped("not_configured", f"{what}, for which all is there but an owner")
    expect(traffic.counters().drops.get("not_configured", 0) >= len(packets), "drops as not_configured are not counted")
    card.commit(owner="waited-for")
    equal(card.capabilities.awaited, (), "owners that are awaited, once the only one has committed")
    for what, frame, port in packets:
        traffic.send(A.port, frame).left_by(port, what)
    for awaited in ("nobody", "dsnd"):
        load = partial(bench.card, owners=owners, awaited=(awaited,))
        raises(ErrorKind.INVALID, load, f"a load that awaits {awaited}")


@check(Level.STATELESS, SENT_ON, "A frame that arrives: `data` from the destination MAC on, without FCS", needs=NEEDS)
def bridges_in_a_subnet(bench: Bench) -> None:
    """To a vNIC of the same subnet a frame goes as it came."""
    traffic = world.world(bench).traffic()
    frame = A.frame(udp(A.ip, B.ip), to=B.mac)
    equal(traffic.send(A.port, frame).left_by(B.port).hex(), frame.hex(), "the bridged frame")


@check(Level.STATELESS, SENT_ON, "A frame that left by a port.", needs=NEEDS)
def routes_between_subnets(bench: Bench) -> None:
    """To another subnet: TTL less one, MACs of gateway and target, the target's VLAN; v4 and v6."""
    traffic = world.world(bench).traffic()
    for source, destination in ((A.ip, C.ip), (A.ip6, C.ip6)):
        packet = udp(source, destination, ttl=17)
        seen = dissect(traffic.send(A.port, A.frame(packet)).left_by(C.port))
        equal((seen.destination, seen.source, seen.vlan), (C.mac, C.gateway, C.vlan), "MACs and VLAN of a routed frame")
        equal(seen.payload.hex(), udp(source, destination, ttl=16).hex(), "the routed packet")


@check(Level.STATELESS, "What to do with packets to a prefix.", needs=NEEDS)
def the_longest_prefix_decides(bench: Bench) -> None:
    """Of all routes that cover a destination the longest prefix decides, whatever came last."""
    card = world.world(bench)
    card.commit(
        insert(
            BlackholeRoute(id=20, vrf=world.VRF, prefix="10.2.0.8/29"),
            BlackholeRoute(id=21, vrf=world.VRF, prefix="0.0.0.0/0"),
        )
    )
    world.routed(card.traffic()).dropped("blackhole", "a packet to the longest prefix")
    card.commit(delete("route", 20))
    world.routed(card.traffic()).left_by(C.port, "a packet to the next longest prefix")


@check(Level.STATELESS, "Link-local source or destination", needs=NEEDS)
def link_local_addresses_are_not_routed(bench: Bench) -> None:
    """From or to a link-local address, v4 or v6, nothing is routed."""
    traffic = world.world(bench).traffic()
    for source, destination in (
        ("169.254.1.1", C.ip),
        (A.ip, "169.254.1.1"),
        ("fe80::11", C.ip6),
        (A.ip6, "fe80::13"),
    ):
        packet = A.frame(udp(source, destination))
        traffic.send(A.port, packet).dropped("address_invalid", f"a packet from {source} to {destination}")
    for source, destination in (("169.253.1.1", C.ip), (A.ip6, C.ip6)):
        packet = A.frame(udp(source, destination))
        traffic.send(A.port, packet).left_by(C.port, f"a packet from {source} to {destination}")


@check(Level.STATELESS, DROPPED, "`drops` by reason (all reasons are there)", needs=(*NEEDS, "counters"))
def drops_have_reasons(bench: Bench) -> None:
    """What is dropped is counted under the reason declared for it, and no other."""
    card = world.world(bench)
    traffic = card.traffic()
    before = traffic.counters().drops
    equal(set(before), {reason.name for reason in card.schema.reasons}, "drop reasons that are counted")
    frames = {
        "ethernet_truncated": (A.port, b"\2\0\0"),
        "vnic_unknown": (4, A.frame(udp(A.ip, B.ip))),
        "ethertype_unsupported": (A.port, ethernet(B.mac, A.mac, 0x88CC, b"lldp")),
        "ipv4_checksum": (A.port, A.frame(udp(A.ip, C.ip)[:10] + b"\0\0" + udp(A.ip, C.ip)[12:])),
        "blackhole": (A.port, A.frame(udp(A.ip, "198.18.0.1"))),
        "no_route": (A.port, A.frame(udp(A.ip, "8.8.8.8"))),
        "bridge_unknown_mac": (A.port, A.frame(udp(A.ip, B.ip), to="02:00:00:00:00:77")),
        "bridge_source_mac": (A.port, ethernet("02:00:00:00:00:77", B.mac, IPV4, udp(A.ip, B.ip))),
        "ttl_exceeded": (A.port, A.frame(udp(A.ip, C.ip, ttl=1))),
        "vnic_address_unknown": (A.port, A.frame(udp(A.ip, "10.2.0.99"))),
        "tcp_no_session": (A.port, A.frame(tcp(A.ip, C.ip, 1, 80, "A"))),
    }
    for reason, (port, frame) in frames.items():
        traffic.send(port, frame).dropped(reason, f"the packet for {reason}")
    after = traffic.counters().drops
    counted = {reason: count - before[reason] for reason, count in after.items() if count != before[reason]}
    equal(counted, dict.fromkeys(frames, 1), "drops counted")


@check(Level.STATELESS, TAKEN_IN, MADE, needs=NEEDS)
def answers_arp(bench: Bench) -> None:
    """ARP for a gateway address is taken in and answered with the gateway's MAC; for a vNIC's, with that one's."""
    traffic = world.world(bench).traffic()
    for target, mac in (("10.1.0.1", A.gateway), (B.ip, B.mac)):
        request = ethernet("ff:ff:ff:ff:ff:ff", A.mac, ARP, arp(1, A.mac, A.ip, world.NO_MAC, target))
        sent = traffic.send(A.port, request)
        answer = sent.left_by(A.port, "an ARP request", Verdict.CONSUME)
        wanted = ethernet(A.mac, mac, ARP, arp(2, mac, target, A.mac, A.ip))
        equal(answer.hex(), wanted.hex(), f"the answer to ARP for {target}")
        _made(sent.of(StepKind.MAKE), 1, sent.verdict)


def _made(steps: list[Step], value: int, verdict: Verdict | None) -> None:
    if verdict is not None:
        equal([step.value for step in steps], [value], "MAKE steps of the witness")


@check(Level.STATELESS, TAKEN_IN, MADE, needs=NEEDS)
def answers_neighbour_discovery(bench: Bench) -> None:
    """A neighbour solicitation for a gateway address is answered with an advertisement of its MAC."""
    traffic = world.world(bench).traffic()
    packet = solicitation(A.ip6, A.mac, "2001:db8:1::1")
    sent = traffic.send(A.port, A.frame(packet, to="33:33:ff:00:00:01"))
    seen = dissect(sent.left_by(A.port, "a neighbour solicitation", Verdict.CONSUME))
    message = seen.payload[40:]
    equal((seen.destination, seen.source), (A.mac, A.gateway), "MACs of the advertisement")
    equal((message[0], message[24:].hex()), (136, "0201" + A.gateway.replace(":", "")), "type and option")
    _made(sent.of(StepKind.MAKE), 2, sent.verdict)


@check(Level.STATELESS, TAKEN_IN, MADE, needs=NEEDS)
def answers_echo(bench: Bench) -> None:
    """An echo request to a gateway address is answered, v4 and v6."""
    traffic = world.world(bench).traffic()
    for mine, its in ((A.ip, "10.1.0.1"), (A.ip6, "2001:db8:1::1")):
        sent = traffic.send(A.port, A.frame(echo(mine, its)))
        seen = dissect(sent.left_by(A.port, "an echo request to the card", Verdict.CONSUME))
        wanted = echo(its, mine, reply=True)
        equal(seen.payload[-len(wanted[20:]) :].hex(), wanted[20:].hex(), f"the echo reply from {its}")
        _made(sent.of(StepKind.MAKE), 3, sent.verdict)


@check(Level.STATELESS, MADE, needs=NEEDS)
def tells_icmp_errors(bench: Bench) -> None:
    """TTL at its end: dropped, and time exceeded from the gateway's address to the sender, quoting the packet."""
    traffic = world.world(bench).traffic()
    packet = udp(A.ip, C.ip, ttl=1)
    sent = traffic.send(A.port, A.frame(packet)).dropped("ttl_exceeded")
    equal([output.port for output in sent.outputs], [A.port], "where the ICMP error went")
    seen = dissect(sent.outputs[0].data)
    equal(seen.payload[20:22].hex(), "0b00", "type and code of the ICMP error")
    equal(seen.payload[28:].hex(), packet.hex(), "the packet that it quotes")
    _made(sent.of(StepKind.MAKE), 4, sent.verdict)


@check(Level.STATELESS, MADE, needs=(*NEEDS, "firewall"))
def tells_resets(bench: Bench) -> None:
    """A rule with verdict reset drops a SYN and answers it with RST and ACK."""
    traffic = world.firewalled(bench, world.rule(verdict="reset")).traffic()
    sent = world.segment(traffic, "S").dropped("firewall_reset")
    equal([output.port for output in sent.outputs], [A.port], "where the RST went")
    segment = dissect(sent.outputs[0].data).payload[20:]
    equal((segment[:4].hex(), segment[13]), ("00500fa0", 0x14), "ports and flags of the RST")
    _made(sent.of(StepKind.MAKE), 5, sent.verdict)


@check(Level.STATEFUL, MADE, needs=(*NEEDS, "flows"))
def asks_who_may_be_forged(bench: Bench) -> None:
    """A RST in the window that is not exact is dropped, and its sender asked in the receiver's name (RFC 5961 3.2); the
    exact one passes."""
    traffic = world.world(bench).traffic()
    world.segment(traffic, "S").left_by(C.port, "a SYN")
    world.segment(traffic, "SA", back=True).left_by(A.port, "its answer")
    world.segment(traffic, "A").left_by(C.port, "the handshake's end")
    sent = world.segment(traffic, "R", seq=ISS + 100).dropped("tcp_challenged")
    equal([output.port for output in sent.outputs], [A.port], "where the challenge ACK went")
    segment = dissect(sent.outputs[0].data).payload[20:]
    told = (segment[:4].hex(), *(int.from_bytes(segment[at : at + 4], "big") for at in (4, 8)), segment[13])
    equal(told, ("00500fa0", ISS + 1, ISS + 1, 0x10), "ports, numbers and flags of the challenge ACK")
    _made(sent.of(StepKind.MAKE), 6, sent.verdict)
    world.segment(traffic, "R").left_by(C.port, "an exact RST")


@check(
    Level.STATELESS,
    "Waits for a neighbour to answer.",
    "`outputs` holds all frames that left because of it, its own first",
    needs=NEEDS,
)
def packets_wait_for_neighbours(bench: Bench) -> None:
    """To an unknown neighbour: a request goes out, the packet waits and goes when the neighbour answers."""
    traffic = world.world(bench).traffic()
    sent = world.far(traffic)
    request = dissect(sent.left_by(0, "a packet to an unknown neighbour", Verdict.QUEUE))
    equal((request.ethertype, request.destination), (ARP, "ff:ff:ff:ff:ff:ff"), "the request for the neighbour")
    answered = world.router_answers(traffic)
    seen = dissect(answered.left_by(0, "the neighbour's answer", Verdict.CONSUME))
    equal((seen.ethertype, seen.destination, seen.ttl), (IPV4, world.ROUTER_MAC, 63), "the packet that waited")
    seen = dissect(world.far(traffic).left_by(0, "a packet to a neighbour that is known"))
    equal(seen.destination, world.ROUTER_MAC, "its destination MAC")


@check(Level.STATELESS, "and before it those that timers due by then sent.", needs=NEEDS)
def timers_run_before_packets(bench: Bench) -> None:
    """What timers due by a packet's time send comes before what the packet itself sends."""
    traffic = world.world(bench).traffic()
    world.far(traffic)
    sent = world.bridged(traffic, after=1_000_000_000)
    found = [(output.port, dissect(output.data).ethertype) for output in sent.outputs]
    equal(found, [(0, ARP), (B.port, IPV4)], "frames a second later: the neighbour's request again, then the packet")


@check(Level.STATELESS, "Given to the card's own programs.", needs=NEEDS)
def punts_to_the_card(bench: Bench) -> None:
    """To the card itself, of a protocol that the profile names: to the tap, TTL as it was; others are dropped."""
    traffic = world.world(bench).traffic()
    sent = traffic.send(A.port, A.frame(udp(A.ip, "10.1.0.1", dport=179)))
    seen = dissect(sent.left_by(9, "a packet to the card", Verdict.PUNT))
    equal((seen.destination, seen.ttl), (world.TAP_MAC, 64), "MAC and TTL of the punted packet")
    traffic.send(A.port, A.frame(udp(A.ip, "10.1.0.1", dport=180))).dropped("punt_denied", "another packet to the card")


@check(Level.STATELESS, "flow_limit, inbound_flow_limit, punt_limit: defaults", needs=NEEDS)
def punts_are_limited(bench: Bench) -> None:
    """`punt_limit` of load holds where the row says 0; what the row says holds otherwise."""
    frame = A.frame(udp(A.ip, "10.1.0.1", dport=179))
    for own, limit in ((0, 2), (4, 4)):
        card = world.world(bench, punt_limit=2)
        card.commit(modify(world.vnic(A, punt_limit=own)))
        traffic = card.traffic()
        for _ in range(limit):
            traffic.send(A.port, frame).left_by(9, f"a packet to the card, {limit} a second allowed", Verdict.PUNT)
        traffic.send(A.port, frame).dropped("punt_limit", f"packet {limit + 1} to the card")


@check(Level.STATELESS, CHAIN, needs=(*NEEDS, "firewall"))
def a_profile_is_an_order(bench: Bench) -> None:
    """Stages are passed in the order of their positions, and only those that the profile names."""
    card = world.firewalled(bench, world.rule(verdict="drop"))
    unknown = A.frame(udp(A.ip, B.ip), to="02:00:00:00:00:77")
    card.traffic().send(A.port, unknown).dropped("firewall_rule", "a packet that firewall and bridge would drop")
    first, second, third, _ = world.chain(world.GUARDED, ("bridge", "firewall", "route"), ("firewall",))
    card.commit(modify(first, second, third))
    card.traffic().send(A.port, unknown).dropped("bridge_unknown_mac", "the same with bridge before firewall")


@check(
    Level.STATELESS,
    "The lowest priority that matches decides, at equal priority the lowest id.",
    needs=("packets", "firewall"),
)
def the_first_rule_decides(bench: Bench) -> None:
    """Rules decide by priority, then id; behind the last, and without a policy, everything is dropped."""
    allow = world.rule(60, priority=5, protocol_low=17, protocol_high=17)
    drop = world.rule(61, priority=5, verdict="drop", protocol_low=16, protocol_high=17)
    card = world.firewalled(bench, allow, drop)
    world.bridged(card.traffic()).left_by(B.port, "a packet that the lowest id allows")
    world.segment(card.traffic(), "S").dropped("firewall_default", "a packet that no rule covers")
    card.commit(modify(world.rule(61, priority=4, verdict="drop", protocol_low=17, protocol_high=17)))
    world.bridged(card.traffic()).dropped("firewall_rule", "a packet that the lowest priority drops")
    card.commit(delete("firewall_binding", 1))
    world.bridged(card.traffic()).dropped("firewall_no_policy", "a packet of a vNIC without policy")


@check(Level.STATELESS, "Lets a vNIC send only from its own MAC and declared addresses", needs=("packets", "antispoof"))
def spoofed_packets_are_dropped(bench: Bench) -> None:
    """From another MAC or address than the vNIC's: dropped."""
    traffic = world.antispoofed(bench).traffic()
    world.bridged(traffic).left_by(B.port, "an honest packet")
    spoofed = A.frame(udp("10.1.0.99", B.ip), to=B.mac)
    traffic.send(A.port, spoofed).dropped("spoofed_address", "a packet from another's address")
    mac = ethernet(B.mac, "02:00:00:00:00:99", IPV4, udp(A.ip, B.ip, 4444))
    traffic.send(A.port, mac).dropped("spoofed_mac", "a packet from another's MAC")


@check(Level.STATELESS, "when packets see it.", "every packet sees whole or not at all", needs=NEEDS)
def packets_obey_when_commit_returns(bench: Bench) -> None:
    """The first packet after a commit has returned meets its tables."""
    card = world.world(bench)
    traffic = card.traffic()
    for turn in range(20):
        world.routed(traffic, sport=1000 + turn).left_by(C.port, "a packet with the route")
        card.commit(modify(BlackholeRoute(id=3, vrf=world.VRF, prefix="10.2.0.0/24")))
        world.routed(traffic, sport=2000 + turn).dropped("blackhole", "a packet after the route was taken away")
        card.commit(modify(world.rows_by_id("route")[3]))
