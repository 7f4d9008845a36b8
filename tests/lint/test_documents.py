"""What the documents name exists: files that they link to, commands, decisions in the list."""

import re
from pathlib import Path

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


def test_what_is_lost_is_seen() -> None:
    text = "See [here](nowhere.md#part) and [there](LICENSE). Run `make setup` or\n```sh\nmake nothing\n```\n"
    assert missing_links(Path("README.md"), text) == ["README.md: nowhere.md"]
    assert missing_commands(Path("README.md"), text, {"setup"}) == ["README.md: make nothing"]
