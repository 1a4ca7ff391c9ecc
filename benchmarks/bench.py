"""Measure this project and its peers side by side, in one interleaved run.

Every measurement is a fresh process in a fresh directory; every peer has an environment of
its own under `.envs/`, installed from the package index at first use. The report goes to
`results/` and to the output. See README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from tables import Measurement, Samples, render_report
from worker import contenders
from workloads import WORKLOADS, Contender, Result, Workload

HERE = Path(__file__).parent
ENVS = HERE / ".envs"
TIMEOUT_S = 300


# -- environments -----------------------------------------------------------------------


def environment(contender: Contender) -> Path:
    """Give the directory of programs a contender runs with; install its packages if need be."""
    if not contender.packages:
        return Path(sys.executable).parent
    home = ENVS / "-".join(contender.packages).replace("==", "-")
    stamp = home / ".installed"
    if not stamp.exists():
        print(f"installing {' '.join(contender.packages)} ...", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, "--disable-pip-version-check", *contender.packages], check=True)
        stamp.touch()
    return home / "bin"


def process_environment() -> dict[str, str]:
    """Give the variables of a measured process: cached bytecode, kept out of installed trees."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    return {**kept, "PYTHONPYCACHEPREFIX": str(ENVS / "bytecode"), "TERM": "dumb"}


def versions(contender: Contender) -> str:
    names = [p.split("==")[0] for p in contender.packages] or ["abstractruntime"]
    code = "import importlib.metadata as m, sys; print(*(f'{n} {m.version(n)}' for n in sys.argv[1:]), sep=', ')"
    command = [str(environment(contender) / "python"), "-c", code, *names]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.strip()


# -- measuring --------------------------------------------------------------------------


def measure(contender: Contender, work: str, directory: str, arguments: Result) -> Result:
    """Run one piece of work in a new process; a failure is a result with `error`."""
    python, worker = str(environment(contender) / "python"), str(HERE / "worker.py")
    command = [python, worker, contender.name, work, directory, json.dumps(arguments)]
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=process_environment(),
    ) as process:
        try:
            output, errors = process.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return {"error": f"stopped after {TIMEOUT_S} s"}
    lines = [line for line in output.splitlines() if line.startswith("RESULT ")]
    if not lines:
        return {"error": (errors.strip().splitlines() or ["no result"])[-1][:200]}
    result: Result = json.loads(lines[-1].removeprefix("RESULT "))
    return result


def startup(command: Sequence[str]) -> Result:
    """Run a command line once; its wall time and processor time."""
    began = time.perf_counter()
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=process_environment(),
    ) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        return {"error": f"exit {process.returncode}"}
    return {
        "wall_ms": (time.perf_counter() - began) * 1e3,
        "cpu_ms": (usage.ru_utime + usage.ru_stime) * 1e3,
    }


def busy_seconds() -> float:
    """Give the processor time that the whole machine has used; 0 where it does not say."""
    try:
        fields = [int(f) for f in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    except OSError:
        return 0.0
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def sample(contender: Contender, workload: Workload, home: Path) -> Result:
    """Take one sample of one workload: in a new directory, or in `home` when samples share theirs."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=ENVS) as fresh:
        directory = home if workload.shared else Path(fresh)
        run = partial(measure, contender, directory=str(directory))
        arguments, prepared = dict(workload.arguments), Result()
        if workload.prepare and not any(directory.iterdir()):
            prepared = run(workload.prepare, arguments=arguments)
        if workload.shared and "error" not in prepared:
            prepared = run("disturb", arguments={})
        if "error" in prepared:
            return prepared
        return run(workload.method, arguments={**arguments, **prepared})


def subjects(
    workload: Workload, chosen: Sequence[Contender], home: Path
) -> Iterator[tuple[str, Measurement]]:
    """Give the rows of a workload: their names, and how one sample of each is taken."""
    if workload.method == "startup":
        for contender in chosen:
            programs = str(environment(contender))
            for label, argv in contender.commands.items():
                yield label, partial(startup, [part.format(bin=programs) for part in argv])
        return
    seen = set()
    for contender in chosen:
        kind = getattr(contender.make, "func", contender.make)
        product = (kind, contender.packages)
        if hasattr(kind, workload.method) and not (workload.only_reads and product in seen):
            seen.add(product)
            store = home / contender.name
            store.mkdir()
            yield contender.name, partial(sample, contender, workload, store)


def run_workload(workload: Workload, chosen: Sequence[Contender], reps: int) -> Samples:
    """Take the samples of one workload, contenders in turn, another one first each time."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=ENVS) as home:
        return take_turns(workload, list(subjects(workload, chosen, Path(home))), reps)


def take_turns(workload: Workload, rows: Sequence[tuple[str, Measurement]], reps: int) -> Samples:
    samples: Samples = {name: [] for name, _ in rows}
    if workload.method == "startup":
        for _, take in rows:
            take()
    for rep in range(reps):
        shift = rep % max(1, len(rows))
        for name, take in (*rows[shift:], *rows[:shift]):
            held = samples[name]
            if any("error" in s or s.get("complete") is False for s in held):
                continue
            before, began = busy_seconds(), time.perf_counter()
            result = take()
            held.append(result)
            note = result.get("error") or f"{next(iter(result.values())):,.1f}"
            busy = (busy_seconds() - before) / (time.perf_counter() - began)
            print(f"{workload.name} {name} {note} (processors busy {busy:.1f})", file=sys.stderr)
    return samples


# -- command line -----------------------------------------------------------------------


def main() -> int:
    """Measure, report, and give 1 when a contender failed."""
    options = parse_arguments()
    ENVS.mkdir(exist_ok=True)
    chosen = [c for c in contenders() if _selected(c.name, options.contenders)]
    for contender in chosen:
        environment(contender)
        with tempfile.TemporaryDirectory(prefix="bench-", dir=ENVS) as directory:
            measure(contender, "chain", directory, {"steps": 3})
    tables = [
        (w, run_workload(w, chosen, options.reps or w.reps))
        for w in WORKLOADS
        if _selected(w.name, options.only)
    ]
    moment = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    report = render_report(tables, chosen, [versions(c) for c in chosen], moment)
    target = options.out or HERE / "results" / f"{time.strftime('%Y-%m-%d-%H%M%S')}.md"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(report, encoding="utf-8")
    print(report)
    print(f"written to {target}", file=sys.stderr)
    taken = [s for _, samples in tables for held in samples.values() for s in held]
    return int(any("error" in s for s in taken))


def _selected(name: str, wanted: Sequence[str]) -> bool:
    return not wanted or any(name == w or name.startswith(f"{w}-") for w in wanted)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure this project and its peers side by side.")
    parser.add_argument("--only", type=_names, default=[], metavar="w1,w2-1m", help="workloads")
    parser.add_argument("--contenders", type=_names, default=[], metavar="art,langgraph")
    parser.add_argument("--reps", type=int, help="samples of each row; default differs by workload")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: a new file in results/")
    return parser.parse_args()


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


if __name__ == "__main__":
    sys.exit(main())
