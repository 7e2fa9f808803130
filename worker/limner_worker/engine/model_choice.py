"""Which model a worker loads next, and which it mixes with others, if not all of its models fit into its memory. Pure
policy: no torch, no clock, no I/O.

M. Zaharia et al.: Delay Scheduling, EuroSys 2010: a short wait for a place that has the data costs less than moving the
data.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from limner_shared.domain.jobs import Lane

PATIENCE: Final = 0.5
"""How long jobs wait for a worker that has their model loaded, before another one loads it: in times of the loading."""
MIN_SECONDS: Final = 0.5
"""The shortest wait, for models that load in no time."""
STAY: Final = 3.0
"""How long a worker with jobs stays with a model that it has just loaded: in times of the loading, for which its rows
waited."""

OVERDUE: Final = 1.0
"""After this many seconds, jobs are taken by workers that have jobs of another model too."""


def overdue(waits: Mapping[tuple[str, Lane], float]) -> set[str]:
    """Return the models whose jobs have waited for too long for a worker that has no jobs of another model.

    A worker with jobs of several models makes their steps in turn, each with few rows, which takes longer than batches
    of one model on each of several workers. `waits` is as for `model_to_load`.
    """
    return {model for (model, _), seconds in waits.items() if seconds >= OVERDUE}


def model_to_load(
    waits: Mapping[tuple[str, Lane], float],
    loaded: Collection[str],
    load_seconds: Mapping[str, float],
) -> str | None:
    """Return the model that this worker should load next; None if it should stay with the loaded ones.

    `waits` has the seconds that the oldest message of each queue has waited, without the empty queues; `load_seconds`
    has the models that this worker serves, each with the time that it took to load.

    The wait of a model that is not loaded counts less the time that a switch is worth. Work of the best lane goes
    first, and within a lane the longest wait. So a worker stays with its models until others have waited for longer
    by the cost of a switch, and no model waits indefinitely: its wait grows, those of the served models do not.
    """

    def counted(model: str, seconds: float) -> float:
        return seconds if model in loaded else seconds - max(MIN_SECONDS, PATIENCE * load_seconds[model])

    ranks = [
        (lane, -counted(model, seconds), model)
        for (model, lane), seconds in waits.items()
        if model in load_seconds and lane is not Lane.ALONE and counted(model, seconds) >= 0
    ]
    best = min(ranks, default=None)
    return None if best is None or best[2] in loaded else best[2]
