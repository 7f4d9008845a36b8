"""`dsn`, the console script: gathers the commands."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click

from sdk.cli.output import EXIT_CODES
from sdk.terminal import printable, printable_line

EXAMPLES = """\b
Examples:
  dsn check intent.yaml                       all that is wrong with it, at once
  dsn trace "tcp 10.1.0.20:40000 > 10.1.0.10:443" --intent intent.yaml
  dsn card start card.toml && dsn apply intent.yaml && dsn show objects

"""


COMMANDS: Final = {
    "apply": ("sdk.cli.card", "Make FILES, or folders of .yaml files, the card's whole intent."),
    "card": ("sdk.cli.card", "Start, stop and look at the card of this machine."),
    "check": ("sdk.cli.offline", "Say everything that is wrong with an intent."),
    "new": ("sdk.scaffold.command", "Write the skeleton of a stage or backend."),
    "plan": ("sdk.cli.offline", "Show what applying FILES would change."),
    "schema": ("sdk.cli.offline", "Print the JSON Schema of an intent's documents."),
    "show": ("sdk.cli.show", "Show objects, tables, flows, counters, drops and events."),
    "trace": ("sdk.cli.trace", "Say what a packet meets."),
}
"""Command -> the module that has it under this name, and how its help begins."""


@contextlib.contextmanager
def _told_in_print() -> Iterator[None]:
    """What is wrong with a command line quotes its words: as they may be printed."""
    try:
        yield
    except click.ClickException as error:
        # Choices of what is missing stand in lines of their own, and nobody's words do there.
        clean = printable if isinstance(error, click.MissingParameter) else printable_line
        told = clean(error.format_message())
        error.format_message = lambda: told  # type: ignore[method-assign]
        raise


class Commands(click.Group):
    """Commands whose modules are imported when they are called: asking a card shouldn't wait for a loader of intents,
    nor help for either."""

    def make_context(self, *words: Any, **more: Any) -> click.Context:
        with _told_in_print():
            return super().make_context(*words, **more)

    def invoke(self, ctx: click.Context) -> Any:
        with _told_in_print():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click asks so
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        found: click.Command = getattr(importlib.import_module(COMMANDS[cmd_name][0]), cmd_name)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Says what was meant by a command that there isn't."""
        if args and args[0] not in COMMANDS and (near := difflib.get_close_matches(args[0], COMMANDS, 1)):
            ctx.fail(f"No such command {args[0]!r}. Did you mean {near[0]}?")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in self.list_commands(ctx)])


@click.group(
    "dsn", cls=Commands, epilog=EXAMPLES + EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]}
)
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


if __name__ == "__main__":
    main()
