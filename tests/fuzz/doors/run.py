"""Sends the requests of every door, and reports the smallest request for each fault."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any, Final, cast

import click
import httpx
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import lists, one_of
from sqlalchemy import select

from limner_client.operations.consistency import Check
from limner_shared.db.batch_tables import Batch
from limner_web.auth import DOORS
from tests.fuzz.doors import forms, openai, others
from tests.fuzz.doors.checks import check, check_alone
from tests.fuzz.doors.requests import Request, send
from tests.fuzz.doors.world import World, world
from tests.processes import eventually

OPERATIONS: Final = {**openai.OPERATIONS, **others.OPERATIONS, **forms.OPERATIONS}
MAX_FAULT_CHARS: Final = 3_000
SLOW: Final = (HealthCheck.data_too_large, HealthCheck.filter_too_much, HealthCheck.too_slow)
MAX_GROWTH_MB: Final = 300


class Door:
    """Sends requests to one world and checks what they do."""

    def __init__(self, made: World) -> None:
        self._world = made
        self.statuses: Counter[int] = Counter()
        self.slowest = 0.0

    def try_one(self, request: Request) -> None:
        """Send one request. Raises AssertionError for what must not be."""
        made = self._world
        answer, seconds = self._send(request)
        self._count(answer, seconds)
        if request.path == "/v1/batches" and answer.status_code == 200 and request.method == "POST":
            self._check_batch(answer.json()["id"])
        check(request, answer, made.new_jobs(), seconds, "own")
        self._follow(request, answer)

    def try_together(self, requests: Sequence[Request]) -> None:
        """Send requests at once. Raises AssertionError for what must not be, whatever the others do."""
        with ThreadPoolExecutor(len(requests)) as pool:
            sent = list(pool.map(self._send, requests))
        for request, (answer, seconds) in zip(requests, sent, strict=True):
            self._count(answer, seconds)
            check_alone(request, answer)
        self._world.new_jobs()
        if any(request.method == "DELETE" for request in requests):
            self._world.seed("own")

    def _send(self, request: Request) -> tuple[httpx.Response, float]:
        made = self._world
        client = made.client
        if request.path == "/mcp":
            client = made.agent
        elif not request.path.startswith(DOORS):
            client = made.pages
        started = time.monotonic()
        return send(client, request, made.ids), time.monotonic() - started

    def _count(self, answer: httpx.Response, seconds: float) -> None:
        self.statuses[answer.status_code] += 1
        self.slowest = max(self.slowest, seconds)

    def _check_batch(self, batch_id: str) -> None:
        """A batch makes a job for each line of its file, or none."""
        made = self._world

        def read() -> Batch | None:
            with made.database.read() as session:
                row = session.scalar(select(Batch).where(Batch.id == batch_id))
            return row if row is not None and row.state != "validating" else None

        row = eventually(read, 30)
        jobs = made.new_jobs()
        expected = 0 if row.state == "failed" else row.total
        assert len(jobs) == expected, f"batch {row.state} of {row.total} lines made {len(jobs)} jobs"

    def _follow(self, request: Request, answer: httpx.Response) -> None:
        """Keep ids that later requests name in use."""
        if answer.status_code >= 300:
            return
        if request.method == "DELETE":
            self._world.seed("own")
        elif request.path == "/v1/files" and request.method == "POST" and answer.json()["purpose"] == "batch":
            self._world.ids["@own.upload@"] = answer.json()["id"]


def fuzz_doors(kind: str, cases: int, start: int, only: str = "", together: int = 0) -> dict[str, Any]:
    """Send at least `cases` requests; prints every fault. Returns the figures.

    With `together`, that many requests of any operations are sent at once, and only what no answer may be is checked.
    """
    chosen = {name: operation for name, operation in OPERATIONS.items() if only in name}
    if together:
        chosen = {"together": lists(one_of(*chosen.values()), min_size=together, max_size=together)}
    faults: list[str] = []
    with tempfile.TemporaryDirectory(prefix="limner-doors-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL runs as another user
        with world(kind, folder) as made:
            door = Door(made)
            before, memory = made.counts("other"), 0
            for attempt in count(start):  # an operation may have fewer different requests than its share
                each = -(-(cases - door.statuses.total()) // len(chosen) // (together or 1))
                for title, operation in chosen.items():
                    began = time.monotonic()
                    faults += _faults(door, title, operation, each, attempt)
                    memory = memory or made.memory()
                    click.echo(f"{kind} {title}: {time.monotonic() - began:.0f} s, {made.memory()} MB", err=True)
                if faults or door.statuses.total() >= cases:
                    break
            rest = _check_rest(made, before, memory)
            faults += rest
            click.echo("\n".join(rest), nl=bool(rest))
            figures: dict[str, Any] = {
                "seed": start,
                "cases": door.statuses.total(),
                "failures": len(faults),
                "errors": 0,
            }
            figures |= {"slowest_s": round(door.slowest, 2), "memory_mb": made.memory()}
    return figures | {"statuses": dict(sorted(door.statuses.items()))}


def _faults(door: Door, title: str, operation: Any, cases: int, start: int) -> list[str]:
    """Send the requests of an operation; prints and returns what was wrong."""
    try:
        _run(door, operation, cases, start)
    except Exception as error:  # noqa: BLE001 - whatever a check raises is a fault to report
        found = [f"{title}: {each}" for each in _told(error)]
        click.echo("\n".join(found))
        return found
    return []


def _run(door: Door, operation: Any, cases: int, start: int) -> None:
    @seed(start)
    @settings(
        max_examples=cases,
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=SLOW,
        report_multiple_bugs=True,
    )
    @given(request=operation)
    def run(request: Request | list[Request]) -> None:
        if isinstance(request, list):
            door.try_together(request)
        else:
            door.try_one(request)

    run()


def _told(error: Exception) -> list[str]:
    parts: Sequence[Exception] = (error,)
    if isinstance(error, ExceptionGroup):
        parts = cast("ExceptionGroup[Exception]", error).exceptions
    texts = ("\n  ".join([f"{type(part).__name__}: {part}", *getattr(part, "__notes__", ())]) for part in parts)
    return [text[:MAX_FAULT_CHARS] for text in texts]


def _check_rest(made: World, before: dict[str, int], memory: int) -> list[str]:
    """What is wrong once all requests have ended."""
    faults: list[str] = []
    try:
        eventually(lambda: not made.unfinished(), 90)
    except AssertionError:
        faults.append(f"not finished: {made.unfinished()[:5]}")
    after = made.counts("other")
    if after != before:
        faults.append(f"the other tenant had {before}, and has {after}")
    report = Check(made.service.settings, lambda _text: None).run()
    if not report.consistent:
        faults.append(f"the store is not consistent: {report.problems}")
    grown = made.memory() - memory
    if grown > MAX_GROWTH_MB:
        faults.append(f"the web process grew by {grown} MB")
    if "unexpected error" in made.service.logs():
        faults.append("the log has an unexpected error")
    return faults
