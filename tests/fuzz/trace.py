"""What `dsn trace` takes from a person: a capture's bytes, or a packet in words. The first byte says which."""

from __future__ import annotations

from tests.fuzz.python import hold, run, words

_WORDS = b"""
    tcp udp icmp icmp6 132 10.1.0.20:40000 > 10.1.0.10:443 [2001:db8::a]:443 2001:db8::1 flags SA syn ack fin rst
    psh urg seq acks type echo-request id ttl 255 len bytes 9000 vlan 4094 from to 02:00:00:00:00:0a
    99999999999999999999 \xd9\xa3 ::ffff:10.0.0.1 :: [ ] % -1
"""
TOKENS = (*_WORDS.split(), b"9" * 5000)
"""What packets in words are made of."""


def modules() -> None:
    """Import what is fuzzed."""
    from hal.packet import describe  # noqa: F401
    from sdk.cli import capture, frames  # noqa: F401


def one(data: bytes) -> None:
    """Try one input. Raises Wrong, or whatever is let through."""
    from hal.errors import HalError

    try:
        if data[:1] == b"w":
            _words(data[1:].decode(errors="replace"))
        else:
            _capture(data[1:])
    except HalError as error:
        hold(bool(str(error)), "an error without words")


def _words(text: str) -> None:
    from hal.packet import describe

    packet = describe.parse(text)
    macs = (packet.source_mac or "02:00:00:00:00:01", packet.destination_mac or "02:00:00:00:00:02")
    frame = describe.build(packet, *macs, packet.vlan or 0)
    hold(len(frame) >= 14 + 20 + packet.size, "a frame shorter than what was asked for")


def _capture(data: bytes) -> None:
    from sdk.cli import capture
    from sdk.cli.frames import frame_words, read

    frames = capture.parse(data, "x.pcap")
    for frame in frames:
        hold(0 <= frame.time_ns < 1 << 64, f"a time that no packet can have: {frame.time_ns}")
        hold(frame_words(frame.data).isprintable(), "words with commands to a terminal")
        seen = read(frame.data)
        hold(seen is None or seen.quoted is None or seen.talk is not None, "an error about nothing")
    if all(frame.time_ns // 10**9 < 1 << 32 for frame in frames):  # a classic capture has 32 bits of seconds
        again = capture.parse(capture.write(frames), "x.pcap")
        hold([frame.data for frame in again] == [frame.data for frame in frames], "written isn't what was read")


if __name__ == "__main__":
    run("trace", modules, one, words(TOKENS))
