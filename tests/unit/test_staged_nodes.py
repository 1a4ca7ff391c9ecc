"""The mechanism of staged nodes, with a node type of its own."""

from __future__ import annotations

import pytest
from flow_builder import Host, end, flow, node, start

from abstractruntime.nodes import base
from abstractruntime.nodes.base import Finish, Pin, PlannedEffect, Stage, StagedNode
from abstractruntime.nodes.registry import node_types


class Relay(StagedNode):
    """Asks twice; then asks a last time or finishes, as `data.last` says."""

    type = "test_relay"
    family = "test"
    area = "relay"
    doc = "For tests."
    inputs = (Pin("text", "string"),)
    outputs = (Pin("seen", "array"),)

    def advance(self, element, bucket, inputs, scope):
        bucket.setdefault("notes", []).append(len(bucket))
        for name in ("one", "two"):
            if name not in bucket:
                return Stage("ask_user", {"prompt": f"{name}: {inputs['text']}"}, name)
        if element.data.get("last"):
            return PlannedEffect("ask_user", {"prompt": "last"})
        seen = [bucket["one"], bucket["two"], bucket["notes"]]
        scope.vars["changed"] = True
        return Finish({"seen": seen}, {"ambient": 1}, {"completed": 1}, error="soft")

    def pins(self, element, result):
        return {"seen": result}

    def primary(self, element, record):
        return record["seen"]


@pytest.fixture(autouse=True)
def relay_type(monkeypatch):
    node_types()
    monkeypatch.setitem(base._REGISTRY, Relay.type, Relay())
    node_types.cache_clear()
    yield
    monkeypatch.undo()
    node_types.cache_clear()


def relay(**data):
    return node("r", "test_relay", "exec-in text", "exec-out seen", **data)


def run_relay(*, rebuild=False, answers=("a", "b", "c"), **data):
    document = flow(
        start("text"),
        relay(**data),
        end("seen"),
        edges="s > r; r > e; s.text > r.text; r.seen > e.seen",
    )
    return Host(document, {"text": "t"}, answers=answers, rebuild=rebuild).go()


@pytest.mark.parametrize("rebuild", [False, True], ids=["live", "rebuilt"])
def test_stages_run_one_after_another(rebuild):
    host = run_relay(rebuild=rebuild)

    assert host.path == ["s", "r", "r", "r", "e"]
    assert [e.payload["prompt"] for e in host.effects] == ["one: t", "two: t"]
    assert [e.result_key for e in host.effects] == ["_temp.relay.r.one", "_temp.relay.r.two"]
    assert host.output["seen"] == {"seen": ["a", "b", [1, 2, 3]]}


def test_a_finish_changes_ambient_and_variables_and_clears_the_bucket():
    run = run_relay().run

    assert run.vars["changed"] is True
    assert run.vars["_flow_error"] == "soft"
    assert "_flow_error_node" not in run.vars
    assert run.vars["_temp"]["relay"] == {}


def test_a_last_effect_is_the_nodes_own():
    host = run_relay(last=True)

    assert host.effects[-1].result_key == "_temp.effects.r"
    assert host.effects[-1].payload == {
        "type": "ask_user",
        "prompt": "last",
        "resume_to_node": "e",
    }
    assert host.output["seen"] == "c"


def test_a_stage_without_result_is_not_planned_again():
    def answer(effect, count):
        return {"ok": count}

    host = run_relay()
    held = host.run.vars["_temp"]
    held["relay"]["r"] = {"inputs": {"text": "t"}, "stage": "one", "notes": []}
    host.run.current_node = "r"
    host.answer = answer

    host.go()

    assert host.effects[-1].payload["prompt"] == "two: t"
    assert host.output["seen"]["seen"][0] is None


@pytest.mark.parametrize("rebuild", [False, True], ids=["live", "rebuilt"])
def test_each_turn_of_a_loop_is_an_activation_with_its_own_inputs(rebuild):
    document = flow(
        start("items"),
        node("L", "loop", "exec-in items", "loop done item"),
        relay(),
        end("seen"),
        edges="s > L; s.items > L.items; L.loop > r; L.item > r.text; L.done > e; r.seen > e.seen",
    )

    host = Host(document, {"items": ["x", "y"]}, answers=tuple("abcd"), rebuild=rebuild).go()

    assert [e.payload["prompt"] for e in host.effects] == ["one: x", "two: x", "one: y", "two: y"]
    assert host.output["seen"]["seen"][:2] == ["c", "d"]


def test_a_chain_that_ends_at_the_node_completes_the_run():
    document = flow(start("text"), relay(), edges="s > r; s.text > r.text")

    assert Host(document, {"text": "t"}).go().output == {"completed": 1}


def test_the_mapped_value_goes_to_its_variable():
    host = run_relay(outputKey="kept.value")

    assert host.run.vars["kept"]["value"]["seen"][:2] == ["a", "b"]


def test_results_of_a_node_with_dots_are_found():
    document = flow(start("text"), relay(), edges="s > r; s.text > r.text")
    document["nodes"][1]["id"] = "r.1/2"
    for edge in document["edges"]:
        edge["target"] = "r.1/2"

    host = Host(document, {"text": "t"}, answers=("a", "b")).go()

    assert [e.result_key for e in host.effects] == [
        "/_temp/relay/r.1~12/one",
        "/_temp/relay/r.1~12/two",
    ]
    assert host.output == {"completed": 1}
