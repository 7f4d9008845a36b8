"""An engine is adopted only as it was loaded; what differs is named, and nothing moves to another port."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from board_support.board import Hardware, facts
from hal.errors import HalError
from hal.packet.contract import LoadConfig
from sdk.card_config import parse
from sdk.dsnd.card import Card
from sdk.dsnd.loaded import Record
from sdk.dsnd.store import Store
from services.core.service import discover
from tests.tools.process import Process

CARD = """
[ports]
host0 = "replay"
uplink0 = "replay"
"""
INTENT = """
kind: Subnet
name: shop
spec: {gateways: [10.1.0.1/24]}
---
kind: Vnic
name: web
spec: {port: host0, mac: 02:00:00:00:00:0a, subnet: shop, addresses: [10.1.0.10]}
"""


Start = Callable[[LoadConfig], Card]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    process = Process()
    cards: list[Card] = []

    def begin(config: LoadConfig) -> Card:
        for card in cards:
            card.let_go()
        card = Card(Hardware(facts("twin"), process), config, discover(), Store(tmp_path), lambda _: None,
                    record=Record(tmp_path / "loaded.json"))  # fmt: skip
        card.begin()
        cards.append(card)
        return card

    yield begin
    for card in cards:
        card.let_go()


def loads(text: str) -> LoadConfig:
    return parse(text.encode()).load_config()


def test_a_port_more_is_refused_and_no_vnic_moves(start: Start) -> None:
    first = start(loads(CARD))
    first.apply((("", "a.yaml", INTENT),))
    assert [row.to_dict()["port"] for row in first.backend.snapshot(["vnic"]).rows("vnic")] == [0]
    before = first.backend.snapshot().generation
    with pytest.raises(HalError) as caught:
        start(loads(CARD + 'a0 = "null"\n'))
    assert str(caught.value) == (
        "INVALID: card.toml: got another than the running engine was loaded with: ports.a0 is not among its ports; "
        "ports.host0.number 1, the engine's 0; ports.uplink0.number 2, the engine's 1. Give dsnd the card.toml of "
        "before, or load the engine anew: dsn card stop, dsn card start."
    )
    assert first.backend.snapshot().generation == before
    same = start(loads(CARD))
    assert same.apply((("", "a.yaml", INTENT),)).summary == "no change"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("workers = 2", "workers 2, the engine's 1"),
        ("connections = 7", "connections 7, the engine's 65536"),
        ("flow_limit = 9", "flow_limit 9, the engine's 0"),
        ("punt_limit = 9", "punt_limit 9, the engine's 1000"),
        ('pickup = "1s"', "pickup_ns 1000000000, the engine's 60000000000"),
        ("capacities = {route = 5}", "capacities.route 5, the engine's 1200000. Give"),
        ('owners = {agent = ["route"]}', "owners.agent [route], the engine's not given"),
    ],
)  # fmt: skip
def test_each_difference_is_named(start: Start, more: str, said: str) -> None:
    start(loads(CARD))
    with pytest.raises(HalError) as caught:
        start(loads(more + CARD))
    assert said in str(caught.value)


def test_a_device_a_name_and_an_mtu_are_ports_too(start: Start) -> None:
    start(loads(CARD))
    for old, new, said in (
        ('host0 = "replay"', 'host0 = "null"', "ports.host0.device null, the engine's replay"),
        ('host0 = "replay"', 'host1 = "replay"', "ports.host1 is not among its ports; its port host0 is not in card"),
        ('host0 = "replay"', 'host0 = {device = "replay", mtu = 9000}', "ports.host0.mtu 9000, the engine's 1500"),
    ):
        with pytest.raises(HalError) as caught:
            start(loads(CARD.replace(old, new)))
        assert said in str(caught.value)


def test_without_a_record_the_engines_own_words_count(start: Start, tmp_path: Path) -> None:
    start(loads(CARD))
    (tmp_path / "loaded.json").unlink()
    start(loads(CARD))
    with pytest.raises(HalError, match=r"workers 2, the engine's 1\. Give"):
        start(loads("workers = 2" + CARD))


def test_a_record_is_what_was_written(tmp_path: Path) -> None:
    record = Record(tmp_path / "loaded.json")
    assert record.read() is None
    config = loads('owners = {agent = ["route", "next_hop"]}\ncapacities = {route = 5}' + CARD)
    record.write(config)
    assert record.read() == config
    record.write(replace(config, workers=2))
    assert record.read() == replace(config, workers=2)
    for bad in ("", "{", "[]", json.dumps({"ports": 1}), json.dumps({"ports": [], "owners": {}, "more": 1})):
        record.path.write_text(bad)
        assert record.read() is None
