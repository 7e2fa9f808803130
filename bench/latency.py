"""Latency of a single job from submission to stored image, against the same model called in one process.

    python -m bench.latency [--quick]

Both sides alternate, round by round, on the same machine with the same number of threads.
"""

from __future__ import annotations

import time
from typing import Final

import click
import torch

from bench.common import begin, report, running_stack, summary
from limner_client.client import Client
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import JobRequest, JobSpec
from limner_shared.settings import Settings
from limner_worker.generators.base import Generator, pictures_of
from limner_worker.generators.registry import load
from limner_worker.stages.picture_files import encode_png

GOAL: Final = 1.5


def direct(generator: Generator, spec: JobSpec) -> float:
    """Return the seconds from a spec to PNG bytes in this process."""
    started = time.perf_counter()
    [state] = begin(generator, [spec])
    for _ in range(spec.steps):
        generator.step([state])
    encode_png(pictures_of(generator.decode([state]))[0])
    return time.perf_counter() - started


def served(client: Client, spec: JobSpec) -> float:
    """Return the seconds from POST until the job's view shows success."""
    started = time.perf_counter()
    job = client.submit({"prompt": spec.prompt, "seed": spec.seed, "steps": spec.steps, "style": spec.style})
    while job.status not in ("succeeded", "failed", "canceled"):
        job = client.job(job.id, wait_seconds=25)
    if job.status != "succeeded":
        raise SystemExit(f"the job ended as {job.status}: {job.error}")
    return time.perf_counter() - started


@click.command()
@click.option("--quick", is_flag=True, help="Fewer rounds, under 50 s.")
def main(quick: bool) -> None:
    """Measure, and print the figures."""
    rounds = 7 if quick else 25
    settings = Settings(device="cpu")
    torch.set_num_threads(settings.threads)
    catalogue = Catalogue.load([], "limner-flow")
    generator = load(catalogue.get(None), settings)
    specs = [
        catalogue.resolve(JobRequest(prompt=f"red apple {number}", seed=number))[1] for number in range(rounds + 1)
    ]
    with running_stack() as stack, Client(stack.url) as client:
        direct(generator, specs[-1])
        served(client, specs[-1])  # warm-up
        pairs = [(direct(generator, spec), served(client, spec)) for spec in specs[:rounds]]
    ours, theirs = [pair[1] for pair in pairs], [pair[0] for pair in pairs]
    ratios = [b / a for a, b in pairs]
    figures = {"service_s": summary(ours), "direct_s": summary(theirs), "ratio": summary(ratios)}
    met = figures["ratio"]["median"] <= GOAL
    bars = {"direct": theirs, "service": ours}
    report("latency", figures, f"service at most {GOAL} x direct", met=met, bars=bars, unit="seconds")


if __name__ == "__main__":
    main()
