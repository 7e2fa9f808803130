"""What the evaluator sees in finished pictures: embeddings, and whether it recognises what they should show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from limner_shared.db.ledger import NewImage, Result
from limner_shared.domain.embeddings import Embedding
from limner_shared.domain.jobs import JobSpec
from limner_shared.domain.recognitions import MOST_NAMES, Recognition
from limner_shared.domain.replay import RECOGNITION
from limner_shared.telemetry import get_logger, job_ids
from limner_worker.engine.job_run import JobRun, Row
from limner_worker.generators.base import ImageTask, Picture
from limner_worker.stages.choosing import PictureRanker
from limner_worker.stages.interpretation.presenting.presentation import cautioned
from limner_worker.stages.wanted_things import WantedThing, wanted_things

log = get_logger(__name__)


class Look(NamedTuple):
    """What the evaluator's network says of a picture."""

    embedding: Embedding
    concept: NDArray[np.float32]
    """The picture's place among names: [384], of unit length."""


class PictureEvaluator(PictureRanker, Protocol):
    """Knows the pictures of some models: compares, ranks and recognises them."""

    def look(self, pictures: Sequence[Picture]) -> Sequence[Look]:
        """Return what each picture looks like."""
        ...

    def subject(self, spec: JobSpec) -> str | None:
        """Return the name that is drawn of a spec's whole prompt; None if it means nothing that the evaluator knows."""
        ...

    def recognises(self, look: Look, name: str, style: str | None = None) -> bool:
        """Return whether a picture looks like what has this name; `style` is that of a picture of one thing alone."""
        ...

    def resembled(self, look: Look, name: str) -> Sequence[str]:
        """Return the names that a picture resembles much more than this one, best first."""
        ...

    def neighbours(self, name: str, language: str) -> Sequence[str]:
        """Return other names in a language that mean nearly what this one means, nearest first."""
        ...

    def fuller(self, spec: JobSpec) -> str | None:
        """Return a spec's prompt with fewer words, all of whose things are drawn; None if there is none."""
        ...

    def language_for(self, spec: JobSpec) -> str:
        """Return the code of the language in which a job is answered."""
        ...

    def translated(self, name: str, language: str) -> str:
        """Return a name in another language, or the name itself if there is no translation."""
        ...


class PictureReview:
    """Adds what the evaluator sees to the images of finished jobs, all of a model in one batch. For several threads."""

    def __init__(self, evaluators: Mapping[str, PictureEvaluator]) -> None:
        """`evaluators` are given by the models' names; nothing is added to the pictures of other models."""
        self._evaluators = evaluators

    def add(self, results: Sequence[tuple[JobRun, Result]]) -> list[Result]:
        """Return the results, in order, with embeddings and recognitions. Never raises: images are valid without."""
        found = list(results)
        for model in {job.claim.spec.model for job, _ in found} & self._evaluators.keys():
            places = [place for place, (job, _) in enumerate(found) if job.claim.spec.model == model]
            rows = [row for place in places for row in found[place][0].rows]
            try:
                looks = self._looks(self._evaluators[model], rows)
                for place in places:
                    job, result = found[place]
                    images = [
                        self._seen(row, image, looks[row]) for row, image in zip(job.rows, result.images, strict=True)
                    ]
                    found[place] = job, replace(result, images=images)
            except Exception:
                log.exception("could not embed pictures", model=model, jobs=job_ids(row.job.id for row in rows))
        return [result for _, result in found]

    @staticmethod
    def _looks(evaluator: PictureEvaluator, rows: Sequence[Row]) -> Mapping[Row, list[Look]]:
        """Return the look of each row's picture, and those of the things of its scene."""
        pictures = {row: [row.picture, *row.task.things] for row in rows if row.picture is not None}
        looks = iter(evaluator.look([each for some in pictures.values() for each in some]))
        return {row: [next(looks) for _ in some] for row, some in pictures.items()}

    def _seen(self, row: Row, image: NewImage, looks: Sequence[Look]) -> NewImage:
        """Return the record of a row's image with what was seen in it."""
        image = replace(image, embedding=looks[0].embedding)
        evaluator, task = self._evaluators[row.job.claim.spec.model], row.task
        try:
            alone = row.job.claim.bulk_id is None  # offers cost as much as a picture, and are not read in bulks
            recognition = (
                None if row.picture is None else recognition_of(evaluator, task, row.picture, looks, offers=alone)
            )
        except Exception:  # recognition is optional
            log.exception("could not recognize a picture", job=row.job.id)
            recognition = None
        if recognition is None:
            return image
        alt_text = (
            None
            if image.alt_text is None
            else cautioned(image.alt_text, recognition, evaluator.language_for(task.spec))
        )
        receipt = {**image.receipt, RECOGNITION: recognition.recorded()}
        return replace(image, receipt=receipt, alt_text=alt_text)


def recognition_of(
    evaluator: PictureEvaluator, task: ImageTask, picture: Picture, looks: Sequence[Look], *, offers: bool = True
) -> Recognition | None:
    """Return whether the evaluator recognises what a picture should show; None if it knows no word for that.

    `looks` are those of the whole picture and of each of the task's things. With `offers` a fuller prompt is looked for
    where something of the prompt is left out.
    """
    wanted = wanted_things(task, picture)
    whole = task.scene is None or task.scene.plain
    if task.scene is None and task.drawn_as is None:
        subject = evaluator.subject(task.spec)
        wanted = [] if subject is None else [each._replace(name=subject) for each in wanted]
    if not wanted:
        return None
    seen, style = (looks[:1], task.style) if whole else (looks[1:], None)
    missed = [
        (thing, look)
        for thing, look in zip(wanted, seen, strict=True)
        if not _recognised(evaluator, thing, look, style)
    ]
    less = task.drawn_as is not None or (task.scene is not None and bool(task.scene.left_out))
    fuller = [each for each in [evaluator.fuller(task.spec) if offers and less else None] if each is not None]
    if not missed:
        return Recognition(recognised=True, nearer=tuple(fuller))
    language = evaluator.language_for(task.spec)
    words = [thing.said or evaluator.translated(thing.name, language) for thing, _ in missed]
    if not whole:
        return Recognition(recognised=False, unclear=_each(words), nearer=tuple(fuller))
    thing, look = missed[0]
    alike = [evaluator.translated(name, language) for name in evaluator.resembled(look, thing.name)]
    nearer = [*fuller, *evaluator.neighbours(thing.name, language)][:MOST_NAMES]
    return Recognition(recognised=False, unclear=_each(words), looks_like=_each(alike), nearer=_each(nearer))


def _recognised(evaluator: PictureEvaluator, thing: WantedThing, look: Look, style: str | None) -> bool:
    """Return whether a thing is recognised as it is or, if it was recoloured, in another hue: few names are known in
    every colour.
    """
    if evaluator.recognises(look, thing.name, style):
        return True
    return thing.recoloured and evaluator.likeness(thing.picture, thing.name, recoloured=True).recognised


def _each(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words))
