"""The house's own machinery: a skip fails, the runner counts, the table of suites is whole."""

import itertools
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import run
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
    assert run.count(report) == (1, 3)
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
    assert run.judge("some", exit_code, counts, 1.0).failed == failed


def test_no_report_counts_nothing(tmp_path: Path) -> None:
    assert run.count(tmp_path / "absent.xml") == (0, 0)
    cut = tmp_path / "cut.xml"
    cut.write_text("<testsuites><testsuite tests='4'")
    assert run.count(cut) == (0, 0)


def test_table_and_folders_must_agree() -> None:
    suites = (run.Suite("unit", ""), run.Suite("gone", ""))
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
    unit = run.Result("unit", 3, 0, 1.5)
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

RUNNER = """
import sys
import time
from pathlib import Path
from tests import run

run.ROOT = Path(sys.argv[1])
run.SUITES = (run.Suite("slow", "sleeps"),)
sys.exit(run.main([]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_cleans_up(number: signal.Signals, tmp_path: Path) -> None:
    folder = tmp_path / "tests" / "slow"
    folder.mkdir(parents=True)
    (folder / "test_slow.py").write_text(SLOW)
    # As a shell starts it in the background: deaf to SIGINT.
    command = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", sys.executable, "-c", RUNNER, str(tmp_path)]
    runner = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        until = time.monotonic() + 30
        while not (folder / "began").exists():
            assert time.monotonic() < until, "the suite did not begin"
            time.sleep(0.05)
        runner.send_signal(number)
        said, _ = runner.communicate(timeout=30)
    finally:
        runner.kill()
        runner.wait()
    assert runner.returncode == 130
    assert (folder / "cleaned").exists()
    assert "0 passed, 0 failed" in said
