"""What the engine tells of limits: the sums over its workers, and what becomes of it in segments of other releases."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from hal.conformance.frames import fragment, tcp, udp
from hal.conformance.world import A, B, C, rows
from hal.packet.contract import LIMITS, Counters, Insert, LimitCounters, LoadConfig, PortConfig
from hal.packet.dpdk.counters import ENTRY, HEADER, MAGIC, read_counters
from hal.packet.dpdk.dictionary import Dictionary
from hal.packet.schema.registry import schema
from hal.packet.schema.rows import as_rows
from tests.tools import pcap
from tests.tools.engines import running

SYNS, DATAGRAMS, FRAGMENTS = 300, 200, 60


def _done(counters: Counters) -> int:
    """What was sent or dropped."""
    return sum(one["tx_packets"] for one in counters.ports.values()) + sum(counters.drops.values())


@pytest.mark.parametrize("handshakes", [60, 3000])
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_workers_are_told_together(workers: int, handshakes: int) -> None:
    """What A floods with is spread over workers, and B's fragments are one's: of each limit the sum is told. Of
    handshakes that is half of what may be in all, where more are said."""
    cut_up = []
    for number in range(FRAGMENTS):
        packet = bytearray(fragment(B.ip6, C.ip6, 0, True, udp(B.ip6, C.ip6, 1)[40:].ljust(16, b"\0")))
        packet[44:48] = number.to_bytes(4, "big")
        cut_up.append(B.frame(bytes(packet)))
    frames = [A.frame(tcp(A.ip, C.ip, 1 + sport, 80, "S")) for sport in range(SYNS)]
    frames += [A.frame(udp(A.ip, C.ip, 1 + sport)) for sport in range(DATAGRAMS)]
    with tempfile.TemporaryDirectory(prefix="dsn", dir="/tmp") as name, running() as engine:
        folder = Path(name)
        ports = [PortConfig(0, "p0", "replay"), PortConfig(9, "p9", "replay")]
        for host, some in ((A, frames), (B, cut_up), (C, [])):
            pcap.write(folder / f"in{host.port}", some)
            device = f"pcap:{folder}/in{host.port},{folder}/out{host.port}"
            ports.append(PortConfig(host.port, f"p{host.port}", device))
        engine.load(LoadConfig(ports=tuple(ports), connections=4096, flow_limit=121, half_open_limit=handshakes,
                               fragment_limit=7, pickup_ns=0, workers=workers))  # fmt: skip
        engine.writer().commit([Insert(some) for some in as_rows(rows())])
        engine.start()
        deadline = time.monotonic() + 60
        while _done(engine.counters()) < len(frames) + len(cut_up) and time.monotonic() < deadline:
            time.sleep(0.02)
        engine.settle()
        counters = engine.counters()
        flows = engine.flows()
    limits, drops = counters.limits, counters.drops
    seen = {key for key, one in limits.items() if one.used or one.refused} - {(A.vnic, "first_packet_limit")}
    assert seen == {
        (A.vnic, "flow_limit"),
        (A.vnic, "half_open_limit"),
        (B.vnic, "flow_limit"),
        (B.vnic, "fragment_limit"),
    }
    open_, half_open = limits[A.vnic, "flow_limit"], limits[A.vnic, "half_open_limit"]
    assert (open_.used, open_.most) == (121, 121)
    assert open_.refused > 0
    assert (half_open.used, half_open.most) == (sum(flow.protocol == 6 for flow in flows), 60)
    assert half_open.used <= 60  # another worker's datagrams may be ahead of one's SYNs
    assert half_open.refused > 0
    evicted = counters.engine["half_open_evicted"]
    assert open_.refused + half_open.refused == drops["flow_limit"] + evicted
    assert limits[B.vnic, "flow_limit"] == LimitCounters(1, 121, 0)
    assert limits[B.vnic, "fragment_limit"] == LimitCounters(7, 7 * workers, FRAGMENTS - 7)
    assert drops["fragment_limit"] == FRAGMENTS - 7
    assert limits[A.vnic, "first_packet_limit"].most == 512 * workers


def _segment(limits: int | None) -> bytes:
    """A segment of one worker with two places for vNICs, one of them taken. `limits`: how many it knows of; None: it is
    of a release that knew none."""
    arrays = {"ids.vnic": np.array([[7], [2**64 - 1]], "<u8"), "vnic": np.arange(10, dtype="<u8").reshape(2, 5)}
    arrays |= {"drops": np.zeros((3, 1), "<u8"), "engine": np.zeros((4, 1), "<u8")}
    if limits is not None:
        arrays["limits"] = np.arange(2 * 3 * limits, dtype="<u8").reshape(2, 3 * limits)
    entries, data, offset = [], b"", HEADER.itemsize + len(arrays) * ENTRY.itemsize
    for name, array in arrays.items():
        entries.append((name.encode(), offset + len(data), len(array), array.shape[1] * 8, 0, (0, 0, 0)))
        data += array.tobytes()
    header = np.array([(MAGIC, 1, offset + len(data), len(arrays), ENTRY.itemsize, 1)], HEADER)
    return header.tobytes() + np.array(entries, ENTRY).tobytes() + data


@pytest.mark.parametrize("known", [None, 0, 1, 2, len(LIMITS), len(LIMITS) + 3])
def test_an_engine_of_another_release_tells_what_it_knows(known: int | None) -> None:
    """One that knows none tells none, one that knows fewer or more those that both know; all else is told by each."""
    found = read_counters(_segment(known), Dictionary(schema(own_only=True).to_json().encode(), schema(own_only=True)))
    names = LIMITS[: known or 0]
    assert found.limits == {
        (7, name): LimitCounters(3 * place, 3 * place + 1, 3 * place + 2) for place, name in enumerate(names)
    }
    assert found.vnics == {7: {"rx_packets": 0, "rx_bytes": 1, "tx_packets": 2, "tx_bytes": 3, "drops": 4}}
