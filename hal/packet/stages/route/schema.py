"""Tables and drop reasons of the stage `route`."""

from hal.packet.schema.declare import (
    Action,
    Match,
    Reason,
    StageSchema,
    Table,
    address,
    prefix,
    ref,
    u16,
    u32,
)

SCHEMA = StageSchema(
    name="route",
    doc="Longest prefix match in the VRF of the packet, weighted ECMP over next hops that are alive.",
    tables=(
        Table(
            "next_hop",
            "A router on an uplink.",
            capacity=65536,
            actions=(
                Action(
                    "NextHop",
                    "A router on an uplink.",
                    (
                        u32("port", "Port of the uplink."),
                        u16("vlan", "VLAN of the uplink; 0: untagged.", high=4094, default=0),
                        address("address", "The router's address on the uplink's net."),
                    ),
                ),
            ),
        ),
        Table(
            "next_hop_group",
            "Next hops that share the flows of a route by weight (ECMP).",
            capacity=16384,
            actions=(Action("NextHopGroup", "A set of next hops, filled by next_hop_member rows."),),
        ),
        Table(
            "next_hop_member",
            "One next hop of a group.",
            capacity=65536,
            key=(
                ref("group", "next_hop_group", "The group."),
                u16("position", "Order in the group, which the choice of a flow's next hop depends on."),
            ),
            actions=(
                Action(
                    "NextHopMember",
                    "One next hop of a group.",
                    (
                        ref("next_hop", "next_hop", "The next hop."),
                        u16(
                            "weight",
                            "Share of the flows, relative to the other members.",
                            low=1,
                            high=256,
                            default=1,
                        ),
                    ),
                ),
            ),
        ),
        Table(
            "route",
            "What to do with packets to a prefix.",
            capacity=1_200_000,
            match=Match.LPM,
            key=(ref("vrf", "vrf", "The routing domain."), prefix("prefix", "Destination prefix.")),
            actions=(
                Action("Route", "Send to one next hop.", (ref("next_hop", "next_hop", "The next hop."),)),
                Action("EcmpRoute", "Spread flows over a group.", (ref("group", "next_hop_group", "The group."),)),
                Action(
                    "SubnetRoute",
                    "Deliver in a subnet: to the vNIC or neighbour with the address.",
                    (ref("subnet", "subnet", "The subnet."),),
                ),
                Action("BlackholeRoute", "Drop silently (counted as `blackhole`)."),
            ),
        ),
    ),
    reasons=(
        Reason("no_route", "No route covers the destination."),
        Reason("blackhole", "The route says to drop."),
        Reason("next_hop_down", "No next hop of the route is alive, or its uplink is not declared."),
        Reason("vnic_address_unknown", "No vNIC of the destination's subnet has the address."),
    ),
)
