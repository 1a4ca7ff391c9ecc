from __future__ import annotations

import pytest
from node_scope import NOON, FakeScope, element, evaluate

from abstractruntime.nodes.base import NodeError
from abstractruntime.nodes.registry import find_node_type

VARS = {"a": {"b": [1, {"c": None}]}, "n": 0, "_limits": {"max": 9}, "list": [[1, 2]]}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n", 0),
        (" n ", 0),
        ("a.b.0", 1),
        ("a.b[0]", 1),
        ("a.b.1.c", None),
        ("a.b.9", None),
        ("a.b.-1", None),
        ("list[0][1]", 2),
        ("a..b", None),
        ("", None),
        (None, None),
        ("n.x", None),
        ("_limits.max", 9),
    ],
    ids=repr,
)
def test_get_var(name, value):
    assert evaluate("get_var", {"name": name}, VARS) == {"value": value}


@pytest.mark.parametrize(("variables", "value"), [({}, 7), ({"n": None}, None), ({"n": 0}, 0)])
def test_the_default_of_get_var_is_for_what_is_missing(variables, value):
    assert evaluate("get_var", {"name": "n", "default": 7}, variables) == {"value": value}


@pytest.mark.parametrize(
    ("config", "stored", "value"),
    [
        ("flag", True, True),
        ("flag", "true", False),
        ({"name": "flag", "default": True}, None, True),
        ({"name": "flag", "default": 1}, None, False),
        ({"name": "flag", "default": True}, False, False),
    ],
)
def test_bool_var(config, stored, value):
    found = evaluate("bool_var", {}, {"flag": stored}, literalValue=config)

    assert found == {"name": "flag", "value": value}


@pytest.mark.parametrize(
    ("kind", "default", "stored", "value"),
    [
        ("number", 3, 5, 5),
        ("number", 3, True, 3),
        ("number", "x", "y", 0),
        ("string", "d", 1, "d"),
        ("boolean", None, None, False),
        ("object", None, [], {}),
        ("array", [1], None, [1]),
        ("any", 7, None, 7),
        ("any", 7, "s", "s"),
        ("any", None, None, None),
        ("frob", 7, None, 7),
    ],
)
def test_var_decl(kind, default, stored, value):
    config = {"name": "v", "type": kind, "default": default}

    assert evaluate("var_decl", {}, {"v": stored}, literalValue=config) == {
        "name": "v",
        "value": value,
    }


def test_var_decl_with_plain_text_has_no_name():
    assert evaluate("var_decl", {}, {"v": 1}, literalValue="v") == {"name": "", "value": None}


@pytest.mark.parametrize(
    ("name", "value", "after"),
    [
        ("x", 1, {"x": 1}),
        ("o.p.q", 1, {"o": {"p": {"q": 1}}}),
        ("s.p", 1, {"s": {"p": 1}}),
        ("l.0", 5, {"l": [5, 2]}),
        ("l[1]", 5, {"l": [1, 5]}),
        ("a..b", 1, {"a": {"b": 1}}),
        ("o._x", 1, {"o": {"_x": 1}}),
    ],
)
def test_set_var(name, value, after):
    variables = {"s": "text", "l": [1, 2]}

    assert evaluate("set_var", {"name": name, "value": value}, variables) == {"value": value}
    assert after.items() <= variables.items()


@pytest.mark.parametrize(
    ("pin", "value"),
    [
        ("value:boolean", False),
        ("value:number", 0),
        ("value:string", ""),
        ("value:object", None),
        ("", None),
    ],
)
def test_set_var_without_value_stores_the_empty_value_of_the_pin(pin, value):
    variables = {"x": 1}

    evaluate("set_var", {"name": "x"}, variables, ins=pin)

    assert variables["x"] == value
    assert type(variables["x"]) is type(value)


@pytest.mark.parametrize(
    ("kind", "inputs", "message"),
    [
        ("set_var", {"name": " "}, "Set Variable requires a non-empty variable name."),
        (
            "set_var",
            {"name": "_x"},
            "Invalid variable name '_x': names starting with '_' are reserved.",
        ),
        ("set_var", {"name": ".."}, "Failed to set variable"),
        ("set_var", {"name": "l.9", "value": 1}, "no index"),
        ("set_var", {"name": "l.x", "value": 1}, "no index"),
        (
            "set_var_property",
            {"name": "", "key": "k"},
            "Set Variable Property requires a non-empty variable name.",
        ),
        (
            "set_var_property",
            {"name": "x", "key": " "},
            "Set Variable Property requires a non-empty key.",
        ),
        (
            "set_vars",
            {"updates": {"a": 1, " ": 2}},
            "Set Variables requires non-empty variable names in updates.",
        ),
        ("set_vars", {"updates": {"a": 1, "_b": 2}}, "Invalid variable name '_b'"),
    ],
)
def test_bad_names_are_refused_and_change_nothing(kind, inputs, message):
    variables = {"l": [1]}

    with pytest.raises(NodeError) as caught:
        evaluate(kind, inputs, variables)

    assert message in str(caught.value)
    assert variables == {"l": [1]}


@pytest.mark.parametrize(
    ("key", "after"),
    [
        ("k", {"k": 2, "o": {"p": 1}}),
        ("o.p", {"k": 1, "o": {"p": 2}}),
        ("...", {"k": 1, "o": {"p": 1}}),
    ],
)
def test_set_var_property_leaves_other_holders_of_the_object_alone(key, after):
    original = {"k": 1, "o": {"p": 1}}
    variables = {"x": original}

    found = evaluate("set_var_property", {"name": "x", "key": key, "value": 2}, variables)

    assert found == {"value": after}
    assert variables["x"] == after
    assert original == {"k": 1, "o": {"p": 1}}


@pytest.mark.parametrize(
    ("updates", "stored"),
    [
        ({"a.b": 1, "c": 2}, {"a": {"b": 1}, "c": 2}),
        ('{"c": 2}', {"c": 2}),
        ("nope", {}),
        ([1], {}),
        (None, {}),
        ("[1]", {}),
    ],
)
def test_set_vars(updates, stored):
    variables = {"keep": 1}

    evaluate("set_vars", {"updates": updates}, variables)

    assert variables == {"keep": 1, **stored}


@pytest.mark.parametrize(
    ("context", "record"),
    [
        (None, {"context": {}, "task": "", "messages": []}),
        (
            {"task": 5, "messages": "m"},
            {"context": {"task": 5, "messages": "m"}, "task": "5", "messages": ["m"]},
        ),
    ],
)
def test_get_context(context, record):
    assert evaluate("get_context", {}, {"context": context}) == record


def test_add_message_appends_to_the_conversation():
    variables = {"context": {"task": "t", "messages": [{"role": "user", "content": "a"}]}}
    scope = FakeScope(variables)

    record = find_node_type("add_message").evaluate(element("add_message"), {"content": 5}, scope)

    assert record["message"]["role"] == "user"
    assert record["message"]["content"] == "5"
    assert record["message"]["timestamp"].startswith(NOON.strftime("%Y-%m-%dT%H:%M"))
    assert record["message"]["metadata"]["message_id"].startswith("msg_")
    assert variables["context"]["messages"] == record["messages"]
    assert len(record["messages"]) == 2
