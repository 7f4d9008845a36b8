"""card.toml: the card's own configuration. What intent calls a port, and which device that is, stands here.

board = "software"
workers = 1
engine = "build/dsn-engine"   # instead of the board's own
engine_user = "dsn"   # whom it becomes; without it one of its own, without any rights
punt_taps = 8   # how many VRFs besides the default one may have addresses of the card

[ports]
uplink0 = "linux:eth1"
host0 = {device = "linux:veth0", mtu = 9000}

[capacities]
route = 2000000
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from board_support.board import board_names, facts
from hal.packet.contract import LoadConfig, PortConfig
from hal.packet.frame.schema import LEAST_CHALLENGES
from hal.packet.schema.registry import schema
from services.core.formats import FormatError, mac, nanoseconds, port_name, shown
from services.core.formats import duration as duration_format
from services.core.objects import IntentError, Position, Problem, excerpt, nearest
from services.core.plan import Context, Port
from services.core.ports import PUNT_PREFIX, SPARE_PREFIX

_DEVICES: Final = ("linux", "tap", "null", "ring", "pcap", "dpdk", "replay")
_NUMBERS: Final = {
    "workers": (1, 64, 1),
    "connections": (1, 1 << 26, 65536),
    "memory_mb": (64, 1 << 20, 1024),
    "flow_limit": (0, (1 << 32) - 1, 0),
    "inbound_flow_limit": (0, (1 << 32) - 1, 0),
    "challenge_limit": (LEAST_CHALLENGES, (1 << 32) - 1, 4096),
    "icmp_limit": (1, (1 << 32) - 1, 1000),
    "fragment_limit": (0, (1 << 32) - 1, 0),
    "half_open_limit": (0, (1 << 32) - 1, 0),
    "new_flow_limit": (1, (1 << 32) - 1, 100_000),
    "punt_limit": (1, (1 << 32) - 1, 1000),
    "punt_taps": (0, 64, 8),
}
_KEYS: Final = (
    "board",
    "engine",
    "engine_user",
    "read_group",
    "api_group",
    "pickup",
    "ports",
    "capacities",
    "owners",
    *_NUMBERS,
)
_OWNER_KEYS: Final = ("tables", "user", "group", "wait")
_PORT_KEYS: Final = ("device", "mtu", "mac")
MAX_BYTES: Final = 1_000_000
MOST_ENTRIES: Final = 1 << 24
"""Of a table, as the engine takes it; connections likewise."""
DEFAULT_TAP: Final = 65000
"""Number of the default VRF's punt tap where card.toml names none; the spare ones follow it."""


@dataclass(frozen=True)
class CardConfig:
    """A card as its owner wired it.

    Args:
        board: which board of `board_support` builds the hardware.
        ports: in the order of their names' lines; the number of a port is its place among the sorted names.
        capacities: table -> entries, where not the declared ones.
        owners: another writer -> the tables it writes instead of dsnd.
        awaited: those of them without whose first commit nothing is forwarded.
        workers, connections, flow_limit, inbound_flow_limit, punt_limit: as in `LoadConfig`; of the limits on flows 0
            is a quarter of what fits.
        punt_taps: VRFs, beside those with a tap of their own among the ports, that may have addresses of the card.
        pickup_ns: as in `LoadConfig`.
        engine: path of the engine's program, "" for the board's own. A relative one begins at the file's folder.
        engine_user: whom the engine becomes, by name or number; "" for one of its own without any rights.
        memory_mb: for packets and devices, taken as it is used.
        writers: another writer -> (user, group) who may be it, by name or number; "" for none: root alone may.
        read_group: who, besides root, may read the engine; "": nobody.
        api_group: who, besides root, may do with the card what `dsn` does; "": nobody.
    """

    board: str = "twin"
    ports: tuple[PortConfig, ...] = ()
    capacities: Mapping[str, int] = field(default_factory=dict)
    owners: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    awaited: tuple[str, ...] = ()
    workers: int = 1
    connections: int = 65536
    flow_limit: int = 0
    inbound_flow_limit: int = 0
    challenge_limit: int = 4096
    icmp_limit: int = 1000
    fragment_limit: int = 0
    half_open_limit: int = 0
    new_flow_limit: int = 100_000
    punt_limit: int = 1000
    punt_taps: int = 8
    memory_mb: int = 1024
    pickup_ns: int = 60_000_000_000
    engine: str = ""
    engine_user: str = ""
    writers: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    read_group: str = ""
    api_group: str = ""

    def load_config(self) -> LoadConfig:
        """What the engine is loaded with."""
        return LoadConfig(
            ports=self.ports,
            owners=self.owners,
            awaited=self.awaited,
            capacities=self.capacities,
            workers=self.workers,
            connections=self.connections,
            pickup_ns=self.pickup_ns,
            flow_limit=self.flow_limit,
            inbound_flow_limit=self.inbound_flow_limit,
            punt_limit=self.punt_limit,
            new_flow_limit=self.new_flow_limit,
            half_open_limit=self.half_open_limit,
            fragment_limit=self.fragment_limit,
            icmp_limit=self.icmp_limit,
            challenge_limit=self.challenge_limit,
        )

    def context(self, seed: bytes = b"") -> Context:
        """What intent is planned with for this card. Raises HalError(INVALID) for a board that isn't there."""
        taps = "tap" in facts(self.board).devices
        all_ports = with_taps(self.ports, self.punt_taps) if taps else self.ports
        ports = {port.name: Port(port.number, port.mac, port.mtu) for port in all_ports}
        return Context(ports=ports, seed=seed, capacities=self.capacities, owners=owned(self.owners),
                       connections=self.connections * self.workers)  # fmt: skip


def with_taps(ports: tuple[PortConfig, ...], spares: int) -> tuple[PortConfig, ...]:
    """The ports of a card.toml and those that a card with punt taps has beside them: the default VRF's, unless it is
    named there, and `spares` for VRFs to come."""
    default = f"{PUNT_PREFIX}default"
    more = [] if default in {port.name for port in ports} else [PortConfig(DEFAULT_TAP, default, "tap", mtu=1500)]
    more += [PortConfig(DEFAULT_TAP + one, f"{SPARE_PREFIX}{one}", "tap", mtu=1500) for one in range(1, spares + 1)]
    return (*ports, *more)


def owned(owners: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Table -> its owner, of those that dsnd doesn't write."""
    return {table: owner for owner, tables in owners.items() if owner != "dsnd" for table in tables}


def load_card_config(path: Path) -> CardConfig:
    """Read card.toml. Raises IntentError with all that is wrong with it."""
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        fix = "Name the card.toml of a card; README.md shows one."
        raise IntentError([Problem(Position(str(path), 0, 0), error.strerror or str(error), fix=fix)]) from None
    config = parse(data, str(path))
    if not config.engine:
        return config
    return replace(config, engine=str(path.absolute().parent / config.engine))


def parse(data: bytes, file: str = "card.toml") -> CardConfig:
    """card.toml from its bytes. Raises IntentError with all that is wrong with it."""
    return _Reader(data, file).config()


class _Reader:
    """Holds the values of one file against what they may be."""

    def __init__(self, data: bytes, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self.text = data.decode(errors="replace")
        self.lines = self.text.splitlines()
        self.values: dict[str, Any] = {}
        try:
            if len(data) > MAX_BYTES:
                raise IntentError([Problem(Position(file, 0, 0), "the file is too long", limit=f"{MAX_BYTES:,} bytes")])
            self.values = tomllib.loads(data.decode())
        except UnicodeDecodeError as error:
            line = data[: error.start].count(b"\n") + 1
            self.problems.append(Problem(Position(file, line, 1), f"the byte 0x{data[error.start]:02x} is not UTF-8"))
        except tomllib.TOMLDecodeError as error:
            found = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
            line, column = (int(found[1]), int(found[2])) if found else (len(self.lines), 1)
            message = str(error).partition(" (at ")[0]
            at = Position(file, line, column)
            self.problems.append(Problem(at, f"not TOML: {message}", excerpt=excerpt(self.line(line), column)))
        except RecursionError:
            self.problems.append(Problem(Position(file, 0, 0), "not TOML: nested too deeply"))

    def line(self, number: int) -> str:
        return self.lines[number - 1] if 0 < number <= len(self.lines) else ""

    def report(self, path: str, message: str, **more: Any) -> None:
        """A problem of the value at "ports.host0.mtu"; tomllib tells no lines, so its last key is looked for."""
        section, inside = "", [*path.split(".")]
        at = Position(self.file, 0, 0)
        for number, line in enumerate(self.lines, 1):
            header = re.match(r"\s*\[([^\]]+)\]", line)
            section = header[1].strip() if header else section
            scope = section.split(".") if section else []
            rest = inside[len(scope) :] if inside[: len(scope)] == scope else None
            if rest is None:
                continue
            if not rest and header:
                at = Position(self.file, number, line.index("[") + 1, len(line.strip()))
                break
            key = re.match(rf"\s*[\"']?{re.escape(rest[0])}[\"']?\s*[=.]", line) if rest else None
            if key is not None:
                last = re.search(rf"\b{re.escape(rest[-1])}\b", line) or key
                at = Position(self.file, number, last.start() + 1, len(last[0].strip()))
                break
        shown = excerpt(self.line(at.line), at.column)
        self.problems.append(Problem(at, message, field=path, excerpt=shown, **more))

    def config(self) -> CardConfig:
        for key in self.values:
            if key not in _KEYS:
                self.report(key, "unknown field", limit=", ".join(_KEYS), nearest=nearest(key, _KEYS))
        result = CardConfig(
            board=self.board(),
            ports=tuple(self.ports()),
            capacities=dict(self.capacities()),
            owners=dict(self.owners()),
            awaited=tuple(self.awaited()),
            pickup_ns=self.pickup(),
            engine=self.word("engine", ""),
            engine_user=self.who(self.values, "engine_user", "engine_user"),
            writers=dict(self.writers()),
            read_group=self.who(self.values, "read_group", "read_group"),
            api_group=self.who(self.values, "api_group", "api_group"),
            **{key: self.number(self.values, key, key, *limits) for key, limits in _NUMBERS.items()},
        )
        if self.problems:
            raise IntentError(sorted(self.problems, key=lambda one: (one.position.line, one.position.column)))
        return result

    def board(self) -> str:
        board, known = self.word("board", "twin"), board_names()
        if board not in known:
            self.report(
                "board", f"no board is called {shown(board)}", limit=", ".join(known), nearest=nearest(board, known)
            )
        return board

    def word(self, key: str, default: str) -> str:
        value = self.values.get(key, default)
        if isinstance(value, str):
            return value
        self.report(key, f"{shown(str(value))} is not a text", fix="Put it in quotes.")
        return default

    def who(self, values: Mapping[str, Any], key: str, path: str) -> str:
        """A user or group, by name or number; "" for none. Whether this machine has it is seen at the card's start."""
        value = values.get(key, "")
        text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        if isinstance(text, str) and (value == "" or re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}\$?", text)):
            return text
        self.report(path, f"{shown(str(value))} is no name", limit="a name as in /etc/passwd, or a number")
        return ""

    def number(self, values: Mapping[str, Any], key: str, path: str, low: int, high: int, default: int) -> int:
        value = values.get(key, default)
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        self.report(path, f"{shown(str(value))} is out of range", limit=f"a number {low} to {high}")
        return default

    def table(self, key: str) -> Mapping[str, Any]:
        value = self.values.get(key, {})
        if isinstance(value, dict):
            return value
        self.report(key, "not a table", fix=f"Write [{key}] and its entries below.")
        return {}

    def pickup(self) -> int:
        text = self.word("pickup", "60s")
        try:
            return nanoseconds(duration_format(text)) if text != "0" else 0
        except FormatError as error:
            self.report("pickup", error.message, limit=error.limit)
            return 0

    def ports(self) -> Iterator[PortConfig]:
        values = self.table("ports")
        numbers = {name: number for number, name in enumerate(sorted(values))}
        devices: dict[str, str] = {}
        for name, value in values.items():
            path = f"ports.{name}"
            given = {"device": value} if isinstance(value, str) else value
            try:
                port_name(name)
            except FormatError as error:
                self.report(path, error.message, limit=error.limit)
                continue
            if not isinstance(given, dict):
                self.report(path, "not a device", fix=f'Write {name} = "linux:IFNAME".')
                continue
            for key in given:
                if key not in _PORT_KEYS:
                    limit = ", ".join(_PORT_KEYS)
                    self.report(f"{path}.{key}", "unknown field", limit=limit, nearest=nearest(key, _PORT_KEYS))
            device = self.device(given.get("device"), path)
            first = devices.setdefault(device, name)
            if first != name and device and device.partition(":")[0] in ("linux", "tap", "dpdk"):
                self.report(path, f"port {first} is {device} too", fix="Give each port its own device.")
            mtu = self.number(given, "mtu", f"{path}.mtu", 1280, 9216, 1500)
            yield PortConfig(numbers[name], name, device, mtu, self.mac(given, path))

    def device(self, value: object, path: str) -> str:
        if not isinstance(value, str):
            self.report(path, "no device", fix='Add device = "linux:IFNAME".')
            return ""
        kind, colon, rest = value.partition(":")
        limit = "linux:IFNAME, tap:IFNAME, null, ring, pcap:IN,OUT, dpdk:DEVARGS or replay"
        if kind not in _DEVICES:
            self.report(path, f"{shown(value)} is not a device", limit=limit, nearest=nearest(kind, _DEVICES))
        elif kind in ("linux", "tap") and not re.fullmatch(r"[^\s/:]{1,15}", rest):
            self.report(path, f"{shown(value)} is not a device", limit=f"{kind}:IFNAME, a name of 1 to 15 characters")
        elif kind in ("pcap", "dpdk") and not rest:
            self.report(path, f"{shown(value)} is not a device", limit=limit)
        elif kind in ("null", "ring", "replay") and colon:
            self.report(path, f"{kind} takes nothing behind a colon", fix=f'Write "{kind}".')
        return value

    def mac(self, given: Mapping[str, Any], path: str) -> str:
        value = given.get("mac", "")
        if value == "":
            return ""
        try:
            return mac(value if isinstance(value, str) else str(value))
        except FormatError as error:
            self.report(f"{path}.mac", error.message, limit=error.limit)
            return ""

    def capacities(self) -> Iterator[tuple[str, int]]:
        known = schema().table_numbers
        for table in self.table("capacities"):
            path = f"capacities.{table}"
            if table not in known:
                self.report(path, "no such table", limit=", ".join(known), nearest=nearest(table, known))
                continue
            yield table, self.number(self.table("capacities"), table, path, 1, MOST_ENTRIES, 1)

    def owners(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        known = schema().table_numbers
        taken: dict[str, str] = {}
        for owner, tables in self.table("owners").items():
            path = f"owners.{owner}"
            if isinstance(tables, dict):
                for key in tables:
                    if key not in _OWNER_KEYS:
                        limit = ", ".join(_OWNER_KEYS)
                        self.report(f"{path}.{key}", "unknown field", limit=limit, nearest=nearest(key, _OWNER_KEYS))
                tables = tables.get("tables")
            if not isinstance(tables, list) or not all(isinstance(table, str) for table in tables):
                self.report(
                    path,
                    "not a list of tables",
                    fix=f'Write {owner} = ["route"], or {owner} = {{tables = ["route"], user = "NAME"}}.',
                )
                continue
            for table in tables:
                if table not in known:
                    fix = "A table of a stage that isn't installed needs the stage: --with DIR."
                    self.report(path, f"no such table: {shown(table)}", nearest=nearest(table, known), fix=fix)
                elif taken.setdefault(table, owner) != owner:
                    self.report(path, f"table {table} has the owner {taken[table]} already", limit="one owner a table")
            yield owner, tuple(tables)

    def writers(self) -> Iterator[tuple[str, tuple[str, str]]]:
        for owner, given in self.table("owners").items():
            if not isinstance(given, dict):
                continue
            who = (self.who(given, "user", f"owners.{owner}.user"), self.who(given, "group", f"owners.{owner}.group"))
            if owner == "dsnd" and any(who):
                self.report(f"owners.{owner}", "dsnd is root's", fix="Name another owner, or leave out user and group.")
            elif any(who):
                yield owner, who

    def awaited(self) -> Iterator[str]:
        """Owners without whose rows nothing is forwarded: all, but for those that say otherwise."""
        for owner, given in self.table("owners").items():
            wait = given.get("wait", True) if isinstance(given, dict) else True
            if not isinstance(wait, bool):
                self.report(f"owners.{owner}.wait", "neither true nor false", limit="true, false")
            elif wait and owner != "dsnd" and (given.get("tables") if isinstance(given, dict) else given):
                yield owner
