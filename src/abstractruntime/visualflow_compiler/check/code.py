"""What can be wrong with the text of a code node; the node type reports these."""

from __future__ import annotations

from abstractruntime._json import JsonObject
from abstractruntime.visualflow_compiler.check._examples import END, START, flow, node
from abstractruntime.visualflow_compiler.check._rules import Rule, declare


def _with_code(source: str) -> JsonObject:
    middle = node(
        "work", "code", "exec-in text", "exec-out output", code=source, functionName="transform"
    )
    return flow(START, middle, END, edges=("start > work", "work > end"))


def _with_both(body: str) -> JsonObject:
    document = _with_code('def transform(_input):\n    return {"answer": _input.get("text")}\n')
    document["nodes"][1]["data"]["codeBody"] = body
    return document


_GOOD = _with_code('def transform(_input):\n    return {"answer": _input.get("text")}\n')

declare(
    Rule(
        "VF401",
        "error",
        "the code does not parse",
        "The text is not Python in the grammar of the Python version that compiles the flow; "
        "the message gives line and reason.",
        bad=_with_code("def transform(_input:\n    return 1\n"),
        good=_GOOD,
    )
)
declare(
    Rule(
        "VF402",
        "error",
        "the code imports a module",
        "Code nodes compute with their inputs and a fixed set of builtins. What needs a module "
        "belongs in an effect node or in the host.",
        bad=_with_code("import os\n\ndef transform(_input):\n    return os.getcwd()\n"),
        good=_GOOD,
    )
)
declare(
    Rule(
        "VF403",
        "error",
        "the code calls a forbidden function",
        "exec, eval, compile and __import__ run text as code, which no reviewer of the flow "
        "has seen.",
        bad=_with_code("def transform(_input):\n    return eval('1 + 1')\n"),
        good=_GOOD,
    )
)
declare(
    Rule(
        "VF404",
        "error",
        "the code uses a dunder attribute",
        "Attributes such as __class__ lead from any value to the interpreter's internals.",
        bad=_with_code("def transform(_input):\n    return _input.__class__\n"),
        good=_GOOD,
    )
)
declare(
    Rule(
        "VF405",
        "error",
        "the code is not text, or too long",
        "data.code, data.codeBody and data.expression hold Python source as one string of at most "
        "50,000 characters. Longer ones are not parsed, so nothing else is said of them.",
        bad=flow(
            START,
            node("work", "code", "exec-in text", "exec-out output", code=["return 1"]),
            END,
            edges=("start > work", "work > end"),
        ),
        good=_GOOD,
    )
)
declare(
    Rule(
        "VF407",
        "error",
        "the code does not define its function, or one that cannot be called",
        "The node calls the function that data.functionName names, transform without one, with its inputs as one "
        "object, and data.code has no such name at its top level, or it takes no such call. A run could only fail when it gets here.",
        bad=_with_code('def transfrom(_input):\n    return {"answer": _input.get("text")}\n'),
        good=_GOOD,
    )
)
declare(
    Rule(
        "VF408",
        "warning",
        "the code uses a name that is not there",
        "Code sees a fixed set of builtins, and no open, input or globals among them; an expression of a "
        "function node sees its inputs by name besides. Any other name fails when the code gets there.",
        bad=_with_code('def transform(_input):\n    return open("notes.txt").read()\n'),
        good=_GOOD,
    )
)
declare(
    Rule(
        "VF406",
        "warning",
        "code and codeBody differ",
        "The node has a whole function in data.code and the body of one in data.codeBody, and they say "
        "different things. data.code is what runs; newer editors show and run the body.",
        bad=_with_both("return {}"),
        good=_with_both('return {"answer": _input.get("text")}'),
    )
)
