"""Agents: a task is given to a run of its own, which works in a loop of model and tools."""

from __future__ import annotations

from abstractruntime._json import JsonObject, JsonValue
from abstractruntime.core.vars import default_limits
from abstractruntime.nodes._agent_request import AgentRequest
from abstractruntime.nodes._agent_result import ChildAnswer, add_turn
from abstractruntime.nodes._agent_trace import bounded_traces, tool_activity, trace_steps
from abstractruntime.nodes._recall import MEMORY_PINS
from abstractruntime.nodes._settings import (
    DEFAULT_TEMPERATURE,
    MAX_IN,
    MAX_OUT,
    RESPONSE_SCHEMA,
    text,
)
from abstractruntime.nodes.base import (
    Element,
    Example,
    Finish,
    Pin,
    Scope,
    Stage,
    StagedNode,
    register,
)
from abstractruntime.nodes.keys import FLAG, TEXT, TEXTS, WHOLE, older, settings
from abstractruntime.nodes.llm import compact_json

META_SCHEMA = "abstractcode.agent.v1.meta"
_MISCONFIGURED = "Agent configuration error: missing provider/model"
_NO_OBJECT = "the model gave no object for the response schema"
_UNKNOWN = "unknown"
_PARSE_ERROR = "_structured_output_parse_error"
_SUB, _STRUCTURED = "sub", "structured"
_COMPLETION = ("response", "success", "meta", "scratchpad")
_RECORD = (*_COMPLETION, "tool_calls", "tool_results")
_TEA: JsonObject = {
    "response": "Green tea.",
    "success": True,
    "task": "Find tea.",
    "provider": "p",
    "model": "m",
}


@register
class AgentNode(StagedNode):
    type = "agent"
    unread = ("workspace_root",)  # Its files are those of the workspace of the run.
    family = "llm"
    capability = "llm:*"
    runs_agent = True
    waits = "sometimes"
    replaces_ambient = True
    examples = (
        Example(
            {"prompt": "Find tea.", "provider": "p", "model": "m", "tools": ["search"]},
            output={
                "response": "Green tea.",
                "success": True,
                "data": None,
                "meta": {
                    "schema": "abstractcode.agent.v1.meta",
                    "version": 1,
                    "provider": "p",
                    "model": "m",
                    "tool_calls": 0,
                    "tool_results": 0,
                },
                "scratchpad": {
                    "task": "Find tea.",
                    "messages": [],
                    "node_traces": {},
                    "steps": [],
                    "tool_calls": [],
                    "tool_results": [],
                },
                "tool_calls": [],
                "tool_results": [],
                "result": _TEA,
            },
            asks={
                "start_subworkflow": {
                    "workflow_id": "visual_react_agent_flow-1_node-1",
                    "vars": {
                        "context": {"task": "Find tea.", "messages": []},
                        "scratchpad": {"iteration": 0, "max_iterations": 25},
                        "_runtime": {
                            "inbox": [],
                            "provider": "p",
                            "model": "m",
                            "allowed_tools": ["search"],
                        },
                        "_temp": {},
                        "_limits": default_limits(),
                    },
                    "async": True,
                    "wait": True,
                    "include_traces": True,
                    "on_child_failure": "continue",
                }
            },
            result=_TEA,
        ),
    )
    area = "agent"
    bare_input = "prompt"
    needs = ("prompt",)
    doc = (
        "Gives a task to an agent: a child run that asks a model, runs tools and goes on until it has "
        "an answer. What the agent asks a person, its host shows as a wait of the child run. With a "
        "response schema one more model call turns the answer into an object at `data`. An agent that "
        "fails, or that names no provider and model, does not fail the flow: `success` is false and "
        "`response` says why. `scratchpad` holds the newest 200 steps of the child run, long texts cut; "
        "its ledger has all of them."
    )
    inputs = (
        Pin("prompt", "string", "The task.", default="", aliases=("task",)),
        Pin("context", "object", "Messages before the task, attachments, and further entries."),
        Pin("provider", "provider", "Who runs the model; needed, here or in the configuration."),
        Pin("model", "model", "Which model; needed as well."),
        Pin("system", "string", "Instructions on top of the agent's own."),
        Pin("tools", "tools", "Names of the tools it may use; none when empty."),
        Pin("max_iterations", "number", "How often it may ask the model."),
        MAX_IN,
        MAX_OUT,
        Pin("temperature", "number", "How freely it answers.", default=DEFAULT_TEMPERATURE),
        Pin("seed", "number", "For repeatable answers; not sent below 0.", default=-1),
        Pin(
            "include_context",
            "boolean",
            "Show it the run's conversation, and add its turn to it.",
            aliases=("use_context",),
        ),
        RESPONSE_SCHEMA,
        *MEMORY_PINS,
    )
    outputs = (
        Pin(
            "response",
            "string",
            "The answer, the JSON text of `data`, or why there is none.",
            role="speech",
        ),
        Pin("success", "boolean", "Whether there is an answer."),
        Pin("data", "object", "The answer as an object, with a response schema."),
        Pin("meta", "object", "The agent's run, its model, its iterations, its error."),
        Pin("scratchpad", "object", "What it did: messages, steps, tools."),
        Pin("tool_calls", "array", "The tools it called."),
        Pin("tool_results", "array", "What they returned."),
        Pin("result", "any", "The object at `data`, else response, success, meta and scratchpad."),
    )
    data_schema = settings(
        "agentConfig",
        provider=TEXT,
        model=TEXT,
        system=TEXT,
        tools=TEXTS,
        max_iterations=WHOLE,
        max_in_tokens=WHOLE,
        max_out_tokens=WHOLE,
        **dict.fromkeys((*MAX_IN.aliases, *MAX_OUT.aliases), older(WHOLE)),
        temperature={"type": "number"},
        seed=WHOLE,
        include_context=FLAG,
        use_context=older(FLAG),
        **settings("outputSchema", enabled=FLAG, jsonSchema={"type": "object"}),
        _react_workflow_id=TEXT,
    )
    compat = (
        "Effects 7: `task` is another name of `prompt`, `agentConfig.system` counts where the pin is "
        "blank, and a temperature of 0.7 can be asked for. Effects 8: `success`, `meta.error` and "
        "`meta.status` follow the child run; an answer that is no object for the schema is no success. "
        "Effects 21: traces are stored once and within bounds; the ambient value goes without them."
    )

    def advance(
        self, element: Element, bucket: JsonObject, inputs: JsonObject, scope: Scope
    ) -> Stage | Finish:
        request = AgentRequest.of(element, inputs, scope)
        if not request.provider or not request.model:
            return self._finish(element, _misconfigured(request), error=_MISCONFIGURED)
        recall = request.recall.next_stage(bucket)
        if recall is not None:
            return recall
        if _SUB not in bucket:
            return Stage("start_subworkflow", request.child(bucket), _SUB)
        child = ChildAnswer.of(bucket[_SUB])
        schema = request.schema
        if schema is not None and child.success and _STRUCTURED not in bucket:
            bucket[_SUB]["node_traces"] = bounded_traces(child.node_traces)
            return Stage("llm_call", request.structured(schema, child.answer), _STRUCTURED)
        if request.keeps_turn:
            add_turn(scope.vars, element.id, request.task, child)
        result = _stored(request, child, has_schema=schema is not None)
        if schema is not None and child.success:
            result = _with_data(result, bucket[_STRUCTURED])
        return self._finish(element, result)

    def _finish(self, element: Element, result: JsonObject, error: str | None = None) -> Finish:
        record = self.pins(element, result)
        ambient = {name: record[name] for name in _RECORD}
        ambient["scratchpad"] = {**record["scratchpad"], "node_traces": {}, "steps": []}
        completion = {name: record[name] for name in _COMPLETION}
        return Finish(result, ambient, completion, error)

    def pins(self, element: Element, result: JsonValue) -> JsonObject:
        stored = result if isinstance(result, dict) else {}
        pad = stored.get("scratchpad") or {
            "task": stored.get("task"),
            "messages": [],
            "node_traces": {},
        }
        calls, results = tool_activity(pad.get("node_traces"))
        record: JsonObject = {
            "response": stored.get("response"),
            "success": stored.get("success"),
            "data": stored.get("data"),
            "meta": {
                **(stored.get("meta") or _meta(stored)),
                "tool_calls": len(calls),
                "tool_results": len(results),
            },
            "scratchpad": {
                **pad,
                "steps": trace_steps(pad.get("node_traces")),
                "tool_calls": calls,
                "tool_results": results,
            },
            "tool_calls": calls,
            "tool_results": results,
        }
        return {**record, "result": _legacy_result(stored, record)}

    def primary(self, element: Element, record: JsonObject) -> JsonValue:
        data = record["data"]
        return {"success": record["success"]} if data is None else data


def _stored(request: AgentRequest, child: ChildAnswer, *, has_schema: bool) -> JsonObject:
    """Give what is kept of an agent's work; the pins are read from it."""
    pad: JsonObject = {
        "sub_run_id": child.sub_run_id,
        "workflow_id": request.workflow_id,
        "task": request.task,
        "messages": child.messages,
        "node_traces": bounded_traces(child.node_traces),
    }
    if request.context_extra:
        pad["context_extra"] = request.context_extra
    meta = {
        **_meta({"provider": request.provider, "model": request.model}),
        "output_mode": "structured" if has_schema else "unstructured",
        **child.facts(),
    }
    return {
        "response": child.response,
        "success": child.success,
        "meta": meta,
        "scratchpad": pad,
    }


def _with_data(result: JsonObject, answer: JsonValue) -> JsonObject:
    data, problem = _object_in(answer if isinstance(answer, dict) else {})
    done = {**result, "response": compact_json(data), "data": data}
    if problem is None:
        return done
    meta = {**result["meta"], "status": "failed", "error": problem}
    return {**done, "success": False, "meta": meta}


def _object_in(answer: JsonObject) -> tuple[JsonObject, str | None]:
    """Give the object that a structured model call came to, and what is wrong with it."""
    from abstractruntime.llm.structured import parse_object  # noqa: PLC0415 - few agents need it

    data = answer.get("data")
    if not isinstance(data, dict):
        data = parse_object(text(answer.get("content")))
    if data is None:
        return {}, _NO_OBJECT
    metadata = answer.get("metadata")
    note = metadata.get(_PARSE_ERROR) if isinstance(metadata, dict) else None
    return data, None if note is None else text(note)


def _misconfigured(request: AgentRequest) -> JsonObject:
    return {
        "response": _MISCONFIGURED,
        "task": request.task,
        "context": request.context,
        "success": False,
        "error": _MISCONFIGURED,
        "provider": request.provider or _UNKNOWN,
        "model": request.model or _UNKNOWN,
    }


def _meta(facts: JsonObject) -> JsonObject:
    return {
        "schema": META_SCHEMA,
        "version": 1,
        "provider": facts.get("provider"),
        "model": facts.get("model"),
    }


def _legacy_result(stored: JsonObject, record: JsonObject) -> JsonValue:
    if "meta" not in stored:
        return stored
    data = record["data"]
    return {name: record[name] for name in _COMPLETION} if data is None else data
