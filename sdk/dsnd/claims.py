"""Linux interfaces belong to one card at a time: a claim on each, held for as long as an engine has the port.

A claim is an abstract unix socket, bound in the interface's network namespace to a name that its index is part of: the
kernel gives a name once, and takes it back with the last descriptor. The engine inherits the descriptors, so that a
claim lives on where dsnd doesn't, and ends with the engine however that ends (docs/adr/0052-one-card-an-interface.md).
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from hal.errors import ErrorKind, HalError
from hal.namespaces import inside
from hal.packet.contract import PortConfig

NAME = "dsn-port-"


def interface(port: PortConfig) -> tuple[str, str | None]:
    """Name and namespace (None: ours) of the interface of a `linux:` port."""
    name, _, namespace = port.device.removeprefix("linux:").partition("@")
    return name, namespace or None


class Claims:
    """The claims of a card on the interfaces of its `linux:` ports."""

    def __init__(self, ports: Iterable[PortConfig]) -> None:
        self._ports = tuple(port for port in ports if port.device.startswith("linux:"))
        self._held: dict[str, tuple[int, socket.socket]] = {}  # port -> index of its interface, the claim

    def take(self) -> None:
        """Claim the interfaces that aren't, for an engine that is started next: it inherits them. One that isn't there
        is left to who opens it.

        Raises:
            HalError: BUSY naming who has it; what was claimed before stays so.
        """
        for port in self._ports:
            name, namespace = interface(port)
            with contextlib.suppress(OSError):
                index = inside(namespace, partial(socket.if_nametoindex, name))
                self._claim(port, index, namespace)

    def drop(self) -> None:
        """Let go of them; an engine that inherited them has them still."""
        for _, held in self._held.values():
            held.close()
        self._held.clear()

    def _claim(self, port: PortConfig, index: int, namespace: str | None) -> None:
        before = self._held.get(port.name)
        if before is not None and before[0] == index:
            return
        try:
            taken = inside(namespace, partial(_bind, index))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            who = inside(namespace, partial(_holder, index))
            raise HalError(
                ErrorKind.BUSY, f"port {port.name}", field="device", got=f"{port.device} is {who}'s",
                limit="one card an interface", fix="Stop that card, or name another interface.",
            ) from None  # fmt: skip
        if before is not None:
            before[1].close()
        self._held[port.name] = (index, taken)


def claimed(ifname: str) -> bool:
    """Whether a card has this interface of the namespace that this is called in. Raises OSError where there is none."""
    return _inode(socket.if_nametoindex(ifname)) != ""


def _inode(index: int) -> str:
    lines = Path("/proc/thread-self/net/unix").read_text().splitlines()
    return next((line.split()[6] for line in lines if line.endswith(f" @{_name(index)}")), "")


def _name(index: int) -> str:
    return f"{NAME}{index}"


def _bind(index: int) -> socket.socket:
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claim.bind(f"\0{_name(index)}")
        claim.set_inheritable(True)  # the engine is the only program that dsnd starts
    except BaseException:
        claim.close()
        raise
    return claim


def _holder(index: int) -> str:
    """Who has the claim on an interface of the namespace that this is called in, in words with its pid."""
    inode = _inode(index)
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if any(str(one.readlink()) == f"socket:[{inode}]" for one in (process / "fd").iterdir()):
                found.append((int(process.name), (process / "comm").read_text().strip()))
    # Of dsnd and its engine, the engine: it is what forwards, and may be alone.
    engines = [one for one in found if one[1].startswith("dsn-engine")] or found
    return "another card" + (f" with {engines[0][1]} pid {engines[0][0]}" if engines else "")
