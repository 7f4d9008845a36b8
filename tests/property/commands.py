"""What happens to a card, as small tuples of numbers that Hypothesis draws and shrinks, and what they mean.

A `Story` interprets them one by one: it remembers conversations, so that handshakes, replies and fragments fit each
other often enough, and bends a part of them so that they don't. Its parts: `teller`, `rumours`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from enum import IntEnum

from hal.packet.contract import PacketIn
from hal.packet.model.fragments import ROOM
from hal.packet.model.path.windows import ERROR_BUCKETS, ERRORS
from tests.property import frames
from tests.property.bends import BENDS, speak_to_card, straight
from tests.property.frames import ACK, FIN, PSH, RST, SYN, URG, Ip
from tests.property.games import BENT_FLAGS, GAMES, SHORT, Move, bends, moves
from tests.property.rumours import Rumours
from tests.property.talk import Bent, Conversation, Numbers, wrap
from tests.property.universe import ENDS, GATEWAY_MAC, LIMITS, End, Setting

Command = tuple[int, int, int, int, int]


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
    CHURN = 23
    EXCHANGE = 24


WEIGHTS = {
    Kind.CONVERSE: 14,
    Kind.RESHAPE: 5,
    Kind.BEND: 7,
    Kind.RESOLVE: 3,
    Kind.ANSWER: 3,
    Kind.WAIT: 3,
    Kind.COMMIT: 5,
    Kind.FRAGMENT: 4,
    Kind.ERROR: 3,
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
    Kind.POSE: 3,
    Kind.QUARREL: 1,
    Kind.CLAIM: 2,
    Kind.CHURN: 2,
    Kind.EXCHANGE: 2,
}
WEIGHTED = tuple(kind for kind, weight in WEIGHTS.items() for _ in range(weight))
FLOOD = 1 << 16
"""The first number of a `Kind.FLOOD`: drawn on purpose, as one takes as many packets as a hundred stories."""


def kind_of(first: int) -> Kind:
    return Kind.FLOOD if first == FLOOD else WEIGHTED[first % len(WEIGHTED)]


TCP_STEPS = (
    (0, SYN), (1, SYN | ACK), (0, ACK), (0, PSH | ACK), (1, PSH | ACK), (0, FIN | ACK), (1, ACK), (1, FIN | ACK),
    (0, ACK), (0, RST), (1, RST | ACK), (1, SYN), (0, SYN | ACK), (1, RST), (0, FIN), (0, SYN | FIN), (0, 0),
    (0, SYN | RST), (0, FIN | RST | ACK), (0, URG | PSH), (0, FIN | PSH | URG | ACK), (0, SYN | PSH),
)  # fmt: skip
"""(direction, flags); the first nine in order are a connection's whole life."""


EXCHANGES = (
    ((0, 0), (1, 0), (1, 1), (0, 1)), ((0, 0), (0, 1), (1, 0), (1, 1)), ((0, 0), (1, 0), (0, 0), (1, 1), (0, 1)),
    ((0, 0), (0, 1), (0, 0), (1, 0), (1, 1), (0, 1)), ((0, 0), (1, 0), (0, 1), (0, 1), (1, 1), (1, 1)),
    ((1, 0), (0, 0), (0, 1), (1, 1), (0, 0)), ((0, 0), (1, 0), (0, 1)),
)  # fmt: skip
"""(which of two, whether it answers): packets of two connections."""


class Story(Rumours):
    """Interprets commands. `now` and `setting` move on; packets come out."""

    def packets(self, kind: Kind, numbers: tuple[int, int, int, int]) -> Iterator[PacketIn]:
        """The packets that a command sends."""
        if kind in SENDS:
            yield from SENDS[kind](self, *numbers)

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
            yield from self._moves(talk, move)

    def _churn(self, which: int, many: int, first: int, how: int) -> Iterator[PacketIn]:
        """Connections of their own between the ends of a conversation, many of which end, in another order than they
        began: two at a time."""
        talk = self._talk(which)
        for place in range(many % 12 + 1):
            pair = [Conversation(talk.source, talk.destination, talk.v6, dport=talk.dport) for _ in range(2)]
            games = [list(moves(SHORT[(how + 3 * place + one * first) % len(SHORT)])) for one in range(2)]
            for one, short in enumerate(pair):
                short.sport = 42_000 + (first + 2 * place + one) % 50
            for one, some in ((0, games[0][:4]), (1, games[1]), (0, games[0][4:])):
                for move in some:
                    yield from self._moves(pair[one], move)

    def _exchange(self, which: int, many: int, first: int, how: int) -> Iterator[PacketIn]:
        """Questions by UDP and echoes between the ends of a conversation, two at a time, that are answered in another
        order than they were asked; after some more is said."""
        talk = self._talk(which)
        for place in range(many % 16 + 1):
            ports = [43_000 + (first + 2 * place + one) % 40 for one in range(2)]
            by = frames.ICMP if (how + place) % 3 == 0 else frames.UDP
            pair = [replace(talk, protocol=by, sport=port, dport=53) for port in ports]
            for one, reply in EXCHANGES[(how + place) % len(EXCHANGES)]:
                ip = pair[one].ip(bool(reply))
                source, destination = pair[one].ends(bool(reply))
                frame = wrap(source, destination, ip, *pair[one].says(ip, bool(reply), 0, place))
                yield self._packet(source, frame)

    def _moves(self, talk: Conversation, move: Move) -> Iterator[PacketIn]:
        """One step of a game."""
        reply = bool(move.side)
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

    def _scan(self, which: int, where: int, first: int, how: int) -> Iterator[PacketIn]:
        """Four packets, or one, to each of some addresses of which most are nobody's: at once, or at a pace at which
        the first have waited for long when there are too many, or for nearly as long."""
        talk = replace(self._talk(which), source=which % 4, destination=4, v6=False, protocol=frames.UDP)
        source, destination = talk.ends(False)
        net = ("192.0.2", "203.0.113", "198.51.100")[where % 3]
        each, pace = (4, 1)[how // 4 % 2], (0, 900, 1000, 3000)[how % 4] * 1000
        for place in range(36):
            self.now += pace
            ip = replace(talk.ip(False), destination=f"{net}.{(first + place // each) % 60 + 3}")
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
        """A packet, and more errors about it than may pass. Then as many first fragments as a worker remembers, and
        some more."""
        talk = replace(self._talk(which), v6=bool(family % 2), protocol=frames.UDP)
        source, destination = talk.ends(False)
        ip = talk.ip(False)
        number, payload = talk.l4(ip, False, 0, 8)
        yield self._packet(source, wrap(source, destination, ip, number, payload))
        told = Ip(ip.destination, ip.source)
        kind, quote = (frames.ICMP6 if talk.v6 else frames.ICMP), ip.wrap(number, payload)
        body = frames.icmp(told, 1 if talk.v6 else 3, 3 if talk.v6 else 1, bytes(4), quote)
        for _ in range(3 * (ERRORS // ERROR_BUCKETS) + 32 + many % 16):
            yield self._packet(destination, wrap(destination, source, told, kind, body))
        number, whole = talk.l4(ip, False, 0, 64)
        for place in range(ROOM + 24 + many % 16):
            one = replace(ip, more=True, identification=(first + place) & 0xFFFF)
            yield self._packet(source, wrap(source, destination, one, number, whole[:16]))

    def _bend(self, which: int, how: int, where: int, value: int) -> Iterator[PacketIn]:
        talk = self._talk(which)
        bend = BENDS[(how + 8 * which) % len(BENDS)]  # small numbers are drawn more often than large ones
        yield self._packet(talk.ends(False)[0], bend(straight(talk), where, value))

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
    Kind.CHURN: Story._churn,
    Kind.EXCHANGE: Story._exchange,
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
    replace(_START, policies=(1, 1, 1, 1), limits=1),
    replace(_START, policies=(1, 1, 1, 1), limits=2),
)
"""Where stories begin: mostly, most things pass."""
FEW_FRAGMENTS = next(place for place, start in enumerate(STARTS) if LIMITS[start.limits] == {"fragment_limit": 1})
"""The start in which a vNIC may have one fragmented datagram."""
ROOMY = next(place for place, start in enumerate(STARTS) if set(start.policies) == {1} and start.tap)
"""A start in which all vNICs may be spoken to, and have as many connections as the card says."""

__all__ = ["FEW_FRAGMENTS", "FLOOD", "ROOMY", "STARTS", "WEIGHTED", "Command", "Kind", "Story", "kind_of"]
