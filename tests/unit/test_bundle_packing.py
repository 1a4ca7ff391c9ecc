from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from abstractruntime.errors import NotFound, UsageError
from abstractruntime.visualflow_compiler.document import FlowDocument
from abstractruntime.workflow_bundle import (
    BundlePlan,
    FlowLibrary,
    Requirements,
    WorkflowBundleError,
    inspect_workflow_bundle,
    open_workflow_bundle,
    pack_flowbundle,
    pack_workflow_bundle,
)
from abstractruntime.workflow_bundle._archive import read_archive
from abstractruntime.workflow_bundle.reader import read_bundle

OWN = Path(__file__).parents[1] / "flows"
PUBLISHED = Path(__file__).parents[3] / "shared" / "flows"


def a_flow(flow_id, *children, key="subflowId", **more):
    nodes = [{"id": f"n{i}", "type": "subflow", "data": {key: c}} for i, c in enumerate(children)]
    return json.dumps({"id": flow_id, "nodes": nodes, "edges": [], **more}).encode()


def a_library(*flows):
    return FlowLibrary.from_documents({f"file{i}": flow for i, flow in enumerate(flows)})


def a_plan(*entrypoints, **more):
    return BundlePlan(entrypoints, "demo", "1.0.0", **more)


def packed_flows(library, *roots):
    return read_bundle(pack_flowbundle(library, a_plan(*roots)), Path("x")).manifest.flows


@pytest.mark.parametrize("key", ["subflowId", "flowId", "workflowId", "workflow_id"])
def test_subflows_are_packed_whatever_key_names_them(key):
    library = a_library(
        a_flow("a", "b", key=key), a_flow("b", "a", "c", key=key), a_flow("c"), a_flow("d")
    )

    assert packed_flows(library, "a") == {i: f"flows/{i}.json" for i in "abc"}


def test_closure_starts_at_every_entrypoint():
    library = a_library(a_flow("a"), a_flow("b", "c"), a_flow("c"))

    assert sorted(packed_flows(library, "a", "b")) == ["a", "b", "c"]


def test_all_missing_flows_are_reported_at_once():
    library = a_library(a_flow("a", "x", "b"), a_flow("b", "y", ""))

    with pytest.raises(WorkflowBundleError) as caught:
        pack_flowbundle(library, a_plan("a", "z"))

    text = str(caught.value)
    assert all(f"missing flow '{name}'" in text for name in "xyz")
    assert "node 'n1' of flow 'b' names no subflow" in text


def test_a_deep_chain_of_subflows_is_packed():
    flows = [a_flow(f"f{i}", f"f{i + 1}") for i in range(2000)]

    assert len(packed_flows(a_library(*flows, a_flow("f2000")), "f0")) == 2001


def test_the_id_inside_goes_before_the_file_name():
    library = FlowLibrary.from_documents(
        {"b": a_flow("a"), "x": a_flow("b"), "y": a_flow("c", "x")}
    )

    assert library.find("b").file == "x"
    assert library.find("x").id == "b"
    assert sorted(packed_flows(library, "c")) == ["b", "c"]


def test_an_id_in_two_documents_is_ambiguous():
    library = FlowLibrary.from_documents({"x": a_flow("a"), "y": a_flow("a")})

    with pytest.raises(WorkflowBundleError, match="several documents: x, y"):
        pack_flowbundle(library, a_plan("a"))


def test_packing_is_reproducible(monkeypatch):
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    flows = {"a": a_flow("a", "b"), "b": a_flow("b")}
    forward = FlowLibrary.from_documents(flows)
    backward = FlowLibrary.from_documents(dict(reversed(flows.items())))

    first = pack_flowbundle(forward, a_plan("a", metadata={"x": 1, "y": "é"}))
    second = pack_flowbundle(backward, a_plan("a", metadata={"y": "é", "x": 1}))

    assert first == second
    assert read_bundle(first, Path("x")).manifest.created_at == ""


def test_created_at_comes_from_source_date_epoch(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    data = pack_flowbundle(a_library(a_flow("a")), a_plan("a"))
    assert read_bundle(data, Path("x")).manifest.created_at == "1970-01-01T00:00:00+00:00"

    monkeypatch.setenv("SOURCE_DATE_EPOCH", "soon")
    with pytest.raises(UsageError, match="SOURCE_DATE_EPOCH"):
        pack_flowbundle(a_library(a_flow("a")), a_plan("a"))


def test_odd_flow_ids_get_a_hashed_path():
    flow_id = "Ärger/../x"

    digest = hashlib.sha256(flow_id.encode()).hexdigest()[:32]
    assert packed_flows(a_library(a_flow(flow_id)), flow_id) == {flow_id: f"flows/x-{digest}.json"}


def test_the_manifest_says_what_the_caller_said():
    requires = Requirements(">=0.5", ("b", "a", "b"), ("tool:x", "code"))
    plan = a_plan("a", "b", default_entrypoint="b", requires=requires, compiler={"name": "art"})
    library = a_library(
        a_flow("a", name="Alpha", interfaces=["i.v1", ""], description="d"), a_flow("b")
    )

    data = pack_flowbundle(library, plan, assets={"logo.svg": b"<svg/>"})

    bundle = read_bundle(data, Path("x"))
    manifest = bundle.manifest
    assert manifest.requires == Requirements(">=0.5", ("a", "b"), ("code", "tool:x"))
    assert (manifest.default_entrypoint, manifest.compiler) == ("b", {"name": "art"})
    assert manifest.entrypoints[0].to_dict() == {
        "flow_id": "a", "name": "Alpha", "description": "d", "interfaces": ["i.v1"],
    }  # fmt: skip
    assert bundle.read_bytes(manifest.assets["logo.svg"]) == b"<svg/>"
    assert bundle.digest == hashlib.sha256(bundle.read_bytes("manifest.json")).hexdigest()


@pytest.mark.parametrize(
    "plan",
    [
        BundlePlan([], "demo", "1.0.0"),
        BundlePlan(["a"], "Demo", "1.0.0"),
        BundlePlan(["a"], "../x", "1.0.0"),
        BundlePlan(["a"], "", "1.0.0"),
        BundlePlan(["a"], "demo", "1.0"),
        BundlePlan(["a"], "demo", "01.0.0"),
        BundlePlan(["a"], "demo", "1.0.0-01"),
        BundlePlan(["a"], "demo", "1.0.0", default_entrypoint="b"),
        BundlePlan(["a", "a"], "demo", "1.0.0"),
        BundlePlan(["a"], "demo", "1.0.0", requires=Requirements(capabilities=("root",))),
    ],
    ids=["no-entry", "upper", "path", "blank", "two-part", "zero", "pre-zero", "default", "twice", "capability"],
)  # fmt: skip
def test_a_plan_that_breaks_a_strict_rule_is_refused(plan):
    with pytest.raises(WorkflowBundleError):
        pack_flowbundle(a_library(a_flow("a"), a_flow("b")), plan)


@pytest.mark.parametrize("version", ["0.0.0", "1.2.3-rc.1+build.5", "draft.today", "1.0.0-0a"])
def test_versions_that_are_allowed(version):
    pack_flowbundle(a_library(a_flow("a")), BundlePlan(["a"], "demo", version))


@pytest.mark.parametrize("name", ["../x", "a b", "con", "x/"])
def test_an_asset_name_that_no_container_holds_is_refused(name):
    with pytest.raises(WorkflowBundleError):
        pack_flowbundle(a_library(a_flow("a")), a_plan("a"), assets={name: b""})


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff", b"[" * 100_000])
def test_a_document_that_is_no_flow_is_refused(data):
    with pytest.raises(WorkflowBundleError):
        FlowLibrary.from_documents({"x": data})


@pytest.mark.parametrize("data", [b'{"id":"a","id":"a"}', b'{"id":"a","x":NaN}'])
def test_only_a_bundle_for_signing_is_strict_about_documents(data, tmp_path):
    (tmp_path / "a.json").write_bytes(data)

    with pytest.raises(WorkflowBundleError, match="not strict JSON"):
        pack_flowbundle(FlowLibrary.from_directory(tmp_path), a_plan("a"))
    packed = pack_workflow_bundle(root_flow_json=tmp_path / "a.json", out_path=tmp_path / "x.flow")
    assert open_workflow_bundle(packed.path).read_bytes("flows/a.json") == data


# ---- which subflows count


def exec_pin(name):
    return {"id": name, "type": "execution"}


def a_node(node_id, kind="step", **data):
    return {"id": node_id, "type": kind, "data": {"inputs": [exec_pin("exec-in")], **data}}


def exec_edge(source, target):
    ends = {"source": source, "sourceHandle": "exec-out", "target": target}
    return {**ends, "targetHandle": "exec-in"}


SUB = a_node("s", "subflow", subflowId="child")


@pytest.mark.parametrize(
    "nodes, edges, entry, expected",
    [
        ([a_node("e"), SUB], [exec_edge("e", "s")], "e", [("s", "child")]),
        ([a_node("e"), SUB], [], "e", []),
        ([a_node("e"), SUB], [], None, [("s", "child")]),
        ([a_node("e"), a_node("l", "on_event"), SUB], [exec_edge("l", "s")], "e", [("s", "child")]),
        ([{"id": "s", "type": "subflow", "data": {"flowId": "c"}}], [], None, [("s", "c")]),
        ([{"id": "s", "type": "subflow", "data": {"workflowId": " c "}}], [], None, [("s", "c")]),
        # The compiler, too, looks at the type alone.
        ([{"id": "s", "data": {"nodeType": "subflow", "flowId": "c"}}], [], None, []),
        ([{"id": "s", "type": "subflow"}], [], None, [("s", "")]),
        ([SUB], [exec_edge("s", "s")], "s", [("s", "child")]),
    ],
    ids=[
        "linked",
        "unlinked",
        "no-entry",
        "listener",
        "data-only",
        "blanks",
        "node-type",
        "no-child",
        "loop",
    ],
)
def test_reachable_subflows(nodes, edges, entry, expected):
    document = {"id": "f", "nodes": nodes, "edges": edges, "entryNode": entry}
    assert FlowDocument.of(document).graph.calls == tuple(expected)


@pytest.mark.parametrize("document", [{}, {"nodes": 1}, {"nodes": [1, {}], "edges": [None]}])
def test_odd_documents_have_no_subflows(document):
    assert FlowDocument.of(document).graph.calls == ()


# ---- files


def write(directory, **flows):
    for name, data in flows.items():
        (directory / f"{name}.json").write_bytes(data)


def test_a_root_file_and_its_directory_are_packed(tmp_path):
    write(tmp_path, root=a_flow("Root Id", "b"), other=a_flow("b"), broken=b"{", unused=a_flow("z"))

    packed = pack_workflow_bundle(
        root_flow_json=tmp_path / "root.json", out_path=tmp_path / "o/x.flow"
    )

    assert packed.manifest.bundle_id == "Root Id"
    assert packed.manifest.default_entrypoint == "Root Id"
    bundle = open_workflow_bundle(packed.path)
    assert bundle.manifest == packed.manifest == inspect_workflow_bundle(bundle_path=packed.path)
    assert sorted(bundle.flow_documents()) == ["Root Id", "b"]
    assert next(iter(read_archive(packed.path.read_bytes()))) == "manifest.json"


def test_nothing_outside_the_flows_directory_is_packed(tmp_path):
    flows = tmp_path / "flows"
    flows.mkdir()
    write(tmp_path, secret=a_flow("secret"))
    write(flows, root=a_flow("root", "../secret", "link"))
    (flows / "link.json").symlink_to(tmp_path / "secret.json")

    with pytest.raises(
        WorkflowBundleError, match=r"missing flow '\.\./secret'.*missing flow 'link'"
    ):
        pack_workflow_bundle(root_flow_json=flows / "root.json", out_path=tmp_path / "x.flow")
    assert not (tmp_path / "x.flow").exists()


@pytest.mark.parametrize("missing", ["root", "directory"])
def test_missing_files_are_not_found(missing, tmp_path):
    write(tmp_path, root=a_flow("a"))
    root = tmp_path / ("none.json" if missing == "root" else "root.json")

    with pytest.raises(NotFound):
        pack_workflow_bundle(
            root_flow_json=root, out_path=tmp_path / "x", flows_dir=tmp_path / "none"
        )


# One published document says 'prompt' twice; a signature must not cover two meanings.
TWICE = {"bff163ad.json": "flow 'flows/bff163ad.json' is not strict JSON: duplicate key 'prompt'"}
with_published = pytest.mark.skipif(
    not PUBLISHED.is_dir(), reason=f"published flow documents are not at {PUBLISHED}"
)


@pytest.mark.parametrize(
    ("flows", "refused"),
    [
        pytest.param(OWN, {}, id="own"),
        pytest.param(PUBLISHED, TWICE, id="published", marks=with_published),
    ],
)
def test_all_flows_of_a_library_pack_and_open(flows, refused):
    library = FlowLibrary.from_directory(flows)
    problems = {}

    for path in sorted(flows.glob("*.json")):
        flow_id = json.loads(path.read_bytes())["id"]
        try:
            data = pack_flowbundle(library, BundlePlan([flow_id], "example", "1.0.0"))
            assert read_bundle(data, path).manifest.flow_path_for(flow_id)
        except WorkflowBundleError as error:
            problems[path.name] = str(error)

    assert problems == refused
