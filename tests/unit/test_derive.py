"""Tables are brought to wanted rows by difference and one commit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal.errors import ErrorKind, HalError
from hal.packet.contract import Generation, LoadConfig, Name, OutcomeKind
from hal.packet.derive import SyncResult, sync
from hal.packet.frame._generated import Vrf
from hal.packet.model import Twin
from hal.packet.schema.rows import Row
from hal.packet.stages.route._generated import BlackholeRoute, NextHop, Route


@pytest.fixture
def twin() -> Iterator[Twin]:
    backend = Twin()
    backend.load(LoadConfig())
    backend.start()
    yield backend
    backend.close()


HOP = NextHop(id=1, port=3, address="192.0.2.1")


def test_first_everything_is_added_then_nothing_then_the_difference(twin: Twin) -> None:
    writer = twin.writer()
    routes = Route.array(id=[2, 3], vrf=0, prefix=["10.0.0.0/8", "2001:db8::/32"], next_hop=1)
    first = sync(writer, twin, Vrf(id=0), HOP, routes, tag="one")
    assert str(first).startswith("generation 1: +1 vrf, +1 next hop, +2 routes, ")
    again = sync(writer, twin, Vrf(id=0), HOP, routes, tag="one")
    assert (again.generation, again.changes) == (1, {})
    black = BlackholeRoute(id=2, vrf=0, prefix="10.0.0.0/8")
    third = sync(writer, twin, Vrf(id=0), HOP, black, tag="two")
    assert third.changes == {"route": (0, 1, 1)}
    assert twin.snapshot().rows("route") == [black]
    assert third.to_dict()["changes"]["route"] == {"added": 0, "changed": 1, "removed": 1}


def test_a_new_tag_alone_is_a_generation(twin: Twin) -> None:
    sync(twin.writer(), twin, Vrf(id=0), tag="one")
    assert sync(twin.writer(), twin, Vrf(id=0), tag="two").generation == 2
    assert twin.snapshot().tag == "two"


def test_a_table_that_no_row_is_of_is_emptied_only_if_named(twin: Twin) -> None:
    sync(twin.writer(), twin, Vrf(id=0), HOP)
    sync(twin.writer(), twin, Vrf(id=0))
    assert twin.snapshot().rows("next_hop") == [HOP]
    sync(twin.writer(), twin, Vrf(id=0), tables=("vrf", "next_hop"))
    assert twin.snapshot().rows("next_hop") == []
    with pytest.raises(HalError, match="table next_hop"):
        sync(twin.writer(), twin, HOP, tables=("vrf",))


def test_names_go_along(twin: Twin) -> None:
    sync(twin.writer(), twin, HOP, names=[Name("next_hop", 1, "router", "a.yaml", 3)])
    assert twin.snapshot().names["next_hop", 1].text == "router"


def test_a_new_name_alone_is_a_generation(twin: Twin) -> None:
    file = "dir/" * 50 + "a.yaml"
    first = Name("next_hop", 1, "router", file, 3)
    assert sync(twin.writer(), twin, HOP, names=[first]).generation == 1
    again = sync(twin.writer(), twin, HOP, names=[first])
    assert (again.generation, again.changes) == (1, {})
    for number, other in enumerate((replace(first, text="exit"), replace(first, text="exit", line=4), first), 2):
        assert sync(twin.writer(), twin, HOP, names=[other]).generation == number
        assert twin.snapshot().names["next_hop", 1] == replace(other, file=file[-127:])
    # Without names nothing is said of them, and nothing changes.
    assert sync(twin.writer(), twin, HOP).generation == 4
    assert twin.snapshot().names["next_hop", 1].text == "router"


class Racing:
    """A writer before whose first commits somebody else is faster."""

    def __init__(self, twin: Twin, times: int) -> None:
        self.twin, self.times = twin, times

    def commit(self, operations: Any, **more: Any) -> int:
        if self.times:
            self.times -= 1
            self.twin.writer().commit([])
            other = NextHop(id=100 + self.times, port=1, address="192.0.2.9")
            sync(self.twin.writer(), self.twin, other, *self.twin.snapshot().rows("next_hop"))
        return self.twin.writer().commit(operations, **more)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.twin.writer(), name)


def test_it_reads_again_when_others_are_faster(twin: Twin) -> None:
    racing: Any = Racing(twin, 3)
    sync(racing, twin, HOP)
    assert twin.snapshot().rows("next_hop") == [HOP]
    # Each try is a transaction of its own, and the last one is that which went through.
    numbers = count(7)
    again: Any = Racing(twin, 2)
    done = sync(again, twin, HOP, tag="again", transaction=lambda: next(numbers))
    assert next(numbers) == 10
    outcomes = [twin.writer().outcome(number) for number in (7, 8, 9)]
    assert [one.kind for one in outcomes] == [OutcomeKind.REFUSED, OutcomeKind.REFUSED, OutcomeKind.COMMITTED]
    assert outcomes[-1].generation == done.generation
    hopeless: Any = Racing(twin, 100)
    with pytest.raises(HalError) as caught:
        sync(hopeless, twin, NextHop(id=7, port=1, address="192.0.2.7"))
    assert caught.value.kind is ErrorKind.STALE


_rows = st.dictionaries(
    st.integers(0, 5),
    st.sampled_from(
        [lambda i: Route(id=i, vrf=0, prefix=f"10.{i}.0.0/16", next_hop=1),
         lambda i: Route(id=i, vrf=0, prefix=f"10.{i}.1.0/24", next_hop=1),
         lambda i: BlackholeRoute(id=i, vrf=0, prefix=f"10.{i}.0.0/16")]
    ),
)  # fmt: skip


@given(_rows, _rows)
def test_from_any_rows_to_any_rows(before: dict[int, Any], after: dict[int, Any]) -> None:
    twin = Twin()
    twin.load(LoadConfig())
    for wanted in (before, after):
        rows: list[Row] = [make(number) for number, make in wanted.items()]
        sync(twin.writer(), twin, Vrf(id=0), HOP, *rows, tables=("vrf", "next_hop", "route"))
        assert twin.snapshot().rows("route") == sorted(rows, key=lambda row: row.id)


def test_a_result_reads_as_a_sentence() -> None:
    result = SyncResult(
        Generation(42, 1), {"next_hop": (1, 0, 0), "route": (1062046, 0, 2), "firewall_policy": (0, 3, 0)}, 0.93
    )
    assert str(result) == "generation 42: +1 next hop, +1,062,046 routes, -2 routes, ~3 firewall policies, 0.9 s"
