"""Arguments that are read without the parser's schemas mean what the parser would make of them."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from abstractruntime.cli._arguments import reading_plainly
from abstractruntime.cli._lazy import root_command
from abstractruntime.cli._reference import walk
from abstractruntime.cli._table import COMMANDS

APPROVAL = Path(__file__).resolve().parents[2] / "bundles" / "release-approval" / "flow.json"
INPUT = '{"service": "api", "version": "2.1.0"}'

TEXTS = (
    "", " ", "x", "-", "--", "@last", "ä/é", "\udcff", "None", "true",
    "0", "1", "-1", "-0", "007", "+5", "1_0", " 7 ", "7.0", "1.5", ".5", "5.", "1e3", "nan", "inf",
    "100001", "9" * 18, "9" * 30, "idle", "IDLE", "waiting", "user", "session", "text",
    "there", "there/", "missing", "locked", "/", "..",
)  # fmt: skip


def parameters() -> dict[str, tuple[Any, Any]]:
    """Give one parameter of each kind that commands declare, with a context of its command."""
    root = root_command()
    found = {}
    for name, _ in walk(COMMANDS):
        command, context = root, root.make_context("art", [], resilient_parsing=True)
        for part in name.split():
            command = command.get_command(context, part)
            context = command.make_context(part, [], parent=context, resilient_parsing=True)
        for param in command.get_params(context):
            described = getattr(param, "type_descriptor", None)
            if described is None:  # an older parser, which has no schemas
                continue
            limits = (described.parameter_info.min, described.parameter_info.max)
            key = f"{described.annotation} {limits} {param.required} {param.default}"
            found[f"{param.param_type_name} {key}"] = param, context
    return found


PARAMETERS = parameters()


def outcome(process: Any, *args: Any) -> Any:
    try:
        value = process(*args)
    except Exception:
        return "refused"
    # An empty tuple becomes a list before it reaches the command.
    value = list(value) if isinstance(value, tuple) else value
    return type(value), repr(value)


@pytest.mark.parametrize("key", PARAMETERS)
def test_value_is_the_one_of_the_parser(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there").touch()
    Path("locked").touch()
    monkeypatch.setattr(os, "access", lambda path, _: Path(path).name != "locked")
    param, context = PARAMETERS[key]
    context.resilient_parsing = True
    of_parser = type(param).process_value

    assert "process_value" in vars(param)
    is_many = param.multiple or param.nargs == -1
    given = [(text,) for text in TEXTS] + [(), ("x", "1")] if is_many else TEXTS
    flags = (True, False) if param.type_descriptor.annotation is bool else ()
    for value in (*given, *flags, None, param.default):
        assert outcome(param.process_value, context, value) == outcome(
            of_parser, param, context, value
        ), value


@pytest.mark.parametrize("described", [{}, {"type_descriptor": SimpleNamespace(kind=int)}])
def test_parameter_that_is_described_in_another_way_is_left_to_the_parser(described: Any) -> None:
    param = SimpleNamespace(process_value=lambda ctx, value: ("parsed", value), **described)

    (read,) = reading_plainly([param])

    assert read.process_value(None, "5") == ("parsed", "5")


@pytest.mark.parametrize(
    "args, code",
    [
        (("resume", "r", "--input", "approve", "--input", "reject"), 2),
        (("runs", "--store", "store", "--store", "store"), 2),
        (("runs", "-n", "1", "--limit", "2"), 2),
        (("runs", "--status", "waiting", "--status", "failed"), 0),
        (("runs", "--json", "--json"), 0),
        (("runs", "-q", "-q"), 0),
    ],
)
def test_an_option_with_one_value_is_given_once(art: Any, args: tuple[str, ...], code: int) -> None:
    assert art("run", str(APPROVAL), "--run-id", "r", "--input", INPUT).code == 4

    done = art(*args)

    assert (done.code, "is given several times" in done.err) == (code, code == 2), done.err
    assert art("inspect", "r", "--json").document["status"] == "waiting"
