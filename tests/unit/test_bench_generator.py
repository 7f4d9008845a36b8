"""The generator's Python side: configuration as text, results as values, and when a phase is void."""

import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.bench import floor, generator, nft_peer
from tests.bench.floor import Floor
from tests.bench.generator import Control, Phase, Send, Traffic, VoidError, establish, wait_for_phase

GOOD: dict[str, Any] = {
    "phase": "run",
    "kind": "run",
    "flows": 1000,
    "frame": 64,
    "packets": 10,
    "out": 10,
    "wrong": 0,
    "lost": 0,
    "control": 0,
    "icmp": 0,
    "strange_thread": 0,
    "alloc_failed": 0,
    "probe_sent": 0,
    "probe_out": 0,
    "ns_per_packet": 25.0,
    "ns_per_packet_with_gaps": 26.0,
    "seconds": 1.0,
    "rate": 0.0,
    "polls": 3,
    "gap_ns": 20000,
    "gaps": 1,
    "gap_seconds": 0.1,
    "latency_ns": {"p50": 1, "p90": 1, "p99": 2, "p999": 2, "max": 2, "histogram": [[0.0, 3], [1.5, 7]]},
}


def phase(folder: Path, **changes: object) -> Phase:
    path = folder / "00-run.json"
    path.write_text(json.dumps({**GOOD, **changes}))
    return Phase.read(path)


def test_a_configuration_is_lines_of_keys_and_phases(tmp_path: Path) -> None:
    traffic = Traffic(5, "forward", (Send("open", "each"), Send("run", "run", 7, 1e6)), keys={"ttl": 9})
    assert traffic.text(tmp_path, tmp_path / "page").splitlines() == [
        "flows = 5",
        "proto = udp",
        "expect = forward",
        "ttl = 9",
        f"results = {tmp_path}",
        f"control = {tmp_path}/page",
        "phase = open each 0 0.000",
        "phase = run run 7 1000000.000",
    ]


def test_tcp_flows_are_established_by_a_handshake() -> None:
    assert [send.kind for send in establish("tcp")] == ["each", "reply", "ack"]
    assert [send.kind for send in establish("udp")] == ["each", "reply", "each"]


def test_a_phase_without_fault_counts(tmp_path: Path) -> None:
    good = phase(tmp_path).valid()
    assert (good.name, good.ns_per_packet, good.histogram) == ("run", 25.0, [(0.0, 3), (1.5, 7)])
    assert "histogram" not in good.latency_ns


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"wrong": 1, "first_wrong": {"why": "wrong IP header", "got": "00", "want": "01"}}, "wrong IP header"),
        ({"lost": 2}, "2 of 10 packets did not come out"),
        ({"lost": -2}, "2 packets more came out than went in"),
        ({"icmp": 3}, "3 ICMP messages"),
        ({"strange_thread": 4}, "4 packets came from a thread"),
        ({"alloc_failed": 5}, "5 times there was no packet buffer"),
    ],
)
def test_a_fault_voids_a_phase(tmp_path: Path, changes: dict[str, object], says: str) -> None:
    with pytest.raises(VoidError, match=says):
        phase(tmp_path, **changes).valid()


def test_a_program_that_ends_early_is_void_with_its_last_words(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("no huge pages")
    with pytest.raises(VoidError, match="no huge pages"):
        wait_for_phase(tmp_path / "00-run.json", 5, lambda: True, log)
    with pytest.raises(VoidError, match="did not end within 0 s"):
        wait_for_phase(tmp_path / "00-run.json", 0, lambda: False, log)


def test_the_shared_page_is_numbers_by_name(tmp_path: Path) -> None:
    page = Control(tmp_path / "page")
    try:
        assert not page.ready()
        page["go"] = 3
        page["tsc_hz"], page["tsc"], page["monotonic_ns"] = 2_000_000_000, 100, 5_000
        assert page["go"] == 3
        assert page.monotonic_ns(2_100) == 6_000
        assert (tmp_path / "page").read_bytes()[32:40] == (3).to_bytes(8, "little")
    finally:
        page.close()


def test_a_floor_above_its_limit_is_void() -> None:
    assert Floor(1, 64, (25.0, 31.0, 26.0)).void == ""
    assert "above 30" in Floor(1, 64, (31.0, 30.5, 26.0)).void


def test_python_and_c_see_the_same_page() -> None:
    header = (generator.SOURCE / "control.h").read_text()
    names = re.findall(r"^    uint64_t (\w+?)(?:\[(\d)\])?;", header, re.MULTILINE)
    assert names
    fields = ["" if name.startswith("reserved") else name for name, count in names for _ in range(int(count or 1))]
    assert fields == list(Control._FIELDS)


def test_the_generators_own_checks_pass() -> None:
    generator.build()
    subprocess.run(["meson", "test", "-C", str(generator.BUILD)], check=True, capture_output=True)


def send_through_testpmd(mode: str, traffic: Traffic, folder: Path) -> list[Phase]:
    command = floor.command(mode=mode, memory=floor.WITHOUT_HUGE_PAGES)
    with generator.running(command, traffic, folder) as program:
        return [program.phase(number, 30) for number in range(len(traffic.phases))]


@pytest.mark.parametrize("proto", ["udp", "tcp"])
@pytest.mark.parametrize("vlan", [0, 7])
def test_testpmd_swaps_every_packet_as_expected(tmp_path: Path, proto: str, vlan: int) -> None:
    traffic = floor.traffic(1_000, 20_000, {**floor.TUPLES, "vlan0": vlan}, proto)
    phases = [phase.valid() for phase in send_through_testpmd("5tswap", traffic, tmp_path)]
    assert [phase.out for phase in phases[-2:]] == [5_000, 20_000]
    assert all(phase.ns_per_packet > 0 for phase in phases)


def test_another_treatment_of_packets_voids_the_run(tmp_path: Path) -> None:
    (run,) = send_through_testpmd(
        "macswap", Traffic(9, "5tswap", (Send("run", "run", 500),), keys=floor.TUPLES), tmp_path
    )
    assert run.wrong == 500
    with pytest.raises(VoidError, match="500 of 500 packets came out wrong; the first: wrong IP header"):
        run.valid()


def test_what_does_not_come_out_is_lost(tmp_path: Path) -> None:
    (run,) = send_through_testpmd(
        "rxonly", Traffic(9, "5tswap", (Send("run", "run", 500),), keys=floor.TUPLES), tmp_path
    )
    with pytest.raises(VoidError, match="500 of 500 packets did not come out"):
        run.valid()


def test_phases_begin_when_the_shared_page_says_so_and_probes_are_seen(tmp_path: Path) -> None:
    page = Control(tmp_path / "page")
    keys: dict[str, str | int] = {
        **floor.TUPLES,
        "probe_src": "10.1.0.1",
        "probe_dst": "192.0.2.0/28",
        "probe_every": 4,
        "probe_flows": 16,
    }
    traffic = Traffic(100, "5tswap", (Send("one", "run", 10_000), Send("two", "run", 1 << 40)), keys=keys)
    command = floor.command(memory=floor.WITHOUT_HUGE_PAGES)
    try:
        with generator.running(command, traffic, tmp_path, control=tmp_path / "page") as program:
            with pytest.raises(VoidError, match="did not end"):
                program.phase(0, 2)
            assert page.ready()
            assert page["begun"] == 0
            page["go"] = 1
            assert program.phase(0, 10).valid().out == 10_000
            assert (page["begun"], page["ended"], page["probe_armed"]) == (1, 1, 0)
            page["probe_arm"], before = 1, time.monotonic_ns()
            page["go"] = 2
            with pytest.raises(VoidError, match="did not end"):
                program.phase(1, 0.5)
            page["stop"] = 1
            second = program.phase(1, 10).valid()
        assert second.out == page["out"] == page["sent"]
        assert second.probe_out == second.probe_sent == page["probe_out"] > 100
        assert page["probe_armed"] == 1
        assert before < page.monotonic_ns(page["probe_first_out"]) < page.monotonic_ns(page["probe_last_out"])
    finally:
        page.close()


def test_a_wrong_configuration_is_refused_in_words(tmp_path: Path) -> None:
    traffic = Traffic(9, "5tswap", (Send("run", "run", 500),), keys={**floor.TUPLES, "ttl": 1})
    with pytest.raises(VoidError, match=r"generator.conf:8: 1 is outside 2..255"):
        send_through_testpmd("5tswap", traffic, tmp_path)


def test_the_peers_rules_stand_between_what_is_established_and_drop() -> None:
    lines = [line.strip() for line in nft_peer.ruleset(["tcp dport 80 accept", "udp dport 53 drop"]).splitlines()]
    assert lines == [
        "table inet bench {",
        "chain forward {",
        "type filter hook forward priority filter; policy drop;",
        "ct state established,related accept",
        "ct state invalid drop",
        "tcp dport 80 accept",
        "udp dport 53 drop",
        "}",
        "}",
    ]


def test_what_the_sender_takes_is_taken_off() -> None:
    peer = nft_peer.Peer(1_000, (nft_peer.Run(1700.0, 700.0), nft_peer.Run(1900.0, 700.0)))
    assert peer.values == (1000.0, 1200.0)
