"""The twin: the packet path and its contract in plain Python, the executable specification."""

from hal.packet.model.twin import Twin

__all__ = ["Twin"]
