"""The worked example of the language description, step by step."""

from __future__ import annotations

import pytest
from flow_builder import Host, end, flow, node, start

ROWS = [{"sku": "A1", "qty": 9}, {"sku": "B2", "qty": 1}]
RESTOCK = flow(
    start("rows", "limit", limit=3),
    node("each", "loop", "exec-in items", "loop done item index"),
    node("chk", "if", "exec-in condition", "true false"),
    node("low", "compare", "a b op", "result", pinDefaults={"op": "<"}),
    node("qty", "get", "object key", "value", pinDefaults={"key": "qty"}),
    node("sku", "get", "object key", "value", pinDefaults={"key": "sku"}),
    node("ask", "ask_user", "exec-in prompt", "exec-out response"),
    node(
        "msg",
        "string_template",
        "template vars",
        "result",
        pinDefaults={"template": "Reorder {{sku}}?"},
    ),
    node("save", "set_var", "exec-in name value", "exec-out value", pinDefaults={"name": "orders"}),
    node("add", "array_append", "array item", "result"),
    node("cur", "get_var", "name", "value", pinDefaults={"name": "orders"}),
    node("rec", "make_object", "sku answer", "result"),
    node("cnt", "array_length", "array", "result"),
    end("orders", "count"),
    edges="""
    s > each; s.rows > each.items; each.loop > chk; each.done > e
    each.item > qty.object; qty.value > low.a; s.limit > low.b; low.result > chk.condition
    chk.true > ask; each.item > msg.vars; msg.result > ask.prompt; ask > save
    each.item > sku.object; sku.value > rec.sku; ask.response > rec.answer
    cur.value > add.array; rec.result > add.item; add.result > save.value
    cur.value > e.orders; cur.value > cnt.array; cnt.result > e.count
    """,
)
FIRST = {"rows": ROWS, "limit": 3}
AMBIENT = [
    FIRST,
    {**FIRST, "item": ROWS[0], "index": 0, "total": 2},
    {"branch": "false", "condition": False},
    {"branch": "false", "condition": False, "item": ROWS[1], "index": 1, "total": 2},
    {"branch": "true", "condition": True},
    {"branch": "true", "condition": True},
    {"branch": "true", "condition": True},
    {"branch": "true", "condition": True},
    {"orders": [{"sku": "B2", "answer": "yes"}], "count": 1},
]


@pytest.mark.parametrize("rebuild", [False, True], ids=["live", "rebuilt from JSON each step"])
def test_restock(rebuild):
    host = Host(RESTOCK, {"rows": ROWS}, answers=({"response": "yes"},), rebuild=rebuild)
    ambient, stacks = [], []

    going = True
    while going:
        going = host.step()
        ambient.append(dict(host.run.vars["_last_output"]))
        stacks.append(list(host.run.vars["_temp"].get("_control", {}).get("stack", [])))

    assert host.path == ["s", "each", "chk", "each", "chk", "ask", "save", "each", "e"]
    assert ambient == AMBIENT
    assert stacks == [[], *[["each"]] * 6, [], []]
    assert host.output == {"orders": [{"sku": "B2", "answer": "yes"}], "count": 1, "success": True}
    assert host.effects[0].to_dict() == {
        "type": "ask_user",
        "payload": {
            "type": "ask_user",
            "prompt": "Reorder B2?",
            "choices": [],
            "allow_free_text": True,
            "resume_to_node": "save",
        },
        "result_key": "_temp.effects.ask",
    }


def test_default_of_a_start_pin_becomes_a_variable():
    host = Host(RESTOCK, {"rows": []}).go()

    assert host.run.vars["limit"] == 3
