"""YAML as text with a structure and nothing more: documents, mappings, lists and scalars with their places.

It is read from the parser's events, with a bound on depth, so no input recurses; none of YAML's own typing applies
(a scalar is its text), and what would make one text mean another (anchors, aliases, tags, duplicate keys) is an
error. Documents are told apart before they are parsed: a syntax error in one hides nothing in the next.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from dataclasses import dataclass, field, replace
from typing import Any, Final

import yaml

from services.core.objects import EXCERPT, Position, Problem, excerpt

MAX_DEPTH: Final = 32
MAX_BYTES: Final = 100_000_000
"""Largest file that is read, in bytes."""
BOM: Final = b"\xef\xbb\xbf"

_SEPARATOR: Final = re.compile(rb"^(?=---(?:[ \t\r\n]|\Z))", re.MULTILINE)
_BREAK: Final = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_UNPRINTABLE: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_BARE_V6: Final = re.compile(r"(?<![\w:\"'.])::[0-9a-fA-F/]|[0-9a-fA-F]::(?=[\s,\]}]|$)")
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
QUOTE_V6: Final = 'Put it in quotes, as in "fe80::" or "::/0": YAML takes a colon at the end of a word for a key\'s.'


@dataclass(slots=True)
class Scalar:
    """Text. `direct`: it stands in the file as it is, so that an offset in it is one in the line."""

    text: str
    position: Position
    direct: bool
    plain: bool


@dataclass(slots=True)
class Listing:
    """A sequence."""

    position: Position
    items: list[Node] = field(default_factory=list)


@dataclass(slots=True)
class Table:
    """A mapping, its keys unique and in written order."""

    position: Position
    entries: list[tuple[Scalar, Node]] = field(default_factory=list)
    twice: list[tuple[Scalar, Node]] = field(default_factory=list)
    """What stands under a key that is there already, which is reported: it counts for nothing, its mistakes do."""
    names: dict[str, Scalar] = field(default_factory=dict)
    flow: bool = False


@dataclass(slots=True)
class Bad:
    """What has been reported as a problem already."""

    position: Position


Node = Scalar | Listing | Table | Bad


@dataclass(frozen=True, slots=True)
class Document:
    """A document: its node, or None where it couldn't be parsed; `ghost` is then what kind and name it has, as
    far as its lines tell."""

    root: Node | None
    ghost: tuple[str, str] = ("", "")


class Lines:
    """Where the lines of a text begin, as YAML tells lines apart."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._starts = array("Q", [0])
        self._starts.extend(found.end() for found in _BREAK.finditer(text))

    def excerpt(self, line: int, column: int) -> str:
        """Of the line with this number, from 1, what is around a column; "" where there is none."""
        if not 0 < line <= len(self._starts):
            return ""
        start = self._starts[line - 1]
        end = self._starts[line] if line < len(self._starts) else len(self._text)
        return excerpt(_BREAK.split(self._text[start : min(end, start + column + EXCERPT)], maxsplit=1)[0], column)


@dataclass
class SourceText:
    """The text of one file: its documents, what is wrong with them, and its lines for excerpts."""

    file: str
    documents: list[Document] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    chunks: list[tuple[int, str]] = field(default_factory=list)

    _lines: tuple[int, Lines] | None = None

    def excerpt(self, line: int, column: int) -> str:
        """Of the line with this number, from 1, what is around a column; "" where there is none. Quick for places in
        order: lines are told apart once a chunk."""
        chunk = bisect_left(self.chunks, line, key=lambda one: one[0]) - 1
        if chunk < 0:
            return ""
        first, text = self.chunks[chunk]
        if self._lines is None or self._lines[0] != chunk:
            self._lines = (chunk, Lines(text))
        return self._lines[1].excerpt(line - first, column)


def read(data: bytes, file: str) -> SourceText:
    """Parse a file's bytes. Whatever they are, the answer is documents and problems."""
    source = SourceText(file)
    if len(data) > MAX_BYTES:
        message = f"the file has {len(data):,} bytes"
        fix = "Split it: a folder of files is one intent."
        source.problems.append(Problem(Position(file, 0, 0), message, limit=f"{MAX_BYTES:,} bytes", fix=fix))
        return source
    line = 0
    for chunk in _SEPARATOR.split(data.removeprefix(BOM)):
        try:
            text = chunk.decode()
            fault = None
        except UnicodeDecodeError as error:
            text = chunk.decode(errors="replace")
            before = chunk[: error.start].decode()
            fault = (before, f"the byte 0x{chunk[error.start]:02x} is not UTF-8", 1)
        source.chunks.append((line, text))
        before = len(source.problems)
        if fault is None and (found := _UNPRINTABLE.search(text)):
            fault = (text[: found.start()], f"the character U+{ord(found[0]):04X} can't be in YAML", 1)
        if fault is not None:
            lines = _BREAK.split(fault[0])
            at = Position(file, line + len(lines), len(lines[-1]) + 1)
            source.problems.append(Problem(at, fault[1], fix="Take it out."))
            source.documents.append(Document(None, _ghost(text)))
        elif text.strip():
            _Builder(source, line, text).run()
        if len(source.problems) > before:
            title = " ".join(_ghost(text)).strip()
            source.problems[before:] = [replace(problem, object=title) for problem in source.problems[before:]]
        line += len(_BREAK.findall(text))
    return source


def _ghost(text: str) -> tuple[str, str]:
    """Kind and name of a document that can't be parsed, as far as its lines tell."""
    found = {}
    for key in ("kind", "name"):
        match = re.search(rf"^(?:--- *)?{key}:[ \t]*[\"']?([A-Za-z][\w.-]*)", text[:100_000], re.MULTILINE)
        found[key] = match[1] if match else ""
    return found["kind"], found["name"]


class _Stop(Exception):
    """The document can't be read on."""


class _Builder:
    """Makes nodes of the events of one chunk, with a stack of its own instead of recursion."""

    def __init__(self, source: SourceText, line: int, text: str) -> None:
        self.source = source
        self.first_line = line
        self.text = text
        self.stack: list[Listing | Table] = []
        self.keys: list[Scalar | None] = []
        self.root: Node | None = None
        self.skip = 0

    def run(self) -> None:
        try:
            for event in yaml.parse(self.text, Loader=_LOADER):
                self.take(event)
        except yaml.YAMLError as error:
            self.syntax_error(error)
        except _Stop:
            self.source.documents.append(Document(None, _ghost(self.text)))

    def position(self, event: Any, length: int = 1) -> Position:
        mark = event.start_mark
        return Position(self.source.file, self.first_line + mark.line + 1, mark.column + 1, max(1, length))

    def report(self, position: Position, message: str, **more: Any) -> None:
        self.source.problems.append(Problem(position, message, **more))

    def syntax_error(self, error: yaml.YAMLError) -> None:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        line, column = (mark.line, mark.column) if mark is not None else (0, 0)
        words = getattr(error, "problem", None) or getattr(error, "reason", None) or "unreadable"
        context = getattr(error, "context", None)
        lines = _BREAK.split(self.text)
        opened = getattr(error, "context_mark", None)
        shown = lines[line] if line < len(lines) else ""
        fix = ""
        if _BARE_V6.search(shown):
            fix = QUOTE_V6
        elif opened is not None and context is not None and ("quoted scalar" in context or "flow" in context):
            # Where it began tells more than where the parser gave up, lines below.
            line, column = opened.line, opened.column
            fix = "Close the quotes." if "quoted" in context else "Close the bracket, or put a comma between."
        elif "\t" in shown[: column + 1]:
            fix = "Indent with spaces: YAML refuses tabs."
        if line >= len(lines):  # the parser ends a last line that the text doesn't
            line, column = len(lines) - 1, len(lines[-1])
        message = f"not YAML: {words}" + (f" {context}" if context else "")
        self.report(Position(self.source.file, self.first_line + line + 1, column + 1), message, fix=fix)
        self.source.documents.append(Document(None, _ghost(self.text)))

    def take(self, event: yaml.Event) -> None:
        match event:
            case yaml.DocumentStartEvent():
                self.stack, self.keys, self.root = [], [], None
            case yaml.DocumentEndEvent():
                if self.root is not None and not (isinstance(self.root, Scalar) and self.root.text == ""):
                    self.source.documents.append(Document(self.root))
            case yaml.ScalarEvent():
                self.place(self.scalar(event))
            case yaml.AliasEvent():
                at = self.position(event, len(event.anchor or "") + 1)
                self.report(at, f"the alias *{event.anchor} isn't taken", fix="Write the value out.")
                self.place(Bad(at))
            case yaml.SequenceStartEvent() | yaml.MappingStartEvent():
                self.begin(event)
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                self.stack.pop()
                self.keys.pop()
            case _:
                pass

    def begin(self, event: yaml.SequenceStartEvent | yaml.MappingStartEvent) -> None:
        at = self.position(event)
        self.check_plain(event, at)
        if len(self.stack) >= MAX_DEPTH:
            self.report(at, "nested too deeply", limit=f"{MAX_DEPTH} levels")
            raise _Stop
        node = Listing(at) if isinstance(event, yaml.SequenceStartEvent) else Table(at, flow=bool(event.flow_style))
        self.place(node)
        self.stack.append(node)
        self.keys.append(None)

    def check_plain(self, event: Any, at: Position) -> None:
        """Report an anchor or a tag."""
        if event.anchor is not None:
            self.report(at, f"the anchor &{event.anchor} isn't taken", fix="Write each value out.")
        if event.tag is not None:
            self.report(at, f"the tag {event.tag} isn't taken", fix="Leave it out: fields have their own types.")

    def scalar(self, event: Any) -> Node:
        text = event.value
        one_line = event.start_mark.line == event.end_mark.line
        width = event.end_mark.column - event.start_mark.column if one_line else 1
        quotes = 0 if event.style is None or event.style == "" else 1
        plain = not quotes
        at = self.position(event, width)
        direct = one_line and width - 2 * quotes == len(text) and event.style not in ("|", ">")
        if direct and quotes:
            at = at.inside(1, len(text))
        self.check_plain(event, at)
        return Scalar(text, at, direct, plain)

    def begins(self, top: Table, key: Scalar) -> bool:
        """Whether the key is the one that objects begin with: files that were put together without a line between."""
        return len(self.stack) == 1 and key.text == next(iter(top.names))

    def place(self, node: Node) -> None:
        """Put a node where the parser stands: into a list, or as key or value of a mapping."""
        if not self.stack:
            self.root = node
            return
        top = self.stack[-1]
        if isinstance(top, Listing):
            top.items.append(node)
            return
        key = self.keys[-1]
        if key is not None:
            self.keys[-1] = None
            if key.text in top.names:
                first = top.names[key.text].position.line
                message = f"the key {key.text[:60]} is there twice, first in line {first}"
                between = " If another object begins here, put a line --- before it." if self.begins(top, key) else ""
                self.report(key.position, message, fix=f"Keep one of them.{between}")
                top.twice.append((key, node))
                return
            top.names[key.text] = key
            top.entries.append((key, node))
        elif isinstance(node, Scalar):
            self.keys[-1] = node
        else:
            if not isinstance(node, Bad):
                self.report(node.position, "a key is a list or a mapping", limit="a word", fix="Write a word as key.")
                raise _Stop
            self.keys[-1] = Scalar(f"\0{len(top.entries)}", node.position, False, False)


def is_ipv6_misread(node: Node) -> bool:
    """True for the mapping that YAML makes of an IPv6 address that ends in a colon and isn't quoted."""
    if not isinstance(node, Table) or len(node.entries) != 1:
        return False
    key, value = node.entries[0]
    return bool(
        key.plain
        and isinstance(value, Scalar)
        and re.fullmatch(r"[0-9a-fA-F:]*:[0-9a-fA-F:]*|[0-9a-fA-F]{1,4}", key.text)
        and value.text == ""
    )
