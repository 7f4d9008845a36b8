"""Debian 13, the other Debian that the engine is for: its DPDK is 24.11, its compiler gcc 14.

Its packages are unpacked, not installed (a sixth of the time), and kept under build/. Programs run with its /usr
and with this machine's everything else: checkout, temporary folders, network and processes, all under the names they
have here. Nobody writes into it, and its mounts end with the program. Needs root.
"""

import hashlib
import platform
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from tests.tools.bare import STORE, debian_sources
from tests.tools.tree import ROOT

CODENAME = "trixie"
PACKAGES = (
    *("base-files", "bash", "coreutils", "dash", "sed"),
    *("gcc", "libc6-dev", "libdpdk-dev", "meson", "ninja-build", "pkgconf"),
)

# The links of a merged /usr, and folders of this machine. What was only unpacked has no `cc`: setting it chose.
_ENTER = """
set -eu
tree=$1; here=$2; temporary=$3; shift 3
root=$tree/run
mount -t tmpfs -o mode=755 tmpfs "$root"
mkdir "$root/run" "$root/var"
ln -s ../run "$root/var/run"
for link in bin lib lib64 sbin; do ln -s "usr/$link" "$root/$link"; done
for folder in dev proc sys "$temporary" "$here"; do
    mkdir -p "$root/$folder"
    mount --rbind "/$folder" "$root/$folder"
done
for folder in usr etc; do
    mkdir "$root/$folder"
    mount --bind -o ro "$tree/$folder" "$root/$folder"
done
export CC=gcc PATH=/usr/bin:/usr/sbin LANG=C.UTF-8
exec chroot "$root" "$@"
"""


def _sources() -> list[str]:
    """Debian 13 from where this Debian comes; updates apart, which are no other DPDK."""
    own = platform.freedesktop_os_release()["VERSION_CODENAME"]
    lines = (line.split() for line in debian_sources())
    found = sorted(" ".join([*words[:2], CODENAME, *words[3:]]) for words in lines if words[2] == own)
    if not found:
        raise LookupError(f"apt has no source of {own} to take {CODENAME} from: see /etc/apt/sources.list")
    return found


@cache
def tree() -> Path:
    """Where it is unpacked; that is done once for each set of sources and packages."""
    sources = _sources()
    path = STORE / f"{CODENAME}-{hashlib.sha256(repr((sources, PACKAGES)).encode()).hexdigest()[:16]}"
    if not path.exists():
        STORE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=STORE, prefix="new-") as folder:
            new = Path(folder) / CODENAME
            command = ["mmdebstrap", "--mode=root", "--variant=extract", f"--include={','.join(PACKAGES)}"]
            made = subprocess.run([*command, CODENAME, str(new), *sources], capture_output=True, text=True, check=False)
            if made.returncode:
                raise RuntimeError(f"mmdebstrap failed:\n{made.stderr[-4000:]}")
            new.rename(path)
    return path


def command(*words: str) -> list[str]:
    """The command that runs `words`, a program with its arguments, on Debian 13; it keeps its process id."""
    enter = ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", _ENTER, "enter"]
    return [*enter, str(tree()), str(ROOT), tempfile.gettempdir(), *words]


def run(*words: str) -> str:
    """What a program said that ended well on Debian 13, in the checkout. Raises RuntimeError where it didn't."""
    inside = command("/bin/sh", "-c", f'cd {shlex.quote(str(ROOT))} && exec "$@"', "run", *words)
    done = subprocess.run(
        inside, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: exit {done.returncode}\n{done.stdout[-20_000:]}")
    return done.stdout


def script(path: Path, words: Sequence[str]) -> Path:
    """Write a program that is `words` on Debian 13, whatever arguments follow."""
    path.write_text(f'#!/bin/sh\nexec {shlex.join(command(*words))} "$@"\n')
    path.chmod(0o755)
    return path
