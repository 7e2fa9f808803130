"""Starts the service's real processes for a test, and polls: no test sleeps for a fixed time."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import httpx
from redis import Redis

from limner_shared.db import ledger, queries
from limner_shared.db.engine import Database
from limner_shared.db.tables import Job
from limner_shared.domain.cards import Catalogue
from limner_shared.domain.jobs import JobRequest, JobState, Priority
from limner_shared.settings import Settings

T = TypeVar("T")
TENANT = ledger.LOCAL_TENANT


def eventually(check: Callable[[], T], seconds: float = 30, every: float = 0.05) -> T:
    """The first true result of `check`; fails the test after so many seconds, with the last result."""
    deadline = time.monotonic() + seconds
    while not (result := check()):
        assert time.monotonic() < deadline, f"still {result!r} after {seconds} s"
        time.sleep(every)
    return result


def environment(settings: Settings) -> dict[str, str]:
    """The variables that give a process these settings, and nothing of ours from outside."""
    outer = {name: value for name, value in os.environ.items() if not name.startswith("LIMNER_")}
    return outer | settings.variables


@dataclass
class Service:
    """Worker and dispatcher processes around one database, and the ledger as the front door."""

    settings: Settings
    database: Database
    folder: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, command: str, *arguments: str, **options: object) -> subprocess.Popen[bytes]:
        """Start `limner COMMAND`, its log in the test's folder."""
        with (self.folder / f"{command}-{len(self.processes)}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "limner_client.cli.main", command, *arguments],
                env=environment(self.settings),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **options,
            )
        self.processes.append(process)
        return process

    def start_web(self) -> subprocess.Popen[bytes]:
        """Start a web process and wait until it answers."""
        process = self.start("serve")
        eventually(self.web_answers, 60)
        return process

    def web_answers(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.settings.port}/healthz", trust_env=False).is_success
        except httpx.TransportError:
            return False

    def start_workers(self, count: int = 1, **options: object) -> list[subprocess.Popen[bytes]]:
        """Start workers and wait until they say that they are ready."""
        before = self.workers_on_board()
        started = [self.start("worker", **options) for _ in range(count)]
        eventually(lambda: self.workers_on_board() >= before + count or any(p.poll() is not None for p in started), 90)
        assert all(process.poll() is None for process in started), self.logs()
        return started

    def workers_on_board(self) -> int:
        with Redis.from_url(self.settings.redis_url) as client:
            return len(client.keys("limner:worker:*"))

    def submit(self, count: int = 1, *, priority: Priority = Priority.NORMAL, **request: object) -> list[str]:
        """Queue jobs through the ledger; the dispatcher releases them."""
        catalogue = Catalogue.load(self.settings.models, self.settings.default_model)
        small = {"steps": 2, "width": 64, "height": 64} if catalogue.default == "limner-flow" else {}
        card, spec = catalogue.resolve(JobRequest.model_validate({"prompt": "a red apple"} | small | request))
        with self.database.write() as session:
            new = [ledger.NewJob(spec, card.cost(spec), priority)] * count
            return [change.id for change in ledger.submit(session, TENANT, new).changes]

    def jobs(self, ids: list[str]) -> list[Job]:
        with self.database.read() as session:
            return [queries.job(session, TENANT, job_id) for job_id in ids]

    def wait(self, ids: list[str], seconds: float = 60) -> list[Job]:
        """All of these jobs, once each is in a terminal state."""

        def ended() -> bool:
            with self.database.read() as session:
                return all(JobState(queries.job(session, TENANT, job_id).state).terminal for job_id in ids)

        eventually(ended, seconds, every=0.2)
        return self.jobs(ids)

    def logs(self) -> str:
        return "\n".join(f"--- {file.name}\n{file.read_text()[-9000:]}" for file in self.folder.glob("*.log"))

    def stop(self) -> None:
        """Stop whatever still runs."""
        for process in self.processes:
            with suppress(ProcessLookupError):
                process.kill()
            process.wait(10)
