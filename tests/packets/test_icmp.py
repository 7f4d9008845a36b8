"""Echo to the card itself, and ICMP errors that pass with the connection they speak of."""

from dataclasses import replace

import pytest
from scapy.all import ICMP, IP, ICMPv6TimeExceeded, IPv6, IPv6ExtHdrFragment, Raw

from tests.packets.card import Card
from tests.packets.packets import Description, other, ping, pong, raw, tcp, udp, unreachable
from tests.packets.world import RULES


@pytest.mark.parametrize("text", ["10.1.0.20 > 10.1.0.1", "2001:db8:1::14 > 2001:db8:1::1", "10.1.0.20 > 192.0.2.2"])
def test_the_card_answers_echo(card: Card, text: str) -> None:
    to_gateway = ping(text, ident=77, seq=5, payload=b"abc").via_gateway()
    answer = card.host("client").sends(to_gateway).is_taken().answer()
    v6 = ":" in text
    echo = answer["ICMPv6EchoReply"] if v6 else answer["ICMP"]
    assert (echo.id, echo.seq) == (77, 5)
    assert (answer["IPv6"].hlim, answer["IPv6"].fl) == (64, 0) if v6 else (answer["IP"].ttl, answer["IP"].id) == (64, 0)
    assert answer.src == "02:00:00:00:aa:01"
    assert card.flows() == []


def test_echo_from_the_uplink(card: Card) -> None:
    card.host("gateway").sends(ping("203.0.113.9 > 192.0.2.2")).is_taken().answer()


def test_echo_with_a_wrong_checksum(card: Card) -> None:
    wrong = Description("10.1.0.20", "10.1.0.1", lambda: IP(src="10.1.0.20", dst="10.1.0.1") / ICMP(chksum=1))
    card.host("client").sends(wrong).is_dropped("l4_checksum").silently()
    card.host("client").sends(ping("10.1.0.20 > 10.1.0.1")).is_taken()


def test_echo_in_fragments(card: Card) -> None:
    card.host("client").sends(ping("10.1.0.20 > 10.1.0.1", ip={"flags": "MF"}, payload=bytes(8))).is_dropped(
        "card_fragment"
    )
    card.host("client").sends(ping("10.1.0.20 > 10.1.0.1")).is_taken()


def test_echo_under_a_false_name(card: Card) -> None:
    card.host("client").sends(ping("10.1.0.99 > 10.1.0.1").via_gateway()).is_dropped("spoofed_address")
    forged = ping("10.1.0.20 > 10.1.0.1").frame(source_mac="02:00:00:00:00:99")
    card.host("client").sends(forged).is_dropped("spoofed_mac")
    card.host("client").sends(ping("10.1.0.20 > 10.1.0.1")).is_taken()


def test_errors_go_with_what_they_quote(card: Card) -> None:
    question = udp("10.1.0.20:1 > 10.1.0.10:53")
    card.host("client").sends(question).arrives_at("web")
    card.host("web").sends(unreachable("10.1.0.10", "10.1.0.20", question)).arrives_at("client", code=3)
    flow = card.flow()
    assert (flow.packets, flow.timeout_ns) == ((1, 1), 120 * 10**9)


def test_errors_of_ipv6(card: Card) -> None:
    question = udp("[2001:db8:1::14]:1 > [2001:db8:1::a]:53")
    card.host("client").sends(question).arrives_at("web")
    card.host("web").sends(unreachable("2001:db8:1::a", "2001:db8:1::14", question)).arrives_at("client")


def test_errors_about_echo(card: Card) -> None:
    question = ping("10.1.0.20 > 10.1.0.10")
    card.host("client").sends(question).arrives_at("web")
    card.host("web").sends(unreachable("10.1.0.10", "10.1.0.20", question)).arrives_at("client")


def test_errors_of_routers_on_the_way(card: Card) -> None:
    card.resolves("gateway")
    question = tcp("10.1.0.20:4000 > 203.0.113.9:443")
    card.host("client").sends(question).arrives_at("gateway")
    card.host("second").sends(unreachable("100.64.7.7", "10.1.0.20", question)).arrives_at("client", ttl=63)


def test_errors_about_replies_go_to_who_replied(card: Card) -> None:
    card.host("client").sends(udp("10.1.0.20:1 > 10.1.0.10:53")).arrives_at("web")
    reply = udp("10.1.0.10:53 > 10.1.0.20:1")
    error = unreachable("10.1.0.20", "10.1.0.10", reply)
    card.host("client").sends(error).is_dropped("icmp_error_unrelated")  # there was no reply yet
    card.host("web").sends(reply).arrives_at("client")
    card.host("client").sends(error).arrives_at("web")


@pytest.mark.parametrize(
    "quoted",
    [
        udp("10.1.0.20:2 > 10.1.0.10:53"),
        udp("10.1.0.10:53 > 10.1.0.20:1"),
        tcp("10.1.0.20:1 > 10.1.0.10:53"),
        pong("10.1.0.20 > 10.1.0.10"),
        other("10.1.0.20 > 10.1.0.10", 17, bytes(7)),
        udp("10.1.0.20:1 > 10.1.0.10:53", ip={"frag": 1}),
    ],
)
def test_errors_about_nothing(card: Card, quoted: Description) -> None:
    question = udp("10.1.0.20:1 > 10.1.0.10:53")
    card.host("client").sends(question).arrives_at("web")
    card.host("web").sends(unreachable("10.1.0.10", "10.1.0.20", quoted)).is_dropped("icmp_error_unrelated")
    card.host("web").sends(unreachable("10.1.0.10", "10.1.0.20", question)).arrives_at("client")


def test_errors_from_elsewhere(card: Card) -> None:
    question = udp("10.1.0.20:1 > 10.1.0.10:53")
    card.host("client").sends(question).arrives_at("web")
    card.host("open").sends(unreachable("10.1.0.10", "10.1.0.20", question)).is_dropped("icmp_error_unrelated")
    card.host("web").sends(unreachable("10.1.0.10", "10.1.0.20", question)).arrives_at("client")


TO_DB = [
    (udp("10.1.0.20:1 > 10.2.0.5:53"), "10.2.0.5", "10.1.0.20", "10.1.0.10", "10.2.0.99"),
    (
        udp("[2001:db8:1::14]:1 > [2001:db8:2::5]:53"),
        "2001:db8:2::5",
        "2001:db8:1::14",
        "2001:db8:1::a",
        "2001:db8:2::99",
    ),
]
"""(a packet of client's to db, db, client, web, nobody)"""


@pytest.mark.parametrize(("question", "db", "client", "web", "nobody"), TO_DB)
def test_errors_go_to_who_sent_the_packet(
    card: Card, question: Description, db: str, client: str, web: str, nobody: str
) -> None:
    card.host("client").sends(question).arrives_at("db")
    for wrong in (web, nobody):
        card.host("db").sends(unreachable(db, wrong, question)).is_dropped("icmp_error_unrelated").silently()
    card.host("db").sends(unreachable(db, client, question)).arrives_at("client")


@pytest.mark.parametrize(("question", "db", "client", "web", "nobody"), TO_DB)
def test_errors_under_a_false_name(
    card: Card, question: Description, db: str, client: str, web: str, nobody: str
) -> None:
    card.host("client").sends(question).arrives_at("db")
    for wrong in (web, nobody):
        card.host("db").sends(unreachable(wrong, client, question)).is_dropped("spoofed_address").silently()
    forged = unreachable(db, client, question).frame(source_mac="02:00:00:00:00:99")
    card.host("db").sends(forged).is_dropped("spoofed_mac").silently()
    card.host("db").sends(unreachable(db, client, question)).arrives_at("client")


def test_who_has_no_antispoof_may_be_a_router(card: Card) -> None:
    question = udp("10.1.0.20:1 > 10.2.0.40:53")
    card.host("client").sends(question).arrives_at("open")
    card.host("open").sends(unreachable("100.64.7.7", "10.1.0.20", question)).arrives_at("client", ttl=63)


@pytest.mark.parametrize(("question", "db", "client"), [case[:3] for case in TO_DB])
def test_rfc5508_req_6_errors_in_fragments_renew_nothing(
    card: Card, question: Description, db: str, client: str
) -> None:
    """RFC 1812 4.3.2.3, RFC 4443 2.4 (c): none is long enough; a later one would count as a reply."""
    card.host("client").sends(question).arrives_at("db")
    before = card.flow()
    whole = unreachable(db, client, question)
    body = bytes(whole.build().payload)
    card.after(50)
    for begin, end, reason in ((0, 24, "icmp_error_invalid"), (24, len(body), "fragment_no_first")):
        if ":" in db:
            part = IPv6(src=db, dst=client) / IPv6ExtHdrFragment(id=5, m=int(not begin), offset=begin // 8, nh=58)
        else:
            part = IP(src=db, dst=client, id=5, flags=0 if begin else "MF", frag=begin // 8, proto=1)
        card.host("db").sends(raw(db, client, bytes(part / Raw(body[begin:end])))).is_dropped(reason).silently()
    assert card.flow() == before
    card.host("db").sends(whole).arrives_at("client")
    after = card.flow()
    assert (after.packets, after.timeout_ns, after.last_ns) == ((1, 1), before.timeout_ns, before.last_ns)


def test_rfc6946_an_error_in_an_atomic_fragment(card: Card) -> None:
    question = udp("[2001:db8:1::14]:1 > [2001:db8:2::5]:53")
    card.host("client").sends(question).arrives_at("db")
    whole = bytes(unreachable("2001:db8:2::5", "2001:db8:1::14", question).build())
    built = IPv6(src="2001:db8:2::5", dst="2001:db8:1::14") / IPv6ExtHdrFragment(id=5, nh=58) / Raw(whole[40:])
    card.host("db").sends(Description("2001:db8:2::5", "2001:db8:1::14", lambda: built)).arrives_at("client")


def test_errors_obey_the_tables_as_they_are_now(card: Card) -> None:
    """One is its connection's next packet: a deny ends both."""
    question = udp("10.1.0.20:1 > 10.1.0.10:53")
    card.host("client").sends(question).arrives_at("web")
    card.changes(replace(RULES["dns"], verdict="drop"))
    card.host("web").sends(unreachable("10.1.0.10", "10.1.0.20", question)).is_dropped("firewall_rule").silently()
    assert card.flows() == []
    card.changes(RULES["dns"])
    card.host("web").sends(unreachable("10.1.0.10", "10.1.0.20", question)).is_dropped("icmp_error_unrelated")
    card.host("client").sends(question).arrives_at("web")
    card.host("web").sends(unreachable("10.1.0.10", "10.1.0.20", question)).arrives_at("client")


def test_no_error_about_an_error(card: Card) -> None:
    question = udp("10.1.0.20:1 > 10.2.0.5:53")
    card.host("client").sends(question).arrives_at("db")
    error = IP(src="10.2.0.5", dst="10.1.0.20", ttl=1) / ICMP(type=3, code=3) / bytes(question.build())[:28]
    sent = card.host("db").sends(Description("10.2.0.5", "10.1.0.20", lambda: error))
    sent.is_dropped("ttl_exceeded").silently()


def test_time_exceeded_of_ipv6_passes(card: Card) -> None:
    question = udp("[2001:db8:1::14]:1 > [2001:db8:2::5]:53")
    card.host("client").sends(question).arrives_at("db")
    built = IPv6(src="2001:db8:2::5", dst="2001:db8:1::14") / ICMPv6TimeExceeded() / bytes(question.build())
    card.host("db").sends(Description("2001:db8:2::5", "2001:db8:1::14", lambda: built)).arrives_at("client")


@pytest.mark.parametrize(
    ("ask", "back"),
    [
        ("10.1.0.20 > 10.2.0.5", "10.2.0.5 > 10.1.0.20"),
        ("2001:db8:1::14 > 2001:db8:2::5", "2001:db8:2::5 > 2001:db8:1::14"),
    ],
)
def test_rfc5508_4_1_a_connection_of_echo_has_requests_one_way(card: Card, ask: str, back: str) -> None:
    """With identifier 0 a request has the key that replies have: it is none, and what its own rules say isn't asked."""
    for ident in (7, 0):
        card.host("client").sends(ping(ask, ident=ident)).arrives_at("db")
        card.host("db").sends(pong(back, ident=ident)).arrives_at("client")
    opened = len(card.flows())
    card.host("db").sends(ping(back, ident=0)).is_dropped("icmp_type").silently()
    card.host("client").sends(pong(ask, ident=0)).is_dropped("icmp_type").silently()
    assert len(card.flows()) == opened
    card.host("db").sends(pong(back, ident=0)).arrives_at("client")
    card.host("client").sends(ping(ask, ident=0)).arrives_at("db")
    card.host("db").sends(ping(back, ident=7)).arrives_at("client")
