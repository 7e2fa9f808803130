"""The languages of the interpreter: one TOML file each in `languages/`, validated once, when this module is imported.

A language is added with a file; no code names a language except for English, the fallback. `language_schema` documents
the fields. A text is read by the rules of its own language; the names of styles may be English in any language.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Final

from limner_worker import languages
from limner_worker.stages.interpretation.language.schema import Language

FALLBACK: Final = "en"
"""The language of texts whose language is unknown."""
NOTHING: Final = "(?!)"
"""A pattern that no text matches."""


LANGUAGES: Final = tuple(map(Language.model_validate, languages.read()))
BY_CODE: Final = {language.code: language for language in LANGUAGES}


def words(field: str, *some: Language) -> str:
    """Join an alternation of some languages, such as "style.word"; one that no text matches if it is empty."""
    return "|".join(filter(None, map(attrgetter(field), some))) or NOTHING


def sources(field: str, *some: Language) -> tuple[str, ...]:
    """Return the patterns of some languages in their order, such as "requests.tails"."""
    return tuple(source for language in some for source in attrgetter(field)(language))
