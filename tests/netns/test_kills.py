"""Python and the engine are killed while hosts talk."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from hal.errors import ErrorKind, HalError
from hal.packet.dpdk import Engine, connect
from sdk.api.client import CardStatus, GrpcCard, IntentText
from tests.demo.show import INTENT, NUMBERED, Demo, curl
from tests.tools.until import until


def pids(card: Demo) -> tuple[int, int]:
    return card.world.pids()


OUTLASTS_NS = 200_000_000_000
"""A connection with this time-out that had a packet just now outlasts the test, on a busy machine too."""


def test_python_is_killed_and_a_new_one_adopts_the_engine(card: Demo) -> None:
    client, web = card.host("client"), card.host("web")
    curl(client, web.ipv4)
    before = card.dsn("card", "status")
    flows = {flow["id"] for flow in card.dsn("show", "flows") if flow["timeout_ns"] >= OUTLASTS_NS}
    assert flows
    bytes_before = {one["id"]: one for one in card.dsn("show", "counters")["vnics"]}
    receiver = subprocess.Popen(
        ["ip", "netns", "exec", web.namespace, sys.executable, str(NUMBERED), "receive", "5201"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert receiver.stdout is not None
    assert receiver.stdout.readline().strip() == "ready"
    send = (sys.executable, str(NUMBERED), "send", web.ipv4, "5201", "5000", "120")
    sender = client.start(*send, output=subprocess.PIPE)
    sent = client.packets()
    assert until(lambda: client.packets() > sent + 1000)
    os.kill(before["daemon_pid"], signal.SIGKILL)
    assert card.world.dsn("card", "status", check=False).returncode == 3
    sent = client.packets()
    card.world.start_card()
    assert client.packets() > sent + 1000
    after = card.dsn("card", "status")
    sender.terminate()
    told = json.loads(sender.communicate(timeout=30)[0])
    assert json.loads(receiver.communicate(timeout=30)[0]) == {
        "received": told["sent"], "missing": 0, "doubled": 0, "reordered": 0
    }  # fmt: skip
    for same in ("engine_pid", "generation", "engine_tag"):
        assert before[same] == after[same]
    assert before["daemon_pid"] != after["daemon_pid"]
    assert flows <= {flow["id"] for flow in card.dsn("show", "flows")}
    counters = {one["id"]: one for one in card.dsn("show", "counters")["vnics"]}
    assert all(counters[vnic]["rx_packets"] >= values["rx_packets"] for vnic, values in bytes_before.items())


MOVED = 100_000
"""Bytes of payload, on a host, behind which a connection is said to go on: far more than a socket's own."""


class Load:
    """A running iperf3, both ways at once between client and web."""

    def __init__(self, card: Demo) -> None:
        self._receivers = (card.host("web"), card.host("client"))
        self._client = card.host("client").start("iperf3", "-c", card.host("web").ipv4, "-t", "3600", "--bidir")
        self.goes_on()

    def _received(self) -> list[int]:
        return [host.received() for host in self._receivers]

    def goes_on(self) -> None:
        """Wait until both hosts have received more, by the very same connections."""
        begin, deadline = self._received(), time.monotonic() + 60
        while min(now - then for now, then in zip(self._received(), begin, strict=True)) < MOVED:
            assert self._client.poll() is None, "iperf3 ended"
            assert time.monotonic() < deadline, f"web and client received {begin}, a minute later {self._received()}"
            time.sleep(0.02)

    def end(self) -> None:
        """End the client in a way that its server learns of: one that is cut off keeps it busy."""
        assert self._client.poll() is None
        self._client.terminate()
        self._client.wait(20)


@pytest.mark.parametrize("direction", [[], ["-R"]], ids=["to web", "from web"])
def test_the_engine_is_killed_and_a_running_iperf3_goes_on(card: Demo, direction: list[str]) -> None:
    client, web = card.host("client"), card.host("web")
    iperf = subprocess.Popen(
        ["ip", "netns", "exec", client.namespace, "iperf3", "-c", web.ipv4, "-t", "8", "-i", "0.5", "-J", *direction],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    receiver = client if direction else web
    assert until(lambda: receiver.received() > MOVED)
    _, engine = pids(card)
    os.kill(engine, signal.SIGKILL)
    output = iperf.communicate(timeout=40)[0]
    report = json.loads(output)
    assert iperf.returncode == 0, report.get("error")
    last = [interval["sum"]["bits_per_second"] for interval in report["intervals"][-3:]]
    assert min(last) > 0, last
    _, new = pids(card)
    assert new != engine
    assert curl(client, web.ipv6) == "hello from web"


class Applies:
    """Two intents that differ in a rule, applied in turn by somebody who is killed, or whose engine is.

    Attributes:
        met: what kills met -> how often.
    """

    def __init__(self, card: Demo, source: random.Random) -> None:
        self._source = source
        self._world = card.world
        self._pending = card.world.folder / "state/intent.pending"
        self._turn = 0
        self._asked = ""
        self._took = 0.0
        self._texts: dict[str, str] = {}
        self._rules: dict[str, int] = {}
        self.text = INTENT.read_text()
        self.met: Counter[str] = Counter()
        with closing(card.world.api()) as api:
            for one in (self.text.replace("port 80,443", "port 80,443,8443"), self.text):
                began = time.monotonic()
                self._begun(api, one, []).join()
                self._took = time.monotonic() - began
                tag = api.status().engine_tag
                self._texts[tag] = one
                self._rules[tag] = len(api.snapshot(["firewall_rule"]).rows("firewall_rule"))
        assert len(set(self._rules.values())) == 2

    def _begun(self, api: GrpcCard, text: str, errors: list[HalError]) -> threading.Thread:
        def call() -> None:
            try:
                api.apply([IntentText("intent.yaml", text.encode())])
            except HalError as error:
                errors.append(error)

        applying = threading.Thread(target=call)
        applying.start()
        return applying

    def _moment(self, engine: Engine, applying: threading.Thread) -> None:
        """Wait for one, by turns: any of an apply; one behind which its commit is on its way, as the pending intent on
        disk tells; one behind which the engine has it."""
        kind, self._turn = self._turn % 3, self._turn + 1
        begins = (lambda: True, self._pending.exists, lambda: engine.snapshot(["seed"]).tags["dsnd"] == self._asked)
        assert until(lambda: not applying.is_alive() or begins[kind](), every=0.0005)  # pending for milliseconds
        time.sleep(self._source.uniform(0, self._took * (1.3, 0.1, 0.01)[kind]))

    def killed_in_one(self, *numbers: int) -> str:
        """Apply the intent that isn't in force, and kill processes at a moment of it.

        Returns:
            The tag that the card has to have now, where the apply was acknowledged, else "".
        """
        errors: list[HalError] = []
        with closing(self._world.api()) as api, closing(connect(self._world.run_folder / "engine")) as engine:
            held = engine.snapshot(["seed"]).tags["dsnd"]
            self._asked = next(tag for tag in self._texts if tag != held)
            applying = self._begun(api, self._texts[self._asked], errors)
            self._moment(engine, applying)
            in_flight = self._pending.exists()
            for number in numbers:
                os.kill(number, signal.SIGKILL)
            applying.join()
        if not errors:
            self.met["an apply that was acknowledged"] += 1
            return self._asked
        assert errors[0].kind in (ErrorKind.LOST, ErrorKind.TIMEOUT), errors
        self.met["a commit in flight" if in_flight else "an apply that was planned"] += 1
        return ""

    def engine_alone(self) -> tuple[int, str]:
        """Generation and tag of the engine, while the daemon is dead."""
        with closing(connect(self._world.run_folder / "engine")) as engine:
            snapshot = engine.snapshot(["seed"])
        if self._pending.exists() and snapshot.tags["dsnd"] == self._asked:
            self.met["a commit that was made, unacknowledged"] += 1
        return snapshot.generation, snapshot.tags["dsnd"]

    def hold(self, api: GrpcCard, acknowledged: str) -> None:
        """The engine holds one intent whole, the card says which, and it is the one that was acknowledged."""
        now = api.status()
        assert now.engine_tag == now.intent_digest
        assert acknowledged in ("", now.engine_tag)
        assert len(api.snapshot(["firewall_rule"]).rows("firewall_rule")) == self._rules[now.engine_tag]
        assert not self._pending.exists()


KILLS, KILLS_LONG = {1: 8, 2: 3}, {1: 40, 2: 12}
"""Number of workers -> how often."""


def kills_of(card: Demo, long: bool) -> int:
    with closing(card.world.api()) as api:
        return (KILLS_LONG if long else KILLS)[api.status().capabilities.workers]


def enough_kills(card: Demo, long: bool, applies: Applies) -> Iterator[int]:
    """Turns: so many, and more until one of them has met what it is about: where the machine is slow that is rarer."""
    kills = kills_of(card, long)
    for turn in range(5 * kills):
        if turn >= kills and applies.met["a commit in flight"]:
            return
        yield turn


def still_well(card: Demo, applies: Applies) -> None:
    assert curl(card.host("client"), card.host("web").ipv4) == "hello from web"
    assert card.apply(applies.text).returncode == 0


def test_python_is_killed_at_random_moments_with_a_commit_in_flight(
    card: Demo, seed: int, long: bool, tell: Callable[[object], None]
) -> None:
    """Whatever moment Python dies at, hosts don't notice, the engine holds one intent whole and the card says which."""
    applies, load = Applies(card, random.Random(seed)), Load(card)
    daemon, engine = pids(card)
    for _ in enough_kills(card, long, applies):
        acknowledged = applies.killed_in_one(daemon)
        load.goes_on()  # with nobody but the engine
        generation, tag = applies.engine_alone()
        card.world.start_card()
        with closing(card.world.api()) as api:
            now = api.status()
            assert (now.engine_pid, now.generation, now.engine_tag) == (engine, generation, tag)
            daemon = now.daemon_pid
            applies.hold(api, acknowledged)
        load.goes_on()
    load.end()
    tell(dict(applies.met))
    assert applies.met["a commit in flight"] >= 1
    still_well(card, applies)


def test_the_engine_is_killed_at_random_moments_with_a_commit_in_flight(
    card: Demo, seed: int, long: bool, tell: Callable[[object], None]
) -> None:
    """Whatever moment the engine dies at, now and then with Python, the new one holds one intent whole, the card says
    which, and connections go on."""
    applies, load = Applies(card, random.Random(seed)), Load(card)
    daemon, engine = pids(card)
    for turn in enough_kills(card, long, applies):
        together = turn % 4 == 3  # which makes the next death a first one, too: after many in a row it waits for long
        acknowledged = applies.killed_in_one(engine, *[daemon] * together)
        if together:
            card.world.start_card()
        with closing(card.world.api()) as api:
            now = runs_anew(api, engine)
            assert (now.daemon_pid == daemon) == (not together)
            daemon, engine = now.daemon_pid, now.engine_pid
            applies.hold(api, acknowledged)
        load.goes_on()
    load.end()
    tell(dict(applies.met))
    assert applies.met["a commit in flight"] >= 1
    still_well(card, applies)


def runs_anew(api: GrpcCard, engine: int) -> CardStatus:
    """How the card is when another engine than this one forwards."""
    assert until(lambda: (now := api.status()).engine_pid != engine and now.engine_state == "forwarding")
    return api.status()
