"""Loading a card, and what it says of itself."""

from __future__ import annotations

import dataclasses
from typing import Any

from hal.conformance.bench import OTHER, Bench, Card, delete, insert
from hal.conformance.check import VERBS, Level, check, equal, expect, raises
from hal.errors import ErrorKind, HalError
from hal.packet.contract import FlowFilter, PacketIn, PortConfig
from hal.packet.frame._generated import Profile, ProfileStage, Vrf
from hal.packet.stages.route._generated import NextHop

INVALID = ErrorKind.INVALID


def _wrong_load(bench: Bench, what: str, **config: Any) -> None:
    """INVALID, and the card can be loaded afterwards: nothing was kept of it."""
    backend = bench.unloaded()
    raises(INVALID, lambda: backend.load(bench.config(**config)), what)
    backend.load(bench.config())


@check(Level.TABLES, "Raises BUSY once loaded, INVALID for what the configuration gets wrong.")
def load_twice_is_busy(bench: Bench) -> None:
    """A second load is BUSY and changes nothing."""
    card = bench.card()
    card.commit(insert(Vrf(id=1)))
    card.refuses(ErrorKind.BUSY, "a second load", lambda: card.backend.load(bench.config()))


@check(Level.TABLES, "number: 0-65534, unique; what rows call it.")
def load_refuses_port_numbers(bench: Bench) -> None:
    """Port numbers are 0 to 65534, each once."""
    port = bench.device.port
    _wrong_load(bench, "a load with port number 65535", ports=(port(65535, "a"),))
    _wrong_load(bench, "a load with two ports of one number", ports=(port(1, "a"), port(1, "b")))
    backend = bench.unloaded()
    backend.load(bench.config(ports=(port(0, "a"), port(65534, "b"))))
    equal(sorted(one.config.number for one in backend.capabilities().ports), [0, 65534], "port numbers")


@check(Level.TABLES, "mtu: longest IP packet in bytes, 1280-9216.")
def load_refuses_mtu(bench: Bench) -> None:
    """A port's MTU is 1280 to 9216."""
    for mtu in (1279, 9217):
        ports = (_with_mtu(bench.device.port(1, "a"), mtu),)
        _wrong_load(bench, f"a load with MTU {mtu}", ports=ports)


def _with_mtu(port: PortConfig, mtu: int) -> PortConfig:
    return PortConfig(port.number, port.name, port.device, mtu, port.mac)


@check(Level.TABLES, "workers: packet threads, 1-64.")
def load_refuses_workers(bench: Bench) -> None:
    """There are 1 to 64 workers."""
    for workers in (0, 65):
        _wrong_load(bench, f"a load with {workers} workers", workers=workers)


@check(Level.TABLES, 'A table has one owner; tables named nowhere belong to "dsnd".')
def load_refuses_two_owners(bench: Bench) -> None:
    """A table has one owner."""
    _wrong_load(bench, "a load that gives route to two", owners={"one": ("route",), "two": ("route",)})


@check(Level.TABLES, "owners: owner -> the tables it writes.")
def load_refuses_unknown_tables(bench: Bench) -> None:
    """Owners and capacities are of tables that there are."""
    _wrong_load(bench, "a load with an owner of no table", owners={"one": ("no_such_table",)})
    _wrong_load(bench, "a load with a capacity of no table", capacities={"no_such_table": 5})


@check(
    Level.TABLES,
    'A table has one owner; tables named nowhere belong to "dsnd".',
    "who holds a `Writer` commits to the tables its owner name was given at `load`",
    "Authority to write the tables of one owner.",
)
def owners_write_their_tables(bench: Bench) -> None:
    """Each owner writes what load gave it, dsnd what nobody was given."""
    card = bench.shared()
    equal(card.writer("dsnd").owner, "dsnd", "owner of dsnd's writer")
    equal(card.writer(OTHER).owner, OTHER, "owner of the other's writer")
    card.commit(insert(Vrf(id=1)))
    card.commit(insert(NextHop(id=5, port=0, address="192.0.2.1")), owner=OTHER)
    equal((card.ids("vrf"), card.ids("next_hop")), ([1], [5]), "rows of both owners")


@check(
    Level.TABLES,
    "capacities: table -> entries that fit, of all its actions together, where it isn't the declared capacity.",
    "capacities: table -> entries.",
    "Open ports and size tables.",
)
def capacities_are_as_loaded(bench: Bench) -> None:
    """Capabilities tell the capacities of load, and the declared ones elsewhere."""
    given = dict(bench.config(capacities={"next_hop": 7, "fdb": 100}).capacities)
    small = {table: size for table, size in given.items() if table != "firewall_policy"}
    backend = bench.unloaded()
    backend.load(dataclasses.replace(bench.config(), capacities=small))
    capacities = backend.capabilities().capacities
    declared = {table.name: table.capacity for table in bench.schema.tables}
    equal(dict(capacities), {**declared, **small}, "capacities")


@check(
    Level.TABLES,
    "ports: the ports.",
    "name: as intent calls it.",
    "A port as it is now.",
    "`wakes`: it can wake a sleeping engine; otherwise the engine polls.",
)
def ports_are_told(bench: Bench) -> None:
    """Capabilities tell the ports as they were loaded, each with its link."""
    card = bench.card()
    ports = {state.config.number: state for state in card.capabilities.ports}
    wanted = {port.number: port for port in bench.config().ports}
    equal(
        {number: (state.config.name, state.config.device, state.config.mtu) for number, state in ports.items()},
        {number: (port.name, port.device, port.mtu) for number, port in wanted.items()},
        "ports",
    )
    expect(all(isinstance(state.link, bool) for state in ports.values()), "a port's link is yes or no")
    expect(all(isinstance(state.wakes, bool) for state in ports.values()), "whether a port wakes is yes or no")


@check(Level.TABLES, "workers: packet threads, 1-64.", "that fit in each worker.")
def sizes_are_told(bench: Bench) -> None:
    """Capabilities tell workers and connections as they were loaded."""
    card = bench.card(connections=2048)
    equal((card.capabilities.workers, card.capabilities.connections), (1, 2048), "workers, connections")


@check(
    Level.TABLES,
    'level: "tables", "stateless", "stateful", "nat" or "all": the level the conformance kit holds it to.',
    "What this backend can do, asked before and never found out by failing.",
)
def level_is_one(bench: Bench) -> None:
    """Capabilities name a level, the backend and its version."""
    told = bench.card().capabilities
    expect(told.level in [level.word for level in Level], f"{told.level!r} is no level")
    expect(told.backend and told.version, "a backend says its name and version")


@check(Level.TABLES, "absent: verbs and stages it refuses as UNSUPPORTED.")
def absences_fit_the_level(bench: Bench) -> None:
    """What is absent is a verb or a stage, and none that the level needs."""
    told = bench.card().capabilities
    stages = {stage.name for stage in bench.schema.stages[1:]}
    for absent in told.absent:
        expect(absent in VERBS or absent in stages, f"absent: {absent!r} is neither a verb nor a stage")
        needed = VERBS.get(absent)
        expect(
            needed is None or needed > Level.of(told.level),
            f"absent: a card of level {told.level} has to have {absent}",
        )


@check(Level.TABLES, "stages: stages with code, in chain order of their numbers.")
def stages_are_in_order(bench: Bench) -> None:
    """Stages with code are declared ones, in the order of their numbers, and none that is absent."""
    told = bench.card().capabilities
    order = [stage.name for stage in told.schema.stages]
    numbers = [order.index(stage) if stage in order[1:] else -1 for stage in told.stages]
    expect(-1 not in numbers, f"a stage with code that isn't declared: {told.stages}")
    equal(numbers, sorted(set(numbers)), "numbers of the stages with code")
    equal([stage for stage in told.stages if stage in told.absent], [], "stages with code that are absent")


@check(Level.TABLES, "occupancy: table -> entries used now.")
def occupancy_is_told(bench: Bench) -> None:
    """Capabilities tell for each table how many entries it has."""
    card = bench.card()
    equal(set(card.capabilities.occupancy), {table.name for table in card.schema.tables}, "tables with an occupancy")
    card.commit(insert(Vrf(id=1), Vrf(id=2), NextHop(id=1, port=0, address="192.0.2.1")))
    card.commit(delete("vrf", 2))
    used = {table: count for table, count in card.capabilities.occupancy.items() if count}
    equal(used, {"vrf": 1, "next_hop": 1}, "entries used")


@check(Level.TABLES, "owners: table -> the owner that writes it.")
def owners_are_told(bench: Bench) -> None:
    """Capabilities tell of each table who writes it: the owner that was named at load, else "dsnd"."""
    card = bench.shared()
    told = card.capabilities.owners
    equal(set(told), {table.name for table in card.schema.tables}, "tables with an owner")
    equal((told["vrf"], told["next_hop"]), ("dsnd", OTHER), "owners of vrf and next_hop")


def _verb_calls(card: Card) -> dict[str, Any]:
    """A call for each verb that may be absent."""
    packet = PacketIn(bytes(60), 1, 10**9)
    return {
        "counters": card.backend.counters,
        "events": card.backend.events,
        "stage": lambda: card.stage([]),
        "trace": lambda: card.backend.trace(packet),
        "shard": card.shard,
        "flows": card.backend.flows,
        "neighbours": card.backend.neighbours,
        "forget": lambda: card.writer().forget(FlowFilter()),
        "settle": card.backend.settle,
    }


@check(Level.TABLES, "absent: verbs and stages it refuses as UNSUPPORTED.")
def absent_verbs_refuse(bench: Bench) -> None:
    """A verb that is declared absent is refused as UNSUPPORTED; one that isn't answers."""
    card = bench.card()
    card.commit(insert(Vrf(id=1)))
    for verb, call in _verb_calls(card).items():
        if verb in card.absent:
            card.refuses(ErrorKind.UNSUPPORTED, f"{verb}, which is declared absent,", call)
        else:
            _answers(verb, call)


def _answers(verb: str, call: Any) -> None:
    try:
        call()
    except HalError as error:
        expect(
            error.kind is not ErrorKind.UNSUPPORTED,
            f"{verb} is refused as UNSUPPORTED but not declared absent: {error}",
        )


@check(Level.TABLES, "UNSUPPORTED (a stage without code)", "absent: verbs and stages it refuses as UNSUPPORTED.")
def stages_without_code_refuse(bench: Bench) -> None:
    """A profile that names a declared stage without code is UNSUPPORTED."""
    card = bench.card()
    card.commit(insert(Profile(id=1)))
    without = [stage.name for stage in card.schema.stages[1:] if stage.name not in card.capabilities.stages]
    for number, stage in enumerate(without, 1):
        row = ProfileStage(id=number, profile=1, direction="egress", position=0, stage=stage)
        card.refuses_commit(ErrorKind.UNSUPPORTED, f"a profile with stage {stage}, which has no code,", insert(row))


@check(Level.TABLES, "UNSUPPORTED (a stage without code)")
def unknown_stages_refuse(bench: Bench) -> None:
    """A profile that names a stage which nobody declares is refused."""
    card = bench.card()
    row = ProfileStage(id=1, profile=1, direction="egress", position=0, stage="no-such-stage")
    kinds = (ErrorKind.UNSUPPORTED, INVALID)
    card.refuses_commit(kinds, "a profile with a stage that nobody declares", insert(Profile(id=1), row))
