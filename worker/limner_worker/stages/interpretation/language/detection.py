"""The language of a text: by its script, else by its small words and letters together with `py3langid`. No I/O."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any, Final, cast

from py3langid.langid import MODEL_FILE, LanguageIdentifier

from limner_worker.stages.interpretation.language.files import BY_CODE, FALLBACK, LANGUAGES
from limner_worker.stages.interpretation.language.schema import Language

SHARE: Final = 0.3
"""The least share of a text's letters that a script needs to decide the language; foreign words may be quoted."""
READ: Final = 600
"""The characters that are looked at."""
MARK: Final = 2.0
"""What a small word counts, in natural logarithms of the identifier's probability."""
SPOKEN: Final = 4.0
"""What it counts that a conversation was in a language before: as much as two small words."""
LEAST: Final = 1e-4
"""The least probability: on short texts the identifier is often certain and wrong."""
SHORT: Final = 4
"""The most words of a text whose language may be a likely one, on which the identifier is not asked."""
Named = Mapping[str, Collection[str]]
"""The languages of names of things, by name in small letters and without an article."""
NO_NAMES: Final[Named] = MappingProxyType({})
_SMALL_WORDS: Final = {each.code: frozenset(each.small_words.split()) for each in LANGUAGES if each.script is None}
_LETTERS: Final = {each.code: each.letters for each in LANGUAGES if each.script is None}
_WORD: Final = re.compile(r"(?<!\w)[^\W\d_]+(?!\w)")


def by_script(text: str) -> Language | None:
    """Return the language whose script a considerable part of the text has; None for Latin and unknown scripts."""
    letters = [character for character in text[:READ] if character.isalpha()]
    scripts = [(language.script.rank, language) for language in LANGUAGES if language.script is not None]
    ranked = [language for _, language in sorted(scripts, key=lambda each: each[0])]
    foreign = [each for each in letters if any(one.script and one.script.occurs_in(each) for one in ranked)]
    if not letters or len(foreign) < SHARE * len(letters):
        return None
    joined = "".join(foreign)
    return next((each for each in ranked if each.script is not None and each.script.occurs_in(joined)), None)


def language_of(
    text: str, likely: Sequence[str] = (), named: Named = NO_NAMES, *, spoken: str | None = None
) -> str | None:
    """Return the code of a text's language; None if nothing in it identifies one.

    The identifier is often certain and wrong about a short text. One that is a name is in a language that has it
    (`named`), and where nothing speaks for another one, a short text is in the first of the `likely` languages. A
    conversation that has been in a language (`spoken`) probably still is.
    """
    written = by_script(text)
    if written is not None:
        return written.code
    lower = text[:READ].lower()
    likely = (*likely, spoken) if spoken is not None else likely
    words = _WORD.findall(lower)
    if not words:
        return None
    marks = _marks(lower, words, named)
    having = {*named.get(" ".join(words), ()), *named.get(" ".join(words[1:]), ())}
    among = [code for code in marks if code in having] or [*marks]
    most = max(marks[code] for code in among)
    first = next((code for code in likely if code in among and marks[code] == most), None)
    if first is not None and len(words) <= SHORT:
        return first
    if FALLBACK in having and not any(marks[code] > marks[FALLBACK] for code in among):
        return FALLBACK
    if not most and len(words) == 1:
        return None
    ranked: dict[str, float] = dict(load_identifier().rank(lower))

    def rated(code: str) -> float:
        expected = SPOKEN if code == spoken else 0.0
        return MARK * marks[code] + expected + math.log(max(ranked.get(code, 0.0), LEAST))

    return max(among, key=rated)


def sure_language(text: str) -> str | None:
    """Return the code of a text's language, if it has words enough to tell."""
    return language_of(text) if len(text.split()) >= SHORT or by_script(text) is not None else None


def language_or_fallback(text: str, spoken: str | None = None) -> Language:
    """Return the language of a text, or English."""
    return BY_CODE[language_of(text, spoken=spoken) or FALLBACK]


def _marks(lower: str, words: Sequence[str], named: Named) -> dict[str, float]:
    """Return how much speaks for each language in Latin script: its small words and letters, and its names."""
    marks = {code: float(sum(word in known for word in words)) for code, known in _SMALL_WORDS.items()}
    for code, letters in _LETTERS.items():
        marks[code] += 2 * sum(lower.count(letter) for letter in letters)
    for word in words:
        for code in named.get(word, ()):
            marks[code] = marks.get(code, 0.0) + 1
    return {code: marks[code] for code in _SMALL_WORDS}


@cache
def load_identifier() -> Any:
    """Return the identifier, which is loaded once, in half a second, for the languages that it shares with us."""
    identifier = cast("Any", LanguageIdentifier).from_model_file(MODEL_FILE, norm_probs=True)
    known = set(identifier.labels)
    identifier.set_languages([code for code in _SMALL_WORDS if code in known])
    return identifier
