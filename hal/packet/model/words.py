"""Packets in words, as events and traces speak of them."""

from __future__ import annotations

from hal.packet.model.stage import ICMP, ICMP6, TCP, UDP, Header
from hal.packet.schema.rows import unpack_address

PROTOCOLS = {ICMP: "icmp", TCP: "tcp", UDP: "udp", ICMP6: "icmp6"}


def protocol_word(protocol: int) -> str:
    return PROTOCOLS.get(protocol, str(protocol))


def end_words(address: bytes, port: int) -> str:
    """10.1.0.10:80, [2001:db8::a]:80."""
    text = unpack_address(address)
    return f"[{text}]:{port}" if ":" in text else f"{text}:{port}"


def decided_words(verdict: str, header: Header) -> str:
    """What a rule with `log` tells of a connection."""
    source = end_words(header.source, header.source_port)
    destination = end_words(header.destination, header.destination_port)
    return f"{verdict} {protocol_word(header.protocol)} {source} > {destination}"
