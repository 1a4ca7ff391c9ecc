"""The reference page of the flow document: its keys come from the schema, its example is compiled by a test."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from abstractruntime._json import JsonObject
from abstractruntime.nodes.keys import COMMON_DATA
from abstractruntime.visualflow_compiler.fmt import format_document
from abstractruntime.visualflow_compiler.schema import visualflow_schema

EXAMPLE: Final[JsonObject] = {
    "id": "greet",
    "name": "Greet",
    "interfaces": [],
    "entryNode": "start",
    "nodes": [
        {
            "id": "start",
            "type": "on_flow_start",
            "data": {
                "outputs": [
                    {"id": "exec-out", "type": "execution"},
                    {"id": "name", "type": "string"},
                ],
                "pinDefaults": {"name": "you"},
            },
        },
        {"id": "vars", "type": "make_object", "data": {"inputs": [{"id": "name", "type": "string"}]}},
        {
            "id": "text",
            "type": "string_template",
            "data": {"pinDefaults": {"template": "Hello {{name | trim}}, shall I go on?"}},
        },
        {
            "id": "ask",
            "type": "ask_user",
            "label": "Ask whether to go on",
            "data": {
                "pinDefaults": {"choices": ["yes", "no"]},
                "effectConfig": {"allowFreeText": False},
            },
        },
        {
            "id": "end",
            "type": "on_flow_end",
            "data": {
                "inputs": [
                    {"id": "exec-in", "type": "execution"},
                    {"id": "answer", "type": "string"},
                ]
            },
        },
    ],
    "edges": [
        {"source": "start", "sourceHandle": "exec-out", "target": "ask", "targetHandle": "exec-in"},
        {"source": "start", "sourceHandle": "name", "target": "vars", "targetHandle": "name"},
        {"source": "vars", "sourceHandle": "result", "target": "text", "targetHandle": "vars"},
        {"source": "text", "sourceHandle": "result", "target": "ask", "targetHandle": "prompt"},
        {"source": "ask", "sourceHandle": "exec-out", "target": "end", "targetHandle": "exec-in"},
        {"source": "ask", "sourceHandle": "response", "target": "end", "targetHandle": "answer"},
    ],
}  # fmt: skip

_MEANING: Final[Mapping[str, str]] = {
    "$schema": "for editors; `art schema visualflow` prints the schema",
    "id": "names the workflow in runs, bundles and subflow nodes; needed",
    "name": "a title for people",
    "description": "a sentence for people; `art show` prints it",
    "interfaces": "texts that say what a host may use the flow for; they go into the manifest of a bundle, and change nothing else",
    "nodes": "the nodes; needed",
    "edges": "what connects them",
    "entryNode": "id of the step that a run starts with",
}
_NODE: Final[Mapping[str, str]] = {
    "id": "names the node in edges, records and messages; unique in the document",
    "type": "one of the [node types](nodes.md)",
    "label": "a name for people",
    "position": "`{x, y}` for the editor",
    "data": "pins and configuration",
}
_DATA: Final[Mapping[str, str]] = {
    "label": "as `label` of the node",
    "inputs": "declared input pins, `{id, label, type}`; a pin of type `execution` takes control",
    "outputs": "declared output pins, the same",
    "pinDefaults": "values by pin, for inputs that no edge feeds; of `on_flow_start`, for parameters that are not given",
    "onError": "`fail` (default) ends the run; `continue` gives the error at the pin `error`, and the flow goes on",
    "inputKey": "the variable that is the input of the node",
    "outputKey": "the variable that gets its output",
}
_EDGE: Final[Mapping[str, str]] = {
    "id": "for the editor",
    "source": "id of the node it comes from",
    "sourceHandle": "pin there: a value, or `exec-out`, `true`, `case:ID`, `then:0`, `loop`, `done`, `error`",
    "target": "id of the node it goes to",
    "targetHandle": "pin there; `exec-in` for control",
}


def flow_document_parts() -> Iterator[str]:
    """Give the page in Markdown."""
    schema = visualflow_schema()
    yield (
        "A flow is one JSON object in a file. `art check FILE` says what is wrong with it, `art run FILE` runs it,"
        " `art schema visualflow` prints its JSON Schema, and `art explain node TYPE` prints a node to paste."
    )
    yield f"```json\n{format_document(json.dumps(EXAMPLE).encode()).decode()}```"
    yield "## The document"
    yield _table(schema["properties"], _MEANING)
    yield (
        "A run starts with the step that `entryNode` names. Without one it starts with the first"
        " step of `nodes` that no control edge leads to. Where the named step can lead nowhere, and there is one start or"
        " trigger, the run starts there. Steps that hear events and that nothing leads to listen beside the flow."
    )
    yield "## A node"
    yield _table(schema["$defs"]["node"]["properties"], _NODE)
    yield "`data` has the keys of the type, which `art explain node TYPE` lists, and these:"
    yield _table(COMMON_DATA, _DATA)
    yield (
        "A **step** has execution pins and runs in order; a **pure** node has none, and is computed when a step pulls its value."
        " Which of the two a type is does not depend on what is drawn. The output pins of `on_flow_start` are the parameters of the"
        " flow, the input pins of `on_flow_end` its results. An input takes its value from its edge, else from `pinDefaults`,"
        " else from the pin's own default, else, where the type says so, from the output of the step before."
    )
    yield "## An edge"
    yield _table(schema["$defs"]["edge"]["properties"], _EDGE)
    yield "A value pin takes one edge, and any number may leave it. Control leaves a pin by one edge, and may come from many."
    yield "## Templates"
    yield (
        "`{{path}}` in the `template` of a `string_template` stands for a value of its pin `vars`: names separated by dots, `[n]` for an"
        ' element. Filters follow after pipes: `json`, `join(", ")`, `trim`, `lower`, `upper`. A missing value is an empty text.'
        " `format` fills `{name}` fields. Other texts of a document are no templates, and are taken as they are."
    )
    yield "## Subflows"
    yield (
        "A `subflow` node names another document by its `id` in `data.subflowId`. The documents lie in one directory, or in one bundle:"
        " `art compile` packs all that are reached. Input pins of the node are parameters of the child, output pins its"
        " results, by name. `art check` checks both sides against each other, and that nothing is missing."
    )


def _table(properties: Mapping[str, Any], meaning: Mapping[str, str]) -> str:
    rows = [
        f"| `{key}` | {meaning[key]} |"
        if key in meaning
        else f"| `{key}` | older spelling of `id` |"
        for key in properties
    ]
    return "\n".join(["| Key | Meaning |", "|---|---|", *rows])
