"""What others wrote, as a terminal may get it."""

from __future__ import annotations

from hal.text import printable_line

__all__ = ["printable", "printable_line"]


def printable(text: str) -> str:
    """Each line of the text as `hal.text.printable_line` makes it. Line ends stay, which makes it no single line."""
    return "\n".join(map(printable_line, text.split("\n")))
