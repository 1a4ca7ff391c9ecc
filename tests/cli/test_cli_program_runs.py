"""Going on with the runs of a program in Python, where a trust store is in force."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from ledger_files import rewrite

from abstractruntime._runtime.runtime import Runtime
from abstractruntime.core.origin import RunOrigin
from abstractruntime.signing.keys import load_signing_key
from abstractruntime.storage.directory import KeySigner, open_store
from abstractruntime.visualflow_compiler import compile_visualflow
from abstractruntime.workflow_bundle.reader import read_bundle

APPROVAL = Path(__file__).resolve().parents[2] / "bundles" / "release-approval" / "flow.json"
RESUME = ("resume", "r", "--input", "approve")


@pytest.fixture
def machine(art: Any) -> Any:
    """A user who trusts a publisher, and has a host key."""
    art("key", "new", "release")
    art("key", "new", "host", "--usage", "host")
    return art


def start(key: str | None, store: str = "store", **stated: Any) -> None:
    """Start the run `r` in a program, which signs with a key or not."""
    signer = KeySigner(load_signing_key(Path(f"config/keys/{key}.pem"))) if key else None
    workflow = compile_visualflow(json.loads(APPROVAL.read_text()))
    with contextlib.closing(open_store(store, signer=signer)) as engine:
        runtime = Runtime.on_engine(engine)
        runtime.start(
            workflow=workflow,
            vars={"service": "api", "version": "2"},
            run_id="r",
            provenance=RunOrigin(workflow_id=workflow.workflow_id, **stated) if stated else None,
        )
        runtime.tick(workflow=workflow, run_id="r")


def test_a_run_that_the_host_key_of_this_machine_signed_goes_on(machine: Any) -> None:
    start("host")

    done = machine(*RESUME)

    assert done.code == 0, done.err


def by_nobody(_: Any) -> None:
    start(None)


def by_a_key_that_is_not_trusted(art: Any) -> None:
    start("host")
    trust = Path("config/trust.json")
    document = json.loads(trust.read_text())
    document["keys"] = [key for key in document["keys"] if not key["vkey"].startswith("host+")]
    trust.write_text(json.dumps(document))


def by_a_trusted_colleague(art: Any) -> None:
    start("host")
    Path("config/keys/host.pem").unlink()


def by_a_revoked_key(art: Any) -> None:
    start("host")
    art("key", "revoke", "host")


def by_a_publisher(_: Any) -> None:
    start("release")


def elsewhere(_: Any) -> None:
    start("host", "other")
    with contextlib.closing(open_store("store")):
        pass
    for path in Path("other").rglob("*_r.*"):
        (Path("store") / path.name).write_bytes(path.read_bytes())


def begun_unsigned(art: Any) -> None:
    start(None)
    art("pause", "r", "--host-key", "host")


@pytest.mark.parametrize(
    "begin",
    [by_nobody, by_a_key_that_is_not_trusted, by_a_trusted_colleague, by_a_revoked_key, by_a_publisher],
)  # fmt: skip
def test_another_one_needs_a_word_which_the_refusal_names(machine: Any, begin: Any) -> None:
    begin(machine)

    refused = machine(*RESUME)

    assert refused.code == 3, refused.err
    assert "add --accept-origin" in refused.err
    assert "signer=KeySigner(" in refused.err
    assert machine(*RESUME, "--accept-origin").code == 0


@pytest.mark.parametrize(
    "stated, claim",
    [
        ({"overrides": ("trust_code",)}, "its code runs in this process"),
        ({"grants": ("net",)}, "it has the grants net"),
        ({"workspace": "/"}, "it works in '/'"),
    ],
)
def test_a_signature_is_no_word_for_more_than_the_flow(
    machine: Any, stated: dict[str, Any], claim: str
) -> None:
    start("host", **stated)

    refused = machine(*RESUME)

    assert (refused.code, claim in refused.err) == (3, True), refused.err


@pytest.mark.parametrize("end", [(), ("--retire",)], ids=["revoked", "retired"])
def test_a_signature_of_the_host_outweighs_none_of_a_publisher(
    machine: Any, end: tuple[str, ...]
) -> None:
    assert machine("compile", str(APPROVAL), "--key", "release", "-o", "x.flowbundle").code == 0
    data = Path("x.flowbundle").read_bytes()
    bundle = read_bundle(data, Path("x"))
    with contextlib.closing(open_store("store")) as engine:
        engine.bundles.put(bundle.digest or "", data)
    start("host", bundle_ref="release-approval@0.0.0", bundle_digest=bundle.digest)
    machine("key", "revoke", "release", *end)

    refused = machine(*RESUME)

    assert (refused.code, "signed by release+" in refused.err) == (3, True), refused.err


def test_a_planted_first_record_is_not_signed(machine: Any, monkeypatch: Any) -> None:
    """It names the host of this machine, and there is no head yet, as after a death."""
    start("host")
    rewrite(Path("store"), "r", lambda records: records.__delitem__(slice(1, None)))
    for name in ("heads_r.jsonl", "run_r.json"):
        Path("store", name).unlink(missing_ok=True)
    monkeypatch.setenv("ART_HOST_KEY", "host")

    done = machine("pause", "r")

    assert done.code == 1, done.err
    assert not Path("store/heads_r.jsonl").exists()
    assert machine(*RESUME).code == 3
    # Whoever wants to be rid of it is.
    assert machine("cancel", "r", "--yes").code == 1
    assert machine("cancel", "r", "--yes", "--accept-origin").code == 0
