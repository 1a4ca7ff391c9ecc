"""Running another flow as a child of this run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from abstractruntime._json import JsonObject, JsonValue
from abstractruntime.core.models import EffectType
from abstractruntime.nodes._history import inherit_context
from abstractruntime.nodes.base import (
    EffectNode,
    Element,
    Example,
    Pin,
    PlannedEffect,
    Problem,
    Scope,
    register,
)
from abstractruntime.nodes.interaction import as_flag
from abstractruntime.nodes.keys import FLAG, TEXT, older, settings

ID_KEYS = ("subflowId", "flowId", "workflowId", "workflow_id")
_SESSION_KEYS = ("child_session_id", "childSessionId", "session_id", "sessionId")
_RESERVED = frozenset({"inherit_context", "inheritContext", *_SESSION_KEYS})
# Compat: published flows hand their limits down.
_OPEN = frozenset({"_limits"})
_GREEN: JsonObject = {"report": "green", "success": True}


def subflow_id(data: Mapping[str, JsonValue]) -> str:
    """Give the id of the flow that a subflow node runs, or an empty text."""
    for key in ID_KEYS:
        value = data.get(key)
        if isinstance(value, str) and value.strip():
            return value.strip()
    return ""


@register
class SubflowNode(EffectNode):
    type = "subflow"
    family = "subflow"
    bare_input = "input"
    waits = "sometimes"
    doc = (
        "Runs another flow as a child run and waits for it. Input pins become the child's variables, on "
        "top of an object at `vars` or `input`; output pins are read from the child's output by name. "
        "A child that fails or is cancelled fails this run, unless `effectConfig.on_child_failure` is "
        "`continue`: then `success` is false, `error` says why, and the flow goes on."
    )
    inputs = (
        Pin("vars", "object"),
        Pin("input"),
        Pin("inherit_context", "boolean", aliases=("inheritContext",), control_plane=True),
        Pin("child_session_id", "string", aliases=("childSessionId",), control_plane=True),
        Pin("session_id", "string", aliases=("sessionId",), control_plane=True),
        Pin("parameters", dynamic=True, declared=True, doc="One pin per parameter of the child."),
    )
    primary_pin = "output"
    outputs = (
        Pin("sub_run_id", "string"),
        Pin("output"),
        Pin("child_output", "object", doc="The child's whole output."),
        Pin("results", dynamic=True, doc="One pin per value of the child's output."),
    )
    data_schema = {  # noqa: RUF012 - class data, never changed
        ID_KEYS[0]: TEXT,
        **dict.fromkeys(ID_KEYS[1:], older(TEXT)),
        **settings(
            "effectConfig",
            inherit_context=FLAG,
            inheritContext=older(FLAG),
            on_child_failure={"enum": ["fail", "continue"]},
        ),
        "inherit_context": older(FLAG),
        "inheritContext": older(FLAG),
        "on_child_failure": older({"enum": ["fail", "continue"]}),
    }
    examples = (
        Example(
            {"topic": "tea"},
            output={
                **_GREEN,
                "sub_run_id": "run-2",
                "output": _GREEN,
                "child_output": _GREEN,
            },
            data={
                "subflowId": "research",
                "inputs": [{"id": "topic", "type": "string"}],
                "outputs": [{"id": "report", "type": "string"}],
            },
            asks={
                "start_subworkflow": {
                    "workflow_id": "research",
                    "vars": {"topic": "tea"},
                    "async": True,
                    "wait": True,
                }
            },
            result={"sub_run_id": "run-2", "output": _GREEN},
        ),
    )
    compat = (
        "Effects 9: a pin is looked up in the child's output first, also when that has a `result`. "
        "Effects 10: session ids and inherit_context never come from the ambient value."
    )

    def check(self, element: Element) -> Iterable[Problem]:
        if not self.subflow(element):
            yield Problem(
                "names no flow",
                "VF204",
                pointer="/data/subflowId",
                hint="set data.subflowId to the id of the flow to run",
            )

        policy = _on_child_failure(element)
        if policy not in (None, "fail", "continue"):
            yield Problem(
                f"on_child_failure is {policy!r}, expected 'fail' or 'continue'",
                pointer="/data/effectConfig/on_child_failure",
                hint="leave it out to fail with the child",
            )

    def subflow(self, element: Element) -> str:
        return subflow_id(element.data)

    def input_names(self, element: Element) -> frozenset[str] | None:
        return super().input_names(element) if element.inputs else None

    def takes_bus(self, element: Element) -> bool:
        return not element.inputs

    def plan(self, element: Element, inputs: JsonObject, scope: Scope) -> PlannedEffect:
        if len(element.inputs) == 1 and _is_bare(scope.ambient) and list(inputs) == ["input"]:
            # A bare ambient value belongs to the only parameter.
            inputs = {element.input_ids[0]: inputs["input"]}
        child_vars = _child_vars(element, inputs)
        if _inherits(element, inputs):
            inherit_context(child_vars, scope.vars)
        payload: JsonObject = {
            "workflow_id": self.subflow(element) or None,
            "vars": child_vars,
            "async": True,
            "wait": True,
        }
        if _on_child_failure(element) == "continue":
            payload["on_child_failure"] = "continue"
        session = next((inputs[k] for k in _SESSION_KEYS if inputs.get(k)), None)
        if session is not None and str(session).strip():
            payload["session_id"] = str(session).strip()
        return PlannedEffect(EffectType.START_SUBWORKFLOW.value, payload)

    def pins(self, element: Element, result: JsonValue) -> JsonObject:
        result = result if isinstance(result, dict) else {"output": result}
        child_output = result.get("output")
        output = child_output
        if isinstance(child_output, dict) and "result" in child_output:
            output = child_output["result"]
        found: JsonObject = {}
        for source in (output, child_output):
            if isinstance(source, dict):
                found.update(source)
        declared = [
            p for p in element.output_ids if p not in ("sub_run_id", "output", "child_output")
        ]
        if len(declared) == 1 and not isinstance(output, dict):
            found.setdefault(declared[0], output)
        return {
            **found,
            "sub_run_id": result.get("sub_run_id"),
            "output": output,
            "child_output": child_output,
        }


def _is_bare(ambient: JsonValue) -> bool:
    return ambient is not None and not isinstance(ambient, dict)


def _child_vars(element: Element, inputs: JsonObject) -> JsonObject:
    base = next((inputs[k] for k in ("vars", "input") if isinstance(inputs.get(k), dict)), None)
    if not element.inputs:
        chosen = dict(inputs if base is None else base)
    else:
        chosen = dict(base or {})
        for name in element.input_ids:
            if name in inputs and not (
                name in ("vars", "input") and isinstance(inputs[name], dict)
            ):
                chosen[name] = inputs[name]
    # Hazard: values may come from anybody; variables of the runtime are no parameters.
    return {name: value for name, value in chosen.items() if not _is_reserved(name)}


def _is_reserved(name: str) -> bool:
    return name in _RESERVED or (name.startswith("_") and name not in _OPEN)


def _on_child_failure(element: Element) -> JsonValue:
    config = element.config("effectConfig")
    return config.get("on_child_failure", element.data.get("on_child_failure"))


def _inherits(element: Element, inputs: JsonObject) -> bool:
    if inputs.get("inherit_context") is not None:
        return as_flag(inputs["inherit_context"])
    config = element.config("effectConfig")
    value = config.get("inherit_context", config.get("inheritContext"))
    if value is None:
        value = element.data.get("inherit_context", element.data.get("inheritContext"))
    return as_flag(value)
