"""The language files of the interpreter: complete, valid, and the only place that names a language."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from limner_worker.stages.interpretation.language.detection import by_script, language_or_fallback
from limner_worker.stages.interpretation.language.files import BY_CODE, LANGUAGES
from limner_worker.stages.interpretation.language.schema import Changes, Language


def test_eleven_languages_are_loaded_in_their_order():
    codes = ["en", "de", "es", "fr", "pt", "it", "nl", "ru", "zh", "ja", "ko"]
    assert [language.code for language in LANGUAGES] == codes


def test_every_language_names_every_colour_and_counts_to_ten():
    for language in LANGUAGES:
        assert language.colours.keys() == BY_CODE["en"].colours.keys(), language.code
        assert set(range(1, 11)) <= set(language.numbers.values()), language.code


def test_presentations_use_only_the_known_placeholders():
    known = {"what": "a cat", "n": 2, "style": "flat", "without": "hat", "asked": "a cat", "name": "cat", "size": "9x9"}
    known |= {"words": "fluffy", "count": 1, "prompt": "a dog"}
    for language in LANGUAGES:
        assert all(phrase.format(**known) for phrase in language.phrases.model_dump().values())


@pytest.mark.parametrize("fields", [{"remove": ["("]}, {"undo": "["}, {"unknown": "x"}])
def test_a_damaged_pattern_or_an_unknown_field_is_refused(fields: dict[str, Any]):
    with pytest.raises(ValidationError):
        Changes.model_validate(fields)


def test_a_language_without_colours_is_refused():
    with pytest.raises(ValidationError, match="colours"):
        Language.model_validate(BY_CODE["de"].model_dump(by_alias=True, exclude={"colours"}))


@pytest.mark.parametrize(("text", "code"), [("赤い車", "ja"), ("红苹果", "zh"), ("빨간 사과", "ko"), ("красное", "ru")])
def test_a_script_tells_its_language(text: str, code: str):
    assert language_or_fallback(text).code == code
    written = by_script(text)
    assert written is not None
    assert written.code == code
