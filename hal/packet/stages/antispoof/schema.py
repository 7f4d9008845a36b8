"""Tables and drop reasons of the stage `antispoof`."""

from hal.packet.schema.declare import Action, Match, Reason, StageSchema, Table, prefix, ref

SCHEMA = StageSchema(
    name="antispoof",
    doc="Lets a vNIC send only from its own MAC and declared addresses, in IP, ARP and ND alike (RFC 2827, 7039).",
    tables=(
        Table(
            "allowed_source",
            "A prefix that a vNIC may send from.",
            capacity=65536,
            match=Match.LPM,
            key=(ref("vnic", "vnic", "The vNIC."), prefix("prefix", "Source prefix.")),
            actions=(Action("AllowedSource", "A prefix that a vNIC may send from."),),
        ),
    ),
    reasons=(
        Reason("spoofed_mac", "The source MAC is not the vNIC's."),
        Reason("spoofed_address", "The source address is not one of the vNIC's."),
        Reason("spoofed_arp", "ARP that tells of a MAC or address which is not the vNIC's."),
        Reason("spoofed_nd", "Neighbour discovery that tells of a MAC or address which is not the vNIC's."),
    ),
)
