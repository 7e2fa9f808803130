"""Resident memory of a worker and of each web process under load.

python -m bench.footprint [--quick]
"""

from __future__ import annotations

import click
import psutil

from bench.common import report, running_stack
from limner_client.client import Client

WORKER_GOAL_MB, WEB_GOAL_MB = 1500, 250


def resident_mb(process: psutil.Process) -> float:
    """Return the resident memory in MB."""
    return round(process.memory_info().rss / 1e6, 1)


@click.command()
@click.option("--quick", is_flag=True, help="Fewer jobs, under 50 s.")
def main(quick: bool) -> None:
    """Measure, and print the figures."""
    with running_stack() as stack, Client(stack.url) as client:
        jobs = [client.submit({"prompt": f"a red apple {number}", "n": 2}) for number in range(8 if quick else 64)]
        for job in jobs:
            while client.job(job.id, wait_seconds=25).status not in ("succeeded", "failed", "canceled"):
                continue
        children = psutil.Process().children(recursive=True)
        worker = [resident_mb(p) for p in children if "worker" in p.cmdline()]
        web = [resident_mb(p) for p in children if "serve" in p.cmdline() or "gunicorn" in " ".join(p.cmdline())]
    figures = {"worker_mb": max(worker), "web_mb": web}
    met = max(worker) <= WORKER_GOAL_MB and max(web) <= WEB_GOAL_MB
    goal = f"worker at most {WORKER_GOAL_MB} MB, each web process at most {WEB_GOAL_MB} MB"
    report("footprint", figures, goal, met=met, bars={"worker": worker, "web": web}, unit="MB resident")


if __name__ == "__main__":
    main()
