import pytest
from pure_nodes import error_of, evaluate, same

from abstractruntime.nodes import _parse
from abstractruntime.nodes.base import NodeError


@pytest.mark.parametrize(
    "text,expected",
    [
        ("5", {"value": 5}),
        ('"{\\"a\\": 1}"', {"value": '{"a": 1}'}),
        (" null ", {"value": None}),
        ("None", {"value": None}),
        (True, {"value": True}),
        (2.0, {"value": 2.0}),
        ([1], [1]),
        ('{"n": 123456789012345678901234567890}', {"n": 123456789012345678901234567890}),
        ('{"a":1,"a":2}', {"a": 2}),
        ('```{"a":1}```', {"a": 1}),
        ("```json\n[1]\n```\nDone.", [1]),
        ("```\n[1]", [1]),
        ("Answer: {bad} but [1, 2] works {", [1, 2]),
        ("(1, (2,), b'x')", [1, [2], "b'x'"]),
        ("{1: 'a', True: 2, None: 3}", {"1": 2, "None": 3}),
        ("{'b', 'a'}", {"value": "{'a', 'b'}"}),
        ("[1, 2,]", [1, 2]),
        ("'\\d'", {"value": "\\d"}),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_parse_json(text, expected):
    assert same(evaluate("parse_json", {"text": text}), expected)


@pytest.mark.parametrize("flag,expected", [(False, 7), (0, 7), ("false", {"value": 7})])
def test_parse_json_wraps_scalars_unless_told_otherwise(flag, expected):
    assert evaluate("parse_json", {"text": "7", "wrap_scalar": flag}) == expected


@pytest.mark.parametrize(
    "text,message",
    [
        ("", "parse_json requires a non-empty 'text' input."),
        (None, "parse_json requires a non-empty 'text' input."),
        ("hello world", "Invalid JSON: invalid syntax"),
        ("hello", "Invalid JSON: malformed node or string"),
        ("NaN", "Invalid JSON: "),
        ("[1e999]", "Invalid JSON: inf at '/0' is not JSON"),
        ("[" * 5000, "Invalid JSON: "),
        ('"\\ud800"', "Invalid JSON: text at '/' holds a lone surrogate"),
        ("\0", "Invalid JSON: "),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_parse_json_refuses(text, message):
    error = error_of("parse_json", {"text": text})

    assert error.startswith(message)
    assert " at 0x" not in error


@pytest.mark.parametrize(
    "inputs,expected",
    [
        ({"value": {"b": 2.0, "a": "é"}, "mode": "none"}, '{"b": 2.0, "a": "é"}'),
        ({"value": {"b": 1, "a": []}, "mode": " MINIFIED ", "sort_keys": True}, '{"a":[],"b":1}'),
        ({"value": {"b": 1, "a": 2}, "mode": "minified", "sort_keys": "true"}, '{"b":1,"a":2}'),
        ({"value": [1]}, "[\n  1\n]"),
        ({"value": [1], "mode": "zzz", "indent": "1"}, "[\n 1\n]"),
        ({"value": [1], "indent": 0}, "[1]"),
        ({"value": [1], "indent": -3}, "[1]"),
        ({"value": [1], "mode": "beautify", "indent": -3}, "[\n  1\n]"),
        ({"value": '{"b":1,"a":[ ]}', "mode": "minified"}, '{"b":1,"a":[]}'),
        ({"value": "```json\n[ 1 ]\n```", "mode": "minified"}, "[1]"),
        ({"value": "5", "mode": "none"}, "5"),
        ({"value": "hello", "mode": "none"}, '"hello"'),
        ({"value": "See [1] for", "mode": "none"}, '"See [1] for"'),
        ({"value": "{'a': 1}", "mode": "none"}, "\"{'a': 1}\""),
        ({"value": "null", "mode": "none"}, '"null"'),
        ({"value": "NaN", "mode": "none"}, '"NaN"'),
        ({"value": ""}, '""'),
        ({}, "null"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_stringify_json(inputs, expected):
    assert evaluate("stringify_json", inputs) == expected


def test_a_long_text_is_not_compiled():
    def compiles(_text):
        raise AssertionError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_parse.ast, "literal_eval", compiles)
        with pytest.raises(NodeError, match="are not read as Python"):
            _parse.parse_loose_json("[" + "x," * 30_000 + "]")
