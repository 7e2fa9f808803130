"""Figures of one model: pictures a second and latencies of the engine beside `pipe()`, the host's share of a step."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from statistics import mean, median
from typing import Any, Final

import torch

from bench.gpu.jobs import run, specs_of
from limner_shared.domain.jobs import JobSpec
from limner_worker.generators.base import ImageTask
from limner_worker.generators.device import compute_deterministically
from limner_worker.generators.diffusers.calls.call_batching import DENOISERS
from limner_worker.generators.diffusers.pipeline import DiffusersPipeline

BATCH: Final = 8
ROUNDS: Final = 3
WARM_UP_STEPS: Final = 2
SAMPLE_SECONDS: Final = 2.0
"""About how long a sample of single pictures lasts."""
MEASUREMENT_SECONDS: Final = 30.0
"""The time after which no further round begins."""
Figures = dict[str, Any]


@dataclass
class Meter:
    """Samples of the device while it works."""

    utilisation: list[float] = field(default_factory=list[float])
    """Percent of the time in which a kernel ran."""
    watts: list[float] = field(default_factory=list[float])

    @contextmanager
    def reading(self, device: str) -> Iterator[None]:
        """A context in which the device is sampled, if its driver answers."""
        ended = threading.Event()

        def read() -> None:
            while not ended.wait(0.05):
                with suppress(Exception):  # the driver's library may be missing
                    self.utilisation.append(float(torch.cuda.utilization()))
                    self.watts.append(torch.cuda.power_draw() / 1000)

        thread = threading.Thread(target=read) if device.startswith("cuda") else None
        if thread is not None:
            thread.start()
        try:
            yield
        finally:
            ended.set()
            if thread is not None:
                thread.join()


@contextmanager
def plain_torch() -> Iterator[None]:
    """A context with torch's own settings, as for a user who calls `pipe()`, instead of deterministic kernels."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic = False
    try:
        yield
    finally:
        if before:
            compute_deterministically()


def piped(generator: DiffusersPipeline, specs: Sequence[JobSpec]) -> float:
    """Return the seconds of one call of `pipe()` for all these jobs."""
    loaded = vars(generator)["_loaded"]
    calls = [loaded.call_of(ImageTask(spec, spec.image_seed(0))) for spec in specs]
    pipeline, _, arguments = calls[0]
    if len(specs) > 1:
        arguments |= {name: [each[name] for _, _, each in calls] for name in ("prompt", "generator")}
    started = time.perf_counter()
    with plain_torch(), torch.inference_mode():
        pipeline(**arguments)
    return time.perf_counter() - started


def rates(generator: DiffusersPipeline, size: tuple[int, int], is_time_left: Callable[[], bool]) -> Figures:
    """Return pictures a second, each the median of interleaved rounds, and latencies."""
    samples = _Samples(generator, size)
    samples.warm_up()
    started = time.monotonic()
    for _ in range(ROUNDS):
        samples.add_round()
        if not is_time_left() or time.monotonic() - started > MEASUREMENT_SECONDS:
            break
    if is_time_left():
        samples.engine("engine, 32 concurrent", 32, 32)
    return samples.figures()


class _Samples:
    """Samples of one model at one size."""

    def __init__(self, generator: DiffusersPipeline, size: tuple[int, int]) -> None:
        self._generator = generator
        self._fresh = _Fresh(generator, size)
        self._rates: dict[str, list[float]] = {}
        self._latencies: dict[str, list[float]] = {}
        self._meter = Meter()
        self._single_seconds = 0.0

    def warm_up(self) -> None:
        """Make the first call of each batch size, which loads kernels and chooses algorithms for seconds."""
        run(self._generator, self._fresh(2 * BATCH, mixed=True), BATCH)
        for count in (1, BATCH):
            run(self._generator, self._fresh(count), count)
            seconds = [piped(self._generator, self._fresh(count)) for _ in range(2)]
            if count == 1:
                self._single_seconds = seconds[-1]

    def add_round(self) -> None:
        """Take one sample of everything, one after the other."""
        few = max(1, min(BATCH, int(SAMPLE_SECONDS / self._single_seconds)))
        seconds = sum(piped(self._generator, self._fresh(1)) for _ in range(few))
        self._rates.setdefault("pipe, 1 at a time", []).append(few / seconds)
        self._rates.setdefault("pipe, batches of 8", []).append(BATCH / piped(self._generator, self._fresh(BATCH)))
        with self._meter.reading(self._generator.fingerprint()["device"]):
            self.engine("engine, 8 concurrent", BATCH, BATCH)
        self.engine("engine, 8 concurrent, mixed steps", BATCH, 2 * BATCH, mixed=True)
        self.engine("engine, 1 concurrent", 1, few)

    def engine(self, name: str, concurrent: int, count: int, *, mixed: bool = False) -> None:
        """Take a sample of the engine. Raises AssertionError if a job failed."""
        warm_up = self._fresh(min(concurrent, BATCH), steps=WARM_UP_STEPS)
        outcome = run(self._generator, self._fresh(count, mixed=mixed), concurrent, warm_up=warm_up)
        if outcome.errors:
            raise AssertionError(f"jobs failed: {outcome.errors}")
        self._rates.setdefault(name, []).append(outcome.rate)
        self._latencies.setdefault(name, []).append(outcome.p95)

    def figures(self) -> Figures:
        """Return the medians, and the ratios of interest."""
        rate = {name: round(median(found), 3) for name, found in self._rates.items()}
        static, engine = rate["pipe, batches of 8"], rate["engine, 8 concurrent"]
        return {
            "pictures_per_s": rate,
            "p95_s": {name: round(median(found), 3) for name, found in self._latencies.items()},
            "rounds": len(self._rates["pipe, batches of 8"]),
            "engine_over_static": round(engine / static, 3),
            "mixed_over_static": round(rate["engine, 8 concurrent, mixed steps"] / static, 3),
            "engine_over_pipe": round(engine / rate["pipe, 1 at a time"], 3),
            "utilisation_percent": round(mean(self._meter.utilisation), 1) if self._meter.utilisation else None,
            "watts": round(mean(self._meter.watts), 1) if self._meter.watts else None,
        }


class _Fresh:
    """Makes jobs whose prompts have not been encoded before."""

    def __init__(self, generator: DiffusersPipeline, size: tuple[int, int]) -> None:
        self._generator, self._size, self._made = generator, size, 0

    def __call__(self, count: int, *, mixed: bool = False, **changes: Any) -> list[JobSpec]:
        self._made += count
        width, height = self._size
        first = width * 100_000 + self._made
        return specs_of(self._generator, count, mixed=mixed, first=first, width=width, height=height, **changes)


def step_times(generator: DiffusersPipeline, size: tuple[int, int], batch: int, steps: int = 6) -> Figures:
    """Return the milliseconds of a step of a batch, of the denoiser's kernels within it, and of the rest."""
    functions: dict[str, Any] = vars(generator)["_functions"]
    name = next(name for name in functions if name.startswith(DENOISERS))
    original, spans = functions[name], list[tuple[Any, Any]]()
    cuda = torch.cuda.is_available() and generator.fingerprint()["device"].startswith("cuda")

    def timed(**arguments: Any) -> Any:
        begun, ended = _mark(cuda), None
        result = original(**arguments)
        ended = _mark(cuda)
        spans.append((begun, ended))
        return result

    # Images that have more steps to go than are measured, so that none decodes.
    changes: dict[str, Any] = {
        "width": size[0],
        "height": size[1],
        "steps": max(steps + 4, int(generator.card.steps.default)),
    }
    images = generator.start(
        [ImageTask(s, s.image_seed(0)) for s in specs_of(generator, batch, first=50_000, **changes)]
    )
    for _ in range(2):
        generator.step(images)
    functions[name] = timed
    walls: list[float] = []
    try:
        for _ in range(steps):
            started = time.perf_counter()
            generator.step(images)
            walls.append((time.perf_counter() - started) * 1000)
    finally:
        functions[name] = original
        for image in images:
            image.close()
    device = [begun.elapsed_time(ended) if cuda else (ended - begun) * 1000 for begun, ended in spans]
    wall, kernels = median(walls), median(device) * len(device) / steps
    return {
        "batch": batch,
        "step_ms": round(wall, 2),
        "denoiser_ms": round(kernels, 2),
        "rest_ms_per_row": round((wall - kernels) / batch, 3),
    }


def _mark(cuda: bool) -> Any:
    if not cuda:
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def start_ms(generator: DiffusersPipeline, size: tuple[int, int]) -> float:
    """Return the milliseconds from a request to its first denoiser call, with cached texts."""
    specs = specs_of(generator, 1, first=60_000, width=size[0], height=size[1])
    taken: list[float] = []
    for _ in range(6):
        started = time.perf_counter()
        [image] = generator.start([ImageTask(specs[0], specs[0].image_seed(0))])
        taken.append((time.perf_counter() - started) * 1000)
        image.close()
    return round(median(taken[1:]), 2)
