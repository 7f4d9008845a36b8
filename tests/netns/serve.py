"""A web server for hosts: `serve.py FOLDER ADDRESS PORT`. `python -m http.server`, which asks the DNS for its own name
before it listens, takes ten seconds for that where nobody answers."""

from __future__ import annotations

import http.server
import socket
import socketserver
import sys
from functools import partial


class Server(http.server.ThreadingHTTPServer):
    """On IPv4 as well where the address is ::."""

    address_family = socket.AF_INET6

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        socketserver.TCPServer.server_bind(self)


def main(folder: str, address: str, port: str) -> None:
    shown = address if ":" in address else f"::ffff:{address}"
    with Server((shown, int(port)), partial(http.server.SimpleHTTPRequestHandler, directory=folder)) as server:
        server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
