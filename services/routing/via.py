"""The text of a next hop: 192.0.2.1@uplink0 weight 3."""

from __future__ import annotations

from dataclasses import dataclass

from services.core.formats import NAME, FormatError, address, number, shown, together
from services.core.objects import nearest

PATTERN = 'ADDRESS@UPLINK [weight 1-256], as "192.0.2.1@uplink0 weight 3"'


@dataclass(frozen=True)
class NextHop:
    """A router: its address, the uplink it is on, its share of flows among those of a route."""

    address: str
    uplink: str
    weight: int = 1

    def __str__(self) -> str:
        return f"{self.address}@{self.uplink}" + (f" weight {self.weight}" if self.weight != 1 else "")


def parse(text: str) -> NextHop:
    """A next hop from its text. Raises FormatError with all that is wrong."""
    words = text.split()
    if len(words) not in (1, 3) or words[0].count("@") != 1:
        raise FormatError(f"{shown(text)} is not a next hop", limit=PATTERN)
    errors: list[FormatError] = []
    router, _, uplink = words[0].partition("@")
    start = text.index(words[0])
    try:
        router = address(router)
    except FormatError as error:
        error.offset, error.length = start + error.offset, len(words[0].partition("@")[0]) - error.offset
        errors.append(error)
    if not NAME.fullmatch(uplink):
        offset = start + words[0].index("@") + 1
        message = f"{shown(uplink)} is not the name of an uplink"
        errors.append(FormatError(message, limit=PATTERN, offset=offset, length=max(1, len(uplink))))
    weight = 1
    if len(words) == 3:
        after = text.index(words[1], start + len(words[0]))
        if words[1] != "weight":
            message = f"{shown(words[1])} where weight is wanted"
            near = nearest(words[1], ["weight"])
            errors.append(FormatError(message, limit=PATTERN, near=near, offset=after, length=len(words[1])))
        try:
            weight = number(words[2], 1, 256, "a weight")
        except FormatError as error:
            error.offset = text.index(words[2], after + len(words[1]))
            errors.append(error)
    if errors:
        found = together(errors)
        # A share that is none says nothing about who is meant.
        found.rest = words[0] if all(error.offset > start + len(words[0]) for error in errors) else None
        raise found
    return NextHop(router, uplink, weight)


def next_hop(text: str) -> str:
    """The format of a next hop."""
    return str(parse(text))
