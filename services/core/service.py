"""What a service is, and how services are found.

A service is a package with `SERVICE`, a value of the class below, made known by an entry point of the group
`dsn.services` (ours too) or by `--with DIR`. It says which objects there are, how they are written, and what they
mean as table entries; it does no I/O and keeps no state.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from google.protobuf.message import Message

from hal.errors import ErrorKind, HalError
from hal.packet.contract import Counters, PortState
from hal.packet.schema.registry import make_known
from services.core import formats
from services.core.formats import Format
from services.core.objects import Object, Objects, Problem

if TYPE_CHECKING:
    from services.core.plan import Context, Plan, Planned


@dataclass(frozen=True)
class Span:
    """A place inside a text form."""

    offset: int
    length: int


@dataclass(frozen=True)
class Grammar:
    """The text form of a message: `print` is the exact inverse of `parse`.

    Args:
        parse: text -> message and the places of its fields, by their paths ("from[1]"); raises FormatError, with all
            else that is wrong as its `more`.
        print: message -> the one line that means it.
        pattern: what a line looks like, for people.
    """

    parse: Callable[[str], tuple[Message, Mapping[str, Span]]]
    print: Callable[[Message], str]
    pattern: str


@dataclass(frozen=True)
class Kind:
    """A kind of object; it is called as its message is. `doc` is one sentence for `dsn show` and `dsn schema`."""

    message: type[Message]
    status: type[Message]

    @property
    def name(self) -> str:
        return self.message.DESCRIPTOR.name


@dataclass(frozen=True)
class View:
    """What a card says about itself at one moment, for the status of objects.

    Args:
        plan: the plan that was applied: which entries an object has.
        counters: after `settle`.
        ports: the card's ports as they are.
    """

    plan: Plan
    counters: Counters
    ports: Mapping[str, PortState] = field(default_factory=dict)


def _no_problems(_objects: Objects, _context: Context | None) -> Iterable[Problem]:
    return ()


@dataclass(frozen=True)
class Service:
    """A service.

    Args:
        name: the folder's name.
        kinds: its objects.
        plan: objects -> table entries. Pure: same objects and context, same entries.
        status: what an object of its kinds has come to; a message of the kind's status type.
        check: what is wrong with its objects beyond what their fields say; without context where no card's
            configuration is known. It says nothing of fields that are empty: those were reported.
        defaults: objects that are there unless an intent declares them otherwise.
        grammars: full name of a message -> its text form.
        formats: formats of strings that it brings.
        words: kind -> an object's one line in `show` and `plan`.
        after: services that plan before it does.
    """

    name: str
    kinds: tuple[Kind, ...]
    plan: Callable[[Objects, Context], Planned]
    status: Callable[[Object[Message], Objects, View], Message]
    check: Callable[[Objects, Context | None], Iterable[Problem]] = _no_problems
    defaults: tuple[Object[Message], ...] = ()
    grammars: Mapping[str, Grammar] = field(default_factory=dict)
    formats: Mapping[str, Format] = field(default_factory=dict)
    words: Mapping[str, Callable[[Message], str]] = field(default_factory=dict)
    after: tuple[str, ...] = ()


@dataclass(frozen=True)
class Services:
    """The services there are, in the order in which they plan."""

    members: tuple[Service, ...]

    @cached_property
    def kinds(self) -> dict[str, Kind]:
        return {kind.name: kind for service in self.members for kind in service.kinds}

    @cached_property
    def by_kind(self) -> dict[str, Service]:
        return {kind.name: service for service in self.members for kind in service.kinds}

    @cached_property
    def grammars(self) -> dict[str, Grammar]:
        return {name: grammar for service in self.members for name, grammar in service.grammars.items()}

    @cached_property
    def formats(self) -> dict[str, Format]:
        return dict(formats.FORMATS) | {
            name: parse for service in self.members for name, parse in service.formats.items()
        }

    @cached_property
    def defaults(self) -> tuple[Object[Message], ...]:
        return tuple(item for service in self.members for item in service.defaults)

    def status(self, item: Object[Message], objects: Objects, view: View) -> Message:
        """The status message of one object."""
        return self.by_kind[item.kind].status(item, objects, view)


def order(members: Iterable[Service]) -> tuple[Service, ...]:
    """Services so that each comes behind those it names in `after`, else by name.

    Raises:
        HalError: INVALID for two services or kinds of one name, a circle, or a missing service.
    """
    waiting = {service.name: service for service in sorted(members, key=lambda service: service.name)}
    kinds: dict[str, str] = {}
    for service in waiting.values():
        for kind in service.kinds:
            if kind.name in kinds:
                raise HalError(ErrorKind.INVALID, f"kind {kind.name}", got=f"{kinds[kind.name]} and {service.name}",
                               limit="of one service", fix="Rename one of the two.")  # fmt: skip
            kinds[kind.name] = service.name
    done: list[Service] = []
    while waiting:
        names = {service.name for service in done}
        ready = [service for service in waiting.values() if names.issuperset(service.after)]
        if not ready:
            raise HalError(ErrorKind.INVALID, f"service {next(iter(waiting))}", field="after",
                           limit="services that are there, without a circle")  # fmt: skip
        done.append(waiting.pop(ready[0].name))
    return tuple(done)


def load(package: str) -> Service:
    """The service in this Python package. Raises HalError(INVALID)."""
    try:
        found = getattr(importlib.import_module(package), "SERVICE", None)
    except ImportError as error:
        raise HalError(
            ErrorKind.INVALID, f"service {package}", got=str(error), limit="a package that imports"
        ) from error
    if not isinstance(found, Service):
        raise HalError(
            ErrorKind.INVALID, f"service {package}", field="SERVICE", limit="a services.core.service.Service"
        )
    return found


def load_folder(folder: Path) -> Service | None:
    """The service in a folder that isn't installed (`--with DIR`), None if it holds none; a stage in it is made known
    to the packet path. Raises HalError(INVALID)."""
    folder = folder.resolve()
    has_stage = (folder / "schema.py").is_file()
    if not has_stage and not (folder / "__init__.py").is_file():
        raise HalError(ErrorKind.INVALID, f"folder {folder}", limit="a Python package with SERVICE, or with schema.py",
                       fix="Name the folder of a service or stage itself; dsn new stage NAME begins one.")  # fmt: skip
    if str(folder.parent) not in sys.path:
        sys.path.append(str(folder.parent))  # at the end: what lies beside it hides nothing
    try:
        module = importlib.import_module(folder.name)
    except Exception as error:  # whatever its author's code raises is the author's to know
        raise HalError(ErrorKind.INVALID, f"folder {folder}", got=f"{type(error).__name__}: {error}",
                       limit="a package that imports") from error  # fmt: skip
    if folder not in (Path(place).resolve() for place in module.__path__):
        raise HalError(ErrorKind.INVALID, f"folder {folder}", got=f"another package: {module.__file__}",
                       limit="a name that no other package has", fix="Rename the folder.")  # fmt: skip
    if has_stage:
        make_known(folder.name)
    return load(folder.name) if hasattr(module, "SERVICE") else None


def discover(folders: Iterable[Path] = ()) -> Services:
    """The services that are installed, and those in `folders`. Raises HalError(INVALID)."""
    packages = sorted({point.value for point in entry_points(group="dsn.services")})
    members = [load(package) for package in packages]
    members += [service for folder in folders if (service := load_folder(folder)) is not None]
    return Services(order(members))
