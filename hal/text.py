"""What others wrote, as one line of text: a file, a capture or a peer could otherwise command a terminal."""

from __future__ import annotations


def printable_line(text: str) -> str:
    """The text with every character that isn't printed as itself in Python's words for it: ESC is `\\x1b`, a line end
    `\\n`, a bidi override `\\u202e`, a byte that is no UTF-8 `\\udcff`."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
