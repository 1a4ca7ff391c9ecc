"""JSON values: what `normalise` keeps, changes and refuses; pointers and copies."""

from __future__ import annotations

import enum
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abstractruntime._json import (
    dump_line,
    dump_sorted,
    escape_pointer,
    isolate,
    join_pointer,
    load_strict,
    normalise,
    replace_surrogates,
    split_pointer,
)
from abstractruntime.errors import InvalidValue

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


class Colour(str, enum.Enum):
    RED = "red"


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("value", "clean"),
    [
        ((1, (2,)), [1, [2]]),
        (
            {2: "a", None: "b", True: "c", 1.5: "d"},
            {"2": "a", "null": "b", "true": "c", "1.5": "d"},
        ),
        ({"c": Colour.RED}, {"c": "red"}),
        (Text("x"), "x"),
        ({"a": [{"b": (1,)}]}, {"a": [{"b": [1]}]}),
    ],
    ids=["tuples", "keys", "enum", "subclass", "nested"],
)
def test_normalise_changes(value, clean):
    found = normalise(value)

    assert (found, json.dumps(found)) == (clean, json.dumps(clean))


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"a": [1, math.nan]}, "/a/1"),
        ({"a": {"b/c": math.inf}}, "/a/b~1c"),
        ({"a": {1, 2}}, "/a"),
        ({"a": "\ud800"}, "/a"),
        ({"\ud800": 1}, "/"),
        ({("t",): 1}, "/"),
    ],
    ids=["nan", "infinity", "set", "surrogate", "surrogate-key", "tuple-key"],
)
def test_normalise_refuses_and_names_the_place(value, path):
    with pytest.raises(InvalidValue) as caught:
        normalise(value)

    assert caught.value.details["path"] == path


def test_normalise_refuses_what_is_nested_too_deep():
    value: list = []
    for _ in range(250):
        value = [value]

    with pytest.raises(InvalidValue, match="nested deeper"):
        normalise(value)


@given(JSON)
def test_plain_json_passes_unchanged_and_copies_share_nothing(value):
    try:
        dump_line(value)
    except UnicodeEncodeError:
        with pytest.raises(InvalidValue):
            normalise(value)
        return

    assert normalise(value) is value
    assert json.dumps(isolate(value)) == json.dumps(value)
    assert isolate(value) is not value or not isinstance(value, dict | list)


@pytest.mark.parametrize("text", ['{"a":1,"a":2}', "[NaN]", "[1,]", "", '{"a":Infinity}'])
def test_load_strict_refuses(text):
    with pytest.raises(ValueError, match=r"."):
        load_strict(text)


def test_sorted_form_is_that_of_04():
    assert dump_sorted({"b": 1e16, "a": "é"}) == '{"a":"é","b":1e+16}'.encode()


@given(st.text())
def test_pointer_tokens_survive(token):
    assert split_pointer(f"/{escape_pointer(token)}") == [token]
    assert split_pointer(join_pointer([token, 7, token])) == [token, "7", token]


def test_surrogates_are_replaced_once_each():
    assert replace_surrogates("a\ud800b") == "a\ufffdb"
