"""What the card must not forget, and how long it waits before it starts the engine again."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal.errors import ErrorKind, HalError
from sdk.dsnd.backoff import Backoff
from sdk.dsnd.main import hold_folder
from sdk.dsnd.store import EMPTY, Store, StoredIntent, write_durably

INTENT = StoredIntent((("", "a.yaml", "kind: Vrf\n"), ("edge", "b.yaml", "\udcff")))


def test_an_intent_survives_the_way_to_disk(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.good() == EMPTY
    store.begin(INTENT)
    assert (store.good(), store.pending()) == (EMPTY, INTENT)
    store.confirm()
    assert (Store(tmp_path).good(), Store(tmp_path).pending()) == (INTENT, None)


def test_an_abandoned_intent_is_gone_and_the_good_one_stays(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.begin(INTENT)
    store.confirm()
    store.begin(EMPTY)
    store.abandon()
    assert (store.good(), store.pending()) == (INTENT, None)


def test_the_digest_tells_intents_apart() -> None:
    moved = StoredIntent((("", "a.yaml", "kind: Vrf\n"), ("", "b.yaml", "\udcff")))
    assert INTENT.digest != moved.digest
    assert INTENT.digest == StoredIntent(INTENT.files).digest
    assert len(INTENT.digest.encode()) <= 127  # what a commit's tag takes


DAMAGED = (b"", b"{}", b"[]", b'{"version":1,"digest":"x","files":[["","a","b"]]}', b"\xff", b"[" * 200_000)


@pytest.mark.parametrize("damage", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_file_is_said_to_be(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "intent.good").write_bytes(damage)
    with pytest.raises(HalError) as caught:
        Store(tmp_path).good()
    assert caught.value.kind is ErrorKind.CORRUPT
    assert "intent.good" in str(caught.value)


def a_folder(path: Path) -> None:
    (path / "more").mkdir(parents=True)


def a_loop(path: Path) -> None:
    path.symlink_to(path)


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


IN_ITS_PLACE = (a_folder, a_loop, a_pipe)


@pytest.mark.parametrize("make", IN_ITS_PLACE)
@pytest.mark.parametrize("name", ["intent.good", "intent.pending", "seed"])
def test_what_stands_in_place_of_a_file_is_damage(tmp_path: Path, make: Callable[[Path], None], name: str) -> None:
    store = Store(tmp_path)
    make(tmp_path / name)
    with pytest.raises(HalError) as caught:
        {"intent.good": store.good, "intent.pending": store.pending, "seed": store.seed}[name]()
    assert caught.value.kind is ErrorKind.CORRUPT
    assert str(tmp_path / name) in str(caught.value)
    assert "Remove it" in str(caught.value)


@pytest.mark.parametrize("name", ["intent.good", "intent.pending"])
def test_over_a_folder_nothing_is_begun(tmp_path: Path, name: str) -> None:
    store = Store(tmp_path)
    a_folder(tmp_path / name)
    with pytest.raises(HalError, match=rf"CORRUPT: stored intent {tmp_path / name}: got a folder"):
        store.begin(INTENT)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@given(st.binary(max_size=200))
def test_any_bytes_are_an_intent_or_corrupt(data: bytes) -> None:
    with contextlib.suppress(HalError):
        assert isinstance(StoredIntent.from_bytes(data, "x"), StoredIntent)


def test_the_seed_is_drawn_once_and_kept_from_others(tmp_path: Path) -> None:
    first = Store(tmp_path).seed()
    assert len(first) == 16
    assert Store(tmp_path).seed() == first
    assert (tmp_path / "seed").stat().st_mode & 0o777 == 0o600
    (tmp_path / "seed").write_bytes(b"short")
    with pytest.raises(HalError, match=r"CORRUPT: seed .*: got 5 bytes, limit 16 bytes"):
        Store(tmp_path).seed()


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_durably(path, b"old")

    def broken(fd: int) -> None:
        raise OSError("disk is gone")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="disk is gone"):
        write_durably(path, b"new")
    assert path.read_bytes() == b"old"


def test_each_step_of_an_intent_is_on_disk_before_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file before its name, a name before anybody counts on it: a power cut finds the old intent or the new one."""
    steps: list[str] = []

    def told(what: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def tell(*arguments: Any) -> Any:
            paths = [
                Path(f"/proc/self/fd/{one}").readlink() if isinstance(one, int) else Path(one) for one in arguments
            ]
            steps.append(" ".join([what, *("folder" if path == tmp_path else path.name for path in paths)]))
            return call(*arguments)

        return tell

    store = Store(tmp_path)
    monkeypatch.setattr(os, "fsync", told("sync", os.fsync))
    monkeypatch.setattr(Path, "replace", told("rename", Path.replace))
    monkeypatch.setattr(Path, "unlink", told("remove", Path.unlink))
    begun = ["sync intent.pending.new", "rename intent.pending.new intent.pending", "sync folder"]
    store.begin(StoredIntent((("", "a.yaml", "one"),)))
    assert steps == begun
    store.confirm()
    assert steps[3:] == ["rename intent.pending intent.good", "sync folder"]
    store.begin(StoredIntent((("", "a.yaml", "two"),)))
    assert steps[5:] == begun
    store.abandon()
    assert steps[8:] == ["remove intent.pending", "sync folder"]


def test_it_waits_ever_longer_and_forgets_deaths_once_settled() -> None:
    backoff = Backoff(first_s=0.1, most_s=1.0, settled_s=60)
    deaths, waits = 0, []
    for _ in range(6):
        deaths = backoff.deaths_after(deaths, lived_s=1)
        waits.append(backoff.wait_s(deaths))
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    assert backoff.deaths_after(deaths, lived_s=60) == 1
    assert backoff.wait_s(10_000) == 1.0


@pytest.mark.parametrize("before", [True, False], ids=["a lock is there", "none is"])
def test_a_folder_that_can_not_be_written_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    if before:
        os.close(hold_folder(tmp_path))
    opened = os.open

    def only_read(path: Any, flags: int, *words: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return opened(path, flags, *words)

    monkeypatch.setattr(os, "open", only_read)
    who = f"dsnd with pid {os.getpid()}" if before else "another dsnd"
    held = hold_folder(tmp_path)
    with pytest.raises(HalError, match=rf"BUSY: run folder .*: got {who}"):
        hold_folder(tmp_path)
    os.close(held)
    os.close(hold_folder(tmp_path))
