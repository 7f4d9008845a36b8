"""Linux interfaces belong to one card at a time: a claim on each, held for as long as an engine has the port.

A claim is a name (`hal.held`) made of the interface's network namespace and its index. The engine inherits it, so that
a claim lives on where dsnd doesn't, and ends with the engine however that ends; whoever isn't root can't take one
(docs/adr/0055-a-claim-is-a-lock-below-a-folder-of-roots.md).
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from hal import held
from hal.errors import ErrorKind, HalError
from hal.namespaces import inside
from hal.packet.contract import PortConfig


def interface(port: PortConfig) -> tuple[str, str | None]:
    """Name and namespace (None: ours) of the interface of a `linux:` port."""
    name, _, namespace = port.device.removeprefix("linux:").partition("@")
    return name, namespace or None


class Claims:
    """The claims of a card on the interfaces of its `linux:` ports."""

    def __init__(self, ports: Iterable[PortConfig]) -> None:
        self._ports = tuple(port for port in ports if port.device.startswith("linux:"))
        self._held: dict[str, tuple[str, int]] = {}  # port -> name of the claim, its descriptor

    def take(self) -> None:
        """Claim the interfaces that aren't, for an engine that is started next: it inherits them. One that isn't there
        is left to who opens it.

        Raises:
            HalError: BUSY naming who has it; what was claimed before stays so.
        """
        for port in self._ports:
            name, namespace = interface(port)
            try:
                claim = inside(namespace, partial(_name, name))
            except OSError:
                continue
            self._claim(port, claim)

    def take_free(self) -> tuple[PortConfig, ...]:
        """Claim the interfaces that nobody has; returns their ports."""
        taken = []
        for port in self._ports:
            name, namespace = interface(port)
            with contextlib.suppress(OSError, HalError):  # it isn't there, or is another card's
                self._claim(port, inside(namespace, partial(_name, name)))
                taken.append(port)
        return tuple(taken)

    def take_again(self, port: PortConfig) -> tuple[int, int]:
        """Claim the interface that now has this port's name, for an engine that runs: it has to be handed the claim.

        Returns:
            The interface's index and the claim's descriptor, which stays ours.

        Raises:
            HalError: BUSY naming who has it.
            OSError: there is none.
        """
        name, namespace = interface(port)
        claim = inside(namespace, partial(_name, name))
        self._claim(port, claim)
        return int(claim.rpartition("-")[2]), self._held[port.name][1]

    def let_go(self, port: PortConfig) -> None:
        """Of the claim on this port's interface; nothing where there is none."""
        if (before := self._held.pop(port.name, None)) is not None:
            os.close(before[1])
            held.tidy()

    def drop(self) -> None:
        """Let go of them; an engine that inherited them has them still."""
        for _, taken in self._held.values():
            os.close(taken)
        self._held.clear()
        held.tidy()

    def _claim(self, port: PortConfig, name: str) -> None:
        before = self._held.get(port.name)
        if before is not None and before[0] == name:
            return
        try:
            taken = held.take(name)
        except BlockingIOError:
            raise HalError(
                ErrorKind.BUSY, f"port {port.name}", field="device", got=f"{port.device} is {_holder(name)}'s",
                limit="one card an interface", fix="Stop that card, or name another interface.",
            ) from None  # fmt: skip
        if before is not None:
            os.close(before[1])
        self._held[port.name] = (name, taken)


def claimed(ifname: str) -> bool:
    """Whether a card has this interface of the namespace that this is called in. Raises OSError where there is none."""
    return held.held(_name(ifname))


def _name(ifname: str) -> str:
    """Of the claim on an interface of the namespace that this is called in. Raises OSError where there is none."""
    return f"port-{Path('/proc/thread-self/ns/net').stat().st_ino}-{socket.if_nametoindex(ifname)}"


def _holder(name: str) -> str:
    """Who has a claim, in words with its pid."""
    found = held.holders(name)
    # Of dsnd and its engine, the engine: it is what forwards, and may be alone.
    engines = [one for one in found if one[1].startswith("dsn-engine")] or found
    return "another card" + (f" with {engines[0][1]} pid {engines[0][0]}" if engines else "")
