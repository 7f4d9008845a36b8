"""The sentences of the contract, as they stand in its docstrings."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

from tests.tools.tree import ROOT

CONTRACT = ROOT / "hal/packet/contract.py"
SOURCES = (
    CONTRACT,
    ROOT / "hal/errors.py",
    ROOT / "docs/forwarding.md",
    ROOT / "hal/packet/frame/schema.py",
    *sorted((ROOT / "hal/packet/stages").glob("*/schema.py")),
)
"""What checks may quote. Each sentence of the first has to be."""


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
    """Sentences, and entries of Args; a list of errors by its causes."""
    for part in re.split(r"\n\s*\n|\n(?=\s*[a-z_][\w, ]*: )|\n(?=\s*HalError: )|\n(?=\s*(?:Args|Raises):)", document):
        part = re.sub(r"^(Args|Raises):\s*", "", squeezed(part))
        if part.startswith("HalError: "):
            yield from re.findall(r"[^,;(:]+(?:\([^)]*\))?[^,;(:]*", part.removeprefix("HalError: INVALID ("))
            continue
        yield from re.split(r"(?<=[.])\s+(?=[A-Z`])", part)


def sentences() -> list[tuple[str, str]]:
    """(what it is about, sentence) of the whole contract."""
    tree = ast.parse(CONTRACT.read_text())
    found = [
        (about, sentence.strip(" ,;()")) for about, document in _documents(tree) for sentence in _sentences_of(document)
    ]
    return [(about, sentence) for about, sentence in found if sentence]


def text_of(path: Path) -> str:
    """A source's text with whitespace squeezed, quotation marks of strings that continue over lines taken out."""
    return squeezed(re.sub(r'"\s*\n\s*"', "", path.read_text()))
