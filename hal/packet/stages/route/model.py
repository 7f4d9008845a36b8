"""A packet to the card's own MAC goes where the longest prefix of its VRF says, or to the card's own programs."""

from __future__ import annotations

from hal.packet.model.keys import pick
from hal.packet.model.parse import is_link_local
from hal.packet.model.stage import (
    TCP,
    UDP,
    Context,
    Drop,
    Entry,
    Header,
    Leave,
    Pass,
    Stage,
    Tables,
    Told,
    Verdict,
    Witness,
)

ATTEMPTS = 16
NO_MAC = bytes(6)
NO_NEXT_HOP = Drop("next_hop_down", Told.NO_ROUTE)
"""There is a route, but no way: RFC 1812 5.2.7.1 says network unreachable of that too."""


class Route(Stage):
    says_where = True

    def decide(self, header: Header, context: Context, tables: Tables, witness: Witness) -> Verdict:
        if not context.routed:
            return Pass()
        vrf = context.ingress.vrf
        local = tables.exact("local_address", vrf, header.destination)
        if local:
            witness.match(local)
            return self._punt(header, context, tables, witness)
        if is_link_local(header.source) or is_link_local(header.destination):
            return Drop("address_invalid")
        route = tables.longest("route", vrf, header.destination)
        if route is None:
            witness.miss("route")
            return Drop("no_route", Told.NO_ROUTE)
        witness.match(route)
        if route.row == "Route":
            return self._next_hop(route.next_hop, context, tables, witness) or NO_NEXT_HOP
        if route.row == "EcmpRoute":
            return self._ecmp(route.group, context, tables, witness)
        if route.row == "SubnetRoute":
            return self._subnet(route.subnet, header, tables, witness)
        return Drop("blackhole")

    def _punt(self, header: Header, context: Context, tables: Tables, witness: Witness) -> Verdict:
        """To the card itself: vNICs may send it what their profile names, uplinks and the card everything."""
        vnic = context.ingress
        if vnic.role == "vnic":
            port = header.destination_port if header.protocol in (TCP, UDP) else 0
            named = tables.exact("profile_punt", vnic.profile, header.protocol, port) or tables.exact(
                "profile_punt", vnic.profile, header.protocol, 0
            )
            if named is None:
                witness.miss("profile_punt")
                return Drop("punt_denied")
            witness.match(named)
        vrf = tables.get("vrf", vnic.vrf)
        taps = tables.select("vnic", port=vrf.punt_port, role="card") if vrf else ()
        return Leave(taps[0]) if taps else Drop("punt_no_tap")

    def _next_hop(self, identity: int, context: Context, tables: Tables, witness: Witness) -> Leave | None:
        """The next hop's uplink and address, or None where it isn't alive."""
        hop = tables.get("next_hop", identity)
        uplink = tables.exact("vnic", hop.port, hop.vlan, NO_MAC) if hop else None
        if hop is None or uplink is None or uplink.role != "uplink":
            return None
        if not context.network.link(uplink.port) or context.network.failed(uplink.id, hop.address):
            return None
        witness.match(hop)
        return Leave(uplink, hop.address)

    def _ecmp(self, group: int, context: Context, tables: Tables, witness: Witness) -> Verdict:
        """Sixteen weighted picks, the first that is alive; then the first member that is."""
        members = sorted(tables.select("next_hop_member", group=group), key=lambda member: member.position)
        total = sum(member.weight for member in members)
        tries = [_at(members, pick(context.flow_hash, attempt, total)) for attempt in range(ATTEMPTS) if total]
        for member in (*tries, *members):
            if leave := self._next_hop(member.next_hop, context, tables, witness):
                return leave
        return NO_NEXT_HOP

    def _subnet(self, subnet: int, header: Header, tables: Tables, witness: Witness) -> Verdict:
        """Delivery in a subnet: to the vNIC with the address, or to a neighbour on the subnet's uplink."""
        known = tables.exact("vnic_address", subnet, header.destination)
        vnic = tables.get("vnic", known.vnic) if known else None
        if known and vnic:
            witness.match(known)
            return Leave(vnic)
        for uplink in tables.select("vnic", subnet=subnet, role="uplink"):
            return Leave(uplink, header.destination)
        witness.miss("vnic_address")
        return Drop("vnic_address_unknown", Told.NO_HOST)


def _at(members: list[Entry], point: int) -> Entry:
    """The member that a point on all weights laid end to end falls on."""
    for member in members:
        if point < member.weight:
            return member
        point -= member.weight
    raise ValueError("a point behind all members")


STAGE = Route()
