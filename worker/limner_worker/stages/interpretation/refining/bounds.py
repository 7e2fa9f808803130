"""Where parts of a message begin and end, which a tagger may miss by a letter. No I/O."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Final

from limner_worker.languages import expression
from limner_worker.stages.interpretation.language.files import NOTHING
from limner_worker.stages.interpretation.language.schema import Language
from limner_worker.stages.interpretation.language.texts import HANGUL, Pattern, shortened
from limner_worker.stages.interpretation.reading.parts import Part, texts_of
from limner_worker.stages.interpretation.reading.patterns import patterns_for
from limner_worker.stages.interpretation.refining.attributes import is_quality
from limner_worker.stages.interpretation.refining.beside import with_place
from limner_worker.stages.interpretation.refining.changes import changes_for

_OF_PICTURE: Final = ("old", "gone")
"""Roles of things that the picture has."""
_SHORTEST: Final = 2
"""The fewest characters of a thing by which it is found."""
_LONGEST_CONTRAST: Final = 2
"""The most words between a quality and the one that it replaces."""
_ENDING: Final = re.compile(r"[\u3041-\u309f\u7684]{1,3}$")
"""Hiragana, and 的, which follow a thing in a message."""
_PARTICLE: Final = re.compile("[をはがのにとでもへや]")
_MARKER: Final = re.compile(r"^[을를은는이가]\s+")
"""A Korean particle of the word before."""
_THING: Final = re.compile(
    r"\s(?:걸|것|거|게)(?:로)?$|(?<=[가-힣]{2})[가이](?=$)(?<!고양이)(?<!아이)(?<!종이)(?<!호랑이)(?<!원숭이)(?<!개구리)"
)
"""Korean words for a thing behind what describes it."""
_WORD_END: Final = re.compile("[\u4e00-\u9fff]+[れきりちみけせ]?(?=[がをはにでの、。])")
"""The end of a Japanese word of which a tagger has only the beginning: "夕" of "夕暮れ"."""
_SET: Final = re.compile("^(?:时间|天气|背景|地点|场景)(?:就)?(?:放在|改成|换成|设在|设成|变成|是)")
"""Chinese words that set a time or a place."""
_EDGES: Final = re.compile("^[\\s\U0001f300-\U0001faff\u2600-\u27bf]+|[\\s\U0001f300-\U0001faff\u2600-\u27bf\ufe0f]+$")
"""Emoji at the ends of a part."""
_PARTICLE_FIRST: Final = re.compile(r"^(?:에|에서|에는|의|을|를|은|는|이|가|도)\s+")
"""A Korean particle of the word before."""
_TOO: Final = re.compile("(?<=..)도$")
_MEASURE: Final = re.compile("^[面条只个把张辆匹座片朵本件位棵架艘](?=..)")
"""A Chinese measure word between "this" or "that" and its thing."""
_LETTER: Final = re.compile(r"[\u3041-\u309f]")
_WHEN: Final = re.compile("(?<=[가-힣])에는?$")
"""What follows a time in Korean."""


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
        role = "added" if _is_added(part, parts, said, language) else part.role
        if role == "look" and is_quality(text, language):  # "赤く"
            role = "quality"
        text = (_unspaced if language.unspaced else _spaced)(role, text, said, prompt, language)
        text = with_place(text, said, language) if role == "added" and text else text
        found += [Part(role, text)] if text else []
    return found


def _is_added(part: Part, parts: Sequence[Part], said: str, language: Language) -> bool:
    """Return whether another subject, or what would replace the whole one, is a thing to add."""
    if part.role == "subject":
        return bool(texts_of(parts, "picked"))
    olds, qualities = texts_of(parts, "old"), texts_of(parts, "quality")
    if part.role != "new" or (olds and (not qualities or len(olds) >= len(texts_of(parts, "new")) + len(qualities))):
        return False
    withs = language.scenes.accompaniments or NOTHING
    led = expression(rf"(?<!\w)(?:{withs})\s+{re.escape(part.text)}")
    return bool(texts_of(parts, "old", "quality")) or (not language.unspaced and led.search(said) is not None)


def _spaced(role: str, text: str, said: str, _: str, language: Language) -> str:
    text = _small(_with_leading(role, text, said, language), role, language)
    if role == "quality":
        text = _instead(text, language)
    if role == "look":
        return re.sub(rf"\s(?:{language.connectives.and_ or NOTHING})\s*$", "", text, flags=re.IGNORECASE)
    return text if role in ("picked", "again") else _trailing(language).sub("", text)


def _unspaced(role: str, text: str, said: str, prompt: str, language: Language) -> str:
    if HANGUL.search(text):
        text = _PARTICLE_FIRST.sub("", text)
        text = _TOO.sub("", text) if role in ("added", "subject") else text
    if language.code == "zh" and role in _OF_PICTURE and re.search(rf"[这那]{re.escape(text)}", said):
        text = _MEASURE.sub("", text)
    if role in _OF_PICTURE:
        return _as_shown(text, said, prompt)
    if language.code == "ko" and role in ("quality", "new"):
        return _THING.sub("", text)
    if language.code == "ja" and role == "look" and f"もっと{text}" in said:
        text = f"もっと{text}"
    if language.code == "ja" and role == "look":
        return "" if _LETTER.fullmatch(text) else f"{text}に" if f"{text}に" in said else text  # "もっと不気味に"
    if role != "place":
        return text
    if language.code == "ja" and (rest := _WORD_END.match(said, said.find(text) + len(text))):
        text += rest.group()
    return _SET.sub("", _WHEN.sub("", _MARKER.sub("", text)))


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
    belongs = (
        is_quality(longer, language) or bool(made.fullmatch(led[1]))
        if role == "quality"
        else _leads(role, language).fullmatch(led[1])
    )
    return longer if belongs else text


def _instead(quality: str, language: Language) -> str:
    """Return a quality without another one that it replaces: "pink rather than grey"."""
    first, *between, last = quality.split() if len(quality.split()) > 1 else ("", "")
    joins = expression(language.connectives.and_ or NOTHING)
    contrast = 0 < len(between) <= _LONGEST_CONTRAST and joins.fullmatch(between[0]) is None
    return first if contrast and is_quality(first, language) and is_quality(last, language) else quality


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
        "look": (small.indefinite,),
        "place": (small.places, language.scenes.accompaniments),
    }
    return expression("|".join(filter(None, words.get(role, ()))) or NOTHING)


def _as_shown(thing: str, said: str, prompt: str) -> str:
    """Return a thing with the characters after it that message and prompt share, or without an ending that is none."""
    if HANGUL.search(thing):
        return thing
    shown = prompt.find(thing)
    if shown < 0:
        bare = _ENDING.sub("", thing)
        return bare if len(bare) >= _SHORTEST and bare in prompt else thing
    at, end = said.find(thing) + len(thing), shown + len(thing)
    rest = 0
    while (
        _PARTICLE.match(said, at + rest) is None
        and at + rest < len(said)
        and end + rest < len(prompt)
        and said[at + rest] == prompt[end + rest]
    ):
        rest += 1
    return f"{thing}{said[at : at + rest]}" if said[at : at + rest].isalpha() else thing
