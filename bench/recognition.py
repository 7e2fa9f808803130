"""How often a picture is said to be hard to recognise, where it shows its name and where it does not.

    python -m bench.recognition          # the pictures that were labelled last, with which nothing was chosen
    python -m bench.recognition --fit    # all pictures, and the rule's number from those that it is chosen with

The pictures in data/recognition.tsv were labelled by sight before any score was known: "yes" shows its name, "no" does
not, "partly" is doubtful. They are drawn again, 64x64, with the same names, seeds and styles ("any" is the seed's), and
judged as a worker does. noto-v1 lacks a quarter of the things. The labels hold for the weights that ship. No name is in
two of the sets "first" and "fitted", with which the rule was chosen, and "test".
"""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
import torch

from bench.common import conclude, draw
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import JobRequest
from limner_shared.settings import Settings
from limner_training.tasks.scoring import Share
from limner_worker.generators.registry import load
from limner_worker.networks.weights import SHIPPED
from limner_worker.stages.interpretation.presenting.image_recognition import EvaluatorRecognizer

FILE: Final = Path(__file__).parent / "data" / "recognition.tsv"
MOST_FALSE: Final = 0.02
LEAST_FOUND: Final = 0.7
FITTED_FALSE: Final = 0.0175
"""The share of false cautions among the pictures that the rule is chosen with."""


class Labelled(NamedTuple):
    """A picture that was labelled."""

    part: str
    model: str
    style: str
    seed: int
    name: str
    label: str

    @property
    def request(self) -> JobRequest:
        """The request that draws it."""
        style = None if self.style == "any" else self.style
        return JobRequest(prompt=self.name, seed=self.seed, style=style, width=64, height=64)


class Judged(NamedTuple):
    """What a worker says of a labelled picture."""

    labelled: Labelled
    caution: bool
    nearness: float
    """The cosine with the nearest drawing of its name, or of one that means nearly the same."""
    cosine: float
    """The cosine with its name."""


def labelled() -> list[Labelled]:
    """Return the pictures of the file, in its order."""
    with FILE.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [Labelled(seed=int(row.pop("seed")), part=row.pop("set"), **row) for row in rows]


def judged(model: str, some: Sequence[Labelled], evaluator: EvaluatorRecognizer) -> list[Judged]:
    """Draw pictures of one model, and return what is said of each."""
    card = Catalogue.load([], model).get(model)
    generator, size = load(card, Settings(device="cpu")), max(card.buckets)
    specs = [card.resolve(each.request) for each in some]
    pictures = [one for at in range(0, len(specs), size) for one in draw(generator, specs[at : at + size])]
    looks, found = evaluator.look(pictures), list[Judged]()
    started = time.process_time()
    for each, spec, look in zip(some, specs, looks, strict=True):
        style = spec.style_for(spec.seed)
        caution = not evaluator.recognises(look, each.name, style)
        near = evaluator.nearness(look, each.name, style)
        found.append(Judged(each, caution, 0.0 if near is None else near, evaluator.cosine(look, each.name)))
    print(f"{model}: {(time.process_time() - started) * 1000 / len(some):.2f} ms a picture for the comparisons")
    return found


def fitted(found: Sequence[Judged]) -> float:
    """Return the least mean of the two cosines with which no more than FITTED_FALSE of the right ones are cautioned,
    rounded down.
    """
    good = sorted((each.nearness + each.cosine) / 2 for each in found if each.labelled.label == "yes")
    return math.floor(1000 * good[int(FITTED_FALSE * len(good)) + 1]) / 1000


def shares(found: Sequence[Judged]) -> dict[str, Share]:
    """Return the share of cautions of each label."""
    by = {label: [each.caution for each in found if each.labelled.label == label] for label in ("yes", "partly", "no")}
    return {label: Share(sum(cautions), len(cautions)) for label, cautions in by.items()}


@click.command()
@click.option("--threads", default=1, show_default=True, help="CPU threads.")
@click.option("--fit", is_flag=True, help="Judge the other pictures too, and print the rule's number from them.")
def main(*, threads: int, fit: bool) -> None:
    """Print the share of cautions by label, and write it to results/."""
    torch.set_num_threads(threads)
    evaluator = EvaluatorRecognizer(SHIPPED / "limner-text")
    every = [each for each in labelled() if fit or each.part == "test"]
    found: list[Judged] = []
    for model in dict.fromkeys(each.model for each in every):
        found += judged(model, [each for each in every if each.model == model], evaluator)
    figures: dict[str, Any] = {}
    for part in dict.fromkeys(each.part for each in every):
        some = [each for each in found if each.labelled.part == part]
        for label, share in shares(some).items():
            print(f"{part:7}{label:7}", share)
            figures[f"{part}, {label}"] = share.figures
        for each in some:
            if each.caution and each.labelled.label == "yes":
                print(f"false: {each.labelled.name}, {each.labelled.style}, {each.labelled.model}")
    if fit:
        print(f"least: {fitted([each for each in found if each.labelled.part != 'test']):.3f}")
    last = shares([each for each in found if each.labelled.part == "test"])
    goal = f"{LEAST_FOUND} of those that do not show their name, at most {MOST_FALSE} of those that do"
    conclude("recognition", figures, goal, met=last["no"].value >= LEAST_FOUND and last["yes"].value <= MOST_FALSE)


if __name__ == "__main__":
    main()
