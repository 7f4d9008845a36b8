"""Commits on the twin: all or nothing, judged before anything changes, remembered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hal.errors import ErrorKind, HalError
from hal.packet.contract import (
    Delete,
    Generation,
    Insert,
    LoadConfig,
    Modify,
    Name,
    Operation,
    OutcomeKind,
    PacketIn,
    PortConfig,
)
from hal.packet.frame._generated import Profile, ProfileStage, Seed, Vnic, Vrf
from hal.packet.model import Twin
from hal.packet.model.twin import TwinWriter
from hal.packet.schema.rows import Row, as_rows
from hal.packet.stages.firewall._generated import FirewallPolicy, FirewallRule
from hal.packet.stages.route._generated import BlackholeRoute, NextHop, Route

CONFIG = LoadConfig(
    ports=(PortConfig(0, "uplink0", "replay"),),
    owners={"agent": ("route", "next_hop")},
    capacities={"vrf": 3, "route": 4},
    pickup_ns=0,
)
VRF = Vrf(id=1)
HOP = NextHop(id=1, port=0, address="192.0.2.1")
TEN = Route(id=10, vrf=1, prefix="10.0.0.0/8", next_hop=1)


def inserts(*rows: Row) -> list[Operation]:
    return [Insert(one) for one in as_rows(rows)]


def modifies(*rows: Row) -> list[Operation]:
    return [Modify(one) for one in as_rows(rows)]


def deletes(table: str, *ids: int) -> list[Operation]:
    return [Delete(table, np.array(ids, np.uint64))]


@pytest.fixture
def twin() -> Twin:
    twin = Twin()
    twin.load(CONFIG)
    return twin


@pytest.fixture
def dsnd(twin: Twin) -> TwinWriter:
    writer = twin.writer()
    writer.commit(inserts(VRF))
    return writer


@pytest.fixture
def agent(twin: Twin, dsnd: TwinWriter) -> TwinWriter:
    return twin.writer("agent")


def refused(kind: ErrorKind, call: Callable[[], Any], twin: Twin, **fields: Any) -> HalError:
    """The call fails so, and nothing has changed."""
    before = twin.snapshot()
    with pytest.raises(HalError) as caught:
        call()
    assert caught.value.kind == kind, caught.value
    assert {name: getattr(caught.value, name) for name in fields} == fields
    after = twin.snapshot()
    assert before.generation == after.generation
    assert [before.rows(table) for table in before.tables] == [after.rows(table) for table in after.tables]
    return caught.value


def test_generations_ascend_by_one(twin: Twin) -> None:
    writer = twin.writer()
    assert [writer.commit([]), writer.commit(inserts(VRF), tag="x"), writer.commit([])] == [1, 2, 3]
    assert (twin.snapshot().generation, twin.snapshot().tag) == (3, "")


def test_order_means_nothing(agent: TwinWriter, twin: Twin) -> None:
    agent.commit(inserts(TEN, HOP))
    swapped = replace(TEN, id=11)
    agent.commit([*inserts(swapped), *deletes("route", 10)])
    assert twin.snapshot().rows("route") == [swapped]
    other = replace(TEN, id=12, prefix="11.0.0.0/8")
    agent.commit(inserts(other))
    agent.commit(modifies(replace(swapped, prefix=other.prefix), replace(other, prefix=swapped.prefix)))
    assert [row.to_dict()["prefix"] for row in twin.snapshot().rows("route")] == ["11.0.0.0/8", "10.0.0.0/8"]


def test_modify_may_change_the_action(agent: TwinWriter, twin: Twin) -> None:
    agent.commit(inserts(TEN, HOP))
    agent.commit(modifies(BlackholeRoute(id=10, vrf=1, prefix="10.0.0.0/8")))
    agent.commit(deletes("next_hop", 1))
    assert twin.snapshot().rows("route") == [BlackholeRoute(id=10, vrf=1, prefix="10.0.0.0/8")]


@pytest.mark.parametrize(
    ("operations", "fields"),
    [
        (inserts(HOP, TEN), {"table": "next_hop", "row_id": 1, "field": "id"}),
        (inserts(replace(TEN, id=11)), {"table": "route", "row": 0, "row_id": 11, "field": "vrf, prefix"}),
        (inserts(replace(TEN, id=11, prefix="11.0.0.0/8", next_hop=9)), {"field": "next_hop", "got": 9, "row_id": 11}),
        (inserts(replace(TEN, id=11, prefix="11.0.0.0/8", vrf=9)), {"field": "vrf", "got": 9, "row_id": 11}),
        (modifies(replace(TEN, id=11)), {"row_id": 11, "field": "id"}),
        (deletes("route", 11), {"row_id": 11, "field": "id"}),
        (deletes("next_hop", 1), {"table": "next_hop", "row_id": 1}),
        ([*modifies(TEN), *deletes("route", 10)], {"row_id": 10, "field": "id"}),
        (deletes("route", 10, 10), {"row_id": 10, "row": 1}),
    ],
)
def test_invalid(agent: TwinWriter, twin: Twin, operations: Sequence[Operation], fields: dict[str, Any]) -> None:
    agent.commit(inserts(HOP, TEN))
    refused(ErrorKind.INVALID, lambda: agent.commit(operations), twin, **fields)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("prefix_len", 129, "0..128"),
        ("prefix_len", 96 + 6, "bits beyond"),
        ("vrf", (1 << 64) - 1, "0..18446744073709551614"),
        ("id", (1 << 64) - 1, "0..18446744073709551614"),
    ],
)
def test_fields_of_wire_arrays(agent: TwinWriter, twin: Twin, field: str, value: int, said: str) -> None:
    (rows,) = as_rows([replace(TEN, id=7, prefix="11.0.0.0/8"), TEN])
    rows.data[field][1] = value
    agent.commit(inserts(HOP))
    error = refused(ErrorKind.INVALID, lambda: agent.commit([Insert(rows)]), twin, table="route", row=1)
    assert said in error.limit


def test_padding_is_zero(agent: TwinWriter, twin: Twin) -> None:
    (rows,) = as_rows([HOP])
    raw = rows.data.view(np.uint8)
    raw[8 + 6] = 1
    error = refused(ErrorKind.INVALID, lambda: agent.commit([Insert(rows)]), twin, row=0, row_id=1)
    assert "padding" in error.limit


@pytest.mark.parametrize("name", [b"", b"\0x", b"a\0b", b"\x07", b"x" * 24, "ü".encode()])
def test_names_in_rows(dsnd: TwinWriter, twin: Twin, name: bytes) -> None:
    dsnd.commit(inserts(Profile(id=1)))
    place = ProfileStage(id=1, profile=1, direction="egress", position=0, stage="route")
    (rows,) = as_rows([place])
    rows.data["stage"] = name
    refused(ErrorKind.INVALID, lambda: dsnd.commit([Insert(rows)]), twin, field="stage")
    dsnd.commit(inserts(place))


def test_enumerations(dsnd: TwinWriter, twin: Twin) -> None:
    dsnd.commit(inserts(FirewallPolicy(id=1)))
    (rows,) = as_rows([FirewallRule(id=1, policy=1, priority=1, verdict="allow")])
    rows.data["verdict"] = 4
    error = refused(ErrorKind.INVALID, lambda: dsnd.commit([Insert(rows)]), twin, field="verdict")
    assert "got 4, limit one of 1 (allow), 2 (drop), 3 (reset)" in str(error)


def test_stages_that_are_not_there(dsnd: TwinWriter, twin: Twin) -> None:
    place = ProfileStage(id=1, profile=1, direction="egress", position=0, stage="teleport")
    rows = inserts(Profile(id=1), place)
    error = refused(ErrorKind.INVALID, lambda: dsnd.commit(rows), twin, field="stage", got="teleport")
    assert error.limit == "one of antispoof, firewall, bridge, route"


def test_full(agent: TwinWriter, dsnd: TwinWriter, twin: Twin) -> None:
    dsnd.commit(inserts(Vrf(id=2), Vrf(id=3)))
    error = refused(ErrorKind.FULL, lambda: dsnd.commit(inserts(Vrf(id=4))), twin, table="vrf")
    assert error.limit == "3 entries"
    dsnd.commit([*deletes("vrf", 2), *inserts(Vrf(id=4))])
    refused(
        ErrorKind.FULL, lambda: dsnd.commit(inserts(Seed(id=1, value=bytes(16)), Seed(id=2, value=bytes(16)))), twin
    )


def test_denied(agent: TwinWriter, dsnd: TwinWriter, twin: Twin) -> None:
    error = refused(ErrorKind.DENIED, lambda: dsnd.commit(inserts(HOP)), twin, table="next_hop", got="dsnd")
    assert "agent" in error.limit
    refused(ErrorKind.DENIED, lambda: agent.commit(deletes("vrf", 1)), twin)
    refused(ErrorKind.DENIED, lambda: agent.commit([], names=[Name("vrf", 1, "main")]), twin)
    refused(ErrorKind.DENIED, lambda: twin.writer("stranger"), twin)


def test_stale_is_of_the_owner(agent: TwinWriter, dsnd: TwinWriter, twin: Twin) -> None:
    base = agent.commit(inserts(HOP))
    dsnd.commit(inserts(Vrf(id=2)))
    agent.commit([], tag="nothing")
    agent.commit(inserts(TEN), base=base)
    refused(ErrorKind.STALE, lambda: agent.commit([], base=base), twin)
    refused(ErrorKind.STALE, lambda: agent.commit([], base=Generation(99, base.life)), twin)


def test_depends(agent: TwinWriter, dsnd: TwinWriter, twin: Twin) -> None:
    base = agent.commit(inserts(HOP, TEN))
    dsnd.commit(inserts(Vrf(id=2)))
    agent.commit([], base=base, depends=[("vrf", 1)])
    base = twin.snapshot().generation
    dsnd.commit(modifies(Vrf(id=1, punt_port=7)))
    refused(ErrorKind.STALE, lambda: agent.commit([], base=base, depends=[("vrf", 1)]), twin, row_id=1)
    refused(ErrorKind.STALE, lambda: agent.commit([], depends=[("vrf", 3)]), twin, row_id=3)
    agent.commit([], base=base, depends=[("vrf", 2)])


def test_outcomes(agent: TwinWriter, twin: Twin) -> None:
    generation = agent.commit(inserts(HOP), transaction=5)
    with pytest.raises(HalError, match="INVALID"):
        agent.commit(inserts(HOP), transaction=6)
    committed, unread = agent.outcome(5), agent.outcome(7)
    assert (committed.kind, committed.generation) == (OutcomeKind.COMMITTED, generation)
    assert agent.outcome(6).kind == OutcomeKind.REFUSED
    assert "next_hop" in agent.outcome(6).error
    assert unread.kind == OutcomeKind.UNKNOWN
    assert twin.writer().outcome(5).kind == OutcomeKind.UNKNOWN
    with pytest.raises(HalError, match="transaction"):
        agent.commit([], transaction=5)
    for number in range(1022):
        agent.commit([], transaction=100 + number)
    assert agent.outcome(5).kind == OutcomeKind.COMMITTED
    agent.commit([], transaction=99)
    assert agent.outcome(5).kind == OutcomeKind.UNKNOWN


def test_names_and_tag(agent: TwinWriter, twin: Twin) -> None:
    name = Name("route", 10, "ten", "x" * 200 + "shop.yaml", 12)
    agent.commit(inserts(HOP, TEN), tag="t" * 127, names=[name])
    kept = twin.snapshot().names["route", 10]
    assert (kept.text, kept.line, len(kept.file)) == ("ten", 12, 127)
    assert kept.file.endswith("shop.yaml")
    refused(ErrorKind.INVALID, lambda: agent.commit([], tag="t" * 128), twin, field="tag")
    refused(ErrorKind.INVALID, lambda: agent.commit([], names=[Name("route", 11, "none")]), twin)
    refused(ErrorKind.INVALID, lambda: agent.commit([], names=[Name("route", 10, "n" * 64)]), twin)
    agent.commit(modifies(replace(TEN, prefix="11.0.0.0/8")))
    assert ("route", 10) in twin.snapshot().names
    agent.commit(deletes("route", 10))
    assert twin.snapshot().names == {}


def test_staged(agent: TwinWriter, dsnd: TwinWriter, twin: Twin) -> None:
    staged = agent.stage(inserts(HOP), tag="later")
    assert twin.snapshot().rows("next_hop") == []
    with pytest.raises(HalError, match="BUSY"):
        agent.stage([])
    dsnd.commit(inserts(Vrf(id=2)))
    generation = staged.make()
    assert (twin.snapshot().generation, twin.snapshot().tag) == (generation, "later")
    assert twin.snapshot().rows("next_hop") == [HOP]
    with pytest.raises(HalError, match="STALE"):
        staged.make()


def test_staged_goes_stale(agent: TwinWriter, twin: Twin) -> None:
    staged = agent.stage(inserts(HOP))
    agent.commit([], tag="nothing")
    agent.commit(inserts(NextHop(id=77, port=1, address="192.0.2.77")))
    refused(ErrorKind.STALE, staged.make, twin)
    dropped = agent.stage(inserts(HOP))
    dropped.drop()
    refused(ErrorKind.STALE, dropped.make, twin)


def test_a_lease_ends(agent: TwinWriter, twin: Twin) -> None:
    twin.start()
    staged = agent.stage(inserts(HOP), lease_ns=1000)
    twin.advance(999)
    twin.shard(staged=staged).replay([PacketIn(bytes(60), 0, 0)])
    twin.advance(1000)
    refused(ErrorKind.STALE, staged.make, twin)
    agent.stage(inserts(HOP))


def test_load_once_and_right() -> None:
    twin = Twin()
    with pytest.raises(HalError, match=r"Call load\(\) first"):
        twin.snapshot()
    wrong = [
        LoadConfig(ports=(PortConfig(0, "a", "replay"), PortConfig(0, "b", "replay"))),
        LoadConfig(ports=(PortConfig(0, "a", "replay", mtu=100),)),
        LoadConfig(owners={"a": ("route",), "b": ("route",)}),
        LoadConfig(owners={"a": ("nothing",)}),
        LoadConfig(capacities={"route": 0}),
        LoadConfig(workers=65),
        LoadConfig(connections=0),
    ]
    for config in wrong:
        with pytest.raises(HalError, match="INVALID"):
            twin.load(config)
    twin.load(CONFIG)
    with pytest.raises(HalError, match="BUSY"):
        twin.load(CONFIG)


def test_snapshot_of_some_tables(agent: TwinWriter, twin: Twin) -> None:
    agent.commit(inserts(HOP, TEN))
    snapshot = twin.snapshot(["route"])
    assert list(snapshot.tables) == ["route"]
    with pytest.raises(HalError, match="one of"):
        twin.snapshot(["nothing"])
    assert twin.capabilities().occupancy["route"] == 1


def test_a_shard_sees_whole_generations(twin: Twin) -> None:
    """The generation is that of the replay's call, for all of its packets."""
    twin.start()
    shard = twin.shard()
    frame = bytes.fromhex("0200000000010200000000020800") + bytes(46)
    assert shard.replay([PacketIn(frame, 0, 0)])[0].reason == "not_configured"
    vnic = Vnic(id=1, port=0, vlan=0, match_mac=bytes(6), role="uplink", mac="02:00:00:00:00:01", vrf=1, profile=1)
    twin.writer().commit(inserts(VRF, Profile(id=1), vnic))
    assert shard.replay([PacketIn(frame, 0, 0)])[0].reason == "ipv4_header"
    with pytest.raises(HalError, match="time_ns"):
        shard.replay([PacketIn(frame, 0, 5), PacketIn(frame, 0, 4)])
