"""What others wrote, as a terminal may get it: a file, a capture, an engine or a peer could otherwise command it."""

from __future__ import annotations


def printable(text: str) -> str:
    """The text with every character that isn't printed as itself in Python's words for it: ESC is `\\x1b`, a bidi
    override `\\u202e`, a byte that is no UTF-8 `\\udcff`. Line ends stay, which makes it no single line."""
    return "\n".join(map(printable_line, text.split("\n")))


def printable_line(text: str) -> str:
    """The same for what is one line: its line ends are told too."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
