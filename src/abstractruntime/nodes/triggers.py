"""Where a flow starts and where it ends."""

from __future__ import annotations

from abstractruntime._json import JsonObject, JsonValue, isolate
from abstractruntime.nodes.base import (
    Element,
    Example,
    FunctionNode,
    Pin,
    Scope,
    register,
)
from abstractruntime.nodes.keys import TEXT, settings


@register
class FlowStart(FunctionNode):
    type = "on_flow_start"
    family = "triggers"
    is_trigger = True
    declares_parameters = True
    doc = (
        "Starts the flow. Every declared output pin is a run parameter: it takes the run variable of "
        "that name, else the pin's default, else null. Without declared pins all run variables whose "
        "names do not start with an underscore come out. Defaults that are used become run variables."
    )
    outputs = (Pin("parameters", dynamic=True, declared=True, doc="One pin per run parameter."),)
    examples = (
        Example(
            {},
            output={"topic": "tea", "depth": 2},
            data={"outputs": [{"id": "topic"}, {"id": "depth"}], "pinDefaults": {"depth": 2}},
            around={"variables": {"topic": "tea"}},
            after={"variables": {"topic": "tea", "depth": 2}},
        ),
    )
    compat = (
        "Q6: defaults are stored as run variables. Q48: entering again reads the run variables."
    )

    def takes_bus(self, element: Element) -> bool:
        return False

    def evaluate(self, element: Element, inputs: JsonObject, scope: Scope) -> JsonValue:
        _seed(element, scope.vars)
        if element.outputs:
            return {name: isolate(scope.vars.get(name)) for name in element.output_ids}
        return {
            name: isolate(value) for name, value in scope.vars.items() if not name.startswith("_")
        }


def _seed(element: Element, variables: JsonObject) -> None:
    wanted = element.output_ids if element.outputs else tuple(element.pin_defaults)
    for name in wanted:
        if name in element.pin_defaults and name not in variables and not name.startswith("_"):
            variables[name] = isolate(element.pin_defaults[name])


@register
class FlowEnd(FunctionNode):
    type = "on_flow_end"
    family = "triggers"
    handles = ()
    ends_run = True
    doc = (
        "Ends the run at once, also inside a loop. The declared input pins are the run's output, null "
        "where nothing arrives; without declared pins everything that arrives is. `success` is true "
        "unless a pin says otherwise. With an outgoing execution edge the flow goes on instead."
    )
    inputs = (
        Pin("results", dynamic=True, declared=True, doc="One pin per value of the run's output."),
    )
    examples = (Example({"answer": 42}, {"answer": 42}),)
    compat = "Q45: a `success` pin that nothing reaches does not turn success into null."

    def takes_bus(self, element: Element) -> bool:
        return not element.inputs

    def evaluate(self, element: Element, inputs: JsonValue, scope: Scope) -> JsonValue:
        if not isinstance(inputs, dict):
            return _end_with_bare(element, inputs)
        if not element.inputs:
            return inputs
        record = {name: inputs.get(name) for name in element.input_ids}
        if record.get("success", True) is None:
            del record["success"]
        return record


def _end_with_bare(element: Element, value: JsonValue) -> JsonValue:
    if not element.inputs:
        return value
    return {element.input_ids[0] if len(element.inputs) == 1 else "response": value}


@register
class UserRequest(FunctionNode):
    type = "on_user_request"
    family = "triggers"
    is_trigger = True
    doc = "Starts the flow with a user's message: the run variables `message` and `context`."
    inputs = (Pin("message", "string"), Pin("context", "object"))
    outputs = (Pin("message", "string"), Pin("context", "object"))
    examples = (Example({"message": "hi"}, {"message": "hi", "context": {}}),)

    def takes_bus(self, element: Element) -> bool:
        return False

    def evaluate(self, element: Element, inputs: JsonObject, scope: Scope) -> JsonValue:
        return {"message": inputs.get("message") or "", "context": inputs.get("context") or {}}


@register
class AgentMessage(FunctionNode):
    type = "on_agent_message"
    family = "triggers"
    is_trigger = True
    doc = (
        "Starts the flow with a message from an agent: the run variables `sender` and `message`; "
        "`channel` is the one of `eventConfig`."
    )
    inputs = (Pin("sender", "string"), Pin("message", "string"))
    outputs = (Pin("sender", "string"), Pin("message", "string"), Pin("channel", "string"))
    data_schema = settings("eventConfig", channel=TEXT)
    examples = (Example({"sender": "a"}, {"sender": "a", "message": "", "channel": ""}),)

    def takes_bus(self, element: Element) -> bool:
        return False

    def evaluate(self, element: Element, inputs: JsonObject, scope: Scope) -> JsonValue:
        return {
            "sender": inputs.get("sender") or "unknown",
            "message": inputs.get("message") or "",
            "channel": element.config("eventConfig").get("channel") or "",
        }
