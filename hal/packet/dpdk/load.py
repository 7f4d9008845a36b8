"""A load configuration as the engine takes it, with the descriptors of devices that only we may open."""

from __future__ import annotations

import os

from hal.errors import ErrorKind, HalError
from hal.packet.contract import LoadConfig, PortConfig
from hal.packet.derive import with_limits
from hal.packet.dpdk import wire
from hal.packet.dpdk.linux_port import open_packet_socket, open_tap
from hal.packet.schema.rows import pack_mac


def _port(port: PortConfig, has_fd: bool) -> wire.LoadPort:
    if len(port.name.encode()) > 31 or len(port.device.encode()) > 111:
        raise HalError(ErrorKind.INVALID, f"port {port.name}", limit="31 bytes of name, 111 of device", got=port.device)
    record = wire.LoadPort(port.number, port.mtu, int(has_fd), 0)
    if port.mac:
        record.mac[:6] = list(pack_mac(port.mac))
    record.name = port.name.encode()
    record.device = port.device.encode()
    return record


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


def load_parts(config: LoadConfig) -> tuple[bytes, list[int]]:
    """(bytes of the memfd, descriptors that go with it). The caller closes the descriptors.

    Raises:
        HalError: INVALID naming the port that can't be opened.
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
    except BaseException:
        for fd in fds:
            os.close(fd)
        raise
    owners = [
        bytes(wire.LoadOwner(owner.encode(), table.encode()))
        for owner, tables in config.owners.items()
        for table in tables
    ]
    capacities = [bytes(wire.LoadCapacity(table.encode(), count)) for table, count in config.capacities.items()]
    head = wire.Load(
        len(records),
        len(owners),
        len(capacities),
        config.workers,
        config.connections,
        config.flow_limit,
        config.inbound_flow_limit,
        config.punt_limit,
        config.pickup_ns,
    )
    return b"".join([bytes(head), *records, *owners, *capacities]), fds
