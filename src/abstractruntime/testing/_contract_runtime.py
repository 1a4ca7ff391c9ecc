"""The contract of a store under the runtime: what runs do, whatever keeps them.

The names in brackets are those of the constraints that hosts of 0.4.x rely on.
"""

# ruff: noqa: S101 - a contract is made of asserts

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from abstractruntime._runtime.runtime import Runtime
from abstractruntime.core.models import (
    Effect,
    EffectType,
    JsonObject,
    RunState,
    RunStatus,
    StepPlan,
    WaitReason,
)
from abstractruntime.core.policy import DefaultEffectPolicy
from abstractruntime.core.spec import RunContext, WorkflowSpec
from abstractruntime.storage.base import RunStore
from abstractruntime.testing._contract_stores import StoresUnderTest
from abstractruntime.testing._contract_tools import (
    LLM,
    CountingHandler,
    asks,
    effects_of,
    ends,
    expect,
    flow,
    moment,
    refuses,
)
from abstractruntime.testing.clocks import FakeClock

_STATUS_KEY = "system:terminal_status:"


class RuntimeContract:
    """What runs do over any store; `make_host` gives something that makes runtimes over one."""

    @abstractmethod
    def make_host(self) -> Host:
        """Give a host over an empty store."""

    def test_a_linear_flow(self) -> None:
        rt = self.make_host().runtime()
        linear = flow("linear", a=asks(LLM, {"p": 1}, then="b"), b=asks(LLM, {"p": 2}, key="b.c", then="z"), z=ends)  # fmt: skip

        run = _go(rt, linear)

        expect((run.status, run.current_node), (RunStatus.COMPLETED, "z"), "the end")
        expect(run.output, {"out": {"n": 1}, "b": {"c": {"n": 2}}}, "output")
        expect(rt.get_state(run.run_id).output, run.output, "stored output")
        assert run.status == "completed", "C12"
        expected = [
            ("a", "llm_call", "started"),
            ("a", "llm_call", "completed"),
            ("b", "llm_call", "started"),
            ("b", "llm_call", "completed"),
            ("z", "emit_event", "completed"),
        ]
        expect(effects_of(rt.get_ledger(run.run_id)), expected, "effects")

    def test_a_loop_executes_equal_payloads_each_time(self) -> None:
        handler = CountingHandler()

        def loop(run: RunState, ctx: RunContext) -> StepPlan:
            run.vars["i"] = run.vars.get("i", 0) + 1
            if run.vars["i"] > 4:
                return ends(run, ctx)
            return StepPlan("loop", Effect(LLM, {"p": "same"}, "out"), "loop")

        run = _go(self.make_host().runtime(handler), flow("loop", loop=loop))

        expect((run.status, handler.calls), (RunStatus.COMPLETED, 4), "status and calls")
        expect(run.output, {"i": 5, "out": {"n": 4}}, "output")

    def test_a_question_parks_the_run_until_it_is_answered(self) -> None:
        host = self.make_host()
        rt = host.runtime()
        run = _go(rt, _ASKING)
        assert run.waiting is not None
        expect((run.status, run.waiting.reason), ("waiting", WaitReason.USER), "the wait")
        last = rt.get_ledger(run.run_id)[-1]
        expect(last["status"], "waiting", "the last record (C1)")
        expect(last["result"]["wait"]["wait_key"], run.waiting.wait_key, "its wait (C1)")
        with refuses(ValueError):
            rt.resume(workflow=_ASKING, run_id=run.run_id, wait_key="another", payload={})

        answered = host.runtime().resume(
            workflow=_ASKING, run_id=run.run_id, wait_key=run.waiting.wait_key, payload={"x": 1}
        )

        expect((answered.status, answered.output), ("completed", {"out": {"x": 1}}), "the end")
        with refuses(ValueError):
            rt.resume(workflow=_ASKING, run_id=run.run_id, wait_key=None, payload={})

    def test_a_terminal_answer_completes_the_run(self) -> None:
        rt = self.make_host().runtime()
        asking = flow("asking", a=asks(EffectType.ASK_USER, {"prompt": "?"}))
        run = _go(rt, asking)
        before = len(rt.get_ledger(run.run_id))

        run = rt.resume(workflow=asking, run_id=run.run_id, wait_key=None, payload={"x": 1})

        added = rt.get_ledger(run.run_id)[before:]
        expect(run.status, RunStatus.COMPLETED, "status")
        assert len(added) >= 2, "a terminal answer adds at least two records (C2)"
        _closes(added, RunStatus.COMPLETED)
        completed = [r["result"] for r in added if (r["result"] or {}).get("completed")]
        expect([result["via"] for result in completed], ["resume"], "how it completed (C2)")

    def test_start_and_outcome_share_their_step(self) -> None:
        rt = self.make_host().runtime()

        run = _go(rt, flow("w", a=asks(LLM, {}, then="z"), z=ends))

        steps = [r for r in rt.get_ledger(run.run_id) if r["node_id"] == "a" and r["effect"]]
        expect([r["status"] for r in steps], ["started", "completed"], "statuses (C3)")
        expect(steps[0]["step_id"], steps[1]["step_id"], "step ids (C3)")
        expect(steps[0]["started_at"], steps[1]["started_at"], "started_at (C3)")

    def test_completion_closes_the_ledger(self) -> None:
        rt = self.make_host().runtime()

        run = _go(rt, flow("w", z=ends))

        ledger = rt.get_ledger(run.run_id)
        _closes(ledger, RunStatus.COMPLETED)
        outputs = [r["result"]["output"] for r in ledger if (r["result"] or {}).get("completed")]
        expect(outputs, [{}], "completion records (C2)")

    def test_every_effect_record_has_a_key_of_32_characters(self) -> None:
        rt = self.make_host().runtime()

        run = _go(rt, flow("w", a=asks(LLM, {}, then="z"), z=ends))

        keys = [r["idempotency_key"] for r in rt.get_ledger(run.run_id) if r["effect"]]
        expect([len(key) for key in keys], [32, 32, 32], "lengths (C18)")

    def test_a_failing_effect_is_tried_again_within_its_budget(self) -> None:
        for failures, status, calls in ((2, "completed", 3), (3, "failed", 3)):
            handler = CountingHandler(failures)
            rt = self.make_host().runtime(handler)

            run = _go(rt, flow("w", a=asks(LLM, {}, then="z"), z=ends))

            expect((run.status, handler.calls), (status, calls), f"{failures} failures")
            ledger = rt.get_ledger(run.run_id)
            attempts = [r["attempt"] for r in ledger if r["status"] == "started"]
            expect(attempts, [1, 2, 3], "attempts")
            _closes(ledger, RunStatus(status))

    def test_a_failing_node_fails_the_run_and_takes_its_changes_back(self) -> None:
        def breaks(run: RunState, ctx: RunContext) -> StepPlan:  # noqa: ARG001 - the handler's signature
            run.vars["half"] = True
            raise RuntimeError("broken")

        rt = self.make_host().runtime()
        run = _go(rt, flow("w", a=breaks))

        stored = rt.get_state(run.run_id)
        expect((stored.status, stored.current_node), ("failed", "a"), "the end")
        assert "broken" in (stored.error or ""), stored.error
        assert "half" not in stored.vars

    def test_a_cancelled_run_stays_cancelled(self) -> None:
        handler = CountingHandler()
        rt = self.make_host().runtime(handler)
        linear = flow("w", a=asks(LLM, {}, then="z"), z=ends)
        fresh = rt.start(workflow=linear)
        parked = _go(rt, _ASKING).run_id

        for workflow, run_id in ((linear, fresh), (_ASKING, parked)):
            run = rt.cancel_run(run_id, reason="enough")
            expect((run.status, run.waiting), (RunStatus.CANCELLED, None), "at once")
            run = rt.tick(workflow=workflow, run_id=run_id)
            expect(run.status, RunStatus.CANCELLED, "after a tick")
            with refuses(ValueError):
                rt.resume(workflow=workflow, run_id=run_id, wait_key=None, payload={})
            _closes(rt.get_ledger(run_id), RunStatus.CANCELLED)
        expect(handler.calls, 0, "calls")

    def test_a_pause_holds_a_timer(self) -> None:
        host = self.make_host()
        rt = host.runtime()
        timer = flow("w", a=asks(EffectType.WAIT_UNTIL, {"until": moment(5)}, then="z"), z=ends)
        run_id = _go(rt, timer).run_id
        rt.pause_run(run_id, reason="hold on")
        host.clock.advance(10)

        paused = host.runtime().tick(workflow=timer, run_id=run_id)
        rt.resume_run(run_id)
        ended = rt.tick(workflow=timer, run_id=run_id)

        expect((paused.status, ended.status), ("waiting", "completed"), "paused, then not (C17)")

    def test_another_process_goes_on_where_this_one_stopped(self) -> None:
        host, handler = self.make_host(), CountingHandler()
        steps = {name: asks(LLM, {"p": name}, key=name, then=after) for name, after in ("ab", "bc")}
        workflow = flow("w", **steps, c=ends)
        run_id = host.runtime(handler).start(workflow=workflow, vars={"x": "ü"})

        for _ in range(3):
            run = host.runtime(handler).tick(workflow=workflow, run_id=run_id, max_steps=1)

        expect((run.status, handler.calls), ("completed", 2), "status and calls")
        expect(run.output, {"x": "ü", "a": {"n": 1}, "b": {"n": 2}}, "output")

    def test_a_run_that_is_not_there(self) -> None:
        rt = self.make_host().runtime()
        with refuses(KeyError):
            rt.get_state("nobody")
        expect(rt.get_ledger("nobody"), [], "records")


class ClassicRuntimeContract(StoresUnderTest):
    """What hosts of 0.4.x do to runs through the run store itself."""

    @abstractmethod
    def make_host(self) -> Host:
        """Give a host over the pair."""

    def test_a_host_can_rewind_a_finished_run(self) -> None:
        host, handler = self.make_host(), CountingHandler()
        rt = host.runtime(handler)
        workflow = flow("w", a=asks(LLM, {"p": 1}, then="b"), b=asks(LLM, {"p": 1}, then="z"), z=ends)  # fmt: skip
        run_id = _go(rt, workflow).run_id
        stored = _saved(rt, run_id)
        stored.status, stored.current_node, stored.output = RunStatus.RUNNING, "a", None
        rt.run_store.save(stored)

        run = host.runtime(handler).tick(workflow=workflow, run_id=run_id)

        expect((run.status, handler.calls), ("completed", 2), "status and calls (C5)")
        expect(run.output, {"out": {"n": 2}}, "output (C5)")

    def test_tools_are_not_called_again_because_their_call_ids_changed(self) -> None:
        host, asked = self.make_host(), [0]

        def calls(run: RunState, ctx: RunContext) -> StepPlan:  # noqa: ARG001 - the handler's signature
            asked[0] += 1
            call = {"name": "look", "arguments": {"x": 1}, "call_id": f"call-{asked[0]}"}
            return StepPlan("a", Effect(EffectType.TOOL_CALLS, {"tool_calls": [call]}, "out"), "z")

        workflow, handler = flow("w", a=calls, z=ends), CountingHandler()
        rt = host.runtime(handler)
        run_id = _go(rt, workflow).run_id
        stored = _saved(rt, run_id)
        stored.status, stored.current_node, stored.output = RunStatus.RUNNING, "a", None
        rt.run_store.save(stored)

        run = host.runtime(handler).tick(workflow=workflow, run_id=run_id)

        found = (run.status, asked[0], handler.calls)
        expect(found, ("completed", 2, 1), "status, plans and calls (C5)")

    def test_a_host_can_move_a_deadline(self) -> None:
        rt = self.make_host().runtime()
        timer = flow("w", a=asks(EffectType.WAIT_UNTIL, {"until": moment(50)}, then="z"), z=ends)
        run = _go(rt, timer)
        assert run.waiting is not None
        run.waiting.until = moment(0)
        rt.run_store.save(run)

        expect(rt.tick(workflow=timer, run_id=run.run_id).status, "completed", "status (C11)")

    def test_a_host_that_cancels_in_the_store_is_obeyed(self) -> None:
        host = self.make_host()
        rt = host.runtime()

        def cancelled_meanwhile(run: RunState, effect: Effect) -> Any:
            stored = _saved(rt, run.run_id)
            stored.status = RunStatus.CANCELLED
            rt.run_store.save(stored)
            return CountingHandler()(run, effect)

        workflow = flow("w", a=asks(LLM, {}, then="z"), z=ends)
        run = _go(host.runtime(cancelled_meanwhile), workflow)

        expect(run.status, RunStatus.CANCELLED, "status")
        expect(_saved(rt, run.run_id).status, RunStatus.CANCELLED, "stored status")

    def test_effect_records_are_all_a_classic_ledger_has_besides_the_completion(self) -> None:
        rt = self.make_host().runtime()

        run = _go(rt, flow("w", a=asks(LLM, {}, then="z"), z=ends))

        shape = [(r["effect"] is None, r["status"]) for r in rt.ledger_store.list(run.run_id)]
        expected = [(False, "started"), (False, "completed"), (True, "completed"), (False, "completed")]  # fmt: skip
        expect(shape, expected, "records")


class Host:
    """Makes runtimes over one store; each stands for a process of its own."""

    def __init__(self, open_store: Any) -> None:
        """Take a function that gives the options naming the store, freshly opened."""
        self.clock = FakeClock()
        self._open_store = open_store

    def runtime(self, handler: Any = None) -> Runtime:
        options = {
            "effect_handlers": dict.fromkeys(
                (LLM, EffectType.TOOL_CALLS), handler or CountingHandler()
            ),
            "clock": self.clock,
            "effect_policy": DefaultEffectPolicy(effect_max_attempts={"llm_call": 3}),
        }
        runtime: Runtime = self._open_store(**options)
        return runtime


_ASKING = flow("asking", a=asks(EffectType.ASK_USER, {"prompt": "?"}, then="z"), z=ends)


def _go(rt: Runtime, workflow: WorkflowSpec) -> RunState:
    run_id = rt.start(workflow=workflow)
    return rt.tick(workflow=workflow, run_id=run_id)


def _closes(ledger: list[JsonObject], status: RunStatus) -> None:
    expect(ledger[-1]["idempotency_key"], f"{_STATUS_KEY}{status.value}", "the last record")
    expect(ledger[-1]["effect"]["type"], "emit_event", "its effect")


def _saved(rt: Runtime, run_id: str) -> RunState:
    store: RunStore = rt.run_store
    run = store.load(run_id)
    assert run is not None, f"run {run_id!r} is gone"
    return run
