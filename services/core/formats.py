"""Formats of strings: what a prefix, a MAC or a duration looks like, and its one canonical text.

A format takes the text as written and returns the canonical one; two texts that mean the same become the same
object. What is wrong is a `FormatError` with the place inside the text.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from google.protobuf.message import Message

from hal.packet.schema.rows import pack_address, pack_prefix, unpack_address, unpack_prefix
from services.core import protocols
from services.core.objects import nearest

Format = Callable[[str], str]


class FormatError(ValueError):
    """Text that a format doesn't take.

    Args:
        message: what is wrong, with what was there.
        limit: what would have been right.
        fix: one imperative sentence.
        near: the known word that was probably meant.
        offset, length: the place inside the text; length 0: all of it from there.

    Attributes:
        more: what else is wrong with the text, each with its own place, none following from another.
        partial: of a grammar: the message as far as it could be read, and the places of its fields.
        rest: of a text: what is right by itself, so that what it names is looked for; None where nothing is.
    """

    def __init__(
        self, message: str, *, limit: str = "", fix: str = "", near: str = "", offset: int = 0, length: int = 0
    ) -> None:
        super().__init__(message)
        self.message = message
        self.limit = limit
        self.fix = fix
        self.near = near
        self.offset = offset
        self.length = length
        self.more: tuple[FormatError, ...] = ()
        self.partial: tuple[Message, Mapping[str, Any]] | None = None
        self.rest: str | None = None


def together(errors: Sequence[FormatError]) -> FormatError:
    """Several errors of one text as one: the first by place, which knows the others."""
    first, *more = sorted(errors, key=lambda error: error.offset)
    first.more = tuple(more)
    return first


def shown(text: str) -> str:
    """A value as errors quote it: printable and not endless."""
    cut = text if len(text) <= 60 else text[:57] + "..."
    return repr(cut)


def address(text: str) -> str:
    """An IPv4 or IPv6 address; canonical as in RFC 5952."""
    if "/" in text:
        raise FormatError(f"{shown(text)} has a prefix length", limit="an address alone", offset=text.index("/"),
                          fix=f"Write {text.partition('/')[0][:60]}.")  # fmt: skip
    if "%" in text:
        raise FormatError(f"{shown(text)} has a zone", limit="an address alone", offset=text.index("%"))
    try:
        return unpack_address(pack_address(text))
    except ValueError:
        raise FormatError(
            f"{shown(text)} is not an address", limit="IPv4 or IPv6, as 10.1.0.10 or 2001:db8::a"
        ) from None


def prefix(text: str) -> str:
    """A prefix without bits beyond its length, or an address, which is the prefix of itself alone."""
    head, slash, tail = text.partition("/")
    try:
        pack_address(head)
    except ValueError:
        raise FormatError(
            f"{shown(text)} is not a prefix", limit="IPv4 or IPv6, as 10.1.0.0/16 or 2001:db8::/32"
        ) from None
    width = 128 if ":" in head else 32
    if slash and not (re.fullmatch(r"[0-9]{1,3}", tail) and int(tail) <= width):
        raise FormatError(f"{shown(text)} has the prefix length {shown(tail)}", limit=f"0 to {width}",
                          offset=len(head) + 1)  # fmt: skip
    try:
        return unpack_prefix(*pack_prefix(text))
    except ValueError:
        meant = ipaddress.ip_network(text, strict=False)
        raise FormatError(f"{shown(text)} has bits beyond its length", fix=f"Write {meant}.") from None


def interface(text: str) -> str:
    """An address with the length of its net's prefix: 10.1.0.1/24. An IPv4-mapped one is IPv4, its length too."""
    head, slash, tail = text.partition("/")
    canonical = address(head)
    width = 128 if ":" in head else 32
    if not slash:
        raise FormatError(f"{shown(text)} has no prefix length", limit=f"an address/length, 0 to {width}",
                          fix=f"Write {text}/{64 if width == 128 else 24}, or the net's own length.")  # fmt: skip
    if not (re.fullmatch(r"[0-9]{1,3}", tail) and int(tail) <= width):
        raise FormatError(f"{shown(text)} has the prefix length {shown(tail)}", limit=f"0 to {width}",
                          offset=len(head) + 1)  # fmt: skip
    length = int(tail)
    if width == 128 and ":" not in canonical:
        if length < 96:
            raise FormatError(f"{shown(text)} is IPv4 with the prefix length {length}", limit="96 to 128",
                              fix=f"Write {canonical} with the length of its net.", offset=len(head) + 1)  # fmt: skip
        length -= 96
    return f"{canonical}/{length}"


def mac(text: str) -> str:
    """A unicast MAC in lower case with colons."""
    plain = text.replace("-", ":").lower()
    if not re.fullmatch(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", plain):
        raise FormatError(f"{shown(text)} is not a MAC", limit="six pairs of hexadecimal digits, as 02:00:00:00:00:0a")
    if plain == "00:00:00:00:00:00":
        raise FormatError(f"{text} is the zero MAC", limit="a unicast MAC")
    if int(plain[:2], 16) & 1:
        raise FormatError(f"{text} is a group MAC", limit="a unicast MAC: the lowest bit of its first byte is 0")
    return plain


NAME: Final = re.compile(r"[A-Za-z]([A-Za-z0-9._-]{0,29}[A-Za-z0-9])?")
NAME_LIMIT: Final = "1 to 31 of A-Z a-z 0-9 . _ -, beginning with a letter, ending with a letter or digit"


def name(text: str) -> str:
    """The name of an object or rule. 31 characters, so that "policy/rule" fits the 63 of an entry's name."""
    if not NAME.fullmatch(text) or text == "any":
        what = "is a word of the rules" if text == "any" else "is not a name"
        raise FormatError(f"{shown(text)} {what}", limit=NAME_LIMIT)
    return text


def port_name(text: str) -> str:
    """The name of one of the card's ports."""
    if not NAME.fullmatch(text):
        raise FormatError(f"{shown(text)} is not the name of a port", limit=NAME_LIMIT)
    return text


def number(text: str, low: int, high: int, what: str) -> int:
    """A decimal number. Raises FormatError."""
    if not re.fullmatch(r"0|[1-9][0-9]{0,19}", text):
        raise FormatError(f"{shown(text)} is not a number", limit=f"{what} {low} to {high}, in decimal digits")
    if not low <= int(text) <= high:
        raise FormatError(f"{text} is out of range", limit=f"{what} {low} to {high}")
    return int(text)


def port_range(text: str) -> str:
    """A port or a range of ports: 80, 8000-8099."""
    first, dash, last = text.partition("-")
    low = number(first, 0, 65535, "a port")
    if not dash:
        return str(low)
    try:
        high = number(last, 0, 65535, "a port")
    except FormatError as error:
        error.offset = len(first) + 1
        raise
    if high < low:
        raise FormatError(f"{shown(text)} ends before it begins", fix=f"Write {high}-{low}.")
    return f"{low}-{high}" if low != high else str(low)


def protocol_number(text: str, words: Iterable[str] = ()) -> int:
    """One protocol by name or number.

    Args:
        words: what the caller takes besides, and has looked for.
    """
    if text in protocols.NUMBERS:
        return protocols.NUMBERS[text]
    if re.fullmatch(r"[0-9]+", text):
        return number(text, 0, 255, "a protocol")
    known = [*words, *protocols.NUMBERS]
    raise FormatError(f"{shown(text)} is not a protocol", limit=f"{', '.join(sorted(known))} or a number 0 to 255",
                      near=nearest(text, known))  # fmt: skip


_DURATIONS: Final = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "m": 60_000_000_000, "h": 3600 * 10**9}


def duration(text: str) -> str:
    """A time: 500ms, 10s, 2m, 1h; at most a year."""
    found = re.fullmatch(r"([0-9]{1,12})(ns|us|ms|s|m|h)", text)
    if not found or int(found[1]) * _DURATIONS[found[2]] > 366 * 86400 * 10**9:
        raise FormatError(f"{shown(text)} is not a duration", limit="a whole number with ns, us, ms, s, m or h, as 10s")
    return f"{int(found[1])}{found[2]}"


def nanoseconds(text: str) -> int:
    """What a canonical duration is, in nanoseconds."""
    digits = text.rstrip("nsumh")
    return int(digits) * _DURATIONS[text[len(digits) :]]


def rate(text: str) -> str:
    """Bits a second with a decimal unit: 100Mbps, 10Gbps."""
    found = re.fullmatch(r"([0-9]{1,9})(bps|kbps|Mbps|Gbps)", text)
    if not found:
        raise FormatError(
            f"{shown(text)} is not a rate", limit="a whole number with bps, kbps, Mbps or Gbps, as 10Gbps"
        )
    return f"{int(found[1])}{found[2]}"


def choice(what: str, known: Iterable[str]) -> Format:
    """The format of one of some words."""
    words = tuple(known)

    def parse(text: str) -> str:
        if text not in words:
            raise FormatError(
                f"{shown(text)} is not {what}", limit="one of " + ", ".join(words), near=nearest(text, words)
            )
        return text

    return parse


FORMATS: Mapping[str, Format] = {
    "address": address,
    "duration": duration,
    "interface": interface,
    "mac": mac,
    "name": name,
    "port_name": port_name,
    "port_range": port_range,
    "prefix": prefix,
    "rate": rate,
}
"""The formats that any service may use, by the name that `options.proto` calls them by."""
