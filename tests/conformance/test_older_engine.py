"""This Python drives the engine of the release before, built from a schema with a stage and a field less.

`tests/unit/test_older_engine.py` has the translation alone, in both directions.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hal.conformance import Check, Device, checks
from hal.conformance.bench import Bench, Card, insert
from hal.conformance.check import checks_of
from hal.conformance.frames import udp
from hal.conformance.world import NO_MAC, RULE, A, C, firewalled, rule
from hal.errors import ErrorKind, HalError
from hal.packet.contract import Backend, Delete, LoadConfig, Modify, PacketIn
from hal.packet.derive import sync
from hal.packet.dpdk import Engine, connect
from hal.packet.frame._generated import Profile, ProfileStage, Vnic, Vrf
from hal.packet.schema.registry import schema
from hal.packet.stages.antispoof._generated import AllowedSource
from tests.tools.engines import running
from tests.tools.older import FIELD, STAGE, TABLE, older_engine, older_schema

LATER = ("allowed_source",)
"""What the older engine has never heard of."""


@pytest.fixture(scope="module")
def binary() -> Path:
    return older_engine()


class OlderEngine(Device):
    """Engines of the release before."""

    def __init__(self, program: Path) -> None:
        self._program = program
        self._open: dict[int, contextlib.ExitStack] = {}

    def open(self) -> Backend:
        stack = contextlib.ExitStack()
        engine = stack.enter_context(running(binary=self._program))
        self._open[id(engine)] = stack
        return engine

    def close(self, backend: Backend) -> None:
        self._open.pop(id(backend)).close()


@pytest.fixture
def bench(binary: Path) -> Iterator[Bench]:
    """Cards whose tables are sized as the older engine has them."""
    result = Bench(OlderEngine(binary))
    vars(result)["schema"] = older_schema()
    yield result
    result.close()


@pytest.fixture
def card(bench: Bench) -> Card:
    """A loaded one."""
    return bench.card()


def _engine(card: Card) -> Engine:
    assert isinstance(card.backend, Engine)
    return card.backend


def _unsupported(call: Callable[[], Any], table: str, field: str = "") -> HalError:
    with pytest.raises(HalError) as caught:
        call()
    assert (caught.value.kind, caught.value.table) == (ErrorKind.UNSUPPORTED, table)
    assert caught.value.field == field or not field
    return caught.value


def test_the_greeting_is_the_dictionary(card: Card) -> None:
    """Its tables and reasons have other numbers than ours, and it has fewer; its stages are told."""
    older, ours = older_schema(), schema(own_only=True)
    assert set(ours.table_numbers) - set(older.table_numbers) == {*LATER}
    assert older.table_numbers["route"] != ours.table_numbers["route"]
    assert older.reason_numbers["blackhole"] != ours.reason_numbers["blackhole"]
    assert card.capabilities.stages == ("firewall", "bridge", "route")
    assert set(card.capabilities.capacities) == set(older.table_numbers)


def _vnic(**more: Any) -> Vnic:
    fields = {"id": 1, "port": 1, "vlan": 0, "match_mac": NO_MAC, "role": "vnic", "mac": A.mac, "vrf": 1, "profile": 1}
    return Vnic(**{**fields, **more})


def test_a_row_whose_new_field_has_its_default_passes(card: Card) -> None:
    """It is committed, read back as it was, changed and deleted; and brought to the same rows nothing changes."""
    rows = [Vrf(id=1), Profile(id=1), _vnic(flow_limit=7)]
    writer = card.writer()
    assert sync(writer, card.backend, *rows, tag="one").generation == 1
    assert card.backend.snapshot().rows(TABLE) == rows[2:]
    assert sync(writer, card.backend, *rows, tag="one").generation == 1
    assert writer.commit([Modify(_vnic(mtu=9000).rows())]) == 2
    assert card.backend.snapshot([TABLE]).rows(TABLE) == [_vnic(mtu=9000)]
    assert writer.commit([Delete(TABLE, np.array([1], np.uint64))]) == 3


def test_a_row_with_a_new_field_is_refused(card: Card) -> None:
    """By the field's name, and nothing of the commit is there."""
    card.commit(insert(Vrf(id=1), Profile(id=1)))
    both = insert(Vrf(id=2), _vnic(punt_limit=5))
    error = _unsupported(lambda: card.commit(both), TABLE, FIELD)
    assert "restart it" in str(error)
    assert (card.state().generation, card.ids("vrf")) == (1, [1])


def test_a_table_that_it_lacks_is_refused(bench: Bench) -> None:
    """At load, in a commit, and when it is read."""
    engine = bench.unloaded()
    for more in ({"capacities": dict.fromkeys(LATER, 5)}, {"owners": {"me": LATER}}):
        _unsupported(lambda more=more: engine.load(LoadConfig(**more)), LATER[0])  # type: ignore[misc]
    card = bench.card()
    card.commit(insert(Vrf(id=1), Profile(id=1), _vnic()))
    both = insert(Vrf(id=2), AllowedSource(id=1, vnic=1, prefix="10.0.0.0/8"))
    _unsupported(lambda: card.commit(both), LATER[0])
    _unsupported(lambda: card.backend.snapshot(LATER), LATER[0])
    assert card.ids("vrf") == [1]


def test_a_profile_with_a_stage_that_it_lacks_is_refused(card: Card) -> None:
    card.commit(insert(Profile(id=1)))
    row = ProfileStage(id=1, profile=1, direction="egress", position=0, stage=STAGE)
    error = _unsupported(lambda: card.commit(insert(row)), "profile_stage", "stage")
    assert error.limit == "one of firewall, bridge, route"
    card.commit(insert(ProfileStage(id=1, profile=1, direction="egress", position=0, stage="route")))


def test_a_newer_python_adopts_it(bench: Bench) -> None:
    """Who connects anew finds pid, generation, tag, rows, names and outcomes, and changes nothing."""
    card = firewalled(bench)
    card.commit(tag="good", transaction=77)
    before, engine = card.state(), _engine(card)
    adopted = connect(engine.run)
    try:
        now = Card(card.device, adopted, card.schema, card.classes)
        assert adopted.pid == engine.pid
        assert now.state() == before
        assert adopted.writer().outcome(77).generation == before.generation
        rows = [row for table in now.schema.table_numbers for row in adopted.snapshot([table]).rows(table)]
        own = [table.name for table in card.schema.tables]
        assert sync(adopted.writer(), adopted, *rows, tag="good", tables=own).generation == before.generation
        assert set(adopted.counters().drops) == set(older_schema().reason_numbers)
        shard = now.shard()
        frame = A.frame(udp(A.ip, C.ip))
        assert [one.reason for one in shard.replay([PacketIn(frame, A.port, 10**9)])] == [""]
        assert shard.counters().rows["firewall_rule", RULE].hits == 1
        now.commit(insert(rule(51, verdict="drop", priority=1)))
        assert [one.reason for one in shard.replay([PacketIn(frame, A.port, 2 * 10**9)])] == ["firewall_rule"]
        now.close()
    finally:
        adopted.close()


NEW = "punts_are_limited"
"""The one check of packets that needs the field which it lacks."""
PACKETS = [
    check
    for module in (checks.forwarding, checks.counting, checks.sessions, checks.limits, checks.shards)
    for check in checks_of(module)
    if check.name != NEW and not {STAGE, "wire"} & set(check.needs)
]


NUMBERS = ("witnesses_tell_the_way", "witnesses_tell_drops")
"""The checks of what a witness says in numbers: they are ours, whatever the engine's own are."""


@pytest.mark.parametrize("check", PACKETS, ids=lambda check: check.name)
def test_packets_meet_the_same(bench: Bench, check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the kit asks of packets holds for it too: reasons, rows and states mean what they are called."""
    if check.name in NUMBERS:
        begin = Card.__init__

        def in_ours(card: Card, *more: Any) -> None:
            begin(card, *more)
            card.schema = schema(own_only=True)

        monkeypatch.setattr(Card, "__init__", in_ours)
    check.body(bench)


def test_what_needs_the_new_field_says_so(bench: Bench) -> None:
    check = next(one for one in checks_of(checks.forwarding) if one.name == NEW)
    _unsupported(lambda: check.body(bench), TABLE, FIELD)
