"""A load configuration as the engine takes it, with the descriptors of devices that only we may open."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path

from hal.authority import NOBODY, Holder
from hal.errors import ErrorKind, HalError
from hal.packet.contract import LoadConfig, PortConfig
from hal.packet.derive import with_limits
from hal.packet.dpdk import wire
from hal.packet.dpdk.linux_port import open_packet_socket, open_tap
from hal.packet.schema.rows import pack_mac

NEW = ".new"
OWNER_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,30}")
"""It becomes part of a file's name."""
MOST_DESCRIPTORS = 252
"""That go with one message, beside the memfd (SCM_MAX_FD of Linux)."""


def _port(port: PortConfig, has_fd: bool) -> wire.LoadPort:
    if len(port.name.encode()) > 31 or len(port.device.encode()) > 111:
        raise HalError(ErrorKind.INVALID, f"port {port.name}", limit="31 bytes of name, 111 of device", got=port.device)
    record = wire.LoadPort(port.number, port.mtu, int(has_fd), 0)
    if port.mac:
        record.mac[:6] = list(pack_mac(port.mac))
    record.name = port.name.encode()
    record.device = port.device.encode()
    return record


def _bind(run: Path, owner: str, holders: Mapping[str, Holder]) -> int:
    try:
        return bind_writer(run, owner, holders.get(owner, NOBODY))
    except OSError as error:
        raise HalError(
            ErrorKind.INVALID, f"owner {owner}", field="socket", got=error.strerror or str(error),
            limit="one in the engine's run folder", fix="Load as the user that started the engine.",
        ) from error  # fmt: skip


def _open(port: PortConfig) -> int | None:
    kind, _, where = port.device.partition(":")
    name, _, namespace = where.partition("@")
    openers = {"linux": open_packet_socket, "tap": open_tap}
    if kind not in openers:
        return None
    try:
        return openers[kind](name, namespace or None)
    except OSError as error:
        raise HalError(
            ErrorKind.INVALID,
            f"port {port.name}",
            field="device",
            got=f"{port.device}: {error.strerror}",
            fix="Name a device that is there: ip link.",
        ) from error


def owners_in_order(config: LoadConfig) -> list[str]:
    """Owners as the engine numbers them: dsnd, then the others as they are first named."""
    return list(dict.fromkeys(["dsnd", *(owner for owner, tables in config.owners.items() if tables)]))


def bind_writer(run: Path, owner: str, holder: Holder) -> int:
    """The socket of an owner's writers, bound in the run folder for that holder; the engine, which has no rights in the
    folder, listens on it. Its name is one for the time being: `name_writers` gives it its own once it is listened on.
    The caller closes the descriptor once it was handed over. Raises OSError."""
    path = run / f"write-{owner}.sock{NEW}"
    folder = os.open(run, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    try:
        os.fchmod(bound.fileno(), 0o600)  # which the name gets too: nobody else opens it in between
        path.unlink(missing_ok=True)
        bound.bind(f"/proc/self/fd/{folder}/{path.name}")  # a path may be longer than an address
        holder.give(path)
    except BaseException:
        bound.close()
        raise
    finally:
        os.close(folder)
    return bound.detach()


def name_writers(run: Path) -> None:
    """Sockets of writers that the engine has taken get their own names. Raises OSError."""
    for path in run.glob(f"write-*.sock{NEW}"):
        path.replace(path.with_name(path.name.removesuffix(NEW)))


def drop_writers(run: Path) -> None:
    """Take away those that it hasn't. Raises OSError."""
    for path in run.glob(f"write-*.sock{NEW}"):
        path.unlink(missing_ok=True)


def load_parts(
    config: LoadConfig, run: Path | None = None, holders: Mapping[str, Holder] | None = None
) -> tuple[bytes, list[int]]:
    """(bytes of the memfd, descriptors that go with it). The caller closes the descriptors.

    Args:
        run: the engine's run folder; None: it makes the sockets of writers itself.
        holders: owner -> who may open the socket of its writers; root alone may open the others'.

    Raises:
        HalError: INVALID naming the port that can't be opened, or the owner whose socket can't be made.
    """
    config = with_limits(config)
    fds: list[int] = []
    records: list[bytes] = []
    try:
        for port in config.ports:
            fd = _open(port)
            if fd is not None:
                fds.append(fd)
            records.append(bytes(_port(port, fd is not None)))
        owners = owners_in_order(config)
        if run is not None and all(OWNER_NAME.fullmatch(owner) for owner in owners):  # else it is refused by name
            fds.extend(_bind(run, owner, holders or {}) for owner in owners)
        if len(fds) > MOST_DESCRIPTORS:
            raise HalError(
                ErrorKind.INVALID, "card", field="ports", got=f"{len(fds)} Linux interfaces, taps and owners",
                limit=f"{MOST_DESCRIPTORS} in all", fix="Spread them over several cards.",
            )  # fmt: skip
    except BaseException:
        for fd in fds:
            os.close(fd)
        if run is not None:
            drop_writers(run)
        raise
    named = [
        bytes(wire.LoadOwner(owner.encode(), table.encode(), owner in config.awaited))
        for owner, tables in config.owners.items()
        for table in tables
    ]
    capacities = [bytes(wire.LoadCapacity(table.encode(), count)) for table, count in config.capacities.items()]
    head = wire.Load(
        len(records),
        len(named),
        len(capacities),
        config.workers,
        config.connections,
        config.flow_limit,
        config.inbound_flow_limit,
        config.punt_limit,
        config.new_flow_limit,
        config.half_open_limit,
        config.fragment_limit,
        config.icmp_limit,
        config.challenge_limit,
        config.pickup_ns,
    )
    return b"".join([bytes(head), *records, *named, *capacities]), fds
