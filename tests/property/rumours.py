"""What hosts say of addresses, true or not: where one is, that there is a router, that one is theirs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from hal.packet.contract import PacketIn
from tests.property import frames
from tests.property.frames import ACK, SYN, Ip
from tests.property.quarrels import quarrel
from tests.property.talk import wrap
from tests.property.teller import Teller
from tests.property.universe import ENDS, GATEWAY_MAC, LOCAL, ROUTERS

NA_FLAGS = (0x00, 0x20, 0x40, 0x60, 0xE0, 0x60, 0x20, 0x80)
"""Router, solicited and override (RFC 4861 4.4)."""


class Rumours(Teller):
    """The part of a story that is about neighbours, routers and whose an address is."""

    def _resolve(self, who: int, what: int, target: int, how: int) -> Iterator[PacketIn]:
        end = ENDS[who % len(ENDS)]
        six = bool(what & 1)
        names = [one.v6 if six else one.v4 for one in ENDS] + [pair[int(six)] for pair in LOCAL.values()]
        aim = names[target % len(names)]
        sender = (end.v6 if six else end.v4) if how % 4 else names[how // 4 % len(names)]
        sender_mac = end.mac if how % 5 else ENDS[how // 5 % len(ENDS)].mac
        if six:
            kind = 136 if what & 2 else 135
            group = frames.solicited_node(aim) if kind == 135 and how % 3 else aim
            source = "::" if how % 7 == 0 else sender
            ip = Ip(source, group, ttl=255 if how % 11 else 64)
            link = sender_mac if how % 6 else ""
            body = frames.neighbour(ip, kind, aim, link, NA_FLAGS[how // 3 % 8] if kind == 136 else 0)
            if how % 13 == 0:
                body = body[: len(body) - how % 9]
            to = frames.multicast_mac(group) if group != aim else GATEWAY_MAC[end.subnet]
            yield self._packet(end, frames.ethernet(to, end.mac, 0x86DD, ip.wrap(frames.ICMP6, body), end.vlan))
            return
        if how % 7 == 0:
            sender = "0.0.0.0"
        operation = (1, 1, 1, 2, 1, 2, 1, 3)[what // 2 % 8]
        body = frames.arp(operation, sender_mac, sender, "00:00:00:00:00:00", aim)
        if how % 13 == 0:
            body = body[: how % 28]
        yield self._packet(end, frames.ethernet("ff:ff:ff:ff:ff:ff", end.mac, 0x0806, body, end.vlan))

    def _answer(self, which: int, six: int, who: int, how: int) -> Iterator[PacketIn]:
        """A router on an uplink, or an end of the transit net, answers a request for its address."""
        end = ENDS[4 + which % 2]
        address = ROUTERS[end.port][six % 2] if who % 4 else (end.v6 if six % 2 else end.v4)
        mac = end.mac if how % 4 else "02:00:00:00:09:09"
        local = LOCAL[end.subnet][six % 2]
        if six % 2:
            ip = Ip(address, local, ttl=255)
            body = frames.neighbour(ip, 136, address, mac if how % 5 else "", NA_FLAGS[3 + who // 4 % 5])
            frame = frames.ethernet(GATEWAY_MAC[end.subnet], mac, 0x86DD, ip.wrap(frames.ICMP6, body), end.vlan)
        else:
            body = frames.arp(2, mac, address, GATEWAY_MAC[end.subnet], local)
            frame = frames.ethernet(GATEWAY_MAC[end.subnet], mac, 0x0806, body, end.vlan)
        yield self._packet(end, frame)

    def _quarrel(self, which: int, six: int, pauses: int, says: int) -> Iterator[PacketIn]:
        for pause, end, frame in quarrel(which, six, pauses, says):
            self.now += pause
            yield self._packet(end, frame)

    def _announce(self, which: int, what: int, whose: int, how: int) -> Iterator[PacketIn]:
        """Somebody, mostly on an uplink, says where an address is though nobody asked: a router's, his own, the card's,
        a vNIC's; under his MAC, another one, or that of the card."""
        end = ENDS[which % len(ENDS)] if which % 5 == 4 else ENDS[4 + which % 2]
        six = what & 1
        routers = [ROUTERS[end.port][six]] if end.port in ROUTERS else []
        local = LOCAL.get(end.subnet, LOCAL[1])[six]
        names = [*routers * 3, end.v6 if six else end.v4, local, ENDS[whose // 8 % 4].v6 if six else ENDS[whose % 4].v4]
        name = names[whose % len(names)]
        mac = (end.mac, end.mac, "02:00:00:00:09:09", GATEWAY_MAC[end.subnet])[how % 4]
        if not six:
            target = (name, name, local, "192.0.2.77")[what // 4 % 4]
            body = frames.arp(1 + what // 2 % 2, mac, name, "00:00:00:00:00:00", target)
            yield self._packet(end, frames.ethernet("ff:ff:ff:ff:ff:ff", mac, 0x0806, body, end.vlan))
            return
        to = ("ff02::1", "ff02::1", local, frames.solicited_node(local))[what // 4 % 4]
        kind = 135 if what // 4 % 4 == 3 else 136
        ip = Ip(name if what // 16 % 4 else "::", to, ttl=255)
        link = (mac, mac, mac, "", "02:00:00:00:09:0a", "33:33:00:00:00:01")[how // 4 % 6]
        body = frames.neighbour(ip, kind, local if kind == 135 else name, link, NA_FLAGS[how // 24 % 8])
        frame_to = GATEWAY_MAC[end.subnet] if to == local else frames.multicast_mac(to)
        yield self._packet(end, frames.ethernet(frame_to, mac, 0x86DD, ip.wrap(frames.ICMP6, body), end.vlan))

    def _pose(self, which: int, what: int, whom: int, how: int) -> Iterator[PacketIn]:
        """Somebody, mostly a vNIC, speaks as a router or a DHCP server does: to everybody, to one, to the card."""
        end = ENDS[which % 6 if which % 4 == 3 else (0, 3, 1)[which % 3]]
        other = ENDS[whom % 4]
        six = what % 2 == 0
        macs = (other.mac, other.mac, GATEWAY_MAC[end.subnet], "33:33:00:00:00:01", "ff:ff:ff:ff:ff:ff", end.mac)
        mac = macs[whom // 4 % len(macs)]
        link_local = f"fe80::{which % 6 + 1:x}"
        names = (link_local, link_local, other.v6) if six else (end.v4, end.v4, other.v4)
        if what // 2 % 3 < 2 and six:
            number, kind = frames.ICMP6, (134, 137)[what // 2 % 2]
            ip = Ip(names[how % 3], (other.v6, "ff02::1")[mac.startswith("33")], ttl=255 if how % 8 else 1)
            size = (12, 36) if how % 8 == 1 else (8, 32) if how % 8 == 2 else (44, 60) if how % 8 != 3 else (1400, 1400)
            body = frames.icmp(ip, kind, 0, bytes(4), bytes(size[kind == 137]))
            if how // 8 % 4 == 1:
                ip = replace(ip, extensions=((60, bytes(7)),))
            elif how // 8 % 4 == 2:
                ip = replace(ip, more=True, identification=how)
        elif what // 2 % 3 < 2:
            number, ip = frames.ICMP, Ip(names[how % 3], other.v4)
            body = frames.icmp(ip, (9, 5)[what // 2 % 2], 0, bytes(4), bytes(32))
        else:
            number, ip = frames.UDP, Ip(end.v6 if six else end.v4, other.v6 if six else other.v4, more=how % 8 == 7)
            server, client = (547, 546) if six else (67, 68)
            ports = ((server, client), (server, client), (client, server), (server, server))[how // 8 % 4]
            body = frames.udp(ip, *ports, bytes(16))
        kind = 0x86DD if six else 0x0800
        yield self._packet(end, frames.ethernet(mac, end.mac, kind, ip.wrap(number, body), end.vlan))

    def _claim(self, which: int, whose: int, what: int, how: int) -> Iterator[PacketIn]:
        """Somebody on an uplink has a vNIC's address, or one of the card's, and says something to a vNIC or the card:
        a first packet, one of TCP in mid-stream, the first fragment of some and a later one, an echo request. And the
        same under his own, before or behind it."""
        talk = replace(self._talk(which), source=4 + which % 3, destination=how % 4, v6=bool(what % 2), sport=42000)
        talk.protocol = (frames.TCP, frames.UDP, frames.TCP, frames.ICMP)[what // 2 % 4]
        to_card = how // 4 % 2
        source, destination = talk.ends(False)
        names = [(end.v4, end.v6) for end in ENDS[:4]] + list(LOCAL.values())
        if to_card:
            own = LOCAL[source.subnet]
            talk.protocol = frames.ICMP if what // 2 % 2 else talk.protocol
            destination = replace(destination, v4=own[0], v6=own[1])
        both = [(source.v4, source.v6), names[whose % len(names)]]
        for v4, v6 in both if whose // 8 % 2 else reversed(both):
            liar = replace(source, v4=v4, v6=v6)
            ip = Ip(v6, destination.v6) if talk.v6 else Ip(v4, destination.v4)
            number, body = talk.l4(ip, False, ACK if what // 2 % 4 == 2 else SYN, 40)
            if how // 12 % 4 == 3:
                first = replace(ip, more=True, identification=whose)
                yield self._packet(source, wrap(liar, destination, first, number, body[:24]))
                ip, body = replace(ip, offset=24, identification=whose), body[24:]
            yield self._packet(source, wrap(liar, destination, ip, number, body))
