from __future__ import annotations

import subprocess
import sys

import pytest

from abstractruntime.errors import HeadMismatch, IntegrityError, NotFound, Refused, UsageError
from abstractruntime.signing import (
    HeadStack,
    SigningKey,
    TreeHead,
    generate,
    list_keys,
    load_signing_key,
    parse_vkey,
    save_signing_key,
    sign_head,
)
from abstractruntime.signing.envelope import (
    create_envelope,
    parse_envelope,
    parse_statement,
    verify_envelope,
)
from abstractruntime.signing.merkle import TreeState
from abstractruntime.signing.note import parse_note, parse_tree_head, sign_note, verify_note

KEY = SigningKey.from_seed("host.example/store1", bytes(range(32)))
OTHER = SigningKey.from_seed("host.example/store2", bytes(range(1, 33)))


def test_a_verifier_key_line_reads_back():
    assert parse_vkey(f"{KEY.verifier.vkey}\n") == KEY.verifier


@pytest.mark.parametrize(
    "line",
    [
        "",
        "name",
        "name+f6343566",
        KEY.verifier.vkey.replace("store1", "store2"),
        KEY.verifier.vkey.replace("f6343566", "F6343566"),
        KEY.verifier.vkey.replace("f6343566", "00000000"),
        KEY.verifier.vkey[:-4],
        KEY.verifier.vkey.replace("+AQ", "+Ag"),
        "a b" + KEY.verifier.vkey,
    ],
    ids=[
        "empty",
        "name",
        "no-key",
        "other-name",
        "upper",
        "other-id",
        "short",
        "other-type",
        "space",
    ],
)
def test_a_wrong_verifier_key_line_is_refused(line):
    with pytest.raises(UsageError):
        parse_vkey(line)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "a\tb"])
def test_a_key_name_that_no_line_can_carry_is_refused(name):
    with pytest.raises(UsageError):
        generate(name)


@pytest.mark.parametrize("passphrase", [None, b"secret"])
def test_a_key_file_reads_back(passphrase, tmp_path):
    entry = save_signing_key(KEY, tmp_path / "keys", passphrase=passphrase)

    loaded = load_signing_key(entry.private_path, passphrase=passphrase)

    assert loaded.verifier == KEY.verifier
    assert loaded.sign(b"x") == KEY.sign(b"x")
    assert entry.private_path.stat().st_mode & 0o777 == 0o600
    assert [e.key for e in list_keys(tmp_path / "keys")] == [KEY.verifier]


@pytest.mark.parametrize("given", [None, b"wrong"])
def test_a_sealed_key_needs_its_passphrase(given, tmp_path):
    entry = save_signing_key(KEY, tmp_path, passphrase=b"secret")

    with pytest.raises(UsageError):
        load_signing_key(entry.private_path, passphrase=given)


def test_a_key_file_that_others_can_read_is_refused(tmp_path):
    entry = save_signing_key(KEY, tmp_path)
    entry.private_path.chmod(0o640)

    with pytest.raises(Refused, match="0640") as caught:
        load_signing_key(entry.private_path)
    assert "chmod 600" in caught.value.hint


def test_a_key_is_never_written_over_another(tmp_path):
    save_signing_key(KEY, tmp_path)

    with pytest.raises(UsageError, match="exists already"):
        save_signing_key(KEY, tmp_path)


def test_a_public_half_of_another_key_is_refused(tmp_path):
    entry = save_signing_key(KEY, tmp_path)
    entry.vkey_path.write_text(OTHER.verifier.vkey)

    with pytest.raises(UsageError, match="another key"):
        load_signing_key(entry.private_path)


@pytest.mark.parametrize("content", [b"", b"hello", b"-----BEGIN PRIVATE KEY-----\n"])
def test_a_file_that_is_no_key_is_refused(content, tmp_path):
    path = tmp_path / "k.pem"
    path.touch(mode=0o600)
    path.write_bytes(content)

    with pytest.raises(UsageError):
        load_signing_key(path, name="k")


def test_a_missing_key_file_is_not_found(tmp_path):
    with pytest.raises(NotFound):
        load_signing_key(tmp_path / "none.pem")


def test_a_directory_that_is_not_there_has_no_keys(tmp_path):
    assert list_keys(tmp_path / "none") == []


def test_a_private_key_does_not_show_in_its_repr():
    assert "rivate" not in repr(KEY)


def test_importing_signing_does_not_import_cryptography():
    script = "import sys, abstractruntime.signing; sys.exit('cryptography' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


# ---- notes and heads


def test_a_note_names_the_known_keys_that_signed_it():
    note = parse_note(sign_note("hello\n", KEY))

    assert verify_note(note, [OTHER.verifier, KEY.verifier]) == (KEY.verifier,)
    assert verify_note(note, [OTHER.verifier]) == ()


def test_a_false_signature_of_a_known_key_condemns_the_note():
    note = parse_note(sign_note("hello\n", KEY).replace("hello", "hallo"))

    with pytest.raises(IntegrityError, match="does not hold"):
        verify_note(note, [KEY.verifier])


@pytest.mark.parametrize("text", ["no end", "tab\t\n", "nul\0\n"])
def test_a_text_that_is_no_note_is_not_signed(text):
    with pytest.raises(UsageError):
        sign_note(text, KEY)


@pytest.mark.parametrize(
    "text", ["", "a\n", "a\n1\n", "a\n-1\nAA==\n", "a\n1\nAA==\n", "a\n01\n" + "A" * 43 + "=\n"]
)
def test_a_text_that_is_no_tree_head_is_refused(text):
    with pytest.raises(IntegrityError):
        parse_tree_head(text)


def test_a_head_must_extend_the_one_before():
    stack = HeadStack(TreeState())
    stack.tree.extend([b"1", b"2"])
    line = sign_head(stack, KEY, origin="o", run_id="r", offset=4)

    assert sign_head(stack, KEY, origin="o", run_id="r", offset=4) == line
    for tree in ([b"1"], [b"1", b"3"]):
        other = HeadStack(TreeState(), stack.last)
        other.tree.extend(tree)
        with pytest.raises(HeadMismatch):
            sign_head(other, KEY, origin="o", run_id="r", offset=4)
    with pytest.raises(HeadMismatch):
        sign_head(stack, KEY, origin="o", run_id="r2", offset=4)


def test_a_stack_is_rebuilt_only_on_what_was_signed():
    stack = HeadStack(TreeState())
    stack.tree.extend([b"1", b"2"])
    sign_head(stack, KEY, origin="o", run_id="r", offset=4)

    again = HeadStack.rebuild([b"1", b"2", b"3"], stack.last)

    assert again.tree.size == 3
    assert HeadStack.from_dict(again.to_dict()) == again
    for lines in ([b"1"], [b"1", b"x", b"3"], []):
        with pytest.raises(HeadMismatch):
            HeadStack.rebuild(lines, stack.last)


@pytest.mark.parametrize(
    "data", [{}, {"tree": {"size": 3, "edge": []}, "last": None}, {"tree": 1, "last": 2}]
)
def test_a_damaged_stored_stack_is_refused(data):
    with pytest.raises(IntegrityError):
        HeadStack.from_dict(data)


@pytest.mark.parametrize("origin", ["", "a\nb"])
def test_an_origin_that_is_no_line_is_refused(origin):
    with pytest.raises(UsageError):
        TreeHead(origin, 0, bytes(32)).render()


# ---- envelopes


def test_an_envelope_counts_distinct_public_keys():
    twin = SigningKey.from_seed("other-name", bytes(range(32)))
    envelope = parse_envelope(create_envelope(b"x", [KEY, KEY, twin, OTHER]))

    known = [KEY.verifier, twin.verifier, OTHER.verifier]

    assert {key.public for key in verify_envelope(envelope, known)} == {
        KEY.verifier.public,
        OTHER.verifier.public,
    }
    assert len(verify_envelope(envelope, known)) == 2


def test_the_payload_type_is_signed():
    data = create_envelope(b"x", [KEY]).replace(b"in-toto", b"in-tota")

    assert verify_envelope(parse_envelope(data), [KEY.verifier]) == ()
    other = "application/vnd.in-tota+json"
    assert verify_envelope(parse_envelope(data), [KEY.verifier], payload_type=other) == ()


def test_the_key_hint_decides_nothing():
    data = create_envelope(b"x", [KEY]).replace(KEY.verifier.label.encode(), b"nobody")

    assert verify_envelope(parse_envelope(data), [KEY.verifier]) == (KEY.verifier,)


def test_url_safe_base64_is_read():
    data = create_envelope(b"\xff\xfe\xfd???", [KEY])
    payload = data.split(b'"payload":"')[1].split(b'"')[0]
    safe = data.replace(payload, payload.replace(b"+", b"-").replace(b"/", b"_"))

    assert parse_envelope(safe) == parse_envelope(data)


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{}", b'{"payload":"","payloadType":"t","signatures":[]}', b"\xff", b"[" * 100_000,
     b'{"payload":"!","payloadType":"t","signatures":[{"sig":""}]}', b" " * (2**20 + 1)],
)  # fmt: skip
def test_a_text_that_is_no_envelope_is_refused(data):
    with pytest.raises(IntegrityError):
        parse_envelope(data)


@pytest.mark.parametrize(
    "payload", [b"", b"[]", b"{}", b'{"_type":"x","subject":[],"predicateType":"y","predicate":{}}']
)
def test_a_payload_that_is_no_statement_is_refused(payload):
    with pytest.raises(IntegrityError):
        parse_statement(payload)
