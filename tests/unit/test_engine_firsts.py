"""First packets have a bounded share of a burst: what others are sent goes on, and order is kept.

Counted is work, not time: a port of a pcap file gives 32 packets whenever it is asked, and what leaves by a port stands
in its file in the order in which it was decided.
"""

from __future__ import annotations

import contextlib
import random
import struct
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from hal.conformance.frames import checksum, ip, tcp, udp
from hal.conformance.world import FAR, ROUTER_MAC, UPLINK_ID, UPLINK_MAC, A, B, C, Host, rows
from hal.packet.contract import Counters, Event, EventKind, Flow, Insert, LoadConfig, PortConfig
from hal.packet.schema.rows import as_rows
from tests.tools import pcap
from tests.tools.engines import running
from tests.tools.provoked import PROVOKED

POLL, CHAINS, EACH = 32, 8, 512
"""Packets of a port at a time, chains of a burst, and what of a vNIC may wait."""
MANY = 20_000
MARK = struct.Struct("!4sHII")
"""In the data of each packet: a word, whose it is, its connection, its number in that."""
TCP, UDP = 6, 17


class Outside(Host):
    """Somebody behind the uplink."""

    @property
    def gateway(self) -> str:
        return UPLINK_MAC


FAR_AWAY = Outside(UPLINK_ID, 0, 0, ROUTER_MAC, FAR, "2001:db8:cafe::9")
PORTS = (A, B, C, FAR_AWAY)


def frame(host: Host, to: Host, connection: int, number: int = 0, *, initiator: bool = True) -> bytes:
    """A packet of one of 2^28 connections between these two; not the initiator's are those the other way."""
    ends = (1024 + connection % 50_000, 1024 + connection // 50_000)
    sport, dport = ends if initiator else ends[::-1]
    data = MARK.pack(b"mark", host.vnic, connection, number)
    return host.frame(udp(host.ip, to.ip, sport, dport, data))


Mark = tuple[int, int, int]


def marks(frames: Sequence[bytes]) -> list[Mark]:
    return [MARK.unpack_from(one, one.index(b"mark"))[1:] for one in frames]


@dataclass(frozen=True)
class Played:
    """What became of what ports were given: marks by the port they left by, in order."""

    counters: Counters
    left: Mapping[int, list[Mark]]
    flows: Sequence[Flow]
    events: Sequence[Event]

    def of(self, host: Host, to: Host) -> list[Mark]:
        return [one for one in self.left[to.port] if one[0] == host.vnic]


def play(traffic: Mapping[Host, Sequence[bytes]], workers: int = 1, pickup_ns: int = 0) -> Played:
    """Everything at once, each host's in its order, until all of it has gone somewhere."""
    total = sum(len(frames) for frames in traffic.values())
    with tempfile.TemporaryDirectory(prefix="dsn", dir="/tmp") as name, contextlib.ExitStack() as stack:
        folder = Path(name)  # a short one: two paths have to fit into a device's 111 bytes
        for host in PORTS:
            pcap.write(folder / f"in{host.port}", list(traffic.get(host, ())))
        engine = stack.enter_context(running())
        ports = [PortConfig(9, "p9", "replay")]
        for host in PORTS:
            device = f"pcap:{folder}/in{host.port},{folder}/out{host.port}"
            ports.append(PortConfig(host.port, f"p{host.port}", device))
        engine.load(LoadConfig(ports=tuple(ports), connections=200_000, flow_limit=200_000, inbound_flow_limit=200_000,
                               pickup_ns=pickup_ns, workers=workers))  # fmt: skip
        engine.writer().commit([Insert(some) for some in as_rows(rows())])
        engine.start()
        deadline = time.monotonic() + 60
        while _done(engine.counters()) < total and time.monotonic() < deadline:
            time.sleep(0.02)
        counters, flows, events = engine.counters(), engine.flows(), engine.events().events
        stack.close()
        left = {host.port: marks(pcap.read(folder / f"out{host.port}")) for host in PORTS}
    assert _done(counters) == total, counters
    PROVOKED.update(reason for reason, count in counters.drops.items() if count)
    return Played(counters, left, flows, events)


def _done(counters: Counters) -> int:
    """Counted somewhere: sent, dropped, or lost before a worker that was behind."""
    ends = sum(one["tx_packets"] + one["rx_errors"] for one in counters.ports.values())
    return ends + sum(counters.drops.values())


def in_order(found: Sequence[Mark]) -> bool:
    """Each connection's packets, whatever lies between them."""
    latest: dict[tuple[int, int], int] = defaultdict(lambda: -1)
    for vnic, connection, number in found:
        if number <= latest[vnic, connection]:
            return False
        latest[vnic, connection] = number
    return True


def refused(counters: Counters) -> dict[tuple[int, str], int]:
    return {key: one.refused for key, one in counters.limits.items() if one.refused}


def test_a_flood_takes_nothing_from_another() -> None:
    """A's packets are all of new connections, B's all of one. While B has some, a burst has 32 of each."""
    flood = [frame(A, C, number) for number in range(MANY)]
    played = play({A: flood, B: [frame(B, C, 0, number) for number in range(MANY)]})
    ours, drops = played.counters, played.counters.drops
    assert [number for _, _, number in played.of(B, C)] == list(range(MANY))
    assert ours.vnics[B.vnic]["drops"] == 0
    out = played.left[C.port]
    before = sum(one[0] == A.vnic for one in out[: out.index((B.vnic, 0, MANY - 1))])
    print(f"{before} chains of A before B's last packet; {drops['first_packet_limit']} at its limit")
    assert MANY // POLL * (CHAINS - 1) <= before <= (MANY // POLL + 2) * CHAINS
    # The flood itself has what is left, and each packet of it is accounted for, at the vNIC that it came from.
    assert ours.vnics[A.vnic]["drops"] == drops["first_packet_limit"] > MANY // 2
    assert refused(ours) == {(A.vnic, "first_packet_limit"): drops["first_packet_limit"]}
    assert {(one.kind, one.id) for one in played.events if one.table} == {(EventKind.FIRST_PACKET_LIMIT, A.vnic)}
    assert len(played.of(A, C)) + drops["first_packet_limit"] == MANY
    assert ours.engine["chain_walks"] == len(played.of(A, C)) + 1
    assert sum(drops.values()) == drops["first_packet_limit"]


def test_who_is_alone_is_not_limited() -> None:
    played = play({A: [frame(A, C, number) for number in range(MANY)]})
    assert len(played.of(A, C)) == MANY
    assert played.counters.engine["flows_opened"] == MANY


def test_an_uplink_that_is_alone_is_not_limited() -> None:
    """Whomever they are for: nothing waits, so nobody is in front of anybody."""
    played = play({FAR_AWAY: [frame(FAR_AWAY, (A, B)[number % 2], number) for number in range(MANY)]})
    assert (len(played.of(FAR_AWAY, A)), len(played.of(FAR_AWAY, B))) == (MANY // 2, MANY // 2)
    assert refused(played.counters) == {}


def test_firsts_of_others_have_their_turn() -> None:
    """Few new connections of B beside A's flood: none is lost, and each is open a burst or two after it came."""
    each = 100
    quiet = [frame(B, C, 0, number) for number in range(MANY)]
    for place in range(each):
        quiet[place * (MANY // each) + 7] = frame(B, C, 1 + place)
    played = play({A: [frame(A, C, number) for number in range(MANY)], B: quiet})
    found = played.of(B, C)
    assert len(found) == MANY
    assert played.counters.vnics[B.vnic]["drops"] == 0
    late = [found.index((B.vnic, 1 + place, 0)) - place * (MANY // each) - 7 for place in range(each)]
    print(f"B's first packets left behind at most {max(late)} of its others that came later")
    assert max(late) <= 3 * POLL


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("both_ways", [False, True])
def test_order_within_a_connection_is_kept(both_ways: bool, workers: int) -> None:
    """Packets of many connections, some behind others, from one end or from both; more than have their turn at once."""
    draw = random.Random(5)
    traffic: dict[Host, list[bytes]] = {}
    ends = ((A, C, True), (C, A, False)) if both_ways else ((A, C, True),)
    for host, to, initiator in ends:
        sent: dict[int, int] = defaultdict(int)
        frames = []
        for place in range(MANY):
            connection = draw.randrange(place * 2 // 3, place * 2 // 3 + 60)
            frames.append(frame(host, to, connection, sent[connection], initiator=initiator))
            sent[connection] += 1
        traffic[host] = frames
    played = play(traffic | {B: [frame(B, C, 0, number) for number in range(MANY)]}, workers)
    for host, to, _ in ends:
        found = played.of(host, to)
        assert len(found) > MANY // 4
        assert in_order(found), f"{host.vnic} to {to.vnic}"
    drops = played.counters.drops
    # With two workers it is the scheduler's how much of A comes while its worker hears of others at all.
    assert workers > 1 or drops["first_packet_limit"] > 100
    assert drops["first_packet_limit"] + drops["port_full"] == sum(drops.values())  # full: of the other worker's ports
    assert len(played.flows) == len({(flow.source_port, flow.destination_port) for flow in played.flows})
    # One chain a connection, however many packets of it waited.
    assert played.counters.engine["chain_walks"] == played.counters.engine["flows_opened"] == len(played.flows)


def test_a_flood_from_outside_takes_from_whom_it_is_for() -> None:
    """By one uplink: of a hundred calls to B none is lost beside a flood to A, which counts for A."""
    each = 100
    by_uplink = [frame(FAR_AWAY, A, number) for number in range(MANY)]
    for place in range(each):
        by_uplink[place * (MANY // each) + 100] = frame(FAR_AWAY, B, place)
    played = play({FAR_AWAY: by_uplink, C: [frame(C, B, 0, number) for number in range(MANY)]})
    lost = played.counters.drops["first_packet_limit"]
    assert lost > MANY // 2
    assert played.of(FAR_AWAY, B) == [(UPLINK_ID, place, 0) for place in range(each)]
    assert len(played.of(C, B)) == MANY
    assert len(played.of(FAR_AWAY, A)) == MANY - each - lost
    assert refused(played.counters) == {(A.vnic, "inbound_first_packet_limit"): lost}
    assert played.counters.vnics[UPLINK_ID]["drops"] == lost == sum(played.counters.drops.values())
    assert {(one.kind, one.id) for one in played.events if one.table} == {(EventKind.FIRST_PACKET_LIMIT, A.vnic)}


def test_a_flood_from_outside_takes_nothing_of_what_its_target_opens() -> None:
    """What comes to A by an uplink waits apart from what A sends, whichever of them is a flood."""
    each = 100
    flood, calls = (
        {host: [frame(host, to, number) for number in range(MANY)] for host, to in ((FAR_AWAY, A), (A, C))},
        {host: [frame(host, to, 1, number) for number in range(MANY)] for host, to in ((FAR_AWAY, A), (A, C))},
    )
    for floods, limit, others, to in (
        (FAR_AWAY, "inbound_first_packet_limit", A, C),
        (A, "first_packet_limit", FAR_AWAY, A),
    ):
        calls[others][7 :: MANY // each] = [frame(others, to, 2 + place) for place in range(each)]
        played = play({floods: flood[floods], others: calls[others]})
        assert sorted(played.of(others, to)) == sorted(marks(calls[others]))
        assert refused(played.counters) == {(A.vnic, limit): played.counters.drops["first_packet_limit"]}
        assert played.counters.drops["first_packet_limit"] > MANY // 2


def test_what_comes_to_no_vnic_waits_as_the_uplinks() -> None:
    """For an address that is no vNIC's: its turns are the uplink's own, and what the chain drops has had one."""
    nobody = Host(99, 0, 1, A.mac, "198.18.0.1", "")
    flood = [frame(FAR_AWAY, nobody, number) for number in range(MANY)]
    played = play({FAR_AWAY: flood, C: [frame(C, B, 0, number) for number in range(MANY)]})
    drops = played.counters.drops
    assert len(played.of(C, B)) == MANY
    assert drops["first_packet_limit"] > MANY // 2
    assert drops["blackhole"] + drops["first_packet_limit"] == MANY == sum(drops.values())
    assert refused(played.counters).pop((UPLINK_ID, "first_packet_limit")) == drops["first_packet_limit"]


@pytest.mark.parametrize("host", [A, FAR_AWAY], ids=["own", "inbound"])
def test_fragments_wait_with_their_first(host: Host) -> None:
    """Datagrams in two fragments, one behind the other, beside another's packets: where the first passes, so does the
    second."""
    to = C if host is A else A
    frames = []
    for number in range(4000):
        mark = MARK.pack(b"mark", host.vnic, number, 0).ljust(24, b".")
        whole = udp(host.ip, to.ip, 1024 + number, 53, mark + MARK.pack(b"mark", host.vnic, number, 1) + b"..")[20:]
        for part, flags in ((whole[:32], 0x2000), (whole[32:], 32 // 8)):
            packet = bytearray(ip(host.ip, to.ip, UDP, part))
            packet[4:8] = struct.pack("!HH", 1 + number, flags)
            packet[10:12] = b"\0\0"
            packet[10:12] = checksum(bytes(packet[:20])).to_bytes(2, "big")
            frames.append(host.frame(bytes(packet)))
    played = play({host: frames, B: [frame(B, C, 0, number) for number in range(MANY)]})
    found, drops = played.of(host, to), played.counters.drops
    firsts, seconds = ({connection for _, connection, number in found if number == which} for which in (0, 1))
    assert len(firsts) > 500
    assert seconds <= firsts
    print(f"{len(firsts)} firsts, {len(seconds)} seconds; {drops['fragment_no_first']} of others")
    assert len(seconds) > len(firsts) * 3 // 4
    assert drops["first_packet_limit"] + drops["fragment_no_first"] + len(found) == len(frames)


def test_one_connection_that_begins_anew_again_and_again_has_no_more_chains() -> None:
    """While connections are picked up, segments of which none fits the one before each ask for a chain: many that wait
    of one connection have one between them, as its turn comes."""

    def forged(number: int) -> bytes:
        far = (number * 1_500_000_000) % (1 << 32)
        segment = tcp(A.ip, C.ip, 4000, 80, "A", seq=far, ack=far)[20:]
        mark = MARK.pack(b"mark", A.vnic, 0, number)
        whole = bytearray(segment + mark)
        whole[16:18] = b"\0\0"
        return A.frame(ip(A.ip, C.ip, TCP, bytes(whole)))

    quiet = [frame(B, C, 0, number) for number in range(MANY)]
    played = play({A: [forged(number) for number in range(MANY)], B: quiet}, pickup_ns=3600 * 10**9)
    ours, drops = played.counters, played.counters.drops
    assert len(played.of(B, C)) == MANY
    assert 1000 < ours.engine["pickups"] == ours.engine["chain_walks"] - 1 <= len(played.of(A, C))
    assert ours.engine["chain_walks"] <= (MANY // POLL + 2) * CHAINS
    assert drops["first_packet_limit"] == MANY - len(played.of(A, C))
