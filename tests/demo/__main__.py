"""`make demo`: shows a software card at work, and fails if anything is not as it should be."""

from __future__ import annotations

import os
import shutil
import sys
import time

from rich.console import Console
from rich.table import Table

from tests.demo.show import INTENT, STEPS, Demo, Line, build, wait_for_web
from tests.netns.world import ROOT, World, leftovers, run


def tell(console: Console, line: Line) -> None:
    mark = "[green]ok[/]" if line.right else "[red]NOT AS IT SHOULD BE[/]"
    console.print(f"  {mark}  {line.what}: {line.saw}", highlight=False)


def table(lines: list[Line], seconds: float) -> Table:
    result = Table(title=f"What the demo saw, in {seconds:.0f} s")
    for column in ("what", "should be", "was", ""):
        result.add_column(column, overflow="fold")
    for line in lines:
        result.add_row(line.what, line.expected, line.saw, "ok" if line.right else "WRONG")
    return result


def main() -> int:
    """Exit codes: 0 all as it should be, 1 not."""
    console = Console()
    if os.geteuid() != 0:
        console.print("The demo makes network namespaces: run it as root.")
        return 1
    begin = time.monotonic()
    folder = ROOT / "build/demo"
    shutil.rmtree(folder, ignore_errors=True)
    world = World(folder)
    demo = Demo(world, lambda line: tell(console, line))
    failure = ""
    try:
        console.print("A software card with an uplink, a web server, its client and an intruder:")
        build(world)
        world.start_card()
        applied = world.dsn("apply", str(INTENT))
        console.print(f"  {applied.stdout.strip()}", highlight=False)
        wait_for_web(demo)
        for step in STEPS:
            console.print((step.__doc__ or "").strip())
            step(demo)
    except (RuntimeError, OSError, ValueError, KeyError, TimeoutError) as error:
        failure = f"{type(error).__name__}: {error}"
    finally:
        stopped = world.dsn("card", "stop", check=False)
        world.close()
    time.sleep(0.2)
    left = [*leftovers(world.tag), *(str(path) for path in folder.rglob("*") if path.is_socket())]
    saw = ", ".join(left) or "nothing"
    demo.see(
        "processes, namespaces, devices, sockets, mounts left", "nothing", saw, not left and stopped.returncode == 0
    )
    console.print(table(demo.lines, time.monotonic() - begin))
    if failure:
        console.print(f"The demo broke off: {failure}", style="red", markup=False)
        log = folder / "run/dsnd.log"
        if log.exists():
            console.print(run("tail", "-n", "20", str(log), check=False).stdout, markup=False)
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if failure or not all(line.right for line in demo.lines) else 0


if __name__ == "__main__":
    sys.exit(main())
