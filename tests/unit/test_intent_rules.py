"""Rules as sentences: parser and printer are each other's inverse, and errors point into the sentence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal.packet.names import ICMP_TYPES
from services.core.formats import FormatError
from services.firewall import firewall_pb2 as pb
from services.firewall.grammar import parse_rule, print_rule

NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,8}[a-z0-9]", fullmatch=True).filter(lambda name: name != "any")
V4 = st.builds(lambda a, n: f"{a}.0.0.0/{n}", st.integers(0, 255), st.integers(8, 32))
V6 = st.builds(lambda a, n: f"2001:db8:{a:x}::/{n}", st.integers(1, 65535), st.integers(48, 128))
WHO = st.lists(st.one_of(NAMES, V4, V6), max_size=4, unique=True)
PORTS = st.lists(
    st.one_of(
        st.integers(0, 65535).map(str),
        st.tuples(st.integers(0, 30000), st.integers(30001, 65535)).map(lambda pair: f"{pair[0]}-{pair[1]}"),
    ),
    max_size=4,
    unique=True,
)
TYPES = st.lists(st.one_of(st.sampled_from(sorted(ICMP_TYPES)), st.integers(0, 255).map(str)), max_size=3, unique=True)
OTHERS = st.lists(
    st.sampled_from(["tcp", "udp", "icmp", "gre", "esp", "sctp", "1", "58", "200"]), max_size=4, unique=True
)


@st.composite
def rules(draw: st.DrawFn) -> pb.Rule:
    verdict = draw(st.sampled_from([pb.Rule.ALLOW, pb.Rule.DROP, pb.Rule.RESET]))
    direction = draw(st.sampled_from([pb.Rule.BOTH, pb.Rule.IN, pb.Rule.OUT]))
    rule = pb.Rule(
        verdict=verdict, direction=direction, source=draw(WHO), destination=draw(WHO), log=draw(st.booleans())
    )
    match draw(st.integers(0, 2)):
        case 0:
            rule.protocols.extend(draw(st.sampled_from([["tcp"], ["udp"], ["tcp", "udp"]])))
            rule.ports.extend(draw(PORTS))
        case 1:
            rule.protocols.extend(draw(st.sampled_from([["icmp"], ["1"], ["58"], ["1", "58"]])))
            rule.types.extend(draw(TYPES))
        case _:
            rule.protocols.extend(draw(OTHERS))
    return rule


@given(rules())
def test_what_is_printed_is_read_back(rule: pb.Rule) -> None:
    text = print_rule(rule)
    again, spans = parse_rule(text)
    assert again == rule
    assert print_rule(again) == text
    for index, who in enumerate(rule.source):
        span = spans[f"from[{index}]"]
        assert text[span.offset : span.offset + span.length] == who


def error_of(text: str) -> FormatError | None:
    try:
        parse_rule(text)
    except FormatError as error:
        return error
    return None


@given(st.text(max_size=80))
def test_any_text_is_a_rule_or_an_error_inside_it(text: str) -> None:
    error = error_of(text)
    assert error is None or 0 <= error.offset <= len(text)


PIECES = ["", "any", "tcp", "10.0.0.0/8", ",", "to", "a,", "1-"]


@given(rules(), st.data())
def test_a_damaged_rule_is_a_rule_or_an_error_inside_it(rule: pb.Rule, data: st.DataObject) -> None:
    words = print_rule(rule).split()
    at = data.draw(st.integers(0, len(words) - 1))
    words[at : at + 1] = data.draw(st.lists(st.sampled_from(PIECES), max_size=2))
    text = " ".join(words)
    error = error_of(text)
    assert error is None or 0 <= error.offset <= error.offset + error.length <= len(text) + 1


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        ("alow tcp from any to any", "'alow' where allow, drop or reset is wanted", "alow"),
        ("allow tpc from any to any", "'tpc' is not a protocol", "tpc"),
        ("allow tcp form any to any", "'form' where 'from' is wanted", "form"),
        ("allow tcp from 10.0.0.1/8 to any", "'10.0.0.1/8' has bits beyond its length", "10.0.0.1/8"),
        ("allow tcp from any to any port 80,x", "'x' is not a number", "x"),
        ("allow tcp from any to any port 80-70", "'80-70' ends before it begins", "80-70"),
        ("allow tcp from any to any port 70000", "70000 is out of range", "70000"),
        ("allow any from any to any port 80", "port with any", "port"),
        ("allow gre from any to any port 80", "port with gre", "port"),
        ("allow tcp from any to any type echo-request", "type with tcp", "type"),
        ("allow icmp from any to any type echo-reqest", "'echo-reqest' is not an ICMP type", "echo-reqest"),
        ("allow tcp from any to any log port 80", "'port' where the end is wanted", "port"),
        ("allow tcp from any to any logg", "'logg' where port, type, log is wanted", "logg"),
        ("allow tcp from a,a to any", "'a' is there twice", "a"),
        ("allow tcp,any from any to any", "any is not one of several", "any"),
        ("allow tcp from any", "the rule ends where to is wanted", "y"),
        ("allow tcp from a, b to any", "nothing beside a comma where who opens the connection is wanted", ","),
        ("allow icmpv6 from any to any", "icmpv6 is not a protocol of rules", "icmpv6"),
    ],
)
def test_errors_of_rules(text: str, message: str, place: str) -> None:
    with pytest.raises(FormatError) as error:
        parse_rule(text)
    assert error.value.message == message
    assert text[error.value.offset : error.value.offset + error.value.length] == place


def test_words_are_canonical() -> None:
    rule, _ = parse_rule("drop 6,17,1 from 10.0.0.1 to 2001:DB8::1,a")
    assert print_rule(rule) == "drop tcp,udp,1 from 10.0.0.1/32 to 2001:db8::1/128,a"
