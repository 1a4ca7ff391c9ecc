"""Typing mistakes, made one at a time in flow documents that people wrote.

Each kind finds the places in a document where it can be made. A mistake is made in a name that means
something there: in an open name, such as the pins of an end node, another spelling is another name.
"""

from __future__ import annotations

import copy
import json
import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from abstractruntime.nodes.registry import facts_of

Document = dict[str, Any]
Change = Callable[[Document], None]
"""Makes the mistake in a copy of the document."""


@dataclass(frozen=True)
class Mistake:
    """One mistake: the document without it, the document with it, and what was done."""

    kind: str
    name: str
    before: Document
    after: Document
    what: str


@dataclass(frozen=True)
class Place:
    """Where a mistake can be made; `prepare` is done to both documents."""

    what: str
    change: Change
    prepare: Change | None = None


Kind = Callable[[Document, random.Random], Iterator[Place]]
KINDS: dict[str, Kind] = {}


def kind(name: str) -> Callable[[Kind], Kind]:
    def register(find: Kind) -> Kind:
        KINDS[name] = find
        return find

    return register


def seed(documents: Mapping[str, Document], *, per_kind: int, number: int) -> Iterator[Mistake]:
    """Give up to `per_kind` mistakes of each kind, spread over the documents."""
    for name, find in KINDS.items():
        draw = random.Random(f"{number} {name}")
        places = [
            (key, place) for key, document in documents.items() for place in find(document, draw)
        ]
        draw.shuffle(places)
        for key, place in _spread(places)[:per_kind]:
            yield _made(name, key, documents[key], place)


def _spread(places: list[tuple[str, Place]]) -> list[tuple[str, Place]]:
    """Order the places so that every document has its turn."""
    turns: dict[str, int] = {}
    ranked = []
    for key, place in places:
        turns[key] = turns.get(key, 0) + 1
        ranked.append((turns[key], key, place))
    return [(key, place) for _turn, key, place in sorted(ranked, key=lambda item: item[0])]


def _made(kind_name: str, key: str, document: Document, place: Place) -> Mistake:
    before = copy.deepcopy(document)
    if place.prepare:
        place.prepare(before)
    after = copy.deepcopy(before)
    place.change(after)
    return Mistake(kind_name, key, before, after, place.what)


def misspelt(word: str, draw: random.Random, taken: set[str] | frozenset[str] = frozenset()) -> str:
    """Give the word as a hurried hand types it; never one of `taken`."""
    while True:
        at = draw.randrange(len(word))
        letter = draw.choice("aeionrst")
        typed = draw.choice(
            [
                word[:at] + word[at + 1 :],
                word[:at] + word[at] + word[at:],
                word[:at] + letter + word[at + 1 :],
                word[:at] + word[at + 1 : at + 2] + word[at] + word[at + 2 :],
            ]
        )
        if typed.strip() and typed != word and typed not in taken:
            return typed


# --- what a document has ------------------------------------------------------------------


def _nodes(document: Document) -> dict[str, Document]:
    return {node["id"]: node for node in document["nodes"]}


def _data_edges(document: Document) -> Iterator[tuple[int, Document]]:
    for index, edge in enumerate(document["edges"]):
        if edge["targetHandle"] != "exec-in" and edge["sourceHandle"] != "exec-out":
            yield index, edge


_ENDS = {
    "input": ("target", "targetHandle", "inputs"),
    "output": ("source", "sourceHandle", "outputs"),
}


def _pin_names(node: Document, side: str) -> frozenset[str]:
    facts = facts_of(node["type"])
    typed = {name for pin in getattr(facts, side) for name in (pin.id, *pin.aliases)}
    declared = {pin["id"] for pin in node["data"].get(side, ())}
    return frozenset({*typed, *declared, "result", "output"})


def _is_closed(node: Document, side: str) -> bool:
    facts = facts_of(node["type"])
    is_open = any(pin.dynamic for pin in getattr(facts, side)) or facts.runs_code
    return not is_open and bool(getattr(facts, side))


def _has_fixed_kind(node: Document) -> bool:
    """Tell whether the node stays a step, or pure, when it declares no pins."""
    data = node["data"]
    pins = [*data.get("inputs", ()), *data.get("outputs", ())]
    has_control = any(pin.get("type") == "execution" for pin in pins)
    return has_control != facts_of(node["type"]).kind.startswith("pure")


# --- pins -----------------------------------------------------------------------------------


def _pin_places(side: str, *, is_declared: bool) -> Kind:
    end, handle, pins = _ENDS[side]

    def find(document: Document, draw: random.Random) -> Iterator[Place]:
        nodes = _nodes(document)
        for index, edge in _data_edges(document):
            node = nodes[edge[end]]
            if not is_declared and not (_is_closed(node, pins) and _has_fixed_kind(node)):
                continue
            typed = misspelt(edge[handle], draw, _pin_names(node, pins))

            def change(doc: Document, index: int = index, typed: str = typed) -> None:
                doc["edges"][index][handle] = typed

            def strip(doc: Document, node_id: str = node["id"]) -> None:
                data = _nodes(doc)[node_id]["data"]
                data.pop("inputs", None)
                data.pop("outputs", None)

            what = f"{node['type']}.{edge[handle]} -> {typed}"
            yield Place(what, change, None if is_declared else strip)

    return find


def _declared_places(side: str) -> Kind:
    end, handle, pins = _ENDS[side]

    def find(document: Document, draw: random.Random) -> Iterator[Place]:
        nodes = _nodes(document)
        for index, edge in _data_edges(document):
            node = nodes[edge[end]]
            if not _is_closed(node, pins) or facts_of(node["type"]).family == "literals":
                continue
            typed = misspelt(edge[handle], draw, _pin_names(node, pins))

            def change(
                doc: Document, index: int = index, typed: str = typed, node_id: str = node["id"]
            ) -> None:
                was = doc["edges"][index][handle]
                for other in doc["edges"]:
                    if other[end] == node_id and other[handle] == was:
                        other[handle] = typed
                for pin in _nodes(doc)[node_id]["data"][pins]:
                    if pin["id"] == was:
                        pin["id"] = typed

            yield Place(f"{node['type']}.{edge[handle]} -> {typed}", change)

    return find


for _side in _ENDS:
    KINDS[f"{_side} pin of an edge, pins declared"] = _pin_places(_side, is_declared=True)
    KINDS[f"{_side} pin of an edge, no pins declared"] = _pin_places(_side, is_declared=False)
    KINDS[f"{_side} pin in the declaration too"] = _declared_places(_side)


@kind("control handle")
def _handles(document: Document, draw: random.Random) -> Iterator[Place]:
    for index, edge in enumerate(document["edges"]):
        if edge["targetHandle"] != "exec-in":
            continue
        key = draw.choice(["sourceHandle", "targetHandle"])
        typed = misspelt(edge[key], draw)

        def change(doc: Document, index: int = index, key: str = key, typed: str = typed) -> None:
            doc["edges"][index][key] = typed

        yield Place(f"{edge[key]} -> {typed}", change)


@kind("pin of a subflow, in the declaration too")
def _child_pins(document: Document, draw: random.Random) -> Iterator[Place]:
    nodes = _nodes(document)
    for end, handle, pins in _ENDS.values():
        for index, edge in _data_edges(document):
            node = nodes[edge[end]]
            if node["type"] != "subflow" or edge[handle] in _pin_names({**node, "data": {}}, pins):
                continue
            typed = misspelt(edge[handle], draw, _pin_names(node, pins))

            def change(
                doc: Document,
                index: int = index,
                typed: str = typed,
                ends: tuple[str, str, str] = (end, handle, pins),
            ) -> None:
                end, handle, pins = ends
                edge = doc["edges"][index]
                for pin in _nodes(doc)[edge[end]]["data"][pins]:
                    if pin["id"] == edge[handle]:
                        pin["id"] = typed
                edge[handle] = typed

            yield Place(f"{edge[handle]} -> {typed}", change)


@kind("condition cut")
def _conditions(document: Document, draw: random.Random) -> Iterator[Place]:
    nodes = _nodes(document)
    for index, edge in _data_edges(document):
        if nodes[edge["target"]]["type"] in ("if", "while") and edge["targetHandle"] == "condition":

            def change(doc: Document, index: int = index) -> None:
                del doc["edges"][index]

            yield Place(edge["target"], change)


# --- data -----------------------------------------------------------------------------------

_DRAWN = {"nodeType", "label", "icon", "headerColor"}


def _renamed(path: list[Any], typed: str) -> Change:
    def change(doc: Document) -> None:
        at: Any = doc
        for key in path[:-1]:
            at = at[key]
        at[typed] = at.pop(path[-1])

    return change


def _replaced(path: list[Any], value: Any) -> Change:
    def change(doc: Document) -> None:
        at: Any = doc
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = value

    return change


@kind("key of data")
def _data_keys(document: Document, draw: random.Random) -> Iterator[Place]:
    for index, node in enumerate(document["nodes"]):
        for key, value in node["data"].items():
            if key not in _DRAWN and value not in ([], {}, None):
                typed = misspelt(key, draw)
                path = ["nodes", index, "data", key]
                yield Place(f"{node['type']}.{key} -> {typed}", _renamed(path, typed))


@kind("pin default")
def _defaults(document: Document, draw: random.Random) -> Iterator[Place]:
    for index, node in enumerate(document["nodes"]):
        for key in node["data"].get("pinDefaults", ()):
            pins = "outputs" if node["type"] == "on_flow_start" else "inputs"
            typed = misspelt(key, draw, _pin_names(node, pins))
            path = ["nodes", index, "data", "pinDefaults", key]
            yield Place(f"{node['type']}.{key} -> {typed}", _renamed(path, typed))


_FREE = ("json_schema", "literal_json")


@kind("key of a configuration block")
def _config_keys(document: Document, draw: random.Random) -> Iterator[Place]:
    for index, node in enumerate(document["nodes"]):
        for block, value in node["data"].items():
            if block == "pinDefaults" or not isinstance(value, dict) or node["type"] in _FREE:
                continue
            for key in value:
                typed = misspelt(key, draw, set(value))
                path = ["nodes", index, "data", block, key]
                yield Place(f"{block}.{key} -> {typed}", _renamed(path, typed))


_CONSTANTS = {
    "compare": ["op"],
    "answer_user": ["level"],
    "emit_event": ["scope"],
    "on_event": ["scope"],
    "memory_note": ["scope"],
    "memory_query": ["scope", "recall_level", "tags_mode"],
    "memory_compact": ["compression_mode"],
    "memory_kg_query": ["scope", "recall_level", "order"],
    "memory_kg_assert": ["scope"],
    "memory_rehydrate": ["placement"],
    "stringify_json": ["mode"],
    "llm_call": ["memory_scope", "recall_level"],
    "agent": ["memory_scope", "recall_level"],
    "var_decl": ["type"],
    "wait_until": ["durationType"],
}


@kind("constant")
def _constants(document: Document, draw: random.Random) -> Iterator[Place]:
    for index, node in enumerate(document["nodes"]):
        for block in ("pinDefaults", "effectConfig", "eventConfig", "literalValue"):
            values = node["data"].get(block)
            for key in _CONSTANTS.get(node["type"], ()) if isinstance(values, dict) else ():
                if isinstance(values.get(key), str) and values[key]:
                    typed = misspelt(values[key], draw, {"<", ">", "=="})
                    path = ["nodes", index, "data", block, key]
                    yield Place(f"{key} {values[key]} -> {typed}", _replaced(path, typed))


_FIELD = re.compile(r"\{\{\s*([A-Za-z_]\w*)|(?<!\{)\{([A-Za-z_]\w*)")


@kind("name in a template or path")
def _template_names(document: Document, draw: random.Random) -> Iterator[Place]:
    nodes = _nodes(document)
    places = {node["id"]: index for index, node in enumerate(document["nodes"])}
    for index, node in enumerate(document["nodes"]):
        path: list[Any] = ["nodes", index, "data", "pinDefaults", "template"]
        yield from _in_template(
            node, node["data"].get("pinDefaults", {}).get("template"), path, draw
        )
        if node["type"] == "break_object":
            yield from _in_paths(document, node, index, draw)
    for _index, edge in _data_edges(document):
        source, target = nodes[edge["source"]], nodes[edge["target"]]
        if edge["targetHandle"] == "template" and source["type"] == "literal_string":
            path = ["nodes", places[source["id"]], "data", "literalValue"]
            yield from _in_template(target, source["data"].get("literalValue"), path, draw)


def _in_template(
    node: Document, text: Any, path: list[Any], draw: random.Random
) -> Iterator[Place]:
    if node["type"] not in ("string_template", "format") or not isinstance(text, str):
        return
    group = 1 if node["type"] == "string_template" else 2
    names = {match[group] for match in _FIELD.finditer(text) if match[group]}
    for match in _FIELD.finditer(text):
        if match[group]:
            typed = misspelt(match[group], draw, names)
            new = text[: match.start(group)] + typed + text[match.end(group) :]
            yield Place(f"{match[group]} -> {typed}", _replaced(path, new))


def _in_paths(
    document: Document, node: Document, index: int, draw: random.Random
) -> Iterator[Place]:
    wired = {e["sourceHandle"] for e in document["edges"] if e["source"] == node["id"]}
    paths = node["data"].get("breakConfig", {}).get("selectedPaths", [])
    for number, name in enumerate(paths):
        if name in wired:
            typed = misspelt(name, draw, set(paths))
            path = ["nodes", index, "data", "breakConfig", "selectedPaths", number]
            yield Place(f"{name} -> {typed}", _replaced(path, typed))


def text_of(document: Document) -> bytes:
    """Give the document as a file has it."""
    return json.dumps(document, ensure_ascii=False).encode()
