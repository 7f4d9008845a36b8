"""The card of a soak, its hosts, and what is done to them."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

from hal.errors import HalError
from sdk.api.client import CardStatus, IntentText
from tests.demo.show import INTENT, build
from tests.netns.world import World, end_session
from tests.soak.samples import Process, Sample
from tests.soak.talkers import TCP_PORT
from tests.tools.until import until

PROGRAM = (sys.executable, "-m", "tests.soak.talkers")
ROOT = Path(__file__).resolve().parents[2]


def process(pid: int) -> Process:
    """What a living process takes. Raises OSError."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return Process(int(fields["VmRSS"].split()[0]), descriptors, int(fields["Threads"]))


def policy(text: str, number: int) -> str:
    """The intent behind so many changes: each second one has a rule of one port more, which nobody uses here."""
    return text if number % 2 else text.replace("port 80,443,", f"port 80,443,{10_000 + number % 50_000},")


def size_kb(folder: Path) -> int:
    """What a folder takes on disk."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.lstat().st_blocks // 2
    return total


class Talker:
    """A host that talks, and what it says of it."""

    def __init__(self, namespace: str, *addresses: str) -> None:
        self._process = subprocess.Popen(
            ["ip", "netns", "exec", namespace, *PROGRAM, "talk", *addresses],
            cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        self.said: dict[str, Any] = {}
        threading.Thread(target=self._follow, name="talker", daemon=True).start()

    def _follow(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.said = json.loads(line)

    def end(self) -> None:
        end_session(self._process)


class Soak:
    """A card under churn.

    Args:
        world: empty.
        source: of random moments.
    """

    def __init__(self, world: World, source: random.Random) -> None:
        self._world = world
        self._source = source
        self._began = time.monotonic()
        self._text = INTENT.read_text()
        self.kills = self.applies = 0

    def begin(self) -> None:
        """Hosts, card, and talk between them."""
        build(self._world)
        self._world.start_card()
        self._world.dsn("apply", str(INTENT))
        web, client = self._world.hosts["web"], self._world.hosts["client"]
        web.start("env", f"PYTHONPATH={ROOT}", *PROGRAM, "serve")
        if not until(lambda: f":{TCP_PORT} " in web.run("ss", "-Hltn").stdout, 30):
            raise RuntimeError("the server did not start")
        self.talker = Talker(client.namespace, web.ipv4, web.ipv6)
        if not until(lambda: self.talker.said.get("tcp", 0) > 10, 30):
            raise RuntimeError(f"nobody talks: {self.talker.said}")

    def status(self) -> CardStatus:
        return self._world.status()

    def change_policy(self) -> None:
        """One rule more, or less: of the ports that nobody uses here. Raises HalError."""
        self.applies += 1
        text = policy(self._text, self.applies)
        with contextlib.closing(self._world.api()) as api:
            api.apply([IntentText("intent.yaml", text.encode())])

    def storm(self, seconds: float) -> None:
        """Kill dsnd, the engine, or both, while the policy changes; behind each the card has to be whole again.

        Raises:
            RuntimeError: it isn't, a minute later.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            now = self.status()
            victims = self._source.choice(([now.daemon_pid], [now.engine_pid], [now.daemon_pid, now.engine_pid]))
            applying = threading.Thread(target=self._try_to_change, daemon=True)
            applying.start()
            time.sleep(self._source.uniform(0, 0.2))
            for pid in victims:
                os.kill(pid, signal.SIGKILL)
                self.kills += 1
            applying.join(120)
            if now.daemon_pid in victims:
                self._world.start_card()
            before = self.talker.said.get("words", 0)
            if not until(partial(self._is_well, before), 90):
                raise RuntimeError(f"killed {victims}, and a minute later: {self.status()}, {self.talker.said}")
            time.sleep(min(self._source.uniform(3, 12), max(0.0, end - time.monotonic())))

    def _is_well(self, words: int) -> bool:
        with contextlib.suppress(HalError, OSError):
            now = self.status()
            whole = now.engine_state == "forwarding" and now.engine_tag == now.intent_digest
            return whole and self.talker.said["words"] > words
        return False

    def _try_to_change(self) -> None:
        with contextlib.suppress(HalError):
            self.change_policy()

    def sample(self) -> Sample:
        """How things are. Raises HalError, OSError: somebody doesn't answer."""
        now, said = self.status(), self.talker.said
        with contextlib.closing(self._world.api()) as api:
            counters = api.counters()
        return Sample(
            seconds=time.monotonic() - self._began,
            engine=process(now.engine_pid),
            daemon=process(now.daemon_pid),
            flows=counters.engine["flows_now"],
            files_kb=size_kb(self._world.folder),
            sent=sum(host.packets() for host in self._world.hosts.values()),
            came=sum(port["rx_packets"] for port in counters.ports.values()),
            talks=said.get("tcp", 0) + said.get("udp", 0),
            failed=said.get("failed", 0),
            anew=said.get("anew", 0),
            trip_ms=said.get("ms", 0.0),
        )

    def end(self) -> None:
        self.talker.end()
        self._world.stop_card()
