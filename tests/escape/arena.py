"""Runs attacks in code workers and tells what differs outside afterwards.

A program: reads a job as JSON from standard input, writes what it saw as JSON. It is a process
of its own so that the limits, signals, keyrings and children that attacks reach for are its own.
With `uid` it first becomes that ordinary user, whom nobody else is.

    job      {"uid", "attacks": {id: {code, quick}}, "rounds": [{backend, without, shared, ids}]}
    answer   [{"round", "id", "changed": [sections], "said"}]
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import platform
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import Any
from unittest import mock

import abstractruntime
from abstractruntime.sandbox import _process, protocol, runner

HERE = Path(__file__).parent
SECRET = "SECRET-7f3a"
VICTIM = """def transform(x):
    try:
        more = type.payout
    except AttributeError:
        more = 0
    return sum(x['amounts']) + more
"""
VICTIM_INPUT = {"amounts": [40, 2], "note": SECRET + "-INPUT"}
STASH = "return modules.get('stash')"
KEY = 0x41000000 + (os.getpid() & 0xFFFF) * 256
SIGNALS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGHUP, signal.SIGIO)

libc = ctypes.CDLL(None, use_errno=True)
KEYCTL, ADD_KEY, MQ_OPEN, MQ_UNLINK = {
    "x86_64": (250, 248, 240, 241),
    "aarch64": (219, 217, 180, 181),
}[platform.machine()]


# -- becoming an ordinary user ---------------------------------------------------------------


def become(uid: int, arguments: list[str]) -> None:
    """Go on as another user, with an interpreter that this user can reach."""
    place = Path(tempfile.mkdtemp(prefix="art-escape-python-"))
    place.chmod(0o755)
    libc.unshare(0x00020000)
    libc.mount(b"none", b"/", None, 0x44000, None)
    if libc.mount(sys.base_prefix.encode(), bytes(place), None, 0x1000, None) != 0:
        raise SystemExit("cannot show the interpreter to an ordinary user")
    program = place / Path(os.path.realpath(sys.executable)).relative_to(sys.base_prefix)
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
    # Hooks of an editable installation are no directories, and find nothing for this interpreter.
    package = Path(abstractruntime.__file__).parents[1]
    os.environ["PYTHONPATH"] = os.pathsep.join([str(package), *filter(os.path.isdir, sys.path)])
    os.execv(program, [str(program), *arguments])


# -- what attacks reach for ------------------------------------------------------------------


class World:
    """Files, listeners, memory, keys and the process itself; `look` tells their state."""

    def __init__(self, *, own_user: bool) -> None:
        # Whose keyring belongs to a person is not attacked.
        self.rings = (-3, -4) if own_user else (-3,)
        self.home = Path(tempfile.mkdtemp(prefix="art-escape-"))
        self.home.chmod(0o755)
        self.mark = f"art-escape-{os.getpid()}"
        self.heard: dict[int, int] = dict.fromkeys(SIGNALS, 0)
        for number in SIGNALS:
            signal.signal(number, self._hear)
        self._listen()
        self._share()
        self._lock_up()
        self.secret = ctypes.create_string_buffer(SECRET.encode() + b"-MEMORY", 64)
        self.victim = ctypes.create_string_buffer(b"intact!!", 8)
        self.secret_fd = -1
        self.reset()

    def _hear(self, number: int, _frame: object) -> None:
        self.heard[number] += 1

    def _listen(self) -> None:
        self.abstract = self.mark
        self.sockets = {
            "tcp": _bound(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
            "tcp6": _bound(socket.AF_INET6, socket.SOCK_STREAM, ("::1", 0)),
            "udp": _bound(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
            "abstract": _bound(socket.AF_UNIX, socket.SOCK_STREAM, "\0" + self.abstract),
        }
        self.got = 0

    def _share(self) -> None:
        self.shm = libc.shmget(KEY, 4096, 0o1666)
        libc.shmat.restype = ctypes.c_void_p
        self._shared = libc.shmat(self.shm, None, 0)
        ctypes.memmove(self._shared, SECRET.encode() + b"-SHM", len(SECRET) + 4)
        libc.shmdt(ctypes.c_void_p(self._shared))
        self._keep_queue()

    def _keep_queue(self) -> None:
        found = libc.syscall(MQ_OPEN, f"{self.mark}-kept".encode(), 0o102, 0o666, None)
        if found >= 0:
            os.close(found)

    def _lock_up(self) -> None:
        libc.syscall(KEYCTL, 1, None)
        ticket = SECRET.encode()
        libc.syscall(ADD_KEY, b"user", b"art-ticket", ticket + b"-T", len(ticket) + 2, -3)
        if -4 in self.rings:
            libc.syscall(ADD_KEY, b"user", b"art-user-ticket", ticket + b"-U", len(ticket) + 2, -4)
            libc.syscall(KEYCTL, 8, -4, -3)

    def reset(self) -> None:
        """Put everything back that an attack may have changed."""
        for name in ("listener", "mailbox"):
            if name in self.sockets:
                self.sockets.pop(name).close()
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.home)
        if self.secret_fd >= 0:
            os.close(self.secret_fd)
        home = self.home
        for name in ("", "open", "open/empty", "closed"):
            (home / name).mkdir()
        for name in ("victim", "marked", "secret.key", "open/canary", "open/other"):
            (home / name).write_text(f"{SECRET}-{name}")
        with contextlib.suppress(OSError):
            os.setxattr(home / "marked", "user.mark", SECRET.encode())
        (home / "pointer").symlink_to(SECRET)
        for name, mode in {
            "": 0o755,
            "open": 0o777,
            "open/empty": 0o777,
            "closed": 0o700,
            "secret.key": 0o600,
        }.items():
            (home / name).chmod(mode)
        self.sockets["listener"] = _bound(
            socket.AF_UNIX, socket.SOCK_STREAM, str(home / "listener")
        )
        self.sockets["mailbox"] = _bound(socket.AF_UNIX, socket.SOCK_DGRAM, str(home / "mailbox"))
        for name in ("listener", "mailbox"):
            (home / name).chmod(0o777)
        self.secret_fd = os.open(home / "secret.key", os.O_RDONLY)
        os.set_inheritable(self.secret_fd, True)
        for kind in (resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE):
            hard = resource.getrlimit(kind)[1]
            resource.setrlimit(kind, (hard, hard))
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        ctypes.memmove(self.victim, b"intact!!", 8)
        self._keep_queue()
        for number in range(1, 4):
            _remove_ipc(KEY + number)
        if libc.shmget(KEY, 1, 0) < 0:
            self._share()

    def look(self) -> dict[str, object]:
        return {
            "files": [
                _entry(self.home, path) for path in [self.home, *sorted(self.home.rglob("*"))]
            ],
            "net": self._received(),
            "parent": self._self(),
            "ipc": self._ipc(),
            "keys": self._keys(),
        }

    def _received(self) -> int:
        for listener in self.sockets.values():
            with contextlib.suppress(BlockingIOError, OSError):
                if listener.type == socket.SOCK_STREAM:
                    listener.accept()[0].close()
                else:
                    listener.recv(99)
                self.got += 1
        return self.got

    def _self(self) -> list[object]:
        kinds = [getattr(resource, n) for n in dir(resource) if n.startswith("RLIMIT_")]
        return [
            [resource.getrlimit(kind) for kind in kinds],
            os.getpriority(os.PRIO_PROCESS, 0),
            os.sched_getscheduler(0),
            sorted(os.sched_getaffinity(0)),
            libc.syscall(252 if platform.machine() == "x86_64" else 31, 1, 0),
            Path("/proc/self/oom_score_adj").read_text(),
            list(self.heard.values()),
            self.victim.raw,
        ]

    def _ipc(self) -> list[str]:
        found = []
        for kind in ("shm", "sem", "msg"):
            for line in Path(f"/proc/sysvipc/{kind}").read_text().splitlines()[1:]:
                fields = line.split()
                if KEY <= int(fields[0]) < KEY + 4:
                    found.append(f"{kind} {fields[0]} {fields[2]}")
        found += [n for n in os.listdir("/dev/shm") if self.mark in n]
        for name in (self.mark, f"{self.mark}-kept"):
            queue = libc.syscall(MQ_OPEN, name.encode(), 0, 0, None)
            if queue >= 0:
                os.close(queue)
                found.append(name)
        return found

    def _keys(self) -> list[str]:
        found = []
        for ring in self.rings:
            data = ctypes.create_string_buffer(400)
            length = libc.syscall(KEYCTL, 11, ring, data, 400)
            found.append(data.raw[: max(0, length)].hex())
        return found

    def close(self) -> None:
        shutil.rmtree(self.home, ignore_errors=True)
        for number in range(4):
            _remove_ipc(KEY + number)
        for name in (self.mark, f"{self.mark}-kept"):
            libc.syscall(MQ_UNLINK, name.encode())
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"/dev/shm/{self.mark}")
        if -4 in self.rings:
            libc.syscall(KEYCTL, 7, -4)


def _remove_ipc(key: int) -> None:
    """Remove the shared memory, semaphores and queue of a key."""
    for found, control, arguments in (
        (libc.shmget(key, 0, 0), libc.shmctl, (0, None)),
        (libc.semget(key, 0, 0), libc.semctl, (0, 0)),
        (libc.msgget(key, 0), libc.msgctl, (0, None)),
    ):
        if found >= 0:
            control(found, *arguments)


def _bound(family: int, kind: int, address: object) -> socket.socket:
    found = socket.socket(family, kind)
    found.setblocking(False)
    with contextlib.suppress(OSError):
        found.bind(address)
        if kind == socket.SOCK_STREAM:
            found.listen()
    return found


def _port(found: socket.socket) -> int:
    name = found.getsockname()
    return name[1] if isinstance(name, tuple) else 0


def _entry(home: Path, path: Path) -> list[object]:
    info = path.lstat()
    is_file = path.is_file() and not path.is_symlink()
    content = hashlib.sha256(path.read_bytes()).hexdigest() if is_file else ""
    marks = os.listxattr(path, follow_symlinks=False)
    mtime = info.st_mtime_ns if is_file else 0
    return [
        str(path.relative_to(home)),
        info.st_mode,
        info.st_uid,
        info.st_gid,
        mtime,
        content,
        marks,
    ]


# -- attacking -------------------------------------------------------------------------------


def _popen_with_all(*args: Any) -> Any:
    """Start a process that keeps every descriptor of this one."""
    start = subprocess.Popen
    found = [number for number in map(int, os.listdir("/proc/self/fd")) if number > 2]
    kept = [number for number in found if os.path.exists(f"/proc/self/fd/{number}")]

    def keeping(*command: Any, **options: Any) -> Any:
        return start(*command, **{**options, "pass_fds": kept})

    with mock.patch.object(subprocess, "Popen", keeping):
        return _popen(*args)


def _exchange_unasked(self: Any, request: bytes, _call_id: int) -> Any:
    return runner._parse(self._ready().exchange(request))


_popen = _process._popen
# What is no layer of a worker, but how it is started and listened to; and how to do without.
HABITS: dict[str, tuple[Any, str, Any]] = {
    "closed-descriptors": (_process, "_popen", _popen_with_all),
    "quiet": (protocol.Channel, "is_quiet", lambda _self: True),
    "asked-for": (runner.WorkerRunner, "_exchange_once", _exchange_unasked),
}


class Round:
    """Attacks on workers that lack the same layers."""

    def __init__(self, world: World, job: dict, order: dict) -> None:
        from abstractruntime.sandbox import Limits, WorkerPool
        from abstractruntime.sandbox._process import Launch

        self.world, self.attacks, self.order = world, job["attacks"], order
        self.prelude = (HERE / "prelude.txt").read_text()

        def pool(wall_s: float) -> WorkerPool:
            limits = Limits(wall_s=wall_s, cpu_s=20, memory_bytes=256 << 20)
            bwrap = shutil.which("bwrap") if order["backend"] == "bwrap" else None
            return WorkerPool(
                limits, launch=Launch(limits, bwrap=bwrap, without=tuple(order["without"]))
            )

        self.pools = {False: pool(10.0), True: pool(0.4)}
        self.victim = self.pools[False].runner("t", "b" if order["shared"] else "victim")

    def run(self) -> list[dict]:
        with contextlib.ExitStack() as habits:
            for name in HABITS.keys() & self.order["without"]:
                habits.enter_context(mock.patch.object(*HABITS[name]))
            return self._run()

    def _run(self) -> list[dict]:
        self.victim.call(VICTIM, "transform", VICTIM_INPUT)
        self.before = self._look()
        found = [self._attack(name) for name in self.order["ids"]]
        for pool in self.pools.values():
            pool.close()
        left = _left()
        commands = [Path(f"/proc/{pid}/cmdline").read_bytes().decode("latin-1") for pid in left]
        _end(left)
        if left and not any("processes" in item["changed"] for item in found):
            found.append({"id": "*", "changed": ["processes"], "said": f"left: {commands}"})
        return found

    def _attack(self, name: str) -> dict:
        attack = self.attacks[name]
        attacker = self.pools[bool(attack.get("quick"))].runner("t", "b")
        said = self._say(attacker, attack["code"])
        result = self._pay(attacker if attack.get("same") else self.victim)
        said += " " + self._say(attacker, STASH)
        after = self._look(neighbour=result)
        changed = [part for part in after if after[part] != self.before[part]]
        if SECRET in said or "ESCAPED" in said:
            changed.append("result")
        if attack.get("lasting") or {"neighbour", "processes"} & set(changed):
            _end(after["processes"])
            for pool in self.pools.values():
                pool.close()
            self._pay(self.victim)
        if changed:
            self.world.reset()
            self.before = self._look()
        return {"id": name, "changed": changed, "said": said[:300]}

    def _say(self, attacker: Any, code: str) -> str:
        source = self.prelude + textwrap.indent(code, "    ")
        try:
            return json.dumps(attacker.call(source, "transform", self._facts(attacker)))
        except Exception as error:
            return f"{type(error).__name__}: {error}"

    def _pay(self, payer: Any) -> object:
        try:
            return payer.call(VICTIM, "transform", VICTIM_INPUT)
        except Exception as error:
            return str(error)

    def _facts(self, attacker: Any) -> dict:
        world = self.world
        return {
            "home": str(world.home), "parent": os.getpid(), "nice": os.getpriority(os.PRIO_PROCESS, 0),
            "host": socket.gethostname(), "mark": world.mark, "abstract": world.abstract,
            "tcp": _port(world.sockets["tcp"]), "tcp6": _port(world.sockets["tcp6"]),
            "udp": _port(world.sockets["udp"]), "key": KEY, "shm": world.shm,
            "secret_fd": world.secret_fd, "victim": VICTIM, "machine": platform.machine(),
            "secret_at": ctypes.addressof(world.secret), "victim_at": ctypes.addressof(world.victim),
            "call": _next_id(attacker), "away": self.order["without"],
        }  # fmt: skip

    def _look(self, neighbour: object = 42) -> dict:
        workers = {
            s.runner._worker.pid
            for pool in self.pools.values()
            for s in pool._runners.values()
            if s.runner._worker is not None
        } | {pool._spare.pid for pool in self.pools.values() if pool._spare is not None}
        extra = [pid for pid in _descendants() if pid not in workers]
        is_whole = self.order["backend"] == "worker"
        return {**self.world.look(), "neighbour": neighbour, "processes": extra if is_whole else []}


def _next_id(attacker: Any) -> int:
    served = attacker._pool._runners.get(attacker._key)
    return served.runner._last_id + 1 if served else 1


def _descendants() -> list[int]:
    found, waiting = [], [os.getpid()]
    while waiting:
        pid = waiting.pop()
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                children = [int(child) for child in task.read_text().split()]
                waiting += children
                found += children
    return [pid for pid in found if not _is_dead(pid)]


def _left() -> list[int]:
    """Give the descendants that stay; one whose parent was killed may need a moment to die."""
    for _ in range(2000):
        if not _descendants():
            return []
        time.sleep(0.01)
    return _descendants()


def _is_dead(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    return True


def _end(pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def main() -> None:
    job = json.load(sys.stdin) if len(sys.argv) < 2 else json.loads(Path(sys.argv[1]).read_text())
    if job["uid"] and os.getuid() == 0:
        path = Path(tempfile.mkstemp(prefix="art-escape-job-")[1])
        path.write_text(json.dumps(job))
        path.chmod(0o644)
        become(job["uid"], [__file__, str(path)])
    if len(sys.argv) > 1:
        with contextlib.suppress(OSError):
            Path(sys.argv[1]).unlink()
    libc.prctl(36, 1, 0, 0, 0)  # children of children come to this process
    world = World(own_user=bool(job["uid"]))
    try:
        answer = [Round(world, job, order).run() for order in job["rounds"]]
    finally:
        world.close()
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
