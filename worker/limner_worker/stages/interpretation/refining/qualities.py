"""Gives a thing of a prompt a quality that is no basic colour: "golden", "of oak", "striped". No I/O."""

from __future__ import annotations

import re
from typing import Final

from limner_worker.stages.interpretation.language.declension import agreeing
from limner_worker.stages.interpretation.language.schema import Language
from limner_worker.stages.interpretation.language.texts import HANGUL
from limner_worker.stages.interpretation.refining.attributes import attribute_beside, colours_of, kind_of
from limner_worker.stages.interpretation.refining.change import Change
from limner_worker.stages.interpretation.refining.colours import ATTRIBUTE, ENDING

_LONGEST_PREPOSITION: Final = 3
_PREPOSITION: Final = re.compile(rf"(?:\w{{1,{_LONGEST_PREPOSITION}}}\s|d['\u2019])\s*\w")
"""What is said behind a thing: "of oak", "d'or"."""
_ARTICLE: Final = re.compile(r"(?<!\w)(a)n?\s+$", re.IGNORECASE)
_VOWEL: Final = re.compile("[aeiou]", re.IGNORECASE)
_JOINS: Final = re.compile("[いなの的]$")
"""What joins a quality to its thing in Japanese and Chinese."""


def described(change: Change, at: re.Match[str] | None, quality: str) -> None:
    """Give the subject, or a thing of the prompt, a quality in the place of one of its kind.

    A quality of no known kind takes the place of a colour.
    """
    language = change.language
    kind = kind_of(quality, language) or colours_of(language)
    there = kind.search(change.prompt) if at is None else attribute_beside(change.prompt, language, at, kind)
    if there is not None and _is_behind(there.group()) == _is_behind(quality):
        left, right = change.prompt[: there.start()], change.prompt[there.end() :]
        noun = right.split()[:1] if at is None else [at.group()]
        change.prompt = _with_article(left, _in_form(quality, there.group(), noun, left, language), language) + right
    elif at is None:
        change.append(quality)
    else:
        _give(change, at, there, quality)


def _give(change: Change, at: re.Match[str], there: re.Match[str] | None, quality: str) -> None:
    """Put a quality beside a thing, and take the one away that it replaces."""
    language, thing = change.language, at.group()
    left, right = change.prompt[: at.start()], change.prompt[at.end() :]
    if there is not None and there.end() <= at.start():
        left = left[: there.start()] + left[there.end() :].lstrip()
    elif there is not None:
        right = change.prompt[at.end() : there.start()].rstrip() + change.prompt[there.end() :]
    if language.unspaced:
        joins = "の" if language.code == "ja" and not ATTRIBUTE.search(quality) else ""
        space = " " if HANGUL.match(quality) else ""
        change.prompt = f"{left}{quality}{joins}{space}{thing}{right}"
    elif _is_behind(quality) or language.colour_after:
        change.prompt = f"{_with_article(left, thing, language)} {quality}{right}"
    else:
        change.prompt = (
            f"{_with_article(left, _in_form(quality, '', [thing], left, language), language)} {thing}{right}"
        )


def _is_behind(quality: str) -> bool:
    return _PREPOSITION.match(quality) is not None


def _in_form(quality: str, old: str, noun: list[str], left: str, language: Language) -> str:
    """Return a quality in the form of a noun, or with the ending of the one that it replaces."""
    if language.cases and noun and not _is_behind(quality):
        return agreeing(quality, noun[0], left)
    if language.unspaced:
        return quality + (old[-1:] if _JOINS.search(old) and not _JOINS.search(quality) else "")
    ending = ENDING.search(old) if language.colour_endings else None
    inflects = ending is not None and not ENDING.search(quality)
    declined = quality + ending.group() if ending is not None and inflects else quality
    kind = kind_of(declined, language)
    return declined if kind is not None and kind.fullmatch(declined) else quality


def _with_article(left: str, word: str, language: Language) -> str:
    """Return a text and a word after it, with the English article that its sound asks for."""
    if language.code == "en":
        left = _ARTICLE.sub(lambda match: f"{match[1]}{'n' if _VOWEL.match(word) else ''} ", left)
    return f"{left}{word}"
