"""How the CLI speaks: one value, as JSON or as text; problems on stderr; exit codes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from hal.errors import ErrorKind, HalError
from sdk.terminal import printable, printable_line
from services.core.objects import IntentError, Problem
from services.core.plain import id_text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

OK: Final = 0
REFUSED: Final = 1
"""There are errors, or the card refused."""
USAGE: Final = 2
"""The command line is wrong (click's own number)."""
NO_CARD: Final = 3
"""No card answers, or it went away: what became of the request is unknown."""

EXIT_CODES: Final = "Exit codes: 0 done; 1 errors found or refused; 2 wrong command line; 3 no card answers."


def console() -> Console:
    """Where results go. A line is never cut: what is too long for a terminal wraps, in a pipe it stays whole."""
    # Here and in `table`: rich takes a tenth of a second to import, and JSON needs none of it.
    from sdk.cli.text import TextConsole

    width = None if sys.stdout.isatty() else 200
    return TextConsole(markup=False, emoji=False, highlight=False, width=width, soft_wrap=not sys.stdout.isatty())


def emit(as_json: bool, value: Any, render: Callable[[Console], None]) -> None:
    """Print a result: its plain data, or what `render` makes of it."""
    if as_json:
        click.echo(json.dumps(value, indent=2))
    else:
        render(console())


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], right: Iterable[str] = ()) -> Table:
    """A table whose cells are never read as markup. `right`: columns of numbers."""
    from rich.table import Table
    from rich.text import Text

    result = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    numbers = set(right)
    for column in columns:
        result.add_column(
            column, justify="right" if column in numbers else "left", overflow="fold", no_wrap=column in numbers
        )
    for row in rows:
        result.add_row(*(Text(cell(value)) for value in row))
    return result


def cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else printable(str(value))


def say(text: str, *, err: bool = False) -> None:
    """One line that holds what others wrote."""
    click.echo(printable_line(text), err=err)


def print_problems(problems: Iterable[Problem], as_json: bool, *, err: bool = True) -> None:
    """Problems, one paragraph each and a count, on stderr unless they are the result; as JSON on stdout."""
    problems = list(problems)
    if as_json:
        click.echo(json.dumps({"problems": [problem.to_dict() for problem in problems]}, indent=2))
        return
    for problem in problems:
        for line in problem.lines:
            say(line, err=err)
    errors = sum(not problem.warning for problem in problems)
    if errors:
        click.echo(f"{errors} error{'s' if errors != 1 else ''}", err=err)


def fail(error: HalError | IntentError, as_json: bool) -> NoReturn:
    """Say what went wrong and leave with its exit code."""
    if isinstance(error, IntentError):
        print_problems(error.problems, as_json)
        sys.exit(REFUSED)
    if as_json:
        click.echo(
            json.dumps(
                {"error": {**error.to_dict(), "id": None if error.row_id is None else id_text(error.row_id)}}, indent=2
            )
        )
    else:
        say(f"dsn: {error}", err=True)
    sys.exit(NO_CARD if error.kind in (ErrorKind.LOST, ErrorKind.TIMEOUT) else REFUSED)


@contextmanager
def guarded(as_json: bool) -> Iterator[None]:
    """Errors of the contract and of intent become words and an exit code, never a traceback."""
    try:
        yield
    except (HalError, IntentError) as error:
        fail(error, as_json)
    except BrokenPipeError:
        sys.exit(OK)
