"""ICMP errors that pass are limited by the connection that they quote (RFC 1812 4.3.2.8, RFC 4443 2.4 (f))."""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import ip_address

import pytest
from scapy.all import ICMP, IP, ICMPv6PacketTooBig, IPv6

from hal.packet.contract import EventKind
from hal.packet.model.siphash import siphash
from tests.packets.card import Card
from tests.packets.packets import Description, ping, tcp, udp, unreachable
from tests.packets.tcp.talk import OPEN
from tests.packets.tcp.talk import Talk as TcpTalk
from tests.packets.windows import allowance, packed
from tests.packets.world import HOSTS

CLIENT, DB = HOSTS["client"].vnic, HOSTS["db"].vnic
ROUTER = {4: "100.64.7.7", 6: "2001:db8:7::7"}
BUCKETS, PART = 64, 128


@dataclass(frozen=True)
class Talk:
    """UDP, or a ping, from a vNIC to somebody beyond the gateway; errors come back from a router on the way."""

    source: str
    destination: str
    sport: int = 0

    @property
    def version(self) -> int:
        return ip_address(self.source).version

    def asks(self, data: bytes = b"") -> Description:
        ends = [f"[{one}]" if self.version == 6 else one for one in (self.source, self.destination)]
        if not self.sport:
            return ping(f"{self.source} > {self.destination}")
        return udp(f"{ends[0]}:{self.sport} > {ends[1]}:443", data)

    def error(self, code: int = 4, mtu: int = 1300) -> Description:
        """Too big, or of IPv4 another code of unreachable."""
        quoted, router = bytes(self.asks().build())[:48], ROUTER[self.version]
        if self.version == 6:
            built = IPv6(src=router, dst=self.source) / ICMPv6PacketTooBig(mtu=mtu) / quoted
        else:
            built = IP(src=router, dst=self.source) / ICMP(type=3, code=code, nexthopmtu=mtu) / quoted
        return Description(router, self.source, lambda: built)

    def buckets(self, purpose: str, vnic: int) -> tuple[int, int]:
        return buckets(purpose, vnic, 17, (self.destination, 443), (self.source, self.sport))

    def allowed(self, card: Card, purpose: str = "error to", vnic: int = CLIENT) -> int:
        """How many errors about it pass in this second, where nobody else's have."""
        return sum(allowance(purpose, vnic, one, card.now, 16 * PART) for one in set(self.buckets(purpose, vnic)))


def buckets(purpose: str, vnic: int, protocol: int, *ends: tuple[str, int]) -> tuple[int, int]:
    """That errors about a connection have, where what goes their way is from its first end."""
    addresses = b"".join(packed(address) for address, _ in ends)
    ports = b"".join(port.to_bytes(2, "big") for _, port in ends)
    h = siphash(bytes(16), purpose.encode() + vnic.to_bytes(8, "big") + bytes([protocol]) + addresses + ports)
    return h % BUCKETS, (h % BUCKETS + 1 + h // BUCKETS % (BUCKETS - 1)) % BUCKETS


V4 = Talk("10.1.0.20", "203.0.113.9", 5000)
V6 = Talk("2001:db8:1::14", "2001:db8:cafe::9", 5000)


def passed(card: Card, host: str, error: Description, count: int) -> int:
    """How many of as many errors pass; all others are dropped by the limit."""
    frame = card.host(host).frame(error)
    became = [card.receives(frame, HOSTS[host]).result for _ in range(count)]
    assert {one.reason for one in became} <= {"", "icmp_error_limit"}
    assert all(bool(one.outputs) == (not one.reason) for one in became)
    return sum(not one.reason for one in became)


def refused(card: Card) -> dict[tuple[int, str], int]:
    return {key: one.refused for key, one in card.shard.counters().limits.items() if one.refused}


def told(card: Card) -> list[tuple[EventKind, int]]:
    return [(event.kind, event.id) for event in card.shard.events().events]


def begins(card: Card, *talks: Talk) -> None:
    card.resolves("gateway")
    for talk in talks:
        card.host("client").sends(talk.asks()).arrives_at("gateway")


@pytest.mark.parametrize("talk", [V4, V6], ids=["v4", "v6"])
def test_rfc4443_2_4_f_a_flood_about_one_connection_ends(card: Card, talk: Talk) -> None:
    begins(card, talk)
    got = []
    for _ in range(3):
        got.append(passed(card, "gateway", talk.error(), 400))
        assert got[-1] == talk.allowed(card)
        card.host("client").sends(talk.asks()).arrives_at("gateway")
        card.after(1)
    assert PART <= min(got) < max(got) <= 3 * PART
    assert refused(card) == {(CLIENT, "inbound_icmp_error_limit"): 1200 - sum(got)}
    assert card.lost("icmp_error_limit") == 1200 - sum(got)
    assert card.shard.counters().vnics[HOSTS["gateway"].vnic]["drops"] == 1200 - sum(got)
    assert told(card) == [(EventKind.ICMP_LIMIT, CLIENT)]


def test_rfc1812_4_3_2_8_path_mtu_errors_of_others_pass(card: Card) -> None:
    """All but those of connections that have no bucket of their own beside the flooded one's."""
    others = [Talk(V4.source, V4.destination, 6000 + place) for place in range(60)]
    begins(card, V4, *others)
    assert passed(card, "gateway", V4.error(code=3), 400) == V4.allowed(card)
    taken = set(V4.buckets("error to", CLIENT))
    same = [one for one in others if set(one.buckets("error to", CLIENT)) <= taken]
    partly = [one for one in others if set(one.buckets("error to", CLIENT)) & taken]
    assert (len(same), bool(partly)) == (0, True)
    assert [passed(card, "gateway", one.error(), 1) for one in others] == [1] * 60


def test_a_traceroute_passes_at_once(card: Card) -> None:
    """Three probes to each of thirty hops, all of one connection, as pings of one identifier are; and an error about
    each of a hundred packets that were too big."""
    probes = Talk(V4.source, V4.destination)
    begins(card, probes, V4)
    assert passed(card, "gateway", probes.error(code=3), 90) == 90
    assert passed(card, "gateway", V4.error(), 100) == 100


def test_nobody_has_less_than_two_buckets(card: Card) -> None:
    """Of two drawn apart from each other one connection in 64 would have one; of 65 errors it would be for this one."""
    talk = Talk("10.1.0.20", "203.0.113.9", 6307)
    begins(card, talk)
    assert PART <= passed(card, "gateway", talk.error(), 400) == talk.allowed(card)


def test_errors_to_one_vnic_take_nothing_from_another(card: Card) -> None:
    """By one uplink, from one router; and what a vNIC sends itself is apart from what comes to it."""
    ours = Talk("10.2.0.5", V4.destination, V4.sport)
    begins(card, V4)
    card.host("db").sends(ours.asks()).arrives_at("gateway")
    flood = [Talk(V4.source, V4.destination, sport) for sport in range(6000, 6040)]
    for one in flood:
        card.host("client").sends(one.asks()).arrives_at("gateway")
        passed(card, "gateway", one.error(), 300)
    assert sum(passed(card, "gateway", one.error(), 1) for one in flood) < len(flood)
    assert passed(card, "gateway", ours.error(), 128) == 128
    assert {vnic for vnic, _ in refused(card)} == {CLIENT}


def test_errors_from_a_vnic_count_for_it(card: Card) -> None:
    """Who floods others with errors about what they sent him takes from nobody's but his own, by an uplink too."""
    card.resolves("gateway")
    ask = udp("203.0.113.9:5000 > 10.1.0.20:53")
    theirs = udp("203.0.113.9:5000 > 10.2.0.5:53")
    card.host("gateway").sends(ask).arrives_at("client")
    card.host("gateway").sends(theirs).arrives_at("db")

    def says(source: str, quoted: Description) -> Description:
        built = IP(src=source, dst="203.0.113.9") / ICMP(type=3, code=3) / bytes(quoted.build())[:28]
        return Description(source, "203.0.113.9", lambda: built)

    assert PART <= passed(card, "client", says("10.1.0.20", ask), 400) < 400
    assert passed(card, "db", says("10.2.0.5", theirs), 128) == 128
    assert set(refused(card)) == {(CLIENT, "icmp_error_limit")}


def test_rfc5508_4_2_what_is_unrelated_takes_nothing(card: Card) -> None:
    begins(card, V4)
    nobodys = Talk(V4.source, V4.destination, 7)
    frame = card.host("gateway").frame(nobodys.error())
    for _ in range(400):
        assert card.receives(frame, HOSTS["gateway"]).result.reason == "icmp_error_unrelated"
    assert passed(card, "gateway", V4.error(), 400) == V4.allowed(card)


STRANGERS = buckets("error to", CLIENT, 6, ("192.0.2.1", 80), ("10.1.0.20", 4000))
READER = next(
    talk
    for talk in (Talk(V4.source, V4.destination, sport) for sport in range(1024, 1 << 16))
    if set(talk.buckets("error to", CLIENT)) == set(STRANGERS)
)
"""A connection of the attacker's own that has both buckets of the stranger's."""


def forged(card: Card, quoted: int | None) -> tuple[set[str], int, int, dict[tuple[int, str], int]]:
    """What becomes of forty errors that quote such a number about a stranger's TCP connection, how many about the
    attacker's own pass beside them, and a thousand later; and what the card counts as refused."""
    shard = card.anew()
    shard.now = 1 << 40
    begins(shard, READER)
    talk = TcpTalk(shard, ends=("client", "gateway")).plays(OPEN + " A:PA+500 B:PA+100")
    became = set()
    question = tcp(talk.lines[0], flags="A", seq=(quoted or 0) & 0xFFFFFFFF)
    frame = shard.host("gateway").frame(unreachable("192.0.2.1", "10.1.0.20", question))
    for _ in range(40 if quoted is not None else 0):
        became.add(shard.receives(frame, HOSTS["gateway"]).result.reason)
    rest = passed(shard, "gateway", READER.error(), 400)
    for _ in range(1000 if quoted is not None else 0):
        became.add(shard.receives(frame, HOSTS["gateway"]).result.reason)
    talk.plays("A:PA+100 B:A")
    return became, rest, passed(shard, "gateway", READER.error(), 10), refused(shard)


def test_cve_2016_5696_errors_that_fit_take_what_others_take(card: Card) -> None:
    """Who floods with errors about a stranger's connection, and counts which about his own pass, learns nothing of its
    numbers: one that fits and passes takes of their buckets what one takes that doesn't."""
    shard = card.anew()
    shard.now = 1 << 40
    most = READER.allowed(shard)
    assert forged(card, None) == (set(), most, 0, {(CLIENT, "inbound_icmp_error_limit"): 410 - most})
    count = {(CLIENT, "inbound_icmp_error_limit"): 410 - (most - 40) + 1000}
    for fits in (0, 1001, 1501):
        assert forged(card, fits) == ({"", "icmp_error_limit"}, most - 40, 0, count)
    for wrong in (1502, 1 << 31, 1000 - 8192):
        assert forged(card, wrong) == ({"icmp_error_unrelated", "icmp_error_limit"}, most - 40, 0, count)


def test_cve_2016_5696_what_was_never_said_takes_as_much(card: Card) -> None:
    """Nor does he learn whether somebody has answered: an error about an answer that never was takes one too."""
    card.resolves("gateway")
    question = udp("203.0.113.9:5000 > 10.1.0.20:53")
    card.host("gateway").sends(question).arrives_at("client")
    built = (
        IP(src=ROUTER[4], dst="10.1.0.20")
        / ICMP(type=3, code=3)
        / bytes(udp("10.1.0.20:53 > 203.0.113.9:5000").build())[:28]
    )
    error = card.host("gateway").frame(Description(ROUTER[4], "10.1.0.20", lambda: built))
    became = [card.receives(error, HOSTS["gateway"]).result.reason for _ in range(400)]
    most = became.count("icmp_error_unrelated")
    assert PART <= most < 400
    assert became == ["icmp_error_unrelated"] * most + ["icmp_error_limit"] * (400 - most)
    card.after(1)
    card.host("client").sends(udp("10.1.0.20:53 > 203.0.113.9:5000")).arrives_at("gateway")
    assert card.receives(error, HOSTS["gateway"]).result.reason == ""


def test_what_is_refused_takes_no_token_of_a_punt(card: Card) -> None:
    card.changes(replace(card.row("vnic", CLIENT), punt_limit=400))
    asked = udp("192.0.2.2:161 > 10.1.0.20:53")
    card.host("card").sends(asked).arrives_at("client")
    built = IP(src="10.1.0.20", dst="192.0.2.2") / ICMP(type=3, code=3) / bytes(asked.build())[:28]
    got = passed(card, "client", Description("10.1.0.20", "192.0.2.2", lambda: built), 390)
    assert PART <= got < 390
    frame = card.host("client").frame(tcp("10.1.0.20:4000 > 10.1.0.1:179"))
    became = [card.receives(frame, HOSTS["client"]).result.reason for _ in range(400)]
    assert became == [""] * (400 - got) + ["punt_limit"] * got
