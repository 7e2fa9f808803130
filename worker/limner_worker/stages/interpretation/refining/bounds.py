"""Where parts of a message begin and end, which a tagger may miss by a letter. No I/O."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Final

from limner_worker.languages import expression
from limner_worker.stages.interpretation.language.files import NOTHING
from limner_worker.stages.interpretation.language.schema import Language
from limner_worker.stages.interpretation.language.texts import Pattern, shortened
from limner_worker.stages.interpretation.reading.parts import Part, texts_of
from limner_worker.stages.interpretation.reading.patterns import patterns_for
from limner_worker.stages.interpretation.refining.attributes import is_quality
from limner_worker.stages.interpretation.refining.beside import ends_with_place, with_place
from limner_worker.stages.interpretation.refining.changes import changes_for
from limner_worker.stages.interpretation.refining.clauses import clause_of
from limner_worker.stages.interpretation.refining.lexemes import lexed
from limner_worker.stages.interpretation.refining.wide_bounds import unspaced

_LONGEST_CONTRAST: Final = 2
"""The most words between a quality and the one that it replaces."""
_LONGEST_PLACE: Final = 3
"""The most words of a place behind its preposition."""
_EDGES: Final = re.compile("^[\\s\U0001f300-\U0001faff\u2600-\u27bf]+|[\\s\U0001f300-\U0001faff\u2600-\u27bf\ufe0f]+$")
"""Emoji at the ends of a part."""


def bounded(parts: Sequence[Part], said: str, prompt: str, language: Language) -> list[Part]:
    """Return the parts of a message about a picture of `prompt`, without words of politeness at their ends.

    A thing has its article, a place and a material their preposition. In scripts without spaces, things of the picture
    have the bounds that they have in its prompt. Beside a chosen picture, another subject is a thing to add, and so is
    what takes the place of nothing while something else changes ("a roof of straw" after "with").
    """
    tails = patterns_for(language).polite_tails
    found: list[Part] = []
    for part in parts:
        text = _EDGES.sub("", shortened(part.text, tails))
        text = text if "(" in text else text.rstrip(")")
        text = text if ")" in text else text.partition(" (")[0]
        role = "added" if _is_added(part, parts, said, language) else part.role
        if role == "look" and is_quality(text, language):  # "赤く"
            role = "quality"
        text = (
            unspaced(role, text, said, prompt, language) if language.unspaced else _spaced(role, text, said, language)
        )
        text = with_place(text, said, language) if role == "added" and text else text
        found += [Part(role, text)] if text else []
    return found


def _is_added(part: Part, parts: Sequence[Part], said: str, language: Language) -> bool:
    """Return whether another subject, or what would replace the whole one, is a thing to add."""
    if part.role == "subject":
        return bool(texts_of(parts, "picked"))
    olds, qualities = texts_of(parts, "old"), texts_of(parts, "quality")
    paired = bool(olds) and (not qualities or len(olds) >= len(texts_of(parts, "new")) + len(qualities))
    if part.role != "new" or paired:
        return False
    withs = language.scenes.accompaniments or NOTHING
    led = expression(rf"(?<!\w)(?:{withs})\s+{re.escape(part.text)}")
    is_led = not language.unspaced and led.search(said) is not None
    return is_led or (bool(texts_of(parts, "old", "quality")) and not _is_whole(part, said, language))


def _is_whole(part: Part, said: str, language: Language) -> bool:
    """Return whether a clause only asks for a thing, by words of which the first is of asking: "make it a girl, …"."""
    clause = clause_of(part.text, said, language)
    words = lexed(clause.replace(part.text, " "), language, "", ())
    return bool(words) and all(each.has("frame", "asking", "rather") for each in words) and not language.unspaced


def _spaced(role: str, text: str, said: str, language: Language) -> str:
    text = _small(_with_leading(role, text, said, language), role, language)
    if role == "added" and not ends_with_place(text, language):
        text = _to_its_end(text, said, language)
    if role == "quality":
        text = _alone(_instead(text, language), language)
    if role == "new":  # "con girasoles en vez de cactus"
        text = expression(rf"^(?:{language.scenes.accompaniments or NOTHING})\s+(?=\w)").sub("", text)
    if role == "look":
        return re.sub(rf"\s(?:{language.connectives.and_ or NOTHING})\s*$", "", text, flags=re.IGNORECASE)
    complete = role in ("picked", "again") or (role == "added" and ends_with_place(text, language))
    return text if complete else _trailing(language).sub("", text)


def _to_its_end(thing: str, said: str, language: Language) -> str:
    """Return a thing that ends as none does with the words after it: "a cat between [the novels]", "who [follows]"."""
    small = language.connectives
    some = (small.beside, small.places, small.indefinite, small.articles, small.thing_ends)
    last = re.search(rf"(?<!\w)(?:{'|'.join(filter(None, some)) or NOTHING})$", thing, re.IGNORECASE)
    if last is not None and re.fullmatch(small.and_ or NOTHING, last.group(), re.IGNORECASE):
        return thing
    ends = rf"{small.and_ or NOTHING}|{small.links or NOTHING}"
    words = rf"(?:\s(?!(?:{ends})\s)[^\W\d_]+){{1,{_LONGEST_PLACE}}}"
    rest = re.search(rf"{re.escape(thing)}({words})(?=[^\w\s]|\s|$)", said)
    return thing if last is None or rest is None else f"{thing}{rest[1]}"


def _small(text: str, role: str, language: Language) -> str:
    """Return words for how or where something is without the capital that begins a sentence."""
    capital = text[:1].isupper() and text[1:2].islower()
    begins = changes_for(language).article.match(text) is not None
    said = not language.noun_capitals and role in ("quality", "look", "place")
    return f"{text[0].lower()}{text[1:]}" if capital and (said or begins) else text


def _with_leading(role: str, text: str, said: str, language: Language) -> str:
    """Return words with the small word directly before them in a message that belongs to them."""
    if text.startswith("s ") and f"'{text}" in said:  # Dutch "'s nachts"
        return f"'{text}"
    led = re.search(rf"(\S+)\s+{re.escape(text)}(?!\w)", said)
    if led is None:
        return text
    longer = f"{led[1]} {text}"
    made = expression(language.connectives.made_of or NOTHING)
    bare = role == "added" and changes_for(language).article.match(text) is None
    belongs = (
        is_quality(longer, language) or bool(made.fullmatch(led[1]))
        if role == "quality"
        else _leads("bare" if bare else role, language).fullmatch(led[1])
    )
    return longer if belongs else text


def _instead(quality: str, language: Language) -> str:
    """Return a quality without another one that it replaces: "pink rather than grey"."""
    first, *between, last = quality.split() if len(quality.split()) > 1 else ("", "")
    joins = expression(language.connectives.and_ or NOTHING)
    contrast = 0 < len(between) <= _LONGEST_CONTRAST and joins.fullmatch(between[0]) is None
    return first if contrast and is_quality(first, language) and is_quality(last, language) else quality


def _alone(quality: str, language: Language) -> str:
    """Return a known quality without words that only lead to it: "ruhig violett", "made yellow"."""
    words = lexed(quality, language, "", ())
    known = [each for each in words if is_quality(quality[each.start :], language)]
    small = bool(known) and all(each.has("frame", "asking") for each in words[: words.index(known[0])])
    bare = quality[known[0].start :] if small and not is_quality(quality, language) else quality
    return quality if re.match(rf"(?:{language.connectives.made_of or NOTHING})\s", bare, re.IGNORECASE) else bare


@cache
def _trailing(language: Language) -> Pattern:
    """Return a pattern of small words at the end of a part, or of which it consists; they belong to what follows."""
    small = language.connectives
    words = "|".join(filter(None, (small.articles, small.indefinite, small.places, language.scenes.accompaniments)))
    return expression(rf"(?:(?:^|\s+)(?:{words or NOTHING})(?!\w)){{1,4}}\s*$")


@cache
def _leads(role: str, language: Language) -> Pattern:
    small = language.connectives
    words = {
        "new": (small.indefinite, small.articles),
        "added": (small.indefinite,),
        "bare": (small.indefinite, small.places),  # "[on] roofs sit gulls"
        "look": (small.indefinite,),
        "place": (small.places, language.scenes.accompaniments),
    }
    return expression("|".join(filter(None, words.get(role, ()))) or NOTHING)
