"""Python and the engine are killed while hosts talk."""

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
from collections.abc import Callable
from contextlib import closing

import pytest

from hal.errors import HalError
from sdk.api.client import IntentText
from tests.demo.show import INTENT, NUMBERED, Demo, curl


def pids(card: Demo) -> tuple[int, int]:
    status = card.dsn("card", "status")
    return status["daemon_pid"], status["engine_pid"]


def test_python_is_killed_and_a_new_one_adopts_the_engine(card: Demo) -> None:
    client, web = card.host("client"), card.host("web")
    curl(client, web.ipv4)
    before = card.dsn("card", "status")
    flows = {flow["id"] for flow in card.dsn("show", "flows")}
    bytes_before = {one["id"]: one for one in card.dsn("show", "counters")["vnics"]}
    receiver = subprocess.Popen(
        ["ip", "netns", "exec", web.namespace, sys.executable, str(NUMBERED), "receive", "5201"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert receiver.stdout is not None
    assert receiver.stdout.readline().strip() == "ready"
    sender = client.start(sys.executable, str(NUMBERED), "send", web.ipv4, "5201", "5000", "4")
    time.sleep(0.8)
    os.kill(before["daemon_pid"], signal.SIGKILL)
    time.sleep(0.3)
    assert card.world.dsn("card", "status", check=False).returncode == 3
    card.world.start_card()
    after = card.dsn("card", "status")
    sender.wait(timeout=30)
    assert json.loads(receiver.communicate(timeout=30)[0]) == {
        "received": 20_000, "missing": 0, "doubled": 0, "reordered": 0
    }  # fmt: skip
    for same in ("engine_pid", "generation", "engine_tag"):
        assert before[same] == after[same]
    assert before["daemon_pid"] != after["daemon_pid"]
    assert flows <= {flow["id"] for flow in card.dsn("show", "flows")}
    counters = {one["id"]: one for one in card.dsn("show", "counters")["vnics"]}
    assert all(counters[vnic]["rx_packets"] >= values["rx_packets"] for vnic, values in bytes_before.items())


def _ends(iperf: subprocess.Popen[bytes]) -> None:
    """Ends a client that still ran, in a way that its server learns of: one that is cut off keeps it busy."""
    assert iperf.poll() is None
    iperf.terminate()
    iperf.wait(20)


@pytest.mark.parametrize("direction", [[], ["-R"]], ids=["to web", "from web"])
def test_the_engine_is_killed_and_a_running_iperf3_goes_on(card: Demo, direction: list[str]) -> None:
    client, web = card.host("client"), card.host("web")
    iperf = subprocess.Popen(
        ["ip", "netns", "exec", client.namespace, "iperf3", "-c", web.ipv4, "-t", "8", "-i", "0.5", "-J", *direction],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    time.sleep(1.5)
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


def _two_intents(card: Demo) -> tuple[str, str, dict[str, int]]:
    """Two intents that differ in a rule, the first of them in force, and how many rules each has, by its tag."""
    text = INTENT.read_text()
    other = text.replace("port 80,443", "port 80,443,8443")
    rules = {}
    for one in (other, text):
        card.apply(one)
        rules[card.dsn("card", "status")["engine_tag"]] = len(card.dsn("show", "tables", "firewall_rule"))
    return text, other, rules


KILLS = {1: 20, 2: 6}
"""Number of workers -> how often."""


def test_killed_at_random_moments_with_a_commit_in_flight(card: Demo) -> None:
    """Whatever moment Python dies at, the engine holds one intent whole, and the card says which."""
    client, web = card.host("client"), card.host("web")
    source = random.Random(20)
    text, other, rules = _two_intents(card)
    iperf = client.start("iperf3", "-c", web.ipv4, "-t", "600")
    _, engine = pids(card)
    with closing(card.world.api()) as api:
        kills = KILLS[api.status().capabilities.workers]
    for turn in range(kills):
        with closing(card.world.api()) as api:
            before = api.status()
            assert before.engine_pid == engine
            intent = [IntentText(str(card.world.folder / "intent.yaml"), (other, text)[turn % 2].encode())]
            applying = threading.Thread(target=suppressed, args=(api.apply, intent))
            applying.start()
            time.sleep(source.uniform(0.0, 0.12))
            os.kill(before.daemon_pid, signal.SIGKILL)
            applying.join()
        card.world.start_card()
        with closing(card.world.api()) as api:
            after = api.status()
            assert after.engine_pid == engine
            assert after.engine_tag == after.intent_digest
            held = len(api.snapshot(["firewall_rule"]).rows("firewall_rule"))
        assert held == rules[after.engine_tag]
    _ends(iperf)
    assert curl(client, web.ipv4) == "hello from web"
    assert card.apply(text).returncode == 0


def test_the_engine_is_killed_with_a_commit_in_flight_under_iperf3(card: Demo) -> None:
    """Whatever moment the engine dies at, the new one holds one intent whole, the card says which, and hosts go on."""
    client, web = card.host("client"), card.host("web")
    source = random.Random(21)
    text, other, rules = _two_intents(card)
    iperf = client.start("iperf3", "-c", web.ipv4, "-t", "600")
    with closing(card.world.api()) as api:
        for turn in range(5):
            before = api.status()
            intent = [IntentText(str(card.world.folder / "intent.yaml"), (other, text)[turn % 2].encode())]
            applying = threading.Thread(target=suppressed, args=(api.apply, intent))
            applying.start()
            time.sleep(source.uniform(0.0, 0.12))
            os.kill(before.engine_pid, signal.SIGKILL)
            applying.join()
            deadline = time.monotonic() + 60
            while (after := api.status()).engine_pid == before.engine_pid or after.engine_state != "forwarding":
                assert time.monotonic() < deadline
                time.sleep(0.05)
            assert after.daemon_pid == before.daemon_pid
            assert after.engine_tag == after.intent_digest
            assert len(api.snapshot(["firewall_rule"]).rows("firewall_rule")) == rules[after.engine_tag]
            time.sleep(1)  # of load, and a bigger one than a death in a row
    _ends(iperf)
    assert curl(client, web.ipv4) == "hello from web"
    assert card.apply(text).returncode == 0


def suppressed(call: Callable[..., object], *arguments: object) -> None:
    """A call whose other end may be killed while it runs."""
    with contextlib.suppress(HalError):
        call(*arguments)
