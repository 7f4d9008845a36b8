"""`dsn trace`: what a described packet, or those of a capture, would meet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hal.errors import ErrorKind, HalError
from hal.packet import describe
from hal.packet.contract import Flow, PacketIn, Snapshot, Trace, Verdict
from hal.packet.frame._generated import Vnic
from hal.packet.schema.rows import unpack_mac
from sdk.cli import capture
from sdk.cli.client import CardClient, Replay
from sdk.cli.frames import frame_words
from sdk.cli.options import a_card, card_option, intent_option, json_option, services, with_option
from sdk.cli.output import EXIT_CODES, emit, guarded
from sdk.cli.witness import Say, Speaker, flow_value
from services.core import intent
from services.core.objects import nearest
from services.core.service import Services
from services.firewall import firewall_pb2 as firewall
from services.firewall.grammar import print_rule

if TYPE_CHECKING:
    from rich.console import Console

EXAMPLES = """\b
Examples:
  dsn trace "tcp 10.1.0.20:40000 > 10.1.0.10:443"
  dsn trace "icmp 2001:db8:1::b > 2001:db8:1::a type echo-request" --intent intent.yaml
  dsn trace "udp 192.0.2.9:5000 > 10.1.0.10:53" --from uplink0
  dsn trace session.pcap --intent intent.yaml --from client

"""


@click.command(epilog=EXAMPLES + EXIT_CODES)
@click.argument("packet")
@click.option("--from", "where", default="", help="The vNIC, uplink or port that it comes from.")
@intent_option
@card_option
@json_option
@with_option
@click.pass_context
def trace(
    context: click.Context,
    packet: str,
    where: str,
    intent_files: tuple[Path, ...],
    card_toml: Path | None,
    as_json: bool,
) -> None:
    """Say what a packet meets: every stage, table and rule with its file and line, and why it is dropped.

    PACKET is a capture (pcap, pcapng), whose flows build up from packet to packet, or a description:
    PROTO SRC[:PORT] > DST[:PORT] [syn] [ack] [fin] [rst] [type NAME] [id N] [ttl N] [bytes N] [vlan N] [from MAC]
    [to MAC]. TCP without flags is a SYN, ICMP without a type an echo request; MACs and VLAN come from the tables.
    It goes through the running card's own code in private, or with --intent through the twin. Nothing is changed.
    """
    with guarded(as_json), a_card(context, intent_files, card_toml) as card:
        capabilities = card.capabilities()
        numbers = {port.config.name: port.config.number for port in capabilities.ports}
        names = {number: name for name, number in numbers.items()}
        snapshot = card.snapshot()
        speaker = Speaker(capabilities.schema, snapshot, rule_words(card, services(context), snapshot), names)
        if _is_capture(packet):
            packets = _captured(capture.read(Path(packet)), snapshot, where, numbers)
            _show_replay(speaker, packets, card.replay(packets), as_json)
            return
        described = describe.parse(packet)
        sender = describe.sender(described, snapshot, where, numbers)
        asked = describe.packet_in(described, snapshot, sender)
        _show_trace(speaker, asked, card.trace(asked), as_json)


def _is_capture(packet: str) -> bool:
    """True for a file. Raises HalError(INVALID) for what is neither a file nor, by its looks, a description."""
    try:
        path = Path(packet)
        if ">" in packet:
            return path.is_file()
        if path.is_dir():
            raise HalError(ErrorKind.INVALID, f"capture {packet}", got="a folder", fix="Name a file in it.")
        if packet and path.exists():
            return True
    except (OSError, ValueError):
        pass  # no path at all
    fix = "Name a capture that is there, or describe a packet."
    raise HalError(ErrorKind.INVALID, f"packet {packet!r}", got="neither a file nor a packet", limit=describe.PATTERN,
                   fix=fix)  # fmt: skip


def rule_words(card: CardClient, found: Services, snapshot: Snapshot) -> Say:
    """Rules as they are written, by the names that entries have."""
    objects = intent.load(card.intent(), found).objects
    written = {
        f"{policy.name}/{rule.name}": print_rule(rule)
        for policy in objects.of(firewall.FirewallPolicy)
        for rule in policy.spec.rules
    }

    def say(table: str, row_id: int) -> str:
        name = snapshot.names.get((table, row_id))
        return written.get(name.text, "") if name is not None and table == "firewall_rule" else ""

    return say


def _captured(
    frames: Sequence[capture.Frame], snapshot: Snapshot, where: str, numbers: Mapping[str, int]
) -> list[PacketIn]:
    """Frames at the ports they came in by: the one that is named, the capture's interface, or the sender's MAC's."""
    vnics = [row for row in snapshot.rows("vnic") if isinstance(row, Vnic)]
    by_mac = {str(row.mac): row.port for row in vnics if row.role == "vnic"}
    uplinks = {row.port for row in vnics if row.role == "uplink"}
    named = _port(where, snapshot, vnics, numbers) if where else None
    packets, clock = [], 0
    for number, frame in enumerate(frames, 1):
        clock = max(clock, frame.time_ns)
        port = by_mac.get(unpack_mac(frame.data[6:12])) if len(frame.data) >= 12 else None
        if frame.interface in numbers:
            port = numbers[frame.interface]
        if port is None:
            port = named if named is not None else next(iter(uplinks)) if len(uplinks) == 1 else None
        if port is None:
            fix = "Say where frames of unknown senders come from: --from NAME."
            raise HalError(
                ErrorKind.INVALID, f"frame {number}", got=frame_words(frame.data), limit="a known port", fix=fix
            )
        packets.append(PacketIn(frame.data, port, clock))
    return packets


def _port(where: str, snapshot: Snapshot, vnics: Sequence[Vnic], numbers: Mapping[str, int]) -> int:
    names = {name.text: row.port for row in vnics if (name := snapshot.names.get(("vnic", row.id))) is not None}
    known = {**numbers, **names}
    if where not in known:
        near = nearest(where, known)
        raise HalError(ErrorKind.INVALID, f"sender {where}", limit="one of " + ", ".join(sorted(known)),
                       fix=f"Did you mean {near}?" if near else "")  # fmt: skip
    return known[where]


def _show_trace(speaker: Speaker, packet: PacketIn, found: Trace, as_json: bool) -> None:
    value = {
        "generation": found.generation,
        "packet": {"port": speaker.port(packet.port), "data": packet.data.hex(), "words": frame_words(packet.data)},
        "flow": flow_value(found.flow) if found.flow is not None else None,
        "installed": speaker.result_dict(found.installed) if found.installed is not None else None,
        "now": speaker.result_dict(found.now),
    }

    def render(console: Console) -> None:
        console.print(f"in by {speaker.port(packet.port)}: {frame_words(packet.data)}")
        if found.flow is not None and found.installed is not None:
            console.print()
            console.print(f"Its flow, decided by generation {found.flow.generation}:")
            _print_flow(console, speaker, found.flow)
            for line in speaker.result(found.installed):
                console.print(f"  {line}")
        console.print()
        console.print(f"The chain at generation {found.generation}:")
        for line in speaker.result(found.now):
            console.print(f"  {line}")

    emit(as_json, value, render)


def _print_flow(console: Console, speaker: Speaker, flow: Flow) -> None:
    console.print(f"  {speaker.flow(flow)}")
    for side, operations in zip(("forth", "back"), flow.operations, strict=True):
        console.print(f"  {side}: {'; '.join(map(speaker.operation, operations))}")


def _show_replay(speaker: Speaker, packets: Sequence[PacketIn], replay: Replay, as_json: bool) -> None:
    value = {
        "packets": [
            {
                "number": number,
                "time_ns": packet.time_ns,
                "port": speaker.port(packet.port),
                "words": frame_words(packet.data),
                **speaker.result_dict(result),
            }
            for number, (packet, result) in enumerate(zip(packets, replay.results, strict=True), 1)
        ],
        "flows": [flow_value(flow) for flow in replay.flows],
    }

    def render(console: Console) -> None:
        start = packets[0].time_ns if packets else 0
        for number, (packet, result) in enumerate(zip(packets, replay.results, strict=True), 1):
            after = (packet.time_ns - start) / 1e9
            where = speaker.port(packet.port)
            console.print(f"{number}. +{after:.6f} s, in by {where}: {frame_words(packet.data)}")
            for line in speaker.result(result):
                console.print(f"     {line}")
        dropped = sum(result.verdict is Verdict.DROP for result in replay.results)
        console.print(f"{len(packets):,} packets, {dropped:,} dropped, {len(replay.flows):,} flows")

    emit(as_json, value, render)
