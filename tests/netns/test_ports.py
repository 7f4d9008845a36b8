"""Ports and workers between real hosts: what comes in at one port leaves at the other as it was, whatever Linux left
unfinished, and a sleeping engine is quick to wake."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hal.packet.dpdk.linux_port import open_tap, tap_mac
from tests.netns.ports import PACKET_VNET_HDR, ROOT, SOL_PACKET, Field, Forward, field, frames, inside, run
from tests.tools import pcap
from tests.tools.until import until

MARK = 0x88B5
"""EtherType for experiments (IEEE 802): the frames of these tests."""


@pytest.fixture
def two() -> Iterator[Field]:
    with field(2) as made:
        yield made


def frame(payload: bytes, *tags: tuple[int, int]) -> bytes:
    head = bytes.fromhex("020000000002020000000001")
    return head + b"".join(struct.pack("!HH", *tag) for tag in tags) + struct.pack("!H", MARK) + payload


def marked(data: bytes) -> bool:
    return struct.pack("!H", MARK) in data[12:22]


@pytest.mark.parametrize("offloads", [True, False], ids=["offloads", "no offloads"])
def test_hosts_talk(offloads: bool) -> None:
    """TCP, UDP and ICMP of both families, with 64 kB segments and unfinished checksums or without."""
    with field(2, offloads=offloads) as made, made.forward() as forward:
        for v6 in (False, True):
            made.ping(0, 1, v6=v6)
            made.ping(1, 0, "-s", "1400", v6=v6)
            tcp = made.iperf(0, 1, v6=v6)
            assert tcp["sum_received"]["bytes"] > 10_000_000
            assert made.iperf(0, 1, "-R", v6=v6)["sum_received"]["bytes"] > 10_000_000
            udp = made.iperf(0, 1, "-u", "-b", "2M", v6=v6)
            assert udp["sum"]["packets"] > 100
            assert udp["sum"]["lost_percent"] < 5
        assert forward.counters()["port_full"] == 0


def test_segments_are_cut_to_size(two: Field) -> None:
    """The receiver sees no packet longer than its wire takes."""
    with two.forward(), two.wire(1) as raw:
        raw.settimeout(1)
        two.iperf(0, 1)
        longest = max(len(data) for data in frames(raw, lambda data: True, 0.2))
        assert longest == 1514


@pytest.mark.parametrize("v6", [False, True], ids=["v4", "v6"])
def test_datagrams_sent_as_one_are_cut(two: Field, v6: bool) -> None:
    """UDP_SEGMENT: one large packet with many datagrams."""
    family = socket.AF_INET6 if v6 else socket.AF_INET
    with two.forward():
        two.ping(0, 1, v6=v6)
        receiver = inside(two.namespace(1), lambda: socket.socket(family, socket.SOCK_DGRAM))
        sender = inside(two.namespace(0), lambda: socket.socket(family, socket.SOCK_DGRAM))
        with receiver, sender:
            receiver.bind(("", 4000))
            receiver.settimeout(2)
            sender.connect((two.ipv6(1) if v6 else two.ipv4(1), 4000))
            sender.setsockopt(socket.IPPROTO_UDP, 103, 1000)  # UDP_SEGMENT
            data = bytes(n % 251 for n in range(30_500))
            sender.send(data)
            assert [receiver.recv(2000) for _ in range(31)] == [data[n : n + 1000] for n in range(0, 30_500, 1000)]


def _met(forward: Forward) -> int:
    """Frames of the first port, the lost ones too."""
    port = forward.counters()["ports"][0]
    return int(port["rx_packets"]) + int(port["rx_errors"])


def test_what_no_slot_was_free_for_is_counted(two: Field) -> None:
    """An engine that got no CPU for a while: what the kernel had no room for is counted to the packet."""
    with two.forward() as forward, two.wire(0) as out:
        os.kill(forward.process.pid, signal.SIGSTOP)
        for _ in range(5000):
            out.send(frame(b"d" * 50))
        os.kill(forward.process.pid, signal.SIGCONT)
        assert until(lambda: forward.counters()["ports"][0]["rx_packets"] > 2000)
        more = 0

        def is_told() -> bool:
            """What was lost is told with the next frame that comes, which may be lost as well."""
            nonlocal more
            out.send(frame(b"e" * 50))
            more += 1
            return int(forward.counters()["ports"][0]["rx_errors"]) > 2000

        assert until(is_told)
        assert until(lambda: _met(forward) >= 5000 + more)
        assert _met(forward) < 5020 + more  # hosts say a little of their own


@pytest.mark.parametrize("mtu", [9000, 9216])
def test_jumbo_frames(mtu: int) -> None:
    with field(2, mtu=mtu) as made, made.forward("--mtu", str(mtu)):
        made.ping(0, 1, "-M", "do", "-s", str(mtu - 28))
        made.ping(1, 0, "-M", "do", "-s", str(mtu - 48), v6=True)
        assert made.iperf(0, 1)["sum_received"]["bytes"] > 10_000_000


def test_jumbo_frames_by_devices_of_dpdk() -> None:
    """By net_pcap, which takes frames as long; net_af_packet and net_tap say 1,518 bytes, and no port begins that would
    cut frames."""
    with field(2, mtu=9216, offloads=False) as made, contextlib.ExitStack() as stack:
        devices = [f"dpdk:net_pcap{n},rx_iface_in=p{n},tx_iface=p{n}" for n in (0, 1)]
        program = replace(made, hosts=0).forward("--mtu", "9216", devices=devices, user=os.getuid())
        forward = inside(made.card, lambda: stack.enter_context(program))
        made.ping(0, 1, "-M", "do", "-s", str(9216 - 28))
        made.ping(1, 0, "-M", "do", "-s", str(9216 - 48), v6=True)
        assert made.iperf(0, 1)["sum_received"]["bytes"] > 10_000_000
        assert all(port["rx_errors"] == 0 for port in forward.counters()["ports"])


def test_longer_than_a_port_takes_is_counted(two: Field) -> None:
    """A device with a longer MTU than its port was loaded with: what doesn't fit is lost, what comes behind isn't."""
    for n in (0, 1):
        two.on(n, "ip", "link", "set", "eth0", "mtu", "9000")
        two.in_card("ip", "link", "set", f"p{n}", "mtu", "9000")
    with two.forward() as forward, two.wire(0) as out, two.wire(1) as into:
        out.send(frame(b"x" * 5000))
        out.send(frame(b"y" * 1486))
        assert [len(data) for data in frames(into, marked, 1)] == [1500]
        assert forward.counters()["ports"][0]["rx_errors"] == 1


@pytest.mark.parametrize(
    "tags",
    [
        [(0x8100, 7)],
        [(0x8100, 0x6000 | 4094)],
        [(0x8100, 0)],
        [(0x88A8, 100)],
        [(0x88A8, 100), (0x8100, 7)],
        [(0x8100, 100), (0x8100, 7)],
    ],
    ids=["tag", "priority", "tag 0", "service tag", "two tags", "two customer tags"],
)
def test_tags_stay(two: Field, tags: list[tuple[int, int]]) -> None:
    with two.forward(), two.wire(0) as out, two.wire(1) as into:
        sent = [frame(bytes([n]) * size, *tags) for n, size in enumerate((46, 500, 1500 - 4 * len(tags)))]
        for data in sent:
            out.send(data)
        assert list(frames(into, marked, 0.5)) == sent


def tcp_segment(size: int, mss: int) -> tuple[bytes, bytes]:
    """(frame, offload header) of a tagged TCP packet with `size` bytes of data, its checksum unfinished."""
    source, destination = socket.inet_aton("10.9.0.1"), socket.inet_aton("10.9.0.2")
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40 + size, 1, 0x4000, 64, 6, 0, source, destination)
    ip = ip[:10] + struct.pack("!H", ~checksum(ip) & 0xFFFF) + ip[12:]
    pseudo = checksum(source + destination + struct.pack("!HH", 6, 20 + size))
    tcp = struct.pack("!HHIIBBHHH", 1000, 2000, 1, 1, 0x50, 0x18, 100, pseudo, 0)
    head = bytes.fromhex("020000000002020000000001") + struct.pack("!HHH", 0x8100, 7, 0x0800)
    large = bytes(n % 251 for n in range(size))
    header = struct.pack("=BBHHHH", 1, 1 if mss else 0, 0, mss, 38, 16)
    return head + ip + tcp + large, header


def checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data[: len(data) // 2 * 2]))
    total += data[-1] << 8 if len(data) % 2 else 0
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@pytest.mark.parametrize(("size", "mss"), [(700, 0), (1200, 500), (20000, 1400), (64000, 1400)])
def test_tags_and_offloads_together(two: Field, size: int, mss: int) -> None:
    """A tag moves where checksums begin, of short packets in the ring and of long ones in the queue."""
    with two.forward(), two.wire(0) as out, two.wire(1) as into:
        out.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        data, header = tcp_segment(size, mss)
        into.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        out.send(header + data)
        got = [one for one in frames_with_header(into) if one[1][30:38] == data[30:38]]
        assert b"".join(one[58:] for _, one in got) == data[58:]
        assert len(got) == (-(-size // mss) if mss else 1)
        for offload, one in got:
            flags, gso, _, _, start, offset = struct.unpack("=BBHHHH", offload)
            assert (gso, one[12:18]) == (0, data[12:18])
            assert checksum(one[18:38]) == 0xFFFF
            pseudo = checksum(one[30:38] + struct.pack("!HH", 6, len(one) - 38))
            if flags & 1:  # still unfinished: then the pseudo header's sum is what has to be there
                assert (start + 4, offset) == (38, 16)  # the header counts without the tag
                assert struct.unpack_from("!H", one, 54)[0] == pseudo
            else:
                assert checksum(struct.pack("!H", pseudo) + one[38:]) == 0xFFFF


def frames_with_header(raw: socket.socket) -> Iterator[tuple[bytes, bytes]]:
    raw.settimeout(1)
    while True:
        try:
            data, ancillary, _, _ = raw.recvmsg(70000, 256)
        except TimeoutError:
            return
        header, data = data[:10], data[10:]
        for _, _, body in ancillary:
            status, _, _, _, _, tci, tpid = struct.unpack("IIIHHHH", body)
            if status & 1 << 4:
                data = data[:12] + struct.pack("!HH", tpid, tci) + data[12:]
        yield header, data


def test_links_are_followed(two: Field) -> None:
    """Carrier lost, port down, port up again: told within a second, and traffic goes on afterwards."""
    with two.forward() as forward:
        assert forward.links() == [True, True]
        two.on(1, "ip", "link", "set", "eth0", "down")
        assert until(lambda: forward.links() == [True, False], 2)
        two.on(1, "ip", "link", "set", "eth0", "up")
        assert until(lambda: forward.links() == [True, True], 2)
        two.in_card("ip", "link", "set", "p0", "down")
        assert until(lambda: forward.links() == [False, True], 2)
        two.ping(0, 1, check=False)
        before = forward.cpu_seconds()
        time.sleep(1)
        assert forward.cpu_seconds() - before < 0.2
        two.in_card("ip", "link", "set", "p0", "up")
        assert until(lambda: forward.links() == [True, True], 2)
        assert until(lambda: " 0% packet loss" in two.ping(0, 1, check=False))
        assert two.iperf(0, 1)["sum_received"]["bytes"] > 10_000_000


def test_a_device_deleted_under_traffic() -> None:
    """Its port is down and stays so; the engine neither ends nor spins, and other ports know nothing of it."""
    with field(4) as made, made.forward() as forward:
        flood = subprocess.Popen(
            ["ip", "netns", "exec", made.namespace(1), "ping", "-q", "-f", made.ipv4(0)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        made.ping(0, 1)
        assert until(lambda: forward.counters()["ports"][1]["rx_packets"] > 100)
        made.in_card("ip", "link", "delete", "p0")
        assert until(lambda: forward.links() == [False, True, True, True], 2)
        with made.wire(1) as out:
            sent = [out.send(frame(b"z" * 100)) for _ in range(10)]
            assert until(lambda: forward.counters()["port_down"] >= len(sent))
        flood.kill()
        flood.wait()
        made.ping(2, 3)
        before = forward.cpu_seconds()
        time.sleep(1)
        assert forward.cpu_seconds() - before < 0.2
        assert forward.ask("call 10").split()[0] == "10"


def sums(forward: Forward) -> tuple[int, int, int, int, int]:
    """Of a full device: what came for it, of that what was taken in, what it refused as it and as its sender counts,
    what it took."""
    now = forward.counters()
    one, two = now["ports"][:2]
    return (
        one["rx_packets"] + one["rx_errors"], one["rx_packets"], two["tx_full"], now["port_full"], two["tx_packets"]
    )  # fmt: skip


def all_told(now: tuple[int, int, int, int, int]) -> bool:
    _, came, full, refused, taken = now
    return full == refused and refused + taken == came


def test_sending_never_blocks() -> None:
    """A device that takes nothing more: its packets are counted as port_full, and others' go on."""
    with field(4) as made, made.forward() as forward, made.wire(0) as out:
        slow = ["tbf", "rate", "100kbit", "burst", "5000", "limit", "20000"]
        made.in_card("tc", "qdisc", "add", "dev", "p1", "root", *slow)
        for place in range(5000):
            out.send(frame(b"b" * 1000))
            if place % 100 == 0:
                time.sleep(0.002)  # where others have the cores, the ring is not to fill meanwhile
        made.ping(2, 3)
        # Workers count while they are read, and hosts say things of themselves: at rest the sums are right.
        assert until(lambda: (now := sums(forward))[0] >= 5000 and sums(forward) == now and all_told(now)), sums(
            forward
        )
        counters = forward.counters()
        assert counters["ports"][0]["rx_packets"] > 1000  # a ring overflows where others have the cores for long
        assert counters["port_full"] > 0.8 * counters["ports"][0]["rx_packets"]
        # Each vNIC has what was taken of its own, where a burst that is cut holds some of several.
        assert until(
            lambda: all(one["sent"] == [one["tx_packets"], one["tx_bytes"]] for one in forward.counters()["ports"])
        ), forward.counters()


def test_order_through_two_workers() -> None:
    """A flow's packets stay in order through hand-over, both ways and for many flows at a time."""
    with field(2) as made, made.forward("--workers", "2", "--hand-over") as forward:
        made.ping(0, 1)
        tcp = made.iperf(0, 1, "-P", "4")
        assert tcp["sum_received"]["bytes"] > 10_000_000
        numbers = numbered_datagrams(made, 30_000)
        assert len(numbers) > 1000
        assert numbers == sorted(set(numbers))
        assert forward.ask("call 20").split()[0] == "40"


def numbered_datagrams(made: Field, count: int) -> list[int]:
    def listen() -> socket.socket:
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        opened.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
        opened.bind(("0.0.0.0", 4000))
        return opened

    receiver = inside(made.namespace(1), listen)
    sender = inside(made.namespace(0), lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    with receiver, sender:
        sender.connect((made.ipv4(1), 4000))
        for number in range(count):
            sender.send(struct.pack("!I", number))
            if number % 200 == 0:
                time.sleep(0.002)
        receiver.settimeout(1)
        numbers: list[int] = []
        try:
            while True:
                numbers.append(struct.unpack("!I", receiver.recv(16))[0])
        except TimeoutError:
            return numbers


def test_a_tap_for_the_cards_own_programs() -> None:
    """Host 0 talks to a program behind a tap: its checksums are finished, its segments cut."""
    with field(1) as made:
        run("ip", "netns", "add", made.namespace(1))
        try:
            fd = open_tap("eth0", made.namespace(1))
            assert len(tap_mac(fd)) == 17
            made.on(1, "ip", "link", "set", "eth0", "up")
            made.on(1, "ip", "address", "add", f"{made.ipv4(1)}/24", "dev", "eth0")
            made.on(1, "ip", "address", "add", f"{made.ipv6(1)}/64", "dev", "eth0", "nodad")
            with made.forward(more=[("tap:eth0", fd)]) as forward:
                for v6 in (False, True):
                    made.ping(0, 1, v6=v6)
                    assert made.iperf(0, 1, v6=v6)["sum_received"]["bytes"] > 1_000_000
                    assert made.iperf(0, 1, "-R", v6=v6)["sum_received"]["bytes"] > 1_000_000
                time.sleep(0.2)
                before = forward.cpu_seconds()
                time.sleep(1)
                assert forward.cpu_seconds() - before < 0.1
                made.on(1, "ip", "link", "delete", "eth0")
                assert until(lambda: forward.links() == [True, False], 2)
                made.ping(0, 1, check=False)
                before = forward.cpu_seconds()
                time.sleep(1)
                assert forward.cpu_seconds() - before < 0.1
        finally:
            run("ip", "netns", "delete", made.namespace(1), check=False)


def test_idle_and_quick_to_wake() -> None:
    """Four ports at rest cost next to nothing, and a lone packet doesn't wait."""
    with field(4) as made, made.forward(build="engine") as forward:
        made.ping(0, 1)
        time.sleep(1)
        before = forward.cpu_seconds()
        time.sleep(5)
        assert (forward.cpu_seconds() - before) / 5 <= 0.02
        said = made.on(0, "ping", "-c", "100", "-i", "0.05", made.ipv4(1))
        times = sorted(float(line.split("time=")[1].split()[0]) for line in said.splitlines() if "time=" in line)
        assert len(times) == 100
        assert times[50] <= 0.5, times  # the bench holds the 99th of a still machine to this


@pytest.fixture
def short_path() -> Iterator[Path]:
    """Two paths have to fit into a device's 111 bytes."""
    with tempfile.TemporaryDirectory(prefix="dsn", dir="/tmp") as name:
        yield Path(name)


def test_dpdk_devices(short_path: Path) -> None:
    """pcap, ring, null and any other devargs; a port without a wake descriptor keeps the engine polling."""
    sent = [frame(bytes([n]) * (46 + 10 * n)) for n in range(100)]
    devices = [
        f"pcap:{pcap.write(short_path / 'in', sent)},{short_path / 'back'}",
        f"pcap:{pcap.write(short_path / 'none', [])},{short_path / 'out'}",
        "ring",
        "null",
        "dpdk:net_null7,no-rx=1",
        "replay",
    ]
    with Field("none", 0).forward(devices=devices, user=os.getuid()) as forward:
        assert until(lambda: forward.counters()["ports"][1]["tx_packets"] == len(sent))
        assert forward.links() == [True] * 6
    assert pcap.read(short_path / "out") == sent
    assert pcap.read(short_path / "back") == []


def test_one_device_of_dpdk_too_many_is_told_so() -> None:
    """Not that its devargs are wrong; 32 of them are a forwarder."""
    command = [str(ROOT / "build/engine-asan/forward"), *["null"] * 33]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "kind 3: " in done.stderr
    assert "port p32, field device: got null, limit 32 of dpdk, null, ring and pcap together" in done.stderr


@pytest.mark.parametrize(
    ("device", "words"),
    [
        ("nothing", "port p0, field device: got nothing, limit linux:IFNAME"),
        ("linux:p0", "a descriptor comes with linux and tap, and with no other"),
        ("pcap:only-one", "field device: got pcap:only-one, limit linux:IFNAME"),
        ("dpdk:", "limit linux:IFNAME"),
        ("dpdk:net_nonsense0", "limit devargs of a network device"),
        ("pcap:/nowhere/in,/nowhere/out", "devargs of a network device"),
        ("linux:p0@0", "field descriptor: got linux:p0, limit a raw AF_PACKET socket"),
        ("tap:t0@0", "field descriptor: got tap:t0, limit a tap without packet information"),
    ],
)
def test_what_is_no_port_is_told(device: str, words: str) -> None:
    """Kind INVALID, with the field and what would have been right. Descriptor 0 is /dev/null here."""
    command = [str(ROOT / "build/engine-asan/forward"), device]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "kind 1: " in done.stderr
    assert words in done.stderr
