"""Which findings of a check count: by code, by severity, and what is shown of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from abstractruntime.cli._session import Session
from abstractruntime.errors import UsageError
from abstractruntime.visualflow_compiler.check import RULES, CheckResult, render_text
from abstractruntime.visualflow_compiler.diagnostics import Diagnostic, Severity

SEVERITIES: Final[tuple[Severity, ...]] = ("error", "warning", "info")
_PLURALS: Final[Mapping[str, str]] = {"error": "errors", "warning": "warnings", "info": "infos"}


class FailOn(str, Enum):
    ERROR = "error"
    WARNING = "warning"


_FATAL: Final[Mapping[FailOn, frozenset[str]]] = {
    FailOn.ERROR: frozenset({"error"}),
    FailOn.WARNING: frozenset({"error", "warning"}),
}
_CODE: Final = re.compile(r"VF[0-9]{0,3}")


@dataclass(frozen=True, slots=True)
class Policy:
    """What a check looks for, and what of it fails.

    Attributes:
        select: Beginnings of the codes that count; empty for all.
        ignore: Beginnings of the codes that do not; they win over `select`.
        fatal: Severities that fail.
    """

    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    fatal: frozenset[str] = _FATAL[FailOn.ERROR]

    def applied(self, result: CheckResult) -> CheckResult:
        """Give a result without the findings that do not count.

        Why a document could not be read always counts: nothing else is known about it.
        """
        if result.document is None:
            return result
        return replace(result, diagnostics=tuple(filter(self._counts, result.diagnostics)))

    def fails(self, result: CheckResult) -> bool:
        """Say whether a result that this policy was applied to is a failure.

        What was left out of a long result was not looked at, so it fails where some of it might
        have counted.
        """
        is_cut = result.omitted > 0 and bool(self.select or self.ignore)
        found = any(item.severity in self.fatal for item in result.diagnostics)
        return result.document is None or found or is_cut

    def _counts(self, item: Diagnostic) -> bool:
        is_selected = not self.select or item.code.startswith(self.select)
        return is_selected and not item.code.startswith(self.ignore)


def read_policy(select: Iterable[str], ignore: Iterable[str], fail_on: FailOn) -> Policy:
    """Give the policy that options name; codes are separated by commas.

    Raises:
        UsageError: a text is no code or beginning of one that exists.
    """
    chosen, left_out = _codes(select, "--select"), _codes(ignore, "--ignore")
    return Policy(chosen, left_out, _FATAL[fail_on])


def _codes(texts: Iterable[str], option: str) -> tuple[str, ...]:
    codes = tuple(part.strip().upper() for text in texts for part in text.split(","))
    for code in codes:
        # A misspelt code would quietly select nothing, and the check would pass.
        if not _CODE.fullmatch(code) or not any(known.startswith(code) for known in RULES):
            raise UsageError(
                f"{option} {code!r} is no code of a finding and begins none",
                hint="use codes or beginnings of codes, such as VF301 or VF3",
                argument=option,
            )
    return codes


def count_by_severity(results: Iterable[CheckResult]) -> dict[str, int]:
    """Give the number of findings for each severity, errors first."""
    found = Counter(item.severity for result in results for item in result.diagnostics)
    return {severity: found[severity] for severity in SEVERITIES}


def count_text(counts: Mapping[str, int]) -> str:
    """Give counts in words: `1 error, 2 warnings`."""
    parts = [f"{n} {name if n == 1 else _PLURALS[name]}" for name, n in counts.items() if n]
    return ", ".join(parts) or "nothing found"


def shown(result: CheckResult, *, verbose: bool) -> Iterator[Diagnostic]:
    """Give the findings for people; that nothing has to be done is said only when asked for."""
    return (item for item in result.diagnostics if verbose or item.severity != "info")


def say_findings(session: Session, findings: Iterable[Diagnostic]) -> None:
    """Say what was found in documents that something else is done with."""
    for item in findings:
        if item.severity != "info":
            session.out.note(*render_text(item).split("\n"))
