import pytest
from node_scope import element
from pure_nodes import error_of, evaluate, same

from abstractruntime.nodes.registry import find_node_type

VARS = {"u": {"name": " Ana ", "tags": ["x", "y"], "n": 3.0}, "l": [{"id": 1}], "t": True, "a.b": 1}
A_B = {"inputs": [{"id": "b"}, {"id": "a"}]}


@pytest.mark.parametrize(
    "inputs,data,expected",
    [
        pytest.param({"a": "1", "b": "2"}, A_B, "2 1", id="declared order"),
        pytest.param({"zz": 3, "b": 2, "a": 1}, {}, "1 2 3", id="letters first without pins"),
        pytest.param({"b": "x"}, A_B, "x", id="absent pins add no separator"),
        pytest.param({"a": None, "b": "x"}, A_B, "x ", id="null adds an empty text"),
        pytest.param({}, A_B, "", id="nothing"),
        pytest.param(
            {"a": 1, "b": 2}, {"concatConfig": {"separator": "\\n"}}, "1\n2", id="escaped separator"
        ),
        pytest.param({"a": {"k": True}}, {}, "{'k': True}", id="python text by default"),
        pytest.param(
            {"a": {"k": True}, "b": None, "c": "t"},
            {"concatConfig": {"render": "json", "separator": "|"}},
            '{"k": true}||t',
            id="json on request",
        ),
    ],
)
def test_concat(inputs, data, expected):
    assert evaluate("concat", inputs, data) == expected


@pytest.mark.parametrize(
    "inputs,expected",
    [
        pytest.param({"text": " a , b ", "trim": False}, [" a ", " b "], id="no trim"),
        pytest.param({"text": "a,,b,", "drop_empty": False}, ["a", "", "b", ""], id="keep empty"),
        pytest.param({"text": "a,,b", "drop_empty": "false"}, ["a", "b"], id="text flag is true"),
        pytest.param({"text": "a-b", "delimiter": "-", "maxsplit": 0}, ["a-b"], id="no split"),
        pytest.param(
            {"text": "a, ,b", "trim": None, "drop_empty": None}, ["a", "b"], id="null flags"
        ),
        pytest.param({"text": "a,b,c", "maxsplit": -2}, ["a", "b", "c"], id="negative maxsplit"),
        pytest.param({"text": "a,b", "delimiter": None}, ["a,b"], id="null delimiter"),
        pytest.param({"text": "a\tb", "delimiter": "\\t"}, ["a", "b"], id="escape"),
        pytest.param({"text": 1.5, "delimiter": "."}, ["1", "5"], id="number"),
        pytest.param({"text": None}, [], id="null text"),
    ],
)
def test_split(inputs, expected):
    assert evaluate("split", inputs) == expected


@pytest.mark.parametrize(
    "inputs,expected",
    [
        pytest.param({"items": ["a", "b"], "delimiter": None}, "a,b", id="null delimiter"),
        pytest.param({"items": ["a", "b"], "delimiter": 0}, "a0b", id="number delimiter"),
        pytest.param({"items": "abc"}, "abc", id="scalar"),
        pytest.param({"items": None}, "", id="null"),
        pytest.param({"items": [True, None, {}]}, "True,,{}", id="python text"),
    ],
)
def test_join(inputs, expected):
    assert evaluate("join", inputs) == expected


def test_join_renders_json_on_request():
    data = {"joinConfig": {"render": "json"}}

    assert evaluate("join", {"items": [True, {"b": 1}, "t"]}, data) == 'true,{"b": 1},t'


@pytest.mark.parametrize(
    "template,values,expected",
    [
        ("[{x:>6}|{y:.2f}]", {"x": "ab", "y": 1.23456}, "[    ab|1.23]"),
        ("{p[k]}{p[l][1]}", {"p": {"k": 1, "l": [2, 3]}}, "13"),
        ("{x!r:>{w}}", {"x": "a", "w": 5}, "  'a'"),
        ("{x}", [1], "{x}"),
        (None, {"x": 1}, ""),
        (5, {}, "5"),
    ],
)
def test_format(template, values, expected):
    assert evaluate("format", {"template": template, "values": values}) == expected


@pytest.mark.parametrize(
    "template,message",
    [
        ("{y}", "'y'"),
        ("{}", "Replacement index 0 out of range for positional args tuple"),
        ("{3}", "Replacement index 3 out of range for positional args tuple"),
        ("{x.__class__}", "format field 'x.__class__' is not a name or an index"),
        ("{x[0].__doc__}", "is not a name or an index"),
        ("{x[9]}", "out of range"),
        ("{x:>9999999999}", "above 10000"),
        ("{x:\uff19\uff19\uff19\uff19\uff19\uff19}", "above 10000"),
        ("}", "Single '}'"),
        ("{n:c}", "lone surrogate"),
    ],
)
def test_format_refuses(template, message):
    assert message in error_of("format", {"template": template, "values": {"x": "a", "n": 0xD800}})


@pytest.mark.parametrize(
    "template,expected",
    [
        ("{{u.name | trim | upper}}", "ANA"),
        ("{{ u.name|lower }}", " ana "),
        ("{{l[0].id}}{{l.0.id}}{{l[-1].id}}{{l[7]}}", "11"),
        ("{{u | json}}", '{"n": 3.0, "name": " Ana ", "tags": ["x", "y"]}'),
        ("{{u.tags}} {{t}} {{u.n}}", "['x', 'y'] True 3.0"),
        ("{{u.tags|join(;)}} {{u.tags|join}} {{u.tags|join(' ')}}", "x;y x, y x y"),
        ("{{u.name|join(;)}}", " Ana "),
        ("<{{nope.x|upper}}{{a.b}}{{}}>", "<>"),
        ("{{t|frob}}{{u.name", "True{{u.name"),
        ("{{u.\nname}}", "{{u.\nname}}"),
        (None, ""),
        (5, "5"),
    ],
)
def test_string_template(template, expected):
    assert evaluate("string_template", {"template": template, "vars": VARS}) == expected


@pytest.mark.parametrize(
    "name,text,expected",
    [
        ("uppercase", [1, "a"], "[1, 'A']"),
        ("uppercase", None, ""),
        ("lowercase", "straße ΣΊΓΜΑ İ", "straße σίγμα i̇"),
        ("trim", {"k": "v"}, "{'k': 'v'}"),
        ("length", "👩‍👩‍👧 x", 7),
        ("length", [1], 3),
        ("length", None, 0),
    ],
)
def test_one_text(name, text, expected):
    assert same(evaluate(name, {"text": text}), expected)


@pytest.mark.parametrize(
    "start,end,expected",
    [
        (-3, -1, "de"),
        (2, None, "cdef"),
        (1, 99, "bcdef"),
        (4, 1, ""),
        (None, 2, "ab"),
        (1.9, 3, "bc"),
    ],
)
def test_substring(start, end, expected):
    assert evaluate("substring", {"text": "abcdef", "start": start, "end": end}) == expected


def test_substring_wants_whole_positions():
    assert "'1.5'" in error_of("substring", {"text": "abc", "start": "1.5"})


@pytest.mark.parametrize(
    "text,pattern,expected",
    [(1234, 23, True), (None, "a", False), ("a", None, False), ("A", "a", False)],
)
def test_contains(text, pattern, expected):
    assert evaluate("contains", {"text": text, "pattern": pattern}) is expected


@pytest.mark.parametrize(
    "mode,expected",
    [
        ("FIRST", "x-a-a"), (1, "x-a-a"), (True, "x-a-a"), (1.0, "x-a-a"), ("2", "x-x-a"), (2, "x-x-a"),
        (0, "a-a-a"), ("0", "a-a-a"), (-1, "x-x-x"), ("*", "x-x-x"), (None, "x-x-x"), ("1.5", "x-x-x"),
        ([], "x-x-x"),
    ],
    ids=repr,
)  # fmt: skip
def test_replace_counts(mode, expected):
    inputs = {"text": "a-a-a", "pattern": "a", "replacement": "x", "mode": mode}

    assert evaluate("replace", inputs) == expected


def test_replace_treats_null_as_empty():
    assert evaluate("replace", {"text": "abc", "pattern": "b", "replacement": None}) == "ac"
    assert evaluate("replace", {"text": "abc", "pattern": None, "replacement": "x"}) == "abc"


@pytest.mark.parametrize(
    ("template", "hints"),
    [
        ('{{a | json}} {{a|join("; ")|trim}} {{b}} | x', []),
        ("{{a|jsn}}\n{{b | zzzz}} {{c|jsn}}", ["did you mean 'json'?", "delete it"]),
    ],
)
def test_filters_that_are_ignored_are_reported(template, hints):
    node = element("string_template", pinDefaults={"template": template})

    problems = [*find_node_type("string_template").check(node)]
    assert [(p.code, p.hint) for p in problems] == [("VF210", hint) for hint in hints]
