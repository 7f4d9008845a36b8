"""What the demo shows, step by step: each a sentence, what should be seen, and what was."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.netns.world import ROOT, WEB, Host, World

INTENT = ROOT / "docs/examples/demo.yaml"
NUMBERED = Path(__file__).with_name("numbered.py")
RATE = 10_000


@dataclass(frozen=True)
class Line:
    """One line of the table at the end."""

    what: str
    expected: str
    saw: str
    right: bool


@dataclass
class Demo:
    """The world, and what was seen in it so far. `tell` is called with each line as it comes."""

    world: World
    tell: Callable[[Line], None]
    lines: list[Line] = field(default_factory=list)

    def see(self, what: str, expected: str, saw: object, right: bool) -> None:
        line = Line(what, expected, str(saw), right)
        self.lines.append(line)
        self.tell(line)

    def host(self, name: str) -> Host:
        return self.world.hosts[name]

    def dsn(self, *arguments: str) -> Any:
        """The JSON that a command prints."""
        return json.loads(self.world.dsn(*arguments, "--json", check=False).stdout)

    def apply(self, text: str) -> subprocess.CompletedProcess[str]:
        path = self.world.folder / "intent.yaml"
        path.write_text(text)
        return self.world.dsn("apply", str(path), check=False)

    def drops(self) -> dict[str, int]:
        with closing(self.world.api()) as api:
            return dict(api.counters().drops)


def build(world: World) -> None:
    """An uplink with a router and a server behind it, and three hosts."""
    gateways = ("10.1.0.1", "2001:db8:1::1")
    for name, port, mac, v4, v6 in (
        ("web", "host0", "02:00:00:00:00:0a", "10.1.0.10/24", "2001:db8:1::a/64"),
        ("client", "host1", "02:00:00:00:00:0b", "10.1.0.20/24", "2001:db8:1::b/64"),
        ("intruder", "host2", "02:00:00:00:00:0c", "10.1.0.66/24", "2001:db8:1::66/64"),
    ):
        world.host(name, port, mac, (v4, v6), gateways)
    router = world.host("internet", "uplink0", "02:00:00:00:09:01", ("192.0.2.1/24", "2001:db8:ff::1/64"))
    for address in ("198.51.100.10/32", "2001:db8:ad::10/128"):
        router.run("ip", "address", "add", address, "dev", "lo")
    router.run("ip", "route", "add", "10.1.0.0/24", "via", "192.0.2.2", "src", "198.51.100.10")
    router.run("ip", "-6", "route", "add", "2001:db8:1::/64", "via", "2001:db8:ff::2", "src", "2001:db8:ad::10")
    folder = world.folder / "www"
    folder.mkdir()
    (folder / "index.html").write_text("hello from web\n")
    web = world.hosts["web"]
    web.start(sys.executable, str(WEB), str(folder), "::", "80")
    web.start("iperf3", "-s")
    world.write_card()


def curl(host: Host, address: str) -> str:
    """What curl got, or why not."""
    url = f"http://[{address}]/" if ":" in address else f"http://{address}/"
    done = host.run("curl", "-sS", "--max-time", "3", url, check=False)
    return done.stdout.strip() if done.returncode == 0 else f"curl exit {done.returncode}"


def ping(host: Host, address: str) -> str:
    done = host.run("ping", "-c", "3", "-i", "0.2", "-W", "1", address, check=False)
    found = re.search(r"(\d+) received", done.stdout)
    return f"{found[1] if found else 0} of 3"


def wait_for_web(demo: Demo) -> None:
    """The server needs a moment; it is asked on its own host, so that nothing here goes through the card."""
    for _ in range(100):
        if curl(demo.host("web"), "127.0.0.1") == "hello from web":
            return
        time.sleep(0.1)
    raise RuntimeError("the web server did not start")


def allowed_and_denied(demo: Demo) -> None:
    """What is allowed works; what isn't is dropped, and trace names why."""
    web, client, intruder, internet = (demo.host(name) for name in ("web", "client", "intruder", "internet"))
    for address in (web.ipv4, web.ipv6):
        saw = curl(client, address)
        demo.see(f"client fetches http from web ({address})", "hello from web", saw, saw == "hello from web")
        saw = ping(client, address)
        demo.see(f"client pings web ({address})", "3 of 3", saw, saw == "3 of 3")
    for address in ("198.51.100.10", "2001:db8:ad::10"):
        saw = ping(client, address)
        demo.see(f"client pings {address} over the uplink", "3 of 3", saw, saw == "3 of 3")
    saw = curl(internet, web.ipv4)
    demo.see("an admin behind the uplink fetches from web", "hello from web", saw, saw == "hello from web")
    for address in (web.ipv4, web.ipv6):
        before = demo.drops().get("firewall_default", 0)
        saw = curl(intruder, address)
        after = demo.drops().get("firewall_default", 0)
        right = saw.startswith("curl exit") and after > before
        words = f"no answer, {after - before} packets dropped" if right else f"{saw}, {after - before} drops"
        demo.see(f"intruder fetches from web ({address})", "dropped, counted", words, right)
    traced = demo.world.dsn("trace", f"tcp {client.ipv4}:40000 > {web.ipv4}:23", check=False).stdout
    rule = re.search(r"no-scan: drop tcp[^\n]*", traced)
    demo.see("dsn trace of client > web port 23", "names rule no-scan", rule[0] if rule else traced[-200:], bool(rule))
    traced = demo.world.dsn("trace", f"tcp {intruder.ipv4}:40000 > {web.ipv4}:80", check=False).stdout
    saw = "default deny" if "firewall_default" in traced else traced[-200:]
    demo.see("dsn trace of intruder > web port 80", "default deny", saw,
             "firewall_default" in traced)  # fmt: skip


def policy_under_load(demo: Demo) -> None:
    """The policy changes under a running iperf3, and the established connection obeys at once."""
    text = INTENT.read_text()
    client, web = demo.host("client"), demo.host("web")
    iperf = subprocess.Popen(
        ["ip", "netns", "exec", client.namespace, "iperf3", "-c", web.ipv4, "-t", "6", "-i", "0.5", "--forceflush"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    time.sleep(2.2)
    without = "".join(line for line in text.splitlines(keepends=True) if "iperf:" not in line)
    demo.apply(without)
    time.sleep(1.0)
    # iperf3's other connection says nothing now: it is decided again with its next packet.
    flows = [
        flow
        for flow in demo.dsn("show", "flows")
        if flow["destination_port"] == 5201 and flow["protocol"] == 6 and sum(flow["bytes"]) > 1_000_000
    ]
    iperf.terminate()
    output = iperf.communicate(timeout=20)[0]
    rates = [float(rate) * {"G": 1e9, "M": 1e6, "K": 1e3, "": 1.0}[unit]
             for rate, unit in re.findall(r"([\d.]+) ([GMK]?)bits/sec", output)]  # fmt: skip
    moving = max(rates, default=0.0)
    demo.see("iperf3 from client to web", "runs", f"{moving / 1e9:.2f} Gb/s", moving > 1e6)
    stalled = bool(rates) and rates[-1] == 0.0
    right = stalled and not flows
    saw = f"{rates[-1] / 1e6 if rates else -1:.1f} Mb/s at the end, {len(flows)} of its connections left"
    demo.see(
        "its rule is taken out while it runs",
        "iperf3 stands still",
        "it stands still, the card has let go of its connection" if right else saw,
        right,
    )
    done = demo.apply(text)
    demo.see("the rule is put in again", "applied", done.stdout.strip() or done.stderr.strip(), done.returncode == 0)


def python_killed(demo: Demo) -> None:
    """Python is killed and comes back while numbered packets pass without a gap."""
    client, web = demo.host("client"), demo.host("web")
    before = demo.dsn("card", "status")
    # Port 5201 is allowed for UDP; iperf3's server listens there for TCP only.
    receiver = subprocess.Popen(
        ["ip", "netns", "exec", web.namespace, sys.executable, str(NUMBERED), "receive", "5201"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert_ready = receiver.stdout.readline().strip() if receiver.stdout else ""
    seconds = 5
    sender = client.start(sys.executable, str(NUMBERED), "send", web.ipv4, "5201", str(RATE), str(seconds))
    time.sleep(1.0)
    os.kill(before["daemon_pid"], signal.SIGKILL)
    time.sleep(0.5)
    demo.world.start_card()
    after = demo.dsn("card", "status")
    sender.wait(timeout=seconds + 20)
    result = json.loads(receiver.communicate(timeout=20)[0] or "{}")
    same = all(before[key] == after[key] for key in ("engine_pid", "generation", "engine_tag"))
    demo.see("dsnd is killed with -9 and started again", "same engine, same generation",
             f"engine {after['engine_pid']}, generation {after['generation']}",
             same and before["daemon_pid"] != after["daemon_pid"])  # fmt: skip
    wanted = {"received": RATE * seconds, "missing": 0, "doubled": 0, "reordered": 0}
    seen = ", ".join(f"{count:,} {what}" for what, count in result.items()) or "nothing came"
    demo.see(f"{RATE:,} numbered packets a second meanwhile", "none missing", seen,
             assert_ready == "ready" and result == wanted)  # fmt: skip


def bad_intent(demo: Demo) -> None:
    """A bad intent is refused and nothing changes."""
    before = demo.dsn("card", "status")
    done = demo.apply(INTENT.read_text().replace("gateways:", "gatewais:").replace("allow icmp", "alow icmp"))
    after = demo.dsn("card", "status")
    errors = done.stderr + done.stdout
    right = done.returncode == 1 and "did you mean gateways" in errors and "did you mean allow" in errors
    count = sum(": error: " in line for line in errors.splitlines())
    words = f"refused, {count} mistakes told with what was meant" if right else f"exit {done.returncode}"
    demo.see("an intent with mistakes is applied", "refused, each named", words, right)
    saw = curl(demo.host("client"), demo.host("web").ipv4)
    same = before["generation"] == after["generation"] and saw == "hello from web"
    demo.see("what was there before", "is unchanged", f"generation {after['generation']}, {saw}", same)


STEPS = (allowed_and_denied, policy_under_load, python_killed, bad_intent)
