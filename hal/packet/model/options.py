"""Options of IPv4 and TCP headers, which are written alike."""

from __future__ import annotations

from collections.abc import Iterator

END, NO_OPERATION = 0, 1


class IllegalLengthError(ValueError):
    """An option is shorter than its own head, or goes beyond the header."""


def walk(options: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and value of each option, in order, up to the end of the list (RFC 791 3.1, RFC 9293 3.1).

    Raises:
        IllegalLengthError: when it comes to the option that has one.
    """
    place = 0
    while place < len(options) and options[place] != END:
        if options[place] == NO_OPERATION:
            place += 1
            continue
        size = options[place + 1] if place + 1 < len(options) else 0
        if size < 2 or place + size > len(options):
            raise IllegalLengthError
        yield options[place], options[place + 2 : place + size]
        place += size
