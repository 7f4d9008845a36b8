"""Writes a skeleton: the files of a template with a name put in."""

from __future__ import annotations

import keyword
import re
import runpy
import sysconfig
from dataclasses import dataclass
from importlib.metadata import entry_points
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from string import Template

from hal.errors import ErrorKind, HalError
from hal.packet.schema.declare import StageSchema
from hal.packet.schema.generate import python_rows

KINDS = ("stage", "backend")
NAME = re.compile(r"[a-z][a-z0-9_]{0,22}")
ENDING = ".tmpl"


@dataclass(frozen=True)
class Skeleton:
    """What was written: the folder, its files relative to it, and what to do next."""

    folder: Path
    files: tuple[Path, ...]
    next: tuple[str, ...]


def class_name(name: str) -> str:
    """`quiet_hours` as a class is called: QuietHours."""
    return "".join(word.capitalize() for word in name.split("_"))


def write(kind: str, name: str, into: Path) -> Skeleton:
    """Write the skeleton of a stage or backend into `into`/`name`, which is a Python package of that name.

    Raises:
        HalError: INVALID for a name that can't be a package's or is taken, or a folder that is there already.
    """
    if not NAME.fullmatch(name) or keyword.iskeyword(name):
        raise HalError(ErrorKind.INVALID, f"{kind} {name}", field="name", limit="a-z, then up to 22 of a-z, 0-9 and _")
    if name in (known := {point.name for point in entry_points(group=f"dsn.{kind}s")}):
        limit = "a name that isn't taken; installed: " + ", ".join(sorted(known))
        raise HalError(ErrorKind.INVALID, f"{kind} {name}", field="name", limit=limit, fix="Choose another.")
    folder = into / name
    if folder.exists():
        raise HalError(ErrorKind.INVALID, f"folder {folder}", limit="one that isn't there yet", fix="Choose another.")
    words = {"name": name, "Name": class_name(name)}
    texts = {
        Path(Template(source.name.removesuffix(ENDING)).substitute(words)): Template(source.read_text()).substitute(
            words
        )
        for source in files("sdk.scaffold").joinpath("templates", kind).iterdir()
        if source.name.endswith(ENDING)
    }
    try:
        folder.mkdir(parents=True)
        for path, text in texts.items():
            (folder / path).write_text(text)
        if kind == "stage":
            generated = Path("_generated.py")
            texts[generated] = python_rows(name, _schema(folder / "schema.py"))
            (folder / generated).write_text(texts[generated])
    except OSError as error:
        raise HalError(
            ErrorKind.INVALID, f"folder {folder}", got=error.strerror, fix="Name another with --into."
        ) from error
    return Skeleton(folder, tuple(sorted(texts)), _next(kind, name))


def _schema(path: Path) -> StageSchema:
    schema: StageSchema = runpy.run_path(str(path))["SCHEMA"]
    return schema


def guide(kind: str) -> str:
    """Where the guide that leads through this kind is: in the checkout, or where a wheel put it."""
    name = f"new-{kind}.md"
    checkout = Path(__file__).resolve().parents[2] / "docs" / "guides" / name
    if checkout.is_file():
        return f"docs/guides/{name}"
    installed = Path(sysconfig.get_path("data")) / "share" / "doc" / "dsn-sdk" / "guides" / name
    return str(installed) if installed.is_file() else f"docs/guides/{name} of the SDK's sources"


def _next(kind: str, name: str) -> tuple[str, ...]:
    wants = () if find_spec("pytest") else ("python -m pip install pytest, or dsn-sdk[test]: its tests want it",)
    first = (*wants, f"python -m pytest {name}")
    if kind == "stage":
        return *first, f"edit {name}/schema.py and {name}/model.py; {guide(kind)} leads through it"
    return (
        *first,
        f"edit {name}/card.py; {guide(kind)} leads through it",
        f"python -m hal.conformance --backend {name}",
    )
