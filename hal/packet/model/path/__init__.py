"""The way of packets through the twin."""

from hal.packet.model.path.receive import PathShard
from hal.packet.model.path.state import FOREVER, ICMP_ERROR, TCP_RST

__all__ = ["FOREVER", "ICMP_ERROR", "TCP_RST", "PathShard"]
