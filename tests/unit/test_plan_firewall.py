"""Rules as rows: as few as say it, no more and no less than it; priorities that stay."""

import ipaddress
import itertools
import time
from functools import cache

from hypothesis import assume, given
from hypothesis import strategies as st

from services.core.intent import Source, load
from services.core.objects import Objects
from services.core.plan import Context, Plan, assumed_context, plan_all
from services.core.service import discover
from services.firewall.addresses import Parties
from services.firewall.grammar import parse_rule
from services.firewall.plan import count, rows
from services.firewall.priorities import END, assign

SERVICES = discover()
BASE = """\
kind: Subnet
name: s
spec: {gateways: [10.0.0.1/24, "2001:db8::1/64"]}
---
kind: Vnic
name: web
spec: {port: host0, mac: 02:00:00:00:00:0a, subnet: s, addresses: [10.0.0.10, "2001:db8::a"], policy: p}
---
kind: Group
name: left
spec: {members: [10.1.0.0/25, 10.1.0.128/25, web, inner]}
---
kind: Group
name: inner
spec: {members: [10.0.0.10, "2001:db8:1::/48"]}
---
"""


def objects(*rules: str) -> Objects:
    text = BASE + "kind: FirewallPolicy\nname: p\nspec:\n  rules:\n"
    found = load([Source("x.yaml", (text + "".join(f"    {rule}\n" for rule in rules)).encode())], SERVICES)
    return found.require()


@cache
def without_rules() -> Objects:
    return objects()


def expanded(text: str) -> list[tuple[tuple[int, int], tuple[int, int], str, str]]:
    rule, _ = parse_rule(text)
    found = list(rows(rule, Parties(without_rules())))
    assert count(rule, Parties(without_rules())) == len(found)  # told without making them
    return [(match.protocols, match.ports, one, other) for match, one, other in found]


def test_a_file_of_six_kilobytes_that_means_millions_of_entries_is_refused_in_time() -> None:
    """They are counted and not made: 250 prefixes times 250 times 100 ports."""
    groups = "".join(
        f"kind: Group\nname: {name}\nspec: {{members: [{', '.join(f'10.{first}.{n}.1' for n in range(250))}]}}\n---\n"
        for first, name in enumerate(("here", "there"))
    )
    ports = ",".join(str(2 * n + 1) for n in range(100))
    policy = f"kind: FirewallPolicy\nname: p\nspec: {{rules: {{r: 'allow tcp from here to there port {ports}'}}}}\n"
    found = load([Source("x.yaml", (groups + policy).encode())], SERVICES).require()
    began = time.process_time()
    plan = plan_all(found, Context(capacities={"firewall_rule": 1000}), SERVICES)
    assert time.process_time() - began < 10
    (problem,) = [one for one in plan.problems if not one.warning]
    assert "takes 6,250,000 entries of table firewall_rule, and here it is full; limit: 1,000" in problem.sentence
    # The same rule for one prefix each fits, entry for entry.
    small = policy.replace("from here to there", "from 10.0.0.1 to 10.1.0.1").encode()
    fits = plan_all(load([Source("x.yaml", small)], SERVICES).require(), Context(), SERVICES)
    assert (fits.counts["firewall_rule"], fits.problems) == (100, ())


def test_a_simple_rule_is_one_row() -> None:
    assert expanded("allow any from any to any") == [((0, 255), (0, 65535), "::/0", "::/0")]
    assert expanded("drop tcp from 10.0.0.0/8 to any port 22") == [((6, 6), (22, 22), "10.0.0.0/8", "::/0")]


def test_what_touches_is_joined() -> None:
    assert expanded("allow 200,201,202 from 10.0.0.0/25,10.0.0.128/25 to any") == [
        ((200, 202), (0, 65535), "10.0.0.0/24", "::/0")
    ]
    ports = expanded("allow tcp from any to any port 80,81,82-90,85-100,443")
    assert [row[1] for row in ports] == [(80, 100), (443, 443)]


def test_groups_and_vnics_are_their_prefixes_by_family() -> None:
    found = expanded("allow tcp from left to web")
    assert [row[2:] for row in found] == [
        ("10.0.0.10/32", "10.0.0.10/32"),
        ("10.1.0.0/24", "10.0.0.10/32"),
        ("2001:db8::a/128", "2001:db8::a/128"),
        ("2001:db8:1::/48", "2001:db8::a/128"),
    ]


def test_icmp_types_have_their_family_s_number() -> None:
    assert expanded("allow icmp from any to any type echo-request") == [
        ((1, 1), (8, 8), "::/0", "::/0"),
        ((58, 58), (128, 128), "::/0", "::/0"),
    ]
    assert expanded("allow icmp from 10.0.0.0/8 to any type echo-request,packet-too-big") == [
        ((1, 1), (8, 8), "10.0.0.0/8", "::/0")
    ]


def test_all_of_ipv6_is_not_everybody() -> None:
    covered = [ipaddress.ip_network(row[2]) for row in expanded("allow tcp from ::/0 to any")]
    mapped = ipaddress.ip_network("::ffff:0:0/96")
    assert all(not net.overlaps(mapped) for net in covered)
    assert any(ipaddress.ip_address("64:ff9b::1") in net for net in covered)
    assert [row[2] for row in expanded("allow tcp from 0.0.0.0/0,::/0 to any")] == ["::/0"]


ENDS = ["10.0.0.10", "10.1.0.7", "10.9.9.9", "2001:db8::a", "2001:db8:1::7", "2001:db8:9::9"]
SENTENCES = st.builds(
    lambda protocol, source, to: f"allow {protocol[0]} from {source} to {to}{protocol[1]}",
    st.sampled_from([("tcp", " port 80,443"), ("tcp,udp", " port 53"), ("icmp", " type echo-request"), ("any", ""),
                     ("icmp,gre", ""), ("udp", ""), ("58", ""), ("1,6", "")]),
    st.sampled_from(["any", "left", "web", "10.1.0.0/16", "inner,10.9.0.0/16", "2001:db8::/32"]),
    st.sampled_from(["any", "left", "web", "0.0.0.0/0", "2001:db8:9::/48"]),
)  # fmt: skip


@given(SENTENCES, st.sampled_from(ENDS), st.sampled_from(ENDS), st.sampled_from([1, 6, 17, 47, 58]),
       st.sampled_from([8, 53, 80, 128, 443, 999]))  # fmt: skip
def test_rows_match_what_the_sentence_says(sentence: str, source: str, to: str, protocol: int, port: int) -> None:
    """The sentence read by a person, against its rows read as the packet path does."""
    assume((":" in source) == (":" in to))
    assume(protocol != (58 if "." in source else 1))
    words = sentence.split()
    web = ["10.0.0.10", "2001:db8::a"]
    members = {"left": ["10.1.0.0/24", "2001:db8:1::/48", *web], "web": web,
               "inner": ["10.0.0.10", "2001:db8:1::/48"], "any": ["0.0.0.0/0", "::/0"]}  # fmt: skip

    def among(address: str, listed: str) -> bool:
        nets = [net for name in listed.split(",") for net in members.get(name, [name])]
        return any(ipaddress.ip_address(address) in ipaddress.ip_network(net) for net in nets)

    numbers = {
        "tcp": {6},
        "udp": {17},
        "icmp": {1, 58},
        "gre": {47},
        "any": {1, 6, 17, 47, 58},
        "58": {58},
        "1": {1},
        "6": {6},
    }
    meant = protocol in set().union(*(numbers[name] for name in words[1].split(",")))
    meant = meant and among(source, words[3]) and among(to, words[5])
    if "port" in words:
        meant = meant and str(port) in words[7].split(",")
    if "type" in words:
        meant = meant and port == (8 if "." in source else 128)
    if protocol == 47:
        port = 0

    def covers(prefix: str, address: str) -> bool:
        return prefix == "::/0" or ipaddress.ip_address(address) in ipaddress.ip_network(prefix)

    hit = any(
        low <= protocol <= high and first <= port <= last and covers(one, source) and covers(other, to)
        for (low, high), (first, last), one, other in expanded(sentence)
    )
    assert hit == meant


# --- priorities ---------------------------------------------------------------------------------------------------


def planned(context: Context, *rules: str) -> Plan:
    return plan_all(objects(*rules), context, SERVICES)


def rule_bytes(plan: Plan) -> dict[int, bytes]:
    return {int(row["id"]): row.tobytes() for part in plan.tables["firewall_rule"] for row in part.data}


def test_one_rule_put_in_is_one_row() -> None:
    rules = [f"r{number}: allow tcp from any to any port {number}" for number in range(1, 200)]
    before = planned(assumed_context(objects()), *rules)
    installed = Context(ports=assumed_context(objects()).ports, installed=before.tables)
    for at in (0, 1, 100, 199):
        after = planned(installed, *rules[:at], "new: drop udp from any to any", *rules[at:])
        old, new = rule_bytes(before), rule_bytes(after)
        assert len(new.items() - old.items()) == 1
        assert old.items() <= new.items()
    assert rule_bytes(planned(installed, *rules)) == rule_bytes(before)


def test_an_edited_rule_is_one_row_changed() -> None:
    context = assumed_context(objects())
    before = planned(context, "a: allow tcp from any to any port 1", "b: allow udp from any to any")
    installed = Context(ports=context.ports, installed=before.tables)
    after = planned(installed, "a: allow tcp from any to any port 2", "b: allow udp from any to any")
    old, new = rule_bytes(before), rule_bytes(after)
    assert old.keys() == new.keys()
    assert len(new.items() - old.items()) == 1


@given(st.lists(st.one_of(st.none(), st.integers(0, 40), st.integers(0, END)), max_size=60))
def test_priorities_ascend_whatever_was_there(previous: list[int | None]) -> None:
    given_out = assign(previous)
    assert all(0 < value < END for value in given_out)
    assert all(one < other for one, other in itertools.pairwise(given_out))


@given(st.lists(st.integers(0, 300), max_size=120))
def test_a_thousand_insertions_move_little(places: list[int]) -> None:
    """Rules put in one by one, often at one place: nearly always nothing else moves."""
    numbers: list[int] = assign([None] * 50)
    moved = 0
    for place in places:
        at = min(place, len(numbers))
        after = assign([*numbers[:at], None, *numbers[at:]])
        moved += sum(one != other for one, other in zip(numbers, after[:at] + after[at + 1 :], strict=True))
        numbers = after
    assert moved <= 2 * len(places)


def test_the_same_place_again_and_again() -> None:
    numbers: list[int] = assign([None] * 1000)
    moved = []
    for _ in range(500):
        after = assign([*numbers[:500], None, *numbers[500:]])
        moved.append(sum(one != other for one, other in zip(numbers, after[:500] + after[501:], strict=True)))
        numbers = after
    assert sum(moved) / len(moved) < 10


def test_a_full_capacity_of_rules_has_numbers() -> None:
    assert assign([None] * 131_072)[-1] < END
