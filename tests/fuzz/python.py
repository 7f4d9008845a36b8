"""What fuzz targets in Python share: atheris around a function, and its replay under coverage.py.

python -m tests.fuzz.TARGET [libFuzzer's options] CORPUS...
python -m tests.fuzz.TARGET --reach OUT CORPUS...     replay, and count lines
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.fuzz.targets import WORK, inputs, named

Mutate = Callable[[bytes, random.Random], bytes]


class Wrong(AssertionError):
    """What the target promises doesn't hold."""


def hold(condition: bool, what: str) -> None:
    """Raises Wrong where a promise is broken."""
    if not condition:
        raise Wrong(what)


def _reach(target: str, modules: Callable[[], None], one: Callable[[bytes], None], arguments: Sequence[str]) -> None:
    import coverage

    files = [str(path) for path in named(target).files()]
    counter = coverage.Coverage(data_file=None, branch=False, include=files)
    counter.start()
    modules()
    for path in inputs([Path(folder) for folder in arguments[1:]]):
        one(path.read_bytes())
    counter.stop()
    found = {}
    for name in files:
        _, statements, _, missing, _ = counter.analysis2(name)
        found[name] = [len(statements) - len(missing), len(statements)]
    Path(arguments[0]).write_text(json.dumps(found))


def run(target: str, modules: Callable[[], None], one: Callable[[bytes], None], mutate: Mutate) -> None:
    """Be a fuzz target.

    Args:
        target: its name.
        modules: imports what is fuzzed, so that it is seen.
        one: tries one input; raises where something is wrong.
        mutate: changes an input in a way that bytes alone rarely take; every other time libFuzzer does it.
    """
    if sys.argv[1:2] == ["--reach"]:
        _reach(target, modules, one, sys.argv[2:])
        return
    import atheris

    with atheris.instrument_imports(include=["services", "hal", "sdk"]):
        modules()

    def mutator(data: bytes, most: int, seed: int) -> bytes:
        if seed % 2:
            return bytes(atheris.Mutate(data, most))
        return mutate(data, random.Random(seed))[:most]

    # -merge starts its own program again, by its name.
    again = WORK / target / "again"
    again.parent.mkdir(parents=True, exist_ok=True)
    again.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tests.fuzz.{target} "$@"\n')
    again.chmod(0o755)
    sys.argv[0] = str(again)
    atheris.Setup(sys.argv, one, custom_mutator=mutator)
    atheris.Fuzz()


def words(tokens: Sequence[bytes]) -> Mutate:
    """A mutator of texts: words of `tokens` come in, lines go, come twice and change places, brackets nest."""

    def mutate(data: bytes, source: random.Random) -> bytes:
        lines = data.split(b"\n")
        here = source.randrange(len(lines))
        parts = lines[here].split(b" ")
        place = source.randrange(len(parts))
        match source.randrange(8):
            case 0:
                parts[place] = source.choice(tokens)
            case 1:
                parts.insert(place, source.choice(tokens))
            case 2:
                parts[place] = parts[place] * source.choice((2, 3, 40))
            case 3:
                parts[place] = source.choice((b"[%s]", b"{a: %s}", b"'%s'", b'"%s"', b"- %s", b"%s,%s")).replace(
                    b"%s", parts[place]
                )
            case 4:
                parts.pop(place)
        lines[here] = b" ".join(parts)
        match source.randrange(8):
            case 5:
                lines.insert(source.randrange(len(lines)), lines[source.randrange(len(lines))])
            case 6 if len(lines) > 1:
                lines.pop(here)
            case 7:
                other = source.randrange(len(lines))
                lines[here], lines[other] = lines[other], lines[here]
        return b"\n".join(lines)

    return mutate
