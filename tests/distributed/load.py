"""Load on a service by OpenAI's official client, as it is: it repeats by itself what it repeats for everyone."""

from __future__ import annotations

import base64
import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from statistics import quantiles
from typing import Any, Final, cast

import openai

from tests.distributed.proxy import Proxy

CLIENTS: Final = 64
"""Threads that wait for answers; more than are ever needed."""
LONG_EVERY: Final = 12
"""One of this many requests is for several pictures of many steps."""
SHORT: Final[dict[str, Any]] = {"n": 1, "size": "64x64", "extra_body": {"steps": 4}}
LONG: Final[dict[str, Any]] = {"n": 4, "size": "64x64", "extra_body": {"steps": 100}}


class Balancer(Proxy):
    """Sends each connection to the next of several servers that accepts it, as a load balancer does."""

    def __init__(self, ports: list[int]) -> None:
        self._ports = itertools.cycle(ports)
        self._servers = len(ports)
        super().__init__(f"http://127.0.0.1:{ports[0]}")

    def _connect(self) -> Any:
        for port in itertools.islice(self._ports, self._servers):
            self._target = ("127.0.0.1", port)
            try:
                return super()._connect()
            except ConnectionRefusedError:
                continue
        raise ConnectionRefusedError


@dataclass
class Load:
    """Requests at a steady rate, whether or not earlier ones are answered."""

    url: str
    seconds: list[float] = field(default_factory=list[float])
    """How long each answered request took, from its sending to its pictures, repeats included."""
    failures: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        self._client = openai.OpenAI(base_url=f"{self.url}/v1", api_key="none", timeout=300)
        self._numbers = itertools.count()
        self._pool = ThreadPoolExecutor(CLIENTS)
        self._stopping = threading.Event()
        self._pacer: threading.Thread | None = None

    def capacity(self, requests: int, at_once: int) -> float:
        """How many requests a second are answered when `at_once` wait at any time."""
        started = time.monotonic()
        with ThreadPoolExecutor(at_once) as pool:
            for asked in [pool.submit(self.ask) for _ in range(requests)]:
                asked.result()
        assert self.failures == []
        return requests / (time.monotonic() - started)

    def ask(self) -> None:
        """Ask for pictures and wait for them."""
        number, started = next(self._numbers), time.monotonic()
        options = LONG if number % LONG_EVERY == LONG_EVERY - 1 else SHORT
        try:
            answer: Any = cast("Any", self._client.images).generate(
                model="limner-flow", prompt=f"a red apple {number}", **options
            )
            pictures = [base64.b64decode(one.b64_json or "") for one in cast("list[Any]", answer.data or [])]
            assert [one[:4] for one in pictures] == [b"\x89PNG"] * options["n"]
        except Exception as error:  # noqa: BLE001 - every failure is counted
            self.failures.append(repr(error))
        else:
            self.seconds.append(time.monotonic() - started)

    def start(self, rate: float) -> None:
        """Begin to send `rate` requests a second."""

        def pace() -> None:
            due = time.monotonic()
            while not self._stopping.is_set():
                self._pool.submit(self.ask)
                due += 1 / rate
                self._stopping.wait(max(0.0, due - time.monotonic()))

        self._pacer = threading.Thread(target=pace, daemon=True)
        self._pacer.start()

    def stop(self) -> None:
        """Send no more, and wait for all answers."""
        self._stopping.set()
        if self._pacer is not None:
            self._pacer.join()
        self._pool.shutdown()
        self._client.close()


def p95(seconds: list[float]) -> float:
    """The time that 95 % took at most."""
    return quantiles(seconds, n=20)[-1]
