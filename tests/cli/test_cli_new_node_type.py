"""Adding a node type touches one file: a family that appears in the package is known everywhere."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flow_builder import end, flow, node
from node_examples import perform

from abstractruntime import nodes
from abstractruntime.cli._reference import pages
from abstractruntime.nodes import base
from abstractruntime.nodes.registry import find_node_type, node_types

FAMILY = '''
"""A family that only this test has."""

from abstractruntime.nodes.base import Example, FunctionNode, Pin, Problem, register
from abstractruntime.nodes.subflow import SubflowNode


@register
class Shout(FunctionNode):
    type = "test_shout"
    family = "toys"
    capability = "net:*"
    doc = "Says a text to the whole network, in capital letters."
    inputs = (Pin("text", "string", "what to say"),)
    outputs = (Pin("said", "string"),)
    data_schema = {"volume": {"type": "number"}}
    examples = (Example({"text": "tea"}, {"said": "TEA"}),)

    def check(self, element):
        if element.data.get("volume") == 0:
            yield Problem("nobody hears it", pin="text", pointer="/data/volume")

    def evaluate(self, element, inputs, scope):
        return {"said": inputs["text"].upper()}


@register
class Errand(SubflowNode):
    type = "test_errand"
    family = "toys"
    examples = ()

    def subflow(self, element):
        return element.data.get("errand", "")
'''


@pytest.fixture(autouse=True)
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the family into the package, as its file would be."""
    known = dict(base._REGISTRY) if node_types() else {}
    folder = tmp_path / "families"
    folder.mkdir()
    (folder / "toys.py").write_text(FAMILY)
    monkeypatch.setattr(nodes, "__path__", [*nodes.__path__, str(folder)])
    node_types.cache_clear()
    yield
    base._REGISTRY.clear()
    base._REGISTRY.update(known)
    sys.modules.pop("abstractruntime.nodes.toys", None)
    vars(nodes).pop("toys", None)
    node_types.cache_clear()


@pytest.fixture
def write(tmp_path: Path) -> Any:
    """Give the name of a document with the node, whose configuration is `data`."""

    def write(**data: Any) -> str:
        shout = node("w", "test_shout", "exec-in text", "exec-out said", **data)
        edges = "s > w; w > e; s.text > w.text; w.said > e.said"
        document = flow(
            node("s", "on_flow_start", "", "exec-out text"), shout, end("said"), edges=edges
        )
        (tmp_path / "f.json").write_text(json.dumps(document))
        return "f.json"

    return write


def test_it_is_checked_and_run(art: Any, write: Any) -> None:
    done = art("run", write(), "--input", '{"text": "hi"}')

    assert done.code == 0, done.err
    assert json.loads(done.out) == {"said": "HI", "success": True}
    (checked,) = art("check", write(volume=0), "--json").document["files"]
    (wrong,) = checked["diagnostics"]
    assert (wrong["code"], wrong["pointer"]) == ("VF203", "/nodes/1/data/volume")
    assert wrong["message"] == "node 'w': nobody hears it"


def test_a_bundle_with_it_needs_consent(art: Any, write: Any) -> None:
    assert art("compile", write(), "--unsigned", "-o", "f.flowbundle").code == 0
    bundle = art("show", "f.flowbundle", "--json").document
    refused = art("run", "f.flowbundle", "--allow-unsigned", "--input", '{"text": "hi"}')

    assert bundle["requires"]["capabilities"] == ["net:*"]
    assert (refused.code, "--allow net" in refused.err) == (3, True)


def test_one_that_runs_another_flow_has_it_packed_and_compiled(art: Any, write: Any) -> None:
    write()
    errand = node("c", "test_errand", "exec-in text", "exec-out said", errand="f")
    edges = "s > c; c > e; s.text > c.text; c.said > e.said"
    start = node("s", "on_flow_start", "", "exec-out text")
    parent = flow(start, errand, end("said"), edges=edges, id="parent")
    Path("parent.json").write_text(json.dumps(parent))

    allowed = ("--allow", "net:*", "--input", '{"text": "hi"}')
    ran = art("run", "parent.json", *allowed)
    assert art("compile", "parent.json", "--unsigned", "-o", "p.flowbundle").code == 0

    assert json.loads(ran.out)["said"] == "HI", ran.err
    assert art("show", "p.flowbundle", "--json").document["flows"] == ["f", "parent"]


def test_it_is_documented(art: Any) -> None:
    explained = art("explain", "node", "test_shout")
    schema = art("schema", "visualflow").document

    assert "Says a text to the whole network" in explained.out
    assert "test_shout" in schema["$defs"]["node"]["properties"]["type"]["enum"]
    assert "volume" in schema["$defs"]["data-test_shout"]["properties"]
    assert "## test_shout" in pages()["nodes.md"]


def test_its_example_holds() -> None:
    toy = find_node_type("test_shout")
    assert toy is not None

    assert [perform(toy, example).output for example in toy.examples] == [{"said": "TEA"}]
