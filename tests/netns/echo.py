"""Programs for hosts that say something and hear it again, on TCP port 80."""

from __future__ import annotations

from functools import partial

from tests.netns.world import Host
from tests.tools.until import until

SERVER = """
import socketserver
class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(4096):
            self.request.sendall(data)
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address, daemon_threads, request_queue_size = True, True, 100
Server(("", 80), Echo).serve_forever()
"""
TALK = """
import socket, sys, time
def talk(one):
    one.sendall(b"hello")
    assert one.recv(5, socket.MSG_WAITALL) == b"hello"
"""
"""What a client begins with."""


def listens(host: Host) -> bool:
    """Does a server there take connections?"""
    return until(partial(_is_there, host), 30)


def _is_there(host: Host) -> bool:
    return host.run("ss", "-Hltn", "sport", "=", ":80").stdout != ""
