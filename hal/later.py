"""Modules that take long to import, imported when something of them is first asked for."""

from __future__ import annotations

import importlib
from typing import Any


class Later:
    """Stands for a module until then: numpy takes a fifth of a second, and a command that asks a card for three numbers
    has no array. Types see the real module:

        if TYPE_CHECKING:
            import numpy as np
        else:
            np = Later("numpy")
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        value = getattr(importlib.import_module(self._name), attribute)
        setattr(self, attribute, value)  # found without us from now on
        return value
