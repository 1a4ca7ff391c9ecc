"""Bundles of other versions: those that this one can run are let in, the others say what they lack."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from abstractruntime.visualflow_compiler.check import check_tree

BUNDLES = Path(__file__).parents[2].parent / "shared" / "legacy-bundles"
NAMES = sorted(path.name for path in BUNDLES.glob("*.flow"))
# Media, documents, and the pin `output` of llm_call with what comes of it.
REFUSED = {
    "abstractassistant-orchestrator@0.0.15.flow": {"VF201", "VF202", "VF304", "VF305"},
    "deep-research@0.1.8.flow": {"VF201", "VF202"},
    "features@dev.flow": {"VF202"},
}


@pytest.mark.skipif(not BUNDLES.is_dir(), reason=f"bundles of other versions are not at {BUNDLES}")
@pytest.mark.parametrize("name", NAMES)
def test_a_bundle_is_refused_for_what_is_not_built_and_for_nothing_else(name):
    with zipfile.ZipFile(BUNDLES / name) as archive:
        flows = {n: archive.read(n) for n in archive.namelist() if n.startswith("flows/")}

    found = {item.code for result in check_tree(flows).values() for item in result.errors}

    assert found == REFUSED.get(name, set())
