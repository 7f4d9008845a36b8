"""Rights of the engine's process: whom it becomes, what its threads keep, what it takes a folder or a log for."""

from __future__ import annotations

import os
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from hal.errors import HalError
from hal.packet.contract import LoadConfig, PortConfig
from hal.packet.dpdk import start, sweep
from hal.packet.dpdk.engine import connect
from tests.tools.engine import binary, running

UID = 61190
NETWORK = "0000000000003000"
"""CAP_NET_ADMIN and CAP_NET_RAW."""


def capabilities(pid: int) -> dict[str, str]:
    """Thread -> what it may use."""
    found = {}
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        sets = {fields[key].strip() for key in ("CapPrm", "CapEff")} | {fields["CapInh"].strip()} - {"0" * 16}
        assert len(sets) == 1, fields
        found[f"{fields['Name'].strip()} {status.parent.name}"] = sets.pop()
    return found


def test_threads_that_dpdk_made_give_up_what_they_were_made_with(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with running(run, "--user", f"{UID}:{UID}", "--keep-network") as pid:
        before = capabilities(pid)
        assert len(before) > 1
        assert set(before.values()) == {NETWORK}, before
        with closing(connect(run)) as engine:
            engine.load(LoadConfig(ports=(PortConfig(0, "one", "null"),), workers=2))
            engine.start()
            after = capabilities(pid)
            assert before.keys() < after.keys()
            assert set(after.values()) == {"0" * 16}, after
    assert sorted(path.name for path in run.iterdir()) != ["engine.lock", "engine.log"]  # it may take nothing away
    sweep(run)
    assert sorted(path.name for path in run.iterdir()) == ["engine.lock", "engine.log"]


def test_a_sweep_leaves_an_engine_that_lives_alone(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with running(run, "--user", f"{UID}:{UID}"):
        there = sorted(path.name for path in run.iterdir())
        assert "read.sock" in there
        sweep(run)
        assert sorted(path.name for path in run.iterdir()) == there


def is_of(fd: Path, file: os.stat_result) -> bool:
    """A descriptor of a process that may close it meanwhile."""
    try:
        return os.path.samestat(fd.stat(), file)
    except FileNotFoundError:
        return False


def test_it_cannot_write_the_pid_that_others_kill(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with running(run, "--user", f"{UID}:{UID}") as pid:
        lock = (run / "engine.lock").stat()
        held = [fd for fd in Path(f"/proc/{pid}/fd").iterdir() if is_of(fd, lock)]
        assert len(held) == 1
        flags = Path(f"/proc/{pid}/fdinfo/{held[0].name}").read_text().split("flags:")[1].split()[0]
        assert int(flags, 8) & os.O_ACCMODE == os.O_RDONLY
        assert (lock.st_uid, lock.st_mode & 0o777) == (0, 0o600)
        assert (run / "engine.lock").read_text() == f"{pid}\n"


def test_a_link_to_nothing_is_no_folder_of_an_engine(tmp_path: Path) -> None:
    run = tmp_path / "engine"
    run.symlink_to("absent")
    wrong = rf"INVALID: run folder {run}: got a link of user 0 to absent, where no folder is, at {run}, .* rm {run};"
    with pytest.raises(HalError, match=wrong):
        start(run, binary=Path(binary()))
    (tmp_path / "absent").mkdir(0o700)
    with running(run):
        pass


@pytest.mark.parametrize("user", ["0:0", "1:", "4294967295:1", "x:1", "no-such-user"])
def test_users_that_cannot_be_are_refused(tmp_path: Path, user: str) -> None:
    refused = subprocess.run([binary(), "--run", tmp_path / "run", "--user", user], capture_output=True, text=True,
                             check=False, timeout=60)  # fmt: skip
    assert (refused.returncode, refused.stderr) == (64, f"dsn-engine: no user {user}\n")


@pytest.mark.parametrize(("mode", "owner"), [(0o770, 0), (0o702, 0), (0o1777, 0), (0o700, UID)])
def test_a_folder_that_others_can_write_is_not_used(tmp_path: Path, mode: int, owner: int) -> None:
    run = tmp_path / "run"
    run.mkdir()
    run.chmod(mode)
    os.chown(run, owner, owner)
    refused = subprocess.run([binary(), "--run", run], capture_output=True, text=True, check=False, timeout=60)
    words = (
        f"dsn-engine: run folder {run}: owner {owner}, mode {mode:04o}: it has to be 0's, and writable by no other\n"
    )
    assert (refused.returncode, refused.stderr) == (1, words)
    assert list(run.iterdir()) == []
    with pytest.raises(HalError, match=rf"INVALID: run folder {run}, field (owner|mode): got .*\. Look what is in it"):
        start(run, binary=Path(binary()))
    run.chmod(0o755)
    os.chown(run, 0, 0)
    with running(run):
        pass


def plant_link(log: Path, victim: Path) -> None:
    log.symlink_to(victim)


def plant_second_name(log: Path, victim: Path) -> None:
    log.hardlink_to(victim)


def plant_foreign(log: Path, _victim: Path) -> None:
    log.touch()
    os.chown(log, UID, UID)


def plant_writable(log: Path, _victim: Path) -> None:
    log.touch()
    log.chmod(0o666)


def plant_pipe(log: Path, _victim: Path) -> None:
    os.mkfifo(log)


PLANTED = [(plant_link, "a link"), (plant_second_name, "a file with 2 names"), (plant_foreign, f"a file of user {UID}"),
           (plant_writable, "a file of mode 0666"), (plant_pipe, "a pipe")]  # fmt: skip


@pytest.mark.parametrize(("plant", "words"), PLANTED)
def test_a_log_that_somebody_planted_is_not_written(tmp_path: Path, plant: object, words: str) -> None:
    run, victim = tmp_path / "run", tmp_path / "victim"
    run.mkdir(mode=0o700)
    victim.write_text("untouched")
    assert callable(plant)
    plant(run / "engine.log", victim)
    # A program that refuses by itself, loudly: what it says would be in the log.
    with pytest.raises(HalError, match=f"INVALID: log {run / 'engine.log'}: got {words}, limit a plain file of ours"):
        start(run, binary=Path(binary()), arguments=["--memory", "1"])
    assert victim.read_text() == "untouched"
    (run / "engine.log").unlink()
    with pytest.raises(HalError, match="--memory is"):  # now it starts, and says so itself
        start(run, binary=Path(binary()), arguments=["--memory", "1"])
