"""Every difference between the card and Linux's connection tracking, and who is right by the RFC.

A difference that none of these explains fails the tests, and so does one of these that no capture shows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.opinions.compare import Opinion

OURS, THEIRS, BOTH = "the card", "Linux", "both"


@dataclass(frozen=True)
class Difference:
    """A kind of difference.

    Args:
        what: in a sentence.
        right: who, by the RFC; BOTH where it leaves the choice.
        why: the clause, and what follows from it.
        reason: why the card drops; "" where it forwards and Linux does not.
        of: packets that it is about, as in `Opinion.what`; a regular expression.
        captures: where it may be seen, a regular expression on names.
    """

    what: str
    right: str
    why: str
    reason: str
    of: str = "tcp .*"
    captures: str = ".*"

    def explains(self, opinion: Opinion) -> bool:
        return (
            self.reason == opinion.reason
            and re.fullmatch(self.of, opinion.what) is not None
            and re.search(self.captures, opinion.capture) is not None
        )


DIFFERENCES = (
    # The card drops, Linux's tracking lets pass.
    Difference(
        "a segment behind its sender's FIN",
        OURS,
        "RFC 9293 3.10.4: no more data is sent after a CLOSE.",
        "tcp_window",
        "tcp PA",
        "odd/(data-after-fin|after-close)",
    ),
    Difference(
        "data, or a FIN, of which nothing is in the receiver's window",
        OURS,
        "RFC 9293 3.4, 3.10.7.4: not acceptable. Linux lets what is too far ahead by less than a window, or too old, "
        "pass untracked (it ignores it), and leaves it to the receiver.",
        "tcp_window",
        "tcp [PUEC]*F?P?A?U?E?C?",
        "odd/(data|old-data|zero-window|forged-window|around|scale|fin-out|blind|reset)",
    ),
    Difference(
        "an acknowledgement, or with it a segment, that is further back than the largest window",
        OURS,
        "RFC 5961 5.2: SND.UNA - MAX.SND.WND <= SEG.ACK. Linux allows 66,000 bytes, and ignores what is older.",
        "tcp_window",
        "tcp P?A",
        "odd/(old-ack|blind-data|third-ack)|linux/",
    ),
    Difference(
        "a RST that is neither exact nor in the window",
        OURS,
        "RFC 5961 3.2: dropped silently. Linux's window for a RST is as wide as for data, and wider in its own way.",
        "tcp_window",
        "tcp RA?",
    ),
    Difference(
        "a RST in the window that is not exact",
        OURS,
        "RFC 5961 3.2: it closes nothing; the card asks its sender. Linux passes it on, and the receiver asks.",
        "tcp_challenged",
        "tcp RA?",
    ),
    Difference(
        "a SYN to a connection that is open",
        OURS,
        "RFC 5961 4.2: it is answered by a challenge ACK, whatever its number: by the card, so that a stack of before "
        "2010 is safe. Linux ignores it, passes it on, and the receiver answers.",
        "tcp_challenged",
        "tcp SE?C?",
    ),
    Difference(
        "a SYN+ACK to a connection that is open, which is not its handshake's once more",
        OURS,
        "RFC 5961 4.2: as a SYN. The handshake's passes, up to a window behind what was acknowledged.",
        "tcp_challenged",
        "tcp SA",
        "odd/syn-ack-to-open",
    ),
    Difference(
        "an answer to a SYN that acknowledges something else",
        BOTH,
        "RFC 9293 3.10.7.3: not SND.UNA < SEG.ACK <= SND.NXT, so nothing comes of it but a RST, by which whoever "
        "answered an older call learns of that early. Linux allows any that is older; the card one of two calls.",
        "tcp_window",
        "tcp SA",
        "odd/syn-ack-wrong",
    ),
    Difference(
        "an acknowledgement of a SYN that is no SYN itself, and what follows from it",
        OURS,
        "RFC 9293 3.10.7.3: in SYN-SENT nothing comes of it. Linux takes it for a half-open one's (3.5.1), whose "
        "acknowledgement is not acceptable; such ones the card lets pass too.",
        "tcp_state",
        "tcp [AR]",
        "odd/(split-handshake|half-open-answer)",
    ),
    Difference(
        "a RST of who called anew, that answers a second acknowledgement of the connection before",
        BOTH,
        "RFC 9293 3.5.1: the first RST has closed that connection; the card knows of no half-open answer to this call.",
        "tcp_state",
        "tcp R",
        "linux/half-open",
    ),
    Difference(
        "a SYN+ACK behind a RST that is not the handshake's once more",
        OURS,
        "RFC 9293 3.10.7.1: it answers no SYN of the connection that was closed. Linux forgets, and passes it on. The "
        "one of the handshake passes: whom it is for answers it by a RST.",
        "tcp_state",
        "tcp SA",
        "odd/after-reset",
    ),
    Difference(
        "a SYN whose options have an illegal length, and what follows it",
        OURS,
        "RFC 9293 3.1 (MUST-7) lets a receiver reset; what two parsers read differently is no beginning.",
        "tcp_options",
        "tcp S",
        "odd/options-of-a-syn",
    ),
    Difference(
        "segments that follow a SYN which the card has dropped",
        OURS,
        "Linux has let the SYN pass: see above.",
        "tcp_no_session",
        "tcp .*",
        "odd/options-of-a-syn",
    ),
    Difference(
        "an ICMP error about a segment that cannot be on its way",
        OURS,
        "RFC 5927 4.1: the quoted sequence number is to be checked. Linux looks at addresses and ports alone.",
        "icmp_error_unrelated",
        "icmp6? .*",
        "odd/unreachable-segment",
    ),
    Difference(
        "fragments in front of their datagram's first",
        BOTH,
        "RFC 1858 3: a filter may hold them back, or drop them; the card keeps no packets. Linux puts datagrams "
        "together before it looks at them.",
        "fragment_no_first",
        "fragments",
    ),
    # The card forwards, Linux's tracking says invalid.
    Difference(
        "fragments of a datagram that never is whole",
        BOTH,
        "RFC 1858 3: who does not put together passes on what belongs to a first that was allowed.",
        "",
        "fragments",
        "odd/fragments-hole|linux/(large-datagrams|echo)",
    ),
    Difference(
        "a RST that repeats, behind one that has closed the connection",
        BOTH,
        "RFC 5961 3.2: who has not taken the first one asks, and is told again. Linux wants a number it has seen.",
        "",
        "tcp R",
        "linux/abort",
    ),
    Difference(
        "a call from the same ports by the other side, behind a RST",
        OURS,
        "RFC 9293 3.10.7.1, 3.10.7.2: the connection is closed, any SYN begins another. Linux waits ten seconds.",
        "",
        "tcp S",
        "odd/after-reset",
    ),
    Difference(
        "a connection whose SYN was answered by a RST that acknowledges nothing",
        OURS,
        "RFC 9293 3.10.7.3: such a RST is dropped, the call goes on. Linux has closed it.",
        "",
        "tcp (SA|A)",
        "odd/reset-of-syn-without-ack",
    ),
    Difference(
        "a connection that began from the ports of one that was half open, while that was being reset",
        OURS,
        "RFC 9293 3.5.1: the RST for the connection before says nothing to this one. Linux has closed it, and a real "
        "transfer hangs.",
        "",
        "tcp .*",
        "linux/half-open",
    ),
    Difference(
        "a SYN that crosses the other side's SYN+ACK (both open at once)",
        OURS,
        "RFC 9293 3.5: both orders happen where wires reorder. Linux knows one of them.",
        "",
        "tcp SE?C?",
        "linux/open-at-once",
    ),
    Difference(
        "acknowledgements where both open at once and neither says SYN+ACK",
        BOTH,
        "RFC 9293 3.5 has SYN+ACKs; an ACK that acknowledges the SYN tells the receiver as much.",
        "",
        "tcp P?A",
        "odd/open-at-once-acks",
    ),
    Difference(
        "GRE and SCTP whose own headers make no sense",
        BOTH,
        "The card tracks them by addresses alone and does not read them. Linux tracks them by key and ports.",
        "",
        "47|132",
        "odd/protocol-(47|132)",
    ),
)
