"""What several commands take: files of intent, a card's configuration, JSON; and what they make of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sdk.cli.client import CardClient
from sdk.cli.connect import connect

# Whoever asks a running card needs neither a loader of intents nor services: they are imported where they are used.
if TYPE_CHECKING:
    from services.core.plan import Context
    from services.core.service import Services

F = TypeVar("F", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Plain data on stdout instead of text.")
files_argument = click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, readable=False))
card_option = click.option(
    "--card",
    "card_toml",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The card.toml whose ports and capacities count. Without it every port that the intent names is there.",
)
intent_option = click.option(
    "--intent",
    "intent_files",
    multiple=True,
    type=click.Path(path_type=Path, readable=False),
    help="Look at this file or folder (- is standard input) on a twin, not at the running card. May be repeated.",
)


def _more_folders(context: click.Context, _parameter: click.Parameter, folders: tuple[Path, ...]) -> None:
    root = context.find_root()
    root.params["folders"] = (*root.params.get("folders", ()), *folders)


with_option = click.option(
    "--with",
    multiple=True,
    expose_value=False,
    callback=_more_folders,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A folder with a service or stage that isn't installed. May be repeated.",
)


def folders(context: click.Context) -> tuple[Path, ...]:
    """What `--with` named, before the command and behind it."""
    found: tuple[Path, ...] = context.find_root().params.get("folders", ())
    return found


def services(context: click.Context) -> Services:
    """The services that are installed, and those of `--with DIR`, whose stages are known from now on. Raises
    HalError."""
    from services.core.service import discover

    return discover(folders(context))


def planning_context(card_toml: Path | None) -> Context | None:
    """What a card.toml says for planning, None without one. Raises IntentError."""
    from sdk.card_config import load_card_config

    return load_card_config(card_toml).context() if card_toml is not None else None


@contextmanager
def a_card(
    context: click.Context, intent_files: Sequence[Path] = (), card_toml: Path | None = None
) -> Iterator[CardClient]:
    """The running card, or a twin with this intent; stages of `--with DIR` are known. Raises HalError, IntentError."""
    if not intent_files:
        if folders(context):
            services(context)
        with connect() as running:
            yield running
        return
    from sdk.cli.twin_card import open_twin
    from services.core import intent

    twin = open_twin(intent.sources(intent_files), services(context), planning_context(card_toml))
    try:
        yield twin
    finally:
        twin.close()
