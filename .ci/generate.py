"""Write all generated code of a tree: `python .ci/generate.py [--tree DIR]`, else into this checkout.

From every .proto of the services and of the API come messages, stubs and their types beside it; from the
packet tables' declarations what `hal.packet.schema.generate` makes of them. All of it is committed; a lint
test generates into a copy and compares.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
PROTOS = ("services/*/*.proto", "sdk/api/*.proto")
TABLES = "hal/packet/schema/generate.py"


def protoc(tree: Path) -> int:
    """Run protoc over each .proto of `tree`. Returns how many there were."""
    protos = sorted(str(path.relative_to(tree)) for pattern in PROTOS for path in tree.glob(pattern))
    if not protos:
        return 0
    # protoc finds its mypy plugins by PATH, and they lie beside the interpreter.
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"}
    into = ("python_out", "grpc_python_out", "mypy_out", "mypy_grpc_out")
    # From the root, so that generated modules import each other by their full names.
    command = [
        sys.executable,
        "-m",
        "grpc_tools.protoc",
        "-I",
        ".",
        *(f"--{out}=." for out in into),
        *protos,
    ]
    subprocess.run(command, cwd=tree, env=environment, check=True, capture_output=True, text=True)
    for proto in protos:
        _drop_empty_stubs(tree / proto)
    return len(protos)


def _drop_empty_stubs(proto: Path) -> None:
    """Remove the gRPC files that protoc writes even where a .proto has no service."""
    if not any(line.startswith("service ") for line in proto.read_text().splitlines()):
        for end in (".py", ".pyi"):
            proto.with_name(f"{proto.stem}_pb2_grpc{end}").unlink(missing_ok=True)


def tables(tree: Path) -> bool:
    """Generate what the packet tables' declarations yield. Returns whether there are any."""
    if not (tree / TABLES).exists():
        return False
    # `tree` comes first on the path, before the checkout that is installed.
    module = TABLES.removesuffix(".py").replace("/", ".")
    subprocess.run([sys.executable, "-m", module], cwd=tree, check=True, capture_output=True, text=True)
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write all generated code of a tree.")
    parser.add_argument("--tree", type=Path, default=HERE, help="the tree to read and write")
    tree: Path = parser.parse_args(arguments).tree.resolve()
    try:
        print(f"{protoc(tree)} .proto files, packet tables: {'yes' if tables(tree) else 'none'}")
    except subprocess.CalledProcessError as error:
        sys.stderr.write(f"{error.stdout}{error.stderr}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
