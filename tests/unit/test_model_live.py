"""The twin's live side: ports, flows, counters, events, trace, which changes nothing."""

from __future__ import annotations

import inspect
import re
from dataclasses import replace
from fnmatch import fnmatch
from typing import Any

import pytest

from hal.errors import HalError
from hal.packet.contract import (
    Backend,
    Cursor,
    EventKind,
    FlowFilter,
    Insert,
    Modify,
    PacketIn,
    StepKind,
    TcpState,
    Verdict,
)
from hal.packet.model import Twin
from hal.packet.model.keys import flow_hash, fold
from hal.packet.model.path import PathShard
from hal.packet.schema.registry import schema
from hal.packet.schema.rows import as_rows, pack_address
from tests.packets import world
from tests.packets.card import Card
from tests.packets.packets import tcp, udp
from tests.tools.tree import ROOT

SYN = tcp("10.1.0.20:4000 > 10.1.0.10:80")
SYN_ACK = tcp("10.1.0.10:80 > 10.1.0.20:4000", flags="SA")
SECOND = 10**9


@pytest.fixture
def twin() -> Twin:
    twin = Twin()
    twin.load(replace(world.CONFIG, pickup_ns=60 * SECOND))
    twin.writer().commit([Insert(rows) for rows in as_rows(world.rows())], tag="first")
    twin.start()
    return twin


def frame(twin: Twin, name: str, what: Any) -> bytes:
    return Card(twin).host(name).frame(what)


def inject(twin: Twin, name: str, what: Any, now: int = 0) -> Any:
    return twin.inject(PacketIn(frame(twin, name, what), world.HOSTS[name].port, now))


def test_is_a_backend(twin: Twin) -> None:
    backend: Backend = twin
    assert backend.capabilities().stages == ("antispoof", "firewall", "bridge", "route")


def test_live_flows_counters_and_events(twin: Twin) -> None:
    assert inject(twin, "client", SYN).verdict == Verdict.FORWARD
    (flow,) = twin.flows()
    assert (flow.tcp_state, flow.generation, flow.to_dict()["tcp_state"]) == (TcpState.SYN_SENT, 1, "SYN_SENT")
    twin.settle()
    counters = twin.counters()
    assert counters.vnics[10]["tx_packets"] == counters.ports[1]["rx_packets"] == 1
    assert counters.engine["chain_walks"] == counters.engine["flows_now"] == 1
    assert counters.rows["firewall_rule", 103].packets == 1
    assert [event.kind for event in twin.events().events] == [EventKind.COMMIT, EventKind.PICKUP_BEGIN]
    assert twin.events().events[0].data == "first"


def test_time_after_start(twin: Twin) -> None:
    assert inject(twin, "client", tcp("10.1.0.20:4 > 10.1.0.10:80", flags="A"), now=5).verdict == Verdict.FORWARD
    late = tcp("10.1.0.20:5 > 10.1.0.10:80", flags="A")
    assert inject(twin, "client", late, now=5 + 60 * SECOND).reason == "tcp_no_session"
    assert [event.kind for event in twin.events().events][-1] == EventKind.PICKUP_END


def test_nothing_moves_before_start() -> None:
    twin = Twin()
    twin.load(world.CONFIG)
    with pytest.raises(HalError, match=r"Call start\(\) first"):
        twin.inject(PacketIn(b"", 0, 0))


def test_one_chain_walk_a_flow(twin: Twin) -> None:
    for _ in range(20):
        inject(twin, "client", udp("10.1.0.20:1 > 10.1.0.10:53"))
    assert twin.counters().engine["chain_walks"] == 1
    assert twin.counters().engine["reevaluations"] == 0


@pytest.mark.parametrize(
    ("which", "found"),
    [
        (FlowFilter(), 2),
        (FlowFilter(protocol=17), 1),
        (FlowFilter(vnic=10), 2),
        (FlowFilter(vnic=30), 0),
        (FlowFilter(source="10.1.0.0/24", destination_port=80), 1),
        (FlowFilter(source="10.1.0.10"), 0),
        (FlowFilter(destination="::/0"), 0),
        (FlowFilter(vrf=2), 0),
        (FlowFilter(id=2), 1),
    ],
)
def test_filters(twin: Twin, which: FlowFilter, found: int) -> None:
    inject(twin, "client", SYN)
    inject(twin, "client", udp("10.1.0.20:1 > 10.1.0.10:53"))
    assert len(twin.flows(which)) == found
    assert twin.writer().forget(which) == found
    assert len(twin.flows()) == 2 - found


def test_shards_are_private(twin: Twin) -> None:
    shard = twin.shard()
    packet = PacketIn(frame(twin, "client", SYN), 1, 0)
    assert shard.replay([packet])[0].verdict == Verdict.FORWARD
    assert (len(shard.flows()), twin.flows()) == (1, [])
    assert shard.events().events == ()
    shard.close()


def test_trace_of_what_is_installed(twin: Twin) -> None:
    inject(twin, "client", SYN)
    before = (twin.flows(), twin.counters(), twin.events())
    packet = PacketIn(frame(twin, "web", SYN_ACK), world.HOSTS["web"].port, 0)
    trace = twin.trace(packet)
    assert trace.flow == before[0][0]
    assert trace.installed is not None
    assert [step.value for step in trace.installed.steps if step.kind == StepKind.STATE] == [TcpState.SYN_RECEIVED]
    assert trace.now.reason == "tcp_no_session"
    assert (twin.flows(), twin.counters(), twin.events()) == before


def test_trace_of_a_staged_commit(twin: Twin) -> None:
    inject(twin, "client", SYN)
    rule = replace(world.RULES["web"], verdict="drop")
    staged = twin.writer().stage([Modify(one) for one in as_rows([rule])])
    packet = PacketIn(frame(twin, "client", SYN), 1, 0)
    trace = twin.trace(packet, staged)
    assert trace.generation == 2
    assert trace.installed is not None
    assert (trace.installed.reason, trace.now.reason) == ("firewall_rule", "firewall_rule")
    assert twin.trace(packet).now.verdict == Verdict.FORWARD
    assert twin.shard(staged=staged).replay([packet])[0].reason == "firewall_rule"
    staged.make()
    assert inject(twin, "client", SYN).reason == "firewall_rule"


def test_neighbours_in_idle_time(twin: Twin) -> None:
    assert inject(twin, "client", udp("10.1.0.20:1 > 203.0.113.9:53")).verdict == Verdict.QUEUE
    assert len(twin.advance(SECOND)) == 1
    assert twin.advance(3 * SECOND) != ()
    assert twin.counters().drops["neighbour_unresolved"] == 1


def test_links(twin: Twin) -> None:
    twin.set_link(0, False)
    twin.set_link(0, False)
    twin.set_link(0, True)
    assert [event.kind for event in twin.events().events][1:] == [EventKind.PORT_DOWN, EventKind.PORT_UP]
    with pytest.raises(HalError, match="one of 0, 1"):
        twin.set_link(77, False)


def test_late_readers_learn_what_they_missed(twin: Twin) -> None:
    for _ in range(5000):
        twin.writer().commit([])
    events = twin.events(Cursor(1, twin.events().cursor.life))
    assert (len(events.events), events.missed, events.cursor) == (4096, 5001 - 4096 - 1, 5001)
    assert twin.events(events.cursor).events == ()


def test_hash_vectors() -> None:
    """The numbers that the engine must come to as well."""
    assert fold(1 << 63, 6) == 3
    client, web = pack_address("10.1.0.20"), pack_address("10.1.0.10")
    there = flow_hash(1, 6, client, web, 4000, 80)
    assert there == flow_hash(1, 6, web, client, 80, 4000) == 0x8690CF41B138AF25
    assert there != flow_hash(2, 6, client, web, 4000, 80)


def test_every_reason_stands_beside_a_step() -> None:
    """`forward` names each drop reason where it comes up, but those of stages, and no other."""
    beside = " ".join(re.findall(r" # (.+)", inspect.getsource(PathShard.forward)))
    named = set(re.findall(r"[a-z0-9_]+[*]?", re.sub(r"[*][A-Z][^*]+[*]", "", beside)))  # without names of chapters
    told = "".join(path.read_text() for path in (ROOT / "hal/packet/stages").glob("*/*.py"))
    reasons = {reason.name for reason in schema(own_only=True).reasons}
    of_stages = {reason for reason in reasons if f'"{reason}"' in told}
    # The twin has no turns: it takes packets one by one.
    left = {one for one in reasons - of_stages if not any(fnmatch(one, word) for word in named)}
    assert left == {"first_packet_limit"}
    like_reasons = {word for word in named if "_" in word or "*" in word}
    assert [word for word in like_reasons if not any(fnmatch(one, word) for one in reasons)] == []


def test_the_path_reads_no_clock() -> None:
    folder = ROOT / "hal/packet/model"
    # The base for backends of others keeps leases by a clock; no packet comes by it.
    paths = [path for path in folder.rglob("*.py") if path.name != "tables_backend.py"]
    texts = {str(path.relative_to(folder)): path.read_text() for path in paths}
    assert not [name for name, text in texts.items() if "import time" in text or "datetime" in text]
    assert "path/order.py" in texts
