"""The way of packets through the twin."""

from hal.packet.model.path.opening import FOREVER
from hal.packet.model.path.order import PathShard

__all__ = ["FOREVER", "PathShard"]
