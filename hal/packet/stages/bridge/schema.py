"""Tables and drop reasons of the stage `bridge`."""

from hal.packet.schema.declare import Action, Reason, StageSchema, Table, address, mac, ref

SCHEMA = StageSchema(
    name="bridge",
    doc="Finds the vNIC with the packet's destination MAC in the subnet; leaves what goes to the gateway to `route`.",
    tables=(
        Table(
            "subnet",
            "A broadcast domain with a gateway: of vNICs, or the transit net of an uplink.",
            capacity=4096,
            actions=(
                Action(
                    "Subnet",
                    "A broadcast domain with a gateway.",
                    (
                        ref("vrf", "vrf", "The routing domain of its gateway."),
                        mac("mac", "The gateway's MAC: what packets are sent to that shall be routed."),
                    ),
                ),
            ),
        ),
        Table(
            "local_address",
            "An address of the card itself: a subnet's gateway address, or the card's on an uplink.",
            capacity=16384,
            key=(ref("vrf", "vrf", "Routing domain."), address("address", "The address.")),
            actions=(
                Action(
                    "LocalAddress",
                    "An address of the card itself.",
                    (ref("subnet", "subnet", "The subnet on which the card answers ARP and ND for it."),),
                ),
            ),
        ),
        Table(
            "vnic_address",
            "Where a declared vNIC's address lives: ARP and ND for it are answered, routed packets are sent to it.",
            capacity=65536,
            key=(ref("subnet", "subnet", "The subnet."), address("address", "The vNIC's address.")),
            actions=(
                Action(
                    "VnicAddress",
                    "An address of a declared vNIC.",
                    (ref("vnic", "vnic", "The vNIC that has it."),),
                ),
            ),
        ),
        Table(
            "fdb",
            "Which vNIC of a subnet has a MAC (IEEE 802.1Q calls it the filtering database); static.",
            capacity=65536,
            key=(ref("subnet", "subnet", "The subnet."), mac("mac", "The vNIC's MAC.")),
            actions=(Action("FdbEntry", "The vNIC behind a MAC.", (ref("vnic", "vnic", "The vNIC."),)),),
        ),
    ),
    reasons=(
        Reason("bridge_unknown_mac", "No vNIC of the subnet has the destination MAC; nothing is flooded."),
        Reason("bridge_source_mac", "Another vNIC of the subnet has the source MAC, and replies would be told to it."),
    ),
)
