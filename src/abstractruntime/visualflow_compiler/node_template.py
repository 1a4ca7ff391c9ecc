"""A node of a type as it stands in a document, with every key that the type reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from abstractruntime._json import JsonObject, JsonValue
from abstractruntime.nodes.base import MISSING, NodeType, Pin, ValueNode
from abstractruntime.visualflow_compiler._model import EXEC_IN, EXEC_OUT

_WAYS: Final = "01"
_EMPTY: Final[Mapping[str, JsonValue]] = {"array": [], "object": {}}


def node_template(name: str, node_type: NodeType) -> JsonObject:
    """Give a node to paste: pins, pin defaults and configuration, older spellings left out.

    A key without a default, constant or example is null, which is as good as leaving it out.
    """
    shown = _shown_data(node_type)
    config = {
        key: _value(schema, shown.get(key, MISSING))
        for key, schema in node_type.data_schema.items()
        if not schema.get("deprecated")
    }
    defaults = {
        pin.id: pin.default
        for pin in node_type.inputs
        if pin.default not in (MISSING, None) and not pin.dynamic
    }
    data = {
        "nodeType": name,
        "inputs": [*_exec_inputs(node_type), *_pins(node_type.inputs), *shown.get("inputs", ())],
        "outputs": [
            *({"id": way, "type": "execution"} for way in _ways(node_type, config)),
            *_pins(node_type.outputs),
            *shown.get("outputs", ()),
        ],
        "pinDefaults": {**defaults, **shown.get("pinDefaults", {})},
        **config,
    }
    return {"id": name, "type": name, "label": "", "position": {"x": 0, "y": 0}, "data": data}


def config_lines(schema: Mapping[str, Any], prefix: str = "data") -> Iterator[str]:
    """Give a line for each key of a configuration: its place, type, constants and meaning."""
    for key, rule in schema.items():
        facts = _facts(rule)
        words = f" {rule['description']}" if rule.get("description") else ""
        yield f"- `{prefix}.{key}`{f' ({facts})' if facts else ''}{words}"
        yield from config_lines(rule.get("properties", {}), f"{prefix}.{key}")


def _facts(rule: Mapping[str, Any]) -> str:
    kinds = rule.get("type", ())
    facts = [kinds if isinstance(kinds, str) else " or ".join(kinds)]
    if "enum" in rule:
        facts.append("one of " + ", ".join(map(str, rule["enum"])))
    if "default" in rule:
        facts.append(f"default {rule['default']}")
    if rule.get("deprecated"):
        facts.append("older spelling")
    return "; ".join(filter(None, facts))


def _shown_data(node_type: NodeType) -> Mapping[str, Any]:
    """Give what the first example of a type says of its configuration."""
    return next((example.data for example in node_type.examples if example.data), {})


def _value(schema: Mapping[str, Any], shown: Any) -> JsonValue:
    properties = schema.get("properties")
    if properties and (shown is MISSING or isinstance(shown, dict)):
        known = {} if shown is MISSING else shown
        return {
            key: _value(rule, known.get(key, MISSING))
            for key, rule in properties.items()
            if not rule.get("deprecated")
        }
    if shown is not MISSING:
        return shown
    if "default" in schema or "enum" in schema:
        return schema.get("default", schema.get("enum", [None])[0])
    kind = schema.get("type")
    return _EMPTY.get(kind) if isinstance(kind, str) else None


def _pins(pins: tuple[Pin, ...]) -> Iterator[JsonObject]:
    return ({"id": pin.id, "type": pin.type} for pin in pins if not pin.dynamic)


def _exec_inputs(node_type: NodeType) -> list[JsonObject]:
    is_begun = isinstance(node_type, ValueNode) or node_type.is_trigger
    if is_begun or node_type.declares_parameters:
        return []
    return [{"id": EXEC_IN, "type": "execution"}]


def _ways(node_type: NodeType, config: Mapping[str, Any]) -> Iterator[str]:
    """Give the execution pins that a node of this type has."""
    if isinstance(node_type, ValueNode):
        return
    if EXEC_OUT in node_type.handles:
        yield EXEC_OUT
        return
    for handle in node_type.handles:
        stem, star, _ = handle.partition("*")
        yield from (f"{stem}{way}" for way in _numbered(config, stem)) if star else (handle,)


def _numbered(config: Mapping[str, Any], stem: str) -> Iterator[str]:
    cases = config.get("switchConfig", {}).get("cases", ()) if stem == "case:" else ()
    return iter([case["id"] for case in cases] or _WAYS)
