"""What TCP connections go through, in a line each, and how single segments are bent.

"0S" is a SYN of the initiator with the right numbers, "1PA+100" 100 bytes of the other side. "0R@100" has a sequence
number 100 further on, "1A#-5" an acknowledgement further back, "0A%0" advertises no window, "0S?" has malformed
options: these are not part of what is said, what follows goes on from before them. "!0": a side has forgotten all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from tests.property.frames import ACK, FIN, PSH, RST, SYN, URG
from tests.property.talk import Bent

OPEN = "0S 1SA 0A "
GAMES = (
    OPEN + "0PA+100 1A 1PA+1000 0A 0FA 1A 1FA 0A",
    OPEN + "0R@1 0R@0",
    OPEN + "1R@100 1R@70000 1R@-1 1R",
    OPEN + "0PA+100 1R@2 0PA+100 1A 1RA",
    OPEN + "!0 0S 0S",
    OPEN + "0PA+1000 1S@5 1SA@900 1SA@-1 0PA+10",
    "0S 1S 0SA 1SA 0A 0PA+10 1A 1FA 0FA 1A",
    "0S 1S 0A 1SA 0A 1R@10",
    "0S+100 1SA 1PA+500 0A 0PA+10 1A",
    "0S+100 1SA#-100 0A",
    "0S+100 1SA 1FA+10 1SA 0A 0FA 1A",
    "0S 1A@700#3000 0R@2999 0S 1SA 0A",
    "0S 1A@700#3000 0R@2998 0R@2999",
    "0S 1SA !1 1SA 0A 1PA+10",
    "0S 1SA !1 1S 1SA#1 1SA#0 0A",
    "0S !0 0S 1SA#-1 1SA 0A",
    "0S 1RA#0 1RA#0 0A 0S 1SA",
    "0S 1RA#1 1R 1RA#0",
    "0S 1SA 0S@9 0SA 1S@8 1R@90 0R@90 0A",
    "0S 1SA 1RA@4000#0",
    "0S 1SA 0R@0",
    "0S 1SA 0A@5 0A#1 0A#-1 0A",
    OPEN + "0A@-1 1A 1A+1@-1 0A 0A+1@-1 1A",
    OPEN + "1A%0 0PA+100@70000 0A+1 1A%0 1A%65535 0PA+1000",
    OPEN + "0FA@0 1FA#-1 1A 0A 1PA+1",
    OPEN + "0FA 1FA 1A 0A 0A@-100 0R@1 0R",
    OPEN + "0FA 1PA+10 0A 0PA+1 0FA@-1 1FA 0A 1SA@7 1S",
    OPEN + "1FA 0A 0PA+9 1A 0FA 1A 0S 1SA 0A",
    OPEN + "0PA+1000 0RA 1A#-1000 0R@-1000 1PA+5 1A 1SA 0A",
    OPEN + "0R 0S 1SA 0A 1R 1S 0R",
    "0S? 0S 1SA? 1SA 0A 0PA+3?",
    OPEN + "0PA+4000@60000 1A#64000 1A#64001 0PA+10",
    OPEN + "0PA+10@65535 0PA+10@65536 0PA+10@1000000 0PA+10@-65536 0PA+10@-66000 0PUA+1",
    OPEN + "1A#1 1A#-65535 1A#-65536 1A#-9000000 1A#2147483648 1A",
    "0S 1S 0SA 1SA 1PA+10 0A 0SA 1SA@-11 0R",
    "0S 1S !0 0S 1SA 0SA 1A 0A",
    "0S 1S 0A !0 0SA 0SA#1 0A 1SA 1A 0PA+10",
    "0S+500 1SA#-500%0 0A@-500 0S+500@0 0PA+100@-500 1SA#-400%100 0PA+100@-400 0A",
    "0S 0S@5000 0S+9@9000 0S 1SA#5000 1SA#9001 1SA 0A 1PA+10 0PA+10",
    "0S 0S@5000%9 0A 1A@7#5000 0R@4999 1SA#4999 1SA#5000 1PA+10",
    "0S !0 0S !0 0S 1SA#-100000 1SA 0A",
    "0S+20 0S@-5 0S@-9 1RA#-5 1RA#-4 1SA 0S",
    OPEN + "0FA 1A 1FA 0A 0S@-700 1FA@-1 0A 1PA+1 0R@-2 0R 0R@-1 0S@-699 1FA@-1 0A",
    OPEN + "1PA+50 0A 1FA 0FA 1A 0S@7777 1FA@-1 0FA@-1 0A 1PA+20@-30 1SA#7777 1SA#7778 1FA@-1",
    OPEN + "0FA 1FA 0A 1A 1S 0FA@-1 1A 1FA@-1 0A !0 0S",
    "0S 1SA 0R@0 1SA@-1 1SA@0 1SA@-1#1 0R@0 1SA@-1",
    "0S+50 1SA+100 1PA+1000 0A 1SA@-1101 1SA@-1102 1SA@-1 1SA@-66000 0A",
    OPEN + "0PA+100 0R@-100 1A 0PA+10 0R@-10 0PA+9 1A 0FA",
    OPEN + "1PA+100 1R@-100 0A@0#-100 1PA+1 0A 1FA 0R 0A 1A",
    OPEN + "1FA 0A 0FA 0R@-1 1A 0A 0R@0 1R@0",
    OPEN + "0PA+100 0R@-100 0R@0 0PA+1 1A",
    OPEN + "1A%0 0PA+1@65535 0A@-1 0A@-2 0A@0",
    OPEN + "0FA@100 0PA+50 1A 0PA+50 1A 0PA+50 1A 0PA+10 1PA+10 0A",
    OPEN + "0FA@99 0PA+100 1A 0PA+10 1A 0FA 1FA 0A 1A",
    OPEN + "0FA 1FA@70 1PA+40 0A 1PA+40 0A 1FA 0A 0PA+1 1A 1PA+1",
    OPEN + "1FA@30 0FA+9@30 0A@40 1A@40 0A@41 1PA+20 0A 0FA@7 0FA+2@20 0PA+23 1A",
    OPEN + "0FA@100 1A#101 0PA+100 0PA+1 0A@1 1A#102 0FA@0",
    OPEN + "0FA@500 0PA+100 0R@-100 0PA+1000 1A 0FA@50 1R@0 1PA+1 0PA+100 0A",
    "0S 1SA 0FA@-1 0FA@9 0PA+10 1A 0PA+10 0FA@-1 0PA+10 1A 0FA@-1 0PA+10",
    "0PA+10 1A%0 0A 1A%0 0R@3000",
    "1PA+10 0A%7 0A%5 1S@9",
    "0PA+10 0R@9 1A%0 1PA+10%0 0A",
    "0PA+10 1FA@20 1A 0A#90 1PA+5 0FA@30 0PA+50 1A 1FA 0FA 1A 0A",
    "0FA@50 0PA+10 0PA+100 1A 0FA 1A 1FA 0A 1PA+1",
    "0PA+10 1A 1PA+1000 0A 0R@10 1S 0FA 1FA 0A",
    "1FA 0A 0FA 1A 0A",
    "0A@1500000000#1500000000%0 0PA+10 1A 1PA+1000 0A 0A@1500000000 0FA 1FA 0A",
    "1A@1500000000#1500000000%0 0PA+10 1A@1500000000 1PA+10 0FA@-1500000000 0A@7 0R@9 1A 0A",
)
"""In the last nine nothing opens: they are dropped, or picked up; in the last two from what is forged."""

SHUT = "0FA 1FA 0A "
SHORT = (
    OPEN + SHUT,
    OPEN + "1FA 0FA 1A",
    OPEN + "0R",
    "0S 1RA",
    OPEN + SHUT + "!0 0S",
    OPEN + "0PA+100 0R@-100",
    OPEN + SHUT,
    OPEN,
    OPEN + "0PA+100 0R@-100 0R",
    OPEN + SHUT + "!0 0S 1SA 0A",
    OPEN + "0PA+100 0R@-100 0PA+1",
    OPEN + SHUT + "1R",
    "0S",
    OPEN + SHUT + "!1 1S",
    OPEN + "0FA 1A",
)
"""Most of them end; some can't be sure of it, live on, begin anew, or try to."""

FLAGS = {"S": SYN, "F": FIN, "R": RST, "P": PSH, "A": ACK, "U": URG}
WORD = re.compile(r"(!?)([01])([SFRPAU]*)(?:\+(\d+))?(?:@(-?\d+))?(?:#(-?\d+))?(?:%(\d+))?(\?)?$")


class Move(NamedTuple):
    """A step of a game; without flags the side forgets everything. `bent`: it is not part of what is said."""

    side: int
    flags: int
    size: int
    bent: Bent | None


def moves(game: str) -> Iterator[Move]:
    for word in game.split():
        found = WORD.match(word)
        assert found, word
        forgets, side, flags, size, sequence, acknowledgement, window, bad = found.groups()
        bent = None
        if any(part is not None for part in (sequence, acknowledgement, window, bad)):
            bent = Bent(
                int(sequence or 0), int(acknowledgement or 0), int(window) if window else None, len(word) if bad else 0
            )
        yield Move(int(side), 0 if forgets else sum(FLAGS[one] for one in flags), int(size or 0), bent)


def bends(window: int) -> tuple[Bent, ...]:
    """How single segments are bent where windows are this large, in bytes."""
    half = 1 << 31
    return (
        *(Bent(sequence=off) for off in (1, -1, window, window + 1, -window, -window - 1, half, half - 1, 5000)),
        *(Bent(acknowledgement=off) for off in (1, -1, window, -window, -window - 1, half, -half + 1, 5000)),
        *(Bent(window=told) for told in (0, 1, 65535)),
        Bent(sequence=-1000, acknowledgement=-1000),
        Bent(options=1),
        Bent(options=2),
    )


BENT_FLAGS = (ACK, ACK | PSH, RST, RST | ACK, SYN, SYN | ACK, FIN | ACK, ACK)
