"""What the engine refuses, by the names that entries have in the intent: it knows ids, which are hashes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress

from hal.errors import HalError
from hal.packet.contract import Name, Reader

REFERRED = "no row that refers to it"
"""The limit of a delete that would leave a reference to nothing."""
_REFERS = re.compile(r"table (\w+) id (\d+)")


def named(error: HalError, reader: Reader, planned: Iterable[Name], owners: Mapping[str, str]) -> HalError:
    """The same error with names in its words, where they are known.

    Args:
        reader: of the engine that refused; it holds the names of what is there.
        planned: names of what was to be.
        owners: table -> who writes it instead of this daemon.
    """
    if error.table is None or error.row_id is None:
        return error
    other = _REFERS.search(str(error.got or ""))
    known = {(one.table, one.id): one for one in planned}
    with suppress(HalError):  # one that doesn't answer has given no names
        tables = {error.table, *([other[1]] if other else [])}
        known = {**reader.snapshot(tables).names, **known}
    name = known.get((error.table, error.row_id))
    got, fix = error.got, error.fix
    if other and (theirs := known.get((other[1], int(other[2])))):
        got = str(got).replace(other[0], f"table {other[1]} {_words(theirs)}")
    if error.limit == REFERRED and owners:
        # Whoever wrote an intent can't put another's entries into the same commit.
        whose = {owners[other[1]]} if other and other[1] in owners else set(owners.values())
        fix = f"Keep it, or have {' or '.join(sorted(whose))} take the entry out first."
    if name is None:
        return HalError(error.kind, error.what, field=error.field, limit=error.limit, got=got, fix=fix,
                        table=error.table, row=error.row, row_id=error.row_id)  # fmt: skip
    field = "" if error.field == "id" else error.field
    return HalError(error.kind, f"{error.what} {_words(name)}", field=field, limit=error.limit, got=got, fix=fix,
                    table=error.table)  # fmt: skip


def _words(name: Name) -> str:
    return f"{name.text} ({name.file}:{name.line})" if name.file and name.line else name.text
