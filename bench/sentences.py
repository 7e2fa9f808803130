"""What becomes of names inside sentences: concepts in templates, drawn by the whole prompt and as the name in it.

    python -m bench.sentences [--quick] [--model limner-gan]

Each concept is put into each template, and drawn with the card's rule `nearest_name` and without it. The evaluator's
image tower then ranks all 1,661 names: top-1 is the share of pictures whose own concept comes first. Plain names are
the ceiling. The same names are drawn at other numbers of steps, and pairs of names show whether a negative prompt
removes what it names: then the name without it is nearer to the picture than the name with it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Final

import click
import torch
from torch.nn import functional as F

from bench.common import conclude, draw
from limner_shared.domain.cards import ModelCard
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import JobRequest, JobSpec
from limner_shared.settings import Settings
from limner_worker.generators.base import Picture
from limner_worker.generators.builtin.known_names import KnownNames
from limner_worker.generators.registry import load
from limner_worker.generators.weight_files import locate
from limner_worker.networks.image_tower import ImageTower
from limner_worker.networks.weights import load_module
from limner_worker.stages.interpretation.presenting.image_recognition import TOWER

TEMPLATES: Final = {
    "{}": "en",
    "a {} on a wooden table next to a window": "en",
    "two {}s side by side": "en",
    "a purple {}": "en",
    "please draw me a {} in the snow at night": "en",
    "ein lila {} auf einem Tisch": "de",
    "一个紫色的{}": "zh",
}
SYMBOLS: Final = {
    "flag",
    "button",
    "sign",
    "face",
    "arrow",
    "hand",
    "man",
    "woman",
    "person",
    "symbol",
    "keycap,",
    "square",
}
STEPS: Final = (4, 8, 24, 50)
WITHOUT: Final = {
    "smiling face with sunglasses": ("sunglasses", "smiling face"),
    "house with garden": ("tree", "house"),
    "cat with tears of joy": ("tears", "grinning cat"),
    "smiling face with heart-eyes": ("hearts", "smiling face"),
    "cowboy hat face": ("cowboy hat", "smiling face"),
    "snow-capped mountain": ("snow", "mountain"),
    "spouting whale": ("water", "whale"),
    "cloud with rain": ("rain", "cloud"),
    "sun behind cloud": ("cloud", "sun"),
    "person with crown": ("crown", "person"),
    "heart with arrow": ("arrow", "red heart"),
    "locked with key": ("key", "locked"),
}
"""A name, what a negative prompt would take from it, and the name of what is left."""


class Scorer:
    """Draws with one model, and ranks all names for each picture."""

    def __init__(self, card: ModelCard) -> None:
        folder = locate(card.text_encoder or card.source)
        self.card, self.generator, self.names = card, load(card, Settings(device="cpu")), KnownNames(folder)
        self.tower = load_module(ImageTower, folder / TOWER)

    def cosines(self, specs: Sequence[JobSpec]) -> torch.Tensor:
        """Of each picture with each name: float32 [jobs, names]."""
        return self._compared(self.draw(specs))

    def draw(self, specs: Sequence[JobSpec]) -> torch.Tensor:
        """One picture a job: float32 [jobs, 3, 64, 64] in [-1, 1]."""
        size = max(self.card.buckets)
        return torch.cat([pixels(draw(self.generator, specs[at : at + size])) for at in range(0, len(specs), size)])

    def _compared(self, pictures: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return self.tower(pictures).concept @ self.names.embeddings.T

    def shares(self, specs: Sequence[JobSpec], concepts: Sequence[str]) -> tuple[float, float]:
        """Top-1 and top-5 of one picture a job."""
        return self.recognised(self.draw(specs), concepts)

    def recognised(self, pictures: torch.Tensor, concepts: Sequence[str]) -> tuple[float, float]:
        """Top-1 and top-5 of pictures [N, 3, 64, 64]."""
        cosines = self._compared(pictures)
        right = torch.tensor([self.names.names.index(concept) for concept in concepts])
        ranks = (cosines > cosines.gather(1, right[:, None])).sum(1)
        return round(float((ranks < 1).float().mean()), 3), round(float((ranks < 5).float().mean()), 3)

    def specs(self, prompts: Sequence[str], **changes: Any) -> list[JobSpec]:
        """One job a prompt, cycling through the styles, each with its own seed."""
        card, styles = self.card, self.card.styles
        requests = [
            JobRequest(prompt=prompt, seed=n, style=styles[n % len(styles)], width=64, height=64)
            for n, prompt in enumerate(prompts)
        ]
        return [card.resolve(request).model_copy(update=changes) for request in requests]


def pixels(pictures: Sequence[Picture]) -> torch.Tensor:
    """The pictures at 64x64: float32 [N, 3, 64, 64] in [-1, 1]."""
    return F.interpolate(
        torch.stack([torch.as_tensor(picture.copy()) for picture in pictures]).permute(0, 3, 1, 2) / 127.5 - 1, 64
    )


def chosen(names: Sequence[str], count: int) -> list[str]:
    """Names of at most two words that are of things, always the same ones."""
    things = [name for name in names if len(name.split()) <= 2 and not SYMBOLS & set(name.split())]
    return random.Random(0).sample(things, count)  # noqa: S311 - a choice that is always the same


def sentences(scorer: Scorer, concepts: Sequence[str]) -> dict[str, Any]:
    """Of each template: top-1 and top-5 as the card says, by the whole prompt, and how often the name is found."""
    found: dict[str, Any] = {}
    for template, language in TEMPLATES.items():
        prompts = [template.format(scorer.names.translated(concept, language)) for concept in concepts]
        specs = scorer.specs(prompts)
        whole = scorer.shares([spec.model_copy(update={"nearest_name": None}) for spec in specs], concepts)
        found[template] = {"whole prompt": whole, "as the card says": scorer.shares(specs, concepts)}
        print(template, found[template])
    return found


def negatives(scorer: Scorer) -> dict[str, int]:
    """In how many pairs a negative prompt removes what it names, and in how many that happens without one."""
    cards = scorer.specs(list(WITHOUT))
    asked = [
        spec.model_copy(update={"negative_prompt": what})
        for spec, (what, _) in zip(cards, WITHOUT.values(), strict=True)
    ]
    index = scorer.names.names.index
    pairs = [(index(name), index(left)) for name, (_, left) in WITHOUT.items()]
    removed = [
        sum(bool(row[left] > row[name]) for row, (name, left) in zip(scorer.cosines(specs), pairs, strict=True))
        for specs in (cards, asked)
    ]
    return {"pairs": len(pairs), "removed without": removed[0], "removed with a negative prompt": removed[1]}


@click.command()
@click.option("--quick", is_flag=True, help="16 concepts instead of 64; under a minute.")
@click.option("--model", type=click.Choice(["limner-flow", "limner-gan"]), default="limner-flow", show_default=True)
def main(quick: bool, model: str) -> None:
    """Print what is recognised, and write it to results/."""
    scorer = Scorer(Catalogue.load([], model).get(model))
    concepts = chosen(scorer.names.names, 16 if quick else 64)
    figures: dict[str, Any] = {"sentences": sentences(scorer, concepts)}
    if scorer.card.steps.max > 1:
        figures["steps"] = {steps: scorer.shares(scorer.specs(concepts, steps=steps), concepts) for steps in STEPS}
        figures["negative prompts"] = negatives(scorer)
        print(figures["steps"], figures["negative prompts"])
    shares = [row["as the card says"][0] for row in figures["sentences"].values()]
    least = 0.8 * shares[0]
    conclude(
        f"sentences-{model}",
        figures,
        "top-1 in each template at least 0.8 of the plain names'",
        met=min(shares) >= least,
    )


if __name__ == "__main__":
    main()
