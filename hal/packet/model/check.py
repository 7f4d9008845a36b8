"""Is an array of rows what it must be? Every byte is looked at: whoever sent it isn't trusted.

The first wrong row is told, and in it the first wrong field in wire order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hal.errors import ErrorKind, HalError
from hal.packet.schema.declare import NONE_ID, Type
from hal.packet.schema.layout import Layout, Slot
from hal.packet.schema.rows import Rows, unpack_address, unpack_mac, unpack_prefix

Bytes = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def raw_bytes(rows: Rows) -> Bytes:
    """The rows' bytes as they are, padding included: shape (rows, bytes of a row)."""
    data = rows.data
    if not data.flags.c_contiguous:
        data = np.frombuffer(b"".join(record.tobytes() for record in data), data.dtype)
    return data.view(np.uint8).reshape(len(data), rows.row.LAYOUT.size)


def column(data: Bytes, slot: Slot) -> NDArray[Any]:
    """One wire field of all rows: integers of shape (n,), else bytes of shape (n, size)."""
    cut = data[:, slot.offset : slot.offset + slot.size]
    if slot.integer is None:
        return cut
    integers: NDArray[Any] = np.ascontiguousarray(cut).view(slot.integer).reshape(len(data))
    return integers


def _wrong(slot: Slot, values: NDArray[Any]) -> Mask:
    """Which values a field may not have that doesn't take all."""
    if slot.is_padding:
        return np.asarray(values.any(axis=1))
    if slot.name == "id":
        return np.asarray(values == NONE_ID)
    field = slot.field
    assert field is not None
    if slot.type is Type.NAME:
        text = values != 0
        printable = (values >= 0x20) & (values < 0x7F)
        gap = ~text[:, :-1] & text[:, 1:]
        return np.asarray((text & ~printable).any(axis=1) | gap.any(axis=1) | ~text[:, 0] | text[:, -1])
    if field.enum:
        return np.asarray(~np.isin(values, [number for _, number in field.enum]))
    low, high = field.limit
    return np.asarray((values < low) | (values > high))


def _beyond(addresses: NDArray[Any], lengths: NDArray[Any]) -> Mask:
    """Which prefixes have bits beyond their length."""
    keep = np.clip(lengths.astype(np.int64)[:, None] - np.arange(0, 128, 8), 0, 8)
    mask = (0xFF >> keep).astype(np.uint8)
    return np.asarray((addresses & mask).any(axis=1))


def _limit(slot: Slot) -> str:
    if slot.is_padding:
        return "0 (padding)"
    if slot.name == "id":
        return f"0..{NONE_ID - 1}"
    field = slot.field
    if field is None:
        return ""
    if field.type is Type.PREFIX:
        return "0..128" if slot.name.endswith("_len") else "bits beyond the length 0 (IPv4 lengths are 96 more)"
    if field.enum:
        return "one of " + ", ".join(f"{number} ({name})" for name, number in field.enum)
    if field.type is Type.NAME:
        return "1 to 23 printable ASCII characters, padded with NUL"
    low, high = field.limit
    return f"{low}..{high}"


def _shown(slot: Slot, value: Any, length: int | None) -> str:
    if slot.type is Type.PREFIX and length is not None:
        return unpack_prefix(value.tobytes(), length)
    if slot.type is Type.ADDRESS:
        return unpack_address(value.tobytes())
    if slot.type is Type.MAC:
        return unpack_mac(value.tobytes())
    return value.tobytes().hex() if isinstance(value, np.ndarray) and value.ndim else str(value)


def check_rows(rows: Rows) -> Bytes:
    """The rows' bytes, if every field of every row is in its range.

    Raises:
        HalError: INVALID, with table, row, field, limit and what was there.
    """
    form = rows.row.LAYOUT
    data = raw_bytes(rows)
    first: tuple[int, int] | None = None
    for place, slot in enumerate(form.slots):
        if slot.type is Type.PREFIX:
            lengths = column(data, _length_slot(form, slot))
            mask = _beyond(column(data, slot), np.minimum(lengths, 128)) & (lengths <= 128)
        elif slot.takes_all:
            continue
        else:
            mask = _wrong(slot, column(data, slot))
        if mask.any():
            row = int(np.argmax(mask))
            first = min(first or (row, place), (row, place))
    if first is None:
        return data
    row, place = first
    slot = form.slots[place]
    length = int(column(data, _length_slot(form, slot))[row]) if slot.type is Type.PREFIX else None
    raise HalError(
        ErrorKind.INVALID,
        f"table {form.table.name}",
        field=slot.name,
        limit=_limit(slot),
        got=_shown(slot, column(data, slot)[row], length),
        table=form.table.name,
        row=row,
        row_id=int(column(data, form.slots[0])[row]),
    )


def _length_slot(form: Layout, slot: Slot) -> Slot:
    return next(other for other in form.slots if other.name == slot.name + "_len")
