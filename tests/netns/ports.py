"""Ports without a card: network namespaces around `forward`, a program of the engine's workers and ports with a path
that only passes frames from port 0 to 1 and back, 2 to 3 and back, and so on."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from hal.packet.dpdk.linux_port import open_packet_socket
from tests.tools.until import until

ROOT = Path(__file__).resolve().parents[2]
T = TypeVar("T")

SOL_PACKET, PACKET_AUXDATA, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING = 263, 8, 15, 23
TP_STATUS_VLAN_VALID = 1 << 4
ETH_P_ALL = 3
NOBODY = 65534


def run(*command: str, check: bool = True, timeout: float = 60) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}: {done.stderr}{done.stdout}")
    return done.stdout


class Forward:
    """A running `forward`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def ask(self, line: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, "forward ended"
        return answer.strip()

    def counters(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.ask("counters"))
        return answer

    def links(self) -> list[bool]:
        return [word == "1" for word in self.ask("links").split()]

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def finish(self) -> None:
        """End it by the end of its input; it has to end well, with no buffer lost."""
        output, _ = self.process.communicate(timeout=30)
        assert self.process.returncode == 0, output
        assert output.splitlines()[-1] == "0", f"buffers lost: {output}"


@dataclass
class Field:
    """A card's namespace with `forward` in front of hosts, each behind a veth of its own.

    Host n is 10.9.(n//2).(n%2+1)/24 and fd00:(n//2)::(n%2+1)/64 on eth0; its peer on the card is p<n>.
    """

    tag: str
    hosts: int

    def namespace(self, host: int) -> str:
        return f"{self.tag}-h{host}"

    @property
    def card(self) -> str:
        return f"{self.tag}-card"

    def ipv4(self, host: int) -> str:
        return f"10.9.{host // 2}.{host % 2 + 1}"

    def ipv6(self, host: int) -> str:
        return f"fd00:{host // 2}::{host % 2 + 1}"

    def on(self, host: int, *command: str, check: bool = True, timeout: float = 60) -> str:
        return run("ip", "netns", "exec", self.namespace(host), *command, check=check, timeout=timeout)

    def in_card(self, *command: str) -> str:
        return run("ip", "netns", "exec", self.card, *command)

    def ping(self, a: int, b: int, *more: str, v6: bool = False, check: bool = True) -> str:
        address = self.ipv6(b) if v6 else self.ipv4(b)
        return self.on(a, "ping", "-q", "-c", "3", "-i", "0.1", "-W", "2", *more, address, check=check)

    def iperf(self, a: int, b: int, *more: str, v6: bool = False, seconds: int = 1) -> dict[str, Any]:
        """iperf3 from a to b; returns the `end` of its report."""
        address = self.ipv6(b) if v6 else self.ipv4(b)
        server = subprocess.Popen(
            ["ip", "netns", "exec", self.namespace(b), "iperf3", "-s", "-1"], stdout=subprocess.DEVNULL
        )
        try:
            listening = ["ss", "-Hltn", "sport", "=", ":5201"]
            assert until(lambda: bool(self.on(b, *listening).strip()))
            report = self.on(a, "iperf3", "-J", "-t", str(seconds), "-c", address, *more, timeout=seconds + 30)
            end: dict[str, Any] = json.loads(report)["end"]
            return end
        finally:
            server.kill()
            server.wait()

    @contextlib.contextmanager
    def wire(self, host: int, device: str = "eth0") -> Iterator[socket.socket]:
        """A raw socket on a host's device, which says of each frame what tag it came with."""
        fd = open_packet_socket(device, self.namespace(host))
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0, fileno=fd) as raw:
            raw.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
            raw.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
            raw.bind((device, ETH_P_ALL))
            yield raw

    @contextlib.contextmanager
    def forward(
        self,
        *options: str,
        more: Sequence[tuple[str, int]] = (),
        devices: Sequence[str] = (),
        build: str = "engine-asan",
        user: int = NOBODY,
    ) -> Iterator[Forward]:
        """Run `forward` on the hosts' ports, then on `more` (device, descriptor), then on `devices`. As nobody:
        descriptors are all the authority it needs."""
        ports = [(f"linux:p{n}", open_packet_socket(f"p{n}", self.card)) for n in range(self.hosts)]
        ports += more
        fds = [fd for _, fd in ports]
        process = subprocess.Popen(
            [
                str(ROOT / "build" / build / "forward"),
                *options,
                *(f"{device}@{fd}" for device, fd in ports),
                *devices,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=fds,
            user=user,
            group=user,
            extra_groups=[],
            env={"XDG_RUNTIME_DIR": "/nowhere", "PATH": os.environ["PATH"]},
        )
        try:
            for fd in fds:
                os.close(fd)
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            running = Forward(process)
            yield running
            running.finish()
        finally:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()


@contextlib.contextmanager
def field(hosts: int, *, mtu: int = 1500, offloads: bool = True) -> Iterator[Field]:
    """Namespaces for a card and its hosts, gone at the end whatever happens. `offloads`: of the hosts, as Linux has
    them on veth: 64 kB segments and unfinished checksums."""
    made = Field(f"dsnp{os.getpid():x}", hosts)
    names = [made.card, *(made.namespace(n) for n in range(hosts))]
    try:
        for name in names:
            run("ip", "netns", "add", name)
        made.in_card("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
        for n in range(hosts):
            add_host(made, n, mtu, offloads)
        yield made
    finally:
        for name in names:
            for pid in run("ip", "netns", "pids", name, check=False).split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), 9)
            run("ip", "netns", "delete", name, check=False)


def add_host(made: Field, n: int, mtu: int, offloads: bool) -> None:
    made.on(n, "sysctl", "-qw", "net.ipv6.conf.all.router_solicitations=0")
    peer = ["peer", "name", f"p{n}", "mtu", str(mtu), "netns", made.card]
    made.on(n, "ip", "link", "add", "name", "eth0", "mtu", str(mtu), "type", "veth", *peer)
    if not offloads:
        made.on(n, "ethtool", "-K", "eth0", "tx", "off", "tso", "off", "gso", "off", "gro", "off")
    made.in_card("ip", "link", "set", f"p{n}", "up")
    for device in ("lo", "eth0"):
        made.on(n, "ip", "link", "set", device, "up")
    made.on(n, "ip", "address", "add", f"{made.ipv4(n)}/24", "dev", "eth0")
    made.on(n, "ip", "address", "add", f"{made.ipv6(n)}/64", "dev", "eth0", "nodad")


def frames(raw: socket.socket, wanted: Callable[[bytes], bool], seconds: float = 2) -> Iterator[bytes]:
    """Frames as on the wire, the tag that the kernel took out put back, until none came for `seconds`."""
    while select.select([raw], [], [], seconds)[0]:
        data, ancillary, _, _ = raw.recvmsg(70000, 256)
        for level, kind, body in ancillary:
            if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
                status, _, _, _, _, tci, tpid = struct.unpack("IIIHHHH", body)
                if status & TP_STATUS_VLAN_VALID:
                    data = data[:12] + struct.pack("!HH", tpid or 0x8100, tci) + data[12:]
        if wanted(data):
            yield data


def inside(namespace: str, act: Callable[[], T]) -> T:
    """Run in a thread that is in this network namespace; what it opens stays there."""
    results: list[T] = []

    def work() -> None:
        import ctypes

        with (Path("/run/netns") / namespace).open("rb") as file:
            if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), 0x40000000) == 0:
                results.append(act())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return results[0]
