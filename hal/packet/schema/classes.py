"""The generated row classes of a set of stages, by name."""

from __future__ import annotations

import importlib
from collections.abc import Iterable

from hal.packet.schema.registry import found_packages
from hal.packet.schema.rows import Row


def row_classes(more: Iterable[str] = ()) -> dict[str, type[Row]]:
    """Row class name -> class, for the frame, our stages, installed ones and the packages in `more`."""
    result: dict[str, type[Row]] = {}
    for package in found_packages(more):
        module = importlib.import_module(package + "._generated")
        for name in module.__all__:
            result[name] = getattr(module, name)
    return result
