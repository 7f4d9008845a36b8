"""What the documents name exists: files that they link to, commands, decisions in the list."""

import re
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


def test_decisions_are_listed() -> None:
    listed = (ROOT / "docs" / "adr" / "README.md").read_text()
    records = [path.name for path in files("docs/adr/[0-9]*.md")]
    assert [name for name in records if f"]({name})" not in listed] == []


ROOMS = ("hal", "sdk", "services", "board_support", "tests", "hal/packet")


def rooms() -> list[Path]:
    """Top-level packages, and the rooms of the wide ones: what a reader opens first."""
    below = {path.parts[: 1 + room.count("/") + 1] for room in ROOMS[:4] for path in files(f"{room}/*/*.py")}
    return sorted({*map(Path, ROOMS), *(Path(*parts) for parts in below if "boards" not in parts)})


def test_every_room_says_what_it_is() -> None:
    assert Path("hal/packet") in rooms()
    assert Path("services/bridging") in rooms()
    assert [str(room) for room in rooms() if not (ROOT / room / "README.md").exists()] == []


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


def test_paths_in_code_exist() -> None:
    """Of this repository's rooms, named in a document's text."""
    found = [
        f"{path}: {named}"
        for path in documents()
        if "adr" not in path.parts
        for named in re.findall(
            r"`((?:tests|hal|sdk|services|docs)/[\w/-]+\.(?:py|c|h|md|toml|proto))`", (ROOT / path).read_text()
        )
        if not any((folder / named).exists() for folder in (ROOT, ROOT / path.parent))
    ]
    assert found == []


def test_what_is_lost_is_seen() -> None:
    text = "See [here](nowhere.md#part) and [there](LICENSE). Run `make setup` or\n```sh\nmake nothing\n```\n"
    assert missing_links(Path("README.md"), text) == ["README.md: nowhere.md"]
    assert missing_commands(Path("README.md"), text, {"setup"}) == ["README.md: make nothing"]
