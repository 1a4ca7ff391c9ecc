from __future__ import annotations

import copy
import json
from hashlib import sha256

import pytest
from jsonschema import Draft202012Validator
from ledger_builder import FakeEngine, a_run, child_ledger, release_ledger
from signed_ledger import tree_root

from abstractruntime._history.export import export_history
from abstractruntime._history.verify import verify_history_bundle
from abstractruntime._json import dump_line, dump_sorted, isolate
from abstractruntime.errors import NotFound, StoreIOError, UsageError
from abstractruntime.history_bundle import export_run_history_bundle, persist_workflow_snapshot
from abstractruntime.schemas.history import HISTORY_BUNDLE_SCHEMA
from abstractruntime.signing.keys import SigningKey
from abstractruntime.signing.note import TreeHead, sign_note
from abstractruntime.storage.artifacts import InMemoryArtifactStore

KEY = SigningKey.from_seed("host.example/store1", bytes(range(32)))
OTHER = SigningKey.from_seed("host.example/store1", bytes(32))
OUTPUT = {"released": True}


class Stores:
    """A run store and a ledger store over plain dictionaries."""

    def __init__(self, runs=(), ledgers=None):
        self.runs = {run.run_id: run for run in runs}
        self.ledgers = ledgers or {}

    def load(self, run_id):
        return self.runs.get(run_id)

    def save(self, run):
        self.runs[run.run_id] = run

    def list(self, run_id):
        return self.ledgers.get(run_id, [])

    def list_children(self, *, parent_run_id, status=None):
        return [run for run in self.runs.values() if run.parent_run_id == parent_run_id]

    def list_runs(self, *, limit=100, **_):
        return list(self.runs.values())[:limit]


def classic_stores(**fields):
    runs = [a_run(output=OUTPUT, **fields), a_run("child-1", parent_run_id="run-1")]
    ledgers = {
        "run-1": release_ledger(classic=True).records,
        "child-1": child_ledger().records,
    }
    return Stores(runs, ledgers)


def export_classic(stores, **options):
    bundle = export_run_history_bundle(
        run_id="run-1", run_store=stores, ledger_store=stores, **options
    )
    Draft202012Validator(HISTORY_BUNDLE_SCHEMA).validate(bundle)
    return bundle


HOST = {"signed_by": KEY.verifier.vkey}


def signed_note(lines, run_id, key=KEY):
    origin = f"{key.name}/runs/{run_id}"
    return sign_note(TreeHead(origin, len(lines), tree_root(lines)).render(), key)


@pytest.fixture(scope="module")
def exported():
    ledgers = {"run-1": release_ledger(**HOST).lines(), "child-1": child_ledger(**HOST).lines()}
    runs = [a_run(output=OUTPUT), a_run("child-1", parent_run_id="run-1", output={"ok": True})]
    return export_history(
        FakeEngine(runs, ledgers),
        "run-1",
        heads={run_id: [signed_note(lines, run_id)] for run_id, lines in ledgers.items()},
        vkeys=[KEY.verifier.vkey],
        generated_at="2026-01-02T00:00:00+00:00",
    )


@pytest.fixture
def bundle(exported):
    """What a reader of the written file sees."""
    return json.loads(json.dumps(exported, indent=2))


def test_schema_is_a_schema():
    Draft202012Validator.check_schema(HISTORY_BUNDLE_SCHEMA)


# --- classic stores ---------------------------------------------------------------


def test_classic_bundle_has_the_documented_keys():
    bundle = export_classic(classic_stores(vars={"topic": "x", "_temp": {}}))

    assert list(bundle) == [
        "version", "generated_at", "root_run_id", "run", "workflow_snapshot", "input_data",
        "ledgers", "timeline", "session",
    ]  # fmt: skip
    assert bundle["version"] == 1
    assert "output" not in bundle["run"]
    assert bundle["input_data"] == {"topic": "x"}
    assert (bundle["workflow_snapshot"], bundle["session"]) == (None, None)


def test_timeline_groups_runs_and_measures_steps():
    timeline = export_classic(classic_stores())["timeline"]

    assert [e["run_id"] for e in timeline] == ["run-1"] * 13 + ["child-1"] * 3
    assert timeline[1] == {
        "run_id": "run-1",
        "cursor": 2,
        "node_id": "n1",
        "status": "failed",
        "effect_type": "llm_call",
        "started_at": "2026-01-01T00:00:01.000000+00:00",
        "ended_at": "2026-01-01T00:00:02.000000+00:00",
        "duration_ms": 1000.0,
    }
    assert timeline[0]["ended_at"] == timeline[0]["started_at"]


@pytest.mark.parametrize(
    ("options", "cursors"),
    [
        ({}, (1, 13)),
        ({"ledger_max_items": 2}, (12, 13)),
        ({"ledger_mode": "full", "ledger_max_items": 2}, (1, 13)),
        ({"ledger_max_items": 0}, (1, 13)),
        ({"ledger_mode": "nonsense", "ledger_max_items": 3}, (11, 13)),
    ],
    ids=["default", "tail", "full", "no-limit", "unknown-mode"],
)
def test_ledger_modes(options, cursors):
    ledger = export_classic(classic_stores(), **options)["ledgers"]["run-1"]

    assert (ledger["cursor_start"], ledger["cursor_end"]) == cursors
    assert [i["cursor"] for i in ledger["items"]] == list(range(cursors[0], 14))
    assert ledger["total"] == 13


def test_empty_ledger_starts_at_one_and_ends_at_zero():
    ledger = export_classic(Stores([a_run()]))["ledgers"]["run-1"]

    assert (ledger["cursor_start"], ledger["cursor_end"], ledger["items"]) == (1, 0, [])


def test_subruns_can_be_left_out():
    assert list(export_classic(classic_stores(), include_subruns=False)["ledgers"]) == ["run-1"]


def test_child_that_names_itself_as_ancestor_ends_the_search():
    stores = Stores([a_run(parent_run_id="child-1"), a_run("child-1", parent_run_id="run-1")])

    assert list(export_classic(stores)["ledgers"]) == ["run-1", "child-1"]


def test_store_without_queries_exports_the_run_alone():
    class Plain:
        def load(self, run_id):
            return a_run()

    bundle = export_run_history_bundle(
        run_id="run-1", run_store=Plain(), ledger_store=Stores(), include_session=True
    )

    assert list(bundle["ledgers"]) == ["run-1"]


@pytest.mark.parametrize(
    ("run_id", "error", "classic_error"),
    [("  ", UsageError, ValueError), ("nobody", NotFound, KeyError)],
)
def test_wrong_run_ids(run_id, error, classic_error):
    with pytest.raises(error) as caught:
        export_run_history_bundle(run_id=run_id, run_store=Stores(), ledger_store=Stores())

    assert isinstance(caught.value, classic_error)


def test_store_failure_is_a_runtime_error_that_names_the_ledger():
    class Broken(Stores):
        def list(self, run_id):
            raise json.JSONDecodeError("bad line", "x", 0)

    with pytest.raises(RuntimeError, match="ledger of run 'run-1'"):
        export_run_history_bundle(
            run_id="run-1", run_store=Stores([a_run()]), ledger_store=Broken()
        )


def test_typed_store_errors_pass_unchanged():
    class Broken(Stores):
        def load(self, run_id):
            raise StoreIOError("no disk")

    with pytest.raises(StoreIOError, match="no disk"):
        export_run_history_bundle(run_id="r", run_store=Broken(), ledger_store=Stores())


def test_large_inputs_move_only_when_a_store_is_given():
    stores = classic_stores(
        vars={"big": {"text": "x" * 300_000}, "many": list(range(70_000)), "small": 1}
    )
    artifacts = InMemoryArtifactStore()

    kept = export_classic(stores)["input_data"]
    moved = export_classic(stores, artifact_store=artifacts)["input_data"]

    assert kept == stores.runs["run-1"].vars
    assert moved["small"] == 1
    assert artifacts.load_text(moved["big"]["text"]["$artifact"]) == "x" * 300_000
    assert artifacts.load_json(moved["many"]["$artifact"]) == kept["many"]
    [text] = artifacts.search(run_id="run-1", tags={"path": "big.text"})
    assert text.tags["source"] == "history_bundle"


# --- session ----------------------------------------------------------------------


def session_of(runs, ledgers=None, **options):
    stores = Stores(runs, ledgers)
    return export_classic(stores, include_session=True, **options)["session"]


def a_turn(run_id="run-1", *, at="2026-01-01T00:00:00+00:00", **fields):
    return a_run(run_id, session_id="S", created_at=at, **fields)


def test_turn_of_a_plain_run():
    ledgers = {"run-1": release_ledger(classic=True).records}

    session = session_of([a_turn(vars={"prompt": "Ship it"}, output={"answer": "Done"})], ledgers)

    assert session["session_id"] == "S"
    [turn] = session["turns"]
    assert (turn["kind"], turn["prompt"], turn["answer"]) == ("run", "Ship it", "Done")
    assert turn["stats"] == {
        "duration_ms": 12000.0,
        "llm_calls": 1,
        "tool_calls": 0,
        "usage": {"input_tokens": 30, "output_tokens": 12, "total_tokens": 42},
        "tok_s": 1.0,
    }


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ([{}, {"workflow_id": "__internal"}], ["run-1"]),
        ([{}, {"workflow_id": "scheduled:x"}], ["run-1", "run-2"]),
        ([{}, {"vars": {"context": {"messages": []}}}], ["run-2"]),
        ([{"vars": {"_meta": {"schedule": {}}}}, {"parent_run_id": "run-1"}], ["run-1"]),
    ],
    ids=["internal", "scheduled", "chat-only", "children"],
)
def test_which_runs_are_turns(runs, expected):
    made = [a_turn(f"run-{n}", at=f"2026-01-0{n}", **f) for n, f in enumerate(runs, start=1)]

    assert [turn["run_id"] for turn in session_of(made)["turns"]] == expected


def test_latest_turns_are_kept_in_order():
    runs = [a_turn(f"run-{n}", at=f"2026-01-0{n}") for n in (3, 1, 2)]

    turns = session_of(runs, session_turn_limit=2)["turns"]

    assert [turn["run_id"] for turn in turns] == ["run-2", "run-3"]


@pytest.mark.parametrize(
    ("vars_", "prompt"),
    [
        ({"prompt": " ", "task": "T"}, "T"),
        ({"context": {"task": "C"}}, "C"),
        ({"input_data": {"message": "I"}, "prompt": "P"}, "I"),
        ({"context": {"messages": [{"role": "system"}, {"role": "user", "content": "U"}]}}, "U"),
        ({}, None),
    ],
    ids=["blank-skipped", "context", "input-data", "first-user-message", "none"],
)
def test_prompt_of_a_turn(vars_, prompt):
    assert session_of([a_turn(vars=vars_)])["turns"][0]["prompt"] == prompt


@pytest.mark.parametrize(
    ("output", "answer"),
    [
        ({"response": "R", "answer": "A"}, "R"),
        ({"result": {"text": "T"}}, "T"),
        ({"output": {"content": "C"}}, "C"),
        ({"released": True}, "On its way"),
        (None, "On its way"),
    ],
    ids=["response", "result", "output", "ledger", "no-output"],
)
def test_answer_of_a_turn(output, answer):
    ledgers = {"run-1": [r for r in release_ledger(classic=True).records if r["node_id"] == "n3"]}

    assert session_of([a_turn(output=output)], ledgers)["turns"][0]["answer"] == answer


# --- workflow snapshot ------------------------------------------------------------


class Artifacts:
    def __init__(self, artifact_id="a1"):
        self.stored = []
        self.artifact_id = artifact_id

    def store(self, content, **facts):
        self.stored.append((content, facts))
        return self


def persist(stores, artifacts, **fields):
    given = {"run_id": "run-1", "workflow_id": "w", "snapshot": {"b": 1, "a": 2}, "format": "vf"}
    return persist_workflow_snapshot(
        run_store=stores, artifact_store=artifacts, **{**given, **fields}
    )


def test_snapshot_digest_is_the_digest_of_the_stored_bytes():
    stores, artifacts = Stores([a_run()]), Artifacts()

    reference = persist(stores, artifacts)

    [(content, facts)] = artifacts.stored
    assert content == dump_sorted({"a": 2, "b": 1})
    assert reference["sha256"] == sha256(content).hexdigest()
    assert facts["tags"]["kind"] == "workflow_snapshot"
    assert export_classic(stores)["workflow_snapshot"] == reference


def test_snapshot_is_stored_once():
    stores, artifacts = Stores([a_run()]), Artifacts()
    first = persist(stores, artifacts)

    assert persist(stores, artifacts, snapshot={"other": True}) == first
    assert len(artifacts.stored) == 1


@pytest.mark.parametrize(
    ("fields", "artifact_id", "error"),
    [
        ({"run_id": " "}, "a1", ValueError),
        ({"workflow_id": ""}, "a1", ValueError),
        ({"snapshot": []}, "a1", ValueError),
        ({"run_id": "nobody"}, "a1", KeyError),
        ({}, "", RuntimeError),
    ],
    ids=["run-id", "workflow-id", "not-an-object", "unknown-run", "no-artifact-id"],
)
def test_snapshot_errors(fields, artifact_id, error):
    with pytest.raises(error):
        persist(Stores([a_run()]), Artifacts(artifact_id), **fields)


# --- engine export and verification ----------------------------------------------


def test_full_export_verifies(bundle):
    assert verify_history_bundle(bundle) == []
    assert verify_history_bundle(bundle, keys=[KEY.verifier]) == []


def test_provenance_names_heads_and_roots(bundle):
    provenance = bundle["provenance"]
    lines = release_ledger(**HOST).lines()

    assert (provenance["size"], provenance["root_hash"]) == (14, tree_root(lines).hex())
    assert provenance["head_hash"] == release_ledger(**HOST).records[-1]["record_hash"]
    assert provenance["vkeys"] == [KEY.verifier.vkey]
    assert list(provenance["runs"]) == ["child-1"]
    assert bundle["run"]["output"] == OUTPUT


def test_lines_of_older_versions_keep_their_bytes():
    records = release_ledger(classic=True).records
    lines = [json.dumps(record).encode() for record in records]

    bundle = export_history(FakeEngine([a_run(output=OUTPUT)], {"run-1": lines}), "run-1")

    assert bundle["ledgers"]["run-1"]["items"][0]["line"].encode() == lines[0]
    assert bundle["provenance"]["root_hash"] == tree_root(lines).hex()
    assert verify_history_bundle(bundle) == []


def test_classic_full_export_verifies_its_chain():
    bundle = export_classic(classic_stores(), ledger_mode="full")
    assert verify_history_bundle(bundle) == []

    record_at(bundle, 3)["node_id"] = "n7"
    assert verify_history_bundle(bundle)


def test_run_that_ends_during_the_export_is_consistent():
    class Ending(FakeEngine):
        def records(self, run_id, *, after=-1):
            yield from super().records(run_id)
            self.runs[run_id] = a_run(output=OUTPUT)

    engine = Ending([a_run(status="running")], {"run-1": release_ledger().lines()})

    assert verify_history_bundle(export_history(engine, "run-1")) == []


def test_big_integers_survive():
    ledger = release_ledger()
    ledger.add("n9", "completed", result={"n": 10**30, "f": 1e16})

    bundle = export_history(FakeEngine([a_run()], {"run-1": ledger.lines()}), "run-1")

    assert verify_history_bundle(json.loads(json.dumps(bundle))) == []


def record_at(bundle, index, run_id="run-1"):
    return bundle["ledgers"][run_id]["items"][index]["record"]


def edit_record(bundle):
    record_at(bundle, 7)["effect"]["payload"]["payload"] = {"response": "no"}


def edit_child(bundle):
    record_at(bundle, 1, "child-1")["result"]["output"] = {"ok": False}


def swap_records(bundle):
    items = bundle["ledgers"]["run-1"]["items"]
    items[3]["record"], items[4]["record"] = items[4]["record"], items[3]["record"]


def reorder_keys(bundle):
    record = record_at(bundle, 4)
    record["result"] = dict(reversed(record["result"].items()))


def cut_tail(bundle):
    ledger = bundle["ledgers"]["run-1"]
    del ledger["items"][-2:]
    ledger["total"] = ledger["cursor_end"] = 12


def drop_item(bundle):
    del bundle["ledgers"]["run-1"]["items"][0]


def edit_output(bundle):
    bundle["run"]["output"] = {"released": 1}


def edit_status(bundle):
    bundle["run"]["status"] = "failed"


def edit_workflow(bundle):
    bundle["run"]["workflow_id"] = "other"


def invent_error(bundle):
    bundle["run"]["error"] = "it broke"


def edit_timeline(bundle):
    bundle["timeline"][3]["status"] = "failed"


def edit_root(bundle):
    bundle["provenance"]["root_hash"] = "0" * 64


def forge_note(bundle):
    note = bundle["provenance"]["heads"][0]
    bundle["provenance"]["heads"] = [note.replace("\n14\n", "\n13\n")]


def fake_line(bundle):
    bundle["ledgers"]["run-1"]["items"][2]["line"] = "{}"


def rename_ledger(bundle):
    bundle["ledgers"]["other"] = bundle["ledgers"].pop("run-1")


def bad_vkey(bundle):
    bundle["provenance"]["vkeys"].append("nonsense")


def lone_surrogate(bundle):
    record_at(bundle, 2)["error"] = "\ud800"


def missing_part(bundle):
    del bundle["run"]["status"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (edit_record, "record_hash_mismatch"),
        (edit_child, "record_hash_mismatch"),
        (swap_records, "prev_hash_mismatch"),
        (reorder_keys, "root_hash_mismatch"),
        (cut_tail, "size_mismatch"),
        (drop_item, "not_full"),
        (edit_output, "output_mismatch"),
        (edit_status, "status_mismatch"),
        (edit_workflow, "workflow_id_mismatch"),
        (invent_error, "error_mismatch"),
        (edit_timeline, "timeline_mismatch"),
        (edit_root, "root_hash_mismatch"),
        (fake_line, "line_mismatch"),
        (rename_ledger, "root_mismatch"),
        (bad_vkey, "bad_vkey"),
        (lone_surrogate, "malformed"),
        (missing_part, "malformed"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_tampering_is_found(bundle, change, code):
    change(bundle)

    assert code in {defect.code for defect in verify_history_bundle(bundle)}


def test_error_of_a_failed_run_is_compared_with_its_commit():
    ledger = release_ledger()
    del ledger.records[-2:]
    ledger.add("n5", "failed", error="no", commit={"status": "failed", "error": "no"})
    ledger.terminal("failed")
    state = a_run(status="failed", error="all is well")

    bundle = export_history(FakeEngine([state], {"run-1": ledger.lines()}), "run-1")

    assert [d.code for d in verify_history_bundle(bundle)] == ["error_mismatch"]


def test_forged_note_is_found(bundle):
    forge_note(bundle)

    assert verify_history_bundle(bundle)


def rewritten_by_someone_else():
    """A consistent bundle with another output, signed by another key that it names itself."""
    ledger = release_ledger()
    del ledger.records[-2:]
    ledger.complete("n5", {"released": False})
    lines = ledger.lines()
    return export_history(
        FakeEngine([a_run(output={"released": False})], {"run-1": lines}),
        "run-1",
        heads={"run-1": [signed_note(lines, "run-1", OTHER)]},
        vkeys=[OTHER.verifier.vkey],
    )


def test_rewritten_bundle_needs_the_readers_key_to_be_seen():
    forged = rewritten_by_someone_else()

    assert verify_history_bundle(forged) == []
    codes = {d.code for d in verify_history_bundle(forged, keys=[KEY.verifier])}
    assert "unsigned_records" in codes


@pytest.mark.parametrize("value", [None, [], "x", {}, {"version": 1}], ids=str)
def test_other_documents_are_malformed(value):
    assert {d.code for d in verify_history_bundle(value)} == {"malformed"}


def test_tail_export_says_that_it_cannot_be_verified():
    engine = FakeEngine([a_run(output=OUTPUT)], {"run-1": release_ledger().lines()})

    bundle = export_history(engine, "run-1", ledger_mode="tail", ledger_max_items=4)

    assert [d.code for d in verify_history_bundle(bundle)] == ["not_full"]


@pytest.mark.parametrize(
    ("shown", "codes"),
    [
        ({"report": "x" * 300_000, "ok": True}, []),
        ({"report": "y" * 300_000, "ok": True}, ["output_mismatch"]),
        ({"report": "x" * 300_000, "ok": False}, ["output_mismatch"]),
    ],
    ids=["same", "other-blob", "other-field"],
)
def test_output_kept_beside_the_ledger_is_compared_by_digest(shown, codes):
    content = dump_line("x" * 300_000)
    reference = {"$blob": sha256(content).hexdigest(), "size": len(content)}
    ledger = release_ledger()
    del ledger.records[-2:]
    ledger.complete("n5", {"report": reference, "ok": True})

    bundle = export_history(FakeEngine([a_run(output=shown)], {"run-1": ledger.lines()}), "run-1")

    assert [defect.code for defect in verify_history_bundle(bundle)] == codes


def test_export_changes_nothing_in_the_store():
    stores = classic_stores(vars={"topic": [1]})
    before = copy.deepcopy((isolate(stores.runs["run-1"].to_dict()), stores.ledgers))

    bundle = export_classic(stores)
    bundle["input_data"]["topic"].append(2)

    assert (stores.runs["run-1"].to_dict(), stores.ledgers) == before
