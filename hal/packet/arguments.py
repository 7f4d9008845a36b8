"""Arguments of verbs: what no card could mean is refused here, in the same words before every backend.

A backend's verbs call these first; what depends on what the card holds, it asks itself.
"""

from __future__ import annotations

from hal.errors import ErrorKind, HalError
from hal.packet.life import Cursor, Generation

__all__ = ["LAST_GENERATION", "check_base", "check_cursor"]

LAST_GENERATION = (1 << 64) - 2


def _wrong(what: str, field: str, limit: str, got: object, fix: str = "") -> HalError:
    return HalError(ErrorKind.INVALID, what, field=field, limit=limit, got=repr(got), fix=fix)


def check_base(base: Generation | None) -> None:
    """Raises HalError(INVALID) for what no commit or snapshot gave: a plain number doesn't say of which life it is."""
    if base is None:
        return
    if not isinstance(base, Generation) or not 0 <= base <= LAST_GENERATION or not 1 <= base.life < 1 << 64:
        fix = "Give what snapshot().generation or commit() gave, or Generation.of its token."
        raise _wrong("commit", "base", "a Generation of the card, or None", base, fix)


def check_cursor(cursor: Cursor | None) -> None:
    """Raises HalError(INVALID) for what no `events` gave."""
    if cursor is None:
        return
    if not isinstance(cursor, Cursor) or not 0 <= cursor < 1 << 64 or not 1 <= cursor.life < 1 << 64:
        fix = "Give the cursor of what was read before, or Cursor.of its token."
        raise _wrong("events", "cursor", "a Cursor of the card, or None", cursor, fix)
