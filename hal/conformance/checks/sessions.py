"""Connections: the first packet decides, the others follow, and all obey the tables as they are now."""

from __future__ import annotations

from hal.conformance import world
from hal.conformance.bench import Bench, delete, insert, modify
from hal.conformance.check import Level, check, equal, expect
from hal.conformance.frames import ISS, echo, ip, udp
from hal.conformance.traffic import SECOND, Traffic
from hal.conformance.world import A, B, C
from hal.packet.contract import NONE_ID, Flow, FlowFilter, PacketIn, StepKind, TcpState, Verdict
from hal.packet.stages.route._generated import NextHop, Route

NEEDS = ("packets", "bridge", "route", "flows")
FIREWALL = (*NEEDS, "firewall")
IPV4 = b"\x08\x00"


def _only(traffic: Traffic, **which: object) -> Flow:
    flows = traffic.flows(FlowFilter(**which) if which else None)  # type: ignore[arg-type]
    expect(len(flows) == 1, f"one connection is there, not {len(flows)}")
    return flows[0]


@check(
    Level.STATEFUL,
    "A connection.",
    "Addresses and ports are those of the initiator's first packet",
    "Id of the vNIC or uplink the initiator's packets come from.",
    "Id of the vNIC or uplink they leave to.",
    "From the initiator, to the initiator.",
    "IP bytes, from and to the initiator.",
    needs=NEEDS,
)
def flows_are_told(bench: Bench) -> None:
    """A connection is told with its ends, where it comes from and goes to, times, packets and IP bytes both ways."""
    traffic = world.world(bench).traffic()
    world.routed(traffic)
    began = _only(traffic).created_ns
    world.replied(traffic, after=SECOND)
    world.routed(traffic, after=SECOND, data=b"more")
    flow = _only(traffic)
    told = (flow.vrf, flow.protocol, flow.source, flow.destination, flow.source_port, flow.destination_port)
    equal(told, (world.VRF, 17, A.ip, C.ip, 4000, 53), "VRF, protocol and ends")
    equal((flow.ingress, flow.egress), (A.vnic, C.vnic), "where it comes from and goes to")
    equal((flow.packets, flow.bytes), ((2, 1), (29 + 32, 29)), "packets and IP bytes")
    equal(flow.created_ns, began, "when it was created")
    expect(flow.last_ns - began >= 2 * SECOND, "when its last packet came")
    expect(flow.id != 0 and flow.worker == 0, "it has an id, and a worker")


@check(
    Level.STATEFUL,
    "for ICMP echo the source port is its identifier; where a protocol has no ports they are 0.",
    needs=NEEDS,
)
def flows_without_ports(bench: Bench) -> None:
    """An echo's identifier is its source port; protocols without ports have 0."""
    traffic = world.world(bench).traffic()
    traffic.send(A.port, A.frame(echo(A.ip, C.ip, identifier=777)))
    traffic.send(A.port, A.frame(ip(A.ip, C.ip, 50, b"payload of ESP")))
    found = sorted((flow.protocol, flow.source_port, flow.destination_port) for flow in traffic.flows())
    equal(found, [(1, 777, 0), (50, 0, 0)], "protocol and ports of connections")
    traffic.send(C.port, C.frame(echo(C.ip, A.ip, identifier=777, reply=True))).left_by(A.port, "an echo reply")
    equal(_only(traffic, protocol=1).packets, (1, 1), "packets of the echo")


@check(
    Level.STATEFUL,
    "An installed flow was found; `id` is its connection's, value 0 the initiator's direction, 1 the reply's.",
    "A connection was installed; `id` is its.",
    needs=(*NEEDS, "shard"),
)
def the_chain_is_walked_once(bench: Bench) -> None:
    """The first packet walks the chain and installs both directions; the others find the connection."""
    traffic = world.world(bench).traffic()
    first = world.routed(traffic)
    flow = _only(traffic)
    equal([step.id for step in first.of(StepKind.INSTALL)], [flow.id], "the connection that was installed")
    expect(first.of(StepKind.STAGE), "the first packet walks the chain")
    for sent, direction in ((world.routed(traffic), 0), (world.replied(traffic), 1)):
        found = [(step.id, step.value) for step in sent.of(StepKind.FLOW)]
        equal(found, [(flow.id, direction)], "connection and direction that were found")
        equal(sent.of(StepKind.STAGE), [], "stages that an established packet meets")


@check(Level.STATEFUL, "Both directions are installed", needs=FIREWALL)
def replies_need_no_rule(bench: Bench) -> None:
    """What answers a connection passes though no rule would let it begin."""
    card = world.firewalled(bench, world.rule(direction="out"))
    traffic = card.traffic()
    world.replied(traffic).dropped("firewall_default", "a packet that nothing allows to begin")
    world.routed(traffic).left_by(C.port)
    world.replied(traffic).left_by(A.port, "the same packet as a reply")


@check(Level.STATEFUL, "Id of the firewall rule on egress and on ingress; NONE_ID where none decided.", needs=FIREWALL)
def flows_tell_their_rules(bench: Bench) -> None:
    """The rules that allowed it, on the side of who opens it and of who it goes to."""
    rules = (world.rule(50, direction="out"), world.rule(51, direction="in"))
    out = world.firewalled(bench, *rules).traffic()
    world.routed(out)
    equal(_only(out).rules, (50, NONE_ID), "rules of a connection that leaves A")
    into = world.firewalled(bench, *rules).traffic()
    world.replied(into)
    equal(_only(into).rules, (NONE_ID, 51), "rules of a connection that comes to A")


@check(Level.STATEFUL, "The op lists of both directions, in words.", needs=NEEDS)
def flows_tell_their_operations(bench: Bench) -> None:
    """Asked for by its id, a connection tells what happens to its packets, each way."""
    traffic = world.world(bench).traffic()
    world.routed(traffic)
    flow = _only(traffic, id=_only(traffic).id)
    there = ("count", "rewrite ttl", f"rewrite macs vnic {C.vnic}", f"push vlan {C.vlan}", f"send vnic {C.vnic}")
    back = ("count", "rewrite ttl", f"rewrite macs vnic {A.vnic}", f"pop vlan {C.vlan}", f"send vnic {A.vnic}")
    equal(flow.operations, (there, back), "op lists in words")


@check(
    Level.STATEFUL,
    "States of a tracked connection, named after RFC 9293 3.3.2; NONE where it isn't TCP.",
    "The connection's TCP state; value is a `TcpState`.",
    needs=NEEDS,
)
def tcp_is_followed(bench: Bench) -> None:
    """From handshake to close, told by flows and by the witness; what doesn't fit is dropped."""
    traffic = world.world(bench).traffic()
    way: tuple[tuple[str, bool, TcpState, dict[str, int]], ...] = (
        ("S", False, TcpState.SYN_SENT, {}),
        ("SA", True, TcpState.SYN_RECEIVED, {}),
        ("A", False, TcpState.ESTABLISHED, {}),
        ("A", True, TcpState.ESTABLISHED, {}),
        ("FA", False, TcpState.FIN_WAIT, {}),
        ("FA", True, TcpState.CLOSING, {"ack": ISS + 2}),
        ("A", False, TcpState.TIME_WAIT, {"seq": ISS + 2, "ack": ISS + 2}),
    )
    for number, (flags, back, state, numbers) in enumerate(way):
        sent = world.segment(traffic, flags, back, **numbers)
        sent.left_by(A.port if back else C.port, f"segment {number + 1}, {flags},")
        equal(_only(traffic).tcp_state, state, f"TCP state behind segment {number + 1}, {flags}")
        if sent.verdict is not None and number:
            equal([step.value for step in sent.of(StepKind.STATE)], [state], "the state that the witness tells")
    other = world.segment(traffic, "S", sport=5)
    other.left_by(C.port, "a second connection's SYN")
    world.segment(traffic, "A", sport=5).dropped("tcp_state", "an ACK before SYN and ACK")
    world.routed(traffic)
    equal(_only(traffic, protocol=17).tcp_state, TcpState.NONE, "TCP state of UDP")


@check(
    Level.STATEFUL,
    "otherwise it is over.",
    "`pickup`: within it the time after start never ends",
    needs=(*NEEDS, "shard"),
)
def shards_pick_up_where_asked(bench: Bench) -> None:
    """Mid-stream TCP opens its flow in a shard with `pickup`, in others never."""
    card = world.world(bench)
    world.segment(card.traffic(), "A").dropped("tcp_no_session", "mid-stream TCP")
    traffic = card.traffic(pickup=True)
    world.segment(traffic, "A").left_by(C.port, "mid-stream TCP, picked up")
    world.segment(traffic, "A", back=True).left_by(A.port, "its other side")
    world.segment(traffic, "A", after=3600 * SECOND, sport=4001).left_by(C.port, "mid-stream TCP, picked up later")
    world.segment(traffic, "R", sport=9, after=241 * SECOND).dropped("tcp_no_session", "an RST without connection")
    equal({flow.tcp_state for flow in traffic.flows(FlowFilter(source_port=4000))}, {TcpState.ESTABLISHED}, "state")
    equal(traffic.flows(FlowFilter(source_port=4001)), [], "who has lived as a handshake does, unanswered")


@check(
    Level.STATEFUL,
    "pickup_ns: for how long after start a mid-stream TCP segment may open its flow; 0: never.",
    needs=(*NEEDS, "wire"),
)
def pick_up_ends(bench: Bench) -> None:
    """On the live card mid-stream TCP opens its flow for as long as load says, and not at all where that is 0."""
    never = world.world(bench, pickup_ns=0).live()
    world.segment(never, "A").dropped("tcp_no_session", "mid-stream TCP where pickup_ns is 0")
    live = world.world(bench, pickup_ns=4 * SECOND).live()
    world.segment(live, "A").left_by(C.port, "mid-stream TCP just after the start")
    world.segment(live, "A", after=4 * SECOND, sport=5).dropped("tcp_no_session", "mid-stream TCP later")


@check(Level.STATEFUL, "The flow was decided under older tables: the chain runs again.", needs=FIREWALL)
def established_packets_obey_new_rules(bench: Bench) -> None:
    """The next packet of a connection meets the rules as they are now, in either direction."""
    card = world.firewalled(bench)
    for back in (False, True):
        traffic = card.traffic()
        world.routed(traffic).left_by(C.port)
        card.commit(modify(world.rule(verdict="drop")))
        sent = world.replied(traffic) if back else world.routed(traffic)
        sent.dropped("firewall_rule", "an established packet after its rule says drop")
        if sent.verdict is not None:
            expect(sent.of(StepKind.REEVALUATE), "the witness tells that it was decided again")
        equal(traffic.flows(), [], "connections that the rules forbid")
        card.commit(modify(world.rule()))


@check(Level.STATEFUL, "The flow was decided under older tables: the chain runs again.", needs=NEEDS)
def established_packets_obey_new_routes(bench: Bench) -> None:
    """The next packet of a connection goes where the tables lead now."""
    card = world.world(bench)
    traffic = card.traffic()
    world.routed(traffic).left_by(C.port)
    card.commit(modify(world.vnic(C, port=2, vlan=9)))
    world.routed(traffic).left_by(2, "an established packet after its target moved")


@check(Level.STATEFUL, "The generation by which it was last decided.", needs=FIREWALL)
def flows_tell_who_decided(bench: Bench) -> None:
    """The generation under which it was decided, first and again; counters and times go on."""
    card = world.firewalled(bench)
    traffic = card.traffic()
    world.routed(traffic)
    first = _only(traffic)
    equal(first.generation, 1, "generation that decided first")
    card.commit(insert(world.rule(40, priority=1)))
    world.routed(traffic)
    again = _only(traffic)
    equal((again.generation, again.rules), (2, (40, NONE_ID)), "generation and rules that decided again")
    equal((again.id, again.packets), (first.id, (2, 0)), "connection and packets, decided again")


@check(Level.STATEFUL, "A connection.", needs=NEEDS, waits=120)
def flows_expire(bench: Bench) -> None:
    """A connection without packets is there a second before its time-out is over, and absent when it is. The longer one
    of a connection with a reply is told, and waited for where that costs nothing."""
    card = world.world(bench)
    traffic = card.traffic()
    world.routed(traffic)
    timeout = _only(traffic).timeout_ns
    equal(timeout, 120 * SECOND, "time-out of UDP without a reply, in ns")
    traffic.send(B.port, b"", after=timeout - SECOND)
    equal(len(traffic.flows()), 1, "connections a second before their time is over")
    traffic.send(B.port, b"", after=SECOND)
    equal(traffic.flows(), [], "connections when their time is over")
    world.routed(traffic)
    world.replied(traffic).left_by(A.port)
    equal(_only(traffic).timeout_ns, 300 * SECOND, "time-out of UDP with a reply, in ns")
    if card.waits:
        return
    world.replied(traffic, after=300 * SECOND - SECOND).left_by(A.port, "a reply a second before the end")
    traffic.send(B.port, b"", after=300 * SECOND)
    equal(traffic.flows(), [], "connections with a reply when their time is over")


@check(
    Level.STATEFUL,
    "connections: connections (both directions count as one) that fit",
    "A private shard for 1 to 1,048,576 connections.",
    needs=NEEDS,
)
def as_many_connections_fit(bench: Bench) -> None:
    """A card or shard holds as many connections as it was made for; the next is dropped, and fits when one has expired,
    where time can be moved to see it."""
    card = world.world(bench, connections=64, flow_limit=65)
    traffic = card.traffic(connections=64)
    for number in range(64):
        world.routed(traffic, sport=1 + number * 11).left_by(C.port, f"connection {number + 1} of 64")
    world.routed(traffic, sport=50000).dropped("flow_table_full", "connection 65 of 64")
    equal(len(traffic.flows()), 64, "connections")
    if card.waits:
        return
    world.routed(traffic, sport=50000, after=121 * SECOND).left_by(C.port, "a connection after the others expired")


@check(
    Level.STATEFUL,
    "Connections for which everything that is given holds.",
    "Prefixes and ports match either end's role as named.",
    needs=NEEDS,
)
def flows_are_filtered(bench: Bench) -> None:
    """By each field, and by several: source and destination are the initiator's."""
    traffic = world.world(bench).traffic()
    world.routed(traffic)
    world.replied(traffic)
    world.segment(traffic, "S", sport=4001)
    traffic.send(A.port, A.frame(udp(A.ip6, C.ip6, 4002, 54)))
    traffic.send(B.port, B.frame(udp(B.ip, A.ip, 53, 4000), to=A.mac))
    ids = {flow.source_port: flow.id for flow in traffic.flows()}
    cases: list[tuple[FlowFilter, set[int]]] = [
        (FlowFilter(), {4000, 4001, 4002, 53}),
        (FlowFilter(vrf=world.VRF), {4000, 4001, 4002, 53}),
        (FlowFilter(vrf=99), set()),
        (FlowFilter(vnic=B.vnic), {53}),
        (FlowFilter(vnic=C.vnic), {4000, 4001, 4002}),
        (FlowFilter(protocol=6), {4001}),
        (FlowFilter(source="10.1.0.11"), {4000, 4001}),
        (FlowFilter(source="10.1.0.0/24"), {4000, 4001, 53}),
        (FlowFilter(destination="10.1.0.11/32"), {53}),
        (FlowFilter(source="2001:db8::/32"), {4002}),
        (FlowFilter(source_port=53), {53}),
        (FlowFilter(destination_port=53), {4000}),
        (FlowFilter(id=ids[4001]), {4001}),
        (FlowFilter(protocol=17, destination_port=53, vnic=B.vnic), set()),
        (FlowFilter(protocol=17, destination_port=53, vnic=A.vnic), {4000}),
    ]
    for which, wanted in cases:
        equal({flow.source_port for flow in traffic.flows(which)}, wanted, f"source ports of flows for {which}")


@check(Level.STATEFUL, "Take connections out of the flow table; returns how many.", needs=(*NEEDS, "forget", "wire"))
def flows_are_forgotten(bench: Bench) -> None:
    """Those that a filter is of, and no others; they may begin anew."""
    card = world.world(bench)
    live = card.live()
    for sport in (1, 2, 3):
        world.routed(live, sport=sport)
    world.segment(live, "S")
    world.segment(live, "SA", back=True)
    equal(card.writer().forget(FlowFilter(source_port=2)), 1, "connections forgotten")
    equal({flow.source_port for flow in card.backend.flows()}, {1, 3, 4000}, "source ports of those that stayed")
    equal(card.writer().forget(FlowFilter(protocol=17)), 2, "connections forgotten")
    equal(card.writer().forget(FlowFilter(protocol=17)), 0, "connections forgotten a second time")
    world.segment(live, "A").left_by(C.port, "a packet of a connection that stayed")
    equal(card.writer().forget(FlowFilter()), 1, "connections forgotten, whatever they are")
    world.segment(live, "A").dropped("tcp_no_session", "a packet of a forgotten connection")


@check(Level.STATEFUL, "Take connections out of the flow table; returns how many.", needs=("forget", "bridge", "route"))
def nothing_to_forget(bench: Bench) -> None:
    """On a card without connections none are forgotten, and no tables change."""
    card = world.world(bench)
    before = card.state()
    equal(card.writer().forget(FlowFilter()), 0, "connections forgotten on an idle card")
    equal(card.state(), before, "tables after forgetting")


@check(
    Level.STATEFUL,
    "How far the card has come with a neighbour.",
    "It was asked for and hasn't answered: packets to it wait.",
    "It has answered: packets go to its MAC.",
    "It is asked again whether it is there, and is used meanwhile.",
    "It didn't answer three times: routes pass it over.",
    "Somebody on an uplink whom a worker has asked for: `uplink` is the id of its row in table vnic, `mac` is "
    '"" until it has answered for the first time.',
    "What each worker knows of those on uplinks, ordered by uplink, address as 16 bytes, and worker.",
    needs=(*NEEDS, "neighbours"),
    waits=63,
)
def neighbours_are_told(bench: Bench) -> None:
    """A router that is asked for, answers, is asked again and doesn't; beside it one that never did."""
    card = world.world(bench)
    second = "192.0.2.10"  # as text before .9, as an address behind
    card.commit(
        insert(
            *(NextHop(id=10 + number, port=0, address=address) for number, address in enumerate((second, "192.0.2.9"))),
            Route(id=10, vrf=world.VRF, prefix="198.51.100.0/25", next_hop=10),
            Route(id=11, vrf=world.VRF, prefix="198.51.100.128/25", next_hop=11),
        )
    )
    traffic = card.traffic()
    equal(traffic.neighbours(), [], "neighbours before the first packet")

    def told() -> list[tuple[int, str, str, str, int]]:
        return [(one.uplink, one.address, one.state.name, one.mac, one.worker) for one in traffic.neighbours()]

    uplink = world.UPLINK_ID
    world.far(traffic)
    equal(told(), [(uplink, world.ROUTER, "INCOMPLETE", "", 0)], "a router that was asked for")
    world.router_answers(traffic)
    world.far(traffic).left_by(0, "a packet to a router that has answered")
    known = (uplink, world.ROUTER, "REACHABLE", world.ROUTER_MAC, 0)
    equal(told(), [known], "a router that has answered")
    traffic.send(A.port, A.frame(udp(A.ip, "198.51.100.1", 1)))
    traffic.send(A.port, A.frame(udp(A.ip, "198.51.100.129", 1)))
    others = [(uplink, address, "INCOMPLETE", "", 0) for address in ("192.0.2.9", second)]
    equal(told(), [known, *others], "all three")
    again = world.far(traffic, after=60 * SECOND)  # what timers send leaves too
    there = bytes.fromhex(world.ROUTER_MAC.replace(":", ""))
    to_router = [out.port for out in again.outputs if (out.data[:6], out.data[12:14]) == (there, IPV4)]
    equal(to_router, [0], "ports by which a packet leaves while its router is asked again")
    failed = [(*one[:2], "FAILED", "", 0) for one in others]
    equal(told(), [(*known[:2], "PROBE", *known[3:]), *failed], "a minute later")
    traffic.send(A.port, A.frame(udp(A.ip, "198.51.100.1", 2))).dropped("next_hop_down", "one by a router that failed")
    world.far(traffic, after=3 * SECOND)
    equal(told()[0], (*known[:2], "FAILED", *known[3:]), "a router that doesn't answer any more")


@check(Level.STATEFUL, "own flows, neighbours, meters and counters, empty at first", needs=(*NEEDS, "shard"))
def shards_have_their_own_flows(bench: Bench) -> None:
    """A connection of one shard is in no other, and not on the live card."""
    card = world.world(bench)
    one, two = card.traffic(), card.traffic()
    world.segment(one, "S")
    world.segment(one, "SA", back=True)
    equal((len(one.flows()), len(two.flows()), len(card.backend.flows())), (1, 0, 0), "connections: one, two, live")
    world.segment(two, "A").dropped("tcp_no_session", "a packet of another shard's connection")


@check(
    Level.STATEFUL,
    "What a described packet would meet: the installed flow, if any, and what the chain would decide now.",
    needs=(*FIREWALL, "trace", "wire"),
)
def traces_find_installed_flows(bench: Bench) -> None:
    """The connection as it is installed, and beside it what would be decided if it came now; both untouched."""
    card = world.firewalled(bench)
    live = card.live()
    world.routed(live)
    (flow,) = card.backend.flows()
    packet = PacketIn(A.frame(udp(A.ip, C.ip)), A.port, flow.last_ns)
    traced = card.backend.trace(packet)
    expect(traced.flow is not None and traced.flow.id == flow.id, "the trace tells the connection")
    verdict = traced.installed.verdict if traced.installed else None
    equal((verdict, traced.now.verdict), (Verdict.FORWARD, Verdict.FORWARD), "verdicts, installed and now")
    equal(card.backend.flows(), [flow], "connections after the trace")
    card.commit(delete("firewall_rule", world.RULE))
    equal(card.backend.trace(packet).now.reason, "firewall_default", "what would be decided after the rule went")
