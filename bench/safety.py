"""How often the safety stage flags drawings of the built-in models, none of which it should, and what it costs.

    python -m bench.safety [--count 300] [--quick]

Names that the models know are drawn at 256x256, cycling through the styles, and judged by the classifier. The cost is
processor time a picture on one thread, and the share of it in that of the picture itself on a CPU.
"""

from __future__ import annotations

import random
import time
from typing import Any, Final

import click
import torch

from bench.common import conclude, draw
from limner_shared.domain.cards import ModelCard
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import JobRequest
from limner_shared.picture_classifier import PictureClassifier
from limner_shared.settings import Settings
from limner_worker.generators.base import Picture
from limner_worker.generators.builtin.known_names import KnownNames
from limner_worker.generators.registry import load
from limner_worker.generators.weight_files import locate

MODELS: Final = ("limner-flow", "limner-gan")
THRESHOLD: Final = Settings().safety_threshold
GOAL: Final = 0.01


def drawings(card: ModelCard, count: int) -> tuple[list[Picture], float]:
    """Drawings of names that the model knows, always the same ones, and the processor seconds of one."""
    names = KnownNames(locate(card.text_encoder or card.source)).names
    prompts = random.Random(0).sample(list(names), count)  # noqa: S311 - a choice that is always the same
    styles = card.styles
    requests = [
        JobRequest(prompt=prompt, seed=n, style=styles[n % len(styles)], width=256, height=256)
        for n, prompt in enumerate(prompts)
    ]
    generator, specs = load(card, Settings(device="cpu")), [card.resolve(request) for request in requests]
    began, size = time.process_time(), max(card.buckets)
    pictures = [picture for at in range(0, count, size) for picture in draw(generator, specs[at : at + size])]
    return pictures, (time.process_time() - began) / count


@click.command()
@click.option("--count", type=click.IntRange(8), default=300, show_default=True, help="Drawings of each model.")
@click.option("--quick", is_flag=True, help="60 drawings of each model, under 50 s.")
def main(count: int, quick: bool) -> None:
    """Draw, judge, and print the result."""
    count = 60 if quick else count
    torch.set_num_threads(1)
    catalogue = Catalogue.load([], MODELS[0])
    drawn = {name: drawings(catalogue.get(name), count) for name in MODELS}
    classifier = PictureClassifier.load()
    figures: dict[str, Any] = {"classifier": classifier.name, "threshold": THRESHOLD}
    for name, (pictures, seconds) in drawn.items():
        began = time.process_time()
        scores = sorted(classifier.scores(pictures))
        cost = (time.process_time() - began) / count
        figures[name] = {
            "pictures": count,
            "flagged": sum(score >= THRESHOLD for score in scores),
            "highest score": scores[-1],
            "99th percentile": scores[int(count * 0.99)],
            "ms a picture": round(cost * 1000, 1),
            "relative to drawing it": round(cost / seconds, 3),
        }
        print(name, figures[name])
    worst = max(figures[name]["flagged"] / count for name in MODELS)
    conclude("safety", figures, f"at most {GOAL:.0%} of the drawings are flagged", met=worst <= GOAL)


if __name__ == "__main__":
    main()
