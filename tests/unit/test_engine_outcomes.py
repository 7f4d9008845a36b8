"""Commits that nobody waited for, and somebody who asks by another connection what became of them."""

from __future__ import annotations

import ctypes
import os
import secrets
import signal
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from hal.errors import ErrorKind, HalError
from hal.packet.contract import EventKind, Insert, LoadConfig, OutcomeKind
from hal.packet.dpdk import wire
from hal.packet.dpdk.engine import Engine, connect
from hal.packet.dpdk.link import sealed_memfd
from hal.packet.dpdk.wire import Verb
from hal.packet.frame._generated import Vrf
from hal.packet.schema.rows import as_rows
from tests.tools.control import ask, dial, request
from tests.tools.engine import running

COMMITS = 40


def _request(verb: Verb, body: ctypes.Structure) -> bytes:
    return bytes(wire.Request(wire.MAGIC, verb, wire.VERSION, secrets.randbits(32), ctypes.sizeof(body))) + bytes(body)


def _send_commit(where: socket.socket, transaction: int) -> None:
    fd = sealed_memfd([])
    try:
        socket.send_fds(where, [_request(Verb.COMMIT, wire.Commit(transaction, wire.ANY_BASE))], [fd])
    finally:
        os.close(fd)


def test_what_was_sent_before_is_done_before_an_outcome_is_told(tmp_path: Path) -> None:
    """Many commits wait in one connection, an outcome is asked in another: it is that of a commit that was made."""
    run = tmp_path / "run"
    with running(run), ExitStack() as stack:
        card = connect(run)
        stack.callback(card.close)
        card.load(LoadConfig())
        one, other = (stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)) for _ in range(2))
        for end in (one, other):
            end.settimeout(20)
            end.connect(str(run / "write-dsnd.sock"))
        _send_commit(one, 1)
        _send_commit(other, 2)
        for end in (one, other):
            assert end.recv(wire.MAX_MESSAGE)  # it is accepted
        os.kill(card.pid, signal.SIGSTOP)
        try:
            for transaction in range(10, 10 + COMMITS):
                _send_commit(one, transaction)
            other.send(_request(Verb.OUTCOME, wire.OutcomeAsk(9 + COMMITS)))
        finally:
            os.kill(card.pid, signal.SIGCONT)
        told = wire.OutcomeAnswer.from_buffer_copy(other.recv(wire.MAX_MESSAGE), ctypes.sizeof(wire.Answer))
        assert (told.kind, told.generation) == (OutcomeKind.COMMITTED, 2 + COMMITS)
        assert card.snapshot(["vrf"]).generation == 2 + COMMITS


def test_a_commit_behind_answers_that_nobody_reads_is_done_before_an_outcome_is_told(tmp_path: Path) -> None:
    """Answers with a memfd that lie unread keep requests back, but not those that an outcome is asked of."""
    run = tmp_path / "run"
    with running(run), ExitStack() as stack:
        card = connect(run)
        stack.callback(card.close)
        card.load(LoadConfig())
        one, other = (stack.enter_context(dial(run / "write-dsnd.sock")) for _ in range(2))
        for _ in range(20):
            one.send(request(Verb.HELLO))
        _send_commit(one, 77)
        kind, error, body = ask(other, request(Verb.OUTCOME, bytes(wire.OutcomeAsk(77))))
        assert kind == 0, error
        assert wire.OutcomeAnswer.from_buffer_copy(body).kind == OutcomeKind.COMMITTED
        assert card.snapshot(["vrf"]).generation == 1


def test_a_reader_goes_by_tags_and_may_not_ask_for_outcomes(card: Engine, run: Path) -> None:
    """Who may only read learns which tag's commit was made, as which generation, and which is an owner's last; of one
    that was refused there is nothing to read."""
    (row,) = as_rows([Vrf(id=1)])
    writer = card.writer("dsnd")
    first = writer.commit([Insert(row)], transaction=1, tag="one")
    card.writer("agent").commit([], transaction=2, tag="other")
    with pytest.raises(HalError, match="INVALID"):
        writer.commit([Insert(row)], transaction=3, tag="twice")
    reader = connect(run)
    try:
        told = {event.data: event.id for event in reader.events().events if event.kind is EventKind.COMMIT}
        assert (told, reader.events().missed) == ({"one": first, "other": first + 1}, 0)
        assert reader.snapshot([]).tags == {"dsnd": "one", "agent": "other"}
    finally:
        reader.close()
    for transaction in (1, 2, 3):
        with dial(run / "read.sock") as there:
            kind, error, _ = ask(there, request(Verb.OUTCOME, bytes(wire.OutcomeAsk(transaction))))
            assert (kind, error and error.limit) == (ErrorKind.DENIED, b"write-OWNER.sock")
            assert ask(there, request(Verb.HELLO))[0] == 0
    kinds = [card.writer(owner).outcome(number).kind for owner, number in (("dsnd", 1), ("agent", 2), ("dsnd", 3))]
    assert kinds == [OutcomeKind.COMMITTED, OutcomeKind.COMMITTED, OutcomeKind.REFUSED]
