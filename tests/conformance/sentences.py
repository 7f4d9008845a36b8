"""The sentences of the contract, as they stand in its docstrings."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.tools.tree import ROOT

CONTRACT = tuple(ROOT / "hal/packet" / name for name in ("contract.py", "records.py", "reports.py"))
SOURCES = (
    *CONTRACT,
    ROOT / "hal/errors.py",
    *(ROOT / "docs" / f"{page}.md" for page in ("forwarding", "tracking", "neighbours", "icmp")),
    ROOT / "hal/packet/frame/schema.py",
    *sorted((ROOT / "hal/packet/stages").glob("*/schema.py")),
)
"""What checks may quote. Each sentence of the contract has to be."""


def squeezed(text: str) -> str:
    return " ".join(text.split())


def _documents(node: ast.AST, name: str = "") -> Iterator[tuple[str, str]]:
    """Docstrings below a node, those behind attributes too, with the name of what they are about."""
    body: list[ast.stmt] = getattr(node, "body", [])
    before: ast.stmt | None = None
    for number, one in enumerate(body):
        if isinstance(one, (ast.ClassDef, ast.FunctionDef)):
            yield from _documents(one, f"{name}.{one.name}".lstrip("."))
        elif isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant) and isinstance(one.value.value, str):
            about = name
            if number and isinstance(before, ast.AnnAssign):
                about = f"{name}.{ast.unparse(before.target)}"
            elif number and isinstance(before, ast.Assign):
                about = f"{name}.{ast.unparse(before.targets[0])}"
            yield about, textwrap.dedent(one.value.value).strip()
        before = one


def _sentences_of(document: str) -> Iterator[str]:
    """Sentences, and entries of Args and Raises."""
    text, *sections = re.split(r"^ *(?:Args|Raises):$", document, flags=re.MULTILINE)
    parts = re.split(r"\n\s*\n", text)
    for section in sections:
        parts += re.split(r"\n\s*\n|\n(?= *\w[\w, ]*: )", section)
    for part in parts:
        yield from re.split(r"(?<=[.])\s+(?=[A-Z`])", squeezed(part))


def sentences() -> list[tuple[str, str]]:
    """(what it is about, sentence) of the whole contract."""
    documents = (found for path in CONTRACT for found in _documents(ast.parse(path.read_text())))
    found = [(about, sentence) for about, document in documents for sentence in _sentences_of(document)]
    return [(about, sentence) for about, sentence in found if sentence]


def unquoted(sentence: str, quotes: Iterable[str]) -> str:
    """What is left of a sentence without the parts that are quoted; "" where that is no word but `and`."""
    sentence = sentence.removeprefix("HalError: ")
    covered = [False] * len(sentence)
    for quote in quotes:
        if sentence in quote:
            return ""
        for found in re.finditer(rf"(?<!\w){re.escape(quote.rstrip(' .,;'))}(?!\w)", sentence):
            covered[found.start() : found.end()] = [True] * (found.end() - found.start())
    left = squeezed("".join(" " if hidden else letter for letter, hidden in zip(sentence, covered, strict=True)))
    return left if set(re.findall(r"[\w`]+", left)) - {"and"} else ""


def text_of(path: Path) -> str:
    """A source's text with whitespace squeezed, quotation marks of strings that continue over lines taken out."""
    return squeezed(re.sub(r'"\s*\n\s*"', "", path.read_text()))
