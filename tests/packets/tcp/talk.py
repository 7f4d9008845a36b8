"""Both ends of a connection, whose segments have the right numbers unless a test says otherwise."""

from __future__ import annotations

from typing import Any

from hal.packet.contract import TcpState
from tests.packets.card import Card, Sent, bracket
from tests.packets.packets import tcp
from tests.packets.world import HOSTS

MASK = 0xFFFF_FFFF
OPEN = "A:S B:SA A:A"
CLOSED_ALL = "A:FA B:A B:FA A:A"


class Talk:
    """A connection between two hosts: `a` opened it.

    Args:
        isn: initial sequence numbers of both.
        scale: window scales that they offer; None: no such option.
        window: that they advertise, as headers say it.
        v6: by their IPv6 addresses.
    """

    def __init__(
        self,
        card: Card,
        ends: tuple[str, str] = ("client", "web"),
        isn: tuple[int, int] = (1000, 5000),
        scale: tuple[int | None, int | None] = (None, None),
        window: tuple[int, int] = (8192, 8192),
        sport: int = 4000,
        v6: bool = False,
    ) -> None:
        self.card = card
        self.ends = ends
        self.isn = isn
        self.next = list(isn)
        """What each says next."""
        self.scale = scale
        self.window = window
        names = [bracket(HOSTS[end].addresses[v6]) for end in ends]
        here, there = f"{names[0]}:{sport}", f"{names[1]}:80"
        self.lines = (f"{here} > {there}", f"{there} > {here}")

    def a(self, flags: str, data: int = 0, **fields: Any) -> Sent:
        """A segment of the initiator; `fields` are scapy's."""
        return self._says(0, flags, data, fields)

    def b(self, flags: str, data: int = 0, **fields: Any) -> Sent:
        """A segment of the other side."""
        return self._says(1, flags, data, fields)

    def _says(self, side: int, flags: str, data: int, fields: dict[str, Any]) -> Sent:
        length = data + ("S" in flags) + ("F" in flags)
        numbers = {"seq": self.next[side], "ack": self.next[1 - side] if "A" in flags else 0}
        if "seq" not in fields:
            self.next[side] = (self.next[side] + length) & MASK
        told = {**numbers, "window": self.window[side], **fields}
        if "S" in flags and self.scale[side] is not None and "options" not in fields:
            told["options"] = [("WScale", self.scale[side])]
        told = {key: value & MASK if key in ("seq", "ack") else value for key, value in told.items()}
        return self.card.host(self.ends[side]).sends(tcp(self.lines[side], flags, bytes(data), **told))

    def loses(self, side: int, length: int) -> None:
        """A side says this many bytes that never come as far as the card."""
        self.next[side] = (self.next[side] + length) & MASK

    def again(self, side: int) -> None:
        """A side begins anew: it has forgotten everything, and draws another initial number."""
        self.isn = tuple((isn + 100_000 * (end == side)) & MASK for end, isn in enumerate(self.isn))  # type: ignore[assignment]
        self.next[side] = self.isn[side]

    def plays(self, segments: str) -> Talk:
        """Segments in a row, all of which pass: "A:S B:SA A:A A:PA+100", with so many bytes."""
        for segment in segments.split():
            side, _, what = segment.partition(":")
            flags, _, data = what.partition("+")
            if side == "A":
                self.a(flags, int(data or 0)).arrives_at(self.ends[1])
            else:
                self.b(flags, int(data or 0)).arrives_at(self.ends[0])
        return self

    def passes(self, sent: Sent, side: int) -> Sent:
        """What this side has sent has arrived at the other, as the only frame that left."""
        return sent.arrives_at(self.ends[1 - side])

    @property
    def state(self) -> TcpState:
        return self.card.flow().tcp_state


def asked(sent: Sent, seq: int, ack: int, window: int | None = None) -> None:
    """It is dropped, and its sender gets the one ACK with these numbers, as from whom it wrote to."""
    sent.is_dropped("tcp_challenged")
    frame = sent.answer()
    told = frame["TCP"]
    assert (told.seq, told.ack, str(told.flags), told.options) == (seq & MASK, ack & MASK, "A", [])
    assert not bytes(told.payload)
    assert window is None or told.window == window
    ip = frame.getlayer(1) if frame.getlayer(1).name != "802.1Q" else frame.getlayer(2)
    if ip.version == 4:
        assert (ip.ttl, ip.id, str(ip.flags), ip.tos) == (64, 0, "DF", 0)
    else:
        assert (ip.hlim, ip.tc, ip.fl) == (64, 0, 0)
