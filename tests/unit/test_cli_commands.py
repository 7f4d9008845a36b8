"""`dsn`'s commands as a person types them: words, JSON, exit codes, and no traceback."""

import json
import struct
import subprocess
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from hal.errors import ErrorKind, HalError
from hal.packet.describe import build, parse
from sdk.cli import capture
from sdk.cli.main import main
from services.core.intent import Source, load
from services.core.service import discover

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "docs" / "examples"
DEMO = str(EXAMPLES / "demo.yaml")


@pytest.fixture(autouse=True)
def no_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSN_RUN", str(tmp_path / "no-card"))


def dsn(*words: str) -> Result:
    result = CliRunner().invoke(main, list(words))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_check_says_how_many_objects() -> None:
    result = dsn("check", DEMO)
    assert (result.exit_code, result.output) == (0, "10 objects, no errors\n")


def test_check_lists_errors_and_counts_them(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("kind: Vrf\nname: a b\n---\nkind: Vrfs\nname: c\n")
    result = dsn("check", str(file))
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-1] == "2 errors"
    assert f"{file}:2:7: error: Vrf, field name: 'a b' is not a name" in result.stdout
    found = json.loads(dsn("check", str(file), "--json").stdout)["problems"]
    assert [(one["line"], one["column"], one["severity"]) for one in found] == [(2, 7, "error"), (4, 7, "error")]


def test_check_holds_ports_against_card_toml(tmp_path: Path) -> None:
    card = tmp_path / "card.toml"
    card.write_text('board = "twin"\n[ports]\nuplink0 = "replay"\nhost0 = "replay"\nhost1 = "replay"\n')
    result = dsn("check", DEMO, "--card", str(card))
    assert result.exit_code == 1
    assert "Vnic intruder, field port: the card has no port host2" in result.stdout


def test_check_counts_the_punt_taps_of_the_card(tmp_path: Path) -> None:
    card, file = tmp_path / "card.toml", tmp_path / "a.yaml"
    nets = [
        f"kind: Vrf\nname: v{one}\n---\nkind: Subnet\nname: s{one}\nspec: {{vrf: v{one}, gateways: [10.0.0.1/24]}}\n"
        for one in range(4)
    ]
    file.write_text("---\n".join(nets))
    card.write_text('board = "software"\npunt_taps = 3\n')
    refused = dsn("check", str(file), "--card", str(card))
    assert refused.exit_code == 1
    assert "no punt tap is left for VRF v3" in refused.stdout
    assert "limit: 3 of them beside those that card.toml names a tap for" in refused.stdout
    assert dsn("plan", str(file), "--card", str(card)).exit_code == 1
    card.write_text('board = "software"\npunt_taps = 4\n')
    assert dsn("check", str(file), "--card", str(card)).output == "8 objects, no errors\n"
    card.write_text('board = "twin"\n')  # it has no taps, and promises none
    assert dsn("check", str(file), "--card", str(card)).output == "8 objects, no errors\n"
    card.write_text('board = "softwear"\n')
    refused = dsn("check", str(file), "--card", str(card))
    assert "card.toml:1:1: error: field board: no board is called 'softwear'; limit: software, twin" in refused.stderr


def test_plan_shows_removals_first_and_what_it_costs(tmp_path: Path) -> None:
    new = tmp_path / "new.yaml"
    text = Path(DEMO).read_text().replace("    ssh:     allow tcp from admins to any port 22 log\n", "")
    new.write_text(text + "---\nkind: Vrf\nname: blue\n")
    result = dsn("plan", str(new), "--against", DEMO)
    assert result.exit_code == 0
    lines = [line.rstrip() for line in result.stdout.splitlines()]
    assert lines[:5] == [
        "~ FirewallPolicy shop",
        "    - ssh: allow tcp from admins to any port 22 log",
        "+ Vrf blue",
        "    + a routing domain",
        "Objects: 1 changed, 1 added.",
    ]
    tables = {
        one["table"]: one for one in json.loads(dsn("plan", str(new), "--against", DEMO, "--json").stdout)["tables"]
    }
    rule = tables["firewall_rule"]
    assert (rule["removed"], rule["changed"], rule["added"], rule["entries"], rule["capacity"]) == (2, 0, 0, 21, 131072)


def test_a_set_is_planned_as_a_part(tmp_path: Path) -> None:
    part = tmp_path / "part.yaml"
    part.write_text("kind: Vrf\nname: blue\n")
    result = dsn("plan", str(part), "--against", DEMO, "--set", "blue")
    assert result.stdout.splitlines()[:3] == ["+ Vrf blue", "    + a routing domain", "Objects: 1 added."]
    assert dsn("plan", str(part), "--against", DEMO).stdout.startswith("- Uplink uplink0")


def test_a_conflict_between_sets_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    twice = [Source("a.yaml", b"kind: Vrf\nname: blue\n", "one"), Source("b.yaml", b"kind: Vrf\nname: blue\n", "two")]
    for files, said in (
        (twice, "declared already at a.yaml:2 of the set one"),
        ([replace(twice[0], set=""), twice[1]], "declared already at a.yaml:2, which is of no set"),
        ([twice[0], replace(twice[1], set="one")], "declared already at a.yaml:2"),
    ):
        (problem,) = load(files, discover()).errors
        assert problem.message == said


def test_standard_input_is_a_file_of_that_name() -> None:
    """As /dev/stdin is, whatever is piped."""
    text = Path(DEMO).read_text()
    told = CliRunner().invoke(main, ["check", "-"], input=text)
    assert (told.exit_code, told.output) == (0, "10 objects, no errors\n")
    told = CliRunner().invoke(main, ["plan", "-", "--against", DEMO], input=text)
    assert told.output.startswith("Objects: nothing changed.")
    told = CliRunner().invoke(main, ["apply", "-"], input="kind: Vrfs\nname: a\n")
    assert (told.exit_code, "<stdin>:1:7: error: " in told.stderr) == (1, True)
    told = CliRunner().invoke(main, ["check", "-", "-"], input=text)
    assert "<stdin>: error: standard input is named twice. Fix: Name it once." in told.output
    told = CliRunner().invoke(main, ["trace", "tcp 10.1.0.66:4 > 10.1.0.10:445", "--intent", "-"], input=text)
    assert "445 log (<stdin>:" in told.output


def test_schema_has_the_comments_of_the_proto_files() -> None:
    schema = json.loads(dsn("schema").stdout)
    vnic = schema["$defs"]["Vnic"]
    assert vnic["properties"]["mac"]["description"] == "The workload's MAC."
    assert vnic["required"] == ["port", "mac", "subnet"]
    assert all(one["description"] for kind in schema["$defs"].values() for one in kind.get("properties", {}).values())
    assert schema["$defs"]["Rule"]["anyOf"][0]["type"] == "string"


def test_trace_names_the_rule_with_file_and_line() -> None:
    result = dsn("trace", "tcp 10.1.0.66:40000 > 10.1.0.10:445", "--intent", DEMO)
    assert result.exit_code == 0
    assert (
        f"matched firewall_rule shop/no-scan: drop tcp from any to any port 23,445 log ({DEMO[-127:]}:" in result.stdout
    )
    assert "dropped: firewall_rule: A rule says drop." in result.stdout


def test_trace_as_json() -> None:
    found = json.loads(dsn("trace", "udp 10.1.0.20:1000 > 10.1.0.10:5201", "--intent", DEMO, "--json").stdout)
    assert found["now"]["verdict"] == "FORWARD"
    names = [step["name"] for step in found["now"]["steps"] if step["table"] == "firewall_rule"]
    assert names == ["clients/out", "shop/iperf"]


@pytest.mark.parametrize(
    ("packet", "said"),
    [
        ("hello", "INVALID: packet 'hello': got neither a file nor a packet, limit PROTO SRC[:PORT] > DST[:PORT]"),
        (
            "tcp 10.1.0.20 > 10.1.0.10",
            "got no port, limit a port at both ends. Write tcp 10.1.0.20:40000 > 10.1.0.10:80.",
        ),
        ("tcp 10.1.0.20:1 > [2001:db8::1]:2", "got an IPv4 and an IPv6 address, limit one family"),
        ("tcp 10.1.0.20:1 > 10.1.0.10:99999", "got port 99999, limit port 0..65535"),
        ("tpc 10.1.0.20:1 > 10.1.0.10:9", "Did you mean tcp?"),
        ("gre 10.1.0.20:1 > 10.1.0.10:9", "gre with a port"),
        ("tcp 10.1.0.20:1 > 10.1.0.10:9 sin", "got sin, limit PROTO"),
        ("tcp 10.1.0.20:1 > 10.1.0.10:9 ttl", "got ttl, limit ttl 0..255"),
    ],
)
def test_a_packet_that_is_none(packet: str, said: str) -> None:
    result = dsn("trace", packet, "--intent", DEMO)
    assert (result.exit_code, result.stdout) == (1, "")
    assert said in result.stderr


def test_from_is_a_vnic_a_port_or_an_error() -> None:
    words = ("trace", "udp 192.0.2.9:5000 > 10.1.0.10:53", "--intent", DEMO)
    assert "in by uplink0" in dsn(*words).stdout
    assert "in by host1" in dsn(*words, "--from", "client").stdout
    assert "spoofed_address" in dsn(*words, "--from", "host1").stdout
    assert "INVALID: sender nobody: limit one of client, host0" in dsn(*words, "--from", "nobody").stderr


def test_a_capture_builds_up_flows(tmp_path: Path) -> None:
    web, client = "02:00:00:00:00:0a", "02:00:00:00:00:0b"
    there, back = (client, web), (web, client)
    words = [
        ("tcp 10.1.0.20:40000 > 10.1.0.10:443", there),
        ("tcp 10.1.0.10:443 > 10.1.0.20:40000 syn ack", back),
        ("tcp 10.1.0.20:40000 > 10.1.0.10:443 ack", there),
        ("tcp 10.1.0.20:40000 > 10.1.0.10:22", there),
    ]
    built = [build(parse(text), *macs, 0) for text, macs in words]
    frames = [capture.Frame(data, number * 10**6) for number, data in enumerate(built)]
    file = tmp_path / "session.pcap"
    file.write_bytes(capture.write(frames))
    found = json.loads(dsn("trace", str(file), "--intent", DEMO, "--json").stdout)
    assert [one["verdict"] for one in found["packets"]] == ["FORWARD", "FORWARD", "FORWARD", "DROP"]
    (flow,) = found["flows"]
    assert (flow["tcp_state"], flow["packets"]) == ("ESTABLISHED", [2, 1])
    text = dsn("trace", str(file), "--intent", DEMO).stdout
    assert "flow 1: a reply" in text
    assert text.splitlines()[-1] == "4 packets, 1 dropped, 1 flows"


def test_show_on_a_twin() -> None:
    text = dsn("show", "objects", "--intent", DEMO).stdout
    assert "ping: entries 2" in text
    found = json.loads(dsn("show", "objects", "Vnic", "web", "--intent", DEMO, "--json").stdout)
    assert [one["name"] for one in found] == ["web"]
    assert "FirewallRule policy=shop priority=32768" in dsn("show", "tables", "firewall_rule", "--intent", DEMO).stdout
    tables = dsn("show", "tables", "--intent", DEMO).stdout
    lines = [line.split() for line in tables.splitlines()]
    assert ["firewall_rule", "23", "131,072", "0.0%"] in lines
    assert ["seed", "0", "1", "-"] in lines  # of a table of one row that says nothing
    assert "Fix" not in dsn("show", "objects", "Vnicc", "--intent", DEMO).stdout
    assert "Did you mean Vnic?" in dsn("show", "objects", "Vnicc", "--intent", DEMO).stderr
    assert "Did you mean route?" in dsn("show", "tables", "routes", "--intent", DEMO).stderr


@pytest.mark.parametrize(
    "words",
    [("card", "status"), ("card", "stop"), ("apply", DEMO), ("show", "flows"), ("show", "flow", "1"), ("show", "drops"),
     ("show", "counters"), ("show", "events"), ("show", "objects"), ("show", "tables"),
     ("plan", DEMO, "--against", "running"), ("trace", "icmp 10.1.0.20 > 10.1.0.10")],
)  # fmt: skip
def test_without_a_card_is_exit_code_3(words: tuple[str, ...]) -> None:
    result = dsn(*words)
    assert result.exit_code == 3
    fix = "There is nothing to stop." if words == ("card", "stop") else "Start one: dsn card start CARD_TOML."
    assert f"is running. {fix}" in result.stderr
    assert json.loads(dsn(*words, "--json").stdout)["error"]["kind"] == "LOST"


def test_apply_refuses_before_it_asks_a_card(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("kind: Vrfs\nname: c\n")
    assert dsn("apply", str(file)).exit_code == 1


@pytest.mark.parametrize(
    "words", [("chek",), ("check",), ("show", "flow", "x"), ("show", "flows", "--protocol", "tpc")]
)
def test_a_wrong_command_line_is_exit_code_2(words: tuple[str, ...]) -> None:
    assert dsn(*words).exit_code == 2


def test_a_misspelt_command_is_guessed_at() -> None:
    result = dsn("shwo", "objects")
    assert (result.exit_code, "No such command 'shwo'. Did you mean show?" in result.stderr) == (2, True)
    assert "Did you mean" not in dsn("xyzzy").stderr


@pytest.mark.parametrize("words", [(), ("card",), ("show",), ("new",)])
def test_help_says_each_command_whole(words: tuple[str, ...]) -> None:
    """On a terminal of 80 columns, too."""
    result = CliRunner().invoke(main, [*words, "--help"], terminal_width=80)
    assert result.exit_code == 0
    assert [line for line in result.stdout.splitlines() if line.startswith("  ") and line.endswith("...")] == []


def test_a_run_folder_that_can_not_be_made_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a fresh machine without root."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("DSN_RUN", str(tmp_path / "file" / "run"))
    card = tmp_path / "card.toml"
    card.write_text('board = "twin"\n[ports]\nhost0 = "replay"\n')
    result = dsn("card", "start", str(card), "--state", str(tmp_path / "state"))
    assert result.exit_code == 1
    assert result.stderr.startswith(
        f"dsn: DENIED: run folder {tmp_path}/file/run: got Not a directory. Start the card as"
    )
    assert "root, or set DSN_RUN to a folder that you may write." in result.stderr


def test_a_missing_file_and_a_bad_card_toml(tmp_path: Path) -> None:
    result = dsn("check", str(tmp_path / "absent.yaml"))
    assert (result.exit_code, "No such file or directory" in result.stderr) == (1, True)
    card = tmp_path / "card.toml"
    card.write_text("board = \n")
    result = dsn("card", "start", str(card))
    assert result.exit_code == 1
    assert f"{card}:1:9: error: not TOML: Invalid value" in result.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("trace", "absent.pcap"), 1, "packet 'absent.pcap': got neither a file nor a packet"),
        (("trace", "."), 1, "capture .: got a folder. Name a file in it."),
        (("trace", "empty"), 1, "capture empty, field byte 0: limit a capture's header"),
        (("trace", "binary"), 1, "capture binary, field byte 0: limit the magic number of pcap or pcapng"),
        (("trace", "cut.pcap"), 1, "capture cut.pcap, field byte 40: limit 60 more bytes, there are 10"),
        (("trace", "cut.pcapng"), 1, "capture cut.pcapng, field byte 8: limit 16 more bytes, there are 6"),
        (("trace", "loopback.pcap"), 1, "field link type: got 113, limit 1 (Ethernet). Capture on an Ethernet device"),
        (("trace", "tcp 10.1.0.20:1 > 10.1.0.10:80", "--from", "clint"), 1, "Did you mean client?"),
        (("check", "binary"), 1, "binary:1:1: error: the byte 0xff is not UTF-8"),
        (("check", "empty"), 0, "empty: warning: no object is declared"),
        (("check", "folder"), 1, "folder: error: no .yaml file in this folder"),
        (("plan", "absent.yaml"), 1, "absent.yaml: error: No such file or directory. Fix: Name a file"),
        (("plan", DEMO, "--against", "folder"), 1, "folder: error: no .yaml file in this folder"),
        (("card", "start", "absent.toml"), 1, "absent.toml: error: No such file or directory. Fix: Name the card.toml"),
        (("card", "start", "folder"), 2, "'folder' is a directory"),
        (("card", "start", "binary"), 1, "binary:1:1: error: the byte 0xff is not UTF-8"),
        (("check", DEMO, "--card", "absent.toml"), 2, "'absent.toml' does not exist"),
        (("show", "objects", "Vnik"), 1, "Did you mean Vnic?"),
        (("show", "objects", "Vnic", "clint"), 1, "Did you mean client?"),
        (("show", "tables", "rout"), 1, "Did you mean route?"),
        (("show", "tables", "route", "--limit", "-1"), 2, "-1 is not in the range x>=0"),
        (("show", "flows", "--from", "10.1.0.0/33"), 2, "has the prefix length '33'; limit: 0 to 32"),
        (("show", "flows", "--protocol", "tpc"), 2, "did you mean tcp?"),
        (("show", "flows", "--protocol", "any"), 2, "limit: ah, esp, gre, icmp, icmpv6, igmp,"),
    ],
)
def test_what_can_not_be_is_one_clear_error(
    words: tuple[str, ...], code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    for name, data in (
        ("empty", b""), ("binary", b"\xff\xfe\0\1"), ("cut.pcap", GOOD[:50]),
        ("cut.pcapng", b"\x0a\x0d\x0d\x0a\x1c\0\0\0\x4d\x3c\x2b\x1a\1\0"),
        ("loopback.pcap", GOOD[:20] + b"\x71" + GOOD[21:]),
    ):  # fmt: skip
        Path(name).write_bytes(data)
    Path("folder").mkdir()
    on_twin = (
        ("--intent", DEMO) if words[0] == "trace" or words[:2] in (("show", "objects"), ("show", "tables")) else ()
    )
    result = dsn(*words, *on_twin)
    assert result.exit_code == code, result.output
    assert said in " ".join(result.output.split()), result.output
    if code == 1 and "--json" not in words:
        told = json.loads(dsn(*words, *on_twin, "--json").stdout)
        assert "error" in told or "problems" in told


def test_plan_for_another_card_leaves_the_running_one_alone(tmp_path: Path) -> None:
    card = tmp_path / "card.toml"
    card.write_text('board = "twin"\n[ports]\nhost0 = "replay"\n')
    result = dsn("plan", DEMO, "--card", str(card), "--against", "running")
    assert (result.exit_code, "the running card has its own ports" in result.stderr) == (2, True)
    assert "the card has no port host1" in dsn("plan", DEMO, "--card", str(card)).stderr


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    command = f"set -o pipefail; {Path(sys.executable).parent}/dsn plan {DEMO} | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("words", [(), ("check",), ("plan",), ("schema",), ("trace",), ("apply",), ("card", "start"),
                                   ("show",), ("show", "flows"), ("show", "objects"), ("card", "status")])  # fmt: skip
def test_every_help_has_an_example_or_exit_codes(words: tuple[str, ...]) -> None:
    text = dsn(*words, "--help").stdout
    text = " ".join(text.split())
    assert "Exit codes: 0 done" in text
    assert "Example" in text or words in ((), ("show",))


# --- captures -----------------------------------------------------------------------------------------------------


def test_captures_as_others_write_them(tmp_path: Path) -> None:
    """scapy's classic and next-generation files, in both byte orders of the classic one."""
    from scapy.all import IP, UDP, Ether, PcapNgWriter, wrpcap

    packets = [Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP() / UDP(sport=n) for n in range(1, 4)]
    for number, packet in enumerate(packets):
        packet.time = 1_700_000_000 + Decimal(number) / 8
    wanted = [(bytes(packet), int(packet.time * 10**9)) for packet in packets]
    wrpcap(str(tmp_path / "a.pcap"), packets)
    wrpcap(str(tmp_path / "b.pcap"), packets, endianness=">")
    wrpcap(str(tmp_path / "c.pcap"), packets, nano=True)
    writer = PcapNgWriter(str(tmp_path / "d.pcapng"))
    for packet in packets:
        writer.write(packet)
    writer.close()
    # As old writers have them: Packet Blocks, whose interface has 16 bits, with how many frames were lost beside.
    blocks, at = bytearray((tmp_path / "d.pcapng").read_bytes()), 0
    while at < len(blocks):
        kind, size = struct.unpack_from("<II", blocks, at)
        if kind == 6:
            struct.pack_into("<I", blocks, at, 2)
            struct.pack_into("<H", blocks, at + 10, 7)
        at += size
    (tmp_path / "e.pcapng").write_bytes(blocks)
    for name in ("a.pcap", "b.pcap", "c.pcap", "d.pcapng", "e.pcapng"):
        assert [(one.data, one.time_ns) for one in capture.read(tmp_path / name)] == wanted, name


GOOD = capture.write([capture.Frame(bytes(range(60)), 10**9), capture.Frame(bytes(20), 2 * 10**9)])


@given(st.one_of(
    st.binary(max_size=200),
    st.binary(max_size=200).map(lambda data: b"\x0a\x0d\x0d\x0a" + data),
    st.tuples(st.integers(0, len(GOOD) - 1), st.binary(min_size=1, max_size=4)).map(
        lambda change: GOOD[: change[0]] + change[1] + GOOD[change[0] + len(change[1]) :]),
    st.integers(0, len(GOOD)).map(lambda end: GOOD[:end]),
))  # fmt: skip
def test_any_bytes_are_frames_or_an_error(data: bytes) -> None:
    try:
        frames = capture.parse(data)
    except HalError as error:
        kind = error.kind
    else:
        kind = ErrorKind.CORRUPT
        assert sum(len(frame.data) for frame in frames) <= len(data)
    assert kind in (ErrorKind.CORRUPT, ErrorKind.UNSUPPORTED)


def test_a_capture_has_as_many_frames_as_memory_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gigabyte of empty ones would take eleven; here it is three that are taken."""
    monkeypatch.setattr(capture, "MAX_FRAMES", 3)
    frames = [capture.Frame(b"", place) for place in range(4)]
    assert capture.parse(capture.write(frames[:3])) == frames[:3]
    with pytest.raises(HalError, match=r"INVALID: capture -: got more than 3 frames, limit 3 frames. Take a part"):
        capture.parse(capture.write(frames))


def test_what_a_capture_lacks_is_said() -> None:
    with pytest.raises(HalError, match=r"CORRUPT: capture x.pcap, field byte 40: limit 60 more bytes, there are 50"):
        capture.parse(GOOD[:90], "x.pcap")
    with pytest.raises(HalError, match=r"UNSUPPORTED: capture -, field link type: got 113, limit 1"):
        capture.parse(GOOD[:20] + b"\x71" + GOOD[21:])


@pytest.mark.parametrize("resolution", [0, 9])
def test_a_time_that_no_card_can_count_is_said(resolution: int) -> None:
    """A capture's clock is its own affair up to the year 2262; what is later would run over in the engine."""

    def block(kind: int, body: bytes) -> bytes:
        return struct.pack("<II", kind, len(body) + 12) + body + struct.pack("<I", len(body) + 12)

    def at(ticks: int) -> bytes:
        frame = struct.pack("<IIIII", 0, ticks >> 32, ticks & 0xFFFFFFFF, 20, 20) + bytes(20)
        return begin + block(6, frame)

    begin = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
    begin += block(1, struct.pack("<HHIHHBxxx", 1, 0, 0, 9, 1, resolution))
    last = (2**63 - 1) // 10 ** (9 - resolution)
    assert capture.parse(at(last))[0].time_ns // 10**9 == (2**63 - 1) // 10**9
    for ticks in (last + 1, 2**64 - 1):
        with pytest.raises(HalError, match=r"CORRUPT: capture -, field time of frame 1: .*before the year 2262"):
            capture.parse(at(ticks))
