"""Counters stay when what they count is modified."""

from __future__ import annotations

from hal.conformance import world
from hal.conformance.bench import Bench, modify
from hal.conformance.check import Level, check, equal
from hal.conformance.world import A, B
from hal.packet.contract import RowCounters

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


@check(Level.STATEFUL, STAY, needs=("packets", "bridge", "route", "flows", "firewall", "settle", "counters"))
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
