"""Errors across the API: a failed call carries a Problem in its trailing metadata and raises here what it was there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import grpc

from hal.errors import ErrorKind, HalError
from sdk.api import card_pb2 as pb
from services.core.objects import IntentError, Position, Problem

METADATA_KEY = "dsn-problem-bin"
MOST_BYTES: Final = 4000
"""Of a Problem in metadata: gRPC's clients refuse an answer with more than 16 KiB of it, and may one with more than 8,
after base64 and beside the call's details. What is beyond is counted, not sent."""
MOST_FIELD_BYTES: Final = 600
MOST_DETAILS_BYTES: Final = 500
AT_ONCE: Final = "Concurrent RPC limit"
"""gRPC's words for more calls than a server answers at once."""

CODES = {
    ErrorKind.INVALID: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorKind.BUSY: grpc.StatusCode.UNAVAILABLE,
    ErrorKind.FULL: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ErrorKind.STALE: grpc.StatusCode.ABORTED,
    ErrorKind.TIMEOUT: grpc.StatusCode.DEADLINE_EXCEEDED,
    ErrorKind.DENIED: grpc.StatusCode.PERMISSION_DENIED,
    ErrorKind.CORRUPT: grpc.StatusCode.DATA_LOSS,
    ErrorKind.LOST: grpc.StatusCode.UNAVAILABLE,
    ErrorKind.UNSUPPORTED: grpc.StatusCode.UNIMPLEMENTED,
}


def of_hal(error: HalError) -> tuple[grpc.StatusCode, pb.Problem]:
    problem = pb.Problem(
        kind=error.kind.name,
        text=str(error),
        what=error.what,
        field=error.field,
        limit=error.limit,
        got="" if error.got is None else str(error.got),
        fix=error.fix,
        table=error.table or "",
        row=error.row,
        row_id=error.row_id,
    )
    if problem.ByteSize() > MOST_BYTES:
        for name in ("text", "what", "field", "limit", "got", "fix"):
            setattr(problem, name, cut(getattr(problem, name), MOST_FIELD_BYTES))
    return CODES[error.kind], problem


def of_intent(error: IntentError, most: int | None = MOST_BYTES) -> tuple[grpc.StatusCode, pb.Problem]:
    """All problems of an intent, or those that fit `most` bytes and how many there are more."""
    result = pb.Problem(kind="INTENT")
    size = 0
    for number, problem in enumerate(error.problems):
        as_dict = {**problem.to_dict(), "length": problem.position.length, "excerpt": problem.excerpt[:240]}
        if most is not None and len(json.dumps(as_dict)) > most:
            short = {name: cut(value, most // 20) for name, value in as_dict.items() if isinstance(value, str)}
            as_dict |= short
        as_json = json.dumps(as_dict)
        size += len(as_json) + 4
        if most is not None and size > most:
            result.text = f"{len(error.problems) - number} more problems are not shown"
            break
        result.problems.append(as_json)
    return grpc.StatusCode.INVALID_ARGUMENT, result


def details(problem: pb.Problem) -> str:
    """What is wrong in a line, for clients that don't read the metadata."""
    if problem.kind != "INTENT" or not problem.problems:
        return cut(problem.text or "the intent is refused", MOST_DETAILS_BYTES)
    return cut(f"the intent is refused: {_problem(json.loads(problem.problems[0])).sentence}", MOST_DETAILS_BYTES)


def cut(text: str, most: int) -> str:
    """At most so many bytes of it."""
    data = text.encode(errors="replace")
    return data.decode() if len(data) <= most else data[: most - 3].decode(errors="ignore") + "…"


def raise_for(error: grpc.RpcError, address: str) -> None:
    """Raise what a failed call stands for: HalError or IntentError."""
    code = error.code() if isinstance(error, grpc.Call) else grpc.StatusCode.UNKNOWN
    trailing: Any = error.trailing_metadata() if isinstance(error, grpc.Call) else None
    for key, value in trailing or ():
        if key == METADATA_KEY and isinstance(value, bytes):
            raise from_pb(pb.Problem.FromString(value)) from error
    said = error.details() if isinstance(error, grpc.Call) else str(error)
    if code is grpc.StatusCode.UNAVAILABLE and "Permission denied" in str(said):
        fix = "Ask as root, or as a member of the group that card.toml names: api_group."
        raise HalError(ErrorKind.DENIED, f"card at {address}", got="no right to its socket", fix=fix) from error
    if code is grpc.StatusCode.UNAVAILABLE:
        raise HalError(ErrorKind.LOST, f"card at {address}", got="nobody answers",
                       fix="Start it: dsn card start.") from error  # fmt: skip
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        log = Path(address).with_name("dsnd.log")
        raise HalError(ErrorKind.TIMEOUT, f"card at {address}", got="no answer in time",
                       fix=f"dsnd or its engine hangs or is busy: read {log}.") from error  # fmt: skip
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and AT_ONCE in str(said):
        raise HalError(ErrorKind.BUSY, f"card at {address}", got=said, limit="the calls it answers at once",
                       fix="Try again when others have ended.") from error  # fmt: skip
    if code is grpc.StatusCode.CANCELLED:
        raise HalError(ErrorKind.TIMEOUT, f"card at {address}", got="it ended a stream that rested too long",
                       fix="Send and read without a pause.") from error  # fmt: skip
    raise HalError(ErrorKind.LOST, f"card at {address}", got=f"{code.name}: {said}") from error


def from_pb(problem: pb.Problem) -> Exception:
    """The HalError or IntentError that it stands for."""
    if problem.kind == "INTENT":
        problems = [_problem(json.loads(text)) for text in problem.problems]
        if problem.text:
            problems.append(Problem(Position("", 0, 0), problem.text))
        return IntentError(problems)
    return HalError.from_dict(
        {
            **{name: getattr(problem, name) for name in ("kind", "what", "field", "limit", "fix")},
            "got": problem.got or None,
            "table": problem.table or None,
            "row": problem.row if problem.HasField("row") else None,
            "id": problem.row_id if problem.HasField("row_id") else None,
        }
    )


def _problem(data: dict[str, Any]) -> Problem:
    return Problem(
        Position(data["file"], data["line"], data["column"], data["length"]),
        data["message"],
        object=data["object"],
        field=data["field"],
        limit=data["limit"],
        fix=data["fix"],
        nearest=data["nearest"],
        excerpt=data["excerpt"],
        warning=data["severity"] == "warning",
    )
