"""What rows count and log, and that counters stay when what they count is modified."""

from __future__ import annotations

from hal.conformance import world
from hal.conformance.bench import Bench, modify
from hal.conformance.check import Level, check, equal
from hal.conformance.traffic import SECOND
from hal.conformance.world import A, B, C
from hal.packet.contract import EventKind, RowCounters

FIREWALL = ("packets", "bridge", "route", "flows", "firewall")
STAY = "Counters stay."


@check(Level.STATELESS, STAY, needs=("packets", "bridge", "route", "counters"))
def modify_keeps_vnic_counters(bench: Bench) -> None:
    """A modified vNIC goes on counting from where it was, on either side of its packets."""
    card = world.world(bench)
    traffic = card.traffic()
    size = 0
    for turn in (1, 2):
        world.bridged(traffic).left_by(B.port)
        card.commit(modify(*(world.vnic(host, flow_limit=100 + turn) for host in (A, B))))
        counted = traffic.counters().vnics
        size = size or counted[A.vnic]["rx_bytes"]  # what is counted of a frame is another check's
        sent = (counted[A.vnic]["rx_packets"], counted[A.vnic]["rx_bytes"])
        received = (counted[B.vnic]["tx_packets"], counted[B.vnic]["tx_bytes"])
        equal((sent, received), ((turn, turn * size), (turn, turn * size)), "packets and bytes of two modified vNICs")


@check(Level.STATEFUL, STAY, needs=(*FIREWALL, "settle", "counters"))
def modify_keeps_what_is_not_settled(bench: Bench) -> None:
    """What connections have counted for a rule and not handed in yet is the rule's when it was modified meanwhile."""
    card = world.firewalled(bench)
    traffic = card.traffic()
    world.routed(traffic)
    world.replied(traffic)
    card.commit(modify(world.rule(priority=7, source="10.0.0.0/8")))
    traffic.settle()
    counted = traffic.counters().rows["firewall_rule", world.RULE]
    equal(counted, RowCounters(1, 2, 58), "hits, packets and bytes of a rule that was modified before settle")


@check(
    Level.STATEFUL,
    "What an entry counted: hits (connections or first packets it decided)",
    needs=(*FIREWALL, "counters"),
)
def rules_count_hits(bench: Bench) -> None:
    """A hit for each connection a rule allowed and each first packet it dropped, at once, and not for the rest."""
    drop = world.rule(60, priority=1, protocol_low=6, protocol_high=6, verdict="drop")
    traffic = world.firewalled(bench, world.rule(), drop).traffic()
    for sport in (1, 1, 1, 2):
        world.routed(traffic, sport=sport)
    world.replied(traffic, dport=1)
    for _ in range(3):
        world.segment(traffic, "S")
    counted = traffic.counters().rows
    hits = {id_: counters.hits for (table, id_), counters in counted.items() if table == "firewall_rule"}
    equal(hits, {world.RULE: 2, 60: 3}, "hits of rules")


@check(
    Level.STATEFUL,
    "and packets and bytes after `settle`.",
    "Add what sessions have counted so far to rules and objects, then return.",
    "`rows` by (table, id)",
    needs=(*FIREWALL, "settle", "counters"),
)
def settle_adds_up(bench: Bench) -> None:
    """After settle a rule has the packets and IP bytes of its connections, both ways, each once."""
    traffic = world.firewalled(bench).traffic()
    for turn in (1, 2):
        world.routed(traffic)
        world.replied(traffic)
        for _ in range(2):
            traffic.settle()
            counted = traffic.counters().rows["firewall_rule", world.RULE]
            equal(counted, RowCounters(1, 2 * turn, 58 * turn), "hits, packets and bytes after settle")


@check(Level.STATEFUL, STAY, needs=(*FIREWALL, "settle", "counters"))
def modify_keeps_counters(bench: Bench) -> None:
    """A modified rule goes on counting from where it was, its key changed too."""
    card = world.firewalled(bench)
    traffic = card.traffic()
    world.routed(traffic)
    traffic.settle()
    before = traffic.counters().rows["firewall_rule", world.RULE]
    card.commit(modify(world.rule(priority=7, source="10.0.0.0/8")))
    world.routed(traffic, sport=99)
    traffic.settle()
    after = traffic.counters().rows["firewall_rule", world.RULE]
    equal(before, RowCounters(1, 1, 29), "counters before")
    equal(after, RowCounters(2, 2, 58), "counters after, of two connections")


@check(Level.STATEFUL, "`table`/`id` say about which row, `data` is the kind's own", needs=(*FIREWALL, "events"))
def rules_log(bench: Bench) -> None:
    """A rule with log tells each connection that it decides, in words, with time and number."""
    traffic = world.firewalled(bench, world.rule(log=1)).traffic()
    world.routed(traffic)
    world.routed(traffic)
    world.segment(traffic, "S", after=SECOND)
    told = [event for event in traffic.events().events if event.kind is EventKind.RULE_LOG]
    words = [f"allow udp {A.ip}:4000 > {C.ip}:53", f"allow tcp {A.ip}:4000 > {C.ip}:80"]
    equal([event.data for event in told], words, "what RULE_LOG events say")
    equal({(event.table, event.id) for event in told}, {("firewall_rule", world.RULE)}, "which rule they are about")
    equal(told[1].time_ns - told[0].time_ns, SECOND, "time between them, in ns")
