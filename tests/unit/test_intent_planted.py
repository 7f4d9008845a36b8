"""Files full of planted mistakes: each mistake is one error, at its place, and nothing else is told.

A mistake stands in brackets, ⟦so⟧, which are taken out before the file is read; ⟦⟦this⟧⟧ is two errors at one place.
"""

from __future__ import annotations

import re

import pytest

from services.core.intent import Source, load, with_excerpts
from services.core.objects import excerpt_start
from services.core.plan import Context, Port, plan_all
from services.core.service import discover

SERVICES = discover()
CONTEXT = Context(ports={name: Port(at) for at, name in enumerate(("host0", "host1", "host2", "host3", "uplink0"))})

RULES = """\
kind: Group
name: admins
spec: {members: [198.51.100.0/24]}
---
kind: FirewallPolicy
name: shop
spec:
  rules:
    a: ⟦alow⟧ tcp from ⟦198.51.100.7/24⟧,⟦admns⟧ to any port ⟦99999⟧,80
    b: allow ⟦tpc⟧ from any to ⟦10.1.0.300⟧ port 80
    c: allow tcp ⟦form⟧ any to any port 80-⟦70000⟧ ⟦logg⟧
    d: drop udp from any to any ⟦type⟧ ⟦echo-reqest⟧
    e: allow tcp from admins,⟦admins⟧ to any port 80⟦,⟧
    f: ⟦tcp⟧ from any to any
    ⟦9g⟧: allow any from any to any
    h: allow tcp from an⟦y⟧
    i: allow ⟦inn⟧ tcp from any to any
    j: allow tcp from admins⟦,⟧ b to any
    k: allow tcp from any to any log ⟦port⟧ ⟦x⟧
    l: allow ⟦from⟧ any to any
"""
"""Several mistakes in one rule, at every place of the sentence."""

OBJECTS = """\
kind: Uplink
name: up
spec: {port: uplink0, ⟦adresses⟧: [192.0.2.2/24], mtu: ⟦200⟧, vlan: ⟦4095⟧}
---
kind: Subnet
name: shop
spec: {gateways: [⟦10.1.0.300/24⟧, ⟦2001:db8:1::1⟧], vrf: ⟦blue⟧}
---
kind: Vnic
name: web
spec: {port: host0, mac: ⟦01:00:00:00:00:0a⟧, subnet: ⟦shopp⟧, addresses: [10.1.0.1⟦/24⟧, 10.1.0.10], byMac: ⟦yes⟧}
---
kind: Vnic
name: list
spec: {port: ⟦[⟧host0], mac: 02:00:00:00:00:0c, subnet: shop, addresses: ⟦10.1.0.11⟧, mtu: ⟦{⟧a: b}}
---
kind: ⟦Vnick⟧
name: other
spec: {port: host1}
---
kind: Vnic
name: ⟦any⟧
spec: {port: host2, mac: 02:00:00:00:00:0d, subnet: shop}
---
kind: Vnic
name: ⟦web⟧
spec: {port: host3, mac: 02:00:00:00:00:0e, subnet: shop}
"""
"""Fields: unknown, of the wrong type, out of range, dangling; objects that are there twice or of no kind."""

SENSE = """\
kind: Subnet
name: shop
spec: {gateways: [10.1.0.1/24]}
---
kind: Subnet
name: shop2
spec: {gateways: [⟦10.1.0.2/24⟧]}
---
kind: Vnic
name: web
spec: {port: host0, mac: 02:00:00:00:00:0a, subnet: shop, addresses: [10.1.0.10], policy: all}
---
kind: Vnic
name: web2
spec: {port: ⟦host0⟧, mac: ⟦02:00:00:00:00:0a⟧, subnet: shop, addresses: [⟦10.1.0.10⟧], policy: all}
---
kind: Vnic
name: far
spec: {port: host1, mac: 02:00:00:00:00:0c, subnet: shop, addresses: [⟦10.2.0.10⟧, ⟦10.1.0.0⟧, ⟦10.1.0.255⟧]}
---
kind: FirewallPolicy
name: all
spec: {rules: {all: allow any from one to any}}
---
kind: Group
name: one
spec: {members: [two, 10.0.0.0/8, ⟦10.0.0.0/8⟧]}
---
kind: Group
name: two
spec: {members: [⟦one⟧, three]}
---
kind: Group
name: three
spec: {members: [⟦three⟧, ⟦four⟧]}
---
kind: Group
name: ⟦web⟧
spec: {members: []}
---
kind: Profile
name: mine
spec: {egress: [antispoof, ⟦firewal⟧, route, ⟦antispoof⟧], punts: [tcp 179, ⟦tcp 179⟧, gre ⟦80⟧, ⟦tcpp⟧ 80]}
---
kind: Uplink
name: up
spec: {port: uplink0, addresses: [192.0.2.2/24]}
---
kind: Route
name: r
spec: {prefixes: [0.0.0.0/0, ⟦0.0.0.0/0⟧], via: [192.0.2.1@up, 192.0.2.1@⟦upp⟧, ⟦192.0.2.300⟧@up ⟦wait⟧ ⟦0⟧]}
---
kind: Route
name: s
spec: {prefixes: [10.3.0.0/16], via: [192.0.2.1@up], blackhole: ⟦true⟧}
---
kind: Route
name: ⟦t⟧
spec: {prefixes: [10.4.0.0/16]}
"""
"""What is right by itself and wrong together: overlaps, duplicates, circles, addresses outside their net."""

SHAPE = """\
kind: Subnet
name: shop
⟦spce⟧: {gateways: [10.1.0.1/24]}
---
⟦n⟧ame: web
spec: {port: host0}
---
kind: Vnic
name: ⟦[⟧web]
spec: ⟦⟦⟦{⟧⟧⟧}
---
kind: Group
name: g
labels: ⟦x⟧
spec: ⟦[⟧a]
---
⟦-⟧ a
---
⟦just text⟧
---
kind: Group
name: h
spec: {members: ⟦&⟧x [10.0.0.0/8]}
---
kind: Group
name: i
spec: {members: [⟦*x⟧, ⟦!!str 10.0.0.0/8⟧]}
---
kind: Group
name: j
spec: {members: [10.0.0.0/8], ⟦members⟧: []}
---
kind: Vrf
name: k
spec: {⟦colour⟧: red}
---
kind: FirewallPolicy
name: l
spec: {rules: ⟦[⟧a, b]}
---
kind: FirewallPolicy
name: m
spec: {rules: {a: {verdict: ⟦alow⟧, protocols: [⟦tpc⟧], from: [⟦nobody⟧], ⟦prots⟧: [80]}, b: ⟦[⟧a], c: ⟦}⟧}
---
kind: Vnic
name: n
spec: ⟦⟦⟦{⟧⟧⟧mtu: ⟦x⟧}
---
kind: Subnet
name: o
spec: {gateways: ⟦[⟧], vrf: default}
"""
"""YAML that is not the shape of an object."""


def planted(text: str) -> tuple[str, list[tuple[int, int, str]]]:
    """The file, and line, column and text of each mistake in it."""
    lines: list[str] = []
    marks: list[tuple[int, int, str]] = []
    for number, line in enumerate(text.splitlines(), 1):
        plain = ""
        for part in re.split("(⟦+[^⟧]*⟧+)", line):
            inside = part.strip("⟦⟧")
            marks += [(number, len(plain) + 1, inside)] * (len(part) - len(part.lstrip("⟦")))
            plain += inside
        lines.append(plain)
    return "\n".join(lines) + "\n", marks


@pytest.mark.parametrize("text", [RULES, OBJECTS, SENSE, SHAPE], ids=["rules", "objects", "sense", "shape"])
def test_each_mistake_is_told_once_where_it_is(text: str) -> None:
    plain, marks = planted(text)
    assert len(marks) >= 12
    errors = load([Source("x.yaml", plain.encode())], SERVICES, CONTEXT).errors
    told = [
        (at.line, at.column, one.excerpt[at.column - 1 - excerpt_start(at.column) :][: at.length])
        for one in errors
        for at in [one.position]
    ]
    assert told == marks
    for one in errors:
        paragraph = str(one).splitlines()
        assert one.position.file == "x.yaml"
        assert len(paragraph) == 3
        caret = paragraph[2]
        assert caret.count("^") == len(caret[caret.index("^") :])
        # An object, where the document says which; what would be right, or what to do.
        assert one.object or "kind" not in plain.split("---\n")[0] or "not an object" in one.message
        assert one.limit or one.fix or one.nearest, one.sentence
    misspelt = {one.nearest for one in errors if one.nearest}
    assert misspelt, "some are misspelt names"


@pytest.mark.parametrize(
    "text",
    [
        "kind: Vnic\nname: ⟦x y⟧\nspec: {port: host0, mac: ⟦02:00⟧, subnet: ⟦nowhere⟧, addresses: [⟦10.1.0⟧]}",
        "kind: Vnic\nname: ⟦any⟧\nspec: {port: ⟦hots0⟧, mac: 02:00:00:00:00:0a, subnet: ⟦nowhere⟧}",
        "kind: Group\nname: ⟦[⟧x]\nspec: {members: [10.0.0.0/⟦33⟧]}",
        "kind: Route\nname: r\nspec: {prefixes: [10.0.0.0/8], via: [⟦192.0.2.1@u9⟧ weight ⟦0⟧]}",
        "kind: FirewallPolicy\nname: p\nspec: {rules: {a: drop any from any to any, ⟦a⟧: allow ⟦tpc⟧ from any to any}}",
        "kind: Subnet\nname: p\nspec: {gateways: [10.1.0.1/24], ⟦gateways⟧: [⟦10.1.0.300/24⟧]}",
    ],
)
def test_a_mistake_hides_no_other(text: str) -> None:
    """Of the name, of a part of a text, or in what stands there twice."""
    plain, marks = planted(text)
    errors = load([Source("x.yaml", plain.encode())], SERVICES, CONTEXT).errors
    assert [(one.position.line, one.position.column) for one in errors] == [mark[:2] for mark in marks], errors


def test_a_table_that_is_too_small_is_told_at_the_object_that_is_too_much() -> None:
    text = """\
kind: Subnet
name: shop
spec: {gateways: [10.1.0.1/24]}
---
kind: Vnic
name: web
spec: {port: host0, mac: 02:00:00:00:00:0a, subnet: shop, addresses: [10.1.0.10]}
---
kind: Vnic
name: more
spec: {port: host1, mac: 02:00:00:00:00:0b, subnet: shop, addresses: [10.1.0.11]}
"""
    sources = [Source("x.yaml", text.encode())]
    small = Context(ports=CONTEXT.ports, capacities={"vnic": 1})
    problems = plan_all(load(sources, SERVICES, small).require(), small, SERVICES).problems
    (told,) = (one for one in with_excerpts(problems, sources) if not one.warning)
    assert str(told).splitlines() == [
        (
            "x.yaml:10:7: error: Vnic more: the intent takes 2 entries of table vnic, and here it is full; "
            "limit: 1 entries. "
            "Fix: Ask for less, or raise capacities.vnic in card.toml; that counts from the next start on."
        ),
        "    10 | name: more",
        "       |       ^^^^",
    ]


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("allow tcp from 10.1.0.300 to any port 99999", ["'10.1.0.300' is not a prefix", "99999 is out of range"]),
        ("allow tcp form any to any prot 99999", ["'form' where", "'prot' where", "99999 is out of range"]),
        ("allow tcp from a, b to any", ["nothing beside a comma"]),
        ("allow inn tcp from any to any", ["'inn' is not a protocol"]),
        ("allow tcp any to any", ["'any' where 'from'"]),
        ("allow tcp from any web", ["'web' where 'to'"]),
        ("allow from any to any", ["'from' where a protocol"]),
        ("allow tcp from to any", ["'to' where who opens"]),
        ("allow tcp from any to any foo bar baz", ["'foo' where port, type, log"]),
        ("allow tcp from any to any log log", ["'log' where the end"]),
        ("allow tpc from any to any port 80 type echo", ["'tpc' is not", "'echo' is not an ICMP type"]),
        ("alow", ["'alow' where", "the rule ends where a protocol"]),
    ],
)
def test_a_rule_tells_all_its_mistakes_and_no_more(rule: str, said: list[str]) -> None:
    text = f"kind: FirewallPolicy\nname: p\nspec:\n  rules:\n    a: {rule}\n---\n"
    text += "".join(f"kind: Group\nname: {name}\nspec: {{members: []}}\n---\n" for name in ("a", "b", "web"))
    told = [one.message for one in load([Source("x.yaml", text.encode())], SERVICES).errors]
    assert len(told) == len(said), told
    for message, begin in zip(told, said, strict=True):
        assert message.startswith(begin)
