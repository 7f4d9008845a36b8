"""The engine's process and its sockets, driven byte by byte: what it refuses, and that it lives on."""

from __future__ import annotations

import array
import mmap
import os
import resource
import select
import signal
import socket
import stat
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from hal.errors import ErrorKind, HalError
from hal.packet.contract import FlowFilter, Insert, LoadConfig, PortConfig
from hal.packet.dpdk import wire
from hal.packet.dpdk.engine import Engine, connect
from hal.packet.dpdk.link import sealed_memfd
from hal.packet.dpdk.process import start
from hal.packet.dpdk.wire import Verb
from hal.packet.stages.route._generated import Route
from tests.tools.control import CONFIG, answers, ask, dial, is_closed, request
from tests.tools.engine import binary, listens, running

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
    theirs = card.writer("dsnd")
    with pytest.raises(HalError) as error:
        theirs.commit([Insert(Route(id=1, vrf=0, prefix="10.0.0.0/8", next_hop=1).rows())])
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
                slow.send(request(Verb.EVENTS, bytes(16), number=sent))
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


def _scheduled(pid: int) -> float:
    """Seconds in which a process's first thread has run or waited for a core."""
    ran, waited, _ = Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()
    return (int(ran) + int(waited)) / 1e9


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


def test_without_descriptors_it_waits_and_does_not_spin(card: Engine, run: Path) -> None:
    """Who can't be taken in waits at the listener, which is readable all the while; it is asked ten times a second."""
    pid = int((run / "engine.pid").read_text())

    def wants_to_run() -> float:
        """Share of half a second in which the control thread ran or waited for a core."""
        before, begin = _scheduled(pid), time.monotonic()
        select.select([], [], [], 0.5)
        return (_scheduled(pid) - before) / (time.monotonic() - begin)

    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    most = max(int(one.name) for one in Path(f"/proc/{pid}/fd").iterdir()) + 1
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (most, hard))
    held = [dial(run / "read.sock") for _ in range(40)]  # the free ones below are used up, and then some wait
    waiting = held[-1]
    waiting.sendall(request(Verb.HELLO))
    assert select.select([waiting], [], [], 0.5)[0] == []
    assert min(wants_to_run() for _ in range(4)) < 0.5
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))
    assert select.select([waiting], [], [], 10)[0] == [waiting]
    for one in held:
        one.close()
    assert answers(run)


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


def test_a_port_is_taken_up_only_where_it_lost_its_interface(card: Engine, run: Path) -> None:
    """Asked for what can't be it says what is wrong, changes nothing and keeps nothing; only who loads may ask."""
    held = len(list(Path(f"/proc/{card.pid}/fd").iterdir()))
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123
        for port, interface, words in (
            (7, 1, "INVALID: port 7, field number: limit a port of the card"),
            (1, 1, "UNSUPPORTED: port uplink0, field device: limit a Linux interface"),
        ):
            with pytest.raises(HalError) as refused:
                card.take_up(port, interface, 1, nothing.fileno())
            assert str(refused.value) == words
        with dial(run / "read.sock") as there:
            ask_it = request(Verb.TAKE_UP, bytes(wire.TakeUp(1, 1, 1)))
            assert ask(there, ask_it, [nothing.fileno()])[0] == ErrorKind.DENIED
    assert len(list(Path(f"/proc/{card.pid}/fd").iterdir())) <= held + 1  # the connection to load.sock
