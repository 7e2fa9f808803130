"""The languages of the interpreter: one TOML file each in `languages/`, validated once, when this module is imported.

A language is added with a file; no code names a language except for English, the fallback. `language_schema` documents
the fields. A text is read by the rules of its own language; the names of styles may be English in any language.
"""

from __future__ import annotations

import tomllib
from importlib.resources import files
from operator import attrgetter
from typing import Final

from limner_worker.stages.interpretation.language_schema import Language

FALLBACK: Final = "en"
"""The language of texts whose language is unknown."""
NOTHING: Final = "(?!)"
"""A pattern that no text matches."""


def _load() -> tuple[Language, ...]:
    folder = files("limner_worker").joinpath("languages")
    texts = [file.read_text("utf-8") for file in folder.iterdir() if file.name.endswith(".toml")]
    return tuple(sorted((Language.model_validate(tomllib.loads(text)) for text in texts), key=lambda each: each.order))


LANGUAGES: Final = _load()
BY_CODE: Final = {language.code: language for language in LANGUAGES}


def words(field: str, *languages: Language) -> str:
    """Join an alternation of some languages, such as "style.word"; one that no text matches if it is empty."""
    return "|".join(filter(None, map(attrgetter(field), languages))) or NOTHING


def sources(field: str, *languages: Language) -> tuple[str, ...]:
    """Return the patterns of some languages in their order, such as "requests.tails"."""
    return tuple(source for language in languages for source in attrgetter(field)(language))
