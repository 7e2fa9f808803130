"""How often a picture is said to be hard to recognise, where it shows its name and where it does not.

    python -m bench.recognition          # the pictures that were labelled last, to test a rule with
    python -m bench.recognition --all    # all pictures, by set

The pictures in data/recognition.tsv were labelled by sight before any score was known: "yes" shows its name, "no" does
not, "partly" is doubtful. They are drawn again, 64x64, with the same names, seeds and styles ("any" is the seed's), and
judged as a worker does. noto-v1 lacks a quarter of the things. The labels hold for the weights that ship.
The sets "first" (decision 0185) and "fitted" are to choose a rule with, "test" is to test it: no name of "fitted" or
"test" is in another set.
"""

from __future__ import annotations

import csv
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
MOST_FALSE: Final = 0.03
TEST: Final = "test"
LABELS: Final = ("yes", "partly", "no")


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


def labelled() -> list[Labelled]:
    """Return the pictures of the file, in its order."""
    with FILE.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [Labelled(seed=int(row.pop("seed")), part=row.pop("set"), **row) for row in rows]


def cautioned(model: str, some: Sequence[Labelled], evaluator: EvaluatorRecognizer) -> list[bool]:
    """Draw pictures of one model, and return whether each is said to be hard to recognise."""
    card = Catalogue.load([], model).get(model)
    generator, size = load(card, Settings(device="cpu")), max(card.buckets)
    specs = [card.resolve(each.request) for each in some]
    pictures = [one for at in range(0, len(specs), size) for one in draw(generator, specs[at : at + size])]
    looks = zip(evaluator.look(pictures), some, strict=True)
    return [not evaluator.recognises(look, each.name) for look, each in looks]


def shares(found: Sequence[tuple[Labelled, bool]]) -> dict[str, Share]:
    """Return the share of cautions of each label."""
    by = {label: [caution for each, caution in found if each.label == label] for label in LABELS}
    return {label: Share(sum(cautions), len(cautions)) for label, cautions in by.items()}


@click.command()
@click.option("--threads", default=1, show_default=True, help="CPU threads.")
@click.option("--all", "whole", is_flag=True, help="Judge the pictures of all sets.")
def main(*, threads: int, whole: bool) -> None:
    """Print the share of cautions by set and label, and write it to results/."""
    torch.set_num_threads(threads)
    evaluator = EvaluatorRecognizer(SHIPPED / "limner-text")
    every = [each for each in labelled() if whole or each.part == TEST]
    found: list[tuple[Labelled, bool]] = []
    for model in dict.fromkeys(each.model for each in every):
        some = [each for each in every if each.model == model]
        found += zip(some, cautioned(model, some, evaluator), strict=True)
    figures: dict[str, Any] = {}
    for part in dict.fromkeys(each.part for each in every):
        for label, share in shares([pair for pair in found if pair[0].part == part]).items():
            print(f"{part:7}{label:7}", share)
            figures[f"{part}, {label}"] = share.figures
    for each, caution in found:
        if caution and each.label == "yes":
            print(f"false: {each.name}, {each.style}, {each.model}, {each.part}")
    tested = shares([pair for pair in found if pair[0].part == TEST])
    goal = f"fewer than {MOST_FALSE} of the cautions where the picture shows its name"
    conclude("recognition", figures, goal, met=tested["yes"].value < MOST_FALSE)


if __name__ == "__main__":
    main()
