"""`dsn --with DIR`: a stage that lies in a folder is in check, plan and trace as one that is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

INTENT = """\
kind: Subnet
name: shop
spec: {gateways: [10.1.0.1/24]}
---
kind: Profile
name: night
spec: {egress: [antispoof, quiet, bridge, route]}
---
kind: Vnic
name: web
spec: {port: host0, mac: 02:00:00:00:00:0a, subnet: shop, addresses: [10.1.0.10], profile: night}
---
kind: Vnic
name: db
spec: {port: host1, mac: 02:00:00:00:00:0b, subnet: shop, addresses: [10.1.0.11], profile: night}
"""
MODEL = """
from hal.packet.model.stage import Context, Drop, Header, Pass, Stage, Tables, Verdict, Witness


class Quiet(Stage):
    def decide(self, header: Header, context: Context, tables: Tables, witness: Witness) -> Verdict:
        return Drop("quiet_hit") if header.destination_port == 53 else Pass()


STAGE = Quiet()
"""


def dsn(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command as a person calls it in a folder of theirs: each has its own process."""
    environment = {**os.environ, "DSN_RUN": str(folder / "no-card"), "COLUMNS": "200"}
    program = str(Path(sys.executable).parent / "dsn")
    return subprocess.run(
        [program, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder in which somebody has begun a stage."""
    path = tmp_path_factory.mktemp("with")
    assert dsn(path, "new", "stage", "quiet").returncode == 0
    (path / "intent.yaml").write_text(INTENT)
    (path / "quiet" / "model.py").write_text(MODEL)
    return path


def test_a_new_stage_decides_in_a_trace(folder: Path) -> None:
    dropped = dsn(folder, "trace", "udp 10.1.0.10:5000 > 10.1.0.11:53", "--intent", "intent.yaml", "--with", "quiet")
    assert (dropped.returncode, dropped.stderr) == (0, "")
    assert "stage quiet" in dropped.stdout
    assert "quiet_hit" in dropped.stdout
    assert "The destination port is listed for the vNIC." in dropped.stdout
    # Before the command it is the same.
    passed = dsn(folder, "--with", "quiet", "trace", "udp 10.1.0.10:5000 > 10.1.0.11:54", "--intent", "intent.yaml")
    assert "stage quiet" in passed.stdout
    assert "FORWARD" in passed.stdout.upper()
    assert "quiet_hit" not in passed.stdout


def test_check_and_plan_know_it_with_the_folder_only(folder: Path) -> None:
    assert dsn(folder, "check", "intent.yaml", "--with", "quiet").returncode == 0
    planned = dsn(folder, "plan", "intent.yaml", "--with", "quiet")
    assert planned.returncode == 0
    assert "quiet_port" in dsn(folder, "show", "tables", "--intent", "intent.yaml", "--with", "quiet").stdout
    without = dsn(folder, "check", "intent.yaml")
    assert without.returncode == 1
    assert "no stage is called 'quiet'" in without.stdout


def test_the_card_that_knows_it_needs_no_other_to(folder: Path) -> None:
    """Started with the folder, dsnd judges what is applied; who applies has nothing to name."""
    (folder / "card.toml").write_text('board = "twin"\n[ports]\nhost0 = "replay"\nhost1 = "replay"\n')
    start = ("card", "start", "card.toml", "--state", str(folder / "state"))
    assert dsn(folder, *start).returncode == 0
    try:
        refused = dsn(folder, "apply", "intent.yaml")
        assert (refused.returncode, "no stage is called 'quiet'" in refused.stderr) == (1, True)
    finally:
        assert dsn(folder, "card", "stop").returncode == 0
    assert dsn(folder, *start, "--with", "quiet").returncode == 0
    try:
        assert dsn(folder, "apply", "intent.yaml").returncode == 0
        # The card says what its stages are: who looks has nothing to name either.
        traced = dsn(folder, "trace", "udp 10.1.0.10:5000 > 10.1.0.11:53")
        assert "stage quiet" in traced.stdout
        assert "quiet_hit: The destination port is listed for the vNIC." in traced.stdout
        assert "quiet_port" in dsn(folder, "show", "tables").stdout
        shown = dsn(folder, "show", "tables", "quiet_port")
        assert (shown.returncode, shown.stdout) == (0, "0 entries\n")
        assert "listed for the vNIC" in dsn(folder, "show", "drops", "--all").stdout
    finally:
        assert dsn(folder, "card", "stop").returncode == 0


def test_card_toml_may_name_its_tables(folder: Path) -> None:
    """Capacities and owners of a stage's tables, of a stage that lies in a folder. To board twin no owner could
    connect: that is told, not left to the agent to find out."""
    card = 'board = "twin"\n[ports]\nhost0 = "replay"\n[capacities]\nquiet_port = 77\n'
    (folder / "owned.toml").write_text(card)
    start = ("card", "start", "owned.toml", "--state", str(folder / "owned"))
    without = dsn(folder, *start)
    assert (without.returncode, "no such table" in without.stderr) == (1, True)
    started = dsn(folder, *start, "--with", "quiet")
    assert started.returncode == 0, started.stderr
    try:
        shown = dsn(folder, "show", "tables").stdout
        assert next(line for line in shown.splitlines() if "quiet_port" in line).split()[-2:] == ["77", "0.0%"]
    finally:
        assert dsn(folder, "card", "stop").returncode == 0
    (folder / "owned.toml").write_text(card + '[owners]\nagent = ["quiet_port"]\n')
    assert "--with DIR" in dsn(folder, *start).stderr
    refused = dsn(folder, *start, "--with", "quiet")
    assert (refused.returncode, "no agent can connect to it" in refused.stderr) == (1, True), refused.stderr


@pytest.mark.parametrize(
    ("name", "files", "said"),
    [
        ("empty", {}, "limit a Python package with SERVICE, or with schema.py"),
        ("broken", {"__init__.py": "import nothing_of_that_name"}, "ModuleNotFoundError"),
        ("noschema", {"__init__.py": "", "schema.py": "SCHEMA = 3"}, "a StageSchema"),
        ("crooked", {"__init__.py": "", "schema.py": "SCHEMA ="}, "invalid syntax"),
        ("json", {"__init__.py": "", "schema.py": ""}, "a name that no other package has"),
    ],
)
def test_a_folder_that_is_none_is_told(tmp_path: Path, name: str, files: dict[str, str], said: str) -> None:
    (tmp_path / name).mkdir()
    for file, text in files.items():
        (tmp_path / name / file).write_text(text)
    (tmp_path / "intent.yaml").write_text(INTENT)
    refused = dsn(tmp_path, "check", "intent.yaml", "--with", name)
    assert refused.returncode == 1, refused
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr
