"""A batch of OpenAI's API with a million lines: upload, check, queueing and cancellation, and the memory that it takes.

    python -m bench.batches [--lines N]

One web process and a dispatcher without a worker serve the official client, as `openai.files` and `openai.batches`.
"""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final

import click
import psutil
from openai import OpenAI

from bench.common import NULL_CARD, conclude, processes, running_stack

GOAL_MB: Final = 100.0
"""How much memory the web process may take beyond what it had after a small batch."""
ENDED: Final = ("completed", "failed", "expired", "cancelled")


class Lines(io.RawIOBase):
    """The lines of a batch, made as they are read."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self._lines = self._make(count)
        self._rest = b""
        self.sent = 0

    @staticmethod
    def _make(count: int) -> Iterator[bytes]:
        for number in range(count):
            body = {"model": "null", "prompt": f"a red apple on table {number}", "size": "8x8"}
            line = {"custom_id": f"n{number}", "method": "POST", "url": "/v1/images/generations", "body": body}
            yield json.dumps(line).encode() + b"\n"

    def readable(self) -> bool:
        """Whether it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read some bytes."""
        parts, size = [self._rest], len(self._rest)
        while size < len(buffer) and (line := next(self._lines, b"")):
            parts.append(line)
            size += len(line)
        data = b"".join(parts)
        taken = min(len(data), len(buffer))
        buffer[:taken], self._rest = data[:taken], data[taken:]
        self.sent += taken
        return taken


class Peak:
    """The most memory that a process has had since `reset`, in MB; looked at ten times a second."""

    def __init__(self, process: psutil.Process) -> None:
        self._processes = [process, *process.children(recursive=True)]
        self._most = 0.0
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        with suppress(psutil.NoSuchProcess):
            while True:
                self._most = max(self._most, self.now())
                time.sleep(0.1)

    def now(self) -> float:
        """The memory that it has now."""
        return max(each.memory_info().rss for each in self._processes) / 1e6

    def reset(self) -> float:
        """Return the peak, and begin again."""
        most, self._most = self._most, 0.0
        return most


def until(client: OpenAI, batch_id: str, is_done: Callable[[str], bool]) -> str:
    """Wait until a batch's status is this; returns the status."""
    while not is_done(status := client.batches.retrieve(batch_id).status):
        time.sleep(0.5)
    return status


def run(client: OpenAI, count: int) -> dict[str, float]:
    """Upload, queue and cancel a batch; returns the seconds that each took."""
    lines, begun = Lines(count), time.perf_counter()
    file = client.files.create(file=("lines.jsonl", io.BufferedReader(lines, 1 << 20)), purpose="batch")
    uploaded = time.perf_counter()
    batch = client.batches.create(input_file_id=file.id, endpoint="/v1/images/generations", completion_window="24h")
    status = until(client, batch.id, lambda status: status != "validating")
    queued = time.perf_counter()
    found = client.batches.retrieve(batch.id)
    if status != "in_progress" or found.request_counts is None or found.request_counts.total != count:
        raise SystemExit(f"the batch was not queued: {found}")
    client.batches.cancel(batch.id)
    status = until(client, batch.id, lambda status: status in ENDED)
    if status != "cancelled":
        raise SystemExit(f"the batch was not cancelled: {status}")
    ended = time.perf_counter()
    return {
        "megabytes": round(lines.sent / 1e6, 1),
        "upload_s": round(uploaded - begun, 1),
        "queued_s": round(queued - uploaded, 1),
        "lines_per_s": round(count / (queued - uploaded)),
        "cancelled_s": round(ended - queued, 1),
    }


@click.command()
@click.option("--lines", default=1_000_000, help="Lines of the file.")
def main(lines: int) -> None:
    """Measure, and print the figures."""
    with running_stack(workers=0, models=(NULL_CARD,), default_model="null", web_workers=1) as stack:
        client = OpenAI(base_url=f"http://127.0.0.1:{stack.settings.port}/v1", api_key="none", timeout=1800)
        peak = Peak(processes(stack)[0])
        run(client, 2000)
        small = peak.reset()
        figures = run(client, lines) | {"web_mb_small": round(small, 1), "web_mb": round(peak.reset(), 1)}
    grown = figures["web_mb"] - figures["web_mb_small"]
    conclude("batches", figures, f"web process: at most {GOAL_MB:.0f} MB more", met=grown < GOAL_MB)


if __name__ == "__main__":
    main()
