"""The ring of events, and a counter for everything."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

from hal.conformance.bench import OTHER, Bench, Card, insert, modify
from hal.conformance.check import Level, check, equal, expect
from hal.conformance.frames import tcp
from hal.conformance.traffic import Traffic
from hal.conformance.world import GUARDED, RULE, A, C, firewalled, replied, routed, rule, segment, vnic
from hal.errors import ErrorKind
from hal.packet.contract import LOGS_PER_SECOND, Cursor, EventKind, Events
from hal.packet.frame._generated import Vrf

MOST = 200_000
"""More events than any ring keeps."""
NEEDS = ("events",)
SECOND = 1_000_000_000


def _numbers(card: Card, cursor: Any = None) -> list[int]:
    return [event.number for event in card.backend.events(cursor).events]


@check(Level.STATELESS, "`number` ascends by one", "Something to tell", needs=NEEDS)
def commits_are_told(bench: Bench) -> None:
    """Each commit is an event with its generation and tag; numbers ascend by one."""
    card = bench.shared()
    before = card.backend.events().cursor
    card.commit(insert(Vrf(id=1)), tag="one")
    card.commit(owner=OTHER, tag="two")
    events = card.backend.events(before).events
    told = [(event.id, event.data) for event in events if event.kind is EventKind.COMMIT]
    equal(told, [(1, "one"), (2, "two")], "generation and tag of COMMIT events")
    numbers = _numbers(card)
    equal(numbers, list(range(numbers[0], numbers[0] + len(numbers))), "numbers of events")


@check(Level.STATELESS, "never cut: a COMMIT's tag, the packet of a RULE_LOG.", needs=NEEDS)
def tags_are_told_whole(bench: Bench) -> None:
    """A COMMIT event has all 127 bytes of a tag."""
    card = bench.card()
    card.commit(tag="x" * 127)
    equal(card.backend.events().events[-1].data, "x" * 127, "tag of a COMMIT event")


@check(
    Level.STATEFUL,
    "never cut: a COMMIT's tag, the packet of a RULE_LOG.",
    'data "allow|drop|reset PROTO SRC:PORT > DST:PORT"',
    needs=(*NEEDS, "packets", "firewall", "bridge", "route"),
)
def logged_packets_are_told_whole(bench: Bench) -> None:
    """A RULE_LOG event has both addresses and ports, however long they are in words."""
    source, destination = "2001:db8:1111:2222:3333:4444:5555:6666", "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff"
    card = firewalled(bench, rule(verdict="reset", log=1))
    traffic = card.traffic()
    traffic.send(A.port, A.frame(tcp(source, destination, 65535, 65534, "S"))).dropped("firewall_reset")
    told = [event.data for event in traffic.events().events if event.kind is EventKind.RULE_LOG]
    equal(told, [f"reset tcp [{source}]:65535 > [{destination}]:65534"], "data of the RULE_LOG event")


@check(
    Level.STATEFUL,
    "Of those a vNIC causes at most 100 a second, and as many at once: the rest are counted as `logs_suppressed` of "
    "`engine`.",
    needs=(*NEEDS, "shard", "counters", "firewall", "bridge", "route"),
)
def logs_have_a_limit(bench: Bench) -> None:
    """A hundred of a vNIC's packets are told at once, then one each hundredth of a second; what isn't told is counted,
    and another vNIC's are told all the same."""
    card = firewalled(bench, rule(log=1))
    traffic = card.traffic()
    most, more = LOGS_PER_SECOND, 7
    for sport in range(1, most + more + 1):
        routed(traffic, sport=sport).left_by(C.port)
    equal((_logs(traffic), _suppressed(traffic)), (most, more), "logs told and suppressed of a flood")
    replied(traffic, sport=1000).left_by(A.port)
    equal((_logs(traffic), _suppressed(traffic)), (most + 1, more), "logs told and suppressed, with another vNIC's")
    routed(traffic, after=SECOND // most, sport=1001).left_by(C.port)
    routed(traffic, sport=1002).left_by(C.port)
    equal((_logs(traffic), _suppressed(traffic)), (most + 2, more + 1), "logs told and suppressed a little later")


def _logs(traffic: Traffic) -> int:
    return sum(event.kind is EventKind.RULE_LOG for event in traffic.events().events)


def _suppressed(traffic: Traffic) -> int:
    return traffic.counters().engine["logs_suppressed"]


@check(Level.STATELESS, "read on with `cursor`.", needs=NEEDS)
def events_are_read_on(bench: Bench) -> None:
    """A reader that comes again with its cursor gets what came since, once; reading takes nothing from others."""
    card = bench.card()
    card.commit(tag="a")
    first = card.backend.events()
    equal(_numbers(card, first.cursor), [], "events since the last reading, when none came")
    card.commit(tag="b")
    second = card.backend.events(first.cursor)
    equal([event.data for event in second.events if event.kind is EventKind.COMMIT], ["b"], "events since")
    equal(second.missed, 0, "events missed by a reader who came in time")
    expect(len(_numbers(card)) == len(first.events) + len(second.events), "a reading took events away from others")


@check(
    Level.STATELESS,
    "With one of another life of the card, `lost` is set and these begin with this life's first: what that one still "
    "had to tell is gone.",
    needs=NEEDS,
)
def a_cursor_of_another_life_begins_anew(bench: Bench) -> None:
    """A reader who comes with the cursor of a card before this one is told so, and gets all that this one has told."""
    before, card = bench.card(), bench.card()
    before.commit()
    for _ in range(4):
        card.commit()
    old, all_of_it = before.backend.events().cursor, card.backend.events()
    found = card.backend.events(old)
    equal((found.events, found.missed, found.lost), (all_of_it.events, 0, True), "events behind another life's cursor")
    again = card.backend.events(Cursor.of(found.cursor.token))
    equal((again.missed, again.lost), (0, False), "events missed and lost behind this life's cursor")
    expect(not all_of_it.lost, "a reader who came without a cursor is told that he lost something")


@check(Level.STATELESS, "A cursor that was never given is INVALID.", needs=NEEDS)
def a_cursor_is_one_that_was_given(bench: Bench) -> None:
    """INVALID where a cursor is a plain number, or beyond the last event."""
    card = bench.card()
    card.commit()
    last = card.backend.events().cursor
    for wrong in (int(last), 0, -1, Cursor(-1, last.life), Cursor(last + 1, last.life), "1"):
        card.refuses(ErrorKind.INVALID, f"events behind {wrong!r}", partial(_numbers, card, wrong), field="cursor")
    expect(not card.backend.events(last).lost, "the last event's own cursor is told to be of another life")


def _overwritten(card: Card, cursor: Cursor) -> Events:
    """What is read behind a cursor when so many commits were made that some of their events are gone."""
    made = 0
    found = card.backend.events(cursor)
    while made < MOST and not found.missed:
        for _ in range(512):
            card.commit()
        made += 512
        found = card.backend.events(cursor)
    expect(found.missed, f"no event was overwritten in {made}: the ring has no bound")
    return found


def _in_order(events: Events, what: str) -> None:
    numbers = [event.number for event in events.events]
    wrong = next((pair for pair in itertools.pairwise(numbers) if pair[0] >= pair[1]), None)
    equal(wrong, None, f"numbers of neighbouring events, {what}")


ORDERED = "Events come in the order of their numbers, whatever their kinds, from a ring that went round too."


@check(Level.STATELESS, ORDERED, needs=NEEDS)
def a_ring_that_went_round_is_in_order(bench: Bench) -> None:
    """When events were overwritten, those that are left are read from the oldest to the newest, each once; so are those
    behind a cursor in their middle."""
    card = bench.card()
    card.commit()
    found = _overwritten(card, card.backend.events().cursor)
    _in_order(found, "when the ring went round")
    _in_order(card.backend.events(), "read from the beginning")
    generations = [event.id for event in found.events if event.kind is EventKind.COMMIT]
    equal(generations, sorted(generations), "generations of COMMIT events")
    for _ in range(3):
        card.commit()
    behind = card.backend.events(found.cursor)
    _in_order(behind, "behind a cursor")
    equal(len(behind.events), 3, "events behind a cursor")


@check(Level.STATEFUL, ORDERED, needs=(*NEEDS, "wire", "firewall", "bridge", "route"))
def commits_and_logs_are_in_order(bench: Bench) -> None:
    """Commits and the packets that a rule logs between them are read in the order in which they came."""
    card = firewalled(bench, rule(log=1))
    live = card.live()
    for sport in (1, 2, 3):
        routed(live, sport=sport).left_by(C.port)
        card.commit()
    events = card.backend.events()
    _in_order(events, "of commits and logs")
    told = [event.kind for event in events.events if event.kind in (EventKind.COMMIT, EventKind.RULE_LOG)]
    equal(told, [EventKind.COMMIT, *[EventKind.RULE_LOG, EventKind.COMMIT] * 3], "kinds of events")


@check(Level.STATEFUL, ORDERED, needs=(*NEEDS, "packets", "firewall", "bridge", "route"))
def what_packets_cause_is_in_order(bench: Bench) -> None:
    """What packets cause, of whatever kind, is read in the order in which it came."""
    card = firewalled(bench, rule(log=1), rule(60, priority=1, protocol_low=6, protocol_high=6, verdict="drop", log=1))
    card.commit(modify(vnic(A, GUARDED, flow_limit=1)))
    traffic = card.traffic()
    routed(traffic, sport=1).left_by(C.port)
    routed(traffic, sport=2).left_by(C.port)  # for which the other makes way
    segment(traffic, "S").dropped("firewall_rule")
    events = traffic.events()
    _in_order(events, "of logs and a limit")
    told = [event.kind for event in events.events if event.kind in (EventKind.RULE_LOG, EventKind.FLOW_LIMIT)]
    expect(EventKind.FLOW_LIMIT in told[1:-1], f"the limit is told between what was logged before and behind: {told}")


@check(Level.STATELESS, "`missed`: how many were overwritten before this reader came", needs=NEEDS)
def late_readers_learn_what_they_missed(bench: Bench) -> None:
    """The ring is bounded: who comes late is told how many events are gone."""
    card = bench.card()
    card.commit()
    card.commit()
    early = card.backend.events()
    seen = early.events[-1].number
    found = _overwritten(card, early.cursor)
    equal(found.missed + len(found.events), found.events[-1].number - seen, "events missed and read since a cursor")
    whole = card.backend.events()
    equal(whole.missed + len(whole.events), whole.events[-1].number, "events missed and read from the beginning")


@check(
    Level.STATEFUL,
    "of all entries of tables that are declared to count and no others",
    needs=("counters", "packets", "firewall", "bridge", "route"),
)
def rows_count_where_it_is_declared(bench: Bench) -> None:
    """Counters have rows of tables that are declared with `counts` and of no others."""
    card = firewalled(bench)
    traffic = card.traffic()
    routed(traffic).left_by(C.port)
    counting = {table.name for table in card.schema.tables if table.counts}
    found = {table for table, _ in traffic.counters().rows}
    expect("firewall_rule" in found, "a rule that allowed a connection has no counters")
    equal(found - counting, set(), "tables with rows that count though they aren't declared to")


@check(
    Level.STATEFUL,
    "of all entries of tables that are declared to count and no others",
    needs=("counters", "packets", "firewall", "bridge", "route"),
)
def rows_that_decided_nothing_count_nothing(bench: Bench) -> None:
    """Counters have each entry of a table that is declared with `counts`, with zeros before it has decided."""
    card = firewalled(bench)
    traffic = card.traffic()
    rules = {(table, one) for table, one in traffic.counters().rows if table == "firewall_rule"}
    equal(rules, {("firewall_rule", one) for one in card.ids("firewall_rule")}, "rules with counters before any packet")
    routed(traffic).left_by(C.port)
    rows = traffic.counters().rows
    equal({place for place in rows if place[0] == "firewall_rule"}, rules, "rules with counters")
    expect(rows["firewall_rule", RULE].hits, "the rule that decided has counted no hit")
