"""Any sequence of mutations folds back to the same text, and lines are what they claim."""

from __future__ import annotations

import hashlib
import json
import random
import string

import pytest
from exploring import examples
from hypothesis import given
from hypothesis import strategies as st

from abstractruntime._json import dump_line, dump_sorted, normalise
from abstractruntime.core.models import StepRecord, StepStatus
from abstractruntime.errors import InvalidValue
from abstractruntime.storage._files.fs import StoreFiles
from abstractruntime.storage._files.layout import Layout
from abstractruntime.storage._files.simfs import SimFileSystem
from abstractruntime.storage._store.blobs import Blobs
from abstractruntime.storage._store.fold import fold
from abstractruntime.storage._store.plain import dump, dump_plain_sorted, is_plain
from abstractruntime.storage._store.record_lines import RecordWriter, clean_record, stored_hash
from abstractruntime.storage._store.shadow import StateShadow

ROUNDS = 8
KEYS = ["a", "b", "c", "a/b", "t~x", "é", "", "0", "1", "$blob", "_runtime", "node_traces"]


def a_value(rng: random.Random, depth: int = 0):
    kind = rng.randrange(12 if depth < 4 else 8)
    if kind < 3:
        return "".join(rng.choices(string.printable + "é\u2028😀", k=rng.choice((0, 3, 40, 300))))
    if kind < 8:
        return rng.choice(
            (None, True, False, 0, 1, 1.0, -0.0, 1e16, 1e-7, 2**70, -3, 0.1, 12345678901234567890)
        )
    if kind < 10:
        return [a_value(rng, depth + 1) for _ in range(rng.choice((0, 1, 3, 12)))]
    return {rng.choice(KEYS): a_value(rng, depth + 1) for _ in range(rng.choice((0, 1, 4, 10)))}


def containers(value, found):
    if isinstance(value, dict | list):
        found.append(value)
        for item in value.values() if isinstance(value, dict) else value:
            containers(item, found)
    return found


def mutate(rng: random.Random, state: dict) -> None:
    for _ in range(rng.randint(0, 5)):
        target = rng.choice(containers(state, []))
        if isinstance(target, dict):
            mutate_dict(rng, target)
        else:
            mutate_list(rng, target)


def mutate_dict(rng: random.Random, target: dict) -> None:
    action = rng.randrange(5)
    if action < 2 or not target:
        target[rng.choice(KEYS)] = a_value(rng)
    elif action == 2:
        del target[rng.choice(list(target))]
    elif action == 3:
        key = rng.choice(list(target))
        target[key] = target.pop(key)
    else:
        items = list(target.items())
        rng.shuffle(items)
        target.clear()
        target.update(items)


def mutate_list(rng: random.Random, target: list) -> None:
    action = rng.randrange(5)
    if action < 2 or not target:
        target.extend(a_value(rng) for _ in range(rng.randint(1, 3)))
    elif action == 2:
        target[rng.randrange(len(target))] = rng.choice((a_value(rng), (1, ("x",)), {1: "int key"}))
    elif action == 3:
        target.pop(rng.randrange(len(target)))
    else:
        rng.shuffle(target)


def write_result(rng: random.Random, state: dict):
    """Put a result where an effect would, sometimes below parents that are not there yet."""
    pointer = rng.choice(("/out", "/deep/new/out", "/a/res", "/b"))
    result = {"text": "r" * rng.choice((2, 400)), "n": rng.random()}
    parent = state
    *parents, last = pointer.split("/")[1:]
    for token in parents:
        if not isinstance(parent.get(token), dict):
            parent[token] = {}
        parent = parent[token]
    parent[last] = result
    return pointer, result


def visible(state: dict) -> str:
    runtime = state.get("_runtime")
    if isinstance(runtime, dict) and "node_traces" in runtime:
        state = {**state, "_runtime": {k: v for k, v in runtime.items() if k != "node_traces"}}
    return json.dumps(state)


def check_seed(seed: int) -> None:
    rng = random.Random(seed)
    live = {key: a_value(rng) for key in rng.sample(KEYS, 5)}
    shadow, rebuilt = StateShadow(), {}
    for round_number in range(ROUNDS):
        wrote = result = None
        scan = True
        if round_number:
            scan = rng.random() < 0.7
            if scan:
                mutate(rng, live)
            if rng.random() < 0.6:
                wrote, result = write_result(rng, live)
        if not scan and wrote is None:
            continue
        delta = shadow.compare(
            live, wrote=wrote, source=result, scan=scan or wrote.startswith(("/deep", "/a"))
        )
        commit: dict = {}
        delta.write_into(commit)
        assert delta.is_plain <= is_plain(commit)
        stored = json.loads(dump_line(commit))
        fold(rebuilt, stored, json.loads(json.dumps(result)))
        shadow.accept(delta)
        assert json.dumps(rebuilt) == visible(live), (seed, round_number, commit)
        assert json.dumps(shadow.state()) == visible(live), (seed, round_number)


def test_deltas_fold_back_to_the_same_text():
    for seed in range(300):
        check_seed(seed)


@pytest.mark.soak
def test_deltas_fold_back_to_the_same_text_for_many_seeds():
    for seed in range(300, 3_300):
        check_seed(seed)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@examples(300)
@given(json_values)
def test_both_writers_agree_on_plain_values(value):
    if is_plain(value):
        assert dump(value) == dump_line(value)
        assert dump_plain_sorted(value) == dump_sorted(value)


@examples(150)
@given(json_values, json_values, st.text())
def test_a_stored_line_is_canonical_and_hashes_to_what_it_says(result, payload, error):
    record = StepRecord(
        "r", "s", "n", StepStatus.COMPLETED, {"type": "x", "payload": payload}, result, error, "t"
    )
    try:
        plain = clean_record(record)
    except InvalidValue:
        return
    writer = RecordWriter(Blobs(StoreFiles(SimFileSystem()), Layout("/s")))
    encoded = writer.encode(
        record, {"epoch": 1, "set": {"/a": result}}, seq=3, prev_hash="h", plain=plain
    )
    parsed = json.loads(encoded.line)
    body = {k: v for k, v in parsed.items() if k not in ("record_hash", "signature")}

    assert encoded.line == dump_line(parsed)
    assert (
        parsed["record_hash"]
        == hashlib.sha256(dump_sorted(body)).hexdigest()
        == stored_hash(parsed)
    )


@examples(100)
@given(
    st.recursive(
        json_values, lambda v: st.dictionaries(st.sampled_from(["$blob", "$$blob", "blob"]), v)
    )
)
def test_user_keys_never_read_as_references(value):
    blobs = Blobs(StoreFiles(SimFileSystem()), Layout("/s"))
    packed = blobs.pack(normalise(value))

    assert json.dumps(blobs.unpack(packed)) == json.dumps(value)
