"""The driver of the packet engine: starts or adopts the process, and speaks the contract to it over its sockets."""

from hal.packet.dpdk.engine import Engine, connect
from hal.packet.dpdk.process import EngineProcess, open_to, start, sweep

__all__ = ["Engine", "EngineProcess", "connect", "open_to", "start", "sweep"]
