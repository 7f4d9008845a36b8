"""Objects as entries: vNICs, subnets, uplinks, routes; ids that stay; a twin that takes it all."""

import re
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message_factory import GetMessageClass

from hal.packet.contract import Insert, LoadConfig, PortConfig
from hal.packet.frame._generated import Tracking
from hal.packet.model import Twin
from hal.packet.schema.declare import NONE_ID
from hal.packet.schema.rows import Row
from services.core.diff import changes, table_changes, words
from services.core.ids import Ids
from services.core.intent import Source, load
from services.core.objects import Object, Objects
from services.core.plan import Context, Plan, Port, assumed_context, plan_all
from services.core.service import discover

SERVICES = discover()
DEMO = (Path(__file__).resolve().parent.parent.parent / "docs" / "examples" / "demo.yaml").read_text()
PORTS = {name: Port(number, f"02:00:00:00:01:0{number}") for number, name in enumerate(["host0", "host1", "uplink0"])}


def objects(text: str) -> Objects:
    return load([Source("x.yaml", text.encode())], SERVICES).require()


def plan(text: str, **more: object) -> Plan:
    return plan_all(objects(text), Context(ports=PORTS, **more), SERVICES)  # type: ignore[arg-type]


def rows(found: Plan, table: str) -> list[dict[str, object]]:
    """The rows of a table without ids, as plain values."""
    names = {(name.table, name.id): name.text for name in found.names}
    result = []
    for row in (row for part in found.tables.get(table, ()) for row in part):
        values = row.to_dict()
        del values["id"]
        for field in row.LAYOUT.table.fields(row.LAYOUT.action):
            if field.ref:
                values[field.name] = names.get((field.ref, values[field.name]), values[field.name])
        result.append(values)
    return sorted(result, key=str)


def rows_of(row: Row) -> list[dict[str, object]]:
    return [{name: value for name, value in row.to_dict().items() if name != "id"}]


def problems(text: str) -> list[str]:
    context = Context(ports=PORTS)
    found = load([Source("x.yaml", text.encode())], SERVICES, context)
    return [problem.sentence for problem in found.problems]


SUBNET = 'kind: Subnet\nname: s\nspec: {gateways: [10.0.0.1/24, "2001:db8::1/64"], mac: 02:00:00:00:00:01}\n---\n'
VNIC = """\
kind: Vnic
name: web
spec: {port: host0, mac: 02:00:00:00:00:0a, subnet: s, addresses: [10.0.0.10], allowed: [10.9.0.0/16]}
---
"""


def test_a_vnic_and_its_subnet() -> None:
    found = plan(SUBNET + VNIC)
    assert rows(found, "local_address") == [
        {"vrf": "default", "address": address, "subnet": "s"}
        for address in ("10.0.0.1", "2001:db8::1", "fe80::ff:fe00:1")
    ]
    assert rows(found, "route") == [
        {"vrf": "default", "prefix": prefix, "subnet": "s"} for prefix in ("10.0.0.0/24", "2001:db8::/64")
    ]
    assert [row["address"] for row in rows(found, "vnic_address")] == ["10.0.0.10", "fe80::ff:fe00:a"]
    allowed = ["10.0.0.10/32", "10.9.0.0/16", "fe80::ff:fe00:a/128"]
    assert sorted(str(row["prefix"]) for row in rows(found, "allowed_source")) == allowed
    assert rows(found, "fdb") == [{"subnet": "s", "mac": "02:00:00:00:00:0a", "vnic": "web"}]
    (vnic,) = rows(found, "vnic")
    assert {key: vnic[key] for key in ("port", "role", "match_mac", "mtu", "profile", "subnet", "vrf")} == {
        "port": 0, "role": "vnic", "match_mac": "00:00:00:00:00:00", "mtu": 1500, "profile": "default-vnic",
        "subnet": "s", "vrf": "default",
    }  # fmt: skip


def test_no_ipv6_no_link_local() -> None:
    found = plan("kind: Subnet\nname: s\nspec: {gateways: [10.0.0.1/24]}\n---\n" + VNIC)
    assert [row["address"] for row in rows(found, "vnic_address")] == ["10.0.0.10"]


def test_an_uplink_has_its_port_s_mac() -> None:
    found = plan('kind: Uplink\nname: up\nspec: {port: uplink0, vlan: 7, addresses: [192.0.2.2/24, "2001:db8::2/64"]}')
    (vnic,) = rows(found, "vnic")
    assert (vnic["role"], vnic["mac"], vnic["vlan"], vnic["subnet"]) == ("uplink", "02:00:00:00:01:02", 7, "up")
    addresses = [row["address"] for row in rows(found, "local_address")]
    # The VLAN takes part in the link-local address: one MAC may be on several VLANs of a VRF.
    assert addresses == ["192.0.2.2", "2001:db8::2", "fe80::ff:f900:102"]


def test_a_punt_tap_is_found_by_its_port_s_name() -> None:
    context = Context(ports={**PORTS, "punt-default": Port(9, "02:00:00:00:02:00")})
    found = plan_all(objects(SUBNET), context, SERVICES)
    (tap,) = rows(found, "vnic")
    assert (tap["role"], tap["port"], tap["mac"], tap["profile"]) == ("card", 9, "02:00:00:00:02:00", "default-card")
    assert rows(found, "vrf") == [{"punt_port": 9}]


def test_a_profile_names_a_tracking() -> None:
    """The row says in seconds what the object says, and the defaults that it doesn't give."""
    text = "kind: Tracking\nname: t\nspec: {mode: loose, tcpEstablished: 168h, udpReplied: 90s}\n---\n"
    found = plan(
        text + "kind: Profile\nname: default-vnic\nspec: {egress: [route], tracking: t}\n---\n" + SUBNET + VNIC
    )
    (row,) = rows(found, "tracking")
    usual = {name: value for name, value in Tracking(id=0).to_dict().items() if name != "id"}
    assert row == {**usual, "mode": "loose", "tcp_established": 604_800, "udp_replied": 90}
    assert {"tracking": "t"} in rows(found, "profile")
    assert [row["tracking"] for row in rows(found, "profile")].count(NONE_ID) == 2  # of the uplinks', and the tap's


def test_defaults_of_a_tracking_are_those_of_the_table() -> None:
    assert rows(plan("kind: Tracking\nname: t"), "tracking") == rows_of(Tracking(id=1))


def test_next_hops_and_groups_are_shared() -> None:
    uplink = "kind: Uplink\nname: up\nspec: {port: uplink0, addresses: [192.0.2.2/24]}\n---\n"
    routes = "".join(
        f"kind: Route\nname: {name}\nspec: {{prefixes: [{prefixes}], {where}}}\n---\n"
        for name, prefixes, where in (
            ("a", "10.1.0.0/16, 10.2.0.0/16", "via: [192.0.2.1@up]"),
            ("b", "10.3.0.0/16", "via: [192.0.2.1@up weight 3, 192.0.2.9@up]"),
            ("c", "10.4.0.0/16", "via: [192.0.2.1@up weight 3, 192.0.2.9@up]"),
            ("d", "10.5.0.0/16", "blackhole: true"),
        )
    )
    found = plan(uplink + routes)
    assert sorted(str(row["address"]) for row in rows(found, "next_hop")) == ["192.0.2.1", "192.0.2.9"]
    assert len(rows(found, "next_hop_group")) == 1
    assert [(row["position"], row["weight"]) for row in rows(found, "next_hop_member")] == [(0, 3), (1, 1)]
    assert {part.row.__name__: len(part) for part in found.tables["route"]} == {
        "SubnetRoute": 1, "Route": 2, "EcmpRoute": 2, "BlackholeRoute": 1,
    }  # fmt: skip


def test_the_same_objects_give_the_same_entries_in_any_order() -> None:
    one, other = plan(DEMO_ON_PORTS), plan("---\n".join(reversed(DEMO_ON_PORTS.split("---\n"))))
    assert table_bytes(one) == table_bytes(other)


DEMO_ON_PORTS = DEMO.replace("port: host2", "port: uplink0, vlan: 5")


def table_bytes(found: Plan) -> dict[str, set[bytes]]:
    return {table: {row.tobytes() for part in parts for row in part.data} for table, parts in found.tables.items()}


def test_an_edit_elsewhere_moves_nothing() -> None:
    more = SUBNET.replace("10.0", "10.7").replace("db8:", "db8:7:")
    before, after = table_bytes(plan(DEMO_ON_PORTS)), table_bytes(plan(f"{DEMO_ON_PORTS}---\n{more}"))
    for table, entries in before.items():
        assert entries <= after[table]


def test_colliding_ids_are_told_apart() -> None:
    ids = Ids(lambda data: len(data) % 2)
    with_more = Ids(lambda data: int.from_bytes(data[-1:], "big") % 4)
    first = ids("vnic", "a")
    assert ids("vnic", "a") == first
    assert ids("subnet", "aa") in (0, 1)
    assert len({with_more("vnic", name) for name in ("a", "e", "i")}) == 3


def test_a_twin_takes_the_demo() -> None:
    found = objects(DEMO)
    context = assumed_context(found, seed=bytes(range(16)))
    planned = plan_all(found, context, SERVICES)
    twin = Twin()
    ports = tuple(PortConfig(port.number, name, "replay") for name, port in context.ports.items())
    twin.load(LoadConfig(ports=ports))
    twin.start()
    twin.writer("dsnd").commit([Insert(part) for part in planned.rows], names=planned.names)
    state = twin.snapshot()
    assert {table: sum(len(part) for part in parts) for table, parts in state.tables.items() if parts} == planned.counts
    # What is installed keeps its priorities and needs no commit.
    again = plan_all(found, Context(ports=context.ports, seed=context.seed, installed=state.tables), SERVICES)
    capacities = dict.fromkeys(planned.counts, 1000)
    assert all(change.removed == change.changed == change.added == 0
               for change in table_changes(state.tables, again.tables, capacities))  # fmt: skip


def test_too_small_a_table_is_told() -> None:
    found = plan(DEMO_ON_PORTS, capacities={"firewall_rule": 10})
    (problem,) = found.problems
    assert problem.sentence == (
        "x.yaml:27:7: error: FirewallPolicy shop: the intent takes 23 entries of table firewall_rule, "
        "and here it is full; limit: 10 entries. "
        "Fix: Ask for less, or raise capacities.firewall_rule in card.toml; that counts from the next start on."
    )


@pytest.mark.parametrize(
    ("serves", "bits"), [("", 0), ("router", 1), ("dhcp", 2), ("router, dhcp", 3), ("DHCP", 2), ("dhcp, Router", 3)]
)
def test_a_vnic_serves_as_what_is_declared(serves: str, bits: int) -> None:
    text = SUBNET + VNIC.replace("subnet: s", f"subnet: s, serves: [{serves}]")
    assert [row["serves"] for row in rows(plan(text), "vnic")] == [bits]


@pytest.mark.parametrize(
    ("serves", "said"),
    [
        ("routr", "'routr' is nothing that a vNIC serves as; limit: router or dhcp; did you mean router?"),
        ("dhcp, dhcp", "field serves[1]: 'dhcp' is there twice"),
        ("router, dns", "'dns' is nothing that a vNIC serves as; limit: router or dhcp"),
    ],
)
def test_what_no_vnic_serves_as(serves: str, said: str) -> None:
    base = SUBNET + VNIC.replace("subnet: s", "subnet: s, policy: p") + POLICY
    assert problems(base) == []
    (found,) = problems(base.replace("policy: p", f"policy: p, serves: [{serves}]"))
    assert said in found


OTHER = """\
kind: Vnic
name: b
spec: {port: host1, mac: 02:00:00:00:00:0b, subnet: s, policy: p, addresses: [10.0.0.11]}
---
"""
POLICY = "kind: FirewallPolicy\nname: p\nspec: {rules: {a: allow any from any to any}}\n---\n"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("port: host1", "port: host0"), "Vnic web has port host0, no VLAN tag too"),
        (("port: host1", "port: host9"), "the card has no port host9; limit: host0, host1, uplink0; did"),
        (("0b, s", "0a, s"), "Vnic web in subnet s has 02:00:00:00:00:0a too"),
        (("0b, s", "01, s"), "02:00:00:00:00:01 is the gateway's MAC"),
        (("10.0.0.11", "10.0.0.10"), "10.0.0.10 is used twice in VRF default: Vnic web, addresses[0], has it too"),
        (("10.0.0.11", "10.0.0.1"), "10.0.0.1 is used twice in VRF default: Subnet s, gateways[0], has it too"),
        (("10.0.0.11", "10.1.0.11"), "10.1.0.11 is in no prefix of subnet s; limit: 10.0.0.0/24 or 2001:db8::/64"),
        (("10.0.0.11", "10.0.0.255"), "10.0.0.255 is the net's own or its broadcast address"),
        (("subnet: s, p", "subnet: t, p"), "no Subnet is called t"),
    ],
)  # fmt: skip
def test_contradictions_are_told_where_they_are(change: tuple[str, str], said: str) -> None:
    base = SUBNET + VNIC.replace("subnet: s", "subnet: s, policy: p") + POLICY
    assert problems(base + OTHER) == []
    assert change[0] in OTHER
    (found,) = problems(base + OTHER.replace(*change))
    assert said in found
    assert ": error: Vnic b, field " in found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind: Subnet\nname: t\nspec: {gateways: [10.0.0.9/24]}", "10.0.0.0/24 is the net of Subnet s too"),
        ("kind: Route\nname: r\nspec: {prefixes: [10.0.0.0/24], blackhole: true}", "Subnet s says already where"),
        ("kind: Route\nname: r\nspec: {prefixes: [10.5.0.0/24]}", "neither via nor blackhole is there"),
        ("kind: Route\nname: r\nspec: {prefixes: [10.5.0.0/24], blackhole: true, via: [10.0.0.9@u]}", "are both there"),
        ('kind: Route\nname: r\nspec: {prefixes: [10.5.0.0/24, "::/0"], blackhole: true}', "IPv4 and IPv6 in one"),
        ("kind: Profile\nname: r\nspec: {egress: [rout]}", "no stage is called 'rout'; limit: antispoof,"),
        ("kind: Profile\nname: r\nspec: {punts: [gre 5]}", "gre has no ports; limit: a port goes with tcp, udp"),
        ("kind: Profile\nname: r\nspec: {punts: [sctp 5]}", "sctp has no ports; limit: a port goes with tcp, udp"),
        (
            "kind: Profile\nname: r\nspec: {punts: [any]}",
            "any is not one protocol; limit: a protocol, with or without a port. Fix: Name each that programs on the",
        ),
        ("kind: Profile\nname: r\nspec: {punts: [anny]}", "'anny' is not a protocol; limit: ah, esp, gre, igmp,"),
        ("kind: Group\nname: r\nspec: {members: [r]}", "the groups contain each other: r > r"),
        ("kind: Group\nname: web\nspec: {members: []}", "a Vnic is called web too (x.yaml:6)"),
        ("kind: Group\nname: r\nspec: {members: [any]}", "any is not one of several"),
    ],
)  # fmt: skip
def test_objects_that_can_not_be(text: str, said: str) -> None:
    base = SUBNET + VNIC.replace("subnet: s", "subnet: s, policy: p") + POLICY
    found = problems(base + text)
    assert any(said in line for line in found), found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "tcpEstablished: 2h",
            "connections that keep alive every two hours are cut off; limit: 124m or more (RFC 5382 REQ-5).",
        ),
        ("tcpSynSent: 239s", "field tcpSynSent: 239s is less than RFC 5382 REQ-5 asks for"),
        ("tcpSynReceived: 1m", "limit: 4m or more (RFC 5382 REQ-5)."),
        ("tcpFinWait: 1m", "limit: 4m or more (RFC 5382 REQ-5)."),
        ("tcpClosing: 1m", "limit: 4m or more (RFC 5382 REQ-5)."),
        ("tcpTimeWait: 1m", "limit: 4m or more (RFC 5382 REQ-5)."),
        ("udp: 119s", "limit: 2m or more (RFC 4787 REQ-5, which recommends 5m)."),
        ("udpReplied: 119s", "limit: 2m or more (RFC 4787 REQ-5, which recommends 5m)."),
        ("icmp: 59s", "field icmp: 59s is less than RFC 5508 REQ-1 asks for"),
        ("mode: loose", "field mode: TCP is not held to sequence numbers: who is not in between may inject data"),
    ],
)
def test_what_a_tracking_costs_is_a_warning(text: str, said: str) -> None:
    (found,) = problems(f"kind: Tracking\nname: t\nspec: {{{text}}}")
    assert re.match("x.yaml:3:[0-9]+: warning: Tracking t, field ", found)
    assert said in found
    least = "mode: strict, tcpEstablished: 124m, tcpSynSent: 240s, udp: 2m, udpReplied: 120s, icmp: 60s"
    assert problems(f"kind: Tracking\nname: t\nspec: {{{least}, tcpClosed: 1s, other: 1s}}") == []


@pytest.mark.parametrize("text", ["0s", "1500ms", "169h", "10", "-1s", "604801s"])
def test_time_outs_that_can_not_be(text: str) -> None:
    (found,) = problems(f"kind: Tracking\nname: t\nspec: {{udp: {text}}}")
    assert re.search(": error: Tracking t, field udp: .*; limit: ", found)


def test_a_time_out_has_one_text() -> None:
    """Two that mean the same are the same object."""
    written = [objects(f"kind: Tracking\nname: t\nspec: {{other: {text}}}") for text in ("3600s", "60m", "1h")]
    assert len({next(iter(one)).spec.SerializeToString() for one in written}) == 1
    assert lines("kind: Tracking\nname: t\nspec: {other: 90s}", "kind: Tracking\nname: t\nspec: {icmp: 2m}") == [
        "~ Tracking t\n    ~ icmp: 1m -> 2m\n    ~ other: 90s -> 10m"
    ]


def lines(old: str, new: str) -> list[str]:
    return [str(change) for change in changes(objects(old), objects(new), SERVICES)]


def test_a_difference_tells_removals_first_and_rules_as_written() -> None:
    policy = "kind: FirewallPolicy\nname: p\nspec: {rules: {a: allow tcp from any to any, b: drop any from any to any}}"
    old = SUBNET + VNIC + policy
    new = SUBNET.replace("10.0.0.1/24, ", "") + policy.replace("a: allow tcp from any to any, ", "")
    assert lines(old, new) == [
        "- Vnic web\n    - port host0; mac 02:00:00:00:00:0a; subnet s; 10.0.0.10; allowed 10.9.0.0/16",
        "~ Subnet s\n    - gateways 10.0.0.1/24",
        "~ FirewallPolicy p\n    - a: allow tcp from any to any",
    ]
    assert lines(old, old) == []


def other(field: Any, value: object) -> object:
    """A value of this field that it doesn't have."""
    if field.message_type is not None:
        return GetMessageClass(field.message_type)(name="other")
    if field.type == field.TYPE_BOOL:
        return not value
    return "other" if field.type == field.TYPE_STRING else 1234


@pytest.mark.parametrize("kind", sorted(SERVICES.by_kind))
def test_words_tell_every_field(kind: str) -> None:
    """`dsn plan` of an object that comes or goes and `dsn show objects` leave out nothing but what is the default."""
    made = next(one for one in SERVICES.by_kind[kind].kinds if one.name == kind)
    spec = made.message()
    before = words(Object(kind, "x", spec), SERVICES)
    for field in spec.DESCRIPTOR.fields:
        if field.is_repeated:
            changed = made.message(**{field.name: [other(field, None)]})
        else:
            changed = made.message(**{field.name: other(field, getattr(spec, field.name))})
        assert words(Object(kind, "x", changed), SERVICES) != before, field.name


def vrf_text(*names: str) -> str:
    return "".join(
        f"kind: Vrf\nname: {name}\n---\n"
        f"kind: Subnet\nname: {name}\nspec: {{vrf: {name}, gateways: [10.{place}.0.1/24]}}\n---\n"
        for place, name in enumerate(names, 1)
    )


def with_spares(count: int, installed: Plan | None = None) -> Context:
    spares = {f"spare-tap-{place}": Port(65000 + place) for place in range(1, count + 1)}
    return Context(
        ports={**PORTS, "punt-default": Port(65000), **spares}, installed=installed.tables if installed else {}
    )


def punt_ports(found: Plan) -> dict[str, int]:
    names = {row_id: name.text for name in found.names for row_id in [name.id] if name.table == "vrf"}
    return {names[row.id]: row.to_dict()["punt_port"] for part in found.tables["vrf"] for row in part}


def test_a_vrf_takes_a_spare_tap_and_keeps_it() -> None:
    def planned(context: Context, *names: str) -> Plan:
        return plan_all(objects(vrf_text(*names) + "kind: Vrf\nname: without\n"), context, SERVICES)

    none = 0xFFFFFFFF
    first = planned(with_spares(3), "blue", "red")
    assert punt_ports(first) == {"default": 65000, "blue": 65001, "red": 65002, "without": none}
    # One that sorts before the others moves nobody, and takes what nobody has before what is given up.
    second = planned(with_spares(3, first), "amber", "red")
    assert punt_ports(second) == {"default": 65000, "amber": 65003, "red": 65002, "without": none}
    third = planned(with_spares(2, first), "amber", "red")
    assert punt_ports(third) == {"default": 65000, "amber": 65001, "red": 65002, "without": none}


def test_a_vrf_without_a_tap_is_told_and_a_spare_is_no_port_for_others() -> None:
    found = load([Source("x.yaml", vrf_text("blue", "red").encode())], SERVICES, with_spares(1))
    (told,) = found.problems
    assert told.sentence == (
        "x.yaml:9:7: error: Vrf red: no punt tap is left for VRF red, which has addresses of the card; "
        "limit: 1 of them beside those that card.toml names a tap for. "
        "Fix: Take one out, or raise punt_taps in card.toml; that counts after dsn card stop and start."
    )
    assert load([Source("x.yaml", vrf_text("blue").encode())], SERVICES, with_spares(1)).problems == ()
    uplink = "kind: Uplink\nname: u\nspec: {port: spare-tap-1}\n"
    (told,) = load([Source("x.yaml", uplink.encode())], SERVICES, with_spares(1)).problems
    assert "the card has no port spare-tap-1" in told.message


@pytest.mark.parametrize("spec", ["words", "[a, b]", "1h}"])
@pytest.mark.parametrize("kind", sorted(SERVICES.kinds))
def test_a_spec_that_is_no_mapping_is_an_error(kind: str, spec: str) -> None:
    """Services see the object all the same, with what holds where nothing is said."""
    found = problems(f"kind: {kind}\nname: t\nspec: {spec}")
    assert f"x.yaml:3:7: error: {kind} t, field spec: not the fields of a {kind}" in [
        one.partition(";")[0] for one in found
    ]
