"""Nothing in the tree says where it was written: no registry's host, no folder of one machine."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.tools.tree import ROOT, files

# What a Debian has at its root (FHS 3.0, and the links of a merged /usr). Any other is this machine's own.
STANDARD = frozenset(
    (
        *(
            "bin",
            "boot",
            "dev",
            "etc",
            "home",
            "lib",
            "lib32",
            "lib64",
            "libx32",
            "lost+found",
            "media",
            "mnt",
        ),
        *("opt", "proc", "root", "run", "sbin", "srv", "sys", "tmp", "usr", "var"),
    )
)


def hosts_of(addresses: str) -> set[str]:
    """Hosts of the addresses in a text, without user and port."""
    found = {urlsplit(address).hostname for address in re.findall(r"[a-z+]+://[^\s'\",]+", addresses)}
    return {host for host in found if host and host != "localhost"}


def configured_hosts() -> set[str]:
    """The hosts from which apt and pip of this machine are configured to fetch."""
    apt = subprocess.run(["apt-get", "indextargets", "--format", "$(SITE)"], capture_output=True, text=True, check=True)
    pip = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
    proxies = " ".join(value for name, value in os.environ.items() if name.lower().endswith("_proxy"))
    return hosts_of(f"{apt.stdout} {pip.stdout} {proxies}")


def own_folders() -> list[re.Pattern[str]]:
    """Patterns of paths that mean something on this machine only."""
    own = {f"/{path.name}" for path in Path("/").iterdir() if path.is_dir() and path.name not in STANDARD}
    own |= {str(Path.home()), str(ROOT)}
    return [re.compile(rf"(?<![\w.)}}\]*/-]){re.escape(path)}/[\w.]") for path in sorted(own)]


def texts() -> list[tuple[Path, str]]:
    return [(path, (ROOT / path).read_text(errors="replace")) for path in files()]


def test_no_registry_host() -> None:
    hosts = configured_hosts()
    assert hosts, "apt has no source at all"
    found = [f"{path}: {host}" for path, text in texts() for host in sorted(hosts) if host in text]
    assert found == []


def test_no_path_of_this_machine() -> None:
    patterns = own_folders()
    found = [
        f"{path}: {match.group()}" for path, text in texts() for pattern in patterns for match in pattern.finditer(text)
    ]
    assert found == []


def test_lock_has_hashes_and_no_address() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock
    assert "--index-url" not in lock
    assert "--find-links" not in lock
    requirements = re.findall(r"^[a-z0-9][\w.-]*==", lock, re.MULTILINE)
    hashed = re.findall(r"^[a-z0-9][\w.-]*==[^\n]*\\\n    --hash=sha256:[0-9a-f]{64}", lock, re.MULTILINE)
    assert len(requirements) == len(hashed) > 20


def test_hosts_are_found_in_any_dress() -> None:
    text = "deb http://user:secret@one.example:8080/debian, 'https://two.example/simple' file:///local/wheels"
    assert hosts_of(text) == {"one.example", "two.example"}


@pytest.mark.parametrize("text", [f"see {ROOT}/hal", f'open("{ROOT}/x")'])
def test_own_paths_are_found(text: str) -> None:
    assert any(pattern.search(text) for pattern in own_folders())


@pytest.mark.parametrize("text", ["/usr/bin/python3", f"hal{ROOT}/x", "/tmp/x"])
def test_other_paths_are_not(text: str) -> None:
    assert not any(pattern.search(text) for pattern in own_folders())


def test_lock_has_every_dependency() -> None:
    """What pyproject.toml asks for stands in the lock: else a fresh machine gets what nobody checked."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = [*project["project"]["dependencies"], *project["project"]["optional-dependencies"]["dev"]]
    asked += project["build-system"]["requires"]
    locked = set(re.findall(r"^([a-z0-9][\w.-]*)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    names = {re.split(r"[^\w.-]", line, maxsplit=1)[0].lower() for line in asked}
    assert names - locked == set()
