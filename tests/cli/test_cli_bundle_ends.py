"""What is said and done about a bundle whose signer was retired or revoked."""

from __future__ import annotations

import contextlib
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from abstractruntime.signing.keys import VerifierKey, load_vkey

APPROVAL = Path(__file__).resolve().parents[2] / "bundles" / "release-approval" / "flow.json"
INPUT = '{"service": "api", "version": "2.1.0"}'
RUN = ("run", "x.flowbundle", "--input", INPUT)


@pytest.fixture
def signed(art: Any) -> Any:
    """A bundle that `acme` signed, and only `acme`."""
    art("key", "new", "acme")
    assert art("compile", str(APPROVAL), "--key", "acme", "-o", "x.flowbundle").code == 0
    return art


ENDS = {
    "retired": (("--retire",), "unsigned", "not_for_this_bundle"),
    "revoked": ((), "failing_signatures", "revoked"),
}


@pytest.mark.parametrize("command", [("bundle", "verify", "x.flowbundle"), RUN], ids=lambda c: c[0])
@pytest.mark.parametrize("word", ENDS)
def test_a_refusal_names_key_day_and_reason(
    signed: Any, command: tuple[str, ...], word: str
) -> None:
    flags, rule, state = ENDS[word]
    signed("key", "revoke", "acme", *flags, "--reason", "laptop lost")

    text, found = signed(*command), signed(*command, "--json")

    assert (text.code, found.code) == (3, 3)
    assert "signed by acme+" in text.err
    assert f", {word} on 20" in text.err
    assert "laptop lost" in text.err
    assert "art key trust" not in text.err
    details = found.document["error"]["details"]
    assert details["rule"] == rule
    (report,) = details["signatures"]
    assert (report["state"], report["signers"][0][:5]) == (state, "acme+")
    assert report["reason"].startswith(f"signed by acme+{report['signers'][0][5:]}, {word} on 20")
    assert report["reason"].endswith(": laptop lost")


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda art: art("key", "trust", "config/keys/acme.vkey", "--bundle", "x-*"), "may sign x-* only"),
        (lambda _: _edit(not_after="2020-01-01T00:00:00Z"), "it is valid from ever to 2020-01-01"),
        (lambda art: art("key", "trust", "config/keys/acme.vkey", "--usage", "host"), "vouches for ledgers only"),
    ],
    ids=["other bundles", "out of its time", "host"],
)  # fmt: skip
def test_a_refusal_says_what_the_key_is_for(signed: Any, change: Any, words: str) -> None:
    change(signed)

    done = signed("bundle", "verify", "x.flowbundle")

    assert (done.code, "signed by acme+" in done.err, words in done.err) == (3, True, True), (
        done.err
    )


@pytest.mark.parametrize("first", [True, False], ids=["trusted before", "trusted after"])
@pytest.mark.parametrize("end", [None, (), ("--retire",)], ids=["active", "revoked", "retired"])
def test_a_signer_is_told_by_the_name_that_the_signature_has(
    art: Any, first: bool, end: tuple[str, ...] | None
) -> None:
    (made,) = art("key", "new", "zebra", "--json").document["keys"]
    public = load_vkey(Path(made["public_key"])).public
    names = ["alias", "zoo"]
    for name in names if first else names[::-1]:
        assert art("key", "trust", VerifierKey(name, public).vkey).code == 0
    art("compile", str(APPROVAL), "--key", "zebra", "-o", "x.flowbundle")
    if end is not None:
        assert art("key", "revoke", "alias", *end).code == 0

    done = art("bundle", "verify", "x.flowbundle")

    assert "signed by zebra+" in done.out + done.err
    assert not {"alias+", "zoo+"} & {word[: word.find("+") + 1] for word in done.err.split()}


def test_a_key_that_is_named_is_told_to_have_ended(signed: Any) -> None:
    signed("key", "revoke", "acme", "--retire", "--reason", "rotated")
    named = ("bundle", "verify", "x.flowbundle", "--vkey", "config/keys/acme.vkey")

    done = signed(*named)

    assert (done.code, "was retired on 20" in done.err, "rotated" in done.err) == (0, True, True)
    signed("key", "revoke", "acme", "--reason", "laptop lost")
    done = signed(*named)
    assert (done.code, "revoked on 20" in done.err, "laptop lost" in done.err) == (3, True, True)


def test_another_signer_that_ended_is_told_beside_the_one_that_counts(signed: Any) -> None:
    signed("key", "new", "next")
    signed("bundle", "sign", "x.flowbundle", "--key", "next")
    signed("key", "revoke", "acme", "--retire", "--reason", "rotated")

    done = signed("bundle", "verify", "x.flowbundle")

    assert (done.code, "is signed by next+" in done.out) == (0, True)
    assert ", retired on 20" in done.err
    assert "rotated" in done.err


def test_the_revocation_of_a_retired_key_keeps_both_reasons(art: Any) -> None:
    art("key", "new", "k")
    art("key", "revoke", "k", "--retire", "--reason", "rotated")
    art("key", "revoke", "k", "--reason", "laptop lost")

    (key,) = art("key", "show", "k", "--json").document["keys"]

    assert (key["status"], key["reason"]) == ("revoked", "laptop lost")
    assert key["earlier"].startswith("retired on 20")
    assert key["earlier"].endswith(": rotated")


def test_a_revocation_without_a_reason_does_not_take_that_of_the_retirement(art: Any) -> None:
    art("key", "new", "k")
    art("key", "revoke", "k", "--retire", "--reason", "rotated")

    (key,) = art("key", "revoke", "k", "--json").document["keys"]

    assert (key["reason"], key["earlier"].endswith(": rotated")) == (None, True)


def _edit(**changes: Any) -> None:
    path = Path("config/trust.json")
    document = json.loads(path.read_text())
    document["keys"][0].update(changes)
    path.write_text(json.dumps(document))


def test_the_list_says_since_when_and_why(art: Any) -> None:
    art("key", "new", "k")
    art("key", "revoke", "k", "--reason", "laptop lost")

    (line,) = [line for line in art("key", "list").out.splitlines() if line.startswith("k+")]

    assert line.split()[1] == "revoked"
    assert re.search(r" ?20\d\d-\d\d-\d\d\s+laptop lost$", line), line


# -- what a retired key still vouches for ------------------------------------------------------


def _planted(_: Any) -> None:
    """A file in the store, which no run was started from."""
    from abstractruntime.storage.directory import open_store
    from abstractruntime.workflow_bundle.reader import read_bundle

    data = Path("x.flowbundle").read_bytes()
    with contextlib.closing(open_store(Path("store"))) as engine:
        engine.bundles.put(read_bundle(data, Path("x")).digest or "", data)


def _of_a_stranger(art: Any) -> None:
    """A run of somebody else, who trusts the key and shares the store."""
    own = os.environ["ART_CONFIG_DIR"]
    os.environ["ART_CONFIG_DIR"] = str(Path("stranger").absolute())
    art("key", "trust", "config/keys/acme.vkey")
    assert art(*RUN).code == 4
    os.environ["ART_CONFIG_DIR"] = own


def _unsigned(art: Any) -> None:
    """An own run that was started before anybody trusted the key."""
    trust = Path("config/trust.json")
    trusted = trust.read_bytes()
    trust.unlink()
    assert art(*RUN, "--allow-unsigned").code == 4
    trust.write_bytes(trusted)


@pytest.mark.parametrize(
    "before, code",
    [
        (_planted, 3),
        (_of_a_stranger, 3),
        (_unsigned, 3),
        (lambda art: art(*RUN), 4),
    ],
    ids=["planted", "of a stranger", "unsigned", "own"],
)
def test_a_retired_key_counts_for_what_this_user_ran_as_signed_by_it(
    signed: Any, before: Any, code: int
) -> None:
    before(signed)
    signed("key", "revoke", "acme", "--retire")

    assert signed(*RUN).code == code
    # What may be run is said to be so.
    assert signed("bundle", "verify", "x.flowbundle").code == (3 if code == 3 else 0)
