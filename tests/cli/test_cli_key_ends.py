"""What comes of signatures when a key is rotated, revoked, imported or lost."""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from abstractruntime.schemas import load_schema
from abstractruntime.signing import SigningKey

APPROVAL = Path(__file__).resolve().parents[2] / "bundles" / "release-approval" / "flow.json"
INPUT = '{"service": "api", "version": "2.1.0"}'
RUN = ("run", str(APPROVAL), "--input", INPUT)
SEED = bytes(range(32))


@pytest.fixture
def signed(art: Any) -> Any:
    """A run whose ledger the host `old` signed, and the heads as files."""
    assert art("key", "new", "old", "--usage", "host").code == 0
    assert art(*RUN, "--run-id", "r", "--host-key", "old").code == 4
    shutil.copy("store/ledger_r.jsonl", "l.jsonl")
    shutil.copy("store/heads_r.jsonl", "h.jsonl")
    assert art("export-history", "r", "-o", "history.json").code == 0
    return art


FORMS = {
    "run": ("r",),
    "file": ("l.jsonl", "--heads", "h.jsonl"),
    "history": ("history.json",),
    "named": ("l.jsonl", "--heads", "h.jsonl", "--vkey", "config/keys/old.vkey"),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_retired_host_key_leaves_old_ledgers_valid(signed: Any, form: tuple[str, ...]) -> None:
    assert signed("key", "revoke", "old", "--retire", "--reason", "rotated").code == 0
    signed("key", "new", "new", "--usage", "host")

    done = signed("ledger", "verify", *form, "--require-signed")

    assert (done.code, done.out.split(":")[0]) == (0, "valid")
    assert "signed by old+" in done.out
    assert ", retired on 20" in done.out
    assert "rotated" in done.out


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("others", [False, True], ids=["alone", "beside-another"])
def test_the_verdict_names_the_revocation(signed: Any, form: tuple[str, ...], others: bool) -> None:
    if others:
        signed("key", "new", "new", "--usage", "host")
    assert signed("key", "revoke", "old", "--reason", "host was broken into").code == 0

    done = signed("ledger", "verify", *form)

    assert (done.code, done.out.split(":")[0]) == (1, "invalid")
    assert "head_key_revoked" in done.out
    assert "revoked on 20" in done.out
    assert "host was broken into" in done.out


def test_what_a_revoked_host_began_no_later_host_vouches_for(signed: Any) -> None:
    signed("key", "new", "new", "--usage", "host")
    assert signed("resume", "r", "--input", "approve", "--host-key", "new").code == 0
    assert signed("doctor", "--deep").code == 0
    signed("key", "revoke", "old", "--reason", "stolen")

    done, health = signed("ledger", "verify", "r"), signed("doctor", "--deep")

    assert (done.code, "head_key_revoked" in done.out, "stolen" in done.out) == (1, True, True)
    assert (health.code, "head_key_revoked" in health.out) == (1, True)


def test_nor_for_what_it_wrote_in_between(art: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Begun and ended by a host in force, answered under one that is revoked since."""
    for name in ("good", "bad"):
        art("key", "new", name, "--usage", "host")
    assert (
        art("run", str(APPROVAL), "--run-id", "r", "--input", INPUT, "--host-key", "good").code == 4
    )
    monkeypatch.setenv("ART_HOST_KEY", "bad")
    assert art("limits", "r", "steps=5000").code == 0
    monkeypatch.setenv("ART_HOST_KEY", "good")
    assert art("resume", "r", "--input", "approve").code == 0
    assert art("ledger", "verify", "r", "--require-signed").code == 0
    art("key", "revoke", "bad", "--reason", "stolen")

    assert art("ledger", "verify", "r").code == 1


def test_a_run_of_a_retired_host_goes_on_under_the_next(signed: Any) -> None:
    signed("key", "new", "new", "--usage", "host")
    signed("key", "revoke", "old", "--retire")

    assert signed("resume", "r", "--input", "approve", "--host-key", "new").code == 0
    done = signed("ledger", "verify", "r", "--require-signed", "--json")
    assert (done.code, done.document["verdict"]) == (0, "valid")
    assert [label.split("+")[0] for label in done.document["signers"]] == ["old", "new"]


def test_a_key_out_of_its_time_signs_no_bundle(art: Any) -> None:
    art("key", "new", "k")
    trust = Path("config/trust.json")
    document = json.loads(trust.read_text())
    document["keys"][0]["not_after"] = "2020-01-01T00:00:00Z"
    trust.write_text(json.dumps(document))

    done = art("compile", str(APPROVAL), "--key", "k", "-o", "x.flowbundle")

    assert (done.code, "it is valid from ever to 2020" in done.err) == (3, True)
    assert not Path("x.flowbundle").exists()


@pytest.mark.parametrize("status", ["retire", "revoke"])
def test_the_first_decision_stays_on_record(art: Any, status: str) -> None:
    art("key", "new", "k")
    flags = ("--retire",) if status == "retire" else ()
    first = art("key", "revoke", "k", *flags, "--reason", "one", "--json").document["keys"][0]
    again = art("key", "revoke", "k", *flags, "--reason", "two", "--json").document["keys"][0]

    assert first["reason"] == again["reason"] == "one"
    assert first["since"] == again["since"] is not None


# -- import ----------------------------------------------------------------------------------


def pem(name: str, passphrase: bytes | None = None, mode: int = 0o600) -> Path:
    path = Path(name)
    path.write_bytes(SigningKey.from_seed("any", SEED).to_pem(passphrase))
    path.chmod(mode)
    return path


def test_a_private_key_is_imported_and_signs(art: Any) -> None:
    pem("k.pem")

    done = art("key", "import", "k.pem", "--name", "acme", "--bundle", "release-*", "--json")

    (key,) = done.document["keys"]
    assert (key["name"], key["status"], key["bundles"]) == ("acme", "active", ["release-*"])
    assert Path(key["private_key"]).stat().st_mode & 0o777 == 0o600
    assert art("compile", str(APPROVAL), "--key", "acme", "-o", "x.flowbundle").code == 0
    assert art("run", "x.flowbundle", "--input", INPUT).code == 4


def test_a_key_pair_keeps_its_name(art: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ART_CONFIG_DIR", "elsewhere")
    made = art("key", "new", "acme.org/release", "--json").document["keys"][0]
    monkeypatch.setenv("ART_CONFIG_DIR", "config")

    done = art("key", "import", made["private_key"], "--usage", "host", "--json").document["keys"][
        0
    ]

    assert (done["label"], done["usages"]) == (made["label"], ["ledger"])


@pytest.mark.parametrize("is_pem", [False, True], ids=["vkey", "pem"])
def test_a_public_key_is_imported(art: Any, is_pem: bool) -> None:
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    key = SigningKey.from_seed("acme", SEED).verifier
    public = Ed25519PublicKey.from_public_bytes(key.public)
    text = public.public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    Path("k").write_bytes(text if is_pem else key.vkey.encode())

    done = art("key", "import", "k", *(("--name", "acme") if is_pem else ()), "--json")

    (found,) = done.document["keys"]
    assert (found["label"], found["private_key"]) == (key.label, None)
    assert Path("config/keys/acme.vkey").read_text().strip() == key.vkey


@pytest.mark.parametrize(
    "passphrase, given, code",
    [(None, "new", 0), (b"old", "old", 0), (b"old", None, 2), (b"old", "new", 2)],
)
def test_a_passphrase_opens_what_is_imported_and_closes_it_again(
    art: Any,
    monkeypatch: pytest.MonkeyPatch,
    passphrase: bytes | None,
    given: str | None,
    code: int,
) -> None:
    pem("k.pem", passphrase)
    if given:
        monkeypatch.setenv("ART_KEY_PASSPHRASE", given)

    done = art("key", "import", "k.pem", "--name", "acme")

    assert done.code == code
    assert "ART_KEY_PASSPHRASE" in done.err or not code
    if not code:
        assert b"ENCRYPTED" in Path("config/keys/acme.pem").read_bytes()


@pytest.mark.parametrize(
    "prepare, args, code, words",
    [
        (lambda: pem("k.pem"), ("k.pem",), 2, "art key import k.pem --name NAME"),
        (lambda: pem("k.pem", mode=0o644), ("k.pem", "--name", "a"), 3, "chmod 600"),
        (lambda: Path("k").write_text("hello"), ("k",), 2, "verifier key"),
        (lambda: Path("k").write_text("-----BEGIN PRIVATE KEY-----"), ("k", "--name", "a"), 3, ""),
        (lambda: None, ("nope",), 66, "nope"),
    ],
    ids=["no-name", "shared", "no-key", "open-mode", "missing"],
)
def test_what_cannot_be_imported(
    art: Any, prepare: Any, args: tuple[str, ...], code: int, words: str
) -> None:
    prepare()
    done = art("key", "import", *args)

    assert (done.code, words in done.err) == (code, True), done.err
    assert not list(Path("config/keys").glob("*")) if Path("config/keys").exists() else True


@pytest.mark.parametrize("end, words", [((), "for good"), (("--retire",), "--again")])
def test_a_key_that_ended_does_not_come_back_by_import(
    art: Any, end: tuple[str, ...], words: str
) -> None:
    pem("k.pem")
    art("key", "import", "k.pem", "--name", "acme")
    art("key", "revoke", "acme", *end)

    done = art("key", "import", "k.pem", "--name", "other")

    assert (done.code, words in done.err) == (2, True)
    assert not Path("config/keys/other.pem").exists()


NARROW = ("--bundle", "x-*"), ("bundle",), ("x-*",)
HOST = ("--usage", "host"), ("ledger",), ("*",)


@pytest.mark.parametrize("name", ["acme", "other"])
@pytest.mark.parametrize("flags, usages, bundles", [NARROW, HOST], ids=["narrow", "host"])
@pytest.mark.parametrize("by", ["trust", "again", "import"])
def test_trusting_again_widens_nothing_that_is_not_said(
    art: Any, by: str, name: str, flags: tuple[str, ...], usages: Any, bundles: Any
) -> None:
    pem("k.pem")
    art("key", "import", "k.pem", "--name", "acme", *flags)
    trust = Path("config/trust.json")
    document = json.loads(trust.read_text())
    document["keys"][0]["not_after"] = "2020-01-01T00:00:00Z"
    trust.write_text(json.dumps(document))
    vkey = SigningKey.from_seed(name, SEED).verifier.vkey
    if by == "again":
        art("key", "revoke", "acme", "--retire")
    if by == "import":
        shutil.rmtree("config/keys")
        done = art("key", "import", "k.pem", "--name", name)
    else:
        done = art("key", "trust", vkey, *(("--again",) if by == "again" else ()))

    assert done.code == 0, done.err
    for key in art("key", "list", "--json").document["keys"]:
        found = tuple(key["usages"]), tuple(key["bundles"]), key["not_after"]
        assert found == (usages, bundles, "2020-01-01T00:00:00Z")
    assert (
        art("key", "trust", vkey, "--bundle", "y-*", "--usage", "bundle", "--usage", "host").code
        == 0
    )


# -- names and files -------------------------------------------------------------------------


def test_names_that_no_file_can_hold_share_none(art: Any) -> None:
    names = (".", "ü", "ö", "x" * 150, "x" * 150 + "y", "a")

    assert [art("key", "new", name).code for name in names] == [0] * len(names)
    assert art("key", "new", "x" * 300).code == 2
    assert "of the key 'a'" in art("key", "new", "a-").err


def test_a_key_without_its_public_line_says_how_to_go_on(art: Any) -> None:
    art("key", "new", "host", "--usage", "host")
    Path("config/keys/host.vkey").unlink()

    done = art(*RUN, "--host-key", "config/keys/host.pem")

    assert (done.code, "art key import config/keys/host.pem --name NAME" in done.err) == (2, True)


@pytest.mark.parametrize("given", [None, "wrong"])
def test_an_encrypted_key_names_the_passphrase(
    art: Any, monkeypatch: pytest.MonkeyPatch, given: str | None
) -> None:
    monkeypatch.setenv("ART_KEY_PASSPHRASE", "right")
    art("key", "new", "k")
    monkeypatch.delenv("ART_KEY_PASSPHRASE")
    if given:
        monkeypatch.setenv("ART_KEY_PASSPHRASE", given)

    done = art("compile", str(APPROVAL), "--key", "k", "-o", "x.flowbundle")

    assert (done.code, "set ART_KEY_PASSPHRASE, or" in done.err) == (2, True)


# -- asking ----------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


ASKED = {
    "revoke": (("key", "revoke", "k"), "Revoke key 'k+"),
    "cancel": (("cancel", "r"), "Cancel run r?"),
    "purge": (("gc", "--purge", "done", "--apply"), "Remove run done ("),
    "repair": (("repair", "torn", "--apply"), "Repair run torn: write the checkpoint anew"),
}


@pytest.fixture
def at_terminal(art: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Type something at a command; gives the exit code and what was said."""
    art("key", "new", "k")
    art(*RUN, "--run-id", "r")
    art(*RUN, "--run-id", "done")
    art("cancel", "done")
    art(*RUN, "--run-id", "torn")
    Path("store/run_torn.json").write_text("{}")

    def call(command: tuple[str, ...], typed: str | None) -> tuple[int, str]:
        err = Terminal()
        if typed is not None:
            monkeypatch.setattr(sys, "stdin", Terminal(typed))
            monkeypatch.setattr(sys, "stderr", err)
        done = art(*command)
        return done.code, err.getvalue() + done.err

    return call


@pytest.mark.parametrize("command, question", ASKED.values(), ids=ASKED)
@pytest.mark.parametrize(
    "typed, flags, code, is_asked",
    [
        ("n\n", (), 2, True),
        ("", (), 2, True),
        ("y\n", (), 0, True),
        ("n\n", ("--yes",), 0, False),
        (None, ("--yes",), 0, False),
        (None, (), None, None),
    ],
    ids=["no", "end", "yes", "flag", "script", "script without a word"],
)
def test_what_cannot_be_undone_is_asked_on_a_terminal(
    at_terminal: Any,
    command: tuple[str, ...],
    question: str,
    typed: str | None,
    flags: tuple[str, ...],
    code: int | None,
    is_asked: bool | None,
) -> None:
    done, said = at_terminal((*command, *flags), typed)
    if code is None:
        # What only ends something must not fail for want of a word; what loses data does.
        code, is_asked = (2, True) if "--purge" in command else (0, False)

    assert (done, question in said) == (code, is_asked), said


def test_nothing_is_done_without_consent(at_terminal: Any, art: Any) -> None:
    for command, _ in ASKED.values():
        at_terminal(command, "n\n")

    assert art("key", "show", "k", "--json").document["keys"][0]["status"] == "active"
    assert {run["run_id"]: run["status"] for run in art("runs", "--json").document["runs"]} == {
        "r": "waiting",
        "done": "cancelled",
        "torn": "waiting",
    }
    assert Path("store/run_torn.json").read_text() == "{}"


def test_retiring_is_not_asked(at_terminal: Any) -> None:
    assert at_terminal(("key", "revoke", "k", "--retire"), "n\n")[0] == 0


def test_keys_with_a_moment_have_a_schema() -> None:
    assert "since" in json.dumps(load_schema("keys"))
