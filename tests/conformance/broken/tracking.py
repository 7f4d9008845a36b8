"""Wrong about how connections are followed."""

from __future__ import annotations

from hal.packet.model.flows import Connection, FlowTable
from tests.conformance.broken.parts import Breaks, breaks

BREAKS: Breaks = {}


@breaks(BREAKS, "time_outs_are_those_of_now")
class CopiedTimeouts(FlowTable):
    """a connection keeps the tables that it was opened under"""

    def add(self, connection: Connection) -> None:
        super().add(connection)
        connection.moment = type(connection.moment)(connection.moment.version)
