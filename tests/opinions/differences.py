"""Every difference between the card and Linux's connection tracking, and who is right by the RFC.

A difference that none of these explains fails the tests, and so does one of these that no capture shows.

RFCs say what a segment's receiver does, not what a filter does. So *right* is who does what the clause has the receiver
do: drops what he drops without a word, lets pass what he takes. *Both* are right where the clause leaves a choice (MAY,
SHOULD, "optional", "suggested"); where it has him drop the segment and answer it: Linux leaves both to him, the
card drops it for him, and answers where it says so; and where no clause speaks of the case. "First" to "eighth" are the
steps of RFC 9293 3.10.7.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tests.opinions.compare import Opinion

OURS, THEIRS, BOTH = "the card", "Linux", "both"
RIGHT = (OURS, THEIRS, BOTH)
NOW = "-now"
"""What the names of talks of today end in."""
MOST_OF_TODAY = {"half-open": 20, "port-again": 20, "large-datagrams": 20, "echo": 20}
"""Packets of a talk of today about which opinions may differ; of what is kept no talk has more than half of it."""
FEW = 4
"""Of any other kind, RSTs not among them: who is gone answers each segment that is still on its way."""


@dataclass(frozen=True)
class Difference:
    """A kind of difference.

    Args:
        what: in a sentence.
        right: who, by the RFC, as above.
        why: the clause, what it says, and what follows from it.
        reason: why the card drops; "" where it forwards and Linux does not.
        of: packets that it is about, as in `Opinion.what`; a regular expression.
        captures: where it may be seen, a regular expression on names; a talk of today is of its kind's.
        weather: loss and disorder alone make it, so any talk of today may show it, on another day another.
        odd, linux: how many packets it explains of the stories in `odd/`, and of what is kept of Linux's own stacks,
            which are well-behaved. One more is a mistake that looks like this difference.
    """

    what: str
    right: str
    why: str
    reason: str
    of: str
    captures: str
    weather: bool = False
    odd: int = 0
    linux: int = 0

    def explains(self, opinion: Opinion) -> bool:
        return (
            self.reason == opinion.reason
            and re.fullmatch(self.of, opinion.what) is not None
            and (
                re.search(self.captures, opinion.capture) is not None
                or (self.weather and opinion.capture.endswith(NOW))
            )
        )


DIFFERENCES = (
    # The card drops, Linux's tracking lets pass.
    Difference(
        "a segment behind its sender's FIN, which the other side has acknowledged",
        BOTH,
        "RFC 9293 3.10.7.4, seventh: it should not occur, its receiver ignores the text, but reads the "
        "acknowledgement. The card drops it whole: by 3.6 nobody sends it. Until it is acknowledged both let pass what "
        "comes behind a FIN: its receiver may have had no such FIN (eighth).",
        "tcp_window",
        "tcp PA",
        "odd/(data-after-acked-fin|after-close)",
        odd=6,
    ),
    Difference(
        "data, or a FIN, of which nothing is in the receiver's window",
        BOTH,
        "RFC 9293 3.10.7.4, first: not acceptable, so its receiver drops it, and should say by an ACK what he "
        "expects. The card drops it without a word. Linux, where it is too far ahead by less than a window, or too "
        "old, takes no note of it and leaves both to the receiver.",
        "tcp_window",
        "tcp [PUEC]*F?P?A?U?E?C?",
        "odd/(data|old-data|zero-window|forged-window|around|scale|fin-out|blind-data)",
        odd=48,
    ),
    Difference(
        "an acknowledgement of nothing, in the place of the answer's",
        BOTH,
        "RFC 9293 3.10.7.4, fifth, SYN-RECEIVED: not SND.UNA < SEG.ACK, so nothing comes of it but a RST of its "
        "receiver. The card drops it, Linux leaves the RST to the receiver.",
        "tcp_window",
        "tcp A",
        "odd/third-ack-wrong",
        odd=2,
    ),
    Difference(
        "an acknowledgement, or with it a segment, that is further back than the largest window",
        BOTH,
        "RFC 9293 3.10.7.4, fifth (RFC 5961 5.2): SND.UNA - MAX.SND.WND <= SEG.ACK is what a stack MAY ask for "
        "(MAY-12), one that doesn't ignores an old acknowledgement. The card asks. Linux allows 66,000 bytes, and "
        "takes no note of what is older.",
        "tcp_window",
        "tcp P?A",
        "odd/(old-ack|blind-ack)|linux/window-closes",
        weather=True,
        odd=16,
        linux=1,
    ),
    Difference(
        "a RST that answers a call and doesn't acknowledge it",
        OURS,
        "RFC 9293 3.10.7.3, first and second: with another acknowledgement, or none, it is dropped without a word.",
        "tcp_window",
        "tcp RA?",
        "odd/reset-of-syn",
        odd=6,
    ),
    Difference(
        "a RST of who is gone, that answers an older acknowledgement than its receiver's last",
        OURS,
        "RFC 9293 3.10.7.1 has him answer each segment that is still on its way, with the number that this "
        "acknowledges. Who has acknowledged more since then is beyond it: 3.10.7.4, first and second (RFC 5961 3.2, "
        "1), dropped without a word. The one that answers his last is exact and passes. Linux lets all of them pass.",
        "tcp_window",
        "tcp R",
        "odd/reset-of-older-acks",
        weather=True,
        odd=8,
    ),
    Difference(
        "a RST that is outside the receiver's window",
        OURS,
        "RFC 9293 3.10.7.4, first and second (RFC 5961 3.2, 1): dropped without a word, by stacks with that "
        "mitigation and without. Linux lets it pass.",
        "tcp_window",
        "tcp RA?",
        r"odd/(after-close-'R'\+101|reset-8001|reset-of-replies-8001|reset-in-handshake-0\+9000|around)"
        "|linux/(fast-open|port-again)",
        weather=True,
        odd=16,
        linux=2,
    ),
    Difference(
        "a RST of who answered a call, with the number of the answer itself",
        OURS,
        "RFC 9293 3.10.7.3, second, and 3.10.7.4, first: who has not seen the answer drops a RST without "
        "acknowledgement, for who has seen it this one is outside the window; both without a word. So does the card, "
        "whose challenge says nothing that the caller has not said.",
        "tcp_challenged",
        "tcp R",
        r"odd/reset-in-handshake-1\+0",
        odd=2,
    ),
    Difference(
        "a RST in the window that is not exact",
        BOTH,
        'RFC 9293 3.10.7.4, second (RFC 5961 3.2, 3: SHOULD, "optional"): it closes nothing, its receiver asks. Here '
        "the card asks for him, so that a stack without that mitigation is safe; Linux lets it pass.",
        "tcp_challenged",
        "tcp RA?",
        r"odd/(after-close-'R'\+5000|reset-(1|50|8000)-|reset-of-replies-1-|reset-in-flight-(102|1501|2902)|reset-in-handshake-[01]\+2)",
        odd=20,
    ),
    Difference(
        "a SYN to a connection that is open",
        BOTH,
        "RFC 9293 3.10.7.4, fourth (RFC 5961 4.2: SHOULD): dropped and answered by a challenge ACK, whatever its "
        "number. Here by the card, so that a stack without that mitigation is safe; Linux takes no note of it, and "
        "its receiver answers.",
        "tcp_challenged",
        "tcp SE?C?",
        "odd/syn-to-open|linux/half-open",
        odd=8,
        linux=8,
    ),
    Difference(
        "a SYN+ACK to a connection that is open, which is not its handshake's once more",
        BOTH,
        "RFC 9293 3.10.7.4, fourth (RFC 5961 4.2: SHOULD): as a SYN. The handshake's the card lets pass too.",
        "tcp_challenged",
        "tcp SA",
        "odd/syn-ack-to-open",
        odd=2,
    ),
    Difference(
        "an answer to a SYN that acknowledges something else",
        BOTH,
        "RFC 9293 3.10.7.3, first: not SND.UNA < SEG.ACK <= SND.NXT, so nothing comes of it but a RST of its "
        "receiver, by which whoever answered an older call learns of that early (3.5, figure 8). Linux allows any "
        "that is older; the card one of two calls.",
        "tcp_window",
        "tcp SA",
        "odd/syn-ack-wrong",
        odd=4,
    ),
    Difference(
        "an acknowledgement of a SYN that is no SYN itself",
        OURS,
        "RFC 9293 3.10.7.3, fifth: dropped without a word. Linux takes it for a half-open one's (3.5.1), whose "
        "acknowledgement is another; such ones the card lets pass too.",
        "tcp_state",
        "tcp A",
        "odd/(split-handshake|half-open-answer)",
        odd=4,
    ),
    Difference(
        "a RST of a caller, behind an acknowledgement of his SYN that is no SYN",
        BOTH,
        "RFC 9293 3.10.7.3, fifth: he drops what this would answer, so nobody sends it, and no clause judges it.",
        "tcp_state",
        "tcp R",
        "odd/half-open-answer",
        odd=2,
    ),
    Difference(
        "a RST of who called anew, that answers what is said late of the connection before",
        BOTH,
        "RFC 9293 3.10.7.3, first, has him send it; but whoever has no connection any more ignores it (3.10.7.2, "
        "first), and to who has taken the call it is outside the window (3.10.7.4, second). Who still has the one "
        "before answers the new call once more, and the RST behind that the card lets pass.",
        "tcp_state",
        "tcp R",
        "linux/(half-open|port-again)|odd/call-again",
        odd=6,
        linux=2,
    ),
    Difference(
        "a SYN+ACK behind a RST that is not the handshake's once more",
        BOTH,
        "RFC 9293 3.10.7.1: whoever is closed answers it by a RST, and nothing else comes of it. The card drops it, "
        "but for the handshake's; Linux forgets, and leaves the RST to the receiver.",
        "tcp_state",
        "tcp SA",
        "odd/after-reset",
        odd=2,
    ),
    Difference(
        "a SYN whose options have an illegal length",
        BOTH,
        "RFC 9293 3.1 (MUST-7): be prepared for it; to reset the connection is suggested, not asked for. To the card "
        "what two parsers read differently is no beginning; Linux passes over the options.",
        "tcp_options",
        "tcp S",
        "odd/options-of-a-syn",
        odd=4,
    ),
    Difference(
        "segments that follow a SYN which the card has dropped",
        BOTH,
        "RFC 9293 3.1 (MUST-7): as the SYN. No connection of the card's has begun.",
        "tcp_no_session",
        "tcp .*",
        "odd/options-of-a-syn",
        odd=8,
    ),
    Difference(
        "an ICMP error about a segment that cannot be on its way",
        BOTH,
        "RFC 5927 4.1 describes the check of the quoted sequence number, for hosts, and asks nobody for it; RFC 5508 "
        "REQ-4 asks a NAT whether there is such a session, which is what Linux looks at.",
        "icmp_error_unrelated",
        "icmp6? .*",
        "odd/unreachable-segment",
        odd=6,
    ),
    Difference(
        "fragments in front of their datagram's first",
        BOTH,
        "RFC 791 3.2 and RFC 8200 4.5 have the destination put together what comes in any order; a filter that keeps "
        "no packets has no ports to judge them by, and IP allows loss. RFC 4787 REQ-14 asks it of NATs, which the "
        "card is not. Linux puts datagrams together before it looks at them.",
        "fragment_no_first",
        "fragments",
        "odd/fragments-last-first|linux/large-datagrams",
        weather=True,
        odd=2,
        linux=16,
    ),
    # The card forwards, Linux's tracking says invalid.
    Difference(
        "fragments of a datagram that never is whole",
        BOTH,
        "RFC 791 3.2 and RFC 8200 4.5: the destination puts together, and gives up after a time. Who doesn't put "
        "together before passes on what belongs to a first that was allowed; Linux never has the whole.",
        "",
        "fragments",
        "odd/fragments-hole|linux/(large-datagrams|echo)",
        weather=True,
        odd=2,
    ),
    Difference(
        "a RST that answers what was on its way when its sender had reset the connection",
        BOTH,
        "RFC 9293 3.10.7.1 has him send it, with the number that was acknowledged; 3.10.7.4, first, has the receiver "
        "drop it where he is further. Linux wants the latest number.",
        "",
        "tcp R",
        "linux/abort",
        weather=True,
        linux=1,
    ),
    Difference(
        "a call from the same ports by the other side, behind a RST",
        OURS,
        "RFC 9293 3.10.7.4, second, and 3.10.7.2, third: a RST leaves no connection, and any SYN begins another. "
        "Linux waits ten seconds.",
        "",
        "tcp S",
        "odd/after-reset",
        odd=2,
    ),
    Difference(
        "a connection whose SYN was answered by a RST that acknowledges nothing",
        OURS,
        "RFC 9293 3.10.7.3, second: such a RST is dropped, the call goes on. Linux has closed it.",
        "",
        "tcp (SA|A)",
        "odd/reset-of-syn-without-ack",
        odd=4,
    ),
    Difference(
        "a connection that began from the ports of one before, while something late of that was being reset",
        OURS,
        "RFC 9293 3.10.7.4, second: the RST for the connection before is outside this one's window and closes nothing. "
        "Linux has closed it, and a real transfer hangs.",
        "",
        "tcp .*",
        "linux/(half-open|port-again)|odd/call-again",
        odd=12,
        linux=13,
    ),
    Difference(
        "a SYN or SYN+ACK that is overtaken by what its sender says next (both open at once)",
        BOTH,
        "RFC 9293 3.5 (MUST-10) wants both to open at once, which they have by then: 3.10.7.4, fourth, has the "
        "receiver drop the late SYN, and answer it by a challenge ACK. So he does with its SYN+ACK.",
        "",
        "tcp SA?E?C?",
        "linux/open-at-once",
        linux=1,
    ),
    Difference(
        "acknowledgements where both open at once and neither says SYN+ACK",
        BOTH,
        "RFC 9293 3.10.7.3, fourth, has both say SYN+ACK, so nobody sends this; 3.10.7.4, fifth, has who gets it in "
        "SYN-RECEIVED take it.",
        "",
        "tcp P?A",
        "odd/open-at-once-acks",
        odd=6,
    ),
    Difference(
        "GRE and SCTP whose own headers make no sense",
        BOTH,
        "RFC 2784 2.3 and RFC 9260 8 have their receivers see to that. The card tracks them by addresses alone and "
        "does not read them; Linux tracks them by key and ports.",
        "",
        "47|132",
        "odd/protocol-(47|132)",
        odd=12,
    ),
)


def too_many(capture: str, found: Sequence[Opinion]) -> list[Opinion]:
    """Those of this talk that differ, where they are too many for weather though each is explained."""
    differ = [one for one in found if one.differs and one.what != "tcp R"]
    most = MOST_OF_TODAY.get(capture.removeprefix("linux/").removesuffix(NOW), FEW)
    return differ if len(differ) > most else []
