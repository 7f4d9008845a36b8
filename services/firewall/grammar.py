"""The sentence that a rule is: words -> message and back, one the exact inverse of the other."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import Message

from hal.packet.names import ICMP_TYPES
from services.core import protocols
from services.core.formats import NAME, FormatError, number, port_range, prefix, protocol_number, shown, together
from services.core.objects import nearest
from services.core.service import Span
from services.firewall import firewall_pb2 as pb

PATTERN: Final = "allow|drop|reset [in|out] PROTO from WHO to WHO [port PORTS] [type TYPES] [log]"

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
    return protocols.canonical(protocol_number(text, (protocols.ICMP, "any")))


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


class _Ended(Exception):
    """The words ran out; that is reported."""


class _Sentence:
    """The words of a rule, read from the left. What is wrong is gathered; reading goes on behind it.

    One mistake is one error: where words were skipped up to the next keyword, or the part before was wrong already,
    what stands between is not reported again.
    """

    def __init__(self, text: str) -> None:
        self.words = [_Word(found[0], found.start()) for found in re.finditer(r"\S+", text)]
        self.at = 0
        self.end = len(text.rstrip())
        self.spans: dict[str, Span] = {}
        self.errors: list[FormatError] = []

    def peek(self, further: int = 0) -> str:
        """A word ahead, "" behind the end."""
        at = self.at + further
        return self.words[at].text if at < len(self.words) else ""

    def take(self, wanted: str) -> _Word:
        """The next word; `wanted` says what should stand there."""
        if self.at >= len(self.words):
            offset = max(0, self.end - 1)
            self.errors.append(
                FormatError(f"the rule ends where {wanted} is wanted", limit=PATTERN, offset=offset, length=1)
            )
            raise _Ended
        self.at += 1
        return self.words[self.at - 1]

    def report(self, word: _Word, wanted: str, near: str = "") -> None:
        self.errors.append(word.error(f"{shown(word.text)} where {wanted} is wanted", limit=PATTERN, near=near))

    def one_of(self, choices: Mapping[str, int], wanted: str) -> int:
        word = self.take(wanted)
        if word.text in choices:
            return choices[word.text]
        near = nearest(word.text, choices)
        self.report(word, wanted, near)
        if not near and self.peek() == "from":  # left out, not misspelt: the word is the protocol
            self.at -= 1
        return choices.get(near, 0)

    def keyword(self, keyword: str, following: tuple[str, ...], told: bool) -> None:
        """Go behind a keyword. `following`: what may come behind its list; `told`: the part before was wrong."""
        word = self.take(keyword)
        if word.text == keyword:
            return
        near = nearest(word.text, [keyword])
        ahead = next((at for at in range(self.at, len(self.words)) if self.words[at].text == keyword), None)
        if ahead is None or not told:
            self.report(word, repr(keyword), near)
        if ahead is not None:
            self.at = ahead + 1
        elif not near and self.peek() in ("", *following):  # left out: the word is its list
            self.at -= 1

    def several(
        self, field: str, wanted: str, form: Callable[[str], str], *, or_any: bool = True, before: str = ""
    ) -> tuple[list[str], bool]:
        """A list by commas; `any` is the empty one. False: something is wrong with it.

        Args:
            before: the keyword behind it: where that stands instead, the list is left out.
        """
        word = self.take(wanted)
        if or_any and word.text == "any":
            return [], True
        if before and word.text == before and self.peek() != before:
            self.report(word, wanted)
            self.at -= 1
            return [], False
        errors = len(self.errors)
        values: dict[str, None] = {}  # in order, and quickly asked: a line may hold a hundred thousand
        for found in re.finditer(r"(?:^|,)([^,]*)", word.text):
            item = _Word(found[1], word.offset + found.start(1))
            if not item.text:
                at = min(item.offset, word.offset + len(word.text) - 1)
                message, fix = f"nothing beside a comma where {wanted} is wanted", "Write the list without spaces."
                self.errors.append(FormatError(message, fix=fix, offset=at, length=1))
                continue
            try:
                value = form(item.text)
            except FormatError as error:
                error.offset += item.offset
                error.length = error.length or len(item.text) - (error.offset - item.offset)
                self.errors.append(error)
                continue
            if value in values:
                self.errors.append(item.error(f"{shown(item.text)} is there twice", fix="Keep one of them."))
                continue
            self.spans[f"{field}[{len(values)}]"] = Span(item.offset, len(item.text))
            values[value] = None
        self.spans.setdefault(field, Span(word.offset, len(word.text)))
        return list(values), len(self.errors) == errors


def parse_rule(text: str) -> tuple[pb.Rule, Mapping[str, Span]]:
    """A rule without its name, and where its fields stand in the text. Raises FormatError with all that is wrong."""
    if not text.strip():
        raise FormatError("the rule is empty", limit=PATTERN)
    words = _Sentence(text)
    rule = pb.Rule()
    with suppress(_Ended):
        _read(words, rule)
    if words.errors:
        error = together(words.errors)
        error.partial = (rule, words.spans)
        raise error
    return rule, words.spans


def _read(words: _Sentence, rule: pb.Rule) -> None:
    rule.verdict = pb.Rule.Verdict.ValueType(words.one_of(_VERDICTS, "allow, drop or reset"))
    if words.peek() in _DIRECTIONS:
        rule.direction = _DIRECTIONS[words.take("in").text]
    values, right = words.several("protocols", "a protocol", protocol, before="from")
    rule.protocols.extend(values)
    words.keyword("from", ("to",), told=not right)
    values, known = words.several("from", "who opens the connection", who, before="to")
    rule.source.extend(values)
    words.keyword("to", tuple(_TAIL), told=not known)
    values, known = words.several("to", "to whom it is opened", who)
    rule.destination.extend(values)
    _tail(words, rule, right, told=not known)


_TAIL: Final = ("port", "type", "log")


def _tail(words: _Sentence, rule: pb.Rule, protocols_known: bool, told: bool) -> None:
    """What may follow: port, type, log, in this order and each once."""
    left = list(_TAIL)
    given = ", ".join(rule.protocols) or "any"
    while words.peek():
        word = words.take("port")
        meant = word.text if word.text in _TAIL else nearest(word.text, left)
        if word.text not in left:
            if meant or not told:
                words.report(word, ", ".join(left) or "the end", meant if meant != word.text else "")
            if not meant:
                told = True
                continue
        told = False
        left = left[left.index(meant) + 1 :] if meant in left else left
        if meant == "port":
            if protocols_known and (not rule.protocols or not protocols.WITH_PORTS.issuperset(rule.protocols)):
                words.errors.append(word.error(f"port with {given}", limit="tcp and udp have ports here",
                                               fix="Name tcp, udp or both as protocol."))  # fmt: skip
            values, right = words.several("ports", "a port", port_range, or_any=False)
            rule.ports.extend(values)
            told = not right
        elif meant == "type":
            if protocols_known and (not rule.protocols or not {protocols.ICMP, "1", "58"}.issuperset(rule.protocols)):
                words.errors.append(word.error(f"type with {given}", limit="icmp: only it has types",
                                               fix="Name icmp as protocol."))  # fmt: skip
            values, right = words.several("types", "an ICMP type", icmp_type, or_any=False)
            rule.types.extend(values)
            told = not right
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
