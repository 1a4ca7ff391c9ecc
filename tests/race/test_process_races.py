"""Two processes want the same thing at the same moment: one gets it, and it happens once."""

from __future__ import annotations

import os
import signal

import pytest
from ledger_files import verify_file
from races import WORKFLOWS, Place, Race, hold

from abstractruntime._runtime.driver import Driver
from abstractruntime.core._kernel import waits
from abstractruntime.core.models import RunStatus, WaitReason, WaitState
from abstractruntime.core.ports import RunQuery
from abstractruntime.core.run_tree import RunTree
from abstractruntime.storage._files.fs import RealFileSystem
from abstractruntime.storage._files.locks import DescriptionLocks, FlockLocks, HeldLock, _is_held
from abstractruntime.storage._store.index import RunIndex

ROUNDS = 50
LOST = {"Busy", "WaitMismatch"}
WAIT = WaitState(WaitReason.USER, resume_to_node="a")

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


# -- what processes do --------------------------------------------------------------


def tick(place: Place, run_id: str) -> str:
    workflow = place.workflow(run_id)
    return place.runtime.tick(workflow=workflow, run_id=run_id).status.value


def drive(place: Place, run_id: str) -> str:
    return Driver(place.runtime).drive(run_id).status.value


def answer(place: Place, run_id: str) -> str:
    place.runtime.answer(run_id, {"by": place.who}, wait_key=f"user:{run_id}:q")
    return f"answered by {place.who}"


def cancel(place: Place, run_id: str) -> str:
    return place.runtime.cancel_run(run_id).status.value


def pause(place: Place, run_id: str) -> str:
    return place.runtime.pause_run(run_id).status.value


def begin(place: Place, run_id: str) -> str:
    place.runtime.start(workflow=WORKFLOWS["call"], run_id=f"{run_id}-new", actor_id=str(place.who))
    return f"started by {place.who}"


def look(place: Place, run_id: str) -> str:
    """Read the run until it has ended; what is seen never goes back."""
    seen = -1
    for _ in range(30):
        place.store.peek(run_id)
        records = place.store.head(run_id).records
        if records < seen:
            return f"went back from {seen} to {records}"
        seen = records
    return "looked"


def verify(place: Place, run_id: str) -> str:
    for _ in range(12):
        verdict = verify_file(place.store._layout.ledger(run_id), run_id=run_id)
        if not verdict.ok:
            return f"false alarm: {verdict.to_dict()}"
    return "verified"


def emit(place: Place, run_id: str) -> str:
    told = place.runtime.emit_event(
        name="go", scope="run", run_id=run_id, event_id="one", payload={"by": place.who}
    )
    return f"delivered {told['delivered']}"


def make_and_list(place: Place, run_id: str) -> str:
    own = f"{run_id}-{place.who}"
    place.runtime.start(workflow=WORKFLOWS["call"], run_id=own)
    tick(place, own)
    found = {run.run_id: run.status for run in place.store.find(RunQuery(limit=0))}
    return "listed" if found.get(own) is RunStatus.COMPLETED else f"lists {found.get(own)}"


def note(place: Place, run_id: str) -> str:
    own = f"{run_id}-{place.who}"
    place.runtime.start(workflow=WORKFLOWS["notes"], run_id=own, session_id=run_id)
    return tick(place, own)


def drive_child(place: Place, run_id: str) -> str:
    children = place.store.find(RunQuery(parent_run_id=run_id))
    return tick(place, children[0].run_id) if children else "no child yet"


# -- what must be so afterwards -------------------------------------------------------


def started(name: str):
    def prepare(place: Place, run_id: str) -> None:
        place.runtime.start(workflow=WORKFLOWS[name], run_id=run_id)

    return prepare


def parked(name: str):
    def prepare(place: Place, run_id: str) -> None:
        started(name)(place, run_id)
        tick(place, run_id)

    return prepare


def nothing(place: Place, run_id: str) -> None:
    pass


def common(place: Place, run_id: str) -> str | None:
    """Whatever the race was about: the ledger is one chain, and no call was made twice."""
    verdict = verify_file(place.store._layout.ledger(run_id), run_id=run_id)
    if not verdict.ok:
        return f"ledger: {verdict.to_dict()}"
    counts = place.counts()
    twice = [name for name in counts if name.startswith(run_id) and counts[name] > 1]
    return f"executed twice: {twice}" if twice else None


def finishes(place: Place, run_id: str) -> str | None:
    """Get the run to its end, which must then have made each of its calls once."""
    place.runtime.apply_commands(run_id)
    if place.store.peek(run_id).status is RunStatus.WAITING:
        place.runtime.resume_run(run_id)
    state = Driver(place.runtime).drive(run_id)
    if not state.status.is_terminal:
        return f"does not end: {state.status}"
    return common(place, run_id)


def one_drives(place: Place, run_id: str, outcomes: list[str]) -> str | None:
    if "completed" not in outcomes or not set(outcomes) <= {"completed", *LOST}:
        return "nobody, or something else, won"
    return common(place, run_id)


def one_answers(place: Place, run_id: str, outcomes: list[str]) -> str | None:
    won = [i for i, outcome in enumerate(outcomes) if outcome == f"answered by {i}"]
    answers = resumes(place, run_id)
    if len(won) != 1 or set(outcomes) - LOST != {f"answered by {won[0]}"}:
        return "not exactly one answer was taken"
    if answers != [{"by": won[0]}]:
        return f"the ledger holds the answers {answers}"
    return finishes(place, run_id)


def resumes(place: Place, run_id: str) -> list:
    effects = [stored.record["effect"] or {} for stored in place.store.records(run_id)]
    return [e["payload"]["payload"] for e in effects if e.get("type") == "resume"]


def cancelled(place: Place, run_id: str, outcomes: list[str]) -> str | None:
    place.runtime.apply_commands(run_id)
    status = place.store.peek(run_id).status
    if status not in (RunStatus.CANCELLED, RunStatus.COMPLETED) or outcomes[1] in LOST:
        return f"ended as {status}"
    if (outcomes[0].startswith("answered") or outcomes[0] == "completed") < bool(
        resumes(place, run_id)
    ):
        return "an answer was refused and taken"
    return common(place, run_id)


def paused_or_done(place: Place, run_id: str, outcomes: list[str]) -> str | None:
    if not set(outcomes) <= {"completed", "waiting", "running", *LOST}:
        return "something else happened"
    problem = finishes(place, run_id)
    missing = sum(name.startswith(run_id) for name in place.counts()) != 3
    return problem or ("a call is missing" if missing else None)


def one_starts(place: Place, run_id: str, outcomes: list[str]) -> str | None:
    won = [outcome for outcome in outcomes if outcome.startswith("started")]
    if len(won) != 1 or not set(outcomes) <= {*won, "Busy", "UsageError"}:
        return "not exactly one start"
    state = place.store.peek(f"{run_id}-new")
    if f"started by {state.actor_id}" != won[0]:
        return f"the run belongs to {state.actor_id}"
    return finishes(place, f"{run_id}-new")


def undisturbed(place: Place, run_id: str, outcomes: list[str]) -> str | None:
    if outcomes[0] != "completed" or outcomes[1] not in ("looked", "verified"):
        return "the reader or the writer was disturbed"
    return common(place, run_id)


def all_listed(place: Place, run_id: str, outcomes: list[str]) -> str | None:
    found = {run.run_id: run.status for run in place.store.find(RunQuery(limit=0))}
    mine = [found.get(f"{run_id}-{who}") for who in range(len(outcomes))]
    good = set(outcomes) == {"listed"} and set(mine) == {RunStatus.COMPLETED}
    return None if good else f"the index says {mine}"


def both_noted(place: Place, run_id: str, outcomes: list[str]) -> str | None:
    if set(outcomes) != {"completed"}:
        return "a note failed"
    owners = [run for run in place.store.find(RunQuery(limit=0)) if run_id in run.run_id]
    spans = [
        len((place.store.peek(run.run_id).vars.get("_runtime") or {}).get("memory_spans") or ())
        for run in owners
    ]
    return None if sum(spans) == 2 else f"{sum(spans)} of 2 notes are kept"


def open_often(place: Place, run_id: str) -> str:
    for _ in range(20):
        place.store.open(run_id).close()
    return f"opened by {os.getpid()}"


def ask_often(place: Place, run_id: str) -> str:
    owners = [place.store.owner(run_id) for _ in range(200)]
    return " ".join({str(owner.pid) for owner in owners if owner and owner.pid})


def owner_told(place: Place, run_id: str, outcomes: list[str]) -> str | None:
    opened, *seen = outcomes
    if not opened.startswith("opened by "):
        return "an open failed while others asked"
    wrong = set(" ".join(seen).split()) - {opened.split()[-1]}
    return f"not the owner: {wrong}" if wrong else None


def tree_done(place: Place, run_id: str, outcomes: list[str]) -> str | None:
    if Driver(place.runtime).drive(run_id).status is not RunStatus.COMPLETED:
        return "the tree does not end"
    if len(RunTree(place.store, run_id).members()) != 2:
        return "not exactly one child"
    return common(place, run_id)


def delivered_once(place: Place, run_id: str, outcomes: list[str]) -> str | None:
    place.runtime.apply_commands(run_id)
    taken = resumes(place, run_id)
    return None if len(taken) == 1 else f"{len(taken)} deliveries of one event"


RACES = {
    "two drivers of one run": Race(started("calls"), (tick, tick), one_drives),
    "three drivers of one run": Race(started("calls"), (tick, tick, drive), one_drives),
    "two answers to one question": Race(parked("asks"), (answer, answer), one_answers),
    "answer and cancel": Race(parked("asks"), (answer, cancel), cancelled),
    "tick and cancel": Race(started("calls"), (tick, cancel), cancelled),
    "tick and pause": Race(started("calls"), (tick, pause), paused_or_done),
    "two starts of one id": Race(nothing, (begin, begin), one_starts),
    "tick and inspect": Race(started("calls"), (tick, look), undisturbed),
    "append and verify": Race(started("calls"), (tick, verify), undisturbed),
    "two writers of the index": Race(nothing, (make_and_list, make_and_list), all_listed),
    "two notes in one session": Race(nothing, (note, note), both_noted),
    "two emitters of one event": Race(parked("listens"), (emit, emit), delivered_once),
    "open and ask who owns": Race(started("calls"), (open_often, ask_often, ask_often), owner_told),
    "parent and child": Race(started("parent"), (drive, drive_child), tree_done),
}  # fmt: skip


@pytest.mark.parametrize("name", RACES)
def test_exactly_one_wins(name, tmp_path):
    assert hold(RACES[name], tmp_path, ROUNDS) == []


@pytest.mark.parametrize("name", ["two drivers of one run", "open and ask who owns"])
def test_exactly_one_wins_with_the_portable_locks(name, tmp_path, monkeypatch):
    monkeypatch.setattr("abstractruntime.storage._files.fs.best_locks", FlockLocks)
    assert hold(RACES[name], tmp_path, ROUNDS) == []


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", RACES)
def test_exactly_one_wins_many_times(name, tmp_path):
    assert hold(RACES[name], tmp_path, 2_000) == []


def test_a_child_of_the_holder_does_not_keep_the_lock(tmp_path):
    place, other = Place(tmp_path), Place(tmp_path)
    place.runtime.start(workflow=WORKFLOWS["call"], run_id="r")
    for _ in range(ROUNDS):
        log = place.store.open("r")
        child = os.fork()
        if not child:  # pragma: no cover - runs in the child
            signal.pause()
        try:
            log.close()
            other.store.open("r").close()
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


# -- mutants ------------------------------------------------------------------------


def ignore_leases(monkeypatch):
    monkeypatch.setattr(
        RealFileSystem, "lock", lambda *args: HeldLock(FlockLocks(), os.open(os.devnull, 0))
    )


def ask_by_taking(monkeypatch):
    def lock_note(self, path):
        lock = self.lock(path, b"{}")
        if lock is None:
            return b"{}"
        lock.close()
        return None

    monkeypatch.setattr(RealFileSystem, "lock_note", lock_note)


def believe_old_notes(monkeypatch):
    def note(self, descriptor):
        return os.pread(descriptor, 1000, 0) if _is_held(descriptor, 0) else None

    monkeypatch.setattr(DescriptionLocks, "note", note)


def ignore_wait_keys(monkeypatch):
    def require(run, *key):
        # The table of transitions refuses a second answer, too; the mutant gets by both.
        run.status, run.waiting = RunStatus.WAITING, run.waiting or WAIT
        return run.waiting

    monkeypatch.setattr(waits, "require_wait", require)


def forget_to_index(monkeypatch):
    monkeypatch.setattr(RunIndex, "find", lambda *args, **options: [])


MUTANTS = {
    ignore_leases: "two drivers of one run",
    ask_by_taking: "open and ask who owns",
    believe_old_notes: "open and ask who owns",
    ignore_wait_keys: "two answers to one question",
    forget_to_index: "two writers of the index",
}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.__name__)
def test_a_mutant_is_caught(mutant, tmp_path, monkeypatch):
    mutant(monkeypatch)
    race = RACES[MUTANTS[mutant]]

    # On a busy machine the processes may take turns by chance, so there is more than one try.
    tries = (tmp_path / str(number) for number in range(30))
    assert any(hold(race, _made(place), ROUNDS) for place in tries)


def _made(place):
    place.mkdir()
    return place
