"""Who is half-open: connections that nobody has answered yet, by whom they count for, the oldest first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hal.packet.contract import TcpState
from hal.packet.model.stage import TCP

if TYPE_CHECKING:
    from hal.packet.model.flows import Connection, Share

HANDSHAKE = (TcpState.SYN_SENT, TcpState.SYN_RECEIVED)


def is_half_open(connection: Connection) -> bool:
    """TCP whose handshake isn't finished; of others, that nobody has replied to."""
    if connection.header.protocol == TCP:
        return connection.tcp in HANDSHAKE
    return not connection.replied


class HalfOpen:
    """The half-open connections of one worker: those of one share in the order in which they began to count for it, TCP
    and others apart."""

    def __init__(self) -> None:
        self._lists: dict[Share | None, tuple[dict[int, Connection], dict[int, Connection]]] = {}
        self._since: dict[Share | None, int] = {}
        """When a share came to have as many as it has: the number of that change."""
        self._changes = 0

    def enter(self, connection: Connection) -> None:
        """It counts for its share from now on."""
        if is_half_open(connection):
            lists = self._lists.setdefault(connection.share, ({}, {}))
            lists[connection.header.protocol != TCP][connection.id] = connection
            self._changed(connection.share)

    def leave(self, connection: Connection) -> None:
        """It goes, is about to count for somebody else, or isn't half-open any more."""
        lists = self._lists.get(connection.share, ({}, {}))
        if lists[connection.header.protocol != TCP].pop(connection.id, None):
            self._changed(connection.share)

    def turn(self, connection: Connection) -> None:
        """Something has come of it, perhaps an answer."""
        if not is_half_open(connection):
            self.leave(connection)

    def handshakes(self, share: Share) -> int:
        """TCP connections of a share whose handshake isn't finished."""
        return len(self._lists.get(share, ({}, {}))[0])

    def oldest(self, share: Share) -> Connection:
        """The oldest of them; there is one."""
        return next(iter(self._lists[share][0].values()))

    def victim(self, share: Share | None) -> Connection | None:
        """Who goes where this share needs room in a full table: of the share that has the most of all, for longest if
        several have as many, the oldest TCP connection, else the oldest other. None: it has as many itself."""
        most = max(self._lists, key=lambda one: (self._count(one), -self._since[one]), default=None)
        if self._count(most) <= self._count(share):
            return None
        handshakes, others = self._lists[most]
        return next(iter((handshakes or others).values()))

    def _count(self, share: Share | None) -> int:
        return sum(len(some) for some in self._lists.get(share, ()))

    def _changed(self, share: Share | None) -> None:
        self._changes += 1
        self._since[share] = self._changes
