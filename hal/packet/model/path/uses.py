"""What each row of table vnic uses of its limits."""

from __future__ import annotations

from hal.packet.contract import LoadConfig
from hal.packet.frame.schema import LEAST_CHALLENGES
from hal.packet.model.counters import Uses
from hal.packet.model.flows import FlowTable
from hal.packet.model.fragments import Fragments
from hal.packet.model.half_open import most_half_open
from hal.packet.model.neighbours import Neighbours
from hal.packet.model.path.windows import ERRORS
from hal.packet.model.tables import Tables

FIRSTS = 512
"""First packets of a vNIC that may wait for their turn. None does here: the twin has no turns."""


def uses_of(tables: Tables, config: LoadConfig, flows: FlowTable, fragments: Fragments, neighbours: Neighbours) -> Uses:
    """Of each row: limit -> used, most. Limits by the second keep nothing: of them 0 is used."""
    neighbours_of = neighbours.uses()
    result = {}
    for vnic in tables.versions["vnic"].entries():
        row: int = vnic.id
        limits = {
            name: getattr(vnic, name) or getattr(config, name)
            for name in ("new_flow_limit", "half_open_limit", "fragment_limit", "icmp_limit", "punt_limit",
                         "challenge_limit", "flow_limit", "inbound_flow_limit")
        }  # fmt: skip
        limits["challenge_limit"] = max(limits["challenge_limit"], LEAST_CHALLENGES)
        known, waiting = neighbours_of(row)
        found = {name: (0, limits[name]) for name in ("punt_limit", "challenge_limit")}
        found |= {"neighbour_limit": known, "neighbour_queue_limit": waiting}
        for which, prefix in (("own", ""), ("inbound", "inbound_"))[: 2 if vnic.role == "vnic" else 1]:
            most = fragments.most((row, which), vnic.role, limits["fragment_limit"])
            found[f"{prefix}fragment_limit"] = fragments.of((row, which)), most
            found[f"{prefix}icmp_limit"] = 0, limits["icmp_limit"]
            found[f"{prefix}icmp_error_limit"] = 0, ERRORS
            found[f"{prefix}first_packet_limit"] = 0, FIRSTS
            if vnic.role == "vnic":
                open_, half_open = flows.uses((row, which))
                found[f"{prefix}flow_limit"] = open_, limits[f"{prefix}flow_limit"]
                found[f"{prefix}new_flow_limit"] = 0, limits["new_flow_limit"]
                most = most_half_open(limits["half_open_limit"], limits[f"{prefix}flow_limit"])
                found[f"{prefix}half_open_limit"] = half_open, most
        result[row] = found
    return result
