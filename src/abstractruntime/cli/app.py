"""The entry point `art`: arguments in, exit code out.

Rules:
1. `art --version` is answered before anything of weight is imported.
2. This is the only place with a broad handler; a defect becomes exit code 70 and a detail file.
3. What a command returns is the exit code; what it raises is reported by `_errors`.
"""

from __future__ import annotations

import codecs
import os
import sys
from io import TextIOWrapper
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from abstractruntime.cli._output import Output

PROGRAM = "art"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code."""
    _ensure_streams()
    args = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _print_version() if args in (["--version"], ["-V"]) else _guarded(args)
        _print_last()
    except OSError as cause:
        from abstractruntime.cli._output import drop_stdout, talk

        drop_stdout()
        talk(
            f"error[output]: cannot write to stdout: {cause.strerror or cause}\n"
            "  = hint: what the command did is kept; look at it again with another stdout\n"
        )
        return 74
    return code


def _print_last(text: str = "") -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # Who no longer reads has seen enough; the command did what it was asked for.
        from abstractruntime.cli._output import drop_stdout

        drop_stdout()


def _print_version() -> int:
    from abstractruntime._version import __version__

    _print_last(f"abstractruntime {__version__}\n")
    return 0


def _ensure_streams() -> None:
    """Put the null device in place of closed standard streams.

    Hazard: the next file that is opened would else get number 1 or 2, and be written to by
    whoever prints.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            mode = "w" if number else "r"
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))
    if isinstance(sys.stdout, TextIOWrapper):
        # A terminal that cannot show a character gets an escape, which JSON knows as well.
        codecs.register_error("json_escape", _json_escape)
        sys.stdout.reconfigure(errors="json_escape")


def _json_escape(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    pairs = (units[i : i + 2].hex() for i in range(0, len(units), 2))
    return "".join(f"\\u{pair}" for pair in pairs), error.end


def _guarded(args: list[str]) -> int:
    from abstractruntime.cli._interrupts import ended_by_interrupts

    with ended_by_interrupts():
        return _run(args)


def _run(args: list[str]) -> int:
    from abstractruntime.cli._hints import named_store
    from abstractruntime.cli._output import Output, OutputError, is_read, mode_from_args

    out = Output(mode_from_args(args, os.environ), os.environ, store=named_store(args))
    try:
        return _invoke(args)
    except KeyboardInterrupt:
        out.note("interrupted")
        return 130
    except OutputError:
        raise
    except Exception as cause:  # noqa: BLE001 - the one boundary between failures and exit codes
        if isinstance(cause, BrokenPipeError) and not is_read():
            # Commands see to their own output; this was a page of help that nobody read on.
            return 0
        return _report(out, cause)


def _invoke(args: list[str]) -> int:
    from typer import Exit

    from abstractruntime.cli._lazy import root_command

    # The parser's own `main` would answer a closed pipe itself, with exit code 1.
    command = root_command()
    try:
        with command.make_context(PROGRAM, args or ["--help"]) as context:
            return int(command.invoke(context) or 0)
    except Exit as done:
        return done.exit_code


def _report(out: Output, cause: Exception) -> int:
    from abstractruntime.cli._errors import as_known_error, report_defect, report_error

    known = as_known_error(cause)
    if known is None:
        return report_defect(out, cause)
    return report_error(out, known, cause)
