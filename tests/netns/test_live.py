"""The engine itself between real hosts on one subnet: the live loop, with one worker and with two."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from hal.conformance.frames import ARP, IPV4, arp, ethernet, udp
from hal.packet.contract import Counters, EventKind, Insert, LoadConfig, Modify, PortConfig
from hal.packet.dpdk import Engine
from hal.packet.frame._generated import Profile, ProfileStage, Vnic, Vrf
from hal.packet.schema.rows import Row, as_rows
from hal.packet.stages.bridge._generated import FdbEntry, Subnet, VnicAddress
from tests.netns.ports import Field, field, frames, inside
from tests.tools.engines import RELEASED, SANITIZED, running
from tests.tools.until import until

FLOOD = 1900
ASKED = 1000
NOBODY = ("10.9.0.200", "10.9.1.200")
"""Addresses for which no host answers, not even with an error: what is bridged there brings nothing back."""


def tables(made: Field) -> list[Insert]:
    """Each pair of hosts a subnet of its own, everything allowed."""
    rows: list[Row] = [
        Vrf(id=1),
        Profile(id=1),
        ProfileStage(id=1, profile=1, direction="egress", position=0, stage="bridge"),
    ]
    for n in range(made.hosts):
        mac = made.on(n, "cat", "/sys/class/net/eth0/address").strip()
        vnic, subnet = n + 1, n // 2 + 1
        if n % 2 == 0:
            rows.append(Subnet(id=subnet, vrf=1, mac=f"02:00:00:00:ff:{subnet:02x}"))
        rows += [
            Vnic(
                id=vnic,
                port=n,
                vlan=0,
                match_mac="00:00:00:00:00:00",
                role="vnic",
                mtu=9216,
                mac=mac,
                vrf=1,
                profile=1,
                subnet=subnet,
            ),
            FdbEntry(id=vnic, subnet=subnet, mac=mac, vnic=vnic),
            VnicAddress(id=2 * vnic, subnet=subnet, address=made.ipv4(n), vnic=vnic),
            VnicAddress(id=2 * vnic + 1, subnet=subnet, address=made.ipv6(n), vnic=vnic),
        ]
    return [Insert(some) for some in as_rows(rows)]


@dataclass
class Live:
    """A card that bridges, and its hosts."""

    made: Field
    engine: Engine

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.engine.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def links(self) -> list[bool]:
        return [port.link for port in self.engine.capabilities().ports]


@contextlib.contextmanager
def live(hosts: int, *, workers: int = 1, mtu: int = 1500, binary: Path = SANITIZED) -> Iterator[Live]:
    ports = tuple(PortConfig(n, f"p{n}", f"linux:p{n}", mtu=mtu) for n in range(hosts))
    with field(hosts, mtu=mtu) as made, contextlib.ExitStack() as stack:
        engine = inside(made.card, lambda: stack.enter_context(running(binary)))
        inside(made.card, lambda: engine.load(LoadConfig(ports=ports, workers=workers)))
        engine.start()
        engine.writer().commit(tables(made))
        yield Live(made, engine)


@pytest.mark.parametrize("workers", [1, 2])
def test_hosts_talk(workers: int) -> None:
    """TCP, UDP and ICMP of both families, from hosts that leave segments and checksums to hardware."""
    with live(2, workers=workers) as card:
        for v6 in (False, True):
            card.made.ping(0, 1, v6=v6)
            card.made.ping(1, 0, "-s", "1400", v6=v6)
            assert card.made.iperf(0, 1, v6=v6)["sum_received"]["bytes"] > 10_000_000
            assert card.made.iperf(0, 1, "-R", "-P", "4", v6=v6)["sum_received"]["bytes"] > 10_000_000
            assert card.made.iperf(0, 1, "-u", "-b", "2M", v6=v6)["sum"]["lost_percent"] < 5
        counters = card.engine.counters()
        assert counters.drops["port_full"] == counters.drops["port_down"] == 0
        assert counters.ports[0]["rx_packets"] > 10_000
        # A connection's first packet walks the chain, and those that belong to none.
        strangers = counters.drops["tcp_no_session"]
        assert counters.engine["packets"] > 50_000
        assert 12 <= counters.engine["flows_opened"] <= counters.engine["chain_walks"] < 200
        assert counters.engine["chain_walks"] <= counters.engine["flows_opened"] + strangers


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("v6", [False, True], ids=["IPv4", "IPv6"])
def test_more_datagrams_in_fragments_than_a_worker_remembers(workers: int, v6: bool) -> None:
    """Within half a minute, one behind the other: those that are whole take no room."""
    with live(2, workers=workers) as card:
        address = card.made.ipv6(1) if v6 else card.made.ipv4(1)
        card.made.on(0, "ping", "-q", "-f", "-c", "5000", "-s", "3000", address, timeout=60)
        counters = card.engine.counters()
        assert counters.drops["fragment_table_full"] == counters.drops["fragment_overlap"] == 0
        assert counters.ports[1]["tx_packets"] > 3 * 4900


def test_jumbo_frames() -> None:
    with live(2, mtu=9216) as card:
        card.made.ping(0, 1, "-M", "do", "-s", str(9216 - 28))
        card.made.ping(1, 0, "-M", "do", "-s", str(9216 - 48), v6=True)
        assert card.made.iperf(0, 1)["sum_received"]["bytes"] > 10_000_000
        _tagged_jumbo_frames(card)


def _tagged_jumbo_frames(card: Live) -> None:
    """9,216 bytes is the longest IP packet behind a tag as well, if the vNIC that it goes to takes as much."""
    macs = [f"02:00:00:00:05:0{n}" for n in range(2)]
    vnics = [
        Vnic(id=10 + n, port=n, vlan=5, match_mac="00:00:00:00:00:00", role="vnic", mac=mac, vrf=1, profile=1, subnet=1,
             mtu=9216)
        for n, mac in enumerate(macs)
    ]  # fmt: skip
    rows = [*vnics, *(FdbEntry(id=one.id, subnet=1, mac=one.mac, vnic=one.id) for one in vnics)]
    writer = card.engine.writer()
    writer.commit([Insert(some) for some in as_rows(rows)])
    sent = ethernet(macs[1], macs[0], IPV4, udp("10.9.0.201", "10.9.0.202", data=bytes(9216 - 28)), vlan=5)
    with card.made.wire(0) as out, card.made.wire(1) as other:
        out.send(sent)
        assert next(frames(other, lambda frame: frame[6:12] == sent[6:12])) == sent
        writer.commit([Modify(some) for some in as_rows([replace(vnics[1], mtu=9215)])])
        dropped = card.engine.counters().drops["mtu_exceeded"]
        out.send(sent)
        assert until(lambda: card.engine.counters().drops["mtu_exceeded"] == dropped + 1)


def test_a_full_device_counts_for_whom_the_packets_came_from() -> None:
    """A device that takes nothing more: what it doesn't take is a drop of the sending vNIC, as any other is. What the
    card made itself is nobody's drop (ADR 0027): the port's own `tx_full` alone has it."""
    with live(4) as card, card.made.wire(0) as out, card.made.wire(1) as asking:
        made = card.made
        macs = [made.on(n, "cat", "/sys/class/net/eth0/address").strip() for n in (0, 1)]
        # Who gets the packets asks the card for nothing: whether its answer would find the device full is luck.
        made.on(1, "ip", "neigh", "replace", made.ipv4(0), "lladdr", macs[0], "dev", "eth0", "nud", "permanent")
        slow = ["tbf", "rate", "1kbit", "burst", "5000", "limit", "20000"]
        made.in_card("tc", "qdisc", "add", "dev", "p1", "root", *slow)
        packet = udp(made.ipv4(0), made.ipv4(1), 4000, 4001, data=b"b" * 1000)
        for place in range(3000):
            out.send(ethernet(macs[1], macs[0], IPV4, packet))
            if place % 100 == 0:
                time.sleep(0.002)
        made.ping(2, 3)
        assert until(lambda: card.engine.counters().drops["port_full"] > 2000)
        assert until(lambda: sum(card.engine.counters().ports[0][one] for one in ("rx_packets", "rx_errors")) >= 3000)

        def told() -> Counters:
            return card.engine.counters()

        # Workers count while they are read: at rest the two are the same.
        assert until(lambda: (now := told()).drops["port_full"] == now.ports[1]["tx_full"])
        counters = told()
        dropped = {vnic: one["drops"] for vnic, one in counters.vnics.items()}
        assert dropped[1] >= counters.drops["port_full"]
        # A tx counter has what the device took: the port's own, whose only vNIC it is.

        def sent() -> set[tuple[int, int]]:
            now = told()
            return {(one["tx_packets"], one["tx_bytes"]) for one in (now.vnics[2], now.ports[1])}

        assert until(lambda: len(sent()) == 1)
        assert 0 < counters.vnics[2]["tx_packets"] < 1000
        assert max(dropped[vnic] for vnic in (2, 3, 4)) < 100  # what hosts say of themselves when they come up

        # Answers of the card, of which a queue of 20,000 bytes takes but some.
        question = arp(1, macs[1], made.ipv4(1), "00:00:00:00:00:00", made.ipv4(0))
        for _ in range(ASKED):
            asking.send(ethernet("ff:ff:ff:ff:ff:ff", macs[1], ARP, question))
        before = counters.ports[1]
        assert until(lambda: sum(told().ports[1][one] - before[one] for one in ("tx_full", "tx_packets")) >= ASKED)
        assert told().ports[1]["tx_full"] > before["tx_full"]
        assert told().drops["port_full"] == counters.drops["port_full"]


def test_a_flood_of_first_packets_takes_its_own_share() -> None:
    """What came while the engine stood still: 1,900 first packets from one host, and in the same bursts packets of a
    connection of another one. These all arrive; of the flood what has its turn, later, though nothing more comes."""
    with live(4) as card, card.made.wire(0) as flooding, card.made.wire(2) as other:
        made, engine = card.made, card.engine
        made.ping(2, 3)
        made.ping(0, 1)
        macs = [made.on(n, "cat", "/sys/class/net/eth0/address").strip() for n in range(4)]
        opening = ethernet(macs[3], macs[2], IPV4, udp(made.ipv4(2), NOBODY[1], 4000, 4001))
        other.send(opening)
        assert until(lambda: any(flow.source_port == 4000 for flow in engine.flows()))
        before = engine.counters()
        os.kill(engine.pid, signal.SIGSTOP)
        try:
            for number in range(FLOOD):
                packet = udp(made.ipv4(0), NOBODY[0], 1024 + number, 53)
                flooding.send(ethernet(macs[1], macs[0], IPV4, packet))
                other.send(opening)
        finally:
            os.kill(engine.pid, signal.SIGCONT)

        def since() -> tuple[int, int, int]:
            """Packets to host 3, packets to host 1, and drops at the flood's limit."""
            now = engine.counters()
            more = [now.vnics[n]["tx_packets"] - before.vnics[n]["tx_packets"] for n in (4, 2)]
            return more[0], more[1], now.drops["first_packet_limit"]

        assert until(lambda: (now := since())[0] >= FLOOD and now[1] + now[2] >= FLOOD), since()
        assert engine.counters().vnics[1]["drops"] >= since()[2] > 100
        idle = card.cpu_seconds()
        time.sleep(1)
        assert card.cpu_seconds() - idle < 0.2


def test_a_device_deleted_under_traffic() -> None:
    with live(4) as card:
        made = card.made
        flood = subprocess.Popen(
            ["ip", "netns", "exec", made.namespace(1), "ping", "-q", "-f", made.ipv4(0)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert until(lambda: card.engine.counters().ports[1]["rx_packets"] > 100)
        made.in_card("ip", "link", "delete", "p0")
        assert until(lambda: card.links() == [False, True, True, True], 2)
        assert until(lambda: card.engine.counters().drops["port_down"] > 0)
        events = card.engine.events().events
        assert [event.id for event in events if event.kind is EventKind.PORT_DOWN] == [0]
        flood.kill()
        flood.wait()
        made.ping(2, 3)
        before = card.cpu_seconds()
        time.sleep(1)
        assert card.cpu_seconds() - before < 0.2


def test_idle_and_quick_to_wake() -> None:
    """Four ports at rest cost next to nothing, and a lone packet doesn't wait."""
    with live(4, binary=RELEASED) as card:
        card.made.ping(0, 1)
        time.sleep(1)
        before = card.cpu_seconds()
        time.sleep(5)
        assert (card.cpu_seconds() - before) / 5 <= 0.02
        said = card.made.on(0, "ping", "-c", "100", "-i", "0.05", card.made.ipv4(1))
        times = sorted(float(line.split("time=")[1].split()[0]) for line in said.splitlines() if "time=" in line)
        assert len(times) == 100
        assert times[50] <= 0.5, times
