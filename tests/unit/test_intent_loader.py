"""The loader of intent: what it makes of files, and that no bytes make it stumble."""

import os
import socket
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.bridging import bridging_pb2 as bridging
from services.core import document
from services.core.intent import Intent, Source, load, sources
from services.core.objects import IntentError, Object
from services.core.service import discover
from services.firewall import firewall_pb2 as firewall

SERVICES = discover()
DEMO = (Path(__file__).resolve().parent.parent.parent / "docs" / "examples" / "demo.yaml").read_bytes()


def read(text: str | bytes) -> Intent:
    data = text if isinstance(text, bytes) else text.encode()
    return load([Source("x.yaml", data)], SERVICES)


def sentences(text: str | bytes) -> list[str]:
    return [problem.sentence for problem in read(text).errors]


def vnic(text: str) -> Object[bridging.Vnic]:
    found = read(text).objects.get(bridging.Vnic, "a")
    assert found is not None
    return found


def test_values_become_canonical_and_defaults_are_filled() -> None:
    found = vnic(
        "kind: Vnic\nname: a\nspec: {port: p, mac: 02-00-00-00-00-0A, subnet: s, addresses: ['2001:DB8:0::1']}"
    )
    assert (found.spec.mac, list(found.spec.addresses)) == ("02:00:00:00:00:0a", ["2001:db8::1"])
    assert (found.spec.mtu, found.spec.profile) == (1500, "default-vnic")


def test_places_of_fields() -> None:
    found = vnic(
        'kind: Vnic\nname: a\nspec:\n  port: p\n  mac: 02:00:00:00:00:0a\n  addresses:\n  - 10.0.0.1\n  - "::2"'
    )
    assert [(at.line, at.column) for at in (found.at("port"), found.at("addresses[1]"))] == [(4, 9), (8, 6)]
    assert found.at("addresses[7]") == found.at("addresses")


@pytest.mark.parametrize(
    ("field", "error"),
    [
        ("mac: 12:34:56:12:34:56", ""),  # YAML 1.1: 9,664,250,696
        ("port: on", ""),  # YAML 1.1: true
        ("vlan: 22:22", "'22:22' is not a number; limit: a number 0 to 4094, in decimal digits."),  # 1,342
        ("vlan: 0777", "'0777' is not a number; limit: a number 0 to 4094, in decimal digits."),  # 511
        ("vlan: 0x10", "'0x10' is not a number; limit: a number 0 to 4094, in decimal digits."),
        ("vlan: 5000", "5000 is out of range; limit: a number 0 to 4094."),
        ("byMac: yes", "'yes' is neither true nor false; limit: true or false."),
        ("allowed: 10.0.0.0/8", "not a list. Fix: Write a list: [10.0.0.0/8]."),
        ("allowed: [{a: b}]", "a mapping where one value is wanted. Fix: Write one value."),
        (
            "addresses: [10.0.0.1/24]",
            "'10.0.0.1/24' has a prefix length; limit: an address alone. Fix: Write 10.0.0.1",
        ),
        ("addresses: [fe80::1%eth0]", "'fe80::1%eth0' has a zone; limit: an address alone."),
        ("mac: 01:00:5e:00:00:01", "01:00:5e:00:00:01 is a group MAC"),
        ("policy:", "'' is not a name"),
    ],
)
def test_fields_are_text_until_their_own_format_reads_them(field: str, error: str) -> None:
    base = {"port": "port: p", "mac": "mac: 02:00:00:00:00:0a", "subnet": "subnet: s"}
    base[field.partition(":")[0]] = field
    text = "kind: Subnet\nname: s\nspec: {gateways: [10.0.0.1/24]}\n---\nkind: Vnic\nname: a\nspec:\n  "
    found = sentences(text + "\n  ".join(base.values()))
    assert len(found) == (1 if error else 0), found
    assert not error or error in found[0]


@pytest.mark.parametrize("written", ["- fe80::", "- ::/0", "[::/0]", "[2001:db8::, 10.0.0.1]"])
def test_misread_ipv6_says_quotes(written: str) -> None:
    lead = "\n  " if written.startswith("-") else " "
    found = sentences(f"kind: Group\nname: g\nspec:\n  members:{lead}{written}")
    assert found == [] if written == "- ::/0" else "Put it in quotes" in found[0]


def test_a_syntax_error_hides_nothing_behind_it() -> None:
    found = sentences('kind: "Vnic\n---\nkind: Vnick\nname: b\n---\n{a: 1\n---\nkind: Group\nname: g\nspec: {x: 1}\n')
    assert [line.partition(": error")[0] for line in found] == ["x.yaml:1:7", "x.yaml:3:7", "x.yaml:6:1", "x.yaml:10:8"]


def test_what_can_not_be_read_is_still_there_for_references() -> None:
    broken = "kind: FirewallPolicy\nname: shop\nspec: {rules: {a: [}\n---\n"
    user = "kind: Vnic\nname: a\nspec: {port: p, mac: 02:00:00:00:00:0a, subnet: s, policy: shop}\n---\n"
    assert len(sentences(broken + user + "kind: Subnet\nname: s\nspec: {gateways: [10.0.0.1/24]}")) == 1


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a: &x 1\nb: *x", "the anchor &x isn't taken"),
        ("kind: !!str Vnic\nname: a", "the tag tag:yaml.org,2002:str isn't taken"),
        ("kind: Vrf\nkind: Vrf\nname: a", "the key kind is there twice, first in line 1"),
        (
            "kind: Vrf\nname: a\nkind: Vrf\nname: b",
            "Fix: Keep one of them. If another object begins here, put a line ---",
        ),
        ("kind: Vrf\nname: a\n---\nkind: Vrf\nname: a", "declared already at x.yaml:2"),
        ("kind: Vrf\nname: a b", "'a b' is not a name; limit: 1 to 31 of"),
        ("kind: Vrf\nname: any", "'any' is a word of the rules"),
        ("name: a", "the object has no kind"),
        ("- a", "a document is not an object; limit: a mapping with kind, name and spec"),
        ("kind: Vrf\nname: a\nspce: {}", "unknown field 'spce'; limit: kind, name, labels, spec; did you mean spec?"),
        ("kind: Vrf\nname: a\nlabels: [x]", "labels are not a mapping"),
        ("? [a]\n: b", "a key is a list or a mapping; limit: a word"),
        (b"kind: Vrf\nname: a\xff", "the byte 0xff is not UTF-8"),
        ("kind: Vrf\nname: a\0", "the character U+0000 can't be in YAML"),
        ("kind: Vrf\n\tname: a", "Indent with spaces: YAML refuses tabs."),
        ("kind: Uplink\nname: u\nspec: {}", "field port: the field is missing. Fix: Add port:."),
    ],
)
def test_shape(text: str | bytes, error: str) -> None:
    found = sentences(text)
    assert any(error in line for line in found), found


def test_a_rule_in_long_form_is_the_same_rule() -> None:
    long = "{verdict: allow, direction: in, protocols: [tcp], from: [10.0.0.0/8], ports: ['80', '443']}"
    short = "allow in tcp from 10.0.0.0/8 to any port 80,443"
    text = f"kind: FirewallPolicy\nname: p\nspec:\n  rules:\n    a: {long}\n    b: {short}"
    found = read(text)
    assert found.errors == ()
    policy = found.objects.get(firewall.FirewallPolicy, "p")
    assert policy is not None
    first, second = policy.spec.rules
    second.name = first.name
    assert first == second


def test_rules_keep_their_written_order() -> None:
    names = [f"r{number}" for number in (5, 3, 9, 1, 7)]
    text = "kind: FirewallPolicy\nname: p\nspec:\n  rules:\n" + "".join(
        f"    {n}: drop any from any to any\n" for n in names
    )
    policy = read(text).objects.get(firewall.FirewallPolicy, "p")
    assert policy is not None
    assert [rule.name for rule in policy.spec.rules] == names


def test_a_folder_is_all_its_files_and_a_missing_path_is_named(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "two.yml").write_text("kind: Vrf\nname: two\n")
    (tmp_path / "a.yaml").write_text("kind: Vrf\nname: one\n")
    (tmp_path / "notes.txt").write_text("{")
    found = load(sources([tmp_path]), SERVICES)
    assert {"one", "two"} < set(found.objects.names("Vrf"))
    with pytest.raises(IntentError) as error:
        sources([tmp_path / "absent.yaml", tmp_path / "b" / "empty"])
    assert "No such file" in str(error.value)
    (tmp_path / "empty").mkdir()
    with pytest.raises(IntentError, match=r"no \.yaml file in this folder"):
        sources([tmp_path / "empty"])


@pytest.mark.parametrize("text", ["[" * 1_000_000, "{a: " * 500_000, "- " * 500_000])
def test_a_million_levels_stop_at_the_limit(text: str) -> None:
    began = time.process_time()
    assert "nested too deeply; limit: 32 levels" in sentences(text)[0]
    assert time.process_time() - began < 10


def test_a_file_over_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document, "MAX_BYTES", 100)
    assert sentences(b"#" * 101) == [
        "x.yaml: error: the file has 101 bytes; limit: 100 bytes. Fix: Split it: a folder of files is one intent."
    ]


@pytest.mark.parametrize(("text", "column"), [('kind: Vrf\nname: v\n""', 3), ("kind: Vrf\nname: v\n---\n{", 2)])
def test_an_error_at_the_end_names_a_line_that_the_file_has(text: str, column: int) -> None:
    """The parser counts a line more where the last one has no end."""
    (problem,) = read(text).errors
    assert (problem.position.line, problem.position.column) == (text.count("\n") + 1, column)
    assert problem.excerpt == text.splitlines()[-1]


def test_an_intent_without_objects_is_doubtful() -> None:
    assert [str(one) for one in read("---\n# nothing\n---\n").problems] == [
        "x.yaml: warning: no object is declared: applied, this takes away all there is."
    ]


def test_what_a_file_holds_is_no_command_to_a_terminal() -> None:
    (problem,) = read(b"kind: Vrf\nname: \x1b[2Jx").errors
    assert "\x1b" not in str(problem)


def test_endless_problems_are_cut_short() -> None:
    found = read("---\nkind: Nothing\nname: x\n" * 3000)
    assert len(found.problems) == 1001
    assert "2,000 more problems are not shown" in found.problems[-1].message


def test_ten_thousand_rules_load_in_seconds() -> None:
    rules = "".join(
        f"    r{n}: allow tcp from 10.{n % 250}.0.0/16 to any port {n % 60000 + 1}\n" for n in range(10_000)
    )
    began = time.process_time()
    assert read("kind: FirewallPolicy\nname: p\nspec:\n  rules:\n" + rules).errors == ()
    assert time.process_time() - began < 20


MANY = 40_000
LONG = {
    "a rule that names many": "kind: FirewallPolicy\nname: p\nspec: {rules: {r: 'allow tcp from "
    + ",".join(f"10.{n // 65536}.{n // 256 % 256}.{n % 256}" for n in range(2 * MANY))
    + " to any'}}",
    "a rule of many ports": "kind: FirewallPolicy\nname: p\nspec: {rules: {r: 'allow tcp from any to any port "
    + ",".join(str(n) for n in range(60_000))
    + "'}}",
    "a chain of many groups": "".join(
        f"kind: Group\nname: g{n}\nspec: {{members: [{f'g{n + 1}' if n + 1 < MANY else '10.0.0.1'}]}}\n---\n"
        for n in range(MANY)
    ),
}


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_what_is_long_is_read_in_time_that_grows_with_it(text: str) -> None:
    """Ten times as long, ten times the time, and not a hundred times."""
    began = time.process_time()
    assert read(text).errors == ()
    assert time.process_time() - began < 12


@pytest.mark.parametrize("kind", ["Vnic\u2028client", "'a\u202eb'", '"a\\eb"'], ids=ascii)
def test_a_problem_is_one_printable_line(kind: str) -> None:
    problems = read(f"kind: {kind}\nspec: {{}}").problems
    assert problems
    assert all(problem.sentence.isprintable() for problem in problems)


BAD = {
    "a list of bad members in a line": "kind: Group\nname: g\nspec: {members: ["
    + ", ".join(f"10.0.0.{n}.x" for n in range(MANY))
    + "]}\n",
    "a bad member in each line": "kind: Group\nname: g\nspec:\n  members:\n"
    + "".join(f"    - 10.0.0.{n}.x\n" for n in range(MANY)),
    "names that nothing has": "".join(f"kind: Group\nname: some{n}\n---\n" for n in range(600))
    + "kind: Group\nname: g\nspec: {members: ["
    + ", ".join(f"sme{n}" for n in range(MANY))
    + "]}\n",
    "documents with a mistake each": "".join(
        f"kind: Vrf\nname: v{n}\nspec: {{wrong: 1}}\n---\n" for n in range(MANY // 2)
    ),
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_mistakes_without_number_are_told_in_time_that_grows_with_the_file(text: str) -> None:
    began = time.process_time()
    found = read(text).problems
    assert time.process_time() - began < 12
    assert len(found) == 1001
    assert found[0].excerpt
    assert found[-2].excerpt


def test_mistakes_of_one_line_do_not_keep_it_each() -> None:
    text = BAD["a list of bad members in a line"]
    tracemalloc.start()
    try:
        assert len(read(text).problems) == 1001
        assert tracemalloc.get_traced_memory()[1] < 150 * len(text)
    finally:
        tracemalloc.stop()


def test_of_a_long_line_the_place_is_shown() -> None:
    """The excerpt is cut around it, and the caret stands below."""
    (problem,) = read(
        "kind: Group\nname: g\nspec: {members: [" + ", ".join(f"10.0.0.{n}" for n in range(200)) + ", 1.2.3]}\n"
    ).errors
    assert len(problem.excerpt) < 121
    _, line, caret = str(problem).splitlines()
    assert line[caret.index("^") : caret.rindex("^") + 1] == "1.2.3"


@given(st.binary(max_size=2000))
def test_any_bytes_are_read(data: bytes) -> None:
    for problem in read(data).problems:
        assert str(problem)


PIECES = [b"---\n", b"[", b"}", b"::", b": ", b"&a ", b"*a", b"\t", b"'", b'"', b"|", b"0" * 40, DEMO[:50]]


@given(st.data())
def test_a_damaged_intent_is_read(data: st.DataObject) -> None:
    """Where the demo's text is cut, repeated or overwritten, problems come, and never anything else."""
    text = bytearray(DEMO)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text) - 1))
        length = data.draw(st.integers(0, 40))
        text[at : at + length] = data.draw(st.one_of(st.binary(max_size=8), st.sampled_from(PIECES)))
        if not text:
            break
    found = read(bytes(text))
    for problem in found.problems:
        assert str(problem)
        assert problem.position.file in ("x.yaml", "")


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize(("make", "told"), [(_fifo, "named pipe"), (_socket, "socket"), (_device, "device")])
def test_what_might_never_end_is_not_read(tmp_path: Path, make: Callable[[Path], None], told: str) -> None:
    make(tmp_path / "a.yaml")
    with pytest.raises(IntentError) as caught:
        sources([tmp_path / "a.yaml"])
    assert str(caught.value) == (
        f"{tmp_path}/a.yaml: error: it is a {told}. "
        "Fix: Name a file; what another program writes is read from /dev/stdin."
    )


def test_a_pipe_that_a_program_is_given_is_read() -> None:
    """As `dsn check /dev/stdin` and `dsn check <(program)` are."""
    reads, writes = os.pipe()
    try:
        os.write(writes, b"kind: Vrf\nname: piped\n")
        os.close(writes)
        (found,) = sources([f"/dev/fd/{reads}"])
    finally:
        os.close(reads)
    assert found.data == b"kind: Vrf\nname: piped\n"


NAMED = " > ".join(f"g{n}" for n in range(9))


@pytest.mark.parametrize(("groups", "told"), [(9, f"{NAMED} > g0"), (400, f"{NAMED} > … 391 more > g0")])
def test_a_circle_of_groups_is_told_in_a_line(groups: int, told: str) -> None:
    text = "".join(f"kind: Group\nname: g{n}\nspec: {{members: [g{(n + 1) % groups}]}}\n---\n" for n in range(groups))
    (problem,) = read(text).errors
    assert problem.message == f"the groups contain each other: {told}"
