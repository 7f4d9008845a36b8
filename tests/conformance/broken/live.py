"""Wrong about packets at the ports of a card at work, and right in `replay`."""

from __future__ import annotations

import time
from dataclasses import replace

from hal.packet.contract import Generation, PacketIn, PacketResult, Staged, StepKind, Trace
from hal.packet.model.flows import Connection, FlowTable
from hal.packet.model.keys import Key, flow_hash, worker_of
from hal.packet.model.meters import Meters
from hal.packet.model.tables import Tables
from hal.packet.model.twin import Twin
from tests.conformance.broken.parts import Breaks, breaks

BREAKS: Breaks = {}


@breaks(BREAKS, "live_packets_see_one_generation")
class LateVnics(Twin):
    """packets at the ports see a new subnet two milliseconds before the new vNIC of the same commit"""

    def inject(self, packet: PacketIn) -> PacketResult:
        self._check_running()
        return self.live.run(packet)

    def _committed(self) -> Generation:
        new, old = self.store.current, self.live.moment.version
        if {"vnic", "subnet"} == set(new.written):
            versions = {**new.tables.versions, "vnic": old.tables.versions["vnic"]}
            self.live.use(replace(new, tables=Tables(self.schema, new.tables.generation, versions)))
            time.sleep(0.002)
        return super()._committed()


@breaks(BREAKS, "live_packets_find_their_connection")
class TracedBackwards(Twin):
    """traces tell the initiator's direction as 1"""

    def trace(self, packet: PacketIn, staged: Staged | None = None) -> Trace:
        found = super().trace(packet, staged)
        if found.installed is None:
            return found
        steps = (
            replace(one, value=1 - one.value) if one.kind is StepKind.FLOW else one for one in found.installed.steps
        )
        return replace(found, installed=replace(found.installed, steps=tuple(steps)))


@breaks(BREAKS, "live_replies_come_by_another_vrf")
class OwnersOfVrfs(FlowTable):
    """which worker a packet goes to depends on the VRF that it comes in by"""

    def find(self, key: Key, now: int) -> tuple[Connection, int] | None:
        found = super().find(key, now)
        return found if found is None or self._owner(key) == self._owner(found[0].keys[0]) else None

    def _owner(self, key: Key) -> int:
        return worker_of(flow_hash(key.scope.vrf, *key[2:]), self.workers)


@breaks(BREAKS, "live_logs_have_a_limit")
class EndlessLiveLogs(Twin):
    """whatever is logged of packets at the ports is told"""

    def inject(self, packet: PacketIn) -> PacketResult:
        self.live.ledger.logs = Meters()
        return super().inject(packet)


__all__ = ["BREAKS"]
