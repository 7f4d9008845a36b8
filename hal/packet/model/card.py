"""A twin as a card of one's own: loaded, started, nobody's tables yet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hal.packet.card import Card, CardWriter
from hal.packet.contract import LoadConfig, PortConfig
from hal.packet.model.twin import Twin
from hal.packet.schema.rows import Row


class TwinCard(Card):
    """Over a twin, which nobody loaded with owners: tables belong to who first asks to write them."""

    def __init__(self, ports: Sequence[str], stages: Iterable[str] = ()) -> None:
        self.twin = Twin(stages)
        configs = tuple(PortConfig(number, name, "replay") for number, name in enumerate(ports))
        self.twin.load(LoadConfig(ports=configs))
        self.twin.start()
        super().__init__(self.twin)

    def writer(self, owner: str, rows: Iterable[type[Row]]) -> CardWriter:
        rows = list(rows)
        self.twin.claim(owner, [row.LAYOUT.table.name for row in rows])
        return super().writer(owner, rows)
