"""Prompts with emoji are drawn as what the emoji show, also where no description is interpreted."""

from __future__ import annotations

from pathlib import Path

import pytest

import limner_worker
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import JobRequest, JobSpec
from limner_shared.domain.scenes import Scene, SceneRule
from limner_worker.generators.builtin.known_names import KnownNames
from limner_worker.generators.builtin.prompt_reading import PromptReader
from limner_worker.generators.builtin.scenes.reading import SceneReader
from limner_worker.generators.text_encoding.sentence_encoder import TextEncoder

TEXT = Path(limner_worker.__file__).parent / "models" / "limner-text"


@pytest.fixture(scope="module")
def reader() -> PromptReader:
    return PromptReader(KnownNames(TEXT), TextEncoder(TEXT).encode)


def spec(prompt: str) -> JobSpec:
    return Catalogue.load([], "limner-flow").get(None).resolve(JobRequest(prompt=prompt))


@pytest.mark.parametrize("prompt", ["🍎", "🚗", "❤️", "🐶"])
def test_a_prompt_of_one_emoji_is_drawn_as_its_name(reader: PromptReader, prompt: str) -> None:
    found = reader.read(spec(prompt), 16)
    assert (found.drawn_as, found.scene) == (None, None)


def test_a_prompt_of_several_emoji_is_a_scene_of_them(reader: PromptReader) -> None:
    scene = reader.read(spec("🍎🍌"), 16).scene
    assert scene is not None
    assert [each.name for each in scene.objects] == ["red apple", "banana"]


def test_a_prompt_is_read_once_for_all_images_of_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str] = []
    read = SceneReader.read

    def counted(self: SceneReader, text: str, rule: SceneRule) -> Scene | None:
        texts.append(text)
        return read(self, text, rule)

    monkeypatch.setattr(SceneReader, "read", counted)
    reader = PromptReader(KnownNames(TEXT), TextEncoder(TEXT).encode)
    scenes = [reader.scene(spec("three red apples and two bananas"), 16) for _ in range(64)]
    assert len(texts) == 1
    assert scenes == [reader.read(spec("three red apples and two bananas"), 16).scene] * 64
    assert reader.scene(spec("three red apples and two bananas"), 2) != scenes[0]


@pytest.mark.parametrize("most", [1, 2, 4, 16])
@pytest.mark.parametrize("prompt", ["six red apples", "three red apples and two bananas"])
def test_a_scene_has_no_more_drawings_than_the_model_draws_at_once(
    reader: PromptReader, prompt: str, most: int
) -> None:
    scene = reader.read(spec(prompt), most).scene
    if scene is None:
        assert most < 2, "there are more things than drawings: the prompt is drawn as a whole"
    else:
        assert sum(scene.drawings) == min(most, 6 if prompt.startswith("six") else 5)
