"""Wrong about commits that are staged."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hal.errors import ErrorKind, HalError
from hal.packet.contract import LONGEST_LEASE_NS
from hal.packet.model.store import Stage, Store
from hal.packet.model.twin import Twin
from tests.conformance.broken.parts import Breaks, Handle, breaks, stale

BREAKS: Breaks = {}


@breaks(BREAKS, "staging_changes_nothing")
class TagsAtOnce(Store):
    """the tag of a staged commit is seen at once"""

    def stage(self, owner: str, operations: Any, *, tag: str, **more: Any) -> Stage:
        staged = super().stage(owner, operations, tag=tag, **more)
        if tag:
            self.current = replace(self.current, tag=tag)
        return staged


@breaks(BREAKS, "a_staged_commit_is_made")
class NamesNotMade(Store):
    """names of a staged commit are lost"""

    def make(self, stage: Stage) -> int:
        stage.version = replace(stage.version, names={})
        return super().make(stage)


@breaks(BREAKS, "a_staged_commit_is_dropped")
class NeverDropped(Store):
    """what was dropped can still be made"""

    def drop(self, stage: Stage) -> None:
        del stage


@breaks(BREAKS, "a_staged_commit_is_made_once")
class MadeTwice(Store):
    """what was made can be made again"""

    def make(self, stage: Stage) -> int:
        if stage in vars(self).setdefault("made", []):
            return self.commit(stage.owner, (), base=None, transaction=None, tag="", depends=(), names=())
        generation = super().make(stage)
        vars(self)["made"].append(stage)
        return generation


@breaks(BREAKS, "only_one_is_staged")
class BusyWithoutWords(Store):
    """who stages beside another isn't told for how long"""

    def stage(self, owner: str, operations: Any, **more: Any) -> Stage:
        try:
            return super().stage(owner, operations, **more)
        except HalError as error:
            if error.kind is not ErrorKind.BUSY:
                raise
            raise HalError(ErrorKind.BUSY, "staged commit", limit="one at a time") from error


@breaks(BREAKS, "each_owner_stages_its_own")
class OneForAll(Store):
    """one is staged at a time, whoever staged it"""

    def stage(self, owner: str, operations: Any, **more: Any) -> Stage:
        if any(one.owner != owner for one in self._staged.values()):
            raise HalError(ErrorKind.BUSY, "staged commit", limit="one at a time")
        return super().stage(owner, operations, **more)


@breaks(BREAKS, "staging_refuses_as_commit_does")
class StagesTooMuch(Store):
    """what is FULL is found only when it is made"""

    def stage(self, owner: str, operations: Any, **more: Any) -> Stage:
        try:
            return super().stage(owner, operations, **more)
        except HalError as error:
            if error.kind is not ErrorKind.FULL:
                raise
            return Stage(owner, tuple(operations), "", (), self.current_generation, self.current, 0)


@breaks(BREAKS, "a_staged_commit_may_be_stale")
class NeverStale(Store):
    """what was staged is made over whatever came since"""

    def make(self, stage: Stage) -> int:
        stage.base = self.current_generation
        return super().make(stage)


@breaks(BREAKS, "others_make_nothing_staged_stale")
class AlwaysStale(Store):
    """anyone's commit makes what is staged stale"""

    def commit(self, owner: str, operations: Any, **more: Any) -> int:
        vars(self)["committed"] = super().commit(owner, operations, **more)
        return self.generation

    def make(self, stage: Stage) -> int:
        if vars(self).get("committed", 0) > stage.base:
            raise stale("staged commit")
        return super().make(stage)


@breaks(BREAKS, "a_lease_ends")
class EndlessLease(Store):
    """short leases don't end"""

    def stage(self, owner: str, operations: Any, *, lease_ns: int, **more: Any) -> Stage:
        staged = super().stage(owner, operations, lease_ns=lease_ns, **more)
        if lease_ns < 1_000_000_000:
            staged.ends_ns = 1 << 62
        return staged


@breaks(BREAKS, "a_lease_has_a_limit")
class AnyLease(Store):
    """leases are cut to what is allowed"""

    def stage(self, owner: str, operations: Any, *, lease_ns: int, **more: Any) -> Stage:
        return super().stage(owner, operations, lease_ns=min(lease_ns, LONGEST_LEASE_NS), **more)


@breaks(BREAKS, "a_staged_commit_goes_with_its_connection")
class StagedForever(Twin):
    """a writer that is closed leaves what it staged"""

    def writer(self, owner: str = "dsnd") -> Any:
        class Closing(Handle):
            def close(self) -> None:
                pass

        return Closing(super().writer(owner))


__all__ = ["BREAKS"]
