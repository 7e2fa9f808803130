"""What describes a thing in a prompt, by its kind: a colour, a material, or a pattern. No I/O."""

from __future__ import annotations

import re
from functools import cache

from limner_worker.languages import expression
from limner_worker.stages.interpretation.language.files import NOTHING
from limner_worker.stages.interpretation.language.schema import Language
from limner_worker.stages.interpretation.language.texts import Pattern


def kind_of(quality: str, language: Language) -> Pattern | None:
    """Return the pattern of all qualities of the kind of one; None if it is of no known kind."""
    return next((kind for kind in _kinds(language) if kind.search(quality)), None)


def is_quality(text: str, language: Language) -> bool:
    """Return whether a text is only a quality of a known kind."""
    return any(kind.fullmatch(text) for kind in _kinds(language))


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
