"""Every sentence of the contract has a check that quotes it, or a reason here why it promises nothing to check."""

from collections.abc import Iterable

from hal.conformance import Level, checks_for
from tests.conformance.sentences import SOURCES, sentences, squeezed, text_of, unquoted

QUOTES = {squeezed(quote): check.name for check in checks_for(Level.ALL) for quote in check.sentences}

HEADING = "a heading: what follows it promises"
NO_PROMISE = {
    "The HAL contract for packet engines: what every backend promises, whatever forwards behind it.": HEADING,
    "The sentences of this module, of `hal.packet.records` and of `hal.packet.reports` are the contract: each has a "
    "check in `hal.conformance`.": "held by this very test",
    "The values of the contract: what a card tells of itself when the verbs of `hal.packet.contract` ask it.": HEADING,
    "The values of the contract: what its verbs, in `hal.packet.contract`, take and give back.": HEADING,
    "Authority is split into three handles.": "a matter of types, which mypy holds; the next sentence is checked",
    "A port to open.": HEADING,
    'device: what it is: "linux:IFNAME", "tap:IFNAME" (a punt tap; both may end in "@NAMESPACE"), "null", "ring", '
    '"pcap:IN,OUT", "dpdk:DEVARGS", or "replay" (no device: packets come by replay only).': (
        "which devices a card can open is its own affair; a vendor names his in Device.port"
    ),
    'mac: the device\'s MAC where it has one of its own, else "".': "what is told to a card, not what it does",
    "Everything that is fixed before the first commit; none of it is ever part of one.": (
        "no operation of a commit can say any of it: a matter of types"
    ),
    "Authority over the whole engine.": HEADING,
    "What became of a packet that came in.": HEADING,
    "What a packet caused.": HEADING,
    "Authority to look.": HEADING,
    "A whole card as one holder of all authority sees it: what a conformance kit is handed.": HEADING,
}
"""Sentence -> why no check quotes it."""


PARTS_WITHOUT_PROMISE = {
    "Who holds a `Loader` opens ports and starts and stops forwarding": "a matter of types: the handle has these verbs",
    "who holds a `Reader` looks": "a matter of types: the handle has no other verbs",
}
"""Part of a sentence -> why no check quotes it, though checks quote the rest."""


def _left(sentence: str, quotes: Iterable[str] = QUOTES) -> str:
    return unquoted(sentence, (*quotes, *PARTS_WITHOUT_PROMISE))


def test_every_word_of_every_sentence_has_a_check() -> None:
    left = {f"{about}: {one}": _left(one) for about, one in sentences() if one not in NO_PROMISE}
    assert {sentence: words for sentence, words in left.items() if words} == {}


def test_no_excuse_is_stale() -> None:
    known = {sentence for _, sentence in sentences()}
    assert [one for one in NO_PROMISE if one not in known] == []
    assert [one for one in NO_PROMISE if not unquoted(one, QUOTES)] == []
    partly = " ".join(unquoted(one, QUOTES) for one in known)
    assert [part for part in PARTS_WITHOUT_PROMISE if part not in partly] == []


def test_quotes_are_word_for_word() -> None:
    texts = [text_of(path) for path in SOURCES]
    assert [(name, quote) for quote, name in QUOTES.items() if not any(quote in text for text in texts)] == []


def test_a_part_is_not_the_whole() -> None:
    whole = "A backend may sing, and two may dance."
    assert unquoted(whole, []) == whole
    assert unquoted(whole, ["A backend may sing"]) == ", and two may dance."
    assert unquoted(whole, ["two may dance.", "A backend may sing,"]) == ""
    assert unquoted(whole, ["backend may sing", "two may dance"]) == "A , and ."
    assert unquoted(whole, ["two may", "dance", "A back", "A backend may sin", "g"]) == "A backend may sing, and ."
    assert unquoted("A backend may sing", [f"{whole} So it is."]) == ""
