"""Colours in eight languages: which one a text names, and a prompt with another one. No I/O."""

from __future__ import annotations

import re
from typing import Final

from limner_worker.stages.interpretation import changes
from limner_worker.stages.interpretation.texts import WIDE, Pattern

_UNSPACED: Final = ("zh", "ja", "ko")


def _colour_pattern(language: str, source: str) -> Pattern:
    base, _, others = source.partition("|")
    longest_first = f"{others}|{base}" if others else base
    bounds = ("", "") if language in _UNSPACED else (r"(?<!\w)", r"(?!\w)")
    return re.compile(f"{bounds[0]}({longest_first}){bounds[1]}", re.IGNORECASE)


_COLOURS: Final = [
    (language, colour, _colour_pattern(language, source))
    for language, colours in changes.COLOURS.items()
    for colour, source in colours.items()
]
_ARTICLE = re.compile(r"(an?|the) (?=\w)", re.IGNORECASE)


def colour_in(text: str) -> tuple[str, str, re.Match[str]] | None:
    """Language, colour and place of the first colour in a text."""
    hits = [
        (match.start(), -match.end(), language, colour, match)
        for language, colour, p in _COLOURS
        if (match := p.search(text))
    ]
    return min(hits, key=lambda hit: hit[:2])[2:] if hits else None


def colour_word(prompt: str, language: str, colour: str) -> str:
    """A colour as a prompt calls it: in the language of the colours that it names, or of its script."""
    there = colour_in(prompt)
    if there is not None:
        language = there[0]
    elif any("\u3040" <= character <= "\u30ff" for character in prompt):
        language = "ja"
    elif any("\uac00" <= character <= "\ud7af" for character in prompt):
        language = "ko"
    elif any(character >= WIDE for character in prompt):
        language = "zh"
    elif any("\u0400" <= character <= "\u04ff" for character in prompt):
        language = "ru"
    elif _ARTICLE.match(prompt) or language in ("zh", "ja", "ko", "ru"):
        language = "en"
    return changes.COLOURS[language][colour].split("|")[0]


def coloured(prompt: str, language: str, colour: str) -> str:
    """The prompt with its first colour replaced, or with one more."""
    word = colour_word(prompt, language, colour)
    there = colour_in(prompt)
    if there is not None:
        old = there[2].group()
        base = changes.COLOURS[there[0]][there[1]].split("|")[0]
        ending = old[len(base) :] if there[0] == "de" and old.lower().startswith(base) else ""
        return f"{prompt[: there[2].start()]}{word}{ending}{prompt[there[2].end() :]}"
    if prompt[0] >= WIDE:
        return f"{word} {prompt}" if "\uac00" <= word[0] <= "\ud7af" else word + prompt
    article = _ARTICLE.match(prompt)
    if article is not None:
        first = "an" if word == "orange" else "a"
        return f"{first if article[1].lower() != 'the' else article[1]} {word} {prompt[article.end() :]}"
    return f"{word} {prompt}" if word in changes.COLOURS["en"] else f"{prompt}, {word}"


def part_coloured(prompt: str, part: str, language: str, colour: str) -> str:
    """The prompt in which a part of what it names has another colour."""
    word = colour_word(prompt, language, colour)
    at = re.search(re.escape(part), prompt, re.IGNORECASE)
    if at is None:
        return f"{prompt}, {word} {part}"
    left, right = prompt[: at.start()], prompt[at.start() :]
    before = [match for _, _, pattern in _COLOURS for match in pattern.finditer(left)]
    old = next((match for match in before if match.end() == len(left.rstrip())), None)
    left = left if old is None else left[: old.start()]
    return f"{left}{word}{'' if word[-1] >= WIDE else ' '}{right}"
