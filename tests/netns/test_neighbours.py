"""What Linux hosts make of the card as a neighbour, and it of them: duplicates, new MACs, conflicts."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import pytest
from scapy.all import ARP, Ether

from hal.packet.contract import EventKind, Insert, LoadConfig, NeighbourState, PortConfig
from hal.packet.dpdk import Engine
from hal.packet.schema.rows import as_rows
from tests.netns.ports import Field, field, inside, run
from tests.netns.test_path_mtu import FAR, GATEWAYS, NEAR, OWN, UPLINK_MAC, rows
from tests.tools.engines import SANITIZED, running
from tests.tools.until import until

NEW_MAC = "02:00:00:00:77:77"
FREE = {NEAR: "fd01::77", FAR: "fd02::77"}


@dataclass
class Link:
    """A card between a workload and a router, both Linux."""

    made: Field
    engine: Engine

    def drops(self, reason: str) -> int:
        return self.engine.counters().drops[reason]

    def mac_of(self, address: str) -> tuple[NeighbourState, str] | None:
        """What the card knows of a neighbour."""
        return next(((one.state, one.mac) for one in self.engine.neighbours() if one.address == address), None)

    def is_at(self, address: str, mac: str) -> bool:
        """It answers, from this MAC."""
        return self.mac_of(address) == (NeighbourState.REACHABLE, mac)


@pytest.fixture
def link() -> Iterator[Link]:
    with field(2) as made, contextlib.ExitStack() as stack:
        for host in (NEAR, FAR):
            made.on(host, "sysctl", "-qw", "net.ipv6.conf.eth0.accept_dad=1", "net.ipv6.conf.eth0.dad_transmits=1",
                    "net.ipv4.conf.eth0.arp_notify=1", "net.ipv6.conf.eth0.ndisc_notify=1")  # fmt: skip
            for place, family in enumerate(("-4", "-6")):
                more = ["nodad"] if place else []
                own = OWN[host][place] + ("/64" if place else "/24")
                made.on(host, "ip", "address", "add", own, "dev", "eth0", *more)
                made.on(host, "ip", family, "route", "add", "default", "via", GATEWAYS[host][place])
        ports = tuple(PortConfig(n, f"p{n}", f"linux:p{n}") for n in (0, 1))
        engine = inside(made.card, lambda: stack.enter_context(running(SANITIZED)))
        inside(made.card, lambda: engine.load(LoadConfig(ports=ports)))
        engine.start()
        engine.writer().commit([Insert(some) for some in as_rows(rows(made))])
        yield Link(made, engine)


@pytest.mark.parametrize("host", [NEAR, FAR])
def test_linux_finds_that_an_address_is_the_cards(link: Link, host: int) -> None:
    """Duplicate address detection by NS from :: (RFC 4862), with a nonce (RFC 7527), and by ARP probes (RFC 5227)."""

    def shown(address: str) -> str:
        return link.made.on(host, "ip", "-6", "address", "show", "dev", "eth0", "to", address)

    for address in (GATEWAYS[host][1], FREE[host]):
        link.made.on(host, "ip", "-6", "address", "add", f"{address}/64", "dev", "eth0")
    assert until(lambda: "dadfailed" in shown(GATEWAYS[host][1])), shown(GATEWAYS[host][1])
    assert until(lambda: "tentative" not in shown(FREE[host]))
    assert "dadfailed" not in shown(FREE[host])

    def probes(address: str) -> bool:
        """True where somebody answers."""
        return "1 packets received" in link.made.on(host, "arping", "-0", "-c", "1", "-w", "2", "-i", "eth0", address,
                                                    check=False)  # fmt: skip

    assert probes(GATEWAYS[host][0])
    assert not probes(GATEWAYS[host][0].replace(".0.1", ".0.99"))


def test_a_router_gets_another_mac(link: Link) -> None:
    """Linux says so by gratuitous ARP and unsolicited advertisements; traffic goes on, within two seconds where it had
    answered just before."""
    for address in OWN[FAR]:
        assert " 0% packet loss" in link.made.on(NEAR, "ping", "-q", "-c", "2", "-i", "0.2", "-W", "2", address)
    before = [link.mac_of(address) for address in OWN[FAR]]
    link.made.on(FAR, "ip", "link", "set", "dev", "eth0", "address", NEW_MAC)
    for address, old in zip(OWN[FAR], before, strict=True):
        assert old is not None
        assert old[1] != NEW_MAC
        assert until(partial(link.is_at, address, NEW_MAC)), address
        assert " 0% packet loss" in link.made.on(NEAR, "ping", "-q", "-c", "2", "-i", "0.2", "-W", "2", address)


@pytest.mark.parametrize("says", ["replies", "announces"])
def test_a_liar_takes_no_routers_address(link: Link, says: str) -> None:
    """He tells some hundred times a second that it is his, as an answer or not. Who has it answers the card's question,
    once a second: the liar gets what comes within a round trip of it (RFC 4861 7.2.5, ADR 0179)."""
    address, liar = OWN[FAR][0], "02:00:00:00:0b:ad"
    pinged = link.made.on(NEAR, "ping", "-q", "-c", "1", "-W", "2", address)
    assert " 0% packet loss" in pinged
    claim = ARP(op=2 if says == "replies" else 1, hwsrc=liar, psrc=address, hwdst=UPLINK_MAC,
                pdst=GATEWAYS[FAR][0] if says == "replies" else address)  # fmt: skip
    frame = bytes(Ether(src=liar, dst=UPLINK_MAC if says == "replies" else "ff:ff:ff:ff:ff:ff") / claim)
    over, sent, asked = threading.Event(), 0, 0
    question = bytes.fromhex(UPLINK_MAC.replace(":", "")) + b"\x08\x06\0\x01\x08\0\x06\x04\0\x01"
    with link.made.wire(FAR) as wire:

        def lies() -> None:
            nonlocal sent, asked
            while not over.wait(0.001):
                sent += wire.send(frame) > 0
                with contextlib.suppress(BlockingIOError):
                    while heard := wire.recv(2048, socket.MSG_DONTWAIT):
                        asked += heard[6:22] == question

        thread = threading.Thread(target=lies)
        thread.start()
        try:
            pinged = link.made.on(NEAR, "ping", "-q", "-c", "50", "-i", "0.1", "-W", "2", address)
        finally:
            over.set()
            thread.join()
    received = int(pinged.split(" received")[0].split()[-1])
    assert sent > 500
    assert received >= 45, pinged
    assert 1 <= asked <= 10


def test_somebody_takes_the_cards_address(link: Link) -> None:
    """He is told of, and the segment hears whose it is."""
    address = GATEWAYS[FAR][0]
    with link.made.wire(FAR) as wire:
        wire.settimeout(10)
        liar = "02:00:00:00:0b:ad"
        claim = ARP(op=1, hwsrc=liar, psrc=address, hwdst="00:00:00:00:00:00", pdst=address)
        wire.send(bytes(Ether(src=liar, dst="ff:ff:ff:ff:ff:ff") / claim))
        while True:
            frame = Ether(wire.recv(2048))
            if frame.haslayer(ARP) and frame[ARP].psrc == address:
                break
    assert (frame.dst, frame[ARP].hwsrc, frame[ARP].pdst) == ("ff:ff:ff:ff:ff:ff", UPLINK_MAC, address)
    assert link.drops("address_conflict") == 1
    told = [one.data for one in link.engine.events().events if one.kind is EventKind.ADDRESS_CONFLICT]
    assert told == [f"{address} is-at {liar}"]


def test_a_workload_hears_that_nobody_is_there(link: Link) -> None:
    """When three requests were in vain its kernel is told, and so the program (RFC 4861 7.2.2)."""
    for address in ("10.2.0.99", "fd02::99"):
        said = run(
            "ip", "netns", "exec", link.made.namespace(NEAR), "ping", "-c", "1", "-W", "10", address, check=False
        )
        assert "unreachable" in said.lower(), said
