"""`dsn show`: what the card has and what it has seen."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hal.errors import ErrorKind, HalError
from hal.packet.contract import NONE_ID, Counters, EventKind, Flow, FlowFilter
from sdk.cli.client import CardClient, ObjectStatus
from sdk.cli.events import Reader
from sdk.cli.frames import end, protocol_word
from sdk.cli.options import a_card, intent_option, json_option, services, with_option
from sdk.cli.output import EXIT_CODES, emit, guarded, table
from sdk.cli.witness import Speaker
from sdk.terminal import printable_line
from services.core.formats import FormatError, prefix, protocol_number
from services.core.objects import nearest
from services.core.ports import SPARE_PREFIX

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

FOLLOW_S = 0.5
WIDE = 120
"""Columns of a terminal from which on flows stand in a table, and objects as they are written beside their status."""


@click.group(epilog=EXIT_CODES)
def show() -> None:
    """Show objects, tables, flows, counters, drops and events."""


def speaker_of(card: CardClient, context: click.Context, with_rules: bool = False) -> Speaker:
    """Who knows what entries of this card are called."""
    capabilities = card.capabilities()
    snapshot = card.snapshot()
    ports = {port.config.number: port.config.name for port in capabilities.ports}
    if not with_rules:
        return Speaker(capabilities.schema, snapshot, ports=ports)
    # Rules in words are an intent's: its loader and services take as long to import as all the rest.
    from sdk.cli.trace import rule_words

    return Speaker(capabilities.schema, snapshot, rule_words(card, services(context), snapshot), ports)


@show.command(
    short_help="Each object with its status and counters.",
    epilog=f"Examples: dsn show objects; dsn show objects Vnic web. {EXIT_CODES}",
)
@click.argument("kind", default="")
@click.argument("name", default="")
@intent_option
@json_option
@with_option
@click.pass_context
def objects(context: click.Context, kind: str, name: str, intent_files: tuple[Path, ...], as_json: bool) -> None:
    """Every object with its status: the generation in which it was last changed, what it has counted, how it is doing;
    of one that was asked for otherwise, why it isn't so. With NAME, as it is written, too."""
    with guarded(as_json), a_card(context, intent_files) as card:
        known = services(context).kinds
        if kind and kind not in known:
            near = nearest(kind, known)
            fix = f"Did you mean {near}?" if near else ""
            raise HalError(ErrorKind.INVALID, f"kind {kind}", limit=", ".join(sorted(known)), fix=fix)
        of_kind = [one for one in card.objects() if kind in ("", one.kind)]
        found = [one for one in of_kind if name in ("", one.name)]
        if name and not found:
            names = [one.name for one in of_kind]
            near = nearest(name, names)
            limit = ", ".join(names[:20]) + (f" and {len(names) - 20:,} more" if len(names) > 20 else "")
            raise HalError(ErrorKind.INVALID, f"{kind} {name}", limit=limit or f"there is no {kind}",
                           fix=f"Did you mean {near}?" if near else "List them: dsn show objects.")  # fmt: skip

        def render(console: Console) -> None:
            if name:
                _print_object(console, found[0])
            else:
                _print_objects(console, found)

        emit(as_json, [one.to_dict() for one in found], render)


def _print_objects(console: Console, found: list[ObjectStatus]) -> None:
    wide = console.width >= WIDE
    rows = [
        (one.kind, one.name, _generations(one), _brief(one.status), *([one.words] if wide else ())) for one in found
    ]
    console.print(table("", ("kind", "name", "generation", "status", *(["as written"] if wide else ())), rows))
    for one in found:
        if one.reason:
            console.print(f"{one.kind} {one.name}: {one.reason}")


def _print_object(console: Console, one: ObjectStatus) -> None:
    console.print(f"{one.kind} {one.name}: generation {_generations(one)}")
    if one.reason:
        console.print(f"  {one.reason}")
    limits, others = _apart(one.status)
    for line in (*one.words.splitlines(), *_status_words(others).splitlines()):
        console.print(f"  {line}")
    if limits:
        console.print(_limits_table(limits))


def _apart(status: Mapping[str, Any]) -> tuple[list[dict[str, Any]], Mapping[str, Any]]:
    """The limits that a status tells, a list of `dsn.bridging.LimitStatus`, and all else."""
    found = status.get("limits", [])
    if not isinstance(found, list) or not all(isinstance(one, dict) and "a_second" in one for one in found):
        return [], status
    return found, {key: value for key, value in status.items() if key != "limits"}


def _brief(status: Mapping[str, Any]) -> str:
    """A status message in a list of many: of its limits only those that have refused something."""
    limits, others = _apart(status)
    words = [
        f"{one['name']}: refused {one['refused']:,}" + ("" if one["a_second"] else f", {one['used']:,} used")
        + f" of {one['most']:,}" + " a second" * one["a_second"]
        for one in limits if one["refused"]
    ]  # fmt: skip
    return "\n".join(filter(None, (_status_words(others), *words)))


def _limits_table(limits: list[dict[str, Any]]) -> Table:
    rows = [
        (one["name"], "" if one["a_second"] else one["used"], f"{one['most']:,}" + " a second" * one["a_second"],
         one["refused"])
        for one in limits
    ]  # fmt: skip
    columns = ("used", "at most", "refused")
    return table("Limits", ("limit", *columns), rows, right=columns)


def _generations(one: ObjectStatus) -> str:
    """The generation that is applied, and the one that was asked for where that is another."""
    applied = str(one.applied) if one.applied else "none"
    return applied if one.asked == one.applied else f"{applied}, asked for {one.asked}"


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _fields(status: Mapping[str, Any]) -> str:
    """The single values of a status message in words: "rx packets 12, link yes". What is empty is left out."""
    return ", ".join(
        f"{key.replace('_', ' ')} {_plain(value)}"
        for key, value in status.items()
        if not isinstance(value, list | dict) and key not in ("id", "name") and value not in ("", None)
    )


def _status_words(status: Mapping[str, Any]) -> str:
    """A status message in words: its single values, and a line for each of its lists of words and each member of its
    lists of messages."""
    lines = [_fields(status)]
    for key, members in status.items():
        if not isinstance(members, list) or not members:
            continue
        if isinstance(members[0], dict):
            lines += [f"{member.get('name', '')}: {_fields(member)}" for member in members]
        else:
            lines.append(f"{key.replace('_', ' ')}: {', '.join(map(str, members))}")
    return "\n".join(filter(None, lines))


@show.command(epilog=f"Examples: dsn show tables; dsn show tables firewall_rule. {EXIT_CODES}")
@click.argument("name", default="")
@click.option(
    "--limit", type=click.IntRange(min=0), default=1000, show_default=True, help="Entries shown at most; 0 for all."
)
@intent_option
@json_option
@with_option
@click.pass_context
def tables(context: click.Context, name: str, limit: int, intent_files: tuple[Path, ...], as_json: bool) -> None:
    """How full each table is, or the entries of one."""
    with guarded(as_json), a_card(context, intent_files) as card:
        capabilities = card.capabilities()
        if not name:
            rows = [
                (
                    one,
                    capabilities.occupancy.get(one, 0),
                    capacity,
                    # Of a table of one row that it is there is nothing to be warned of.
                    f"{capabilities.occupancy.get(one, 0) / capacity:.1%}" if capacity > 1 else "-",
                )
                for one in (table.name for table in capabilities.schema.tables)
                if (capacity := capabilities.capacities.get(one)) is not None
            ]
            value = [{"table": row[0], "entries": row[1], "capacity": row[2]} for row in rows]
            columns = ("table", "entries", "capacity", "full")
            emit(as_json, value, lambda console: console.print(table("", columns, rows, right=columns[1:])))
            return
        if name not in capabilities.capacities:
            near = nearest(name, capabilities.capacities)
            raise HalError(ErrorKind.INVALID, f"table {name}", limit=", ".join(sorted(capabilities.capacities)),
                           fix=f"Did you mean {near}?" if near else "")  # fmt: skip
        speaker = speaker_of(card, context)
        rows_found = speaker.snapshot.rows(name)
        shown = rows_found[:limit] if limit else rows_found

        def render(console: Console) -> None:
            for row in shown:
                named = speaker.snapshot.names.get((name, row.id))
                where = f" ({named.file}:{named.line})" if named and named.line else ""
                console.print(f"{named.text + where if named else row.id}: {speaker.row(row)}")
            console.print(
                f"{len(rows_found):,} entries" + (f", {len(shown):,} shown" if len(shown) < len(rows_found) else "")
            )

        _tell_cut(as_json, len(rows_found), len(shown), "entries")
        emit(as_json, [speaker.row_value(row) for row in shown], render)


def _usage(error: FormatError) -> str:
    """What a format says, as part of a usage message."""
    limit = f"; limit: {error.limit}" if error.limit else ""
    near = f"; did you mean {error.near}?" if error.near else "."
    return error.message + limit + near + (f" {error.fix}" if error.fix else "")


class Protocol(click.ParamType[int]):
    """A protocol by name or number."""

    name = "protocol"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        words = {"icmp": 1, "icmpv6": 58}
        try:
            return words[str(value)] if str(value) in words else protocol_number(str(value), words)
        except FormatError as error:
            self.fail(_usage(error), param, ctx)


class Prefix(click.ParamType[str]):
    """A prefix or address."""

    name = "prefix"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return prefix(str(value))
        except FormatError as error:
            self.fail(_usage(error), param, ctx)


@show.command(
    epilog=f"Examples: dsn show flows --vnic web; dsn show flows --protocol tcp --to 10.1.0.0/24. {EXIT_CODES}"
)
@click.option("--vnic", default="", help="One end is this vNIC or uplink.")
@click.option("--vrf", default="", help="In this VRF.")
@click.option("--protocol", type=Protocol(), help="Of this protocol, by name or number.")
@click.option("--from", "source", type=Prefix(), help="Opened from this prefix.")
@click.option("--to", "destination", type=Prefix(), help="Opened to this prefix.")
@click.option("--source-port", type=click.IntRange(0, 65535))
@click.option("--port", "destination_port", type=click.IntRange(0, 65535), help="Opened to this port.")
@click.option(
    "--limit", type=click.IntRange(min=0), default=100, show_default=True, help="Flows shown at most; 0 for all."
)
@json_option
@with_option
@click.pass_context
def flows(context: click.Context, /, vnic: str, vrf: str, limit: int, as_json: bool, **which: Any) -> None:
    """Connections, newest use first."""
    with guarded(as_json), a_card(context) as card:
        speaker = speaker_of(card, context)
        chosen = FlowFilter(vnic=_id(speaker, "vnic", vnic), vrf=_id(speaker, "vrf", vrf), **which)
        found = sorted(card.flows(chosen), key=lambda flow: -flow.last_ns)
        shown = found[:limit] if limit else found
        _tell_cut(as_json, len(found), len(shown), "flows")
        emit(
            as_json,
            [speaker.flow_value(flow) for flow in shown],
            lambda console: print_flows(console, speaker, shown, len(found)),
        )


def _tell_cut(as_json: bool, found: int, shown: int, what: str) -> None:
    """That a list isn't whole; text says so below its table, JSON has no place for it."""
    if as_json and shown < found:
        click.echo(f"dsn: {found:,} {what}, {shown:,} shown. All of them: --limit 0.", err=True)


def _id(speaker: Speaker, kind: str, name: str) -> int | None:
    """The id of a row by what it is called. Raises HalError(INVALID)."""
    if not name:
        return None
    known = {one.text: row_id for (where, row_id), one in speaker.snapshot.names.items() if where == kind}
    if name not in known:
        near = nearest(name, known)
        raise HalError(ErrorKind.INVALID, f"{kind} {name}", limit=", ".join(sorted(known)[:20]),
                       fix=f"Did you mean {near}?" if near else "")  # fmt: skip
    return known[name]


def print_flows(console: Console, speaker: Speaker, shown: list[Flow], total: int) -> None:
    """Flows as a table."""
    rows = [
        (
            flow.id,
            protocol_word(flow.protocol),
            end(flow.source, flow.source_port),
            end(flow.destination, flow.destination_port),
            f"{speaker.vnic(flow.ingress)} > {speaker.vnic(flow.egress)}",
            flow.tcp_state.name if flow.tcp_state else "",
            "/".join(f"{count:,}" for count in flow.packets),
            "/".join(f"{count:,}" for count in flow.bytes),
        )
        for flow in shown
    ]
    columns = ("id", "protocol", "from", "to", "vNICs", "state", "packets", "bytes")
    if console.width < WIDE:  # addresses in a column's width would be cut up
        for number, protocol, source, destination, vnics, state, packets, size in rows:
            console.print(f"{number}: {protocol} {source} > {destination}")
            console.print(f"    {vnics}, {f'{state}, ' if state else ''}packets {packets}, bytes {size}")
    else:
        console.print(table("", columns, [(str(row[0]), *row[1:]) for row in rows], right=("id", "packets", "bytes")))
    console.print(f"{total:,} flows" + (f", {len(shown):,} shown" if len(shown) < total else ""))


@show.command(short_help="One connection in full, in words.", epilog=f"Example: dsn show flow 17. {EXIT_CODES}")
@click.argument("number", type=int)
@json_option
@with_option
@click.pass_context
def flow(context: click.Context, number: int, as_json: bool) -> None:
    """One connection: its state, counters, rules, and what is done to its packets both ways, in words."""
    with guarded(as_json), a_card(context) as card:
        found = card.flows(FlowFilter(id=number))
        if not found:
            raise HalError(ErrorKind.INVALID, f"flow {number}", limit="a living flow", fix="List them: dsn show flows.")
        speaker = speaker_of(card, context, with_rules=True)
        emit(as_json, speaker.flow_value(found[0]), lambda console: print_flow(console, speaker, found[0]))


def print_flow(console: Console, speaker: Speaker, found: Flow) -> None:
    """One flow in full."""
    for line in _flow_lines(speaker, found):
        console.print(line)


def _flow_lines(speaker: Speaker, found: Flow) -> Iterator[str]:
    yield speaker.flow(found)
    yield f"  vrf {_named(speaker, 'vrf', found.vrf)}, worker {found.worker}, {speaker.decided(found)}"
    idle = (found.last_ns - found.created_ns) / 1e9
    state = f"{found.tcp_state.name}, " if found.tcp_state else ""
    yield f"  {state}last packet {idle:.3f} s after the first, ends {found.timeout_ns / 1e9:g} s after its last"
    for side, row_id in zip(("egress", "ingress"), found.rules, strict=True):
        if row_id != NONE_ID:
            stale = " (as it is now)" if speaker.is_stale(found) else ""
            yield f"  {side} rule: {speaker.entry('firewall_rule', row_id)}{stale}"
    for number, side in enumerate(("forth", "back")):
        yield f"  {side}: {found.packets[number]:,} packets, {found.bytes[number]:,} bytes"
        yield from (f"    {speaker.operation(operation)}" for operation in found.operations[number])


def _named(speaker: Speaker, kind: str, row_id: int) -> str:
    name = speaker.snapshot.names.get((kind, row_id))
    return name.text if name is not None else str(row_id)


@show.command(
    short_help="Packets and bytes of vNICs, ports, rules.", epilog=f"Example: dsn show counters --json. {EXIT_CODES}"
)
@json_option
@with_option
@click.pass_context
def counters(context: click.Context, as_json: bool) -> None:
    """Packets and bytes of vNICs, uplinks and ports, hits of rules, and the engine's own counters."""
    with guarded(as_json), a_card(context) as card:
        card.settle()
        found = card.counters()
        speaker = speaker_of(card, context)
        value = {
            "vnics": [{**speaker.entry_value("vnic", one), **of} for one, of in found.vnics.items()],
            "ports": [{"number": one, "name": speaker.port(one), **of} for one, of in found.ports.items()],
            "entries": [{**speaker.entry_value(*key), **vars(counted)} for key, counted in found.rows.items()],
            "limits": [
                {**speaker.entry_value("vnic", one), "limit": limit, **used._asdict()}
                for (one, limit), used in found.limits.items()
                if used.most
            ],
            "engine": found.engine,
            "drops": found.drops,
        }

        def render(console: Console) -> None:
            columns = ("rx_packets", "rx_bytes", "tx_packets", "tx_bytes", "drops")
            vnics = [(speaker.vnic(one), *(of.get(name, 0) for name in columns)) for one, of in found.vnics.items()]
            console.print(table("vNICs and uplinks", ("name", *columns), vnics, right=columns))
            others = {key for of in found.ports.values() for key in of} - set(columns)
            keys = [*columns[:4], *sorted(others)]
            named = sorted(((speaker.port(one), of) for one, of in found.ports.items()), key=itemgetter(0))
            ports = [(port, *(of.get(name, 0) for name in keys)) for port, of in named
                     if any(of.values()) or not port.startswith(SPARE_PREFIX)]  # fmt: skip
            console.print(table("Ports", ("name", *keys), ports, right=keys))
            entries = entry_counters(speaker, found)
            console.print(
                table("Entries", ("entry", "hits", "packets", "bytes"), entries, right=("hits", "packets", "bytes"))
            )
            console.print(table("Engine", ("counter", "value"), list(found.engine.items()), right=("value",)))

        emit(as_json, value, render)


def entry_counters(speaker: Speaker, found: Counters) -> list[tuple[str, int, int, int]]:
    """What entries counted, by tables and in the order in which they are written. A rule that stands in several entries
    is one line with their sum."""
    sums: dict[str, list[int]] = {}
    order: dict[str, tuple[str, str, int, str]] = {}
    for (name, row_id), counted in found.rows.items():
        label = speaker.entry(name, row_id)
        known = speaker.snapshot.names.get((name, row_id))
        order[label] = (name, known.file if known else "", known.line if known else 0, label)
        total = sums.setdefault(label, [0, 0, 0])
        for place, value in enumerate((counted.hits, counted.packets, counted.bytes)):
            total[place] += value
    ordered = sorted(sums, key=lambda label: order[label])
    return [(label, sums[label][0], sums[label][1], sums[label][2]) for label in ordered]


@show.command(
    short_help="Dropped packets by reason, and what it means.",
    epilog=f"Examples: dsn show drops; dsn show drops --all. {EXIT_CODES}",
)
@click.option("--all", "everything", is_flag=True, help="Reasons that never occurred, too.")
@json_option
@with_option
@click.pass_context
def drops(context: click.Context, everything: bool, as_json: bool) -> None:
    """Dropped packets by reason, most first, and what each reason means."""
    with guarded(as_json), a_card(context) as card:
        found = {reason: count for reason, count in card.counters().drops.items() if count or everything}
        words = {reason.name: reason.doc for reason in card.capabilities().schema.reasons}
        ordered = sorted(found.items(), key=lambda item: (-item[1], item[0]))
        rows = [(reason, count, words.get(reason, "")) for reason, count in ordered]
        emit(
            as_json,
            dict(ordered),
            lambda console: console.print(table("", ("reason", "packets", "meaning"), rows, right=("packets",))),
        )


@show.command(epilog=f"Examples: dsn show events --last 20; dsn show events --kind rule_log --follow. {EXIT_CODES}")
@click.option("--follow", is_flag=True, help="Go on until interrupted; with --json a line for each event.")
@click.option(
    "--last", type=click.IntRange(min=0), default=100, show_default=True, help="Events shown at most; 0 for all."
)
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice([kind.name.lower() for kind in EventKind], case_sensitive=False),
    help="Of this kind; may be given several times.",
)
@json_option
@with_option
@click.pass_context
def events(context: click.Context, follow: bool, last: int, kinds: tuple[str, ...], as_json: bool) -> None:
    """Events, oldest first, and how many were missed. Times are local ones."""
    with guarded(as_json), a_card(context) as card:
        reader = Reader(speaker_of(card, context), kinds)
        found = card.events()
        chosen = list(reader.choose(found.events))
        some = chosen[-last:] if last else chosen
        if as_json and not follow:
            value = {"missed": found.missed, "cursor": found.cursor, "events": [reader.value(one) for one in some]}
            click.echo(json.dumps(value, indent=2))
            return
        while True:
            lines = [json.dumps(reader.value(one)) if as_json else reader.words(one) for one in some]
            if found.missed:
                missed = f"{found.missed:,} events were overwritten before they were read"
                lines.insert(0, json.dumps({"missed": found.missed}) if as_json else missed)
            if lines:
                click.echo("\n".join(map(printable_line, lines)))
            if not follow:
                return
            time.sleep(FOLLOW_S)
            found = card.events(found.cursor)
            some = list(reader.choose(found.events))
