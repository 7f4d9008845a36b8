"""The twin's ports: what a link is where there is no device."""

from __future__ import annotations

from collections.abc import Mapping

from hal.errors import ErrorKind, HalError
from hal.packet.contract import PortConfig, PortState


class Ports:
    """Every port with its link and its room. `changes` counts how often a link changed."""

    def __init__(self, configs: Mapping[int, PortConfig]) -> None:
        self.configs = dict(configs)
        self.changes = 0
        self._down: set[int] = set()
        self._full: set[int] = set()

    def link(self, number: int) -> bool:
        return number in self.configs and number not in self._down

    def has_room(self, number: int) -> bool:
        return number not in self._full

    def set_link(self, number: int, link: bool) -> bool:
        """Plug the cable in or out; True if that changed anything."""
        self._known(number)
        if link == (number not in self._down):
            return False
        self._down ^= {number}
        self.changes += 1
        return True

    def set_room(self, number: int, room: bool) -> None:
        """Whether what takes frames off this port keeps up."""
        self._known(number)
        (self._full.discard if room else self._full.add)(number)

    def states(self) -> tuple[PortState, ...]:
        return tuple(
            PortState(config, self.link(number), wakes=True) for number, config in sorted(self.configs.items())
        )

    def _known(self, number: int) -> None:
        if number not in self.configs:
            numbers = ", ".join(str(one) for one in sorted(self.configs))
            raise HalError(ErrorKind.INVALID, f"port {number}", field="number", limit=f"one of {numbers}")
