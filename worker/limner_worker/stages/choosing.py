"""The choice among the candidates for each image of a job: the one that the evaluator ranks highest is kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from limner_shared.telemetry import get_logger
from limner_worker.engine.job_run import JobRun, Row
from limner_worker.generators.base import Picture
from limner_worker.stages.wanted_things import wanted_things

log = get_logger(__name__)


class Likeness(NamedTuple):
    """How well a picture shows one thing; the greater of two is the better one."""

    recognised: bool
    """Whether the thing's name is among the few that are nearest to the picture."""
    margin: float
    """How much nearer the thing's name is to the picture than any other one, as a difference of cosines."""


class Score(NamedTuple):
    """How well a picture shows all of its things; the greater of two is the better one."""

    recognised: int
    margin: float


class PictureRanker(Protocol):
    """Tells how well pictures of some models show what they should."""

    def likeness(self, picture: Picture, name: str, *, recoloured: bool) -> Likeness:
        """Return how well a picture shows a thing of this name, in any hue if `recoloured`."""
        ...


class CandidateChoice:
    """Keeps the best of the candidates for each image. Safe for several threads."""

    def __init__(self, rankers: Mapping[str, PictureRanker]) -> None:
        """`rankers` are given by the models' names."""
        self._rankers = rankers

    def settle(self, job: JobRun) -> None:
        """Drop all but the best row of each image, once every row has its picture. Never raises.

        Equal candidates keep their order, so that the choice depends on the pictures only.
        """
        if len(job.rows) == job.claim.spec.n:
            return  # one candidate for each, or settled before
        try:
            kept = [max(group, key=self._score) for group in job.candidates]
        except Exception:  # any candidate is a valid picture
            log.exception("could not rank candidates", job=job.id)
            kept = [group[0] for group in job.candidates]
        job.keep(kept)

    def _score(self, row: Row) -> Score:
        ranker, picture = self._rankers[row.job.claim.spec.model], row.picture
        found = [
            ranker.likeness(thing.picture, thing.name, recoloured=thing.recoloured)
            for thing in ([] if picture is None else wanted_things(row.task, picture))
        ]
        return Score(sum(each.recognised for each in found), sum(each.margin for each in found) / len(found))
