"""Packets through the ports of a card at work: what a card without `replay` is held to as well."""

from __future__ import annotations

import itertools
import threading
import time

from hal.conformance import world
from hal.conformance.bench import PAUSE_SECONDS, Bench, modify
from hal.conformance.check import Level, check, equal, expect
from hal.conformance.frames import udp
from hal.conformance.world import A, C
from hal.packet.schema.rows import Row
from hal.packet.stages.bridge._generated import Subnet

NEEDS = ("wire", "bridge", "route")
ONE_STEP = "Apply all operations in one step that every packet sees whole or not at all"
BURSTS, BURST = 12, 16
"""Packets that are sent while another commits."""


@check(Level.STATELESS, ONE_STEP, needs=NEEDS)
def live_packets_see_one_generation(bench: Bench) -> None:
    """Packets through the ports meet one generation's tables while another commits, never those of two: each first
    packet of its connection leaves with the target's MAC and the gateway's of the same commit."""
    card = world.world(bench)
    card.live().send(A.port, A.frame(udp(A.ip, C.ip, 9)))
    wire = card.device.wire(card.backend)
    if wire is None:
        return
    macs = ((C.mac, C.gateway), ("02:00:00:00:77:0c", "02:00:00:00:aa:77"))
    rows: list[tuple[Row, Row]] = [
        (world.vnic(C, mac=mac), Subnet(id=C.subnet, vrf=world.VRF, mac=gateway)) for mac, gateway in macs
    ]
    stop = threading.Event()

    def change() -> None:
        for turn in itertools.count(1):
            if stop.wait(PAUSE_SECONDS):
                return
            card.commit(modify(*rows[turn % 2]))

    writing = threading.Thread(target=change)
    seen: list[tuple[str, str]] = []
    writing.start()
    try:
        for burst in range(BURSTS):
            for sport in range(BURST):
                wire.send(A.port, A.frame(udp(A.ip, C.ip, 1000 + burst * BURST + sport)))
                time.sleep(PAUSE_SECONDS)
            left = [output.data for output in wire.receive() if output.port == C.port]
            seen += [(frame[:6].hex(":"), frame[6:12].hex(":")) for frame in left]
    finally:
        stop.set()
        writing.join()
    expect(seen, f"of {BURSTS * BURST} packets that were sent while another committed none left")
    equal([one for one in seen if one not in macs][:1], [], "MACs of a packet that met tables of two generations")
