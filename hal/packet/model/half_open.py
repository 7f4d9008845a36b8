"""Who goes where room is needed: connections that nobody has answered yet, and before them what has ended and what was
picked up and heard from one side alone, by whom they count for, the oldest first."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from hal.packet.contract import TcpState
from hal.packet.model.stage import TCP

if TYPE_CHECKING:
    from hal.packet.model.flows import Connection, Share

HANDSHAKE = (TcpState.SYN_SENT, TcpState.SYN_RECEIVED)


class Kind(Enum):
    """What may make way for another connection."""

    HANDSHAKE = 1
    UNANSWERED = 2
    """Of other protocols than TCP."""
    ENDED = 3
    """Or as little loss: see `has_ended`."""


def is_half_open(connection: Connection) -> bool:
    """TCP whose handshake isn't finished; of others, that nobody has replied to."""
    if talk := connection.talk:
        return talk.state in HANDSHAKE
    return not connection.replied


def has_ended(connection: Connection) -> bool:
    """TCP that both sides have closed, or one by a RST; where that may not have been taken it may still live. UDP and
    echo that were one exchange so far: nobody says that they are over. And TCP that was picked up and of which one side
    alone was heard: whoever forges a segment makes it, and while connections are picked up, or where this
    one is loose, its next segment picks it up again."""
    if talk := connection.talk:
        if talk.state is TcpState.CLOSED:
            return talk.doubted is None
        return talk.state is TcpState.TIME_WAIT or talk.alone is not None
    return connection.exchange


def kind_of(connection: Connection) -> Kind | None:
    """None: it stays."""
    if has_ended(connection):
        return Kind.ENDED
    if not is_half_open(connection):
        return None
    return Kind.HANDSHAKE if connection.header.protocol == TCP else Kind.UNANSWERED


def most_half_open(limit: int, flows: int) -> int:
    """As many handshakes as a share may have by this limit, of so many connections in all: a half of these at most, so
    that handshakes alone don't fill it."""
    return max(1, min(limit, flows // 2))


class HalfOpen:
    """Those connections of one worker: of each share, kind by kind, in the order in which they began to count for it,
    or in which they ended."""

    def __init__(self) -> None:
        self._kinds: dict[int, Kind] = {}
        """By the id of a connection, as what it is listed."""
        self._lists: dict[tuple[Share | None, Kind], dict[int, Connection]] = {}
        self._latest: dict[tuple[Share | None, bool], int] = {}
        """When a share last got one, of what has ended or of others: the number of that one. That one goes changes
        nothing: in which order the connections of a second expire isn't said."""
        self._entered = 0

    def enter(self, connection: Connection) -> None:
        """It counts for its share from now on."""
        if kind := kind_of(connection):
            self._kinds[connection.id] = kind
            self._lists.setdefault((connection.share, kind), {})[connection.id] = connection
            self._entered += 1
            self._latest[connection.share, kind is Kind.ENDED] = self._entered

    def leave(self, connection: Connection) -> None:
        """It goes, is about to count for somebody else, or is something else now."""
        if kind := self._kinds.pop(connection.id, None):
            del self._lists[connection.share, kind][connection.id]

    def turn(self, connection: Connection) -> None:
        """Something has come of it, perhaps an answer, or its end."""
        if self._kinds.get(connection.id) is not kind_of(connection):
            self.leave(connection)
            self.enter(connection)

    def count(self, share: Share | None, *kinds: Kind) -> int:
        """Connections of a share that are of these kinds."""
        return sum(len(self._lists.get((share, kind), ())) for kind in kinds)

    def oldest(self, share: Share | None, *kinds: Kind) -> Connection | None:
        """The oldest connection of the first of these kinds that the share has any of."""
        return next((one for kind in kinds for one in self._lists.get((share, kind), {}).values()), None)

    def of_others(self, share: Share | None) -> int:
        """How many of all other shares may make way."""
        return len(self._kinds) - self.count(share, *Kind)

    def victim(self, share: Share | None, *, others: bool) -> Connection | None:
        """Who goes where this share finds no room. Of what has ended its own oldest, else, where others' may go, that
        of the share that has most of it. Else of the share that has most half-open ones the oldest TCP connection,
        else the oldest other; None: it has as many itself. Of several with as many, who has got no other for
        longest."""
        if own := self.oldest(share, Kind.ENDED):
            return own
        if not others:
            return None
        if ended := self.oldest(self._who_has_most(Kind.ENDED), Kind.ENDED):
            return ended
        kinds = (Kind.HANDSHAKE, Kind.UNANSWERED)
        most = self._who_has_most(*kinds)
        return self.oldest(most, *kinds) if self.count(most, *kinds) > self.count(share, *kinds) else None

    def _who_has_most(self, *kinds: Kind) -> Share | None:
        shares = {share for share, kind in self._lists if kind in kinds}
        ended = Kind.ENDED in kinds
        return max(shares, key=lambda one: (self.count(one, *kinds), -self._latest[one, ended]), default=None)
