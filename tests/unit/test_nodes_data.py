import copy

import pytest
from pure_nodes import error_of, evaluate, same

DEEP = {"a": {"b": [10, {"c": "deep"}], "n": None, "z": 0}, "x.y": "dotted", "é": 1, "l": [1, 2]}
ITEMS = [{"id": 1}, {"id": 2}, "plain", None, {"id": None}, {"id": 1.0}]


@pytest.mark.parametrize(
    "key,expected",
    [
        ("a.b[1].c", "deep"), ("a.b.0", 10), ("a.z", 0), ("é", 1), ("l[1]", 2),
        ("a.q.r", "dflt"), ("a.n", "dflt"), ("x.y", "dflt"), ("", "dflt"), (None, "dflt"), (5, "dflt"),
        ("l[9]", "dflt"), ("l[-1]", "dflt"), ("l.-1", "dflt"), ("a.z.k", "dflt"), ("[0]", "dflt"),
        ("a..b", "dflt"), ("l[99999999999999999999]", "dflt"), ("l." + "9" * 5000, "dflt"),
    ],
    ids=lambda value: repr(value)[:20],
)  # fmt: skip
def test_get(key, expected):
    assert evaluate("get", {"object": DEEP, "key": key, "default": "dflt"}) == {"value": expected}


@pytest.mark.parametrize("source", [None, '{"a": 1}', 5, []], ids=repr)
def test_get_from_no_object_gives_the_default(source):
    assert evaluate("get", {"object": source, "key": "a", "default": 3}) == {"value": 3}


@pytest.mark.parametrize(
    "source,key,expected",
    [
        ({"a": 1}, "b", {"a": 1, "b": "v"}),
        ({}, "x.y.z", {"x": {"y": {"z": "v"}}}),
        ({"a": 5}, "a.b", {"a": {"b": "v"}}),
        ({"l": [1, {"k": 2}]}, "l[1].k", {"l": [1, {"k": "v"}]}),
        ({"l": [1, 2]}, "l.0", {"l": ["v", 2]}),
        ({"a": 1}, "", {"a": 1, "": "v"}),
        (None, 3, {"3": "v"}),
        ([["a", 1]], "b", {"a": 1, "b": "v"}),
    ],
)
def test_set_gives_a_changed_copy(source, key, expected):
    before = copy.deepcopy(source)

    assert evaluate("set", {"object": source, "key": key, "value": "v"}) == expected
    assert source == before


@pytest.mark.parametrize(
    "source,key,message",
    [
        ({"l": [1]}, "l.k", "'k'"),
        ({"l": [1]}, "l[1]", "1"),
        ("x", "a", "dictionary update sequence element #0 has length 1; 2 is required"),
        ([1], "a", "cannot convert dictionary update sequence element #0 to a sequence"),
        (5, "a", "'int' object is not iterable"),
    ],
)
def test_set_refuses(source, key, message):
    assert message in error_of("set", {"object": source, "key": key, "value": 1})


@pytest.mark.parametrize(
    "inputs,expected",
    [
        ({"a": {"o": {"p": 1}}, "b": {"o": {"q": 2}}}, {"o": {"q": 2}}),
        ({"a": None, "b": {"x": 1}}, {"x": 1}),
        ({"a": {"result": 1}, "b": {"k": 2}}, {"result": 1, "k": 2}),
    ],
)
def test_merge(inputs, expected):
    assert evaluate("merge", inputs) == expected


@pytest.mark.parametrize(("value", "shown"), [("zz", '"zz"'), ([1], "[1]"), (5, "5")])
def test_merge_refuses(value, shown):
    assert error_of("merge", {"a": value}) == f"expected an object, got {shown}"


def test_make_object_keeps_null_and_skips_hidden_names():
    inputs = {"output": 5, "k": None, "_h": 1}

    assert evaluate("make_object", inputs) == {"output": 5, "k": None}


@pytest.mark.parametrize(
    "source,paths,expected",
    [
        ({"a": {"b": [1]}}, [" a.b.0 ", "a.b[0]", "q"], {"a.b.0": 1, "a.b[0]": 1, "q": None}),
        ('```json\n{"a": 7}\n```', ["a"], {"a": 7}),
        ("not json", ["a"], {"a": None}),
        (None, ["a", "", 5, None], {"a": None}),
        ({"a": 1}, None, {}),
    ],
)
def test_break_object(source, paths, expected):
    data = {"breakConfig": {"selectedPaths": paths}}

    assert evaluate("break_object", {"object": source}, data) == expected


@pytest.mark.parametrize(
    "name,inputs,declared,expected",
    [
        ("make_array", {"a": 1, "b": 2}, ["b", "a"], [2, 1]),
        ("make_array", {"c": 3, "a": 1}, [], [1]),
        ("make_array", {"a": None, "b": [2]}, ["a", "b"], [[2]]),
        ("array_concat", {"a": [1, [2]], "b": None, "c": "x"}, ["a", "b", "c"], [1, [2], "x"]),
    ],
)
def test_lists_are_built_in_declared_order(name, inputs, declared, expected):
    data = {"inputs": [{"id": pin} for pin in declared]}

    assert evaluate(name, inputs, data) == expected


@pytest.mark.parametrize(
    "name,inputs,expected",
    [
        ("array_append", {"array": None, "item": 2}, [2]),
        ("array_append", {"array": {"a": 1}, "item": 2}, [{"a": 1}, 2]),
        ("array_append", {"array": [1]}, [1, None]),
        ("array_length", {"array": {"a": 1}}, 0),
        ("has_tools", {"array": []}, False),
        ("array_map", {"items": ITEMS}, [None, None, "plain", None, None, None]),
        ("array_map", {"items": [{"a": {"b": 1}}], "key": "a.b"}, [None]),
        ("array_map", {"items": "ab"}, ["a", "b"]),
        ("array_map", {"items": None}, []),
        ("array_filter", {"items": ITEMS, "key": "id", "value": 1}, [{"id": 1}, {"id": 1.0}]),
        ("array_filter", {"items": ITEMS, "key": "id"}, [None, {"id": None}]),
        ("array_filter", {"items": [1, "1", True, 2], "value": 1}, [1, True]),
        ("array_filter", {"items": None, "value": 1}, []),
        ("array_dedup", {"array": [1, 1.0, True, "1", 1, None, None]}, [1, 1.0, True, "1", None]),
        ("array_dedup", {"array": [{"a": 1, "b": 2}, {"b": 2, "a": 1}]}, [{"a": 1, "b": 2}]),
        ("array_dedup", {"array": [{"a": {"b": 1}}, {"a": {"b": 1}, "c": 2}, 2], "key": "a.b"},
         [{"a": {"b": 1}}, 2]),
        ("array_dedup", {"array": "aa"}, []),
    ],
)  # fmt: skip
def test_lists(name, inputs, expected):
    assert same(evaluate(name, inputs), expected)


@pytest.mark.parametrize("name", ["array_map", "array_filter"])
def test_a_list_node_refuses_what_cannot_be_iterated(name):
    assert error_of(name, {"items": 5}) == "expected a list, got 5"


@pytest.mark.parametrize(
    "array,index,expected",
    [
        ([5, 6], 1.9, (6, True)), ([5, 6], "1", (6, True)), ([5, 6], -2, (5, True)),
        ([5, 6], True, (5, True)), ([5, 6], None, (5, True)), ([5, 6], "x", (5, True)),
        ([None], 0, (None, True)), ([5], 1, ("d", False)), ([5], -2, ("d", False)),
        ("abc", 0, ("d", False)), (None, 0, ("d", False)), ([5], 10**400, ("d", False)),
    ],
    ids=lambda value: repr(value)[:20],
)  # fmt: skip
def test_get_element(array, index, expected):
    output = evaluate("get_element", {"array": array, "index": index, "default": "d"})

    assert (output["result"], output["found"]) == expected


def test_get_random_element_draws_from_the_scope():
    drawn = {evaluate("get_random_element", {"array": [1, 2]}, seed=s)["result"] for s in range(20)}

    assert drawn == {1, 2}
