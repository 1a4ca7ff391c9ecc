"""Places of JSON pointers in a text."""

import pytest

from abstractruntime.visualflow_compiler._positions import first_duplicate_key, locate

TEXT = """{
  "a": [1, {"b/c": "x, {"},
    [true]],
  "": null, "\\u0061b": -1.5e3
}"""


@pytest.mark.parametrize(
    "pointer, place",
    [
        ("", (1, 1)),
        ("/a", (2, 8)),
        ("/a/0", (2, 9)),
        ("/a/1/b~1c", (2, 20)),
        ("/a/2/0", (3, 6)),
        ("/", (4, 7)),
        ("/ab", (4, 24)),
        ("/a/1/missing/deep", (2, 12)),
        ("/nothing", (1, 1)),
    ],
)
def test_locate_gives_the_value_or_its_nearest_ancestor(pointer, place):
    assert locate(TEXT, [pointer])[pointer] == place


@pytest.mark.parametrize(
    "text, expected",
    [
        ('{"a": 1, "b": {"a": 1}}', None),
        ('[{"a": 1}, {"a": 1}]', None),
        ('{"a": 1,\n"a": 2}', ("/a", (2, 1))),
        ('{"x": [{"k": 1, "\\u006b": 2}]}', ("/x/0/k", (1, 17))),
    ],
    ids=["nested", "siblings", "top", "escaped"],
)
def test_first_duplicate_key(text, expected):
    assert first_duplicate_key(text) == expected


@pytest.mark.parametrize("text", ["", "{", "]", '{"a', '{"a": "\\', "[1,,]", ":", '"\\ud', "{{{"])
def test_scanning_stops_where_the_text_is_not_json(text):
    assert set(locate(text, ["/a"])) <= {"/a"}
    assert first_duplicate_key(text) is None


def test_depth_is_no_hazard():
    text = "[" * 3_000 + "1" + "]" * 3_000

    assert locate(text, ["/0/0/0"])["/0/0/0"] == (1, 4)
