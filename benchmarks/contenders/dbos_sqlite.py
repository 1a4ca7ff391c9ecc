"""DBOS with its SQLite system database: the outcome of every step is one row, committed before the next.

A function is run again from its start after a restart, with the outcomes that were stored. Its
variables are not saved, so a big state only travels as an argument, which is stored once.
"""

from __future__ import annotations

import sqlite3
from functools import cached_property
from pathlib import Path
from typing import Any

from workloads import POWER_CUT, TEXT, Contender, Result, StepClock, messages, untimed


class Dbos:
    def __init__(self, directory: str) -> None:
        self._file = Path(directory).resolve() / "dbos.sqlite"
        self._clock: StepClock | None = None
        self._dbos: Any = None

    def _launch(self) -> Any:
        """Give the library, launched: it begins at once to recover what the last process left."""
        from dbos import DBOS  # type: ignore[import-not-found,unused-ignore] # in its own environment

        if self._dbos is None:
            DBOS(
                config={
                    "name": "bench",
                    "system_database_url": self._url,
                    "log_level": "ERROR",
                    "console_log_level": "ERROR",
                    "application_version": "1",
                    "notification_listener_polling_interval_sec": 0.01,
                }
            )
            self._define(DBOS)
            DBOS.launch()
            self._dbos = DBOS
        return self._dbos

    @property
    def _url(self) -> str:
        return f"sqlite:///{self._file}"

    def _define(self, dbos: Any) -> None:
        @dbos.step()  # type: ignore[untyped-decorator,unused-ignore] # as above
        def act(count: int, _text: str) -> Result:
            assert self._clock is not None
            return self._clock.step(count)

        @dbos.workflow()  # type: ignore[untyped-decorator,unused-ignore] # as above
        def steps(total: int, _state: Result) -> int:
            count = 0
            for _ in range(total):
                count = act(count, TEXT)["i"]
            return count

        @dbos.workflow()  # type: ignore[untyped-decorator,unused-ignore] # as above
        def question(_state: Result) -> Any:
            dbos.set_event("asked", value=True)
            return dbos.recv("answer", timeout_seconds=3600)

        self._steps, self._question = steps, question

    def chain(self, clock: StepClock, state: Result) -> None:
        self._launch()
        self._clock = clock
        clock.start()
        self._run(clock.total, state)

    def runs(self, clock: StepClock, count: int) -> None:
        self._launch()
        self._clock, steps = clock, clock.total // count
        clock.start()
        for _ in range(count):
            self._run(steps, {})

    def _run(self, steps: int, state: Result) -> None:
        count = self._steps(steps, state)
        if count != steps:
            raise AssertionError(count)

    def park(self, count: int) -> list[str]:
        return self._park(count, {})

    def _park(self, count: int, state: Result) -> list[str]:
        dbos = self._launch()
        ids = [dbos.start_workflow(self._question, state).workflow_id for _ in range(count)]
        for run_id in ids:
            dbos.get_event(run_id, "asked", timeout_seconds=200)
        return ids

    def answer(self, run_id: str) -> None:
        dbos = self._launch()
        dbos.send(run_id, "yes", "answer")
        answer = dbos.retrieve_workflow(run_id).get_result(polling_interval_sec=0.01)
        if answer != "yes":
            raise AssertionError(answer)

    def fill(self, total: int, waiting: int, **_timers: int) -> None:
        """Make one run of each kind and copy its row; really running them would take minutes."""
        state = {"blob": messages(1024)}
        (parked,) = self._park(1, state)
        self._clock = untimed(1)
        self._run(1, state)
        with sqlite3.connect(self._file) as database:
            _copy_row(database, f"workflow_uuid = '{parked}'", waiting - 1)
            _copy_row(database, "status = 'SUCCESS'", total - waiting - 1)
            # Else the next process would begin to recover them.
            database.execute("UPDATE workflow_status SET executor_id = 'elsewhere'")

    def waiting(self) -> int:
        """List what has not ended: the store does not tell what a run waits for."""
        found = self._client.list_workflows(status="PENDING", load_input=False, load_output=False)
        return len(found)

    @cached_property
    def _client(self) -> Any:
        from dbos import DBOSClient

        return DBOSClient(system_database_url=self._url)


def _copy_row(database: sqlite3.Connection, which: str, copies: int) -> None:
    columns = [row[1] for row in database.execute("PRAGMA table_info(workflow_status)")]
    rest = ", ".join(f'"{name}"' for name in columns if name != "workflow_uuid")
    database.execute(
        f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {copies})"
        f" INSERT INTO workflow_status (workflow_uuid, {rest})"
        f" SELECT workflow_uuid || '-' || i, {rest} FROM workflow_status, n WHERE {which}"
    )


CONTENDERS = [
    Contender(
        name="dbos",
        make=Dbos,
        survives=POWER_CUT,
        promise="SQLite system database as it comes: rollback journal, synchronous=FULL",
        packages=("dbos==3.4.0",),
        commands={"import dbos": ("{bin}/python", "-c", "import dbos")},
        modules=("dbos",),
    )
]
