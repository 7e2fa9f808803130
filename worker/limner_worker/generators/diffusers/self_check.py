"""What a pipeline does when it is loaded: two small images in one batch, compared with the pipeline alone.

Equal, and its calls are joined. Different, and calls of the modules that mix up their rows are made for one image at a
time. A pipeline that draws nothing, or never the same as alone, is refused with the reason.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from limner_shared.domain.cards import DEFAULT_STRENGTH, ModelCard
from limner_shared.domain.jobs import JobSpec, Task
from limner_shared.errors import CardError
from limner_shared.telemetry import get_logger
from limner_worker.generators import device_faults
from limner_worker.generators.base import ImageTask
from limner_worker.generators.diffusers.pipeline import DiffusersPipeline
from limner_worker.generators.diffusers.pipeline_checks import why
from limner_worker.generators.diffusers.suspended_run import Kind

log = get_logger(__name__)

Pixels = NDArray[np.float32]
"""[height, width, 3] in [0, 1]."""

VERSION: Final = 1
"""Of this check; another one's results are not used."""
PROMPTS: Final = ("a red apple", "two blue boats on a quiet sea")
STEPS: Final = 2
LARGEST_DIFFERENCE: Final = 1.5 / 255
"""In float32, where a joined call differs from one alone in the last bits only."""
MEAN_DIFFERENCE: Final = 4 / 255
"""In half precision, of the mean over a picture; one picture in place of another differs by many times that."""
ORDER: Final = ((), (Kind.DENOISE,), (Kind.ENCODE,), (Kind.DENOISE, Kind.ENCODE), tuple(Kind))
"""Whose calls are made apart, in the order in which it is tried."""


def check_rows(generator: DiffusersPipeline, cache: Path) -> None:
    """Find out which calls may be joined, and have the others made apart. Raises CardError where none gives a picture.

    The outcome is kept in the folder `cache`, for the same weights, versions and card.
    """
    file = cache / f"{_digest(generator)}.json"
    known = _read(file)
    if known is None:
        try:
            known = _find(generator)
        except Exception as error:
            if not device_faults.is_out_of_memory(error):
                raise
            # Other models may hold the memory now and not later; nothing is known against this one.
            device_faults.release()
            log.warning("not checked, for want of memory", model=generator.card.name)
            return
        _write(file, known)
    generator.apart.update(known)
    if known:
        log.info("calls made for one image at a time", model=generator.card.name, calls=sorted(known))


def _find(generator: DiffusersPipeline) -> list[str]:
    card = generator.card
    needed: set[str] = set()
    for task in card.tasks:
        try:
            with generator.forgetful():
                expected = [generator.alone(each) for each in _tasks(card, task)]
        except Exception as error:
            _reraise_of_the_device(error)
            raise CardError(f"{card.name}: {task} does not work with this pipeline: {why(error)}") from error
        needed |= _apart(generator, task, expected, needed)
    return sorted(needed)


def _apart(generator: DiffusersPipeline, task: Task, expected: Sequence[Pixels], known: set[str]) -> set[str]:
    """The calls that must be made apart for these pictures. Raises CardError if even then they come out wrong."""
    reason = ""
    for kinds in ORDER:
        apart = known | {name for name, kind in generator.calls.items() if kind in kinds}
        generator.apart.clear()
        generator.apart.update(apart)
        try:
            with generator.forgetful():
                found = _batch(generator, _tasks(generator.card, task))
        except Exception as error:  # noqa: BLE001 - a module may raise anything over rows that it cannot take together
            _reraise_of_the_device(error)
            reason = why(error)
            continue
        if equal(found, expected, exact=generator.card.dtype == "float32"):
            return apart | generator.apart
        reason = "it draws another picture than alone"
    raise CardError(f"{generator.card.name}: {task} does not work with this pipeline: {reason}")


def _batch(generator: DiffusersPipeline, tasks: Sequence[ImageTask]) -> list[Pixels]:
    """As the engine does: steps and decodes of all that may share one."""
    most = max(generator.card.buckets)
    states = generator.start(tasks)
    try:
        while active := [state for state in states if not state.finished or state.error]:
            for state in active:
                if state.error is not None:
                    raise state.error
            generator.step([state for state in active if state.key == active[0].key][:most])
        pictures: dict[int, Pixels] = {}
        while left := [state for state in states if id(state) not in pictures]:
            some = [state for state in left if state.key == left[0].key][:most]
            for state, picture in zip(some, generator.decode(some).pictures(), strict=True):
                pictures[id(state)] = (picture / 255).astype(np.float32)
        return [pictures[id(state)] for state in states]
    finally:
        for state in states:
            state.close()


def _tasks(card: ModelCard, task: Task) -> list[ImageTask]:
    width, height = min(card.sizes, key=lambda size: size[0] * size[1])
    steps = int(min(max(STEPS, card.steps.min), card.steps.max))
    noise = np.random.default_rng(0)
    tasks: list[ImageTask] = []
    for seed, prompt in enumerate(PROMPTS):
        spec = JobSpec(
            prompt=prompt, model=card.name, width=width, height=height, steps=steps, seed=seed,
            guidance=card.guidance.default, image=None if task == "text-to-image" else "0" * 64,
            mask="0" * 64 if task == "inpainting" else None,
            strength=None if task == "text-to-image" else max(DEFAULT_STRENGTH, 1 / steps),
        )  # fmt: skip
        picture = noise.integers(0, 255, (height, width, 3), np.uint8)
        mask = np.zeros_like(picture)
        mask[:, width // 2 :] = 255
        tasks.append(ImageTask(spec, seed, image=picture if spec.image else None, mask=mask if spec.mask else None))
    return tasks


def equal(found: Sequence[Pixels], expected: Sequence[Pixels], *, exact: bool) -> bool:
    """Whether the pictures are those that were expected, as far as the precision allows."""
    for one, other in zip(found, expected, strict=True):
        if one.shape != other.shape:
            return False
        difference = np.abs(one - np.clip(other, 0, 1))
        if not (difference.max() <= LARGEST_DIFFERENCE if exact else difference.mean() <= MEAN_DIFFERENCE):
            return False
    return True


def _reraise_of_the_device(error: Exception) -> None:
    if device_faults.is_device_broken(error) or device_faults.is_out_of_memory(error):
        raise error


def _digest(generator: DiffusersPipeline) -> str:
    card = generator.card.model_dump(mode="json", exclude={"title", "description", "licence", "source"})
    about = {"check": VERSION, "card": card, "model": generator.fingerprint()}
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def _read(file: Path) -> list[str] | None:
    try:
        found: Any = json.loads(file.read_text())
        return [str(name) for name in found["apart"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(file: Path, apart: list[str]) -> None:
    """Whole or not at all; a folder that cannot be written to costs a check at each load."""
    partial = file.with_suffix(f".{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps({"apart": apart}))
        partial.replace(file)
    except OSError as error:
        log.warning("the outcome of a pipeline's check is not kept", file=str(file), error=str(error))
