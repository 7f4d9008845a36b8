"""Wrong about what limits are used for and what they refuse."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from hal.packet.contract import Counters
from hal.packet.model.counters import CounterSet, Uses
from hal.packet.model.flows import FlowTable, Share
from hal.packet.model.tables import Tables
from tests.conformance.broken.parts import Breaks, breaks

BREAKS: Breaks = {}


@breaks(BREAKS, "limits_tell_what_is_used")
class AllHalfOpen(FlowTable):
    """every connection of a vNIC is told as half-open"""

    def uses(self, share: Share) -> tuple[int, int]:
        count, _ = super().uses(share)
        return count, count


@breaks(BREAKS, "limits_by_the_second_are_never_used")
class EverythingIsLimited(CounterSet):
    """where a limit doesn't hold it is told as one of 1"""

    def read(self, tables: Tables, ports: Iterable[int], uses: Uses) -> Counters:
        found = super().read(tables, ports, uses)
        return replace(found, limits={key: one._replace(most=one.most or 1) for key, one in found.limits.items()})


@breaks(BREAKS, "limits_count_what_they_refuse")
class OnlyDrops(CounterSet):
    """handshakes that were pushed out are not counted"""

    def refuse(self, vnic: int, limit: str) -> None:
        if limit != "half_open_limit":
            super().refuse(vnic, limit)


__all__ = ["BREAKS"]
