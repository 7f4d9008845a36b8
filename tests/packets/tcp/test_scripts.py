"""What public TCP test scripts let stacks do (packetdrill's for Linux and BSD, and those of Linux's own connection
tracking), in words of our own: all that a well-behaved end says passes, and the connection is in the state that both
are in. Where a script has somebody else speak up, the reason is in front of it."""

from __future__ import annotations

import re

import pytest

from hal.packet.contract import TcpState
from tests.packets.card import Card
from tests.packets.tcp.talk import Talk

LINE = re.compile(
    r"(?:(?P<reason>\w+)! )?(?P<side>[ab]) (?P<flags>\w+) (?P<seq>-?\d+)(?:\+(?P<data>\d+))?"
    r"(?: ack (?P<ack>-?\d+))?(?: win (?P<win>\d+))?$"
)
OPEN = "a S 0, b SA 0 ack 1, a A 1 ack 1"
OPENED = TcpState.ESTABLISHED
SCRIPTS: dict[str, tuple[TcpState, str]] = {
    # --- opening ---
    "the SYN is lost, and the answer, and what acknowledges it": (
        OPENED,
        "a S 0, a S 0, b SA 0 ack 1, a S 0, b SA 0 ack 1, b SA 0 ack 1, a A 1 ack 1, b SA 0 ack 1, a A 1 ack 1",
    ),
    "data in the place of the last ACK": (
        OPENED,
        "a S 0, b SA 0 ack 1, a PA 1+100 ack 1, b A 1 ack 101",
    ),
    "the last ACK is lost, and the answer comes again behind data": (
        OPENED,
        (
            "a S 0, b SA 0 ack 1, a PA 1+100 ack 1, a PA 101+50 ack 1, b SA 0 ack 1, a A 151 ack 1, "
            "a PA 1+100 ack 1, b A 1 ack 151"
        ),
    ),
    "given up in SYN-SENT; the answer is reset": (
        TcpState.CLOSED,
        "a S 0, b SA 0 ack 1, a R 1",
    ),
    "nobody listens": (
        TcpState.CLOSED,
        "a S 0, b RA 0 ack 1",
    ),
    "both call at once, and close at once": (
        TcpState.TIME_WAIT,
        (
            "a S 0, b S 0, a SA 0 ack 1, b SA 0 ack 1, a A 1 ack 1, b A 1 ack 1, a FA 1 ack 1, b FA 1 ack 1, "
            "a A 2 ack 2, b A 2 ack 2"
        ),
    ),
    "ECN is asked for, and used": (
        OPENED,
        "a SEC 0, b SAE 0 ack 1, a A 1 ack 1, a PA 1+100 ack 1, b AE 1 ack 101, a PAC 101+100 ack 1, b A 1 ack 201",
    ),
    # --- Fast Open (RFC 7413) ---
    "Fast Open: all is taken, and answered at once": (
        OPENED,
        "a S 0+1000, b SA 0+500 ack 1001, b PA 501+500 ack 1001, a A 1001 ack 1001",
    ),
    "Fast Open: the data isn't taken and comes again": (
        OPENED,
        "a S 0+1000, b SA 0 ack 1, a PA 1+1000 ack 1, b A 1 ack 1001",
    ),
    "Fast Open: a part is taken": (
        OPENED,
        "a S 0+1000, b SA 0 ack 401, a A 1001 ack 1, a PA 401+600 ack 1, b A 1 ack 1001",
    ),
    "Fast Open: a SYN without data behind a time-out": (
        OPENED,
        "a S 0+1000, a S 0, b SA 0 ack 1, a PA 1+1000 ack 1, b A 1 ack 1001",
    ),
    "Fast Open: the last ACK is lost, data goes on": (
        OPENED,
        "a S 0+10, b SA 0 ack 11, b PA 1+1000 ack 11, b SA 0 ack 11, a A 11 ack 1001",
    ),
    "Fast Open: the server ends before the last ACK": (
        TcpState.TIME_WAIT,
        "a S 0+10, b SA 0 ack 11, b FPA 1+100 ack 11, a A 11 ack 1, a A 11 ack 102, a FA 11 ack 102, b A 102 ack 12",
    ),
    "Fast Open: reset before it is accepted": (
        TcpState.CLOSED,
        "a S 0+10, b SA 0 ack 11, a R 11",
    ),
    "Fast Open: closed with data unread": (
        TcpState.CLOSED,
        "a S 0+10, b SA 0 ack 11, a A 11 ack 1, a PA 11+100 ack 1, b RA 1 ack 11",
    ),
    # --- loss ---
    "fast retransmit behind three duplicates": (
        OPENED,
        (
            f"{OPEN}, a A 1+1000 ack 1, a A 1001+1000 ack 1, a A 2001+1000 ack 1, a A 3001+1000 ack 1, b A 1 ack 1, "
            "b A 1 ack 1, b A 1 ack 1, a A 1+1000 ack 1, b A 1 ack 4001"
        ),
    ),
    "limited transmit: new data at each duplicate": (
        OPENED,
        (
            f"{OPEN}, a A 1+1000 ack 1, a A 1001+1000 ack 1, b A 1 ack 1, a A 2001+1000 ack 1, b A 1 ack 1, "
            "a A 3001+1000 ack 1, b A 1 ack 1, a A 1+1000 ack 1, b A 1 ack 4001"
        ),
    ),
    "an ACK below what was acknowledged, in recovery": (
        OPENED,
        (
            f"{OPEN}, a A 1+1000 ack 1, a A 1001+1000 ack 1, b A 1 ack 2001, b A 1 ack 1, b A 1 ack 1001, "
            "a A 2001+1000 ack 1"
        ),
    ),
    "all again behind a time-out that was none": (
        OPENED,
        (
            f"{OPEN}, a A 1+1000 ack 1, a A 1001+1000 ack 1, b A 1 ack 2001, a A 1+1000 ack 1, b A 1 ack 2001, "
            "a A 1001+1000 ack 1, b A 1 ack 2001"
        ),
    ),
    "the tail is lost, and probed for": (
        OPENED,
        (
            f"{OPEN}, a A 1+1000 ack 1, a PA 1001+1000 ack 1, a PA 1001+1000 ack 1, b A 1 ack 1, a A 1+1000 ack 1, "
            "b A 1 ack 2001"
        ),
    ),
    "what comes again is cut otherwise, for a smaller path": (
        OPENED,
        f"{OPEN}, a A 1+1400 ack 1, a A 1+500 ack 1, a A 501+500 ack 1, a A 1001+400 ack 1, b A 1 ack 1401",
    ),
    # --- windows ---
    "a window that shuts, is probed by nothing and by a byte, and opens": (
        OPENED,
        (
            f"{OPEN}, a PA 1+1000 ack 1, b A 1 ack 1001 win 0, a A 1000 ack 1, b A 1 ack 1001 win 0, "
            "a A 1001+1 ack 1, b A 1 ack 1001 win 0, b A 1 ack 1001 win 8000, a A 1001+1000 ack 1, "
            "b A 1 ack 2001"
        ),
    ),
    "a window that is taken back": (
        OPENED,
        (
            f"{OPEN}, a A 1+1000 ack 1, b A 1 ack 1001 win 500, a A 1001+1400 ack 1, b A 1 ack 1001 win 500, "
            "b A 1 ack 2401 win 8000"
        ),
    ),
    "keep-alives": (
        OPENED,
        f"{OPEN}, a A 0 ack 1, b A 1 ack 1, b A 0+1 ack 1, a A 1 ack 1",
    ),
    "urgent data, with its pointer behind the segment": (
        OPENED,
        f"{OPEN}, a PUA 1+10 ack 1, a UA 11+1000 ack 1, b A 1 ack 1011",
    ),
    "small segments, each pushed": (
        OPENED,
        f"{OPEN}, a PA 1+1 ack 1, a PA 2+1 ack 1, b A 1 ack 2, a PA 3+1 ack 1, b A 1 ack 4",
    ),
    # --- closing ---
    "one side closes, the other goes on": (
        TcpState.TIME_WAIT,
        f"{OPEN}, a FA 1 ack 1, b A 1 ack 2, b PA 1+1000 ack 2, a A 2 ack 1001, b FA 1001 ack 2, a A 2 ack 1002",
    ),
    "the FIN overtakes data": (
        TcpState.TIME_WAIT,
        f"{OPEN}, b FPA 1001+100 ack 1, a A 1 ack 1, b A 1+1000 ack 1, a A 1 ack 1102, a FA 1 ack 1102, b A 1102 ack 2",
    ),
    "data out of order behind the first FIN": (
        TcpState.TIME_WAIT,
        f"{OPEN}, a FA 1 ack 1, b A 1 ack 2, b FA 1001 ack 2, a A 2 ack 1, b A 1+1000 ack 2, a A 2 ack 1002",
    ),
    "the last ACK is lost: the FIN comes again": (
        TcpState.TIME_WAIT,
        f"{OPEN}, a FA 1 ack 1, b FA 1 ack 2, a A 2 ack 2, b FA 1 ack 2, a A 2 ack 2",
    ),
    "closed with data unread": (
        TcpState.CLOSED,
        f"{OPEN}, a PA 1+100 ack 1, b RA 1 ack 101",
    ),
    "data that comes when nobody reads any more": (
        TcpState.CLOSED,
        f"{OPEN}, a FA 1 ack 1, b A 1 ack 2, b PA 1+100 ack 2, a R 2",
    ),
    "a reset that says why (RFC 1122 4.2.2.12)": (
        TcpState.CLOSED,
        f"{OPEN}, b RA 1+20 ack 1",
    ),
    "called again from the same ports in TIME-WAIT": (
        OPENED,
        f"{OPEN}, a FA 1 ack 1, b FA 1 ack 2, a A 2 ack 2, a S 200000, b SA 100000 ack 200001, a A 200001 ack 100001",
    ),
    # --- somebody else's, or of another connection ---
    "a challenge of a connection that was forgotten": (
        OPENED,
        "a S 0, b A 145000 ack 643000, a R 643000, a S 0, b SA 0 ack 1, a A 1 ack 1",
    ),
    "an answer to an older call": (
        OPENED,
        "a S 0, tcp_window! b SA 145000 ack 643000, a S 0, b SA 0 ack 1, a A 1 ack 1",
    ),
    "called anew while it is open: the card asks, the caller resets": (
        OPENED,
        (
            f"{OPEN}, a PA 1+100 ack 1, b A 1 ack 101, tcp_challenged! a S 2000, a RA 101 ack 1, a S 2000, "
            "b SA 9000 ack 2001, a A 2001 ack 9001"
        ),
    ),
    "resets out of the window, in it, and exact": (
        TcpState.CLOSED,
        (
            f"{OPEN}, b A 1+1400 ack 1, a A 1 ack 1401, tcp_window! b R 0, tcp_window! b R 1000000, "
            "tcp_window! b R 42, tcp_window! b RA 1400 ack 1, tcp_challenged! b R 1402, b RA 1401 ack 1"
        ),
    ),
    "a reset that isn't exact, behind one that was": (
        TcpState.CLOSED,
        f"{OPEN}, b A 1+1400 ack 1, a A 1 ack 1401, b FA 1401 ack 1, a RA 1 ack 1402, b R 701",
    ),
    "an acknowledgement of what was never sent": (
        OPENED,
        f"{OPEN}, a PA 1+100 ack 1, tcp_window! b A 1 ack 102, b A 1 ack 101",
    ),
    "data before the answer, and an answer without ACK": (
        TcpState.SYN_SENT,
        "a S 0, tcp_state! a PA 1+10 ack 1, tcp_state! b PA 1+10 ack 1, tcp_state! b A 1 ack 1",
    ),
}


@pytest.mark.parametrize("isn", [(1000, 5000), (0xFFFF_FE00, 0xFFFF_FF00)], ids=["", "wraps"])
@pytest.mark.parametrize("name", SCRIPTS)
def test_script(card: Card, name: str, isn: tuple[int, int]) -> None:
    state, script = SCRIPTS[name]
    talk = Talk(card, isn=isn, window=(60_000, 60_000))
    for line in script.split(", "):
        found = LINE.match(line)
        assert found, line
        side = "ab".index(found["side"])
        numbers = {"seq": isn[side] + int(found["seq"])}
        if found["ack"]:
            numbers["ack"] = isn[1 - side] + int(found["ack"])
        if found["win"]:
            numbers["window"] = int(found["win"])
        sent = (talk.a, talk.b)[side](found["flags"], int(found["data"] or 0), **numbers)
        sent.is_dropped(found["reason"]) if found["reason"] else talk.passes(sent, side)
    assert talk.state == state
