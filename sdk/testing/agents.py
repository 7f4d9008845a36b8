"""For authors of agents: cards in plain Python, in the process of the test."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from hal.packet import twin
from hal.packet.contract import LoadConfig, PortConfig
from hal.packet.model import Twin

__all__ = ["Twin", "loaded", "twin"]


def loaded(
    ports: Sequence[str], owners: Mapping[str, tuple[str, ...]] | None = None, stages: Iterable[str] = ()
) -> Twin:
    """A twin that forwards, whose tables belong to those that card.toml would name: `Twin.writer(owner)` writes them.

    Args:
        ports: their names; their numbers are their places.
        owners: owner -> tables; those named nowhere are "dsnd"'s.
        stages: packages of stages beside ours and the installed ones.
    """
    card = Twin(stages)
    configs = tuple(PortConfig(number, name, "replay") for number, name in enumerate(ports))
    card.load(LoadConfig(ports=configs, owners=dict(owners or {})))
    card.start()
    return card
