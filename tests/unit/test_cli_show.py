"""`dsn show` and `dsn apply` against a card that has seen traffic; the card is a twin in the daemon's place."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from hal.errors import ErrorKind, HalError
from hal.packet.contract import NONE_ID, Event, EventKind, Flow, FlowFilter, LoadConfig, Modify, PacketIn, RowCounters
from hal.packet.describe import build, packet_in, parse, sender
from hal.packet.model import Twin
from sdk.api.values import counters_from_pb, counters_to_pb
from sdk.cli import capture, offline, options
from sdk.cli import card as card_commands
from sdk.cli.client import CardClient
from sdk.cli.events import Reader, booted_ns
from sdk.cli.main import main
from sdk.cli.output import fail
from sdk.cli.show import entry_counters
from sdk.cli.text import TextConsole
from sdk.cli.twin_card import TwinCard, open_twin
from sdk.cli.witness import Speaker
from services.core.intent import Source, sources
from services.core.service import discover

DEMO = Path(__file__).resolve().parent.parent.parent / "docs" / "examples" / "demo.yaml"


def send(card: TwinCard, text: str, time_ns: int) -> None:
    snapshot = card.snapshot()
    numbers = {name: port.number for name, port in card.planning().ports.items()}
    described = parse(text)
    packet: PacketIn = packet_in(described, snapshot, sender(described, snapshot, "", numbers), time_ns)
    inject = getattr(card.backend, "inject")  # noqa: B009  a twin's own, no verb of the contract
    inject(packet)


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> TwinCard:
    """A running card in place of the one behind the daemon's socket."""
    running = open_twin(sources([DEMO]), discover())
    for number, text in enumerate(
        (
            "tcp 10.1.0.20:40000 > 10.1.0.10:443",
            "tcp 10.1.0.10:443 > 10.1.0.20:40000 syn ack",
            "tcp 10.1.0.20:40000 > 10.1.0.10:443 ack",
            "tcp 10.1.0.66:1 > 10.1.0.10:445",
            "udp [2001:db8:1::b]:9 > [2001:db8:1::a]:5201",
        ),
        1,
    ):
        send(running, text, number * 10**9)

    @contextmanager
    def connect() -> Iterator[CardClient]:
        yield running

    for module in (options, card_commands, offline):
        monkeypatch.setattr(module, "connect", connect)
    monkeypatch.setattr(offline, "is_running", lambda: True)
    return running


def dsn(*words: str) -> str:
    result = CliRunner().invoke(main, list(words))
    assert result.exit_code == 0, result.output
    return result.stdout


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_flows(card: TwinCard) -> None:
    text = dsn("show", "flows")
    assert ["10.1.0.20:40000", "10.1.0.10:443", "client", ">", "web", "ESTABLISHED", "2/1"] in [
        row[2:9] for row in rows(text)
    ]
    assert text.splitlines()[-1] == "2 flows"
    for chosen, count in (
        (("--vnic", "web"), 2), (("--protocol", "udp"), 1), (("--port", "443"), 1), (("--from", "10.1.0.0/24"), 1),
        (("--vnic", "intruder"), 0), (("--vrf", "default", "--to", "2001:db8:1::/64"), 1),
    ):  # fmt: skip
        assert dsn("show", "flows", *chosen).splitlines()[-1] == f"{count} flows", chosen
    assert len(json.loads(dsn("show", "flows", "--json"))) == 2
    for words, told in (
        (("flows", "--limit", "1"), "dsn: 2 flows, 1 shown. All of them: --limit 0.\n"),
        (("flows", "--limit", "2"), ""),
        (("tables", "vnic", "--limit", "1"), "dsn: 4 entries, 1 shown. All of them: --limit 0.\n"),
    ):
        cut = CliRunner().invoke(main, ["show", *words, "--json"])
        assert (len(json.loads(cut.stdout)), cut.stderr) == (int(words[-1]), told)
    result = CliRunner().invoke(main, ["show", "flows", "--vnic", "wbe"])
    assert (result.exit_code, "Did you mean web?" in result.stderr) == (1, True)


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 80 columns."""
    console = TextConsole(markup=False, emoji=False, highlight=False, width=80)
    monkeypatch.setattr("sdk.cli.output.console", lambda: console)


@pytest.mark.usefixtures("narrow")
def test_on_a_narrow_terminal_no_address_is_cut_up(card: TwinCard) -> None:
    told = {words: dsn(*words) for words in (("show", "flows"), ("show", "objects"), ("plan", str(DEMO)),
                                             ("trace", "tcp 10.1.0.66:1 > 10.1.0.10:80"))}  # fmt: skip
    assert max(len(line) for text in told.values() for line in text.splitlines()) <= 80
    flows = told["show", "flows"].splitlines()
    assert "udp [2001:db8:1::b]:9 > [2001:db8:1::a]:5201" in flows[0]
    assert flows[1].startswith("    client > web, packets 1/0, bytes ")
    assert "    client > web, ESTABLISHED, packets 2/1, bytes 80/40" in flows
    assert "192.0.2.1@uplink0: state unused" in " ".join(told["show", "objects"].split())
    # What doesn't fit stands below, further in than its begin.
    trace = told["trace", "tcp 10.1.0.66:1 > 10.1.0.10:80"].splitlines()
    place = next(number for number, line in enumerate(trace) if "allow out any" in line)
    assert trace[place].startswith("    matched firewall_rule clients/out")
    assert trace[place + 1].startswith("        (")


@pytest.mark.parametrize(
    ("chosen", "wanted"),
    [
        ((), FlowFilter()),
        (("--vrf", "default"), FlowFilter(vrf=1)),
        (("--source-port", "40000", "--port", "443"), FlowFilter(source_port=40000, destination_port=443)),
        (("--from", "10.1.0.0/24", "--to", "10.1.0.10"), FlowFilter(source="10.1.0.0/24", destination="10.1.0.10/32")),
        (("--protocol", "icmpv6"), FlowFilter(protocol=58)),
    ],
)
def test_the_card_is_asked_for_the_flows_that_are_wanted(
    card: TwinCard, monkeypatch: pytest.MonkeyPatch, chosen: tuple[str, ...], wanted: FlowFilter
) -> None:
    asked: list[FlowFilter | None] = []

    def flows(which: FlowFilter | None = None) -> list[Flow]:
        asked.append(which)
        return []

    monkeypatch.setattr(card, "flows", flows)
    dsn("show", "flows", *chosen)
    vrf = next(row.id for row in card.snapshot().rows("vrf"))
    assert asked == [replace(wanted, vrf=wanted.vrf and vrf)]


def test_flows_come_newest_use_first(card: TwinCard) -> None:
    assert [row[2] for row in rows(dsn("show", "flows")) if len(row) > 5 and ":" in row[2]] == [
        "[2001:db8:1::b]:9", "10.1.0.20:40000"
    ]  # fmt: skip
    text = dsn("show", "flows", "--limit", "1")
    assert "[2001:db8:1::b]:9" in text
    assert "10.1.0.20:40000" not in text
    assert text.splitlines()[-1] == "2 flows, 1 shown"


def test_one_flow_with_its_rules_and_operations(card: TwinCard) -> None:
    (found,) = (flow for flow in card.flows() if flow.destination_port == 443)
    text = dsn("show", "flow", str(found.id))
    assert "tcp 10.1.0.20:40000 > 10.1.0.10:443, client to web" in text
    assert "egress rule: firewall_rule clients/out: allow out any from any to any" in text
    assert "ingress rule: firewall_rule shop/web: allow tcp from client,admins to web port 80,443,8000-8099" in text
    assert "track tcp" in text
    assert "forth: 2 packets" in text
    assert "send vnic web" in text
    assert "send vnic client" in text
    result = CliRunner().invoke(main, ["show", "flow", "12345"])
    assert (result.exit_code, "INVALID: flow 12345: limit a living flow" in result.stderr) == (1, True)


def test_a_flow_of_older_tables_is_told_as_such(card: TwinCard, tmp_path: Path) -> None:
    """What is said of its rule is how it is written now; that isn't what decided it."""
    (found,) = (flow for flow in card.flows() if flow.destination_port == 443)
    mark = "; the tables have changed since, its next packet is decided anew"
    assert mark not in dsn("show", "flow", str(found.id))
    new = tmp_path / "new.yaml"
    new.write_text(DEMO.read_text().replace("to web port 80,443,", "to web port 443,"))
    dsn("apply", str(new))
    text = dsn("show", "flow", str(found.id))
    assert f"decided by generation {found.generation}{mark}" in text
    assert "(as it is now)" in text
    assert json.loads(dsn("show", "flow", str(found.id), "--json"))["stale"] is True
    assert mark in dsn("trace", "tcp 10.1.0.20:40000 > 10.1.0.10:443 ack")
    send(card, "tcp 10.1.0.20:40000 > 10.1.0.10:443 ack", 10**10)
    assert mark not in dsn("show", "flow", str(found.id))
    assert json.loads(dsn("show", "flow", str(found.id), "--json"))["stale"] is False


def test_drops_by_reason_with_their_meaning(card: TwinCard) -> None:
    assert rows(dsn("show", "drops"))[1][:2] == ["firewall_rule", "1"]
    assert "A rule says drop." in dsn("show", "drops")
    assert len(dsn("show", "drops", "--all").splitlines()) > 40
    assert json.loads(dsn("show", "drops", "--json")) == {"firewall_rule": 1}


def test_counters_of_vnics_and_rules(card: TwinCard) -> None:
    text = dsn("show", "counters")
    assert ["client", "3"] in [row[:2] for row in rows(text)]
    assert "firewall_rule shop/web" in text
    found = json.loads(dsn("show", "counters", "--json"))
    rules = [one for one in found["entries"] if one["table"] == "firewall_rule"]
    assert sum(one["hits"] for one in rules) >= 5
    (web,) = {(one["file"], one["line"]) for one in rules if one["name"] == "shop/web"}
    assert web[0].endswith("demo.yaml")
    assert DEMO.read_text().splitlines()[web[1] - 1].strip().startswith("web:")
    assert {one["name"]: one["rx_packets"] for one in found["vnics"]}["client"] == 3
    assert {one["name"] for one in found["ports"]} >= {"host0", "uplink0"}


def test_status_of_objects_counts_rules(card: TwinCard) -> None:
    (policy,) = json.loads(dsn("show", "objects", "FirewallPolicy", "shop", "--json"))
    hits = {rule["name"]: rule["hits"] for rule in policy["status"]["rules"]}
    assert hits == {"no-scan": 1, "web": 1, "iperf": 1, "ssh": 0, "ping": 0}
    (client,) = json.loads(dsn("show", "objects", "Vnic", "client", "--json"))
    assert client["status"]["rx_packets"] == 3


def test_limits_are_a_table_of_a_vnic(card: TwinCard) -> None:
    (client,) = json.loads(dsn("show", "objects", "Vnic", "client", "--json"))
    limits = {one["name"]: one for one in client["status"]["limits"]}
    assert limits["flow_limit"]["used"] == 2
    assert not any(one["refused"] for one in limits.values())
    text = rows(dsn("show", "objects", "Vnic", "client"))
    assert ["limit", "used", "at", "most", "refused"] in text
    assert ["flow_limit", "2", f"{limits['flow_limit']['most']:,}", "0"] in text
    assert ["icmp_limit", "1,000", "a", "second", "0"] in text


def test_limits_are_listed_where_they_refused_something(card: TwinCard) -> None:
    assert "flow_limit" not in dsn("show", "objects")
    rows_there: list[Any] = [*card.backend.snapshot().rows("vnic")]
    row = next(row for row in rows_there if row.mac == "02:00:00:00:00:0b")
    card.backend.writer().commit([Modify(replace(row, flow_limit=2).rows())])
    send(card, "tcp 10.1.0.20:40001 > 10.1.0.10:443", 6 * 10**9)
    (line,) = [line for line in dsn("show", "objects", "Vnic").splitlines() if "_limit" in line]
    assert "flow_limit: refused 1, 2 used of 2" in line
    counted = json.loads(dsn("show", "counters", "--json"))["limits"]
    (one,) = [one for one in counted if one["refused"]]
    assert (one["name"], one["limit"], one["used"], one["most"], one["refused"]) == ("client", "flow_limit", 2, 2, 1)
    assert counters_from_pb(counters_to_pb(card.backend.counters())) == card.backend.counters()


def test_events_name_the_rule(card: TwinCard) -> None:
    text = dsn("show", "events")
    assert "rule_log firewall_rule shop/no-scan" in text
    assert "drop tcp 10.1.0.66:1 > 10.1.0.10:445" in text.lower()
    assert json.loads(dsn("show", "events", "--json"))["missed"] == 0


def test_events_are_the_last_ones_of_a_kind_by_local_time(card: TwinCard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sdk.cli.events.booted_ns", lambda: 0)
    every = dsn("show", "events").splitlines()
    assert dsn("show", "events", "--last", "1").splitlines() == every[-1:]
    logs = [line for line in every if " rule_log " in line]
    assert dsn("show", "events", "--kind", "rule_log").splitlines() == logs
    assert 0 < len(logs) < len(every)
    for one in json.loads(dsn("show", "events", "--json"))["events"]:
        assert abs(datetime.fromisoformat(one["time"]).timestamp() - one["time_ns"] / 1e9) < 1e-3
    monkeypatch.undo()
    assert abs(booted_ns() + time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.time_ns()) < 10**9


def test_events_that_follow_are_a_line_each(card: TwinCard, monkeypatch: pytest.MonkeyPatch) -> None:
    every = json.loads(dsn("show", "events", "--json"))["events"]
    monkeypatch.setattr("sdk.cli.show.FOLLOW_S", -1)  # sleep refuses it: the end of the test
    result = CliRunner().invoke(main, ["show", "events", "--follow", "--json"])
    assert [json.loads(line)["number"] for line in result.output.splitlines()] == [one["number"] for one in every]


def test_a_next_hop_is_told_once_and_by_its_name(card: TwinCard) -> None:
    """Two workers see it go and come; ports are told by name."""
    down, up = EventKind.NEXT_HOP_DOWN, EventKind.NEXT_HOP_UP
    snapshot = card.snapshot()
    hop = snapshot.rows("next_hop")[0].id
    ports = {port.config.number: port.config.name for port in card.capabilities().ports}
    seen = [Event(n, n, kind, "next_hop", hop) for n, kind in enumerate((down, down, up, up, down), 1)]
    seen.append(Event(6, 6, EventKind.PORT_UP, "", 0))
    reader = Reader(Speaker(card.capabilities().schema, snapshot, ports=ports), (), 0)
    told = list(reader.choose(seen))
    assert [one.number for one in told] == [1, 3, 5, 6]
    assert f"next_hop_down next_hop {snapshot.names['next_hop', hop].text}" in reader.words(told[0])
    assert reader.words(told[-1]).endswith(f"port_up {ports[0]}")
    many = [Event(n, n, EventKind.RULE_LOG, "firewall_rule", 1, "drop") for n in range(65536)]
    begin = time.process_time()
    assert len([reader.words(one) for one in reader.choose(many)]) == 65536
    assert time.process_time() - begin < 5


def test_counters_of_a_rule_are_one_line_in_written_order(card: TwinCard) -> None:
    found = card.counters()
    speaker = Speaker(card.capabilities().schema, card.snapshot())
    twice = replace(
        found, rows={key: RowCounters(2, 3, 4) for key in speaker.snapshot.names if key[0] == "firewall_rule"}
    )
    told = entry_counters(speaker, twice)
    shop = [line for line in told if line[0].startswith("firewall_rule shop/")]
    assert [line[0].split("/")[1].split(" ")[0] for line in shop] == ["no-scan", "web", "iperf", "ssh", "ping"]
    entries = sum(name.text == "shop/web" for key, name in speaker.snapshot.names.items() if key[0] == "firewall_rule")
    assert entries > 1
    assert shop[1][1:] == (2 * entries, 3 * entries, 4 * entries)


IDS = {"id", "vrf", "vnic", "subnet", "profile", "policy", "next_hop", "group", "ingress", "egress"}


def held(value: object, where: str) -> int:
    """That ids are texts and keys one style, all the way down. Returns how many ids there were."""
    if isinstance(value, list):
        return sum(held(one, where) for one in value)
    if not isinstance(value, dict):
        assert not isinstance(value, int) or abs(value) < 2**53, f"{where}: {value}"
        return 0
    found = 0
    for key, one in value.items():
        assert re.fullmatch(r"[a-z][a-z0-9_]*", key), f"{where}: {key}"
        if key in IDS and not isinstance(one, list | dict):
            assert one is None or isinstance(one, str), f"{where}.{key}: {one!r}"
            found += 1
        found += held(one, f"{where}.{key}")
    return found


def test_json_has_ids_as_texts_and_keys_of_one_style(card: TwinCard, tmp_path: Path) -> None:
    """Every command's, and every table's."""
    flow_id = str(card.flows()[0].id)
    frames = tmp_path / "x.pcap"
    built = build(parse("tcp 10.1.0.20:40000 > 10.1.0.10:443"), "02:00:00:00:00:0b", "02:00:00:00:00:0a", 0)
    frames.write_bytes(capture.write([capture.Frame(built, 10**10)]))
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("kind: Vrfs\nname: a\n")
    asked = {
        ("card", "status"): 0, ("check", str(DEMO)): 0, ("check", str(wrong)): 0, ("plan", str(DEMO)): 0,
        ("plan", str(DEMO), "--against", "nothing"): 0, ("apply", str(DEMO)): 0, ("apply", str(wrong)): 0,
        ("show", "objects"): 9, ("show", "tables"): 0, ("show", "flows"): 8, ("show", "flow", flow_id): 6,
        ("show", "flow", "99"): 0, ("show", "counters"): 6, ("show", "drops"): 0, ("show", "events"): 1,
        ("trace", "tcp 10.1.0.66:1 > 10.1.0.10:445"): 3, ("trace", str(frames)): 8,
        ("trace", "tcp 10.1.0.20:40000 > 10.1.0.10:443 ack"): 8,
    }  # fmt: skip
    asked |= {("show", "tables", table): 0 for table in card.capabilities().capacities}
    entries = 0
    for words, least in asked.items():
        told = CliRunner().invoke(main, [*words, "--json"]).stdout
        ids = held(json.loads(told) if told else {}, " ".join(words))
        assert ids >= least, (words, ids)
        entries += ids if words[:2] == ("show", "tables") else 0
    assert entries > 100
    held(json.loads(CliRunner().invoke(main, ["show", "events", "--json"]).stdout), "events")


def test_ids_of_64_bits_and_none(card: TwinCard, capsys: pytest.CaptureFixture[str]) -> None:
    flows = json.loads(dsn("show", "flows", "--json"))
    speaker = Speaker(card.capabilities().schema, card.snapshot())
    rules = speaker.flow_value(replace(card.flows()[0], rules=(NONE_ID, 2**63)))["rules"]
    assert [rule and rule["id"] for rule in rules] == [None, str(2**63)]
    assert {flow["ingress"] for flow in flows} <= {str(row.id) for row in card.snapshot().rows("vnic")}
    assert {(flow["ingress_name"], flow["egress_name"], flow["vrf_name"]) for flow in flows} == {
        ("client", "web", "default")
    }
    (tcp,) = (flow for flow in flows if flow["protocol"] == 6)
    assert [(rule["name"], rule["line"] > 0) for rule in tcp["rules"]] == [("clients/out", True), ("shop/web", True)]
    lost = HalError(ErrorKind.FULL, "x", row_id=2**63)
    with pytest.raises(SystemExit):
        fail(lost, as_json=True)
    assert json.loads(capsys.readouterr().out)["error"]["id"] == str(2**63)


def test_trace_tells_of_the_installed_flow(card: TwinCard) -> None:
    text = dsn("trace", "tcp 10.1.0.20:40000 > 10.1.0.10:443 ack")
    assert "Its flow, decided by generation 1:" in text
    assert "The chain at generation 1:" in text


def test_mid_stream_tcp_is_told_as_a_card_at_rest_does() -> None:
    """A twin of an intent has not just been started; what a card that has picks up, is told to be."""
    segment = "tcp 10.1.0.20:5 > 10.1.0.10:443 ack"
    text = dsn("trace", segment, "--intent", str(DEMO))
    assert "dropped: tcp_no_session" in text
    assert "picked up" not in text
    assert "forwarded" in dsn("trace", segment.replace("ack", "syn"), "--intent", str(DEMO))


def test_what_a_card_picks_up_after_its_start_is_told(card: TwinCard) -> None:
    """Its twin began with the first packet of this fixture."""
    assert "picked up" not in dsn("trace", "tcp 10.1.0.20:5 > 10.1.0.10:443")
    assert "asked as if it began its connection" in dsn("trace", "tcp 10.1.0.20:40000 > 10.1.0.10:443 ack")
    load = LoadConfig(ports=tuple(port.config for port in card.capabilities().ports))
    just_started = Twin()
    just_started.load(load)
    just_started.start()
    card.backend, files = just_started, card.files
    card.apply(files)
    send(card, "udp 10.1.0.20:1 > 10.1.0.10:5201", 10**9)
    text = dsn("trace", "tcp 10.1.0.20:5 > 10.1.0.10:443 ack")
    assert "installed, both directions, picked up mid-stream (within the time after the engine's start that" in text
    assert "forwarded" in text


def test_plan_and_apply_on_a_running_card(card: TwinCard, tmp_path: Path) -> None:
    new = tmp_path / "new.yaml"
    new.write_text(
        DEMO.read_text().replace("    no-scan:", "    no-dns: drop udp from any to any port 53\n    no-scan:")
    )
    found = json.loads(dsn("plan", str(new), "--against", "running", "--json"))
    (rules,) = (one for one in found["tables"] if one["table"] == "firewall_rule")
    assert (rules["removed"], rules["changed"], rules["added"]) == (0, 0, 1)
    assert found["objects"][0]["lines"] == ["+ no-dns: drop udp from any to any port 53"]
    before = card.snapshot()
    assert "1 changed (intent " in dsn("apply", str(new))
    assert card.snapshot().generation == before.generation + 1  # in one step, as on any card
    again = json.loads(dsn("plan", str(new), "--against", "running", "--json"))
    assert (again["objects"], [one for one in again["tables"] if one["changed"] or one["added"]]) == ([], [])


def test_plan_leaves_what_other_owners_have_as_it_is(
    card: TwinCard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An agent that holds the routes of the running card: nothing of them would go, and intent must not name any."""
    planning = replace(card.planning(), owners={"route": "my-agent", "next_hop": "my-agent"})
    monkeypatch.setattr(card, "planning", lambda: planning)
    theirs = len(card.snapshot(["route"]).rows("route"))
    assert theirs > 0
    new = tmp_path / "new.yaml"
    new.write_text("kind: Vrf\nname: blue\n---\nkind: Subnet\nname: lab\nspec: {gateways: [10.7.0.1/24]}\n")
    planned = CliRunner().invoke(main, ["plan", str(new), "--json"])
    found = json.loads(planned.stdout)
    (route,) = (one for one in found["tables"] if one["table"] == "route")
    assert (route["removed"], route["changed"], route["added"], route["entries"]) == (0, 0, 0, theirs)
    assert route["owner"] == "my-agent"
    owners = {one["table"]: one["owner"] for one in found["tables"] if one["owner"]}
    assert owners == {"route": "my-agent", "next_hop": "my-agent"}
    assert [one["removed"] > 0 for one in found["tables"] if one["table"] == "vnic"] == [True]
    assert "the route to 10.7.0.0/24 is left to my-agent" in found["problems"][0]["message"]
    assert ["route", "(my-agent)", "0", "0", "0", str(theirs)] in [row[:6] for row in rows(dsn("plan", str(new)))]
    new.write_text("kind: Route\nname: a\nspec: {prefixes: [0.0.0.0/0], blackhole: true}\n")
    refused = CliRunner().invoke(main, ["plan", str(new)])
    assert refused.exit_code == 1
    assert "it needs entries of tables that card.toml gives to others: route (my-agent)" in refused.stderr


def test_card_status(card: TwinCard) -> None:
    assert "engine      forwarding" in dsn("card", "status")
    assert json.loads(dsn("card", "status", "--json"))["ports"]["host0"] is True


def test_an_address_of_two_vnics_is_told_as_one() -> None:
    """In VRFs of their own both may have it; who sends then has to be said."""
    text = (
        "kind: Vrf\nname: {0}\nspec: {{}}\n---\nkind: Subnet\nname: {0}\nspec: {{gateways: [10.1.0.1/24], vrf: {0}}}\n"
    )
    text += "---\nkind: Vnic\nname: {0}-web\n"
    text += "spec: {{port: {0}, mac: 02:00:00:00:00:0a, subnet: {0}, addresses: [10.1.0.10]}}\n"
    both = "---\n".join(text.format(name) for name in ("red", "blue"))
    twin = open_twin([Source("x.yaml", both.encode())], discover())
    numbers = {name: port.number for name, port in twin.planning().ports.items()}
    with pytest.raises(HalError) as error:
        sender(parse("icmp 10.1.0.10 > 10.1.0.1"), twin.snapshot(), "", numbers)
    assert str(error.value).startswith("INVALID: sender: got 10.1.0.10, an address of 2 vNICs, limit one vNIC,")
