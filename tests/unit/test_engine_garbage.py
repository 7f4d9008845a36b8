"""Garbage on the engine's sockets: messages, descriptors, memfds and sections that can't be. It is refused, and the
engine lives on."""

from __future__ import annotations

import fcntl
import os
import random
import time
from pathlib import Path

import pytest

from hal.errors import ErrorKind, HalError
from hal.packet.dpdk import wire
from hal.packet.dpdk.engine import Engine
from hal.packet.dpdk.link import SEALS, sealed_memfd
from hal.packet.dpdk.wire import Verb
from tests.tools.control import answers, ask, dial, is_closed, request


@pytest.mark.parametrize(
    "message",
    [
        b"\0",
        bytes(23),
        request(Verb.HELLO, magic=0x12345678),
        request(Verb.SETTLE, version=wire.VERSION + 1),
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


@pytest.mark.parametrize("verb", [Verb.COMMIT, Verb.STAGE])
@pytest.mark.parametrize(
    "tag", [b"a\x1b[2Jb", b"\x7f", b"x\ny", b"x" * 128, b"x" + bytes(9) + b"y"],
    ids=["escape", "delete", "line", "no end", "behind its end"],
)  # fmt: skip
def test_a_tag_that_no_driver_sends_is_invalid_and_the_connection_goes_on(
    verb: Verb, tag: bytes, card: Engine, run: Path
) -> None:
    """As the driver says it of a tag that is handed to it: the words are of one limit."""
    head = bytearray(bytes(wire.Commit(9, wire.ANY_BASE, 10**9)))
    head[wire.Commit.tag.offset : wire.Commit.tag.offset + 128] = tag.ljust(128, b"\0")
    well = bytes(wire.Commit(10, wire.ANY_BASE, 10**9, 0, 0, b"well"))
    rows = sealed_memfd([])
    try:
        with dial(run / "write-dsnd.sock") as there:
            kind, error, _ = ask(there, request(verb, bytes(head)), [rows])
            assert (kind, error is not None) == (ErrorKind.INVALID, True)
            assert error is not None
            told = (error.what, error.field, error.limit)
            assert told == (b"commit", b"tag", b"0..127 bytes without control characters")
            assert int(card.snapshot([]).generation) == 0
            assert ask(there, request(verb, well), [rows])[0] == 0
    finally:
        os.close(rows)
    with pytest.raises(HalError, match=r"INVALID: commit, field tag: .* limit 0\.\.127 bytes"):
        card.writer("dsnd").commit([], tag="\x1b")


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


@pytest.mark.parametrize(("verb", "most"), [(Verb.REPLAY, 4096), (Verb.TRACE, 16)])
def test_a_request_has_few_packets(verb: Verb, most: int, card: Engine, run: Path) -> None:
    """All else waits for the control thread while it runs them: a request of 65,536 traces kept it for minutes."""
    fd = sealed_memfd([bytes(wire.PacketInRecord(0, 1, 0))] * (most + 1))
    with dial(run / "read.sock") as there:
        _, _, body = ask(there, request(Verb.SHARD, bytes(wire.ShardAsk(16, 0, 0))))
        shard = wire.Number.from_buffer_copy(body).number if verb is Verb.REPLAY else 0
        kind, error, _ = ask(there, request(verb, bytes(wire.ReplayAsk(0, most + 1, 0)), shard=shard), [fd])
        assert (kind, error and (error.limit, error.got)) == (
            ErrorKind.INVALID,
            (b"0..%d at once" % most, b"%d" % (most + 1)),
        )
        assert ask(there, request(verb, bytes(wire.ReplayAsk(0, most, 0)), shard=shard), [fd])[0] == 0
    os.close(fd)


def test_a_shard_is_its_connections_alone(card: Engine, run: Path) -> None:
    fd = sealed_memfd([bytes(wire.PacketInRecord(0, 1, 0))])
    with dial(run / "read.sock") as there, dial(run / "read.sock") as other:
        _, _, body = ask(there, request(Verb.SHARD, bytes(wire.ShardAsk(16, 0, 0))))
        shard = wire.Number.from_buffer_copy(body).number
        replay = request(Verb.REPLAY, bytes(wire.ReplayAsk(0, 1, 0)), shard=shard)
        assert ask(other, replay, [fd])[0] == ErrorKind.INVALID
        for verb in (Verb.COUNTERS, Verb.SETTLE):
            assert ask(other, request(verb, shard=shard))[0] == ErrorKind.INVALID
        assert ask(other, request(Verb.SHARD_CLOSE, bytes(wire.Number(shard))))[0] == 0  # of none of its own
        assert ask(there, replay, [fd])[0] == 0
    os.close(fd)


def test_a_packet_longer_than_its_memfd(card: Engine, run: Path) -> None:
    for length in (65, 1 << 20, 0xFFFFFFFF):
        fd = sealed_memfd([bytes(wire.PacketInRecord(0, 1, length)), bytes(64)])
        with dial(run / "read.sock") as there:
            _, _, body = ask(there, request(Verb.SHARD, bytes(wire.ShardAsk(16, 0, 0))))
            number = wire.Number.from_buffer_copy(body).number
            asked = request(Verb.REPLAY, bytes(wire.ReplayAsk(0, 1, 0)), shard=number)
            assert ask(there, asked, [fd])[0] == ErrorKind.CORRUPT
        os.close(fd)
