"""Skeletons of stages and backends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from hal.errors import HalError
from sdk.scaffold import skeleton
from sdk.scaffold.command import new
from sdk.scaffold.skeleton import KINDS, class_name, write


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_is_told(kind: str, tmp_path: Path) -> None:
    made = write(kind, "two_words", tmp_path / "deep")
    assert made.folder == tmp_path / "deep" / "two_words"
    assert {path.name for path in made.folder.iterdir()} == {str(path) for path in made.files}
    assert "README.md" in {path.name for path in made.files}
    assert "test_two_words.py" in {path.name for path in made.files}
    texts = "".join((made.folder / path).read_text() for path in made.files)
    assert "TwoWords" in texts
    assert "$" not in texts


@pytest.mark.parametrize("kind", KINDS)
def test_files_are_laid_out_and_compile(kind: str, tmp_path: Path) -> None:
    made = write(kind, "acme", tmp_path)
    for path in made.files:
        text = (made.folder / path).read_text()
        assert max(map(len, text.splitlines())) <= 120
        if path.suffix == ".py":
            compile(text, str(path), "exec")


@pytest.mark.parametrize("name", ["Quiet", "1st", "a-b", "", "class", "a" * 24, "../x", "é"])
def test_names_that_are_none(name: str, tmp_path: Path) -> None:
    with pytest.raises(HalError, match=r"INVALID: stage .*field"):
        write("stage", name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    write("stage", "quiet", tmp_path)
    (tmp_path / "quiet" / "model.py").write_text("mine")
    with pytest.raises(HalError, match="one that isn't there yet"):
        write("stage", "quiet", tmp_path)
    assert (tmp_path / "quiet" / "model.py").read_text() == "mine"


@pytest.mark.parametrize(("kind", "name"), [("stage", "route"), ("stage", "firewall"), ("backend", "twin")])
def test_a_name_that_is_installed_is_taken(kind: str, name: str, tmp_path: Path) -> None:
    with pytest.raises(HalError, match=rf"INVALID: {kind} {name}, field name: limit a name that isn't taken; .*{name}"):
        write(kind, name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_command(tmp_path: Path) -> None:
    done = CliRunner().invoke(new, ["backend", "acme", "--into", str(tmp_path)])
    assert done.exit_code == 0
    assert f"written: {tmp_path}/acme/card.py" in done.output
    assert "next: python -m hal.conformance --backend acme" in done.output
    again = CliRunner().invoke(new, ["backend", "acme", "--into", str(tmp_path)])
    assert again.exit_code == 1
    assert again.output.startswith("dsn: INVALID: folder")
    again = CliRunner().invoke(new, ["backend", "acme", "--into", str(tmp_path), "--json"])
    assert json.loads(again.output)["error"]["kind"] == "INVALID"
    told = CliRunner().invoke(new, ["stage", "quiet", "--into", str(tmp_path), "--json"])
    assert json.loads(told.output)["files"][0] == "README.md"


def test_class_names() -> None:
    assert [class_name(name) for name in ("quiet", "quiet_hours", "a1_b")] == ["Quiet", "QuietHours", "A1B"]


def test_who_has_no_pytest_is_told_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert write("backend", "acme", tmp_path).next[0] == "python -m pytest acme"
    monkeypatch.setattr(skeleton, "find_spec", lambda name: None)
    first, second, *_ = write("backend", "acme2", tmp_path).next
    assert first == "python -m pip install pytest, or dsn-sdk[test]: its tests want it"
    assert second == "python -m pytest acme2"


@pytest.mark.parametrize("kind", KINDS)
def test_the_guide_is_where_it_is(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a checkout, in the share folder of who installed a wheel, else in the sources."""
    name = f"new-{kind}.md"
    assert skeleton.guide(kind) == f"docs/guides/{name}"
    monkeypatch.setattr(skeleton, "__file__", str(tmp_path / "site-packages/sdk/scaffold/skeleton.py"))
    monkeypatch.setattr("sysconfig.get_path", lambda what: str(tmp_path))
    assert skeleton.guide(kind) == f"docs/guides/{name} of the SDK's sources"
    there = tmp_path / "share/doc/dsn-sdk/guides" / name
    there.parent.mkdir(parents=True)
    there.touch()
    assert skeleton.guide(kind) == str(there)
