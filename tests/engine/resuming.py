"""Tiny pipelines resumed from a checkpoint after each step, as on another worker."""

from __future__ import annotations

from typing import Any

import numpy as np
from tests.engine.pipeline_jobs import job_of, run

from limner_shared.domain.cards import ModelCard

MOST_CALLS = 200
"""More than any tiny pipeline makes for a picture."""


def wrong_steps(generator: Any, card: ModelCard, request: dict[str, Any]) -> list[str]:
    """Return after which steps a picture does not resume to the bytes that it has without interruption, and why."""
    whole = job_of(card, "whole", request)
    run(generator, [whole])
    expected = whole.rows[0].picture
    wrong: list[str] = []
    for step in range(1, whole.claim.spec.steps):
        checkpoint = checkpoint_after(generator, job_of(card, "first", request), step)
        if checkpoint is None:
            continue
        resumed = job_of(card, "resumed", request)
        resumed.rows[0].task.checkpoint = checkpoint
        errors = run(generator, [resumed])
        drawn = resumed.rows[0].picture
        if errors or expected is None or drawn is None or not np.array_equal(drawn, expected):
            wrong.append(f"{step}: {next(iter(errors.values()), 'other bytes')}")
    return wrong


def checkpoint_after(generator: Any, job: Any, step: int) -> bytes | None:
    """Return the checkpoint of a picture after a step; None if it has none."""
    [state] = generator.start([job.rows[0].task])
    for _ in range(MOST_CALLS):
        if state.steps_done >= step or state.finished:
            break
        generator.step([state])
    checkpoint = state.checkpoint()
    state.close()
    return checkpoint
