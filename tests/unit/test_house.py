"""The house's own machinery: a skip fails, the runner counts, the table of suites is whole."""

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import lanes, run
from tests.conftest import ROOT

REASONS = """
import pytest

def test_passes():
    pass

def test_skips():
    pytest.skip("no such device")

@pytest.mark.skipif(True, reason="wrong kernel")
def test_marked():
    pass

@pytest.mark.xfail(reason="known to be broken")
def test_expected_to_fail():
    raise ValueError
"""

MODULE = """
import pytest

pytest.skip("not on this machine", allow_module_level=True)
"""


def pytest_on(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.conftest"]
    return subprocess.run(
        [*command, f"--rootdir={folder}", "-c", "/dev/null", str(folder), *arguments],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_what_did_not_run_fails_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "test_reasons.py").write_text(REASONS)
    report = tmp_path / "report.xml"
    done = pytest_on(tmp_path, f"--junitxml={report}")
    assert done.returncode == 1, done.stdout
    assert lanes.count(report) == (1, 3)
    for reason in ("no such device", "wrong kernel", "known to be broken"):
        assert reason in done.stdout


def test_a_failure_is_told_at_once(tmp_path: Path) -> None:
    """While the next test still runs."""
    tests = "import time\ndef test_fails():\n    assert [] == ['a reason']\ndef test_waits():\n    time.sleep(600)\n"
    (tmp_path / "test_two.py").write_text(tests)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.conftest"]
    command += [f"--rootdir={tmp_path}", "-c", "/dev/null", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        try:
            told = "".join(itertools.takewhile(lambda line: "AssertionError" not in line, running.stdout))
            assert running.poll() is None
            assert "failed just now, in call: " in told
            assert "assert [] == ['a reason']" in told
        finally:
            running.kill()


def test_a_module_that_skips_itself_fails(tmp_path: Path) -> None:
    (tmp_path / "test_module.py").write_text(MODULE)
    done = pytest_on(tmp_path)
    assert done.returncode != 0
    assert "not on this machine" in done.stdout


@pytest.mark.parametrize(
    ("exit_code", "counts", "failed"),
    [
        (0, (3, 0), 0),
        (1, (3, 2), 2),
        (5, (0, 0), 1),  # pytest found no test
        (0, (0, 0), 1),
        (-11, (3, 0), 1),  # died after its report, as an engine's bad unload would
    ],
)
def test_an_unhappy_suite_has_failed(exit_code: int, counts: tuple[int, int], failed: int) -> None:
    assert lanes.judge("some", exit_code, counts, 1.0).failed == failed


def test_no_report_counts_nothing(tmp_path: Path) -> None:
    assert lanes.count(tmp_path / "absent.xml") == (0, 0)
    cut = tmp_path / "cut.xml"
    cut.write_text("<testsuites><testsuite tests='4'")
    assert lanes.count(cut) == (0, 0)


def test_table_and_folders_must_agree() -> None:
    suites = (lanes.Suite("unit", ""), lanes.Suite("gone", ""))
    missing, absent = run.table_errors(suites, {"unit", "new"})
    assert "tests/new has tests but no row" in missing
    assert "names gone" in absent
    assert run.table_errors(suites[:1], {"unit"}) == []


def test_a_folder_counts_by_its_tests(tmp_path: Path) -> None:
    (tmp_path / "unit" / "deep").mkdir(parents=True)
    (tmp_path / "unit" / "deep" / "test_a.py").touch()
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "hosts.py").touch()
    assert run.folders_with_tests(tmp_path) == {"unit"}


def test_a_long_run_continues_only_on_the_same_tree(tmp_path: Path) -> None:
    path = tmp_path / "long.json"
    unit = lanes.Result("unit", 3, 0, 1.5)
    run.save_finished(path, "state one", [unit])
    assert run.load_finished(path, "state one") == {"unit": unit}
    assert run.load_finished(path, "state two") == {}
    path.write_text(json.dumps({"tree": "state one", "suites": [{"suite": "unit"}]}))
    assert run.load_finished(path, "state one") == {}
    assert run.load_finished(tmp_path / "absent", "state one") == {}


def test_state_of_tree_sees_every_change(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / ".gitignore").write_text("ignored\n")
    states = [run.state_of_tree(tmp_path)]
    (tmp_path / "new").write_text("1")
    states.append(run.state_of_tree(tmp_path))
    (tmp_path / "new").write_text("2")
    states.append(run.state_of_tree(tmp_path))
    (tmp_path / "new").rename(tmp_path / "other")
    states.append(run.state_of_tree(tmp_path))
    assert len(set(states)) == len(states)
    (tmp_path / "ignored").write_text("x")
    assert run.state_of_tree(tmp_path) == states[-1]


def test_unknown_suite_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["no-such-suite"]) == 2
    assert "no suite no-such-suite; there are lint" in capsys.readouterr().err


SLOW = """
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parent

@pytest.fixture
def something_to_clean():
    (HERE / "began").touch()
    yield
    (HERE / "cleaned").touch()

def test_slow(something_to_clean):
    time.sleep(60)
"""

QUICK = """
import os
import re

def test_niceness():
    assert os.nice(0) == NICE
"""

RUNNER = """
import sys
from pathlib import Path
from tests import lanes, run

run.ROOT = Path(sys.argv[1])
run.FINISHED, run.PASSED = run.ROOT / "build/long.json", run.ROOT / "build/long.passed"
lanes.PROGRESS_S = 0.5
suites = (
    lanes.Suite("reckons", "a lane of its own"),
    lanes.Suite("more", "of the same kind"),
    lanes.Suite("third", "behind them"),
    lanes.Suite("real", "beside it", lanes.HOSTS),
    lanes.Suite("last", "after it", lanes.HOSTS),
)
run.SUITES = tuple(suite for suite in suites if (run.ROOT / "tests" / suite.name).exists())
sys.exit(run.main(sys.argv[2:]))
"""


OPTION = """
def pytest_addoption(parser):
    parser.addoption("--long", action="store_true")
    parser.addoption("--timeout")
"""


def runner(folder: Path, suites: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    """`tests.run` on a tree with these suites (name -> tests), started as a shell starts what it puts in the
    background: deaf to SIGINT."""
    for name, text in suites.items():
        (folder / "tests" / name).mkdir(parents=True)
        tests = folder / "tests" / name / f"test_{name}.py"
        tests.write_text(text)
    command = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", sys.executable, "-c", RUNNER, str(folder), *arguments]
    # Its suites are none of ours: what pytest finds installed has nothing to do there, and takes its time.
    bare = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.Popen(command, cwd=ROOT, env=bare, stdout=subprocess.PIPE, text=True, process_group=0)


def wait_for(path: Path) -> None:
    until = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < until, f"no {path}"
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("at_once", [1, 3])
def test_an_interrupted_run_cleans_up(number: signal.Signals, at_once: int, tmp_path: Path) -> None:
    suites = {"reckons": SLOW, "more": SLOW, "real": SLOW, "last": QUICK}
    running = runner(tmp_path, suites, f"--lanes={at_once}")
    names = list(suites)[:at_once]
    try:
        for name in names:
            wait_for(tmp_path / "tests" / name / "began")
        running.send_signal(number)
        said, _ = running.communicate(timeout=60)
    finally:
        running.kill()
        running.wait()
    assert running.returncode == 130
    for name in names:
        assert (tmp_path / "tests" / name / "cleaned").exists()
    assert "0 passed, 0 failed" in said
    assert "last" not in said


WAITS_FOR = """
import os
import re
import time
from pathlib import Path

def test_both_at_once():
    assert os.nice(0) == NICE
    Path(__file__).with_name("began").touch()
    other = Path(__file__).parent.parent / "{other}" / "began"
    until = time.monotonic() + 60
    while not other.exists():
        assert time.monotonic() < until
        time.sleep(0.05)

def test_that_fails():
    assert [] == ["a reason of {own}"]

def test_that_waits():
    while not Path(__file__).with_name("go on").exists():
        time.sleep(0.05)
"""


ABOUTS = {"reckons": "a lane of its own", "more": "of the same kind", "real": "beside it"}


def test_three_lanes_run_at_once_and_each_suite_is_printed_whole(tmp_path: Path) -> None:
    """And what computes gives way to real hosts."""
    here = os.nice(0)
    suites = {
        own: WAITS_FOR.format(own=own, other=other).replace("NICE", str(here if own == "real" else min(19, here + 10)))
        for own, other in (("reckons", "more"), ("more", "real"), ("real", "reckons"))
    }
    running = runner(tmp_path, {**suites, "last": QUICK.replace("NICE", str(here))})
    assert running.stdout is not None
    try:
        early = ""
        while not all(f"{name} 2 done" in early for name in suites):
            early += next(running.stdout)
        for name in suites:
            (tmp_path / "tests" / name / "go on").touch()
        late, _ = running.communicate(timeout=60)
    finally:
        running.kill()
        running.wait()
    assert running.returncode == 1
    for name, about in ABOUTS.items():
        assert f"failed just now, in call: tests/{name}/test_{name}.py::test_that_fails" in early
        assert f"assert [] == ['a reason of {name}']" in early
        whole = late[late.index(f"{name}: {about} ") : late.index(f"{name}: 2 passed, 1 failed, ")]
        assert "short test summary" in whole
        assert [other for other in ABOUTS if f"a reason of {other}" in whole] == [name]
    assert late.splitlines()[-1] == "7 passed, 3 failed"


def test_the_hosts_lane_takes_over_what_computes_when_it_has_ended(tmp_path: Path) -> None:
    """From the end, at the niceness of what computes, while both lanes of that are busy."""
    here = os.nice(0)
    names = ("reckons", "more", "third")
    suites = {
        own: WAITS_FOR.format(own=own, other=other).replace("NICE", str(min(19, here + 10)))
        for own, other in zip(names, (*names[1:], names[0]), strict=True)
    }
    running = runner(tmp_path, {**suites, "real": QUICK.replace("NICE", str(here))})
    try:
        for name in names:
            wait_for(tmp_path / "tests" / name / "began")
        for name in names:
            (tmp_path / "tests" / name / "go on").touch()
        said, _ = running.communicate(timeout=60)
    finally:
        running.kill()
        running.wait()
    assert said.index("more begins") < said.index("real: 1 passed, 0 failed") < said.index("third begins")
    assert said.splitlines()[-1] == "7 passed, 3 failed"


def test_one_lane_runs_suites_in_the_order_asked_for(tmp_path: Path) -> None:
    quick = QUICK.replace("NICE", str(os.nice(0)))
    with runner(tmp_path, {"reckons": quick, "last": quick}, "--lanes=1", "last", "reckons") as ran:
        said, _ = ran.communicate(timeout=60)
    assert said.index("last: 1 passed") < said.index("reckons: a lane") < said.index("reckons: 1 passed")


TOLD = """
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parent

@pytest.fixture(autouse=True)
def told(request):
    with (HERE / "ran.log").open("a") as file:
        file.write(request.node.name + " ")

@pytest.fixture(scope="module")
def shared():
    yield
    assert not (HERE / "breaks").exists()

def test_alone():
    pass

def test_shares(shared):
    pass

def test_waits():
    (HERE / "waits").touch()
    while not (HERE / "go on").exists():
        time.sleep(0.05)

def test_last(shared):
    pass
"""


def test_a_long_run_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    """Behind the tests that passed; those whose module's fixture had not come to its end run again."""
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / ".gitignore").write_text("build\n__pycache__\n.pytest_cache\ntests/*/*\n!tests/*/test_*.py\n")
    (tmp_path / "conftest.py").write_text(OPTION)
    here = tmp_path / "tests/real"
    first = runner(tmp_path, {"real": TOLD, "last": QUICK.replace("NICE", str(os.nice(0)))}, "--long")
    try:
        wait_for(here / "waits")
        first.send_signal(signal.SIGINT)
        first.communicate(timeout=60)
    finally:
        first.kill()
        first.wait()
    assert (here / "ran.log").read_text().split() == ["test_alone", "test_shares", "test_waits"]

    (here / "go on").touch()
    (here / "breaks").touch()
    (here / "ran.log").unlink()
    with runner(tmp_path, {}, "--long") as second:
        said, _ = second.communicate(timeout=60)
    assert "real: goes on behind 1 tests that passed" in said
    assert (here / "ran.log").read_text().split() == ["test_shares", "test_waits", "test_last"]
    assert second.returncode == 1

    (here / "breaks").unlink()
    (here / "ran.log").unlink()
    with runner(tmp_path, {}, "--long") as third:
        said, _ = third.communicate(timeout=60)
    assert (here / "ran.log").read_text().split() == ["test_shares", "test_last"]
    assert "last: 1 passed, 0 failed" in said
    assert said.splitlines()[-1] == "5 passed, 0 failed"  # four of the one, one of the other
    assert third.returncode == 0

    (here / "test_real.py").write_text(TOLD + "\n")
    (here / "ran.log").unlink()
    with runner(tmp_path, {}, "--long") as anew:
        said, _ = anew.communicate(timeout=60)
    assert (here / "ran.log").read_text().split() == ["test_alone", "test_shares", "test_waits", "test_last"]


def test_a_second_wish_to_end_does_not_wait(tmp_path: Path) -> None:
    deaf = SLOW.replace("    yield\n", "    yield\n    time.sleep(60)\n")
    running = runner(tmp_path, {"reckons": deaf, "real": SLOW})
    try:
        for name in ("reckons", "real"):
            wait_for(tmp_path / "tests" / name / "began")
        running.send_signal(signal.SIGINT)
        wait_for(tmp_path / "tests" / "real" / "cleaned")
        running.send_signal(signal.SIGTERM)
        running.communicate(timeout=20)
    finally:
        running.kill()
        running.wait()
    assert running.returncode == 130
    assert not (tmp_path / "tests" / "reckons" / "cleaned").exists()


@pytest.mark.parametrize(
    ("kinds", "said"),
    [
        ((), "takes one build"),
        (("engine", "engine-asan"), "takes one build .* got 2: engine engine-asan"),
        (("engine-arm",), "no such build: engine-arm"),
    ],
)
def test_the_engine_is_built_one_kind_at_a_time(kinds: tuple[str, ...], said: str) -> None:
    """A second one that nobody built would be an old one that tests run. That one kind is built, all that need an
    engine see."""
    done = subprocess.run([".ci/engine", *kinds], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert re.search(said, done.stderr)
