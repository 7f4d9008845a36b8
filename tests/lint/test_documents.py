"""What the documents name exists: files that they link to, commands, decisions in the list."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path

from hal.packet.model import stage
from sdk.scaffold.skeleton import write
from tests.tools.tree import ROOT, files

LINK = re.compile(r"\[[^\]]*\]\(([^)\s#]+)[^)]*\)")
TARGET = re.compile(r"^([a-z][a-z-]*):", re.MULTILINE)


def documents() -> list[Path]:
    return files("*.md")


def missing_links(document: Path, text: str) -> list[str]:
    """Relative links in a document that lead nowhere."""
    links = [link for link in LINK.findall(text) if "://" not in link and not link.startswith("mailto:")]
    return [f"{document}: {link}" for link in links if not (ROOT / document.parent / link).exists()]


def missing_commands(document: Path, text: str, targets: set[str]) -> list[str]:
    """`make` commands in a document's code that the Makefile doesn't have."""
    code = re.findall(r"^```.*?^```|`[^`\n]+`", text, re.MULTILINE | re.DOTALL)
    named = re.findall(r"(?:^|[`;&|]\s*)make ([a-z][a-z-]*)", "\n".join(code), re.MULTILINE)
    return [f"{document}: make {name}" for name in named if name not in targets]


def test_links_lead_somewhere() -> None:
    assert documents()
    assert [lost for path in documents() for lost in missing_links(path, (ROOT / path).read_text())] == []


def test_commands_exist() -> None:
    targets = set(TARGET.findall((ROOT / "Makefile").read_text()))
    lost = [path for each in documents() for path in missing_commands(each, (ROOT / each).read_text(), targets)]
    assert lost == []


def decisions() -> dict[str, str]:
    """The text of each record, by its number."""
    return {path.name[:4]: (ROOT / path).read_text() for path in files("docs/adr/[0-9]*.md")}


def state_of(text: str) -> str:
    """A record's first paragraph: its state, its date, and which others it changes, or which change it."""
    found = re.search(r"^State: .*?(?=\n\n)", text, re.MULTILINE | re.DOTALL)
    return found[0] if found else ""


def one_sided(records: Mapping[str, str]) -> list[str]:
    """Records that another one's state names, and whose own doesn't name that other."""
    named = {number: set(re.findall(r"\[(\d{4})\]\(\1-", state_of(text))) for number, text in records.items()}
    return [f"{other} doesn't name {one}" for one in named for other in named[one] if one not in named.get(other, ())]


def unlinked(records: Mapping[str, str]) -> list[str]:
    """Records whose state names another one without a link."""
    bare = {number: re.sub(r"\[\d{4}\]\([^)]*\)|Date:\s\S+", "", state_of(text)) for number, text in records.items()}
    return [number for number, text in bare.items() if re.search(r"\b\d{4}\b", text)]


def test_decisions_are_listed() -> None:
    """With their state."""
    listed = (ROOT / "docs" / "adr" / "README.md").read_text()
    rows = dict(re.findall(r"^\| (\d{4}) \| \[.*?\]\(\1-.*?\) \| (.*?) \|$", listed, re.MULTILINE))
    states = {
        number: re.sub(r"\[(\d{4})\]\([^)]*\)", r"\1", state_of(text)).removeprefix("State: ")
        for number, text in decisions().items()
    }
    assert rows == {number: re.split("[.:]", text)[0] for number, text in states.items()}


def test_decisions_that_change_each_other_name_each_other() -> None:
    records = decisions()
    assert one_sided(records) == []
    assert unlinked(records) == []
    assert [number for number, text in records.items() if not text.startswith(f"# {number}: ")] == []


def test_a_decision_that_is_not_named_is_seen() -> None:
    superseded = "# 0001: A\n\nState: superseded in part by [0002](0002-b.md): b. Date: 2026-11-22.\n\n## Question\n"
    assert one_sided({"0001": superseded, "0002": "# 0002: B\n\nState: accepted.\n\n[0001](0001-a.md)\n"}) == [
        "0002 doesn't name 0001"
    ]
    back = "# 0002: B\n\nState: accepted. Adds to\n[0001](0001-a.md).\n\n## Question\n"
    assert one_sided({"0001": superseded, "0002": back}) == []
    assert unlinked({"0001": superseded, "0002": "State: accepted. Date: 2026-11-22. Adds to 0001.\n\n"}) == ["0002"]


ROOMS = ("hal", "sdk", "services", "board_support", "tests", "hal/packet")


def rooms() -> list[Path]:
    """Top-level packages, and the rooms of the wide ones: what a reader opens first."""
    below = {path.parts[: 1 + room.count("/") + 1] for room in ROOMS[:4] for path in files(f"{room}/*/*.py")}
    return sorted({*map(Path, ROOMS), *(Path(*parts) for parts in below if "boards" not in parts)})


def test_every_room_says_what_it_is() -> None:
    assert Path("hal/packet") in rooms()
    assert Path("services/bridging") in rooms()
    assert [str(room) for room in rooms() if not (ROOT / room / "README.md").exists()] == []


UNTOLD = {"__init__.py", "__main__.py", "conftest.py"}


def untold(readme: str, names: Iterable[str]) -> list[str]:
    """Of the files beside it, those that a README leaves out which has a table of them; headers go with their .c."""
    if not re.search(r"^\| `[\w.]+\.(?:py|c)`", readme, re.MULTILINE):
        return []
    sources = {*names} - UNTOLD
    told = {*re.findall(r"`([\w.]+\.(?:py|c|h))`", readme)}
    alone = {name for name in sources if name.endswith((".py", ".c")) or f"{name[:-2]}.c" not in sources}
    return sorted(name for name in alone - told if name.endswith((".py", ".c", ".h")) and not name.startswith("_"))


def test_tables_of_a_room_have_its_files() -> None:
    readmes = [path for path in documents() if path.name == "README.md"]
    found = {path: [one.name for one in files(f":(glob){path.parent}/*")] for path in readmes if path.parent.parts}
    lost = [f"{path}: {name}" for path in found for name in untold((ROOT / path).read_text(), found[path])]
    assert Path("hal/packet/engine/path/README.md") in found
    assert lost == []


def test_a_file_that_is_left_out_is_seen() -> None:
    table = "| file | what |\n| --- | --- |\n| `flows.c` `ops.c` | connections |\n\nBegin with `way.h`.\n"
    assert untold(table, ["flows.c", "flows.h", "ops.c", "way.h", "README.md", "__init__.py"]) == []
    assert untold(table, ["flows.c", "ops.c", "tcp.c", "tcp.h", "look.h"]) == ["look.h", "tcp.c"]
    assert untold("no table of `flows.c`", ["tcp.c"]) == []


def test_guides_name_what_is_written(tmp_path: Path) -> None:
    """`dsn new` says so."""
    for kind, name in (("stage", "quiet"), ("backend", "acme")):
        guide = (ROOT / "docs" / "guides" / f"new-{kind}.md").read_text()
        skeleton = write(kind, name, tmp_path)
        named = re.findall(rf"^written: {name}/(\S+)$", guide, re.MULTILINE)
        assert named == [str(path) for path in skeleton.files]


def test_the_stage_in_a_docstring_decides() -> None:
    """The example of `hal/packet/model/stage.py` names what there is."""
    example = re.search(r"^    class Quiet.*?^    STAGE = Quiet\(\)$", stage.__doc__ or "", re.MULTILINE | re.DOTALL)
    assert example is not None
    named = re.findall(r"context\.(\w+)", example[0])
    assert named == ["vnic"], "as the guide has it: right on ingress too"
    known = {*vars(stage.Context), *(field.name for field in fields(stage.Context))}
    assert [word for word in named if word not in known] == []


FOLDERS = ("", "hal/packet", "hal/packet/engine", "hal/packet/model")
"""Where documents' paths begin, beside their own folder."""
PATH = re.compile(
    r"`((?:[\w.-]+/)+[\w.-]+\.(?:py|pyi|c|h|md|toml|proto|xz)|(?:tests|hal|sdk|services|docs)/[\w/-]+)(?:::\w+)?`"
)
TESTED = re.compile(r"`(?:[\w/.]+::)?(test_(?:rfc|cve)_?\w+)`")

CLAUSE = re.compile(r"^def test_(rfc_?\d\w*)", re.MULTILINE)


def missing_paths(document: Path, text: str) -> list[str]:
    """Files and folders of this repository in a document's code that aren't there."""
    folders = [ROOT / document.parent, *(ROOT / folder for folder in FOLDERS)]
    return [f"{document}: {path}" for path in PATH.findall(text) if not any((one / path).exists() for one in folders)]


def test_paths_in_code_exist() -> None:
    assert [lost for path in documents() for lost in missing_paths(path, (ROOT / path).read_text())] == []


def test_tests_of_clauses_in_code_exist() -> None:
    known = {name for path in files("tests/*.py") for name in re.findall(r"def (test_\w+)", (ROOT / path).read_text())}
    named = [(path, name) for path in documents() for name in TESTED.findall((ROOT / path).read_text())]
    assert named
    assert [f"{path}: {name}" for path, name in named if name not in known] == []


def test_clauses_are_spelled_in_one_way() -> None:
    """In names of tests: by `-k rfc5508` all of RFC 5508 are found."""
    named = [(path, name) for path in files("tests/*.py") for name in CLAUSE.findall((ROOT / path).read_text())]
    assert len(named) > 100
    assert [f"{path}: test_{name}" for path, name in named if not re.match(r"rfc\d", name)] == []


def test_what_is_lost_is_seen() -> None:
    text = "See [here](nowhere.md#part) and [there](LICENSE). Run `make setup` or\n```sh\nmake nothing\n```\n"
    assert missing_links(Path("README.md"), text) == ["README.md: nowhere.md"]
    assert missing_commands(Path("README.md"), text, {"setup"}) == ["README.md: make nothing"]
    text = "`tests/nothing.py`, `tests/lint`, `path/flows.c`, `path/nothing.c`, `tests/lint/test_lint.py::test_ruff`"
    assert missing_paths(Path("README.md"), text) == ["README.md: tests/nothing.py", "README.md: path/nothing.c"]
