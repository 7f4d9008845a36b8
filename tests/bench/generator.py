"""The traffic generator from Python's side: build it, write its configuration, run a program under it, read results."""

import json
import mmap
import os
import struct
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "tests" / "bench" / "generator"
BUILD = ROOT / "build" / "bench" / "generator"
CONTROL_SIZE = 4096
MAGIC = b"DSNgen01"


class VoidError(Exception):
    """A run that measured nothing: a packet was wrong or missing, or the program ended before its time."""


def build() -> Path:
    """The library to preload, built if it isn't up to date."""
    if not (BUILD / "build.ninja").exists():
        subprocess.run(["meson", "setup", str(BUILD), str(SOURCE)], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["ninja", "-C", str(BUILD)], check=True, stdout=subprocess.DEVNULL)
    return BUILD / "libdsn_generator.so"


@dataclass(frozen=True)
class Send:
    """One phase: `kind` is first, each, reply, ack or run; a count of 0 is one for each flow; rate in packets/s."""

    name: str
    kind: str
    count: int = 0
    rate: float = 0.0


def establish(proto: str) -> tuple[Send, ...]:
    """The phases after which every flow is established: a UDP packet each way and one more, by which it goes on (ADR
    0197), or TCP's handshake."""
    if proto == "tcp":
        return Send("syn", "each"), Send("synack", "reply"), Send("ack", "ack")
    return Send("open", "each"), Send("answer", "reply"), Send("more", "each")


@dataclass(frozen=True)
class Traffic:
    """What a run shall send and how it must come out. The keys of `keys` are the generator's (README)."""

    flows: int
    expect: str
    phases: tuple[Send, ...]
    proto: str = "udp"
    keys: Mapping[str, str | int] = field(default_factory=dict)

    def text(self, results: Path, control: Path | None = None) -> str:
        lines: dict[str, str | int] = {
            "flows": self.flows,
            "proto": self.proto,
            "expect": self.expect,
            **self.keys,
            "results": str(results),
        }
        if control is not None:
            lines["control"] = str(control)
        phases = [f"phase = {send.name} {send.kind} {send.count} {send.rate:.3f}" for send in self.phases]
        return "\n".join([*(f"{key} = {value}" for key, value in lines.items()), *phases, ""])


@dataclass(frozen=True)
class Phase:
    """What one phase measured. `ns_per_packet` leaves out gaps: polls more than `gap_ns` apart, when the host had the
    core; how much that was stands beside it. Latency is from the due time to the way out."""

    name: str
    kind: str
    flows: int
    frame: int
    packets: int
    out: int
    wrong: int
    lost: int
    ns_per_packet: float
    ns_per_packet_with_gaps: float
    seconds: float
    gaps: int
    gap_ns: int
    gap_seconds: float
    probe_sent: int
    probe_out: int
    latency_ns: Mapping[str, float]
    histogram: Sequence[tuple[float, int]]
    void: str

    @classmethod
    def read(cls, path: Path) -> "Phase":
        """A phase's file; `void` says why its numbers mean nothing, or nothing."""
        data: dict[str, Any] = json.loads(path.read_text())
        latency = dict(data["latency_ns"])
        histogram = [(float(low), int(count)) for low, count in latency.pop("histogram")]
        plain = {
            name: data[name] for name in cls.__dataclass_fields__ if name in data and name not in ("latency_ns", "void")
        }
        return cls(**plain, name=data["phase"], latency_ns=latency, histogram=histogram, void=_why_void(data))

    def valid(self) -> "Phase":
        """This phase, if it measured anything.

        Raises:
            VoidError: it didn't, and why.
        """
        if self.void:
            raise VoidError(f"phase {self.name}: {self.void}")
        return self


def _why_void(data: Mapping[str, Any]) -> str:
    reasons = []
    if data["wrong"]:
        sample = data.get("first_wrong", {})
        reasons.append(
            f"{data['wrong']} of {data['packets']} packets came out wrong; the first: {sample.get('why')}, "
            f"got {sample.get('got')}, wanted {sample.get('want')}"
        )
    if data["lost"] > 0:
        reasons.append(f"{data['lost']} of {data['packets']} packets did not come out")
    if data["lost"] < 0:
        reasons.append(f"{-data['lost']} packets more came out than went in")
    if data["icmp"]:
        reasons.append(f"{data['icmp']} ICMP messages came out")
    if data["strange_thread"]:
        reasons.append(f"{data['strange_thread']} packets came from a thread that isn't the measured one")
    if data["alloc_failed"]:
        reasons.append(f"{data['alloc_failed']} times there was no packet buffer")
    return "; ".join(reasons)


class Control:
    """The page that a run shares with the generator (generator/control.h)."""

    _FIELDS = (
        *("magic", "tsc_hz", "tsc", "monotonic_ns", "go", "stop", "probe_arm", ""),
        *("begun", "ended", "sent", "out", "wrong", "", "", ""),
        *("probe_armed", "probe_sent", "probe_out", "probe_first_out", "probe_last_out"),
        *("probe_first_out_due", "probe_last_out_due", ""),
    )

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(CONTROL_SIZE))
        with path.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), CONTROL_SIZE)

    def __getitem__(self, name: str) -> int:
        value: int = struct.unpack_from("=Q", self._page, 8 * self._FIELDS.index(name))[0]
        return value

    def __setitem__(self, name: str, value: int) -> None:
        struct.pack_into("=Q", self._page, 8 * self._FIELDS.index(name), value)

    def ready(self) -> bool:
        """Whether the generator sits in its program and has read its configuration."""
        return self._page[:8] == MAGIC

    def monotonic_ns(self, tsc: int) -> int:
        """A time stamp of the generator's on the clock of time.monotonic_ns()."""
        return self["monotonic_ns"] + (tsc - self["tsc"]) * 1_000_000_000 // self["tsc_hz"]

    def close(self) -> None:
        self._page.close()


def environment(library: Path, configuration: Path) -> dict[str, str]:
    """What a program's environment needs so that the generator rides along."""
    return {**os.environ, "LD_PRELOAD": str(library), "DSN_BENCH_GENERATOR": str(configuration)}


@dataclass
class Running:
    """A program with the generator in it."""

    process: subprocess.Popen[bytes]
    traffic: Traffic
    folder: Path
    log: Path

    def phase(self, number: int, timeout_s: float) -> Phase:
        """Wait for a phase's end.

        Raises:
            VoidError: the program ended, or the time did.
        """
        path = self.folder / f"{number:02}-{self.traffic.phases[number].name}.json"
        return wait_for_phase(path, timeout_s, lambda: self.process.poll() is not None, self.log)


def wait_for_phase(path: Path, timeout_s: float, ended: Callable[[], bool], log: Path) -> Phase:
    """A phase's results when they are there. `ended` says whether the program under test is no more."""
    deadline = time.monotonic() + timeout_s
    while not path.exists():
        if ended():
            raise VoidError(f"the program ended before phase {path.stem}:\n{log.read_text()[-2000:]}")
        if time.monotonic() > deadline:
            raise VoidError(f"phase {path.stem} did not end within {timeout_s:.0f} s:\n{log.read_text()[-2000:]}")
        time.sleep(0.02)
    return Phase.read(path)


@contextmanager
def running(
    command: Sequence[str], traffic: Traffic, folder: Path, *, control: Path | None = None, quit_with: bytes = b"\n"
) -> Iterator[Running]:
    """Run a program with the generator preloaded. Its standard input gets `quit_with` at the end.

    Args:
        folder: an empty one, for configuration, results and the program's own output.
        control: a page made by Control; without one the phases follow each other at once.
    """
    library = build()
    configuration, log = folder / "generator.conf", folder / "program.log"
    configuration.write_text(traffic.text(folder, control))
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=environment(library, configuration),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Running(process, traffic, folder, log)
    finally:
        try:
            process.communicate(quit_with, timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
