"""Tables and drop reasons of the stage `firewall`."""

from hal.packet.schema.declare import (
    Action,
    Match,
    Reason,
    StageSchema,
    Table,
    choice,
    prefix,
    ref,
    u8,
    u16,
    u32,
)

SCHEMA = StageSchema(
    name="firewall",
    doc="Decides by the first matching rule of the vNIC's policy; behind the last rule, and without a policy: drop.",
    tables=(
        Table(
            "firewall_policy",
            "A rule group: an ordered list of rules.",
            capacity=4096,
            actions=(Action("FirewallPolicy", "A rule group."),),
        ),
        Table(
            "firewall_binding",
            "Which rule group decides for a vNIC.",
            capacity=4096,
            key=(ref("vnic", "vnic", "The vNIC."),),
            actions=(
                Action(
                    "FirewallBinding",
                    "Which rule group decides for a vNIC.",
                    (ref("policy", "firewall_policy", "The rule group."),),
                ),
            ),
        ),
        Table(
            "firewall_rule",
            "A rule. The lowest priority that matches decides, at equal priority the lowest id.",
            capacity=131072,
            match=Match.PRIORITY,
            counts=True,
            key=(
                ref("policy", "firewall_policy", "The rule group."),
                u32("priority", "Lower is earlier."),
                choice(
                    "direction",
                    "in: to the vNIC with the policy; out: from it.",
                    {"in": 1, "out": 2, "both": 3},
                    default=3,
                ),
                u8("protocol_low", "First IP protocol number it matches.", default=0),
                u8("protocol_high", "Last IP protocol number it matches.", default=255),
                prefix("source", "Source prefix of the connection's first packet; ::/0 is any.", default="::/0"),
                prefix("destination", "Destination prefix of the first packet; ::/0 is any.", default="::/0"),
                u16(
                    "port_low",
                    "First destination port; for ICMP the first type. Protocols without ports have 0.",
                    default=0,
                ),
                u16("port_high", "Last destination port; for ICMP the last type.", default=65535),
            ),
            actions=(
                Action(
                    "FirewallRule",
                    "A rule.",
                    (
                        choice(
                            "verdict",
                            "reset: TCP RST, else ICMP administratively prohibited, to the sender.",
                            {"allow": 1, "drop": 2, "reset": 3},
                        ),
                        u8("log", "1: an event for each connection that it decides.", high=1, default=0),
                    ),
                ),
            ),
        ),
    ),
    reasons=(
        Reason("firewall_rule", "A rule says drop."),
        Reason("firewall_reset", "A rule says reset: the sender was told."),
        Reason("firewall_default", "No rule of the policy matched: default deny."),
        Reason("firewall_no_policy", "The profile has the firewall, the vNIC has no policy: default deny."),
    ),
)
