"""Real hosts for a software card: network namespaces on this machine, each behind one of the card's ports.

Everything a world makes carries its tag in the name and is gone when the world is closed, whatever happened in
between; `leftovers` is how a test or the demo makes sure.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Self

from hal.errors import HalError
from sdk.api.client import CardStatus, GrpcCard
from tests.tools.engines import ENVIRONMENT
from tests.tools.until import until

ROOT = Path(__file__).resolve().parents[2]
TAG = "dsnw"
WEB = Path(__file__).with_name("serve.py")
"""A web server: its folder, its address, its port."""


def run(*command: str, check: bool = True, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Run a command to its end. Raises RuntimeError with what it said where it fails and `check` is on."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
    return done


@dataclass
class Host:
    """A host in a namespace of its own. Its interface is called eth0."""

    name: str
    namespace: str
    port: str
    mac: str
    addresses: tuple[str, ...]
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def ipv4(self) -> str:
        return next(str(one.ip) for one in map(ipaddress.ip_interface, self.addresses) if one.version == 4)

    @property
    def ipv6(self) -> str:
        return next(str(one.ip) for one in map(ipaddress.ip_interface, self.addresses) if one.version == 6)

    def run(self, *command: str, check: bool = True, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command on the host."""
        return run("ip", "netns", "exec", self.namespace, *command, check=check, timeout=timeout)

    def received(self) -> int:
        """Bytes of payload that it has received by TCP connections that it has now: none for acknowledging."""
        said = self.run("ss", "-tinH", "state", "established").stdout
        return sum(map(int, re.findall(r"bytes_received:(\d+)", said)))

    def packets(self) -> int:
        """Packets that it has sent."""
        return int(self.run("cat", "/sys/class/net/eth0/statistics/tx_packets").stdout)

    def start(self, *command: str, output: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        """Start a program on the host; it ends with the world."""
        process = subprocess.Popen(
            ["ip", "netns", "exec", self.namespace, *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        self.processes.append(process)
        return process


def _is_deserted(namespace: str) -> bool:
    """No process is in it."""
    return not run("ip", "netns", "pids", namespace, check=False).stdout.split()


class World:
    """A card's namespace and hosts around it.

    Args:
        folder: for the card's configuration, run folder and logs.
        engine: the program of its engine; None: the one that runs.
    """

    def __init__(self, folder: Path, engine: Path | None = None) -> None:
        self.engine = engine
        self.tag = f"{TAG}{os.getpid():x}"
        self.folder = folder
        self.card_namespace = f"{self.tag}-card"
        self.hosts: dict[str, Host] = {}
        self.ports: list[str] = []
        folder.mkdir(parents=True, exist_ok=True)
        run("ip", "netns", "add", self.card_namespace)
        self.in_card("ip", "link", "set", "lo", "up")
        # What the card's own kernel says on its ports is not the card's: it stays quiet.
        self.in_card("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def in_card(self, *command: str, check: bool = True, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command in the card's namespace."""
        # Not `ip netns exec`: its mounts are its own, and the card makes namespaces for its taps.
        return run("nsenter", f"--net=/run/netns/{self.card_namespace}", *command, check=check, timeout=timeout)

    def host(
        self, name: str, port: str, mac: str, addresses: Sequence[str], gateways: Sequence[str] = (), mtu: int = 1500
    ) -> Host:
        """Put a host behind a port of the card.

        Args:
            name: of the host, unique in the world.
            port: of the card; its device in the card's namespace is called the same.
            mac: the host's.
            addresses: with prefix lengths.
            gateways: default gateways, one a family.
        """
        namespace = f"{self.tag}-{name}"
        run("ip", "netns", "add", namespace)
        host = Host(name, namespace, port, mac, tuple(addresses))
        self.hosts[name] = host
        host.run("sysctl", "-qw", "net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0")
        host.run("sysctl", "-qw", "net.ipv6.conf.default.router_solicitations=0")
        peer = ["peer", "name", port, "netns", self.card_namespace]
        host.run("ip", "link", "add", "eth0", "address", mac, "mtu", str(mtu), "type", "veth", *peer)
        self.in_card("ip", "link", "set", port, "mtu", str(mtu))
        # veth carries segments of 64 kB unless told otherwise; a wire doesn't.
        for where, device in ((host.run, "eth0"), (self.in_card, port)):
            where("ethtool", "-K", device, "tso", "off", "gso", "off", "gro", "off")
        self.in_card("ip", "link", "set", port, "up")
        host.run("ip", "link", "set", "lo", "up")
        host.run("ip", "link", "set", "eth0", "up")
        for address in addresses:
            host.run("ip", "address", "add", address, "dev", "eth0", *(["nodad"] if ":" in address else []))
        for gateway in gateways:
            host.run("ip", "-6" if ":" in gateway else "-4", "route", "add", "default", "via", gateway)
        self.ports.append(port)
        return host

    def close(self) -> None:
        """End what was started, remove what was made."""
        for host in self.hosts.values():
            for process in host.processes:
                end_session(process)
        if any((self.run_folder / name).exists() for name in ("dsnd.sock", "engine/read.sock")):
            with contextlib.suppress(Exception):
                self.dsn("card", "stop", check=False, timeout=20)
        for namespace in [*(host.namespace for host in self.hosts.values()), self.card_namespace]:
            for pid in run("ip", "netns", "pids", namespace, check=False).stdout.split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            until(partial(_is_deserted, namespace), 5)
            run("ip", "netns", "delete", namespace, check=False)

    # --- the card ---

    @property
    def run_folder(self) -> Path:
        return self.folder / "run"

    def write_card(self, board: str = "software", **more: str) -> Path:
        """Write card.toml with the world's ports, each a Linux interface of the port's name."""
        program = [f'engine = "{self.engine}"'] if self.engine and board == "software" else []
        lines = [f'board = "{board}"', *program, *(f"{key} = {value}" for key, value in more.items()), "[ports]"]
        lines += [f'{port} = "linux:{port}"' for port in self.ports]
        path = self.folder / "card.toml"
        path.write_text("\n".join(lines) + "\n")
        return path

    def dsn(self, *arguments: str, check: bool = True, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run `dsn` against this world's card."""
        program = [str(Path(sys.executable).parent / "dsn"), *arguments]
        # A sanitizer's word ends the engine, and is in its log.
        variables = [f"DSN_RUN={self.run_folder}", *(f"{name}={value}" for name, value in ENVIRONMENT.items())]
        return self.in_card("env", *variables, *program, check=check, timeout=timeout)

    def api(self) -> GrpcCard:
        """The card's API, for a test that asks often; a unix socket knows no namespaces. The caller closes it."""
        return GrpcCard(self.run_folder / "dsnd.sock")

    def status(self) -> CardStatus:
        """How the card is, from its API: a fifth of a `dsn card status`."""
        with contextlib.closing(self.api()) as api:
            return api.status()

    def events(self) -> list[str]:
        """Kinds and words of its events, from its API; none while it has no engine to ask."""
        with contextlib.closing(self.api()) as api:
            try:
                return [f"{one.kind.name} {one.data}" for one in api.events().events]
            except HalError:
                return []

    def apply(self, intent: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Make this text the card's whole intent."""
        path = self.folder / "intent.yaml"
        path.write_text(intent)
        return self.dsn("apply", str(path), check=check)

    def start_card(self) -> None:
        """Start the card; its state is kept in the world's folder."""
        self.dsn("card", "start", str(self.folder / "card.toml"), "--state", str(self.folder / "state"))

    def pids(self) -> tuple[int, int]:
        """Process ids of the daemon and of the engine."""
        now = self.status()
        return now.daemon_pid, now.engine_pid

    def stop_card(self) -> None:
        """Stop the card and wait for its engine's end. Raises AssertionError with what a sanitizer said of any engine
        that this card had, leaks at the end included."""
        folder = self.run_folder / "engine"
        pid = folder / "engine.pid"
        engine = Path("/proc") / pid.read_text().strip() if pid.exists() else None
        self.dsn("card", "stop")
        if engine is not None and not until(lambda: not engine.exists(), 30):
            raise AssertionError(f"engine {engine.name} does not end")
        words = (folder / "engine.log").read_text(errors="replace")
        if "ERROR: " in words or "runtime error" in words:
            raise AssertionError(words[-6000:])


@contextlib.contextmanager
def without_a_trace(folder: Path, engine: Path | None = None, stopped: bool = False) -> Iterator[World]:
    """A world for tests, in which they put hosts and start a card. What it leaves behind is an error, and so is what a
    sanitizer says of its engines.

    Args:
        folder, engine: as a `World` has them.
        stopped: the card runs no more when they have ended; else it is stopped here.
    """
    with World(folder, engine) as world:
        yield world
        if not stopped:
            world.stop_card()
    if left := list(leftovers(world.tag)):
        raise AssertionError(left)


@contextlib.contextmanager
def card_alone(folder: Path) -> Iterator[World]:
    """A world without hosts: a card that runs, whose one port leads nowhere. Nothing is left of it."""
    with without_a_trace(folder, stopped=True) as world:
        card = world.write_card()
        card.write_text(card.read_text() + 'host0 = "null"\n')
        world.start_card()
        yield world


@contextlib.contextmanager
def web_server(namespace: str, address: str, folder: Path) -> Iterator[None]:
    """A web server on port 8099 in a namespace, from when it listens."""
    inside = ("ip", "netns", "exec", namespace)
    serve = (sys.executable, str(WEB), str(folder), address, "8099")
    server = subprocess.Popen([*inside, *serve], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        if not until(lambda: run(*inside, "ss", "-Hltn", "sport", "=", ":8099").stdout != "", 30):
            raise RuntimeError(f"no web server in {namespace}")
        yield
    finally:
        server.kill()
        server.wait()


def end_session(process: subprocess.Popen[Any]) -> None:
    """End a program and what it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def leftovers(tag: str) -> Iterator[str]:
    """What is still there of a world: namespaces, devices, mounts, processes that carry its tag."""
    for line in run("ip", "netns", "list", check=False).stdout.splitlines():
        if line.startswith(tag):
            yield f"namespace {line.split()[0]}"
    for line in run("ip", "-o", "link", check=False).stdout.splitlines():
        if tag in line:
            yield f"device {line.split(':')[1].strip()}"
    for line in Path("/proc/self/mounts").read_text().splitlines():
        if tag in line:
            yield f"mount {line.split()[1]}"
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            if tag in command:
                yield f"process {entry.name}: {command.strip()[:100]}"
