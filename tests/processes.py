"""Starts the real processes of the service for a test, and polls: no test sleeps for a fixed time."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
from sqlalchemy import update

from limner_shared.db import ledger, queries
from limner_shared.db.engine import Database
from limner_shared.db.tables import Job
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import JobRequest, JobState, Priority
from limner_shared.messaging.hints import connect
from limner_shared.messaging.typed_redis import keys_like
from limner_shared.settings import Settings

T = TypeVar("T")
TENANT = ledger.LOCAL_TENANT
COMMAND = "limner_client.cli.main"
"""The module that runs the command `limner`."""


def eventually(check: Callable[[], T | None], seconds: float = 30, every: float = 0.05) -> T:
    """Poll `check` and return its first true result. Fails the test after `seconds` and shows the last result."""
    deadline = time.monotonic() + seconds
    while not (result := check()):
        assert time.monotonic() < deadline, f"still {result!r} after {seconds} s"
        time.sleep(every)
    return result


def environment(settings: Settings) -> dict[str, str]:
    """The environment variables for a process with these settings; other LIMNER_ variables are removed."""
    outer = {name: value for name, value in os.environ.items() if not name.startswith("LIMNER_")}
    return outer | settings.variables


def responds(port: int) -> bool:
    """Whether a web server of this machine responds."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False).is_success
    except httpx.TransportError:
        return False


@dataclass
class Service:
    """Worker and dispatcher processes that use one database; jobs are submitted through the ledger."""

    settings: Settings
    database: Database
    folder: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list[subprocess.Popen[bytes]])

    def change_settings(self, changes: Mapping[str, Any]) -> None:
        """Change settings; only explicitly set ones are passed to the processes that are started from now on."""
        explicit: dict[str, Any] = self.settings.model_dump(exclude_unset=True)
        self.settings = Settings(**explicit | dict(changes))

    def start(self, command: str, *arguments: str, module: str = COMMAND, **options: Any) -> subprocess.Popen[bytes]:
        """Start `limner COMMAND`, run by `module`; its log goes to the test's folder."""
        with (self.folder / f"{command}-{len(self.processes)}.log").open("wb") as log:
            process: Any = subprocess.Popen(
                [sys.executable, "-m", module, command, *arguments],
                env=environment(self.settings),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **options,
            )
        self.processes.append(process)
        return process

    def start_web(self) -> subprocess.Popen[bytes]:
        """Start a web process and wait until it responds."""
        process = self.start("serve")
        eventually(self.web_responds, 60)
        return process

    def web_responds(self) -> bool:
        return responds(self.settings.port)

    def start_workers(self, count: int = 1, *arguments: str, **options: Any) -> list[subprocess.Popen[bytes]]:
        """Start workers and wait until they report that they are ready."""
        before = self.ready_workers()
        started = [self.start("worker", *arguments, **options) for _ in range(count)]
        eventually(lambda: self.ready_workers() >= before + count or any(p.poll() is not None for p in started), 90)
        assert all(process.poll() is None for process in started), self.logs()
        return started

    def ready_workers(self) -> int:
        with connect(self.settings.redis_url) as client:
            return len(list(keys_like(client, "limner:worker:*")))

    def submit(
        self,
        count: int = 1,
        *,
        priority: Priority = Priority.NORMAL,
        max_retries: int = 0,
        losses: int = 0,
        **request: Any,
    ) -> list[str]:
        """Queue jobs through the ledger; the dispatcher releases them. `losses` workers seem to have been lost."""
        catalogue = Catalogue.load(self.settings.models, self.settings.default_model)
        small = {"steps": 2, "width": 64, "height": 64} if catalogue.default == "limner-flow" else {}
        card, spec = catalogue.resolve(JobRequest.model_validate({"prompt": "a red apple"} | small | request))
        with self.database.write() as session:
            new = [ledger.NewJob(spec, card.cost(spec), priority, max_retries=max_retries)] * count
            ids = [change.id for change in ledger.submit(session, TENANT, new).changes]
            if losses:
                session.execute(update(Job).where(Job.id.in_(ids)).values(losses=losses))
            return ids

    def jobs(self, ids: list[str]) -> list[Job]:
        with self.database.read() as session:
            return [queries.job(session, TENANT, job_id) for job_id in ids]

    def wait(self, ids: list[str], seconds: float = 60) -> list[Job]:
        """Wait until each of these jobs is in a terminal state, then return them."""

        def ended() -> bool:
            with self.database.read() as session:
                return all(JobState(queries.job(session, TENANT, job_id).state).terminal for job_id in ids)

        eventually(ended, seconds, every=0.2)
        return self.jobs(ids)

    def logs(self) -> str:
        return "\n".join(f"--- {file.name}\n{file.read_text()[-9000:]}" for file in self.folder.glob("*.log"))

    def stop(self) -> None:
        """Kill all processes that still run."""
        for process in self.processes:
            with suppress(ProcessLookupError):
                process.kill()
            process.wait(10)
