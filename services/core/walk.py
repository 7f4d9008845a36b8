"""Nodes of a file held against the descriptor of a message: fields, formats, limits, text forms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from services.core.document import QUOTE_V6, Bad, Listing, Node, Scalar, Table, is_ipv6_misread
from services.core.formats import FormatError, name, number, shown
from services.core.objects import Guesses, Position, Problem, nearest
from services.core.references import FieldLike, form
from services.core.service import Services

_UNSIGNED = {FieldDescriptor.TYPE_UINT32: 32, FieldDescriptor.TYPE_UINT64: 64, FieldDescriptor.TYPE_FIXED32: 32,
             FieldDescriptor.TYPE_FIXED64: 64}  # fmt: skip


def assume(message: Message) -> None:
    """Fill fields that aren't given with what the proto file says holds then. Messages of the API pass here too."""
    for field in message.DESCRIPTOR.fields:
        assumed = form(field).assumed
        if assumed and not field.is_repeated and not getattr(message, field.name):
            setattr(message, field.name, int(assumed) if field.type in _UNSIGNED else assumed)


class Walker:
    """Fills one object's message; collects problems and the places of fields. `guesses`: at what was meant by misspelt
    ones."""

    def __init__(self, services: Services, title: str, guesses: Guesses) -> None:
        self.services = services
        self.title = title
        self.guesses = guesses
        self.problems: list[Problem] = []
        self.positions: dict[str, Position] = {}
        self.written: dict[str, str] = {}

    def report(self, at: Node | Position, path: str, message: str, **more: Any) -> None:
        position = at if isinstance(at, Position) else at.position
        self.problems.append(Problem(position, message, object=self.title, field=path, **more))

    def fill(self, message: Message, node: Node, path: str, fixed: frozenset[str] = frozenset()) -> None:
        """Set the fields of `message` from a mapping. `fixed`: fields that are set already and not written. What holds
        where nothing is said holds as well where the mapping is none: services read the object all the same."""
        self._given(message, node, path, fixed)
        assume(message)

    def _given(self, message: Message, node: Node, path: str, fixed: frozenset[str]) -> None:
        descriptor: Any = message.DESCRIPTOR
        if isinstance(node, Bad):
            return
        if not isinstance(node, Table):
            limit = "a mapping with " + ", ".join(_names(descriptor)) if descriptor.fields else "{}"
            grammar = self.services.grammars.get(descriptor.full_name)
            limit = f"{grammar.pattern}, or {limit}" if grammar is not None else limit
            self.report(node, path or "spec", f"not the fields of a {descriptor.name}", limit=limit)
            return
        known = {field.name: field for field in descriptor.fields if field.name not in fixed}
        known |= {field.json_name: field for field in known.values()}
        given: set[str] = set()
        for key, value in node.entries:
            field = known.get(key.text)
            if field is None:
                given |= self.unknown(key, known, node, path)
                continue
            if field.name in given:
                self.report(key, _join(path, key.text), "the field is there twice", fix="Keep one of them.")
                continue
            given.add(field.name)
            self.field(message, field, value, _join(path, field.json_name))
        for key, value in node.twice:
            if key.text in known:
                self.aside().field(type(message)(), known[key.text], value, _join(path, key.text))
        for field in descriptor.fields:
            if form(field).required and field.name not in given | fixed:
                more = {"fix": f"Add {field.json_name}:."}
                self.report(node, _join(path, field.json_name), "the field is missing", **more)

    def aside(self) -> Walker:
        """For what counts for nothing but is read for its mistakes: it reports to the same, and keeps no places."""
        walker = Walker(self.services, self.title, self.guesses)
        walker.problems = self.problems
        return walker

    def unknown(self, key: Scalar, known: dict[str, FieldLike], node: Table, path: str) -> set[str]:
        """Report a field that isn't one. Returns the field that was probably meant: it isn't missing then."""
        free = {word: field for word, field in known.items() if word not in node.names}
        near = self.guesses.nearest(key.text, lambda: free) or self.guesses.nearest(key.text, lambda: known)
        limit = ", ".join(dict.fromkeys(field.json_name for field in known.values())) or "none"
        fix = ""
        if node.flow and key.plain and not near and any(char in key.text for char in "0123456789"):
            fix = "Put a text with commas in quotes: in {...} and [...] a comma begins the next member."
        self.report(key, _join(path, key.text[:60]), "unknown field", limit=limit, nearest=near, fix=fix)
        return {free[near].name} if near in free else set()

    def field(self, message: Message, field: FieldLike, node: Node, path: str) -> None:
        self.positions[path] = node.position
        if isinstance(node, Bad):
            return
        if field.is_repeated:
            if form(field).keyed_by:
                self.keyed(message, field, node, path)
            else:
                self.listing(message, field, node, path)
        elif field.message_type is not None:
            self.message(getattr(message, field.name), node, path)
        else:
            value = self.scalar(field, node, path)
            if value is not None:
                setattr(message, field.name, value)

    def listing(self, message: Message, field: FieldLike, node: Node, path: str) -> None:
        rules = form(field)
        if not isinstance(node, Listing):
            fix = QUOTE_V6 if is_ipv6_misread(node) else "Write a list: [a, b]."
            if isinstance(node, Scalar) and node.text and len(node.text) < 50:
                fix = f"Write a list: [{node.text}]."
            self.report(node, path, "not a list", fix=fix)
            return
        if len(node.items) < rules.least or (rules.most and len(node.items) > rules.most):
            limit = f"{rules.least} to {rules.most}" if rules.most else f"at least {rules.least}"
            self.report(node, path, f"{len(node.items)} members", limit=limit)
            if len(node.items) < rules.least:
                return
        values = getattr(message, field.name)
        there: set[Any] = set()
        for index, item in enumerate(node.items):
            at = f"{path}[{len(values)}]"
            before = self.positions.get(at)
            self.positions[at] = item.position
            if field.message_type is not None:
                self.message(values.add(), item, at)
                continue
            value = self.scalar(field, item, f"{path}[{index}]")
            if value is not None and value in there:
                text = shown(item.text) if isinstance(item, Scalar) else str(value)
                self.report(item, f"{path}[{index}]", f"{text} is there twice", fix="Keep one of them.")
                value = None
            if value is not None:
                there.add(value)
                values.append(value)
                if at != f"{path}[{index}]":
                    self.written[at] = f"{path}[{index}]"
            elif before is None:
                self.positions.pop(at, None)

    def keyed(self, message: Message, field: FieldLike, node: Node, path: str) -> None:
        """A list of messages that is written as a mapping: a key is the member's name."""
        key_field = form(field).keyed_by
        if isinstance(node, Scalar) and node.text == "" and node.plain:
            return
        if not isinstance(node, Table):
            self.report(node, path, "not a mapping", limit=f"a mapping from {key_field} to {field.message_type.name}")
            return
        for key, value in node.entries:
            here = f"{path}[{key.text[:60]}]"
            try:
                name(key.text)
            except FormatError as error:
                fix = "Put a text with commas in quotes." if node.flow else ""
                self.report(key, here, error.message, limit=error.limit, fix=fix)
                continue
            if isinstance(value, Bad):
                continue
            # The entry's line is where a person looks for the rule.
            self.positions[here] = value.position
            before = len(self.problems)
            members = getattr(message, field.name)
            self.message(members.add(), value, here, {key_field: key.text})
            if len(self.problems) > before:
                self.keep_references(members[-1], key_field)
        for key, value in node.twice:
            if not isinstance(value, Bad):
                member = getattr(type(message)(), field.name).add()
                self.aside().message(member, value, f"{path}[{key.text[:60]}]", {key_field: key.text})

    @staticmethod
    def keep_references(message: Message, key_field: str) -> None:
        """Of a member that is wrong, what it names still has to be there; nothing else of it counts."""
        for field in message.DESCRIPTOR.fields:
            if field.name != key_field and not form(field).refers:
                message.ClearField(field.name)

    def message(self, message: Message, node: Node, path: str, fixed: dict[str, str] | None = None) -> None:
        grammar = self.services.grammars.get(message.DESCRIPTOR.full_name)
        if grammar is not None and isinstance(node, Scalar):
            try:
                parsed, spans = grammar.parse(node.text)
            except FormatError as error:
                self.format_error(node, path, error)
                if error.partial is None:
                    return
                parsed, spans = error.partial
            message.CopyFrom(parsed)
            for field, span in spans.items():
                at = node.position
                self.positions[_join(path, field)] = at.inside(span.offset, span.length) if node.direct else at
        else:
            self.fill(message, node, path, frozenset(fixed or {}))
        for field_name, value in (fixed or {}).items():
            setattr(message, field_name, value)

    def format_error(self, node: Scalar, path: str, error: FormatError) -> None:
        at = node.position
        if node.direct:
            at = at.inside(error.offset, error.length or len(node.text) - error.offset)
        fix = error.fix
        if node.plain and node.text == "" and not fix:
            fix = "Give a value, or leave the field out."
        self.report(at, path, error.message, limit=error.limit, fix=fix, nearest=error.near)
        for other in error.more:
            self.format_error(node, path, other)

    def scalar(self, field: FieldLike, node: Node, path: str) -> Any:
        """The value of a scalar, or where it is wrong, which is reported, what is left of it, or None."""
        if isinstance(node, Bad):
            return None
        if not isinstance(node, Scalar):
            if is_ipv6_misread(node):
                word = node.entries[0][0].text if isinstance(node, Table) else ""
                self.report(node, path, f"YAML takes {word}: for a mapping", fix=QUOTE_V6)
            else:
                what = "a list" if isinstance(node, Listing) else "a mapping"
                self.report(node, path, f"{what} where one value is wanted", fix="Write one value.")
            return None
        try:
            return self.parser(field)(node.text)
        except FormatError as error:
            self.format_error(node, path, error)
            return error.rest

    def parser(self, field: FieldLike) -> Callable[[str], Any]:
        """What reads the text of a field."""
        rules = form(field)
        if field.type in _UNSIGNED:
            high = rules.high or (1 << _UNSIGNED[field.type]) - 1
            return lambda text: number(text, rules.low, high, "a number")
        if field.type == FieldDescriptor.TYPE_BOOL:
            return _boolean
        if field.type == FieldDescriptor.TYPE_ENUM:
            return lambda text: _enumeration(field, text)
        if field.type != FieldDescriptor.TYPE_STRING:
            raise NotImplementedError(f"{field.full_name} has a type that no intent can hold")
        if rules.format:
            return self.services.formats[rules.format]
        return name if rules.refers else _text


def _text(text: str) -> str:
    if len(text) > 4096:
        raise FormatError(f"{shown(text)} is too long", limit="4096 characters")
    return text


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise FormatError(f"{shown(text)} is neither true nor false", limit="true or false")
    return text == "true"


def _enumeration(field: FieldLike, text: str) -> int:
    unset = form(field).required
    words = {value.name.lower(): value.number for value in field.enum_type.values if value.number or not unset}
    if text.lower() not in words:
        limit = ", ".join(words)
        raise FormatError(f"{shown(text)} is not a {field.json_name}", limit=limit, near=nearest(text, words))
    return int(words[text.lower()])


def _names(descriptor: Any) -> Iterator[str]:
    yield from (field.json_name for field in descriptor.fields)


def _join(path: str, field: str) -> str:
    return f"{path}.{field}" if path else field
