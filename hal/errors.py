"""The closed set of error kinds that every HAL call may raise.

A backend answers with a kind and the place (object, field, limit, what it got); this module makes the
sentence, so that twin, engine and a vendor's backend say the same words about the same mistake.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any


class ErrorKind(IntEnum):
    """What went wrong, as a value that crosses every boundary (sockets, gRPC, JSON)."""

    INVALID = 1
    """The request can never succeed as it is: a field out of range, a missing reference, a second write to a key."""
    BUSY = 2
    """Somebody else holds it: a second engine on one run folder, a second open transaction."""
    FULL = 3
    """A declared capacity or the memory for old and new side by side is used up; nothing changed."""
    STALE = 4
    """What the request was computed from has changed since; read again and retry."""
    TIMEOUT = 5
    """No answer in time: the outcome is unknown until `outcome(transaction)` is asked."""
    DENIED = 6
    """The caller lacks the authority: another owner's table, a verb of another socket."""
    CORRUPT = 7
    """Bytes that can't be what they claim: a bad frame, a memfd that isn't sealed or is short."""
    LOST = 8
    """The peer went away in between: the outcome is unknown until `outcome(transaction)` is asked."""
    UNSUPPORTED = 9
    """This backend can't do it and says so in its capabilities; nothing changed."""


class HalError(Exception):
    """An error of the HAL contract.

    Args:
        kind: one of the closed set.
        what: the object concerned, as the user knows it ("table route", "port uplink0", "memfd of rows").
        field: the field of the object, or "" where the whole object is concerned.
        limit: what would have been right ("0..128", "262144 entries", "an id of table vrf").
        got: what was there instead.
        fix: one imperative sentence: what to do about it.
        table, row, row_id: where in a commit it was found: the table's name, the row's index in the array
            that was handed in and the row's id; None where it isn't about a row.
    """

    def __init__(
        self,
        kind: ErrorKind,
        what: str,
        *,
        field: str = "",
        limit: str = "",
        got: Any = None,
        fix: str = "",
        table: str | None = None,
        row: int | None = None,
        row_id: int | None = None,
    ) -> None:
        self.kind = kind
        self.what = what
        self.field = field
        self.limit = limit
        self.got = got
        self.fix = fix
        self.table = table
        self.row = row
        self.row_id = row_id
        super().__init__(str(self))

    def __str__(self) -> str:
        place = self.what
        if self.row_id is not None:
            place += f" id {self.row_id}"
        if self.row is not None:
            place += f" (row {self.row})"
        if self.field:
            place += f", field {self.field}"
        text = f"{self.kind.name}: {place}"
        if self.got is not None:
            text += f": got {self.got}"
        if self.limit:
            text += f", limit {self.limit}" if self.got is not None else f": limit {self.limit}"
        if self.fix:
            text += f". {self.fix}"
        return text

    def to_dict(self) -> dict[str, Any]:
        """The error as plain values, for `--json` and the wire."""
        return {
            "kind": self.kind.name,
            "what": self.what,
            "field": self.field,
            "limit": self.limit,
            "got": None if self.got is None else str(self.got),
            "fix": self.fix,
            "table": self.table,
            "row": self.row,
            "id": self.row_id,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> HalError:
        """What `to_dict` made values of. Raises KeyError for what isn't that."""
        return cls(
            ErrorKind[values["kind"]],
            values["what"],
            field=values["field"],
            limit=values["limit"],
            got=values["got"],
            fix=values["fix"],
            table=values["table"],
            row=values["row"],
            row_id=values["id"],
        )
