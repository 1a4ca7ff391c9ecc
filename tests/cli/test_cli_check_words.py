"""What the commands of authors say: choices, forms that exclude each other, what was left out."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from cli_flows import ASKS

from abstractruntime.cli._table import COMMANDS
from abstractruntime.visualflow_compiler.fmt import format_document

ROOT = Path(__file__).resolve().parents[2]
WRONG = {**ASKS, "nodes": [*ASKS["nodes"], {**ASKS["nodes"][1], "id": "x"}]}


@pytest.fixture
def flows(art: Any) -> Any:
    Path("d/.hidden").mkdir(parents=True)
    Path("d/node_modules").mkdir()
    Path("d/a.json").write_text(json.dumps(ASKS))
    Path("d/b.json").write_text(json.dumps({**WRONG, "id": "wrong"}))
    return art


@pytest.mark.parametrize(
    "args, choices, meant",
    [
        ("check d --fail-on warn", "error or warning", "did you mean 'warning'? "),
        ("check d --fail-on info", "error or warning", ""),
        ("check d --format jsn", "text, json, github or sarif", "did you mean 'json'? "),
        ("graph d/a.json --format pdf", "ascii, mermaid, dot or svg", ""),
        ("run d/a.json --until never", "idle, waiting or done", ""),
        ("runs --sort name", "updated, created, run, flow or outcome", ""),
    ],
)
def test_a_choice_that_there_is_not_is_told_with_the_others(
    flows: Any, args: str, choices: str, meant: str
) -> None:
    done = flows(*args.split())
    command, *_, option, value = args.split()

    assert done.code == 2
    assert f"option {option} is {value!r}, expected {choices}" in done.err
    assert f"= hint: {meant}see: art {command} --help" in done.err


@pytest.mark.parametrize(
    "args, command", [("run d/a.json --allow '' --label x=1 --as", "art run"), ("check", "art check"), ("ledger show", "art ledger show")]
)  # fmt: skip
def test_a_wrong_use_leads_to_the_help_of_the_command(flows: Any, args: str, command: str) -> None:
    assert f"see: {command} --help" in flows(*args.split()).err


def test_a_wrong_use_without_a_next_step_names_the_help_of_its_command(
    flows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from abstractruntime.cli import flow
    from abstractruntime.errors import UsageError

    def refuse(*_args: Any) -> None:
        raise UsageError("no")

    monkeypatch.setattr(flow, "read_policy", refuse)

    assert "= hint: see: art check --help" in flows("check", "d").err
    assert flows("check", "d", "--json").document["error"]["hint"] == "see: art check --help"


@pytest.mark.parametrize(
    "flags, lines",
    [
        ("--format json --jsonl", 2),
        ("--jsonl", 2),
        ("--format json", 1),
        ("--format json --json", 1),
    ],
)
def test_the_forms_of_json(flows: Any, flags: str, lines: int) -> None:
    out = flows("check", "d", *flags.split()).out
    documents = [json.loads(line) for line in out.splitlines()] if lines > 1 else [json.loads(out)]

    assert len(documents) == lines


@pytest.mark.parametrize("form", ["github", "sarif"])
@pytest.mark.parametrize("flag", ["--json", "--jsonl"])
def test_two_forms_exclude_each_other(flows: Any, form: str, flag: str) -> None:
    done = flows("check", "d", "--format", form, flag)

    assert done.code == 2
    assert json.loads(done.out)["error"]["message"] == (
        f"--format {form} and {flag} exclude each other"
    )


@pytest.mark.parametrize(
    "flags, said",
    [
        (("--ignore", "VF"), "2 documents: nothing found; 1 finding left out by --ignore"),
        (("--select", "VF5"), "2 documents: nothing found; 1 finding left out by --select"),
        ((), "2 documents: 1 warning"),
    ],
)
def test_what_does_not_count_is_counted(flows: Any, flags: tuple[str, ...], said: str) -> None:
    assert flows("check", "d", *flags).err.splitlines()[-1] == said
    assert flows("check", "d", *flags, "--json").document["left_out"] == int("left out" in said)


def test_directories_that_are_not_entered_are_named(flows: Any) -> None:
    plain, verbose = flows("check", "d").err, flows("check", "d", "-v").err

    assert "hidden" not in plain
    for name in (".hidden", "node_modules"):
        assert f"not entered: d/{name}" in verbose.splitlines()


@pytest.mark.parametrize("prefix", ["VF", "vf3", "VF40", "code VF3"])
def test_a_beginning_of_codes_is_explained_by_what_begins_so(art: Any, prefix: str) -> None:
    from abstractruntime.visualflow_compiler.check import RULES

    done = art("explain", *prefix.split())
    start = prefix.rpartition(" ")[2].upper()

    assert done.code == 0
    assert re.findall(r"^\* (VF[0-9]{3}): ", done.out, re.MULTILINE) == sorted(
        code for code in RULES if code.startswith(start)
    )


@pytest.mark.parametrize("code", ["VF9", "VF3011", "X3"])
def test_what_begins_no_code_is_not_found(art: Any, code: str) -> None:
    assert art("explain", code).code == 66


def test_fmt_looks_at_all_documents_before_it_fails(flows: Any) -> None:
    Path("d/c.json").write_text('{"id": "c", "nodes": [')
    Path("d/e.json").write_text('{"id": "e", "edges": {"a"')
    Path("d/a.json").write_bytes(format_document(json.dumps(ASKS).encode()))

    done, written = flows("fmt", "--check", "d"), flows("fmt", "d")
    documents = flows("fmt", "--check", "d", "--json").document["files"]

    assert (done.code, written.code) == (1, 1)
    assert done.out.splitlines() == ["d/b.json"]
    for err in (done.err, written.err):
        assert [name in err for name in ("d/c.json", "d/e.json")] == [True, True]
    assert "4 documents: 1 would change, 2 cannot be read" in done.err
    assert [(d["file"], d["changed"], len(d.get("diagnostics", ()))) for d in documents] == [
        ("d/a.json", False, 0),
        ("d/b.json", True, 0),
        ("d/c.json", False, 1),
        ("d/e.json", False, 1),
    ]
    assert json.loads(Path("d/b.json").read_text())["id"] == "wrong"


def test_examples_of_the_documentation_are_in_their_normal_form() -> None:
    page = (ROOT / "docs/reference/flow-document.md").read_text()
    (example,) = re.findall(r"```json\n(\{\n.*?\n)```", page, re.DOTALL)

    assert format_document(example.encode()).decode() == example


def test_every_option_with_choices_tells_them() -> None:
    """A value that is one of some words is an Enum, which one place judges and words for all."""
    import inspect
    from enum import Enum
    from importlib import import_module

    left = {"--durability", "--sandbox", "--usage"}  # settings of the configuration, and a list
    found = set()
    for entry in _commands(COMMANDS):
        module, _, name = entry.target.partition(":")
        function = getattr(import_module(f"abstractruntime.cli.{module}"), name)
        for parameter in inspect.signature(function, eval_str=True).parameters.values():
            for info in getattr(parameter.annotation, "__metadata__", ()):
                words = str(getattr(info, "metavar", None) or "")
                kind = parameter.annotation.__origin__
                is_choice = re.fullmatch(r"[a-z-]+(\|[a-z-]+)+", words)
                if is_choice and not (isinstance(kind, type) and issubclass(kind, Enum)):
                    found.update(n for n in (info.default, *info.param_decls) if str(n)[:2] == "--")

    assert found == left


def _commands(group: Any) -> list[Any]:
    nested = [_commands(e) if hasattr(e, "entries") else [e] for e in group.entries.values()]
    return [command for commands in nested for command in commands]
