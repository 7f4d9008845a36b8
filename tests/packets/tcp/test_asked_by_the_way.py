"""RFC 5961 3.2, 4.2: the challenge is its receiver's ACK, and goes where what the receiver sends goes. Whoever can send
as one end, and does not hear what that end is told, learns nothing of it."""

from __future__ import annotations

import pytest
from scapy.layers.inet import TCP
from scapy.layers.l2 import Ether

from hal.packet.contract import NeighbourState, TcpState
from tests.packets.card import Card, Sent, answer_to_request, bracket
from tests.packets.packets import tcp, udp
from tests.packets.tcp.talk import OPEN, Talk, asked
from tests.packets.world import HOSTS

FORGER = "02:00:00:00:66:66"
FAR = {False: "203.0.113.9", True: "2001:db8:cafe::9"}
"""Behind the gateway, by whether it is IPv6."""


class Far(Talk):
    """Whose initiator is behind the gateway, as far as its frames' MAC says."""

    def __init__(self, card: Card, v6: bool) -> None:
        super().__init__(card, ends=("gateway", "web"), v6=v6)
        self.far = FAR[v6]
        web = bracket(HOSTS["web"].addresses[v6])
        self.lines = (f"{bracket(FAR[v6])}:4000 > {web}:80", f"{web}:80 > {bracket(FAR[v6])}:4000")

    @property
    def state(self) -> TcpState:
        return self.card.flow(source=self.far).tcp_state

    def forges(self, flags: str, seq: int) -> Sent:
        return self.card.host("gateway").sends(tcp(self.lines[0], flags, seq=seq).frame(source_mac=FORGER))


def passes_time(card: Card, seconds: float) -> None:
    """What is due by then has run."""
    card.after(seconds).host("client").sends(udp("10.1.0.20:1 > 10.2.0.5:9"))


def known(card: Card, v6: bool) -> list[NeighbourState]:
    """The state of the gateway's neighbour entry, if there is one."""
    address = HOSTS["gateway"].addresses[v6]
    return [one.state for one in card.shard.neighbours() if one.address == address]


@pytest.mark.parametrize("v6", [False, True])
@pytest.mark.parametrize("flags", ["S", "R"])
def test_a_forger_on_the_uplinks_segment_is_not_told(card: Card, flags: str, v6: bool) -> None:
    """He has the address and the ports, and a MAC of his own: the router behind which that address is gets the ACK."""
    card.resolves("gateway")
    talk = Far(card, v6)
    talk.plays(OPEN)
    sent = talk.forges(flags, talk.next[0] + 100)
    sent.is_dropped("tcp_challenged")
    (output,) = sent.outputs()
    frame = Ether(output.data)
    assert (frame.dst, frame[TCP].seq, frame[TCP].ack) == (HOSTS["gateway"].mac, talk.next[1], talk.next[0])
    assert talk.plays("A:PA+100 B:A B:PA+100 A:A").state == TcpState.ESTABLISHED
    # Who is what he says is asked by the same way.
    card.after(1)
    asked(talk.a(flags, seq=talk.next[0] + 100), seq=talk.next[1], ack=talk.next[0])


@pytest.mark.parametrize("v6", [False, True])
def test_a_neighbour_that_is_not_known_is_asked_for(card: Card, v6: bool) -> None:
    """It was forgotten while the connection was silent, and whoever was rebooted calls anew: the challenge waits for
    nobody, but the next one has a way."""
    card.resolves("gateway")
    talk = Far(card, v6)
    talk.plays(OPEN)
    for _ in range(2):  # it was used, and does not answer when it is asked whether it is still there
        passes_time(card, 60)
        card.receives(answer_to_request(HOSTS["gateway"], HOSTS["gateway"].addresses[v6]), HOSTS["gateway"])
    passes_time(card, 120)
    assert not known(card, v6)
    sent = talk.a("S", seq=7)
    sent.is_dropped("tcp_challenged")
    assert [output.port for output in sent.outputs()] == [HOSTS["gateway"].port]
    assert not Ether(sent.outputs()[0].data).haslayer(TCP)
    assert known(card, v6) == [NeighbourState.INCOMPLETE]
    card.receives(answer_to_request(HOSTS["gateway"], HOSTS["gateway"].addresses[v6]), HOSTS["gateway"]).is_taken()
    card.after(1)
    asked(talk.a("S", seq=7), seq=talk.next[1], ack=talk.next[0])
    talk.passes(talk.a("R", seq=talk.next[0]), 0)
    assert talk.state == TcpState.CLOSED


def test_a_second_mac_behind_a_vnic_is_not_told(card: Card) -> None:
    """A vNIC without antispoof has hosts of its own: one of them speaks with another's address, not with its MAC."""
    inner, forger = "02:00:00:00:0a:01", "02:00:00:00:0a:02"
    line, back = "10.2.0.40:4000 > 10.2.0.5:80", "10.2.0.5:80 > 10.2.0.40:4000"
    opening = card.host("open").sends(tcp(line, "S", seq=1000).frame(source_mac=inner))
    opening.arrives_at("db")
    db = tcp(back, "SA", seq=5000, ack=1001).frame(destination_mac=inner)
    assert Ether(card.host("db").sends(db).outputs()[0].data).dst == inner
    card.host("open").sends(tcp(line, "A", seq=1001, ack=5001).frame(source_mac=inner)).arrives_at("db")
    sent = card.host("open").sends(tcp(line, "S", seq=7).frame(source_mac=forger))
    sent.is_dropped("tcp_challenged")
    (output,) = sent.outputs()
    frame = Ether(output.data)
    assert (frame.dst, frame.src, frame[TCP].seq, frame[TCP].ack) == (inner, HOSTS["db"].mac, 5001, 1001)


def test_where_there_is_no_way_nobody_is_asked(card: Card) -> None:
    """The neighbour failed: nothing leaves, and no packet of the connection's waits."""
    card.resolves("gateway")
    talk = Far(card, v6=False)
    talk.plays(OPEN + " B:PA+1")
    passes_time(card, 70)
    assert known(card, False) == [NeighbourState.FAILED]
    sent = talk.a("S", seq=7)
    sent.is_dropped("tcp_challenged").silently()
    assert card.shard.counters().drops["tcp_challenged"] == 1
