"""`dsn` with the daemon behind it: the twin board, no root, the real socket."""

import json
import os
import signal
import socket
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sdk.api import client
from sdk.cli import card as start_stop
from sdk.cli.card import state_folder
from sdk.cli.main import main

DEMO = str(Path(__file__).resolve().parent.parent.parent / "docs" / "examples" / "demo.yaml")
CARD = 'board = "twin"\n[ports]\nuplink0 = "replay"\nhost0 = "replay"\nhost1 = "replay"\nhost2 = "replay"\n'


def dsn(*words: str) -> Result:
    result = CliRunner().invoke(main, list(words))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def plain(*words: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(dsn(*words, "--json").stdout)
    return found


def test_a_daemon_that_hangs_is_told_of_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSN_RUN", str(tmp_path))
    monkeypatch.setitem(client.SECONDS, "GetStatus", 0.5)
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(tmp_path / "dsnd.sock"))
        deaf.listen(8)
        told = dsn("card", "status")
    assert told.exit_code == 3
    assert "no answer in time. dsnd or its engine hangs or is busy: read" in told.stderr
    assert f"{tmp_path}/dsnd.log" in told.stderr


def test_paths_begin_where_the_card_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon holds no folder but its own, wherever it was started."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DSN_RUN", "run")
    Path("card.toml").write_text(CARD)
    started = dsn("card", "start", "card.toml", "--state", "state")
    assert started.exit_code == 0, started.output
    pid = plain("card", "status")["daemon_pid"]
    try:
        assert Path(f"/proc/{pid}/cwd").readlink() == Path("/")
        assert dsn("apply", DEMO).exit_code == 0
        assert sorted(path.name for path in tmp_path.iterdir()) == ["card.toml", "run", "state"]
        assert list(Path("state").iterdir())
    finally:
        stopped = dsn("card", "stop")
        if stopped.exit_code and isinstance(pid, int):
            os.kill(pid, signal.SIGTERM)
    assert stopped.exit_code == 0


def test_a_card_from_start_to_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSN_RUN", str(tmp_path / "run"))
    card = tmp_path / "card.toml"
    card.write_text(CARD)
    started = dsn("card", "start", str(card), "--state", str(tmp_path / "state"))
    assert started.exit_code == 0, started.output
    pid = plain("card", "status")["daemon_pid"]
    try:
        assert dsn("card", "start", str(card)).exit_code == 1
        assert dsn("apply", DEMO).exit_code == 0
        # What is there already needs nothing: the seed that the daemon drew stays as well.
        again = plain("plan", DEMO)
        assert again["objects"] == []
        tables = again["tables"]
        assert isinstance(tables, list)
        assert [one for one in tables if one["removed"] or one["changed"] or one["added"]] == []
        assert "matched firewall_rule shop/no-scan" in dsn("trace", "tcp 10.1.0.66:4 > 10.1.0.10:445").stdout
        bad = tmp_path / "bad.yaml"
        bad.write_text("kind: Uplink\nname: u\nspec: {port: uplink9}\n")
        refused = dsn("apply", str(bad))
        assert refused.exit_code == 1
        assert f"{bad}:3:14: error: Uplink u, field port: the card has no port uplink9" in refused.stderr
        assert len(plain("show", "objects", "Vnic")) == 3
    finally:
        stopped = dsn("card", "stop")
        if stopped.exit_code and isinstance(pid, int):
            os.kill(pid, signal.SIGTERM)
    assert stopped.exit_code == 0
    assert dsn("card", "status").exit_code == 3


def test_a_second_card_has_a_state_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Named by no option, the state folder is the run folder's, where that is one's own; else the machine's."""
    monkeypatch.setenv("DSN_RUN", str(tmp_path / "one"))
    assert state_folder() == tmp_path / "one/state"
    card, other = tmp_path / "card.toml", tmp_path / "other.toml"
    card.write_text(CARD)
    other.write_text(CARD)

    def one_life(which: Path, *options: str) -> tuple[str, object]:
        """What a start of this card said, and the vNICs it began with."""
        started = dsn("card", "start", str(which), *options)
        assert started.exit_code == 0, started.output
        try:
            before = plain("show", "objects", "Vnic")
            assert dsn("apply", DEMO).exit_code == 0
        finally:
            assert dsn("card", "stop").exit_code == 0
        return started.stderr, before

    assert one_life(card) == ("", [])
    said, before = one_life(card)
    assert (said, len(before)) == ("", 3)  # type: ignore[arg-type]
    monkeypatch.setenv("DSN_RUN", str(tmp_path / "two"))
    assert one_life(other) == ("", [])
    assert (tmp_path / "two/state/intent.good").exists()
    said, before = one_life(other, "--state", str(tmp_path / "one/state"))
    assert f"its intent was given to the card of {card}, and is now that of {other}. Two cards want two" in said
    assert len(before) == 3  # type: ignore[arg-type]
    assert "its intent was given to the card of" in (tmp_path / "two/dsnd.log").read_text()
    monkeypatch.setenv("DSN_STATE", str(tmp_path / "third"))
    assert one_life(other) == ("", [])
    monkeypatch.delenv("DSN_RUN")
    assert state_folder() == Path("/var/lib/dsn")


def test_a_card_whose_stored_intent_does_not_fit_any_more_starts_and_is_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DSN_RUN", str(tmp_path / "run"))
    card, fits = tmp_path / "card.toml", tmp_path / "fits.yaml"
    card.write_text(CARD)
    fits.write_text("kind: Subnet\nname: shop\nspec: {gateways: [10.1.0.1/24]}\n")
    start = ("card", "start", str(card), "--state", str(tmp_path / "state"))
    assert dsn(*start).exit_code == 0
    assert dsn("apply", DEMO).exit_code == 0
    assert dsn("card", "stop").exit_code == 0
    card.write_text(CARD.replace('host2 = "replay"\n', ""))
    started = dsn(*start)
    try:
        assert started.exit_code == 0, started.output
        assert "Vnic intruder, field port: the card has no port host2" in started.stdout
        assert not plain("show", "objects", "Vnic")
        planned = dsn("plan", str(fits))
        assert (planned.exit_code, "- Vnic web" in planned.stdout) == (0, True), planned.output
        assert dsn("apply", str(fits)).exit_code == 0
        assert plain("card", "status")["last_fault"] == ""
    finally:
        assert dsn("card", "stop").exit_code == 0


@pytest.mark.parametrize(
    ("board", "words"),
    [
        ("twin", "INVALID: card.toml, field engine: got {engine}, limit board twin runs no program"),
        ("software", "INVALID: card.toml, field engine: got {engine}, limit a program. Build it: make engine."),
    ],
)
def test_an_engine_that_can_not_run_is_refused(
    board: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program that card.toml names is the one that runs; its path begins at the file."""
    monkeypatch.setenv("DSN_RUN", str(tmp_path / "run"))
    card = tmp_path / "card.toml"
    card.write_text(f'board = "{board}"\nengine = "no/engine"\n')
    refused = dsn("card", "start", str(card), "--state", str(tmp_path / "state"))
    assert refused.exit_code == 1
    assert words.format(engine=tmp_path / "no/engine") in refused.stderr


@pytest.mark.parametrize("which", ["run", "state"])
@pytest.mark.parametrize(
    ("mode", "owner", "wrong"),
    [
        (0o777, 0, "field mode: got 0777, limit writable by its owner alone. Look what is in it, then: chmod go-w "),
        (0o720, 0, "field mode: got 0720, limit writable by its owner alone. Look what is in it, then: chmod go-w "),
        (0o700, 61192, "field owner: got 61192, limit 0. Look what is in it, then: chown 0 "),
    ],
)
def test_a_folder_that_is_not_ours_alone_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: str, mode: int, owner: int, wrong: str
) -> None:
    monkeypatch.setenv("DSN_RUN", str(tmp_path / "run"))
    (tmp_path / "card.toml").write_text(CARD)
    folder = tmp_path / which
    folder.mkdir()
    folder.chmod(mode)
    os.chown(folder, owner, owner)
    start = ("card", "start", str(tmp_path / "card.toml"), "--state", str(tmp_path / "state"))
    refused = dsn(*start)
    assert refused.exit_code == 1
    assert f"INVALID: {which} folder {folder}, {wrong}{folder}; or name another." in refused.stderr
    assert which != "run" or list(folder.iterdir()) == []
    folder.chmod(0o755)
    os.chown(folder, 0, 0)
    started = dsn(*start)
    assert started.exit_code == 0, started.output
    assert dsn("card", "stop").exit_code == 0


def test_a_link_to_nothing_is_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is one on the way to a folder, nor a file."""
    run, state = tmp_path / "run", tmp_path / "state"
    monkeypatch.setenv("DSN_RUN", str(run))
    (tmp_path / "card.toml").write_text(CARD)
    start = ("card", "start", str(tmp_path / "card.toml"), "--state", str(state))
    for folder, odd in ((run, run), (tmp_path / "way/run", tmp_path / "way")):
        monkeypatch.setenv("DSN_RUN", str(folder))
        odd.symlink_to("/nowhere/at/all")
        os.chown(odd, 61192, 61192, follow_symlinks=False)
        wrong = f"a link of user 61192 to /nowhere/at/all, where no folder is, at {odd}"
        fix = f"Look who put it there, then: rm {odd}; or name another."
        refused = dsn(*start)
        assert refused.exit_code == 1
        assert f"INVALID: run folder {folder}: got {wrong}, limit a folder. {fix}" in refused.stderr
        odd.unlink()
    monkeypatch.setenv("DSN_RUN", str(run))
    state.write_text("")
    refused = dsn(*start)
    assert refused.exit_code == 1
    assert f"state folder {state}: got a file of user 0, at {state}, limit a folder." in refused.stderr
    state.unlink()
    assert dsn(*start).exit_code == 0
    assert dsn("card", "stop").exit_code == 0


def test_a_start_that_takes_long_is_said_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSN_RUN", str(tmp_path / "run"))
    monkeypatch.setattr(start_stop, "START_S", 0.0)
    card = tmp_path / "card.toml"
    card.write_text(CARD)
    started = dsn("card", "start", str(card), "--state", str(tmp_path / "state"))
    assert started.exit_code == 3
    assert "TIMEOUT: dsnd: limit 0 s to start. It goes on: dsn card status says when it is there" in started.stderr
    deadline = time.monotonic() + 60
    while dsn("card", "status").exit_code:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert dsn("card", "stop").exit_code == 0
