"""What card.toml takes, an engine takes, and no more; what helps where memory is short is a key of card.toml."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from rich.console import Console

from hal.errors import ErrorKind, HalError
from hal.packet.contract import LoadConfig, PortConfig
from hal.packet.dpdk.engine import connect
from sdk import card_config
from sdk.cli.card import _held, _print_status
from sdk.cli.client import CardStatus
from services.core.objects import IntentError
from tests.tools.engine import running

CONNECTIONS = card_config._NUMBERS["connections"][1]
CAPACITY = card_config.MOST_ENTRIES


@pytest.mark.parametrize(
    ("line", "config"),
    [
        (f"connections = {CONNECTIONS + 1}", LoadConfig(connections=CONNECTIONS + 1)),
        (f"workers = {card_config._NUMBERS['workers'][1] + 1}", LoadConfig(workers=65)),
        (f"[capacities]\nroute = {CAPACITY + 1}", LoadConfig(capacities={"route": CAPACITY + 1})),
    ],
)
def test_card_toml_and_the_engine_have_one_limit(tmp_path: Path, line: str, config: LoadConfig) -> None:
    with pytest.raises(IntentError) as told:
        card_config.parse(f"{line}\n".encode())
    most = int(line.rsplit(maxsplit=1)[-1]) - 1
    assert told.value.problems[0].limit == f"a number 1 to {most}"
    card_config.parse(line.replace(str(most + 1), str(most)).encode())
    with running(tmp_path / "run"), closing(connect(tmp_path / "run")) as engine:
        with pytest.raises(HalError) as refused:
            engine.load(config)
        assert (refused.value.kind, refused.value.limit) == (ErrorKind.INVALID, f"1..{most}")
        assert not engine.hello().loaded


def test_the_advice_where_memory_is_short_is_a_key_of_card_toml(tmp_path: Path) -> None:
    large = LoadConfig(ports=(PortConfig(0, "one", "replay", mtu=9216),), workers=16)
    low = card_config._NUMBERS["memory_mb"][0]
    with running(tmp_path / "run", "--memory", str(low)), closing(connect(tmp_path / "run")) as engine:
        with pytest.raises(HalError) as refused:
            engine.load(large)
        assert refused.value.kind is ErrorKind.FULL
        assert "memory_mb in card.toml" in refused.value.fix
    enough = card_config.parse(b"memory_mb = 2048").memory_mb
    with running(tmp_path / "run", "--memory", str(enough)), closing(connect(tmp_path / "run")) as engine:
        engine.load(large)


@pytest.mark.parametrize(
    ("tag", "stored", "words"),
    [
        ("a" * 32, "a" * 32, "aaaaaaaaaaaa (as on disk)"),
        ("a" * 32, "b" * 32, "aaaaaaaaaaaa (not the one on disk, bbbbbbbbbbbb)"),
        ("a" * 32, "", "aaaaaaaaaaaa (the one on disk can't be read)"),
    ],
)
def test_status_says_truly_whether_the_intent_is_the_one_on_disk(tag: str, stored: str, words: str) -> None:
    assert _held(CardStatus("twin", 0, 0, "forwarding", 1, tag, stored, 1, "", {})) == words


@pytest.mark.parametrize("state", ["does not answer", "restarting", "forwarding"])
def test_status_of_an_engine_that_says_nothing_says_nothing_for_it(state: str) -> None:
    with Console(width=200, record=True) as console:
        _print_status(console, CardStatus("software", 1, 2, state, 0, "", "b" * 32, 1, "", {}))
    told = console.export_text()
    assert ("unknown; on disk is intent bbbbbbbbbbbb" in told) == (state != "forwarding"), told
    assert ("none (not the one on disk" in told) == (state == "forwarding"), told
