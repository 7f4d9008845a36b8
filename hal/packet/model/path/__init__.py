"""The way of packets through the twin."""

from hal.packet.model.path.order import PathShard
from hal.packet.model.path.pickup import FOREVER

__all__ = ["FOREVER", "PathShard"]
