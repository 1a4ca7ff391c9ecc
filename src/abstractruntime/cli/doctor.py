"""`art doctor`: every detection, without changing anything."""

from __future__ import annotations

import platform
import stat
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import typer

from abstractruntime._files import doubt_of_place
from abstractruntime._json import JsonObject
from abstractruntime._text import shell_word
from abstractruntime._version import __version__
from abstractruntime.cli._authority import SEAL_FILE, seal_secret
from abstractruntime.cli._config import USER_FILE
from abstractruntime.cli._judge import BundleJudge, defects_beside, verify_run
from abstractruntime.cli._keyring import (
    LedgerTrust,
    key_directory,
    ledger_trust,
    own_keys,
    read_trust,
    trust_path,
)
from abstractruntime.cli._lazy import uses_store
from abstractruntime.cli._session import Session
from abstractruntime.cli._settings import BY_NAME
from abstractruntime.cli._store import reading
from abstractruntime.cli.keys import unfinished
from abstractruntime.core.models import RunStatus
from abstractruntime.core.ports import RunHeader, RunQuery
from abstractruntime.core.store import Store
from abstractruntime.errors import AbstractRuntimeError, ExitCode, NotFound, Refused
from abstractruntime.rendering.terminal import format_bytes, plural, wrap
from abstractruntime.signing import LedgerVerdict

Level = Literal["ok", "note", "warning", "error"]
_MAX_RUNS = 100_000
_MOST_DIAGNOSED = 1000
# What is read from its start unless all is: less than a second's worth.
_WHOLE_BYTES = 8_000_000
_LIVE = frozenset({RunStatus.RUNNING, RunStatus.WAITING})
_INDENT = "    "
# Said of the store; and of a ledger that was read from its start.
_SAID = frozenset({"store_file_lost"})
_SAID_WHOLE = _SAID | {"torn_tail"}
_SANDBOX_PAGE = "docs/explanation/sandbox.md"
# What is wrong beside a sound ledger, and made anew from it.
_REPAIRED = frozenset({"checkpoint_mismatch"})
_OWN_FILES = (USER_FILE, SEAL_FILE)


@dataclass(frozen=True, slots=True)
class HealthNote:
    """One thing that was looked at."""

    level: Level
    subject: str
    message: str
    hint: str | None = None

    def to_dict(self) -> JsonObject:
        return {
            "level": self.level,
            "subject": self.subject,
            "message": self.message,
            "hint": self.hint,
        }


Check: TypeAlias = Callable[["Session"], Iterator[HealthNote]]


@uses_store
def doctor(
    session: Session,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read every ledger from its start, however long.")
    ] = False,
) -> int:
    """Look for trouble in the installation, the keys and the store; changes nothing.

    Reads ledgers from their start, 8 MB of them in all, the newest first; of others it looks at
    the checkpoint, what follows it, and the ends. Exit code 1 when something is wrong; warnings alone are 0.
    """
    session.says_ignored = False
    checks = _checks(session, most_bytes=None if deep else _WHOLE_BYTES)
    findings = [item for check in checks for item in _guarded(check, session)]
    ok = all(item.level != "error" for item in findings)
    document = {
        "format": "art-doctor/1",
        "ok": ok,
        "findings": [item.to_dict() for item in findings],
    }

    def text() -> Iterator[str]:
        for item in findings:
            line = f"{item.level}: {item.subject}: {item.message}"
            yield from _in_width(line, session.out.width) if session.out.is_terminal else [line]
            if item.hint:
                yield f"  = hint: {item.hint}"

    session.out.emit(document, text=text, items="findings")
    return int(ExitCode.OK if ok else ExitCode.FAILED)


def _in_width(line: str, width: int) -> Iterator[str]:
    """Give a line as lines that fit a terminal."""
    first, *others = wrap(line, max(20, width - len(_INDENT)))
    yield first
    yield from (_INDENT + more for more in others)


def _checks(session: Session, *, most_bytes: int | None) -> tuple[Check, ...]:
    """Give what can be looked at: without a configuration, nobody knows where the rest is."""
    try:
        _ = session.config
    except (AbstractRuntimeError, OSError):
        return (_installation, _configuration, _unseen)
    return (*_CHECKS, partial(_store, most_bytes=most_bytes))


def _unseen(_session: Session) -> Iterator[HealthNote]:
    message = "keys, trust, sandbox and store were not looked at"
    yield HealthNote("note", "the rest", message, "correct the configuration, then: art doctor")


def _guarded(check: Check, session: Session) -> Iterator[HealthNote]:
    """Turn what a check meets into a finding, so that the others still run."""
    try:
        yield from check(session)
    except (AbstractRuntimeError, OSError) as cause:
        name = check.func.__name__ if isinstance(check, partial) else check.__name__
        subject = name.strip("_").replace("_", " ")
        yield HealthNote("error", subject, str(cause), getattr(cause, "hint", None))


def _installation(_session: Session) -> Iterator[HealthNote]:
    system = f"Python {platform.python_version()}, {platform.system()} {platform.release()}"
    yield HealthNote("ok", "installation", f"abstractruntime {__version__}, {system}")


def _configuration(session: Session) -> Iterator[HealthNote]:
    config = session.config
    where = f"project {config.project}" if config.project else "no project"
    yield HealthNote("ok", "configuration", f"{where}; store {config.store}")
    for item in config.ignored:
        yield HealthNote("warning", "configuration", item.text, item.hint)
    yield HealthNote("ok", "settings", ", ".join(_in_force(session)))
    if config.get("durability") == "off":
        yield HealthNote(
            "warning", "configuration", "durability is off: a power cut can lose finished work",
            "set durability: strict",
        )  # fmt: skip


def _in_force(session: Session) -> Iterator[str]:
    """Give what loosens or tightens, each with its value and where it came from."""
    for name, value in session.config.values.items():
        if BY_NAME[name].project.leeway != "free" and value.value is not None:
            yield f"{name} {value.value} ({value.origin})"


def _places(session: Session) -> Iterator[HealthNote]:
    """Find what others could write, so that it would say what they want."""
    config = session.config_dir
    places = {
        "configuration": [config, *(config / name for name in _OWN_FILES), trust_path(session)],
        "keys": [key_directory(session)],
        "store": [session.config.store],
    }
    for subject, paths in places.items():
        for doubt in filter(None, map(doubt_of_place, dict.fromkeys(paths))):
            yield HealthNote("error", subject, doubt.reason, doubt.fix)


def _seal(session: Session) -> Iterator[HealthNote]:
    path = session.config_dir / SEAL_FILE
    # Who could have written it is told with the other places.
    if path.exists() and not doubt_of_place(path):
        seal_secret(path)
        yield HealthNote("ok", "seal", f"'{path}' marks your runs in the stores of projects")


def _keys(session: Session) -> Iterator[HealthNote]:
    entries = own_keys(session)
    for entry in entries:
        path = entry.private_path
        if path is not None and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            hint = f"chmod 600 {shell_word(path)}"
            yield HealthNote("error", "keys", f"'{path}' can be read by others", hint)
    for message, hint in unfinished(session, read_trust(session)):
        yield HealthNote("warning", "keys", message, hint)
    yield HealthNote("ok", "keys", f"{len(entries)} in {key_directory(session)}")
    host = session.config.get("host_key")
    if host is None:
        hint = "art key new NAME --usage host, then host_key: NAME in your config.yaml"
        yield HealthNote("note", "keys", "no host key, so ledgers are not signed", hint)
    elif host not in {e.key.name for e in entries} and not Path(host).is_file():
        yield HealthNote("error", "keys", f"the host key '{host}' does not exist", "art key list")


def _trust(session: Session) -> Iterator[HealthNote]:
    trust = read_trust(session)
    message = f"{len(trust.keys)} keys; unsigned bundles: {trust.unsigned_bundles}"
    yield HealthNote("ok", "trust", f"{message}; {trust_path(session)}")


def _sandbox(session: Session) -> Iterator[HealthNote]:
    from abstractruntime.cli._sandbox import code_home, report_of
    from abstractruntime.sandbox.runner import is_confined, lacks

    try:
        home = code_home(session.config.get("sandbox"))
    except Refused as refused:
        yield HealthNote("error", "sandbox", str(refused), refused.hint)
        return
    report, minimum = report_of(home), session.config.get("sandbox_minimum")
    message = _layers_text(report)
    if missing := lacks(report, minimum):
        hint = f"sandbox_minimum is {minimum!r}: no code runs here; see {_SANDBOX_PAGE}"
        yield HealthNote("error", "sandbox", f"{message}; code would run without {missing}", hint)
    elif is_confined(report):
        yield HealthNote("ok", "sandbox", message)
    else:
        hint = f"run code nodes of people you trust only; see {_SANDBOX_PAGE}"
        yield HealthNote("warning", "sandbox", message, hint)


def _layers_text(report: JsonObject) -> str:
    layers, missing = ", ".join(report["layers"]) or "none", ", ".join(report["missing"])
    listed = f"; system calls: list {report['filter']}" if report["filter"] else ""
    return f"{report['backend']}: {layers}{listed}" + (f"; missing: {missing}" if missing else "")


def _store(session: Session, *, most_bytes: int | None) -> Iterator[HealthNote]:
    try:
        with reading(session) as engine:
            yield from _store_findings(engine, most_bytes, _believed(session))
    except NotFound:
        hint = "the first `art run` creates it"
        yield HealthNote("note", "store", f"there is none in {session.config.store}", hint)


def _believed(session: Session) -> LedgerTrust:
    """Give whom the user believes; nobody where that cannot be read, which is said elsewhere."""
    if not trust_path(session).exists():
        return LedgerTrust()
    try:
        return ledger_trust(session)
    except (AbstractRuntimeError, OSError):
        return LedgerTrust()


def _store_findings(
    engine: Store, most_bytes: int | None, trust: LedgerTrust
) -> Iterator[HealthNote]:
    runs = engine.find(RunQuery(limit=_MAX_RUNS))
    long = _long_ledgers(engine, runs, most_bytes)
    yield HealthNote(
        "ok", "store", f"{engine.address}, origin {engine.store_origin}, {plural(len(runs), 'run')}"
    )
    for fault in engine.health.access():
        yield HealthNote(fault.level, "store", fault.message, fault.hint)
    yield from _unread(long)
    bad, bundles = [], BundleJudge(engine)
    for header in runs:
        if header.run_id in long:
            found = [*_look_at(engine, header.run_id, bundles)]
        else:
            found = [*_read_whole(engine, header.run_id, bundles, trust)]
        found += _abandoned(engine, header, found)
        bad += [header.run_id for item in found if item.level == "error"]
        yield from found
    for run_id, cause in engine.health.unlisted({header.run_id for header in runs}):
        bad.append(run_id)
        yield HealthNote(
            "error", f"run {run_id}", str(cause), f"art ledger verify {shell_word(run_id)}"
        )
    yield from _lost_bundles(engine, [run for run in runs if run.run_id not in bad])
    for snapshot_id, broken in engine.health.snapshots():
        yield HealthNote("error", f"snapshot {snapshot_id}", str(broken), broken.hint)
    yield from _file_findings(engine, [header.run_id for header in runs], set(bad), long)


def _long_ledgers(engine: Store, runs: list[RunHeader], most_bytes: int | None) -> dict[str, int]:
    """Give the runs whose ledgers do not fit into what is read in all, each with its size."""
    if most_bytes is None:
        return {}
    long, left = {}, most_bytes
    for header in runs:
        size = engine.health.ledger_bytes(header.run_id)
        if size > left:
            long[header.run_id] = size
        else:
            left -= size
    return long


def _unread(long: Mapping[str, int]) -> Iterator[HealthNote]:
    if long:
        one = f"art ledger verify {shell_word(next(iter(long)))}, or " if len(long) == 1 else ""
        size = format_bytes(sum(long.values()))
        message = f"{plural(len(long), 'long ledger')}, {size}, not read before their checkpoints"
        yield HealthNote("note", "store", message, f"read all: {one}art doctor --deep")


def _lost_bundles(engine: Store, runs: list[RunHeader]) -> Iterator[HealthNote]:
    """Name the live runs that cannot go on because the store lost their bundle."""
    for header in runs:
        if header.status not in _LIVE:
            continue
        digest = engine.origin(header.run_id).bundle_digest
        if digest is not None and engine.bundles.get(digest, limit=1) is None:
            hint = "put the original bundle back under this name"
            yield HealthNote(
                "error",
                f"run {header.run_id}",
                f"bundle '{engine.bundles.address(digest)}' is missing; it cannot go on",
                hint,
            )


def _file_findings(
    engine: Store, runs: list[str], bad: set[str], long: Container[str]
) -> Iterator[HealthNote]:
    """Give what else is odd about the files; what the ledger of a run told is not said again."""
    faults = partial(engine.health.faults, is_whole=lambda run_id: run_id not in long)
    if len(runs) <= _MOST_DIAGNOSED:
        found = faults()
    else:
        found = [item for run_id in runs[:_MOST_DIAGNOSED] for item in faults(run_id)]
        left = len(runs) - _MOST_DIAGNOSED
        hint = "look at one of them: art repair RUN --plan"
        yield HealthNote(
            "note", "store", f"the files of the {left} oldest runs were not read", hint
        )
    for item in found:
        if item.run_id is None:
            yield HealthNote(item.level, "store", item.message, item.hint)
        elif (
            item.run_id not in bad
            and item.code not in (_SAID if item.run_id in long else _SAID_WHOLE)
            and engine.owner(item.run_id) is None
        ):
            # Files of a run that is just driven are between two states.
            step = f"art repair {shell_word(item.run_id)} --plan" if item.step else item.hint
            yield HealthNote(item.level, f"run {item.run_id}", item.message, step)


def _look_at(engine: Store, run_id: str, bundles: BundleJudge) -> Iterator[HealthNote]:
    """Give what the checkpoint of a run, what follows it and what lies beside it show."""
    cause = engine.health.damage(run_id)
    texts = [str(cause)] if cause else [d.detail for d in defects_beside(engine, run_id, bundles)]
    for text in texts[:1]:
        hint = f"art ledger verify {shell_word(run_id)}"
        yield HealthNote("error", f"run {run_id}", str(text), cause.hint if cause else hint)


def _read_whole(
    engine: Store, run_id: str, bundles: BundleJudge, trust: LedgerTrust
) -> Iterator[HealthNote]:
    subject = f"run {run_id}"
    verdict = verify_run(engine, run_id, trust, bundles=bundles)
    if not verdict.ok:
        is_mended = {defect.code for defect in verdict.defects} <= _REPAIRED
        hint = (
            f"art repair {shell_word(run_id)} --plan"
            if is_mended
            else f"art ledger verify {shell_word(run_id)}"
        )
        yield HealthNote("error", subject, _defect_text(verdict), hint)
    elif cause := engine.health.damage(run_id):
        yield HealthNote("error", subject, str(cause), cause.hint)
    elif verdict.torn_tail_bytes:
        message = f"torn tail of {verdict.torn_tail_bytes} bytes, never acknowledged"
        yield HealthNote("note", subject, message, "the next write cuts it and keeps a copy")


def _abandoned(engine: Store, run: RunHeader, found: Iterable[HealthNote]) -> Iterator[HealthNote]:
    """Tell that nobody drives a run which could go on."""
    is_sound = all(item.level != "error" for item in found)
    if is_sound and run.status is RunStatus.RUNNING and engine.owner(run.run_id) is None:
        hint = f"art tick {shell_word(run.run_id)}"
        yield HealthNote("warning", f"run {run.run_id}", "is running, but nobody drives it", hint)


def _defect_text(verdict: LedgerVerdict) -> str:
    first = verdict.defects[0]
    if first.code == "checkpoint_beyond_ledger":
        return (
            f"ledger lost its end: {first.expected} bytes were checkpointed, {first.found} are left"
        )
    if first.record is None and first.detail is not None:
        return first.detail
    return f"ledger is invalid at record {verdict.first_bad_index}: {first.code}"


_CHECKS: tuple[Check, ...] = (
    _installation,
    _configuration,
    _places,
    _seal,
    _keys,
    _trust,
    _sandbox,
)
