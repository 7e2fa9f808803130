"""Resident memory of a process that draws a thousand pictures of 512x512 with a diffusers pipeline.

    python -m bench.pipe_memory [--quick]

A random Stable Diffusion with a tiny denoiser, and a VAE whose decoder only enlarges: pictures and what the engine and
the pipeline keep of each have their real size, but cost little time; latents are a quarter as large. Each prompt is
new; guidance and number of steps differ; 24 requests wait or are drawn at any time. The first 100 pictures fill caches
and the allocator.
"""

from __future__ import annotations

import tempfile
from itertools import count
from pathlib import Path
from typing import Any, Final

import click
import psutil
import torch
from tests.engine import pipelines
from torch import Tensor, nn
from torch.nn import functional

from bench.common import report
from bench.pipe_batches import Ended
from limner_shared.db.ledger import Claim
from limner_shared.domain.cards import ModelCard
from limner_shared.domain.catalogue import load_card
from limner_shared.domain.jobs import JobRequest, Lane
from limner_shared.python_gc import collect_and_freeze
from limner_shared.threads import Supervisor
from limner_worker.engine.job_run import JobRun
from limner_worker.engine.loop import Engine
from limner_worker.generators.diffusers.pipeline import DiffusersPipeline
from limner_worker.generators.model_cache import ModelCache

SIZE: Final = 512
LEVELS: Final = 5
"""Of the VAE: each but the first doubles the size."""
WAITING: Final = 24
WARM: Final = 100
GOAL: Final = 1.05
CARD: Final = f"""
name = "random"
title = "Random"
family = "diffusers"
source = {{ folder = "pipeline" }}
sizes = [[{SIZE}, {SIZE}]]
steps = {{ min = 1, max = 50, default = 2 }}
guidance = {{ min = 0.0, max = 20.0, default = 7.5 }}
buckets = [1, 2, 4, 8]
"""


class Enlarging(nn.Module):
    """A decoder that enlarges three channels of the latents."""

    def forward(self, latents: Tensor, *_: Any) -> Tensor:
        """Return pixels of latents [rows, 4, H, W], as [rows, 3, 16·H, 16·W]."""
        return functional.interpolate(latents[:, :3], scale_factor=2 ** (LEVELS - 1))


def load(folder: Path) -> DiffusersPipeline:
    """Save the pipeline, and load it as a card's."""
    pipeline: Any = pipelines.stable_diffusion(folder / "tokenizer")
    pipeline.register_modules(vae=pipelines.vae(widths=(4,) * LEVELS), unet=pipelines.unet(block_out_channels=(4, 8)))
    pipeline.save_pretrained(folder / "pipeline")
    (folder / "card.toml").write_text(CARD, encoding="utf-8")
    generator = DiffusersPipeline(load_card(folder / "card.toml"), "cpu", cache_bytes=1 << 20)
    generator.pipeline.vae.decoder = Enlarging()
    return generator


class Drawing(Ended):
    """Draws a number of pictures: for each that ends, the next request is submitted."""

    def __init__(self, card: ModelCard, pictures: int) -> None:
        super().__init__(pictures)
        self._card, self._pictures, self._numbers = card, pictures, count()
        self._process = psutil.Process()
        self.engine: Engine | None = None
        self.megabytes: dict[int, float] = {}
        """The resident memory after each hundred of pictures."""

    def generated(self, jobs: Any) -> None:
        """Note the memory, and submit as many requests as have ended."""
        for job in jobs:
            job.finish()
            picture = job.rows[0].picture
            if picture is None or picture.shape != (SIZE, SIZE, 3):
                raise AssertionError(f"{job.id} has no picture")
            job.forget_pictures()  # as where it is published
        before = self.left
        super().generated(jobs)
        for left in range(self.left, before):
            if not (done := self._pictures - left) % WARM:
                self.megabytes[done] = round(self._process.memory_info().rss / 1e6, 1)
                click.echo(f"{done} pictures: {self.megabytes[done]} MB", err=True)
        self.submit(len(jobs))

    def submit(self, number: int) -> None:
        """Submit this many requests, or fewer if fewer pictures are left."""
        jobs = [self._job(each) for each in (next(self._numbers) for _ in range(number)) if each < self._pictures]
        if jobs and self.engine is not None:
            self.engine.submit(jobs)

    def _job(self, number: int) -> JobRun:
        asked = JobRequest(prompt=f"{number} apples", steps=1 + number % 3, seed=number, guidance=1 + number % 7)
        return JobRun(Claim(str(number), "tenant", None, 1, 2, Lane.NORMAL, self._card.resolve(asked)), lambda: None)


def draw(generator: DiffusersPipeline, pictures: int) -> dict[int, float]:
    """Return the resident memory in MB after each hundred of pictures."""
    drawing = Drawing(generator.card, pictures)
    drawing.engine = Engine(ModelCache([generator.card], lambda _card: generator), drawing, Supervisor())
    drawing.engine.start()
    try:
        drawing.submit(WAITING)
        drawing.done.wait()
    finally:
        drawing.engine.stop()
    if drawing.error is not None:
        raise drawing.error
    return drawing.megabytes


@click.command()
@click.option("--quick", is_flag=True, help="300 pictures.")
def main(quick: bool) -> None:
    """Draw, and print the figures."""
    pictures = 300 if quick else 1000
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="limner-bench-") as folder:
        generator = load(Path(folder))
        collect_and_freeze()  # as a worker
        megabytes = draw(generator, pictures)
    growth = round(megabytes[pictures] / megabytes[WARM], 4)
    figures = {"pictures": pictures, "resident_mb": megabytes, "relative_to_the_first_hundred": growth}
    goal = f"at most {GOAL} of the memory after {WARM} pictures"
    bars = {"after each hundred": list(megabytes.values())}
    report("pipe_memory", figures, goal, met=growth <= GOAL, bars=bars, unit="MB of resident memory")


if __name__ == "__main__":
    main()
