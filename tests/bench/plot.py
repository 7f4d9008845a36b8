"""A picture of build/bench.json in docs/bench/: how far each figure is from what it has to reach.

python -m tests.bench.plot [BENCH.JSON]
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.bench.results import KINDS, PATH, ROOT, Figure, Sense, read

FOLDER = ROOT / "docs" / "bench"


def share_of_limit(row: Figure) -> list[tuple[str, float, str]]:
    """For each limit of a figure: its name, how much of it is used up (1 is just reached, less is better), in words."""
    bars = []
    for limit in KINDS[row.id].limits:
        number = row.number(limit.name)
        used = number / limit.number if limit.sense is Sense.AT_MOST else limit.number / number if number else 0.0
        name = row.id if limit.name in ("value", "ratio") else f"{row.id}\n{limit.name}"
        unit = f" {row.unit}" if limit.name == "value" else " ×" if limit.name == "ratio" else ""
        bars.append((name, used, f"{number:.3g}{unit} ({limit.sense.value} {limit.number:g})"))
    return bars


def draw(machine: Mapping[str, str | int | float], figures: Sequence[Figure], folder: Path = FOLDER) -> Path:
    """Draw figures.svg; the same numbers give the same file."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "bench"
    from matplotlib import pyplot as plt

    bars = [bar for row in figures for bar in share_of_limit(row)]
    picture, axes = plt.subplots(figsize=(9, 1.2 + 0.5 * len(bars)), layout="constrained")
    positions = range(len(bars))
    colours = ["tab:green" if used <= 1 else "tab:red" for _, used, _ in bars]
    axes.barh(positions, [used for _, used, _ in bars], color=colours)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_yticks(positions, [name for name, _, _ in bars])
    axes.invert_yaxis()
    axes.set_xlim(0, max([1.8, *(used * 1.5 for _, used, _ in bars)]))
    for position, (_, used, words) in enumerate(bars):
        axes.text(used, position, f" {words}", va="center")
    axes.set_xlabel("share of the limit (left of the line: reached)")
    axes.set_title(f"{machine.get('cpu', '')}, DPDK {machine.get('dpdk', '')}", fontsize="small")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "figures.svg"
    picture.savefig(path, metadata={"Date": None})
    plt.close(picture)
    return path


if __name__ == "__main__":
    print(draw(*read(Path(sys.argv[1]) if len(sys.argv) > 1 else PATH)))
