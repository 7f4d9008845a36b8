"""What happens to a card, as small tuples of numbers that Hypothesis draws and shrinks, and what they mean.

A `Story` interprets them one by one: it remembers conversations, so that handshakes, replies and fragments fit each
other often enough, and bends a part of them so that they don't.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from enum import IntEnum

from hal.packet.contract import PacketIn
from hal.packet.model.fragments import ROOM
from tests.property import frames
from tests.property.bends import BENDS, speak_to_card, straight
from tests.property.frames import ACK, FIN, PSH, RST, SYN, URG, Ip
from tests.property.games import BENT_FLAGS, GAMES, bends, moves
from tests.property.quarrels import quarrel
from tests.property.talk import Bent, Conversation, Numbers, wrap
from tests.property.universe import (
    EGRESS_CHAINS,
    ENDS,
    GATEWAY_MAC,
    INGRESS_CHAINS,
    LIMITS,
    LOCAL,
    PREFIXES,
    ROUTERS,
    RULE_PORTS,
    RULE_PROTOCOLS,
    TRACKINGS,
    End,
    Setting,
)

Command = tuple[int, int, int, int, int]
SECOND = 1_000_000_000


class Kind(IntEnum):
    """What a command asks for, as `kind_of` reads its first number."""

    CONVERSE = 0
    RESHAPE = 1
    BEND = 2
    RESOLVE = 3
    ANSWER = 4
    WAIT = 5
    COMMIT = 6
    FRAGMENT = 7
    ERROR = 8
    LOOK = 9
    REFUSED = 10
    LIFE = 11
    SPOOF = 12
    DATAGRAM = 13
    REMAC = 14
    KNOCK = 15
    SCAN = 16
    FLOOD = 17
    ANNOUNCE = 18
    GAME = 19
    POSE = 20
    QUARREL = 21
    CLAIM = 22


WEIGHTS = {
    Kind.CONVERSE: 14,
    Kind.RESHAPE: 5,
    Kind.BEND: 6,
    Kind.RESOLVE: 3,
    Kind.ANSWER: 3,
    Kind.WAIT: 3,
    Kind.COMMIT: 5,
    Kind.FRAGMENT: 4,
    Kind.ERROR: 2,
    Kind.LOOK: 1,
    Kind.REFUSED: 1,
    Kind.LIFE: 4,
    Kind.SPOOF: 2,
    Kind.DATAGRAM: 2,
    Kind.REMAC: 2,
    Kind.KNOCK: 1,
    Kind.SCAN: 1,
    Kind.ANNOUNCE: 3,
    Kind.GAME: 6,
    Kind.POSE: 2,
    Kind.QUARREL: 1,
    Kind.CLAIM: 2,
}
WEIGHTED = tuple(kind for kind, weight in WEIGHTS.items() for _ in range(weight))
FLOOD = 1 << 16
"""The first number of a `Kind.FLOOD`: drawn on purpose, as one takes as many packets as a hundred stories."""


def kind_of(first: int) -> Kind:
    return Kind.FLOOD if first == FLOOD else WEIGHTED[first % len(WEIGHTED)]


WAITS = (
    1, 1_000_000, SECOND // 2, SECOND, SECOND, 2 * SECOND, 3 * SECOND, 10 * SECOND, 31 * SECOND, 61 * SECOND,
    120 * SECOND, 121 * SECOND, 240 * SECOND, 241 * SECOND, 301 * SECOND, 601 * SECOND, 7440 * SECOND, 7441 * SECOND,
    604_800 * SECOND,
)  # fmt: skip

TCP_STEPS = (
    (0, SYN), (1, SYN | ACK), (0, ACK), (0, PSH | ACK), (1, PSH | ACK), (0, FIN | ACK), (1, ACK), (1, FIN | ACK),
    (0, ACK), (0, RST), (1, RST | ACK), (1, SYN), (0, SYN | ACK), (1, RST), (0, FIN), (0, SYN | FIN), (0, 0),
    (0, SYN | RST), (0, FIN | RST | ACK), (0, URG | PSH), (0, FIN | PSH | URG | ACK), (0, SYN | PSH),
)  # fmt: skip
"""(direction, flags); the first nine in order are a connection's whole life."""

NA_FLAGS = (0x00, 0x20, 0x40, 0x60, 0xE0, 0x60, 0x20, 0x80)
"""Router, solicited and override (RFC 4861 4.4)."""

PORTS = (80, 443, 179, 53, 40000, 8, 0, 22)
PROTOCOLS = (frames.TCP, frames.TCP, frames.TCP, frames.UDP, frames.UDP, frames.ICMP, frames.ICMP, 132, 47)


class Story:
    """Interprets commands. `now` and `setting` move on; packets come out."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.now = SECOND
        self.conversations = [
            Conversation(source=place % len(ENDS), destination=(place + 1) % len(ENDS)) for place in range(6)
        ]

    def _packet(self, end: End, frame: bytes) -> PacketIn:
        self.now += 1000
        return PacketIn(frame, end.port, self.now)

    def packets(self, kind: Kind, numbers: tuple[int, int, int, int]) -> Iterator[PacketIn]:
        """The packets that a command sends."""
        if kind in SENDS:
            yield from SENDS[kind](self, *numbers)

    def _talk(self, which: int) -> Conversation:
        return self.conversations[which % len(self.conversations)]

    def _converse(self, which: int, how: int, size: int, ttl: int) -> Iterator[PacketIn]:
        talk = self._talk(which)
        reply, flags = bool(how % 2), 0
        if talk.protocol == frames.TCP:
            if how % 4 != 3:  # mostly the next thing that a stack would say
                direction, flags = TCP_STEPS[talk.step % 9]
                talk.step += 1
            else:
                direction, flags = TCP_STEPS[how // 4 % len(TCP_STEPS)]
            reply = bool(direction)
        ip = talk.ip(reply, ttl=(2, 1, 0, 255)[ttl // 8 % 4] if ttl % 8 == 7 else 64)
        length = (0, 0, 1, 10, 100, 1200, 1460, 1500, 4000)[size % 9] if size % 4 == 0 else 0
        source, destination = talk.ends(reply)
        if talk.protocol == frames.TCP and ttl % 8 == 6:  # nearly the next thing
            yield self._bent(talk, reply, flags, length, ttl // 8)
            return
        yield self._packet(source, wrap(source, destination, ip, *talk.says(ip, reply, flags, length)))

    def _bent(self, talk: Conversation, reply: bool, flags: int, length: int, how: int | Bent) -> PacketIn:
        """A segment that is not the next one."""
        if isinstance(how, int):
            scale = talk.scales[1 - reply] or 0
            some = bends(talk.window << min(scale, 14))
            how = some[how % len(some)]
        ip = talk.ip(reply)
        source, destination = talk.ends(reply)
        segment = talk.segment(ip, reply, flags, length, how)
        return self._packet(source, wrap(source, destination, ip, frames.TCP, segment))

    def _game(self, which: int, game: int, how: int, where: int) -> Iterator[PacketIn]:
        """A TCP connection of its own goes through something from its first segment on; somewhere on the way one is
        bent. Conversation goes on from there."""
        talk = self._talk(which)
        talk.protocol, talk.step, talk.numbers = frames.TCP, 3, Numbers()
        talk.sport = 41_000 + (game + 5 * which + how) % 24
        steps = list(moves(GAMES[(game + 11 * where) % len(GAMES)]))
        for place, move in enumerate(steps):
            reply = bool(move.side)
            if place == where % (2 * len(steps)):
                yield self._bent(talk, reply ^ bool(how & 1), BENT_FLAGS[how // 2 % 8], how // 16 % 3 * 50, how // 48)
            if not move.flags:
                talk.numbers.draw(move.side)
            elif move.bent:
                yield self._bent(talk, reply, move.flags, move.size, move.bent)
            else:
                ip = talk.ip(reply)
                source, destination = talk.ends(reply)
                frame = wrap(source, destination, ip, *talk.says(ip, reply, move.flags, move.size))
                yield self._packet(source, frame)

    def _life(self, which: int, many: int, family: int, shift: int) -> Iterator[PacketIn]:
        """A connection from its first packet to one of its last, or many that each only begin."""
        talk = self._talk(which)
        if many % 3 == 0:
            for place in range(shift % (70 if many % 2 else 12)):
                other = replace(talk, sport=50000 + place, protocol=frames.TCP if family % 2 else frames.UDP)
                ip = other.ip(False)
                source, destination = other.ends(False)
                yield self._packet(source, wrap(source, destination, ip, *other.l4(ip, False, SYN, 0)))
            return
        talk.protocol, talk.step, talk.numbers = frames.TCP, 0, Numbers(drawn=talk.numbers.drawn)
        for _ in range(many % 10):
            yield from self._converse(which, 0, 1, 0)

    def _spoof(self, which: int, whom: int, family: int, how: int) -> Iterator[PacketIn]:
        """Neighbours send, each with the MAC of a third; and an end with another's address, or MAC, or both."""
        talk = self._talk(which)
        for place, whose in ((0, 1), (1, 3), (3, 0)):
            near = replace(talk, source=place, destination=4 - place - whose, sport=50100, protocol=frames.UDP)
            liar, ip = replace(ENDS[place], mac=ENDS[whose].mac), near.ip(False)
            yield self._packet(liar, wrap(liar, near.ends(False)[1], ip, *near.l4(ip, False, SYN, 0)))
        source, destination = talk.ends(False)
        other = ENDS[whom % len(ENDS)]
        liar = replace(source, v4=other.v4, v6=other.v6) if how % 3 else replace(source, mac=other.mac)
        addresses = (liar.v6, destination.v6) if family % 2 else (liar.v4, destination.v4)
        ip = Ip(*addresses)
        number, body = replace(talk, v6=bool(family % 2)).l4(ip, False, ACK if how & 4 else SYN, 0)
        yield self._packet(source, wrap(liar, destination, ip, number, body))

    def _knock(self, which: int, many: int, what: int, cut: int) -> Iterator[PacketIn]:
        """A vNIC asks the card's own programs, again and again; now and then it is cut off. Or it is answered, and
        says that this did not reach it, again and again."""
        talk = self._talk(which)
        talk.source, talk.protocol, talk.dport = which % 4, frames.UDP, 53
        good = straight(talk)
        for _ in range(1 + many % 6):
            frame = speak_to_card(good, 0, 0)
            yield self._packet(good.source, frame[: len(frame) - (what % 40 if cut % 4 == 0 else 0)])
        if cut % 2:
            yield from self._answer_of_the_card(good.source, good.local(), talk.sport, what)

    def _answer_of_the_card(self, asker: End, asked: Ip, sport: int, many: int) -> Iterator[PacketIn]:
        """It answers what was asked from UDP port `sport`, and is told by errors that its answer failed."""
        answer, card = replace(asked, source=asked.destination, destination=asked.source), ENDS[7]
        packet = answer.wrap(frames.UDP, frames.udp(answer, 53, sport))
        kind = 0x86DD if asked.v6 else 0x0800
        yield self._packet(card, frames.ethernet(GATEWAY_MAC[card.subnet], card.mac, kind, packet))
        number, told = (frames.ICMP6, (1, 4)) if asked.v6 else (frames.ICMP, (3, 3))
        error = asked.wrap(number, frames.icmp(asked, *told, bytes(4), packet))
        for _ in range(1 + many % 8):
            yield self._packet(asker, frames.ethernet(GATEWAY_MAC[asker.subnet], asker.mac, kind, error, asker.vlan))

    def _scan(self, which: int, where: int, first: int, _how: int) -> Iterator[PacketIn]:
        """Four packets to each of some addresses of which most are nobody's."""
        talk = replace(self._talk(which), source=which % 4, destination=4, v6=False, protocol=frames.UDP)
        source, destination = talk.ends(False)
        net = ("192.0.2", "203.0.113", "198.51.100")[where % 3]
        for place in range(36):
            ip = replace(talk.ip(False), destination=f"{net}.{(first + place // 4) % 60 + 3}")
            yield self._packet(source, wrap(source, destination, ip, *talk.l4(ip, False, 0, 0)))

    def _remac(self, which: int, whom: int, how: int, _size: int) -> Iterator[PacketIn]:
        """Two packets of one conversation between neighbours, the second to somebody else's MAC."""
        talk = self._talk(which)
        if how % 2:
            talk.source, talk.destination = ((0, 1), (1, 3), (3, 0), (1, 0))[how // 2 % 4]
        source, destination = talk.ends(False)
        ip = talk.ip(False)
        frame = wrap(source, destination, ip, *talk.l4(ip, False, SYN, 0))
        yield self._packet(source, frame)
        yield self._packet(source, frames.mac(ENDS[whom % len(ENDS)].mac) + frame[6:])

    def _datagram(self, which: int, how: int, identification: int, size: int) -> Iterator[PacketIn]:
        """All fragments of a datagram: in order, its first again, one twice, two ends, many small, or all again."""
        talk = self._talk(which)
        talk.identification = identification
        order = ((0, 1, 2), (0, 2, 1), (0, 1, 1, 2), (0, 0, 1), (0, 3, 2), (0, 1, 11), (0, *range(20, 30)),
                 (0, 2, 12), (0, 2, 13, 1), (0, 12, 2), (0, 2, 1, 0, 2, 1), (0, 2, 1, 2), (0, 5, 1),
                 (0, 1, 1), (0, 2, 2))  # fmt: skip
        for place in order[how % len(order)]:
            if place >= 20:
                yield from self._fragment(which, 20, place - 20, 0)
            else:
                yield from self._fragment(which, place, size, 0)

    def _flood(self, which: int, family: int, first: int, many: int) -> Iterator[PacketIn]:
        """As many first fragments as a worker remembers, and some more."""
        talk = replace(self._talk(which), v6=bool(family % 2), protocol=frames.UDP)
        source, destination = talk.ends(False)
        ip = talk.ip(False)
        number, whole = talk.l4(ip, False, 0, 64)
        for place in range(ROOM + 24 + many % 16):
            one = replace(ip, more=True, identification=(first + place) & 0xFFFF)
            yield self._packet(source, wrap(source, destination, one, number, whole[:16]))

    def reshape(self, which: int, ends: int, protocol: int, ports: int) -> None:
        """Make one conversation another one."""
        self.conversations[which % len(self.conversations)] = Conversation(
            source=ends % len(ENDS),
            destination=ends // len(ENDS) % len(ENDS),
            v6=bool(ports & 1),
            protocol=PROTOCOLS[protocol % len(PROTOCOLS)],
            sport=40000 + ports % 3,
            dport=PORTS[ports // 2 % len(PORTS)],
            identification=ports,
        )

    def _bend(self, which: int, how: int, where: int, value: int) -> Iterator[PacketIn]:
        talk = self._talk(which)
        bend = BENDS[(how + 8 * which) % len(BENDS)]  # small numbers are drawn more often than large ones
        yield self._packet(talk.ends(False)[0], bend(straight(talk), where, value))

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

    def _fragment(self, which: int, how: int, where: int, size: int) -> Iterator[PacketIn]:
        talk = self._talk(which)
        reply = False
        source, destination = talk.ends(reply)
        base = talk.ip(reply)
        flags = PSH | ACK if where % 8 >= 4 else SYN
        number, whole = talk.l4(base, reply, flags, 1200)
        if where % 4 == 1 and talk.v6:  # an extension header in the part that is cut up
            number, whole = 60, bytes([number]) + bytes(7) + whole
        elif where % 4 == 2 and talk.v6:  # before it
            base = replace(base, extensions=((0, bytes(7)),))
        pieces = {
            0: (0, 400, True), 1: (400, 400, True), 2: (800, 400, False), 3: (392, 400, True), 4: (0, 8, True),
            5: (8, 400, True), 6: (400, 401, True), 7: (65528, 400, False), 8: (0, 400, False), 9: (480, 0, True),
            10: (0, 400, True), 11: (65512, 3 + where // 4 % 2, False), 12: (1200, 8, True), 13: (400, 200, False),
            14: (16, 8, False),
        }  # fmt: skip
        start, length, more = pieces[how % 15]
        if how % 24 >= 20:  # many separate ranges
            start, length, more = 400 + where % 40 * 16, 8, True
        if where % 4 == 1 and start == 0:
            base = replace(base, options=b"\x01" * 40)
        ip = replace(base, offset=start, more=more, identification=talk.identification + size % 2)
        yield self._packet(
            source, wrap(source, destination, ip, number, whole[start : start + length].ljust(length, b"\0"))
        )

    def _error(self, which: int, how: int, where: int, quoted: int) -> Iterator[PacketIn]:
        """Somebody on the way tells an end of a conversation that its packet failed; or tells somebody else, or under
        somebody else's name."""
        talk = self._talk(which)
        reply = bool(how & 1)
        inner_ip = talk.ip(reply)
        number, payload = talk.l4(inner_ip, reply, SYN if how & 8 else ACK, 8)
        if how & 8:
            yield self._packet(talk.ends(reply)[0], wrap(*talk.ends(reply), inner_ip, number, payload))
        quote = inner_ip.wrap(number, payload)[: (1000, 28, 48, 27, 20, 8)[quoted % 6]]
        sender, receiver = talk.ends(not reply)
        if where % 3 == 0:
            sender = ENDS[4 + where // 3 % 2]
        other = ENDS[quoted % len(ENDS)]
        name, to = ((sender, other), (other, receiver), (sender, receiver), (sender, receiver))[where // 6 % 4]
        ip = Ip(name.v6, to.v6) if talk.v6 else Ip(name.v4, to.v4)
        kind, code = (
            ((2, 0), (1, 4), (3, 0), (4, 1))[how // 2 % 4]
            if talk.v6
            else ((3, 4), (3, 3), (11, 0), (12, 0))[how // 2 % 4]
        )
        odd = where // 24 % 8
        if odd == 0:  # a code that there may not be
            code = quoted // 6 % 20
        mtu = (1300, 67, 1279, 0, 0x2A0000)[where // 24 % 5] if odd < 3 else 1300
        if odd == 3 and len(quote) >= 28:  # a packet that says that it is shorter
            quote = quote[:2] + bytes((0, quoted % 64)) * 2 + quote[6:]
        body = frames.icmp(ip, kind, code, struct.pack("!I", mtu), quote)
        if odd == 4 and quoted % 4 == 0:
            ip, body = replace(ip, more=True), body[: len(body) // 8 * 8]
        elif odd == 4:
            body = body[:-1] + bytes((body[-1] ^ 1,))
        yield self._packet(sender, wrap(sender, receiver, ip, frames.ICMP6 if talk.v6 else frames.ICMP, body))

    def wait(self, how: int) -> None:
        self.now += WAITS[how % len(WAITS)]

    def change(self, what: int, a: int, b: int, c: int) -> Setting:
        """The setting after one more commit."""
        now = self.setting
        match what % 20:
            case 0 | 1 | 2:
                policy = a % 2
                rule = (b % 3 + 1, b // 3 % len(RULE_PROTOCOLS), c % (len(PREFIXES) + 1), c // 14 % (len(PREFIXES) + 1),
                        a // 2 % len(RULE_PORTS), b % 3 + 1 if b % 4 else 1, c % 2)  # fmt: skip
                rules = list(now.rules)
                rules[policy] = (*rules[policy], rule)[-5:]
                now = replace(now, rules=(rules[0], rules[1]))
            case 3:
                rules = list(now.rules)
                rules[a % 2] = rules[a % 2][1:] if b % 2 else rules[a % 2][:-1]
                now = replace(now, rules=(rules[0], rules[1]))
            case 4 | 5 | 6:
                table = dict(now.routes)
                table[a % len(PREFIXES)] = b % 8
                now = replace(now, routes=tuple(sorted(table.items())))
            case 7:
                table = dict(now.routes)
                table.pop(a % len(PREFIXES), None)
                now = replace(now, routes=tuple(sorted(table.items())))
            case 8:
                policies = list(now.policies)
                policies[a % 4] = b % 3
                now = replace(now, policies=(policies[0], policies[1], policies[2], policies[3]))
            case 9:
                now = replace(now, egress=a % len(EGRESS_CHAINS) if b % 3 == 0 else 0, ingress=c % len(INGRESS_CHAINS))
            case 10:
                now = replace(now, uplink_egress=(6, 6, 5, 1)[a % 4], uplink_ingress=(1, 1, 0)[b % 3])
            case 11:
                now = replace(now, mtu=(1500, 1280, 9216)[a % 3], weights=(b % 4 + 1, c % 4 + 1))
            case 12:
                now = replace(now, punts=a % 8, tap=bool(b % 4))
            case 13:
                now = replace(now, fdb=a % 16 if b % 2 else 15, addresses=c % 16 if b % 3 == 0 else 15)
            case number:
                now = _declared(now, number, a, b)
        self.setting = now
        return now


def _declared(now: Setting, number: int, a: int, b: int) -> Setting:
    """The setting with something else said of vNICs or subnets."""
    match number:
        case 14:
            return replace(now, limits=a % len(LIMITS))
        case 15:
            return replace(now, gateways=a % 16 if b % 2 else 15)
        case 16:
            return replace(now, tracking=a % len(TRACKINGS))
        case 17:
            return replace(now, apart=a % 3)
        case _:
            return replace(now, serves=(a % 4, 3, 0)[b % 3])


SENDS: dict[Kind, Callable[[Story, int, int, int, int], Iterator[PacketIn]]] = {
    Kind.CONVERSE: Story._converse,
    Kind.BEND: Story._bend,
    Kind.RESOLVE: Story._resolve,
    Kind.ANSWER: Story._answer,
    Kind.FRAGMENT: Story._fragment,
    Kind.ERROR: Story._error,
    Kind.LIFE: Story._life,
    Kind.SPOOF: Story._spoof,
    Kind.DATAGRAM: Story._datagram,
    Kind.REMAC: Story._remac,
    Kind.KNOCK: Story._knock,
    Kind.SCAN: Story._scan,
    Kind.FLOOD: Story._flood,
    Kind.ANNOUNCE: Story._announce,
    Kind.GAME: Story._game,
    Kind.POSE: Story._pose,
    Kind.QUARREL: Story._quarrel,
    Kind.CLAIM: Story._claim,
}

_RULES = (((3, 0, 0, 0, 0, 1, 0),), ((3, 1, 0, 0, 1, 1, 1), (3, 2, 0, 0, 0, 2, 1), (3, 0, 0, 0, 0, 3, 0)))
_ROUTES = ((0, 0), (1, 2), (2, 3), (3, 4), (4, 3), (5, 4), (6, 2), (8, 6))
_START = Setting(rules=_RULES, policies=(1, 1, 2, 1), routes=_ROUTES)
STARTS = (
    _START,
    replace(_START, serves=3),
    replace(_START, egress=1),
    replace(_START, routes=_ROUTES[2:]),
    replace(_START, policies=(1, 1, 1, 1), punts=7, limits=3),
    replace(_START, policies=(1, 1, 1, 1), punts=7, tap=False),
    replace(_START, routes=((0, 5), (1, 5), *_ROUTES[2:])),
    replace(_START, apart=1),
    replace(_START, tracking=1),
    replace(_START, tracking=3),
    replace(_START, limits=len(LIMITS) - 2),
    replace(_START, policies=(1, 1, 1, 1), limits=len(LIMITS) - 2),
)
"""Where stories begin: mostly, most things pass."""
FEW_FRAGMENTS = next(place for place, start in enumerate(STARTS) if LIMITS[start.limits] == {"fragment_limit": 1})
"""The start in which a vNIC may have one fragmented datagram."""

__all__ = ["FEW_FRAGMENTS", "FLOOD", "STARTS", "WEIGHTED", "Command", "Kind", "Story", "kind_of"]
