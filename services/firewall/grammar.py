"""The sentence that a rule is: words -> message and back, one the exact inverse of the other."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import Message

from services.core import protocols
from services.core.formats import NAME, FormatError, number, port_range, prefix, protocol_number, shown
from services.core.objects import nearest
from services.core.service import Span
from services.firewall import firewall_pb2 as pb

PATTERN: Final = "allow|drop|reset [in|out] PROTO from WHO to WHO [port PORTS] [type TYPES] [log]"

ICMP_TYPES: Final[Mapping[str, tuple[int | None, int | None]]] = {
    "echo-request": (8, 128), "echo-reply": (0, 129), "destination-unreachable": (3, 1), "packet-too-big": (None, 2),
    "time-exceeded": (11, 3), "parameter-problem": (12, 4), "redirect": (5, 137), "timestamp-request": (13, None),
    "timestamp-reply": (14, None), "router-solicitation": (10, 133), "router-advertisement": (9, 134),
}  # fmt: skip
"""Name -> its number in ICMP and in ICMPv6 (IANA), None where the protocol has no such type."""

_VERDICTS: Final = {"allow": pb.Rule.ALLOW, "drop": pb.Rule.DROP, "reset": pb.Rule.RESET}
_DIRECTIONS: Final = {"in": pb.Rule.IN, "out": pb.Rule.OUT}


def who(text: str) -> str:
    """The format of one party: a prefix, or the name of a group or vNIC."""
    if text == "any":
        raise FormatError("any is not one of several", fix="Write any alone, or leave it out.")
    if re.match(r"[0-9:]", text) or ":" in text or "/" in text:
        return prefix(text)
    if not NAME.fullmatch(text):
        raise FormatError(f"{shown(text)} is neither a prefix nor a name", limit="prefixes, groups, vNICs")
    return text


def protocol(text: str) -> str:
    """The format of a protocol: a name, or a number; a number that has a name becomes the name."""
    if text == protocols.ICMP:
        return text
    if text == "any":
        raise FormatError("any is not one of several", fix="Write any alone.")
    if text in ("icmpv6", "icmp6", "ipv6-icmp"):
        raise FormatError(
            f"{text} is not a protocol of rules", fix="Write icmp, which is both, or 58 for ICMPv6 alone."
        )
    return protocols.canonical(protocol_number(text))


def icmp_type(text: str) -> str:
    """The format of an ICMP type: a name, right for ICMP and ICMPv6 each, or a number, which both take as it is."""
    if text in ICMP_TYPES:
        return text
    if re.fullmatch(r"[0-9]+", text):
        return str(number(text, 0, 255, "a type"))
    limit = ", ".join(ICMP_TYPES) + " or a number 0 to 255"
    raise FormatError(f"{shown(text)} is not an ICMP type", limit=limit, near=nearest(text, ICMP_TYPES))


@dataclass(frozen=True)
class _Word:
    text: str
    offset: int

    def error(self, message: str, **more: str) -> FormatError:
        return FormatError(message, offset=self.offset, length=len(self.text), **more)


class _Sentence:
    """The words of a rule, read from the left."""

    def __init__(self, text: str) -> None:
        self.words = [_Word(found[0], found.start()) for found in re.finditer(r"\S+", text)]
        self.at = 0
        self.end = len(text.rstrip())
        self.spans: dict[str, Span] = {}

    def peek(self) -> _Word | None:
        return self.words[self.at] if self.at < len(self.words) else None

    def take(self, wanted: str) -> _Word:
        """The next word; `wanted` says what should stand there."""
        word = self.peek()
        if word is None:
            raise FormatError(
                f"the rule ends where {wanted} is wanted", limit=PATTERN, offset=max(0, self.end - 1), length=1
            )
        self.at += 1
        return word

    def one_of(self, choices: Mapping[str, int], wanted: str) -> int:
        word = self.take(wanted)
        if word.text not in choices:
            raise word.error(
                f"{shown(word.text)} where {wanted} is wanted", limit=PATTERN, near=nearest(word.text, choices)
            )
        return choices[word.text]

    def keyword(self, keyword: str) -> None:
        word = self.take(keyword)
        if word.text != keyword:
            near = nearest(word.text, [keyword])
            raise word.error(f"{shown(word.text)} where {keyword!r} is wanted", limit=PATTERN, near=near)

    def several(self, field: str, wanted: str, form: Callable[[str], str], *, or_any: bool = True) -> list[str]:
        """A list by commas; `any` is the empty one."""
        word = self.take(wanted)
        if or_any and word.text == "any":
            return []
        values: list[str] = []
        for found in re.finditer(r"(?:^|,)([^,]*)", word.text):
            item = _Word(found[1], word.offset + found.start(1))
            if not item.text:
                at = min(item.offset, word.offset + len(word.text) - 1)
                message, fix = f"nothing beside a comma where {wanted} is wanted", "Write the list without spaces."
                raise FormatError(message, fix=fix, offset=at, length=1)
            try:
                value = form(item.text)
            except FormatError as error:
                error.offset += item.offset
                error.length = error.length or len(item.text) - (error.offset - item.offset)
                raise
            if value in values:
                raise item.error(f"{shown(item.text)} is there twice", fix="Keep one of them.")
            self.spans[f"{field}[{len(values)}]"] = Span(item.offset, len(item.text))
            values.append(value)
        self.spans.setdefault(field, Span(word.offset, len(word.text)))
        return values


def parse_rule(text: str) -> tuple[pb.Rule, Mapping[str, Span]]:
    """A rule without its name, and where its fields stand in the text. Raises FormatError."""
    if not text.strip():
        raise FormatError("the rule is empty", limit=PATTERN)
    words = _Sentence(text)
    rule = pb.Rule(verdict=pb.Rule.Verdict.ValueType(words.one_of(_VERDICTS, "allow, drop or reset")))
    following = words.peek()
    if following is not None and following.text in _DIRECTIONS:
        rule.direction = _DIRECTIONS[words.take("in").text]
    rule.protocols.extend(words.several("protocols", "a protocol", protocol))
    words.keyword("from")
    rule.source.extend(words.several("from", "who opens the connection", who))
    words.keyword("to")
    rule.destination.extend(words.several("to", "to whom it is opened", who))
    _tail(words, rule)
    return rule, words.spans


def _tail(words: _Sentence, rule: pb.Rule) -> None:
    """What may follow: port, type, log, in this order and each once."""
    left = ["port", "type", "log"]
    while (word := words.peek()) is not None:
        if word.text not in left:
            wanted = ", ".join(left) or "the end"
            raise word.error(
                f"{shown(word.text)} where {wanted} is wanted", limit=PATTERN, near=nearest(word.text, left)
            )
        words.take("port")
        left = left[left.index(word.text) + 1 :]
        if word.text == "port":
            if not rule.protocols or not protocols.WITH_PORTS.issuperset(rule.protocols):
                raise word.error(f"port with {', '.join(rule.protocols) or 'any'}", limit="tcp and udp have ports here",
                                 fix="Name tcp, udp or both as protocol.")  # fmt: skip
            rule.ports.extend(words.several("ports", "a port", port_range, or_any=False))
        elif word.text == "type":
            if not rule.protocols or not {protocols.ICMP, "1", "58"}.issuperset(rule.protocols):
                raise word.error(f"type with {', '.join(rule.protocols) or 'any'}", limit="icmp: only it has types",
                                 fix="Name icmp as protocol.")  # fmt: skip
            rule.types.extend(words.several("types", "an ICMP type", icmp_type, or_any=False))
        else:
            rule.log = True


def print_rule(message: Message) -> str:
    """The sentence of a rule; `parse_rule` of it gives the rule back, but for the name."""
    if not isinstance(message, pb.Rule):
        raise TypeError(f"{type(message).__name__} is not a Rule")
    rule = message
    parts = [next((word for word, value in _VERDICTS.items() if value == rule.verdict), "none")]
    parts += [word for word, value in _DIRECTIONS.items() if value == rule.direction]
    parts += [",".join(rule.protocols) or "any"]
    parts += ["from", ",".join(rule.source) or "any", "to", ",".join(rule.destination) or "any"]
    parts += ["port", ",".join(rule.ports)] if rule.ports else []
    parts += ["type", ",".join(rule.types)] if rule.types else []
    parts += ["log"] if rule.log else []
    return " ".join(parts)
