"""The vectors by which finished pictures are compared: those of models whose pictures the evaluator knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from limner_shared.db.ledger import Result
from limner_shared.domain.embeddings import Embedding
from limner_shared.telemetry import get_logger, job_ids
from limner_worker.engine.job_run import JobRun
from limner_worker.generators.base import Picture

log = get_logger(__name__)


class PictureEmbedder(Protocol):
    """Embeds the pictures of some models."""

    def embed(self, pictures: Sequence[Picture]) -> Sequence[Embedding]:
        """Return the embedding of each picture."""
        ...


class PictureVectors:
    """Adds embeddings to the images of finished jobs, all pictures of a model in one batch. For several threads."""

    def __init__(self, embedders: Mapping[str, PictureEmbedder]) -> None:
        """`embedders` are given by the models' names; the pictures of other models get no embedding."""
        self._embedders = embedders

    def add(self, results: Sequence[tuple[JobRun, Result]]) -> list[Result]:
        """Return the results, in order, with the embeddings of their images. Never raises: images are valid without."""
        found = list(results)
        for model in {job.claim.spec.model for job, _ in found} & self._embedders.keys():
            places = [place for place, (job, _) in enumerate(found) if job.claim.spec.model == model]
            jobs = [found[place][0] for place in places]
            try:
                embeddings = iter(self._embedders[model].embed([each for job in jobs for each in _pictures(job)]))
                for place, job in zip(places, jobs, strict=True):
                    images = [replace(image, embedding=next(embeddings)) for image in found[place][1].images]
                    found[place] = job, replace(found[place][1], images=images)
            except Exception:
                log.exception("could not embed pictures", model=model, jobs=job_ids(job.id for job in jobs))
        return [result for _, result in found]


def _pictures(job: JobRun) -> list[Picture]:
    return [row.picture for row in job.rows if row.picture is not None]
