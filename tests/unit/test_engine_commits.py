"""Commits on the engine: held to the twin by drawn sequences, then what a draw would rarely meet."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hal.errors import ErrorKind, HalError
from hal.packet.contract import (
    Cursor,
    Delete,
    EventKind,
    Generation,
    Insert,
    LoadConfig,
    Modify,
    Name,
    Operation,
    OutcomeKind,
    PacketIn,
    PortConfig,
    Snapshot,
    Writer,
)
from hal.packet.dpdk.engine import Engine, connect
from hal.packet.frame._generated import Profile, ProfileStage, Vnic, Vrf
from hal.packet.model import Twin
from hal.packet.schema.rows import Row
from hal.packet.stages.bridge._generated import Subnet
from hal.packet.stages.firewall._generated import FirewallPolicy, FirewallRule
from hal.packet.stages.route._generated import BlackholeRoute, NextHop, Route
from tests.tools.engine import running

SIZES = {"vrf": 3, "next_hop": 4, "route": 12, "firewall_policy": 3, "firewall_rule": 8, "subnet": 4, "vnic": 4}
AGENTS = ("route", "next_hop")
CONFIG = LoadConfig(ports=(PortConfig(1, "uplink0", "replay"),), owners={"agent": AGENTS}, capacities=SIZES)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with running(tmp_path / "run"), closing(connect(tmp_path / "run")) as engine:
        yield engine


@pytest.fixture
def card(engine: Engine) -> Engine:
    engine.load(CONFIG)
    return engine


def content(snapshot: Snapshot) -> dict[str, list[bytes]]:
    """Rows by table: action and bytes, in order."""
    return {
        table: [rows.row.__name__.encode() + record.tobytes() for rows in parts for record in rows.data]
        for table, parts in snapshot.tables.items()
        if parts
    }


def draw_row(draw: random.Random) -> Row:
    """A row of few values, so that keys and references meet."""
    few = draw.randrange
    kind = draw.choice([Vrf, NextHop, Route, Route, BlackholeRoute, FirewallPolicy, FirewallRule, Subnet, Vnic])
    fields: dict[str, Any] = {}
    if kind is NextHop:
        fields = {"port": 1, "vlan": few(3), "address": f"192.0.2.{few(4)}"}
    elif kind in (Route, BlackholeRoute):
        fields = {"vrf": few(3), "prefix": draw.choice([f"10.{few(4)}.0.0/16", "0.0.0.0/0", f"2001:db8:{few(3)}::/48"])}
        fields |= {"next_hop": few(4)} if kind is Route else {}
    elif kind is FirewallRule:
        fields = {"policy": few(3), "priority": few(5), "verdict": draw.choice(["allow", "drop"])}
    elif kind is Subnet:
        fields = {"vrf": few(3), "mac": "02:00:00:00:00:01"}
    elif kind is Vnic:
        fields = {"port": few(2), "vlan": 0, "match_mac": f"02:00:00:00:00:0{few(4)}", "role": "vnic", "vrf": few(3),
                  "mac": "02:00:00:00:00:05", "profile": few(2),
                  "subnet": draw.choice([few(3), (1 << 64) - 1])}  # fmt: skip
    row: Row = kind(id=few(8), **fields)
    return row


def draw_operations(draw: random.Random) -> list[Operation]:
    operations: list[Operation] = []
    for _ in range(draw.choice([1, 1, 2, 3, 5])):
        row = draw_row(draw)
        how = draw.random()
        if how < 0.6:
            operations.append(Insert(row.rows()))
        elif how < 0.8:
            operations.append(Modify(row.rows()))
        else:
            operations.append(Delete(row.LAYOUT.table.name, np.array([row.id], np.uint64)))
    return operations


def table_of(operation: Operation) -> str:
    return operation.table if isinstance(operation, Delete) else operation.rows.row.LAYOUT.table.name


def told(writer: Writer, operations: list[Operation], base: Generation | None) -> tuple[object, ...]:
    """A generation, or what was wrong; and where, unless a commit may be wrong in several places at once."""
    try:
        return ("committed", int(writer.commit(operations, base=base)))
    except HalError as error:
        return (error.kind, error.table, error.field) if len(operations) == 1 else (error.kind,)


@pytest.mark.parametrize("seed", range(4))
def test_drawn_commits_are_the_twins(seed: int, card: Engine, long: bool) -> None:
    draw = random.Random(seed)
    twin = Twin()
    twin.load(CONFIG)
    seen: set[object] = set()
    for both in (twin.writer(), card.writer()):
        both.commit([Insert(Profile.array(id=[0, 1]))])
    writers: dict[str, tuple[Writer, Writer]] = {}
    for owner in ("dsnd", "agent"):
        writers[owner] = (twin.writer(owner), card.writer(owner))
    lives = [both.snapshot([]).generation.life for both in (twin, card)]
    for number in range(3000 if long else 400):
        operations = draw_operations(draw)
        owner = draw.choice(["dsnd", "agent"])
        if draw.random() < 0.9:  # or nearly all would be DENIED
            operations = [one for one in operations if (table_of(one) in AGENTS) == (owner == "agent")]
        base = draw.choice([None, None, None, max(0, twin.store.generation - draw.randrange(3))])
        expected, got = (
            told(writer, operations, None if base is None else Generation(base, life))
            for writer, life in zip(writers[owner], lives, strict=True)
        )
        assert got == expected, (number, operations)
        seen.add(expected[0])
        if number % 10 == 0 or expected[0] == "committed":
            assert content(card.snapshot()) == content(twin.snapshot())
    assert card.capabilities().occupancy == twin.capabilities().occupancy
    assert seen == {"committed", ErrorKind.INVALID, ErrorKind.FULL, ErrorKind.DENIED, ErrorKind.STALE}


# --- what a draw would rarely meet ---


def filled(card: Engine) -> None:
    card.writer("dsnd").commit([Insert(Vrf.array(id=[1, 2]))])
    card.writer("agent").commit([Insert(NextHop.array(id=[1, 2], port=1, address=["192.0.2.1", "192.0.2.2"]))])


def test_a_full_table_changes_all_of_its_rows_at_once(card: Engine) -> None:
    """No slot is free but those of rows that go: and what refused commits took is given back."""
    filled(card)
    agent = card.writer("agent")

    def routes(first: int, second: int, vrf: int) -> Insert:
        prefixes = [f"10.{second}.{place}.0/24" for place in range(12)]
        return Insert(Route.array(id=range(first, first + 12), vrf=vrf, prefix=prefixes, next_hop=1))

    agent.commit([routes(0, 0, 1)])
    for turn in range(1, 20):
        old = np.arange((turn - 1) * 12, turn * 12, dtype=np.uint64)
        with pytest.raises(HalError) as error:
            agent.commit([Delete("route", old), routes(turn * 12, turn % 2, 99)])
        assert (error.value.kind, error.value.field, error.value.got) == (ErrorKind.INVALID, "vrf", "99")
        agent.commit([Delete("route", old), routes(turn * 12, turn % 2, 1)])
        with pytest.raises(HalError) as error:
            agent.commit([Insert(Route.array(id=[5000], vrf=2, prefix=["0.0.0.0/0"], next_hop=1))])
        assert error.value.kind is ErrorKind.FULL
        assert [row.id for row in card.snapshot(["route"]).rows("route")] == list(range(turn * 12, turn * 12 + 12))


def test_a_deleted_row_is_named_with_who_refers_to_it(card: Engine) -> None:
    filled(card)
    card.writer("agent").commit([Insert(Route.array(id=[7], vrf=2, prefix=["10.0.0.0/8"], next_hop=2))])
    with pytest.raises(HalError) as error:
        card.writer("dsnd").commit([Delete("vrf", np.array([2], np.uint64))])
    assert str(error.value) == (
        "INVALID: table vrf id 2 (row 0), field id: got table route id 7 refers to it, limit no row that refers to it."
        " Remove or change those in the same commit."
    )


def test_a_stage_without_code_is_told_from_one_that_nobody_knows(card: Engine) -> None:
    card.writer().commit([Insert(Profile.array(id=[1]))])
    place = ProfileStage.array(id=[1], profile=1, direction="egress", position=0, stage="magic")
    with pytest.raises(HalError) as error:
        card.writer().commit([Insert(place)])
    assert (error.value.kind, error.value.field, error.value.got) == (ErrorKind.INVALID, "stage", "magic")


def test_outcomes_tell_the_error(card: Engine) -> None:
    writer = card.writer()
    with pytest.raises(HalError) as error:
        writer.commit([Delete("vrf", np.array([9], np.uint64))], transaction=5)
    refused = writer.outcome(5)
    assert (refused.kind, refused.error) == (OutcomeKind.REFUSED, str(error.value))
    writer.commit([], transaction=6)
    assert writer.outcome(6).generation == 1
    assert writer.outcome(7).kind is OutcomeKind.UNKNOWN
    with pytest.raises(HalError) as error:
        writer.commit([], transaction=6)
    assert (error.value.kind, error.value.field) == (ErrorKind.INVALID, "transaction")
    assert card.hello().generation == 1


def test_names_follow_their_rows(card: Engine) -> None:
    writer = card.writer()
    writer.commit([Insert(Vrf.array(id=[1, 2]))], names=[Name("vrf", 1, "shop", "shop.yaml", 3), Name("vrf", 2, "lab")])
    writer.commit([Modify(Vrf.array(id=[1], punt_port=4))])
    writer.commit([Delete("vrf", np.array([2], np.uint64))])
    writer.commit([Insert(Vrf.array(id=[2]))])
    assert card.snapshot().names == {("vrf", 1): Name("vrf", 1, "shop", "shop.yaml", 3)}
    writer.commit([], names=[Name("vrf", 1, "store")])
    assert card.snapshot(["vrf"]).names == {("vrf", 1): Name("vrf", 1, "store")}


# --- staged ---


def test_a_staged_commit_lets_others_by(card: Engine) -> None:
    """It stands aside for commits, and comes on top of them."""
    filled(card)
    agent, dsnd = card.writer("agent"), card.writer("dsnd")
    staged = agent.stage([Insert(Route.array(id=[1], vrf=1, prefix=["10.0.0.0/8"], next_hop=1))])
    assert card.snapshot(["route"]).rows("route") == []
    assert dsnd.commit([Insert(Vrf.array(id=[3]))]) == 3
    shard = card.shard(staged=staged)
    shard.replay([PacketIn(bytes(60), 1, 1)])
    shard.close()
    assert staged.make() == 4
    assert [row.id for row in card.snapshot(["route"]).rows("route")] == [1]
    with pytest.raises(HalError) as error:
        staged.make()
    assert error.value.kind is ErrorKind.STALE


def test_staged_commits_of_owners_stand_beside_each_other(card: Engine) -> None:
    """One at a time is built: who looks at one has the other taken off, and it comes back as it was."""
    filled(card)
    agent, dsnd = card.writer("agent"), card.writer("dsnd")
    routes = agent.stage([Insert(Route.array(id=[1], vrf=1, prefix=["10.0.0.0/8"], next_hop=1))], tag="routes")
    vrf = dsnd.stage([Insert(Vrf.array(id=[3]))], tag="vrf")
    shards = [card.shard(staged=one) for one in (routes, vrf) * 2]
    for now in range(1, 5):
        for shard in shards:
            shard.replay([PacketIn(bytes(60), 1, now)])
    for shard in shards:
        shard.close()
    with pytest.raises(HalError, match=r"BUSY: staged commit: got another while agent holds one for \d+\.\d s more"):
        card.writer("agent").stage([])
    assert card.snapshot().generation == 2
    assert (vrf.make(), routes.make()) == (3, 4)
    seen = card.snapshot()
    assert ([row.id for row in seen.rows("vrf")], [row.id for row in seen.rows("route")]) == ([1, 2, 3], [1])
    assert (seen.tag, dict(seen.tags)["dsnd"]) == ("routes", "vrf")


def test_a_staged_commit_is_stale_behind_its_owners_own(card: Engine) -> None:
    filled(card)
    agent = card.writer("agent")
    staged = agent.stage([Insert(Route.array(id=[1], vrf=1, prefix=["10.0.0.0/8"], next_hop=1))])
    other = Route.array(id=[2], vrf=1, prefix=["11.0.0.0/8"], next_hop=1)
    agent.commit([Insert(other)])
    with pytest.raises(HalError) as error:
        staged.make()
    assert error.value.kind is ErrorKind.STALE
    assert card.snapshot(["route"]).rows("route") == list(other)
    agent.stage([]).drop()  # and there is room for another


def is_busy(writer: Writer) -> bool:
    try:
        writer.stage([]).drop()
    except HalError as error:
        return error.kind is ErrorKind.BUSY
    return False


@pytest.mark.parametrize("end", ["drop", "lease", "connection"])
def test_a_staged_commit_ends(end: str, card: Engine) -> None:
    filled(card)
    agent = card.writer("agent")
    insert = Insert(Route.array(id=[1], vrf=1, prefix=["10.0.0.0/8"], next_hop=1))
    staged = agent.stage([insert], lease_ns=100_000_000 if end == "lease" else 60_000_000_000)
    if end == "drop":
        staged.drop()
    elif end == "lease":
        time.sleep(0.15)
    else:
        agent.close()
    dsnd = card.writer("dsnd")
    deadline = time.monotonic() + 10
    while is_busy(dsnd):  # a connection's end is seen a moment later
        assert time.monotonic() < deadline
    if end != "connection":
        with pytest.raises(HalError) as caught:
            staged.make()
        assert caught.value.kind is ErrorKind.STALE
    assert card.writer("agent").commit([insert]) == 3


def test_what_a_shard_looks_at_is_settled_when_it_is_made(card: Engine) -> None:
    filled(card)
    staged = card.writer("agent").stage([])
    shard = card.shard(staged=staged)
    staged.drop()
    with pytest.raises(HalError) as error:
        shard.replay([PacketIn(bytes(60), 1, 1)])
    assert error.value.kind is ErrorKind.STALE
    shard.close()


def test_late_readers_of_events_learn_what_they_missed(card: Engine) -> None:
    writer = card.writer()
    for _ in range(4100):
        writer.commit([])
    events = card.events(Cursor(1, card.hello().life))
    assert (events.missed, len(events.events), events.events[0].number, events.cursor) == (3, 4096, 5, 4100)


def test_a_commit_is_an_event(card: Engine) -> None:
    card.writer().commit([], tag="first")
    events = card.events()
    assert [(one.number, one.kind, one.id, one.data) for one in events.events] == [(1, EventKind.COMMIT, 1, "first")]
    assert (events.cursor, events.missed) == (1, 0)
    assert card.events(events.cursor).events == ()


# --- bulk ---


def test_a_full_internet_table(engine: Engine) -> None:
    """In one commit, then changed, then gone; the time that each took is printed, the sanitizers' included."""
    engine.load(LoadConfig(ports=(PortConfig(1, "uplink0", "replay"),)))
    writer = engine.writer()
    writer.commit([Insert(Vrf.array(id=[1])), Insert(NextHop.array(id=[1, 2], port=1, address="192.0.2.1"))])
    count = 1_060_000
    addresses = np.random.default_rng(1).permutation(np.arange(1 << 21, dtype=np.uint32))[:count] << 8
    prefixes = np.zeros((count, 16), np.uint8)
    prefixes[:, 10:12] = 0xFF
    prefixes[:, 12:] = addresses.astype(">u4").view(np.uint8).reshape(-1, 4)
    lengths = np.full(count, 120, np.uint8)
    ids = np.arange(1, count + 1, dtype=np.uint64)
    rows = Route.array(id=ids, vrf=1, prefix=(prefixes, lengths), next_hop=1)
    for operation in (Insert(rows), Modify(rows), Delete("route", ids), Insert(rows)):
        began = time.monotonic()
        writer.commit([operation])
        answered = time.monotonic() - began
        engine.hello()  # is answered when the second copy has followed
        print(f"{type(operation).__name__} {count:,} routes: {answered:.2f} s, both {time.monotonic() - began:.2f} s")
    assert engine.capabilities().occupancy["route"] == count
    (found,) = engine.snapshot(["route"]).tables["route"]
    assert found.data.tobytes() == rows.data.tobytes()
    again = Route.array(id=ids[-1:] + 1, vrf=1, prefix=(prefixes[-1:], lengths[-1:]), next_hop=2)
    with pytest.raises(HalError) as error:
        writer.commit([Delete("route", ids[:-1]), Insert(again)])
    assert (error.value.kind, error.value.field) == (ErrorKind.INVALID, "vrf, prefix")
    assert engine.capabilities().occupancy["route"] == count
