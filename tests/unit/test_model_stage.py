"""A stage of anyone's: found by its package, asked in its place in the chain, or refused where it has no code."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hal.errors import ErrorKind, HalError
from hal.packet.contract import Insert
from hal.packet.frame._generated import ProfileStage
from hal.packet.model import Twin
from hal.packet.schema.generate import python_rows
from hal.packet.schema.registry import load_stage
from hal.packet.schema.rows import Row, as_rows
from tests.packets import world
from tests.packets.card import Card
from tests.packets.packets import udp

SCHEMA = """
from hal.packet.schema.declare import Action, Reason, StageSchema, Table, ref, u16

SCHEMA = StageSchema(
    "{name}",
    "Drops what goes to a port that is to be quiet.",
    tables=(
        Table(
            "{name}_port",
            "A port that is to be quiet.",
            capacity=16,
            counts=True,
            key=(ref("vnic", "vnic", "The vNIC."), u16("port", "Destination port.")),
            actions=(Action("{name}Port", "A quiet port."),),
        ),
    ),
    reasons=(Reason("{name}_hit", "The port is to be quiet."),),
)
"""

MODEL = """
from hal.packet.model.stage import Context, Drop, Header, Pass, Stage, Tables, Verdict, Witness


class Quiet(Stage):
    def decide(self, header: Header, context: Context, tables: Tables, witness: Witness) -> Verdict:
        entry = tables.exact("{name}_port", context.ingress.id, header.destination_port)
        if entry is None:
            witness.miss("{name}_port")
            return Pass()
        witness.match(entry)
        return Drop("{name}_hit", decided_by=entry)


STAGE = Quiet()
"""

Maker = Callable[..., str]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Maker:
    """Writes a stage package; with "{name}" filled in."""

    def write(name: str, model: str | None) -> str:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "__init__.py").write_text("")
        (folder / "schema.py").write_text(SCHEMA.format(name=name))
        importlib.invalidate_caches()
        (folder / "_generated.py").write_text(python_rows(name, load_stage(name)))
        if model is not None:
            (folder / "model.py").write_text(model.format(name=name))
        return name

    monkeypatch.syspath_prepend(str(tmp_path))
    return write


def wired(name: str) -> Twin:
    """A twin with the world, and the stage first in the guarded profile."""
    twin = Twin(stages=[name])
    twin.load(world.CONFIG)
    place = ProfileStage(id=9000, profile=world.GUARDED, direction="egress", position=200, stage=name)
    twin.writer().commit([Insert(rows) for rows in as_rows([*world.rows(), place])])
    return twin


def test_it_is_asked(make: Maker) -> None:
    card = Card(wired(make("quiet", MODEL)))
    row: type[Row] = sys.modules["quiet._generated"].quietPort
    card.gets(row(id=1, vnic=20, port=53))  # type: ignore[call-arg]
    card.host("client").sends(udp("10.1.0.20:1 > 10.1.0.10:53")).is_dropped("quiet_hit")
    assert card.shard.counters().rows["quiet_port", 1].hits == 1
    card.loses("quiet_port", 1)
    card.host("client").sends(udp("10.1.0.20:1 > 10.1.0.10:53")).arrives_at("web")


def test_without_code_it_is_refused(make: Maker) -> None:
    with pytest.raises(HalError) as caught:
        wired(make("mute", None))
    assert caught.value.kind == ErrorKind.UNSUPPORTED
    assert "Write model.py of stage mute" in str(caught.value)


def test_what_is_no_stage_is_refused(make: Maker) -> None:
    name = make("odd", "STAGE = 7\n")
    with pytest.raises(HalError, match="a Stage"):
        Twin(stages=[name])


def test_an_error_inside_is_not_taken_for_absence(make: Maker) -> None:
    name = make("broken", "import no_such_module\n")
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        Twin(stages=[name])
