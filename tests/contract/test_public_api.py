"""The code has the public API of 0.4.x, and every addition to it is written down."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import subprocess
import sys
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from api_golden import Item, actual_params, module, public_members, read_golden

import abstractruntime

SECTIONS = read_golden()
ITEMS = [item for section in SECTIONS.values() for item in section.items.values()]
LISTING = [name for name, section in SECTIONS.items() if section.names]
CLASSES = [item for item in ITEMS if "." not in item.name and item.params is not None]


@pytest.mark.parametrize("name", LISTING, ids=[name or "abstractruntime" for name in LISTING])
def test_a_module_lists_its_names(name: str) -> None:
    section, found = SECTIONS[name], module(name)

    assert sorted(found.__all__) == sorted([*section.names, *section.own_names])
    assert [n for n in found.__all__ if not hasattr(found, n)] == []


def test_the_package_keeps_the_names_of_older_hosts() -> None:
    assert len(SECTIONS[""].names) == 79


@pytest.mark.parametrize("item", ITEMS, ids=str)
def test_a_name_is_what_it_was(item: Item) -> None:
    found = item.find()

    if item.params is not None:
        assert actual_params(found, skip_self=is_plain_method(item)) == item.params
    if item.mark is not None:
        MARKS[item.mark](item, found)
    elif item.rest:
        assert found == ast.literal_eval(item.rest.removeprefix("= "))
    for base in item.bases:
        has_base(item, found, base)


def is_plain_method(item: Item) -> bool:
    return "." in item.name and item.mark is None


def owner_of(item: Item) -> Any:
    return Item(item.module, item.name.rpartition(".")[0]).find()


def is_wrapped(kind: type) -> Any:
    def check(item: Item, found: Any) -> None:
        static = inspect.getattr_static(owner_of(item), item.name.rpartition(".")[2])
        assert isinstance(static, kind)

    return check


def is_enum(item: Item, found: type[Enum]) -> None:
    assert issubclass(found, str)
    promised = {value.upper(): value for value in item.rest.split()}
    # A new effect is a new member; what 0.4.x had stays.
    assert promised.items() <= {m.name: m.value for m in found}.items()


def is_dataclass(*, frozen: bool) -> Any:
    def check(item: Item, found: Any) -> None:
        assert dataclasses.is_dataclass(found)
        assert found.__dataclass_params__.frozen is frozen

    return check


MARKS = {
    "static": is_wrapped(staticmethod),
    "class": is_wrapped(classmethod),
    "property": is_wrapped(property),
    "enum": is_enum,
    "frozen": is_dataclass(frozen=True),
    "dataclass": is_dataclass(frozen=False),
}


def members(base: str) -> list[Item]:
    return [i for i in ITEMS if i.name.startswith(f"{base}.") and not i.is_ours]


def has_base(item: Item, found: type, base: str) -> None:
    if base == "ValueError":
        assert issubclass(found, ValueError)
    for member in members(base):
        own = Item(item.module, f"{item.name}.{member.name.rpartition('.')[2]}")
        assert member.params is not None
        actual = actual_params(own.find(), skip_self=True)
        ours = SECTIONS[item.module].items.get(own.name)
        assert actual == member.params + (ours.params if ours and ours.params else type(actual)())


@pytest.mark.parametrize("item", CLASSES, ids=str)
def test_a_class_has_no_other_public_member(item: Item) -> None:
    found = item.find()
    if not isinstance(found, type):
        return
    described = {
        member.name.rpartition(".")[2]
        for base in (item.name, *item.bases, *inherited(found))
        for member in ITEMS
        if member.name.startswith(f"{base}.")
    }

    assert public_members(found) - described == set()


def inherited(found: type) -> list[str]:
    return [base.__name__ for base in found.__mro__[1:] if base.__name__ in DESCRIBED]


DESCRIBED = {item.name for item in ITEMS}


PACKAGE = Path(abstractruntime.__file__).parent
STUBBED = [
    ".".join(stub.parent.relative_to(PACKAGE.parent).parts)
    for stub in sorted(PACKAGE.rglob("__init__.pyi"))
]


@pytest.mark.parametrize("package", STUBBED)
def test_type_checkers_see_the_same_names(package: str) -> None:
    found = module(package.removeprefix("abstractruntime").removeprefix("."))
    stub = ast.parse(Path(f"{found.__file__}i").read_text("utf-8"))
    homes = {
        alias.name: node.module
        for node in stub.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    homes.pop("__version__", None)

    assert homes == {name: f"{package}.{home}" for name, home in found._HOMES.items()}
    listed = next(node for node in stub.body if isinstance(node, ast.Assign))
    assert sorted(ast.literal_eval(listed.value)) == sorted(found.__all__)


def test_importing_the_package_imports_nothing_else() -> None:
    probe = "import sys; before = set(sys.modules); import abstractruntime; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)

    assert {name for name in done.stdout.split() if name.startswith("abstractruntime")} == {
        "abstractruntime", "abstractruntime._exports", "abstractruntime._version"
    }  # fmt: skip
    assert not {"orjson", "json", "dataclasses", "sqlite3", "cryptography"} & set(
        done.stdout.split()
    )


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        _ = module("").nope


def test_the_reference_describes_every_name() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "reference" / "python.md"
    headings = set(re.findall(r"^### (\w+)$", page.read_text("utf-8"), re.MULTILINE))

    assert set(module("").__all__) - headings == set()
