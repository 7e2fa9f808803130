"""Processor time of a web process for a renewed long poll, and for a job submitted by itself.

    python -m bench.web_costs [--seconds N]

One web process on SQLite with a null model and no worker. Each of the waiting clients has a job of its own, asks for a
wait of a second, and asks again over a new connection; the processor time of an idle process is subtracted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import click
import psutil

from bench.common import conclude, cpu_seconds
from bench.misbehaving_clients import url
from bench.polling import submit, web
from limner_client.client import Client
from limner_shared.settings import Settings

CLIENTS: Final = 100
GOAL_MS: Final = 5.0


async def renew(port: int, jobs: Sequence[str], seconds: float) -> int:
    """Wait for each job again and again; returns the number of answers."""
    end = time.monotonic() + seconds

    async def client(job: str) -> int:
        count = 0
        while time.monotonic() < end:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            head = f"GET /api/v1/jobs/{job}?wait=1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            writer.write(head.encode())
            answer = await reader.read(-1)
            writer.close()
            if not answer.startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"unexpected answer: {answer[:300]!r}")
            count += 1
        return count

    return sum(await asyncio.gather(*(client(job) for job in jobs)))


def post(settings: Settings, seconds: float) -> int:
    """Submit one job after another over a kept connection; returns their number."""
    count, end = 0, time.monotonic() + seconds
    with Client(url(settings)) as client:
        while time.monotonic() < end:
            client.submit({"prompt": f"a red apple {count}"})
            count += 1
    return count


@click.command()
@click.option("--seconds", default=10.0, help="Seconds of each measurement.")
def main(seconds: float) -> None:
    """Measure, and print the figures."""
    with web(1) as (settings, server):
        process = psutil.Process(server.pid)
        jobs = submit(settings, CLIENTS)
        asyncio.run(renew(settings.port, jobs, 3))  # warm-up
        marks = [cpu_seconds(process)]
        time.sleep(seconds)
        marks.append(cpu_seconds(process))
        renewed = asyncio.run(renew(settings.port, jobs, seconds))
        marks.append(cpu_seconds(process))
        posted = post(settings, seconds)
        marks.append(cpu_seconds(process))
    idle, renewing, posting = (after - before for before, after in pairwise(marks))
    figures = {
        "idle_percent": round(100 * idle / seconds, 2),
        "renewed": renewed,
        "renewed_poll_ms": round(1000 * (renewing - idle) / renewed, 2),
        "posted": posted,
        "job_ms": round(1000 * (posting - idle) / posted, 2),
    }
    met = figures["renewed_poll_ms"] < GOAL_MS and figures["job_ms"] < GOAL_MS
    conclude("web_costs", figures, f"at most {GOAL_MS} ms each", met=met)


if __name__ == "__main__":
    main()
