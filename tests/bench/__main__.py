"""`make bench`: every figure, into build/bench.json and docs/bench/.

Figures that need the engine are added to FIGURES by name as they come; the floor is measured first, and nothing is
written if it is void.
"""

import sys
from collections.abc import Callable, Mapping

from tests.bench import floor, machine, plot, results
from tests.bench.floor import Floor
from tests.bench.generator import VoidError
from tests.bench.results import Figure

# Each takes the floors by number of flows.
FIGURES: Mapping[str, Callable[[Mapping[int, Floor]], Figure]] = {}


def main() -> int:
    facts = machine.facts()
    try:
        floors = {each.flows: each for each in floor.measure([1_000, 1_000_000, 10_000_000], 3, 20_000_000)}
    except VoidError as error:
        print(f"void: {error}", file=sys.stderr)
        return 1
    for each in floors.values():
        print(each)
    if void := next((each.void for each in floors.values() if each.void), ""):
        print(f"void: {void}", file=sys.stderr)
        return 1
    rows = [measure(floors) for measure in FIGURES.values()]
    for row in rows:
        print(f"{row.id}: {row.value:.4g} {row.unit}, ratio {row.ratio}, spread {row.spread:.1%}")
    results.write(facts, rows)
    if rows:
        plot.draw(facts, rows)
    missed = [sentence for row in rows for sentence in row.missed()]
    print("\n".join(missed), file=sys.stderr)
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
