"""The JSON Schema of flow documents, generated from the node registry."""

from __future__ import annotations

from collections.abc import Iterable

from abstractruntime._json import JsonObject
from abstractruntime.nodes.base import (
    MISSING,
    NodeType,
    Pin,
)
from abstractruntime.nodes.keys import COMMON_DATA
from abstractruntime.nodes.registry import node_types

SCHEMA_ID = "urn:abstractruntime:schema:visualflow"

_TEXT: JsonObject = {"type": "string", "minLength": 1}
_PIN: JsonObject = {
    "type": "object",
    "required": ["id"],
    "properties": {
        "id": _TEXT,
        "label": {"type": "string"},
        "type": {"type": "string", "description": '"execution" marks an execution pin'},
    },
}
_EDGE: JsonObject = {
    "type": "object",
    "description": "Carries control when targetHandle is exec-in, else a value.",
    "required": ["source", "sourceHandle", "target", "targetHandle"],
    "properties": {
        "id": {"type": "string"},
        "source": _TEXT,
        "sourceHandle": _TEXT,
        "target": _TEXT,
        "targetHandle": _TEXT,
    },
}


def visualflow_schema() -> JsonObject:
    """Give the schema (draft 2020-12) of a flow document for editors and reviewers.

    It describes pins and configuration per node type. It is stricter than the loader,
    which accepts what older editors wrote, and looser than the checks, which see edges.
    """
    types = node_types()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        "title": "VisualFlow document",
        "type": "object",
        "required": ["nodes"],
        "anyOf": [{"required": [key]} for key in ("id", "flow_id", "workflow_id")],
        "properties": document_schema(),
        "$defs": {
            "pin": _PIN,
            "edge": _EDGE,
            "node": _node(types),
            **{_def_name(name): _data(node_type) for name, node_type in types.items()},
        },
    }


def document_schema() -> JsonObject:
    """Give the JSON Schema properties of the document itself, by key."""
    return {
        "$schema": {"type": "string"},
        "id": {**_TEXT, "description": "names the workflow in runs and subflow references"},
        "flow_id": {**_TEXT, "deprecated": True},
        "workflow_id": {**_TEXT, "deprecated": True},
        "name": {"type": "string"},
        "description": {"type": "string"},
        "interfaces": {"type": "array", "items": {"type": "string"}},
        "nodes": {"type": "array", "items": {"$ref": "#/$defs/node"}},
        "edges": {"type": "array", "items": {"$ref": "#/$defs/edge"}},
        "entryNode": {"type": ["string", "null"], "description": "id of the first step"},
    }


def _node(types: Iterable[str]) -> JsonObject:
    names = list(types)
    return {
        "type": "object",
        "required": ["id", "type"],
        "properties": {
            "id": _TEXT,
            "type": {"enum": names},
            "position": {"type": "object"},
            "data": {
                "type": "object",
                "properties": {
                    **COMMON_DATA,
                    "inputs": {"type": "array", "items": {"$ref": "#/$defs/pin"}},
                    "outputs": {"type": "array", "items": {"$ref": "#/$defs/pin"}},
                },
            },
        },
        "allOf": [_when(name) for name in names],
    }


def _when(name: str) -> JsonObject:
    return {
        "if": {"required": ["type"], "properties": {"type": {"const": name}}},
        "then": {"properties": {"data": {"$ref": f"#/$defs/{_def_name(name)}"}}},
    }


def _def_name(name: str) -> str:
    return f"data-{name}"


def _data(node_type: NodeType) -> JsonObject:
    defaults = {pin.id: _pin_default(pin) for pin in node_type.inputs if not pin.dynamic}
    return {
        "description": node_type.doc,
        "properties": {**node_type.data_schema, "pinDefaults": {"properties": defaults}},
    }


def _pin_default(pin: Pin) -> JsonObject:
    """Describe a pin without a type: values are not converted, and nodes accept several."""
    described: JsonObject = {"description": f"{pin.type}. {pin.doc}".rstrip(". ") or pin.id}
    if pin.default is not MISSING:
        described["default"] = pin.default
    return described
