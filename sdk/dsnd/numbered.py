"""A writer that knows the transaction of its last commit."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from hal.packet.contract import FlowFilter, Name, Operation, Outcome, OutcomeKind, Staged, Writer


class NumberedWriter:
    """A `Writer` whose last commit can be asked for: after LOST or TIMEOUT nobody has to guess."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self.last: int | None = None

    @property
    def owner(self) -> str:
        return self._writer.owner

    def commit(
        self,
        operations: Sequence[Operation],
        *,
        base: int | None = None,
        transaction: int | None = None,
        tag: str = "",
        depends: Sequence[tuple[str, int]] = (),
        names: Sequence[Name] = (),
    ) -> int:
        self.last = transaction if transaction is not None else secrets.randbits(64)
        return self._writer.commit(operations, base=base, transaction=self.last, tag=tag, depends=depends, names=names)

    def went_through(self) -> int | None:
        """The generation that the last commit became, None where nothing of it is or will be. Raises HalError where
        the engine doesn't say."""
        if self.last is None:
            return None
        outcome = self.outcome(self.last)
        return outcome.generation if outcome.kind is OutcomeKind.COMMITTED else None

    def outcome(self, transaction: int) -> Outcome:
        return self._writer.outcome(transaction)

    def stage(
        self,
        operations: Sequence[Operation],
        *,
        base: int | None = None,
        tag: str = "",
        lease_ns: int = 10_000_000_000,
        names: Sequence[Name] = (),
    ) -> Staged:
        return self._writer.stage(operations, base=base, tag=tag, lease_ns=lease_ns, names=names)

    def forget(self, which: FlowFilter) -> int:
        return self._writer.forget(which)
