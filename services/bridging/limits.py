"""What vNICs may have of the flow table, held against what fits into it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hal.packet.frame.schema import LEAST_CHALLENGES
from services.bridging import bridging_pb2 as pb
from services.core.objects import Object, Problem

FIX = "Lower the limits, or raise connections in card.toml; that counts from the next start on."


def warnings(vnics: Sequence[Object[pb.Vnic]], connections: int) -> Iterator[Problem]:
    """What is doubtful about the limits that vNICs say."""
    for item in vnics:
        if 0 < item.spec.challenge_limit < LEAST_CHALLENGES:
            message = f"{item.spec.challenge_limit} challenge ACKs a second count as {LEAST_CHALLENGES}"
            message += ": with fewer, who forges segments reads from his own whether others have connections"
            limit = f"{LEAST_CHALLENGES} or more"
            yield item.problem("challengeLimit", message, limit=limit, fix="Say that, or nothing.", warning=True)
    yield from _of_connections(vnics, connections)


def _of_connections(vnics: Sequence[Object[pb.Vnic]], connections: int) -> Iterator[Problem]:
    """Limits of connections by which a flood of one vNIC takes room from another: whose own (what it opens, and what is
    opened to it; a quarter of what fits where it says one alone) fill the table, and those that all together do.

    Args:
        connections: how many fit in all workers; 0: not known.
    """
    if not connections:
        return
    said = [item for item in vnics if item.spec.flow_limit or item.spec.inbound_flow_limit]
    room = f"{connections:,} connections, in all workers"
    alone = [item for item in said if _most(item.spec, connections // 4) > connections]
    for item in alone:
        message = f"it alone may have {_most(item.spec, connections // 4):,} connections, those to it among them"
        what = "its flood fills the table"
        yield item.problem(_larger(item.spec), f"{message}: {what}", limit=room, fix=FIX, warning=True)
    total = sum(_most(item.spec, 0) for item in said)
    if total > connections and not alone:
        item = max(said, key=lambda one: _most(one.spec, 0))
        message = f"the limits that {len(said)} vNICs say come to {total:,} connections, and this one's is the largest"
        what = "floods of some take what others may have"
        yield item.problem(_larger(item.spec), f"{message}: {what}", limit=room, fix=FIX, warning=True)


def _most(spec: pb.Vnic, other: int) -> int:
    """Connections that it may have; `other`: where it says no number."""
    return (spec.flow_limit or other) + (spec.inbound_flow_limit or other)


def _larger(spec: pb.Vnic) -> str:
    return "flowLimit" if spec.flow_limit >= spec.inbound_flow_limit else "inboundFlowLimit"
