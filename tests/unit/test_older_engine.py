"""A newer Python drives an older engine: one whose schema lacks a table and a field, over what both know."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hal.errors import ErrorKind, HalError
from hal.packet.contract import Delete, Insert, Modify, Name, StepKind
from hal.packet.dpdk import commit, wire
from hal.packet.dpdk.dictionary import Dictionary
from hal.packet.frame._generated import ProfilePunt, Vnic, Vrf
from hal.packet.schema.classes import row_classes
from hal.packet.schema.declare import StageSchema, Table
from hal.packet.schema.registry import Schema, schema
from hal.packet.schema.rows import Rows
from hal.packet.stages.firewall._generated import FirewallRule
from hal.packet.stages.route._generated import BlackholeRoute, Route

NOW = schema(own_only=True)
LACKS_TABLE, LACKS_FIELD = "profile_punt", ("Vnic", "punt_limit")
NO_MAC, MAC = "00:00:00:00:00:00", "02:00:00:00:00:0a"


def older(whole: Schema) -> Schema:
    """The schema of the release before: one table and one field of another less, and so other numbers and offsets."""

    def table_before(table: Table) -> Table:
        actions = tuple(
            replace(one, fields=tuple(f for f in one.fields if (one.row, f.name) != LACKS_FIELD))
            for one in table.actions
        )
        return replace(table, actions=actions)

    def stage_before(stage: StageSchema) -> StageSchema:
        kept = tuple(table_before(table) for table in stage.tables if table.name != LACKS_TABLE)
        return replace(stage, tables=kept)

    return Schema(tuple(stage_before(stage) for stage in whole.stages))


BEFORE = older(NOW)


@pytest.fixture
def dictionary() -> Dictionary:
    return Dictionary(BEFORE.to_json().encode(), NOW)


def vnic(**more: object) -> Vnic:
    fields = {"id": 5, "port": 1, "vlan": 7, "match_mac": NO_MAC, "role": "vnic", "mac": MAC, "vrf": 1, "profile": 2}
    return Vnic(**{**fields, **more})  # type: ignore[arg-type]


def test_a_witness_speaks_of_reasons_and_stages_in_our_numbers() -> None:
    """The older engine lacks a stage: what comes behind it, and its reasons, have other numbers."""
    stages = tuple(stage for stage in NOW.stages if stage.name != "antispoof")
    other = Dictionary(Schema(stages).to_json().encode(), NOW)
    ours = [stage.name for stage in NOW.stages]
    before = [stage.name for stage in stages]
    assert before.index("route") != ours.index("route")
    assert other.step_value(StepKind.STAGE, before.index("route")) == ours.index("route")
    number = Schema(stages).reason_numbers["blackhole"]
    assert number != NOW.reason_numbers["blackhole"]
    assert other.step_value(StepKind.DROP, number) == NOW.reason_numbers["blackhole"]
    assert other.step_value(StepKind.MAKE, 3) == 3
    newer = Dictionary(NOW.to_json().encode(), Schema(stages))
    unknown = newer.step_value(StepKind.DROP, NOW.reason_numbers["spoofed_mac"])
    assert unknown >= len(Schema(stages).reasons)


def test_it_is_another_schema() -> None:
    assert LACKS_TABLE in NOW.table_numbers
    assert LACKS_TABLE not in BEFORE.table_numbers
    assert BEFORE.table_numbers["route"] == NOW.table_numbers["route"] - 1
    assert BEFORE.rows["Vnic"].size <= NOW.rows["Vnic"].size


def test_rows_that_both_know_go_as_they_are(dictionary: Dictionary) -> None:
    rows = BlackholeRoute.array(id=[1, 2], vrf=1, prefix=["10.0.0.0/8", "::/0"])
    engine, data = dictionary.to_engine(rows)
    assert (engine.table, engine.action) == (BEFORE.table_numbers["route"], 3)
    assert data.tobytes() == rows.data.tobytes()


def test_a_field_that_it_lacks_may_have_its_default(dictionary: Dictionary) -> None:
    engine, data = dictionary.to_engine(vnic(flow_limit=9).rows())
    assert "punt_limit" not in (data.dtype.names or ())
    assert data.dtype.itemsize == BEFORE.rows["Vnic"].size
    named = {name: data[name][0].tolist() for name in ("id", "port", "vlan", "flow_limit")}
    assert named == {"id": 5, "port": 1, "vlan": 7, "flow_limit": 9}
    assert bytes(data["mac"][0]).hex(":") == MAC
    assert engine.table == BEFORE.table_numbers["vnic"]


def test_a_field_that_it_lacks_may_not_have_another_value(dictionary: Dictionary) -> None:
    rows = Rows(Vnic, np.concatenate([vnic().rows().raw(), vnic(id=6, punt_limit=3).rows().raw()]).reshape(-1).view(
        Vnic.LAYOUT.dtype))  # fmt: skip
    with pytest.raises(HalError) as caught:
        dictionary.to_engine(rows)
    error = caught.value
    assert (error.kind, error.table, error.field, error.row) == (ErrorKind.UNSUPPORTED, "vnic", "punt_limit", 1)
    assert "restart" in error.fix


def test_a_table_that_it_lacks_is_unsupported(dictionary: Dictionary) -> None:
    punt = ProfilePunt(id=1, profile=1, protocol=6, port=179)
    calls = (
        lambda: commit.pack([Insert(punt.rows())], (), (), dictionary),
        lambda: commit.pack([Delete(LACKS_TABLE, np.array([1], np.uint64))], (), (), dictionary),
        lambda: commit.pack([], [(LACKS_TABLE, 1)], (), dictionary),
        lambda: commit.pack([], (), [Name(LACKS_TABLE, 1, "bgp")], dictionary),
        lambda: dictionary.table_number(LACKS_TABLE),
    )
    for call in calls:
        with pytest.raises(HalError) as caught:
            call()
        assert (caught.value.kind, caught.value.table) == (ErrorKind.UNSUPPORTED, LACKS_TABLE)


def test_a_table_that_nobody_has_is_invalid(dictionary: Dictionary) -> None:
    with pytest.raises(HalError, match="INVALID: table nonsense"):
        dictionary.table_number("nonsense")


def snapshot_of(dictionary: Dictionary, *operations: Insert | Modify) -> tuple[wire.Committed, bytes]:
    """What the engine would answer for a snapshot with these rows: sections, numbered as it numbers them."""
    sections = commit.pack(operations, (), [Name("vrf", 1, "red")], dictionary)
    body = b"".join(bytes(piece) for piece in sections.bytes())
    answer = wire.Committed()
    answer.generation, answer.number = 12, len(sections.heads)
    return answer, body


def test_what_it_holds_is_read_in_our_form(dictionary: Dictionary) -> None:
    rows = [vnic(flow_limit=9), Vrf(id=1), Route(id=3, vrf=1, prefix="10.0.0.0/8", next_hop=1)]
    answer, body = snapshot_of(dictionary, *(Insert(row.rows()) for row in rows))
    read = commit.unpack(answer, body, dictionary, row_classes(), 7)
    assert read.generation == 12
    assert read.rows("vnic") == [rows[0]]
    assert read.rows("vrf") == [rows[1]]
    assert read.rows("route") == [rows[2]]
    assert read.rows(LACKS_TABLE) == []
    assert read.names == {("vrf", 1): Name("vrf", 1, "red")}


def test_reasons_are_spoken_by_name(dictionary: Dictionary) -> None:
    number = BEFORE.reason_numbers["firewall_default"]
    assert dictionary.reason(number) == "firewall_default"
    assert dictionary.reason(60_000) == "reason 60000"


# --- the other way: an engine that knows more than we do ----------------------------------------------------------


@pytest.fixture
def newer() -> Dictionary:
    """The engine is of now, we are of before."""
    return Dictionary(NOW.to_json().encode(), BEFORE)


def test_fields_of_a_newer_engine_get_their_defaults(newer: Dictionary) -> None:
    ours = BEFORE.rows["Vnic"]
    old_class = type("Vnic", (Vnic,), {"LAYOUT": ours})
    data = np.zeros(1, ours.dtype)
    data["id"], data["flow_limit"] = 5, 9
    engine, sent = newer.to_engine(Rows(old_class, data))
    assert sent.dtype.itemsize == NOW.rows["Vnic"].size
    assert (sent["id"][0], sent["flow_limit"][0], sent["punt_limit"][0]) == (5, 9, 0)
    assert engine.table == NOW.table_numbers["vnic"]


def test_tables_of_a_newer_engine_are_passed_over(newer: Dictionary) -> None:
    punt = ProfilePunt(id=1, profile=1, protocol=6, port=179).rows()
    number = NOW.table_numbers[LACKS_TABLE]
    assert newer.from_engine(number, 0, punt.data.tobytes(), 1) is None


def test_prefixes_with_defaults_cross(dictionary: Dictionary) -> None:
    rule = FirewallRule(id=1, policy=1, priority=5, verdict="drop")
    engine, data = dictionary.to_engine(rule.rows())
    read = dictionary.from_engine(engine.table, engine.action, data.tobytes(), 1)
    assert read is not None
    assert FirewallRule.from_wire(read[1][0]) == rule


@pytest.mark.parametrize("text", [b"", b"{}", b'{"stages": [{"name": 1}]}', b"\xff\xfe", b"[]"])
def test_a_greeting_that_is_none_is_corrupt(text: bytes) -> None:
    with pytest.raises(HalError) as caught:
        Dictionary(text, NOW)
    assert caught.value.kind is ErrorKind.CORRUPT
