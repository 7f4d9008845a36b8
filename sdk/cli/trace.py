"""`dsn trace`: what a described packet, or those of a capture, would meet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from hal.errors import ErrorKind, HalError
from hal.packet import describe
from hal.packet.contract import LONGEST_FRAME, Flow, PacketIn, PortConfig, Snapshot, Trace, Verdict
from sdk.card_config import load_card_config
from sdk.cli import capture
from sdk.cli.client import CardClient
from sdk.cli.frames import SYN, frame_words, read
from sdk.cli.options import a_card, card_option, intent_option, json_option, services, with_option
from sdk.cli.output import EXIT_CODES, emit, guarded
from sdk.cli.sides import Captured, Replayed, Side, Wiring, replay, sort
from sdk.cli.witness import Say, Speaker
from services.core import intent
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
@click.option(
    "--from",
    "where",
    default="",
    help="The vNIC, uplink or port that it comes from; of a capture: at which port it was taken.",
)
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
    PROTO SRC[:PORT] > DST[:PORT] [syn] [ack] [fin] [rst] [seq N] [acks N] [type NAME] [id N] [ttl N] [bytes N]
    [vlan N] [from MAC] [to MAC]. TCP without flags is a SYN, ICMP without a type an echo request; MACs and VLAN come
    from the tables.
    It goes through the running card's own code in private, or with --intent through the twin. Nothing is changed.

    Of a capture, frames with a MAC of the card's own (of a subnet, an uplink) were sent by the card: they are counted
    and skipped. Others came in by the interface that the capture names (a port or its Linux device), else by --from
    NAME, else by the port of the vNIC with their MAC, else by the only uplink. At a known port, what is bridged to it
    from another vNIC was sent by the card, too. What a capture at one port shows the card send came in elsewhere: of
    such connections TCP is picked up mid-stream, and answers are not judged. Large segments, taken before a host's
    segmentation offload, are cut as its device would have done. A host's own interface in a VLAN shows no tags: where
    --from names a vNIC or uplink with a VLAN and no frame has one, frames get it.
    """
    with guarded(as_json), a_card(context, intent_files, card_toml) as card:
        capabilities = card.capabilities()
        numbers = {port.config.name: port.config.number for port in capabilities.ports}
        names = {number: name for name, number in numbers.items()}
        snapshot = card.snapshot()
        speaker = Speaker(capabilities.schema, snapshot, rule_words(card, services(context), snapshot), names)
        if _is_capture(packet):
            devices = _devices(
                load_card_config(card_toml).ports if card_toml else (port.config for port in capabilities.ports)
            )
            wiring = Wiring(snapshot, {**devices, **numbers})
            found = replay(card, sort(capture.read(Path(packet)), wiring, where))
            _show_replay(speaker, found, _note(found, wiring, where), as_json)
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


def _devices(ports: Iterable[PortConfig]) -> dict[str, int]:
    """Ports by what a capture calls them: the names of their Linux devices."""
    pairs = ((port.device.partition(":"), port.number) for port in ports)
    return {rest: number for (kind, _, rest), number in pairs if kind in ("linux", "tap") and rest}


def _mid_stream(packet: PacketIn, found: Trace) -> str:
    """Why a segment amid a connection may install one; "" for what may begin one."""
    seen = read(packet.data)
    if seen is None or not seen.flags or seen.flags & SYN:
        return ""
    return "asked as if it began its connection" if found.flow is not None else JUST_STARTED


JUST_STARTED: Final = (
    "within the time after the engine's start that card.toml calls pickup, 60s if it doesn't; later: tcp_no_session"
)


def _show_trace(speaker: Speaker, packet: PacketIn, found: Trace, as_json: bool) -> None:
    picked_up = _mid_stream(packet, found)
    value = {
        "generation": found.generation,
        "packet": {"port": speaker.port(packet.port), "data": packet.data.hex(), "words": frame_words(packet.data)},
        "flow": speaker.flow_value(found.flow) if found.flow is not None else None,
        "installed": speaker.result_dict(found.installed) if found.installed is not None else None,
        "now": speaker.result_dict(found.now, picked_up),
    }

    def render(console: Console) -> None:
        console.print(f"in by {speaker.port(packet.port)}: {frame_words(packet.data)}")
        if found.flow is not None and found.installed is not None:
            console.print()
            console.print(f"Its flow, {speaker.decided(found.flow)}:")
            _print_flow(console, speaker, found.flow)
            for line in speaker.result(found.installed):
                console.print(f"  {line}")
        console.print()
        console.print(f"The chain at generation {found.generation}:")
        for line in speaker.result(found.now, picked_up):
            console.print(f"  {line}")

    emit(as_json, value, render)


def _print_flow(console: Console, speaker: Speaker, flow: Flow) -> None:
    console.print(f"  {speaker.flow(flow)}")
    for side, operations in zip(("forth", "back"), flow.operations, strict=True):
        console.print(f"  {side}: {'; '.join(map(speaker.operation, operations))}")


def _show_replay(speaker: Speaker, found: Replayed, note: str, as_json: bool) -> None:
    frames, results = found.frames, found.results
    value = {
        "packets": [
            {
                "number": one.number,
                "segment": one.segment,
                "segments": one.segments,
                "time_ns": one.packet.time_ns,
                "port": None if one.port is None else speaker.port(one.port),
                "side": one.side.value,
                "words": frame_words(one.packet.data),
                **(speaker.result_dict(result, _PICKED_UP.get(one.side, "")) if result is not None else NOT_RUN),
            }
            for one, result in zip(frames, results, strict=True)
        ],
        "flows": [speaker.flow_value(flow) for flow in found.flows],
        "note": note,
    }

    def render(console: Console) -> None:
        start = frames[0].packet.time_ns if frames else 0
        for one, result in zip(frames, results, strict=True):
            after = (one.packet.time_ns - start) / 1e9
            where = "" if one.port is None else f"in by {speaker.port(one.port)}: "
            part = f", segment {one.segment} of {one.segments}" if one.segments > 1 else ""
            console.print(f"{one.number}{part}. +{after:.6f} s, {where}{frame_words(one.packet.data)}")
            picked_up = _PICKED_UP.get(one.side, "")
            for line in speaker.result(result, picked_up) if result is not None else (_why_not(one),):
                console.print(f"     {line}")
        dropped = sum(result is not None and result.verdict is Verdict.DROP for result in results)
        counts = [f"{len(frames):,} packets", f"{dropped:,} dropped"]
        counts += [f"{count:,} {side.value}" for side in SIDE_WORDS if (count := found.count(side))]
        console.print(", ".join([*counts, f"{len(found.flows):,} flows"]))
        if note:
            console.print(note)

    emit(as_json, value, render)


NOT_RUN: Final[Mapping[str, Any]] = {"verdict": None, "reason": "", "steps": [], "outputs": []}
_PICKED_UP: Final = {Side.PICKED_UP: "its handshake isn't whole in this capture"}
SIDE_WORDS: Final = {
    Side.SENT: "sent by the card: skipped",
    Side.ANSWER: "answers what the card sent here; what that stems from is not in this capture: not judged",
    Side.TOO_LONG: f"is longer than {LONGEST_FRAME:,}, and no TCP or UDP segment that could be cut: skipped",
}
"""Why a frame isn't run."""


def _why_not(one: Captured) -> str:
    words = SIDE_WORDS[one.side]
    return f"frame {one.number}, of {len(one.packet.data):,} bytes, {words}" if one.side is Side.TOO_LONG else words


def _untagged(found: Replayed, wiring: Wiring) -> str:
    """Who has the MAC of frames that were dropped for want of a tag: his own interface doesn't show it."""
    for one, result in zip(found.frames, found.results, strict=True):
        seen = read(one.packet.data)
        if result is None or result.reason != "vnic_unknown" or seen is None or seen.vlan:
            continue
        if name := wiring.in_vlans.get(seen.source_mac):
            return (
                f"There are frames without VLAN tag from the MAC of {name}, which is in VLAN {wiring.vlans[name]}. "
                f"If they were captured at its own interface, which doesn't show the tag, say so: --from {name}."
            )
    return ""


def _note(found: Replayed, wiring: Wiring, where: str) -> str:
    """What a capture can't show; "" where it shows all."""
    parts = []
    if tagged := len({one.number for one in found.frames if one.tagged}):
        frames, tag = ("frame was", "tag") if tagged == 1 else ("frames were", "tags")
        parts.append(f"{tagged:,} {frames} given the {tag} of {where}, VLAN {wiring.vlans[where]}: no frame has any.")
    elif untagged := _untagged(found, wiring):
        parts.append(untagged)
    if sent := found.count(Side.SENT):
        parts.append(f"{sent:,} {'frame was' if sent == 1 else 'frames were'} sent by the card and skipped.")
    whole, pieces = found.cut
    if whole:
        were = "frame was" if whole == 1 else "frames were"
        cut = f"cut into {pieces:,}, as the sender's device would have done."
        parts.append(f"{whole:,} {were} taken before segmentation offload: {cut}")
    if too_long := found.count(Side.TOO_LONG):
        parts.append(f"{too_long:,} {'frame was' if too_long == 1 else 'frames were'} too long and skipped.")
    if found.count(Side.PICKED_UP) or found.count(Side.ANSWER):
        parts.append(
            "What came in elsewhere for them is not in this capture: TCP is seen from one side only and picked up "
            "mid-stream, its handshake is not followed; answers to what the card sent are not judged."
        )
    if found.answering:
        parts.append(f"{found.answering:,} neighbours on uplinks that don't answer in it are taken to be there.")
    return " ".join(parts)
