"""Small flows in a few lines, and a host that drives their handlers without a store."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from typing import Any

from abstractruntime._json import split_pointer
from abstractruntime.core.models import Effect, RunState
from abstractruntime.core.spec import WorkflowSpec
from abstractruntime.visualflow_compiler.compiler import compile_visualflow

NOW = "2030-01-01T00:00:00+00:00"
EXEC = re.compile(r"exec-in|exec-out|true|false|default|loop|done|completed|(then|case):.*")


class FixedClock:
    def now_iso(self) -> str:
        return NOW


def node(node_id: str, kind: str, ins: str = "", outs: str = "", **data: Any) -> dict[str, Any]:
    """A node with the named pins, `name:type` for typed ones; keywords go to `data`."""
    return {
        "id": node_id,
        "type": kind,
        "data": {"inputs": _pins(ins), "outputs": _pins(outs), **data},
    }


def _pins(text: str) -> list[dict[str, str]]:
    pins = []
    for name in text.split():
        if EXEC.fullmatch(name):
            pins.append({"id": name, "type": "execution"})
        else:
            pin, _, kind = name.partition(":")
            pins.append({"id": pin, "type": kind or "any"})
    return pins


def flow(*nodes: dict[str, Any], edges: str, **top: Any) -> dict[str, Any]:
    """A document; edges are lines `source.handle > target.pin`, `a > b` for plain control."""
    return {
        "id": "f",
        "nodes": copy.deepcopy(list(nodes)),
        "edges": [_edge(e) for e in _lines(edges)],
        **top,
    }


def _lines(edges: str) -> list[str]:
    return [part for line in edges.splitlines() for part in line.split(";") if part.strip()]


def _edge(text: str) -> dict[str, str]:
    source, target = (end.strip() for end in text.split(">"))
    source_id, _, handle = source.partition(".")
    target_id, _, pin = target.partition(".")
    return {
        "source": source_id,
        "sourceHandle": handle or "exec-out",
        "target": target_id,
        "targetHandle": pin or "exec-in",
    }


START = node("s", "on_flow_start", "", "exec-out")
END = node("e", "on_flow_end", "exec-in")


def start(*pins: str, **defaults: Any) -> dict[str, Any]:
    return node("s", "on_flow_start", "", " ".join(("exec-out", *pins)), pinDefaults=defaults)


def end(*pins: str, **data: Any) -> dict[str, Any]:
    return node("e", "on_flow_end", " ".join(("exec-in", *pins)), **data)


class Host:
    """Drives one run; effects get the next of `answers`, or what `answer(effect, count)` gives."""

    def __init__(
        self,
        document: dict[str, Any] | WorkflowSpec,
        inputs: dict[str, Any] | None = None,
        *,
        answers: tuple[Any, ...] = (),
        answer: Callable[[Effect, int], Any] | None = None,
        rebuild: bool = False,
        **services: Any,
    ) -> None:
        self.spec = (
            document
            if isinstance(document, WorkflowSpec)
            else compile_visualflow(document, **services)
        )
        self.run = RunState.new(workflow_id="f", entry_node=self.spec.entry_node, vars=inputs or {})
        self.answers = list(answers)
        self.answer = answer or self._next_answer
        self.rebuild = rebuild
        self.path: list[str] = []
        self.effects: list[Effect] = []
        self.output: Any = None

    def step(self) -> bool:
        """Run one node; False when the run is over."""
        if self.rebuild:
            self.run = RunState.from_dict(json.loads(json.dumps(self.run.to_dict())))
        node_id = self.run.current_node
        self.path.append(node_id)
        plan = self.spec.get_node(node_id)(self.run, FixedClock())
        if plan.complete_output is not None:
            self.output = plan.complete_output
            return False
        if plan.effect is not None:
            self.effects.append(plan.effect)
            result = self.answer(plan.effect, len(self.effects))
            store(self.run.vars, plan.effect.result_key, result)
            if plan.next_node is None:
                self.output = {"success": True, "result": result}
                return False
        assert plan.next_node is not None
        self.run.current_node = plan.next_node
        return True

    def _next_answer(self, effect: Effect, count: int) -> Any:
        return self.answers.pop(0) if self.answers else {}

    def go(self, limit: int = 500) -> Host:
        for _ in range(limit):
            if not self.step():
                return self
        raise AssertionError(f"run is not over after {limit} steps: {self.path[-10:]}")


def store(variables: dict[str, Any], key: str | None, result: Any) -> None:
    assert key is not None
    *way, last = split_pointer(key) if key.startswith("/") else key.split(".")
    for part in way:
        variables = variables.setdefault(part, {})
    variables[last] = result


def run(document: dict[str, Any], inputs: dict[str, Any] | None = None, **options: Any) -> Any:
    """Give the output of a run."""
    return Host(document, inputs, **options).go().output
