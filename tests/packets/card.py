"""Sentences about packets: card.host("client").sends(tcp(...)).arrives_at("web", ttl=63).

Written against `Backend` alone, so that they hold any backend to the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from scapy.all import ARP, IP, Dot1Q, Ether, ICMPv6ND_NA, ICMPv6NDOptDstLLAddr, IPv6, IPv6ExtHdrFragment, Raw

from hal.packet.contract import (
    Backend,
    Delete,
    Flow,
    FlowFilter,
    Insert,
    Modify,
    Operation,
    Output,
    PacketIn,
    PacketResult,
    Shard,
    StepKind,
    Verdict,
)
from hal.packet.schema.rows import Row, Rows, as_rows
from tests.packets.packets import Description, udp
from tests.packets.world import GATEWAY_MACS, HOSTS, Host
from tests.tools.provoked import PROVOKED

SECOND = 1_000_000_000
ON_TWIN = pytest.mark.parametrize("backend", ["twin"], indirect=True)
"""Of a fixture about links and queues of ports, which no backend but the twin has without devices. The engine's are in
`tests/netns`."""


def checksums_hold(frame: bytes) -> bool:
    """Scapy computes every checksum anew: the same bytes must come out. Not in what an ICMP error quotes, and not those
    of a transport that is cut up."""
    fresh = Ether(frame)
    layer = fresh
    if fresh.haslayer(IPv6ExtHdrFragment):
        return True
    if fresh.haslayer(IP) and (fresh[IP].flags.MF or fresh[IP].frag):
        fresh[IP].remove_payload()
        fresh = fresh / Raw(frame[len(fresh) :])
    while layer and "error" not in type(layer).__name__:
        for name in ("chksum", "cksum"):
            if name in layer.fields:
                delattr(layer, name)
        layer = layer.payload
    return bytes(fresh) == frame


@dataclass
class Sent:
    """What became of a packet."""

    card: Card
    host: Host
    result: PacketResult
    data: bytes

    def _frames_to(self, host: Host) -> list[Any]:
        tagged = [Ether(output.data) for output in self.result.outputs if output.port == host.port]
        return [frame for frame in tagged if (frame[Dot1Q].vlan if frame.haslayer(Dot1Q) else 0) == host.vlan]

    def arrives_at(self, name: str, **fields: Any) -> Sent:
        """It left to this host, and to nobody else; `fields` are scapy's, looked for in all layers."""
        host = HOSTS[name]
        wanted = Verdict.PUNT if name == "card" else Verdict.FORWARD
        assert self.result.verdict == wanted, self.result
        assert len(self.result.outputs) == 1, self.result
        frames = self._frames_to(host)
        assert len(frames) == 1, f"nothing left to {name}: {self.result}"
        frame = frames[0]
        assert frame.dst == host.mac, f"to {frame.dst}"
        assert checksums_hold(self.result.outputs[0].data), frame.show(dump=True)
        for field, value in fields.items():
            assert _field(frame, field) == value, f"{field}: {frame.show(dump=True)}"
        return self

    def is_dropped(self, reason: str) -> Sent:
        """It was, and is counted: once, as is each other one that was dropped for this reason."""
        assert (self.result.verdict, self.result.reason) == (Verdict.DROP, reason), self.result
        count = self.card.shard.counters().drops[reason] - self.card.became[reason]
        assert 0 <= count <= self.card.became[Verdict.QUEUE.name]  # one that waited may have been dropped meanwhile
        PROVOKED.add(reason)
        return self

    def silently(self) -> Sent:
        """And nobody was told."""
        assert self.result.outputs == (), self.result
        return self

    def waits(self) -> Sent:
        """It waits for a neighbour."""
        assert self.result.verdict == Verdict.QUEUE, self.result
        return self

    def is_taken(self) -> Sent:
        """The card itself took it in."""
        assert self.result.verdict == Verdict.CONSUME, self.result
        return self

    def answer(self) -> Any:
        """The one frame that went back to the sender, as scapy sees it."""
        frames = self._frames_to(self.host)
        assert len(frames) == 1, self.result
        assert frames[0].dst == Ether(self.data).src
        assert all(checksums_hold(output.data) for output in self.result.outputs)
        return frames[0]

    def outputs(self) -> tuple[Output, ...]:
        return self.result.outputs

    def steps(self, kind: StepKind) -> list[tuple[str, int, int]]:
        return [(step.table, step.id, step.value) for step in self.result.steps if step.kind == kind]


def _field(frame: Any, name: str) -> Any:
    if name == "ttl" and frame.haslayer(IPv6):
        return frame[IPv6].hlim
    layer = frame
    while layer:
        if name in layer.fields:
            return layer.fields[name]
        layer = layer.payload
    raise AssertionError(f"no field {name} in {frame.summary()}")


@dataclass
class Sender:
    card: Card
    host: Host

    def sends(self, what: Description | bytes) -> Sent:
        data = what if isinstance(what, bytes) else self.frame(what)
        return self.card.receives(data, self.host)

    def frame(self, what: Description) -> bytes:
        """The frame that this host would send: its own MAC, and that of who is next on the way."""
        destination = what.destination_mac or self._next_mac(what)
        ether = Ether(src=what.source_mac or self.host.mac, dst=destination)
        vlan = self.host.vlan if what.vlan is None else what.vlan
        ip = what.build()
        kind = 0x86DD if ":" in what.source else 0x0800
        ether.type = 0x8100 if vlan else kind
        return bytes(ether / Dot1Q(vlan=vlan, type=kind) / ip if vlan else ether / ip)

    def _next_mac(self, what: Description) -> str:
        if self.host.next_to:
            return self.host.next_to
        for host in HOSTS.values():
            if what.destination in host.addresses and host.subnet == self.host.subnet and not what.to_gateway:
                return host.mac
        return GATEWAY_MACS[self.host.subnet]


class Card:
    """A wired card: who is on it, what time it is, and a shard of its own for the test's packets."""

    def __init__(self, backend: Backend, connections: int = 1024, pickup: bool = False) -> None:
        self.backend = backend
        self.now = SECOND
        self.shard: Shard = backend.shard(connections=connections, pickup=pickup)
        self.became: Counter[str] = Counter()
        self._more: list[Card] = []

    def close(self) -> None:
        """Its shard goes, and those of the cards that were begun anew."""
        for one in self._more:
            one.close()
        self.shard.close()

    def host(self, name: str) -> Sender:
        return Sender(self, HOSTS[name])

    def receives(self, data: bytes, host: Host) -> Sent:
        """A frame arrives where this host is."""
        (result,) = self.replays([PacketIn(data, host.port, self.now)], witness=True)
        return Sent(self, host, result, data)

    def replays(self, packets: Sequence[PacketIn], witness: bool = False) -> list[PacketResult]:
        results = self.shard.replay(packets, witness)
        self.became.update(result.reason or result.verdict.name for result in results)
        return results

    def after(self, seconds: float) -> Card:
        self.now += round(seconds * SECOND)
        return self

    def anew(self, connections: int = 1024, pickup: bool = False) -> Card:
        """The same tables, nothing learned."""
        self._more.append(Card(self.backend, connections, pickup))
        return self._more[-1]

    def lost(self, reason: str) -> int:
        """How many packets have been dropped for this reason, those that waited among them."""
        count = self.shard.counters().drops[reason]
        if count:
            PROVOKED.add(reason)
        return count

    # --- tables ------------------------------------------------------------------------------------------------

    def commits(self, *operations: Operation) -> int:
        return self.backend.writer().commit(operations)

    def gets(self, *rows: Row | Rows) -> int:
        return self.commits(*(Insert(one) for one in as_rows(rows)))

    def changes(self, *rows: Row) -> int:
        return self.commits(*(Modify(one) for one in as_rows(rows)))

    def loses(self, table: str, *ids: int) -> int:
        return self.commits(Delete(table, np.array(ids, np.uint64)))

    def row(self, table: str, identity: int) -> Any:
        """The row with this id, as it is committed now."""
        return next(row for row in self.backend.snapshot([table]).rows(table) if row.id == identity)

    # --- what it knows -----------------------------------------------------------------------------------------

    def flow(self, **which: Any) -> Flow:
        """The one connection that matches, with its op lists, which are told of who is asked for by id."""
        (found,) = self.shard.flows(FlowFilter(**which))
        (found,) = self.shard.flows(FlowFilter(id=found.id))
        return found

    def flows(self, **which: Any) -> Sequence[Flow]:
        return self.shard.flows(FlowFilter(**which))

    # --- neighbours --------------------------------------------------------------------------------------------

    def resolves(self, name: str) -> Card:
        """The neighbour behind an uplink answers everything it is asked: it is REACHABLE."""
        host = HOSTS[name]
        for address in host.addresses:
            sender = "10.1.0.20" if ":" not in address else "2001:db8:1::14"
            self.host("client").sends(udp(f"{bracket(sender)}:1 > {bracket(address)}:9")).waits()
            self.receives(answer_to_request(host, address), host).is_taken()
        return self


def bracket(address: str) -> str:
    return f"[{address}]" if ":" in address else address


LOCAL = {"gateway": ("192.0.2.2", "2001:db8:ff::2"), "second": ("198.51.100.2", "2001:db8:fe::2")}


def answer_to_request(host: Host, address: str) -> bytes:
    """What a neighbour on an uplink says when it is asked for this address."""
    v4, v6 = LOCAL[host.name]
    ether = Ether(src=host.mac, dst=host.next_to)
    if ":" not in address:
        return bytes(ether / ARP(op=2, hwsrc=host.mac, psrc=address, hwdst=host.next_to, pdst=v4))
    advertisement = ICMPv6ND_NA(tgt=address, R=1, S=1, O=1) / ICMPv6NDOptDstLLAddr(lladdr=host.mac)
    return bytes(ether / IPv6(src=address, dst=v6, hlim=255) / advertisement)
