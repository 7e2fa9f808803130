"""Concurrent requests of a diffusers pipeline, relative to the pipeline's own static batch of as many.

    python -m bench.pipe_batches [--quick]

A random Stable Diffusion whose denoiser has 50 million parameters. In each round, in turn: `pipe([…] * 8)`; eight
requests with as many steps, submitted to the engine at once; 24 requests with different numbers of steps. Rates are
steps of images per second of processor time, on one thread, so that other load on the machine counts little; each ratio
is of the same round. The mixed requests include the end, where fewer than eight are left.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

import click
import torch
from tests.engine import pipelines

from bench.common import report, summary
from limner_shared.db.ledger import Claim
from limner_shared.domain.catalogue import load_card
from limner_shared.domain.jobs import JobRequest, Lane
from limner_shared.errors import LimnerError
from limner_shared.threads import Supervisor
from limner_worker.engine.job_run import JobRun
from limner_worker.engine.loop import Engine
from limner_worker.generators.diffusers.pipeline import DiffusersPipeline
from limner_worker.generators.model_cache import ModelCache

BATCH: Final = 8
MIXED: Final = 24
UNIFORM_GOAL, MIXED_GOAL = 0.97, 0.96
CARD: Final = f"""
name = "random"
title = "Random"
family = "diffusers"
source = {{ folder = "pipeline" }}
sizes = [[16, 16]]
steps = {{ min = 1, max = 50, default = 8 }}
guidance = {{ min = 0.0, max = 20.0, default = 7.5 }}
buckets = [1, 2, 4, {BATCH}]
"""
WIDTHS: Final = (160, 320, 384)
PROMPTS: Final = tuple(f"{number} red apples on a table" for number in range(BATCH))


def load(folder: Path) -> DiffusersPipeline:
    """Save the pipeline, and load it as a card's."""
    pipeline: Any = pipelines.stable_diffusion(folder / "tokenizer")
    pipeline.register_modules(
        unet=pipelines.unet(
            block_out_channels=WIDTHS, attention_head_dim=8, norm_num_groups=32, layers_per_block=1,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        )
    )  # fmt: skip
    pipeline.save_pretrained(folder / "pipeline")
    (folder / "card.toml").write_text(CARD, encoding="utf-8")
    return DiffusersPipeline(load_card(folder / "card.toml"), "cpu", cache_bytes=1 << 20)


class Ended:
    """An engine's listener, which waits for the end of a number of jobs."""

    def __init__(self, jobs: int) -> None:
        self.left = jobs
        self.error: LimnerError | None = None
        self.done = threading.Event()

    def progressed(self, job: JobRun) -> None:
        """Nothing is shown."""

    def previewed(self, job: JobRun, picture: Any) -> None:
        """Nothing is shown."""

    def checkpointed(self, job: JobRun, index: int, checkpoint: bytes) -> None:
        """Nothing is kept."""

    def generated(self, jobs: Sequence[JobRun]) -> None:
        """Count them."""
        for job in jobs:
            job.finish()
        self.left -= len(jobs)
        if not self.left:
            self.done.set()

    def failed(self, job: JobRun, error: LimnerError) -> None:
        """End with the error."""
        self.error = error
        self.done.set()

    def unavailable(self, jobs: Sequence[JobRun], reason: str) -> None:
        """End with the reason."""
        self.failed(jobs[0], LimnerError(reason))


def by_engine(generator: DiffusersPipeline, steps: Sequence[int]) -> float:
    """Return the steps of images per second of a request for each of these numbers of steps, all submitted at once."""
    jobs: list[JobRun] = []
    for number, each in enumerate(steps):
        spec = generator.card.resolve(JobRequest(prompt=PROMPTS[number % BATCH], steps=each, seed=number))
        jobs.append(JobRun(Claim(str(number), "tenant", None, 1, 2, Lane.NORMAL, spec), lambda: None))
    ended = Ended(len(jobs))
    engine = Engine(ModelCache([generator.card], lambda _card: generator), ended, Supervisor())
    engine.start()
    try:
        return _rate(lambda: _submit(engine, jobs, ended), sum(steps))
    finally:
        engine.stop()


def _submit(engine: Engine, jobs: Sequence[JobRun], ended: Ended) -> None:
    engine.submit(jobs)
    ended.done.wait()
    if ended.error is not None:
        raise ended.error


def by_pipe(generator: DiffusersPipeline, steps: int) -> float:
    """Return the steps of images per second of the pipeline's own batch."""
    seeds = [torch.Generator().manual_seed(number) for number in range(BATCH)]

    def draw() -> None:
        with torch.inference_mode():
            generator.pipeline(
                list(PROMPTS), num_inference_steps=steps, width=16, height=16, generator=seeds, output_type="np"
            )

    return _rate(draw, BATCH * steps)


def _rate(work: Callable[[], None], steps: int) -> float:
    started = time.process_time()
    work()
    return steps / (time.process_time() - started)


@click.command()
@click.option("--quick", is_flag=True, help="Fewer rounds and steps.")
def main(quick: bool) -> None:
    """Measure, and print the figures."""
    rounds, steps = (3, 6) if quick else (7, 20)
    torch.set_num_threads(1)
    mixed = [steps // 2 + number * 7 % (steps + 1) for number in range(MIXED)]  # from half to one and a half times
    rates: dict[str, list[float]] = {"pipe": [], "engine": [], "mixed": []}
    with tempfile.TemporaryDirectory(prefix="limner-bench-") as folder:
        generator = load(Path(folder))
        parameters = sum(each.numel() for each in generator.pipeline.unet.parameters())
        generator.pipeline.set_progress_bar_config(disable=True)
        by_engine(generator, [1] * BATCH)  # fills caches
        for _ in range(rounds):
            rates["pipe"].append(by_pipe(generator, steps))
            rates["engine"].append(by_engine(generator, [steps] * BATCH))
            rates["mixed"].append(by_engine(generator, mixed))
    pairs = zip(rates["engine"], rates["mixed"], rates["pipe"], strict=True)
    ratios: dict[str, list[float]] = {"engine": [], "mixed": []}
    for engine, mixed_rate, pipe in pairs:
        ratios["engine"].append(engine / pipe)
        ratios["mixed"].append(mixed_rate / pipe)
    figures = {
        "parameters": parameters,
        "row_steps_per_second": {name: summary(samples) for name, samples in rates.items()},
        "relative_to_pipe": {name: summary(samples) for name, samples in ratios.items()},
    }
    met = median(ratios["engine"]) >= UNIFORM_GOAL and median(ratios["mixed"]) >= MIXED_GOAL
    goal = f"{BATCH} equal requests at least {UNIFORM_GOAL} of pipe([...] * {BATCH}), mixed ones {MIXED_GOAL}"
    report("pipe_batches", figures, goal, met=met, bars=ratios, unit="rate relative to the pipeline's own batch")


if __name__ == "__main__":
    main()
