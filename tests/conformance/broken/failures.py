"""Wrong about what becomes of a commit without answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from hal.errors import ErrorKind, HalError
from tests.conformance.broken.line import Line
from tests.conformance.broken.parts import Breaks, breaks

BREAKS: Breaks = {}


class Says(Line):
    """Says one kind of error for another."""

    instead: ClassVar[dict[ErrorKind, ErrorKind]]

    def commit(self, request: Callable[[], int]) -> int:
        try:
            return super().commit(request)
        except HalError as error:
            if self.fault is None:
                raise
            raise HalError(self.instead.get(error.kind, error.kind), error.what) from error


@breaks(BREAKS, "no_answer_is_a_timeout")
class TimeoutIsLost(Says):
    """a commit that isn't answered is called LOST"""

    instead: ClassVar = {ErrorKind.TIMEOUT: ErrorKind.LOST}


@breaks(BREAKS, "a_broken_connection_is_lost")
class LostIsTimeout(Says):
    """a commit whose connection broke is said to have timed out"""

    instead: ClassVar = {ErrorKind.LOST: ErrorKind.TIMEOUT}


class Late(Line):
    """What waits after a fault is done with the next commit, when its outcome was told as unknown."""

    after: ErrorKind

    def well_again(self, after: ErrorKind) -> None:
        if after is not self.after:
            super().well_again(after)

    def commit(self, request: Callable[[], int]) -> int:
        if self.fault is None:
            self.do_waiting()
        return super().commit(request)


@breaks(BREAKS, "outcome_after_a_timeout")
class LateAfterTimeout(Late):
    """a commit that wasn't answered is unknown, and then applied with the next one"""

    after = ErrorKind.TIMEOUT


@breaks(BREAKS, "outcome_after_a_loss")
class LateAfterLoss(Late):
    """a commit whose connection broke is unknown, and then applied with the next one"""

    after = ErrorKind.LOST


@breaks(BREAKS, "a_card_that_is_gone_is_lost")
class GoneIsStale(Line):
    """what is asked of a card that is gone counts as timed out"""

    def gone(self) -> None:  # type: ignore[override]
        raise HalError(ErrorKind.TIMEOUT, "line")


@breaks(BREAKS, "damaged_bytes_are_corrupt")
class DamageIsInvalid(Says):
    """damaged bytes are called INVALID"""

    instead: ClassVar = {ErrorKind.CORRUPT: ErrorKind.INVALID}


__all__ = ["BREAKS"]
