"""Where a compiled flow keeps what must survive, inside the run's variables.

| path                          | content                                             |
|-------------------------------|-----------------------------------------------------|
| `_last_output`                | the ambient value                                   |
| `_temp.node_outputs.<id>`     | outputs of function-like, pass-through and control nodes |
| `_temp.effects.<id>`          | raw effect results, written by the kernel           |
| `_temp.echoes.<id>`           | output pins of an effect node known before its effect |
| `_temp.errors.<id>`           | failures of nodes after which the flow goes on      |
| `_temp.raised.<id>`           | what else is known of them: `source`, `line`, `raised`, as below |
| `_temp.draws.<id>`            | first outputs of nodes that draw                    |
| `_temp.<area>.<id>`           | open activations of staged nodes: inputs, stage, results of its stages |
| `_temp.mapped`                | effect nodes whose result still goes to `outputKey` |
| `_temp._control.stack`        | active control nodes, innermost last                |
| `_temp._control.frames.<id>`  | their frames                                        |
| `_flow_error`, `_flow_error_node` | the failure that ended the run                  |
| `_flow_error_source`              | the node that failed, where that step needed its value or had to store it |
| `_flow_error_line`                | the line of the author's code that failed       |
| `_flow_error_raised`              | class, message and traceback of what that code raised; the traceback may be an artifact |

Invariant: no value is shared between two of these places, or a run in memory would
change in one place what a run read back from JSON would not.
"""

from __future__ import annotations

from abstractruntime._json import JsonObject, JsonValue, isolate, join_pointer, mapping

AMBIENT = "_last_output"
_TEMP = "_temp"


def own(value: JsonValue) -> JsonValue:
    """Give `value` so that nobody else can change it."""
    return isolate(value) if isinstance(value, dict | list) else value


def result_key(node_id: str, place: str = "effects", *way: str) -> str:
    """Give where an effect's result goes: a dotted path, or a pointer when the id has dots."""
    parts = (_TEMP, place, node_id, *way)
    if "." in node_id:
        return join_pointer(parts)
    return ".".join(parts)


class Durable:
    """The compiler's part of one run's variables; makes missing parts on first write."""

    __slots__ = ("vars",)

    def __init__(self, variables: JsonObject) -> None:
        self.vars = variables

    def read(self, place: str, node_id: str) -> tuple[bool, JsonValue]:
        """Tell whether `_temp.<place>.<node_id>` exists, and what it holds (not copied)."""
        held = mapping(mapping(self.vars.get(_TEMP)).get(place))
        return node_id in held, held.get(node_id)

    def write(self, place: str, node_id: str, value: JsonValue) -> None:
        self._place(place)[node_id] = value

    def drop(self, place: str, node_id: str) -> None:
        mapping(mapping(self.vars.get(_TEMP)).get(place)).pop(node_id, None)

    def clear_draws(self) -> None:
        mapping(self.vars.get(_TEMP)).pop("draws", None)

    def _place(self, name: str) -> JsonObject:
        temp = _ensure(self.vars, _TEMP)
        return _ensure(temp, name)

    # --- effect results that go to a variable -------------------------------------------

    def expect_mapped(self, node_id: str) -> None:
        """Remember that the next step copies this node's effect result to its `outputKey`."""
        _ensure(self.vars, _TEMP)["mapped"] = node_id

    def take_mapped(self) -> str | None:
        """Give the node whose effect result is still to be copied, once."""
        node_id = mapping(self.vars.get(_TEMP)).pop("mapped", None)
        return node_id if isinstance(node_id, str) else None

    # --- control ------------------------------------------------------------------------

    @property
    def active(self) -> str | None:
        """The innermost active control node."""
        control = mapping(mapping(self.vars.get(_TEMP)).get("_control"))
        stack = control.get("stack")
        return stack[-1] if isinstance(stack, list) and stack else None

    def frame(self, node_id: str) -> JsonObject | None:
        control = mapping(mapping(self.vars.get(_TEMP)).get("_control"))
        frame = mapping(control.get("frames")).get(node_id)
        return frame if isinstance(frame, dict) else None

    def push(self, node_id: str, frame: JsonObject) -> None:
        stack, frames = self._control()
        frames[node_id] = frame
        stack.append(node_id)

    def unwind_to(self, node_id: str) -> None:
        """Make `node_id` the innermost control node, dropping the ones it contains."""
        stack, frames = self._control()
        while stack and stack[-1] != node_id:
            frames.pop(stack.pop(), None)
        if not stack:
            stack.append(node_id)

    def pop(self, node_id: str) -> None:
        stack, frames = self._control()
        frames.pop(node_id, None)
        if stack and stack[-1] == node_id:
            stack.pop()

    def _control(self) -> tuple[list[str], JsonObject]:
        control = self._place("_control")
        stack = control.get("stack")
        if not isinstance(stack, list):
            stack = control["stack"] = []
        return stack, _ensure(control, "frames")


def _ensure(holder: JsonObject, key: str) -> JsonObject:
    value = holder.get(key)
    if not isinstance(value, dict):
        value = holder[key] = {}
    return value
