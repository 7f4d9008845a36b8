"""The structures of the control protocol are the same in Python and in C, field for field."""

from __future__ import annotations

import ctypes
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from hal.packet.dpdk import counters, wire

ENGINE = Path(__file__).parents[2] / "hal/packet/engine"


def _fields() -> dict[str, list[str]]:
    python = {name: [one[0] for one in kind._fields_] for name, kind in wire.STRUCTURES.items()}
    for name, dtype in counters.STRUCTURES.items():
        python[name] = list(dtype.names or ())
    return python


@pytest.fixture(scope="module")
def in_c(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """ "STRUCT" -> size and "STRUCT.field" -> offset, as the compiler has them."""
    folder = tmp_path_factory.mktemp("wire")
    lines = [
        "#include <stddef.h>",
        "#include <stdio.h>",
        '#include "wire.h"',
        '#include "control/counters.h"',
        "int main(void) {",
    ]
    for struct, fields in _fields().items():
        lines.append(f'    printf("{struct} %zu\\n", sizeof(struct {struct}));')
        lines += [f'    printf("{struct}.{name} %zu\\n", offsetof(struct {struct}, {name}));' for name in fields]
    (folder / "wire.c").write_text("\n".join([*lines, "    return 0;", "}", ""]))
    subprocess.run(["gcc", "-I", str(ENGINE), str(folder / "wire.c"), "-o", str(folder / "wire")], check=True)
    printed = subprocess.run([str(folder / "wire")], check=True, capture_output=True, text=True).stdout
    return {name: int(value) for name, value in (line.split() for line in printed.splitlines())}


@pytest.mark.parametrize("struct", wire.STRUCTURES)
def test_structure_is_laid_out_alike(struct: str, in_c: dict[str, int]) -> None:
    kind = wire.STRUCTURES[struct]
    assert ctypes.sizeof(kind) == in_c[struct]
    assert {one[0]: getattr(kind, one[0]).offset for one in kind._fields_} == {
        name.split(".")[1]: offset for name, offset in in_c.items() if name.startswith(struct + ".")
    }


@pytest.mark.parametrize("struct", counters.STRUCTURES)
def test_counter_segment_is_laid_out_alike(struct: str, in_c: dict[str, int]) -> None:
    dtype = counters.STRUCTURES[struct]
    assert dtype.itemsize == in_c[struct]
    offsets = {name: np.dtype(dtype).fields[name][1] for name in dtype.names or ()}  # type: ignore[index]
    assert offsets == {name.split(".")[1]: offset for name, offset in in_c.items() if name.startswith(struct + ".")}


def test_every_structure_of_the_header_is_known_to_python() -> None:
    declared = re.findall(r"^struct (dsn_\w+) \{", (ENGINE / "wire.h").read_text(), re.MULTILINE)
    assert sorted(declared) == sorted(wire.STRUCTURES)


def test_verbs_have_the_numbers_of_the_header() -> None:
    declared = dict(re.findall(r"DSN_VERB_(\w+)\s*=\s*(\d+)", (ENGINE / "wire.h").read_text()))
    assert {verb.name: str(int(verb)) for verb in wire.Verb} == declared
