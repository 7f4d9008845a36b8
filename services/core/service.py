"""What a service is, and how services are found.

A service is a package with `SERVICE`, a value of the class below, made known by an entry point of the group
`dsn.services` (ours too) or by `--with DIR`. It says which objects there are, how they are written, and what they
mean as table entries; it does no I/O and keeps no state.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from google.protobuf.message import Message

from hal.errors import ErrorKind, HalError
from hal.packet.contract import Counters, Neighbour, PortState, Reader
from hal.packet.schema.registry import make_known
from services.core import formats
from services.core.formats import Format
from services.core.objects import Object, Objects, Problem

if TYPE_CHECKING:
    from services.core.plan import Context, Plan, Planned

T = TypeVar("T")


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
    """A kind of object, by its message and that of its status; it is called as its message is."""

    message: type[Message]
    status: type[Message]

    @property
    def name(self) -> str:
        return self.message.DESCRIPTOR.name


@dataclass(frozen=True, eq=False)
class View:
    """What a card says about itself at one moment, for the status of objects.

    Args:
        plan: the plan that was applied: which entries an object has.
        counters: after `settle`.
        ports: the card's ports as they are.
        neighbours: who is known on its uplinks; None where the card doesn't tell.
    """

    plan: Plan
    counters: Counters
    ports: Mapping[str, PortState] = field(default_factory=dict)
    neighbours: Sequence[Neighbour] | None = None
    _made: dict[Callable[..., Any], Any] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of(cls, plan: Plan, card: Reader) -> View:
        """The card as it is now, with what sessions have counted so far. Raises HalError."""
        card.settle()
        ports = {port.config.name: port for port in card.capabilities().ports}
        try:
            neighbours = card.neighbours()
        except HalError as error:
            if error.kind is not ErrorKind.UNSUPPORTED:
                raise
            neighbours = None  # a backend without, or an engine of the release before
        return cls(plan, card.counters(), ports, neighbours)

    def row_id(self, item: Object[Message], table: str) -> int:
        """The id of an object's entry in a table where it has one; 0 where it has none."""
        return next((row_id for _, row_id, _ in self.plan.entries(item, table)), 0)

    def traffic(self, items: Iterable[Object[Message]]) -> dict[str, int]:
        """What rows of table vnic of these objects have counted together: rx_packets, rx_bytes, tx_packets, tx_bytes,
        drops."""
        rows = [row_id for item in items for _, row_id, _ in self.plan.entries(item, "vnic")]
        counted = [self.counters.vnics.get(row_id, {}) for row_id in rows]
        return {name: sum(one.get(name, 0) for one in counted) for name in TRAFFIC}

    def has_link(self, port: str) -> bool:
        """Whether the card has this port, and it has link."""
        return port in self.ports and self.ports[port].link

    @cached_property
    def neighbours_by_uplink(self) -> Mapping[int, Mapping[str, Sequence[Neighbour]]]:
        """Id of an uplink's row -> address -> what each worker that knows it says."""
        found: dict[int, dict[str, list[Neighbour]]] = {}
        for one in self.neighbours or ():
            found.setdefault(one.uplink, {}).setdefault(one.address, []).append(one)
        return found

    def once(self, make: Callable[[Objects, View], T], objects: Objects) -> T:
        """What `make` finds out for all objects together: it is asked once a view, not once an object."""
        if make not in self._made:
            self._made[make] = make(objects, self)
        found: T = self._made[make]
        return found


TRAFFIC: Final = ("rx_packets", "rx_bytes", "tx_packets", "tx_bytes", "drops")
"""Counters of a row of table vnic."""


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
