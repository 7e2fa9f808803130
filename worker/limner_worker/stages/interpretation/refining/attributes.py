"""What describes a thing in a prompt, by its kind: a colour, a material, or a pattern. No I/O."""

from __future__ import annotations

import re
from functools import cache
from typing import Final

from limner_worker.languages import expression
from limner_worker.stages.interpretation.language.files import NOTHING
from limner_worker.stages.interpretation.language.schema import Language
from limner_worker.stages.interpretation.language.texts import Pattern

_ARTICLE: Final = re.compile(r"(?<!\w)(a)n?\s+$", re.IGNORECASE)
_VOWEL: Final = re.compile("[aeiou]", re.IGNORECASE)
_BESIDE: Final = 2
"""The most words between a noun and the colour before it."""
_LAST_WORD: Final = re.compile(r"([^\s]+)\s+$")
_KOREAN: Final = re.compile("[가-힣]{1,4}(?<![와과랑의을를은는이가에도])")
"""A Korean word without a particle between a colour and a thing: "노란 유치원 버스"."""
_SIZED: Final = ("小", "大", "老", "旧", "新", "的小", "的大", "的老", "的旧", "的新")
"""What stands between a colour and a thing in Chinese, and describes it too."""


def kinds_of(quality: str, language: Language) -> list[Pattern]:
    """Return the patterns of all kinds that a quality is of, in Japanese also with の: "石"."""
    forms = (quality, f"{quality}の") if language.code == "ja" else (quality,)
    return [kind for kind in _kinds(language) if any(kind.search(form) for form in forms)]


def is_quality(text: str, language: Language) -> bool:
    """Return whether a text is only a quality of a known kind."""
    return any(kind.fullmatch(text) for kind in _kinds(language))


def qualities_in(text: str, language: Language) -> list[str]:
    """Return the qualities of a known kind in a text."""
    return [match.group() for kind in _kinds(language) for match in kind.finditer(text)]


def same_kind(quality: str, other: str, language: Language) -> bool:
    """Return whether two texts are qualities of one kind; in Japanese and Chinese also without の or 的."""
    ends = ("", "の", "的") if language.unspaced else ("",)
    return any(
        any(kind.fullmatch(f"{quality}{end}") for end in ends) and any(kind.fullmatch(f"{other}{end}") for end in ends)
        for kind in _kinds(language)
    )


def colours_of(language: Language) -> Pattern:
    """Return the pattern of all colours, also of those that are none of the basic ones."""
    return _kinds(language)[0]


def attribute_beside(prompt: str, language: Language, part: re.Match[str], kind: Pattern) -> re.Match[str] | None:
    """Return the quality of a kind that stands next to a part of a prompt."""
    return next((match for match in kind.finditer(prompt) if is_beside(prompt, language, match, part)), None)


def quality_next_to(thing: str, said: str, language: Language) -> str | None:
    """Return the quality of a known kind directly before or after a thing in a message; None if there is none."""
    if language.unspaced:
        return None
    for at in (match for kind in _kinds(language) for match in kind.finditer(said)):
        before, after = said[: at.start()].rstrip(), said[at.end() :].lstrip()
        if before.endswith(thing) or after.startswith(thing):
            return at.group()
    return None


def place_before(prompt: str, noun: re.Match[str], language: Language) -> int:
    """Return where a colour stands before a noun: after its article and what says how it is, before what it is made of
    and, in English, other nouns: "an old [red] wooden pickup truck".
    """
    some, at = language.connectives, noun.start()
    small = "|".join(filter(None, (some.articles, some.indefinite, some.determiners, some.qualities, some.places)))
    for _ in range(_BESIDE):
        word = _LAST_WORD.search(prompt, 0, at)
        if word is None or not (_is_material(word[1], language) or _is_adjunct(word, small, language)):
            break
        at = word.start()
    return at


def _is_material(word: str, language: Language) -> bool:
    return _kinds(language)[1].fullmatch(word) is not None


def _is_adjunct(word: re.Match[str], small: str, language: Language) -> bool:
    """Return whether a word behind an English article is the first of two nouns: "pickup" of "a pickup truck"."""
    if language.code != "en" or not word[1].isalpha() or re.fullmatch(small, word[1], re.IGNORECASE):
        return False
    return _is_led(word.string[: word.start()], small)


def _is_led(left: str, small: str) -> bool:
    """Return whether a text ends with an article or such an adjective."""
    return re.search(rf"(?<!\w)(?:{small})\s+$", left, re.IGNORECASE) is not None


def with_article(left: str, word: str, language: Language) -> str:
    """Return a text and a word after it, with the English article that its sound asks for."""
    if language.code == "en":
        left = _ARTICLE.sub(lambda match: f"{match[1]}{'n' if _VOWEL.match(word) else ''} ", left)
    return f"{left}{word}"


def is_beside(prompt: str, language: Language, match: re.Match[str], part: re.Match[str]) -> bool:
    """Return whether a quality stands next to a part of a prompt, or before words that describe this too."""
    first, second = sorted((match.span(), part.span()))
    between = prompt[first[1] : second[0]].strip()
    return first[1] <= second[0] and (not between or _describes(between, language))


def _describes(words: str, language: Language) -> bool:
    """Return whether words between a colour and a thing describe it: "a yellow rowing boat"."""
    joins = language.connectives
    if language.colour_after and re.fullmatch(rf"(?:{joins.made_of or NOTHING})\s[^\W\d_]+", words, re.IGNORECASE):
        return True  # "un sweat à capuche noir"
    if (language.code == "zh" and words in _SIZED) or (language.code == "ko" and _KOREAN.fullmatch(words)):
        return True
    small = rf"{joins.places or NOTHING}|{joins.and_ or NOTHING}|{joins.accompaniments or NOTHING}|{joins.indefinite}"
    return (
        not language.unspaced
        and not language.colour_after
        and re.fullmatch(rf"(?!(?:{small})$)[^\W\d]+(?:-[^\W\d]+)*", words, re.IGNORECASE) is not None
    )


@cache
def _kinds(language: Language) -> tuple[Pattern, ...]:
    """Return the patterns of colours, with compounds in German ("hellblau"), of materials and of patterns."""
    some = language.attributes
    compounds = [rf"\w{{2,}}(?:{each})" for each in language.colours.values()] if language.noun_capitals else []
    return tuple(
        _whole("|".join(alternatives), language)
        for alternatives in (
            (some.colours, *language.colours.values(), *compounds),
            (some.materials,),
            (some.patterns,),
        )
    )


def _whole(alternatives: str, language: Language) -> Pattern:
    """Return the pattern of whole words; in Korean particles may follow, and in Chinese and Japanese all may."""
    if language.code == "ko":
        return expression(rf"(?<![가-힣])(?:{alternatives})")
    return expression(alternatives if language.unspaced else rf"(?<!\w)(?:{alternatives})(?!\w)")
