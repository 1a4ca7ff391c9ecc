"""YAML as it may come from anybody: bounded before anything is made of it.

Two things that YAML 1.1 has are left out: a number with colons is text, as `12:30` should be, and
whole numbers end at 64 bits.
"""

from __future__ import annotations

from typing import Any, Final

import yaml

_MAX_NODES: Final = 100_000
_LONGEST_INT: Final = 64
_MOST_DIGITS: Final = 1000


def load_yaml(text: str | bytes) -> Any:
    """Read one document, with safe types only.

    Raises:
        ValueError: it is no YAML, or its aliases make it larger than a document may be.
    """
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as cause:
        # Hazard: the text of the library quotes the line, which may hold a secret.
        mark = cause.problem_mark or cause.context_mark
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        said = " ".join(filter(None, (cause.context, cause.problem)))
        raise ValueError(f"{said}{place}") from cause
    except yaml.YAMLError as cause:
        raise ValueError(" ".join(str(cause).split())) from cause


class _Loader(yaml.SafeLoader):
    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None:
            _weigh(node, {})
        return node

    def whole_number(self, node: yaml.ScalarNode) -> int | str:
        if ":" in node.value:
            return str(node.value)
        # Hazard: Python reads no number of more than 4300 digits, and says so in its own words.
        value: int = self.construct_yaml_int(node) if len(node.value) <= _MOST_DIGITS else -1
        if value.bit_length() > _LONGEST_INT or len(node.value) > _MOST_DIGITS:
            problem = f"found a whole number of more than {_LONGEST_INT} bits"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        return value


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.whole_number)


def _weigh(node: yaml.Node, known: dict[int, int]) -> int:
    """Give how many nodes one stands for, those behind an alias as often as it is used."""
    if id(node) in known:
        if not known[id(node)]:
            raise yaml.composer.ComposerError(None, None, "found a loop", node.start_mark)
        return known[id(node)]
    known[id(node)] = 0
    children: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        children = [part for pair in node.value for part in pair]
    elif isinstance(node, yaml.SequenceNode):
        children = node.value
    weight = 1 + sum(_weigh(child, known) for child in children)
    if weight > _MAX_NODES:
        problem = f"found more than {_MAX_NODES} nodes"
        raise yaml.composer.ComposerError(None, None, problem, node.start_mark)
    known[id(node)] = weight
    return weight
