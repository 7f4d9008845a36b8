"""Every drop reason that is declared is provoked by a fixture, by name."""

import re
from pathlib import Path

from hal.packet.schema.registry import schema

# The reason stands in the sentence, or in the table that the sentence's test is parametrised with.
NAMED = re.compile(r'is_dropped\(\s*"([a-z0-9_]+)"|^ +\*?\(+\s*"([a-z0-9_]+)",', re.MULTILINE)


def provoked() -> set[str]:
    texts = (path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    return {one or other for text in texts for one, other in NAMED.findall(text)}


def test_every_reason_is_provoked() -> None:
    assert {reason.name for reason in schema(own_only=True).reasons} - provoked() == set()


def test_reasons_are_declared() -> None:
    in_sentences = re.compile(r'is_dropped\(\s*"([a-z0-9_]+)"')
    texts = [path.read_text() for path in Path(__file__).parent.glob("test_*.py")]
    named = {reason for text in texts for reason in in_sentences.findall(text)}
    assert named - {reason.name for reason in schema(own_only=True).reasons} == set()
