"""Names drawn once, and as the best of the candidates of quality best: how often they are recognised.

    python -m bench.quality [--names 64] [--model limner-gan]

The first candidate is the picture that is drawn without candidates. The evaluator that chooses is also the one that
recognises: top-1 and top-5 of all 1,661 names are what it can gain at most, and people may agree with it less.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import click
import torch

from bench.common import conclude, draw
from bench.sentences import Scorer, chosen, pixels
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import JobRequest, JobSpec
from limner_worker.generators.base import Picture
from limner_worker.generators.weight_files import locate
from limner_worker.stages.interpretation.presenting.image_recognition import EvaluatorRecognizer

SEED: Final = 1000


def candidates_of(scorer: Scorer, name: str, seed: int) -> list[JobSpec]:
    """The candidates for one picture, as jobs of one picture."""
    best = scorer.card.resolve(JobRequest(prompt=name, seed=seed, quality="best", width=64, height=64))
    seeds = [best.candidate_seed(0, candidate) for candidate in range(best.candidates)]
    return [best.model_copy(update={"seed": each, "candidates": 1}) for each in seeds]


def drawn(scorer: Scorer, specs: Sequence[JobSpec]) -> list[Picture]:
    """One picture a job."""
    size = max(scorer.card.buckets)
    return [one for at in range(0, len(specs), size) for one in draw(scorer.generator, specs[at : at + size])]


@click.command()
@click.option("--names", "count", default=64, show_default=True, help="Names that are drawn.")
@click.option("--model", default="limner-flow", show_default=True)
def main(count: int, model: str) -> None:
    """Print the table, and write it to results/."""
    torch.set_num_threads(1)
    scorer = Scorer(Catalogue.load([], model).get(model))
    evaluator = EvaluatorRecognizer(locate(scorer.card.text_encoder or scorer.card.source))
    names = chosen(scorer.names.names, count)
    first: list[Picture] = []
    best: list[Picture] = []
    for place, name in enumerate(names):
        pictures = drawn(scorer, candidates_of(scorer, name, SEED + place))
        first.append(pictures[0])
        best.append(max(pictures, key=lambda picture: evaluator.likeness(picture, name, recoloured=False)))
    figures = {
        said: dict(zip(("top-1", "top-5"), scorer.recognised(pixels(some), names), strict=True))
        for said, some in (("one picture", first), ("best", best))
    }
    for said, shares in figures.items():
        print(f"{said:12}", shares)
    met = figures["best"]["top-1"] > figures["one picture"]["top-1"]
    conclude("quality", figures, "best is recognised more often than one picture", met=met)


if __name__ == "__main__":
    main()
