"""The clients of the soak, each on its own thread."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, Final

import httpx

from limner_client.client import Client
from limner_client.errors import refused
from limner_shared.domain.jobs import JobState
from limner_shared.errors import InvalidState, LimnerError

SINGLES, BULKS, FOLLOWERS = 4, 1, 4
"""Clients of each kind. One process runs them all, beside the service."""
BULK_LINES: Final = 200
PAUSE_SECONDS, BULK_PAUSE_SECONDS = 0.5, 15.0
"""How long a client waits after a single job, and after a bulk, on average."""
CANCELED: Final = 0.2
TALKS: Final = "/api/v1/conversations"
MESSAGES: Final = ("a red apple", "bluer", "two of them", "another one")
"""What a person says in a conversation, message by message."""
DICE: Final = random.Random()  # noqa: S311 - load, not secrets


@dataclass
class Figures:
    """What was measured, each with the seconds since the start."""

    started: float = field(default_factory=time.monotonic)
    latencies: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    """Milliseconds from the submission of a single job to its picture's bytes."""
    memory: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    """Resident megabytes of a kind of process, without pages of files, which the kernel may drop and read again."""
    threads: dict[str, list[tuple[float, int]]] = field(default_factory=lambda: defaultdict(list))
    jobs: int = 0
    errors: list[str] = field(default_factory=list[str])

    @property
    def at(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started


class Load:
    """The clients, each on its own thread until `stop`."""

    def __init__(self, url: str, figures: Figures) -> None:
        self._url = url
        self._figures = figures
        self._over = threading.Event()
        clients = [self._single] * SINGLES + [self._bulk] * BULKS + [self._talk] + [self._follow] * FOLLOWERS
        self._threads = [threading.Thread(target=self._again, args=(each,), daemon=True) for each in clients]

    def start(self) -> None:
        """Start all clients."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let each client end what it does; those that follow events end with the process."""
        self._over.set()
        for thread in self._threads[:-FOLLOWERS]:
            thread.join(60)

    def _again(self, use: Callable[[Client], None]) -> None:
        with Client(self._url) as client:
            while not self._over.is_set():
                try:
                    use(client)
                except InvalidState:
                    continue  # a job ended before it was canceled
                except LimnerError as error:
                    self._figures.errors.append(f"{use.__name__}: {error.message}"[:200])
                    self._over.wait(1)

    def _pause(self, seconds: float) -> None:
        """Wait for a random time of this mean, so that clients do not move in step."""
        self._over.wait(DICE.expovariate(1 / seconds))

    def _single(self, client: Client) -> None:
        self._pause(PAUSE_SECONDS)
        started = time.perf_counter()
        job = client.submit({"prompt": "a red apple", "seed": DICE.randrange(2**31), "steps": 3})
        self._figures.jobs += 1
        if DICE.random() < CANCELED:
            self._over.wait(DICE.uniform(0, 0.1))
            client.cancel(job.id)
            return
        while not job.status.terminal:
            job = client.job(job.id, wait_seconds=25)
        if job.status is not JobState.SUCCEEDED:
            raise LimnerError(f"{job.id} {job.status}")
        client.download(job.images[0])
        self._figures.latencies.append((self._figures.at, (time.perf_counter() - started) * 1000))

    def _bulk(self, client: Client) -> None:
        self._pause(BULK_PAUSE_SECONDS)
        lines = "".join(
            json.dumps({"prompt": f"picture {number}", "seed": DICE.randrange(2**31)}) + "\n"
            for number in range(BULK_LINES)
        )
        bulk = client.submit_bulk(BytesIO(lines.encode()))
        self._figures.jobs += BULK_LINES
        client.pause_bulk(bulk.id)
        self._over.wait(0.5)
        client.resume_bulk(bulk.id)
        if DICE.random() < CANCELED:
            client.cancel_bulk(bulk.id)
            return
        while client.bulk(bulk.id).ended < BULK_LINES and not self._over.wait(0.2):
            continue
        for _ in client.bulk_results(bulk.id):
            continue

    def _talk(self, client: Client) -> None:
        with httpx.Client(base_url=self._url, trust_env=False, timeout=60) as http:
            first, *others = MESSAGES
            talk = self._say(http, TALKS, first)
            url = f"{TALKS}/{talk['id']}"
            self._read(client, talk["turns"][0])
            for message in others:
                self._read(client, self._say(http, f"{url}/messages", message))
            if DICE.random() < CANCELED:
                _checked(http.delete(url))

    def _say(self, http: httpx.Client, url: str, message: str) -> dict[str, Any]:
        self._pause(PAUSE_SECONDS)
        said = _checked(http.post(url, json={"message": message})).json()
        self._figures.jobs += 1
        return said

    def _read(self, client: Client, turn: dict[str, Any]) -> None:
        client.explain(turn["job"]["id"])
        for _ in client.wait(turn["job"]["id"]):
            continue

    def _follow(self, client: Client) -> None:
        for number, _event in enumerate(client.events()):
            if number > 1000 or self._over.is_set():  # a browser's tab is closed, and another one opened
                return


def _checked(answer: httpx.Response) -> httpx.Response:
    if answer.is_error:
        raise refused(answer)
    return answer
