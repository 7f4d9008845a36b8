"""The engine's process and its sockets, driven byte by byte: what it refuses, and that it lives on."""

from __future__ import annotations

import array
import fcntl
import mmap
import os
import random
import select
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from hal.errors import ErrorKind, HalError
from hal.packet.card import Card
from hal.packet.contract import FlowFilter, LoadConfig, PortConfig
from hal.packet.dpdk import wire
from hal.packet.dpdk.engine import Engine, connect
from hal.packet.dpdk.link import SEALS, sealed_memfd
from hal.packet.dpdk.process import start
from hal.packet.dpdk.wire import Verb
from hal.packet.stages.route._generated import Route
from tests.tools.engine import binary, listens, running

CONFIG = LoadConfig(ports=(PortConfig(1, "uplink0", "replay"),), owners={"agent": ("route", "next_hop")})
REQUEST = 24
"""Bytes of a request's head."""


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Path]:
    """Run folder of an engine that is up."""
    with running(tmp_path / "run"):
        yield tmp_path / "run"


@pytest.fixture
def card(run: Path) -> Iterator[Engine]:
    """The same, loaded."""
    engine = connect(run)
    engine.load(CONFIG)
    yield engine
    engine.close()


def dial(path: Path) -> socket.socket:
    result = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    result.connect(str(path))  # waits where others wait to be accepted; with a time limit it wouldn't
    result.settimeout(10)
    return result


def request(verb: int, body: bytes = b"", *, number: int = 7, shard: int = 0, version: int = wire.VERSION,
            magic: int = wire.MAGIC, length: int | None = None) -> bytes:  # fmt: skip
    return bytes(wire.Request(magic, verb, version, number, len(body) if length is None else length, shard)) + body


def ask(where: socket.socket, message: bytes, fds: Sequence[int] = ()) -> tuple[int, wire.Error | None, bytes]:
    """(kind, the error where the kind isn't 0, the body)."""
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    where.sendmsg([message], ancillary)
    data, passed, _, _ = where.recvmsg(wire.MAX_MESSAGE, socket.CMSG_SPACE(16))
    for _, _, content in passed:
        for fd in array.array("i", content):
            os.close(fd)
    answer = wire.Answer.from_buffer_copy(data)
    body = data[24:]
    assert answer.length == len(body)
    return answer.kind, wire.Error.from_buffer_copy(body) if answer.kind else None, body


def is_closed(where: socket.socket) -> bool:
    return where.recv(1) == b""


def answers(run: Path) -> bool:
    with dial(run / "read.sock") as there:
        return ask(there, request(Verb.HELLO))[0] == 0


# --- the process ---


def test_second_engine_is_busy(run: Path) -> None:
    pid = int((run / "engine.pid").read_text())
    second = subprocess.run([binary(), "--run", run], capture_output=True, text=True, check=False, timeout=60)
    assert second.returncode == 75
    assert second.stderr == f"dsn-engine: BUSY: an engine runs in {run} already, pid {pid}\n"
    assert second.stdout == ""
    assert answers(run)


def test_engines_in_two_folders_share_nothing(run: Path, tmp_path: Path) -> None:
    with running(tmp_path / "other"):
        assert answers(tmp_path / "other")
        assert answers(run)


def test_folder_of_a_killed_engine_is_free(tmp_path: Path) -> None:
    process = subprocess.Popen([binary(), "--run", tmp_path / "run"])
    while not listens(tmp_path / "run" / "read.sock"):
        time.sleep(0.01)
    process.kill()
    process.wait()
    with running(tmp_path / "run"):
        assert answers(tmp_path / "run")


def test_it_is_a_daemon(tmp_path: Path) -> None:
    """A session of its own; what a terminal sends doesn't end it, SIGTERM does, and leaves no socket."""
    run = tmp_path / "run"
    with running(run) as pid:
        assert os.getsid(pid) == pid
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE):
            os.kill(pid, number)
        assert answers(run)
        status = Path(f"/proc/{pid}/status").read_text()
        assert "NoNewPrivs:\t1" in status or os.geteuid()
        assert "CapPrm:\t0000000000000000" in status
        assert Path(f"/proc/{pid}/coredump_filter").read_text().strip() == "00000000"
    assert sorted(path.name for path in run.iterdir()) == ["engine.lock", "engine.log"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--run DIR is missing"),
        (["--run", "x", "--cores", "1-"], "--cores is a list of CPUs such as 0,2-3, not 1-"),
        (["--run", "x", "--memory", "1"], "--memory is 64..1048576, not 1"),
        (["--run", "x", "y"], "no argument is expected: y"),
    ],
)
def test_wrong_usage(arguments: list[str], words: str, tmp_path: Path) -> None:
    done = subprocess.run([binary(), *arguments], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (64, f"dsn-engine: {words}\nTry dsn-engine --help.\n")


def test_version_says_how_it_was_built() -> None:
    words = subprocess.run([binary(), "--version"], capture_output=True, text=True, check=True).stdout
    assert words.startswith("dsn-engine ")
    assert "-march=" in words
    assert "DPDK" in words


def test_stop_answers_and_ends(card: Engine, run: Path) -> None:
    card.stop()
    with pytest.raises(HalError) as error:
        card.capabilities()
    assert error.value.kind is ErrorKind.LOST
    assert not list(run.glob("*.sock"))


# --- sockets and authority ---


def test_sockets_are_their_owners_alone(card: Engine, run: Path) -> None:
    sockets = {path.name: path.stat() for path in run.glob("*.sock")}
    assert set(sockets) == {"load.sock", "read.sock", "write-dsnd.sock", "write-agent.sock"}
    assert {stat.S_IMODE(one.st_mode) for one in sockets.values()} == {0o600}


def test_an_owner_that_nobody_named_is_denied(card: Engine) -> None:
    """And not told to start a card that runs."""
    with pytest.raises(HalError) as error:
        card.writer("stranger")
    assert str(error.value) == "DENIED: writer stranger: limit one of agent, dsnd. Name it at load."
    card.writer("agent")


def test_a_table_of_another_owner_is_denied_by_the_commit(card: Engine) -> None:
    theirs = Card(card).writer("dsnd", [Route])
    with pytest.raises(HalError) as error:
        theirs.sync(Route(id=1, vrf=0, prefix="10.0.0.0/8", next_hop=1))
    assert (error.value.kind, error.value.table) == (ErrorKind.DENIED, "route")


def test_write_sockets_come_with_load(run: Path) -> None:
    assert not list(run.glob("write-*"))


@pytest.mark.parametrize(
    ("name", "verb", "where"),
    [
        ("read.sock", Verb.LOAD, "load.sock"),
        ("read.sock", Verb.STOP, "load.sock"),
        ("load.sock", Verb.SETTLE, "read.sock"),
        ("write-dsnd.sock", Verb.START, "load.sock"),
        ("write-dsnd.sock", Verb.COUNTERS, "read.sock"),
    ],
)
def test_a_verb_of_another_socket_is_denied(name: str, verb: Verb, where: str, card: Engine, run: Path) -> None:
    with dial(run / name) as there:
        kind, error, _ = ask(there, request(verb))
        assert kind == ErrorKind.DENIED
        assert error is not None
        assert error.limit == where.encode()
        assert ask(there, request(Verb.HELLO))[0] == 0  # and goes on


def test_before_load(run: Path) -> None:
    with dial(run / "read.sock") as there:
        kind, error, _ = ask(there, request(Verb.SETTLE))
        assert kind == ErrorKind.INVALID
        assert error is not None
        assert error.fix == b"Load it first."


def test_an_unknown_verb_is_unsupported(run: Path) -> None:
    with dial(run / "read.sock") as there:
        assert ask(there, request(99))[0] == ErrorKind.UNSUPPORTED
        assert ask(there, request(Verb.HELLO))[0] == 0


def test_a_greeting_of_another_version_is_understood(run: Path) -> None:
    with dial(run / "read.sock") as there:
        kind, _, body = ask(there, request(Verb.HELLO, version=2))
        assert kind == 0
        assert wire.Hello.from_buffer_copy(body).version == wire.VERSION


def test_connections_are_bounded_a_socket(card: Engine, run: Path) -> None:
    """Those who only look can't shut out those who write."""
    crowd = [dial(run / "read.sock") for _ in range(70)]
    data = crowd[-1].recv(4096)
    assert wire.Answer.from_buffer_copy(data).kind == ErrorKind.BUSY
    assert is_closed(crowd[-1])
    with dial(run / "write-dsnd.sock") as writer:
        assert ask(writer, request(Verb.HELLO))[0] == 0
    for one in crowd:
        one.close()
    assert answers(run)


def test_who_does_not_read_is_not_waited_for(run: Path) -> None:
    with dial(run / "read.sock") as slow:
        slow.setblocking(False)
        sent = 0
        try:
            while sent < 100_000:
                slow.send(request(Verb.EVENTS, bytes(8), number=sent))
                sent += 1
        except BlockingIOError:
            pass
        assert 0 < sent < 100_000
        assert answers(run)
        slow.settimeout(10)
        for number in range(sent):  # and no answer is lost
            data, passed, _, _ = slow.recvmsg(wire.MAX_MESSAGE, socket.CMSG_SPACE(16))
            assert wire.Answer.from_buffer_copy(data).request == number
            for _, _, content in passed:
                os.close(array.array("i", content)[0])


# --- garbage ---


@pytest.mark.parametrize(
    "message",
    [
        b"\0",
        bytes(23),
        request(Verb.HELLO, magic=0x12345678),
        request(Verb.SETTLE, version=2),
        request(Verb.HELLO, length=1),
        request(Verb.HELLO, b"x"),
        request(Verb.EVENTS, bytes(7)),
        request(Verb.EVENTS, bytes(9)),
        request(Verb.HELLO, shard=1),
        request(Verb.HELLO, bytes(wire.MAX_MESSAGE)),
        bytes(65536),
    ],
    ids=lambda message: f"{len(message)}-{message[4:8].hex()}",
)
def test_garbage_is_corrupt_and_ends_the_connection(message: bytes, card: Engine, run: Path) -> None:
    with dial(run / "read.sock") as there:
        assert ask(there, message)[0] == ErrorKind.CORRUPT
        assert is_closed(there)
    assert answers(run)


def test_random_messages(card: Engine, run: Path) -> None:
    """Whatever comes is answered or ends the connection."""
    draw = random.Random(4)
    memfd = sealed_memfd([draw.randbytes(4096)])
    for _ in range(1500):
        name = draw.choice(["read.sock", "load.sock", "write-dsnd.sock", "write-agent.sock"])
        verb = draw.choice([one for one in Verb if one is not Verb.STOP])
        size = draw.choice([0, 0, 8, 16, 96, 152, draw.randrange(300)])
        body = draw.choice([bytes(size), draw.randbytes(size)])
        message = bytearray(request(verb, body))
        if draw.random() < 0.3:
            message[draw.randrange(8, len(message))] ^= 1 << draw.randrange(8)
        with dial(run / name) as there:
            fds = [memfd] * draw.choice([0, 1, 1, 1, 2])
            kind = ask(there, bytes(message), fds)[0]
            assert kind in {0, *ErrorKind}
    os.close(memfd)
    assert answers(run)


def test_descriptors_that_nobody_asked_for(run: Path) -> None:
    before = len(list(Path(f"/proc/{(run / 'engine.pid').read_text().strip()}/fd").iterdir()))
    for count in (1, 2, 100, 253):
        with dial(run / "read.sock") as there:
            assert ask(there, request(Verb.HELLO), [0] * count)[0] == ErrorKind.CORRUPT
            assert is_closed(there)
    assert answers(run)
    time.sleep(0.1)
    assert len(list(Path(f"/proc/{(run / 'engine.pid').read_text().strip()}/fd").iterdir())) <= before


def memfd_of(data: bytes, seals: int) -> int:
    fd = os.memfd_create("rows", os.MFD_ALLOW_SEALING)
    os.write(fd, data)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


def a_file(tmp_path: Path) -> int:
    return os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)


@pytest.mark.parametrize("missing", [fcntl.F_SEAL_SHRINK, fcntl.F_SEAL_GROW, fcntl.F_SEAL_WRITE])
def test_a_memfd_that_could_change_is_corrupt(missing: int, card: Engine, run: Path) -> None:
    """One that shrinks while it is read would be a SIGBUS: it isn't even looked into."""
    fd = memfd_of(bytes(4096), SEALS & ~missing)
    with dial(run / "write-dsnd.sock") as there:
        kind, error, _ = ask(there, request(Verb.COMMIT, bytes(wire.Commit(1, wire.ANY_BASE, 0, 1))), [fd])
        assert kind == ErrorKind.CORRUPT
        assert error is not None
        assert error.limit == b"sealed: F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE"
        assert is_closed(there)
    os.close(fd)
    assert answers(run)


def test_what_is_no_memfd_is_corrupt(card: Engine, run: Path, tmp_path: Path) -> None:
    for number, fd in enumerate((a_file(tmp_path), os.open("/dev/null", os.O_RDONLY), os.eventfd(0))):
        with dial(run / "write-dsnd.sock") as there:
            head = bytes(wire.Commit(number, wire.ANY_BASE, 0, 1))
            assert ask(there, request(Verb.COMMIT, head), [fd])[0] == ErrorKind.CORRUPT
        os.close(fd)
    assert answers(run)


def section(**more: int) -> wire.Section:
    """One that inserts a row of table vrf (number 1), spoiled."""
    fields = {"kind": 1, "table": 1, "action": 0, "reserved": 0, "count": 1, "stride": 16, "offset": 32} | more
    return wire.Section(**fields)


@pytest.mark.parametrize(
    "spoiled",
    [
        {"kind": 0},
        {"kind": 6},
        {"table": 1000},
        {"action": 1},
        {"reserved": 1},
        {"count": 3},
        {"count": 0xFFFFFFFF},
        {"stride": 8},
        {"stride": 0},
        {"offset": 0},
        {"offset": 33},
        {"offset": 48},
        {"offset": 1 << 63},
        {"offset": (1 << 64) - 16},
    ],
    ids=str,
)
def test_sections_that_can_not_be(spoiled: dict[str, int], card: Engine, run: Path) -> None:
    data = bytes(section(**spoiled)).ljust(32, b"\0") + (5).to_bytes(8, "little") + bytes(8)
    fd = sealed_memfd([data])
    with dial(run / "write-dsnd.sock") as there:
        head = bytes(wire.Commit(1, wire.ANY_BASE, 0, 1))
        assert ask(there, request(Verb.COMMIT, head), [fd])[0] == ErrorKind.CORRUPT
        assert is_closed(there)
    os.close(fd)
    assert card.hello().generation == 0


def test_more_sections_than_there_are(card: Engine, run: Path) -> None:
    fd = sealed_memfd([bytes(24)])
    for sections in (2, 4097, 0xFFFFFFFF):
        with dial(run / "write-dsnd.sock") as there:
            head = bytes(wire.Commit(sections, wire.ANY_BASE, 0, sections))
            assert ask(there, request(Verb.COMMIT, head), [fd])[0] == ErrorKind.CORRUPT
    os.close(fd)
    assert card.hello().generation == 0


def test_a_commit_without_its_memfd(card: Engine, run: Path) -> None:
    with dial(run / "write-dsnd.sock") as there:
        head = bytes(wire.Commit(1, wire.ANY_BASE, 0, 1))
        assert ask(there, request(Verb.COMMIT, head))[0] == ErrorKind.CORRUPT


@pytest.mark.parametrize("count", [0xFFFFFFFF, 70_000, 2])
def test_packets_that_are_not_there(count: int, card: Engine, run: Path) -> None:
    fd = sealed_memfd([bytes(wire.PacketInRecord(0, 1, 60)), bytes(64)])
    with dial(run / "read.sock") as there:
        _, _, body = ask(there, request(Verb.SHARD, bytes(wire.ShardAsk(16, 0, 0))))
        number = wire.Number.from_buffer_copy(body).number
        kind, _, _ = ask(there, request(Verb.REPLAY, bytes(wire.ReplayAsk(0, count, 0)), shard=number), [fd])
        assert kind in (ErrorKind.CORRUPT, ErrorKind.INVALID)
    os.close(fd)
    assert answers(run)


def test_a_packet_longer_than_its_memfd(card: Engine, run: Path) -> None:
    for length in (65, 1 << 20, 0xFFFFFFFF):
        fd = sealed_memfd([bytes(wire.PacketInRecord(0, 1, length)), bytes(64)])
        with dial(run / "read.sock") as there:
            _, _, body = ask(there, request(Verb.SHARD, bytes(wire.ShardAsk(16, 0, 0))))
            number = wire.Number.from_buffer_copy(body).number
            asked = request(Verb.REPLAY, bytes(wire.ReplayAsk(0, 1, 0)), shard=number)
            assert ask(there, asked, [fd])[0] == ErrorKind.CORRUPT
        os.close(fd)


# --- shards and counters ---


def test_shards_are_sixteen_and_go_with_their_connection(card: Engine, run: Path) -> None:
    shard = request(Verb.SHARD, bytes(wire.ShardAsk(16, 0, 0)))
    with dial(run / "read.sock") as there:
        for _ in range(16):
            assert ask(there, shard)[0] == 0
        assert ask(there, shard)[0] == ErrorKind.FULL
    with dial(run / "read.sock") as there:
        deadline = time.monotonic() + 10
        while ask(there, shard)[0]:  # it is seen to have gone
            assert time.monotonic() < deadline
        assert ask(there, request(Verb.SETTLE, shard=1))[0] == ErrorKind.INVALID


def test_nothing_is_forwarded_before_the_first_commit(card: Engine) -> None:
    from hal.packet.contract import PacketIn, Verdict

    shard = card.shard()
    frame = bytes.fromhex("0200000000010200000000020800") + bytes(46)
    (result,) = shard.replay([PacketIn(frame, 1, 5)])
    assert (result.verdict, result.reason, result.outputs) == (Verdict.DROP, "not_configured", ())
    counters = shard.counters()
    assert counters.drops["not_configured"] == 1
    assert counters.ports[1]["rx_packets"] == 1
    assert card.counters().drops["not_configured"] == 0
    shard.close()


def test_the_counter_segment_is_live_and_read_only(card: Engine, run: Path) -> None:
    with dial(run / "read.sock") as there:
        there.send(request(Verb.COUNTERS))
        _, passed, _, _ = there.recvmsg(wire.MAX_MESSAGE, socket.CMSG_SPACE(4))
        (fd,) = array.array("i", passed[0][2])
    size = os.fstat(fd).st_size
    with pytest.raises(PermissionError):
        mmap.mmap(fd, size)
    with pytest.raises(OSError):  # noqa: PT011 - EPERM here, EINVAL elsewhere
        os.pwrite(fd, b"x", 0)
    with pytest.raises(PermissionError):
        os.ftruncate(fd, 0)
    with mmap.mmap(fd, size, prot=mmap.PROT_READ) as segment:
        generation = slice(24, 32)
        assert int.from_bytes(segment[generation], "little") == 0
        card.writer().commit([])
        assert int.from_bytes(segment[generation], "little") == 1
    os.close(fd)


# --- load ---


@pytest.mark.parametrize("spoil", [lambda data: data[:-1], lambda data: data + bytes(8), lambda data: data[:40]])
def test_a_load_of_another_length_is_corrupt(spoil: object, run: Path) -> None:
    from hal.packet.dpdk.load import load_parts

    data, _ = load_parts(CONFIG)
    fd = sealed_memfd([spoil(data)])  # type: ignore[operator]
    with dial(run / "load.sock") as there:
        assert ask(there, request(Verb.LOAD), [fd])[0] == ErrorKind.CORRUPT
    os.close(fd)
    with closing(connect(run)) as engine:
        assert not engine.hello().loaded


def test_a_load_that_fails_leaves_nothing(run: Path) -> None:
    engine = connect(run)
    for config, field in (
        (LoadConfig(ports=(PortConfig(1, "a", "replay"), PortConfig(2, "b", "nothing:x"))), "device"),
        (LoadConfig(ports=(PortConfig(1, "a", "replay"), PortConfig(1, "b", "replay"))), "number"),
        (LoadConfig(owners={"../x": ("route",)}), "name"),
    ):
        with pytest.raises(HalError) as error:
            engine.load(config)
        assert (error.value.kind, error.value.field) == (ErrorKind.INVALID, field)
        assert not engine.hello().loaded
        assert not list(run.glob("write-*"))
    engine.load(CONFIG)
    assert engine.hello().loaded
    engine.close()


def test_start_and_stop(card: Engine) -> None:
    assert not card.hello().running
    card.start()
    card.start()
    assert card.hello().running
    assert card.flows() == []
    card.settle()


def test_idle_costs_next_to_nothing(card: Engine, run: Path) -> None:
    """Links and leases are looked at ten times a second, and that is all."""
    pid = int((run / "engine.pid").read_text())
    card.start()

    def used() -> float:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    before = used()
    select.select([], [], [], 2)
    assert used() - before < 0.2


def test_one_connection_too_many_is_told_so(card: Engine, run: Path) -> None:
    held = [dial(run / "write-agent.sock") for _ in range(64)]
    for one in held:  # accepted, all of them
        assert ask(one, request(Verb.HELLO))[0] == 0
    for _ in range(20):
        with pytest.raises(HalError) as caught:
            card.writer("agent")
        assert str(caught.value) == "BUSY: socket: limit 64 connections. Close one."
    held.pop().close()
    assert card.writer("agent").forget(FlowFilter(id=1)) == 0
    for one in held:
        one.close()


def test_writers_that_nobody_holds_are_closed(card: Engine) -> None:
    for _ in range(200):
        assert card.writer("agent").forget(FlowFilter(id=1)) == 0


def test_why_an_engine_did_not_start_is_no_matter_of_names(tmp_path: Path) -> None:
    with pytest.raises(HalError) as caught:
        start(tmp_path / "BUSY", binary=Path(binary()), arguments=["--memory", "1"])
    assert caught.value.kind is ErrorKind.INVALID
    with running(tmp_path / "run"), pytest.raises(HalError) as caught:
        start(tmp_path / "run", binary=Path(binary()), log=tmp_path / "log")
    assert caught.value.kind is ErrorKind.BUSY
