"""Ill-behaved hosts: packets that scapy builds, each story a handful of them around one corner of the RFCs.

Numbers are relative to the initial sequence numbers; `a` opens with its SYN at 0, so its first byte is 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from scapy.all import (
    ICMP,
    IP,
    TCP,
    UDP,
    Ether,
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrFragment,
    Raw,
)

from tests.opinions.capture import Capture, Frame
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


# --- windows (RFC 9293 3.4, 3.10.7.4; RFC 5961 5.2) -----------------------------------------------------------------


@story("data-at-right-edge", off=(-1, 0, 1, 2, 4000, 70_000, 1 << 30, (1 << 31) - 9000, 1 << 31))
def _right_edge(s: Story, off: int) -> None:
    """`b` has acknowledged 101 with a window of 8,000: 8,100 is the last byte that may come."""
    s.opens()
    s.says_hello()
    s.b("A", 101, 101)
    s.a("PA", 101 + WINDOW + off, 101, 1)
    s.goes_on()


@story("data-over-right-edge", size=(7999, 8000, 8001, 8900))
def _over_right_edge(s: Story, size: int) -> None:
    """It begins inside the window and ends at it, or beyond."""
    s.opens()
    s.says_hello()
    for part in range(0, size, 1400):
        s.a("A", 101 + part, 101, min(1400, size - part))
    s.b("A", 101, 101 + min(size, 8000))


@story("old-data", back=(0, 100, 7998, 7999, 8000, 8001, 8002, 30_000, 100_000, 1 << 30))
def _old_data(s: Story, back: int) -> None:
    """A byte that `b` has long acknowledged, so far behind what was sent last."""
    s.opens()
    for part in range(0, 42_000, 1400):
        s.a("A", 1 + part, 1, 1400)
        s.b("A", 1, 1401 + part)
    s.a("A", 42_000 - back, 1, 1)
    s.goes_on(42_001, 1)


@story("ack-of-unsent", off=(0, 1, 2, 1000, 100_000, 1 << 30, (1 << 31) - 1))
def _ack_of_unsent(s: Story, off: int) -> None:
    s.opens()
    s.says_hello()
    s.a("PA", 101, 101 + off, 10)
    s.goes_on(111 if off == 0 else 101, 101)


@story("old-ack", back=(1, 100, 7999, 8000, 8001, 30_000, 65_999, 66_000, 66_001, 100_000, 1 << 30))
def _old_ack(s: Story, back: int) -> None:
    """An acknowledgement so far behind the latest one of `a`."""
    s.opens()
    for part in range(0, 140_000, 1400):
        s.b("A", 1 + part, 1, 1400)
        s.a("A", 1, 1401 + part)
    s.a("PA", 1, 140_001 - back, 10)
    s.goes_on(11, 140_001)


@story("forged-window", ack=(101, 102, 60_000))
def _forged_window(s: Story, ack: int) -> None:
    """An acknowledgement that would open the window, and what would come in by it."""
    s.opens()
    s.says_hello()
    s.b("A", 101, ack, window=65_535)
    s.a("PA", 101 + WINDOW + 100, 101, 1)
    s.a("PA", 101, 101, 50)
    s.b("A", 101, 151)


@story("zero-window", probe=(-1, 0, 1))
def _zero_window(s: Story, probe: int) -> None:
    """RFC 9293 3.8.6.1: a probe has a byte at the edge, or one that is known."""
    s.opens()
    s.says_hello()
    s.a("A", 101, 101, WINDOW)
    s.b("A", 101, 101 + WINDOW, window=0)
    s.a("A", 101 + WINDOW + probe, 101, 1)
    s.b("A", 101, 101 + WINDOW, window=0)
    s.b("A", 101, 101 + WINDOW, window=WINDOW)
    s.a("A", 101 + WINDOW, 101, 500)


@story("keep-alive", size=(0, 1))
def _keep_alive(s: Story, size: int) -> None:
    """RFC 9293 3.8.4."""
    s.opens()
    s.says_hello()
    s.a("A", 100, 101, size)
    s.b("A", 101, 101)
    s.b("A", 100, 101, size)
    s.a("A", 101, 101)
    s.goes_on()


@story("window-taken-back")
def _window_taken_back(s: Story) -> None:
    """RFC 9293 3.8.6: a receiver should not, but what was allowed may be on its way."""
    s.opens()
    s.says_hello()
    s.b("A", 101, 101, window=100)
    s.a("A", 101, 101, 1400)
    s.a("A", 1501, 101, 1400)
    s.b("A", 101, 2901, window=WINDOW)


@story("around", iss=((TURN - 1, 5), (TURN - 50, TURN - 60), (5, TURN - 101), ((1 << 31) - 1, 1 << 31)))
def _around(s: Story, iss: tuple[int, int]) -> None:
    """RFC 9293 3.4: numbers go around."""
    s.iss = iss
    s.opens()
    s.says_hello()
    for part in range(0, 7000, 1400):
        s.a("A", 101 + part, 101, 1400)
        s.b("A", 101, 1501 + part)
    s.a("R", 101 + 9000 + WINDOW)
    s.goes_on(7101, 101)


@story("scale", scales=((None, 7), (7, None), (0, 0), (1, 3), (14, 14), (15, 2), (255, 255), (7, 7)))
def _scale(s: Story, scales: tuple[int | None, int | None]) -> None:
    """RFC 7323 2.2, 2.3: only if both offer it; above 14 is 14."""
    s.opens(scales, window=60_000)
    s.a("A", 1, 1, window=1000)
    s.b("A", 1, 1, 1000, window=1000)
    given = 1000 << min(scales[1], 14) if None not in scales and scales[1] is not None else 1000
    s.a("A", 1 + max(given, 60_000) - 1, 1001, 1, window=1000)
    s.a("A", 1 + max(given, 60_000) + 1, 1001, 1, window=1000)
    s.a("A", 1, 1001, 100, window=1000)
    s.b("A", 1001, 101, window=1000)


# --- handshakes (RFC 9293 3.5) ---------------------------------------------------------------------------------------


@story("syn-again", seq=(0, 1, 777))
def _syn_again(s: Story, seq: int) -> None:
    """Retransmitted, or begun anew with another number."""
    s.a("S", 0)
    s.a("S", seq)
    s.b("SA", 0, seq + 1)
    s.a("A", seq + 1, 1)
    s.a("PA", seq + 1, 1, 10)


@story("syn-ack-again", seq=(0, 9999))
def _syn_ack_again(s: Story, seq: int) -> None:
    """Retransmitted, or made anew by who keeps nothing (SYN cookies)."""
    s.a("S", 0)
    s.b("SA", 0, 1)
    s.a("S", 0)
    s.b("SA", seq, 1)
    s.a("A", 1, seq + 1)
    s.a("PA", 1, seq + 1, 10)
    s.b("A", seq + 1, 11)


@story("syn-ack-wrong", ack=(-1, 0, 2, 5000, 1 << 31))
def _syn_ack_wrong(s: Story, ack: int) -> None:
    s.a("S", 0)
    s.b("SA", 0, ack)
    s.b("SA", 0, 1)
    s.a("A", 1, 1)


@story("third-ack-wrong", off=(-1, 1, 70_000))
def _third_ack_wrong(s: Story, off: int) -> None:
    s.a("S", 0)
    s.b("SA", 0, 1)
    s.a("A", 1, 1 + off)
    s.a("A", 1, 1)


@story("open-at-once", how=("syn-acks", "acks"))
def _open_at_once(s: Story, how: str) -> None:
    s.a("S", 0)
    s.b("S", 0)
    if how == "syn-acks":
        s.a("SA", 0, 1)
        s.b("SA", 0, 1)
    s.a("A", 1, 1)
    s.b("A", 1, 1)
    s.says_hello()


@story("split-handshake", kind=(4, 5))
def _split_handshake(s: Story, kind: int) -> None:
    """Beardsley and Qian's: the server answers as if it called itself, to be taken for the client."""
    s.a("S", 0)
    if kind == 5:
        s.b("A", 9, 1)
    s.b("S", 0)
    s.a("SA", 0, 1)
    s.b("A", 1, 1)
    s.b("PA", 1, 1, 100)
    s.a("A", 1, 101)


@story("half-open-answer", ack=(0, 1, 2, 90_000))
def _half_open_answer(s: Story, ack: int) -> None:
    """RFC 9293 3.5.1: `b` still has an old connection; it acknowledges what that sent last, and is reset."""
    s.a("S", 0)
    s.b("A", 4000, ack)
    s.a("R", ack)
    s.a("S", 0)
    s.b("SA", 0, 1)
    s.a("A", 1, 1)


@story("syn-to-open", seq=(-5000, 101, 300, 100_000))
def _syn_to_open(s: Story, seq: int) -> None:
    """RFC 5961 4.2."""
    s.opens()
    s.says_hello()
    s.a("S", seq)
    s.b("A", 101, 101)
    s.goes_on()


@story("syn-ack-to-open", side=(0, 1))
def _syn_ack_to_open(s: Story, side: int) -> None:
    s.opens()
    s.says_hello()
    s.tells(side, s.segment(side, "SA", 101, 101))
    s.goes_on()


@story("fast-open", acked=(1, 101, 50, 102))
def _fast_open(s: Story, acked: int) -> None:
    """RFC 7413: data in the SYN, and how much of it the other took."""
    s.a("S", 0, size=100)
    s.b("SA", 0, acked)
    s.a("A", 1, 1)
    s.a("PA", min(acked, 101), 1, 20)


@story("options-of-a-syn", options=("00", "0303", "03030e", "030300", "0203", "020405b4010303ff", "fe00", "fe01", "0101"))
def _options(s: Story, options: str) -> None:
    """RFC 9293 3.1: an illegal length among them."""
    data = bytes.fromhex(options)
    data += bytes(-len(data) % 4)
    s.tells(0, s.ip(0) / TCP(sport=s.ports[0], dport=s.ports[1], flags="S", seq=s.iss[0], window=WINDOW,
                             dataofs=5 + len(data) // 4) / Raw(data))  # fmt: skip
    s.b("SA", 0, 1)
    s.a("A", 1, 1)


# --- resets (RFC 5961 3.2) -------------------------------------------------------------------------------------------


@story("reset", off=(-9000, -1, 0, 1, 50, WINDOW, WINDOW + 1, 100_000, 1 << 31))
def _reset(s: Story, off: int) -> None:
    """All has been acknowledged, so only 101 is exact."""
    s.opens()
    s.says_hello()
    s.a("R", 101 + off)
    s.b("A", 101, 101)
    s.goes_on()


@story("reset-of-replies", off=(-1, 0, 1, WINDOW + 1))
def _reset_of_replies(s: Story, off: int) -> None:
    s.opens()
    s.says_hello()
    s.b("RA", 101 + off, 101)
    s.a("A", 101, 101)
    s.goes_on()


@story("reset-in-flight", seq=(100, 101, 102, 1501, 2901, 2902))
def _reset_in_flight(s: Story, seq: int) -> None:
    """2,800 bytes are on their way: 101 is what was acknowledged, 2901 what was sent."""
    s.opens()
    s.says_hello()
    s.a("A", 101, 101, 1400)
    s.a("A", 1501, 101, 1400)
    s.a("R", seq)
    s.b("A", 101, 101)
    s.a("R", 101)
    s.b("PA", 101, 101, 10)


@story("reset-of-syn", ack=(0, 1, 2, 70_000))
def _reset_of_syn(s: Story, ack: int) -> None:
    """RFC 9293 3.10.7.3: only one that acknowledges the SYN."""
    s.a("S", 0)
    s.b("RA", 0, ack)
    s.a("S", 0)
    s.b("SA", 0, 1)
    s.a("A", 1, 1)


@story("reset-in-handshake", case=((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 9000), (1, 9000)))
def _reset_in_handshake(s: Story, case: tuple[int, int]) -> None:
    side, seq = case
    s.a("S", 0)
    s.b("SA", 0, 1)
    s.tells(side, s.segment(side, "R", seq))
    s.a("A", 1, 1)
    s.a("PA", 1, 1, 10)


@story("reset-of-syn-without-ack")
def _reset_of_syn_without_ack(s: Story) -> None:
    s.a("S", 0)
    s.b("R", 0)
    s.b("SA", 0, 1)
    s.a("A", 1, 1)


@story("after-reset", what=("S", "SA", "A", "PA", "R", "FA"))
def _after_reset(s: Story, what: str) -> None:
    s.opens()
    s.says_hello()
    s.a("R", 101)
    s.b(what, 101, 101, 10 if "P" in what else 0)
    s.a(what, 101, 101, 10 if "P" in what else 0)


# --- ends (RFC 9293 3.6) ---------------------------------------------------------------------------------------------


def _closes(s: Story) -> None:
    s.a("FA", 101, 101)
    s.b("A", 101, 102)
    s.b("FA", 101, 102)
    s.a("A", 102, 102)


@story("close")
def _close(s: Story) -> None:
    s.opens()
    s.says_hello()
    _closes(s)
    s.b("FA", 101, 102)
    s.a("A", 102, 102)


@story("close-at-once")
def _close_at_once(s: Story) -> None:
    s.opens()
    s.says_hello()
    s.a("FA", 101, 101)
    s.b("FA", 101, 101)
    s.a("A", 102, 102)
    s.b("A", 102, 102)


@story("half-close")
def _half_close(s: Story) -> None:
    s.opens()
    s.says_hello()
    s.a("FA", 101, 101, 10)
    for part in range(0, 7000, 1400):
        s.b("A", 101 + part, 112, 1400)
        s.a("A", 112, 1501 + part)
    s.b("FA", 7101, 112)
    s.a("A", 112, 7102)


@story("data-after-fin", size=(1, 500))
def _data_after_fin(s: Story, size: int) -> None:
    """Nothing follows a FIN but itself again."""
    s.opens()
    s.says_hello()
    s.a("FA", 101, 101)
    s.a("FA", 101, 101)
    s.a("PA", 102, 101, size)
    s.b("A", 101, 102)


@story("fin-out-of-window", off=(-20_000, WINDOW + 1))
def _fin_out_of_window(s: Story, off: int) -> None:
    s.opens()
    s.says_hello()
    s.a("FA", 101 + off, 101)
    s.goes_on()


@story("fin-in-handshake", side=(0, 1))
def _fin_in_handshake(s: Story, side: int) -> None:
    s.a("S", 0)
    s.b("SA", 0, 1)
    s.tells(side, s.segment(side, "FA", 1, 1))
    s.a("A", 1 + (side == 0), 1 + side)
    s.b("A", 1 + side, 1 + (side == 0))


@story("syn-after-close", case=((0, 50_000), (0, 50), (1, 50_000), (0, -400_000)))
def _syn_after_close(s: Story, case: tuple[int, int]) -> None:
    """RFC 9293 3.10.7.4, RFC 6191: in TIME-WAIT the receiver decides."""
    side, seq = case
    s.opens()
    s.says_hello()
    _closes(s)
    s.tells(side, s.segment(side, "S", seq))
    s.tells(1 - side, s.segment(1 - side, "SA", 90_000, seq + 1))
    s.tells(side, s.segment(side, "A", seq + 1, 90_001))


@story("after-close", case=(("R", 102), ("R", 101), ("R", 5000), ("A", 102), ("PA", 102), ("SA", 102)))
def _after_close(s: Story, case: tuple[str, int]) -> None:
    """RFC 1337 among it."""
    flags, seq = case
    s.opens()
    s.says_hello()
    _closes(s)
    s.a(flags, seq, 102, 10 if "P" in flags else 0)
    s.b("FA", 101, 102)
    s.a("A", 102, 102)


# --- flags, and what belongs to nothing ------------------------------------------------------------------------------


@story("flags-first", flags=("", "F", "P", "U", "FPU", "SF", "SR", "FR", "SFRPAU", "A", "PA", "FA", "R", "RA", "SA", "SE", "SEC", "SP", "SU"))
def _flags_first(s: Story, flags: str) -> None:
    """As the first packet of all."""
    s.a(flags, 0, 1)


@story("flags-then", flags=("", "F", "P", "U", "FPU", "SF", "SR", "FR", "SFRPAU", "UA", "PUA", "AE", "AC"))
def _flags_then(s: Story, flags: str) -> None:
    """Within a connection."""
    s.opens()
    s.says_hello()
    s.a(flags, 101, 101)
    s.goes_on()


@story("blind-data", off=(20_000, 1 << 20, 1 << 30, 3 << 30))
def _blind_data(s: Story, off: int) -> None:
    """RFC 5961 5: data with a sequence number that is right, and an acknowledgement that is guessed."""
    s.opens()
    s.says_hello()
    s.a("PA", 101, 101 + off, 10)
    s.a("PA", 101 + off, 101, 10)
    s.goes_on()


# --- other protocols, ICMP, fragments --------------------------------------------------------------------------------


def _datagram(s: Story, side: int, size: int = 20) -> Any:
    return s.ip(side) / UDP(sport=s.ports[side], dport=s.ports[1 - side]) / Raw(bytes(size))


@story("datagrams")
def _datagrams(s: Story) -> None:
    s.tells(0, _datagram(s, 0))
    s.tells(1, _datagram(s, 1))
    s.tells(0, _datagram(s, 0, 0))


@story("protocol", number=(2, 47, 50, 51, 97, 132, 253))
def _protocol(s: Story, number: int) -> None:
    field_name = "nh" if s.v6 else "proto"
    if s.v6 and number == 51:
        return
    for side in (0, 1, 0):
        s.tells(side, s.ip(side, **{field_name: number}) / Raw(bytes(range(40))))


@story("echo", ident=(7, 8))
def _echo(s: Story, ident: int) -> None:
    """A reply to what was asked, or to what was not."""
    if s.v6:
        s.tells(0, s.ip(0) / ICMPv6EchoRequest(id=7, seq=1, data=b"ping"))
        s.tells(1, s.ip(1) / ICMPv6EchoReply(id=ident, seq=1, data=b"ping"))
    else:
        s.tells(0, s.ip(0) / ICMP(id=7, seq=1) / b"ping")
        s.tells(1, s.ip(1) / ICMP(type=0, id=ident, seq=1) / b"ping")


def _unreachable(s: Story, side: int, quoted: bytes) -> Any:
    if s.v6:
        return s.ip(side) / ICMPv6DestUnreach(code=4) / Raw(quoted)
    return s.ip(side) / ICMP(type=3, code=3) / Raw(quoted[:28])


@story("unreachable", port=(0, 1))
def _unreachable_port(s: Story, port: int) -> None:
    """It quotes what was sent, or what was not."""
    sent = s.tells(0, _datagram(s, 0))
    place = 40 if s.v6 else 20
    quoted = bytearray(sent)
    quoted[place + 3] ^= port
    s.tells(1, _unreachable(s, 1, bytes(quoted)))


@story("unreachable-segment", off=(0, 100, -30_000, 30_000, 1 << 30))
def _unreachable_segment(s: Story, off: int) -> None:
    """RFC 5927 4.1: what it quotes must have been on its way."""
    s.opens()
    s.says_hello()
    s.a("PA", 101, 101, 100)
    s.tells(1, _unreachable(s, 1, bytes(s.segment(0, "PA", 101 + off, 101, 100))))
    s.b("A", 101, 201)


def _pieces(s: Story, side: int, cuts: list[tuple[int, int]], size: int = 3000) -> list[Any]:
    """Fragments of a datagram: from, to, in bytes of what is cut up."""
    whole = bytes(_datagram(s, side, size).payload)
    found = []
    for begin, end in cuts:
        more = end < len(whole)
        if s.v6:
            header = IPv6ExtHdrFragment(offset=begin // 8, m=int(more), id=77, nh=17)
            found.append(s.ip(side) / header / Raw(whole[begin:end]))
        else:
            found.append(s.ip(side, flags="MF" if more else 0, frag=begin // 8, id=77, proto=17) / Raw(whole[begin:end]))
    return found


CUTS = {
    "in-order": [(0, 1400), (1400, 2800), (2800, 3008)],
    "later-ones-turned": [(0, 1400), (2800, 3008), (1400, 2800)],
    "last-first": [(2800, 3008), (0, 1400), (1400, 2800)],
    "again": [(0, 1400), (1400, 2800), (1400, 2800), (2800, 3008)],
    "first-again": [(0, 1400), (0, 1400), (1400, 2800), (2800, 3008)],
    "overlap": [(0, 1400), (1392, 2800), (2800, 3008)],
    "overlap-of-first": [(0, 1400), (8, 1400), (1400, 2800), (2800, 3008)],
    "hole": [(0, 1400), (2800, 3008)],
    "tiny-first": [(0, 8), (8, 1400), (1400, 3008)],
    "no-first": [(1400, 2800), (2800, 3008)],
}


@story("fragments", cuts=tuple(CUTS))
def _fragments(s: Story, cuts: str) -> None:
    s.tells(0, _datagram(s, 0))
    s.tells(1, _datagram(s, 1))
    for piece in _pieces(s, 0, CUTS[cuts]):
        s.tells(0, piece)


# --- all of them -----------------------------------------------------------------------------------------------------


def captures() -> Iterator[Capture]:
    """Every story, in both families."""
    for name, teller in STORIES.items():
        for v6 in (False, True):
            told = Story(v6)
            teller(told)
            if told.frames:
                yield Capture(f"odd/{name}-{'v6' if v6 else 'v4'}", told.frames)
