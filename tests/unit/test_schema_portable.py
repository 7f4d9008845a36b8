"""A schema as text: nothing is lost, rows of it are shown as ours are, and what is no schema is refused."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal.errors import ErrorKind, HalError
from hal.packet import NextHop, Route, Vrf
from hal.packet.schema.classes import row_classes
from hal.packet.schema.portable import from_text, made_classes, to_text
from hal.packet.schema.registry import schema


def test_a_schema_comes_back_whole() -> None:
    assert from_text(to_text(schema())) == schema()


def test_rows_of_made_classes_read_as_ours_do() -> None:
    made = made_classes(from_text(to_text(schema())), {})
    assert made.keys() == row_classes().keys()
    for row in (
        Vrf(id=7, punt_port=3),
        NextHop(id=1, port=2, address="192.0.2.1"),
        Route(id=2, vrf=7, prefix="203.0.113.0/24", next_hop=1),
    ):
        kind = made[type(row).__name__]
        assert kind is not type(row)
        theirs = kind.from_wire(row.rows().data[0])
        assert theirs.to_dict() == row.to_dict()
        assert str(theirs) == str(row)
        assert theirs.rows().data.tobytes() == row.rows().data.tobytes()


def test_classes_that_are_known_are_not_made() -> None:
    known = row_classes()
    assert made_classes(schema(), known) == {}
    del known["Route"]
    assert list(made_classes(schema(), known)) == ["Route"]


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, member in members for found in _paths(member, (*path, key)))]


WHOLE = json.loads(to_text(schema()))[:2]
JUNK = st.recursive(st.none() | st.booleans() | st.integers(-1, 9) | st.text(max_size=3), st.lists, max_leaves=3)


@given(st.sampled_from([path for path in _paths(WHOLE) if path]), JUNK)
def test_what_is_no_schema_is_corrupt(path: tuple[Any, ...], junk: Any) -> None:
    data = json.loads(json.dumps(WHOLE))
    place = data
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = junk
    raised = None
    try:
        made_classes(from_text(json.dumps(data)), {})  # junk may be right where it stands
    except HalError as error:
        raised = error.kind
    assert raised in (None, ErrorKind.CORRUPT)


@pytest.mark.parametrize("text", ["", "3", "[3]", "[{}]", "null", "[" * 100_000])
def test_what_is_no_json_is_corrupt(text: str) -> None:
    with pytest.raises(HalError, match="Use the dsn of the version that the card runs") as caught:
        from_text(text)
    assert caught.value.kind is ErrorKind.CORRUPT
