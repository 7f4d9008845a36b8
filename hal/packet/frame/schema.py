"""Tables and drop reasons of the frame: what every chain needs, whatever stages it has."""

from hal.packet.schema.declare import (
    NONE_ID,
    Action,
    Field,
    Reason,
    StageSchema,
    Table,
    Type,
    choice,
    mac,
    ref,
    u8,
    u16,
    u32,
)

NO_PORT = 0xFFFF_FFFF
LONGEST_TIMEOUT = 604_800
"""Of what a row of `tracking` may say, in seconds: a week."""
LEAST_CHALLENGES = 512
"""What a limit of challenges is at least, a second in a worker: below 32 a bucket there is no chance in what is left of
it that could hide the two a second that a connection takes. DSN_CHALLENGES_LEAST of the engine."""


def _timeout(name: str, of: str, default: int) -> Field:
    return u32(name, f"{of}, in seconds.", low=1, high=LONGEST_TIMEOUT, default=default)


SCHEMA = StageSchema(
    name="frame",
    doc="Parses packets, finds their vNIC and flow, runs the chain of stages and sends what they decide.",
    tables=(
        Table(
            "seed",
            "The card's secret: every choice that must not be guessed is a SipHash of it.",
            capacity=1,
            actions=(
                Action(
                    "Seed",
                    "The one seed. Without it a seed of zeros is used.",
                    (Field("value", Type.KEY128, "SipHash key, drawn once a card."),),
                ),
            ),
        ),
        Table(
            "vrf",
            "A routing domain (RFC 4364 calls its table a VRF).",
            capacity=4096,
            actions=(
                Action(
                    "Vrf",
                    "A routing domain.",
                    (u32("punt_port", "Port number of its punt tap; 0xffffffff for none.", default=NO_PORT),),
                ),
            ),
        ),
        Table(
            "tracking",
            "How connections are followed, and how long one lives that nobody uses.",
            capacity=1024,
            actions=(
                Action(
                    "Tracking",
                    "How connections are followed. What no row says is as the defaults here.",
                    (
                        choice(
                            "mode",
                            "strict: TCP outside of what its peer expects is dropped; loose: it passes.",
                            {"strict": 1, "loose": 2},
                            default=1,
                        ),
                        _timeout("tcp_syn_sent", "TCP of which one SYN was seen", 240),
                        _timeout("tcp_syn_received", "TCP in its handshake, or picked up and heard from one side", 240),
                        _timeout("tcp_established", "TCP that is open", 7440),
                        _timeout("tcp_fin_wait", "TCP that one side has closed", 240),
                        _timeout("tcp_closing", "TCP that both sides have closed", 240),
                        _timeout("tcp_time_wait", "TCP whose closing was acknowledged", 240),
                        _timeout("tcp_closed", "TCP that was reset", 10),
                        _timeout("udp", "UDP without a reply", 120),
                        _timeout("udp_replied", "UDP that was replied to", 300),
                        _timeout("icmp", "ICMP and ICMPv6 echo", 60),
                        _timeout("other", "Other protocols", 600),
                    ),
                ),
            ),
        ),
        Table(
            "profile",
            "Which stages packets pass, in which order.",
            capacity=1024,
            actions=(
                Action(
                    "Profile",
                    "A chain of stages, filled by profile_stage rows.",
                    (
                        ref(
                            "tracking",
                            "tracking",
                            "How connections of its vNICs are followed; none: strict, with the default time-outs.",
                            optional=True,
                            default=NONE_ID,
                        ),
                    ),
                ),
            ),
        ),
        Table(
            "profile_stage",
            "One place in a profile's chain.",
            capacity=16384,
            key=(
                ref("profile", "profile", "The chain."),
                choice(
                    "direction",
                    "egress: from the vNIC or uplink into the card; ingress: from the card to it.",
                    {"egress": 1, "ingress": 2},
                ),
                u8("position", "Ascending order in the chain."),
            ),
            actions=(
                Action(
                    "ProfileStage",
                    "One place in a profile's chain.",
                    (Field("stage", Type.NAME, "The stage's name."),),
                ),
            ),
        ),
        Table(
            "profile_punt",
            "A protocol that vNICs of the profile may send to the card's own programs.",
            capacity=4096,
            key=(
                ref("profile", "profile", "The profile that names it."),
                u8("protocol", "IP protocol number."),
                u16("port", "Destination port of TCP or UDP; 0 for any and for other protocols."),
            ),
            actions=(Action("ProfilePunt", "A protocol that goes to the punt tap."),),
        ),
        Table(
            "vnic",
            "A vNIC, an uplink or a VRF's punt tap: where packets come from and go to. Declared, never learned.",
            capacity=4096,
            key=(
                u32("port", "Port number."),
                u16("vlan", "802.1Q VLAN ID of its frames; 0: untagged or priority-tagged.", high=4094),
                mac(
                    "match_mac",
                    "Source MAC that tells it from others on this port and VLAN; zeros: whoever is left.",
                ),
            ),
            actions=(
                Action(
                    "Vnic",
                    "A vNIC, an uplink or a VRF's punt tap.",
                    (
                        choice(
                            "role",
                            "What it is: a workload's vNIC, an uplink, or the card's own punt tap.",
                            {"vnic": 1, "uplink": 2, "card": 3},
                        ),
                        u16("mtu", "Longest IP packet it takes, in bytes.", low=1280, high=9216, default=1500),
                        mac("mac", "Its own MAC: the workload's, or that of the card on an uplink or a tap."),
                        ref("vrf", "vrf", "The routing domain that its packets are in."),
                        ref("profile", "profile", "The stages that its packets pass."),
                        ref("subnet", "subnet", "The subnet it is in.", optional=True, default=NONE_ID),
                        u8(
                            "serves",
                            "What a vNIC may be to others, in sum: 1 a router (RFC 6105), 2 a DHCP server (RFC 7610).",
                            default=0,
                            high=3,
                        ),
                        u32(
                            "flow_limit",
                            "Connections it may have open that it opened itself; 0: the card's default.",
                            default=0,
                        ),
                        u32(
                            "inbound_flow_limit",
                            "Connections others may have open to it; 0: the card's default.",
                            default=0,
                        ),
                        u32(
                            "punt_limit",
                            "Packets a second that it may send to the card; 0: the card's default.",
                            default=0,
                        ),
                        u32(
                            "new_flow_limit",
                            "Connections a second that it may open, as many others to it; 0: the card's default.",
                            default=0,
                        ),
                        u32(
                            "half_open_limit",
                            "TCP connections it may have in their handshake, as many to it; 0: the card's default.",
                            default=0,
                        ),
                        u32(
                            "fragment_limit",
                            "Fragmented datagrams of it that a worker remembers; 0: the card's default.",
                            default=0,
                        ),
                        u32(
                            "icmp_limit",
                            "ICMP errors and RSTs a second that the card makes for it; 0: the card's default.",
                            default=0,
                        ),
                        u32(
                            "challenge_limit",
                            "Challenge ACKs a second for its connections, in each worker, "
                            f"{LEAST_CHALLENGES} at least; 0: the card's.",
                            default=0,
                        ),
                    ),
                ),
            ),
        ),
    ),
    reasons=(
        Reason("not_configured", "No commit has been made yet: nothing is forwarded."),
        Reason("ethernet_truncated", "Shorter than an Ethernet header, or than the VLAN tag it announces."),
        Reason("ethernet_source_invalid", "The source MAC is zero or a group address."),
        Reason("vlan_nested", "More than one VLAN tag."),
        Reason(
            "link_control",
            "A frame to an address that bridges keep to themselves (01:80:c2:00:00:00 to :0f): LLDP, LACP, PAUSE, STP.",
        ),
        Reason("llc", "An IEEE 802.3 length field where an EtherType is expected."),
        Reason("ethertype_unsupported", "An EtherType other than IPv4, IPv6 and ARP."),
        Reason("vnic_unknown", "No declared vNIC or uplink has this port, VLAN and source MAC."),
        Reason("not_for_us", "The destination MAC is a unicast address of nobody on this path."),
        Reason("broadcast", "A broadcast frame that is not ARP."),
        Reason("multicast", "A multicast packet that is not neighbour discovery for the card."),
        Reason(
            "group_mismatch",
            "A unicast IP address in a frame to a group MAC (RFC 1122 3.3.6), or a multicast one to a unicast MAC.",
        ),
        Reason(
            "arp_malformed",
            "ARP that is not Ethernet/IPv4, truncated, or whose sender differs from the frame's.",
        ),
        Reason("arp_ignored", "ARP that asks for, or tells of, nothing the card answers or follows."),
        Reason(
            "nd_malformed",
            "Neighbour discovery with a wrong hop limit, checksum, code, length or option (RFC 4861 7.1).",
        ),
        Reason(
            "nd_ignored",
            "Neighbour discovery that the card neither answers nor follows, router discovery included.",
        ),
        Reason(
            "address_conflict",
            "Somebody on an uplink has an address of the card's or of a vNIC's: he says so by ARP or neighbour "
            "discovery, or sends from it.",
        ),
        Reason(
            "ra_guard", "A router's advertisement from a vNIC that is not declared as a router (RFC 6105, RFC 7113)."
        ),
        Reason("redirect_guard", "A redirect from a vNIC that is not declared as a router."),
        Reason("dhcp_guard", "DHCP with a server on a vNIC that is not declared as one (RFC 7610)."),
        Reason("ipv4_truncated", "The IPv4 header or total length is longer than the frame."),
        Reason("ipv4_header", "IPv4 version, header length or total length is impossible."),
        Reason("ipv4_checksum", "The IPv4 header checksum is wrong."),
        Reason("ipv4_options", "Malformed IPv4 options (RFC 791 3.1)."),
        Reason("ipv4_option_refused", "Record route, timestamp or an obsolete IPv4 option (RFC 7126 4)."),
        Reason(
            "source_route", "IPv4 source routing, or an IPv6 routing header of type 0, 1 or 3 (RFC 7126, 5095, 9288)."
        ),
        Reason("ipv6_truncated", "The IPv6 header or payload length is longer than the frame."),
        Reason("ipv6_header", "The IPv6 version is not 6, or a jumbogram."),
        Reason(
            "ipv6_extension",
            "Extension headers out of order, too many, too long or truncated (RFC 8200 4).",
        ),
        Reason(
            "ipv6_options",
            "Malformed hop-by-hop or destination options, a jumbo payload or a home address (RFC 8200 4.2).",
        ),
        Reason("address_invalid", "A source or destination address that must not be on a wire."),
        Reason("l4_truncated", "The transport header is longer than the packet."),
        Reason(
            "l4_checksum", "A wrong checksum in an ICMP error, or in an echo request that the card itself takes in."
        ),
        Reason("card_fragment", "A fragmented echo request to the card; it does not reassemble."),
        Reason("l4_header", "Impossible lengths, port 0 or flags in the transport header."),
        Reason(
            "fragment_tiny",
            "A first fragment without all headers, or a later one inside those of TCP (RFC 1858, 3128, 7112).",
        ),
        Reason("fragment_no_first", "A later fragment whose first was not seen, was dropped, or is too old."),
        Reason("fragment_overlap", "A fragment that overlaps another one, or follows one that did (RFC 5722)."),
        Reason("fragment_duplicate", "A fragment whose bytes have all come before (RFC 8200 4.5)."),
        Reason("fragment_ranges", "More than eight separate byte ranges of one datagram."),
        Reason(
            "fragment_invalid",
            "A fragment that is empty, or ends past 65,535 bytes, its datagram, or not on eight though more follow.",
        ),
        Reason("fragment_limit", "As many fragmented datagrams of this vNIC or uplink are remembered as may be."),
        Reason("fragment_table_full", "No room to remember another first fragment."),
        Reason("flow_table_full", "No room for another connection."),
        Reason("flow_limit", "The vNIC has as many connections as it may."),
        Reason("new_flow_limit", "The vNIC opens, or has opened to it, more connections a second than it may."),
        Reason(
            "first_packet_limit", "More first packets of this vNIC or uplink wait for their turn than are its share."
        ),
        Reason("tcp_no_session", "A TCP segment that neither belongs to a connection nor opens one."),
        Reason("tcp_flags", "A combination of TCP flags that no stack sends."),
        Reason("tcp_options", "A SYN whose options are malformed (RFC 9293 3.1)."),
        Reason("tcp_state", "A TCP segment that does not fit the state of its connection."),
        Reason("tcp_window", "A TCP segment that its receiver can't be waiting for (RFC 9293 3.4, RFC 5961)."),
        Reason(
            "tcp_challenged",
            "A SYN or RST that may be forged: its sender is asked in the receiver's name (RFC 5961 3.2, 4.2).",
        ),
        Reason("icmp_error_unrelated", "An ICMP error that quotes no packet of a known connection."),
        Reason(
            "icmp_error_invalid",
            "An ICMP error in fragments, or one that tells of an MTU below the least there is (68, IPv6 1,280).",
        ),
        Reason("icmp_error_limit", "More ICMP errors about a connection than may pass a second."),
        Reason("icmp_type", "An ICMP type, or code of an error, that opens no connection and belongs to none."),
        Reason("no_decision", "The chain ended and no stage had said where the packet goes."),
        Reason("same_interface", "The packet would leave by the uplink or vNIC it came from."),
        Reason("mac_mismatch", "A packet of a bridged connection to another destination MAC than its first."),
        Reason("ttl_exceeded", "TTL or hop limit would reach zero (RFC 1812 5.3.1, RFC 4443 3.3)."),
        Reason("mtu_exceeded", "Longer than the MTU of where it would leave; the card never fragments."),
        Reason("neighbour_unresolved", "The neighbour did not answer three times."),
        Reason("neighbour_queue_full", "Too many packets wait for neighbours to answer."),
        Reason("neighbour_queue_limit", "More packets of this vNIC or uplink wait for neighbours than are its share."),
        Reason("neighbour_limit", "More neighbours are known that this vNIC or uplink asked for than are its share."),
        Reason("punt_denied", "A packet to the card itself of a protocol that the vNIC's profile does not name."),
        Reason("punt_limit", "More packets to the card than this vNIC may send."),
        Reason("punt_no_tap", "A packet to the card itself, in a VRF without a punt tap."),
        Reason("port_down", "The port it would leave by is gone or has no link."),
        Reason("port_full", "The port it would leave by takes no more packets now."),
    ),
)
