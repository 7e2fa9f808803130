"""Where parts of a message begin and end in Korean, and in scripts without spaces. No I/O."""

from __future__ import annotations

import re
from typing import Final

from limner_worker.stages.interpretation.language.schema import Language
from limner_worker.stages.interpretation.language.texts import HANGUL

_OF_PICTURE: Final = ("old", "gone")
"""Roles of things that the picture has."""
_SHORTEST: Final = 2
"""The fewest characters of a thing by which it is found."""
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
_PARTICLE_FIRST: Final = re.compile(r"^(?:에|에서|에는|의|을|를|은|는|이|가|도)\s+")
"""A Korean particle of the word before."""
_TOO: Final = re.compile("(?<=..)도$")
_MEASURE: Final = re.compile("^[面条只个把张辆匹座片朵本件位棵架艘](?=..)")
"""A Chinese measure word between "this" or "that" and its thing."""
_LETTER: Final = re.compile(r"[\u3041-\u309f]")
_WHEN: Final = re.compile("(?<=[가-힣])에는?$")
"""What follows a time in Korean."""


def unspaced(role: str, text: str, said: str, prompt: str, language: Language) -> str:
    """Return a part of a message as the prompt has it, without particles and verbs around it."""
    if HANGUL.search(text):
        return _korean(role, text, said, prompt)
    return (_japanese if language.code == "ja" else _chinese)(role, text, said, prompt)


def _korean(role: str, text: str, said: str, prompt: str) -> str:
    text = _PARTICLE_FIRST.sub("", text)
    if role in ("added", "subject"):
        return _TOO.sub("", text)
    if role in ("quality", "new"):
        return _THING.sub("", text)
    return _WHEN.sub("", _MARKER.sub("", text)) if role == "place" else text


def _japanese(role: str, text: str, said: str, prompt: str) -> str:
    if role in _OF_PICTURE:
        return _as_shown(text, said, prompt)
    if role == "look":
        text = f"もっと{text}" if f"もっと{text}" in said else text
        return "" if _LETTER.fullmatch(text) else f"{text}に" if f"{text}に" in said else text  # "もっと不気味に"
    end = _WORD_END.match(said, said.find(text) + len(text)) if role == "place" else None
    return text if end is None else f"{text}{end.group()}"


def _chinese(role: str, text: str, said: str, prompt: str) -> str:
    if role in _OF_PICTURE:
        measured = re.search(rf"[这那]{re.escape(text)}", said) is not None
        return _as_shown(_MEASURE.sub("", text) if measured else text, said, prompt)
    return _SET.sub("", text) if role == "place" else text


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
