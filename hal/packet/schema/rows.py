"""Rows as people write them: the base of the generated dataclasses, and arrays of rows.

A row is a frozen dataclass with text for addresses (canonical, RFC 5952) and names for enumerations; `Rows` is the
bulk form, a numpy array in the table's wire form. Both go into `commit` and `sync`.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from hal.errors import ErrorKind, HalError
from hal.later import Later
from hal.packet.schema.declare import NONE_ID, REQUIRED, Field, Type
from hal.packet.schema.layout import Layout

if TYPE_CHECKING:
    import numpy as np
else:
    np = Later("numpy")

MAPPED = bytes(10) + b"\xff\xff"
"""The first twelve bytes of an IPv4-mapped IPv6 address."""

AddressLike = str | ipaddress.IPv4Address | ipaddress.IPv6Address | bytes
PrefixLike = str | ipaddress.IPv4Network | ipaddress.IPv6Network | ipaddress.IPv4Address | ipaddress.IPv6Address
MacLike = str | bytes


def pack_address(value: AddressLike) -> bytes:
    """16 bytes in network order, IPv4 mapped. Raises ValueError."""
    if isinstance(value, bytes):
        if len(value) not in (4, 16):
            raise ValueError("an address has 4 or 16 bytes")
        return MAPPED + value if len(value) == 4 else value
    if isinstance(value, ipaddress.IPv4Address):
        return MAPPED + value.packed
    if isinstance(value, ipaddress.IPv6Address):
        return value.packed
    try:
        return (
            socket.inet_pton(socket.AF_INET6, value)
            if ":" in value
            else MAPPED + socket.inet_pton(socket.AF_INET, value)
        )
    except (OSError, TypeError):
        raise ValueError(f"{value!r} is not an IPv4 or IPv6 address") from None


def unpack_address(packed: bytes) -> str:
    """The canonical text of 16 bytes; a mapped IPv4 address as a dotted quad."""
    packed = bytes(packed)
    if packed.startswith(MAPPED):
        return socket.inet_ntop(socket.AF_INET, packed[12:])
    return str(ipaddress.IPv6Address(packed))


def pack_prefix(value: PrefixLike) -> tuple[bytes, int]:
    """(16 bytes, length 0-128); a bare address is a host prefix. Raises ValueError, for bits beyond the length too."""
    text = str(value)
    address, slash, length_text = text.partition("/")
    packed = pack_address(address)
    width = 32 if ":" not in address else 128
    if slash and not (length_text.isascii() and length_text.isdecimal() and int(length_text) <= width):
        raise ValueError(f"{text!r}: the length must be 0 to {width}")
    length = int(length_text) if slash else width
    length += 128 - width
    if int.from_bytes(packed, "big") & ((1 << (128 - length)) - 1):
        raise ValueError(f"{text!r} has bits beyond its length; {_masked_text(packed, length)} is meant?")
    return packed, length


def _masked_text(packed: bytes, length: int) -> str:
    keep = int.from_bytes(packed, "big") >> (128 - length) << (128 - length)
    return unpack_prefix(keep.to_bytes(16, "big"), length)


def unpack_prefix(packed: bytes, length: int) -> str:
    """The text of a prefix: dotted quad and /0-32 where it lies in the mapped range."""
    packed = bytes(packed)
    if length >= 96 and packed.startswith(MAPPED):
        return f"{unpack_address(packed)}/{length - 96}"
    return f"{ipaddress.IPv6Address(packed)}/{length}"


def pack_mac(value: MacLike) -> bytes:
    """Six bytes. Raises ValueError."""
    if isinstance(value, bytes):
        if len(value) != 6:
            raise ValueError("a MAC has 6 bytes")
        return value
    parts = value.split(":")
    if len(parts) != 6 or any(len(part) != 2 for part in parts):
        raise ValueError(f"{value!r} is not a MAC like 02:00:00:00:00:0a")
    try:
        return bytes(int(part, 16) for part in parts)
    except ValueError:
        raise ValueError(f"{value!r} is not a MAC like 02:00:00:00:00:0a") from None


def unpack_mac(packed: bytes) -> str:
    return bytes(packed).hex(":")


def _pack_integer(field: Field, value: Any) -> int:
    names = dict(field.enum)
    if isinstance(value, str) and names:
        if value not in names:
            raise ValueError(f"{value!r} is none of {', '.join(names)}")
        return names[value]
    number = int(value) if not isinstance(value, str) else None
    low, high = field.limit
    if number is None or number != value or not low <= number <= high:
        raise ValueError(f"{value!r} is not in {low}..{high}")
    return number


def canonical(field: Field, value: Any) -> Any:
    """The value as a row holds it: text for addresses, enumerations by name. Raises ValueError."""
    match field.type:
        case Type.ADDRESS:
            return unpack_address(pack_address(value))
        case Type.PREFIX:
            return unpack_prefix(*pack_prefix(value))
        case Type.MAC:
            return unpack_mac(pack_mac(value))
        case Type.KEY128:
            if not isinstance(value, bytes) or len(value) != 16:
                raise ValueError("16 bytes are wanted")
            return value
        case Type.NAME:
            if (
                not isinstance(value, str)
                or not value.isascii()
                or not value.isprintable()
                or not 1 <= len(value) <= 23
            ):
                raise ValueError(f"{value!r} is not a name of 1 to 23 ASCII characters")
            return value
        case _:
            number = _pack_integer(field, value)
            by_number = {number: name for name, number in field.enum}
            return by_number.get(number, number)


@dataclass(frozen=True, kw_only=True)
class Row:
    """Base of the generated rows. `LAYOUT` says what and where the fields are.

    Raises (on construction):
        HalError: INVALID, naming row, field and limit.
    """

    LAYOUT: ClassVar[Layout]
    id: int

    def __post_init__(self) -> None:
        if not 0 <= self.id < NONE_ID:
            raise _invalid(type(self).__name__, None, "id", f"0..{NONE_ID - 1}", self.id)
        for field in self.LAYOUT.table.fields(self.LAYOUT.action):
            value = getattr(self, field.name)
            try:
                object.__setattr__(self, field.name, canonical(field, value))
            except (ValueError, TypeError) as error:
                raise _invalid(type(self).__name__, self.id, field.name, str(error), value) from None

    @classmethod
    def array(cls, **columns: Any) -> Rows:
        """Many rows at once: each column is a scalar (for all rows), a sequence of texts or numbers, or an array.

        PREFIX columns may be texts or networks, or a pair (uint8 array of shape (n, 16), uint8 array of lengths);
        ADDRESS and MAC columns texts or arrays of shape (n, 16) and (n, 6).

        Raises:
            HalError: INVALID, naming row, field and limit.
        """
        return _array(cls, columns)

    @classmethod
    def from_wire(cls, record: np.void) -> Self:
        """The row that one record of a wire array holds."""
        values: dict[str, Any] = {"id": int(record["id"])}
        for field in cls.LAYOUT.table.fields(cls.LAYOUT.action):
            values[field.name] = _from_wire(field, record)
        return cls(**values)

    def rows(self) -> Rows:
        """This row as an array of one."""
        data = bytearray(self.LAYOUT.size)
        data[:8] = self.id.to_bytes(8, "little")
        for name, at, pack in _packers(type(self)):
            packed = pack(getattr(self, name))
            data[at : at + len(packed)] = packed
        return Rows(type(self), np.frombuffer(data, self.LAYOUT.dtype))

    def to_dict(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


_Packers = tuple[tuple[str, int, Callable[[Any], bytes]], ...]
_packers_of: dict[type[Row], _Packers] = {}


def _packers(row: type[Row]) -> _Packers:
    """Field name, offset and wire form, of what a row holds: values that are canonical. Made once a class."""
    if (known := _packers_of.get(row)) is not None:
        return known
    at = {slot.name: slot.offset for slot in row.LAYOUT.slots}
    fields = row.LAYOUT.table.fields(row.LAYOUT.action)
    return _packers_of.setdefault(row, tuple((one.name, at[one.name], _packer(one)) for one in fields))


def _packer(field: Field) -> Callable[[Any], bytes]:
    def prefix(value: str) -> bytes:
        packed, length = pack_prefix(value)
        return packed + bytes((length,))  # NAME_len is the next byte

    match field.type:
        case Type.PREFIX:
            return prefix
        case Type.ADDRESS:
            return pack_address
        case Type.MAC:
            return pack_mac
        case Type.KEY128:
            return bytes
        case Type.NAME:
            return str.encode
        case _:
            numbers, size = dict(field.enum), field.type.size
            return lambda value: int(numbers.get(value, value)).to_bytes(size, "little")


def _from_wire(field: Field, record: np.void) -> Any:
    raw = record[field.name]
    match field.type:
        case Type.ADDRESS:
            return unpack_address(raw.tobytes())
        case Type.PREFIX:
            return unpack_prefix(raw.tobytes(), int(record[field.name + "_len"]))
        case Type.MAC:
            return unpack_mac(raw.tobytes())
        case Type.KEY128:
            return raw.tobytes()
        case Type.NAME:
            return bytes(raw).decode("ascii", "replace")
        case _:
            number = int(raw)
            return {number: name for name, number in field.enum}.get(number, number)


def _invalid(row: str, row_id: int | None, field: str, limit: str, got: Any, index: int | None = None) -> HalError:
    return HalError(ErrorKind.INVALID, row, field=field, limit=limit, got=repr(got), row_id=row_id, row=index)


@dataclass(frozen=True, eq=False)
class Rows:
    """An array of rows of one action.

    Args:
        row: the row class, which says table and action.
        data: a one-dimensional array of `row.LAYOUT.dtype`.
    """

    row: type[Row]
    data: np.ndarray[Any, np.dtype[Any]]

    def __post_init__(self) -> None:
        if self.data.dtype != self.row.LAYOUT.dtype or self.data.ndim != 1:
            raise HalError(
                ErrorKind.INVALID,
                f"array of {self.row.__name__}",
                field="dtype",
                limit=str(self.row.LAYOUT.dtype),
                got=str(self.data.dtype),
            )

    def __len__(self) -> int:
        return len(self.data)

    def __iter__(self) -> Iterator[Row]:
        return (self.row.from_wire(record) for record in self.data)

    def raw(self) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """The rows as bytes, of shape (n, bytes of a row). Padding is zero, so that equal rows are equal bytes."""
        return np.ascontiguousarray(self.data).view(np.uint8).reshape(len(self.data), self.data.dtype.itemsize)

    def take(self, which: np.ndarray[Any, Any]) -> Rows:
        """Some of the rows, by index or mask; numpy's own indexing would leave padding undefined."""
        return Rows(self.row, self.raw()[which].reshape(-1).view(self.data.dtype))


def as_rows(things: Iterable[Row | Rows]) -> list[Rows]:
    """Single rows and arrays gathered: one array a row class, in the order in which classes first appear."""
    parts: dict[type[Row], list[np.ndarray[Any, Any]]] = {}
    singles: dict[type[Row], list[Row]] = {}
    order: list[type[Row]] = []
    for thing in things:
        kind = thing.row if isinstance(thing, Rows) else type(thing)
        if kind not in parts:
            parts[kind], singles[kind] = [], []
            order.append(kind)
        if isinstance(thing, Rows):
            parts[kind].append(thing.data)
        else:
            singles[kind].append(thing)
    result = []
    for kind in order:
        arrays = list(parts[kind])
        if singles[kind]:
            names = [field.name for field in dataclasses.fields(kind)]
            columns = {name: [getattr(row, name) for row in singles[kind]] for name in names}
            arrays.append(_array(kind, columns).data)
        result.append(Rows(kind, arrays[0] if len(arrays) == 1 else _joined(kind, arrays)))
    return result


def _joined(kind: type[Row], arrays: Sequence[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    """One array of several; `np.concatenate` would pack the fields and lose the padding between them."""
    joined = np.zeros(sum(len(array) for array in arrays), kind.LAYOUT.dtype)
    start = 0
    for array in arrays:
        joined[start : start + len(array)] = array
        start += len(array)
    return joined


def _length(columns: Mapping[str, Any]) -> int:
    sizes = set()
    for value in columns.values():
        if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], np.ndarray):
            sizes.add(len(value[0]))
        elif isinstance(value, (np.ndarray, range)) or (
            isinstance(value, Sequence) and not isinstance(value, (str, bytes))
        ):
            sizes.add(len(value))
    if len(sizes) > 1:
        raise HalError(ErrorKind.INVALID, "columns", limit="of one length", got=sorted(sizes))
    return sizes.pop() if sizes else 1


def _array(cls: type[Row], columns: Mapping[str, Any]) -> Rows:
    fields = list(cls.LAYOUT.table.fields(cls.LAYOUT.action))
    unknown = set(columns) - {field.name for field in fields} - {"id"}
    if unknown:
        raise HalError(
            ErrorKind.INVALID,
            cls.__name__,
            field=min(unknown),
            limit="one of " + ", ".join(["id", *(field.name for field in fields)]),
        )
    if "id" not in columns:
        raise HalError(ErrorKind.INVALID, cls.__name__, field="id", limit="given", fix="Give id=.")
    count = _length(columns)
    data = np.zeros(count, cls.LAYOUT.dtype)
    _fill_integers(cls, Field("id", Type.U64, "", high=NONE_ID - 1), columns["id"], data)
    for field in fields:
        value = columns.get(field.name, field.default)
        if value is REQUIRED:
            raise HalError(ErrorKind.INVALID, cls.__name__, field=field.name, limit="given", fix=f"Give {field.name}=.")
        _fill(cls, field, value, data)
    return Rows(cls, data)


def _fill(cls: type[Row], field: Field, value: Any, data: np.ndarray[Any, Any]) -> None:
    match field.type:
        case Type.PREFIX:
            _fill_prefixes(cls, field, value, data)
        case Type.ADDRESS | Type.MAC | Type.KEY128 | Type.NAME:
            if isinstance(value, np.ndarray) and value.dtype == np.uint8:
                if value.shape not in ((field.type.size,), (len(data), field.type.size)):
                    raise _invalid(cls.__name__, None, field.name, f"shape (n, {field.type.size})", value.shape)
                data[field.name] = value
                return
            _fill_texts(cls, field, value, data)
        case _:
            _fill_integers(cls, field, value, data)


def _is_many(value: Any) -> bool:
    return isinstance(value, (np.ndarray, range)) or (
        isinstance(value, Sequence) and not isinstance(value, (str, bytes))
    )


_PACKERS: dict[Type, Any] = {
    Type.ADDRESS: pack_address,
    Type.MAC: pack_mac,
}


def _fill_texts(cls: type[Row], field: Field, value: Any, data: np.ndarray[Any, Any]) -> None:
    values = value if _is_many(value) else [value]
    pack = _PACKERS.get(field.type, lambda one: canonical(field, one))
    packed = []
    for index, one in enumerate(values):
        try:
            packed.append(pack(one))
        except (ValueError, TypeError, AttributeError) as error:
            raise _invalid(cls.__name__, None, field.name, str(error), one, index) from None
    if field.type is Type.NAME:
        column: Any = np.array([one.encode() for one in packed], "S24")
    else:
        column = np.frombuffer(b"".join(packed), np.uint8).reshape(len(packed), field.type.size)
    data[field.name] = column


def _fill_prefixes(cls: type[Row], field: Field, value: Any, data: np.ndarray[Any, Any]) -> None:
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], np.ndarray):
        data[field.name], data[field.name + "_len"] = value
        return
    values = value if _is_many(value) else [value]
    packed, lengths = [], []
    for index, one in enumerate(values):
        try:
            address, length = pack_prefix(one)
        except (ValueError, TypeError, AttributeError) as error:
            raise _invalid(cls.__name__, None, field.name, str(error), one, index) from None
        packed.append(address)
        lengths.append(length)
    data[field.name] = np.frombuffer(b"".join(packed), np.uint8).reshape(len(packed), 16)
    data[field.name + "_len"] = lengths


def _fill_integers(cls: type[Row], field: Field, value: Any, data: np.ndarray[Any, Any]) -> None:
    low, high = field.limit
    if type(value) is list and set(map(type, value)) == {int} and low <= min(value) and max(value) <= high:
        data[field.name] = np.array(value, np.dtype(field.type.numpy))  # as most rows come
        return
    if not _is_many(value):
        value = [value]
    if not isinstance(value, (np.ndarray, range)) and (field.enum or any(isinstance(one, str) for one in value)):
        numbers = []
        for index, one in enumerate(value):
            try:
                numbers.append(_pack_integer(field, one))
            except (ValueError, TypeError) as error:
                raise _invalid(cls.__name__, None, field.name, str(error), one, index) from None
        value = numbers
    column = np.zeros(0)
    try:
        if isinstance(value, range) and len(value) and min(value[0], value[-1]) >= 0:
            value = np.arange(value.start, value.stop, value.step, dtype=np.uint64)
        column = np.asarray(value, None if isinstance(value, np.ndarray) else object)
        if column.dtype == object:
            wrong = [
                i
                for i, one in enumerate(column)
                if isinstance(one, bool) or not isinstance(one, (int, np.integer)) or not low <= one <= high
            ]
        else:
            wrong = np.flatnonzero((column < low) | (column > high))[:1].tolist() if column.dtype.kind in "iu" else [0]
    except OverflowError:
        wrong = [0]
    if wrong:
        raise _invalid(cls.__name__, None, field.name, f"{low}..{high}", value[wrong[0]], wrong[0])
    data[field.name] = column.astype(np.dtype(field.type.numpy))
