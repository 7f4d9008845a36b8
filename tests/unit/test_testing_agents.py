"""A card as an agent's test has it: an intent is there, the agent's tables are its own, and it is awaited."""

from hal.packet import NextHop, Route
from sdk.testing.agents import on_twin
from tests.tools.tree import ROOT

INTENT = (ROOT / "docs/examples/two-hosts.yaml").read_text()
PING = "icmp 10.1.0.20 > 10.1.0.10"


def test_an_agents_tables_are_empty_and_its_own() -> None:
    with on_twin(INTENT, {"agent": ("next_hop", "next_hop_group", "next_hop_member", "route")}) as card:
        card.ids(("vrf", "default"), ("vnic", "web"))
        assert card.snapshot(Route).rows("route") == []
        assert "not_configured" in str(card.trace(PING, port="client"))
        mine = card.writer("agent", [NextHop, Route])
        assert mine.sync(tag="nothing yet").changes == {}
        assert "FORWARD" in str(card.trace(PING, port="client"))
