"""What the protections of code nodes cost: this checkout beside others, in one interleaved run.

    python benchmarks/sandbox.py [CHECKOUT ...]

Each measurement is a fresh process in a fresh directory; each checkout uses its own
`.venv/bin/python`. The least of all rounds, in milliseconds: what others add on a busy machine is left out.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROUNDS = 9
HERE = Path(__file__).resolve().parents[1]

MEASURE = """
import json, sys, time
from pathlib import Path
now = time.perf_counter
from abstractruntime import Runtime, open_store
from abstractruntime._runtime.driver import Driver
from abstractruntime.core.ports import RunQuery
from abstractruntime.scheduler.registry import WorkflowRegistry
from abstractruntime.visualflow_compiler import compile_visualflow_tree

exec_in, exec_out = ({"id": f"exec-{end}", "type": "execution"} for end in ("in", "out"))
CODE = "def transform(x):\\n    return {'n': x.get('n', 0) + 1}\\n"

def flow(name, kind, data, count):
    pins = {"inputs": [exec_in], "outputs": [exec_out, {"id": "output", "type": "any"}]}
    nodes = [{"id": "s", "type": "on_flow_start", "data": {"outputs": [exec_out]}}]
    nodes += [{"id": f"n{i}", "type": kind, "data": {**pins, **data}} for i in range(count)]
    edges = [
        {"source": a["id"], "sourceHandle": "exec-out", "target": b["id"], "targetHandle": "exec-in"}
        for a, b in zip(nodes, nodes[1:])
    ]
    return {"id": name, "nodes": nodes, "edges": edges}

code = {"code": CODE, "functionName": "transform"}
documents = {
    "one": flow("one", "code", code, 1),
    "many": flow("many", "code", code, 200),
    "steps": flow("steps", "answer_user", {"pinDefaults": {"message": "x"}}, 200),
}
registry = WorkflowRegistry()
for name in documents:
    for spec in compile_visualflow_tree(root_id=name, flows_by_id=documents).values():
        registry.register(spec)
found = {}
with open_store(Path(sys.argv[1])) as store:
    runtime = Runtime.on_engine(store, workflow_registry=registry)
    def drive(name):
        begin = now()
        run = runtime.start(workflow=registry.get(name), vars={})
        assert Driver(runtime).drive(run).status.value == "completed"
        return (now() - begin) * 1000
    found["a step without code"] = drive("steps") / 200
    found["first run with one code node, worker included"] = drive("one")
    found["second run with one code node"] = drive("one")
    time.sleep(0.2)
    found["third run with one code node"] = drive("one")
    time.sleep(0.2)
    found["a code node of 200"] = drive("many") / 200
# The runs are read whole by a command of its own, as an operator would.
import contextlib, io, os
from abstractruntime.cli.app import main
os.environ["ART_HOME"] = sys.argv[1]
# The first one of a process loads what verifies.
for name, kind in (("one", ""), ("steps", "of 200 steps"), ("many", "of 200 code nodes")):
    with open_store(Path(sys.argv[1])) as store:
        run = next(h.run_id for h in store.find(RunQuery(limit=9)) if h.workflow_id == name)
    begin = now()
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(["ledger", "verify", run]) == 0
    if kind:
        found[f"verify of a run {kind}"] = (now() - begin) * 1000
print(json.dumps(found))
"""


def measure(checkout: Path) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as directory:
        done = subprocess.run(
            [checkout / ".venv/bin/python", "-c", MEASURE, directory],
            capture_output=True,
            text=True,
            check=True,
        )
    return json.loads(done.stdout)


def main() -> None:
    checkouts = [HERE, *map(Path, sys.argv[1:])]
    seen: dict[Path, list[dict[str, float]]] = {checkout: [] for checkout in checkouts}
    for _ in range(ROUNDS):
        for checkout in checkouts:
            seen[checkout].append(measure(checkout))
    print("| ms, least of", ROUNDS, "|", " | ".join(c.name for c in checkouts), "|")
    print("|---|" + "---:|" * len(checkouts))
    for name in seen[HERE][0]:
        least = (min(s[name] for s in seen[c]) for c in checkouts)
        print(f"| {name} |", " | ".join(f"{m:.2f}" for m in least), "|")


if __name__ == "__main__":
    main()
