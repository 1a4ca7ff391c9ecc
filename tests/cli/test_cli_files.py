"""Flows that touch files: the workspace, consent, and going on elsewhere."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest
from flow_builder import START, end, flow, node

from abstractruntime.signing.keys import parse_vkey

WRITE = node("w", "write_file", "exec-in file_path content", "exec-out bytes")
WRITE["data"]["pinDefaults"] = {"file_path": "out/o.txt", "content": "hi"}
ASK = node("q", "ask_user", "exec-in prompt", "exec-out response", pinDefaults={"prompt": "p"})
DOCUMENT = flow(START, ASK, WRITE, end("n"), edges="s > q; q > w; w > e; w.bytes > e.n")


@pytest.fixture
def document(tmp_path: Path) -> str:
    path = tmp_path / "f.json"
    path.write_text(json.dumps(DOCUMENT))
    return str(path)


@pytest.fixture
def bundle(art, document: str, tmp_path: Path) -> str:
    path = str(tmp_path / "f.flowbundle")
    assert art("compile", document, "--unsigned", "-o", path).code == 0
    return path


def test_a_run_goes_on_in_the_workspace_it_was_started_in(art, document, tmp_path, monkeypatch):
    assert art("run", document, "--run-id", "r").code == 4
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)

    done = art("resume", "r", "--input", "x")

    assert done.code == 0, done.err
    assert (tmp_path / "out" / "o.txt").read_text() == "hi"
    assert list(elsewhere.iterdir()) == []


def test_a_workspace_is_configured(art, document, tmp_path, monkeypatch):
    chosen = tmp_path / "chosen"
    chosen.mkdir()
    monkeypatch.setenv("ART_WORKSPACE", str(chosen))

    assert art("run", document, "--run-id", "r").code == 4
    assert art("resume", "r", "--input", "x").code == 0
    assert (chosen / "out" / "o.txt").exists()


def test_a_publisher_is_known_by_the_whole_key(art, bundle, tmp_path):
    """Its short id depends on a name that the publisher chooses, so it can be made that of another."""
    art("key", "new", "acme")
    assert art("bundle", "sign", bundle, "--key", "acme").code == 0
    assert art("run", bundle, "--allow", "file:write").code == 4
    key = parse_vkey((tmp_path / "config" / "keys" / "acme.vkey").read_text().strip())
    (own,) = (tmp_path / "store-workspaces").iterdir()
    assert own.name.rpartition("--")[2] == sha256(key.public).hexdigest()[:32]


def test_a_bundle_needs_consent_to_write(art, bundle):
    refused = art("run", bundle, "--allow-unsigned", "--run-id", "r")

    assert refused.code == 3
    assert "needs file:write" in refused.err
    assert "--allow file:write" in refused.err
    assert art("show", "r").code == 66


@pytest.mark.parametrize(
    "grant", ["foo", "file:reed", "", "file:*", "file:read,file:write", "FILE:READ"]
)
def test_what_grants_nothing_is_refused(art, bundle, grant):
    refused = art("run", bundle, "--allow-unsigned", "--allow", grant, "--allow", "file:write")
    assert (refused.code, "nothing that can be granted" in refused.err) == (2, True), refused.err


@pytest.mark.parametrize("planted", ["home", "own"])
def test_a_workspace_that_came_as_a_link_is_not_followed(art, bundle, tmp_path, planted):
    allowed = ("run", bundle, "--allow-unsigned", "--allow", "file:write")
    assert art(*allowed, "--run-id", "first").code == 4
    home, target = tmp_path / "store-workspaces", tmp_path / "target"
    (own,) = home.iterdir()
    link = home if planted == "home" else own
    link.rename(target)
    link.symlink_to(target)

    refused = art(*allowed, "--run-id", "r")

    assert (refused.code, "is a link" in refused.err) == (3, True), refused.err
    assert art("show", "r").code == 66


def test_what_is_granted_is_recorded(art, bundle, tmp_path, monkeypatch):
    # The name of a home is left out of what is recorded, and it may hold the directory of tests.
    monkeypatch.setenv("HOME", "/nowhere")
    started = art("run", bundle, "--allow-unsigned", "--allow", "file:write", "--run-id", "r")

    assert started.code == 4
    (first, *_) = (tmp_path / "store").rglob("*.jsonl")
    facts = json.loads(first.read_text().splitlines()[0])["result"]
    assert facts["grants"] == ["file:write"]
    (own,) = (tmp_path / "store-workspaces").iterdir()
    assert facts["workspace"] == str(own)
    assert facts["settings"]["workspace"] == {"value": str(own), "origin": "own"}
    assert facts["settings"]["grants"] == {"value": ["file:write"], "origin": "flag --allow"}
    assert own.stat().st_mode & 0o777 == 0o700
    assert art("resume", "r", "--input", "x").code == 0
    assert (own / "out" / "o.txt").exists()
    assert not (tmp_path / "out").exists()


def test_artifacts_are_kept_in_the_store(art, tmp_path):
    keep = node("k", "import_workspace_file", "exec-in file_path", "exec-out artifact")
    keep["data"]["pinDefaults"] = {"file_path": "a.txt"}
    read = node("d", "read_artifact", "exec-in artifact", "exec-out content")
    document = flow(
        START,
        keep,
        read,
        end("v"),
        edges="s > k; k > d; d > e; k.artifact > d.artifact; d.content > e.v",
    )
    (tmp_path / "a.txt").write_text("kept")
    (tmp_path / "g.json").write_text(json.dumps(document))

    done = art("run", str(tmp_path / "g.json"))

    assert done.document == {"v": "kept", "success": True}
    assert list((tmp_path / "store" / "artifacts").rglob("*.meta"))


# -- strangers' bundles -----------------------------------------------------------------------


def reader(path: str, **data: str) -> dict:
    read = node("r", "read_file", "exec-in file_path", "exec-out content")
    read["data"]["pinDefaults"] = {"file_path": path}
    return flow(START, read, end("text"), edges="s > r; r > e; r.content > e.text", **data)


def packed(art, tmp_path: Path, document: dict, name: str = "x", *options: str) -> str:
    (tmp_path / f"{name}.json").write_text(json.dumps(document))
    path = str(tmp_path / f"{name}.flowbundle")
    done = art("compile", str(tmp_path / f"{name}.json"), "-o", path, *(options or ("--unsigned",)))
    assert done.code == 0, done.err
    return path


def test_a_bundle_needs_consent_to_read(art, tmp_path):
    bundle = packed(art, tmp_path, reader("a.txt"))

    refused = art("run", bundle, "--allow-unsigned", "--run-id", "r", "--json")

    assert refused.code == 3
    assert refused.document["error"]["details"]["missing"] == ["file:read:*"]
    assert "--allow file:read" in refused.document["error"]["hint"]
    assert not (tmp_path / "store").exists()


def test_a_granted_bundle_reads_nothing_of_the_current_directory(art, tmp_path):
    (tmp_path / "a.txt").write_text("mine")
    bundle = packed(art, tmp_path, reader("a.txt"))
    command = ("run", bundle, "--allow-unsigned", "--allow", "file:read")

    assert "File not found" in art(*command).err
    assert art(*command, "--workspace", ".").document["text"] == "mine"


@pytest.mark.parametrize("grant", ["file:read", "file:write", "file"])
def test_neither_grant_stands_for_the_other(art, tmp_path, grant):
    (tmp_path / "a.txt").write_text("mine")
    bundle = packed(art, tmp_path, reader("a.txt"))

    done = art("run", bundle, "--allow-unsigned", "--allow", grant, "--workspace", ".")

    assert done.code == (3 if grant == "file:write" else 0)


def test_unsigned_bundles_of_one_id_share_nothing_and_those_of_a_publisher_do(art, tmp_path):
    art("key", "new", "acme")
    places = []
    for name, title, options in (
        ("a", "one", ("--unsigned",)),
        ("b", "two", ("--unsigned",)),
        ("c", "one", ("--key", "acme")),
        ("d", "two", ("--key", "acme", "--version", "2.0.0")),
    ):
        bundle = packed(art, tmp_path, reader("a.txt", name=title), name, *options)
        art("run", bundle, "--allow-unsigned", "--allow", "file:read", "--run-id", name)
        first = (tmp_path / "store" / f"ledger_{name}.jsonl").read_text().splitlines()[0]
        places.append(json.loads(first)["result"]["workspace"])

    assert places[0] != places[1]
    assert places[2] == places[3] not in places[:2]


@pytest.mark.parametrize(
    "path",
    ["config/keys/release.pem", "config/trust.json", "store/store.json", "store/ledger_r.jsonl"],
)
@pytest.mark.parametrize("own", [True, False], ids=["document", "bundle"])
def test_whatever_the_workspace_is_keys_and_stores_are_out_of_reach(art, tmp_path, path, own):
    art("key", "new", "release")
    document = reader(path)
    bundle = packed(art, tmp_path, document)
    what = str(tmp_path / "x.json") if own else bundle
    flags = (
        () if own else ("--allow-unsigned", "--allow", "file:read", "--workspace", str(tmp_path))
    )

    done = art("run", what, "--run-id", "r", *flags)

    assert done.code == 1
    assert "no flow may touch" in done.err


@pytest.mark.parametrize("place", ["config", "config/keys", "store", "store/artifacts"])
def test_a_workspace_in_there_is_refused_before_anything_starts(art, document, tmp_path, place):
    art("key", "new", "release")
    art("run", document, "--run-id", "first")

    refused = art("run", document, "--run-id", "r", "--workspace", str(tmp_path / place))

    assert refused.code == 3
    assert "cannot be a workspace" in refused.err
    assert art("show", "r").code == 66


@pytest.mark.parametrize("store", ["x-workspaces", "x"])
def test_a_project_whose_store_is_called_like_workspaces_gives_none_in_it(
    art, bundle, tmp_path, monkeypatch, store
):
    monkeypatch.delenv("ART_HOME")
    where = {"store": store, "workspace": "x-workspaces/inbox"}
    (tmp_path / "art.yaml").write_text(json.dumps(where))
    (tmp_path / "art.yaml").chmod(0o644)
    assert art("run", str(tmp_path / "f.json"), "--run-id", "mine", "--workspace", ".").code == 4
    monkeypatch.setenv("ART_HOME", str(tmp_path / "x-workspaces"))
    assert art("run", str(tmp_path / "f.json"), "--run-id", "yours", "--workspace", ".").code == 4
    monkeypatch.delenv("ART_HOME")

    refused = art("run", bundle, "--allow-unsigned", "--allow", "file:write", "--run-id", "r")

    assert refused.code == 3
    assert "cannot be a workspace" in refused.err
    assert not list((tmp_path / "x-workspaces").glob("inbox/out"))


def test_a_key_named_by_its_path_is_out_of_reach(art, tmp_path, monkeypatch):
    art("key", "new", "host", "--usage", "host")
    (tmp_path / "config" / "keys").rename(tmp_path / "vault")
    (tmp_path / "vault" / "host.pem").rename(tmp_path / "vault" / "host.key")
    (tmp_path / "vault" / "host.key").chmod(0o600)
    monkeypatch.setenv("ART_HOST_KEY", str(tmp_path / "vault" / "host.key"))
    (tmp_path / "x.json").write_text(json.dumps(reader("vault/host.key")))

    done = art("run", str(tmp_path / "x.json"))

    assert done.code == 1
    assert "no flow may touch" in done.err
