"""Arguments that no card could mean: INVALID, the same words and fields before every card."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from hal.conformance import world
from hal.conformance.bench import Bench, insert
from hal.conformance.check import Level, check, equal, raises
from hal.conformance.frames import udp
from hal.conformance.traffic import SECOND
from hal.conformance.world import A, C
from hal.errors import ErrorKind
from hal.packet.contract import Delete, FlowFilter, Name, PacketIn
from hal.packet.frame._generated import Vrf

INVALID = ErrorKind.INVALID
MEANT = "An argument that no card could mean is INVALID before anything is done"
NUMBERS, TEXT, PREFIXES = "a number out of range", "text with control characters", "a prefix that is none."
WORD = 1 << 64
NAME = Name("vrf", 1, "red", "intent.yaml", 7)
NO_IDS: tuple[Any, ...] = ([1], np.array([[1]], np.uint64), np.array([-1]), np.array([1.0]), None)


@check(Level.TABLES, MEANT, NUMBERS, TEXT, "`hal.packet.arguments` asks it for every backend.")
def arguments_of_commits_are_judged(bench: Bench) -> None:
    """A commit's numbers and texts are refused where no card could keep them as they are, and leave no outcome."""
    card = bench.card()
    card.commit(insert(Vrf(id=1)))
    row = insert(Vrf(id=2))
    numbers: tuple[Any, ...] = (-1, WORD, 1.5, "7", True)
    for value in numbers:
        refused = partial(card.refuses_commit, INVALID, f"transaction {value!r}", row, transaction=value)
        refused(place={"field": "transaction"})
        card.refuses(INVALID, f"outcome of {value!r}", partial(card.writer().outcome, value), field="transaction")
    for tag in ("a\0b", "a\nb", "\x7f"):
        card.refuses_commit(INVALID, f"tag {tag!r}", row, place={"field": "tag"}, tag=tag)
    wrong: dict[str, tuple[Any, ...]] = {
        "text": ("a\0b", "\x1b[2J", ""), "file": ("a\nb",), "line": (-1, 1 << 32), "id": (-1, WORD),
    }  # fmt: skip
    for field, values in wrong.items():
        for value in values:
            place = {"field": "name" if field == "text" else field, "table": "vrf"}
            names = [replace(NAME, **{field: value})]
            card.refuses_commit(INVALID, f"a name with {field} {value!r}", row, place=place, names=names)
    for value in (-1, WORD):
        place = {"field": "depends", "table": "vrf"}
        card.refuses_commit(INVALID, f"depends on {value}", row, place=place, depends=[("vrf", value)])
    for ids in NO_IDS:
        place = {"field": "id", "table": "vrf"}
        card.refuses_commit(INVALID, f"ids {ids!r}", [Delete("vrf", ids)], place=place)
    card.commit(row, names=[NAME], depends=[("vrf", 1)], transaction=7, tag="é")


@check(Level.STATELESS, NUMBERS, needs=("stage",))
def a_lease_is_a_time(bench: Bench) -> None:
    """INVALID where a lease is no number of nanoseconds."""
    card = bench.card()
    for lease in (-1, WORD, 1.5):
        stage = partial(card.stage, insert(Vrf(id=1)), lease_ns=lease)
        card.refuses(INVALID, f"a lease of {lease} ns", stage, field="lease_ns")


@check(Level.STATEFUL, MEANT, NUMBERS, PREFIXES, needs=("flows", "forget"))
def filters_are_judged(bench: Bench) -> None:
    """A filter's numbers and prefixes are refused where no connection has them, whoever asks, and whether or not there
    are connections."""
    card = bench.card()
    wrong: dict[str, tuple[Any, ...]] = {
        "protocol": (-1, 256), "source_port": (-1, 65536), "destination_port": (65536,), "vrf": (-1, WORD),
        "vnic": (WORD,), "id": (-1, WORD, 10**30), "source": ("junk", "10.1.0.11/24", "10.0.0.0/33", 7),
        "destination": ("", "::1/64"),
    }  # fmt: skip
    for field, values in wrong.items():
        for value in values:
            which = FlowFilter(**{field: value})
            card.refuses(INVALID, f"flows with {field} {value!r}", partial(card.backend.flows, which), field=field)
            card.refuses(INVALID, f"forget {field} {value!r}", partial(card.writer().forget, which), field=field)
    whole = FlowFilter(WORD - 1, WORD - 1, 255, "::/0", "10.0.0.0/8", 65535, 0, WORD - 1)
    equal((card.backend.flows(whole), card.writer().forget(whole)), ([], 0), "flows by the largest numbers")


@check(
    Level.STATELESS,
    MEANT,
    NUMBERS,
    "A private shard for 1 to 1,048,576 connections.",
    needs=("shard", "bridge", "route"),
)
def arguments_of_shards_are_judged(bench: Bench) -> None:
    """A shard's size and a packet's port and time are refused where they are out of range, never taken for another."""
    card = world.world(bench)
    for size in (0, -1, (1 << 20) + 1, 1 << 32, 10**12):
        card.refuses(INVALID, f"a shard of {size}", partial(card.shard, connections=size), field="connections")
    shard, frame = card.shard(connections=16), A.frame(udp(A.ip, C.ip))
    for port in (-1, (1 << 32) + A.port, 1.0):
        packet: Any = PacketIn(frame, port, SECOND)  # type: ignore[arg-type]
        card.refuses(INVALID, f"a packet at port {port}", partial(shard.replay, [packet]), field="port")
    packet = PacketIn(frame, A.port, -1)
    card.refuses(INVALID, "a packet before time began", partial(shard.replay, [packet]), field="time_ns")
    equal(shard.replay([PacketIn(frame, A.port, SECOND)])[0].reason, "", "reason of a packet at a port")


@check(Level.STATELESS, "Closed once more it stays so; whatever else is asked of it is LOST.", "Let go of it.",
       needs=("shard",))  # fmt: skip
def a_closed_shard_is_lost(bench: Bench) -> None:
    """Whatever is asked of a closed shard is LOST; another one can be made."""
    card = bench.card()
    shard = card.backend.shard()
    shard.close()
    shard.close()
    for verb in (shard.flows, shard.neighbours, shard.settle, shard.counters, shard.events):
        raises(ErrorKind.LOST, verb, "asking a closed shard")
    raises(ErrorKind.LOST, lambda: shard.replay([PacketIn(bytes(60), 1, SECOND)]), "a replay in a closed shard")
    equal(card.shard().flows(), [], "connections of a new shard")
