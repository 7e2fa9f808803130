"""What the evaluator recognizes in a picture appears in its presentation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.evaluators import Judging
from tests.fake_llm import fake_llm

from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.embeddings import DIMENSIONS, VECTOR_BYTES, VECTOR_TYPE
from limner_shared.domain.jobs import JobRequest, JobSpec
from limner_shared.domain.recognitions import Recognition
from limner_shared.domain.scenes import Scene, SceneObject
from limner_shared.settings import Settings
from limner_worker.generators.base import ImageTask, pictures_of
from limner_worker.generators.builtin.known_names import save_names
from limner_worker.generators.builtin.scenes.colouring import recoloured
from limner_worker.generators.builtin.scenes.cutouts import cut_out
from limner_worker.generators.builtin.scenes.drawing import alone
from limner_worker.generators.registry import load
from limner_worker.networks.weights import SHIPPED, WeightsError
from limner_worker.stages.interpretation.chat_client import ChatClient
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
    return pictures_of(model.decode(states))[0]


class Recognizer(Judging):
    """A recognizer with the methods that presentations do not need, which answers in the language of a description."""

    def language_for(self, spec: JobSpec) -> str:
        return presentation.language_for(spec)

    def names_of(self, picture: np.ndarray) -> list[tuple[str, float]]:
        raise NotImplementedError

    def known_names(self) -> dict[str, list[str]]:
        return {}

    def read(self, spec: JobSpec, most: int) -> tuple[str | None, Scene | None]:
        raise NotImplementedError


def spec_of(catalogue: Catalogue, prompt: str) -> JobSpec:
    return catalogue.resolve(JobRequest(prompt=prompt, model="limner-gan"))[1]


@pytest.fixture(scope="module")
def look() -> EvaluatorRecognizer:
    return EvaluatorRecognizer(TEXT)


@pytest.mark.parametrize(("drawing", "asked"), [("red apple", "automobile"), ("rocket", "cat"), ("pizza", "house")])
def test_a_picture_that_does_not_show_its_prompt_is_recognised_as_what_it_shows(
    catalogue: Catalogue, look: EvaluatorRecognizer, drawing: str, asked: str
):
    [seen] = look.look([drawn(catalogue, drawing)])
    assert look.recognises(seen, drawing)
    assert not look.recognises(seen, asked)
    assert drawing in look.resembled(seen, asked)


@pytest.mark.parametrize("prompt", ["red apple", "a rocket", "ein roter Apfel", "披萨"])
def test_a_picture_that_shows_its_prompt_is_recognised(catalogue: Catalogue, look: EvaluatorRecognizer, prompt: str):
    [seen] = look.look([drawn(catalogue, prompt)])
    subject = look.subject(spec_of(catalogue, prompt))
    assert subject is not None
    assert look.recognises(seen, subject)
    assert look.resembled(seen, subject) == []


@pytest.mark.parametrize("prompt", ["basket", "kite"])
def test_a_blot_that_has_its_name_as_the_nearest_is_known_by_the_drawing(
    catalogue: Catalogue, look: EvaluatorRecognizer, prompt: str
):
    [blot, right] = look.look([drawn(catalogue, prompt, "noto-v1"), drawn(catalogue, "rocket", "noto-v1")])
    assert look.recognises(blot, prompt)
    assert not look.recognises(blot, prompt, "noto-v1")
    assert look.recognises(right, "rocket", "noto-v1")


@pytest.mark.parametrize("style", ["flat", "3d"])
def test_a_drawing_of_a_name_that_means_nearly_the_same_counts(
    catalogue: Catalogue, look: EvaluatorRecognizer, style: str
):
    """The styles' drawings of "cat" are of the whole animal."""
    [face, fox] = look.look([drawn(catalogue, "cat face", style), drawn(catalogue, "fox", style)])
    assert look.recognises(face, "cat", style)
    assert not look.recognises(face, "fox", style)
    assert not look.recognises(fox, "cat", style)


def test_where_no_drawing_is_known_the_names_decide(catalogue: Catalogue, look: EvaluatorRecognizer):
    [blot] = look.look([drawn(catalogue, "basket", "noto-v1")])
    assert look.nearness(blot, "basket", "oil") is None
    assert look.nearness(blot, "blue car", "noto") is None  # a caption, of which there is no drawing of its own
    assert look.recognises(blot, "basket", "oil")


@pytest.mark.parametrize("plain", [False, True])
def test_noise_and_an_empty_picture_are_not_recognised_and_look_like_nothing(look: EvaluatorRecognizer, plain: bool):
    noise = np.random.default_rng(0).integers(0, 1 if plain else 256, (256, 256, 3), dtype=np.uint8)
    [seen] = look.look([noise])
    for name in ("cat", "black large square", "white large square"):
        assert not look.recognises(seen, name)
        assert not look.recognises(seen, name, "noto")
        assert look.resembled(seen, name) == []


@pytest.mark.parametrize("prompt", ["Ghost.", "ein Geist", "👻", "gespenst"])
def test_the_subject_of_a_prompt_is_the_name_that_is_drawn_of_it(
    catalogue: Catalogue, look: EvaluatorRecognizer, prompt: str
):
    assert look.subject(spec_of(catalogue, prompt)) == "ghost"


def test_a_prompt_that_is_drawn_as_it_is_and_means_no_name_has_no_subject(
    catalogue: Catalogue, look: EvaluatorRecognizer
):
    as_it_is = {"nearest_name": None}
    assert look.subject(spec_of(catalogue, "quantum entanglement").model_copy(update=as_it_is)) is None
    assert look.subject(spec_of(catalogue, "ghost").model_copy(update=as_it_is)) == "ghost"


def test_names_near_in_meaning_are_offered_in_the_language_of_the_words(look: EvaluatorRecognizer):
    assert look.neighbours("fortune cookie", "en") == ["cookie"]
    assert look.neighbours("fortune cookie", "de") == ["keks"]
    assert look.neighbours("ledger", "en") == []


@pytest.mark.parametrize(
    ("prompt", "language"), [("woman elf", "en"), ("Gespenst", "de"), ("ein Geist", "de"), ("お化け", "ja")]
)
def test_a_prompt_that_is_a_name_tells_its_language(
    catalogue: Catalogue, look: EvaluatorRecognizer, prompt: str, language: str
):
    assert look.language_for(spec_of(catalogue, prompt)) == language


def test_a_folder_without_names_is_refused(tmp_path: Path):
    for name in ("tower.safetensors", "head.safetensors"):
        (tmp_path / name).symlink_to(TEXT / name)
    with pytest.raises(WeightsError, match="not a names file"):
        EvaluatorRecognizer(tmp_path)
    save_names(["a", "b"], torch.eye(2, 384), tmp_path)
    assert EvaluatorRecognizer(tmp_path).names_of(np.zeros((64, 64, 3), np.uint8)) == []


def test_vectors_of_pictures_of_one_thing_are_nearest_at_any_size(look: EvaluatorRecognizer, catalogue: Catalogue):
    things = ("red apple", "rocket", "pizza")
    pictures = [drawn(catalogue, thing, style) for style in ("noto", "flat") for thing in things]
    pictures[0] = pictures[0].repeat(4, 0).repeat(4, 1)
    found = [each.embedding for each in look.look(pictures)]
    assert {len(each.vector) for each in found} == {VECTOR_BYTES}
    vectors = np.stack([np.frombuffer(each.vector, VECTOR_TYPE).astype(np.float32) for each in found])
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(6), abs=1e-3)
    assert (vectors[:3] @ vectors[3:].T).argmax(1).tolist() == [0, 1, 2]
    assert [each.embedding for each in look.look(pictures)] == found
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


UNCLEAR = Recognition(recognised=False, unclear=("a purple flower",), looks_like=("hibiscus",), nearer=("rose",))
CLEAR = Recognition(recognised=True)


def test_a_presentation_says_what_is_not_recognised_what_it_resembles_and_what_may_work_better(catalogue: Catalogue):
    _, spec = catalogue.resolve(JobRequest(description="a purple flower"))
    assert Presenter()(spec, None, None, [UNCLEAR]) == (
        "Here is your picture: a purple flower, in the noto style. “a purple flower” may be hard to recognise. "
        "To my eye it looks most like “hibiscus”. “rose” may work better."
    ).replace("noto", spec.common_style or "")
    plain = presentation.by_rules(spec)
    assert Presenter()(spec, None, None, [CLEAR]) == Presenter()(spec, None, None, [None]) == plain


def test_a_presentation_says_in_how_many_pictures_something_is_not_recognised(catalogue: Catalogue):
    _, spec = catalogue.resolve(JobRequest(description="a purple flower", n=4))
    told = Presenter()(spec, None, None, [CLEAR, CLEAR, UNCLEAR, CLEAR]) or ""
    assert "“a purple flower” may be hard to recognise in 1 of 4 pictures." in told
    assert "hibiscus" not in told, "the other pictures do not look like it"
    both = Presenter()(spec, None, None, [UNCLEAR] * 4) or ""
    assert "“a purple flower” may be hard to recognise. " in both


def test_a_picture_drawn_as_a_name_is_presented_in_the_users_language(catalogue: Catalogue):
    _, spec = catalogue.resolve(JobRequest(description="zeichne eine lila Katze auf dem Sofa"))
    spec = spec.model_copy(update={"prompt": "lila Katze auf dem Sofa", "styles": ()})
    words = Presenter(recognizers={spec.model: Recognizer()})(spec, "cat")
    assert words == (
        "Hier ist dein Bild: cat in de. "
        "Alles in „lila Katze auf dem Sofa“ kennt das Modell nicht: "
        "Es hat nur dies gezeichnet und den Rest weggelassen."
    )


def test_things_of_a_scene_that_are_not_recognised_are_named_in_the_users_words(catalogue: Catalogue):
    _, spec = catalogue.resolve(JobRequest(description="eine blaue Katze und zwei Hunde"))
    cat = SceneObject(said="Katze", name="cat", colour="blue")
    scene = Scene(objects=(cat, SceneObject(said="Hunde", name="dog", count=2)))
    told = Presenter()(spec, None, scene, [Recognition(recognised=False, unclear=("Hunde",))]) or ""
    assert told.endswith("„Hunde“ ist vielleicht schwer zu erkennen.")
    assert "erkennen" not in (Presenter()(spec, None, scene, [CLEAR]) or "")


def test_the_language_models_server_gets_what_is_not_recognised_and_what_may_work_better(catalogue: Catalogue):
    _, spec = catalogue.resolve(JobRequest(description="a purple flower", n=2))
    with fake_llm(lambda _: {"content": "Two flowers."}) as server:
        presenter = Presenter(ChatClient(server.url, "m"))
        assert presenter(spec, None, None, [CLEAR, UNCLEAR]) == "Two flowers."
    facts = server.asked[0]["messages"][1]["content"]
    assert "may be hard to recognise: a purple flower (in 1 of the pictures)" in facts
    assert "prompts that may work better: rose" in facts
    assert "looks more like" not in facts


def test_a_thing_is_recognised_by_its_form_in_any_colour(catalogue: Catalogue, look: EvaluatorRecognizer):
    rocket = cut_out(drawn(catalogue, "rocket").repeat(4, 0).repeat(4, 1))
    assert rocket is not None
    plain, green = alone(rocket), alone(recoloured(rocket, "green"))
    assert look.likeness(plain, "rocket", recoloured=False).recognised
    assert look.likeness(green, "rocket", recoloured=True).recognised
    assert not look.likeness(plain, "cat", recoloured=False).recognised
    assert not look.likeness(green, "cat", recoloured=True).recognised
