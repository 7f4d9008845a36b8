"""The chain: which stages a vNIC's profile names, and what they decide together."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from hal.errors import ErrorKind, HalError
from hal.packet.contract import StepKind
from hal.packet.model.addresses import is_claimed
from hal.packet.model.guard import refuses_in, refuses_out
from hal.packet.model.keys import flow_hash
from hal.packet.model.parse import is_link_local
from hal.packet.model.rows import Entry
from hal.packet.model.stage import Context, Direction, Drop, Header, Leave, Network, Op, Pass, Stage, Witness
from hal.packet.model.tables import Tables
from hal.packet.schema.declare import NONE_ID
from hal.packet.schema.registry import Schema
from hal.packet.schema.rows import MAPPED


@dataclass(frozen=True)
class Decision:
    """All stages passed: where it leaves, and the row that decided on either side (NONE_ID: none did)."""

    egress: Entry
    neighbour: bytes | None
    decided_by: tuple[Entry | None, Entry | None]

    @property
    def rows(self) -> tuple[Entry, ...]:
        """The rows that decided; one that did on both sides is there once."""
        return tuple({(row.table, row.id): row for row in self.decided_by if row}.values())

    @property
    def rules(self) -> tuple[int, int]:
        out, into = self.decided_by
        return (out.id if out else NONE_ID, into.id if into else NONE_ID)


def own_mac(tables: Tables, vnic: Entry) -> bytes | None:
    """The card's MAC towards a vNIC, uplink or tap: what is sent to it is routed."""
    if vnic.role == "uplink":
        mac: bytes = vnic.mac
        return mac
    subnet = tables.get("subnet", vnic.subnet)
    return subnet.mac if subnet else None


def lowest_local(tables: Tables, vnic: Entry, like: bytes, link_local: bool = False) -> bytes | None:
    """The numerically lowest `local_address` of the vNIC's subnet, of the family of `like`."""
    found = [
        local.address
        for local in tables.select("local_address", subnet=vnic.subnet)
        if local.address.startswith(MAPPED) == like.startswith(MAPPED)
        and (link_local or not is_link_local(local.address))
    ]
    return min(found, default=None)


def load_stages(packages: Sequence[str], schema: Schema) -> dict[str, Stage]:
    """Stage name -> its twin, for those stages that have one. `packages[0]` is the frame, which is no stage."""
    stages: dict[str, Stage] = {}
    for package, declared in list(zip(packages, schema.stages, strict=True))[1:]:
        try:
            module = importlib.import_module(package + ".model")
        except ModuleNotFoundError as error:
            if error.name != package + ".model":
                raise
            continue
        stage = getattr(module, "STAGE", None)
        if not isinstance(stage, Stage):
            raise HalError(ErrorKind.INVALID, f"stage {declared.name}", field="model.STAGE", limit="a Stage")
        stages[declared.name] = stage
    return stages


class Chain:
    """The stages that have a twin, and how profiles put them in order."""

    def __init__(self, schema: Schema, stages: Mapping[str, Stage]) -> None:
        self._numbers = {stage.name: number for number, stage in enumerate(schema.stages)}
        self._stages = stages

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name in self._numbers if name in self._stages)

    def refuse(self, tables: Tables) -> None:
        """Raises for a profile that names a stage which isn't there (INVALID) or has no twin (UNSUPPORTED)."""
        for place in tables.versions["profile_stage"].entries():
            if place.stage in self._stages:
                continue
            known = place.stage in self._numbers and place.stage != "frame"
            raise HalError(
                ErrorKind.UNSUPPORTED if known else ErrorKind.INVALID,
                "table profile_stage",
                field="stage",
                limit="a stage with model.py" if known else "one of " + ", ".join(self.names),
                got=place.stage,
                fix=f"Write model.py of stage {place.stage}." if known else "",
                table="profile_stage",
                row_id=place.id,
            )

    def stages(self, tables: Tables, vnic: Entry, direction: Direction) -> Iterator[tuple[int, Stage]]:
        """Number and twin of the stages of this part of the vNIC's chain, in order."""
        places = tables.select("profile_stage", profile=vnic.profile, direction=direction)
        for place in sorted(places, key=lambda place: place.position):
            yield self._numbers[place.stage], self._stages[place.stage]

    def ops(self, tables: Tables, vnic: Entry) -> frozenset[Op]:
        """What every packet from this vNIC has to pass."""
        return frozenset().union(*(stage.ops for _, stage in self.stages(tables, vnic, "egress")))

    def ask(self, tables: Tables, vnic: Entry, question: Callable[[Stage], str]) -> str:
        """The first reason that one of its egress stages has, or ""."""
        for _, stage in self.stages(tables, vnic, "egress"):
            if reason := question(stage):
                return reason
        return ""

    def source_is_wrong(self, tables: Tables, header: Header, vnic: Entry) -> str:
        """The reason not to let it send from this source, or "": asked where no chain decides."""
        if is_claimed(tables, vnic, header.source):
            return "address_conflict"
        return self.ask(tables, vnic, lambda stage: stage.check_source(header, vnic, tables))

    def decide(
        self, header: Header, ingress: Entry, routed: bool, tables: Tables, network: Network, witness: Witness
    ) -> Decision | Drop:
        """What becomes of a connection that begins with this header, coming from `ingress`."""
        if refuses_out(ingress, header):
            return Drop("dhcp_guard")
        if is_claimed(tables, ingress, header.source):
            return Drop("address_conflict")
        context = Context("egress", ingress, None, routed, hash_of(header, ingress.vrf), network)
        leave: Leave | None = None
        decided: list[Entry | None] = [None, None]
        for side, direction in enumerate(_DIRECTIONS):
            if direction == "ingress":
                if leave is None or (routed and own_mac(tables, leave.egress) is None):
                    return Drop("no_decision")
                if leave.egress.id == ingress.id:
                    return Drop("same_interface")
                if refuses_in(leave.egress, header):
                    return Drop("dhcp_guard")
                context = Context(direction, ingress, leave.egress, routed, context.flow_hash, network)
            for number, stage in self.stages(tables, context.vnic, direction):
                witness.step(StepKind.STAGE, value=number)
                verdict = stage.decide(header, context, tables, witness)
                if isinstance(verdict, Drop):
                    return replace(verdict, refused_by=context.egress) if direction == "ingress" else verdict
                if isinstance(verdict, Leave) and direction == "egress":
                    leave = verdict
                    context = Context(direction, ingress, leave.egress, routed, context.flow_hash, network)
                elif isinstance(verdict, Pass) and verdict.decided_by:
                    decided[side] = verdict.decided_by
        if leave is None:
            return Drop("no_decision")
        return Decision(leave.egress, leave.neighbour, (decided[0], decided[1]))

    def where(self, header: Header, ingress: Entry, routed: bool, tables: Tables, network: Network) -> Leave | Drop:
        """Where a packet would leave, asked of those stages alone that say where, in the order of their numbers."""
        context = Context("egress", ingress, None, routed, hash_of(header, ingress.vrf), network)
        for name in self.names:
            if not self._stages[name].says_where:
                continue
            verdict = self._stages[name].decide(header, context, tables, Witness())
            if not isinstance(verdict, Pass):
                return verdict
        return Drop("no_decision")


_DIRECTIONS: tuple[Direction, Direction] = ("egress", "ingress")


def hash_of(header: Header, vrf: int) -> int:
    return flow_hash(
        vrf,
        header.protocol,
        header.source,
        header.destination,
        header.source_port,
        header.destination_port,
    )
