"""Addresses and nets that a card can't have, and those at the edge that it can; indexes as they are written."""

import pytest

from hal.packet.contract import FlowFilter
from hal.packet.model.flows import _within
from hal.packet.schema.rows import pack_address
from services.core import objects as objects_module
from services.core.formats import FormatError, interface
from services.core.intent import Source, load
from services.core.objects import MAX_PROBLEMS
from services.core.plan import Context, Port, assumed_context, plan_all
from services.core.service import discover

SERVICES = discover()


def errors(*documents: str) -> list[str]:
    text = "\n---\n".join(documents)
    return [problem.sentence for problem in load([Source("x.yaml", text.encode())], SERVICES).errors]


def subnet(name: str, *gateways: str) -> str:
    listed = ", ".join(f'"{one}"' for one in gateways)
    return f"kind: Subnet\nname: {name}\nspec: {{gateways: [{listed}]}}"


def uplink(name: str, *addresses: str) -> str:
    listed = ", ".join(f'"{one}"' for one in addresses)
    return f"kind: Uplink\nname: {name}\nspec: {{port: {name}, addresses: [{listed}]}}"


def route(via: str) -> str:
    return f"kind: Route\nname: r\nspec: {{prefixes: [0.0.0.0/0], via: [{via}]}}"


def test_a_mapped_gateway_is_ipv4_with_its_length() -> None:
    assert interface("::ffff:1.2.3.4/120") == "1.2.3.4/24"
    assert interface("::FFFF:102:304/128") == "1.2.3.4/32"
    with pytest.raises(FormatError, match="is IPv4 with the prefix length 64") as caught:
        interface("::ffff:1.2.3.4/64")
    assert caught.value.fix == "Write 1.2.3.4 with the length of its net."
    text = subnet("s", "::ffff:1.2.3.4/120")
    objects = load([Source("x.yaml", text.encode())], SERVICES).require()
    planned = plan_all(objects, assumed_context(objects), SERVICES)
    assert [row.to_dict()["prefix"] for rows in planned.tables["route"] for row in rows] == ["1.2.3.0/24"]


def test_a_mapped_filter_of_flows_is_ipv4() -> None:
    which = FlowFilter(source="::ffff:10.1.0.0/112")
    assert _within(pack_address("10.1.0.9"), which.source)
    assert not _within(pack_address("10.2.0.9"), which.source)
    assert _within(pack_address("10.2.0.9"), "0.0.0.0/0")
    assert not _within(pack_address("10.2.0.9"), "::/0")
    assert _within(pack_address("2001:db8::1"), "::/0")


@pytest.mark.parametrize(
    ("gateway", "why"),
    [
        ("224.0.0.1/24", "224.0.0.1 is a multicast address"),
        ("127.0.0.1/8", "127.0.0.1 is a loopback address"),
        ("0.0.0.0/0", "0.0.0.0 is of this net"),
        ("240.0.0.1/8", "240.0.0.1 is reserved"),
        ("10.0.0.0/24", "10.0.0.0 is the net's own or its broadcast address"),
        ("10.0.0.255/24", "10.0.0.255 is the net's own or its broadcast address"),
        ("2001:db8::/64", "2001:db8:: is the net's own or its broadcast address"),
        ("ff02::1/64", "ff02::1 is a multicast address"),
        ("::1/64", "::1 is the loopback address"),
    ],
)
def test_an_address_that_no_host_has(gateway: str, why: str) -> None:
    for document, field in ((subnet("s", gateway), "gateways[0]"), (uplink("u", gateway), "addresses[0]")):
        (error,) = errors(document)
        assert f"field {field}: {why}" in error


@pytest.mark.parametrize(
    "pair", ["10.0.0.0/31 10.0.0.1/32", "2001:db8::/127 2001:db8::1/128", "10.0.0.1/30 10.0.0.5/30"]
)
def test_nets_at_the_edge_are_nets(pair: str) -> None:
    first, second = pair.split()
    assert errors(uplink("u", first), uplink("w", second)) == []


def test_next_hops_that_no_router_has() -> None:
    for address, why in (("0.0.0.0", "of this net"), ("192.0.2.255", "the net's own or its"), ("224.0.0.5", "a multi")):
        (error,) = errors(uplink("left", "192.0.2.2/24"), route(f"{address}@left"))
        assert f"field via[0]: {address} is {why}" in error
    assert errors(uplink("left", "192.0.2.2/31"), route("192.0.2.3@left")) == []


def test_nets_that_overlap() -> None:
    (error,) = errors(subnet("one", "10.0.0.1/24"), subnet("two", "10.0.0.129/25"))
    assert "Subnet two, field gateways[0]: 10.0.0.128/25 lies in 10.0.0.0/24, the net of Subnet one" in error
    (error,) = errors(subnet("one", "10.0.0.129/25"), uplink("u", "10.0.0.1/8"))
    assert "Subnet one, field gateways[0]: 10.0.0.128/25 lies in 10.0.0.0/8, the net of Uplink u" in error
    assert errors(subnet("one", "10.0.0.1/25"), subnet("two", "10.0.0.129/25")) == []
    assert errors(subnet("one", "10.0.0.1/24", "10.0.0.129/25")) == [], "both are of one subnet"
    blue = subnet("two", "10.0.0.129/25").replace("spec: {", "spec: {vrf: blue, ")
    assert errors("kind: Vrf\nname: blue\nspec: {}", subnet("one", "10.0.0.1/24"), blue) == [], "VRFs are apart"


def test_indexes_are_those_of_the_file() -> None:
    via = '"192.0.2.1@left weight 0", 192.0.3.1@right, 1.2.3@left, "2001:db8::1@left"'
    found = errors(uplink("left", "192.0.2.2/24"), route(via))
    fields = {error.partition("field ")[2].partition(":")[0]: error for error in found}
    assert sorted(fields) == ["via[0]", "via[1]", "via[2]", "via[3]"]
    assert "no Uplink is called right" in fields["via[1]"]
    assert "2001:db8::1 for prefixes of the other family" in fields["via[3]"]


@pytest.mark.parametrize("what", ["next hops", "ports", "subnets", "kinds", "fields", "words"])
def test_guesses_at_misspelt_names_are_bounded(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each costs a comparison with hundreds of names: a file with 2,560 misspelt ones may not take minutes."""
    known = "".join(f"---\nkind: Uplink\nname: uplink{n}\nspec: {{port: p{n}, vlan: {n}}}\n" for n in range(5))
    text, count = known, 2560
    if what == "next hops":
        for number in range(10):
            via = ", ".join(f"192.0.{number}.{last}@uplonk{last}" for last in range(256))
            text += f"---\nkind: Route\nname: r{number}\nspec: {{prefixes: [10.{number}.0.0/16], via: [{via}]}}\n"
    elif what == "ports":
        text += "".join(f"---\nkind: Uplink\nname: u{n}\nspec: {{port: o{n}}}\n" for n in range(count))
    elif what == "kinds":
        text += "".join(f"---\nkind: Uplnik\nname: u{n}\n" for n in range(count))
    elif what == "words":
        text += "".join(f"---\nkind: Vrf\nname: u{n}\nspce: {{}}\n" for n in range(count))
    elif what == "fields":
        text += "".join(f"---\nkind: Uplink\nname: u{n}\nspec: {{port: p0, vlan: 9, vfr: x}}\n" for n in range(count))
    else:
        vnic = "spec: {port: p0, byMac: true, mac: 02:00:00:00"
        text += "".join(
            f"---\nkind: Vnic\nname: v{n}\n{vnic}:{n >> 8:02x}:{n & 255:02x}, subnet: upl{n}}}\n" for n in range(count)
        )
    asked: list[str] = []

    def ask(word: str, known: object) -> str:
        asked.append(word)
        return ""

    monkeypatch.setattr(objects_module, "nearest", ask)
    context = Context(ports={f"p{n}": Port(n) for n in range(5)})
    problems = load([Source("x.yaml", text.encode())], SERVICES, context).problems
    assert len(asked) == MAX_PROBLEMS
    assert problems[-1].message.endswith(" more problems are not shown")
    assert len(problems) == MAX_PROBLEMS + 1
