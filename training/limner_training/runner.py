"""Runs a training: progress bar, averaging, checkpoints, loss curves and exported weights."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from limner_training import data, loop, report

CHECKPOINT_SECONDS: Final = 180.0
ENTRY_STEPS: Final = 25


def set_up(threads: int, seed: int) -> np.random.Generator:
    """Set torch's threads and seed all random number generators; returns numpy's."""
    torch.set_num_threads(threads)
    cast("Any", torch).manual_seed(seed)
    return np.random.default_rng(seed)


def run_training(
    training: loop.Training,
    losses: Callable[[], tuple[Tensor, int]],
    folder: Path,
    minutes: float,
    ship: Callable[[], str],
    longest_average: float = 0.999,
) -> None:
    """Train for `minutes` with a progress bar (loss, speed, time left).

    Every three minutes and at the end, save a checkpoint and a loss curve in `folder`, call `ship`, and print the
    line that it returns. Ctrl-C and other errors save too, but not a training that has diverged.

    Raises:
        DataError: the disk is nearly full.
        FloatingPointError: the training has diverged; what was saved last stays.
    """
    data.require_disk(folder, 500_000_000)
    with _progress() as bar:

        def keep() -> None:
            bar.console.print(f"{folder.name}: {_keep(training, folder, ship)}")

        try:
            _train(training, loop.run(training, losses, minutes), folder.name, minutes, longest_average, bar, keep)
        except FloatingPointError:
            raise  # what was saved last is better
        except BaseException:
            with suppress(data.DataError, FloatingPointError):  # the first error says more
                keep()
            raise
        keep()


def _train(
    training: loop.Training,
    steps: Iterable[float],
    name: str,
    minutes: float,
    longest_average: float,
    bar: Progress,
    keep: Callable[[], None],
) -> None:
    """Run all steps with the progress bar, and `keep` their result every three minutes."""
    started, begun, saved = training.seconds, training.samples, time.monotonic()
    recent: list[float] = []
    task = bar.add_task(name, total=minutes * 60, note="")
    for loss in steps:
        loop.update_average(training, longest_average)
        recent.append(loss)
        if len(recent) == ENTRY_STEPS:
            training.history.append((training.step, float(np.mean(recent))))
            recent.clear()
            spent = training.seconds - started
            note = describe(training, (training.samples - begun) / spent)
            bar.update(task, completed=spent, note=note)
            # Without a terminal there is no progress bar: print the same as a line.
            if not bar.console.is_terminal:
                bar.console.print(f"{name}: {note}, {spent / 60:.1f} of {minutes:g} min")
        if time.monotonic() - saved > CHECKPOINT_SECONDS:
            keep()
            saved = time.monotonic()


def describe(training: loop.Training, rate: float) -> str:
    """Return one line on the progress of a training."""
    return f"step {training.step}, loss {training.history[-1][1]:.4f}, {rate:.1f} samples/s"


def _keep(training: loop.Training, folder: Path, ship: Callable[[], str]) -> str:
    data.require_disk(folder, 500_000_000)
    loop.save(training, folder)
    report.save_curve(training.history, folder / "loss.png", folder.name)
    return f"saved at step {training.step}; {ship()}"


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"), TimeRemainingColumn()
    )
