"""Formatting changes how a document looks, and never what it means."""

from __future__ import annotations

import json
import random
from typing import Any

from exploring import examples
from flow_builder import Host, flow, node, start
from hypothesis import given
from hypothesis import strategies as st

from abstractruntime.visualflow_compiler.document import FlowDocument
from abstractruntime.visualflow_compiler.fmt import format_document

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12, alphabet=st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=6, alphabet='abcxyz_{}[],:"\\ '), inner, max_size=4)
    ),
    max_leaves=12,
)
NAMES = st.sampled_from(
    [
        "id",
        "type",
        "data",
        "label",
        "position",
        "inputs",
        "outputs",
        "pinDefaults",
        "x",
        "literalValue",
    ]
)
NODES = st.lists(st.dictionaries(NAMES, JSON, max_size=6), max_size=4)
DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "id": JSON,
        "nodes": NODES | JSON,
        "edges": st.lists(st.dictionaries(NAMES, JSON, max_size=4), max_size=3) | JSON,
        "entryNode": JSON,
        "x": JSON,
    },
)


@st.composite
def written(draw: Any, documents: Any = DOCUMENTS) -> bytes:
    """A document as some editor might write it."""
    text = json.dumps(
        draw(documents),
        indent=draw(st.sampled_from([None, 0, 1, 4, "\t"])),
        ensure_ascii=draw(st.booleans()),
    )
    end = draw(st.sampled_from(["\n", "\r\n"]))
    return (draw(st.sampled_from(["", "\ufeff"])) + text.replace("\n", end)).encode()


def ordered(value: Any) -> Any:
    """Give a value in which the order of keys counts."""
    if isinstance(value, dict):
        return [(key, ordered(item)) for key, item in value.items()]
    return [ordered(item) for item in value] if isinstance(value, list) else value


@given(written())
@examples(200)
def test_formatting_is_idempotent_and_loses_nothing(data: bytes) -> None:
    once = format_document(data)

    assert format_document(once) == once
    assert json.dumps(json.loads(once), sort_keys=True) == json.dumps(
        json.loads(data.decode("utf-8-sig")), sort_keys=True
    )


@given(written())
@examples(100)
def test_formatted_documents_read_as_the_same_flow(data: bytes) -> None:
    before, after = (FlowDocument.read(text).flow for text in (data, format_document(data)))

    assert (before.id, before.entry_node) == (after.id, after.entry_node)
    assert (before.data_edges, before.exec_edges) == (after.data_edges, after.exec_edges)
    for one, other in zip(before.elements, after.elements, strict=True):
        assert (one.id, one.type, one.inputs, one.outputs) == (
            other.id, other.type, other.inputs, other.outputs,
        )  # fmt: skip
        assert ordered(one.pin_defaults) == ordered(other.pin_defaults)
        assert ordered(one.config("literalValue")) == ordered(other.config("literalValue"))


# -- runs ------------------------------------------------------------------------------------

VALUES = st.dictionaries(st.sampled_from(["b", "a", "d", "c"]), st.integers(0, 5), max_size=4)
HANDLES = st.permutations(["then:0", "then:1", "then:2"])


@st.composite
def flows(draw: Any) -> dict[str, Any]:
    """A flow that asks in an order of its own, and shows the order of keys in its texts."""
    handles = draw(HANDLES)
    asks = [
        node(
            f"a{at}",
            "ask_user",
            "exec-in prompt:string",
            "exec-out response",
            pinDefaults={"prompt": at},
        )
        for at in range(3)
    ]
    wires = [f"q.{handle} > a{at}" for at, handle in enumerate(handles)]
    return flow(
        start("p:string", p="x"),
        node("j", "literal_json", "", "value", literalValue=draw(VALUES)),
        node("t", "stringify_json", "value:any", "result:string"),
        node("q", "sequence", "exec-in", "then:0 then:1 then:2"),
        *draw(st.permutations(asks)),
        edges="; ".join(
            ["s > q", "j.value > t.value", "t.result > a1.prompt", *draw(st.permutations(wires))]
        ),
    )


@given(flows(), st.randoms(use_true_random=False))
@examples(60)
def test_formatted_flows_run_alike(document: dict[str, Any], shuffled: random.Random) -> None:
    for item in document["nodes"]:
        keys = list(item["data"])
        shuffled.shuffle(keys)
        item["data"] = {key: item["data"][key] for key in keys}
    formatted = json.loads(format_document(json.dumps(document).encode()))

    hosts = [
        Host(each, answer=lambda effect, count: {"response": count}).go()
        for each in (document, formatted)
    ]

    assert hosts[0].path == hosts[1].path
    assert ordered(hosts[0].output) == ordered(hosts[1].output)
    assert [e.payload for e in hosts[0].effects] == [e.payload for e in hosts[1].effects]
    assert len(hosts[0].effects) == 3
