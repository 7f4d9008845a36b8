"""python -m tests.opinions record [EACH]   record the kept captures of Linux's stacks anew: so many of each talk (root)
python -m tests.opinions unpack FOLDER      write all captures, the kept ones and the told ones, as .pcap files
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import track

from sdk.cli import capture as pcap
from tests.opinions import odd
from tests.opinions.capture import KEPT, Capture, keep, kept
from tests.opinions.room import room
from tests.opinions.stacks import TALKS

EACH = 9


def record(each: int, console: Console) -> None:
    """Replace the kept captures. A talk in which the hosts didn't get on is had again with other weather."""
    found: list[Capture] = []
    with room(f"dsn-rec{os.getpid()}") as here:
        for kind in track(TALKS, "talks", console=console):
            number = seed = 0
            while number < each:
                seed += 1
                try:
                    capture = here.capture(f"linux/{kind}-{number}", kind, seed)
                except (OSError, AssertionError) as error:
                    console.print(f"{kind}, seed {seed}: {error!r}; again")
                    if seed > 3 * each:
                        raise
                    continue
                found.append(capture)
                number += 1
    keep(found)
    frames = sum(len(one.frames) for one in found)
    console.print(f"{len(found)} captures, {frames} frames, {KEPT.stat().st_size:,} bytes: {KEPT}")


def unpack(folder: Path, console: Console) -> None:
    count = 0
    for capture in (*kept(), *odd.captures()):
        path = folder / f"{capture.name}.pcap"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pcap.write([pcap.Frame(one.data, one.time_ns) for one in capture.frames]))
        count += 1
    console.print(f"{count} captures: {folder}")


def main(arguments: Sequence[str]) -> None:
    console = Console()
    match arguments:
        case ["record", *rest]:
            record(int(rest[0]) if rest else EACH, console)
        case ["unpack", folder]:
            unpack(Path(folder), console)
        case _:
            console.print(__doc__)
            sys.exit(2)


main(sys.argv[1:])
