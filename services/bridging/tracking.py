"""How connections are followed: the texts of a `Tracking`, its row, and what less than the RFCs ask for costs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from hal.packet.frame._generated import Tracking
from hal.packet.frame.schema import LONGEST_TIMEOUT
from services.bridging import bridging_pb2 as pb
from services.core.formats import FormatError, choice, duration, nanoseconds, shown
from services.core.objects import Object, Problem

SECOND = 1_000_000_000
TIMEOUTS = tuple(field.name for field in pb.Tracking.DESCRIPTOR.fields if field.name != "mode")
"""The fields that are time-outs; those of the row have the same names."""

_TRANSITORY = 240, "RFC 5382 REQ-5", "a handshake or a close that takes longer is cut off"
_UDP = 120, "RFC 4787 REQ-5, which recommends 5m", "who is silent for longer has to begin anew, often from within"
LEAST: Mapping[str, tuple[int, str, str]] = {
    "tcp_syn_sent": _TRANSITORY,
    "tcp_syn_received": _TRANSITORY,
    "tcp_established": (7440, "RFC 5382 REQ-5", "connections that keep alive every two hours are cut off"),
    "tcp_fin_wait": _TRANSITORY,
    "tcp_closing": _TRANSITORY,
    "tcp_time_wait": _TRANSITORY,
    "udp": _UDP,
    "udp_replied": _UDP,
    "icmp": (60, "RFC 5508 REQ-1", "a reply that comes later is dropped"),
}
"""Field -> the seconds that it should have at least, who says so, and what less costs. No RFC has a least for `other`.
For `tcp_closed` RFC 7857 2.2 recommends more than the default, for the reason that docs/tracking.md gives."""

tracking_mode = choice("a mode", ("strict", "loose"))


def timeout(text: str) -> str:
    """The format of a time-out: whole seconds; canonical in the largest unit that has no rest."""
    seconds, rest = divmod(nanoseconds(duration(text)), SECOND)
    if rest or not 1 <= seconds <= LONGEST_TIMEOUT:
        limit = f"whole seconds from 1s to {words(LONGEST_TIMEOUT)}"
        raise FormatError(f"{shown(text)} is no time-out", limit=limit, fix="Write it as 90s, 5m or 2h.")
    return words(seconds)


def words(seconds: int) -> str:
    """Seconds as a canonical time-out."""
    unit, size = next((unit, size) for unit, size in (("h", 3600), ("m", 60), ("s", 1)) if seconds % size == 0)
    return f"{seconds // size}{unit}"


def seconds_of(spec: pb.Tracking, field: str) -> int:
    """A time-out of an object, in seconds."""
    return nanoseconds(getattr(spec, field)) // SECOND


def row(identity: int, spec: pb.Tracking) -> Tracking:
    """The entry of an object."""
    return Tracking(id=identity, mode=spec.mode, **{field: seconds_of(spec, field) for field in TIMEOUTS})


def warnings(items: Iterable[Object[pb.Tracking]]) -> Iterator[Problem]:
    """What is allowed and costs something: less time than the RFCs ask for, and loose TCP."""
    for item in items:
        if item.spec.mode == "loose":
            message = "TCP is not held to sequence numbers: who is not in between may inject data into its connections"
            fix = "Say loose only where replies take a way past the card."
            yield item.problem("mode", message, limit="strict", fix=fix, warning=True)
        for field, (least, source, cost) in LEAST.items():
            if seconds_of(item.spec, field) < least:
                name = pb.Tracking.DESCRIPTOR.fields_by_name[field].json_name
                message = f"{getattr(item.spec, field)} is less than {source.partition(',')[0]} asks for: {cost}"
                limit = f"{words(least)} or more ({source})"
                yield item.problem(name, message, limit=limit, fix="Say that, or nothing.", warning=True)
