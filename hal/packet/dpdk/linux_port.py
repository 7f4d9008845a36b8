"""Opens the devices that only dsnd may open, for an engine that may not.

What needs authority happens here: making the socket (CAP_NET_RAW), its buffers beyond the system's limit and a tap
(CAP_NET_ADMIN). The engine, without any, does the rest on the descriptor: the ring, offload headers, and receiving
from then on. So nothing is received by a socket that nobody reads yet.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import struct

from hal.cutoff import MARK
from hal.namespaces import inside

BUFFER_BYTES = 16 << 20
"""Of a socket, each way: frames longer than a slot of the ring (64 kB segments) wait in it."""

_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33
_TUNSETIFF, _SIOCGIFHWADDR = 0x400454CA, 0x8927
_IFF_TAP, _IFF_NO_PI = 0x0002, 0x1000


def open_packet_socket(ifname: str, netns: str | None = None) -> int:
    """A raw AF_PACKET socket bound to `ifname` that receives nothing until the engine lets it.

    Args:
        netns: name of the network namespace it lies in; None: ours.

    Returns:
        The descriptor; the caller closes it once it was handed over.

    Raises:
        OSError: no such interface or namespace, or no authority.
    """
    return inside(netns, lambda: _packet_socket(ifname))


def open_tap(name: str, netns: str | None = None) -> int:
    """A tap of this name, made if it isn't there. It goes with its last descriptor.

    Args:
        netns: name of the network namespace to make it in; None: ours.

    Raises:
        OSError: no such namespace, a name too long or taken by another kind of device, or no authority.
    """
    return inside(netns, lambda: _tap(name))


def tap_mac(fd: int) -> str:
    """MAC address of the tap that `fd` holds."""
    answer = fcntl.ioctl(fd, _SIOCGIFHWADDR, bytes(40))
    return answer[18:24].hex(":")


def _packet_socket(ifname: str) -> int:
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
    try:
        for force, plain in ((_SO_RCVBUFFORCE, socket.SO_RCVBUF), (_SO_SNDBUFFORCE, socket.SO_SNDBUF)):
            try:
                opened.setsockopt(socket.SOL_SOCKET, force, BUFFER_BYTES)
            except PermissionError:
                opened.setsockopt(socket.SOL_SOCKET, plain, BUFFER_BYTES)
        with contextlib.suppress(PermissionError):  # who may not mark may not cut the kernel off either
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, MARK)
        opened.bind((ifname, 0))
    except BaseException:
        opened.close()
        raise
    return opened.detach()


def _tap(name: str) -> int:
    encoded = name.encode()
    if not 0 < len(encoded) < 16:
        raise OSError(errno.EINVAL, "a device's name has 1 to 15 bytes", name)
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", encoded, _IFF_TAP | _IFF_NO_PI))
    except BaseException:
        os.close(fd)
        raise
    return fd
