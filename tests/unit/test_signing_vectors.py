"""Fixed vectors: whoever changes one of these breaks files that exist."""

import base64
import hashlib

import pytest
from signed_ledger import tree_root

from abstractruntime._json import dump_sorted
from abstractruntime.core.models import StepRecord, StepStatus
from abstractruntime.signing.envelope import (
    create_envelope,
    pae,
    parse_envelope,
    parse_statement,
    render_statement,
    verify_envelope,
)
from abstractruntime.signing.heads import HeadStack, run_origin
from abstractruntime.signing.keys import SigningKey
from abstractruntime.signing.merkle import (
    EMPTY_ROOT,
    TreeState,
)
from abstractruntime.signing.note import TreeHead, parse_note, sign_note
from abstractruntime.storage.ledger_chain import compute_record_hash
from abstractruntime.workflow_bundle._archive import read_archive, write_archive

KEY = SigningKey.from_seed("host.example/store1", bytes(range(32)))
HASH_1 = "a428639f5d2e476728b354a63450940590ab3ee6be40061422cef676cf5d1c56"
HASH_2 = "2cc5b4cbc79f9afdfb27d8f7116a5ba30b9e357a336831dbd543e6e3780c66c1"
ROOT = "0fef157e0ca598e71e4865d6d43c6e57ea5e6e298964ad473a3dd3c8e6f37830"
DIGEST = "23e447408ea28148144d3dc030e9a898bbf3e2086dec11feccff958e96e8ecca"
MEMBERS = {
    "manifest.json": b'{\n  "bundle_format_version": "1"\n}\n',
    "flows/a.json": b'{"id":"a"}',
}
RFC_LEAVES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657",
                 "606162636465666768696a6b6c6d6e6f")
]  # fmt: skip


def a_vector_record(step, node, result):
    record = StepRecord("run-1", step, node, StepStatus.COMPLETED, result=result)
    record.started_at, record.ended_at = "2026-01-01T00:00:00+00:00", "2026-01-01T00:00:01+00:00"
    return record.to_dict()


def test_record_hashes_and_root():
    first = a_vector_record("s1", "n1", {"a": 1})
    second = a_vector_record("s2", "n2", {"é": 1.5, "n": None})

    first["record_hash"] = compute_record_hash(record=first, prev_hash=None)
    second["prev_hash"] = first["record_hash"]
    second["record_hash"] = compute_record_hash(record=second, prev_hash=HASH_1)

    assert [first["record_hash"], second["record_hash"]] == [HASH_1, HASH_2]
    assert tree_root([dump_sorted(first), dump_sorted(second)]).hex() == ROOT


def test_verifier_key_line():
    expected = "host.example/store1+f6343566+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"

    assert KEY.verifier.vkey == expected


def test_signed_note():
    head = TreeHead(run_origin("host.example/store1", "run-1"), 2, bytes.fromhex(ROOT))

    note = parse_note(sign_note(head.render(), KEY))

    expected = "9jQ1ZiaRXSr/Awjpt4yezVRIqFiuaYyR9L+1Uaw4oaZIsTNU3GV/cS0hVj/9+sAC5VWOpu26ACtX//uDdUJU88rMQAE="
    (signature,) = note.signatures
    assert note.text == (
        "host.example/store1/runs/run-1\n2\nD+8VfgylmOceSGXW1DxuV+pebimJZK1HOj3TyObzeDA=\n"
    )
    assert base64.b64encode(signature.key_id + signature.signature).decode() == expected


@pytest.mark.parametrize(
    "size, root",
    [
        (0, "e3b0c442"),
        (1, "6e340b9c"),
        (8, "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"),
    ],
)
def test_published_tree_roots(size, root):
    assert tree_root(RFC_LEAVES[:size]).hex().startswith(root)


def _recursive_root(leaves):
    if len(leaves) <= 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest() if leaves else EMPTY_ROOT
    split = 1 << (len(leaves) - 1).bit_length() - 1
    both = _recursive_root(leaves[:split]) + _recursive_root(leaves[split:])
    return hashlib.sha256(b"\x01" + both).digest()


def test_streaming_root_equals_the_recursive_definition():
    leaves = [b"%d" % i for i in range(70)]
    tree = TreeState()

    for size in range(70):
        assert tree.root() == _recursive_root(leaves[:size])
        assert TreeState.from_dict(tree.to_dict()) == tree
        tree.add(leaves[size])


def test_canonical_archive():
    archive = write_archive(MEMBERS)

    assert len(archive) == 269
    assert hashlib.sha256(archive).hexdigest() == (
        "7fca99faebfa3b636f1d5f0030afadd7f0c3d391fd482a0119dee8090db63028"
    )
    assert hashlib.sha256(MEMBERS["manifest.json"]).hexdigest() == DIGEST
    assert read_archive(archive) == MEMBERS


def test_dsse_envelope():
    kind = "https://abstractruntime.example/flowbundle/v1"
    predicate = {"bundle_id": "a", "bundle_version": "1.0.0"}
    payload = render_statement(DIGEST, predicate, predicate_type=kind)

    envelope = parse_envelope(create_envelope(payload, [KEY]))

    expected = (
        "mco0XRn3DdyEXceCKvXjPXQX+LAC5mBCnDW+7sUhSFXt3aC+AmvkgCKd6EhHExXao1tph1l3BeqJnD9sirhQAw=="
    )
    assert base64.b64encode(envelope.signatures[0].signature).decode() == expected
    assert verify_envelope(envelope, [KEY.verifier]) == (KEY.verifier,)
    assert parse_statement(envelope.payload, predicate_type=kind).digest == DIGEST


def test_pae_of_the_published_example():
    expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"

    assert pae("http://example.com/HelloWorld", b"hello world") == expected


def test_head_stack_starts_empty():
    assert HeadStack(TreeState()).tree.root() == EMPTY_ROOT
