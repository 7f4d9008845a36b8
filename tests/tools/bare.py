"""A bare Debian tree, to try things as on a new machine, from where this one gets its packages.

Commands in it run with mounts and processes of their own, which end with the command whatever becomes of it.
So nothing has to be unmounted, and nothing can be left mounted. Needs root.
"""

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.tools.tree import ROOT

STORE = ROOT / "build" / "bare"

# What README asks of a new machine before the first `make`.
BEFORE_SETUP = ("git", "make")

# Where the tree has this machine's certificates: the usual place changes when ca-certificates is installed.
CERTIFICATE = Path("/etc/ssl/from-outside.crt")

# Debian's archive as apt knows it; other vendors' sources are none of a bare Debian's.
_SOURCES = "$(ORIGIN)|deb $(SITE) $(RELEASE) $(COMPONENT)"

# The mounts of a machine that runs. The tree itself is bound first: `ip netns` wants its root to be a mount
# point. /run is new with each command, as after a boot.
_ENTER = """
set -eu
tree=$1; caches=$2; shift 2
mount --bind "$tree" "$tree"
mount -t proc proc "$tree/proc"
mount --rbind /sys "$tree/sys"
mount --rbind /dev "$tree/dev"
mount -t tmpfs tmpfs "$tree/run"
mkdir -p "$caches/apt" "$caches/pip" "$tree/root/.cache/pip"
mount --bind "$caches/apt" "$tree/var/cache/apt/archives"
mount --bind "$caches/pip" "$tree/root/.cache/pip"
exec chroot "$tree" "$@"
"""


def debian_sources() -> list[str]:
    """The lines of a sources.list with this machine's own Debian archive."""
    command = ["apt-get", "indextargets", "--format", _SOURCES, "Created-By: Packages"]
    targets = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    sources = sorted({line.removeprefix("Debian|") for line in targets if line.startswith("Debian|")})
    if not sources:
        raise LookupError("apt knows no source of Debian: run apt-get update, or see /etc/apt/sources.list")
    return sources


def pip_environment() -> dict[str, str]:
    """How pip of this machine reaches its index, as environment variables."""
    variables = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
    for option in ("index-url", "cert"):
        name = "PIP_" + option.upper().replace("-", "_")
        query = [sys.executable, "-m", "pip", "config", "get", f"global.{option}"]
        asked = subprocess.run(query, capture_output=True, text=True, check=False)
        value = os.environ.get(name, "") or (asked.stdout.strip() if asked.returncode == 0 else "")
        if value:
            variables[name] = value
    return variables


@dataclass(frozen=True)
class Tree:
    """A Debian of its own in a folder."""

    root: Path

    def run(self, command: str, cwd: str = "/root", timeout_s: float = 900) -> subprocess.CompletedProcess[str]:
        """Run a shell command in the tree, stderr into stdout. When it ends, all it started has ended."""
        words = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]
        words += ["sh", "-c", _ENTER, "enter", str(self.root), str(STORE / "caches")]
        words += ["/bin/sh", "-c", f"cd {shlex.quote(cwd)} && {command}"]
        variables = {
            "DEBIAN_FRONTEND": "noninteractive",
            "HOME": "/root",
            "LANG": "C.UTF-8",
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        }
        variables |= pip_environment()
        if "PIP_CERT" in variables:
            variables["PIP_CERT"] = str(CERTIFICATE)
        return subprocess.run(
            words,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
            check=False,
        )


def _base() -> Path:
    """The tree as mmdebstrap makes it, packed, made once for each set of sources."""
    sources = debian_sources()
    key = hashlib.sha256(repr((sources, BEFORE_SETUP)).encode()).hexdigest()[:16]
    path = STORE / f"{key}.tar"
    if not path.exists():
        STORE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=STORE, prefix="new-") as folder:
            new = Path(folder) / "base.tar"
            command = [
                "mmdebstrap",
                "--mode=root",
                "--variant=minbase",
                f"--include={','.join(BEFORE_SETUP)}",
            ]
            command += ["", str(new), *sources]
            made = subprocess.run(command, capture_output=True, text=True, check=False)
            if made.returncode:
                raise RuntimeError(f"mmdebstrap failed:\n{made.stderr[-4000:]}")
            new.rename(path)
    return path


def _copy_from_here(root: Path) -> None:
    """Give the tree what this machine needs to reach its mirrors."""
    configuration = sorted(Path("/etc/apt/apt.conf.d").glob("*"))
    # A container's own settings throw fetched packages away; here they are kept for the next run.
    wanted = [path for path in configuration if path.is_file() and not path.name.startswith("docker-")]
    targets = {path: path for path in [Path("/etc/resolv.conf"), *wanted]}
    if certificate := pip_environment().get("PIP_CERT"):
        targets[Path(certificate)] = CERTIFICATE
    for path, place in targets.items():
        target = root / place.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        shutil.copyfile(path, target)


def _remove(folder: Path) -> None:
    """Remove a tree, on one file system only: were anything mounted in it after all, it stays."""
    subprocess.run(["rm", "-rf", "--one-file-system", folder], check=True)


@contextmanager
def tree() -> Generator[Tree]:
    """A fresh tree, gone afterwards."""
    base = _base()
    for left in STORE.glob("tree-*"):
        if not Path(f"/proc/{left.name.split('-')[1]}").exists():  # its test was killed
            _remove(left)
    folder = Path(tempfile.mkdtemp(dir=STORE, prefix=f"tree-{os.getpid()}-"))
    try:
        folder.chmod(0o755)
        subprocess.run(["tar", "-xpf", base, "-C", folder, "--numeric-owner"], check=True)
        _copy_from_here(folder)
        yield Tree(folder)
    finally:
        _remove(folder)
