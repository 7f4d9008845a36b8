"""A story: frames of two hosts, as they are told.

Numbers are relative to the initial sequence numbers; `a` opens with its SYN at 0, so its first byte is 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from scapy.all import (
    IP,
    TCP,
    Ether,
    IPv6,
    Raw,
)

from tests.opinions.capture import Frame
from tests.opinions.wire import MILLISECOND
from tests.opinions.wiring import SIDES

TURN = 1 << 32
PORTS = (40_000, 80)
WINDOW = 8000


@dataclass
class Story:
    """Frames as they are told, a millisecond apart."""

    v6: bool = False
    iss: tuple[int, int] = (1000, 5_000_000)
    ports: tuple[int, int] = PORTS
    frames: list[Frame] = field(default_factory=list)

    def ip(self, side: int, **fields: Any) -> Any:
        here, there = SIDES[side], SIDES[1 - side]
        if self.v6:
            return IPv6(src=here.v6, dst=there.v6, **fields)
        return IP(src=here.v4, dst=there.v4, **fields)

    def tells(self, side: int, packet: Any, wait_ms: int = 1) -> bytes:
        """A packet of this side. Returns its bytes."""
        begin = self.frames[-1].time_ns + wait_ms * MILLISECOND if self.frames else 0
        here = SIDES[side]
        frame = bytes(Ether(src=here.mac, dst=here.router_mac) / packet)
        self.frames.append(Frame(begin, side, frame))
        return frame[14:]

    def segment(self, side: int, flags: str, seq: int, ack: int = 0, size: int = 0, **fields: Any) -> Any:
        fields = {"window": WINDOW, **fields}
        header = TCP(
            sport=self.ports[side],
            dport=self.ports[1 - side],
            flags=flags,
            seq=(self.iss[side] + seq) % TURN,
            ack=(self.iss[1 - side] + ack) % TURN if "A" in flags else 0,
            **fields,
        )
        return self.ip(side) / header / Raw(bytes(size)) if size else self.ip(side) / header

    def a(self, flags: str, seq: int, ack: int = 0, size: int = 0, **fields: Any) -> bytes:
        return self.tells(0, self.segment(0, flags, seq, ack, size, **fields))

    def b(self, flags: str, seq: int, ack: int = 0, size: int = 0, **fields: Any) -> bytes:
        return self.tells(1, self.segment(1, flags, seq, ack, size, **fields))

    def opens(self, scales: tuple[int | None, int | None] = (None, None), window: int = WINDOW) -> None:
        """The handshake: then `a` goes on at 1, `b` at 1."""
        options = [[] if scale is None else [("WScale", scale)] for scale in scales]
        self.a("S", 0, options=options[0], window=window)
        self.b("SA", 0, 1, options=options[1], window=window)
        self.a("A", 1, 1, window=window)

    def says_hello(self) -> None:
        """100 bytes each way, acknowledged."""
        self.a("PA", 1, 1, 100)
        self.b("PA", 1, 101, 100)
        self.a("A", 101, 101)

    def goes_on(self, a: int = 101, b: int = 101) -> None:
        """What a well-behaved connection would say next."""
        self.a("PA", a, b, 50)
        self.b("A", b, a + 50)


Teller = Callable[[Story], None]
STORIES: dict[str, Teller] = {}
"""Name -> story; all of them are told in both families."""


def story(name: str, **cases: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a story, once for each value of its only parameter where there is one."""

    def register(teller: Callable[..., None]) -> Callable[..., None]:
        if not cases:
            STORIES[name] = teller
        for parameter, values in cases.items():
            for value in values:
                label = str(value).replace(" ", "").replace("(", "").replace(")", "").replace(",", "+")
                STORIES[f"{name}-{label}"] = lambda s, given={parameter: value}: teller(s, **given)  # type: ignore[misc]
        return teller

    return register
