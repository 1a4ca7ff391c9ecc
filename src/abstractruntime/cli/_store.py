"""Opening the store, and finding the run that someone means."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from abstractruntime.cli._project import PROJECT_STORE
from abstractruntime.core.event_keys import is_hold
from abstractruntime.core.models import WaitReason
from abstractruntime.core.outcome import Outcome, failure_of
from abstractruntime.core.ports import RunHeader, RunQuery
from abstractruntime.core.run_tree import RunTree
from abstractruntime.errors import IntegrityError, NotFound, UsageError

if TYPE_CHECKING:
    from abstractruntime._json import JsonObject
    from abstractruntime.cli._config import Config
    from abstractruntime.cli._session import Session
    from abstractruntime.core.store import Store
    from abstractruntime.signing import VerifierKey

LAST = "@last"
_NEAR = 5
_ALL_RUNS = 1_000_000


@contextmanager
def reading(session: Session) -> Iterator[Store]:
    """Open the store to look at it.

    Raises:
        NotFound: there is no store.
    """
    from abstractruntime.storage.directory import open_store

    directory = _checked_directory(session)
    is_projects = session.config.values["store"].is_projects
    with open_store(
        directory, seal=_seal(session), only_sealed=is_projects, create=False
    ) as engine:
        yield engine


@contextmanager
def writing(session: Session, *, create: bool = False) -> Iterator[Store]:
    """Open the store to drive runs; a host key signs heads where one is configured."""
    from abstractruntime.storage.directory import KeySigner, open_store

    signer = None
    if name := session.config.get("host_key"):
        from abstractruntime.cli._keyring import load_host_key

        signer = KeySigner(load_host_key(session, name))
    durability = session.config.get("durability")
    directory = _checked_directory(session)
    is_projects = session.config.values["store"].is_projects
    with open_store(
        directory,
        durability=durability,
        signer=signer,
        host_keys=lambda: _host_keys(session),
        seal=_seal(session, create=True),
        only_sealed=is_projects,
        create=create,
    ) as engine:
        if is_projects:
            from abstractruntime.cli._authority import OwnRuns

            engine.admit = OwnRuns(session, engine)
        elif signer is not None:
            from abstractruntime.cli._authority import OwnPast

            engine.may_sign = OwnPast(session, engine)
        if engine.is_new and signer is None:
            # Said once per store; the doctor says it whenever it is asked.
            session.out.note(
                "hint: no host key, so the ledger is not signed; art key new NAME --usage host,"
                " then host_key: NAME in your config.yaml"
            )
        yield engine


def _seal(session: Session, *, create: bool = False) -> Callable[[str], str] | None:
    """Give what marks this user's records, where they may lie among those of others."""
    config = session.config
    if not (config.values["store"].is_projects or _is_in_project(config)):
        return None
    from abstractruntime.cli._authority import sealing

    return sealing(session, create=create)


def _is_in_project(config: Config) -> bool:
    """Say whether a store lies in a project, however it was named: the project may name it next time."""
    store = Path(os.path.realpath(config.store))
    inside = config.project is not None and Path(os.path.realpath(config.project)) in store.parents
    return inside or store.name == PROJECT_STORE


def _host_keys(session: Session) -> Iterable[VerifierKey]:
    from abstractruntime.cli._keyring import read_trust

    return read_trust(session).ledger_keys()


def vouchers_of(session: Session, digest: str) -> frozenset[str]:
    """Give who signed a bundle, as runs of it say that this user started.

    That a store holds the bundle proves nothing: whoever can write there may have put it.
    """
    from abstractruntime.cli._authority import is_sealed

    if session.config.values["store"].is_projects:
        return frozenset()
    found: set[str] = set()
    try:
        with reading(session) as engine:
            if engine.bundles.get(digest, limit=1) is None:
                return frozenset()
            for header in engine.find(RunQuery(root_only=True, limit=_ALL_RUNS)):
                # What cannot be read says nothing.
                with contextlib.suppress(IntegrityError):
                    origin = engine.origin(header.run_id)
                    if origin.bundle_digest == digest and is_sealed(session, header.run_id, origin):
                        found.update(origin.signers)
    except NotFound:
        return frozenset()
    return frozenset(found)


def _checked_directory(session: Session) -> Path:
    """Give the directory of the store; one that a project names must lie there with all its parts.

    Raises:
        Refused: a part of it is a link.
    """
    store = directory_of(session)
    if session.config.values["store"].is_projects:
        from abstractruntime.cli._authority import require_no_links
        from abstractruntime.storage.directory import links_of

        require_no_links(links_of(store))
    return store


def directory_of(session: Session) -> Path:
    """Give the directory of the store, which need not exist.

    Raises:
        UsageError: a file has this name.
    """
    store = session.config.store
    if store.exists() and not store.is_dir():
        raise UsageError(
            f"the store '{store}' is a file, expected a directory",
            hint="name a directory with --store or ART_HOME; see: art config show --origin",
            path=str(store),
        )
    return store


def check_index(session: Session, engine: Store) -> None:
    """See that no row of the index hides a run from whoever acts on what it lists; say what was wrong."""
    if wrong := engine.check_index():
        named = ", ".join(wrong[:_NEAR]) + (", ..." if len(wrong) > _NEAR else "")
        session.out.note(f"the index of runs was wrong and is mended: {named}")


def resolve_run(engine: Store, text: str) -> str:
    """Give the id of the run that `text` means: a full id, a unique prefix, or `@last`.

    Raises:
        NotFound: no run.
        UsageError: several runs begin like this, or the text is blank.
    """
    if not text.strip():
        # Hazard: everything begins with an empty text, and an unset shell variable is one.
        raise UsageError(
            "the id of the run is blank",
            hint=f"give an id, the unique beginning of one, or {LAST}; see: art runs",
            argument="RUN",
        )
    if text == LAST:
        return _last_run(engine)
    found = engine.find(RunQuery(id_prefix=text, limit=_NEAR + 1))
    exact = [header.run_id for header in found if header.run_id == text]
    ids = exact or [header.run_id for header in found]
    if not exact and engine.health.knows(text):
        # The index does not know a run that cannot be read; opening it tells what is wrong.
        return text
    if len(ids) == 1:
        return ids[0]
    if ids:
        raise UsageError(
            f"several runs begin with {text!r}",
            hint="give more of the id: " + ", ".join(ids[:_NEAR]),
            argument="RUN",
        )
    near = [header.run_id for header in engine.find(RunQuery(root_only=True, limit=_NEAR))]
    raise NotFound(
        f"no run {text!r} in the store {engine.address!r}",
        hint="see: art runs" + (f"; the latest: {', '.join(near)}" if near else ""),
        kind="run",
        id=text,
    )


def _last_run(engine: Store) -> str:
    found = engine.find(RunQuery(root_only=True, limit=1))
    if not found:
        raise NotFound(
            f"the store {engine.address!r} has no runs", hint="start one: art run FLOW", kind="run"
        )
    return found[0].run_id


def note_no_runs(session: Session, engine: Store) -> None:
    """Say that a store is empty, beside a list that is."""
    session.out.note(f"no runs in the store '{engine.address}'")
    session.out.note("  = hint: start one: art run FLOW")


def run_document(
    engine: Store, tree: RunTree, *, labels: Mapping[str, str] | None = None
) -> JsonObject:
    """Give the `art-run/1` document of the run that a tree is seen from."""
    from abstractruntime.cli._calls import add_calls
    from abstractruntime.core.tree_limits import limits_of_tree
    from abstractruntime.core.usage import USAGE_WORDS, total_usage
    from abstractruntime.rendering.run_document import build_run_document

    run_id, state = tree.run_id, tree.state()
    outcome = outcome_in(engine, tree)
    members = (run.run_id for run in tree.members())
    records = (item.record for run in members for item in engine.records_with(run, USAGE_WORDS))
    waits = [tree.state(wait.run_id) for wait in tree.open_waits()]
    last = engine.recent(run_id, 1)
    document = build_run_document(
        state=state,
        ledger=engine.head(run_id),
        origin=engine.origin(run_id),
        leaf_waits=[(run.run_id, run.waiting) for run in waits if run.waiting],
        node_labels=labels or {},
        usage=total_usage(records),
        outcome=outcome,
        causes=tree.failures()[1:],
        limits=limits_of_tree(tree, lambda run: engine.head(run).all_bytes),
        last_record=last[0].record if last else None,
    )
    add_calls(engine, document)
    return document


def outcome_in(engine: Store, tree: RunTree) -> Outcome:
    """Give what became of the run that a tree is seen from, as far as its store can tell."""
    if not tree.state().status.is_terminal and engine.set_aside(tree.run_id) is not None:
        return Outcome.QUARANTINED
    return tree.outcome(lambda run_id: engine.owner(run_id) is not None)


def header_row(
    header: RunHeader, labels: Mapping[str, str], outcome: Outcome | None = None
) -> dict[str, Any]:
    """Give one run of the `art-runs/1` document."""
    outcome = outcome or header.outcome
    asks = outcome.asks and not is_hold(header.run_id, header.wait_key)
    return {
        "run_id": header.run_id,
        "workflow_id": header.workflow_id,
        "status": header.status.value,
        "outcome": outcome.value,
        "waiting_on": header.wait_reason.value if header.wait_reason and asks else None,
        "wait_key": header.wait_key,
        "until": header.wait_until,
        "created_at": header.created_at,
        "updated_at": header.updated_at,
        "parent_run_id": header.parent_run_id,
        "session_id": header.session_id,
        "labels": dict(labels),
    }


def row_of(engine: Store, run_id: str) -> JsonObject:
    """Give the `art-runs/1` entry of a run."""
    tree = RunTree(engine, run_id)
    header = RunHeader.of(tree.state())
    row = header_row(header, engine.origin(run_id).labels, outcome_in(engine, tree))
    return {**row, **about(tree)}


def about(tree: RunTree) -> JsonObject:
    """Give the open question of a run, and why it failed."""
    leading, failed = tree.leading(), failure_of(tree.failures()[-1])
    wait = leading.waiting
    asks = wait is not None and wait.reason is WaitReason.USER
    return {
        "question": wait.prompt
        if wait is not None and asks and not is_hold(leading.run_id, wait.wait_key)
        else None,
        "error": failed.summary if failed is not None else None,
    }
