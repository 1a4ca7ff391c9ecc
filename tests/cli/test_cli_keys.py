"""Keys, trust, compiling and signing through the command line."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from abstractruntime import _files

ROOT = Path(__file__).resolve().parents[2]
APPROVAL = str(ROOT / "bundles" / "release-approval" / "flow.json")


def test_new_key_is_private_and_trusted(art: Any, tmp_path: Path) -> None:
    key = art("key", "new", "acme.org/release", "--bundle", "acme-*", "--json").document["keys"][0]

    assert stat.S_IMODE(Path(key["private_key"]).stat().st_mode) == 0o600
    assert Path(key["private_key"]).is_relative_to(tmp_path / "config")
    assert (key["status"], key["usages"], key["bundles"]) == ("active", ["bundle"], ["acme-*"])
    assert art("key", "new", "acme.org/release").code == 2


def test_passphrase_protects_the_key(art: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ART_KEY_PASSPHRASE", "secret")
    art("key", "new", "release")
    compile_ = ("compile", APPROVAL, "--key", "release", "-o", "x.flowbundle")

    assert art(*compile_).code == 0
    monkeypatch.setenv("ART_KEY_PASSPHRASE", "wrong")
    assert art(*compile_).code == 2


def test_a_trusted_key_of_someone_else_lets_their_bundle_run(
    art: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    art("key", "new", "acme")
    art("compile", APPROVAL, "--key", "acme", "-o", "x.flowbundle")
    vkey = tmp_path / "config" / "keys" / "acme.vkey"
    monkeypatch.setenv("ART_CONFIG_DIR", str(tmp_path / "other"))
    art("key", "new", "own")

    assert art("run", "x.flowbundle").code == 3
    assert art("key", "trust", vkey.read_text().strip()).code == 0
    assert art("run", "x.flowbundle").code == 4
    assert art("key", "revoke", "acme").code == 0
    assert art("run", "x.flowbundle").code == 3
    assert art("key", "trust", str(vkey)).code == 2


@pytest.mark.parametrize("usage, word", [("party", "party"), ("", "''")])
def test_unknown_usage(art: Any, usage: str, word: str) -> None:
    result = art("key", "new", "x", "--usage", usage)

    assert result.code == 2
    assert word in result.err


def test_compile_wants_a_decision_about_signing(art: Any) -> None:
    assert "--unsigned" in art("compile", APPROVAL).err
    assert art("compile", APPROVAL, "--unsigned", "--key", "x").code == 2


def test_compile_is_reproducible_and_signing_keeps_the_digest(art: Any, tmp_path: Path) -> None:
    art("key", "new", "release")
    for name in ("a", "b"):
        art("compile", APPROVAL, "--unsigned", "-o", f"{name}.flowbundle")
    plain = art("bundle", "show", "a.flowbundle", "--json").document

    assert (tmp_path / "a.flowbundle").read_bytes() == (tmp_path / "b.flowbundle").read_bytes()
    signed = art("bundle", "sign", "b.flowbundle", "--key", "release", "--json").document
    assert signed["digest"] == plain["digest"]
    assert signed["signers"] != plain["signers"] == []


def test_compile_sanitises_the_bundle_id(art: Any) -> None:
    result = art("compile", APPROVAL, "--unsigned", "--id", "My Flow!", "--json")

    assert result.document["id"] == "my-flow"
    assert "my-flow" in result.err
    assert result.document["file"] == "my-flow.flowbundle"


def test_compile_of_a_directory_finds_the_root_and_its_subflows(art: Any) -> None:
    document = art(
        "compile", str(ROOT / "bundles" / "price-orders"), "--unsigned", "-o", "x.flowbundle", "--json"
    ).document  # fmt: skip

    assert len(document["flows"]) == 2
    assert document["entrypoints"][0]["input_schema"]["type"] == "object"


def test_bundle_show_tells_the_input_contract(art: Any) -> None:
    art("compile", APPROVAL, "--unsigned", "-o", "x.flowbundle")

    entry = art("bundle", "show", "x.flowbundle", "--json").document["entrypoints"][0]

    assert entry["input_schema"]["properties"]["service"] == {"type": "string"}
    assert entry["input_schema"]["properties"]["hold_minutes"] == {"type": "number", "default": 60}


def test_unpack_writes_the_flows_and_nothing_twice(art: Any, tmp_path: Path) -> None:
    art("compile", APPROVAL, "--unsigned", "-o", "x.flowbundle")
    command = ("bundle", "unpack", "x.flowbundle", "-o", "content")

    assert art(*command).code == 0
    flow = tmp_path / "content" / "flows" / "release-approval.json"
    assert flow.read_bytes() == Path(APPROVAL).read_bytes()
    assert art(*command).code == 2
    assert art(*command, "--force").code == 0


# -- ended trust --------------------------------------------------------------------------------


def sign_commands(name: str) -> list[tuple[str, ...]]:
    return [
        ("compile", APPROVAL, "--key", name, "-o", "new.flowbundle"),
        ("bundle", "sign", "plain.flowbundle", "--key", name, "-o", "new.flowbundle"),
    ]


@pytest.mark.parametrize(
    ("make", "end", "why"),
    [
        ((), ("key", "revoke", "k"), "revoked"),
        ((), ("key", "revoke", "k", "--retire"), "retired"),
        (("--usage", "host"), ("key", "list"), "ledgers only"),
        (("--bundle", "acme-*"), ("key", "list"), "acme-* only"),
    ],
    ids=["revoked", "retired", "host", "other bundles"],
)
def test_nobody_signs_what_would_not_count(
    art: Any, tmp_path: Path, make: tuple[str, ...], end: tuple[str, ...], why: str
) -> None:
    art("compile", APPROVAL, "--unsigned", "-o", "plain.flowbundle")
    assert art("key", "new", "k", *make).code == 0
    assert art(*end).code == 0

    for command in sign_commands("k"):
        refused = art(*command)
        assert (refused.code, why in refused.err) == (3, True)
    assert not (tmp_path / "new.flowbundle").exists()


@pytest.mark.parametrize(
    "end", [("--usage", "bundle"), ("revoke",), ("retire",)], ids=lambda e: e[-1]
)
def test_heads_are_signed_by_a_host_key_in_force(art: Any, end: tuple[str, ...]) -> None:
    art("key", "new", "k", "--usage", end[1] if len(end) > 1 else "host")
    if len(end) == 1:
        art("key", "revoke", "k", *(("--retire",) if end == ("retire",) else ()))

    assert art("run", APPROVAL, "--host-key", "k").code == 3


@pytest.mark.parametrize(
    ("end", "setting", "code"),
    [
        ((), None, 0),
        (("--retire",), None, 0),
        (("--reason", "lost"), None, 3),
        (("--reason", "lost"), "finish", 0),
    ],
    ids=["nothing", "retired", "revoked", "revoked, may finish"],
)
def test_a_parked_run_goes_on_while_its_signer_counts(
    art: Any,
    monkeypatch: pytest.MonkeyPatch,
    end: tuple[str, ...],
    setting: str | None,
    code: int,
) -> None:
    art("key", "new", "acme")
    art("key", "new", "other")
    art("compile", APPROVAL, "--key", "acme", "-o", "x.flowbundle")
    assert art("run", "x.flowbundle", "--run-id", "r").code == 4
    if end:
        art("key", "revoke", "acme", *end)
    if setting:
        monkeypatch.setenv("ART_ON_REVOKED", setting)

    done = art("resume", "r", "--input", "approve")

    assert done.code == code, done.err
    if code:
        assert "art cancel r" in done.err
        assert art("tick", "r").code == 3
        assert art("cancel", "r").code == 0


@pytest.mark.parametrize(("end", "code"), [((), 3), (("--retire",), 4)], ids=["revoked", "retired"])
def test_what_was_installed_before_stays_good_when_its_key_is_retired(
    art: Any, end: tuple[str, ...], code: int
) -> None:
    art("key", "new", "acme")
    art("compile", APPROVAL, "--key", "acme", "-o", "old.flowbundle")
    art("compile", APPROVAL, "--key", "acme", "--version", "2.0.0", "-o", "new.flowbundle")
    assert art("run", "old.flowbundle").code == 4
    art("key", "revoke", "acme", *end)

    assert art("run", "old.flowbundle").code == code
    assert art("run", "new.flowbundle").code == 3
    assert art("run", "new.flowbundle", "--allow-unsigned").code == (3 if code == 3 else 4)


def test_the_last_revocation_does_not_let_the_unsigned_in(art: Any) -> None:
    art("key", "new", "acme")
    art("compile", APPROVAL, "--unsigned", "-o", "x.flowbundle")
    assert art("run", "x.flowbundle").code == 3

    art("key", "revoke", "acme")

    assert art("run", "x.flowbundle").code == 3


def test_a_retired_key_is_trusted_again_only_on_demand(art: Any, tmp_path: Path) -> None:
    art("key", "new", "acme")
    art("key", "revoke", "acme", "--retire")
    vkey = str(tmp_path / "config" / "keys" / "acme.vkey")

    assert art("key", "trust", vkey).code == 2
    assert art("key", "trust", vkey, "--again").code == 0


# -- interrupted and shared files -----------------------------------------------------------------


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("after", [0, 1, 2, 3])
@pytest.mark.parametrize("is_torn", [False, True], ids=["between writes", "within a write"])
def test_a_key_whose_making_was_interrupted_is_explained_and_finished(
    art: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int, is_torn: bool
) -> None:
    real, seen = _files._write_synced, []

    def writing(path: Path, data: bytes, mode: int) -> None:
        seen.append(path)
        if len(seen) > after:
            if is_torn:
                real(path, data[: len(data) // 2], mode)
                monkeypatch.setattr(Path, "unlink", lambda *_a, **_k: None)
            raise Killed
        real(path, data, mode)

    with monkeypatch.context() as patch:
        patch.setattr(_files, "_write_synced", writing)
        patch.setattr(Path, "unlink", Path.unlink)
        if after < 3:
            with pytest.raises(Killed):
                art("key", "new", "acme/release")
        else:
            art("key", "new", "acme/release")
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ART_HOME", str(tmp_path / "store"))
    monkeypatch.setenv("ART_CONFIG_DIR", str(tmp_path / "config"))

    listed, advice = art("key", "list").err, art("doctor").out
    if after in (1, 2):
        assert "interrupted" in listed
        assert "art key new acme" in listed
        assert "interrupted" in advice
    if is_torn and after == 0:
        assert "hint: rm " in listed
    again = art("key", "new", "acme/release", "--json")
    assert again.code == (0 if after < 3 else 2), again.err
    assert art("key", "list", "--json").document["keys"][0]["status"] == "active"
    assert art("compile", APPROVAL, "--key", "acme/release", "-o", "x.flowbundle").code == 0


def test_a_begun_key_needs_its_passphrase(art: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("ART_KEY_PASSPHRASE", "first")
    art("key", "new", "acme")
    (tmp_path / "config" / "keys" / "acme.vkey").unlink()
    (tmp_path / "config" / "trust.json").unlink()
    monkeypatch.setenv("ART_KEY_PASSPHRASE", "second")

    refused = art("key", "new", "acme")

    assert refused.code == 2
    assert "another passphrase" in refused.err
    monkeypatch.setenv("ART_KEY_PASSPHRASE", "first")
    assert art("key", "new", "acme").code == 0


def test_nothing_private_depends_on_the_umask(art: Any, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        art("key", "new", "acme")
        assert art("run", APPROVAL, "--run-id", "r").code == 4
        art("runs")
    finally:
        os.umask(before)
    modes = {
        path.relative_to(tmp_path).as_posix(): stat.S_IMODE(path.stat().st_mode)
        for top in ("config", "store")
        for path in (tmp_path / top, *(tmp_path / top).rglob("*"))
    }

    open_to_others = {name for name, mode in modes.items() if mode & 0o077}
    assert open_to_others == {"config/keys/acme.vkey"}
    assert {"store/index.sqlite", "config/seal.key"} <= modes.keys()


@pytest.mark.parametrize("place", ["config", "config/keys", "config/trust.json", "store"])
def test_the_doctor_finds_what_others_can_write(art: Any, tmp_path: Path, place: str) -> None:
    art("key", "new", "acme")
    art("run", APPROVAL)
    assert art("doctor").code == 0
    (tmp_path / place).chmod(0o777)

    found = art("doctor")

    assert found.code == 1
    assert f"chmod go-w {tmp_path / place}" in found.out


@pytest.mark.parametrize("place", ["config/keys", "config/keys/acme.vkey"])
def test_a_key_that_others_could_have_replaced_signs_nothing(
    art: Any, tmp_path: Path, place: str
) -> None:
    art("key", "new", "acme")
    (tmp_path / place).chmod(0o777)

    refused = art("compile", APPROVAL, "--key", "acme", "-o", "x.flowbundle")

    assert (refused.code, "chmod go-w" in refused.err) == (3, True)


def test_a_key_that_is_revoked_here_vouches_for_nothing_when_it_is_named(
    art: Any, tmp_path: Path
) -> None:
    art("key", "new", "k")
    assert art("compile", APPROVAL, "-o", "f.flowbundle", "--key", "k").code == 0
    verify = ("bundle", "verify", "f.flowbundle", "--vkey", str(tmp_path / "config/keys/k.vkey"))
    assert art(*verify).code == 0
    assert art("key", "revoke", "k").code == 0
    refused = art(*verify)
    assert (refused.code, "was revoked on" in refused.err) == (3, True)


@pytest.mark.parametrize("glob", ["[", "acme-[ab", "a[]"])
def test_a_set_that_nothing_closes_names_no_bundles(art: Any, glob: str) -> None:
    refused = art("key", "new", "k", "--bundle", glob)

    assert (refused.code, "nothing closes" in refused.err) == (2, True)
    assert art("key", "new", "k", "--bundle", "acme-[ab]*").code == 0
