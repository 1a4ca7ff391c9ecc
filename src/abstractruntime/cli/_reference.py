"""Writes the reference pages from the registries: `python -m abstractruntime.cli._reference DIR`.

The pages are generated so that they cannot disagree with the program; a test compares them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from abstractruntime.cli._api_reference import error_parts, python_parts
from abstractruntime.cli._flow_page import flow_document_parts
from abstractruntime.cli._lazy import root_command
from abstractruntime.cli._settings import SETTINGS, ProjectRule
from abstractruntime.cli._table import COMMANDS, CliCommand, Group
from abstractruntime.cli.reference import exit_code_table
from abstractruntime.errors import AbstractRuntimeError
from abstractruntime.nodes.registry import REFUSED_TYPES, node_types
from abstractruntime.schemas import load_schema, schema_names
from abstractruntime.visualflow_compiler.check import RULES
from abstractruntime.visualflow_compiler.explain import explain, explain_node

_WRITTEN = "This page is written by `python -m abstractruntime.cli._reference docs/reference`."


def pages() -> dict[str, str]:
    """Give every reference page by file name."""
    return {
        "cli.md": _page("Command line", _cli()),
        "flow-document.md": _page("The flow document", flow_document_parts()),
        "exit-codes.md": _page("Exit codes and errors", _exit_codes()),
        "errors.md": _page("Errors and what to do about them", error_parts()),
        "python.md": _page("Python", python_parts()),
        "diagnostics.md": _page("Diagnostics of flow documents", _diagnostics()),
        "nodes.md": _page("Node types", _nodes()),
    }


def write_pages(directory: Path) -> None:
    """Write every page into `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (directory / name).write_text(text, encoding="utf-8")


def _page(title: str, parts: Iterator[str]) -> str:
    return "\n\n".join([f"# {title}", _WRITTEN, *(part.strip() for part in parts)]) + "\n"


def _cli() -> Iterator[str]:
    yield COMMANDS.help
    yield (
        "`RUN` is a full id, the unique beginning of one, or `@last`. Data goes to stdout, talk to"
        " stderr. `--json` prints one document, `--jsonl` one object per line, `-q` no data;"
        " `ART_OUTPUT` (`text`, `json`, `jsonl`, `none`) sets the same. In JSON mode an error is an"
        " `art-error/1` document on stdout, and the exit code is its `exit_code`."
    )
    root = root_command()
    context = root.make_context("art", [], resilient_parsing=True)
    for name, entry in walk(COMMANDS):
        yield from _command(name, entry, _find(root, context, name))
    yield from _settings()
    yield from _schemas()


def walk(group: Group, prefix: str = "") -> Iterator[tuple[str, CliCommand]]:
    """Give every command with its full name."""
    for name, entry in group.entries.items():
        if isinstance(entry, Group):
            yield from walk(entry, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", entry


def _find(command: Any, context: Any, name: str) -> Any:
    for part in name.split():
        command = command.get_command(context, part)
    return command


def _command(name: str, entry: CliCommand, command: Any) -> Iterator[str]:
    yield f"## art {name}"
    yield entry.help
    yield "```text\n" + f"art {name} {_usage(command)}".rstrip() + "\n```"
    rows = [_option_row(item) for item in command.params if item.param_type_name == "option"]
    yield "\n".join(["| Option | Meaning |", "|---|---|", *rows])
    if entry.exits:
        yield f"Exit codes: {entry.exits}."
    if entry.examples:
        yield "\n".join(["Examples:", "", *(f"    {example}" for example in entry.examples)])


def _usage(command: Any) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    words = [str(p.metavar or p.name.upper()) for p in arguments]
    return " ".join([*words, "[OPTIONS]"])


def _option_row(option: Any) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.secondary_opts, *option.opts))
    metavar = f" {option.metavar}" if option.metavar and not option.is_flag else ""
    default = option.default
    shown = f" Default: `{getattr(default, 'value', default)}`." if _has_default(option) else ""
    return f"| {names}{_escape(metavar)} | {_escape((option.help or '').strip())}{shown} |"


def _has_default(option: Any) -> bool:
    return not option.is_flag and option.default not in (None, [], ())


def _escape(text: str) -> str:
    return text.replace("|", "\\|")


def _settings() -> Iterator[str]:
    yield "## Settings"
    yield (
        "In `art.yaml` of the project or `config.yaml` of the user directory; flag, environment,"
        " project, user, default, in this order. `art config show --origin` shows what is in force."
        " Of a project counts only what loosens nothing: any value (`free`), a path in the project"
        " (`inside`), a value at least as strict as what counts without it (`tighten`, in the order"
        " that is given), or nothing (`never`). What does not count is said on stderr."
        " What is marked `stated` stands in the first record of a run, with where it came from; of keys"
        " that is the name."
    )
    rows = [
        f"| `{s.name}` | {'`' + s.env + '`' if s.env else ''} | {s.doc}"
        f"{' (' + ', '.join(s.choices) + ')' if s.choices else ''} | {_leeway(s.project)} |"
        f" {'stated' if s.is_stated else ''} |"
        for s in SETTINGS
    ]
    header = [
        "| Setting | Environment | Meaning | In a project | In the first record |",
        "|---|---|---|---|---|",
    ]
    yield "\n".join([*header, *rows])
    yield (
        "Environment only: `ART_CONFIG_DIR` (directory of keys, trust and user configuration),"
        " `ART_OUTPUT`, `ART_KEY_PASSPHRASE`, `ART_KEY_PASSPHRASE_FILE`, `ART_DEBUG`,"
        " `ART_FORCE_TTY`, `ART_PAGER`, `PAGER`, `NO_COLOR`, `CLICOLOR_FORCE`, `SOURCE_DATE_EPOCH`."
    )


def _leeway(rule: ProjectRule) -> str:
    order = f" ({' < '.join(rule.loosest_first)})" if rule.loosest_first else ""
    if rule.leeway == "tighten" and not order:
        order = " (to less)"
    return f"`{rule.leeway}`{order}: {rule.why}"


def _schemas() -> Iterator[str]:
    yield "## Schemas"
    rows = [f"| `art schema {name}` | {load_schema(name)['title']} |" for name in schema_names()]
    yield "\n".join(["| Command | Describes |", "|---|---|", *rows])


def _exit_codes() -> Iterator[str]:
    yield exit_code_table()
    yield "## Errors"
    rows = [
        f"| `{kind.code}` | {int(kind.exit_code)} | {_first_line(kind)} |"
        for kind in sorted(
            _kinds(AbstractRuntimeError), key=lambda kind: (kind.exit_code, kind.code)
        )
    ]
    own = [f"| `{code}` | {number} | {meaning} |" for code, number, meaning in _OF_THE_TOOL]
    yield "\n".join(["| Code | Exit | Meaning |", "|---|---|---|", *rows, *own])


# What the tool itself reports, and no library raises.
_OF_THE_TOOL = (
    ("internal", 70, "A defect of ours."),
    ("output", 74, "Stdout took nothing more; what the command did is kept."),
)


def _kinds(base: type[AbstractRuntimeError]) -> set[type[AbstractRuntimeError]]:
    below = [kind for kind in base.__subclasses__() if kind.__module__ == base.__module__]
    return {base, *(kind for child in below for kind in _kinds(child))}


def _first_line(kind: type) -> str:
    return (kind.__doc__ or "").strip().splitlines()[0]


def _diagnostics() -> Iterator[str]:
    yield "Every finding has a code that never changes its meaning; `art explain CODE` prints its part."
    for code in RULES:
        yield f'<a id="{code.lower()}"></a>\n\n{explain(code).to_markdown()}'


def _nodes() -> Iterator[str]:
    yield "`art explain node TYPE` prints the part of one type; `art schema visualflow` is the schema."
    for name in node_types():
        yield explain_node(name).to_markdown()
    if REFUSED_TYPES:
        yield "## Types that are refused"
        rows = [f"| `{name}` | {hint} |" for name, hint in sorted(REFUSED_TYPES.items())]
        yield "\n".join(["| Type | Instead |", "|---|---|", *rows])


if __name__ == "__main__":
    write_pages(Path(sys.argv[1]))
