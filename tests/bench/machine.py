"""What a figure depends on and a reader can't see: the machine; and huge pages for a run, given back after it."""

import fcntl
import os
import platform
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HUGE_PAGES = Path("/sys/kernel/mm/hugepages/hugepages-2048kB")
LOCK = Path("/run/lock/dsn-bench-huge-pages")


def _first(pattern: str, text: str) -> str:
    match = re.search(pattern, text, re.MULTILINE)
    return match.group(1).strip() if match else "unknown"


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def facts() -> dict[str, str | int | float]:
    """The machine in words and numbers, without its name."""
    cpu = Path("/proc/cpuinfo").read_text()
    release = platform.freedesktop_os_release()
    return {
        "cpu": _first(r"^model name\s*:\s*(.+)$", cpu) if "model name" in cpu else platform.machine(),
        "architecture": platform.machine(),
        "cores": os.cpu_count() or 0,
        "virtual": int(" hypervisor" in cpu),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "huge_page_bytes": 2 << 20,
        "kernel": platform.release(),
        "system": release.get("PRETTY_NAME", "unknown"),
        "dpdk": _output("pkg-config", "--modversion", "libdpdk").strip() or "unknown",
        "compiler": _output("cc", "--version").partition("\n")[0] or "unknown",
        "python": platform.python_version(),
        "load_at_start": os.getloadavg()[0],
    }


@contextmanager
def _locked() -> Iterator[None]:
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _change(pages: int) -> None:
    file = HUGE_PAGES / "nr_hugepages"
    file.write_text(str(max(0, int(file.read_text()) + pages)))


@contextmanager
def huge_pages(pages: int) -> Iterator[None]:
    """Reserve that many 2 MiB pages beyond those in use or reserved by others, and give as many back.

    Raises:
        MemoryError: the kernel could not find them; what it found is given back.
    """
    with _locked():
        before = int((HUGE_PAGES / "nr_hugepages").read_text())
        _change(pages)
        got = int((HUGE_PAGES / "nr_hugepages").read_text()) - before
    try:
        if got < pages:
            raise MemoryError(
                f"asked for {pages} huge pages of 2 MiB, the kernel had {got}: free memory, or ask for less"
            )
        yield
    finally:
        with _locked():
            _change(-got)
