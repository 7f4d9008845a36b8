"""Python and the engine are killed while hosts talk."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from tests.demo.show import INTENT, NUMBERED, Demo, curl


def pids(card: Demo) -> tuple[int, int]:
    status = card.dsn("card", "status")
    return status["daemon_pid"], status["engine_pid"]


def test_python_is_killed_and_a_new_one_adopts_the_engine(card: Demo) -> None:
    client, web = card.host("client"), card.host("web")
    curl(client, web.ipv4)
    before = card.dsn("card", "status")
    flows = {flow["id"] for flow in card.dsn("show", "flows")}
    bytes_before = card.dsn("show", "counters")["vnics"]
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
    counters = card.dsn("show", "counters")["vnics"]
    assert all(counters[vnic]["rx_packets"] >= values["rx_packets"] for vnic, values in bytes_before.items())


@pytest.mark.parametrize("direction", [[], ["-R"]], ids=["to web", "from web"])
def test_the_engine_is_killed_and_a_running_iperf3_goes_on(card: Demo, direction: list[str]) -> None:
    client, web = card.host("client"), card.host("web")
    iperf = subprocess.Popen(
        ["ip", "netns", "exec", client.namespace, "iperf3", "-c", web.ipv4, "-t", "6", "-i", "0.5", "-J", *direction],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    time.sleep(2)
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


def test_killed_at_random_moments_with_a_commit_in_flight(card: Demo) -> None:
    """Whatever moment Python dies at, the engine holds one intent whole, and the card says which."""
    client, web = card.host("client"), card.host("web")
    source = random.Random(20)
    text = INTENT.read_text()
    other = text.replace("port 80,443", "port 80,443,8443")
    iperf = client.start("iperf3", "-c", web.ipv4, "-t", "120")
    _, engine = pids(card)
    for turn in range(20):
        daemon, same = pids(card)
        assert same == engine
        path = card.world.folder / f"turn{turn}.yaml"
        path.write_text((text, other)[turn % 2])
        applying = threading.Thread(target=card.world.dsn, args=("apply", str(path)), kwargs={"check": False})
        applying.start()
        time.sleep(source.uniform(0.2, 0.7))
        os.kill(daemon, signal.SIGKILL)
        applying.join()
        card.world.start_card()
        status = card.dsn("card", "status")
        assert status["engine_tag"] == status["intent_digest"]
        rules = card.world.dsn("show", "objects", "--json").stdout
        held = card.world.dsn("plan", str(path), "--against", "running", "--json", check=False)
        assert held.returncode == 0, held.stderr
        assert re.search(r"8443", rules) is not None or "8443" not in json.dumps(json.loads(rules))
    assert iperf.poll() is None
    assert curl(client, web.ipv4) == "hello from web"
    assert card.apply(text).returncode == 0
