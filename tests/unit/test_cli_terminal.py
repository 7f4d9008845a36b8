"""What files and peers wrote never commands the terminal, and is never read as markup, whichever command shows it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from hal.packet.contract import Events, Name
from hal.packet.model import store
from sdk.cli import offline, options
from sdk.cli.client import CardClient, ObjectStatus
from sdk.cli.main import main
from sdk.cli.output import console
from sdk.cli.twin_card import TwinCard, open_twin
from sdk.dsnd.main import log
from sdk.terminal import printable, printable_line
from services.core.intent import Source, sources
from services.core.service import discover

DEMO = Path(__file__).resolve().parent.parent.parent / "docs" / "examples" / "demo.yaml"
HOSTILE = "\x1b[31m\x1b]0;owned\x07\r\x08\x00\x9b2J\u202e\u2066\u200b\ufeff\x7f[red]x[/red][link=http://a]:ab:"
TOLD = printable_line(HOSTILE)
PACKET = "tcp 10.1.0.20:40000 > 10.1.0.10:443"


def dsn(*words: str) -> str:
    """All that a command prints; nothing in it is more than text and line ends."""
    result = CliRunner().invoke(main, list(words))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    text = result.stdout + result.stderr
    assert all(line.isprintable() for line in text.split("\n")), text
    return text


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> TwinCard:
    """A running card that judges no names: somebody gave its entries hostile ones, in a hostile file."""
    running = open_twin(sources([DEMO]), discover())
    state = running.snapshot()
    names = [
        Name(table, row, f"{place}{HOSTILE}"[:40], f"{HOSTILE[:30]}.yaml", 7)
        for place, (table, row) in enumerate(state.names)
    ]
    monkeypatch.setattr(store, "check_words", lambda tag, names: None)
    running.backend.writer().commit([], tag=HOSTILE[:40], names=names)

    @contextmanager
    def connect() -> Iterator[CardClient]:
        yield running

    for module in (options, offline):
        monkeypatch.setattr(module, "connect", connect)
    monkeypatch.setattr(offline, "is_running", lambda: True)
    return running


def test_what_is_printed_as_itself_stays() -> None:
    assert printable("a b ä 東 2001:ab:1\nc") == "a b ä 東 2001:ab:1\nc"
    assert printable("a\x1bb\nc\u202ed\udcff\x9b") == "a\\x1bb\nc\\u202ed\\udcff\\x9b"
    assert printable_line("a\nb\r") == "a\\nb\\r"


def test_nothing_is_an_emoji_or_markup(capsys: pytest.CaptureFixture[str]) -> None:
    console().print("2001:ab:1 > fd00:a:b::1 [red]x[/red]")
    assert capsys.readouterr().out == "2001:ab:1 > fd00:a:b::1 [red]x[/red]\n"


@pytest.mark.parametrize(
    "where",
    [
        "kind: '{}'\nname: a\n",
        "kind: Vnic\nname: '{}'\n",
        "kind: Vnic\nname: a\nspec: {{'{}': 1}}\n",
        "kind: Vrf\nname: a b # {}\n",
        "kind: Vnic\nname: a\nspec: {{port: '{}'}}\n",
        "kind: FirewallPolicy\nname: a\nspec: {{rules: {{r: 'allow {} from any to any'}}}}\n",
    ],
)
@pytest.mark.parametrize(
    "command", [("check",), ("plan",), ("trace", PACKET, "--intent"), ("show", "objects", "--intent")]
)
def test_a_hostile_file_is_refused_in_plain_text(tmp_path: Path, where: str, command: tuple[str, ...]) -> None:
    for hostile in (HOSTILE, *(one for one in HOSTILE if not one.isprintable()), "[red]x[/red][link=http://a]:ab:"):
        file = tmp_path / "a.yaml"
        file.write_text(where.format(hostile))
        assert "error" in dsn(*command, str(file))


def test_a_hostile_name_of_a_file(tmp_path: Path) -> None:
    name = "\x1b[31m\n\u202e[red]:ab:\udcff"
    file = tmp_path / f"{name}.yaml"
    file.write_bytes(DEMO.read_bytes())
    told = printable_line(name.replace("\udcff", "\\xff")) + ".yaml:"
    assert told in dsn("trace", PACKET, "--intent", str(file))
    assert "+ Vnic web" in dsn("plan", str(file))
    file.write_text("kind: Vrfs\nname: c\n")
    assert f"{told}1:7: error" in dsn("check", str(file))
    assert f"{told}1:7: error" in dsn("plan", str(file))
    assert printable_line(name) in dsn("check", str(tmp_path / f"{name}.none"))


def test_hostile_names_of_entries(card: TwinCard) -> None:
    told = printable_line(HOSTILE[:39])[:30]
    assert told in dsn("show", "tables", "vnic")
    assert told in dsn("show", "tables", "firewall_rule")
    assert told in dsn("show", "counters")
    assert told in dsn("show", "events")
    assert told in dsn("trace", PACKET)
    assert "Objects: nothing changed." in dsn("plan", str(DEMO))


def test_hostile_words_of_a_daemon(card: TwinCard, monkeypatch: pytest.MonkeyPatch) -> None:
    status = {"state": HOSTILE, "rules": [{"name": HOSTILE, "hits": HOSTILE}]}
    monkeypatch.setattr(card, "objects", lambda: [ObjectStatus("Vnic", HOSTILE, HOSTILE, 1, 2, HOSTILE, status)])
    assert dsn("show", "objects").replace("\n", "").count("\\x1b]0;owned") >= 4
    found: Events = card.events()
    some = tuple(replace(one, data=HOSTILE + "\nforged") for one in found.events)
    monkeypatch.setattr(card, "events", lambda: replace(found, events=some))
    assert f"{TOLD}\\nforged" in dsn("show", "events")
    monkeypatch.setattr(card, "intent", lambda: (Source(HOSTILE, b"kind: Vrfs\n"),))
    assert f"{TOLD}:1:7: error" in dsn("plan", str(DEMO), "--set", "more")


def test_the_daemons_log_is_plain_text(capsys: pytest.CaptureFixture[str]) -> None:
    log(f"{HOSTILE} failed:\nTraceback")
    said = capsys.readouterr().err
    assert said.endswith(f" dsnd: {TOLD} failed:\nTraceback\n")


WORD = HOSTILE.replace("\x00", "")  # which no command line can hold


@pytest.mark.parametrize(
    "words",
    [
        (WORD,),
        ("show", WORD),
        (f"--{WORD}",),
        ("show", "flows", f"--{WORD}"),
        ("show", "tables", "--limit", WORD),
        ("card", "start", "--json", "card.toml", WORD),
        ("card", WORD),
        ("--with", WORD, "check", str(DEMO)),
        ("check", "--card", WORD, str(DEMO)),
    ],
    ids=str,
)
def test_a_wrong_command_line_is_quoted_as_it_may_be_printed(words: tuple[str, ...]) -> None:
    text = dsn(*words)
    assert printable_line(WORD)[:40] in text
    assert "\nfaked" not in dsn(*(word.replace(WORD, "x\nfaked") for word in words))
