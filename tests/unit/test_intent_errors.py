"""Errors of the intent loader, as text: each planted mistake is one line that says where and what to do."""

from pathlib import Path

import pytest

from services.core.intent import Intent, Source, load
from services.core.service import Services, discover

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "docs" / "examples"
SERVICES: Services = discover()


def read(text: str | bytes, file: str = "x.yaml") -> Intent:
    data = text if isinstance(text, bytes) else text.encode()
    return load([Source(file, data)], SERVICES)


def sentences(text: str | bytes) -> list[str]:
    return [problem.sentence for problem in read(text).errors]


TWELVE = """\
kind: Uplink
name: uplink0
spec: {port: uplink0, adresses: [192.0.2.2/24]}
---
kind: Subnet
name: shop
spec: {gateways: [10.1.0.1/24, "2001:db8:1::1/64"], vrf: blue}
---
kind: Vnic
name: web
spec: {port: host0, mac: 02:00:00:00:00:zz, subnet: shop, addresses: [10.1.0.300, 2001:db8:1::a], policy: shp}
---
kind: Vnic
name: client
spec: {port: host1, mac: 02:00:00:00:00:0b, subnet: shop, addresses: [10.2.0.20]
---
kind: Vnick
name: intruder
spec: {port: host2, mac: 02:00:00:00:00:0c, subnet: shop, addresses: [10.1.0.66], policy: clients}
---
kind: Group
name: admins
spec: {members: [198.51.100.7/24, "2001:db8:ad::/48", intruder]}
---
kind: FirewallPolicy
name: shop
spec:
  rules:
    no-scan: drop tcp from any to any port 23,445 logg
    web:     allow tcp from client,admns to web port 80,443,8000-8099
    ssh:     allow tcp from admins to any port 22 log
    ping:    allow icmp from client to any type echo-request
---
kind: Route
name: internet
spec: {prefixes: [0.0.0.0/0], via: [192.0.2.1@uplink1]}
---
kind: Vnic
name: extra
spec:
  port: host9
  mac: 02:00:00:00:00:0f
  subnet: shop
  policy: shop
  addresses:
  - fe80::
  - 10.1.0.77
"""


TWELVE_ERRORS = """\
x.yaml:3:23: error: Uplink uplink0, field adresses: unknown field; limit: port, vlan, addresses, vrf, profile, mtu; did you mean addresses?
x.yaml:7:58: error: Subnet shop, field vrf: no Vrf is called blue. Fix: Declare it, or name another Vrf.
x.yaml:11:26: error: Vnic web, field mac: '02:00:00:00:00:zz' is not a MAC; limit: six pairs of hexadecimal digits, as 02:00:00:00:00:0a.
x.yaml:11:71: error: Vnic web, field addresses[0]: '10.1.0.300' is not an address; limit: IPv4 or IPv6, as 10.1.0.10 or 2001:db8::a.
x.yaml:11:107: error: Vnic web, field policy: no FirewallPolicy is called shp; did you mean shop? Fix: Declare it, or name another FirewallPolicy.
x.yaml:15:7: error: Vnic client: not YAML: did not find expected ',' or '}' while parsing a flow mapping. Fix: Close the bracket, or put a comma between.
x.yaml:17:7: error: intruder, field kind: the kind 'Vnick' isn't known; limit: FirewallPolicy, Group, Profile, Route, Subnet, Tracking, Uplink, Vnic, Vrf; did you mean Vnic?
x.yaml:23:18: error: Group admins, field members[0]: '198.51.100.7/24' has bits beyond its length. Fix: Write 198.51.100.0/24.
x.yaml:29:51: error: FirewallPolicy shop, field rules[no-scan]: 'logg' where type, log is wanted; limit: allow|drop|reset [in|out] PROTO from WHO to WHO [port PORTS] [type TYPES] [log]; did you mean log?
x.yaml:30:36: error: FirewallPolicy shop, field rules[web].from[1]: no Group or Vnic is called admns; did you mean admins? Fix: Declare it, or name another Group or Vnic.
x.yaml:36:47: error: Route internet, field via[0]: no Uplink is called uplink1; did you mean uplink0? Fix: Declare it, or name another Uplink.
x.yaml:46:5: error: Vnic extra, field addresses[0]: YAML takes fe80:: for a mapping. Fix: Put it in quotes, as in "fe80::" or "::/0": YAML takes a colon at the end of a word for a key's.
"""  # noqa: E501


def test_twelve_planted_errors_are_twelve_lines() -> None:
    assert sentences(TWELVE) == TWELVE_ERRORS.splitlines()


def test_caret_stands_below_the_place() -> None:
    first = str(read(TWELVE).errors[0]).splitlines()
    assert first[1:] == [
        "     3 | spec: {port: uplink0, adresses: [192.0.2.2/24]}",
        "       |                       ^^^^^^^^",
    ]
    in_rule = str(read(TWELVE).errors[9]).splitlines()
    assert in_rule[1][in_rule[2].index("^") :].startswith("admns to web")


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_examples_have_no_problem(example: Path) -> None:
    assert read(example.read_bytes(), example.name).problems == ()
