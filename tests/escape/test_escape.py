"""Attacks on the code worker: none has an effect outside, and each has one without its layers.

The attacks are in `attacks.yaml`; `arena.py` runs them and looks at what differs outside.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest
import yaml

from abstractruntime.sandbox import default_pool

HERE = Path(__file__).parent
# Nobody else is this user, and no other process of these tests.
ORDINARY = 1_000_000 + os.getpid()
MISTAKE = re.compile(r"not defined|has no attribute|syntax|indent|argument|not subscriptable")
# Without these the kernel of another system is asked; what is there is tested elsewhere.
NEEDED = {"seccomp", "landlock-fs", "landlock-net", "landlock-scope", "empty-keyring"}

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="attacks are system calls of Linux"
)


@cache
def attacks():
    found = {}
    for group in yaml.safe_load((HERE / "attacks.yaml").read_text()):
        common = {name: group[name] for name in ("stops", "without", "bare") if name in group}
        for name, attack in group["attacks"].items():
            assert name not in found
            found[name] = {"without": [], "bare": ["root", "user"], **common, **attack}
    return found


def fight(user, rounds):
    """Run attacks as a user: `rounds` maps (backend, layers that are away) to attacks."""
    if user == "root" and os.getuid() != 0:
        pytest.skip("the tests do not run as root")
    missing = NEEDED - set(default_pool().layers()["layers"])
    if missing:
        pytest.skip(f"this system gives no {', '.join(sorted(missing))}")
    uid = ORDINARY if user == "user" and os.getuid() == 0 else 0
    order = [
        {
            "backend": backend,
            "without": sorted(away),
            "shared": "own-worker" in away,
            "ids": [name for name in ids if uid or not attacks()[name].get("own_user")],
        }
        for (backend, away), ids in rounds.items()
    ]
    with tempfile.TemporaryDirectory(prefix="art-escape-") as place:
        # What the other user makes lies here, too.
        Path(place).chmod(0o1777)
        done = subprocess.run(
            [sys.executable, str(HERE / "arena.py")],
            input=json.dumps({"uid": uid, "attacks": attacks(), "rounds": order}),
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
            env={**os.environ, "TMPDIR": place, "ESCAPE_TOKEN": "SECRET-7f3a-ENVIRONMENT"},
        )
    if "ordinary user" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    return [
        (away, seen)
        for ((_, away), _), found in zip(rounds.items(), json.loads(done.stdout), strict=True)
        for seen in found
    ]


def bare_rounds(user, backend="worker"):
    """Give the attacks that the kernel lets a user do, with all their layers away."""
    rounds = defaultdict(list)
    for name, attack in attacks().items():
        # What both users can do is shown by the one with fewer rights.
        if attack["stops"] and "skip_bare" not in attack and attack["bare"][-1:] == [user]:
            away = {*attack["stops"], *attack["without"]}
            away |= {"unprivileged"} if user == "root" else set()
            rounds[backend, frozenset(away)].append(name)
    return rounds


def bare_rounds_ids():
    return {n for user in ("root", "user") for ids in bare_rounds(user).values() for n in ids}


def test_there_are_enough_attacks():
    assert len(attacks()) >= 120
    assert len(bare_rounds_ids()) >= 120


@pytest.mark.parametrize("user", ["root", "user"])
@pytest.mark.parametrize("backend", ["worker", "bwrap"])
def test_no_attack_has_an_effect(user, backend):
    if backend == "bwrap" and shutil.which("bwrap") is None:
        pytest.skip("bwrap is not installed")

    seen = fight(user, {(backend, frozenset()): list(attacks())})

    assert len(seen) >= len([a for a in attacks().values() if not a.get("own_user")])
    assert [
        (found["id"], found["changed"], found["said"]) for _, found in seen if found["changed"]
    ] == []


@pytest.mark.parametrize("user", ["root", "user"])
def test_every_attack_is_seen_without_its_layers(user):
    seen = fight(user, bare_rounds(user))

    blind = [
        (found["id"], found["said"])
        for _, found in seen
        if attacks()[found["id"]]["shows"] not in found["changed"]
    ]
    assert blind == []


LANGUAGE = {
    "import": "import os\ndef transform(x): return os.getcwd()",
    "import-call": "def transform(x): return __import__('os').getcwd()",
    "open": "def transform(x): return open('/etc/passwd').read()",
    "eval": "def transform(x): return eval('1')",
    "subclasses": "def transform(x): return ().__class__.__base__.__subclasses__()",
    "class-pattern": "def transform(x):\n    match x:\n        case object(__class__=c): return c.mro()",
    "getattr": "def transform(x): return getattr(x, 'keys')",
    "vars": "def transform(x): return vars()",
    "globals": "def transform(x): return globals()",
    "builtins-name": "def transform(x): return __builtins__['open']",
    "generator-frame": (
        "def transform(x):\n    g = (g.gi_frame.f_back for _ in [0])\n    f = next(g)\n"
        "    while 'sys' not in f.f_globals: f = f.f_back\n"
        "    return f.f_globals['sys'].modules['os'].listdir('/')"
    ),
    "format-walk": "def transform(x): return '{0.__class__.__init__.__globals__}'.format(ValueError)",
    "type-builds": "def transform(x): return type('A', (), {})",
    "metaclass": "class M(type): pass\ndef transform(x): return M('A', (), {})",
}


@pytest.mark.parametrize("source", LANGUAGE.values(), ids=LANGUAGE)
def test_language_gives_no_way_out(source):
    from abstractruntime.nodes._code_checks import check_source
    from abstractruntime.sandbox import CodeFailed

    if not check_source(source):
        with pytest.raises(CodeFailed):
            default_pool().runner("escape", "language").call(source, "transform", {})


def test_each_layer_stops_its_attacks_alone():
    rounds = defaultdict(list)
    for name, attack in attacks().items():
        for layer in attack["stops"] if len(attack["stops"]) > 1 else ():
            if layer != "unprivileged":
                away = frozenset({*attack["stops"], *attack["without"]} - {layer})
                rounds["worker", away].append(name)

    seen = fight("user", rounds)

    assert [(sorted(away), found) for away, found in seen if found["changed"]] == []
