"""What a packet met, in words: every stage, table, rule with its file and line, and the reason of a drop."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hal.packet.contract import NONE_ID, Flow, PacketResult, Snapshot, Step, StepKind, TcpState, Verdict
from hal.packet.schema.declare import Type
from hal.packet.schema.registry import Schema
from hal.packet.schema.rows import Row
from sdk.cli.frames import end, frame_words, protocol_word
from services.core.plain import id_text

Say = Callable[[str, int], str]
"""(table, id) -> more about an entry: a rule as it was written; "" for nothing."""

_MADE = {
    1: "an ARP message",
    2: "a neighbour discovery message",
    3: "an echo reply",
    4: "an ICMP error",
    5: "a TCP RST",
    6: "a TCP challenge ACK",
}


@dataclass(frozen=True)
class Speaker:
    """Knows what entries are called.

    Args:
        schema: the engine's tables, stages and reasons.
        snapshot: the tables that packets met.
        more: what else is known of entries (offline: the intent's words).
        ports: port numbers to names.
    """

    schema: Schema
    snapshot: Snapshot
    more: Say = lambda _table, _id: ""
    ports: Mapping[int, str] | None = None

    def entry(self, table: str, row_id: int) -> str:
        """An entry by its name, with file and line where it was written."""
        name = self.snapshot.names.get((table, row_id))
        said = self.more(table, row_id)
        if name is None:
            return f"{table} {row_id}" + (f": {said}" if said else "")
        where = f" ({name.file}:{name.line})" if name.file and name.line else ""
        return f"{table} {name.text}" + (f": {said}" if said else "") + where

    def entry_value(self, table: str, row_id: int) -> dict[str, Any]:
        """Which entry it is as plain values: its id as text, its name, and where it was written."""
        name = self.snapshot.names.get((table, row_id))
        named = (name.text, name.file, name.line) if name is not None else ("", "", 0)
        return {"table": table, "id": id_text(row_id), **dict(zip(("name", "file", "line"), named, strict=True))}

    def port(self, number: int) -> str:
        return (self.ports or {}).get(number, f"port {number}")

    def reason(self, name: str) -> str:
        """A drop reason and what it means."""
        found = next((reason.doc for reason in self.schema.reasons if reason.name == name), "")
        return f"{name}: {found}" if found else name

    def step(self, step: Step, picked_up: str = "") -> str:
        """One step of a witness. `picked_up`: why a connection that it installs began mid-stream, "" if it did not."""
        match step.kind:
            case StepKind.STAGE:
                stages = self.schema.stages
                return f"stage {stages[step.value].name if step.value < len(stages) else step.value}"
            case StepKind.MATCH:
                return f"  matched {self.entry(step.table, step.id)}"
            case StepKind.MISS:
                return f"  nothing matched in {step.table}"
            case StepKind.FLOW:
                side = "from its initiator" if step.value == 0 else "a reply"
                return f"flow {step.id}: {side}"
            case StepKind.REEVALUATE:
                return "decided under older tables: asked again"
            case StepKind.INSTALL:
                why = f", picked up mid-stream ({picked_up})" if picked_up else ""
                return f"connection {step.id} installed, both directions{why}"
            case StepKind.DROP:
                reasons = self.schema.reasons
                name = reasons[step.value].name if step.value < len(reasons) else str(step.value)
                return f"dropped: {self.reason(name)}"
            case StepKind.SEND:
                return f"sent to {self.entry('vnic', step.id)}"
            case StepKind.MAKE:
                return f"the card makes {_MADE.get(step.value, 'a packet')}"
            case StepKind.STATE:
                known = step.value in TcpState._value2member_map_
                return f"TCP state {TcpState(step.value).name if known else step.value}"

    def result(self, result: PacketResult, picked_up: str = "") -> Iterator[str]:
        """A packet's steps and what became of it. `picked_up`: as in `step`."""
        for step in result.steps:
            yield self.step(step, picked_up)
        if result.verdict is Verdict.DROP:
            if not any(step.kind is StepKind.DROP for step in result.steps):
                yield f"dropped: {self.reason(result.reason)}"
        else:
            yield verdict_words(result)
        for output in result.outputs:
            yield f"out by {self.port(output.port)}: {frame_words(output.data)}"

    def result_dict(self, result: PacketResult, picked_up: str = "") -> dict[str, Any]:
        """The same as plain values."""
        steps = [
            {
                "kind": step.kind.name,
                "value": step.value,
                **self.entry_value(step.table, step.id),
                "words": self.step(step, picked_up).strip(),
            }
            for step in result.steps
        ]
        return {
            "verdict": result.verdict.name,
            "reason": result.reason,
            "steps": steps,
            "outputs": [{"port": self.port(output.port), "data": output.data.hex()} for output in result.outputs],
        }

    def row(self, row: Row) -> str:
        """A table's entry in one line: references by name."""
        parts = []
        for field in row.LAYOUT.table.fields(row.LAYOUT.action):
            value = getattr(row, field.name)
            if field.ref:
                named = self.snapshot.names.get((field.ref, value))
                value = named.text if named else ("none" if value == (1 << 64) - 1 else value)
            parts.append(f"{field.name}={value.hex() if isinstance(value, bytes) else value}")
        return f"{type(row).__name__} {' '.join(parts)}"

    def row_value(self, row: Row) -> dict[str, Any]:
        """The same as plain values; references are ids, as text."""
        kinds = {field.name: field.type for field in row.LAYOUT.table.fields(row.LAYOUT.action)}
        fields = {
            name: id_text(value) if kinds[name] is Type.ID else value.hex() if isinstance(value, bytes) else value
            for name, value in row.to_dict().items()
            if name in kinds
        }
        return {"row": type(row).__name__, **self.entry_value(row.LAYOUT.table.name, row.id), **fields}

    def flow(self, flow: Flow) -> str:
        """A connection in one line."""
        return f"{ends(flow)}, {self.vnic(flow.ingress)} to {self.vnic(flow.egress)}"

    def flow_value(self, flow: Flow) -> dict[str, Any]:
        """A connection as plain values: its VRF, vNICs and rules by name, too. A rule is None where none decided."""
        ids = {name: id_text(getattr(flow, name)) for name in ("id", "vrf", "ingress", "egress")}
        names = {
            f"{name}_name": self.entry_value(table, getattr(flow, name))["name"]
            for name, table in (("vrf", "vrf"), ("ingress", "vnic"), ("egress", "vnic"))
        }
        rules = [
            None
            if rule == NONE_ID
            else {**self.entry_value("firewall_rule", rule), "words": self.more("firewall_rule", rule)}
            for rule in flow.rules
        ]
        return {**flow.to_dict(), **ids, **names, "rules": rules, "stale": self.is_stale(flow)}

    def is_stale(self, flow: Flow) -> bool:
        """It was decided by tables that have changed since. What it does still counts until its next packet; what is
        said of its rules is how they are now."""
        return flow.generation < self.snapshot.generation

    def decided(self, flow: Flow) -> str:
        """By which tables."""
        stale = "; the tables have changed since, its next packet is decided anew" if self.is_stale(flow) else ""
        return f"decided by generation {flow.generation}{stale}"

    def operation(self, words: str) -> str:
        """An operation of a flow in words, the entries in it by name."""
        return re.sub(r"\b(vnic|vrf) (\d+)\b", self._named, words)

    def _named(self, found: re.Match[str]) -> str:
        name = self.snapshot.names.get((found[1], int(found[2])))
        return f"{found[1]} {name.text}" if name is not None else found[0]

    def vnic(self, row_id: int) -> str:
        name = self.snapshot.names.get(("vnic", row_id))
        return name.text if name else str(row_id)


def verdict_words(result: PacketResult) -> str:
    """What became of a packet that wasn't dropped."""
    return {
        Verdict.FORWARD: "forwarded",
        Verdict.CONSUME: "taken in by the card itself",
        Verdict.QUEUE: "waits for a neighbour to answer",
        Verdict.PUNT: "given to the card's own programs",
        Verdict.DROP: f"dropped: {result.reason}",
    }[result.verdict]


def ends(flow: Flow) -> str:
    """Protocol, addresses and ports of a connection."""
    return (
        f"{protocol_word(flow.protocol)} {end(flow.source, flow.source_port)} > "
        f"{end(flow.destination, flow.destination_port)}"
    )
