"""The engine with sanitizers under the kit: by `replay`, and through its ports on veth pairs."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

from hal.conformance import Wire
from hal.packet.contract import Backend, Output, PortConfig
from hal.packet.dpdk.device import EngineDevice
from hal.packet.dpdk.linux_port import open_packet_socket
from tests.conformance.broken.parts import WITHOUT_CODE
from tests.tools.engines import SANITIZED, running

SOL_PACKET, PACKET_AUXDATA, PACKET_IGNORE_OUTGOING = 263, 8, 23
TP_STATUS_VLAN_VALID = 1 << 4
ETH_P_ALL = 3
QUIET_SECONDS = 0.1
"""After so long without a frame the card has come to rest."""
PORTS = (0, 1, 2, 3, 9)


class SanitizedEngine(EngineDevice):
    """Engines whose mistakes are found by sanitizers; what they find, leaks at the end included, fails the check."""

    stages: tuple[str, ...] = (WITHOUT_CODE,)

    def __init__(self, program: Path = SANITIZED) -> None:
        super().__init__()
        self._program = program
        self._open: dict[int, contextlib.ExitStack] = {}

    @property
    def name(self) -> str:
        return "engine"

    def open(self) -> Backend:
        stack = contextlib.ExitStack()
        engine = stack.enter_context(running(self._program, more=self.stages))
        self._open[id(engine)] = stack
        return engine

    def close(self, backend: Backend) -> None:
        self._open.pop(id(backend)).close()


class VethWire:
    """The other ends of veth pairs."""

    def __init__(self, sockets: dict[int, socket.socket]) -> None:
        self._sockets = sockets
        self._ports = {one.fileno(): port for port, one in sockets.items()}

    def send(self, port: int, data: bytes) -> None:
        self._sockets[port].send(data)

    def receive(self) -> Sequence[Output]:
        found = []
        while ready := select.select(list(self._ports), [], [], QUIET_SECONDS)[0]:
            for fd in ready:
                port = self._ports[fd]
                data, ancillary, _, _ = self._sockets[port].recvmsg(65536, socket.CMSG_SPACE(20))
                found.append(Output(port, _with_tag(data, ancillary)))
        return found


def _with_tag(data: bytes, ancillary: list[tuple[int, int, bytes]]) -> bytes:
    """The frame with the VLAN tag that Linux took out of it."""
    for level, kind, content in ancillary:
        if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
            status, _, _, _, _, tci, protocol = struct.unpack("=IIIHHHH", content[:20])
            if status & TP_STATUS_VLAN_VALID:
                return data[:12] + struct.pack("!HH", protocol or 0x8100, tci) + data[12:]
    return data


class EngineOnVeth(SanitizedEngine):
    """Engines whose ports are veth pairs, in a namespace for each card."""

    ports: tuple[int, ...] = PORTS

    def __init__(self, binary: Path = SANITIZED) -> None:
        super().__init__(binary)
        self._cards = 0
        self._wires: dict[int, VethWire] = {}

    @property
    def namespace(self) -> str:
        """Of the card that was opened last."""
        return f"dsn-kit-{os.getpid()}-{self._cards}"

    @property
    def name(self) -> str:
        return "engine on veth"

    def open(self) -> Backend:
        self._cards += 1
        self._ip("netns", "add", self.namespace)
        for end in ("all", "default"):
            setting = f"net.ipv6.conf.{end}.disable_ipv6=1"
            self._ip("netns", "exec", self.namespace, "sysctl", "-qw", setting)
        for port in self.ports:
            ends = ("link", "add", f"card{port}", "mtu", "9000", "type", "veth", "peer", f"host{port}", "mtu", "9000")
            self._ip("-n", self.namespace, *ends)
            for end in ("card", "host"):
                self._ip("-n", self.namespace, "link", "set", f"{end}{port}", "up")
        backend = super().open()
        sockets = {port: self._socket(f"host{port}") for port in self.ports}
        self._wires[id(backend)] = VethWire(sockets)
        stack = self._open[id(backend)]
        stack.callback(self._wires.pop, id(backend))
        stack.callback(self._ip, "netns", "del", self.namespace)
        for one in sockets.values():
            stack.callback(one.close)
        return backend

    def port(self, number: int, name: str) -> PortConfig:
        return PortConfig(number, name, f"linux:card{number}@{self.namespace}", mtu=9000)

    def wire(self, backend: Backend) -> Wire:
        return self._wires[id(backend)]

    def _socket(self, device: str) -> socket.socket:
        fd = open_packet_socket(device, self.namespace)
        raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0, fileno=fd)
        raw.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        raw.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        raw.bind((device, ETH_P_ALL))
        return raw

    def _ip(self, *words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True)
