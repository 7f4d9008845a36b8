"""Wrong about writers: whose base and dependence changed, who is told an outcome, who has which generation."""

from __future__ import annotations

import threading
import time
from typing import Any

from hal.packet.contract import Generation, Outcome, OutcomeKind
from hal.packet.model.store import Store
from hal.packet.model.twin import Twin
from tests.conformance.broken.parts import Breaks, Handle, breaks

BREAKS: Breaks = {}


@breaks(BREAKS, "a_base_to_come_is_stale")
class FutureBases(Store):
    """a base from the future is the generation that is there"""

    def _check_base(self, owner: str, base: Generation | None, depends: Any) -> None:
        ahead = base is not None and base.life == self.life and base > self.generation
        super()._check_base(owner, None if ahead else base, depends)


@breaks(BREAKS, "a_dependence_that_came_back_is_stale")
class Reborn(Store):
    """a row that was taken out and put back counts as unchanged"""

    def _check_base(self, owner: str, base: Generation | None, depends: Any) -> None:
        born = self.current.tables.born
        kept = [place for place in depends if base is None or born(*place) <= base]
        super()._check_base(owner, base, kept)


@breaks(BREAKS, "outcomes_are_told_to_any_writer")
class OwnRefusals(Twin):
    """that a commit was refused only the connection knows that it came by"""

    def writer(self, owner: str = "dsnd") -> Any:
        class Own(Handle):
            def __init__(self, writer: Any) -> None:
                super().__init__(writer)
                self._sent: set[int | None] = set()

            def commit(self, operations: Any, *, transaction: int | None = None, **more: Any) -> Generation:
                self._sent.add(transaction)
                made: Generation = self._writer.commit(operations, transaction=transaction, **more)
                return made

            def outcome(self, transaction: int) -> Outcome:
                found = self._writer.outcome(transaction)
                other = found.kind is OutcomeKind.REFUSED and transaction not in self._sent
                return Outcome(OutcomeKind.UNKNOWN) if other else found

        return Own(super().writer(owner))


@breaks(BREAKS, "writers_take_turns")
class LatestGeneration(Twin):
    """whoever commits while another does is told the latest generation, his or not"""

    def writer(self, owner: str = "dsnd") -> Any:
        store = self.store

        class Hasty(Handle):
            def commit(self, operations: Any, **more: Any) -> Generation:
                made: Generation = self._writer.commit(operations, **more)
                if threading.current_thread() is threading.main_thread():
                    return made
                time.sleep(0.0005)
                return store.current_generation

        return Hasty(super().writer(owner))


__all__ = ["BREAKS"]
