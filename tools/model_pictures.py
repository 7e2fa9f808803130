"""Draws the pictures of the built-in models for the pages: `python -m tools.model_pictures`.

A picture that the evaluator does not recognize is refused, so that the pages promise nothing that a model cannot draw.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Final

from PIL import Image

from limner_shared.domain.cards import ModelCard
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import JobRequest
from limner_shared.settings import Settings
from limner_web.pages import assets, model_pictures
from limner_worker.generators.base import Generator, ImageTask, Picture, pictures_of
from limner_worker.generators.registry import load
from limner_worker.networks.weights import SHIPPED
from limner_worker.stages.interpretation.presenting.image_recognition import EvaluatorRecognizer

MODELS: Final = ("limner-flow", "limner-gan")
SEED: Final = 1
SIDE, STYLE_SIDE = 144, 96
QUALITY: Final = 78


def drawn(model: Generator, card: ModelCard, prompt: str, style: str | None) -> Picture:
    """The picture of a prompt, uint8 [H, W, 3], as a worker draws it."""
    spec = card.resolve(JobRequest(prompt=prompt, style=style, seed=SEED))
    states = model.start([ImageTask(spec, spec.seed)])
    for _ in range(spec.steps):
        model.step(states)
    return pictures_of(model.decode(states))[0]


def wanted_of(card: ModelCard) -> Iterator[tuple[str, str | None, str, int]]:
    """The pictures of a model: prompt, style, file and side."""
    for prompt, style in model_pictures.THINGS:
        yield prompt, style, model_pictures.file_of(card.name, prompt), SIDE
    for style in card.styles:
        yield model_pictures.STYLE_SHOWN, style, model_pictures.style_file(card.name, style), STYLE_SIDE
    for scene in model_pictures.SCENES if card.scenes is not None else ():
        yield scene, None, model_pictures.file_of(card.name, scene), SIDE


def main() -> int:
    """Write the files of every model; returns the number of pictures that do not show their prompt."""
    catalogue, look, refused = Catalogue.load([], MODELS[0]), EvaluatorRecognizer(SHIPPED / "limner-text"), 0
    for name in MODELS:
        card = catalogue.get(name)
        model = load(card, Settings(device="cpu"))
        for prompt, style, file, side in wanted_of(card):
            picture = drawn(model, card, prompt, style)
            if prompt not in model_pictures.SCENES and not look.recognises(look.look([picture])[0], prompt):
                print(f"{name} does not draw {prompt} in the style {style} well")  # noqa: T201
                refused += 1
                continue
            path = assets.FOLDER / file
            path.parent.mkdir(parents=True, exist_ok=True)
            small = Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS)
            small.save(path, "WEBP", quality=QUALITY, method=6)
    return refused


if __name__ == "__main__":
    sys.exit(bool(main()))
