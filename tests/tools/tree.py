"""The files of this checkout as git sees them, with what isn't committed yet."""

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def files(*patterns: str, root: Path = ROOT) -> list[Path]:
    """Files that git knows or would add, relative to `root`; all that exist, or those of git's pathspecs."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns]
    output = subprocess.run(listing, cwd=root, check=True, capture_output=True, text=True).stdout
    paths = {Path(name) for name in output.split("\0") if name}
    return sorted(path for path in paths if (root / path).is_file())


def copy(target: Path, root: Path = ROOT) -> None:
    """Copy those files, as they are in the working tree, into `target`."""
    for path in files(root=root):
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / path, target / path)


def is_generated(path: Path) -> bool:
    """True for what `make generate` writes, by its name."""
    protoc = ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py", "_pb2_grpc.pyi")
    return path.name.endswith(protoc) or path.name == "_generated.py" or "generated" in path.parts[:-1]
