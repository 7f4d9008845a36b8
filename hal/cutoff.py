"""Cuts the kernel's own network stack off from an interface that is a port of the card.

A packet socket sees what comes in beside the kernel, not instead of it: without this the machine answers ARP, neighbour
discovery and ping on the card's ports for addresses of its own, forwards what hosts send it, and sends there what it
likes. Two filters of the traffic control end that (docs/adr/0053-the-kernel-is-cut-off.md):

- in: everything is dropped. Packet sockets stand in front of the filter and see it all.
- out: everything is dropped that lacks the mark, which the port's own socket puts on what it sends.

Both are classic BPF, an instruction of four numbers (`struct sock_filter` of linux/filter.h), and say themselves what
becomes of a packet. Every function acts in the network namespace that it is called in.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import TYPE_CHECKING, Any, Final

from hal.later import Later

if TYPE_CHECKING:
    import pyroute2
else:
    pyroute2 = Later("pyroute2")

MARK: Final = 0x64736E
"""On what a port sends (SO_MARK), and our filters' handle: "dsn"."""
_INGRESS: Final = 0xFFFFFFF2
_EGRESS: Final = 0xFFFFFFF3
_PREFERENCE: Final = 1
_OK, _DROP = 0, 2
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_PACKET_MARK: Final = 0xFFFFF000 + 20
"""Where the load instruction has a packet's mark: SKF_AD_OFF + SKF_AD_MARK."""
_PROGRAMS: Final = {
    _INGRESS: ((_RETURN, 0, 0, _DROP),),
    _EGRESS: ((_LOAD, 0, 0, _PACKET_MARK), (_EQUAL, 0, 1, MARK), (_RETURN, 0, 0, _OK), (_RETURN, 0, 0, _DROP)),
}
_NEW_FILTER: Final = 44
_REQUEST_ACK_EXCL_CREATE: Final = 0x1 | 0x4 | 0x200 | 0x400
_KIND, _OPTIONS, _OPS_LEN, _OPS, _FLAGS = 1, 2, 4, 5, 8
_ALL_PROTOCOLS: Final = 0x0300  # ETH_P_ALL in network order
_MAIN_TABLE: Final = 254


def cut_off(ifname: str) -> tuple[str, ...]:
    """Keep the kernel's stack from hearing and speaking on an interface. Once more is no error.

    Returns:
        The kernel's own addresses on it, which nobody reaches there from now on; none where it was cut off before.

    Raises:
        OSError: no such interface, no authority, or ENOTSUP where the kernel can't filter so; EBUSY where a default
            route of the machine goes through it, or somebody else's filters stand in the way.
    """
    kernel: Any = pyroute2.IPRoute()
    try:
        index = _index(kernel, ifname)
        if all(_ours(kernel, index, parent) for parent in _PROGRAMS):
            return ()
        if any(_is_default(kernel, index, family) for family in (socket.AF_INET, socket.AF_INET6)):
            raise OSError(errno.EBUSY, "the machine's own default route goes through it", ifname)
        try:
            kernel.tc("add", "clsact", index=index)
        except pyroute2.NetlinkError as error:
            kinds = {one.get_attr("TCA_KIND") for one in kernel.get_qdiscs(index=index)}
            if error.code != errno.EEXIST or "clsact" not in kinds:  # "ingress" has room for one direction only
                raise _told(error.code, ifname) from error
        for parent, program in _PROGRAMS.items():
            if not _ours(kernel, index, parent):
                _add_filter(index, parent, program, ifname)
        found = [one.get_attr("IFA_ADDRESS") for one in kernel.get_addr(index=index)]
        return tuple(one for one in found if not one.lower().startswith("fe80:"))
    finally:
        kernel.close()


def give_back(ifname: str) -> bool:
    """Undo `cut_off`: our filters go, and what holds filters where no others are in it. An interface that isn't there
    or wasn't cut off is no error. Returns whether there was anything to undo. Raises NetlinkError."""
    kernel: Any = pyroute2.IPRoute()
    undone = False
    try:
        for index in kernel.link_lookup(ifname=ifname):
            mine = [parent for parent in _PROGRAMS if _ours(kernel, index, parent)]
            for parent in mine:
                kernel.tc("del-filter", "bpf", index=index, parent=parent, prio=_PREFERENCE, handle=MARK,
                          info=_PREFERENCE << 16 | _ALL_PROTOCOLS)  # fmt: skip
            if mine and not any(kernel.get_filters(index, 0, parent) for parent in _PROGRAMS):
                kernel.tc("del", "clsact", index=index)
            undone = undone or bool(mine)
        return undone
    finally:
        kernel.close()


def _index(kernel: Any, ifname: str) -> int:
    for index in kernel.link_lookup(ifname=ifname):
        return int(index)
    raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), ifname)


def _is_default(kernel: Any, index: int, family: int) -> bool:
    routes = kernel.get_routes(family=family, table=_MAIN_TABLE)
    return any(one["dst_len"] == 0 and one.get_attr("RTA_OIF") == index for one in routes)


def _ours(kernel: Any, index: int, parent: int) -> bool:
    try:
        return any(one["handle"] == MARK for one in kernel.get_filters(index, 0, parent))
    except pyroute2.NetlinkError as error:
        if error.code in (errno.EINVAL, errno.ENOENT):  # nothing holds filters there
            return False
        raise


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _add_filter(index: int, parent: int, program: tuple[tuple[int, int, int, int], ...], ifname: str) -> None:
    """By a message of our own: pyroute2 knows no filters of classic BPF."""
    operations = b"".join(struct.pack("=HBBI", *one) for one in program)
    options = _attribute(_OPS_LEN, struct.pack("=H", len(program))) + _attribute(_OPS, operations)
    options += _attribute(_FLAGS, struct.pack("=I", 1))  # direct action
    body = struct.pack("=BxxxiIII", 0, index, MARK, parent, _PREFERENCE << 16 | _ALL_PROTOCOLS)
    body += _attribute(_KIND, b"bpf\0") + _attribute(_OPTIONS, options)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as link:
        link.sendto(struct.pack("=IHHII", 16 + len(body), _NEW_FILTER, _REQUEST_ACK_EXCL_CREATE, 1, 0) + body, (0, 0))
        (code,) = struct.unpack_from("=i", link.recv(4096), 16)
    if code:
        raise _told(-code, ifname)


def _told(code: int, ifname: str) -> OSError:
    if code in (errno.EEXIST, errno.EINVAL):
        return OSError(errno.EBUSY, "filters of somebody else are in the way: tc filter show dev", ifname)
    if code in (errno.ENOENT, errno.EOPNOTSUPP):
        return OSError(errno.ENOTSUP, "the kernel lacks the modules sch_ingress and cls_bpf", ifname)
    return OSError(code, os.strerror(code), ifname)
