"""Linux's connection tracking as a judge: which packets of a capture would a router forward that drops what is
`invalid`?"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hal import namespaces
from tests.netns.world import run
from tests.opinions.capture import Frame
from tests.opinions.taps import End, know, namespace, read_all, tap
from tests.opinions.wiring import SIDES

RULES = """
table inet third {
  chain forward {
    type filter hook forward priority filter; policy drop;
    ct state invalid counter drop
    ct state established,related,new accept
  }
}
"""
_NETFILTER = 12  # linux/netlink.h
_DELETE = 1 << 8 | 2  # linux/netfilter/nfnetlink_conntrack.h: CTNETLINK, IPCTNL_MSG_CT_DELETE
_REQUEST, _ACK = 1, 4

SETTINGS = {
    "ipv4__ip_forward": 1,
    "ipv6__conf__all__forwarding": 1,
    "ipv4__conf__all__rp_filter": 0,
    "ipv4__conf__default__rp_filter": 0,
    "netfilter__nf_conntrack_tcp_be_liberal": 0,  # sequence numbers outside the window are invalid
    "netfilter__nf_conntrack_checksum": 0,  # the card verifies none of what it forwards
    "netfilter__nf_conntrack_tcp_loose": 0,  # a connection begins with a SYN
}


@dataclass(frozen=True)
class Conntrack:
    """A router that tracks, in a namespace, with a tap to each side."""

    ends: tuple[End, End]
    control: socket.socket
    """Netlink, in its namespace."""

    def verdicts(self, frames: Sequence[Frame]) -> list[bool]:
        """For each frame whether anything came out at the other side; nothing is known of before.

        They are given one after another without waiting for their times: no capture lasts as long as a time-out.
        """
        self._forget()
        found = []
        for frame in frames:
            os.write(self.ends[frame.side].tap, frame.data)
            found.append(any([*read_all(self.ends[1 - frame.side].tap)]))
            for _ in read_all(self.ends[frame.side].tap):  # what it tells the sender
                pass
        return found

    def _forget(self) -> None:
        """Delete all entries."""
        body = struct.pack("=BBH", socket.AF_UNSPEC, 0, 0)
        self.control.send(struct.pack("=IHHII", 16 + len(body), _DELETE, _REQUEST | _ACK, 1, 0) + body)
        answer = self.control.recv(4096)
        (error,) = struct.unpack_from("=i", answer, 16)
        if error:
            raise OSError(-error, os.strerror(-error), "delete all of conntrack")


@contextlib.contextmanager
def router() -> Iterator[Conntrack]:
    """The judge. Needs root."""
    with contextlib.ExitStack() as stack:
        name = stack.enter_context(namespace(f"dsn-third-{os.getpid()}"))
        ends = []
        for side in SIDES:
            addresses = (f"{side.router_v4}/24", f"{side.router_v6}/64")
            end = stack.enter_context(tap(name, f"to-{side.name}", side.router_mac, addresses))
            for address in (side.v4, side.v6):
                know(end, address, side.mac)
            ends.append(end)
        ends[0].set(**SETTINGS)
        run("ip", "netns", "exec", name, "nft", RULES.strip())
        control = stack.enter_context(namespaces.inside(name, _netlink))
        for end in ends:
            for _ in read_all(end.tap):
                pass
        yield Conntrack((ends[0], ends[1]), control)


def _netlink() -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETFILTER)
