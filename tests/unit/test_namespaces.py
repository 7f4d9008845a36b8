"""Namespaces by name: made, entered, found dead, made anew; and no process is forked for any of it."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hal import namespaces


@pytest.fixture
def name() -> Iterator[str]:
    name = f"dsn-test-{os.getpid()}"
    yield name
    namespaces.remove(name)


def ip(*words: str) -> str:
    return subprocess.run(["ip", *words], capture_output=True, text=True, check=True).stdout


def devices() -> list[str]:
    return [name for _, name in socket.if_nameindex()]


def test_one_is_made_entered_and_removed(name: str) -> None:
    ours = devices()
    namespaces.create(name)
    namespaces.create(name)
    assert name in ip("netns", "list")
    ip("-n", name, "link", "add", "inner", "type", "veth", "peer", "name", "other")
    assert sorted(namespaces.inside(name, devices)) == ["inner", "lo", "other"]
    assert devices() == ours
    assert namespaces.alive(name)
    namespaces.remove(name)
    namespaces.remove(name)
    assert name not in ip("netns", "list")
    with pytest.raises(FileNotFoundError):
        namespaces.inside(name, devices)


def test_a_dead_file_is_told_from_a_namespace_and_replaced(name: str) -> None:
    (namespaces.FOLDER / name).touch()
    assert name in namespaces.names()
    assert not namespaces.alive(name)
    with pytest.raises(OSError, match="Invalid argument"):
        namespaces.inside(name, devices)
    namespaces.create(name)
    assert namespaces.alive(name)
    assert namespaces.inside(name, devices) == ["lo"]


def test_what_fails_inside_is_raised_outside(name: str) -> None:
    namespaces.create(name)
    with pytest.raises(ZeroDivisionError):
        namespaces.inside(name, lambda: 1 // 0)


def test_what_can_not_be_made_leaves_no_file(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespaces, "_CLONE_NEWNET", 1)
    with pytest.raises(OSError, match="Invalid argument"):
        namespaces.create(name)
    assert not (namespaces.FOLDER / name).exists()


def test_nothing_forks(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from hal.packet.contract import LoadConfig
    from hal.packet.dpdk.linux_port import open_tap
    from sdk.dsnd.taps import DEVICE, Taps, plan

    def fork() -> int:
        raise AssertionError("forked")

    monkeypatch.setattr(os, "fork", fork)
    namespaces.create(name)
    taps = Taps(plan(LoadConfig(), tmp_path)[1])
    taps.prepare()
    try:
        fd = open_tap(DEVICE, taps.taps[0].namespace)
        taps.configure([])
        os.close(fd)
    finally:
        taps.remove()
