"""A newer Python drives the engine that is running: to it the engine lacks a table and a field.

`tests/unit/test_older_engine.py` has the translation alone; here the engine is a real one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from hal.errors import ErrorKind, HalError
from hal.packet.contract import Delete, Insert, LoadConfig, Modify, PortConfig
from hal.packet.derive import sync
from hal.packet.dpdk import Engine
from hal.packet.dpdk import engine as driver
from hal.packet.frame._generated import Vrf
from hal.packet.schema.classes import row_classes
from hal.packet.schema.declare import u32
from hal.packet.schema.layout import Layout, layout
from hal.packet.schema.registry import Schema, schema
from hal.packet.schema.rows import Row
from hal.packet.stages.bridge._generated import Subnet
from sdk.scaffold.skeleton import write
from tests.tools.engines import running

MAC = "02:00:00:00:aa:01"
COLOUR = u32("colour", "What the release to come will know.", default=0)


def _newer(whole: Schema) -> Schema:
    """This schema with a field more in Vrf."""
    frame = whole.stages[0]
    tables = tuple(
        replace(table, actions=tuple(replace(one, fields=(*one.fields, COLOUR)) for one in table.actions))
        if table.name == "vrf"
        else table
        for table in frame.tables
    )
    return Schema((replace(frame, tables=tables), *whole.stages[1:]))


_VRF = _newer(schema(own_only=True)).table("vrf")


@dataclass(frozen=True, kw_only=True)
class NewVrf(Row):
    """Vrf as the release to come will have it."""

    LAYOUT: ClassVar[Layout] = layout(_VRF, _VRF.actions[0])
    punt_port: int = 0xFFFF_FFFF
    colour: int = 0


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """An engine seen by a Python that knows a stage with a table more, `later`, and a field of Vrf more."""
    write("stage", "later", tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    known = row_classes(["later"])
    monkeypatch.setattr(driver, "schema", lambda more: _newer(schema(more)))
    monkeypatch.setattr(driver, "row_classes", lambda more: {**known, "Vrf": NewVrf})
    with running(more=["later"]) as started:
        yield started
    for name in [one for one in sys.modules if one == "later" or one.startswith("later.")]:
        del sys.modules[name]


def _later_port(**fields: Any) -> Row:
    from later._generated import LaterPort  # type: ignore[import-not-found]

    row: Row = LaterPort(**fields)
    return row


def _load(engine: Engine, **more: Any) -> None:
    engine.load(LoadConfig(ports=(PortConfig(1, "host0", "replay"),), **more))
    engine.start()


def _unsupported(call: Any, table: str, field: str = "") -> HalError:
    with pytest.raises(HalError) as caught:
        call()
    assert (caught.value.kind, caught.value.table) == (ErrorKind.UNSUPPORTED, table)
    assert caught.value.field == field or not field
    return caught.value


def test_what_both_know_is_committed_and_read(engine: Engine) -> None:
    _load(engine)
    writer = engine.writer()
    rows = [NewVrf(id=1), NewVrf(id=2, punt_port=9), Subnet(id=1, vrf=2, mac=MAC)]
    assert sync(writer, engine, *rows).generation == 1
    assert engine.snapshot().rows("vrf") == rows[:2]
    assert engine.snapshot().rows("subnet") == rows[2:]
    assert sync(writer, engine, *rows).generation == 1
    assert writer.commit([Modify(NewVrf(id=1, punt_port=3).rows()), Delete("subnet", np.array([1], np.uint64))]) == 2
    assert engine.snapshot(["vrf"]).rows("vrf")[0] == NewVrf(id=1, punt_port=3)


def test_a_field_that_it_lacks_is_refused_with_a_value(engine: Engine) -> None:
    _load(engine)
    writer = engine.writer()
    error = _unsupported(lambda: writer.commit([Insert(NewVrf(id=1, colour=5).rows())]), "vrf", "colour")
    assert "restart it" in str(error)
    assert engine.snapshot().generation == 0


def test_a_table_that_it_lacks_is_refused(engine: Engine) -> None:
    _unsupported(lambda: _load(engine, capacities={"later_port": 5}), "later_port")
    _unsupported(lambda: _load(engine, owners={"me": ("later_port",)}), "later_port")
    _load(engine)
    writer = engine.writer()
    writer.commit([Insert(NewVrf(id=1).rows())])
    row = _later_port(id=1, vnic=1, port=5)
    _unsupported(lambda: writer.commit([Insert(NewVrf(id=2).rows()), Insert(row.rows())]), "later_port")
    _unsupported(lambda: engine.snapshot(["later_port"]), "later_port")
    assert [one.id for one in engine.snapshot().rows("vrf")] == [1]


def test_it_tells_the_stages_that_it_has(engine: Engine) -> None:
    _load(engine)
    assert [slot.name for slot in Vrf.LAYOUT.slots] != [slot.name for slot in NewVrf.LAYOUT.slots]
    assert engine.capabilities().stages == ("antispoof", "firewall", "bridge", "route")
