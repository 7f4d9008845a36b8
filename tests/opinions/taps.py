"""Hosts whose only interface is a tap that we hold: what they send is read, what is written they receive."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hal import namespaces
from tests.netns.world import run

_TUNSETIFF = 0x400454CA
_IFF_TAP, _IFF_NO_PI = 0x0002, 0x1000
_QUEUE = 20_000
"""Frames that a tap keeps until they are read: a reader that is slow for a moment must not lose any."""


def open_tap(namespace: str, device: str) -> int:
    """A descriptor, without blocking, of a new tap in a namespace. Raises OSError."""

    def make() -> int:
        descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", device.encode(), _IFF_TAP | _IFF_NO_PI))
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    return namespaces.inside(namespace, make)


@dataclass(frozen=True)
class End:
    """A namespace with one tap.

    Args:
        namespace: its name.
        device: the tap's.
        tap: its descriptor.
    """

    namespace: str
    device: str
    tap: int

    def run(self, *command: str) -> str:
        return run("ip", "netns", "exec", self.namespace, *command).stdout

    def set(self, **values: object) -> None:
        """Sysctls of net/, their names with `__` for slashes: ipv4__tcp_sack=0."""

        def write() -> None:
            for name, value in values.items():
                (Path("/proc/sys/net") / name.replace("__", "/")).write_text(str(value))

        namespaces.inside(self.namespace, write)


def read_all(descriptor: int) -> Iterator[bytes]:
    """The frames that a tap's device has sent and nobody has read."""
    with contextlib.suppress(BlockingIOError):
        while True:
            yield os.read(descriptor, 65536)


@contextlib.contextmanager
def namespace(name: str) -> Iterator[str]:
    """A network namespace with its loopback up."""
    run("ip", "netns", "add", name)
    try:
        run("ip", "-n", name, "link", "set", "lo", "up")
        yield name
    finally:
        run("ip", "netns", "delete", name)


@contextlib.contextmanager
def tap(name: str, device: str, mac: str, addresses: Sequence[str], mtu: int = 1500) -> Iterator[End]:
    """A tap in a namespace that is there, up, with addresses; quiet but for what programs say."""
    descriptor = open_tap(name, device)
    try:
        end = End(name, device, descriptor)
        end.set(**{f"ipv6__conf__{device}__{key}": 0 for key in ("accept_dad", "router_solicitations", "accept_ra")})
        end.run("ip", "link", "set", device, "address", mac, "mtu", str(mtu), "txqueuelen", str(_QUEUE), "up")
        for address in addresses:
            end.run("ip", "address", "add", address, "dev", device, *(["nodad"] if ":" in address else []))
        yield end
    finally:
        os.close(descriptor)


def know(end: End, address: str, mac: str) -> None:
    """Give it a neighbour for good: nobody answers ARP here."""
    end.run("ip", "neigh", "replace", address, "lladdr", mac, "dev", end.device, "nud", "permanent")
