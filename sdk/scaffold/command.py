"""`dsn new stage|backend NAME`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from sdk.cli.output import guarded
from sdk.scaffold.skeleton import KINDS, write

EXAMPLES = """\b
Examples:
  dsn new stage quiet                 a stage of the packet path, in ./quiet
  dsn new backend acme --into vendor  a backend, in vendor/acme
"""


@click.group("new", epilog=EXAMPLES)
def new() -> None:
    """Write the skeleton of a stage or backend: a folder, its README and its first failing test."""


def _command(kind: str) -> click.Command:
    @click.command(
        kind,
        help=f"Write the skeleton of a {kind} called NAME, a Python package in a folder of that name.",
        short_help=f"A {kind} called NAME, in a folder of that name.",
    )
    @click.argument("name")
    @click.option(
        "--into", type=click.Path(path_type=Path, file_okay=False), default=Path(), help="Where; default: here."
    )
    @click.option("--json", "as_json", is_flag=True, help="Plain data on stdout instead of text.")
    def command(name: str, into: Path, as_json: bool) -> None:
        with guarded(as_json):
            made = write(kind, name, into)
        if as_json:
            told = {"folder": str(made.folder), "files": [str(path) for path in made.files], "next": list(made.next)}
            click.echo(json.dumps(told))
            return
        for path in made.files:
            click.echo(f"written: {made.folder / path}")
        for step in made.next:
            click.echo(f"next: {step}")

    return command


for _kind in KINDS:
    new.add_command(_command(_kind))
