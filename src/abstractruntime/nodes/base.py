"""What a node type is.

One class per node type. The class states its pins, defaults and documentation as
data; the document's JSON Schema, the checks, the catalogue and the compiler are
generated from it. Behaviour is one method, whose shape depends on the kind:

| kind         | method                              | its result                             |
|--------------|-------------------------------------|----------------------------------------|
| PURE         | `evaluate(element, inputs, scope)`  | output record or bare value            |
| FUNCTION     | `evaluate(element, inputs, scope)`  | same; also becomes the ambient value   |
| PASS_THROUGH | `evaluate(element, inputs, scope)`  | output record; changes `scope.vars`    |
| CONTROL      | `open_frame` and `next_turn`        | which branch runs next                 |
| EFFECT       | `plan` and `pins`                   | a request; then pins from its result   |
| STAGED       | `advance` and `pins`                | one move of several; then the same     |

Rules:
1. Node types keep no state; everything durable is in `scope.vars` or a frame.
2. A PURE type leaves `inputs` as they are: values may be part of the run. All other types
   get copies, which they may change. A FUNCTION with a dynamic input may get a bare ambient
   value instead of an object.
3. A node reports a problem by raising `NodeError`; the run then ends with an error
   envelope that names the node.
4. A PURE type declared with execution pins is lowered like FUNCTION.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Protocol

from abstractruntime._json import JsonObject, JsonValue
from abstractruntime.nodes.services import Catalog, CodeRunner, Files, RandomSource
from abstractruntime.nodes.shape import Shape, ShapeOf

if TYPE_CHECKING:
    from abstractruntime.core.store import Artifacts


class _Missing(Enum):
    MISSING = "missing"


MISSING: Final = _Missing.MISSING
"""Stands for "no default"; None is a real default."""


Constant = Callable[[str], JsonValue]
"""Gives the constant at an input pin, None when there is none or it is computed."""


class NodeError(ValueError):
    """A node cannot produce its output; the text is what the run's envelope shows."""


PinRole = Literal["condition", "speech", "names", "reads", "sets", "changes", "emits", "awaits"]


@dataclass(frozen=True, slots=True)
class Pin:
    """One data pin of a node type.

    `aliases` are older spellings accepted when inputs are read. `control_plane` pins
    never take an ambient value. `dynamic` marks the placeholder for "any further pins", `declared`
    one for those that the document declares, if it declares any. `choices` are the texts that mean
    something here; others are taken as the default, or fail. A `strict` pin does not use a value
    of another type; `also` are further JSON types that mean something at the pin.

    `role` says what the checks may conclude from its value: its truth chooses the way
    (`condition`), a person or a model said it (`speech`); it `names` a key, a file or the like, and
    is not shown as a text; it names a variable that the node `reads`, `sets`, or `changes` in part,
    an event that it `emits`, a wait key that it `awaits`.
    """

    id: str
    type: str = "any"
    doc: str = ""
    default: JsonValue = MISSING
    aliases: tuple[str, ...] = ()
    control_plane: bool = False
    dynamic: bool = False
    declared: bool = False
    choices: tuple[str, ...] = ()
    strict: bool = False
    also: tuple[str, ...] = ()
    role: PinRole | None = None


@dataclass(frozen=True, slots=True)
class Example:
    """An executable example: `inputs` (and `data`) give `output`.

    The clock of examples stands at 2026-01-02T03:04:05 UTC. `around` says what is there
    besides the inputs: `variables`, `ambient`, `files` (texts by path), `artifacts` (texts),
    `models` (lists by provider), `handles` (those with an edge). `after` gives the variables
    and files of the end, if they are others.

    An EFFECT or STAGED type asks for `asks`, `{effect type: payload}`; from the `result`
    of that come the pins in `output`. For a CONTROL type `output` lists the first turns,
    each with its `handle` and its pins.
    """

    inputs: JsonObject
    output: JsonValue
    data: JsonObject = field(default_factory=dict)
    around: JsonObject = field(default_factory=dict)
    after: JsonObject = field(default_factory=dict)
    asks: JsonObject | None = None
    result: JsonValue = None


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with an element, found before it runs; the compiler adds where.

    `code` is the rule that explains it; `severity` replaces that of the rule when it is given.
    """

    message: str
    code: str = "VF203"
    pin: str | None = None
    hint: str | None = None
    pointer: str = ""
    severity: Literal["error", "warning"] | None = None


@dataclass(frozen=True, slots=True)
class ElementPin:
    """A data pin as the document declares it."""

    id: str
    type: str = "any"


@dataclass(frozen=True)
class Element:
    """One node of a flow, as its type sees it.

    `inputs`/`outputs` are the declared data pins in document order; `exec_outputs` the
    declared execution handles; `pin_defaults` the author's `data.pinDefaults`; `wired`
    the ids of inputs with a data edge; `declares_pins` is False for documents that list none.
    """

    id: str
    type: str
    label: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[ElementPin, ...] = ()
    outputs: tuple[ElementPin, ...] = ()
    exec_inputs: tuple[str, ...] = ()
    exec_outputs: tuple[str, ...] = ()
    pin_defaults: Mapping[str, Any] = field(default_factory=dict)
    wired: frozenset[str] = frozenset()
    declares_pins: bool = True

    def config(self, name: str) -> JsonObject:
        """Give the configuration object `data[name]`, or an empty one."""
        value = self.data.get(name)
        return value if isinstance(value, dict) else {}

    @property
    def goes_on(self) -> bool:
        """True when a failure of this node becomes a value: `data.onError` is `continue`."""
        return self.data.get("onError") == "continue"

    @property
    def input_ids(self) -> tuple[str, ...]:
        return tuple(pin.id for pin in self.inputs)

    @property
    def output_ids(self) -> tuple[str, ...]:
        return tuple(pin.id for pin in self.outputs)


class Scope(Protocol):
    """What a node may use besides its inputs."""

    @property
    def run_id(self) -> str: ...
    @property
    def flow_id(self) -> str: ...
    @property
    def vars(self) -> JsonObject:
        """The run's variables; PURE and EFFECT types must not change them."""
        ...

    @property
    def ambient(self) -> JsonValue:
        """The value handed from one function-like step to the next; None when there is none yet."""
        ...

    @property
    def random(self) -> RandomSource: ...
    @property
    def code(self) -> CodeRunner: ...
    @property
    def catalog(self) -> Catalog | None: ...
    @property
    def files(self) -> Files:
        """The files of the workspace, narrowed to what the run may see of it."""
        ...

    @property
    def artifacts(self) -> Artifacts | None: ...
    def now(self) -> datetime: ...


class NodeType:
    """Base of every node type; subclasses set the class attributes below."""

    type: ClassVar[str]
    family: ClassVar[str]
    kind: ClassVar[str]
    """What nodes of the class do, as the reference says it; the classes below set it."""
    doc: ClassVar[str]
    """One paragraph for authors: what it does, then what can surprise."""
    inputs: ClassVar[tuple[Pin, ...]] = ()
    outputs: ClassVar[tuple[Pin, ...]] = ()
    handles: ClassVar[tuple[str, ...]] = ("exec-out",)
    """Execution handles that may leave the node; a trailing `*` matches any suffix."""
    capability: ClassVar[str | None] = None
    """What a flow with such a node must be granted, as manifests and consent name it."""
    is_trigger: ClassVar[bool] = False
    declares_parameters: ClassVar[bool] = False
    """True when the output pins that the document declares are the parameters of the flow."""
    hears: ClassVar[bool] = False
    """True when it may stand beside the flow, as a listener that is a run of its own."""
    is_constant: ClassVar[bool] = False
    """True when it gives `data.literalValue` and is never a step, whatever pins it declares."""
    runs_code: ClassVar[bool] = False
    """True when it runs author code; without execution pins it is then no step."""
    runs_agent: ClassVar[bool] = False
    """True when `data.agentConfig` describes an agent, whose workflow the host makes."""
    waits: ClassVar[Literal["never", "sometimes", "always"]] = "never"
    """Whether a run stops here until something comes from outside."""
    replaces_ambient: ClassVar[bool] = False
    """True when its pins become the ambient value although it is no function."""
    bare: ClassVar[bool] = False
    """True when `evaluate` gives the value of the one pin `result`: the record is `{"result": value}`."""
    draws: ClassVar[bool] = False
    """True when equal inputs may give another output; the first output of an activation is kept."""
    touches_files: ClassVar[bool] = False
    """True when evaluating it changes or reads files: a crash repeats at most this one step."""
    reads_variables: ClassVar[bool] = False
    """True when the output is taken from the run's variables as it is."""
    has_whole: ClassVar[bool] = True
    """True when the handles `result` and `output` may stand for the whole output record."""
    ends_run: ClassVar[bool] = False
    """True when the run completes here unless an execution edge leaves."""
    bare_input: ClassVar[str | None] = None
    """The pin that takes a bare (non-object) ambient value when nothing else is given."""
    needs: ClassVar[tuple[str, ...]] = ()
    """Input pins without which the node has nothing to do."""
    compares: ClassVar[tuple[str, ...]] = ()
    """Input pins whose values are compared with each other as they are, and not as texts."""
    unread: ClassVar[tuple[str, ...]] = ()
    """Input pins that other editors draw and that change nothing here."""
    data_schema: ClassVar[JsonObject] = {}
    """JSON Schema properties of the `data` keys that mean something to this type."""
    examples: ClassVar[tuple[Example, ...]] = ()
    compat: ClassVar[str] = ""
    """Deviations from 0.4.2, with quirk numbers, for the catalogue."""

    def check(self, element: Element) -> Iterable[Problem]:
        """Find what is wrong with the configuration of `element`."""
        return ()

    def doubts(self, element: Element, inputs: JsonObject) -> Iterable[Problem]:
        """Find which constants among `inputs` do not do what they seem to; other inputs end the search."""
        return ()

    def names_needed(self, element: Element) -> Iterable[str]:
        """Give the names that the configuration of `element` takes from its inputs, and fails without."""
        return ()

    def input_names(self, element: Element) -> frozenset[str] | None:
        """Give the names under which a value can come in; None when any name is fine."""
        return _names(self.inputs, element.input_ids)

    def output_names(self, element: Element) -> frozenset[str] | None:
        """Give the names under which a value can be taken; None when any name may be."""
        return _names(self.outputs, element.output_ids)

    def branches_of(self, element: Element) -> tuple[str, ...] | None:
        """Give the handles that the configuration names; None when it is not what names them."""
        return None

    def mentions(self, element: Element, pin: str) -> bool:
        """Tell whether the node itself names a pin that it does not declare."""
        return False

    def shape(self, element: Element, incoming: ShapeOf) -> Shape:
        """Give what is known of the object that the node makes."""
        return None

    def lookups(self, element: Element, constant: Constant) -> Iterable[tuple[str, str]]:
        """Give the paths that the node looks up, each with the pin whose object they are looked up in."""
        return ()

    def subflow(self, element: Element) -> str | None:
        """Give the id of the flow that `element` runs, an empty text when it names none.

        None: nodes of this type run no flow.
        """
        return None

    def variable(self, element: Element) -> str:
        """Give the name of the variable that `element` declares, or an empty text."""
        return ""

    @cached_property
    def pins_by_role(self) -> Mapping[PinRole, Pin]:
        return {pin.role: pin for pin in (*self.inputs, *self.outputs) if pin.role}

    def takes_bus(self, element: Element) -> bool:
        """Tell whether every key of the ambient value is an input, and not only the known pins."""
        return False

    def evaluate(self, element: Element, inputs: JsonObject, scope: Scope) -> JsonValue:
        raise NotImplementedError


def _names(typed: tuple[Pin, ...], declared: tuple[str, ...]) -> frozenset[str] | None:
    names = {name for pin in typed if not pin.dynamic for name in (pin.id, *pin.aliases)}
    further = next((pin for pin in typed if pin.dynamic), None)
    if further is None or (further.declared and (declared or names)):
        return frozenset(names.union(declared if further else ()))
    return None


UNKNOWN: Final = NodeType()
"""Stands for a type that is not in the registry, so that its facts are the usual ones."""


class FunctionNode(NodeType):
    """A node that computes a value, which becomes the ambient value."""

    kind = "step: its result becomes the ambient value"

    def takes_bus(self, element: Element) -> bool:
        return True


class ValueNode(FunctionNode):
    """A pure node."""

    kind = "pure: computed when a step pulls its value"


_REGISTRY: dict[str, NodeType] = {}


def register(cls: type[NodeType]) -> type[NodeType]:
    """Add a node type to the registry; a type name can be taken once."""
    if cls.type in _REGISTRY:
        raise ValueError(f"node type {cls.type!r} is registered twice")
    _REGISTRY[cls.type] = cls()
    return cls


@dataclass(frozen=True, slots=True)
class Turn:
    """A control node's decision: run the branch behind `handle`, publishing `record`.

    `record` (when given) becomes the node's output and is merged into the ambient value.
    """

    handle: str
    record: JsonObject | None = None


class PassThroughNode(NodeType):
    """A node that changes variables and leaves the ambient value alone."""

    kind = "step: changes run variables and leaves the ambient value alone"

    def completion(self, record: JsonObject, ambient: JsonValue) -> JsonObject:
        """Give the output of a run that ends at this node."""
        raise NotImplementedError


class ControlNode(NodeType):
    """A node that owns a durable frame and runs branches until it is finished.

    `open_frame` is called once per activation, `next_turn` at each entry; it changes the
    frame before it returns, so that a crash in the body never repeats a turn. None means
    finished, and control leaves through `exit_handle`. The ambient value is not a copy.
    """

    kind = "step: runs branches until it is finished"
    exit_handle: ClassVar[str | None] = None
    drops_draws: ClassVar[bool] = False
    rereads_inputs: ClassVar[bool] = False
    """True when `next_turn` sees the inputs of its own entry; otherwise only `open_frame` sees inputs."""
    cap_name: ClassVar[str | None] = None
    """The name shown when the node runs its branch more often than the host allows; None = no cap."""

    def open_frame(
        self, element: Element, inputs: JsonObject, handles: tuple[str, ...]
    ) -> JsonObject:
        """Give the initial frame; `handles` are the connected execution handles."""
        raise NotImplementedError

    def next_turn(
        self, element: Element, frame: JsonObject, inputs: JsonObject, ambient: JsonValue
    ) -> Turn | None:
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class PlannedEffect:
    """An effect request: type name and payload, without `type` and `resume_to_node`."""

    effect: str
    payload: JsonObject


class EffectNode(NodeType):
    """A node that asks the runtime for an effect and derives its pins from the result."""

    kind = "step: asks the runtime for an effect, which is recorded"
    primary_pin: ClassVar[str | None] = None
    """The pin whose value `data.outputKey` stores; None for the whole record."""
    names_effect: ClassVar[bool] = True
    """False when the payload of its effect does not repeat the effect's type."""

    def plan(self, element: Element, inputs: JsonObject, scope: Scope) -> PlannedEffect:
        raise NotImplementedError

    def rearms(self, element: Element, inputs: JsonObject) -> bool:
        """Tell whether the chain that the effect starts is a branch: its end returns to the node."""
        return False

    def replan(
        self, element: Element, inputs: JsonObject, scope: Scope, before: JsonObject
    ) -> PlannedEffect:
        """Plan the next turn of a node whose branch has ended; `before` are the pins of the last turn."""
        return self.plan(element, inputs, scope)

    def echo(self, element: Element, inputs: JsonObject, effect: PlannedEffect) -> JsonObject:
        """Give output pins known before the effect runs; they are stored with the run."""
        return {}

    def pins(self, element: Element, result: JsonValue) -> JsonObject:
        """Derive the output record from the stored effect result or resume payload, unchanged."""
        return dict(result) if isinstance(result, dict) else {}

    def primary(self, element: Element, record: JsonObject) -> JsonValue:
        """Give the value that `data.outputKey` stores."""
        return record if self.primary_pin is None else record.get(self.primary_pin)


@dataclass(frozen=True, slots=True)
class Stage:
    """One effect on the way: its result is stored in the bucket as `name`, and the node goes on."""

    effect: str
    payload: JsonObject
    name: str


@dataclass(frozen=True, slots=True)
class Finish:
    """The end of a staged node without an effect of its own.

    `result` is what `pins` derives the output record from; `ambient` replaces the ambient
    value; `completion` is the output of a run that ends here. An `error` is noted in the
    run's variables, and the flow goes on.
    """

    result: JsonValue
    ambient: JsonValue = MISSING
    completion: JsonObject = field(default_factory=dict)
    error: str | None = None


class StagedNode(EffectNode):
    """A node that needs several effects, one after another.

    `advance` is called on each visit of an activation. The bucket is empty on the first one
    and then holds the results of all stages so far under their names, None for a stage
    that gave nothing; so what is in the bucket says where the node is. What `advance` changes
    in the bucket is kept until the activation ends; the names `inputs` and `stage` are taken.
    `inputs` are those of the first visit. A `PlannedEffect` is the last effect: its result is
    the node's, as for any effect node. The variables may be changed before a `Finish`, and
    only then.
    """

    kind = "step: asks the runtime for one effect after another, each of them recorded"
    area: ClassVar[str]
    """Where under `_temp` the buckets of open activations are."""

    def advance(
        self, element: Element, bucket: JsonObject, inputs: JsonObject, scope: Scope
    ) -> Stage | PlannedEffect | Finish:
        raise NotImplementedError
