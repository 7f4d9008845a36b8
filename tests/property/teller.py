"""Where a story is: the time, what is committed, and who talks with whom."""

from __future__ import annotations

from dataclasses import replace

from hal.packet.contract import PacketIn
from tests.property import frames
from tests.property.talk import Conversation
from tests.property.universe import (
    EGRESS_CHAINS,
    ENDS,
    INGRESS_CHAINS,
    LIMITS,
    PREFIXES,
    RULE_PORTS,
    RULE_PROTOCOLS,
    TRACKINGS,
    End,
    Setting,
)

SECOND = 1_000_000_000

WAITS = (
    1, 1_000_000, SECOND // 2, SECOND, SECOND, 2 * SECOND, 3 * SECOND, 10 * SECOND, 31 * SECOND, 61 * SECOND,
    120 * SECOND, 121 * SECOND, 240 * SECOND, 241 * SECOND, 301 * SECOND, 601 * SECOND, 7440 * SECOND, 7441 * SECOND,
    604_800 * SECOND,
)  # fmt: skip

PORTS = (80, 443, 179, 53, 40000, 8, 0, 22)
PROTOCOLS = (frames.TCP, frames.TCP, frames.TCP, frames.UDP, frames.UDP, frames.ICMP, frames.ICMP, 132, 47)


class Teller:
    """What all commands are told by. `now` and `setting` move on."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.now = SECOND
        self.conversations = [
            Conversation(source=place % len(ENDS), destination=(place + 1) % len(ENDS)) for place in range(6)
        ]

    def _packet(self, end: End, frame: bytes) -> PacketIn:
        self.now += 1000
        return PacketIn(frame, end.port, self.now)

    def _talk(self, which: int) -> Conversation:
        return self.conversations[which % len(self.conversations)]

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
