"""What holds for every suite: only a pass is a pass, a failure is told at once, and `--long` looks longer."""

import gc
import random
from collections.abc import Callable, Generator
from pathlib import Path

import hypothesis
import pytest
from hypothesis import configuration

ROOT = Path(__file__).resolve().parent.parent

# Hypothesis keeps its examples beside the tests unless told otherwise.
configuration.set_hypothesis_home_dir(ROOT / "build" / "hypothesis")

# No deadline: the machine may be shared, and a slow example isn't a wrong one. The examples differ from run
# to run; the blob that is printed repeats the failing one.
hypothesis.settings.register_profile("test", max_examples=100, deadline=None, print_blob=True)
hypothesis.settings.register_profile("long", max_examples=5_000, deadline=None, print_blob=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run at length: more examples, more kills, more time")
    parser.addoption("--seed", type=int, help="draw what a run with this seed drew, instead of something new")


def pytest_configure(config: pytest.Config) -> None:
    if not config.getoption("hypothesis_profile", default=None):
        hypothesis.settings.load_profile("long" if config.getoption("--long") else "test")
    if not config.getoption("progress", default=None):  # else that is told by `tests.progress`
        config.pluginmanager.register(_Teller(config))


def pytest_collection_finish() -> None:
    """What is imported and collected stays to the end: the garbage collector looks through it no more."""
    gc.collect()
    gc.freeze()


class _Teller:
    """Tells a failure when it happens: a run that doesn't come to its end has told what it found."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        if report.failed and terminal is not None:
            terminal.ensure_newline()
            terminal.write_line(f"failed just now, in {report.when}: {report.nodeid}", red=True)
            terminal.write_line(report.longreprtext)
            for title, text in report.sections:
                terminal.write_line(f"{title}:\n{text}")
            terminal.flush()


@pytest.fixture(scope="session")
def long(request: pytest.FixtureRequest) -> bool:
    """True if this run was asked to take its time."""
    return bool(request.config.getoption("--long"))


@pytest.fixture(scope="session")
def tell(request: pytest.FixtureRequest) -> Callable[[object], None]:
    """Prints what is to be read of tests that pass, too."""
    terminal = request.config.pluginmanager.get_plugin("terminalreporter")
    capture = request.config.pluginmanager.get_plugin("capturemanager")
    assert terminal is not None
    assert capture is not None

    def line(words: object) -> None:
        with capture.global_and_fixture_disabled():
            terminal.ensure_newline()
            terminal.write_line(str(words))
            terminal.flush()

    return line


@pytest.fixture
def seed(request: pytest.FixtureRequest, tell: Callable[[object], None]) -> int:
    """What a test draws its numbers from: another one each run, printed; `--seed` brings one back."""
    given: int | None = request.config.getoption("--seed")
    drawn = random.SystemRandom().randrange(1 << 32) if given is None else given
    tell(f"{request.node.name}: --seed={drawn}")
    return drawn


def _refuse(report: pytest.TestReport | pytest.CollectReport) -> None:
    """A test that didn't run, or was expected to fail, has not passed. Say why it didn't, and fail."""
    if report.outcome != "skipped":
        return
    why = report.longrepr
    reason = why[2] if isinstance(why, tuple) else getattr(report, "wasxfail", str(why))
    report.outcome = "failed"
    report.longrepr = f"{report.nodeid}: not run or not passed, which counts as a failure here. {reason}"
    if hasattr(report, "wasxfail"):
        del report.wasxfail


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse(report)
    return report
