"""The first rule of the vNIC's policy that covers the packet decides; behind the last one: drop."""

from __future__ import annotations

from hal.packet.model.stage import Context, Drop, Entry, Header, Pass, Stage, Tables, Told, Verdict, Witness

DIRECTIONS = {"egress": ("out", "both"), "ingress": ("in", "both")}


def covers(rule: Entry, header: Header, directions: tuple[str, ...]) -> bool:
    return (
        rule.direction in directions
        and rule.protocol_low <= header.protocol <= rule.protocol_high
        and rule.source.covers(header.source)
        and rule.destination.covers(header.destination)
        and rule.port_low <= header.service <= rule.port_high
    )


class Firewall(Stage):
    def decide(self, header: Header, context: Context, tables: Tables, witness: Witness) -> Verdict:
        binding = tables.exact("firewall_binding", context.vnic.id)
        if binding is None:
            witness.miss("firewall_binding")
            return Drop("firewall_no_policy")
        directions = DIRECTIONS[context.direction]
        for rule in tables.ordered("firewall_rule", binding.policy):
            if covers(rule, header, directions):
                witness.match(rule)
                break
        else:
            witness.miss("firewall_rule")
            return Drop("firewall_default")
        if rule.verdict == "allow":
            return Pass(decided_by=rule)
        if rule.verdict == "reset":
            return Drop("firewall_reset", tell=Told.REFUSED, decided_by=rule)
        return Drop("firewall_rule", decided_by=rule)


STAGE = Firewall()
