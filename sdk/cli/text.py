"""A terminal's text by rich."""

from __future__ import annotations

import os
import sys
import textwrap
from typing import Any, NoReturn

from rich.console import Console
from rich.text import Text

from sdk.terminal import printable_line


class TextConsole(Console):
    """Texts come from files and peers: none is read as markup or as an emoji's name (which IPv6 addresses may hold),
    none reaches the terminal as a command. Whoever reads may stop when he has seen enough (`dsn ... | head`): that is
    no error."""

    def print(self, *objects: Any, **more: Any) -> None:
        """One line for a text, whatever is in it; on a terminal too narrow for it the rest stands below, further in."""
        super().print(*(Text(self._wrapped(one)) if isinstance(one, str) else one for one in objects), **more)

    def _wrapped(self, text: str) -> str:
        line = printable_line(text)
        if self.soft_wrap or len(line) <= self.width:
            return line
        below = " " * (len(line) - len(line.lstrip()) + 4)
        return "\n".join(
            textwrap.wrap(line, self.width, subsequent_indent=below, replace_whitespace=False, break_on_hyphens=False)
        )

    def on_broken_pipe(self) -> NoReturn:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
