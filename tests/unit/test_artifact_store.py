"""Artifact stores: both follow the same rules; the file one checks, heals and collects."""

from __future__ import annotations

import hashlib
import json
import os

import pytest

from abstractruntime._json import dump_line
from abstractruntime.core.models import RunState, RunStatus, StepRecord, StepStatus
from abstractruntime.errors import IntegrityError
from abstractruntime.storage import artifacts as module
from abstractruntime.storage.artifacts import (
    ArtifactMetadata,
    FileArtifactStore,
    InMemoryArtifactStore,
    artifact_ref,
    compute_artifact_id,
    compute_blob_id,
    describe_artifact,
    get_artifact_id,
    is_artifact_ref,
    resolve_artifact,
    validate_artifact_id,
)
from abstractruntime.storage.directory import open_store


@pytest.fixture(params=["memory", "file"])
def store(request, tmp_path, ticking):
    return InMemoryArtifactStore() if request.param == "memory" else FileArtifactStore(tmp_path)


@pytest.fixture
def files(tmp_path):
    return FileArtifactStore(tmp_path)


@pytest.fixture
def ticking(monkeypatch):
    times = iter(f"2026-01-01T00:00:{n:02d}+00:00" for n in range(60))
    monkeypatch.setattr(module, "utc_now_iso", lambda: next(times))


def blob_path(tmp_path, content):
    return tmp_path / "artifacts" / "blobs" / f"{compute_blob_id(content)}.bin"


def blob_names(tmp_path):
    return sorted(os.listdir(tmp_path / "artifacts" / "blobs"))


# ---- identity


@pytest.mark.parametrize(
    "run_id, expected",
    [
        (None, "2cf24dba5fb0a30e26e83b2ac5b9e29e"),
        (" ", "2cf24dba5fb0a30e26e83b2ac5b9e29e"),
        ("r", "729ea375928bfd92d7cddf1a021d3615"),
        (" r ", "729ea375928bfd92d7cddf1a021d3615"),
    ],
)
def test_artifact_ids(run_id, expected):
    assert compute_artifact_id(b"hello", run_id=run_id) == expected


@pytest.mark.parametrize("bad", ["", "a b", "../a", "a\n", "a/b", "a.b", "é"])
def test_ids_that_could_name_a_path_are_refused_everywhere(store, bad):
    for use in (validate_artifact_id, store.load, store.get_metadata, store.exists, store.delete):
        with pytest.raises(ValueError, match=r"cannot be empty|Invalid artifact_id"):
            use(bad)


def test_an_invalid_id_stores_nothing(store, tmp_path):
    with pytest.raises(ValueError, match="Invalid artifact_id"):
        store.store(b"x", artifact_id="../x")

    assert store.list_all() == []
    assert not (tmp_path / "artifacts").exists()


@pytest.mark.parametrize(
    "value, expected",
    [({"$artifact": 1, "x": 2}, True), ({}, False), ("$artifact", False), (None, False)],
)
def test_references(value, expected):
    assert is_artifact_ref(value) is expected
    assert get_artifact_id(artifact_ref("a")) == "a"


# ---- every store


def test_store_and_load(store):
    made = store.store(b"\x00\xff", content_type="a/b", run_id=" r ", tags={"n": 1})
    loaded = store.load(made.artifact_id)

    assert loaded.content == b"\x00\xff"
    assert loaded.metadata == made == store.get_metadata(made.artifact_id)
    assert (made.run_id, made.tags, made.size_bytes) == ("r", {"n": "1"}, 2)
    assert made.blob_id == hashlib.sha256(b"\x00\xff").hexdigest()


def test_text_and_json(store):
    text = store.store_text("é", run_id="r")
    data = store.store_json({"b": 1, "a": "é"}, run_id="r")

    assert store.load_text(text.artifact_id) == "é"
    assert store.load(data.artifact_id).content == '{"b":1,"a":"é"}'.encode()
    assert store.load_json(data.artifact_id) == {"b": 1, "a": "é"}
    assert (store.load_json("none"), store.load_text("none"), store.load("none")) == (None,) * 3


def test_equal_bytes_of_one_run_are_one_artifact_with_new_metadata(store):
    store.store(b"x", run_id="r", tags={"n": "1"})
    second = store.store(b"x", run_id="r", tags={"n": "2"})

    assert [m.tags for m in store.list_all()] == [{"n": "2"}]
    assert store.load(second.artifact_id).content == b"x"


def test_an_explicit_id_replaces_what_has_it(store):
    store.store(b"x", artifact_id="mine")
    store.store(b"y", artifact_id="mine")

    assert store.load("mine").content == b"y"


def test_deleting(store):
    ids = [store.store(data, run_id="r").artifact_id for data in (b"1", b"2")]
    other = store.store(b"1", run_id="s").artifact_id

    assert (store.delete(ids[0]), store.delete(ids[0])) == (True, False)
    assert (store.delete_by_run("r"), store.delete_by_run("r")) == (1, 0)
    assert store.load(other).content == b"1"


@pytest.mark.parametrize(
    "filters, expected",
    [
        ({}, ["3", "2", "1"]),
        ({"run_id": "r"}, ["2", "1"]),
        ({"content_type": "t/1"}, ["1"]),
        ({"tags": {"k": "odd"}}, ["3", "1"]),
        ({"tags": {"k": "odd"}, "run_id": "r"}, ["1"]),
        ({"tags": {"k": "odd"}, "limit": 1}, ["3"]),
        ({"content_type": "t/1", "limit": 1}, ["1"]),
        ({"limit": 0}, ["3", "2", "1"]),
        ({"tags": {"none": "x"}}, []),
    ],
    ids=str,
)
def test_search_filters_before_it_limits(store, filters, expected):
    for n in (1, 2, 3):
        store.store(
            f"{n}".encode(),
            run_id="r" if n < 3 else "s",
            content_type=f"t/{n}",
            tags={"k": "odd" if n % 2 else "even"},
        )

    assert [m.content_type[2:] for m in store.search(**filters)] == expected


def test_listing_is_newest_first_and_limited(store):
    for n in range(3):
        store.store(f"{n}".encode(), content_type=f"t/{n}")

    assert [m.content_type for m in store.list_all(limit=2)] == ["t/2", "t/1"]
    assert len(store.list_all(limit=0)) == 3


def test_what_a_store_gives_is_a_copy(store):
    made = store.store(b"x", tags={"a": "1"})
    made.tags["a"] = store.get_metadata(made.artifact_id).tags["a"] = "2"

    assert store.load(made.artifact_id).metadata.tags == {"a": "1"}


# ---- described references


def test_a_described_reference_resolves_to_what_it_says(store):
    made = store.store(b"x", run_id="r")

    assert resolve_artifact(describe_artifact(made, b"x"), store).content == b"x"
    assert resolve_artifact(artifact_ref("none"), store) is None
    assert resolve_artifact("x", store) is None


@pytest.mark.parametrize("content, run_id", [(b"y", "r"), (b"x", "s")], ids=["content", "run"])
def test_a_described_reference_that_names_something_else_is_an_error(store, content, run_id):
    ref = describe_artifact(store.store(b"x", run_id="r"), b"x")
    store.store(content, run_id=run_id, artifact_id=ref["$artifact"])

    with pytest.raises(IntegrityError, match=ref["$artifact"]):
        resolve_artifact(ref, store)


# ---- the files


def test_the_files(files, tmp_path):
    made = files.store(b"x", run_id="r", tags={"é": "é"})
    path = tmp_path / "artifacts" / "refs" / f"{made.artifact_id}.meta"

    assert path.read_text("utf-8") == json.dumps(made.to_dict(), ensure_ascii=False, indent=2)
    assert blob_path(tmp_path, b"x").read_bytes() == b"x"
    assert path.stat().st_mode & 0o777 == blob_path(tmp_path, b"x").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("damage", ["edited", "missing"])
def test_damaged_content_is_named_and_heals_when_stored_again(files, tmp_path, damage):
    made = files.store(b"good", run_id="r")
    path = blob_path(tmp_path, b"good")
    path.write_bytes(b"evil") if damage == "edited" else path.unlink()

    with pytest.raises(IntegrityError, match=f"{made.artifact_id!r} is damaged"):
        files.load(made.artifact_id)
    files.store(b"good", run_id="s")
    assert files.load(made.artifact_id).content == b"good"


def test_checking_content_can_be_switched_off(files, tmp_path):
    made = files.store(b"good")
    blob_path(tmp_path, b"good").write_bytes(b"evil")

    assert FileArtifactStore(tmp_path, verify_content=False).load(made.artifact_id).content == (
        b"evil"
    )


BAD_METADATA = [
    "{",
    "[]",
    '{"artifact_id": "bad"}',
    '{"artifact_id": "bad", "content_type": "t", "size_bytes": 1, "created_at": "", "blob_id": "../x"}',
]


@pytest.mark.parametrize("text", BAD_METADATA)
def test_unreadable_metadata_is_named_left_out_of_lists_and_deletable(files, tmp_path, text):
    files.store(b"good", artifact_id="good", run_id="r")
    (tmp_path / "artifacts" / "refs" / "bad.meta").write_text(text)

    with pytest.raises(IntegrityError, match="'bad' is damaged: its metadata"):
        files.load("bad")
    assert [m.artifact_id for m in files.list_all()] == ["good"]
    assert [m.artifact_id for m in files.list_by_run("r")] == ["good"]
    assert (files.exists("bad"), files.delete("bad"), files.exists("bad")) == (True, True, False)


def legacy(tmp_path, content=b"old", size=3):
    directory = tmp_path / "artifacts"
    directory.mkdir(exist_ok=True)
    metadata = ArtifactMetadata("old", "text/plain", size, "2020", run_id="r").to_dict()
    del metadata["blob_id"]
    (directory / "old.meta").write_text(json.dumps(metadata))
    (directory / "old.bin").write_bytes(content)


def test_the_older_layout_is_read_and_deleted(files, tmp_path):
    legacy(tmp_path)

    assert files.load("old").as_text() == "old"
    assert [m.artifact_id for m in files.list_by_run("r")] == ["old"]
    assert files.delete("old")
    assert (files.exists("old"), os.listdir(tmp_path / "artifacts")) == (False, [])


def test_the_older_layout_can_only_be_checked_by_size(files, tmp_path):
    legacy(tmp_path, content=b"cut")
    assert files.load("old").content == b"cut"
    legacy(tmp_path, content=b"c")
    with pytest.raises(IntegrityError, match="'old' is damaged"):
        files.load("old")


def test_reading_creates_nothing(tmp_path):
    files = FileArtifactStore(tmp_path / "none")

    assert (files.list_all(), files.load("a"), files.delete("a")) == ([], None, False)
    assert not (tmp_path / "none").exists()


# ---- garbage


def report(**changes):
    base = dict.fromkeys(("blobs_total", "blobs_referenced", "blobs_deleted", "bytes_reclaimed"), 0)
    return {"dry_run": False, **base, "errors": [], **changes}


def test_garbage_is_counted_first_and_then_removed(files, tmp_path):
    kept = files.store(b"kept", run_id="r")
    files.delete(files.store(b"gone", run_id="r").artifact_id)
    found = report(blobs_total=2, blobs_referenced=1, blobs_deleted=1, bytes_reclaimed=4)

    assert files.gc() == {**found, "dry_run": True}
    assert len(blob_names(tmp_path)) == 2
    assert files.gc(dry_run=False) == found
    assert files.gc(dry_run=False) == report(blobs_total=1, blobs_referenced=1)
    assert files.load(kept.artifact_id).content == b"kept"


def test_young_garbage_can_be_spared(files, tmp_path):
    for content in (b"young", b"old"):
        files.delete(files.store(content).artifact_id)
    os.utime(blob_path(tmp_path, b"old"), (0, 0))

    assert files.gc(dry_run=False, grace_s=60)["blobs_deleted"] == 1
    assert blob_names(tmp_path) == [f"{compute_blob_id(b'young')}.bin"]


@pytest.mark.parametrize("text", BAD_METADATA)
def test_nothing_is_removed_while_metadata_cannot_be_read(files, tmp_path, text):
    files.delete(files.store(b"x").artifact_id)
    (tmp_path / "artifacts" / "refs" / "bad.meta").write_text(text)

    with pytest.raises(IntegrityError, match="'bad' is damaged"):
        files.gc(dry_run=False)
    assert len(blob_names(tmp_path)) == 1


def test_a_blob_that_cannot_be_removed_is_reported(files, tmp_path):
    content = b"stuck"
    files.store(b"x")
    blob_path(tmp_path, content).mkdir()

    found = files.gc(dry_run=False)

    assert (found["blobs_deleted"], found["errors"][0]["blob_id"]) == (0, compute_blob_id(content))


def test_an_empty_directory_has_no_garbage(files):
    assert files.gc(dry_run=False) == report()


def test_blobs_that_runs_name_are_no_garbage(tmp_path):
    inner, outer, lost = b'"inner"', b'{"x":{"$blob":"%s","size":7}}', b"lost"
    with open_store(tmp_path / "s") as engine:
        run = RunState("r", "w", RunStatus.RUNNING, "n", {"big": "y" * 300_000})
        first = StepRecord("r", "s0", "n", StepStatus.COMPLETED, result={"internal": "x"})
        engine.create(run, first).close()
        files = FileArtifactStore(engine.path)
        by_ledger = blob_names(tmp_path / "s")
        outer %= compute_blob_id(inner).encode()
        for content in (inner, outer, lost):
            files.delete(files.store(content).artifact_id)
        note = tmp_path / "s" / "quarantine"
        note.mkdir()
        (note / "ledger_x.jsonl").write_bytes(dump_line({"$blob": compute_blob_id(outer)}))

        assert files.gc(dry_run=False)["blobs_deleted"] == 0
        for name in blob_names(tmp_path / "s"):
            os.utime(tmp_path / "s" / "artifacts" / "blobs" / name, (0, 0))
        assert files.gc(dry_run=False)["blobs_deleted"] == 1

        left = {f"{compute_blob_id(content)}.bin" for content in (inner, outer)}
        assert by_ledger
        assert set(blob_names(tmp_path / "s")) == left | set(by_ledger)
        assert engine.peek("r").vars["big"] == "y" * 300_000


def test_a_short_grace_is_refused_beside_runs(tmp_path):
    with open_store(tmp_path / "s") as engine, pytest.raises(ValueError, match="too short"):
        FileArtifactStore(engine.path).gc(grace_s=60)


def test_what_an_interrupted_collection_left_aside_still_counts(files, tmp_path):
    made = files.store(b"x", run_id="r")
    ref = tmp_path / "artifacts" / "refs" / f"{made.artifact_id}.meta"
    for path in (ref, blob_path(tmp_path, b"x")):
        path.rename(f"{path}.gc")

    assert files.exists(made.artifact_id)
    assert files.load(made.artifact_id).content == b"x"
    assert files.list_by_run("r") == [made]
    assert files.gc(dry_run=False)["blobs_deleted"] == 0
    files.store(b"x", run_id="r")
    assert ref.exists()
    assert files.delete(made.artifact_id)
    assert not files.exists(made.artifact_id)


def test_content_that_is_longer_than_stored_is_not_read(tmp_path, monkeypatch):
    store = FileArtifactStore(tmp_path)
    kept = store.store(b"abc", run_id="r")
    (blob,) = (tmp_path / "artifacts" / "blobs").iterdir()
    os.truncate(blob, 1 << 40)
    monkeypatch.setattr(store._files, "read_content", None)

    with pytest.raises(IntegrityError, match="does not match its digest"):
        store.load(kept.artifact_id)
