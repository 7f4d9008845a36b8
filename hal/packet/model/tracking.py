"""*Tracking* of docs/tracking.md: whose time-outs a connection has, and whether it is held to strict TCP."""

from __future__ import annotations

from hal.packet.frame.schema import SCHEMA
from hal.packet.model.rows import Entry
from hal.packet.model.tables import Tables
from hal.packet.schema.declare import NONE_ID, Table

SECOND = 1_000_000_000


def _defaults(table: Table) -> Entry:
    """What holds where a profile names none: the defaults that are declared."""
    (action,) = table.actions
    values = {one.name: {number: name for name, number in one.enum}.get(one.default, one.default)
              for one in action.fields}  # fmt: skip
    return Entry(table.name, action.row, NONE_ID, values)


DEFAULTS = _defaults(next(table for table in SCHEMA.tables if table.name == "tracking"))


def tracking_of(tables: Tables, vnic: Entry | None) -> Entry:
    """The tracking that the vNIC's profile names, as the tables are now; the defaults where there is no vNIC."""
    profile = tables.get("profile", vnic.profile) if vnic else None
    row = tables.get("tracking", profile.tracking) if profile and profile.tracking != NONE_ID else None
    return row or DEFAULTS


def is_strict_between(tables: Tables, ingress: Entry | None, egress: Entry | None) -> bool:
    """Is TCP from the one to the other held to what its peers expect?

    Not where whom it counts for is loose, and the other end too, where that is a vNIC. An end that is gone is strict.
    """
    if ingress is None or egress is None:
        return True
    if ingress.role != "vnic" and egress.role == "vnic":
        return not _is_loose(tables, egress)
    return not _is_loose(tables, ingress) or (egress.role == "vnic" and not _is_loose(tables, egress))


def _is_loose(tables: Tables, vnic: Entry) -> bool:
    return bool(tracking_of(tables, vnic).mode == "loose")
