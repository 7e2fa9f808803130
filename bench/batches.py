"""A batch of OpenAI's API with a million lines: upload, check, queueing and cancellation, and the memory that it takes.

    python -m bench.batches [--lines N] [--draw]

One web process and a dispatcher without a worker serve the official client, as `openai.files` and `openai.batches`.
With `--draw`, a worker of the null model draws the batch instead, and its end is measured: from the last picture to the
status `completed`, and the download of the output, whose every line is read. Each line must have its answer.
"""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, Final

import click
import psutil
from openai import OpenAI

from bench.common import NULL_CARD, conclude, processes, running_stack

GOAL_MB: Final = 100.0
"""How much memory a process may take beyond what it had after a small batch."""
SMALL: Final = 2000
CHUNK: Final = 1 << 18
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
    """The most memory that a process, or one of its children, has had since `reset`, in MB; looked at ten times a
    second.
    """

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


def whole_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines of a download without their ends, at a fraction of the cost of httpx's own `iter_lines`."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
    if rest:
        yield rest


def until(client: OpenAI, batch_id: str, is_done: Callable[[str], bool]) -> str:
    """Wait until a batch's status is this; returns the status."""
    while not is_done(status := client.batches.retrieve(batch_id).status):
        time.sleep(0.5)
    return status


def queue(client: OpenAI, count: int) -> tuple[str, dict[str, float]]:
    """Upload a batch and have it queued; returns its id, and the seconds that each took."""
    lines, begun = Lines(count), time.perf_counter()
    file = client.files.create(file=("lines.jsonl", io.BufferedReader(lines, 1 << 20)), purpose="batch")
    uploaded = time.perf_counter()
    batch = client.batches.create(input_file_id=file.id, endpoint="/v1/images/generations", completion_window="24h")
    status = until(client, batch.id, lambda status: status != "validating")
    queued = time.perf_counter()
    found = client.batches.retrieve(batch.id)
    if status != "in_progress" or found.request_counts is None or found.request_counts.total != count:
        raise SystemExit(f"the batch was not queued: {found}")
    return batch.id, {
        "megabytes": round(lines.sent / 1e6, 1),
        "upload_s": round(uploaded - begun, 1),
        "queued_s": round(queued - uploaded, 1),
        "lines_per_s": round(count / (queued - uploaded)),
    }


def cancel(client: OpenAI, batch_id: str) -> dict[str, float]:
    """Cancel a batch; returns the seconds until it was."""
    begun = time.perf_counter()
    client.batches.cancel(batch_id)
    status = until(client, batch_id, lambda status: status in ENDED)
    if status != "cancelled":
        raise SystemExit(f"the batch was not cancelled: {status}")
    return {"cancelled_s": round(time.perf_counter() - begun, 1)}


def complete(client: OpenAI, batch_id: str, count: int) -> dict[str, float]:
    """Wait for a batch's pictures and its end, and read its output; returns the seconds that each took."""
    begun = time.perf_counter()
    until(client, batch_id, lambda status: status != "in_progress")
    drawn = time.perf_counter()
    status = until(client, batch_id, lambda status: status in ENDED)
    completed = time.perf_counter()
    found = client.batches.retrieve(batch_id)
    counts = found.request_counts
    if status != "completed" or counts is None or (counts.completed, counts.failed) != (count, 0):
        raise SystemExit(f"the batch was not completed: {found}")
    if found.output_file_id is None or found.error_file_id is not None:
        raise SystemExit(f"the batch has not the files of a success: {found}")
    size, left = 0, {f"n{number}" for number in range(count)}
    with client.files.with_streaming_response.content(found.output_file_id) as answer:
        for line in whole_lines(answer.iter_bytes(CHUNK)):
            told: Any = json.loads(line)
            left.remove(told["custom_id"])
            if told["response"]["status_code"] != 200 or not told["response"]["body"]["data"][0]["b64_json"]:
                raise SystemExit(f"a line has no picture: {line[:300]!r}")
            size += len(line) + 1
    named = client.files.retrieve(found.output_file_id).bytes
    if left or named != size:
        raise SystemExit(f"{len(left)} lines have no answer; the file has {size} bytes of {named}")
    return {
        "drawn_s": round(drawn - begun, 1),
        "finalizing_s": round(completed - drawn, 1),
        "output_mb": round(size / 1e6, 1),
        "download_s": round(time.perf_counter() - completed, 1),
    }


@click.command()
@click.option("--lines", default=1_000_000, help="Lines of the file.")
@click.option("--draw", is_flag=True, help="Draw the batch and read its output, instead of cancelling it.")
def main(*, lines: int, draw: bool) -> None:
    """Measure, and print the figures."""
    workers = 1 if draw else 0
    with running_stack(workers=workers, models=(NULL_CARD,), default_model="null", web_workers=1) as stack:
        client = OpenAI(base_url=f"http://127.0.0.1:{stack.settings.port}/v1", api_key="none", timeout=1800)
        names = ["web", "dispatcher", "worker"][: 2 + workers]
        peaks = dict(zip(names, map(Peak, processes(stack)), strict=True))

        def end(batch_id: str, count: int) -> dict[str, float]:
            return complete(client, batch_id, count) if draw else cancel(client, batch_id)

        end(queue(client, SMALL)[0], SMALL)
        small = {name: peak.reset() for name, peak in peaks.items()}
        batch_id, figures = queue(client, lines)
        figures |= end(batch_id, lines)
        for name, peak in peaks.items():
            figures |= {f"{name}_mb_small": round(small[name], 1), f"{name}_mb": round(peak.reset(), 1)}
    grown = max(figures[f"{name}_mb"] - figures[f"{name}_mb_small"] for name in names)
    goal = f"each process: at most {GOAL_MB:.0f} MB more"
    conclude("batches_drawn" if draw else "batches", figures, goal, met=grown < GOAL_MB)


if __name__ == "__main__":
    main()
