"""`art run`: start a run and drive it as far as it goes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from abstractruntime._json import JsonObject, dump_sorted, mapping, split_pointer
from abstractruntime._ports_system import SystemClock, SystemIds
from abstractruntime._runtime.runtime import Runtime
from abstractruntime._text import shell_word
from abstractruntime._version import __version__
from abstractruntime.cli._authority import seal, settings_in_force
from abstractruntime.cli._bundles import Loaded
from abstractruntime.cli._consent import (
    granted,
    prepare_workspace,
    uses_files,
    workspace_of,
    workspace_root,
)
from abstractruntime.cli._contract import checked_input, input_notes
from abstractruntime.cli._findings import say_findings
from abstractruntime.cli._host import make_driver
from abstractruntime.cli._inputs import parse_labels
from abstractruntime.cli._interrupts import stop_on_signals
from abstractruntime.cli._keyring import read_trust
from abstractruntime.cli._lazy import uses_store
from abstractruntime.cli._limits import LimitOption, set_limit_flags
from abstractruntime.cli._options import (
    DurabilityOption,
    HostKeyOption,
    LLMStubOption,
    WaitingOkOption,
    set_flags,
)
from abstractruntime.cli._outcome import Until, UntilOption, conclude
from abstractruntime.cli._packing import load_bundle_or_flow
from abstractruntime.cli._program import Program, code_services, compile_program
from abstractruntime.cli._sandbox import confined
from abstractruntime.cli._session import Session, os_user
from abstractruntime.cli._store import vouchers_of, writing
from abstractruntime.cli._watched import watched
from abstractruntime.core.origin import TRUST_CODE, RunOrigin
from abstractruntime.core.store import Store
from abstractruntime.errors import NotFound, Refused, UsageError
from abstractruntime.storage.directory import artifacts_in, check_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from abstractruntime.signing import TrustStore
    from abstractruntime.storage.artifacts import FileArtifactStore

_ONCE_CHARS = 32


@dataclass(frozen=True, slots=True)
class Start:
    """What a new run is to be."""

    run_id: str
    inputs: JsonObject
    origin: RunOrigin


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the options ask for."""

    path: Path
    entry: str | None
    inputs: Sequence[str]
    allow_extra: bool
    run_id: str
    once: str | None
    labels: Sequence[str]
    actor: str | None
    allow_unsigned: bool
    allow: Sequence[str]
    keep_listeners: bool
    trust_code: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a run begins with; nothing of it is written yet."""

    loaded: Loaded
    program: Program
    start: Start
    artifacts: FileArtifactStore


@uses_store
def run(  # noqa: PLR0917 - the options of the command
    session: Session,
    path: Annotated[Path, typer.Argument(metavar="BUNDLE|FLOW.json", help="What to run.")],
    entry: Annotated[
        str | None, typer.Option("--entry", metavar="ID", help="Flow to start.")
    ] = None,
    inputs: Annotated[
        list[str],
        typer.Option(
            "--input",
            metavar="OBJECT|@FILE|-|K=V",
            help="Input, repeatable: a JSON object; or K=V, where V that is JSON counts as JSON, but for"
            " parameters that the start declares as text.",
        ),
    ] = [],  # noqa: B006 - the parser makes a new list for each call
    allow_extra_input: Annotated[
        bool,
        typer.Option("--allow-extra-input", help="Take inputs that the flow does not declare."),
    ] = False,
    run_id: Annotated[
        str | None, typer.Option("--run-id", metavar="ID", help="Id of the new run.")
    ] = None,
    once: Annotated[
        str | None,
        typer.Option("--once", metavar="KEY", help="Start at most one run under this key."),
    ] = None,
    label: Annotated[
        list[str], typer.Option("--label", metavar="K=V", help="Mark the run; repeatable.")
    ] = [],  # noqa: B006 - the parser makes a new list for each call
    follow: Annotated[bool, typer.Option("--follow", help="Say each step on stderr.")] = False,
    until: UntilOption = Until.IDLE,
    actor: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="Who starts it; default: OS user.")
    ] = None,
    allow_unsigned: Annotated[
        bool, typer.Option("--allow-unsigned", help="Run what nobody trusted signed; recorded.")
    ] = False,
    allow: Annotated[
        list[str],
        typer.Option("--allow", metavar="CAPABILITY", help="Grant such as file:read; repeatable."),
    ] = [],  # noqa: B006 - the parser makes a new list for each call
    limit: LimitOption = [],  # noqa: B006 - the parser makes a new list for each call
    keep_listeners: Annotated[
        bool,
        typer.Option("--keep-listeners", help="Listeners of the flow live on when the run ends."),
    ] = False,
    waiting_ok: WaitingOkOption = False,
    durability: DurabilityOption = None,
    host_key: HostKeyOption = None,
    llm_stub: LLMStubOption = None,
    trust_code: Annotated[
        bool, typer.Option("--trust-code", help="Run code nodes in this process; recorded.")
    ] = False,
    sandbox: Annotated[
        str | None,
        typer.Option("--sandbox", metavar="bwrap|worker|in-process", help="Home of code nodes."),
    ] = None,
    workspace: Annotated[
        str | None,
        typer.Option(
            "--workspace", metavar="DIR", help="Directory of its files. [env: ART_WORKSPACE]"
        ),
    ] = None,
) -> int:
    """Run a bundle or a flow until it ends or waits.

    Prints the output of the run on stdout. A flow document is your own work: it needs no
    signature, and its digest is recorded.
    """
    set_flags(
        session,
        durability=durability,
        host_key=host_key,
        llm_stub=llm_stub,
        sandbox=sandbox,
        workspace=workspace,
    )
    set_limit_flags(session, limit)
    if trust_code and sandbox not in {None, "in-process"}:
        raise UsageError(
            f"--trust-code and --sandbox {sandbox} say the opposite", hint="leave one of them out"
        )
    wanted = Wanted(
        path=path,
        entry=entry,
        inputs=inputs,
        allow_extra=allow_extra_input,
        run_id=_id_of(once, run_id),
        once=once,
        labels=label,
        actor=actor,
        allow_unsigned=allow_unsigned,
        allow=allow,
        keep_listeners=keep_listeners,
        trust_code=trust_code,
    )
    plan = _plan(session, wanted, read_trust(session))
    prepare_workspace(session, plan.start.origin)
    with writing(session, create=True) as engine:
        return _drive(session, engine, plan, until, follow=follow, waiting_ok=waiting_ok)


def _plan(session: Session, wanted: Wanted, trust: TrustStore) -> Plan:
    """Decide all that a run begins with, before anything of it is written."""
    loaded = _load(session, wanted, trust)
    home = session.config.get("sandbox")
    grants = granted(loaded, wanted.allow)
    has_files = uses_files(loaded.bundle.documents.values())
    root, chosen_by = workspace_root(session, loaded, trust) if has_files else (None, "")
    artifacts = artifacts_in(session.config.store)
    services = code_services(
        trust_code=wanted.trust_code,
        sandbox=home,
        workspace=workspace_of(session, RunOrigin(grants=grants, workspace=root)),
        artifacts=artifacts,
    )
    program = compile_program(loaded.bundle, wanted.entry, services=services)
    in_process = wanted.trust_code or home == "in-process"
    if in_process and program.has_code:
        session.out.note("warning: code nodes run in this process, outside of the sandbox")
    document = loaded.bundle.documents[program.entry]
    values = checked_input(document, wanted.inputs, allow_extra=wanted.allow_extra)
    overrides = _overrides(loaded, allow_unsigned=wanted.allow_unsigned, trust_code=in_process)
    origin = RunOrigin(
        workflow_id=program.entry,
        bundle_ref=loaded.ref,
        bundle_digest=loaded.digest,
        signers=loaded.signers,
        inputs_sha256=hashlib.sha256(dump_sorted(values)).hexdigest(),
        runtime_version=__version__,
        overrides=overrides,
        sandbox=confined(session, services.code) if program.has_code else None,
        grants=grants,
        workspace=root,
        actor=wanted.actor or os_user(),
        labels=parse_labels(wanted.labels),
        once=wanted.once,
        keep_listeners=wanted.keep_listeners,
        settings=settings_in_force(
            session,
            trust,
            workspace=(root, chosen_by),
            **_said(overrides, grants, trust_code=wanted.trust_code),
        ),
    )
    for line in input_notes(document, values):
        session.out.note(line)
    return Plan(loaded, program, Start(wanted.run_id, values, origin), artifacts)


def _load(session: Session, wanted: Wanted, trust: TrustStore) -> Loaded:
    """Open what is to be run, and say what is doubtful about it."""
    loaded, findings = load_bundle_or_flow(
        wanted.path,
        trust,
        allow_unsigned=wanted.allow_unsigned,
        now=SystemClock().now(),
        entry=wanted.entry,
        vouchers=partial(vouchers_of, session),
    )
    say_findings(session, findings)
    for warning in loaded.warnings:
        session.out.note(f"warning: {warning}")
    if loaded.rule == "unsigned_warn":
        session.out.note(
            f"warning: nobody trusted signed '{wanted.path}'; sign it: art bundle sign"
        )
    return loaded


def _drive(
    session: Session, engine: Store, plan: Plan, until: Until, *, follow: bool, waiting_ok: bool
) -> int:
    start, program, run_id = plan.start, plan.program, plan.start.run_id
    existing = start.origin.once is not None and find_same(engine, start)
    plan.artifacts.tell(engine.note_added)
    with stop_on_signals() as stop:
        keep = start.origin.keep_listeners
        runtime, driver = make_driver(session, engine, program, stop, keep_listeners=keep)
        # The run can go on without the original file.
        engine.bundles.put(plan.loaded.digest, plan.loaded.data)
        if not existing:
            _create(session, runtime, program, start, engine)
        session.out.note(f"run {run_id}" + (" exists already" if existing else ""))
        with watched(session, engine, runtime, program, run_id, stop, steps=follow):
            driver.drive(run_id, until=until.value)
        stop.poll()
        return conclude(
            session, engine, run_id, labels=program.labels, waiting_ok=waiting_ok, stop=stop
        )


def _create(
    session: Session, runtime: Runtime, program: Program, start: Start, engine: Store
) -> None:
    stated = replace(start.origin, store_origin=engine.store_origin, signed_by=engine.signed_by)
    try:
        runtime.start(
            workflow=program.workflow,
            vars=start.inputs,
            actor_id=start.origin.actor,
            session_id=start.run_id,
            run_id=start.run_id,
            provenance=replace(stated, seal=seal(session, start.run_id, stated)),
        )
    except UsageError:
        # Another process may have started the run of this key in the meantime.
        if start.origin.once is None or not find_same(engine, start):
            raise


def _said(
    overrides: tuple[str, ...], grants: tuple[str, ...], *, trust_code: bool
) -> dict[str, tuple[Any, str]]:
    """Give what flags decide that are no settings, as the first record says it."""
    given: dict[str, tuple[Any, str]] = {}
    if trust_code:
        given["sandbox"] = ("in-process", "flag --trust-code")
    if "allow_unsigned" in overrides:
        given["unsigned_bundles"] = ("allow", "flag --allow-unsigned")
    if grants:
        is_own = "own_work" in overrides
        given["grants"] = (list(grants), "own work" if is_own else "flag --allow")
    return given


def _overrides(loaded: Loaded, *, allow_unsigned: bool, trust_code: bool) -> tuple[str, ...]:
    given = {
        "own_work": loaded.rule == "own_work",
        "allow_unsigned": allow_unsigned and loaded.rule == "unsigned_allowed",
        TRUST_CODE: trust_code,
    }
    return tuple(name for name, on in given.items() if on)


def _id_of(once: str | None, run_id: str | None) -> str:
    """Give the id of the run to start.

    Raises:
        UsageError: what was given names none, or two.
    """
    if once == "":
        raise UsageError(
            "--once needs a key", hint="give a text that names this start", argument="--once"
        )
    if once is None:
        return new_id(run_id)
    if run_id is not None:
        raise UsageError("--once and --run-id exclude each other", hint="leave one of them out")
    return once_id(once)


def new_id(wanted: str | None) -> str:
    """Give the wanted run id, or a random one.

    Raises:
        UsageError: it cannot stand in a file name.
    """
    return SystemIds().run_id() if wanted is None else check_id(wanted)


def once_id(key: str) -> str:
    """Give the run id that a start key stands for."""
    return "once-" + hashlib.sha256(key.encode()).hexdigest()[:_ONCE_CHARS]


def find_same(engine: Store, start: Start) -> bool:
    """Say whether the run of this start key exists already.

    Raises:
        Refused: it exists, with another bundle or input, or somebody else started it.
    """
    run_id, wanted = start.run_id, start.origin
    try:
        known = engine.origin(run_id)
    except NotFound:
        return False
    for name in ("workflow_id", "bundle_digest", "inputs_sha256"):
        if getattr(known, name) != getattr(wanted, name):
            raise Refused(
                f"the key {wanted.once!r} stands for a run {_other(engine, start, known, name)}",
                hint=f"see it: art inspect {shell_word(run_id)}; give what it was started with to"
                " get it, or another key to start another",
                run_id=run_id,
                expected=getattr(wanted, name),
                found=getattr(known, name),
            )
    if engine.admit is not None:
        # What somebody else planted under this key is no answer.
        engine.admit(run_id)
    return True


def _other(engine: Store, start: Start, known: RunOrigin, name: str) -> str:
    """Say how the run of a start key is another one than is asked for."""
    if name == "workflow_id":
        return f"of the flow {known.workflow_id!r}, not {start.origin.workflow_id!r}"
    if name == "bundle_digest":
        return f"of another content of '{known.bundle_ref or known.workflow_id}'"
    began = _inputs_of(engine, start.run_id)
    differing = sorted(
        key for key in {*began, *start.inputs} if began.get(key) != start.inputs.get(key)
    )
    return f"with other inputs{': ' if differing else ''}{', '.join(map(repr, differing))}"


def _inputs_of(engine: Store, run_id: str) -> JsonObject:
    """Give what a run was started with, as its first record sets it; what begins with `_` is ours."""
    first = next(iter(engine.records(run_id)), None)
    commit = mapping(engine.resolve(first.record).get("commit")) if first is not None else {}
    tokens = {key: split_pointer(key) for key in mapping(commit.get("set"))}
    return {
        found[0]: commit["set"][key]
        for key, found in tokens.items()
        if len(found) == 1 and not found[0].startswith("_")
    }
