"""Figures of change under traffic: one rule, a steady stream of commits, a whole table of routes."""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from hal.packet import NextHop, Route
from hal.packet.contract import Insert, Modify
from hal.packet.schema.rows import Row, Rows
from tests.bench import card, generator, routes, rules
from tests.bench.card import RESOLVE, Loaded
from tests.bench.effort import Effort
from tests.bench.generator import Phase, Send, Traffic, VoidError
from tests.bench.results import Figure, figure

GAP_NS = 2_000_000  # the work under test mustn't count as the host's absence
NO_END = 2_000_000_000  # packets: a phase that is ended by hand
FLOWS = 10_000
PROBE_EVERY = 16
OBEYED_S = 5.0


def percentile(numbers: Sequence[float], share: float) -> float:
    """The smallest number that this share of them doesn't exceed."""
    return sorted(numbers)[max(0, math.ceil(share * len(numbers)) - 1)]


def _wait(loaded: Loaded, name: str) -> int:
    deadline = time.monotonic() + OBEYED_S
    while not (value := loaded.control[name]):
        if time.monotonic() > deadline:
            raise VoidError(f"no probe came out within {OBEYED_S:.0f} s")
    return value


def _first_out(loaded: Loaded, do: Callable[[], object]) -> int:
    """When the first probe came out, in `time.monotonic_ns`, of those since just before this was done."""
    control = loaded.control
    control["probe_arm"] += 1
    do()
    deadline = time.monotonic() + OBEYED_S
    while control["probe_armed"] != control["probe_arm"]:
        if time.monotonic() > deadline:
            raise VoidError(f"a rule allows the probes, and none came out within {OBEYED_S:.0f} s")
    return control.monotonic_ns(_wait(loaded, "probe_first_out"))


def _changed_once(loaded: Loaded, rule: Rows, allow: bool, interval_ms: float) -> float:
    """Milliseconds from the call to the first packet that obeys."""
    control = loaded.control
    if allow:
        # None comes out now, so the first that does is the first that obeys; but where the machine has much else to do,
        # one of before may still be on its way.
        begin = time.monotonic_ns()
        first = _first_out(loaded, lambda: loaded.writer.commit([Modify(rule)]))
        while first < begin:
            first = _first_out(loaded, lambda: None)
        return (first - begin) / 1e6
    begin = time.monotonic_ns()
    loaded.writer.commit([Modify(rule)])
    time.sleep(0.005)
    last = (control.monotonic_ns(control["probe_last_out"]) - begin) / 1e6
    time.sleep(0.002)
    if (control.monotonic_ns(control["probe_last_out"]) - begin) / 1e6 != last:
        raise VoidError("a rule drops the probes, and they still came out 5 ms after its commit")
    return max(0.0, last) + interval_ms  # the next one after the last that passed was the first that obeyed


def _opened(flows: int, phases: Sequence[Send], **more: str | int) -> Traffic:
    keys = card.keys({**rules.TUPLES, **rules.PROBE_KEYS}, gap_ns=GAP_NS, probe_every=PROBE_EVERY, **more)
    return Traffic(flows, "forward", (RESOLVE, *generator.establish("udp"), *phases), keys=keys)


def change_once(effort: Effort) -> list[float]:
    """Milliseconds of each change of the probes' rule, allow and drop by turns, under full load."""
    flows = min(FLOWS, effort.flows)
    traffic = _opened(flows, (Send("load", "run", NO_END),))
    variants = [rules.probe_rule(effort.rules, verdict).rows() for verdict in ("drop", "allow")]
    took: list[float] = []
    with card.under_load(traffic, rules.mixed(effort.rules - 1), huge=effort.huge, more=[variants[0]]) as loaded:
        last = len(traffic.phases) - 1
        for number in range(last):
            loaded.phase(number)
        loaded.begin(last)
        loaded.until_begun(last)
        time.sleep(0.2)
        begin, sent = time.monotonic(), loaded.control["probe_sent"]
        time.sleep(0.2)
        interval_ms = (time.monotonic() - begin) * 1e3 / max(1, loaded.control["probe_sent"] - sent)
        for number in range(effort.changes):
            allow = number % 2 == 0
            took.append(_changed_once(loaded, variants[allow], allow, interval_ms))
            time.sleep(0.003 + 0.007 * (number % 10) / 10)
        loaded.stop(last)
    return took


def change_one(effort: Effort) -> Figure:
    runs, all_of_them = [], []
    for run in range(min(effort.runs, 3)):
        took = change_once(effort)
        runs.append(percentile(took, 0.99))
        all_of_them += took
        effort.say(f"change_one {run + 1}: p99 {runs[-1]:.2f} ms, median {statistics.median(took):.2f}")
    more = {"p50": percentile(all_of_them, 0.5), "max": max(all_of_them)}
    return figure("change_one", runs, effort.rules, more=more)


ROUTES, RULES = 10_000, 1_000
ROUTE_COMMITS, RULE_COMMITS = 1_000, 10  # a second
OTHER_HOP = 2


def _other_routes() -> list[Row | Rows]:
    """Two next hops, and routes beside those of the traffic, from 20.0.0.0 on."""
    prefixes = np.zeros((ROUTES, 16), np.uint8)
    prefixes[:, 10:12] = 0xFF
    prefixes[:, 12:] = (0x14000000 + (np.arange(ROUTES) << 8)).astype(">u4").view(np.uint8).reshape(-1, 4)
    lengths = np.full(ROUTES, 96 + 24, np.uint8)
    many = Route.array(id=1000 + np.arange(ROUTES), vrf=card.VRF, prefix=(prefixes, lengths), next_hop=card.NEXT_HOP)
    return [NextHop(id=OTHER_HOP, port=1, address="10.255.1.3"), many]


def _churn_commits(loaded: Loaded, seconds: float) -> tuple[float, list[float]]:
    """Commit by the clock: (commits a second, milliseconds that each took)."""
    table = rules.mixed(RULES)
    spacing = 1 / (ROUTE_COMMITS + RULE_COMMITS)
    every = (ROUTE_COMMITS + RULE_COMMITS) // RULE_COMMITS
    begin, took, number = time.monotonic(), [], 0
    while (now := time.monotonic()) - begin < seconds:
        due = begin + number * spacing
        if now < due:
            time.sleep(due - now)
        if number % every == 0:
            # Of the group that decides the traffic: a step up and down again, which changes no decision.
            turn = number // every
            some = table.take(np.array([(turn // 2 * 37) % (RULES - 1)]))
            some.data["priority"] += turn % 2 + 1
            operation = Modify(some)
        else:
            hop = card.NEXT_HOP if number % 2 else OTHER_HOP
            prefix = f"20.{(number % 4096) >> 8}.{number & 255}.0/24"
            operation = Modify(Route(id=1000 + number % 4096, vrf=card.VRF, prefix=prefix, next_hop=hop).rows())
        started = time.monotonic()
        loaded.writer.commit([operation])
        took.append((time.monotonic() - started) * 1e3)
        number += 1
    return number / (time.monotonic() - begin), took


def _rate(phase: Phase) -> float:
    return 1e9 / phase.ns_per_packet


@dataclass(frozen=True)
class Churned:
    """Packets a second with the commits and without; commits a second; of a commit: p99 in ms, and microseconds of
    processor time that it took Python and the engine's control thread (which waits for workers with it)."""

    changed: float
    still: float
    rate: float
    commit_p99_ms: float
    python_us: float
    control_us: float


def churn_once(effort: Effort) -> Churned:
    turns = [Send(f"{kind}{turn}", "run", NO_END) for turn in range(2) for kind in ("still", "churn")]
    keys = card.keys(rules.TUPLES, gap_ns=GAP_NS)
    opened = (RESOLVE, *generator.establish("udp"))
    traffic = Traffic(min(FLOWS, effort.flows), "forward", (*opened, *turns), keys=keys)
    still, changed, rates, took, python, control = [], [], [], list[float](), 0.0, 0.0
    with card.under_load(traffic, rules.mixed(RULES), huge=effort.huge, more=_other_routes()) as loaded:
        for number, send in enumerate(traffic.phases):
            if number < len(opened):
                loaded.phase(number)
                continue
            loaded.begin(number)
            loaded.until_begun(number)
            if send.name.startswith("still"):
                time.sleep(effort.seconds)
                still.append(_rate(loaded.stop(number)))
            else:
                python -= time.process_time()
                control -= card.control_seconds(loaded.pid)
                rate, each = _churn_commits(loaded, effort.seconds)
                python += time.process_time()
                control += card.control_seconds(loaded.pid)
                rates.append(rate)
                took += each
                changed.append(_rate(loaded.stop(number)))
    each_us = 1e6 / len(took)
    return Churned(
        statistics.mean(changed), statistics.mean(still), min(rates), percentile(took, 0.99), python * each_us,
        control * each_us,
    )  # fmt: skip


def churn(effort: Effort) -> Figure:
    runs: list[Churned] = []
    for run in range(min(effort.runs, 3)):
        runs.append(one := churn_once(effort))
        effort.say(
            f"churn {run + 1}: {one.changed / 1e6:.2f} Mpps at {one.rate:.0f} commits/s "
            f"(p99 {one.commit_p99_ms:.1f} ms, "
            f"Python {one.python_us:.0f} us, control {one.control_us:.0f} us), still {one.still / 1e6:.2f} Mpps"
        )
    wanted, slowest = ROUTE_COMMITS + RULE_COMMITS, min(one.rate for one in runs)
    if slowest < 0.98 * wanted:
        raise VoidError(f"only {slowest:.0f} commits a second were made instead of {wanted}")
    more = {"flows": float(min(FLOWS, effort.flows))}
    more |= {name: max(getattr(one, name) for one in runs) for name in ("commit_p99_ms", "python_us", "control_us")}
    peer = [one.still for one in runs]
    changed = [one.changed for one in runs]
    return figure("churn", changed, wanted, peer="the same run without commits", peer_runs=peer, more=more)


def load_once(table: routes.Table, effort: Effort) -> float:
    """Seconds from the arrays to the first packet that a route of the table forwards."""
    target = routes.address_only_in(table, (*card.SERVERS, card.CLIENTS, card.PROBES))
    traffic = _opened(min(1_000, effort.flows), (Send("load", "run", NO_END),), probe_dst=f"{target}/32")
    with card.under_load(traffic, rules.mixed(10), huge=effort.huge) as loaded:
        last = len(traffic.phases) - 1
        for number in range(last):
            loaded.phase(number)
        loaded.begin(last)
        loaded.until_begun(last)
        time.sleep(0.1)
        control = loaded.control
        if control["probe_first_out"]:
            raise VoidError(f"{target} is reachable before its route is there")
        begin = time.monotonic_ns()
        rows = Route.array(
            id=1000 + np.arange(len(table)),
            vrf=card.VRF,
            prefix=(table.addresses, table.lengths),
            next_hop=card.NEXT_HOP,
        )
        loaded.writer.commit([Insert(rows)])
        seen = control.monotonic_ns(_wait(loaded, "probe_first_out"))
        loaded.stop(last)
    return (seen - begin) / 1e9


def load_routes(effort: Effort) -> Figure:
    table = routes.full_table(effort.routes)
    effort.say(f"load_routes: {len(table):,} prefixes, {table.origin}")
    runs = []
    for run in range(min(effort.runs, 3)):
        runs.append(load_once(table, effort))
        effort.say(f"load_routes {run + 1}: {runs[-1]:.2f} s")
    return figure("load_routes", runs, len(table), more={"real_table": float(routes.REAL.exists())})
