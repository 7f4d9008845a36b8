"""`sdk.testing`: what authors of backends, stages, services and agents test with."""

import subprocess
import sys
from pathlib import Path

import pytest

from hal.packet.contract import Insert, Verdict
from hal.packet.frame._generated import Vrf
from hal.packet.schema.rows import as_rows
from sdk.testing import agents, backends, stages
from sdk.testing.services import FILE, on_twin, problems_of, traced
from services.core.objects import IntentError
from tests.tools.tree import ROOT

DEMO = (ROOT / "docs/examples/demo.yaml").read_text()


def test_an_intent_on_a_twin() -> None:
    with on_twin(DEMO) as card:
        result = traced(card, "tcp 10.1.0.20:4000 > 10.1.0.10:80")
        assert (result.verdict, result.reason) == (Verdict.FORWARD, "")
        assert traced(card, "tcp 10.1.0.20:4000 > 10.1.0.10:23").reason == "firewall_rule"
        assert traced(card, "udp 192.0.2.9:5 > 10.1.0.10:53", "uplink0").reason == "firewall_default"
        status = {one.name: one.status for one in card.objects() if one.kind == "Subnet"}
    assert status["shop"]["vnics"] == 3
    with pytest.raises(IntentError), on_twin(DEMO.replace("gateways", "gatewais")):
        pass


def test_problems_of_an_intent() -> None:
    assert problems_of(DEMO) == ()
    (problem,) = problems_of(DEMO.replace("gateways", "gatewais"))
    assert (problem.position.file, problem.position.line, problem.nearest) == (FILE, 8, "gateways")


def test_a_service_in_a_folder(tmp_path: Path) -> None:
    """As `--with DIR` has it: the text names a kind that only that service knows."""
    folder = tmp_path / "badges_for_a_test"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        "from google.protobuf import wrappers_pb2 as pb\n"
        "from services.core.plan import Planned\n"
        "from services.core.service import Kind, Service\n"
        "SERVICE = Service('badges', (Kind(pb.BoolValue, pb.BoolValue),), lambda *_: Planned(),\n"
        "                  lambda item, *_: item.spec)\n"
    )
    text = "kind: BoolValue\nname: one\nspec: {value: true}\n"
    assert [problem.position.line for problem in problems_of(text)] == [1]
    assert problems_of(text, [folder]) == ()
    with on_twin(text, [folder]) as card:
        (one,) = (one for one in card.objects() if one.kind == "BoolValue")
    assert one.status == {"value": True}


def test_a_card_with_owners_for_an_agent() -> None:
    card = agents.loaded(["up", "host"], {"mine": ("next_hop", "route")})
    assert [port.config.name for port in card.capabilities().ports] == ["up", "host"]
    assert card.capabilities().owners["route"] == "mine"
    assert card.writer().commit([Insert(rows) for rows in as_rows([Vrf(id=1)])]) == 1
    with agents.twin() as whole:
        assert whole.snapshot().generation == 0


def test_the_kit_on_a_twin() -> None:
    device = backends.TwinDevice()
    check = next(one for one in backends.checks_for(backends.Level.TABLES) if one.name == "owners_are_told")
    assert backends.run_one(device, check).state is backends.State.PASSED
    bench = stages.Bench(device)
    try:
        traffic = stages.world(bench).traffic()
        stages.routed(traffic).left_by(stages.C.port)
    finally:
        bench.close()


@pytest.mark.parametrize("module", ["agents", "backends", "services", "stages"])
def test_all_that_is_offered_is_there(module: str) -> None:
    asked = f"import sdk.testing.{module} as m; print(len([getattr(m, name) for name in m.__all__]))"
    done = subprocess.run([sys.executable, "-c", asked], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) >= 3


def test_nothing_that_runs_on_a_card_imports_it() -> None:
    asked = "import sys, sdk.dsnd.main, sdk.cli.main, sdk.cli.twin_card; print('sdk.testing' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", asked], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
