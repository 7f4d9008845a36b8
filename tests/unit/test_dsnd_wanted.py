"""Each object says which generation it was applied with, which one is wanted, and why they differ."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, cast

import pytest

from hal.errors import ErrorKind, HalError
from sdk.api import card_pb2 as pb
from sdk.dsnd.card import Card
from sdk.dsnd.collector import Collector
from sdk.dsnd.server import CardServicer
from services.core.objects import IntentError
from tests.tools.daemon import ONE, whole


def told(card: Card) -> dict[str, tuple[int, int, str]]:
    """Kind and name of each object -> generation applied and wanted, and why they differ."""
    served = CardServicer(card, Collector(lambda: card.backend), lambda: None, lambda _: None)
    found = served.GetObjects(pb.GetObjectsRequest(), cast("Any", None))
    return {f"{one.kind} {one.name}": (one.applied_generation, one.wanted_generation, one.reason) for one in found}


BLUE = "---\nkind: Vrf\nname: blue\n"


def test_an_object_has_generations_of_its_own(start: Callable[[], Card]) -> None:
    card = start()
    first = card.apply(whole(ONE)).generation
    assert told(card)["Subnet shop"] == (first, first, "")
    assert told(card)["Vrf default"] == (first - 1, first - 1, "")  # it was there before
    second = card.apply(whole(ONE + BLUE)).generation
    found = told(card)
    assert found["Vrf blue"] == (second, second, "")
    assert found["Subnet shop"] == (first, first, "")
    third = card.apply(whole(ONE.replace("10.1.0.1/24", "10.1.0.1/25") + BLUE)).generation
    found = told(card)
    assert (found["Subnet shop"], found["Vrf blue"]) == ((third, third, ""), (second, second, ""))


def test_of_what_was_refused_each_object_tells_what_is_its_own(start: Callable[[], Card]) -> None:
    """One that is wrong says why, one that only came with it says so, and what isn't touched is as it was asked for."""
    card = start()
    generation = card.apply(whole(ONE + BLUE)).generation
    assert "Subnet shop" in told(card)
    wrong = ONE.replace("gateways", "gatewais") + BLUE + "---\nkind: Vrf\nname: green\n"
    with pytest.raises(IntentError):
        card.apply(whole(wrong))
    found = told(card)
    assert found["Vrf blue"] == (generation, generation, "")
    own = "the last apply was refused: a.yaml:4:8: error: Subnet shop, field gatewais: unknown field"
    applied, wanted, reason = found["Subnet shop"]
    assert (applied, wanted > applied, reason[: len(own)]) == (generation, True, own)
    applied, wanted, reason = found["Vrf green"]
    assert (applied, wanted > generation) == (0, True)
    assert reason.startswith("the last apply, which changes it, was refused: a.yaml:4:8: error: Subnet shop")
    # What would be taken out is touched as well.
    with pytest.raises(IntentError):
        card.apply(whole(ONE.replace("gateways", "gatewais")))
    applied, wanted, reason = told(card)["Vrf blue"]
    assert (wanted > applied, reason.startswith("the last apply, which changes it, was refused: ")) == (True, True)
    card.apply(whole(ONE + BLUE))
    assert told(card)["Vrf blue"] == told(card)["Subnet shop"] == (generation, generation, "")
    assert {reason for _, _, reason in told(card).values()} == {""}


def test_of_what_the_engine_refused_the_object_of_its_row_is_told(
    start: Callable[[], Card], monkeypatch: pytest.MonkeyPatch
) -> None:
    card = start()
    generation = card.apply(whole(ONE)).generation

    def refuse(*rows: Any, names: Any, **__: Any) -> None:
        row = next(one for one in names if one.table == "vrf" and one.text == "blue")
        raise HalError(ErrorKind.FULL, "table vrf", table="vrf", row=0, row_id=row.id)

    with monkeypatch.context() as patch:
        patch.setattr("sdk.dsnd.tables.sync", refuse)
        with pytest.raises(HalError):
            card.apply(whole(ONE + BLUE + "---\nkind: Vrf\nname: green\n"))
    found = told(card)
    assert found["Subnet shop"] == (generation, generation, "")
    words = "the last apply was refused: FULL: table vrf blue (a.yaml:"
    assert found["Vrf blue"][2].startswith(words)
    assert found["Vrf green"][2].startswith(words)
    assert found["Vrf green"][:2] == (0, generation + 1)


def test_what_is_being_applied_is_told_as_such(start: Callable[[], Card], monkeypatch: pytest.MonkeyPatch) -> None:
    card = start()
    generation = card.apply(whole(ONE)).generation
    planned, go = threading.Event(), threading.Event()
    lock = card._lock

    class Gate:
        """Its second taker waits: the commit, behind the reading."""

        def __init__(self) -> None:
            self.taken = 0

        def acquire(self, timeout: float = -1) -> bool:
            if threading.current_thread() is applying:
                self.taken += 1
                if self.taken == 2:
                    planned.set()
                    go.wait(10)
            return lock.acquire(timeout=timeout)

        def release(self) -> None:
            lock.release()

    applying = threading.Thread(target=lambda: card.apply(whole(ONE + BLUE)))
    monkeypatch.setattr(card, "_lock", Gate())
    applying.start()
    assert planned.wait(10)
    found = told(card)
    assert found["Vrf blue"] == (0, generation + 1, "it is being applied")
    assert found["Subnet shop"] == (generation, generation, "")
    go.set()
    applying.join()
    assert told(card)["Vrf blue"][2] == ""
