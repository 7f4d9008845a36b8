"""Hold a backend to the contract from the command line.

python -m hal.conformance --backend twin
python -m hal.conformance --backend acme_card --level tables
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from rich.console import Console

from hal.conformance.check import Level
from hal.conformance.device import find_device
from hal.conformance.run import checks_for, run, say
from hal.errors import HalError
from hal.text import printable_line


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m hal.conformance", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backend", help="an entry point of dsn.backends, or a package with device.py")
    parser.add_argument("--stage", action="append", default=[], metavar="PACKAGE", help="a stage that isn't installed")
    parser.add_argument("--level", choices=[level.word for level in Level], help="default: what the backend tells")
    parser.add_argument("--check", action="append", metavar="NAME", help="only these checks")
    parser.add_argument("--list", action="store_true", help="all checks with the sentences they check; runs none")
    parser.add_argument("--json", action="store_true", help="the report as JSON")
    parser.add_argument("--every", action="store_true", help="a line for every check, not only for failed ones")
    options = parser.parse_args(arguments)
    console = Console()
    level = Level.of(options.level) if options.level else None
    checks = checks_for(level or Level.ALL)
    if options.check:
        unknown = sorted(set(options.check) - {check.name for check in checks})
        if unknown:
            parser.error(f"no check {unknown[0]}; --list shows them")
        checks = [check for check in checks if check.name in options.check]
    if options.list:
        for check in checks:
            say(console, f"{check.level.word} {check.name}: {check.about}")
            for sentence in check.sentences:
                say(console, f"    {sentence}")
        return 0
    if not options.backend:
        parser.error("--backend is wanted")
    try:
        report = run(
            find_device(options.backend, options.stage),
            level,
            checks,
            lambda words: print(printable_line(words), file=sys.stderr, flush=True),
        )
    except HalError as error:
        sys.stderr.write(f"{printable_line(str(error))}\n")
        return 2
    if options.json:
        print(json.dumps(report.to_dict(), indent=1))
    else:
        report.print(console, options.every)
    return 0 if report.passed else 1


def _tell(words: str) -> None:
    sys.stderr.write(f"{printable_line(words)}\n")


if __name__ == "__main__":
    sys.exit(main())
