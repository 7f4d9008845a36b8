"""How a twin is broken: one of its parts is replaced by a subclass that does one thing wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeVar
from unittest import mock

from hal.errors import ErrorKind, HalError
from hal.packet.contract import Backend, LoadConfig
from hal.packet.model import store as store_module
from hal.packet.model.chain import Chain
from hal.packet.model.check import check_rows, raw_bytes
from hal.packet.model.counters import CounterSet, EventRing
from hal.packet.model.device import TwinDevice
from hal.packet.model.flows import FlowTable
from hal.packet.model.fragments import Fragments
from hal.packet.model.neighbours import Neighbours
from hal.packet.model.path import PathShard
from hal.packet.model.path.deciding import Deciding
from hal.packet.model.path.errors import Errors
from hal.packet.model.path.ledger import Ledger
from hal.packet.model.path.limits import Limits
from hal.packet.model.path.meeting import Meetings
from hal.packet.model.path.sending import Sending
from hal.packet.model.path.told import Told
from hal.packet.model.path.wire import Wire
from hal.packet.model.store import Draft, Store
from hal.packet.model.twin import Twin, TwinWriter
from hal.packet.schema.rows import Rows
from tests.conformance.broken.line import Line, connect, line_of

WITHOUT_CODE = "tests.conformance.without_code"
"""A stage that is declared and has no code, so that refusing it is tested."""

OF_A_SHARD: dict[str, type] = {
    "flows": FlowTable,
    "counters": CounterSet,
    "events": EventRing,
    "fragments": Fragments,
    "neighbours": Neighbours,
    "wire": Wire,
    "ledger": Ledger,
    "limits": Limits,
    "errors": Errors,
    "told": Told,
    "meetings": Meetings,
    "deciding": Deciding,
    "sending": Sending,
}
"""What a shard is made of, by the names that it has there."""

PARTS = (Line, Twin, Store, Draft, Chain, PathShard, *OF_A_SHARD.values())


@dataclass(frozen=True)
class Break:
    """What is wrong, in words, and the parts that make it so."""

    words: str
    parts: dict[type, type] = field(default_factory=dict)
    checker: Callable[[Rows], Any] = check_rows
    """In place of `check_rows`."""
    around: Callable[[], AbstractContextManager[Any]] = nullcontext
    """Entered while the kit runs."""


Breaks = dict[str, Break]
T = TypeVar("T", bound=type)


def breaks(into: Breaks, check: str) -> Callable[[T], T]:
    """Register a subclass of one of PARTS as what breaks `check`."""

    def registered(part: T) -> T:
        whole = next(one for one in PARTS if issubclass(part, one))
        into[check] = Break(part.__doc__ or "", {whole: part})
        return part

    return registered


def blind(table: str, field_ends: str = "", field_begins: str = "") -> Callable[[Rows], Any]:
    """A check of rows that doesn't see what is wrong with some fields of a table ("": of any)."""

    def checked(rows: Rows) -> Any:
        try:
            return check_rows(rows)
        except HalError as error:
            its_table = table in ("", error.table)
            if its_table and error.field.endswith(field_ends) and error.field.startswith(field_begins):
                return raw_bytes(rows)
            raise

    return checked


def stale(what: str) -> HalError:
    return HalError(ErrorKind.STALE, what)


class BrokenDevice(TwinDevice):
    """Twins that are broken in one thing, or in none."""

    stages = (WITHOUT_CODE,)

    def __init__(self, how: Break | None = None) -> None:
        self.how = how or Break("nothing")

    @property
    def name(self) -> str:
        return f"twin broken in: {self.how.words}"

    def open(self) -> Twin:
        twin: Twin = self._part(Twin)(self.stages)
        twin.chain.__class__ = self._part(Chain)
        load, path = twin.load, twin._path

        def loaded(config: LoadConfig) -> None:
            load(config)
            twin.store.__class__ = self._store()

        def made(*arguments: Any, **more: Any) -> PathShard:
            shard: PathShard = path(*arguments, **more)
            shard.__class__ = self._part(PathShard)
            for name, whole in OF_A_SHARD.items():
                getattr(shard, name).__class__ = self._part(whole)
            return shard

        vars(twin).update(load=loaded, _path=made)
        connect(twin, self._part(Line)())
        return twin

    def hang(self, backend: Backend) -> AbstractContextManager[None]:
        return line_of(backend).faulty(ErrorKind.TIMEOUT)

    def cut(self, backend: Backend) -> AbstractContextManager[None]:
        return line_of(backend).faulty(ErrorKind.LOST)

    def kill(self, backend: Backend) -> None:
        line_of(backend).dead = True

    def damages(self, backend: Backend) -> Mapping[str, AbstractContextManager[None]]:
        return line_of(backend).damages()

    def _part(self, whole: type[Any]) -> Any:
        return self.how.parts.get(whole, whole)

    def _store(self) -> type[Store]:
        """The store; where a draft or the check of rows is broken, one that builds with those."""
        store, draft, checker = self._part(Store), self._part(Draft), self.how.checker
        if draft is Draft and checker is check_rows:
            return store  # type: ignore[no-any-return]

        class Builder(store):  # type: ignore[misc, valid-type]
            def _build(self, *arguments: Any) -> Any:
                with mock.patch.multiple(store_module, Draft=draft, check_rows=checker):
                    return super()._build(*arguments)

        return Builder


class Handle:
    """A writer that does one thing otherwise; what isn't overridden is the twin's."""

    def __init__(self, writer: TwinWriter) -> None:
        self._writer = writer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)


__all__ = ["PARTS", "Break", "Breaks", "BrokenDevice", "Handle", "blind", "breaks", "stale"]
