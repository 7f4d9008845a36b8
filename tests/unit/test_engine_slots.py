"""Rows lie in slots, and a slot that another row has now tells nothing of the row before. Slots rest for as long as
others are free, so the table here is full."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hal.packet.contract import Delete, Insert
from hal.packet.schema.rows import as_rows
from tests.packets import world
from tests.packets.card import Card
from tests.packets.packets import udp
from tests.tools.engines import running

ASK = udp("10.1.0.20:1 > 10.1.0.10:53")


def test_a_rule_in_the_slot_of_another_counts_from_nothing() -> None:
    """What the rule before had counted is not the next one's, nor what its connections had yet to settle with it."""
    rules = [row for row in world.rows() if row.LAYOUT.table.name == "firewall_rule"]
    before, after = world.RULES["dns"], replace(world.RULES["dns"], id=999, port_low=9, port_high=9)
    with running() as engine:
        engine.load(replace(world.CONFIG, capacities={"firewall_rule": len(rules)}))
        engine.start()
        engine.writer().commit([Insert(some) for some in as_rows(world.rows())])
        card = Card(engine)

        def counted(rule: int) -> tuple[int, int]:
            found = card.shard.counters().rows["firewall_rule", rule]
            return found.hits, found.packets

        for _ in range(2):
            card.host("client").sends(ASK).arrives_at("web")
        card.shard.settle()
        assert counted(before.id) == (1, 2)
        card.host("client").sends(ASK).arrives_at("web")  # yet to be settled
        (rows,) = as_rows([after])
        card.commits(Delete("firewall_rule", np.array([before.id], np.uint64)), Insert(rows))
        assert counted(after.id) == (0, 0)
        card.host("client").sends(ASK).is_dropped("firewall_default")
        card.shard.settle()
        assert counted(after.id) == (0, 0)
        card.host("client").sends(udp("10.1.0.20:1 > 10.1.0.10:9")).arrives_at("web")
        card.shard.settle()
        assert counted(after.id) == (1, 1)
        card.close()
