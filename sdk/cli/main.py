"""`dsn`, the console script: gathers the commands."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from sdk.cli.card import apply, card
from sdk.cli.offline import check, plan, schema
from sdk.cli.output import EXIT_CODES
from sdk.cli.show import show
from sdk.cli.trace import trace
from sdk.scaffold.command import new

EXAMPLES = """\b
Examples:
  dsn check intent.yaml                       all that is wrong with it, at once
  dsn trace "tcp 10.1.0.20:40000 > 10.1.0.10:443" --intent intent.yaml
  dsn card start card.toml && dsn apply intent.yaml && dsn show objects

"""


@click.group("dsn", epilog=EXAMPLES + EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--with",
    "folders",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A folder with a service or stage that isn't installed. May be repeated.",
)
@click.version_option(package_name="dsn-sdk", prog_name="dsn")
def main(folders: tuple[Path, ...]) -> None:  # noqa: ARG001  commands read it from the root context
    """Declare what a card shall do, see what that means, and ask why a packet was dropped.

    DSN_RUN says where the card's sockets are, /run/dsn if it isn't set.
    """
    # Output that a terminal can't show is replaced, never a traceback.
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


for command in (apply, card, check, new, plan, schema, show, trace):
    main.add_command(command)


if __name__ == "__main__":
    main()
