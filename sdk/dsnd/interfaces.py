"""The Linux interfaces of a card's `linux:` ports: claimed for it, and the kernel's own stack cut off from them."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Final

from hal.cutoff import cut_off, give_back
from hal.errors import ErrorKind, HalError
from hal.later import Later
from hal.namespaces import inside, network_cookie
from hal.packet.contract import EventKind, PortConfig
from sdk.dsnd.claims import Claims, claimed, interface

if TYPE_CHECKING:
    import pyroute2
else:
    pyroute2 = Later("pyroute2")

THERE: Final = "there"
TAKEN_UP_BY_HAND: Final = "dsnd.log says why it isn't taken up; dsn card stop, then dsn card start, takes it up again"
FIXES = {
    errno.EBUSY: "Name another interface, or take that away from this one.",
    errno.ENOTSUP: "Load them: modprobe sch_ingress cls_bpf.",
    errno.EPERM: "Start the card as root.",
}


TakeUp = Callable[[int, int, int, int], None]
"""As `PacketProcess.take_up`."""


class Interfaces:
    """The interfaces of a card's ports.

    Args:
        ports: of the card; those of other devices are left out.
        log: where one-line messages go.
    """

    def __init__(self, ports: Iterable[PortConfig], log: Callable[[str], None] = lambda _: None) -> None:
        self._ports = tuple(port for port in ports if port.device.startswith("linux:"))
        self._claims = Claims(self._ports)
        self._log = log
        self._seen: dict[str, str] = {}

    def prepare(self) -> None:
        """Claim them and cut the kernel off, for an engine that is started next. One that isn't there is left to who
        opens it.

        Raises:
            HalError: BUSY where another card has one: nothing was cut off then. INVALID where the kernel can't be cut
                off, or the machine itself needs the interface.
        """
        self._claims.take()
        for port in self._ports:
            name, namespace = interface(port)
            try:
                addresses = inside(namespace, partial(cut_off, name))
            except OSError as error:
                if error.errno in (errno.ENODEV, errno.ENOENT):
                    continue
                raise HalError(
                    ErrorKind.INVALID, f"port {port.name}", field="device", got=f"{port.device}: {error.strerror}",
                    limit="an interface that the kernel's own network stack can be cut off from",
                    fix=FIXES.get(error.errno or 0, ""),
                ) from error  # fmt: skip
            if addresses:
                self._log(f"port {port.name}: the machine's own {', '.join(addresses)} on {name} can't be reached "
                          "there while the card has it")  # fmt: skip

    def lost(self) -> tuple[str, ...]:
        """In words: the interfaces that the running engine hasn't any more, deleted since it was started. One of the
        same name is another interface."""
        some = []
        for port in self._ports:
            now = self._look(port)
            if now == THERE:
                continue
            name, _ = interface(port)
            what = f"interface {name} is gone" if now == "gone" else f"interface {name} was deleted and made anew"
            if now == "gone":
                fix = "the card takes it up when it is made anew"
            else:  # it has been tried, or will be in a moment
                fix = TAKEN_UP_BY_HAND if self._seen.get(port.name) == now else "the card takes it up"
            some.append(f"port {port.name}: {what}: {fix}")
        return tuple(some)

    def changes(self, take_up: TakeUp) -> list[tuple[EventKind, str]]:
        """What has become of the interfaces since this was asked last, as events. One that was made anew becomes the
        running engine's, claimed and cut off from the kernel as those that it was started with."""
        told = []
        for port in self._ports:
            was, now = self._seen.get(port.name, THERE), self._look(port)
            name, _ = interface(port)
            if now == "gone":
                if was != now:
                    told.append((EventKind.INTERFACE_GONE, f"port {port.name}: interface {name} is gone"))
            elif now != THERE:
                why, anew = self._take_up(port, take_up), f"port {port.name}: interface {name} was made anew"
                if not why:
                    told.append((EventKind.INTERFACE_ANEW, f"{anew}, index {now}, and is taken up"))
                    now = THERE
                elif was != now:
                    told.append((EventKind.INTERFACE_ANEW, f"{anew}, index {now}: not this card's yet"))
                    self._log(f"port {port.name}: {name} can't be taken up: {why}")
            self._seen[port.name] = now
        return told

    def _take_up(self, port: PortConfig, take_up: TakeUp) -> str:
        """Why the interface that has this port's name now can't become the engine's; "": it is."""
        name, namespace = interface(port)
        try:
            index, claim = self._claims.take_again(port)
            cookie = inside(namespace, network_cookie)
            inside(namespace, partial(cut_off, name))
            take_up(port.number, index, cookie, claim)
        except (HalError, OSError, pyroute2.NetlinkError) as error:
            self._claims.let_go(port)
            return str(error)
        return ""

    @staticmethod
    def _look(port: PortConfig) -> str:
        """ "there", "gone", or the index of another one of that name."""
        name, namespace = interface(port)
        try:
            if inside(namespace, partial(claimed, name)):
                return THERE
            return str(inside(namespace, partial(socket.if_nametoindex, name)))
        except OSError:
            return "gone"

    def release(self) -> None:
        """Give them back to the kernel, as they were, and let go of them, but for those of the same name that another
        card has taken since. What it refuses is told."""
        self._give_back(self._claims.take_free())

    def release_left(self) -> bool:
        """The same with those of a card that died with its engine. Returns whether any was cut off still."""
        return self._give_back(self._claims.take_free())

    def release_earlier(self, ports: Iterable[PortConfig]) -> None:
        """Of the ports of the card that was here last, the interfaces that this one hasn't: where it was killed with
        its engine, nobody has given them back, and nobody would know of them any more."""
        ours = {interface(port) for port in self._ports}
        others = [port for port in ports if port.device.startswith("linux:") and interface(port) not in ours]
        Interfaces(others, self._log).release_left()

    def _give_back(self, ports: Iterable[PortConfig]) -> bool:
        undone = False
        for port in ports:
            name, namespace = interface(port)
            try:
                undone = inside(namespace, partial(give_back, name)) or undone
            except (OSError, pyroute2.NetlinkError) as error:
                self._log(f"port {port.name}: {name} can't be given back to the kernel: {error}")
        self._claims.drop()
        return undone
