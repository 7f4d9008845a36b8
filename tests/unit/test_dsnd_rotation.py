"""The daemon's log begins anew before it is too long."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from sdk.dsnd.rotation import cut, rotate


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path / "dsnd.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    yield fd
    os.close(fd)


def test_a_long_log_begins_anew_and_the_last_is_kept(fd: int, tmp_path: Path) -> None:
    for turn in range(4):
        os.write(fd, b"%d" % turn * 100)
        assert not rotate(fd, 100)
        os.write(fd, b"!")
        assert rotate(fd, 100)
    os.write(fd, b"after")
    assert (tmp_path / "dsnd.log").read_bytes() == b"after"
    assert (tmp_path / "dsnd.log.1").read_bytes() == b"3" * 100 + b"!"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dsnd.log", "dsnd.log.1"]


def test_what_is_no_file_of_its_own_is_left_alone(fd: int, tmp_path: Path) -> None:
    read, write = os.pipe()
    os.write(write, b"x" * 200)
    assert not rotate(write, 100)
    os.close(read)
    os.close(write)
    os.write(fd, b"x" * 200)
    (tmp_path / "dsnd.log").unlink()
    assert not rotate(fd, 100)


def test_the_log_of_another_process_is_emptied_under_it(fd: int, tmp_path: Path) -> None:
    log = tmp_path / "dsnd.log"
    for turn in range(3):
        os.write(fd, b"%d" % turn * 100)
        assert not cut(log, 100)
        os.write(fd, b"!")
        assert cut(log, 100)
        assert (log.read_bytes(), (tmp_path / "dsnd.log.1").read_bytes()) == (b"", b"%d" % turn * 100 + b"!")
    os.write(fd, b"after")
    assert log.read_bytes() == b"after"


def test_a_log_is_emptied_even_where_its_copy_has_no_room(fd: int, tmp_path: Path) -> None:
    os.write(fd, b"x" * 200)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (150, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            cut(tmp_path / "dsnd.log", 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [(path.name, path.stat().st_size) for path in tmp_path.iterdir()] == [("dsnd.log", 0)]


@pytest.mark.parametrize("plant", ["symlink_to", "hardlink_to"])
def test_a_link_in_place_of_the_copy_is_not_followed(fd: int, tmp_path: Path, plant: str) -> None:
    (tmp_path / "victim").write_text("untouched")
    getattr(tmp_path / "dsnd.log.1", plant)(tmp_path / "victim")
    os.write(fd, b"x" * 200)
    assert cut(tmp_path / "dsnd.log", 100)
    assert (tmp_path / "victim").read_text() == "untouched"
    assert (tmp_path / "dsnd.log.1").read_bytes() == b"x" * 200
    assert not (tmp_path / "dsnd.log.1").is_symlink()


def test_a_name_that_changes_meanwhile_is_another_files(
    fd: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at a log and its emptying somebody puts a link to another file in its place."""
    (tmp_path / "victim").write_text("v" * 300)
    os.write(fd, b"x" * 200)
    look = os.fstat

    def swap(looked_at: int) -> os.stat_result:
        (tmp_path / "dsnd.log").unlink()
        (tmp_path / "dsnd.log").symlink_to("victim")
        monkeypatch.setattr(os, "fstat", look)
        return os.stat_result((*look(looked_at)[:3], 1, *look(looked_at)[4:]))

    monkeypatch.setattr(os, "fstat", swap)
    assert cut(tmp_path / "dsnd.log", 100)
    assert (tmp_path / "victim").read_text() == "v" * 300
    assert os.fstat(fd).st_size == 0
    assert (tmp_path / "dsnd.log.1").read_bytes() == b"x" * 200


def test_what_is_no_log_is_left_alone(tmp_path: Path) -> None:
    assert not cut(tmp_path / "none", 100)
    assert not cut(tmp_path, 0)
    os.mkfifo(tmp_path / "pipe")
    assert not cut(tmp_path / "pipe", 0)
    (tmp_path / "long").write_bytes(b"x" * 200)
    (tmp_path / "link").symlink_to("long")
    assert not cut(tmp_path / "link", 100)
    assert (tmp_path / "long").stat().st_size == 200
