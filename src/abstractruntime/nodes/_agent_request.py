"""What an agent node asks of the run that does its work."""

from __future__ import annotations

from dataclasses import dataclass

from abstractruntime._json import JsonObject, JsonValue, isolate, mapping
from abstractruntime.core.vars import default_limits
from abstractruntime.nodes._history import active_messages, is_system, unique_messages
from abstractruntime.nodes._recall import (
    KG_MARKER,
    MemorySources,
    kg_text,
    last_user_text,
    span_messages,
)
from abstractruntime.nodes._schema import read_response_schema
from abstractruntime.nodes._settings import (
    DEFAULT_TEMPERATURE,
    MAX_IN,
    MAX_OUT,
    as_number,
    context_flag,
    first_positive,
    object_messages,
    seed_of,
    text,
    unique,
)
from abstractruntime.nodes.base import Element, Scope
from abstractruntime.nodes.interaction import as_flag
from abstractruntime.nodes.names import agent_workflow_id

_DEFAULT_ITERATIONS = 25
_PARENT_SETTINGS = ("audio_policy", "stt_language")


@dataclass(frozen=True, slots=True)
class AgentRequest:
    """The resolved inputs of one activation."""

    node_id: str
    inputs: JsonObject
    config: JsonObject
    variables: JsonObject
    workflow_id: str
    recall: MemorySources

    @classmethod
    def of(cls, element: Element, inputs: JsonObject, scope: Scope) -> AgentRequest:
        config = element.config("agentConfig")
        question = text(inputs.get("prompt"))
        if not question.strip():
            context = mapping(inputs.get("context"))
            given = object_messages(context.get("messages"))
            question = last_user_text(given or active_messages(scope.vars))
        return cls(
            node_id=element.id,
            inputs=inputs,
            config=config,
            variables=scope.vars,
            workflow_id=agent_workflow_id(scope.flow_id, element.id, config),
            recall=MemorySources.of(
                inputs, fallback=question, model=_name(inputs, config, "model")
            ),
        )

    @property
    def task(self) -> str:
        return text(self.inputs.get("prompt"))

    @property
    def provider(self) -> str:
        return _name(self.inputs, self.config, "provider").lower()

    @property
    def model(self) -> str:
        return _name(self.inputs, self.config, "model")

    @property
    def system(self) -> str:
        given = text(self.inputs.get("system"))
        return given if given.strip() else text(self.config.get("system"))

    @property
    def context(self) -> JsonObject:
        return mapping(self.inputs.get("context"))

    @property
    def context_extra(self) -> JsonObject:
        """What the context pin holds besides the task and the messages."""
        return {k: v for k, v in self.context.items() if k not in ("task", "messages")}

    @property
    def keeps_turn(self) -> bool:
        """True when the agent sees the run's conversation, and its turn joins it."""
        return as_flag(context_flag(self.inputs, self.config))

    @property
    def schema(self) -> JsonObject | None:
        given = read_response_schema(self.inputs.get("resp_schema"))
        settings = mapping(self.config.get("outputSchema"))
        if given is not None or not as_flag(settings.get("enabled")):
            return given
        return read_response_schema(settings.get("jsonSchema"))

    def child(self, bucket: JsonObject) -> JsonObject:
        """Give the payload that starts the agent's run."""
        limits = self._limits()
        child_vars: JsonObject = {
            "context": self._child_context(bucket),
            "scratchpad": {"iteration": 0, "max_iterations": limits["max_iterations"]},
            "_runtime": self._runtime(),
            "_temp": {},
            "_limits": limits,
        }
        return {
            "workflow_id": self.workflow_id,
            "vars": child_vars,
            "async": True,
            "wait": True,
            "include_traces": True,
            "on_child_failure": "continue",
        }

    def structured(self, schema: JsonObject, answer: str) -> JsonObject:
        """Give the payload of the call that turns the answer into data."""
        # Compat: the wording is that of 0.4.2, as recorded requests are matched by it.
        question = (
            "Convert the Agent answer into a JSON object matching the required schema. "
            f"Return JSON only.\n\nTask:\n{self.task}\n\nAnswer:\n{answer}"
        )
        return {
            "messages": [{"role": "user", "content": question}],
            "system_prompt": self.system,
            "provider": self.provider,
            "model": self.model,
            "response_schema": schema,
            "response_schema_name": f"Agent_{self.node_id}",
            "params": {"temperature": DEFAULT_TEMPERATURE, **self._sampling()},
        }

    def _sampling(self) -> JsonObject:
        """Give temperature and seed as far as the author set them."""
        found: JsonObject = {}
        for value in (self.config.get("temperature"), self.inputs.get("temperature")):
            number = as_number(value, float, -1.0)
            if number >= 0:
                found["temperature"] = number
        seed = seed_of(self.inputs, self.config)
        return found if seed is None else {**found, "seed": seed}

    def _runtime(self) -> JsonObject:
        tools = self.inputs["tools"] if "tools" in self.inputs else self.config.get("tools")
        found: JsonObject = {
            "inbox": [],
            "provider": self.provider,
            "model": self.model,
            "allowed_tools": _tool_names(tools),
        }
        if self.system.strip():
            found["system_prompt_extra"] = self.system
        found |= self._sampling()
        parent = mapping(self.variables.get("_runtime"))
        found |= {n: parent[n] for n in _PARENT_SETTINGS if parent.get(n) is not None}
        index = self.recall.settings.get("use_session_attachments")
        if index is not None:
            found["control"] = {"include_session_attachments_index": index}
        return found

    def _limits(self) -> JsonObject:
        """Give the parent's limits, those of the node over them; the counters start anew."""
        limits = {**(mapping(self.variables.get("_limits")) or default_limits())}
        iterations = (
            self.inputs.get("max_iterations"),
            self.config.get("max_iterations"),
            limits.get("max_iterations"),
            _DEFAULT_ITERATIONS,
        )
        limits["max_iterations"] = next(n for n in map(_count, iterations) if n > 0)
        for name, pin in (("max_input_tokens", MAX_IN), ("max_output_tokens", MAX_OUT)):
            chosen = first_positive(self.inputs, self.config, pin)
            limits |= {name: chosen} if chosen else {}
        return {**limits, "current_iteration": 0, "estimated_tokens_used": 0}

    def _child_context(self, bucket: JsonObject) -> JsonObject:
        context = {"task": self.task, "messages": self._messages(bucket), **self.context_extra}
        own = mapping(self.variables.get("context"))
        if self.keeps_turn and own.get("attachments") and not context.get("attachments"):
            context["attachments"] = isolate(own["attachments"])
        return context

    def _messages(self, bucket: JsonObject) -> list[JsonObject]:
        base = object_messages(self.context.get("messages"))
        added: list[JsonObject] = []
        if not base and self.keeps_turn:
            base = active_messages(self.variables)
        else:
            added = span_messages(bucket, self.variables)
        facts = kg_text(bucket)
        if facts and not any(KG_MARKER in str(m.get("content")) for m in base):
            metadata = {"message_id": f"kg_active_memory:{self.node_id}"}
            added.append({"role": "system", "content": facts, "metadata": metadata})
        return unique_messages(
            [
                *(m for m in base if is_system(m)),
                *(m for m in added if is_system(m)),
                *(m for m in base if not is_system(m)),
                *(m for m in added if not is_system(m)),
            ]
        )


def _name(inputs: JsonObject, config: JsonObject, name: str) -> str:
    """Give the pin's text, else that of the configuration; blank counts as missing."""
    for value in (inputs.get(name), config.get(name)):
        if isinstance(value, str) and value.strip():
            return value.strip()
    return ""


def _tool_names(tools: JsonValue) -> list[JsonValue]:
    given = [tools] if isinstance(tools, str) else tools
    names = [t.strip() for t in given if isinstance(t, str)] if isinstance(given, list) else []
    return unique([name for name in names if name])


def _count(value: JsonValue) -> int:
    return int(as_number(value, float, 0))
