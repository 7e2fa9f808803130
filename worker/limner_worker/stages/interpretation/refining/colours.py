"""Colours: the one that a text names, and prompts with another one. No I/O."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from limner_worker.languages import expression
from limner_worker.stages.interpretation.language.declension import in_form_of
from limner_worker.stages.interpretation.language.detection import by_script, language_of
from limner_worker.stages.interpretation.language.files import BY_CODE, FALLBACK, LANGUAGES, NOTHING
from limner_worker.stages.interpretation.language.schema import Colour, Language
from limner_worker.stages.interpretation.language.texts import WIDE, Pattern
from limner_worker.stages.interpretation.refining.attributes import (
    attribute_beside,
    colours_of,
    is_beside,
    place_before,
    with_article,
)
from limner_worker.stages.interpretation.refining.endings import BARE, ENDING, ending_after

ColourMatch = tuple[Language, Colour, re.Match[str]]


class Shade(NamedTuple):
    """How a colour is said, beside its word."""

    before: str = ""
    after: str = ""
    """What stands before and after the word: "dark ", "dunkel", " foncé"."""
    whole: str = ""
    """In scripts without spaces, all that is said: "深緑の"."""


_PLAIN: Final = Shade()


def _colour_pattern(language: Language, source: str) -> Pattern:
    base, _, others = source.partition("|")
    longest_first = f"{others}|{base}" if others else base
    bounds = ("", "") if language.unspaced else (r"(?<!\w)", r"(?!\w)")
    return expression(f"{bounds[0]}({longest_first}){bounds[1]}")


_COLOURS: Final[list[tuple[Language, Colour, Pattern]]] = [
    (language, colour, _colour_pattern(language, source))
    for language in LANGUAGES
    for colour, source in language.colours.items()
]
ATTRIBUTE: Final = re.compile("[いなの]$")
"""Endings of Japanese words that may stand before a noun."""
_KOREAN_COLOUR: Final = "색"
"""The word for a colour, which its name may end with."""
_STEM: Final = 3
"""The letters by which the forms of a colour's word are known."""
_DOUBLED: Final = re.compile(r"(\w)\1")
_TELLING: Final = 4
"""The fewest letters of a colour that tells a prompt's language."""
_FIRST: Final = 2
"""The most words before a quality of what a prompt shows first."""
_ARTICLE: Final = expression(r"(an?|the) (?=\w)")
"""English articles: a prompt that begins with one is English, and takes the colour after it."""


def colour_in(text: str, language: Language | None = None) -> ColourMatch | None:
    """Return the language, the colour and the match of the first colour in a text, in one language or in any."""
    hits: list[tuple[int, int, ColourMatch]] = [
        (match.start(), -match.end(), (each, colour, match))
        for each, colour, pattern in _COLOURS
        if language in (None, each) and (match := pattern.search(text))
    ]
    return min(hits, key=lambda hit: hit[:2])[2] if hits else None


def shade_in(text: str, language: Language) -> tuple[Colour, Shade] | None:
    """Return the colour that a text names, and how; a word may end with it ("dunkelblau")."""
    found = colour_in(text, language)
    if found is not None and language.unspaced:
        joins = "の" if language.code == "ja" and not ATTRIBUTE.search(text) else ""
        bare = language.code in ("ja", "ko") and found[2].group() == text
        return found[1], _PLAIN if bare else Shade(whole=f"{text}{joins}")
    base = "" if found is None else language.colours[found[1]].split("|")[0]
    if found is not None and _stem(found[2].group()) == _stem(base):  # "azzurra" is no form of "blu"
        before = " ".join(each for each in text[: found[2].start()].split(" ") if not _is_small(each, language))
        return found[1], Shade(before, text[found[2].end() :])
    for colour, source in language.colours.items():
        if match := expression(rf"^(\w+)(?:{source})$").search(text):
            return colour, Shade(match[1])
    return None


def _stem(word: str) -> str:
    """Return the letters by which the forms of a colour's word are known: "rood", "rode"."""
    return _DOUBLED.sub(r"\1", word.lower())[:_STEM]


def _is_small(word: str, language: Language) -> bool:
    """Return whether a word before a colour does not describe it: "in blue", "una roja"."""
    small = rf"{language.style.introductions or NOTHING}|{language.connectives.indefinite or NOTHING}"
    return re.fullmatch(rf"(?:{small}|{language.connectives.articles or NOTHING})", word, re.IGNORECASE) is not None


def coloured(prompt: str, language: Language, colour: Colour, shade: Shade = _PLAIN) -> str:
    """Return the prompt with its first colour replaced, or with the colour added, in the prompt's language."""
    own = _language_of(prompt, language)
    shade = shade if own is language else _PLAIN
    there = colour_in(prompt, own)
    if there is not None:
        word = _shaded(_replacing(there, colour, prompt), shade)
        return f"{prompt[: there[2].start()]}{word}{prompt[there[2].end() :]}"
    word = own.colours[colour].split("|")[0]
    other = colours_of(own).search(prompt)
    if other is not None and len(prompt[: other.start()].split()) <= _FIRST:
        return _instead(prompt, other, own, word, shade)
    if own.unspaced:
        measure = re.match(own.measure, prompt) if own.measure else None
        at = 0 if measure is None else measure.end()
        space = " " if "\uac00" <= word[0] <= "\ud7af" else ""
        return f"{prompt[:at]}{_shaded(word, shade)}{space}{prompt[at:]}"
    return _beside_noun(prompt, own, word, shade)


def part_coloured(prompt: str, part: str, language: Language, colour: Colour, shade: Shade = _PLAIN) -> str:
    """Return the prompt with another colour for a part of what it names."""
    own = _language_of(prompt, language)
    shade = shade if own is language else _PLAIN
    word = own.colours[colour].split("|")[0]
    at = re.search(re.escape(part), prompt, re.IGNORECASE)
    if at is None:
        return f"{prompt}, {_shaded(word, shade)} {part}"
    there = colour_beside(prompt, own, at)
    if there is not None:
        word = _shaded(_replacing(there, colour, prompt), shade)
        return f"{prompt[: there[2].start()]}{word}{prompt[there[2].end() :]}"
    if (other := attribute_beside(prompt, own, at, colours_of(own))) is not None:
        return _instead(prompt, other, own, word, shade)
    place = at.start() if own.colour_after or own.unspaced else place_before(prompt, at, own)
    left, right = prompt[:place], prompt[place:]
    if not own.colour_after:
        word = _agreeing(own, word, left.split()[-1:], at.group())
    if own.colour_endings and word not in own.indeclinable.split() and BARE.fullmatch(word):
        word = f"{word}{ending_after(left)}"
    if own.colour_after:
        return f"{prompt[: at.end()]} {_shaded(_agreeing(own, word, left.split()[-1:]), shade)}{prompt[at.end() :]}"
    space = "" if word[-1] >= WIDE and not "가" <= word[-1] <= "힣" else " "
    return f"{with_article(left, _shaded(word, shade), own)}{space}{right}"


def colour_beside(prompt: str, language: Language, part: re.Match[str]) -> ColourMatch | None:
    """Return the colour that stands next to a part of a prompt, on the side where the language has it."""
    for each, colour, pattern in _COLOURS:
        for match in pattern.finditer(prompt) if each is language else ():
            if is_beside(prompt, language, match, part):
                return each, colour, match
    return None


def _instead(prompt: str, other: re.Match[str], language: Language, word: str, shade: Shade) -> str:
    """Return a prompt with a basic colour in the place of another quality."""
    left, right = prompt[: other.start()], prompt[other.end() :]
    ending = ENDING.search(other.group()) if language.colour_endings else None
    if ending is not None and word not in language.indeclinable.split():
        form = f"{word}{ending.group()}"
    elif language.unspaced:
        form = _unspaced_like(word, other.group())
    elif language.cases:
        form = in_form_of(word, other.group())
    elif _is_feminine(other.group(), language):
        form = language.attributive.get(word, word)
    else:
        form = _agreeing(language, word, left.split()[-1:])
    return f"{left}{_shaded(form, shade)}{right}"


def _is_feminine(quality: str, language: Language) -> bool:
    """Return whether a quality has the ending of an adjective in the feminine: "dorée"."""
    gender = language.gender
    return gender is not None and quality.endswith(tuple((gender.endings | gender.nearest).values()))


def _replacing(there: ColourMatch, colour: Colour, prompt: str) -> str:
    """Return a colour's word in the form of the colour that it replaces."""
    language, _, match = there
    old, word = match.group(), language.colours[colour].split("|")[0]
    base = language.colours[there[1]].split("|")[0]
    if word in language.indeclinable.split():
        return word
    if language.unspaced:
        return _unspaced_like(word, old)
    if language.colour_after:
        return _after_noun(there, word, prompt[: match.start()].split())
    if language.colour_endings and old.lower().startswith(base):
        return f"{word}{old[len(base) :]}"
    if language.cases:
        return in_form_of(word, old)
    return language.attributive.get(word, word) if old.lower() in language.attributive.values() else word


def _after_noun(there: ColourMatch, word: str, before: list[str]) -> str:
    """Return a colour's word in the gender of the noun before it, by the old word, an article, or the noun itself."""
    language, _, match = there
    old, base = match.group().lower(), language.colours[there[1]].split("|")[0]
    if old == base and _has_feminine(base, language.colours[there[1]]):
        return word
    feminine = language.attributive.get(word, word)
    if old in language.attributive.values():
        return feminine
    small = language.connectives
    article = expression(rf"(?:{small.indefinite or NOTHING}|{small.articles or NOTHING})")
    leads = expression(language.scenes.accompaniments or NOTHING)
    led = next((at for at in range(len(before) - 1, -1, -1) if leads.fullmatch(before[at])), -1)
    articles = [each for each in before[led + 1 :] if article.fullmatch(each)]  # "un oso con una bufanda verde"
    if led >= 0 and not articles:  # "una capilla con tejado gris"
        return feminine if before[-1].endswith(("a", "as")) else word
    return _agreeing(language, word, articles[-1:] or before[:1])


def _has_feminine(base: str, forms: str) -> bool:
    """Return whether a colour's word has another form in the feminine: "verde" and "rose" have none."""
    return base.endswith("o") or any(each in forms.split("|") for each in (f"{base}e", f"{base}he", f"{base}te"))


def _unspaced_like(word: str, old: str) -> str:
    """Return a colour's word with the ending of the one that it replaces, in Chinese, Japanese or Korean."""
    if word.endswith("的") and not old.endswith("的"):
        return word.removesuffix("的") if len(old) > 1 else word[:1]  # "红伞"
    return f"{word}{_KOREAN_COLOUR}" if old.endswith(_KOREAN_COLOUR) and not word.endswith(_KOREAN_COLOUR) else word


def _agreeing(language: Language, word: str, articles: list[str], noun: str = "") -> str:
    """Return the form of a colour's word after an article, and before a noun."""
    article = articles[0] if articles else ""
    if noun and language.neuter and re.search(rf"(?:{language.neuter}|je)$", noun, re.IGNORECASE) is None:
        return language.attributive.get(word, word)
    if language.attributive_articles and re.fullmatch(language.attributive_articles, article, re.IGNORECASE):
        return language.attributive.get(word, word)
    if language.oblique_articles and re.fullmatch(language.oblique_articles, article, re.IGNORECASE):
        form = language.attributive.get(word)
        return word if form is None else f"{form}{language.oblique_ending}"
    return word


def _shaded(word: str, shade: Shade) -> str:
    """Return a colour's word as it is said; in Chinese with 的 only if the word has it."""
    if not shade.whole:
        return f"{shade.before}{word}{shade.after}"
    return shade.whole.removesuffix("的") + ("的" if word.endswith("的") else "")


def _beside_noun(prompt: str, language: Language, word: str, shade: Shade) -> str:
    """Return a prompt without a colour with one: beside its noun if it is the only word, else at the end."""
    article = _ARTICLE.match(prompt)
    if language.code == FALLBACK and article is not None:
        said = _shaded(word, shade)
        first = "an" if said == "orange" else "a"
        return f"{first if article[1].lower() != 'the' else article[1]} {said} {prompt[article.end() :]}"
    parts = prompt.split()
    if language.code == FALLBACK:
        return f"{_shaded(word, shade)} {prompt}"
    if language.cases and len(parts) == 1:
        return f"{_shaded(_agreeing(language, word, parts), shade)} {prompt}"
    if len(parts) == len(("article", "noun")):
        form = _agreeing(language, word, parts[:1])
        if language.colour_after:
            return f"{prompt} {_shaded(form, shade)}"
        if form != word:
            return f"{parts[0]} {_shaded(form, shade)} {parts[1]}"
    return f"{prompt}, {_shaded(word, shade)}"


def _shares_script(written: Language, language: Language) -> bool:
    """Return whether a text in the script of a language may be in another one, which has a script of its own too.

    Chinese characters alone may be Japanese, which is known by its kana.
    """
    return language.unspaced and language.code in written.also_written_by


def _is_base(colour: ColourMatch) -> bool:
    """Return whether a colour's word is more than an ending away from none: words of a few letters are in many."""
    return len(colour[2].group()) >= _TELLING


def _language_of(prompt: str, language: Language) -> Language:
    """Return the language of a prompt: that of its script or words, else of the message."""
    written = by_script(prompt)
    if written is not None:
        return language if _shares_script(written, language) else written
    if _ARTICLE.match(prompt):
        return BY_CODE[FALLBACK]
    there = colour_in(prompt, language)
    if there is not None and _is_base(there):  # "un drago verde su una roccia" may be Spanish too, by its small words
        return language
    known = language_of(prompt, [language.code])
    if known is not None:
        return BY_CODE[known]
    return language if language.script is None else BY_CODE[FALLBACK]
