"""What twin and engine say of a capture, on the wiring of tests/packets."""

from __future__ import annotations

from collections.abc import Sequence

from hal.packet.contract import Backend, PacketIn, PacketResult
from tests.opinions.capture import Capture
from tests.opinions.wire import SECOND
from tests.opinions.wiring import SIDES


def results(backend: Backend, capture: Capture) -> Sequence[PacketResult]:
    """For each frame what became of it, in a shard that knows nothing of before."""
    shard = backend.shard(connections=64)
    try:
        packets = [PacketIn(one.data, SIDES[one.side].port, SECOND + one.time_ns) for one in capture.frames]
        return shard.replay(packets)
    finally:
        shard.close()
