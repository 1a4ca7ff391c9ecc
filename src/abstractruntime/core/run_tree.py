"""The runs that belong together: a root, what it started, and what they wait for."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING

from abstractruntime.core.limits import reached_limit
from abstractruntime.core.models import RunState, RunStatus, WaitReason
from abstractruntime.core.open_waits import Decision, OpenWait, choice_text
from abstractruntime.core.outcome import Outcome, child_failure, failure_of, outcome_of
from abstractruntime.core.ports import Engine, RunHeader, RunQuery
from abstractruntime.errors import AbstractRuntimeError, NotFound, UsageError, WaitMismatch

if TYPE_CHECKING:
    from abstractruntime._json import JsonObject

# The waits of a tree have a module of their own; who asks for both finds them here.
__all__ = ["Decision", "OpenWait", "RunTree", "at_limit", "choice_text", "root_of"]


class RunTree:
    """One look at a run, at those above it and at those below it.

    A run is read once, however much is asked of it. Who changes a run, or waits for somebody
    else to, takes another look with another tree. Which runs are below one a listing says, which
    is a cache; the one that a run waits for is found by the word of both alone.
    """

    def __init__(self, engine: Engine, run_id: str) -> None:
        self.run_id = run_id
        self._engine = engine
        self._states: dict[str, RunState] = {}
        self._children: dict[str, list[RunHeader]] = {}

    def state(self, run_id: str | None = None) -> RunState:
        """Give the run that the tree is seen from, or another one of it; nobody may change it.

        Raises:
            NotFound, IntegrityError
        """
        wanted = self.run_id if run_id is None else run_id
        if wanted not in self._states:
            self._states[wanted] = self._engine.peek(wanted)
        return self._states[wanted]

    def root(self) -> str:
        """Give the id of the run at the top.

        Raises:
            NotFound, IntegrityError
        """
        return root_of(self.state, self.run_id)

    def root_or_self(self) -> str:
        """Give the id of the run at the top, or that of the run when it cannot be found."""
        try:
            return self.root()
        except AbstractRuntimeError:
            # A damaged run stops nobody else; driving it says what is wrong with it.
            return self.run_id

    def from_root(self) -> RunTree:
        """Give the same look, as it is seen from the run at the top."""
        return self.seen_from(self.root())

    def seen_from(self, run_id: str) -> RunTree:
        """Give the same look, as it is seen from another run of it."""
        tree = RunTree(self._engine, run_id)
        tree._states, tree._children = self._states, self._children
        return tree

    def members(self, *, live_only: bool = False) -> list[RunHeader]:
        """Give the run and all its descendants, parents before children.

        With `live_only`, descendants that have ended, and what is below them, are left out.
        """
        found = [RunHeader.of(self.state())]
        known = {self.run_id}
        for parent in found:
            for child in self._children_of(parent):
                if child.run_id not in known and not (live_only and child.status.is_terminal):
                    known.add(child.run_id)
                    found.append(child)
        return found

    def _children_of(self, parent: RunHeader) -> list[RunHeader]:
        run_id = parent.run_id
        if run_id not in self._children:
            found = self._engine.find(RunQuery(parent_run_id=run_id, limit=0))
            children = {child.run_id: child for child in found}
            if awaited := self.awaited_by(parent):
                children[awaited.run_id] = awaited
            self._children[run_id] = sorted(children.values(), key=lambda run: run.created_at)
        return self._children[run_id]

    def awaited_by(self, parent: RunHeader) -> RunHeader | None:
        """Give the child that a run waits for, as it is, whatever a listing says of it."""
        if parent.wait_reason is not WaitReason.SUBWORKFLOW:
            return None
        try:
            child = RunHeader.of(self.state(str(parent.wait_key).partition(":")[2]))
        except AbstractRuntimeError:
            return None  # driving the run says what is wrong with it
        return child if child.parent_run_id == parent.run_id else None

    def awaited_leaf(self) -> RunHeader:
        """Give the run itself, or what it waits for, however many children that goes through."""
        run, seen = RunHeader.of(self.state()), {self.run_id}
        while (child := self.awaited_by(run)) is not None and child.run_id not in seen:
            seen.add(child.run_id)
            run = child
        return run

    def parent_waiting_for(self, child: RunHeader) -> RunHeader | None:
        """Give the parent of a run, if it waits for that run."""
        if child.parent_run_id is None:
            return None
        try:
            parent = RunHeader.of(self.state(child.parent_run_id))
        except AbstractRuntimeError:
            return None  # driving it says what is wrong with it
        is_awaited = parent.wait_key == f"subworkflow:{child.run_id}"
        return parent if is_awaited and parent.wait_reason is WaitReason.SUBWORKFLOW else None

    def is_member(self, run: RunHeader) -> bool:
        """Tell whether a run that a listing puts into the tree says so itself.

        Whoever acts on a member asks: a listing is only a cache.
        """
        return self.state(run.run_id).parent_run_id == run.parent_run_id

    def states(self) -> list[RunState]:
        """Give the run and all its descendants as they were read, parents before children."""
        return [self.state(run.run_id) for run in self.members() if self.is_member(run)]

    def open_waits(self) -> list[OpenWait]:
        """Give the leaf waits of the run and its descendants, oldest run first, listeners last.

        A run that rests at a limit waits for nothing that an answer could end.
        """
        waiting = (run for run in self.members() if run.status is RunStatus.WAITING)
        runs = (self.state(run.run_id) for run in waiting if self.is_member(run))
        waits = [
            OpenWait.of(run.run_id, run.waiting)
            for run in runs
            if run.waiting
            and run.waiting.reason is not WaitReason.SUBWORKFLOW
            and not reached_limit(run.vars)
        ]
        return sorted(waits, key=lambda wait: wait.listens)

    def leading(self) -> RunState:
        """Give the run itself, or what it waits for, however many children that goes through."""
        return self.state(self.awaited_leaf().run_id)

    def outcome(self, is_driven: Callable[[str], bool]) -> Outcome:
        """Give what became of the tree's run; one that waits for a child is as far as that is.

        Args:
            is_driven: Tells whether somebody drives a run now.
        """
        own = outcome_of(self.state())
        if own not in (Outcome.WAITING, Outcome.RUNNING):
            return own
        leading = self.leading()
        found = outcome_of(leading)
        if found is Outcome.RUNNING or leading.status.is_terminal:
            # A child that has ended is handed over by whoever drives its parent.
            ids = {self.run_id, leading.run_id}
            return Outcome.RUNNING if any(map(is_driven, ids)) else Outcome.INTERRUPTED
        return found

    def failures(self) -> list[RunState]:
        """Give the run, the child that made it fail, the child that made that fail, and so on."""
        chain = [self.state()]
        while (failure := failure_of(chain[-1])) is not None:
            children = self._children_of(RunHeader.of(chain[-1]))
            failed = (self.state(run.run_id) for run in reversed(children) if self.is_member(run))
            ended = (run for run in failed if failure_of(run) is not None)
            cause = next((run for run in ended if child_failure(run) in failure.message), None)
            if cause is None or cause in chain:
                break
            chain.append(cause)
        return chain

    def limited(self) -> list[RunState]:
        """Give the run and its descendants that rest at a limit, parents before children."""
        waiting = (run for run in self.members() if run.wait_reason is WaitReason.USER)
        runs = (self.state(run.run_id) for run in waiting if self.is_member(run))
        return [run for run in runs if reached_limit(run.vars)]

    def choose_wait(self, wait_key: str | None = None, *, force: bool = False) -> OpenWait:
        """Give the one open wait that an answer means.

        Raises:
            WaitMismatch: nothing waits here, or the key names no open wait.
            UsageError: several questions, or without one several waits, are open and no key
                was given.
        """
        parked = self.open_waits()
        # A timer is no question: only `force` cuts it short.
        waits = [w for w in parked if force or w.reason is not WaitReason.UNTIL]
        questions = [w for w in waits if w.reason is WaitReason.USER]
        # Listeners often stay open beside a question; without a key the question is meant.
        unnamed = questions or [w for w in waits if not w.listens] or waits
        matching = [w for w in waits if w.wait_key == wait_key] if wait_key else unnamed
        if len(matching) == 1:
            return matching[0]
        if not waits:
            raise self._nothing_waits(parked)
        keys = [wait.wait_key for wait in waits]
        if matching:
            raise UsageError(
                f"run {self.run_id!r} has {len(waits)} open waits",
                hint="name one with --wait-key: " + ", ".join(map(shlex.quote, map(str, keys))),
                run_id=self.run_id,
                open=keys,
            )
        raise WaitMismatch(
            f"wait_key mismatch: run {self.run_id!r} does not wait for {wait_key!r}",
            hint="open wait keys: " + ", ".join(map(shlex.quote, map(str, keys))),
            run_id=self.run_id,
            given=wait_key,
            open=keys,
        )

    def _nothing_waits(self, timers: list[OpenWait]) -> WaitMismatch:
        for limited in self.limited():
            return at_limit(limited)
        if timers:
            return WaitMismatch(
                f"run {self.run_id!r} waits until {timers[0].until}, not for an answer",
                hint="art tick goes on with it when it is due",
                run_id=self.run_id,
                until=timers[0].until,
            )
        outcome = outcome_of(self.state()).value
        return WaitMismatch(
            f"run {self.run_id!r} is {outcome}, not waiting for an answer{self._answered()}",
            hint=f"see what happened: art inspect {shlex.quote(self.run_id)}",
            run_id=self.run_id,
            outcome=outcome,
        )

    def _answered(self) -> str:
        """Say who gave the last answer, for whoever comes second."""
        records = (stored.record for stored in self._engine.records(self.run_id))
        answers = [record for record in records if _is_answer(record)]
        if not answers:
            return ""
        actor = (answers[-1].get("result") or {}).get("actor") or "somebody"
        return f"; {actor} answered at {answers[-1]['ended_at']}"


def _is_answer(record: JsonObject) -> bool:
    """Tell whether somebody answered a question; deadlines and children end waits as well."""
    effect = record.get("effect") or {}
    wait = effect.get("payload") or {}
    given = wait.get("payload")
    is_late = isinstance(given, dict) and given.get("timed_out") is True
    is_asked = wait.get("wait_reason") == WaitReason.USER.value
    return effect.get("type") == "resume" and is_asked and not is_late


def at_limit(run: RunState) -> WaitMismatch:
    """Give what there is to say to whoever answers a run that rests at a limit."""
    reached = reached_limit(run.vars) or {}
    name = reached.get("limit")
    return WaitMismatch(
        f"run {run.run_id!r} rests at its limit of {reached.get('max')} {name}",
        hint=f"raise it: art limits {shlex.quote(run.run_id)} {shlex.quote(str(name))}=NUMBER",
        run_id=run.run_id,
        **reached,
    )


def root_of(peek: Callable[[str], RunState], run_id: str) -> str:
    """Give the id of the run at the top, reading runs with `peek`."""
    run, seen = peek(run_id), {run_id}
    while run.parent_run_id is not None and run.parent_run_id not in seen:
        try:
            run = peek(run.parent_run_id)
        except NotFound:
            break  # Compat: a host may name a parent that its store does not hold.
        seen.add(run.run_id)
    return run.run_id
