"""Frames of a capture: which came in, by which port, and which the card sent itself.

A capture at a port holds both. What the card sent is no packet to ask about; and where it stems from traffic that came
in elsewhere, that is not in the capture. So of such a connection one side only can be replayed:

- a TCP segment amid it is picked up mid-stream, in a shard that does so: its handshake can't be followed;
- an answer to what the card sent (SYN+ACK, a UDP reply, an echo reply, an ICMP error) is not judged: without what it
  answers, it would be told as a first packet, which it is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from hal.errors import ErrorKind, HalError
from hal.packet.contract import LONGEST_FRAME, Flow, PacketIn, PacketResult, Snapshot, StepKind
from hal.packet.frame._generated import Vnic
from sdk.cli import capture, neighbours, segments
from sdk.cli.client import CardClient
from sdk.cli.frames import ACK, RST, SYN, TCP, Seen, Talk, frame_words, read
from services.core.objects import nearest


class Side(Enum):
    """What is done with a frame."""

    CAME_IN = "came in"
    PICKED_UP = "picked up mid-stream"
    ANSWER = "not judged"
    SENT = "sent by the card"
    TOO_LONG = "too long"


@dataclass(frozen=True)
class Captured:
    """A frame and where it was. `port` is None for what the card sent, `packet.port` then means nothing. `number` is
    that of the frame in the capture, from 1; of a large one that was cut, this is the one `segment` of `segments`.
    `tagged`: it had no VLAN tag and was given that of where it was taken."""

    packet: PacketIn
    side: Side
    port: int | None
    number: int
    segment: int = 1
    segments: int = 1
    tagged: bool = False


class Wiring:
    """Who is behind which port, by MACs.

    Args:
        snapshot: with the tables vnic and subnet.
        ports: name -> number; also by the names of Linux devices.
    """

    def __init__(self, snapshot: Snapshot, ports: Mapping[str, int]) -> None:
        rows = [row for row in snapshot.rows("vnic") if isinstance(row, Vnic)]
        self.own = {str(row.to_dict()["mac"]) for row in snapshot.rows("subnet")}
        self.own |= {str(row.mac) for row in rows if row.role == "uplink"}
        self.behind: dict[str, set[int]] = {}
        for row in rows:
            if row.role != "uplink":
                self.behind.setdefault(str(row.mac), set()).add(row.port)
        self.uplinks = {row.port for row in rows if row.role == "uplink"}
        self.mtus = {row.port: max(one.mtu for one in rows if one.port == row.port) for row in rows}
        names = {name.text: row for row in rows if (name := snapshot.names.get(("vnic", row.id))) is not None}
        self.ports = ports
        self.named = {**ports, **{name: row.port for name, row in names.items()}}
        self.vlans = {name: row.vlan for name, row in names.items() if row.vlan}
        """vNICs and uplinks with a VLAN, by name."""
        self.in_vlans = {str(names[name].mac): name for name in self.vlans if names[name].role == "vnic"}
        """Of these the vNICs, by MAC."""

    def port(self, where: str) -> int:
        """Of a vNIC, an uplink, a port or its Linux device. Raises HalError(INVALID)."""
        if where not in self.named:
            near = nearest(where, self.named)
            raise HalError(ErrorKind.INVALID, f"sender {where}", limit="one of " + ", ".join(sorted(self.named)),
                           fix=f"Did you mean {near}?" if near else "")  # fmt: skip
        return self.named[where]

    def came_by(self, number: int, frame: capture.Frame, seen: Seen | None, at: int | None) -> int | None:
        """The port that a frame came in by, None if the card sent it.

        Args:
            number: the frame's, for the error.
            at: the port where it was captured, None if nobody knows.

        Raises:
            HalError: INVALID where that can't be told.
        """
        if seen is not None and seen.source_mac in self.own:
            return None
        senders = self.behind.get(seen.source_mac, set()) if seen is not None else set()
        if at is not None:
            # Bridged frames keep their MACs: one from behind another port, to a MAC behind this one, was sent by the
            # card. To anybody else, it came from here under a MAC that isn't its own.
            bridged = seen is not None and senders and at not in senders
            return None if bridged and seen is not None and at in self.behind.get(seen.destination_mac, ()) else at
        for known in (senders, self.uplinks):
            if len(known) == 1:
                return next(iter(known))
        fix = "Say at which port it was captured: --from NAME."
        raise HalError(ErrorKind.INVALID, f"frame {number}", got=frame_words(frame.data), limit="a known port", fix=fix)


def sort(frames: Sequence[capture.Frame], wiring: Wiring, where: str = "") -> list[Captured]:
    """Which frames came in, by which port. Times never go back.

    A host's own interface in a VLAN, and so a capture at it, shows frames without tags. Where `where` is a vNIC or
    uplink with a VLAN and no frame has a tag, it was taken there: they get the tag that they have on the wire.

    Args:
        where: the port (or a vNIC or uplink there) at which frames were captured whose interface isn't a known one.

    Raises:
        HalError: INVALID where `where` is unknown, or a frame's port can't be told.
    """
    named = wiring.port(where) if where else None
    seen = [read(frame.data) for frame in frames]
    vlan = 0 if any(frame.data[12:14] == _TAG for frame in frames) else wiring.vlans.get(where, 0)
    ports: list[int | None] = []
    asked: set[tuple[str, bytes]] = set()
    for number, (frame, one) in enumerate(zip(frames, seen, strict=True), 1):
        port = wiring.came_by(number, frame, one, wiring.ports.get(frame.interface, named))
        if one is not None and port is not None and (target := neighbours.asked(one)) is not None:
            asked.add((one.source_mac, target))
        # The card answers for its vNICs, under their MACs, and bridges no such message.
        if one is not None and (one.destination_mac, neighbours.told(one)) in asked:
            port = None
        ports.append(port)
    most = segments.announced(seen)
    large = segments.offloaded(((frame.data, one) for frame, one in zip(frames, seen, strict=True)), most)
    result, clock = [], 0
    for number, (frame, one, port, side) in enumerate(zip(frames, seen, ports, _sides(seen, ports), strict=True), 1):
        clock = max(clock, frame.time_ns)
        parts = [frame.data]
        if port is not None and one is not None and one.talk in large:
            parts = segments.cut(frame.data, one, wiring.mtus.get(port, LONGEST_FRAME), most.get(one.talk, 0))
        tagged = bool(vlan) and port is not None and frame.interface not in wiring.ports and len(frame.data) >= 14
        if tagged:
            parts = [part[:12] + _TAG + vlan.to_bytes(2, "big") + part[12:] for part in parts]
        if side in _RUN and max(map(len, parts)) > LONGEST_FRAME:
            side = Side.TOO_LONG
        result += [
            Captured(PacketIn(part, port or 0, clock), side, port, number, place, len(parts), tagged)
            for place, part in enumerate(parts, 1)
        ]
    return result


_TAG = b"\x81\x00"
_RUN = (Side.CAME_IN, Side.PICKED_UP)
"""What is put through a shard."""


def _sides(seen: Sequence[Seen | None], ports: Sequence[int | None]) -> Iterator[Side]:
    """What is done with each frame; see above."""
    came = {one.talk for one, port in zip(seen, ports, strict=True) if one is not None and port is not None}
    half = {one.talk for one, port in zip(seen, ports, strict=True) if one is not None and port is None} - came
    sent: set[Talk | None] = set()
    begun: set[Talk] = set()
    picked: set[Talk] = set()
    pieces: dict[tuple[str, str, int], Side] = {}
    for one, port in zip(seen, ports, strict=True):
        side = Side.CAME_IN
        if port is None:
            side = Side.SENT
            sent.add(one.talk if one is not None else None)
        elif one is not None and one.talk is not None:
            piece = (one.talk.source, one.talk.destination, one.identification)
            if one.offset:
                side = pieces.get(piece, side)
            elif one.quoted is not None and one.quoted in half:
                side = Side.ANSWER
            elif one.talk.back in half:
                answers = one.talk.back in sent and one.talk not in begun
                side = _half(one, one.talk, answers, picked)
                if not answers:
                    begun.add(one.talk)
            if one.is_fragment and not one.offset:
                pieces[piece] = side
        yield side


def _half(one: Seen, talk: Talk, answers: bool, picked: set[Talk]) -> Side:
    """Of a frame of a connection whose other side isn't in the capture. `picked`: whose TCP has been."""
    if talk.protocol != TCP:
        return Side.ANSWER if answers else Side.CAME_IN
    if one.flags & SYN:
        return Side.ANSWER if one.flags & ACK or answers else Side.CAME_IN
    if one.flags & RST and talk not in picked:
        return Side.ANSWER
    picked.add(talk)
    return Side.PICKED_UP


@dataclass(frozen=True)
class Replayed:
    """What frames came to. `results`: one for each frame, None where it wasn't run. `answering`: how many neighbours
    were taken to be there."""

    frames: tuple[Captured, ...]
    results: tuple[PacketResult | None, ...]
    flows: tuple[Flow, ...]
    answering: int

    def count(self, side: Side) -> int:
        return sum(one.side is side for one in self.frames)

    @property
    def cut(self) -> tuple[int, int]:
        """How many frames of the capture were cut, into how many segments."""
        sizes = [one.segments for one in self.frames if one.segments > 1 and one.segment == 1]
        return len(sizes), sum(sizes)


def replay(card: CardClient, captured: Sequence[Captured]) -> Replayed:
    """Run what came in through private shards: one that picks TCP up mid-stream for those it is asked of, one for all
    others. Each flow has an id of its own."""
    frames = list(captured)
    results: list[PacketResult | None] = [None] * len(frames)
    flows: list[Flow] = []
    above = answering = 0
    for side in _RUN:
        places = [place for place, one in enumerate(frames) if one.side is side]
        if not places:
            continue
        packets = [frames[place].packet for place in places]
        found, answered = neighbours.replay(card, packets, pickup=side is Side.PICKED_UP)
        for place, result in zip(places, found.results, strict=True):
            steps = (replace(step, id=step.id + above) if step.kind in _OF_FLOWS else step for step in result.steps)
            results[place] = replace(result, steps=tuple(steps))
        twice = {_talk(one) for one in found.flows}
        # A SYN alone has opened in the first shard what goes on in the second.
        flows = [one for one in flows if _talk(one) not in twice]
        flows += [replace(one, id=one.id + above) for one in found.flows]
        above = max((step.id for one in found.results for step in one.steps if step.kind in _OF_FLOWS), default=0)
        answering = max(answering, answered)
    requests: set[bytes] = set()
    for place, one in enumerate(frames):
        seen, outcome = read(one.packet.data), results[place]
        if one.side is Side.SENT:
            requests |= {target} if (target := neighbours.asked(seen)) is not None else set()
        elif outcome is not None and outcome.reason in _UNASKED and neighbours.told(seen) in requests:
            frames[place], results[place] = replace(one, side=Side.ANSWER), None
    return Replayed(tuple(frames), tuple(results), tuple(flows), answering)


def _talk(flow: Flow) -> Talk:
    return Talk(flow.protocol, flow.source, flow.source_port, flow.destination, flow.destination_port)


_OF_FLOWS = (StepKind.FLOW, StepKind.INSTALL, StepKind.REEVALUATE, StepKind.STATE)
_UNASKED = ("arp_ignored", "nd_ignored")
"""What an answer to nothing that the replay asked comes to."""
