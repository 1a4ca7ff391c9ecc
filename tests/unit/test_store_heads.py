"""Signed heads as the directory engine writes them."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest
from signed_ledger import tree_root

from abstractruntime.core.models import RunState, RunStatus, StepRecord, StepStatus
from abstractruntime.errors import HeadMismatch
from abstractruntime.signing.keys import generate
from abstractruntime.storage._store.heads import KeySigner
from abstractruntime.storage.directory import open_store

SIGNER = KeySigner(generate("o/1"))


def a_record():
    return StepRecord("r", "s", "n", StepStatus.COMPLETED, started_at="t")


def heads(store):
    with open(store._layout.heads("r"), "rb") as file:
        return [json.loads(line) for line in file]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store"


def park(log):
    log.run.status = RunStatus.WAITING
    log.commit(a_record())
    log.settle()
    log.close()


def opened(path, **options):
    return open_store(path, origin="o/1", signer=SIGNER, **options)


def test_a_head_is_signed_at_rest_and_every_64_records(path):
    with opened(path) as store:
        log = store.create(RunState("r", "w", RunStatus.RUNNING, "n"), a_record())
        log.settle()
        for _ in range(70):
            log.commit(a_record())
        park(log)
        lines = [stored.line for stored in store.records("r")]

        assert [head["size"] for head in heads(store)] == [1, 65, 72]
        assert store.head("r").signed_records == 72
        assert tree_root(lines[:64]).hex() != tree_root(lines).hex()


def test_the_tree_goes_on_after_reopening(path):
    with opened(path) as store:
        park(store.create(RunState("r", "w", RunStatus.RUNNING, "n"), a_record()))
    with opened(path) as store:
        log = store.open("r")
        log.commit(a_record())
        log.settle()
        log.close()
        assert [head["size"] for head in heads(store)] == [1, 2, 3]


@pytest.mark.parametrize("signer", [SIGNER, None], ids=["signing", "not signing"])
def test_a_ledger_below_its_head_stops_the_run(path, signer):
    with opened(path) as store:
        park(store.create(RunState("r", "w", RunStatus.RUNNING, "n"), a_record()))
        with open(store._layout.ledger("r"), "rb+") as file:
            file.truncate(len(file.readline()))
        (path / "run_r.json").unlink()

    with open_store(path, signer=signer) as store, pytest.raises(HeadMismatch):
        store.open("r")


# -- who goes on with a ledger that says that it is signed -------------------------------------

OTHER = KeySigner(generate("o/2"))
STARTED = {"internal": "run_started"}


def begun(path, *, records=2, parent=None, run_id="r", signer=SIGNER):
    """Make a run that says who signs it, with so many records."""
    with open_store(path, origin="o/1", signer=signer) as store:
        run = RunState(run_id, "w", RunStatus.RUNNING, "n", parent_run_id=parent)
        first = replace(a_record(), run_id=run_id, result=dict(STARTED))
        log = store.create(run, first)
        for _ in range(records - 1):
            log.commit(replace(a_record(), run_id=run_id))
        log.run.status = RunStatus.WAITING
        log.settle()
        log.close()


def edit(name, change):
    def edited(path):
        file = path / name
        file.write_text(change(file.read_text()))

    return edited


def gone(path):
    (path / "heads_r.jsonl").unlink()


def unsign(text):
    *lines, last = text.splitlines()
    head = json.loads(last)
    start, _, signature = head["note"].rpartition(" ")
    raw = base64.b64decode(signature)
    head["note"] = f"{start} {base64.b64encode(raw[:-1] + bytes([raw[-1] ^ 1])).decode()}\n"
    return "".join(f"{line}\n" for line in [*lines, json.dumps(head)])


@pytest.mark.parametrize("signer", [SIGNER, None], ids=["signing", "not signing"])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (gone, "there is no signed head"),
        (edit("heads_r.jsonl", lambda _: ""), "there is no signed head"),
        (edit("heads_r.jsonl", lambda text: "{}\n" + text), "damaged"),
        (edit("heads_r.jsonl", unsign), "not what was signed"),
        (edit("store.json", lambda text: text.replace("o/1", "o/9")), "but this store is 'o/9'"),
    ],
    ids=["gone", "empty", "damaged", "signature", "another store"],
)
def test_a_run_that_does_not_agree_with_its_heads_is_not_opened(path, change, words, signer):
    begun(path)
    change(path)
    with open_store(path, signer=signer) as store, pytest.raises(HeadMismatch, match=words):
        store.open("r")


def test_a_host_signs_no_past_of_a_host_that_it_does_not_know(path):
    begun(path)
    with open_store(path, signer=OTHER) as store, pytest.raises(HeadMismatch, match="not count"):
        store.open("r")
    with open_store(path, signer=OTHER, host_keys=lambda: [SIGNER.verifier]) as store:
        park(store.open("r"))
        assert "o/2" in heads(store)[-1]["note"]
    with open_store(path) as store:
        store.open("r").close()


def test_only_its_host_goes_on_from_a_first_record_alone(path):
    begun(path, records=1)
    gone(path)
    for signer in (None, OTHER):
        with open_store(path, signer=signer) as store, pytest.raises(HeadMismatch):
            store.open("r")
    with opened(path) as store:
        log = store.open("r")
        # Before anything follows.
        assert [head["size"] for head in heads(store)] == [1]
        log.close()


@pytest.mark.parametrize("root_signer", [SIGNER, None], ids=["signed", "unsigned"])
def test_a_run_without_a_host_below_one_with_a_host_stays_unsigned(path, root_signer):
    begun(path, run_id="root", signer=root_signer)
    begun(path, parent="root", signer=None)
    with opened(path) as store:
        park(store.open("r"))
        assert (path / "heads_r.jsonl").exists() is (root_signer is None)
