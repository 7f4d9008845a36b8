"""What every step of a packet sees."""

from __future__ import annotations

from dataclasses import dataclass, field

from hal.packet.model.stage import Witness
from hal.packet.model.store import Version
from hal.packet.model.tables import Tables


@dataclass
class Moment:
    """The generation and the time that packets meet now, and who asks why of this one. One for all parts of a shard."""

    version: Version
    now: int = 0
    witness: Witness = field(default_factory=Witness)

    @property
    def tables(self) -> Tables:
        return self.version.tables
