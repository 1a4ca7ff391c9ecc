"""What the rest of the program knows of a node type, it asks the type."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import abstractruntime
from abstractruntime.nodes.registry import node_types
from abstractruntime.visualflow_compiler.check import RULES

SOURCE = Path(abstractruntime.__file__).parent
# `testing` and `rendering` compare types of effects, which have the same names.
ROOMS = ("visualflow_compiler", "cli")


def compared_with(tree: ast.AST) -> Iterator[str]:
    """Give every text that an attribute `type` is compared with."""
    for found in ast.walk(tree):
        if isinstance(found, ast.Compare) and getattr(found.left, "attr", "") == "type":
            inside = (n for c in found.comparators for n in ast.walk(c))
            yield from (str(n.value) for n in inside if isinstance(n, ast.Constant))


def test_nobody_compares_the_type_of_a_node_with_a_name():
    modules = [path for room in ROOMS for path in (SOURCE / room).rglob("*.py")]
    names = {str(path): {*compared_with(ast.parse(path.read_text()))} for path in modules}

    assert {path: found & node_types().keys() for path, found in names.items()} == {
        path: set() for path in names
    }


def test_what_a_node_finds_has_a_rule():
    texts = [path.read_text() for path in (SOURCE / "nodes").glob("*.py")]
    codes = {code for text in texts for code in re.findall(r'"(VF[^"]*)"', text)}

    assert {"VF113", "VF203", "VF401"} <= codes <= RULES.keys()


def test_facts_agree_with_each_other():
    for node_type in node_types().values():
        assert (node_type.capability == "code") == node_type.runs_code, node_type.type
        assert not (node_type.is_constant and node_type.waits != "never"), node_type.type
        assert node_type.is_trigger or not (node_type.hears or node_type.declares_parameters)
