"""What can be wrong with the text of a document; the loader reports these."""

from __future__ import annotations

from abstractruntime.visualflow_compiler.check._examples import END, PASS, START, flow
from abstractruntime.visualflow_compiler.check._rules import Rule, declare

declare(
    Rule(
        "VF001",
        "error",
        "the document is not JSON",
        "The file could not be read as UTF-8 JSON, so nothing else was checked. Line and "
        "column show where reading stopped; the mistake is often just before, such as a "
        "missing comma, quote or bracket.",
        bad='{"id": "example", "nodes": [}',
        good=PASS,
    )
)
declare(
    Rule(
        "VF002",
        "error",
        "a key occurs twice in one object",
        "JSON readers disagree which of two equal keys counts, so another tool may show a reviewer "
        "another value than the one that runs.",
        bad='{"id": "first", "id": "example", "nodes": [{"id": "s", "type": "on_flow_start"}]}',
        good=PASS,
    )
)
declare(
    Rule(
        "VF003",
        "error",
        "the document is not an object",
        "A flow document is one JSON object with the keys id, nodes and edges. Export the "
        "flow again if the file holds a list of flows or a single node.",
        bad="[]",
        good=PASS,
    )
)
declare(
    Rule(
        "VF004",
        "error",
        "the document is too large or nested too deeply",
        "Documents may have up to 32 MiB and 200 levels of nesting. Larger constants belong "
        "in the run's input or in a file.",
        bad='{"id": "example", "nodes": ' + "[" * 300 + "]" * 300 + "}",
        good=PASS,
    )
)
declare(
    Rule(
        "VF005",
        "error",
        "a value cannot be stored",
        "NaN, infinities and lone surrogates are not JSON. A run could not record them, so "
        "they are refused before it starts.",
        bad='{"id": "example", "nodes": [{"id": "n", "type": "literal_number", '
        '"data": {"literalValue": NaN}}]}',
        good=PASS,
    )
)
declare(
    Rule(
        "VF006",
        "error",
        "the flow has no id",
        "The id names the workflow in runs, ledgers and subflow references. The keys flow_id "
        "and workflow_id of older documents are accepted in its place.",
        bad={key: value for key, value in PASS.items() if key != "id"},
        good=PASS,
    )
)
declare(
    Rule(
        "VF007",
        "error",
        "nodes or edges is misspelt or not an array",
        "Without its edges a flow would end at once, and without its nodes it is none. Documents "
        "that map ids to nodes come from another tool and have to be converted first. A list "
        "whose key looks like a missing one is taken for a typing mistake.",
        bad={**PASS, "edges": {}},
        good=PASS,
    )
)
declare(
    Rule(
        "VF008",
        "warning",
        "a node entry is left out",
        "An entry of nodes is not an object or has no id, so no edge can reach it.",
        bad=flow(START, END, {"type": "code"}, edges=("start > end",)),
        good=PASS,
    )
)
declare(
    Rule(
        "VF009",
        "error",
        "an edge entry cannot be read",
        "An edge needs source, sourceHandle, target and targetHandle, all of them text. An "
        "edge without handles comes from a drawing tool that does not know pins. Left out, the value "
        "or control that it should carry would be missing without a word.",
        bad={**PASS, "edges": [*PASS["edges"], {"source": "start", "target": "end"}]},
        good=PASS,
    )
)
declare(
    Rule(
        "VF010",
        "error",
        "an edge leads to or from a missing node",
        "Nothing can flow through it, so a part of the flow is missing. The Python compiler "
        "still leaves such an edge out, as 0.4.2 did.",
        bad=flow(START, END, edges=("start > end", "start.text > gone.answer")),
        good=PASS,
    )
)
declare(
    Rule(
        "VF012",
        "warning",
        "another document has the same id",
        "Whoever runs a flow by its id gets one of them: the document that is named after the id, such as "
        "child.json for child. If none is, a subflow node that names the id is an error.",
        bad=PASS,
        good={**PASS, "id": "other"},
    )
)
declare(
    Rule(
        "VF011",
        "error",
        "an execution output is connected to a data pin",
        "exec-out carries control, not a value, so the pin would stay without one. Often the name "
        "exec-in is misspelt.",
        bad=flow(START, END, edges=("start > end", "start.exec-out > end.answer")),
        good=PASS,
    )
)
