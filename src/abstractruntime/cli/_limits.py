"""Limits on the command line: what new runs get, and what is said of runs that come near to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from abstractruntime._near import close_names
from abstractruntime._text import shell_word
from abstractruntime.cli._settings import LIMITS_SECTION
from abstractruntime.core.config import RunLimits
from abstractruntime.core.limits import RUN_LIMITS, is_limit
from abstractruntime.errors import UsageError

if TYPE_CHECKING:
    from abstractruntime._json import JsonObject
    from abstractruntime.cli._config import Config
    from abstractruntime.cli._session import Session

LimitOption = Annotated[
    list[str],
    typer.Option(
        "--limit",
        metavar="NAME=NUMBER",
        help=f"Rest after so much; repeatable; 0: no limit. NAME: {', '.join(RUN_LIMITS)}.",
    ),
]


def limits_of(config: Config) -> RunLimits:
    """Give the limits that new runs get."""
    return RunLimits(**{name: config.get(f"{LIMITS_SECTION}.{name}") for name in RUN_LIMITS})


def set_limit_flags(session: Session, given: Iterable[str]) -> None:
    """Put `--limit` options over the configuration."""
    flags = parse_limits(given).items()
    session.flags.update({f"{LIMITS_SECTION}.{name}": most for name, most in flags})


def parse_limits(given: Iterable[str]) -> dict[str, int]:
    """Read limits that are given as `NAME=NUMBER`.

    Raises:
        UsageError: there is no such limit, or it cannot have this value.
    """
    return dict(map(_parse_limit, given))


def _parse_limit(text: str) -> tuple[str, int]:
    name, _, number = text.partition("=")
    if name not in RUN_LIMITS:
        near = close_names(name, RUN_LIMITS, n=1)
        meant = f"did you mean {near[0]!r}? " if near else ""
        raise UsageError(
            f"{name!r} is no limit of a run",
            hint=f"{meant}write NAME=NUMBER; limits: {', '.join(RUN_LIMITS)}",
            argument=text,
        )
    most = int(number) if number.isascii() and number.isdigit() and len(number) < 19 else -1
    if not is_limit(most):
        raise UsageError(
            f"limit {name!r} is {number!r}, expected a whole number from 0",
            hint=f"such as {name}={RUN_LIMITS[name]}; 0 is no limit",
            argument=text,
        )
    return name, most


def limit_lines(document: JsonObject) -> Iterator[str]:
    """Give what a run document says of limits: first what rests, and how to go on."""
    run_id, limits = document["run_id"], document["limits"]
    resting = [use for use in limits if use["rests"]]
    for use in resting:
        yield f"limited: run {use['run_id']} rests at its limit: {_used(use)}"
    if resting:
        more = " ".join(sorted({f"{u['limit']}={2 * max(u['used'], u['max'])}" for u in resting}))
        yield f"  = hint: let it use more: art limits {shell_word(run_id)} {more} && art tick {shell_word(run_id)}"
    for use in limits:
        if not use["rests"]:
            yield f"warning: run {use['run_id']} is near to its limit: {_used(use)}"


def _used(use: JsonObject) -> str:
    return f"{use['limit']}, {use['used']} of {use['max']}"
