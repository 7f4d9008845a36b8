"""The counter segment as a value: `hal/packet/engine/control/counters.h` says its form, its directory the rest."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from hal.errors import ErrorKind, HalError
from hal.packet.contract import BURSTS, LIMITS, Counters, LimitCounters, RowCounters
from hal.packet.dpdk.dictionary import Dictionary
from hal.packet.schema.declare import NONE_ID

MAGIC = 0x434E5344
SHARED = 0xFFFF
HEADER = np.dtype([("magic", "<u4"), ("version", "<u4"), ("size", "<u8"), ("entries", "<u4"), ("entry_size", "<u4"),
                   ("generation", "<u8")])  # fmt: skip
ENTRY = np.dtype([("name", "S40"), ("offset", "<u8"), ("count", "<u4"), ("stride", "<u4"), ("worker", "<u2"),
                  ("reserved", "<u2", 3)])  # fmt: skip
VNIC = ("rx_packets", "rx_bytes", "tx_packets", "tx_bytes", "drops")
PORT = ("rx_packets", "rx_bytes", "rx_errors", "tx_packets", "tx_bytes", "tx_full")
ENGINE = ("flows_opened", "flows_now", "chain_walks", "reevaluations", "pickups", "handovers", "packets",
          "logs_suppressed", "half_open_evicted", "icmp_suppressed", *BURSTS, "ended_evicted")  # fmt: skip
"""Names of `enum dsn_engine_counter`, in its order. Those of `enum dsn_limit` are LIMITS."""


def _arrays(data: bytes) -> dict[str, list[np.ndarray[Any, np.dtype[np.uint64]]]]:
    """Directory name -> its arrays (one a worker), each of shape (count, stride / 8)."""
    if len(data) < HEADER.itemsize:
        raise HalError(
            ErrorKind.CORRUPT, "counter segment", got=f"{len(data)} bytes", limit=f"{HEADER.itemsize} or more"
        )
    header = np.frombuffer(data, HEADER, 1)[0]
    end = HEADER.itemsize + int(header["entries"]) * ENTRY.itemsize
    if header["magic"] != MAGIC or header["entry_size"] != ENTRY.itemsize or end > len(data):
        raise HalError(ErrorKind.CORRUPT, "counter segment", field="header", got=str(header))
    result: dict[str, list[np.ndarray[Any, np.dtype[np.uint64]]]] = {}
    for entry in np.frombuffer(data, ENTRY, int(header["entries"]), HEADER.itemsize):
        offset, count, stride = int(entry["offset"]), int(entry["count"]), int(entry["stride"])
        if stride % 8 or offset + count * stride > len(data):
            raise HalError(ErrorKind.CORRUPT, "counter segment", field=bytes(entry["name"]).decode("ascii", "replace"))
        array = np.frombuffer(data, "<u8", count * stride // 8, offset).reshape(count, stride // 8)
        result.setdefault(bytes(entry["name"]).decode("ascii"), []).append(array)
    return result


def _total(arrays: dict[str, list[np.ndarray[Any, np.dtype[np.uint64]]]], name: str) -> np.ndarray[Any, Any]:
    found = arrays.get(name, [])
    return np.sum(found, axis=0) if found else np.zeros((0, 1), np.uint64)


def _limits(total: np.ndarray[Any, Any], rows: np.ndarray[Any, Any]) -> dict[tuple[int, str], LimitCounters]:
    """Of shape (slots, 3 x limits): one that was made known later than the engine is not there."""
    there = np.flatnonzero(rows[: len(total)] != NONE_ID)
    names = LIMITS[: total.shape[1] // 3]
    values = total[there, : 3 * len(names)].reshape(-1, 3).tolist()
    return dict(zip(product(rows[there].tolist(), names), map(LimitCounters._make, values), strict=True))


def read_counters(data: bytes, dictionary: Dictionary) -> Counters:
    """Counters of all workers together. Raises HalError(CORRUPT) where the segment can't be what it says."""
    arrays = _arrays(data)
    drops = _total(arrays, "drops")[:, 0]
    ids = {name.removeprefix("ids."): some[0][:, 0] for name, some in arrays.items() if name.startswith("ids.")}
    rows: dict[tuple[str, int], RowCounters] = {}
    for name in arrays:
        if not name.startswith("row."):
            continue
        table = name.removeprefix("row.")
        total = _total(arrays, name)
        for slot in np.flatnonzero(ids[table][: len(total)] != NONE_ID):
            rows[table, int(ids[table][slot])] = RowCounters(*(int(one) for one in total[slot][:3]))
    vnics: dict[int, dict[str, int]] = {}
    total = _total(arrays, "vnic")
    for slot in np.flatnonzero(ids["vnic"][: len(total)] != NONE_ID) if "vnic" in ids else ():
        vnics[int(ids["vnic"][slot])] = dict(zip(VNIC, (int(one) for one in total[slot]), strict=False))
    ports = {int(one[0]): dict(zip(PORT, (int(value) for value in one[1:]), strict=False))
             for some in arrays.get("port", []) for one in some}  # fmt: skip
    engine = dict(zip(ENGINE, (int(one) for one in _total(arrays, "engine")[:, 0]), strict=False))
    return Counters(
        drops={dictionary.reason(number): int(count) for number, count in enumerate(drops)},
        vnics=vnics, ports=ports, rows=rows, engine=engine,
        limits=_limits(_total(arrays, "limits"), ids["vnic"]) if "limits" in arrays else {},
    )  # fmt: skip


STRUCTURES = {"dsn_counter_header": HEADER, "dsn_counter_entry": ENTRY}
"""C name -> dtype, for the test that compares the two."""

__all__ = ["STRUCTURES", "read_counters"]
