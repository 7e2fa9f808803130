"""The check of a pipeline at load: two small images in one batch, compared with the pipeline run on each alone.

If the pictures are equal, its calls are joined. If not, calls of the modules that mix their rows are made for one
image at a time. A pipeline that fails, or whose batches never give the pictures it draws alone, is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from limner_shared.domain.cards import ModelCard
from limner_shared.domain.inputs import Task
from limner_shared.errors import CardError
from limner_shared.telemetry import get_logger
from limner_worker.generators import device_faults
from limner_worker.generators.base import ImageTask, pictures_of
from limner_worker.generators.diffusers.calls.call_batching import CallKind
from limner_worker.generators.diffusers.calls.call_joining import alike
from limner_worker.generators.diffusers.input_effects import InputEffects
from limner_worker.generators.diffusers.output_pictures import unjudged
from limner_worker.generators.diffusers.picture_arguments import picture_arguments
from limner_worker.generators.diffusers.pipeline import DiffusersPipeline
from limner_worker.generators.diffusers.pipeline_checks import explain
from limner_worker.generators.needed_pictures import needed
from limner_worker.generators.trial_images import trial_size, trial_tasks

log = get_logger(__name__)

Pixels = NDArray[np.float32]
"""[height, width, 3] in [0, 1]."""

VERSION: Final = 5
"""The version of this check; stored results of other versions are ignored."""
COLOURS: Final = (3, 4)
"""Channels of a picture that can be stored: red, green, blue, and opacity."""
LIBRARIES: Final = ("transformers", "peft", "accelerate")
"""What runs a part of a pipeline beside those that receipts name: another version may mix rows."""
SCHEDULER_STEPS: Final = 4
"""Steps with which each scheduler of a card is tried: some call the denoiser twice a step, which overruns the tables of
some pipelines."""
LARGEST_DIFFERENCE: Final = 1.5 / 255
"""The largest difference in float32, where joined calls differ from separate ones in the last bits only."""
MEAN_DIFFERENCE: Final = 4 / 255
"""The largest mean difference in half precision; a different picture exceeds it many times over."""
CANDIDATES: Final = (
    *((), (CallKind.CONTROL,), (CallKind.DENOISE,), (CallKind.ENCODE,), (CallKind.CONTROL, CallKind.DENOISE)),
    *((CallKind.DENOISE, CallKind.ENCODE), tuple(CallKind)),
)
"""The kinds of calls to make for one image at a time, in the order of the attempts."""


def check_batching(generator: DiffusersPipeline, cache: Path) -> None:
    """Find the calls that cannot be joined, and make them for one image at a time. Raises CardError if nothing works.

    The result is stored in the folder `cache` for the same weights, versions and card.
    """
    file = cache / f"{_digest(generator)}.json"
    known = _read(file)
    if known is None:
        try:
            with unjudged(generator.pipelines.values()):
                known = _check_all_tasks(generator)
        except Exception as error:
            if not device_faults.is_out_of_memory(error):
                raise
            # Other models may occupy the memory now and not later, so this proves nothing about the pipeline.
            device_faults.release_cached_memory()
            log.warning("pipeline check skipped: out of memory", model=generator.card.name)
            return
        _write(file, known)
    generator.unbatched_calls.update(known)
    if known:
        log.info("calls made for one image at a time", model=generator.card.name, calls=sorted(known))


def _check_all_tasks(generator: DiffusersPipeline) -> list[str]:
    card = generator.card
    apart = set(generator.unbatched_calls)
    for task in card.tasks:
        try:
            with generator.without_text_cache():
                expected = [generator.draw_alone(each) for each in trial_tasks(card, task)]
        except Exception as error:
            device_faults.reraise(error)
            hint = _hint(task, generator)
            raise CardError(f"{card.name}: {task} does not work with this pipeline: {explain(error)}{hint}") from error
        _check_pictures(card, task, expected)
        _check_effects(generator, task, expected[0])
        apart |= _check_task(generator, task, expected, apart)
    _check_schedulers(generator)
    return sorted(apart)


def _check_effects(generator: DiffusersPipeline, task: Task, drawn: Pixels) -> None:
    """Raise CardError if an input that the card allows has no effect, or the pipeline fails with it."""
    try:
        InputEffects(generator, trial_tasks(generator.card, task)[0], drawn).check()
    except CardError:
        raise
    except Exception as error:
        device_faults.reraise(error)
        name = generator.card.name
        raise CardError(f"{name}: {task} does not work with this pipeline: {explain(error)}") from error


def _hint(task: Task, generator: DiffusersPipeline) -> str:
    """Return what to change if the pipeline failed because it needs an input that the task does not give."""
    given = needed(task, generator.card)
    missing = [name for field, name in picture_arguments(generator.pipeline).items() if field not in given]
    return f" (it takes {' and '.join(missing)}: if it needs them, leave {task} out of tasks)" if missing else ""


def _check_pictures(card: ModelCard, task: Task, pictures: Sequence[Pixels]) -> None:
    """Raise CardError if the pipeline draws another size than it is asked for, as some do whatever they are given, or
    what is no picture.
    """
    width, height = trial_size(card)
    if not all(np.isfinite(picture).all() for picture in pictures):
        cause = "its weights are damaged" + (", or need another dtype than float16" if card.dtype == "float16" else "")
        raise CardError(f"{card.name}: {task}: the picture's numbers are not finite: {cause}")
    for drawn in (picture.shape for picture in pictures):
        if drawn[:2] != (height, width):
            raise CardError(f"{card.name}: {task}: {width}x{height} was asked for, {drawn[1]}x{drawn[0]} was drawn")
        if drawn[2] not in COLOURS:
            raise CardError(f"{card.name}: {task}: its pictures have no colours, but {drawn[2]} channel")


def _check_schedulers(generator: DiffusersPipeline) -> None:
    """Raise CardError for a scheduler of the card with which the pipeline does not work.

    Some pipelines give their scheduler a list of noise levels, which not every scheduler takes.
    """
    card = generator.card
    few = int(min(max(SCHEDULER_STEPS, card.steps.min), card.steps.max))
    for name in card.schedulers:
        reason = ""
        for steps in (few, int(card.steps.default)):
            try:
                generator.draw_alone(trial_tasks(card, card.tasks[0], scheduler=name, steps=steps)[0])
                break
            except Exception as error:  # noqa: BLE001 - a pipeline may raise anything
                device_faults.reraise(error)
                reason = explain(error)
        else:
            raise CardError(f"{card.name}: the scheduler {name!r} does not work with this pipeline: {reason}")


def _check_task(generator: DiffusersPipeline, task: Task, expected: Sequence[Pixels], known: set[str]) -> set[str]:
    """Return the calls that must be made for one image at a time. Raises CardError if the pictures still differ."""
    reason = ""
    candidates = [{name for name, kind in generator.calls.items() if kind in kinds} for kinds in CANDIDATES]
    for number, names in enumerate(candidates):
        if names in candidates[:number]:
            continue
        apart = known | names
        generator.unbatched_calls.clear()
        generator.unbatched_calls.update(apart)
        try:
            with generator.without_text_cache():
                exact = generator.card.dtype == "float32"
                same = all(equal(found, alone, exact=exact) for found, alone in _batches(generator, task, expected))
        except Exception as error:  # noqa: BLE001 - a module may raise anything over rows that it cannot combine
            device_faults.reraise(error)
            reason = explain(error)
            continue
        if same:
            return apart | generator.unbatched_calls
        reason = "a batch gives other pictures than the pipeline alone"
    raise CardError(f"{generator.card.name}: {task} does not work with this pipeline: {reason}")


def _batches(
    generator: DiffusersPipeline, task: Task, expected: Sequence[Pixels]
) -> Iterator[tuple[Sequence[Pixels], Sequence[Pixels]]]:
    """Yield what is drawn in a batch, and what the pipeline draws alone: for two texts, and for one text twice if these
    shared no call of the denoiser, as texts of different lengths may not.
    """
    first, second = trial_tasks(generator.card, task)
    pictures, shared = _batch(generator, [first, second])
    yield pictures, expected
    if not shared and max(generator.card.buckets) > 1:
        first, second = trial_tasks(generator.card, task)
        second = replace(second, spec=second.spec.model_copy(update={"prompt": first.spec.prompt}))
        alone = expected[0], generator.draw_alone(second)
        pictures, _ = _batch(generator, [first, second])
        yield pictures, alone


def _batch(generator: DiffusersPipeline, tasks: Sequence[ImageTask]) -> tuple[list[Pixels], bool]:
    """Draw the images as the engine does, with joint steps and decodes for equal keys; return them, and whether some
    shared a step.
    """
    most, shared = max(generator.card.buckets), False
    states = generator.start(tasks)
    try:
        while active := [state for state in states if not state.finished or state.error]:
            for state in active:
                if state.error is not None:
                    raise state.error
            together = alike(active)[:most]
            shared |= len(together) > 1
            generator.step(together)
        pictures: dict[int, Pixels] = {}
        while left := [state for state in states if id(state) not in pictures]:
            some = alike(left)[:most]
            for state, picture in zip(some, pictures_of(generator.decode(some)), strict=True):
                pictures[id(state)] = (picture / 255).astype(np.float32)
        return [pictures[id(state)] for state in states], shared
    finally:
        for state in states:
            state.close()


def equal(found: Sequence[Pixels], expected: Sequence[Pixels], *, exact: bool) -> bool:
    """Return whether the pictures are equal to the expected ones within the tolerance of the precision."""
    for one, other in zip(found, expected, strict=True):
        if one.shape != other.shape:
            return False
        difference = np.abs(one - np.clip(other, 0, 1))
        if not (difference.max() <= LARGEST_DIFFERENCE if exact else difference.mean() <= MEAN_DIFFERENCE):
            return False
    return True


def _digest(generator: DiffusersPipeline) -> str:
    card = generator.card.model_dump(mode="json", exclude={"title", "description", "licence", "source"})
    used = {"gpu": generator.device_name} | {name: _version(name) for name in LIBRARIES}
    about = {"check": VERSION, "card": card, "model": generator.fingerprint(), "used": used}
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def _version(library: str) -> str | None:
    with suppress(PackageNotFoundError):
        return version(library)
    return None


def _read(file: Path) -> list[str] | None:
    try:
        found: Any = json.loads(file.read_text())
        return [str(name) for name in found["apart"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(file: Path, apart: list[str]) -> None:
    """Write the file atomically. A folder that cannot be written to costs a check at each load."""
    partial = file.with_suffix(f".{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps({"apart": apart}))
        partial.replace(file)
    except OSError as error:
        log.warning("could not store the result of a pipeline check", file=str(file), error=str(error))
