"""Installed bundles: versions in order, references, installing, and files that are no bundles."""

from __future__ import annotations

import json
import os
import random
import zipfile
from io import BytesIO
from pathlib import Path

import pytest

from abstractruntime.errors import NotFound
from abstractruntime.workflow_bundle import (
    BundlePlan,
    FlowLibrary,
    WorkflowBundleRegistry,
    WorkflowBundleRegistryError,
    default_workflow_bundles_dir,
    pack_flowbundle,
    sanitize_bundle_id,
    sanitize_bundle_version,
)
from abstractruntime.workflow_bundle import _installed as installed
from abstractruntime.workflow_bundle._references import Reference, parse_reference, version_order

FLOW = b'{"id":"main","name":"Main"}'


def archive(bundle_id="demo", version="1.0.0", *, created_at="", entries=None, default=None):
    """Give a zip as 0.4.x packs it."""
    entries = entries or [{"flow_id": "main", "name": "Main", "interfaces": ["agent.v1"]}]
    manifest = {
        "bundle_format_version": "1",
        "bundle_id": bundle_id,
        "bundle_version": version,
        "created_at": created_at,
        "entrypoints": entries,
        "flows": {"main": "flows/main.json"},
    }
    if default:
        manifest["default_entrypoint"] = default
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        zipped.writestr("manifest.json", json.dumps(manifest))
        zipped.writestr("flows/main.json", FLOW)
    return file.getvalue()


def signed_kind(version="1.0.0"):
    library = FlowLibrary.from_documents({"main": FLOW})
    return pack_flowbundle(library, BundlePlan(["main"], "demo", version))


@pytest.fixture
def registry(tmp_path):
    return WorkflowBundleRegistry(tmp_path / "bundles")


# -- names -------------------------------------------------------------------

# From oldest to latest, as the module documents it.
VERSIONS = [
    "draft.b", "stable", "\u00b2", "2.0.0-1", "2.0.0-alpha", "2.0.0-alpha.1", "2.0.0-alpha.beta",
    "2.0.0-beta.2", "2.0.0-beta.11", "2.0.0-rc.1", "0.9", "1.2.0", "1.2.0.1", "1.10.0", "10.0.0",
]  # fmt: skip


def test_versions_have_one_order_whatever_order_they_are_met_in():
    shuffled = random.Random(7).sample(VERSIONS, len(VERSIONS))

    assert sorted(shuffled, key=version_order) == VERSIONS


def test_versions_without_number_are_ordered_by_their_time():
    assert version_order("b", "2026-01-01") < version_order("a", "2026-01-02")


@pytest.mark.parametrize(
    ("versions", "latest"),
    [
        (["1.8.0", "1.10.0", "1.9.0-rc1"], "1.10.0"),
        (["1.0.0", "2.0.0-rc.1"], "1.0.0"),
        (["2.0.0-rc.1", "2.0.0-rc.2"], "2.0.0-rc.2"),
        (["1.0.0", "draft.x", "nightly"], "1.0.0"),
        (["1", "\u00b2"], "1"),
    ],
    ids=["numeric", "release wins", "only pre-releases", "texts below", "superscript digit"],
)
def test_latest(registry, versions, latest):
    for number, version in enumerate(versions):
        # A later time of creation does not make an older version the latest.
        data = archive(version=version, created_at=f"2026-01-0{number + 1}")
        (registry.ensure_dir() / f"{number}.flow").write_bytes(data)

    assert registry.resolve_bundle("demo").bundle_version == latest


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("demo", Reference("demo")),
        ("demo@", Reference("demo")),
        ("demo@1.0", Reference("demo", "1.0")),
        (" demo@1.0:a:b ", Reference("demo", "1.0", "a:b")),
        ("demo@1.0.flow", Reference("demo", "1.0")),
        ("demo.flowbundle:x", Reference("demo", None, "x")),
        ("C:\\x\\y.flow", Reference("C:\\x\\y")),
    ],
)
def test_references(text, wanted):
    assert parse_reference(text) == wanted


@pytest.mark.parametrize(
    ("clean", "raw", "result"),
    [
        (sanitize_bundle_id, " a.b ", "a-b"),
        (sanitize_bundle_id, "--a -- b--", "a-b"),
        (sanitize_bundle_id, "caf\u00e9_1", "caf-_1"),
        (sanitize_bundle_id, "../../x", "x"),
        (sanitize_bundle_version, "..", ".."),
        (sanitize_bundle_version, "1.0+b/2", "1.0-b-2"),
    ],
)
def test_cleaned_names(clean, raw, result):
    assert clean(raw) == result


def test_default_directory(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in installed_variables():
        monkeypatch.delenv(name, raising=False)
    assert default_workflow_bundles_dir() == tmp_path / "home/.abstractframework/workflows"

    (tmp_path / "flows/bundles").mkdir(parents=True)
    assert default_workflow_bundles_dir() == Path("flows/bundles")

    for name in reversed(installed_variables()):
        monkeypatch.setenv(name, f"/{name}")
        assert default_workflow_bundles_dir() == Path(f"/{name}")
    monkeypatch.setenv(installed_variables()[0], "  ")
    assert default_workflow_bundles_dir() == Path(f"/{installed_variables()[1]}")


def installed_variables():
    return [
        "ABSTRACTFRAMEWORK_WORKFLOWS_DIR",
        "ABSTRACTGATEWAY_FLOWS_DIR",
        "ABSTRACTFLOW_PUBLISH_DIR",
        "ABSTRACTFLOW_FLOWS_DIR",
    ]


# -- resolving -----------------------------------------------------------------

TWO = [
    {"flow_id": "main", "name": "Main", "interfaces": ["agent.v1"]},
    {"flow_id": "side", "name": None, "interfaces": ["chat.v1"]},
]


@pytest.fixture
def stocked(registry):
    registry.install_bytes(archive(version="1.0.0"))
    registry.install_bytes(archive(version="1.1.0", entries=TWO, default="side"))
    registry.install_bytes(archive("other", entries=[{"flow_id": "o", "name": "Deep: Search"}]))
    (registry.bundles_dir / "named.flow").write_bytes(archive("renamed", "0.0.5"))
    return registry


@pytest.mark.parametrize(
    ("ref", "interface", "workflow_id"),
    [
        ("demo", None, "demo@1.1.0:side"),
        ("demo@1.0.0", None, "demo@1.0.0:main"),
        ("demo:main", None, "demo@1.1.0:main"),
        ("demo", "agent.v1", "demo@1.1.0:main"),
        ("demo@1.0.0.flow", None, "demo@1.0.0:main"),
        ("named.flow", None, "renamed@0.0.5:main"),
        ("named.flow:main", None, "renamed@0.0.5:main"),
        ("deep: search", None, "other@1.0.0:o"),
    ],
    ids=["default", "version", "flow", "interface", "suffix", "file", "file and flow", "name"],
)
def test_an_entrypoint_is_found(stocked, ref, interface, workflow_id):
    assert stocked.resolve_entrypoint(ref, interface=interface).workflow_id == workflow_id


@pytest.mark.parametrize(
    ("ref", "interface", "message", "hint"),
    [
        ("demo@9", None, "no version '9'", "1.0.0, 1.1.0"),
        ("demo:nope", None, "no entrypoint 'nope'", "main, side"),
        ("demo:side", "agent.v1", "does not offer interface 'agent.v1'", "main"),
        ("demo", "x", "no entrypoint offers interface 'x'", "main"),
        ("nope", None, "Workflow 'nope' not found", "demo@1.1.0:main"),
        ("MAIN", None, "ambiguous", "renamed@0.0.5:main"),
        (" ", None, "names no bundle", "bundle_id"),
    ],
    ids=["version", "flow", "interface of a flow", "interface", "unknown", "ambiguous", "blank"],
)
def test_what_does_not_fit_is_named(stocked, ref, interface, message, hint):
    with pytest.raises(WorkflowBundleRegistryError, match=message) as caught:
        stocked.resolve_entrypoint(ref, interface=interface)
    assert hint in caught.value.hint


def test_what_is_not_installed_is_not_found(stocked):
    with pytest.raises(NotFound):
        stocked.resolve_bundle("nope")


def test_a_name_is_looked_up_in_latest_versions_only(registry):
    registry.install_bytes(archive(version="1.0.0"))
    registry.install_bytes(archive(version="1.1.0"))

    assert registry.resolve_entrypoint("main").workflow_id == "demo@1.1.0:main"


def test_entrypoints_are_listed_in_order(stocked):
    assert [e.workflow_id for e in stocked.list_entrypoints()] == [
        "demo@1.1.0:main", "demo@1.1.0:side", "other@1.0.0:o", "renamed@0.0.5:main"
    ]  # fmt: skip
    assert [e.workflow_id for e in stocked.list_entrypoints(interface="chat.v1")] == [
        "demo@1.1.0:side"
    ]
    assert len(stocked.list_entrypoints(latest_only=False)) == 5
    assert [e.is_default for e in stocked.list_entrypoints()] == [False, True, True, True]


# -- files ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "name"),
    [(archive(), "demo@1.0.0.flow"), (signed_kind(), "demo@1.0.0.flowbundle")],
    ids=["older", "canonical"],
)
def test_installing_and_removing(registry, data, name):
    done = registry.install_bytes(data)

    assert (done.path.name, done.bundle_ref, len(done.sha256)) == (name, "demo@1.0.0", 64)
    assert [b.bundle_ref for b in registry.scan()] == ["demo@1.0.0"]
    assert registry.scan()[0].sha256 is None
    assert (registry.remove("demo@1.0.0"), registry.remove("demo"), registry.scan()) == (1, 0, [])


def test_a_version_is_installed_once_unless_told_otherwise(registry):
    registry.install_bytes(archive())
    with pytest.raises(WorkflowBundleRegistryError, match="installed already"):
        registry.install_bytes(signed_kind())

    done = registry.install_bytes(signed_kind(), overwrite=True)
    assert [path.name for path in registry.bundles_dir.iterdir()] == [done.path.name]


def test_installing_the_installed_file_keeps_it(registry):
    done = registry.install_bytes(archive())

    with pytest.raises(WorkflowBundleRegistryError, match="the installed file itself"):
        registry.install(done.path, overwrite=True)
    assert registry.resolve_bundle("demo").path == done.path


@pytest.mark.parametrize("fails_at", ["replace", "fsync"])
def test_a_failed_overwrite_keeps_the_old_file(registry, monkeypatch, tmp_path, fails_at):
    registry.install_bytes(archive())
    source = tmp_path / "new.flow"
    source.write_bytes(archive(created_at="later"))

    def fail(*args):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(*((Path, "replace", fail) if fails_at == "replace" else (os, "fsync", fail)))
        with pytest.raises(OSError, match="No space left"):
            registry.install(source, overwrite=True)
    assert [b.manifest.created_at for b in registry.scan()] == [""]
    assert len(list(registry.bundles_dir.iterdir())) == 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"not a zip", "is not a bundle"),
        (archive()[:-9], "is not a bundle"),
        (archive("../../x"), "cannot be installed under that name"),
        (archive(version="1 0"), "cannot be installed under that name"),
    ],
    ids=["no zip", "cut off", "path as id", "space in version"],
)
def test_what_is_no_bundle_is_not_installed(registry, data, message):
    with pytest.raises(WorkflowBundleRegistryError, match=message):
        registry.install_bytes(data, filename_hint="up.flow")
    assert list(registry.ensure_dir().iterdir()) == []


def test_a_missing_source_is_not_found(registry):
    with pytest.raises(FileNotFoundError):
        registry.install("nowhere.flow")


def test_uploads_in_progress_and_broken_files_do_not_disturb(registry):
    registry.install_bytes(archive())
    (registry.bundles_dir / ".upload_x.flow").write_bytes(archive("half"))
    broken = registry.bundles_dir / "broken.flow"
    broken.write_bytes(b"PK")

    assert [b.bundle_id for b in registry.scan()] == ["demo"]
    assert list(registry.unreadable()) == [broken]
    with pytest.raises(WorkflowBundleRegistryError, match=r"'broken\.flow' is not a bundle"):
        registry.resolve_entrypoint("broken.flow")


def test_of_two_files_of_one_version_the_last_name_counts(registry):
    for name in ("a.flow", "b.flow"):
        (registry.ensure_dir() / name).write_bytes(archive(created_at=name))

    assert registry.bundles_by_id()["demo"]["1.0.0"].path.name == "b.flow"


def test_a_directory_that_is_missing_is_empty(registry):
    assert (registry.scan(), registry.list_entrypoints(), registry.remove("x")) == ([], [], 0)


def test_files_are_read_again_only_when_they_changed(registry, monkeypatch):
    reads = []
    real = installed.read_archive_file
    monkeypatch.setattr(
        installed, "read_archive_file", lambda path: reads.append(path) or real(path)
    )
    path = registry.ensure_dir() / "a.flow"
    path.write_bytes(archive(version="1.0.0"))
    assert [registry.scan()[0].bundle_version for _ in range(3)] == ["1.0.0"] * 3
    before = path.stat().st_mtime_ns

    other = registry.bundles_dir / "other"
    other.write_bytes(archive(version="2.0.0"))
    os.utime(other, ns=(before, before))
    other.replace(path)

    assert registry.scan()[0].bundle_version == "2.0.0"
    assert len(reads) == 2
