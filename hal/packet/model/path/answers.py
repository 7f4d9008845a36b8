"""What the card itself takes in and answers: ARP, neighbour discovery and echo."""

from __future__ import annotations

from hal.packet.contract import StepKind, Verdict
from hal.packet.model import headers
from hal.packet.model.chain import Chain, lowest_local, own_mac
from hal.packet.model.guard import routers_alone, servers_alone
from hal.packet.model.neighbours import NeighbourKey, Neighbours
from hal.packet.model.parse import (
    ARP_TYPE,
    BROADCAST,
    ECHO_REQUEST,
    LOOPBACK,
    REDIRECT,
    ROUTER_ADVERTISEMENT,
    UNSPECIFIED,
    ZERO_MAC,
    Dropped,
    Frame,
    Packet,
    is_link_local,
    word,
)
from hal.packet.model.path.conflicts import Conflicts
from hal.packet.model.path.moment import Moment
from hal.packet.model.path.wire import ARP, ECHO, ND, Wire
from hal.packet.model.rows import Entry
from hal.packet.model.stage import Announcement
from hal.packet.model.tables import Tables
from hal.packet.schema.rows import MAPPED

SHORTEST = {ROUTER_ADVERTISEMENT: 16, REDIRECT: 40}
"""RFC 4861 6.1.2 and 8.1."""
NO_IPV4 = MAPPED + bytes(4)
SOLICITED_NODE = bytes.fromhex("ff0200000000000000000001ff")


class Answers:
    """What a shard answers. Each method is the end of a packet's way: CONSUME, or Dropped."""

    def __init__(self, moment: Moment, chain: Chain, wire: Wire, neighbours: Neighbours, conflicts: Conflicts) -> None:
        self._moment = moment
        self._chain = chain
        self._wire = wire
        self._neighbours = neighbours
        self._conflicts = conflicts

    def arp(self, frame: Frame, vnic: Entry) -> Verdict:
        """RFC 826."""
        tables, data = self._moment.tables, frame.payload
        if len(data) < 28 or data[:6] != b"\0\x01\x08\0\x06\x04" or word(data, 6) not in (1, 2):
            raise Dropped("arp_malformed")
        link = data[8:14]  # what counts (RFC 826): routers with a virtual MAC may send from their own
        if link == ZERO_MAC or link[0] & 1 or (vnic.role != "uplink" and link != frame.source):
            raise Dropped("arp_malformed")
        request = word(data, 6) == 1
        sender, target = MAPPED + data[14:18], MAPPED + data[24:28]
        told = Announcement(frame.source, sender, (link,), unspecified=request and sender == NO_IPV4)
        if reason := self._chain.ask(tables, vnic, lambda stage: stage.check_arp(vnic, tables, told)):
            raise Dropped(reason)
        if not told.unspecified and self._conflicts.meets(vnic, sender, link):
            raise Dropped("address_conflict")
        answer = answering_mac(tables, vnic, sender, target) if request else None
        if answer:
            mac, _ = answer
            message = headers.arp(2, mac, target, link, sender)
            self._wire.make(vnic, headers.ethernet(link, mac, vnic.vlan, ARP_TYPE, message), ARP)
        ours = target == NO_IPV4 or tables.exact("local_address", vnic.vrf, target) is not None
        heard = self._hear(vnic, sender, link, solicited=not request and ours, override=True)
        if not answer and not heard:
            raise Dropped("arp_ignored")
        return Verdict.CONSUME

    def group(self, packet: Packet) -> Verdict:
        """What came to a broadcast or group MAC: neighbour discovery, or nothing that goes anywhere."""
        if not packet.is_later and servers_alone(packet.vnic, packet.protocol, packet.ports[1]):
            raise Dropped("dhcp_guard")
        if packet.frame.destination == BROADCAST:
            raise Dropped("broadcast")
        if not packet.is_nd:
            raise Dropped("multicast" if packet.is_multicast else "group_mismatch")
        return self.nd(packet)

    def nd(self, packet: Packet) -> Verdict:
        """RFC 4861, as far as a card that answers for others goes."""
        tables = self._moment.tables
        message, kind, vnic = packet.payload, packet.payload[0], packet.vnic
        if reason := routers_alone(vnic, packet.protocol, kind):  # whatever its form (RFC 7113)
            raise Dropped(reason)
        if packet.has_fragment_header or packet.ttl != headers.ND_HOP_LIMIT or len(message) < 8 or message[1] != 0:
            raise Dropped("nd_malformed")
        if not _source_is_possible(packet.source) or not headers.checksum_is_right(packet):
            raise Dropped("nd_malformed")
        solicitation, advertisement = kind == 135, kind == 136
        target = UNSPECIFIED
        links: dict[int, bytes] = {}
        if solicitation or advertisement:
            target, links = _target_and_links(packet, solicitation)
        told = Announcement(
            packet.frame.source,
            packet.source,
            tuple(links.values()),
            target=target if advertisement else None,
            unspecified=packet.source == UNSPECIFIED,
        )
        if reason := self._chain.ask(tables, vnic, lambda stage: stage.check_nd(vnic, tables, told)):
            raise Dropped(reason)
        if vnic.role == "vnic" and kind in (ROUTER_ADVERTISEMENT, REDIRECT):
            return self._bridge(packet)
        if solicitation:
            return self._solicitation(packet, target, links.get(1))
        if advertisement and self._conflicts.meets(vnic, target, links.get(2) or packet.frame.source):
            raise Dropped("address_conflict")
        to = packet.destination
        if advertisement and (to == headers.ALL_NODES or tables.exact("local_address", vnic.vrf, to)):
            flags = message[4]
            solicited, override = bool(flags & headers.SOLICITED), bool(flags & headers.OVERRIDE)
            if self._hear(vnic, target, links.get(2), solicited=solicited, override=override):
                return Verdict.CONSUME
        raise Dropped("nd_ignored")

    def _solicitation(self, packet: Packet, target: bytes, link: bytes | None) -> Verdict:
        """RFC 4861 7.2.3 and 7.2.4: who asks from :: looks for a duplicate (RFC 4862 5.4), and all are told."""
        vnic, frame = packet.vnic, packet.frame
        unspecified = packet.source == UNSPECIFIED
        if not unspecified and self._conflicts.meets(vnic, packet.source, link or frame.source):
            raise Dropped("address_conflict")
        answer = answering_mac(self._moment.tables, vnic, packet.source, target)
        if answer is None:
            raise Dropped("nd_ignored")
        mac, is_own = answer
        asker, to = packet.source, frame.source
        if unspecified:
            ip, to = headers.neighbour_advertisement(target, mac, None, router=is_own), headers.ALL_NODES_MAC
        else:
            ip = headers.neighbour_advertisement(target, mac, asker, router=is_own)
        self._wire.make(vnic, headers.ethernet(to, mac, vnic.vlan, headers.ethertype_of(ip), ip), ND)
        if link:
            self._hear(vnic, asker, link, solicited=False, override=True)
        return Verdict.CONSUME

    def _bridge(self, packet: Packet) -> Verdict:
        """What a vNIC that is declared as a router tells one other of its subnet passes, as it is. The card floods
        nothing."""
        tables, vnic, frame = self._moment.tables, packet.vnic, packet.frame
        if not is_link_local(packet.source) or len(packet.payload) < SHORTEST[packet.payload[0]]:
            raise Dropped("nd_malformed")
        if packet.to_group or packet.routed:
            raise Dropped("nd_ignored")
        found = tables.exact("fdb", vnic.subnet, frame.destination)
        egress = tables.get("vnic", found.vnic) if found else None
        if egress is None:
            raise Dropped("bridge_unknown_mac")
        if egress.id == vnic.id:
            raise Dropped("same_interface")
        if len(packet.ip) > egress.mtu:
            raise Dropped("mtu_exceeded")
        made = headers.ethernet(
            frame.destination, frame.source, egress.vlan, headers.ethertype_of(packet.ip), packet.ip
        )
        self._wire.transmit(egress, made)
        self._moment.witness.step(StepKind.SEND, "vnic", egress.id)
        return Verdict.FORWARD

    def is_pinged(self, packet: Packet) -> bool:
        """True for an echo request to an address of the card."""
        if not packet.is_icmp or packet.icmp_type != ECHO_REQUEST[packet.protocol] or not packet.routed:
            return False
        return self._moment.tables.exact("local_address", packet.vnic.vrf, packet.destination) is not None

    def echo(self, packet: Packet) -> Verdict:
        """RFC 792, RFC 4443 4.2."""
        if reason := self._chain.source_is_wrong(self._moment.tables, packet.header(), packet.vnic):
            raise Dropped(reason)
        if packet.fragment:
            raise Dropped("card_fragment")
        if not headers.checksum_is_right(packet):
            raise Dropped("l4_checksum")
        self._wire.answer(packet, headers.echo_reply(packet), ECHO)
        return Verdict.CONSUME

    def _hear(self, vnic: Entry, address: bytes, mac: bytes | None, *, solicited: bool, override: bool) -> bool:
        """Somebody says where he is; False if nobody asked for him. Of vNICs that is declared."""
        if vnic.role != "uplink":
            return False
        key = NeighbourKey(vnic.id, address)
        return self._neighbours.hear(key, mac, self._moment.now, solicited=solicited, override=override)


def answering_mac(tables: Tables, vnic: Entry, asker: bytes, target: bytes) -> tuple[bytes, bool] | None:
    """The MAC that the card tells for an address asked for by ARP or ND, and whether it is the card's own."""
    own = own_mac(tables, vnic)
    if target == asker:
        return None
    if vnic.role == "card":
        return (own, True) if own else None
    local = tables.exact("local_address", vnic.vrf, target)
    if local and own and local.subnet == vnic.subnet:
        return own, True
    if vnic.role == "vnic":
        known = tables.exact("vnic_address", vnic.subnet, target)
        other = tables.get("vnic", known.vnic) if known else None
        if other and other.id != vnic.id:
            return other.mac, False
    return None


def ask_neighbour(tables: Tables, wire: Wire, key: NeighbourKey) -> None:
    """A request for a neighbour's MAC, from the numerically lowest address of the uplink's subnet."""
    uplink = tables.get("vnic", key.uplink)
    if uplink is None:
        return
    sender = lowest_local(tables, uplink, key.address, link_local=True)
    if key.address.startswith(MAPPED):
        frame = headers.arp_request(uplink.mac, sender or NO_IPV4, key.address, uplink.vlan)
        wire.make(uplink, frame, ARP)
    elif sender:
        frame = headers.neighbour_solicitation(uplink.mac, sender, key.address, uplink.vlan)
        wire.make(uplink, frame, ND)


def _source_is_possible(source: bytes) -> bool:
    """Packets to a group MAC pass by the checks of addresses: an IPv4 neighbour must not be told of by ND."""
    return source[0] != 0xFF and source != LOOPBACK and not source.startswith(MAPPED)


def _target_and_links(packet: Packet, solicitation: bool) -> tuple[bytes, dict[int, bytes]]:
    """The target, and link-layer addresses by option type: 1 the source's, 2 the target's; of several the first."""
    message = packet.payload
    if len(message) < 24 or message[8] == 0xFF or message[8:].startswith(MAPPED):
        raise Dropped("nd_malformed")
    links: dict[int, bytes] = {}
    place = 24
    while place < len(message):
        size = message[place + 1] * 8 if place + 1 < len(message) else 0
        if size == 0 or place + size > len(message):
            raise Dropped("nd_malformed")
        if message[place] in (1, 2):
            link = message[place + 2 : place + 8]
            if link == ZERO_MAC or link[0] & 1:  # nobody's (RFC 1812 3.3.2)
                raise Dropped("nd_malformed")
            links.setdefault(message[place], link)
        place += size
    to_group = packet.destination.startswith(SOLICITED_NODE)
    if solicitation and packet.source == UNSPECIFIED and (1 in links or not to_group):
        raise Dropped("nd_malformed")
    if not solicitation and packet.destination[0] == 0xFF and message[4] & headers.SOLICITED:
        raise Dropped("nd_malformed")
    return message[8:24], links
