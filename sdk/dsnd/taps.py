"""Punt taps: how programs on the card speak in a VRF. Each tap lies in a network namespace of its own.

The engine holds a tap's descriptor, so a tap goes with its engine; the namespace stays until the card is stopped. A
program is started in it with `ip netns exec NAMESPACE ...` and binds to the card's addresses of the VRF.
"""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pyroute2 import NetNS, netns

from hal.errors import ErrorKind, HalError
from hal.packet.contract import LoadConfig, PortConfig
from hal.packet.schema.rows import Row

PREFIX = "punt-"
DEFAULT_PORT = 65000
"""Number of the default VRF's tap where card.toml names none."""
DEVICE = "punt0"
IFA_F_NODAD = 2
RT_SCOPE_LINK = 253


@dataclass(frozen=True)
class Tap:
    """A punt tap: `port` as the card has it, `vrf` by name, the namespace it lies in, the kernel's MAC on it."""

    port: str
    vrf: str
    namespace: str
    mac: str


def plan(config: LoadConfig, run: Path) -> tuple[LoadConfig, tuple[Tap, ...]]:
    """The configuration with each tap port's device and MAC filled in, the default VRF's added. Pure.

    Names of namespaces carry a digest of the run folder, so that cards on one machine don't meet.
    """
    ports = list(config.ports)
    if not any(port.name == f"{PREFIX}default" for port in ports):
        ports.append(PortConfig(DEFAULT_PORT, f"{PREFIX}default", "tap", mtu=1500))
    taps: list[Tap] = []
    card = hashlib.sha256(str(run.resolve()).encode()).hexdigest()[:6]
    for place, port in enumerate(ports):
        if port.device.partition(":")[0] != "tap":
            continue
        vrf = port.name.removeprefix(PREFIX)
        digest = hashlib.sha256(f"{run.resolve()} {vrf}".encode()).digest()
        mac = (b"\x02" + digest[:5]).hex(":")
        tap = Tap(port.name, vrf, f"dsn-{card}-{vrf}"[:60], mac)
        taps.append(tap)
        ports[place] = replace(port, device=f"tap:{DEVICE}@{tap.namespace}", mac=mac)
    return replace(config, ports=tuple(ports)), tuple(taps)


class Taps:
    """The punt taps of a card."""

    def __init__(self, taps: tuple[Tap, ...]) -> None:
        self.taps = taps

    def prepare(self) -> None:
        """Make the namespaces that aren't there. Raises HalError(DENIED) without the authority."""
        present = set(netns.listnetns())
        for tap in self.taps:
            if tap.namespace in present:
                continue
            try:
                netns.create(tap.namespace)
            except OSError as error:
                raise HalError(ErrorKind.DENIED, f"namespace {tap.namespace}", got=str(error),
                               fix="Start the card as root.") from error  # fmt: skip

    def configure(self, local_addresses: Iterable[tuple[str, Row]]) -> None:
        """Bring the taps up with the card's addresses.

        Args:
            local_addresses: (VRF's name, `LocalAddress` row) of all that the card has; link-local ones are left out.
        """
        by_vrf: dict[str, set[str]] = {}
        for vrf, row in local_addresses:
            by_vrf.setdefault(vrf, set()).add(str(row.to_dict()["address"]))
        for tap in self.taps:
            with _opened(tap.namespace) as kernel:
                found = kernel.link_lookup(ifname=DEVICE)
                if found:
                    _configure(kernel, found[0], tap, by_vrf.get(tap.vrf, set()))

    def remove(self) -> None:
        """Remove the namespaces, with all that is in them."""
        present = set(netns.listnetns())
        for tap in self.taps:
            if tap.namespace in present:
                with contextlib.suppress(OSError):
                    netns.remove(tap.namespace)


@contextlib.contextmanager
def _opened(namespace: str) -> Iterator[Any]:
    kernel: Any = NetNS(namespace, flags=0)
    try:
        yield kernel
    finally:
        kernel.close()


def _configure(kernel: Any, index: int, tap: Tap, addresses: set[str]) -> None:
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
