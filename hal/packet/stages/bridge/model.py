"""A packet to another MAC of the subnet goes to the vNIC that has it; nothing is flooded or learned, and none comes
from a MAC that another vNIC has."""

from __future__ import annotations

from hal.packet.model.stage import Context, Drop, Header, Leave, Pass, Stage, Tables, Verdict, Witness


class Bridge(Stage):
    says_where = True

    def decide(self, header: Header, context: Context, tables: Tables, witness: Witness) -> Verdict:
        if context.routed:
            return Pass()
        owner = tables.exact("fdb", context.ingress.subnet, header.source_mac)
        if owner is not None and owner.vnic != context.ingress.id:
            witness.match(owner)
            return Drop("bridge_source_mac")
        entry = tables.exact("fdb", context.ingress.subnet, header.destination_mac)
        vnic = tables.get("vnic", entry.vnic) if entry else None
        if entry is None or vnic is None:
            witness.miss("fdb")
            return Drop("bridge_unknown_mac")
        witness.match(entry)
        return Leave(vnic)


STAGE = Bridge()
