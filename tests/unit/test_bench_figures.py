"""The figures of the bench: what they are made of, and tiny ones end to end, without huge pages."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hal.packet.schema.rows import Rows
from tests.bench import __main__ as bench
from tests.bench import change, effort, forwarding, generator, rest, routes, rules
from tests.bench.results import KINDS, Figure
from tests.conftest import ROOT

# An engine is started to outlive who started it, and a Popen that is forgotten says so.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module", autouse=True)
def built() -> None:
    done = subprocess.run([".ci/engine", "engine"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-5_000:]
    generator.build()


def left_behind() -> list[str]:
    """Processes and namespaces of this test's process that are still there."""
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    commands = {child: Path(f"/proc/{child}/cmdline") for child in children}
    engines = [child for child, path in commands.items() if path.exists() and b"dsn-engine" in path.read_bytes()]
    spaces = [path.name for path in Path("/run/netns").glob(f"dsn-bench-*-{os.getpid()}")]
    return engines + spaces


def test_every_figure_can_be_measured() -> None:
    assert list(bench.FIGURES) == list(KINDS)


@pytest.mark.parametrize("shape", [rules.cloud, rules.mixed], ids=["cloud", "mixed"])
@pytest.mark.parametrize("count", [10, 1_000])
def test_rules_allow_all_of_the_traffic_and_only_the_last_meets_the_probes(
    shape: Callable[[int], Rows], count: int
) -> None:
    data = shape(count).data
    assert len(data) == count
    for_udp = (data["protocol_low"] <= rules.UDP) & (data["protocol_high"] >= rules.UDP)
    assert (data["verdict"][for_udp] == 1).all()
    narrow = data[:-1]
    assert ((narrow["source_len"] >= 64) | (narrow["destination_len"] >= 64)).all()
    assert (np.diff(data["priority"]) >= 0).all()


def test_a_list_of_rules_is_the_same_each_time() -> None:
    assert (rules.mixed(100).raw() == rules.mixed(100).raw()).all()
    assert (rules.cloud(100).raw() == rules.cloud(100).raw()).all()


def test_without_the_real_table_one_is_made_in_its_shape() -> None:
    table = routes.full_table(path=Path("/nonexistent"))
    assert (len(table), table.origin) == (
        sum(routes.IPV4.values()) + sum(routes.IPV6.values()),
        "made in a real one's shape",
    )
    pairs = np.column_stack([table.addresses, table.lengths])
    assert len({pair.tobytes() for pair in pairs}) == len(table)
    some = routes.full_table(1_000, Path("/nonexistent"))
    assert len(some) == 1_000
    assert routes.address_only_in(some, ("10.0.0.0/8",)).count(".") == 3


def test_a_percentile_is_one_of_the_numbers() -> None:
    assert change.percentile(list(range(1, 101)), 0.99) == 99
    assert change.percentile([3.0], 0.99) == 3.0


@pytest.mark.parametrize(
    "measured",
    [forwarding.first_packet, change.load_routes, rest.memory_flow, rest.idle],
    ids=lambda measured: str(measured.__name__),
)
def test_a_tiny_figure_end_to_end(measured: bench.Measure) -> None:
    figure = measured(effort.TINY)
    assert isinstance(figure, Figure)
    assert left_behind() == []


def test_tiny_runs_of_traffic_come_out_right() -> None:
    phase = forwarding.firewall_once(1_000, effort.TINY)
    assert (phase.packets, phase.out, phase.wrong) == (20_000, 20_000, 0)
    assert all(took > 0 for took in change.change_once(effort.TINY))


def test_what_is_void_is_said_and_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def void(_: effort.Effort) -> Figure:
        raise generator.VoidError("a packet was wrong")

    monkeypatch.setattr(bench, "FIGURES", {"idle": void})
    rows, said = bench.measure(["idle"], effort.TINY)
    assert (rows, said) == ([], ["idle: void: a packet was wrong"])


def test_the_bench_keeps_off_the_core_under_test() -> None:
    before = os.sched_getaffinity(0)
    try:
        bench.keep_off(1)
        assert os.sched_getaffinity(0) == (before - {1} or before)
    finally:
        os.sched_setaffinity(0, before)
