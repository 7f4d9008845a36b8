"""Punt taps: how programs on the card speak in a VRF. Each tap lies in a network namespace of its own.

The engine holds a tap's descriptor, so a tap goes with its engine. A program is started in the VRF's namespace with
`ip netns exec dsn-CARD-VRF ...` and binds to the card's addresses of the VRF.

The engine's ports are opened once. Taps of VRFs that come later are opened with the others and wait, down, in the
card's own namespace; such a spare moves into the VRF's namespace with the intent that has the VRF, and back with the
one that hasn't (docs/adr/0050-spare-taps.md).
"""

from __future__ import annotations

import errno
import hashlib
import ipaddress
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hal import namespaces
from hal.errors import ErrorKind, HalError
from hal.later import Later
from hal.packet.contract import LoadConfig, PortState, Snapshot
from hal.packet.frame._generated import Vrf
from hal.packet.schema.rows import Row
from sdk.card_config import DEFAULT_TAP, with_taps
from services.core.ports import PUNT_PREFIX, SPARE_PREFIX

if TYPE_CHECKING:
    import pyroute2
else:
    pyroute2 = Later("pyroute2")

T = TypeVar("T")

DEVICE = "punt0"
IFA_F_NODAD = 2
RT_SCOPE_LINK = 253


@dataclass(frozen=True)
class Tap:
    """A punt tap: `port` and its number as the card has them, the VRF's name ("" for a spare one), the namespace and
    the name that the device is made with, the kernel's MAC on it."""

    port: str
    vrf: str
    namespace: str
    mac: str
    number: int = DEFAULT_TAP
    device: str = DEVICE


def card_namespace(run: Path) -> str:
    """Where spare taps wait. All namespaces of a card begin so: it carries a digest of the run folder, so that cards
    on one machine don't meet."""
    return f"dsn-{hashlib.sha256(str(run.resolve()).encode()).hexdigest()[:6]}"


def plan(config: LoadConfig, run: Path, spares: int = 0) -> tuple[LoadConfig, tuple[Tap, ...]]:
    """The configuration with each tap port's device and MAC filled in, the default VRF's and `spares` added. Pure."""
    ports = list(with_taps(config.ports, spares))
    taps: list[Tap] = []
    card = card_namespace(run)
    for place, port in enumerate(ports):
        if port.device.partition(":")[0] != "tap":
            continue
        spare = port.name.startswith(SPARE_PREFIX)
        vrf = "" if spare else port.name.removeprefix(PUNT_PREFIX)
        digest = hashlib.sha256(f"{run.resolve()} {vrf or port.name}".encode()).digest()
        mac = (b"\x02" + digest[:5]).hex(":")
        namespace, device = (card, port.name) if spare else (f"{card}-{vrf}", DEVICE)
        taps.append(Tap(port.name, vrf, namespace, mac, port.number, device))
        ports[place] = replace(port, device=f"tap:{device}@{namespace}", mac=mac)
    return replace(config, ports=tuple(ports)), tuple(taps)


def in_use(ports: Iterable[PortState], now: Snapshot) -> dict[str, str]:
    """Punt tap's port -> the network namespace that its programs are started in; none for spare ones that no VRF has.
    Pure. `now`: with table `vrf`."""
    found, spare = {}, {}
    for port in (one.config for one in ports if one.config.device.startswith("tap:")):
        where = port.device.partition("@")[2]
        if port.name.startswith(SPARE_PREFIX):
            spare[port.number] = (port.name, where)
        else:
            found[port.name] = where
    for row in now.rows("vrf") if spare else ():
        name = now.names.get(("vrf", row.id))
        if isinstance(row, Vrf) and row.punt_port in spare and name is not None:
            tap, card = spare[row.punt_port]
            found[tap] = f"{card}-{name.text}"
    return found


class Taps:
    """The punt taps of a card.

    Args:
        taps: as planned.
        card: the card's own namespace.
    """

    def __init__(self, taps: tuple[Tap, ...], card: str = "") -> None:
        self.taps = taps
        self._card = card
        self._fixed = tuple(tap for tap in taps if tap.vrf)
        self._spare = {tap.number: tap for tap in taps if not tap.vrf}
        self._given: dict[int, str] | None = None  # number of a spare -> VRF; None: somebody has to look

    def prepare(self) -> None:
        """Make the namespaces that aren't there or are dead, for an engine that makes the devices.

        Raises:
            HalError: DENIED without the authority.
        """
        self._given = {}
        for namespace in dict.fromkeys(tap.namespace for tap in self.taps):
            self._make(namespace)

    @staticmethod
    def _make(namespace: str) -> None:
        try:
            namespaces.create(namespace)
        except OSError as error:
            raise HalError(ErrorKind.DENIED, f"namespace {namespace}", got=str(error),
                           fix="Start the card as root.") from error  # fmt: skip

    def give(self, wanted: Mapping[str, int]) -> None:
        """Move spare taps to the VRFs that have come. One that another VRF has still is taken from it.

        Args:
            wanted: VRF -> number of its tap; those of other ports are left out.

        Raises:
            HalError: DENIED without the authority; INVALID where the tap isn't there.
        """
        given = self._look()
        for vrf, number in wanted.items():
            tap = self._spare.get(number)
            if tap is None or given.get(number) == vrf:
                continue
            if number in given:
                self._home(tap)
            namespace = self._namespace(vrf)
            self._make(namespace)
            try:
                _move(tap.namespace, tap.device, tap.mac, namespace, DEVICE)
            except (OSError, pyroute2.NetlinkError) as error:
                raise HalError(ErrorKind.INVALID, f"punt tap {tap.port}", got=str(error), limit=f"one for VRF {vrf}",
                               fix="Start the card anew: dsn card stop, dsn card start.") from error  # fmt: skip
            given[number] = vrf

    def settle(self, wanted: Mapping[str, int]) -> None:
        """Take back what VRFs have that are gone, with their namespaces. Raises OSError, NetlinkError."""
        kept = {number: vrf for vrf, number in wanted.items()}
        for number, vrf in list(self._look().items()):
            if kept.get(number) != vrf:
                self._home(self._spare[number])
        names = {tap.namespace for tap in self.taps} | {self._namespace(vrf) for vrf in wanted}
        self._remove(set(self._present()) - names)

    def configure(self, local_addresses: Iterable[tuple[str, Row]]) -> None:
        """Bring the taps up with the card's addresses. Raises OSError, NetlinkError.

        Args:
            local_addresses: (VRF's name, `LocalAddress` row) of all that the card has; link-local ones are left out.
        """
        by_vrf: dict[str, set[str]] = {}
        for vrf, row in local_addresses:
            by_vrf.setdefault(vrf, set()).add(str(row.to_dict()["address"]))
        given = [
            replace(self._spare[number], vrf=vrf, namespace=self._namespace(vrf))
            for number, vrf in self._look().items()
        ]
        for tap in (*self._fixed, *given):
            _in(tap.namespace, partial(_configure, tap=tap, addresses=by_vrf.get(tap.vrf, set())))

    def remove(self) -> bool:
        """Remove the namespaces, with all that is in them. Returns whether there were any."""
        own = {self._card} if self._card else set()
        self._given = None
        return self._remove({tap.namespace for tap in self.taps} | set(self._present()) | own)

    def _namespace(self, vrf: str) -> str:
        return f"{self._card}-{vrf}"

    def _present(self) -> list[str]:
        """Namespaces of VRFs that are there."""
        return [one for one in namespaces.names() if self._card and one.startswith(f"{self._card}-")]

    @staticmethod
    def _remove(some: set[str]) -> bool:
        there = some & set(namespaces.names())
        for namespace in there:
            namespaces.remove(namespace)
        return bool(there)

    def _look(self) -> dict[int, str]:
        """Which VRF has which spare. A dsnd that adopts an engine finds it by the MACs."""
        if self._given is None:
            self._given = {}
            spare = {tap.mac: tap.number for tap in self._spare.values()}
            for namespace in filter(namespaces.alive, self._present()):
                for mac in _in(namespace, _macs):
                    if mac in spare:
                        self._given[spare[mac]] = namespace.removeprefix(f"{self._card}-")
        return self._given

    def _home(self, tap: Tap) -> None:
        vrf = self._look().pop(tap.number)
        _move(self._namespace(vrf), DEVICE, tap.mac, tap.namespace, tap.device)


def _move(here: str, name: str, mac: str, there: str, new_name: str) -> None:
    """Move a device to another namespace, down, with nothing of what it was; its descriptor stays with the engine."""

    def move(kernel: Any) -> None:
        index = kernel.link_lookup(ifname=name)
        if not index:
            raise FileNotFoundError(errno.ENODEV, f"no device {name} in {here}")
        kernel.link("set", index=index[0], state="down")
        kernel.link("set", index=index[0], address=mac)
        kernel.link("set", index=index[0], net_ns_fd=there, ifname=new_name)

    _in(here, move)


def _in(namespace: str, act: Callable[[Any], T]) -> T:
    """What `act` comes to, given the kernel of a namespace."""

    def work() -> T:
        kernel: Any = pyroute2.IPRoute()
        try:
            return act(kernel)
        finally:
            kernel.close()

    return namespaces.inside(namespace, work)


def _macs(kernel: Any) -> list[str]:
    """Of the tap, where there is one."""
    return [kernel.get_links(index)[0].get_attr("IFLA_ADDRESS") for index in kernel.link_lookup(ifname=DEVICE)]


def _configure(kernel: Any, tap: Tap, addresses: set[str]) -> None:
    found = kernel.link_lookup(ifname=DEVICE)
    if not found:
        return
    index = found[0]
    link = kernel.get_links(index)[0]
    if link.get_attr("IFLA_ADDRESS") != tap.mac:
        kernel.link("set", index=index, state="down")
        kernel.link("set", index=index, address=tap.mac)
    for name in kernel.link_lookup(ifname="lo"):
        kernel.link("set", index=name, state="up")
    kernel.link("set", index=index, state="up")
    wanted = {address for address in addresses if not ipaddress.ip_address(address).is_link_local}
    present = {one.get_attr("IFA_ADDRESS"): one["prefixlen"] for one in kernel.get_addr(index=index)}
    for address, length in present.items():
        if address not in wanted and not ipaddress.ip_address(address).is_link_local:
            kernel.addr("del", index=index, address=address, prefixlen=length)
    for address in sorted(wanted - set(present)):
        v6 = ":" in address
        kernel.addr(
            "add", index=index, address=address, prefixlen=128 if v6 else 32, **({"flags": IFA_F_NODAD} if v6 else {})
        )
    # Everything is on the link: the engine answers for every address there.
    for family, there in ((2, any(":" not in one for one in wanted)), (10, any(":" in one for one in wanted))):
        if there:
            kernel.route("replace", dst="default", oif=index, family=family, scope=RT_SCOPE_LINK if family == 2 else 0)
