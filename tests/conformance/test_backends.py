"""Every check, against every backend of ours; and the kit's own words about them."""

import importlib
import io
import json
import threading
from typing import Any

import pytest
from rich.console import Console

from hal.conformance import Check, Device, Level, State, bench, check, checks, checks_for, find_device, run, run_one
from hal.conformance.__main__ import main
from hal.conformance.device import MEANS
from hal.conformance.run import MEANS_WORDS, UNSEEN, Report, Result
from hal.errors import ErrorKind, HalError
from hal.packet.model.device import TwinDevice
from hal.packet.model.twin import Twin
from tests.conformance.devices import DEVICES, ON_WIRES, OTHERS, PortsOnlyDevice, TablesOnlyDevice

STAGES = ("antispoof", "firewall", "bridge", "route")
CHECKS = checks_for(Level.ALL)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
@pytest.mark.parametrize("device", DEVICES)
def test_backend(device: str, check: Check) -> None:
    chosen = ON_WIRES if "wire" in check.needs else DEVICES
    result = run_one(chosen[device], check, (), STAGES)
    assert result.state is State.PASSED, result.words


@pytest.mark.parametrize("device", DEVICES)
def test_nothing_is_absent(device: str) -> None:
    report = run(DEVICES[device], checks=[])
    assert (report.absent, report.told) == ((), "stateful")


@pytest.mark.parametrize("device", OTHERS)
def test_what_is_absent_is_not_held_against_it(device: str) -> None:
    report = run(OTHERS[device])
    assert [result.words for result in report.failed] == []
    assert report.passed
    assert report.reached is report.level


def test_through_ports_little_is_left_out() -> None:
    """What needs `replay` or a trace of it, or faults that it can't have, is absent for a card seen from outside."""
    report = run(OTHERS["twin through its ports"])
    absent = {result.words for result in report.results if result.state is State.ABSENT}
    assert absent == {"verb shard", *(MEANS_WORDS + means for means in MEANS)}
    assert sum(result.state is State.PASSED for result in report.results) > 120


def test_tables_alone_are_told_what_to_build_next() -> None:
    device = TablesOnlyDevice()
    assert run(device).next() == [
        "Run the kit at level stateless.",
        "Give the kit means of its device: hang: 2 checks wait for it",
        "Give the kit means of its device: cut: 2 checks wait for it",
        "Give the kit means of its device: kill: 1 check waits for it",
        "Give the kit means of its device: damages: 1 check waits for it",
    ]
    report = run(device, Level.STATELESS)
    assert not report.passed
    assert report.reached is Level.TABLES
    advice = "\n".join(report.next())
    staged = sum(result.words == "verb stage" for result in report.results)
    assert staged > 10
    assert f"Build what is absent, verb stage: {staged} checks of level stateless wait for it" in advice
    assert "Build what is absent, verb trace" in advice


def test_every_kind_of_error_is_provoked(monkeypatch: pytest.MonkeyPatch) -> None:
    found = set()
    whole = check.raises

    def noted(*arguments: Any) -> HalError:
        error = whole(*arguments)
        found.add(error.kind)
        return error

    for module in (bench, *checks.MODULES):
        if hasattr(module, "raises"):
            monkeypatch.setattr(module, "raises", noted)
    assert run(DEVICES["twin"]).passed
    assert found == set(ErrorKind)


def test_matrix_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--backend", "twin", "--level", "tables", "--check", "rows_are_ordered", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["passed"], told["whole"], told["reached"]) == (True, False, None)
    assert [result["state"] for result in told["results"]] == ["passed"]
    assert "ordered by id" in told["results"][0]["sentences"][0]
    assert main(["--backend", "twin", "--check", "rows_are_ordered"]) == 0
    said = capsys.readouterr().out
    assert "admitted" not in said
    assert "next: Run" not in said
    assert f"no level is told: 1 of {len(CHECKS)} checks were run" in said


def _passed(level: Level, words: str = "", absent: tuple[str, ...] = ()) -> Report:
    """All checks of a level, all passed; where there are words, those of packets could not be run."""
    results = [
        Result(one, State.ABSENT, words) if words and "packets" in one.needs else Result(one, State.PASSED)
        for one in checks_for(level)
    ]
    return Report("acme", level, level.word, absent, tuple(results))


def _said(report: Report) -> str:
    console = Console(record=True, width=200, file=io.StringIO())
    report.print(console)
    return console.export_text()


@pytest.mark.parametrize("level", [Level.NAT, Level.ALL])
def test_nobody_reaches_a_level_without_checks(level: Level) -> None:
    report = _passed(level)
    assert (report.reached, report.passed) == (Level.STATEFUL, False)
    said = _said(report)
    assert "admitted for: stateful\n" in said
    assert f"level {level.word} has no checks yet: nothing can be admitted for it" in said
    below = _passed(Level.STATEFUL)
    assert (below.reached, below.passed, below.next()) == (Level.STATEFUL, True, [])
    assert _passed(Level.TABLES).next() == ["Run the kit at level stateless."]


def test_nobody_is_admitted_for_packets_that_were_not_seen() -> None:
    report = _passed(Level.STATEFUL, UNSEEN, ("shard",))
    assert (report.reached, report.passed) == (Level.TABLES, False)
    count = sum("packets" in one.needs for one in CHECKS)
    said = _said(report)
    assert f"not tested: {count} of {len(report.results)} checks\n    for lack of {UNSEEN}: {count}\n" in said
    assert _passed(Level.STATEFUL, "verb shard", ("shard",)).passed


def test_what_a_level_needs_and_a_card_lacks_is_said() -> None:
    report = _passed(Level.STATELESS, absent=("trace",))
    assert (report.reached, report.passed) == (Level.TABLES, False)
    assert "level stateless needs what the card declares absent: trace" in _said(report)


class Patient(PortsOnlyDevice):
    """Nobody wrote how its time passes; it passes all the same, and how long was waited is noted."""

    def __init__(self) -> None:
        self.waited = 0.0

    def open(self) -> Twin:
        twin = super().open()
        self.moving = twin
        return twin


def test_who_has_to_wait_waits_last_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A card with a clock on the wall waits two minutes for its time-outs, not seven, and behind all other checks."""
    device = Patient()
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        if seconds > 0.5:
            waited.append(seconds)
            TwinDevice.advance(device, device.moving, round(seconds * 1e9))

    monkeypatch.setattr("time.sleep", sleep)
    monkeypatch.setattr(Patient, "advance", Device.advance, raising=False)
    told: list[str] = []
    chosen = [one for one in CHECKS if one.name in ("flows_expire", "flows_are_filtered", "as_many_connections_fit")]
    report = run(device, Level.STATEFUL, chosen, told.append)
    assert [result.words for result in report.failed] == []
    assert [result.check for result in report.results] == chosen
    assert (len(told), sum(waited)) == (1, 120)
    assert told[0].startswith("flows_expire waits 120 s: 1 of 3 checks to go. Device.advance makes it shorter")
    told.clear()
    assert run(PortsOnlyDevice(), Level.STATEFUL, chosen, told.append).passed
    assert told == []


def test_a_check_that_does_not_end_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger's card may hang for ever: without a word nobody learns where."""
    the_run = importlib.import_module("hal.conformance.run")  # by its dots it is the function
    monkeypatch.setattr(the_run, "PATIENCE", 0.05)
    named = threading.Event()
    told: list[str] = []

    def tell(words: str) -> None:
        told.append(words)
        named.set()

    def stands_still(_bench: object) -> None:
        assert named.wait(60)

    slow = Check("slow", Level.TABLES, (), (), stands_still)
    quick = Check("quick", Level.TABLES, (), (), lambda _bench: None)
    assert run(TwinDevice(), Level.TABLES, [slow], tell).passed
    assert [words.split(" has been running for ")[0] for words in told] == ["slow"]
    monkeypatch.setattr(the_run, "PATIENCE", 60.0)
    assert run(TwinDevice(), Level.TABLES, [quick], tell).passed
    assert len(told) == 1


def test_list_tells_sentences(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list", "--level", "tables"]) == 0
    told = capsys.readouterr().out
    assert "An empty commit is a generation too." in told
    assert "stateless" not in told.split()


def test_what_is_wrong_is_printed() -> None:
    from tests.conformance.broken import BREAKS
    from tests.conformance.broken.parts import BrokenDevice

    report = run(BrokenDevice(BREAKS["tags_are_kept"]), Level.TABLES)
    console = Console(record=True, width=200, file=io.StringIO())
    report.print(console)
    told = console.export_text()
    assert "failed tags_are_kept (The tag of the last commit is read with its tables" in told
    assert "tag: got '', wanted 'é" in told
    assert "the contract: tag: opaque text (at most 127 bytes) kept with the generation." in told
    assert "next: Fix tags_are_kept" in told
    assert "admitted for: nothing yet" in told


def test_devices_are_found() -> None:
    assert isinstance(find_device("twin"), TwinDevice)
    assert isinstance(find_device("hal.packet.model"), TwinDevice)
    with pytest.raises(HalError, match=r"INVALID: backend nowhere: got no module nowhere\.device"):
        find_device("nowhere")


def test_a_report_takes_nobodys_words_for_markup_or_commands() -> None:
    check = checks_for(Level.TABLES)[0]
    words = "got [red]x[/red] [/run] \x1b[31m 2001:ab:1\nand [a, b]"
    report = Report("acme [/b]", Level.TABLES, "tables", (), (Result(check, State.FAILED, words),))
    console = Console(record=True, width=200, file=io.StringIO())
    report.print(console)
    said = console.export_text()
    assert "acme [/b], held to level tables" in said
    assert "    got [red]x[/red] [/run] \\x1b[31m 2001:ab:1\n    and [a, b]\n" in said
