"""Arguments of verbs: what no card could mean is refused here, in the same words before every backend.

A backend's verbs call these first. What depends on what the card holds, it asks itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from hal.errors import ErrorKind, HalError
from hal.packet.contract import (
    MOST_SHARD_CONNECTIONS,
    NAME_BYTES,
    TAG_BYTES,
    Delete,
    FlowFilter,
    Insert,
    LoadConfig,
    Modify,
    Name,
    Operation,
    PacketIn,
)
from hal.packet.life import Cursor, Generation
from hal.packet.schema.rows import Rows, pack_prefix

__all__ = [
    "check_awaited",
    "check_base",
    "check_commit",
    "check_cursor",
    "check_filter",
    "check_lease",
    "check_packets",
    "check_shard",
    "check_transaction",
    "check_words",
]

WORD = (1 << 64) - 1
LAST_GENERATION = WORD - 1
_FILTER = {
    "vrf": WORD, "vnic": WORD, "id": WORD, "protocol": 255, "source_port": 65535, "destination_port": 65535,
}  # fmt: skip
_CONTROL = {*map(chr, range(0x20)), "\x7f"}


def _wrong(what: str, field: str, limit: str, got: object, fix: str = "", **place: Any) -> HalError:
    return HalError(ErrorKind.INVALID, what, field=field, limit=limit, got=repr(got), fix=fix, **place)


def _check_number(what: str, field: str, value: object, most: int, least: int = 0, **place: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not least <= int(value) <= most:
        raise _wrong(what, field, f"{least}..{most}", value, **place)


def _check_text(what: str, field: str, value: object, least: int, most: int | None, **place: Any) -> None:
    limit = f"{least}..{most} bytes without control characters" if most else "text without control characters"
    try:
        well = isinstance(value, str) and (value.isprintable() or not _CONTROL & set(value))
        size = len(value.encode()) if isinstance(value, str) else 0
    except UnicodeEncodeError:  # half a character
        well, size = False, 0
    if not well or size < least or (most is not None and size > most):
        raise _wrong(what, field, limit, value, **place)


def check_base(base: Generation | None) -> None:
    """Raises HalError(INVALID) for what no commit or snapshot gave: a plain number doesn't say of which life it is."""
    if base is None:
        return
    if not isinstance(base, Generation) or not 0 <= base <= LAST_GENERATION or not 1 <= base.life <= WORD:
        fix = "Give what snapshot().generation or commit() gave, or Generation.of its token."
        raise _wrong("commit", "base", "a Generation of the card, or None", base, fix)


def check_awaited(config: LoadConfig) -> None:
    """Raises HalError(INVALID) where somebody is awaited who was given no table."""
    named = [owner for owner, tables in config.owners.items() if tables and owner != "dsnd"]
    for owner in config.awaited:
        if owner not in named:
            raise _wrong("card", "awaited", "one of " + ", ".join(named), owner, "Name its tables in owners.")


def check_cursor(cursor: Cursor | None) -> None:
    """Raises HalError(INVALID) for what no `events` gave."""
    if cursor is None:
        return
    if not isinstance(cursor, Cursor) or not 0 <= cursor <= WORD or not 1 <= cursor.life <= WORD:
        fix = "Give the cursor of what was read before, or Cursor.of its token."
        raise _wrong("events", "cursor", "a Cursor of the card, or None", cursor, fix)


def check_transaction(transaction: int | None) -> None:
    """Raises HalError(INVALID) for what is no 64-bit number."""
    if transaction is not None:
        _check_number("commit", "transaction", transaction, WORD)


def check_words(tag: str, names: Sequence[Name]) -> None:
    """Raises HalError(INVALID) for a tag, a name or its file that no card keeps as it is."""
    _check_text("commit", "tag", tag, 0, TAG_BYTES)
    for one in names:
        place = {"table": one.table, "row_id": one.id}
        _check_text(f"table {one.table}", "name", one.text, 1, NAME_BYTES, **place)
        _check_text(f"table {one.table}", "file", one.file, 0, None, **place)


def check_commit(
    operations: Sequence[Operation],
    base: Generation | None,
    transaction: int | None,
    depends: Sequence[tuple[str, int]],
    names: Sequence[Name],
) -> None:
    """Arguments of a commit, staged or not, but for `check_words`. Raises HalError(INVALID)."""
    check_base(base)
    check_transaction(transaction)
    for one in operations:
        if isinstance(one, Delete):
            _check_ids(one)
        elif not isinstance(one, (Insert, Modify)) or not isinstance(one.rows, Rows):
            raise _wrong("commit", "operations", "Insert or Modify of Rows, or Delete", one, "Give row.rows().")
    for table, row_id in depends:
        _check_number(f"table {table}", "depends", row_id, WORD, table=table)
    for name in names:
        _check_number(f"table {name.table}", "id", name.id, WORD, table=name.table)
        _check_number(f"table {name.table}", "line", name.line, (1 << 32) - 1, table=name.table, row_id=name.id)


def _check_ids(one: Delete) -> None:
    ids: Any = one.ids
    limit = "a uint64 array of shape (n,)"
    if not isinstance(ids, np.ndarray) or ids.ndim != 1 or ids.dtype.kind not in "iu":
        raise _wrong(f"table {one.table}", "id", limit, ids, table=one.table)
    if ids.dtype.kind == "i" and len(ids) and ids.min() < 0:
        raise _wrong(f"table {one.table}", "id", limit, int(ids.min()), table=one.table, row=int(ids.argmin()))


def check_lease(lease_ns: int) -> None:
    """Raises HalError(INVALID) for what is no time. How long it may be, the card asks."""
    _check_number("staged commit", "lease_ns", lease_ns, WORD)


def check_filter(which: FlowFilter | None) -> None:
    """Raises HalError(INVALID) for a number that no connection has, or a prefix that is none."""
    if which is None:
        return
    for field, most in _FILTER.items():
        if (value := getattr(which, field)) is not None:
            _check_number("flow filter", field, value, most)
    for field in ("source", "destination"):
        if (prefix := getattr(which, field)) is not None:
            try:
                pack_prefix(prefix)
            except ValueError as error:
                raise _wrong("flow filter", field, str(error), prefix) from None


def check_packets(packets: Iterable[PacketIn]) -> None:
    """Raises HalError(INVALID) for a packet at what is no port's number, or before time began. How long frames and
    how late times may be, the card asks."""
    for packet in packets:
        _check_number("packet", "port", packet.port, (1 << 32) - 1)
        _check_number("packet", "time_ns", packet.time_ns, WORD)


def check_shard(connections: int) -> None:
    """Raises HalError(INVALID) for a size that no shard has."""
    _check_number("shard", "connections", connections, MOST_SHARD_CONNECTIONS, least=1)
