"""The contract of an engine: the rules of `core.ports.Engine` and `core.ports.RunLog`."""

# ruff: noqa: S101 - a contract is made of asserts

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Iterator
from typing import ClassVar

from abstractruntime._runtime.runtime import Runtime
from abstractruntime.core.commands import Command, Pause
from abstractruntime.core.models import (
    Effect,
    EffectType,
    JsonObject,
    RunState,
    RunStatus,
    StepPlan,
    StepRecord,
    WaitReason,
)
from abstractruntime.core.ports import Barrier, EffectOutcome, Engine, RunLog, RunQuery
from abstractruntime.core.records import RecordFactory
from abstractruntime.core.spec import RunContext
from abstractruntime.errors import Busy, InvalidValue, NotFound, UsageError
from abstractruntime.testing._contract_runtime import Host, RuntimeContract
from abstractruntime.testing._contract_tools import (
    ends,
    expect,
    flow,
    ids_of,
    moment,
    parked,
    refuses,
    sample_run,
)
from abstractruntime.testing.clocks import FakeClock, SequentialIds

_EFFECT: JsonObject = {"type": "llm_call", "payload": {"p": "ü"}, "result_key": "out"}
_KEY = "k" * 32


class EngineContract(RuntimeContract):
    """The whole contract of an engine, including what runs do over it."""

    keeps_internal_records: ClassVar[bool] = True
    """Whether records without effect, such as the first of a run, are listed."""

    excludes_other_processes: ClassVar[bool] = True
    """Whether `reopen` gives an engine that cannot own what this one owns."""

    keeps_attempts: ClassVar[bool] = True
    """Whether `RunLog.pending` outlives who started the attempt; else its node is visited again."""

    @abstractmethod
    def make_engine(self) -> Engine:
        """Give an engine over an empty store."""

    def reopen(self, engine: Engine) -> Engine:
        """Give another engine over the same data, as another process would open it."""
        return engine

    def make_host(self) -> Host:
        engine = self.make_engine()
        return Host(lambda **options: Runtime.on_engine(self.reopen(engine), **options))

    def _records(self) -> RecordFactory:
        return RecordFactory(FakeClock(), SequentialIds())

    # -- creating, owning, reading ----------------------------------------------

    def test_a_created_run_is_there_and_owned(self) -> None:
        engine = self.make_engine()
        run = sample_run("r", vars={"x": [1]}, session_id="s")

        with self._created(engine, run) as log:
            expect((log.run.run_id, log.run.vars), ("r", {"x": [1]}), "the owned run")
            with refuses(Busy):
                engine.open("r")

        for one in (engine, self.reopen(engine)):
            found = one.peek("r")
            expect((found.vars, found.session_id, found.status), ({"x": [1]}, "s", "running"))

    def test_a_run_is_created_once(self) -> None:
        engine = self.make_engine()
        self._create(engine, sample_run("r", vars={"x": 1}))

        for one in (engine, self.reopen(engine)):
            with refuses(UsageError):
                one.create(sample_run("r"), self._first(sample_run("r")))

        expect(engine.peek("r").vars, {"x": 1}, "vars")

    def test_a_run_that_is_not_there(self) -> None:
        engine = self.make_engine()
        for act in (engine.open, engine.peek, lambda run_id: engine.post(run_id, _command("c"))):
            with refuses(NotFound):
                act("nobody")

    def test_one_owner_at_a_time(self) -> None:
        engine = self.make_engine()
        self._create(engine, sample_run("r"))
        others = [engine, self.reopen(engine)] if self.excludes_other_processes else [engine]

        with _opened(engine, "r"):
            for other in others:
                with refuses(Busy):
                    other.open("r")
        for other in others:
            other.open("r").close()

    def test_a_peek_is_isolated(self) -> None:
        engine = self.make_engine()
        self._create(engine, sample_run("r", vars={"x": []}))

        engine.peek("r").vars["x"].append("peeked")
        with _opened(engine, "r") as log:
            log.run.vars["x"].append("not committed")
            expect(engine.peek("r").vars, {"x": []}, "vars")
        expect(engine.peek("r").vars, {"x": []}, "vars after closing")

    # -- committing ---------------------------------------------------------------

    def test_a_commit_stores_records_and_state(self) -> None:
        engine = self.make_engine()
        self._create(engine, sample_run("r"))
        with _opened(engine, "r") as log:
            record = self._effect(log)
            first = log.commit(record, barrier=Barrier.EXTERNAL)
            log.run.vars["out"] = {"n": 2**70}
            log.run.current_node, log.run.updated_at = "b", moment(5)
            second = log.commit(record.finish_success({"n": 2**70}, at=moment(5)))
            log.settle()

        assert first.seq < second.seq
        for one in (engine, self.reopen(engine)):
            run = one.peek("r")
            expect((run.vars, run.current_node), ({"out": {"n": 2**70}}, "b"), "state")
            expect(run.updated_at, moment(5), "updated_at")
            stored = list(one.records("r"))[-2:]
            statuses = [line.record["status"] for line in stored]
            expect(statuses, ["started", "completed"], "records")
            expect(stored[1].record["result"], {"n": 2**70}, "result")
            expect(stored[0].record["step_id"], stored[1].record["step_id"], "step ids")

    def test_records_are_numbered_from_0_and_read_from_any(self) -> None:
        engine = self.make_engine()
        self._create(engine, sample_run("r"))
        with _opened(engine, "r") as log:
            for _ in range(5):
                log.commit(self._effect(log).finish_success({}, at=moment(1)))

        lines = list(engine.records("r"))
        expect([line.seq for line in lines], list(range(len(lines))), "numbers")
        expect(len(lines), 6 if self.keeps_internal_records else 5, "records")
        for after in (-1, 0, 3, 99):
            expect(list(engine.records("r", after=after)), lines[after + 1 :], f"after {after}")
        for limit in (0, 1, 4, 99):
            expect(engine.recent("r", limit), lines[-limit:] if limit else [], f"last {limit}")

    def test_a_commit_that_is_not_json_writes_nothing(self) -> None:
        engine = self.make_engine()
        self._create(engine, sample_run("r", vars={"x": 1}))
        with _opened(engine, "r") as log:
            before = list(engine.records("r"))
            log.run.vars["x"] = object()
            with refuses(InvalidValue):
                log.commit(self._effect(log))
            log.rollback()
            expect(log.run.vars, {"x": 1}, "vars after rollback")
            log.run.vars["x"] = 2
            log.commit(self._effect(log))

        expect(engine.peek("r").vars, {"x": 2}, "vars")
        expect(len(list(engine.records("r"))), len(before) + 1, "records")

    def test_a_rollback_undoes_everything_since_the_last_commit(self) -> None:
        engine = self.make_engine()
        self._create(engine, sample_run("r", vars={"x": {"y": [1]}}))
        with _opened(engine, "r") as log:
            log.run.vars["x"]["y"].append(2)
            log.run.vars["new"] = True
            log.run.status, log.run.error = RunStatus.FAILED, "no"

            log.rollback()

            run = log.run
            expect((run.vars, run.status), ({"x": {"y": [1]}}, "running"), "the run")
            expect(run.error, None, "error")

    def test_a_state_that_has_ended_is_stored(self) -> None:
        engine = self.make_engine()
        self._create(engine, sample_run("r"))
        with _opened(engine, "r") as log:
            log.run.status, log.run.output = RunStatus.COMPLETED, {"x": 1}
            factory = self._records()
            done = factory.completion(log.run, "z", {"x": 1})
            log.commit(done, factory.terminal_status(log.run), barrier=Barrier.ACK)
            log.settle()

        run = self.reopen(engine).peek("r")
        expect((run.status, run.output), (RunStatus.COMPLETED, {"x": 1}), "the end")
        last = list(engine.records("r"))[-1].record
        expect(last["idempotency_key"], "system:terminal_status:completed", "the last record")

    # -- commands -----------------------------------------------------------------

    def test_commands_stay_until_a_commit_applies_them(self) -> None:
        engine = self.make_engine()
        self._create(engine, sample_run("r"))
        for command_id in ("1", "2", "1"):
            engine.post("r", _command(command_id, reason=command_id))

        with _opened(engine, "r") as log:
            for _ in range(2):
                taken = log.take_commands()
                expect([c.id for c in taken], ["1", "2"], "commands")
            expect(taken[0].request, Pause("1"), "request")
            log.commit(self._effect(log), commands=("1",))
            expect([c.id for c in log.take_commands()], ["2"], "commands left")
        with _opened(engine, "r") as log:
            expect([c.id for c in log.take_commands()], ["2"], "commands of the next owner")

    def test_commands_reach_an_owner_and_outlive_the_process(self) -> None:
        engine = self.make_engine()
        self._create(engine, sample_run("r"))
        poster = self.reopen(engine) if engine.keeps_commands else engine

        with _opened(engine, "r") as log:
            poster.post("r", _command("1"))
            expect([c.id for c in log.take_commands()], ["1"], "commands")

        if engine.keeps_commands:
            with _opened(self.reopen(engine), "r") as log:
                expect([c.id for c in log.take_commands()], ["1"], "commands")

    def test_a_run_that_has_ended_has_no_commands(self) -> None:
        engine = self.make_engine()
        self._create(engine, sample_run("r"))
        with _opened(engine, "r") as log:
            log.run.status = RunStatus.CANCELLED
            log.commit(self._records().terminal_status(log.run))
        engine.post("r", _command("late"))

        with _opened(engine, "r") as log:
            expect(log.take_commands(), [], "commands")
            log.settle()
        expect(engine.find(RunQuery(has_commands=True)), [], "runs with commands")

    # -- finding --------------------------------------------------------------------

    def test_find_filters(self) -> None:
        engine = self.make_engine()
        runs = [
            sample_run("root", at=1, session_id="s"),
            sample_run("child", at=2, session_id="s", parent_run_id="root", workflow_id="v"),
            parked("timer", until=moment(5), at=3),
            parked("event", WaitReason.EVENT, wait_key="evt:x", at=4),
            sample_run("ended", at=5, status=RunStatus.COMPLETED, parent_run_id="root"),
        ]
        for run in runs:
            self._create(engine, run)
        engine.post("event", _command("1"))
        cases: list[tuple[JsonObject, list[str]]] = [
            ({}, ["ended", "event", "timer", "child", "root"]),
            ({"limit": 2}, ["ended", "event"]),
            ({"status": RunStatus.RUNNING}, ["child", "root"]),
            ({"wait_reason": WaitReason.EVENT}, ["event"]),
            ({"workflow_id": "v"}, ["child"]),
            ({"session_id": "s"}, ["child", "root"]),
            ({"root_only": True}, ["event", "timer", "root"]),
            ({"live_only": True}, ["event", "timer", "child", "root"]),
            ({"due_at": moment(5)}, ["timer"]),
            ({"due_at": moment(4)}, []),
            ({"wait_keys": ("evt:x", "evt:y")}, ["event"]),
            ({"wait_key_prefix": "evt:"}, ["event"]),
            ({"has_commands": True}, ["event"]),
            ({"id_prefix": "ch"}, ["child"]),
            ({"session_id": "s", "workflow_id": "w", "limit": 1}, ["root"]),
        ]
        for one in (engine, self.reopen(engine)):
            for query, expected in cases:
                if "has_commands" in query and one is not engine and not engine.keeps_commands:
                    continue
                expect(ids_of(one.find(RunQuery(**query))), expected, str(query))
            children = ids_of(one.find(RunQuery(parent_run_id="root")))
            expect(sorted(children), ["child", "ended"], "children")

    def test_find_sees_what_a_commit_changed(self) -> None:
        engine = self.make_engine()
        self._create(engine, parked("r", until=moment(5)))
        expect(ids_of(engine.find(RunQuery(due_at=moment(9)))), ["r"], "due runs")
        with _opened(engine, "r") as log:
            log.run.status, log.run.waiting = RunStatus.RUNNING, None
            log.commit(self._effect(log))
            log.settle()

        for one in (engine, self.reopen(engine)):
            expect(one.find(RunQuery(due_at=moment(9))), [], "due runs")
            (header,) = one.find(RunQuery(status=RunStatus.RUNNING))
            expect((header.run_id, header.wait_reason), ("r", None), "the header")

    # -- parts ------------------------------------------------------------------------

    def test_an_attempt_without_outcome_is_repeated_and_its_node_is_not_called_again(self) -> None:
        host, planned, calls = self.make_host(), list[str](), list[str]()

        def node(run: RunState, ctx: RunContext) -> StepPlan:  # noqa: ARG001 - the handler's signature
            planned.append(run.current_node)
            return StepPlan("a", Effect(EffectType.LLM_CALL, {}, "out"), "z")

        def dies_once(run: RunState, effect: Effect) -> EffectOutcome:  # noqa: ARG001 - as above
            calls.append(effect.type)
            if len(calls) == 1:
                raise KeyboardInterrupt
            return EffectOutcome.completed({"n": len(calls)})

        workflow = flow("w", a=node, z=ends)
        run_id = host.runtime().start(workflow=workflow)
        with refuses(KeyboardInterrupt):
            host.runtime(dies_once).tick(workflow=workflow, run_id=run_id)
        run = host.runtime(dies_once).tick(workflow=workflow, run_id=run_id)

        expect((run.status, run.output), ("completed", {"out": {"n": 2}}), "the end")
        times = 1 if self.keeps_attempts else 2
        expect((len(planned), len(calls)), (times, 2), "visits of the node, and attempts")

    def _first(self, run: RunState) -> StepRecord:
        return self._records().internal(run, "run_started", workflow_id=run.workflow_id)

    def _create(self, engine: Engine, run: RunState) -> None:
        with self._created(engine, run):
            pass

    @contextlib.contextmanager
    def _created(self, engine: Engine, run: RunState) -> Iterator[RunLog]:
        with contextlib.closing(engine.create(run, self._first(run))) as log:
            log.settle()
            yield log

    def _effect(self, log: RunLog) -> StepRecord:
        return self._records().started(log.run, "a", dict(_EFFECT), attempt=1, key=_KEY)


@contextlib.contextmanager
def _opened(engine: Engine, run_id: str) -> Iterator[RunLog]:
    with contextlib.closing(engine.open(run_id)) as log:
        yield log


def _command(command_id: str, reason: str | None = None) -> Command:
    return Command(command_id, Pause(reason), moment(1))
