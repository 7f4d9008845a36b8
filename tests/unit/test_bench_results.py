"""build/bench.json: its shape, which number is divided by which, and what counts as reached."""

import json
from pathlib import Path

import pytest

from tests.bench import machine, plot, results
from tests.bench.results import KINDS, Figure, Ratio, figure

REST = {"p99_us": 300.0, "bare_p99_us": 290.0, "p50_over_bare": 1.2}
KEYS = ["id", "value", "unit", "peer", "peer_value", "ratio", "spread", "size", "more"]


def firewall(runs: list[float], floor: list[float], name: str = "firewall_1k") -> Figure:
    return figure(name, runs, 1_000, peer="testpmd 5tswap", peer_runs=floor)


def test_the_file_has_exactly_the_agreed_shape(tmp_path: Path) -> None:
    path = tmp_path / "build" / "bench.json"
    idle = figure("idle", [1.5], 4, more=REST)
    results.write({"cpu": "a", "cores": 2}, [idle, firewall([50.0, 48.0, 52.0], [25.0])], path)
    data = json.loads(path.read_text())
    assert list(data) == ["machine", "figures"]
    assert data["machine"] == {"cpu": "a", "cores": 2}
    assert [list(row) for row in data["figures"]] == [KEYS, KEYS]
    assert data["figures"] == [
        {
            "id": "firewall_1k",
            "value": 50.0,
            "unit": "ns/packet",
            "peer": "testpmd 5tswap",
            "peer_value": 25.0,
            "ratio": 2.0,
            "spread": 0.08,
            "size": 1000,
            "more": {},
        },
        {
            "id": "idle",
            "value": 1.5,
            "unit": "% of a core",
            "peer": None,
            "peer_value": None,
            "ratio": None,
            "spread": 0.0,
            "size": 4,
            "more": REST,
        },
    ]
    assert [path.name for path in path.parent.iterdir()] == ["bench.json"]


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    row = figure("first_packet", [500.0], 10_000, more={"over_10_rules": 1.5, "rules_10": 333.0, "rules_1k": 400.0})
    results.write({"cores": 2}, [row], tmp_path / "bench.json")
    assert results.read(tmp_path / "bench.json") == ({"cores": 2}, [row])


def test_every_figure_of_the_issue_is_known() -> None:
    assert list(KINDS) == [
        "firewall_1k",
        "firewall_1m",
        "firewall_tcp",
        "firewall_vs_nft",
        "first_packet",
        "change_one",
        "churn",
        "load_routes",
        "memory_flow",
        "idle",
    ]


def test_against_the_floor_ours_is_divided_by_the_floors() -> None:
    assert firewall([60.0], [24.0]).ratio == 2.5


def test_times_as_fast_is_the_peers_by_ours() -> None:
    more = {"on_veth": 900.0, "on_veth_ratio": 1.5}
    row = figure("firewall_vs_nft", [50.0], 1_000_000, peer="nftables", peer_runs=[1500.0], more=more)
    assert row.ratio == 30.0
    assert row.missed() == []


def test_of_the_still_rate_is_the_rate_by_the_still_one() -> None:
    row = figure("churn", [9e6], 1_010, peer="still", peer_runs=[10e6])
    assert row.ratio == 0.9
    assert row.missed() == []


def test_where_nothing_is_divided_the_ratio_is_null() -> None:
    assert figure("load_routes", [1.2], 1_060_000).ratio is None
    assert Ratio.NONE.of(1.0, None) is None


def test_values_are_medians_and_the_spread_is_of_all_runs() -> None:
    row = firewall([50.0, 90.0, 49.0], [25.0, 24.0, 26.0])
    assert (row.value, row.peer_value, row.ratio) == (50.0, 25.0, 2.0)
    assert row.spread == pytest.approx((90.0 - 49.0) / 50.0)
    assert results.spread([3.0]) == 0.0


def test_a_limit_that_is_just_reached_is_reached() -> None:
    assert firewall([50.0], [25.0]).missed() == []
    assert firewall([50.1], [25.0]).missed() == ["firewall_1k: ratio is 2.004, to reach is at most 2"]
    assert firewall([75.0], [25.0], "firewall_1m").missed() == []


def test_a_further_number_has_its_own_limit() -> None:
    more = {"over_10_rules": 2.5, "rules_10": 240.0, "rules_1k": 400.0}
    row = figure("first_packet", [600.0], 10_000, more=more)
    assert row.missed() == ["first_packet: over_10_rules is 2.5, to reach is at most 2"]


@pytest.mark.parametrize("rate", [8.9e6, 1.0])
def test_less_than_the_least_is_missed(rate: float) -> None:
    assert len(figure("churn", [rate], 1_010, peer="still", peer_runs=[10e6]).missed()) == 1


@pytest.mark.parametrize(
    ("name", "runs", "peer_runs", "more", "says"),
    [
        ("firewall_2k", [1.0], [], {}, "no figure is called firewall_2k"),
        ("firewall_1k", [], [1.0], {}, "no run"),
        ("firewall_1k", [1.0], [], {}, "a peer's value is missing"),
        ("firewall_1k", [0.0], [1.0], {}, "no ratio of 0.0 and 1.0"),
        ("load_routes", [1.0], [1.0], {}, "it has no peer"),
        ("idle", [1.0], [], {}, "p99_us, bare_p99_us, p50_over_bare missing in more"),
        ("idle", [1.0], [], {**REST, "p99_us": float("nan")}, "nan is not a number"),
        ("load_routes", [float("inf")], [], {}, "inf is not a number"),
    ],
)
def test_what_is_no_figure_is_refused(
    name: str, runs: list[float], peer_runs: list[float], more: dict[str, float], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        figure(name, runs, 1, peer="somebody" if peer_runs else None, peer_runs=peer_runs, more=more)


def test_a_figure_stands_once() -> None:
    row = figure("load_routes", [1.2], 1)
    with pytest.raises(ValueError, match="load_routes: more than once"):
        results.document({}, [row, row])


def test_a_refused_document_leaves_the_old_file(tmp_path: Path) -> None:
    path, row = tmp_path / "bench.json", figure("load_routes", [1.2], 1)
    results.write({}, [row], path)
    before = path.read_text()
    with pytest.raises(ValueError, match="more than once"):
        results.write({}, [row, row], path)
    assert path.read_text() == before


def test_the_machine_is_described_without_its_name() -> None:
    facts = machine.facts()
    assert {"cpu", "cores", "memory_bytes", "kernel", "dpdk", "compiler"} <= set(facts)
    json.dumps(facts)


def test_a_bar_is_the_share_of_its_limit() -> None:
    assert [used for _, used, _ in plot.share_of_limit(firewall([25.0], [25.0]))] == [0.5]
    row = figure("churn", [10e6], 1_010, peer="still", peer_runs=[10e6])
    assert [used for _, used, _ in plot.share_of_limit(row)] == [pytest.approx(0.9)]
    row = figure("idle", [1.0], 4, more={**REST, "p99_us": 1000.0})
    assert [used for _, used, _ in plot.share_of_limit(row)] == [0.5, 2.0, pytest.approx(0.8)]


def test_the_same_numbers_give_the_same_picture(tmp_path: Path) -> None:
    rows = [firewall([50.0], [25.0]), figure("idle", [1.0], 4, more=REST)]
    first = plot.draw({"cpu": "a"}, rows, tmp_path / "a").read_bytes()
    assert first == plot.draw({"cpu": "a"}, rows, tmp_path / "b").read_bytes()
