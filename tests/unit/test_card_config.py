"""card.toml's reference names all that its loader takes, with the defaults and limits that it has; the examples fit."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sdk import card_config
from sdk.card_config import CardConfig, load_card_config
from services.core.intent import load, sources
from services.core.objects import IntentError
from services.core.plan import plan_all
from services.core.service import discover

DOCS = Path(__file__).resolve().parents[2] / "docs"
TEXT = (DOCS / "card.md").read_text()
ROWS = {cells[0].strip(" `[]"): cells[1:] for cells in (line.strip("|").split(" | ") for line in TEXT.splitlines())}


@pytest.mark.parametrize("key", [*card_config._KEYS, *card_config._PORT_KEYS, *card_config._OWNER_KEYS])
def test_each_key_has_a_row(key: str) -> None:
    assert key in ROWS


@pytest.mark.parametrize("device", card_config._DEVICES)
def test_each_kind_of_device_has_a_row(device: str) -> None:
    assert [row for row in ROWS if re.match(rf"{device}\b", row)]


@pytest.mark.parametrize("key", card_config._NUMBERS)
def test_limits_and_defaults_are_those_of_the_loader(key: str) -> None:
    low, high, default = card_config._NUMBERS[key]
    assert ROWS[key][:2] == [f"{low:,} to {high:,}", f"{default:,}"]
    assert getattr(CardConfig(), key) == default


def test_an_unknown_board_is_told_with_all_else() -> None:
    with pytest.raises(IntentError) as caught:
        card_config.parse(b'board = "sofware"\nworkers = 0\n')
    assert [one.sentence.partition("error: ")[2] for one in caught.value.problems] == [
        "field board: no board is called 'sofware'; limit: software, twin; did you mean software?",
        "field workers: '0' is out of range; limit: a number 1 to 64.",
    ]
    assert card_config.parse(b'board = "software"').board == "software"


def test_the_example_in_it_is_read() -> None:
    example = TEXT.split("```toml\n", 1)[1].split("```", 1)[0]
    config = card_config.parse(example.encode())
    assert (config.workers, config.capacities, config.owners) == (
        2,
        {"route": 2000000},
        {"my-agent": ("next_hop", "route")},
    )
    assert [port.device for port in config.ports] == ["linux:eth1", "linux:eth2"]


def test_two_hosts_fit_their_card() -> None:
    config = load_card_config(DOCS / "examples" / "two-hosts.toml")
    context = config.context()
    found = load(sources([DOCS / "examples" / "two-hosts.yaml"]), discover(), context)
    assert found.problems == ()
    assert not list(plan_all(found.require(), context, discover()).problems)
    # README's commands make these interfaces and hosts.
    readme = (DOCS.parent / "README.md").read_text()
    assert {port.device for port in config.ports} == {f"linux:card-{host}" for host in ("web", "client")}
    assert "for host in web client" in readme
    assert "ip link add card-$host" in readme
    for vnic in (one.spec for one in found.objects if one.kind == "Vnic"):
        assert f"ip -n {vnic.port} link set eth0 address {vnic.mac}" in readme  # type: ignore[attr-defined]
        assert f"ip -n {vnic.port} address add {vnic.addresses[0]}/24" in readme  # type: ignore[attr-defined]
