"""One card an interface: a claim lives as long as an engine that inherited it, and its holder is named."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hal import held, namespaces
from hal.errors import HalError
from hal.packet.contract import PortConfig
from sdk.dsnd.claims import Claims


@pytest.fixture
def ports() -> Iterator[tuple[PortConfig, ...]]:
    namespace = f"dsnc{os.getpid():x}"
    namespaces.create(namespace)
    yield (PortConfig(0, "host0", f"linux:lo@{namespace}"), PortConfig(1, "uplink0", f"linux:none@{namespace}"))
    namespaces.remove(namespace)


def test_a_second_card_is_told_who_has_the_interface(ports: tuple[PortConfig, ...]) -> None:
    one, other = Claims(ports), Claims(ports)
    one.take()
    one.take()
    with pytest.raises(HalError, match=rf"BUSY: port host0, field device: got {ports[0].device} is another card with "
                                       rf"\S+ pid {os.getpid()}'s, limit one card an interface"):  # fmt: skip
        other.take()
    one.drop()
    other.take()
    other.drop()


def test_a_claim_lives_as_long_as_the_program_that_inherited_it(ports: tuple[PortConfig, ...]) -> None:
    claims = Claims(ports)
    claims.take()
    engine = os.posix_spawn("/bin/sleep", ["sleep", "100"], {})
    claims.drop()
    try:
        with pytest.raises(HalError, match=f"sleep pid {engine}"):
            claims.take()
    finally:
        os.kill(engine, signal.SIGKILL)
        os.waitpid(engine, 0)
    claims.take()
    claims.drop()


SQUAT = """
import ctypes, fcntl, os, socket, sys
namespace, index, inode, uid = sys.argv[1], *map(int, sys.argv[2:])
with open(f"/run/netns/{namespace}") as file:
    assert ctypes.CDLL(None).setns(file.fileno(), 0x40000000) == 0
os.setgroups([]), os.setgid(uid), os.setuid(uid)
kept = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
kept.bind(f"\\0dsn-port-{index}")
folder = "/run/dsn-claims"
for act in (
    lambda: os.mkdir(folder),
    lambda: os.open(f"{folder}/port-{inode}-{index}", os.O_RDWR | os.O_CREAT),
    lambda: os.rename(folder, folder + ".old"),
):
    try:
        act()
    except (PermissionError, FileExistsError, FileNotFoundError):
        continue
    sys.exit("it could")
print("ready", flush=True)
sys.stdin.read()
"""


def test_who_is_not_root_keeps_no_card_from_an_interface(ports: tuple[PortConfig, ...]) -> None:
    """A process without rights in the interface's namespace tries all that a claim is or was made of, and stays."""
    claims, namespace = Claims(ports), ports[0].device.partition("@")[2]
    held.tidy()
    inode = namespaces.inside(namespace, lambda: Path("/proc/thread-self/ns/net").stat().st_ino)
    command = [sys.executable, "-c", SQUAT, namespace, "1", str(inode), "61191"]
    for taken in (False, True):
        if taken:
            claims.take()
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as squatter:
            assert squatter.stdout is not None
            assert squatter.stdout.readline() == "ready\n"
            claims.take()
            claims.take()
            assert held.held(f"port-{inode}-1")
            squatter.communicate()
    claims.drop()
    assert not held.held(f"port-{inode}-1")
    assert not (held.FOLDER / f"port-{inode}-1").exists()


def test_a_folder_of_claims_that_others_can_write_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "claims").mkdir()
    (tmp_path / "claims").chmod(0o777)
    with pytest.raises(HalError, match=f"INVALID: folder of claims {tmp_path / 'claims'}, field mode: got 0777"):
        held.take("name", tmp_path / "claims")
    (tmp_path / "claims").chmod(0o700)
    os.close(held.take("name", tmp_path / "claims"))


def test_what_nobody_holds_is_tidied_and_what_is_held_stays(tmp_path: Path) -> None:
    one = held.take("one", tmp_path / "claims")
    os.close(held.take("other", tmp_path / "claims"))
    held.tidy(tmp_path / "claims")
    assert [path.name for path in (tmp_path / "claims").iterdir()] == ["one"]
    assert (held.held("one", tmp_path / "claims"), held.held("other", tmp_path / "claims")) == (True, False)
    with pytest.raises(BlockingIOError):
        held.take("one", tmp_path / "claims")
    os.close(one)
    held.tidy(tmp_path / "claims")
    assert not (tmp_path / "claims").exists()
