"""Wrong about loading, and about what a card says of itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hal.errors import ErrorKind, HalError
from hal.packet.contract import Capabilities, LoadConfig
from hal.packet.model.chain import Chain
from hal.packet.model.tables import Tables
from hal.packet.model.twin import Twin
from tests.conformance.broken.parts import Breaks, Handle, breaks

BREAKS: Breaks = {}


@breaks(BREAKS, "load_twice_is_busy")
class LoadsTwice(Twin):
    """a second load is taken for done"""

    def load(self, config: LoadConfig) -> None:
        if self._config is None:
            super().load(config)


@breaks(BREAKS, "load_refuses_port_numbers")
class AnyPortNumber(Twin):
    """port numbers wrap"""

    def load(self, config: LoadConfig) -> None:
        super().load(replace(config, ports=tuple(replace(port, number=port.number % 65535) for port in config.ports)))


@breaks(BREAKS, "load_refuses_mtu")
class AnyMtu(Twin):
    """an MTU out of range is taken as the nearest that is in it"""

    def load(self, config: LoadConfig) -> None:
        ports = tuple(replace(port, mtu=min(max(port.mtu, 1280), 9216)) for port in config.ports)
        super().load(replace(config, ports=ports))


@breaks(BREAKS, "load_refuses_workers")
class AnyWorkers(Twin):
    """as many workers as there may be, where more or less are asked for"""

    def load(self, config: LoadConfig) -> None:
        super().load(replace(config, workers=min(max(config.workers, 1), 64)))


@breaks(BREAKS, "load_refuses_two_owners")
class LastOwner(Twin):
    """of two owners of a table the last one has it"""

    def load(self, config: LoadConfig) -> None:
        last = {table: owner for owner, tables in config.owners.items() for table in tables}
        owners = {owner: tuple(t for t in tables if last[t] == owner) for owner, tables in config.owners.items()}
        super().load(replace(config, owners=owners))


@breaks(BREAKS, "load_refuses_unknown_tables")
class UnknownTables(Twin):
    """tables that nobody declares are ignored at load"""

    def load(self, config: LoadConfig) -> None:
        known = self.schema.table_numbers
        owners = {owner: tuple(t for t in tables if t in known) for owner, tables in config.owners.items()}
        capacities = {table: size for table, size in config.capacities.items() if table in known}
        super().load(replace(config, owners=owners, capacities=capacities))


@breaks(BREAKS, "owners_write_their_tables")
class Misnamed(Twin):
    """writers of other agents don't know whose they are"""

    def writer(self, owner: str = "dsnd") -> Any:
        class Nobodys(Handle):
            owner = "nobody"

        writer = super().writer(owner)
        return writer if owner == "dsnd" else Nobodys(writer)


class Telling(Twin):
    """Tells other capabilities."""

    def tell(self, told: Capabilities) -> Capabilities:
        raise NotImplementedError

    def capabilities(self) -> Capabilities:
        return self.tell(super().capabilities())


@breaks(BREAKS, "capacities_are_as_loaded")
class DeclaredCapacities(Telling):
    """tells the declared capacities, whatever was loaded"""

    def tell(self, told: Capabilities) -> Capabilities:
        return replace(told, capacities={table.name: table.capacity for table in self.schema.tables})


@breaks(BREAKS, "ports_are_told")
class NamelessPorts(Telling):
    """tells ports by their devices"""

    def tell(self, told: Capabilities) -> Capabilities:
        ports = (replace(port, config=replace(port.config, name=port.config.device)) for port in told.ports)
        return replace(told, ports=tuple(ports))


@breaks(BREAKS, "sizes_are_told")
class OtherSizes(Telling):
    """tells connections of all directions"""

    def tell(self, told: Capabilities) -> Capabilities:
        return replace(told, connections=2 * told.connections)


@breaks(BREAKS, "level_is_one")
class NoVersion(Telling):
    """tells no version"""

    def tell(self, told: Capabilities) -> Capabilities:
        return replace(told, version="")


@breaks(BREAKS, "absences_fit_the_level")
class OddAbsence(Telling):
    """declares absent what nobody knows"""

    def tell(self, told: Capabilities) -> Capabilities:
        return replace(told, absent=("teleport",))


@breaks(BREAKS, "stages_are_in_order")
class StagesReversed(Telling):
    """tells stages in the order of the alphabet"""

    def tell(self, told: Capabilities) -> Capabilities:
        return replace(told, stages=tuple(sorted(told.stages)))


@breaks(BREAKS, "occupancy_is_told")
class NoOccupancy(Telling):
    """tells no occupancy of tables that others refer to"""

    def tell(self, told: Capabilities) -> Capabilities:
        return replace(told, occupancy={**told.occupancy, "vrf": 0})


@breaks(BREAKS, "owners_are_told")
class AllDsnds(Telling):
    """tells that all tables are dsnd's"""

    def tell(self, told: Capabilities) -> Capabilities:
        return replace(told, owners=dict.fromkeys(told.owners, "dsnd"))


@breaks(BREAKS, "absent_verbs_refuse")
class AbsentVerb(Telling):
    """does what it declares absent"""

    def tell(self, told: Capabilities) -> Capabilities:
        return replace(told, absent=("forget",), level="stateless")


@breaks(BREAKS, "stages_without_code_refuse")
class TakesUncoded(Chain):
    """takes profiles with stages that have no code"""

    def refuse(self, tables: Tables) -> None:
        try:
            super().refuse(tables)
        except HalError as error:
            if error.kind is not ErrorKind.UNSUPPORTED:
                raise


@breaks(BREAKS, "unknown_stages_refuse")
class TakesUnknown(Chain):
    """takes profiles with stages that nobody declares"""

    def refuse(self, tables: Tables) -> None:
        try:
            super().refuse(tables)
        except HalError as error:
            if error.kind is not ErrorKind.INVALID or error.field != "stage" or error.got != "no-such-stage":
                raise


__all__ = ["BREAKS"]
