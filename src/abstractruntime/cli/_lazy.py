"""Building the command tree without importing the commands.

Rules:
1. `_table` names every command; a module is imported when its command runs or shows its help.
2. A command is a function `f(session, ...)`. The options that all commands share are added
   here, so that they read the same everywhere.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command as build_command

from abstractruntime._near import close_names
from abstractruntime.cli._arguments import reading_plainly, require_once
from abstractruntime.cli._interrupts import raised_by_interrupts
from abstractruntime.cli._output import Mode
from abstractruntime.cli._session import Session
from abstractruntime.cli._table import COMMANDS, CliCommand, Group
from abstractruntime.errors import UsageError

_SHARED = {
    "as_json": Annotated[bool, typer.Option("--json", help="Print one JSON document.")],
    "as_jsonl": Annotated[bool, typer.Option("--jsonl", help="Print one JSON object per line.")],
    "quiet": Annotated[bool, typer.Option("--quiet", "-q", help="Print no data.")],
}
_STORE = {
    "store": Annotated[
        str | None,
        typer.Option("--store", metavar="DIR", help="Store directory. [env: ART_HOME]"),
    ],
}


def root_command() -> Any:
    """Give the command `art`."""
    return _group("art", COMMANDS)


def _group(name: str, group: Group) -> Any:
    app = typer.Typer(
        name=name,
        cls=_lazy_class(group),
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        help=group.help,
        epilog=group.epilog,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_nothing)
    return build_command(app)


def _nothing() -> None:
    """Only sub-commands do something."""


def _lazy_class(group: Group) -> type[TyperGroup]:
    class LazyGroup(TyperGroup):
        def get_params(self, ctx: Any) -> list[Any]:
            return reading_plainly(super().get_params(ctx))

        def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the parser's signature
            return list(group.entries)

        def get_command(self, ctx: Any, cmd_name: str) -> Any:
            entry = group.entries.get(cmd_name)
            if entry is None:
                near = close_names(cmd_name, group.entries, n=1)
                raise UsageError(
                    f"no command {cmd_name!r} in '{ctx.command_path}'",
                    hint=f"did you mean '{near[0]}'?"
                    if near
                    else f"see: {ctx.command_path} --help",
                    argument=cmd_name,
                )
            if isinstance(entry, Group):
                return _group(cmd_name, entry)
            return _command(cmd_name, entry)

        def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - the parser's signature
            with formatter.section("Commands"):
                formatter.write_dl([(name, entry.help) for name, entry in group.entries.items()])

    return LazyGroup


class _Command(TyperCommand):
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except Exception as mistake:
            # Compat: the parser forgets the command of an option without its value.
            if getattr(mistake, "ctx", mistake) is None:
                mistake.ctx = ctx  # type: ignore[attr-defined] # it has one
            raise

    def get_params(self, ctx: Any) -> list[Any]:
        return reading_plainly(super().get_params(ctx))

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except UsageError as mistake:
            # What is wrong with a file is corrected there, and not with an option.
            if mistake.hint is None and not mistake.details.get("path"):
                mistake.hint = f"see: {ctx.command_path} --help"
            raise

    def make_parser(self, ctx: Any) -> Any:
        parser: Any = super().make_parser(ctx)
        parse = parser.parse_args

        def parse_once(args: list[str]) -> Any:
            found = parse(args=args)
            require_once(found[2], ctx.command_path)
            return found

        parser.parse_args = parse_once
        return parser


def _command(name: str, entry: CliCommand) -> Any:
    module, _, function = entry.target.partition(":")
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(
        name=name,
        cls=_Command,
        help=entry.help,
        epilog=entry.epilog,
        context_settings={"help_option_names": ["-h", "--help"]},
    )(_with_session(getattr(import_module(f"abstractruntime.cli.{module}"), function)))
    return build_command(app)


def _with_session(function: Callable[..., int]) -> Callable[..., int]:
    """Give a function for the parser: shared options become the session of `function`."""
    # Hazard: `get_type_hints` of Python 3.10 wraps what defaults to None in another Optional,
    # which hides the options from the parser.
    signature = inspect.signature(function, eval_str=True)
    own = [parameter for name, parameter in signature.parameters.items() if name != "session"]
    shared = {**(_STORE if getattr(function, "uses_store", False) else {}), **_SHARED}

    def command(**values: Any) -> int:
        session = Session(mode_flag=_mode(values))
        if store := values.pop("store", None):
            session.flags["store"] = store
        raised_by_interrupts()
        return function(session, **values)

    parameters = [*own, *(_option(name, hint) for name, hint in shared.items())]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined] # read by inspect
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    command.__doc__ = function.__doc__
    return command


def _option(name: str, hint: Any) -> inspect.Parameter:
    default = None if name == "store" else False
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)


def _mode(values: dict[str, Any]) -> Mode | None:
    chosen = {
        Mode.JSON: values.pop("as_json"),
        Mode.JSONL: values.pop("as_jsonl"),
        Mode.NONE: values.pop("quiet"),
    }
    return next((mode for mode, wanted in chosen.items() if wanted), None)


def uses_store(function: Callable[..., int]) -> Callable[..., int]:
    """Mark a command that works on a store, which gets the option `--store`."""
    function.uses_store = True  # type: ignore[attr-defined] # a mark on the function
    return function
