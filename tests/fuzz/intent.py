"""The intent loader and the planners: bytes of a file in, a plan or problems out.

Whatever the bytes are, `load` answers with objects or with problems that say where, and checked objects give a plan: no
exception, nothing that takes more than its time, the same answer twice.
"""

from __future__ import annotations

import json
import time
from functools import cache
from typing import TYPE_CHECKING

from tests.fuzz.python import hold, run, words

if TYPE_CHECKING:
    from services.core.intent import Intent
    from services.core.service import Services

SECONDS = 10.0
"""What one input may take of a CPU: they are short."""
SMALL = {"firewall_rule": 4096}
"""Capacities, so that what a file of few names means in full is no work for a fuzzer."""

_WORDS = b"""
    Vnic Uplink Subnet Profile Group FirewallPolicy Route Vrf kind: name: labels: spec: port: mac: subnet: mtu: vlan:
    addresses: allowed: policy: profile: byMac: gateways: vrf: members: rules: prefixes: via: blackhole: egress:
    ingress: punt: flowLimit: allow drop reset in out any tcp udp icmp 132 58 from to port type log echo-request 80
    0-65535 9-1 10.0.0.0/8 0.0.0.0/0 ::/0 fe80:: 2001:db8::a/64 ::ffff:10.0.0.1 10.1.0.10 10.1.0.1/24 weight 256
    192.0.2.1@uplink0 02:00:00:00:00:0a ff:ff:ff:ff:ff:ff &a *a <<: !!str !!binary !!python/object:os.system ? : - |
    > ' " # % @ ` [ ] { } , --- ... true on 0777 0x10 12:34:56:12:34:56 99999999999999999999999999 -1 1e400 .inf
    null ~ shop web uplink0 default default-vnic default-uplink antispoof firewall bridge route
"""
_ODD = (b"\0", b"\x85", b"\xe2\x80\xa8", b"\xef\xbb\xbf", b"\xd9\xa3", b"\xff\xfe", b"\xed\xa0\x80", b"\t", b"\r")
TOKENS = (*_WORDS.split(), *_ODD)
"""What files of intent are made of, and what they shouldn't be."""


def modules() -> None:
    """Import what is fuzzed."""
    import services.bridging
    import services.core.diff
    import services.core.intent
    import services.core.plan
    import services.firewall
    import services.routing  # noqa: F401


@cache
def _services() -> Services:
    from services.core.service import discover

    return discover()


def one(data: bytes) -> None:
    """Try one file. Raises Wrong, or whatever the loader lets through."""
    from services.core.intent import Source, load

    began = time.process_time()
    intent = load([Source("x.yaml", data)], _services())
    _problems(intent, data)
    if not intent.errors:
        _plan(intent)
    hold(time.process_time() - began < SECONDS, f"{time.process_time() - began:.1f} s")


def _problems(intent: Intent, data: bytes) -> None:
    text = data.decode(errors="replace")
    lines = 1 + sum(text.count(one) for one in "\n\r\x85\u2028\u2029")
    for problem in intent.problems:
        hold(bool(problem.message), "a problem without a message")
        hold(str(problem).startswith(problem.sentence), "a problem whose text isn't its sentence")
        hold(problem.sentence.isprintable(), f"a sentence with commands to a terminal: {problem.sentence!r}")
        hold(0 <= problem.position.line <= lines, f"line {problem.position.line} of {lines}")
        more = "more problems are not shown" in problem.message
        hold(problem.warning or more or problem.position.file == "x.yaml", f"an error of no file: {problem}")
        json.dumps(problem.to_dict()).encode()


def _plan(intent: Intent) -> None:
    from services.core.diff import changes, words
    from services.core.plan import assumed_context, plan_all

    objects = intent.require()
    for item in objects:
        hold(bool(words(item, _services())) or not item.spec.ListFields(), f"no words for {item.title}")
    plans = [plan_all(objects, assumed_context(objects, capacities=SMALL), _services()) for _ in range(2)]
    first, again = (
        {name: [rows.data.tobytes() for rows in parts] for name, parts in plan.tables.items()} for plan in plans
    )
    hold(first == again, "two plans of one intent differ")
    hold(changes(objects, objects, _services()) == [], "an intent differs from itself")
    for problem in plans[0].problems:
        hold(bool(str(problem)), "a problem without words")


if __name__ == "__main__":
    run("intent", modules, one, words(TOKENS))
