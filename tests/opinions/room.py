"""Where talks are captured: two hosts, and wires of drawn weather between them and the router in their middle.

Who begins, IPv4 or IPv6, and the hosts' settings are drawn too.
"""

from __future__ import annotations

import contextlib
import random
import socket
import time
from collections.abc import Iterator
from dataclasses import replace

from tests.opinions.capture import Capture, Frame
from tests.opinions.stacks import TALKS, Host
from tests.opinions.taps import End, know, namespace, read_all, tap
from tests.opinions.wire import Stretch, Way, Weather, Wire
from tests.opinions.wiring import SIDES, Side

PLAIN = {
    "ipv4__tcp_window_scaling": 1,
    "ipv4__tcp_timestamps": 1,
    "ipv4__tcp_sack": 1,
    "ipv4__tcp_ecn": 2,
    "ipv4__tcp_fastopen": 1,
    "ipv4__tcp_syncookies": 1,
    "ipv4__tcp_rmem": "4096 131072 6291456",
    "ipv4__icmp_ratelimit": 0,
    "ipv6__icmp__ratelimit": 0,
}


class Room:
    """The two hosts and the wire between them."""

    def __init__(self, ends: tuple[End, End]) -> None:
        self._ends = ends

    def capture(self, name: str, kind: str, seed: int) -> Capture:
        """What one talk looks like at the router. The same seed gives the same talk, not the same capture.

        Raises:
            OSError, AssertionError: the hosts did not get on.
        """
        draw = random.Random(seed)
        family = draw.choice((socket.AF_INET, socket.AF_INET6))
        hosts = [Host(side, end, family) for side, end in zip(SIDES, self._ends, strict=True)]
        for host in hosts:
            host.end.set(**PLAIN)
            for key in ("window_scaling", "timestamps", "sack"):
                host.end.set(**{f"ipv4__tcp_{key}": int(draw.random() < 0.7)})
            host.end.set(ipv4__tcp_ecn=draw.choice((1, 2)))
        weather = [_draw_weather(draw) for _ in range(4)]
        frames: list[Frame] = []
        with self._wire(weather, frames, seed).running():
            client, server = draw.sample(hosts, 2)
            TALKS[kind](client, server, draw)
            _quiet(frames)
        begin = frames[0].time_ns if frames else 0
        return Capture(name, [replace(one, time_ns=one.time_ns - begin) for one in frames])

    def _wire(self, weather: list[Weather], frames: list[Frame], seed: int) -> Wire:
        ways = []
        for number, far in enumerate(reversed(SIDES)):

            def note(frame: bytes, now: int, number: int = number) -> bytes:
                if frame[:6] != SIDES[number].router_bytes:
                    return b""  # its host speaks to all, or to groups
                frames.append(Frame(now, number, frame))
                return frame

            def hand_on(frame: bytes, _now: int, far: Side = far) -> bytes:
                return far.mac_bytes + far.router_bytes + frame[12:]

            before = Stretch(weather[2 * number], note)
            behind = Stretch(weather[2 * number + 1], hand_on)
            source, target = self._ends[number].tap, self._ends[1 - number].tap
            ways.append(Way(source, (before, behind), target))
        return Wire(ways, seed)


def _draw_weather(draw: random.Random) -> Weather:
    if draw.random() < 0.3:
        return Weather(delay_ms=(1, 1))
    return Weather(
        loss=draw.choice((0, 0, 0.02, 0.05)),
        reorder=draw.choice((0, 0.05, 0.15)),
        double=draw.choice((0, 0, 0.03)),
        delay_ms=(1, draw.choice((2, 10, 30))),
        late_ms=draw.choice((3, 15)),
    )


def _quiet(frames: list[Frame], for_s: float = 0.45, most_s: float = 6.0) -> None:
    """Wait until hosts have nothing left to say, retransmissions among it."""
    end = time.monotonic() + most_s
    seen, since = -1, time.monotonic()
    while time.monotonic() < end and time.monotonic() - since < for_s:
        if len(frames) != seen:
            seen, since = len(frames), time.monotonic()
        time.sleep(0.02)


@contextlib.contextmanager
def room(name: str) -> Iterator[Room]:
    """Two hosts in namespaces that begin with this name. Needs root."""
    with contextlib.ExitStack() as stack:
        ends = []
        for side in SIDES:
            where = stack.enter_context(namespace(f"{name}-{side.name}"))
            end = stack.enter_context(tap(where, "eth0", side.mac, side.addresses))
            for router in (side.router_v4, side.router_v6):
                know(end, router, side.router_mac)
                end.run("ip", "-6" if ":" in router else "-4", "route", "add", "default", "via", router)
            end.run("ethtool", "-K", "eth0", "tso", "off", "gso", "off")
            for _ in read_all(end.tap):
                pass
            ends.append(end)
        yield Room((ends[0], ends[1]))
