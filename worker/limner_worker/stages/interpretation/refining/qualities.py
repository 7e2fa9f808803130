"""Gives a thing of a prompt a quality that is no basic colour: "golden", "of oak", "striped". No I/O."""

from __future__ import annotations

import re
from typing import Final

from limner_worker.languages import expression
from limner_worker.stages.interpretation.language.declension import agreeing, in_form_of
from limner_worker.stages.interpretation.language.files import NOTHING
from limner_worker.stages.interpretation.language.schema import Language
from limner_worker.stages.interpretation.language.texts import HANGUL
from limner_worker.stages.interpretation.refining.attributes import (
    attribute_beside,
    colours_of,
    is_quality,
    kinds_of,
    place_before,
    with_article,
)
from limner_worker.stages.interpretation.refining.change import Change
from limner_worker.stages.interpretation.refining.colours import ATTRIBUTE
from limner_worker.stages.interpretation.refining.endings import BARE, ENDING, ending_after
from limner_worker.stages.interpretation.refining.removing import qualities

_FIRST: Final = 3
"""The most words before what the first thing of a prompt is made of."""
_LONGEST_PREPOSITION: Final = 3
_PREPOSITION: Final = re.compile(rf"(?:\w{{1,{_LONGEST_PREPOSITION}}}\s|d['\u2019])\s*\w")
"""What is said behind a thing: "of oak", "d'or"."""
_BASE: Final = re.compile("(?:gold|seid|bronz|samt|woll|lein)en$|(?:silb|kupf|hölz|eis|led|gläs|stähl|blei)ern$")
"""German adjectives that end like inflected ones and are not."""
_JOINS: Final = re.compile("[いなの的]$")
"""What joins a quality to its thing in Japanese and Chinese."""


def described(change: Change, at: re.Match[str] | None, quality: str, named: str | None = None) -> None:
    """Give the subject, or a thing of the prompt, a quality in the place of one of its kind.

    A quality of no known kind takes the place of a colour. `named` is the thing as the message names it.
    """
    language = change.language
    kinds = kinds_of(quality, language) or [colours_of(language)]
    found = (
        kind.search(change.prompt) if at is None else attribute_beside(change.prompt, language, at, kind)
        for kind in kinds
    )
    there = next(filter(None, found), None)
    if there is not None and _is_behind(there.group()) == _is_behind(quality):
        left, right = change.prompt[: there.start()], change.prompt[there.end() :]
        noun = right.split()[:1] if at is None else [at.group()]
        change.prompt = (
            with_article(left, _in_form(quality, there.group(), noun, left, language, named), language) + right
        )
    elif at is None and (made := _made_of(quality, change)) is not None:
        change.prompt = f"{change.prompt[: made.start()]} {quality}{change.prompt[made.end() :]}"
    elif at is None:
        change.append(quality)
    else:
        _give(change, at, there, quality, named)


def _made_of(quality: str, change: Change) -> re.Match[str] | None:
    """Return what the first thing of a prompt is made of, if a quality says what of in the same way: "of steel"."""
    small = change.language.connectives
    first = re.match(rf"(?:{small.made_of or NOTHING})(?=\s)", quality, re.IGNORECASE)
    if first is None:
        return None
    there = re.search(rf"\s{re.escape(first.group())}\s[^\W\d_]+", change.prompt, re.IGNORECASE)
    return there if there is not None and len(change.prompt[: there.start()].split()) <= _FIRST else None


def _give(change: Change, at: re.Match[str], there: re.Match[str] | None, quality: str, named: str | None) -> None:
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
        right = _without_other(quality, right, language)
        change.prompt = f"{with_article(left, thing, language)} {quality}{right}"
    else:
        colour = colours_of(language).search(quality) is not None and change.prompt.startswith(left)
        place = place_before(change.prompt, at, language) if colour else len(left)
        declined = _in_form(quality, "", [thing], left[:place], language, named)
        change.prompt = f"{with_article(left[:place], declined, language)} {left[place:]}{thing}{right}"


def _without_other(quality: str, right: str, language: Language) -> str:
    """Return what stands behind a thing without what it is made of, if a quality says this: "di velluto rosso"."""
    made = expression(
        rf"\s+(?:{language.connectives.made_of or NOTHING})\s+[^\W\d_]+(?:\s+(?:{qualities(language)})(?!\w))*+"
    )
    first = quality.split(maxsplit=1)[0].lower()
    there = made.match(right)
    return right if there is None or right.split(maxsplit=1)[0].lower() != first else right[there.end() :]


def _is_behind(quality: str) -> bool:
    return _PREPOSITION.match(quality) is not None


def _in_form(quality: str, old: str, noun: list[str], left: str, language: Language, named: str | None) -> str:
    """Return a quality in the form of a noun, or with the ending of the one that it replaces."""
    if language.cases and not _is_behind(quality):
        if old and " " not in quality:
            return in_form_of(quality, old)
        return agreeing(quality, noun[0], left, named or "") if noun else quality
    if language.unspaced:
        return _wide_form(quality, old, language)
    if not language.colour_endings:
        return quality
    if not old and BARE.fullmatch(quality) and quality not in language.indeclinable.split():
        return f"{quality}{ending_after(left)}"
    ending = ENDING.search(old)
    inflects = ending is not None and (not ENDING.search(quality) or _BASE.search(quality))
    declined = quality + ending.group() if ending is not None and inflects else quality
    return declined if is_quality(declined, language) else quality


def _wide_form(quality: str, old: str, language: Language) -> str:
    if language.code == "zh" and quality.endswith("的") and not old.endswith("的"):
        return quality[:-1]
    if language.code == "ja" and quality.endswith("色") and _JOINS.search(old):
        return f"{quality}の"
    return quality + (_joint(quality, old, language) if _JOINS.search(old) and not _JOINS.search(quality) else "")


def _joint(quality: str, old: str, language: Language) -> str:
    """Return what joins a Japanese or Chinese quality to its thing: as it is known with, or as the old one."""
    ends = [old[-1], "な", "の", "い"] if language.code == "ja" else []
    return next((end for end in ends if is_quality(f"{quality}{end}", language)), old[-1])
