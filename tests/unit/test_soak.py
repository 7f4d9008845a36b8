"""What a soak calls a leak, a drift, a failure: each on its own, beside a calm in which nothing is wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.core.intent import Source, load
from services.core.service import discover
from tests.demo.show import INTENT
from tests.soak.card import policy
from tests.soak.samples import Process, Sample, judge


def calm(count: int = 60) -> list[Sample]:
    """Samples of a card that is well: memory wavers, connections settle after a third."""
    return [
        Sample(
            seconds=20.0 * number,
            engine=Process(180_000 + min(number, 20) * 100 + number % 3 * 40, 41, 5),
            daemon=Process(80_000 + number % 5 * 300, 20, 12),
            flows=min(number, 20) * 500,
            files_kb=300 + number % 7 * 10,
            sent=number * 40_000,
            came=number * 40_000 + number % 4,
            talks=number * 2_400,
            failed=7,
            anew=1,
            trip_ms=0.8 + number % 4 / 10,
        )
        for number in range(count)
    ]


def test_a_calm_in_which_nothing_is_wrong() -> None:
    assert judge(calm()) == []


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("the engine's memory", lambda at, one: replace(one, engine=replace(one.engine, kb=one.engine.kb + 100 * at))),
        ("dsnd's memory", lambda at, one: replace(one, daemon=replace(one.daemon, kb=one.daemon.kb + 200 * at))),
        (
            "the engine's descriptors",
            lambda at, one: replace(one, engine=replace(one.engine, descriptors=41 + at // 8)),
        ),
        ("dsnd's descriptors", lambda at, one: replace(one, daemon=replace(one.daemon, descriptors=20 + at // 8))),
        ("the engine's threads", lambda at, one: replace(one, engine=replace(one.engine, threads=5 + at // 8))),
        ("dsnd's threads", lambda at, one: replace(one, daemon=replace(one.daemon, threads=12 + at // 8))),
        ("files on disk", lambda at, one: replace(one, files_kb=300 + 60 * at)),
        ("a word's round trip", lambda at, one: replace(one, trip_ms=0.8 + at * at / 100)),
        ("hosts have sent", lambda at, one: replace(one, came=one.came - 100 * at)),
        ("nobody talked", lambda _, one: replace(one, talks=5)),
        ("1 conversations failed", lambda at, one: replace(one, failed=7 + (at > 50))),
        ("lasting connections", lambda at, one: replace(one, anew=1 + (at > 50))),
    ],
)
def test_what_is_wrong_is_told_alone(what: str, change: object) -> None:
    assert callable(change)
    (told,) = judge([change(number, one) for number, one in enumerate(calm())])
    assert told.startswith(what)


def test_more_connections_may_take_memory() -> None:
    """Five thousand more of them are no leak; the same memory without them is one."""
    more = [
        replace(one, flows=one.flows + 200 * at, engine=replace(one.engine, kb=one.engine.kb + 80 * at))
        for at, one in enumerate(calm())
    ]
    assert judge(more) == []
    (told,) = judge([replace(one, flows=1000) for one in more])
    assert told.startswith("the engine's memory")


def test_every_change_of_the_policy_is_an_intent() -> None:
    """Days of them: the numbers in it are none that the intent has already, and none above a port's."""
    text, services = INTENT.read_text(), discover()
    for number in (1, 2, 80, 443, 8000, 8050, 40_000, 49_998, 50_000, 123_456):
        changed = policy(text, number)
        assert (changed == text) is bool(number % 2)
        assert load([Source("intent.yaml", changed.encode())], services).problems == ()
