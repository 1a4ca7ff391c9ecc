"""Which keys of the ambient value a node takes, and under which name of its pins."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from abstractruntime.nodes.base import EffectNode, Element, NodeType


@cache
def canonical_names(node_type: NodeType) -> Mapping[str, str]:
    """Map every spelling of the type's pins to its canonical id, canonical ids included."""
    return {
        name: pin.id
        for pin in node_type.inputs
        if not pin.dynamic
        for name in (pin.id, *pin.aliases)
    }


def ambient_names(element: Element, node_type: NodeType) -> Mapping[str, str] | None:
    """Map the keys that a node takes from the ambient value to its pins; None when it takes every key."""
    if node_type.takes_bus(element):
        return None
    if isinstance(node_type, EffectNode) and not any(pin.dynamic for pin in node_type.inputs):
        return _open_names(node_type)
    names = canonical_names(node_type)
    closed = {pin.id for pin in node_type.inputs if pin.control_plane}
    known = {**names, **{pin: names.get(pin, pin) for pin in element.input_ids}}
    return MappingProxyType({name: pin for name, pin in known.items() if pin not in closed})


@cache
def _open_names(node_type: NodeType) -> Mapping[str, str]:
    """Give the canonical names without those of control-plane pins."""
    closed = {pin.id for pin in node_type.inputs if pin.control_plane}
    names = canonical_names(node_type)
    return MappingProxyType({name: pin for name, pin in names.items() if pin not in closed})
