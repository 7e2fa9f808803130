"""What the evaluator recognizes in a picture appears in its presentation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.embeddings import DIMENSIONS, VECTOR_BYTES, VECTOR_TYPE, Embedding
from limner_shared.domain.jobs import JobRequest, JobSpec
from limner_shared.domain.scenes import Scene, SceneObject
from limner_shared.settings import Settings
from limner_worker.generators.base import ImageTask
from limner_worker.generators.builtin.known_names import save_names
from limner_worker.generators.builtin.scenes.colouring import recoloured
from limner_worker.generators.builtin.scenes.cutouts import cut_out
from limner_worker.generators.builtin.scenes.drawing import alone
from limner_worker.generators.registry import load
from limner_worker.networks.weights import SHIPPED, WeightsError
from limner_worker.stages.choosing import Likeness
from limner_worker.stages.interpretation.presenting import image_recognition, presentation
from limner_worker.stages.interpretation.presenting.image_recognition import EvaluatorRecognizer
from limner_worker.stages.interpretation.presenting.presenter import Presenter, recognizers_of

TEXT = SHIPPED / "limner-text"
REDUCED = [0.0921158, 0.0153178, 0.0526898, 0.1156348]


def drawn(catalogue: Catalogue, prompt: str, style: str = "noto") -> np.ndarray:
    """Draw the prompt with the instant model."""
    card, spec = catalogue.resolve(JobRequest(prompt=prompt, model="limner-gan", seed=1, style=style))
    model = load(card, Settings(device="cpu"))
    states = model.start([ImageTask(spec, spec.seed)])
    model.step(states)
    return model.decode(states).pictures()[0]


class Recognizer:
    """A recognizer that returns given names, or fails."""

    def __init__(self, seen: list[tuple[str, float]] | None) -> None:
        self.seen = seen
        self.asked: list[str] = []

    def __call__(self, picture: np.ndarray, prompt: str) -> list[tuple[str, float]]:
        self.asked.append(prompt)
        if self.seen is None:
            raise RuntimeError("recognition failed")
        return self.seen

    def names_of(self, picture: np.ndarray) -> list[tuple[str, float]]:
        return self(picture, "")

    def recognises(self, picture: np.ndarray, name: str, *, recoloured: bool) -> bool:
        self.asked.append(f"{name} in any colour" if recoloured else name)
        if self.seen is None:
            raise RuntimeError("recognition failed")
        return bool(picture.any())

    def likeness(self, picture: np.ndarray, name: str, *, recoloured: bool) -> Likeness:
        return Likeness(self.recognises(picture, name, recoloured=recoloured), 0.0)

    def translated(self, name: str, language: str) -> str:
        return name if language == "en" else f"{name} in {language}"

    def known_names(self) -> dict[str, list[str]]:
        return {}

    def read(self, spec: JobSpec, most: int) -> tuple[str | None, Scene | None]:
        raise NotImplementedError

    def embed(self, pictures: Sequence[np.ndarray]) -> list[Embedding]:
        raise NotImplementedError


@pytest.fixture(scope="module")
def look() -> EvaluatorRecognizer:
    return EvaluatorRecognizer(TEXT)


@pytest.mark.parametrize(("drawing", "asked"), [("red apple", "a car"), ("rocket", "a cat"), ("pizza", "a house")])
def test_a_picture_that_does_not_show_its_prompt_is_recognized(
    catalogue: Catalogue, look: EvaluatorRecognizer, drawing: str, asked: str
):
    seen = look(drawn(catalogue, drawing), asked)
    assert drawing in [name for name, _ in seen]
    assert all(score >= image_recognition.MIN_COSINE for _, score in seen)


@pytest.mark.parametrize("prompt", ["red apple", "a rocket", "ein roter Apfel", "披萨"])
def test_a_picture_that_shows_its_prompt_gives_no_names(catalogue: Catalogue, look: EvaluatorRecognizer, prompt: str):
    assert look(drawn(catalogue, prompt), prompt) == []


def test_noise_gives_no_names(look: EvaluatorRecognizer):
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    assert look(noise, "a cat") == []


def test_a_folder_without_names_is_refused(tmp_path: Path):
    for name in ("tower.safetensors", "head.safetensors"):
        (tmp_path / name).symlink_to(TEXT / name)
    with pytest.raises(WeightsError, match="not a names file"):
        EvaluatorRecognizer(tmp_path)
    save_names(["a", "b"], torch.eye(2, 384), tmp_path)
    assert EvaluatorRecognizer(tmp_path)(np.zeros((64, 64, 3), np.uint8), "a cat") == []


def test_vectors_of_pictures_of_one_thing_are_nearest_at_any_size(look: EvaluatorRecognizer, catalogue: Catalogue):
    things = ("red apple", "rocket", "pizza")
    pictures = [drawn(catalogue, thing, style) for style in ("noto", "flat") for thing in things]
    pictures[0] = pictures[0].repeat(4, 0).repeat(4, 1)
    found = look.embed(pictures)
    assert {len(each.vector) for each in found} == {VECTOR_BYTES}
    vectors = np.stack([np.frombuffer(each.vector, VECTOR_TYPE).astype(np.float32) for each in found])
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(6), abs=1e-3)
    assert (vectors[:3] @ vectors[3:].T).argmax(1).tolist() == [0, 1, 2]
    assert look.embed(pictures) == found
    assert len({each.encoder for each in found}) == 1


def test_the_reduction_never_changes():
    matrix = image_recognition.reduction(384).numpy()
    assert matrix.T @ matrix == pytest.approx(np.eye(DIMENSIONS), abs=1e-5)
    assert matrix[0, :4] == pytest.approx(REDUCED, abs=1e-6)


def test_only_built_in_models_have_recognizers(catalogue: Catalogue):
    cards = {name: catalogue.get(name) for name in ("limner-flow", "limner-gan")}
    other = cards["limner-gan"].model_copy(update={"text_encoder": None})
    assert set(recognizers_of(cards | {"other": other})) == set(cards)
    assert recognizers_of({"other": other}) == {}


def test_a_presentation_names_what_a_picture_resembles_more_than_its_prompt(catalogue: Catalogue):
    _, spec = catalogue.resolve(JobRequest(description="a purple flower"))
    picture = np.zeros((64, 64, 3), np.uint8)
    words = Presenter(recognizers={spec.model: Recognizer([("hibiscus", 0.8)])})(spec, picture)
    assert words.endswith("To my eye it looks most like “hibiscus”.")
    assert "eye" not in Presenter(recognizers={spec.model: Recognizer([])})(spec, picture)
    assert "eye" not in presentation.by_rules(spec)


def test_a_picture_drawn_as_a_name_is_compared_with_it_and_presented_in_the_users_language(catalogue: Catalogue):
    _, spec = catalogue.resolve(JobRequest(description="zeichne eine lila Katze auf dem Sofa"))
    spec = spec.model_copy(update={"prompt": "lila Katze auf dem Sofa", "styles": ()})
    recognizer = Recognizer([])
    words = Presenter(recognizers={spec.model: recognizer})(spec, np.zeros((64, 64, 3), np.uint8), "cat")
    assert recognizer.asked == ["cat"]
    assert words == (
        "Hier ist dein Bild: cat in de. "
        "Alles in „lila Katze auf dem Sofa“ kennt das Modell nicht: "
        "Es hat nur dies gezeichnet und den Rest weggelassen."
    )


def test_a_presentation_survives_a_failed_recognition(catalogue: Catalogue):
    _, spec = catalogue.resolve(JobRequest(description="a purple flower"))
    picture, present = np.zeros((64, 64, 3), np.uint8), Presenter(recognizers={spec.model: Recognizer(None)})
    assert "a purple flower" in present(spec, picture)
    flower = Scene(objects=(SceneObject(said="flower", name="blossom", colour="purple"),))
    assert "a purple flower" in present(spec, picture, None, flower, [picture])


def test_things_of_a_scene_that_are_not_recognised_are_named_in_the_users_words(catalogue: Catalogue):
    _, spec = catalogue.resolve(JobRequest(description="eine blaue Katze und zwei Hunde"))
    cat = SceneObject(said="Katze", name="cat", colour="blue")
    scene = Scene(objects=(cat, SceneObject(said="Hunde", name="dog", count=2)))
    clear, unclear = np.full((64, 64, 3), 255, np.uint8), np.zeros((64, 64, 3), np.uint8)
    recognizer = Recognizer([])
    present = Presenter(recognizers={spec.model: recognizer})
    told = present(spec, clear, None, scene, [clear, clear, unclear])
    assert recognizer.asked == ["cat in any colour", "dog", "dog"]
    assert told.endswith("„Hunde“ ist vielleicht schwer zu erkennen.")
    assert "erkennen" not in present(spec, clear, None, scene, [clear, clear, clear])
    assert "erkennen" not in present(spec, clear, None, scene)  # of a checkpoint of an earlier release


def test_a_thing_is_recognised_by_its_form_in_any_colour(catalogue: Catalogue, look: EvaluatorRecognizer):
    rocket = cut_out(drawn(catalogue, "rocket").repeat(4, 0).repeat(4, 1))
    assert rocket is not None
    plain, green = alone(rocket), alone(recoloured(rocket, "green"))
    assert look.recognises(plain, "rocket", recoloured=False)
    assert look.recognises(green, "rocket", recoloured=True)
    assert not look.recognises(plain, "cat", recoloured=False)
    assert not look.recognises(green, "cat", recoloured=True)
