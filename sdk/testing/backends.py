"""For authors of backends: the kit that holds a card to the packet contract, and the twin, which keeps all of it."""

from hal import conformance
from hal.conformance import *  # noqa: F403 - all that the kit offers, and its own list says what that is
from hal.packet.model.device import TwinDevice

__all__ = ["TwinDevice"]
__all__ += conformance.__all__
