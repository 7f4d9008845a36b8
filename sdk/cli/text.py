"""A terminal's text by rich."""

from __future__ import annotations

import os
import sys
from typing import Any, NoReturn

from rich.console import Console
from rich.text import Text

from sdk.terminal import printable_line


class TextConsole(Console):
    """Texts come from files and peers: none is read as markup or as an emoji's name (which IPv6 addresses may hold),
    none reaches the terminal as a command. Whoever reads may stop when he has seen enough (`dsn ... | head`): that is
    no error."""

    def print(self, *objects: Any, **more: Any) -> None:
        """One line for a text, whatever is in it."""
        super().print(*(Text(printable_line(one)) if isinstance(one, str) else one for one in objects), **more)

    def on_broken_pipe(self) -> NoReturn:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
