"""What a vendor gives the kit: fresh cards, and where a card has no `replay`, a way to send, receive and let time pass.

Only `open` must be written. Whoever finds a card by the name of an entry point (group `dsn.backends`) looks for
`device.py` in its package, and there for `device()`.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from importlib.metadata import entry_points
from typing import Protocol

from hal.errors import ErrorKind, HalError
from hal.packet.contract import Backend, Output, PortConfig

__all__ = ["MEANS", "Device", "Wire", "find_device", "has_means", "waits"]

GROUP = "dsn.backends"


class Wire(Protocol):
    """The outside of a card's ports."""

    def send(self, port: int, data: bytes) -> None:
        """A frame, from the destination MAC on and without FCS, arrives at this port."""

    def receive(self) -> Sequence[Output]:
        """All frames that left by any port since the last call, once the card has come to rest."""


class Device(Protocol):
    """A kind of card under test. Derive from this class and write `open`; the rest has defaults."""

    stages: tuple[str, ...] = ()
    """Packages of stages that its cards have beside ours and the installed ones."""

    @property
    def name(self) -> str:
        """What the report calls it."""
        return type(self).__name__

    def open(self) -> Backend:
        """A card that was never loaded and shares nothing with those opened before."""
        raise NotImplementedError

    def close(self, backend: Backend) -> None:
        """The kit is done with this card: let go of it. It may have been stopped before."""
        backend.close()

    def port(self, number: int, name: str) -> PortConfig:
        """A port as this card can open it; cards without `replay` name a device whose other end `wire` holds."""
        return PortConfig(number, name, "replay", mtu=9000)

    def wire(self, backend: Backend) -> Wire | None:
        """The outside of the ports of this card, which is loaded; None where packets come by `replay` only."""
        del backend
        return None

    def advance(self, backend: Backend, nanos: int) -> None:
        """Let this much time pass for the card: move its clock, or wait where it can't be moved. A card whose
        time-outs were shortened for the kit by some factor waits that much shorter."""
        del backend
        time.sleep(nanos / 1e9)

    def now_ns(self, backend: Backend) -> int:
        """What the clock says that this card goes by. A card whose clock `advance` moves says its own."""
        del backend
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    # Means to provoke what only a card apart from its client knows. Who leaves one out is not held to it: a card within
    # the caller's process has no connection that could break.

    def hang(self, backend: Backend) -> AbstractContextManager[None]:
        """Within: requests reach the card and none is answered, and who asks waits a short time only (well below a
        second). On leaving, the card goes on where it was."""
        raise _no_means(backend, "hang")

    def cut(self, backend: Backend) -> AbstractContextManager[None]:
        """Within: the connections of all writers break when they have handed over a request and wait for its answer. On
        leaving, the card, which lives, can be connected to again by `backend.writer`."""
        raise _no_means(backend, "cut")

    def kill(self, backend: Backend) -> None:
        """The card is gone at once and without a word, as from a power cut; its client stays."""
        raise _no_means(backend, "kill")

    def damages(self, backend: Backend) -> Mapping[str, AbstractContextManager[None]]:
        """Words -> within: what writers hand over is damaged on its way so ("end before their end")."""
        raise _no_means(backend, "damages")


MEANS = ("hang", "cut", "kill", "damages")
"""Methods of a device that provoke what a card can't be asked for."""


def _no_means(backend: Backend, what: str) -> HalError:
    del backend
    return HalError(ErrorKind.UNSUPPORTED, "device of the kit", field=what, limit="one", fix=f"Write Device.{what}.")


def has_means(device: Device, what: str) -> bool:
    """Whether a vendor wrote this method of his device."""
    return getattr(type(device), what) is not getattr(Device, what)


def waits(device: Device, absent: Sequence[str]) -> bool:
    """Whether time that passes for its cards has to be waited for: no `replay`, and `advance` as it stands here."""
    return "shard" in absent and not has_means(device, "advance")


def find_device(name: str, stages: Iterable[str] = ()) -> Device:
    """The device of the backend with this entry point, or of the package with this name.

    Args:
        name: of entry point or package.
        stages: packages of stages that its cards shall have beside ours and the installed ones.

    Raises:
        HalError: INVALID where there is none.
    """
    points = {point.name: point.value for point in entry_points(group=GROUP)}
    package = points.get(name, name)
    try:
        module = importlib.import_module(package + ".device")
    except ModuleNotFoundError as error:
        if error.name is None or not (package + ".device").startswith(error.name):
            raise
        raise HalError(
            ErrorKind.INVALID,
            f"backend {name}",
            got=f"no module {package}.device",
            limit="an entry point of dsn.backends (" + ", ".join(sorted(points)) + ") or a package with device.py",
        ) from error
    device: Device = module.device()
    device.stages = (*device.stages, *stages)
    return device
