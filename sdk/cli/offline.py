"""Commands that need no card: check, schema, plan."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hal.packet.schema.registry import schema as find_schema
from sdk.cli.connect import connect, is_running
from sdk.cli.options import card_option, files_argument, json_option, planning_context, services, with_option
from sdk.cli.output import EXIT_CODES, OK, REFUSED, emit, guarded, print_problems, table
from services.core import intent
from services.core.diff import Change, TableChange, change_summary, changes, table_changes
from services.core.intent import Source
from services.core.json_schema import schema as json_schema
from services.core.objects import Objects
from services.core.plan import Context, assumed_context, plan_all

if TYPE_CHECKING:
    from rich.console import Console


@click.command(epilog=f"Example: dsn check intent.yaml. {EXIT_CODES}")
@files_argument
@card_option
@json_option
@with_option
@click.pass_context
def check(context: click.Context, files: tuple[Path, ...], card_toml: Path | None, as_json: bool) -> None:
    """Say everything that is wrong with an intent: FILES, or folders of .yaml files, are the whole of it."""
    with guarded(as_json):
        found = services(context)
        planning = planning_context(card_toml)
        sources = intent.sources(files)
        loaded = intent.load(sources, found, planning)
        problems = list(loaded.problems)
        if not loaded.errors:
            plan = plan_all(loaded.objects, planning or assumed_context(loaded.objects), found)
            problems += intent.with_excerpts(plan.problems, sources)
        errors = [problem for problem in problems if not problem.warning]
        print_problems(problems, as_json, err=False)
        if not errors and not as_json:
            # Defaults have no place in a file.
            declared = sum(item.position.line > 0 for item in loaded.objects)
            click.echo(f"{declared:,} objects, no errors")
        sys.exit(REFUSED if errors else OK)


@click.command(epilog=f"Example: dsn schema > dsn.schema.json. {EXIT_CODES}")
@click.option("--json", "_as_json", is_flag=True, help="Taken for uniformity: the schema is always JSON.")
@with_option
@click.pass_context
def schema(context: click.Context, _as_json: bool) -> None:
    """Print the JSON Schema of an intent's documents, for editors. In a file's first line, for the YAML language
    server: # yaml-language-server: $schema=dsn.schema.json"""
    with guarded(True):
        click.echo(json.dumps(json_schema(services(context)), indent=2))


@click.command(epilog=f"Examples: dsn plan intent.yaml; dsn plan new/ --against old/. {EXIT_CODES}")
@files_argument
@click.option(
    "--against",
    metavar="FILE|running|nothing",
    help="What is there before: a file or folder, "
    "the running card (the default where there is one, but not with --card), or nothing.",
)
@click.option("--set", "set_name", default="", help="FILES are the whole of this set; other objects stay.")
@card_option
@json_option
@with_option
@click.pass_context
def plan(
    context: click.Context,
    files: tuple[Path, ...],
    against: str | None,
    set_name: str,
    card_toml: Path | None,
    as_json: bool,
) -> None:
    """Show what applying FILES would change, removals first, in objects and rules as written, and what it costs.

    FILES are the whole intent: an object that they lack is removed. Nothing is changed by this command.
    """
    with guarded(as_json):
        found = services(context)
        planning = planning_context(card_toml)
        sources_before, context_before = _before(against, planning)
        stored = intent.load(sources_before, found, context_before) if sources_before is not None else None
        # What the running card stores was right when it was applied; its card.toml may have changed since.
        running = planning is None and context_before is not None
        before = None if stored is None else stored.objects if running else stored.require()
        sources = intent.with_set(sources_before or (), intent.sources(files), set_name)
        loaded = intent.load(sources, found, context_before)
        new = loaded.require()
        old = before if before is not None else Objects()
        both = context_before or assumed_context(Objects([*{item.key: item for item in (*old, *new)}.values()]))
        installed = dict(both.installed)
        if before is not None and not installed:
            installed = dict(plan_all(old, both, found).tables)
        planned = plan_all(new, replace(both, installed=installed), found)
        capacities = {one.name: both.capacity(one.name) for one in find_schema().tables} | dict(both.capacities)
        # What other owners have stays as it is.
        after = {name: rows for name, rows in planned.tables.items() if name not in both.owners}
        after |= {name: rows for name, rows in installed.items() if name in both.owners}
        tables = table_changes(installed, after, capacities, both.owners)
        difference = changes(old, new, found)
        problems = [*loaded.warnings, *intent.with_excerpts(planned.problems, sources)]
        value = {
            "objects": [change.to_dict() for change in difference],
            "tables": [change.to_dict() for change in tables],
            "problems": [problem.to_dict() for problem in problems],
        }
        emit(as_json, value, lambda console: _print_plan(console, difference, tables))
        if not as_json:
            print_problems(problems, as_json=False)
        sys.exit(REFUSED if any(not problem.warning for problem in problems) else OK)


def _before(against: str | None, planning: Context | None) -> tuple[Sequence[Source] | None, Context | None]:
    """The intent that is there now (None: nothing), and the context to plan with."""
    if against is None:
        # Another card's configuration: what is asked is not about the one that runs here.
        against = "running" if planning is None and is_running() else "nothing"
    if against == "nothing":
        return None, planning
    if against == "running":
        if planning is not None:
            raise click.UsageError("--card and --against running: the running card has its own ports and capacities.")
        with connect() as card:
            return card.intent(), card.planning()
    return intent.sources([against]), planning


def _print_plan(console: Console, difference: list[Change], tables: list[TableChange]) -> None:
    colours = {"-": "red", "~": "yellow", "+": "green"}
    for change in difference:
        for line in change.text:
            console.print(line, style=colours[change.sign])
    console.print(f"Objects: {change_summary(difference)}.")
    rows = []
    for one in tables:
        name = f"{one.table} ({one.owner})" if one.owner else one.table
        rows.append((name, one.removed, one.changed, one.added, one.entries, one.capacity, f"{one.occupancy:.1%}"))
    columns = ("table", "removed", "changed", "added", "entries after", "capacity", "full")
    console.print()
    console.print(table("", columns, rows, right=columns[1:]))
