"""The loader of intent: files of YAML become objects, or everything that is wrong with them at once."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from google.protobuf.message import Message

from services.core import document
from services.core.document import BOM, Bad, Listing, Node, Scalar, SourceText, Table
from services.core.formats import FormatError, name
from services.core.objects import MAX_PROBLEMS, NOWHERE, Guesses, IntentError, Object, Objects, Position, Problem
from services.core.plan import Context
from services.core.references import dangling
from services.core.service import Services
from services.core.walk import Walker

STDIN: Final = "<stdin>"
"""What standard input is called, in problems and as a file of a stored intent."""
_TOP: Final = ("kind", "name", "labels", "spec")


@dataclass(frozen=True)
class Source:
    """One file of an intent: what it is called, its bytes, and the set that its objects belong to, "" for none."""

    file: str
    data: bytes
    set: str = ""


@dataclass(frozen=True)
class Intent:
    """What was read: the objects (the defaults of services included) and what is wrong with them."""

    objects: Objects
    problems: tuple[Problem, ...] = ()

    @property
    def errors(self) -> tuple[Problem, ...]:
        return tuple(problem for problem in self.problems if not problem.warning)

    @property
    def warnings(self) -> tuple[Problem, ...]:
        return tuple(problem for problem in self.problems if problem.warning)

    def require(self) -> Objects:
        """The objects. Raises IntentError if there is an error."""
        if self.errors:
            raise IntentError(self.problems, self.objects)
        return self.objects


def sources(paths: Iterable[Path | str]) -> list[Source]:
    """The files that paths name; a folder stands for all .yaml and .yml files below it, by name, and "-" for standard
    input, called <stdin>.

    Raises:
        IntentError: a path that isn't there or can't be read, a folder without such files, "-" twice.
    """
    found: list[Source] = []
    problems: list[Problem] = []
    for path in (Path(path) for path in paths):
        files = [path]
        if path == Path("-"):
            if any(one.file == STDIN for one in found):
                problems.append(_about(STDIN, "standard input is named twice", fix="Name it once."))
            else:
                found.append(Source(STDIN, sys.stdin.buffer.read(document.MAX_BYTES + 1)))
            continue
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if file.suffix in (".yaml", ".yml") and file.is_file())
            if not files:
                problems.append(_about(path, "no .yaml file in this folder", fix="Name a file of the intent."))
        for file in files:
            try:
                if unlike := _no_file(file):
                    fix = "Name a file; what another program writes is read from /dev/stdin."
                    problems.append(_about(file, f"it is a {unlike}", fix=fix))
                    continue
                with file.open("rb") as stream:
                    found.append(Source(_called(file), stream.read(document.MAX_BYTES + 1)))
            except OSError as error:
                problems.append(_about(file, error.strerror or str(error), fix="Name a file that can be read."))
    if problems:
        raise IntentError(problems)
    return found


def _no_file(path: Path) -> str:
    """What stands there instead of a file, where reading it might never end: "" for a file, and for a pipe or terminal
    that this program was given, as in `dsn check /dev/stdin` and `dsn check <(program)`. Raises OSError."""
    mode = path.stat().st_mode
    if stat.S_ISFIFO(mode):
        return "" if os.path.realpath(path).startswith("/proc/") else "named pipe"
    if stat.S_ISCHR(mode):
        with path.open("rb", buffering=0) as stream:
            return "" if stream.isatty() else "device"
    return "socket" if stat.S_ISSOCK(mode) else "device" if stat.S_ISBLK(mode) else ""


def _called(path: Path) -> str:
    """A file's name as text that can be stored and sent: a byte of it that is no UTF-8 stands as `\\xff`."""
    return os.fsencode(path).decode(errors="backslashreplace")


def _about(path: Path | str, message: str, fix: str) -> Problem:
    return Problem(Position(str(path), 0, 0), message, fix=fix)


def with_set(before: Iterable[Source], files: Iterable[Source], name: str) -> list[Source]:
    """What an intent is once `files` are the whole of the set `name`; without a name they are all of it."""
    if not name:
        return list(files)
    kept = [source for source in before if source.set != name]
    return [*kept, *(dataclasses.replace(source, set=name) for source in files)]


def digest(files: Iterable[Source]) -> str:
    """SHA-256 over names and bytes of the files, in hexadecimal: what an intent is known by."""
    total = hashlib.sha256()
    for source in files:
        for part in (source.file.encode(), source.data):
            total.update(len(part).to_bytes(8, "big") + part)
    return total.hexdigest()


def load(files: Sequence[Source], services: Services, context: Context | None = None) -> Intent:
    """Read an intent. With the context of a card, its ports are held against it too. Raises nothing."""
    texts = [document.read(source.data, source.file) for source in files]
    reader = _Reader(services)
    for source, text in zip(files, texts, strict=True):
        reader.set = source.set
        reader.problems += text.problems
        for found in text.documents:
            reader.document(found)
    objects = Objects(reader.objects.values(), reader.ghosts).with_defaults(services.defaults)
    problems = [*reader.problems, *dangling(objects)]
    if not reader.objects and not problems:
        at = Position(files[0].file if files else "", 0, 0)
        problems.append(Problem(at, "no object is declared: applied, this takes away all there is", warning=True))
    for service in services.members:
        problems += service.check(objects, context)
    if any(not problem.warning for problem in problems):
        # A mistake makes doubtful what isn't: a misspelt policy is one error, and no missing policy as well.
        problems = [problem for problem in problems if not problem.warning]
    return Intent(objects, tuple(_finished(problems, texts)))


def with_excerpts(problems: Iterable[Problem], files: Iterable[Source]) -> list[Problem]:
    """Problems that planning found, with the lines that they speak of."""
    problems = list(problems)
    wanted = {problem.position.file for problem in problems if problem.position.line and not problem.excerpt}
    texts = {
        source.file: document.Lines(source.data.removeprefix(BOM).decode(errors="replace"))
        for source in files
        if source.file in wanted
    }
    return [
        dataclasses.replace(problem, excerpt=texts[at.file].excerpt(at.line, at.column))
        if (at := problem.position).file in texts and not problem.excerpt
        else problem
        for problem in problems
    ]


def _finished(problems: list[Problem], texts: Sequence[SourceText]) -> Iterator[Problem]:
    """Problems by file and line with their excerpts, not more than a person reads."""
    rank = {text.file: number for number, text in enumerate(texts)}
    by_file = {text.file: text for text in texts}
    problems.sort(key=lambda one: (rank.get(one.position.file, -1), one.position.line, one.position.column))
    for problem in problems[:MAX_PROBLEMS]:
        text = by_file.get(problem.position.file)
        at = problem.position
        yield dataclasses.replace(problem, excerpt=text.excerpt(at.line, at.column)) if text else problem
    if len(problems) > MAX_PROBLEMS:
        rest = problems[MAX_PROBLEMS:]
        message = f"{len(rest):,} more problems are not shown"
        yield Problem(NOWHERE, message, warning=all(problem.warning for problem in rest))


class _Reader:
    """Turns documents into objects; collects what is wrong."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.set = ""
        self.title = ""
        self.objects: dict[tuple[str, str], Object[Message]] = {}
        self.ghosts: set[tuple[str, str]] = set()
        self.guesses = Guesses()
        self.problems: list[Problem] = []

    def report(self, at: Node | Position, message: str, **more: Any) -> None:
        more.setdefault("object", self.title)
        self.problems.append(Problem(at if isinstance(at, Position) else at.position, message, **more))

    def document(self, found: document.Document) -> None:
        self.title = ""
        if found.root is None:
            if found.ghost[1]:
                self.ghosts.add(found.ghost)
            return
        if isinstance(found.root, Bad):
            return
        if not isinstance(found.root, Table):
            limit = "a mapping with kind, name and spec"
            self.report(found.root, "a document is not an object", limit=limit)
            return
        self.object(found.root)

    def object(self, root: Table) -> None:
        words = {key.text: value.text for key, value in root.entries if isinstance(value, Scalar)}
        self.title = f"{words.get('kind', '')[:60]} {words.get('name', '')[:60]}".strip()
        fields = dict(self.top_fields(root))
        kind = self.word(root, fields, "kind")
        title = self.word(root, fields, "name")
        is_name = title is not None
        if title is not None:
            try:
                name(title.text)
            except FormatError as error:
                at = title.position
                what = f"{kind.text} " if kind else ""
                self.report(at, error.message, limit=error.limit, object=what.strip(), field="name")
                is_name = False
        labels = dict(self.labels(fields["labels"])) if "labels" in fields else {}
        if kind is None or kind.text not in self.services.kinds:
            if kind is not None and kind.text not in self.services.kinds:
                kinds = sorted(self.services.kinds)
                message = f"the kind {kind.text[:60]!r} isn't known"
                near = self.guesses.nearest(kind.text, lambda: kinds)
                shown = title.text if title and is_name else ""
                self.report(kind, message, limit=", ".join(kinds), nearest=near, object=shown, field="kind")
            if title is not None and is_name:
                self.ghosts.add(("", title.text))
            return
        # Under a name that is none it is read all the same: what else is wrong with it is told at once.
        stand_in = title if title is None or is_name else dataclasses.replace(title, text=title.text[:60])
        self.known_object(root, fields.get("spec"), kind.text, stand_in, labels, is_name)

    def known_object(
        self, root: Table, spec: Node | None, kind: str, title: Scalar | None, labels: dict[str, str], is_name: bool
    ) -> None:
        """An object of a known kind. `title`: None or not `is_name` where its name was reported."""
        walker = Walker(self.services, f"{kind} {title.text}" if title is not None else kind, self.guesses)
        message = self.services.kinds[kind].message()
        if isinstance(spec, Bad):
            if title is not None:
                self.ghosts.add((kind, title.text))
            return
        if isinstance(spec, Scalar) and spec.text == "" and spec.plain:
            spec = Table(spec.position)
        walker.fill(message, spec if spec is not None else Table(root.position), "")
        self.problems += walker.problems
        if title is None:
            return
        key = (kind, title.text)
        if key in self.objects and not is_name:
            return
        if key in self.objects:
            first, other = self.objects[key].position, self.objects[key].set
            text = f"declared already at {first.file}:{first.line}"
            if other != self.set:
                text += f" of the set {other}" if other else ", which is of no set"
            self.report(title, text, object=f"{kind} {title.text}", field="name", fix="Rename or remove one of them.")
            return
        self.objects[key] = Object(
            kind, title.text, message, labels, title.position, walker.positions, self.set, walker.written
        )

    def top_fields(self, root: Table) -> Iterator[tuple[str, Node]]:
        for key, value in root.entries:
            if key.text in _TOP:
                yield key.text, value
                continue
            near = self.guesses.nearest(key.text, lambda: [word for word in _TOP if word not in root.names])
            limit = "kind, name, labels, spec"
            self.report(key, f"unknown field {key.text[:60]!r}", limit=limit, nearest=near, field=key.text[:60])
            if near:
                yield near, Bad(value.position)

    def word(self, root: Table, fields: dict[str, Node], field: str) -> Scalar | None:
        """A top field that is a word; None where it was wrong, which is reported."""
        value = fields.get(field)
        if isinstance(value, Scalar) and value.text:
            return value
        if value is None:
            self.report(root, f"the object has no {field}", limit="kind, name and spec", fix=f"Add {field}:.")
        elif not isinstance(value, Bad):
            self.report(value, f"{field} is not a word", field=field, fix="Write one word.")
        return None

    def labels(self, node: Node) -> Iterator[tuple[str, str]]:
        if isinstance(node, Bad):
            return
        if not isinstance(node, Table):
            self.report(node, "labels are not a mapping", field="labels", limit="words by names")
            return
        for key, value in node.entries:
            if isinstance(value, Scalar) and len(value.text) <= 63 and len(key.text) <= 63:
                yield key.text, value.text
            elif isinstance(value, Listing | Table | Scalar):
                self.report(value, f"the label {key.text[:60]} is not a word", field="labels", limit="63 characters")
