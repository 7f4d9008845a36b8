"""One card an interface: a claim lives as long as an engine that inherited it, and its holder is named."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from hal import namespaces
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
