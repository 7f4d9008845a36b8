"""For authors of agents: cards in plain Python, in the process of the test."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from hal.packet import twin
from hal.packet.card import Card
from hal.packet.contract import LoadConfig, PortConfig
from hal.packet.derive import sync
from hal.packet.model import Twin
from sdk.card_config import owned
from services.core.intent import Source, digest, load
from services.core.objects import IntentError
from services.core.plan import assumed_context, plan_all
from services.core.service import discover

__all__ = ["Card", "Twin", "loaded", "on_twin", "twin"]

FILE = "intent.yaml"
"""What problems call the text that a test gives."""


def loaded(
    ports: Sequence[str], owners: Mapping[str, tuple[str, ...]] | None = None, stages: Iterable[str] = ()
) -> Twin:
    """A twin that forwards, whose tables belong to those that card.toml would name: `Twin.writer(owner)` writes them.

    Args:
        ports: their names; their numbers are their places.
        owners: owner -> tables; those named nowhere are "dsnd"'s.
        stages: packages of stages beside ours and the installed ones.
    """
    configs = tuple(PortConfig(number, name, "replay") for number, name in enumerate(ports))
    return _started(LoadConfig(ports=configs, owners=dict(owners or {})), stages)


def _started(config: LoadConfig, stages: Iterable[str]) -> Twin:
    card = Twin(stages)
    card.load(config)
    card.start()
    return card


def on_twin(
    text: str,
    owners: Mapping[str, tuple[str, ...]],
    stages: Iterable[str] = (),
    folders: Iterable[Path] = (),
) -> Card:
    """A card as an agent meets it: `dsnd`'s rows of this intent are there, the agent's tables are empty and its own.
    Nothing is forwarded before every owner has committed, as on a card.

    Args:
        text: the intent.
        owners: owner -> tables, as card.toml's [owners] has them.
        stages: packages of stages beside ours and the installed ones.
        folders: of services and stages that aren't installed, as `--with DIR` names them.

    Raises:
        IntentError: the intent is refused.
    """
    files, services = [Source(FILE, text.encode())], discover(folders)
    objects = load(files, services, None).require()
    context = replace(assumed_context(objects), owners=owned(owners))
    plan = plan_all(objects, context, services)
    if errors := [problem for problem in plan.problems if not problem.warning]:
        raise IntentError(tuple(errors), objects)
    ports = tuple(PortConfig(one.number, name, "replay", one.mtu, one.mac) for name, one in context.ports.items())
    awaited = tuple(owner for owner in owners if owner != "dsnd")
    card = _started(LoadConfig(ports=ports, owners=dict(owners), awaited=awaited), stages)
    tables = [name for name in card.schema.table_numbers if name not in context.owners]
    sync(card.writer(), card, *plan.rows, tables=tables, tag=digest(files), names=plan.names)
    return Card(card)
