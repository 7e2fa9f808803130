"""The waiting clients of `bench.polling`, in one process: long polls and event streams of some jobs.

    python -m bench.waiting_clients PORT POLLS STREAMS JOB…

Prints `ready` once all are connected, or what failed if that takes longer than two minutes. A line on its input names
the jobs that were ended, as JSON. Once all their clients have heard of it, or half a minute later, it prints a line of
JSON: `heard` has for each job the times of the monotonic clock at which they did, `broken` how many requests failed. A
broken connection is made again, as a real client does.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import resource
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Final

CONNECTING: Final = 100
"""Maximum concurrent connection attempts."""
ENDED: Final = b"canceled"
CONNECTED_SECONDS: Final = 120
SETTLE_SECONDS: Final = 3
LATEST_SECONDS: Final = 30
AGAIN_SECONDS: Final = 0.5


class Waiting:
    """The clients of one server."""

    def __init__(self, port: int, jobs: Sequence[str]) -> None:
        self._port = port
        self._jobs = itertools.cycle(jobs)
        self._connecting = asyncio.Semaphore(CONNECTING)
        self._connected = set[int]()
        self._broken: Counter[str] = Counter()
        self._heard: defaultdict[str, list[float]] = defaultdict(list)
        self._waiting: Counter[str] = Counter()

    async def run(self, polls: int, streams: int) -> None:
        """Connect all clients, wait for a line on the input, and print what was heard."""
        followed = [next(self._jobs) for _ in range(polls + streams)]
        self._waiting.update(followed)
        paths = [f"/api/v1/jobs/{job}?wait=25" for job in followed[:polls]]
        paths += [f"/api/v1/events?jobs={job}" for job in followed[polls:]]
        clients = [
            asyncio.create_task(self._hear(number, *each))
            for number, each in enumerate(zip(followed, paths, strict=True))
        ]
        latest = time.monotonic() + CONNECTED_SECONDS
        while len(self._connected) < len(clients):
            if time.monotonic() > latest:
                print(f"{len(self._connected)} of {len(clients)} connected; broken: {dict(self._broken)}", flush=True)
                return
            await asyncio.sleep(0.1)
        await asyncio.sleep(SETTLE_SECONDS)  # until the server has read the last requests
        print("ready", flush=True)
        ended: list[str] = json.loads(await asyncio.to_thread(sys.stdin.readline))
        latest = time.monotonic() + LATEST_SECONDS
        while time.monotonic() < latest and any(len(self._heard[job]) < self._waiting[job] for job in ended):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.1)
        for client in clients:
            client.cancel()
        print(json.dumps({"heard": self._heard, "broken": self._broken}), flush=True)

    async def _hear(self, number: int, job: str, path: str) -> None:
        """Ask until the job has ended, and note when that was heard."""
        while True:
            try:
                data = await self._ask(number, path)
            except OSError as error:
                self._broken[type(error).__name__] += 1
            else:
                if ENDED in data:
                    self._heard[job].append(time.monotonic())
                    return
                if data.startswith(b"HTTP/1.1 200"):
                    continue
                self._broken[data[9:12].decode(errors="replace") or "closed"] += 1
            await asyncio.sleep(AGAIN_SECONDS)

    async def _ask(self, number: int, path: str) -> bytes:
        """Return what was received until the job has ended or the server has closed the connection. Raises OSError."""
        async with self._connecting:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            await writer.drain()
        self._connected.add(number)
        data = b""
        try:
            while ENDED not in data and (more := await reader.read(65536)):
                data += more
        finally:
            writer.close()
        return data


def main(port: str, polls: str, streams: str, *jobs: str) -> None:
    """Run until a line is read."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(Waiting(int(port), jobs).run(int(polls), int(streams)))


if __name__ == "__main__":
    main(*sys.argv[1:])
