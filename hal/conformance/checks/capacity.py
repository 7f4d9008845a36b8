"""Capacity is a promise: N entries fit whatever their keys are, the next is FULL."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

import numpy as np

from hal.conformance import world
from hal.conformance.bench import ENTRIES, Bench, Card, delete, insert, modify
from hal.conformance.check import Level, check, equal
from hal.conformance.frames import udp
from hal.conformance.samples import Samples
from hal.conformance.traffic import Traffic
from hal.errors import ErrorKind
from hal.packet.frame._generated import Vrf
from hal.packet.schema.rows import Rows
from hal.packet.stages.bridge._generated import LocalAddress, Subnet
from hal.packet.stages.firewall._generated import FirewallPolicy, FirewallRule
from hal.packet.stages.route._generated import BlackholeRoute, SubnetRoute

MAC = "02:00:00:00:aa:01"
FITS = "capacities: table -> entries that fit, of all its actions together, where it isn't the declared capacity."


def _part(rows: Rows, begin: int, end: int) -> Rows:
    return Rows(rows.row, rows.data[begin:end])


def _fill(card: Card, rows: Rows) -> None:
    """All but the last fit, by halves and one by one at the end; the last is FULL, and fits once another has gone."""
    table, count = rows.row.LAYOUT.table.name, len(rows) - 1
    card.commit(insert(_part(rows, 0, count // 2)))
    card.commit(insert(_part(rows, count // 2, count - 1)))
    card.commit(insert(_part(rows, count - 1, count)))
    equal(len(card.ids(table)), count, f"entries of table {table}")
    last = insert(_part(rows, count, count + 1))
    card.refuses_commit(ErrorKind.FULL, f"entry {count + 1} of {count} in table {table}", last, place={"table": table})
    card.commit(delete(table, int(rows.data["id"][0])), last)


@check(Level.TABLES, "FULL", FITS)
def every_table_holds_what_it_says(bench: Bench) -> None:
    """Each declared table takes as many entries as load gave it, and not one more."""
    told = bench.card().capabilities
    for table in Samples(bench.schema, bench.classes, next(iter(told.stages), "")).tables():
        size = min(table.capacity, 5)
        card = bench.card(capacities={table.name: size})
        samples = Samples(card.schema, card.classes, next(iter(card.capabilities.stages), ""))
        numbers = range(1, size + 2)
        card.commit([one for rows in samples.parents(table, numbers) for one in insert(rows)])
        rows = samples.rows(table, numbers)
        card.commit(insert(_part(rows, 0, size)))
        place = {"table": table.name}
        card.refuses_commit(
            ErrorKind.FULL,
            f"entry {size + 1} of {size} in {table.name}",
            insert(_part(rows, size, size + 1)),
            place=place,
        )
        bench.close()


@check(Level.TABLES, "FULL", FITS)
def actions_share_their_table(bench: Bench) -> None:
    """A table of several actions takes its N of them in any mixture; the next is FULL, of whichever action it is."""
    told = bench.card().capabilities
    for table in Samples(bench.schema, bench.classes, next(iter(told.stages), "")).tables():
        actions = table.actions
        if len(actions) < 2:
            continue
        size = 2 * len(actions) + 1
        card = bench.card(capacities={table.name: size})
        samples = Samples(card.schema, card.classes, next(iter(card.capabilities.stages), ""))
        numbers = range(1, size + 2)
        card.commit([one for rows in samples.parents(table, numbers) for one in insert(rows)])
        for number in numbers[:-1]:
            card.commit(insert(samples.rows(table, range(number, number + 1), actions[number % len(actions)])))
        for action in actions:
            one_more = insert(samples.rows(table, numbers[-1:], action))
            what = f"entry {size + 1} of {size} in {table.name}, a {action.row}"
            card.refuses_commit(ErrorKind.FULL, what, one_more, place={"table": table.name})
        bench.close()


@check(Level.TABLES, "In a full table they are never FULL: they take no room.")
def modify_needs_no_room(bench: Bench) -> None:
    """Rows of full tables are modified: one, and all at once, their keys and actions too."""
    card = bench.card(capacities={"vrf": 3, "route": 2})
    routes = [BlackholeRoute(id=n, vrf=1, prefix=f"10.{n}.0.0/16") for n in (1, 2)]
    card.commit(insert(Vrf(id=1), Vrf(id=2), Vrf(id=3), Subnet(id=1, vrf=1, mac=MAC), *routes))
    card.refuses_commit(ErrorKind.FULL, "an insert into a full table", insert(Vrf(id=4)), place={"table": "vrf"})
    card.commit(modify(Vrf(id=2, punt_port=9)))
    moved = [SubnetRoute(id=n, vrf=1, prefix=f"172.{n}.0.0/16", subnet=1) for n in (1, 2)]
    card.commit(modify(*moved, *(Vrf(id=n, punt_port=n) for n in (1, 2, 3))))
    equal(card.backend.snapshot(["route"]).rows("route"), moved, "routes of a full table, modified")


def _hosts(packed: Sequence[int]) -> list[str]:
    return [str(ipaddress.IPv6Address(one)) for one in packed]


@check(Level.TABLES, FITS)
def exact_keys_fit_whatever_they_are(bench: Bench) -> None:
    """Exact keys that agree in all but a few bits, low or high ones, fill a table to its last entry."""
    for shift in (0, 64, 112):
        card = bench.card()
        card.commit(insert(Vrf(id=1), Subnet(id=1, vrf=1, mac=MAC)))
        base = int(ipaddress.IPv6Address("2001:db8::")) & ~(0xFFFF << shift)
        addresses = _hosts([base | (n + 1) << shift for n in range(ENTRIES + 1)])
        _fill(card, LocalAddress.array(id=range(1, ENTRIES + 2), vrf=1, address=addresses, subnet=1))
        bench.close()


@check(Level.TABLES, FITS)
def prefixes_fit_whatever_they_are(bench: Bench) -> None:
    """Nested, scattered and neighbouring prefixes of every length fill a table to its last entry."""
    ones = (1 << 128) - 1
    nested = [(ones ^ (ones >> length), length) for length in range(129)]
    scattered = [(pow(3, 5 * n + 7, 1 << 128) | 1, 128) for n in range(450)]
    steps = [((0x20010DB8 << 96) | n << (n % 90), 128 - n % 90) for n in range(1, 2000)]
    found = dict.fromkeys((*nested, *scattered, *steps))
    chosen = [one for one in found if one[0] >> 32 != 0xFFFF][: ENTRIES + 1]
    card = bench.card()
    card.commit(insert(Vrf(id=1)))
    packed = np.frombuffer(b"".join(address.to_bytes(16, "big") for address, _ in chosen), np.uint8).reshape(-1, 16)
    lengths = np.array([length for _, length in chosen], np.uint8)
    _fill(card, BlackholeRoute.array(id=range(1, ENTRIES + 2), vrf=1, prefix=(packed, lengths)))


@check(Level.TABLES, FITS)
def rules_fit_whatever_they_are(bench: Bench) -> None:
    """Overlapping rules of every shape, in one group, fill a table to its last entry."""
    count = ENTRIES + 1
    card = bench.card()
    card.commit(insert(FirewallPolicy(id=1)))
    sources = [f"10.{n % 7 * 32}.0.0/11" if n % 3 else "::/0" for n in range(count)]
    low = [n * 61 % 60000 for n in range(count)]
    rules = FirewallRule.array(
        id=range(1, count + 1),
        policy=1,
        priority=[n % 5 for n in range(count)],
        source=sources,
        destination=[f"2001:db8:{n:x}::/48" if n % 2 else "0.0.0.0/0" for n in range(count)],
        port_low=low,
        port_high=[one + n % 5000 for n, one in enumerate(low)],
        verdict=["allow" if n % 2 else "drop" for n in range(count)],
    )
    _fill(card, rules)


@check(
    Level.STATEFUL,
    "Of the first two 0 means a quarter of what fits in all workers, so that a flood takes its own share only.",
    needs=("packets", "bridge", "route"),
)
def a_flood_takes_its_own_share(bench: Bench) -> None:
    """On a card without limits of its owner's, a vNIC that opens all it can leaves room for others to and from it."""
    traffic = world.world(bench, connections=64).traffic(connections=64)
    world.streams(traffic, range(1, 17))
    for number in range(16, 80):
        world.routed(traffic, sport=1 + number).dropped("flow_limit", f"connection {number + 1} of a flood")
    equal(traffic.counters().drops["flow_limit"], 64, "drops of the flood")
    other = world.B.frame(udp(world.B.ip, world.C.ip))
    traffic.send(world.B.port, other).left_by(world.C.port, "a connection of another vNIC")


def _answered(
    traffic: Traffic, host: world.Host, to: world.Host, opened: range, refused: int = 0, reason: str = ""
) -> None:
    """Connections from one host to another by these source ports, each answered, and more said; so many are dropped."""
    world.streams(traffic, opened, host, to)
    for sport in range(opened.stop, opened.stop + refused):
        sent = traffic.send(host.port, host.frame(udp(host.ip, to.ip, sport, 53)))
        sent.dropped(reason, f"connection {sport} from {host.ip} to {to.ip}")


@check(
    Level.STATEFUL,
    "Who has no more than such a number takes a free place only while fewer than half as many connections count for it "
    "as places are free.",
    needs=("packets", "bridge", "route"),
)
def floods_leave_room(bench: Bench) -> None:
    """However many flood, each with less than its limit, and whatever answers them, there is room for one more; who
    has a number of its own has that."""
    card = world.world(bench, connections=64, flow_limit=16, inbound_flow_limit=16)
    traffic = card.traffic(connections=64)
    a, b, c = world.HOSTS
    _answered(traffic, a, c, range(1, 17), 4, "flow_limit")
    _answered(traffic, b, c, range(1, 17), 4, "flow_limit")
    _answered(traffic, c, a, range(1, 12), 6, "flow_table_full")
    equal(traffic.counters().drops["flow_table_full"], 6, "drops of who has half as many as are free")
    equal(traffic.counters().engine["half_open_evicted"], 0, "connections that went for it")
    from_far = world.from_router(udp(world.FAR, a.ip, 1))
    traffic.send(0, from_far).left_by(a.port, "a connection of somebody who has less")
    card.commit(modify(world.vnic(c, flow_limit=64)))
    _answered(traffic, c, a, range(12, 30))
