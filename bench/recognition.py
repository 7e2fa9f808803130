"""How often a picture is said to be hard to recognise, where it shows its name and where it does not.

    python -m bench.recognition

The pictures in data/recognition.tsv were labelled by sight before any score was known: "yes" shows its name, "no" does
not, "partly" is doubtful. They are drawn again, 64x64, with the same names, seeds and styles ("any" is the seed's), and
judged as a worker does. noto-v1 lacks a quarter of the things. The labels hold for the weights that ship.
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


class Labelled(NamedTuple):
    """A picture that was labelled."""

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
        return [Labelled(row["model"], row["style"], int(row["seed"]), row["name"], row["label"]) for row in rows]


def cautioned(model: str, some: Sequence[Labelled], evaluator: EvaluatorRecognizer) -> list[bool]:
    """Draw pictures of one model, and return whether each is said to be hard to recognise."""
    card = Catalogue.load([], model).get(model)
    generator, size = load(card, Settings(device="cpu")), max(card.buckets)
    specs = [card.resolve(each.request) for each in some]
    pictures = [one for at in range(0, len(specs), size) for one in draw(generator, specs[at : at + size])]
    looks = zip(evaluator.look(pictures), some, strict=True)
    return [not evaluator.recognises(look, each.name) for look, each in looks]


@click.command()
@click.option("--threads", default=1, show_default=True, help="CPU threads.")
def main(threads: int) -> None:
    """Print the share of cautions by label, and write it to results/."""
    torch.set_num_threads(threads)
    evaluator, every = EvaluatorRecognizer(SHIPPED / "limner-text"), labelled()
    found: dict[str, list[bool]] = {"yes": [], "partly": [], "no": []}
    for model in dict.fromkeys(each.model for each in every):
        some = [each for each in every if each.model == model]
        for each, caution in zip(some, cautioned(model, some, evaluator), strict=True):
            found[each.label].append(caution)
            if caution and each.label == "yes":
                print(f"false: {each.name}, {each.style}, {model}")
    shares = {label: Share(sum(cautions), len(cautions)) for label, cautions in found.items()}
    for label, share in shares.items():
        print(f"{label:7}", share)
    figures: dict[str, Any] = {label: share.figures for label, share in shares.items()}
    goal = f"fewer than {MOST_FALSE} of the cautions where the picture shows its name"
    conclude("recognition", figures, goal, met=shares["yes"].value < MOST_FALSE)


if __name__ == "__main__":
    main()
