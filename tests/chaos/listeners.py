"""Clients that wait for the ends of jobs during the faults: one reads the event stream, one polls job after job.

A lost connection is theirs to make again. What they must not miss is an end: the stream promises to continue without
gaps, and a long poll to return when its job ends.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
from sqlalchemy import select

from limner_shared.db.engine import Database
from limner_shared.db.tables import Job
from limner_shared.domain.jobs import JobState

SILENT_SECONDS: Final = 25.0
"""A stream sends a comment every 15 seconds; after this time without one its connection is dead."""
POLL_SECONDS: Final = 25
"""The longest wait that the API allows."""
CONNECT_SECONDS: Final = 60.0
SHOWN: Final = 5
"""How many of the missed ends a report names."""


@dataclass(frozen=True, slots=True)
class SentEvent:
    """One server-sent event."""

    id: str
    kind: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Ended:
    """A job that has ended, and when: in seconds since 1970."""

    id: str
    bulk_id: str | None
    at: float


@dataclass(slots=True)
class Heard:
    """What a client knows, and since when: in seconds since 1970."""

    jobs: dict[str, float] = field(default_factory=dict[str, float])
    """Jobs of which it knows that they have ended."""
    bulks: dict[str, float] = field(default_factory=dict[str, float])
    """The last event of each bulk: the stream has one for many of its jobs."""
    reset_at: float = 0.0
    """When it was last told to read the jobs again."""

    def note(self, event: SentEvent, at: float) -> None:
        """Note an event."""
        if event.kind == "job" and JobState(event.data["status"]).terminal:
            self.jobs.setdefault(event.data["id"], at)
        elif event.kind == "bulk":
            self.bulks[event.data["id"]] = at
        elif event.kind == "reset":
            self.reset_at = at

    def knows(self, job: Ended) -> bool:
        """Whether the client knows of this end, or knows that it must read the jobs."""
        of_its_bulk = self.bulks.get(job.bulk_id, 0.0) if job.bulk_id is not None else 0.0
        return job.id in self.jobs or job.at <= max(of_its_bulk, self.reset_at)


def parse(lines: Iterable[str]) -> Iterator[SentEvent]:
    """The events of a stream; comments and the retry time are left out."""
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        if line:
            fields[name] = value.removeprefix(" ")
        else:
            if "data" in fields:
                yield SentEvent(fields.get("id", ""), fields.get("event", ""), json.loads(fields["data"]))
            fields = {}


class EventReader(threading.Thread):
    """Reads the stream of all jobs, and continues with `Last-Event-ID` after an interruption."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._url = url
        self._last = ""
        self._stopping = threading.Event()
        self.connected = threading.Event()
        self.heard = Heard()

    def run(self) -> None:
        timeout = httpx.Timeout(5, read=SILENT_SECONDS)
        while not self._stopping.wait(0.3):
            with suppress(httpx.HTTPError), httpx.Client(timeout=timeout, trust_env=False) as client:
                self._read(client)

    def _read(self, client: httpx.Client) -> None:
        headers = {"Last-Event-ID": self._last} if self._last else {}
        with client.stream("GET", f"{self._url}/api/v1/events", headers=headers) as answer:
            answer.raise_for_status()
            self.connected.set()
            for event in parse(answer.iter_lines()):
                if self._stopping.is_set():
                    return
                self._last = event.id
                self.heard.note(event, time.time())

    def stop(self) -> None:
        """End at the next event or comment."""
        self._stopping.set()


class LongPoller(threading.Thread):
    """Waits for the end of one job after the other, in the order in which `jobs` grows until `is_complete`."""

    def __init__(self, url: str, jobs: Sequence[str], is_complete: Callable[[], bool]) -> None:
        super().__init__(daemon=True)
        self._url = url
        self._jobs = jobs
        self._is_complete = is_complete
        self._stopping = threading.Event()
        self.heard = Heard()

    def run(self) -> None:
        with httpx.Client(base_url=f"{self._url}/api/v1/jobs", timeout=POLL_SECONDS + 5, trust_env=False) as client:
            number = 0
            while not self._stopping.is_set() and (number < len(self._jobs) or not self._is_complete()):
                if number < len(self._jobs) and self._has_ended(client, self._jobs[number]):
                    number += 1
                else:
                    self._stopping.wait(0.1)

    def _has_ended(self, client: httpx.Client, job_id: str) -> bool:
        with suppress(httpx.HTTPError, ValueError):
            answer = client.get(f"/{job_id}", params={"wait": POLL_SECONDS})
            if answer.is_success and JobState(answer.json()["status"]).terminal:
                self.heard.jobs[job_id] = time.time()
                return True
        return False

    def stop(self) -> None:
        """End after the current poll."""
        self._stopping.set()


def ended_jobs(database: Database, ids: Collection[str]) -> list[Ended]:
    """Those of these jobs that have ended."""
    columns = select(Job.id, Job.bulk_id, Job.finished_at).where(Job.id.in_(ids), Job.finished_at.is_not(None))
    with database.read() as session:
        return [Ended(job_id, bulk_id, at) for job_id, bulk_id, at in session.execute(columns) if at is not None]


def missed(name: str, heard: Heard, ended: Iterable[Ended]) -> list[str]:
    """A sentence if the client does not know of some ends."""
    unknown = [job.id for job in ended if not heard.knows(job)]
    return [f"{name} was not told of the ends of {len(unknown)} jobs: {unknown[:SHOWN]}"] if unknown else []


def wait_until_heard(name: str, heard: Heard, ended: Collection[Ended], seconds: float) -> list[str]:
    """Wait until a client knows of all these ends; a sentence if it does not within this time."""
    deadline = time.monotonic() + seconds
    while (found := missed(name, heard, ended)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found
