"""Colours: the one that a text names, and prompts with another one. No I/O."""

from __future__ import annotations

import re
from typing import Final

from limner_worker.stages.interpretation.language_files import (
    BY_CODE,
    FALLBACK,
    LANGUAGES,
    Colour,
    Language,
    by_script,
)
from limner_worker.stages.interpretation.texts import WIDE, Pattern


def _colour_pattern(language: Language, source: str) -> Pattern:
    base, _, others = source.partition("|")
    longest_first = f"{others}|{base}" if others else base
    bounds = ("", "") if language.unspaced else (r"(?<!\w)", r"(?!\w)")
    return re.compile(f"{bounds[0]}({longest_first}){bounds[1]}", re.IGNORECASE)


_COLOURS: Final[list[tuple[Language, Colour, Pattern]]] = [
    (language, colour, _colour_pattern(language, source))
    for language in LANGUAGES
    for colour, source in language.colours.items()
]
_ARTICLE = re.compile(r"(an?|the) (?=\w)", re.IGNORECASE)
"""English articles: a prompt that begins with one is English, and takes the colour after it."""


def colour_in(text: str) -> tuple[Language, Colour, re.Match[str]] | None:
    """Return the language, the colour and the match of the first colour in a text."""
    hits: list[tuple[int, int, tuple[Language, Colour, re.Match[str]]]] = [
        (match.start(), -match.end(), (language, colour, match))
        for language, colour, pattern in _COLOURS
        if (match := pattern.search(text))
    ]
    return min(hits, key=lambda hit: hit[:2])[2] if hits else None


def colour_word(prompt: str, language: Language, colour: Colour) -> str:
    """Return a colour's word for a prompt: in the language of the colours that the prompt names, or of its script."""
    there = colour_in(prompt)
    if there is not None:
        language = there[0]
    elif (written := by_script(prompt)) is not None:
        language = written
    elif _ARTICLE.match(prompt) or language.script is not None:
        language = BY_CODE[FALLBACK]
    return language.colours[colour].split("|")[0]


def coloured(prompt: str, language: Language, colour: Colour) -> str:
    """Return the prompt with its first colour replaced, or with the colour added."""
    word = colour_word(prompt, language, colour)
    there = colour_in(prompt)
    if there is not None:
        old = there[2].group()
        base = there[0].colours[there[1]].split("|")[0]
        ending = old[len(base) :] if there[0].colour_endings and old.lower().startswith(base) else ""
        return f"{prompt[: there[2].start()]}{word}{ending}{prompt[there[2].end() :]}"
    if prompt[0] >= WIDE:
        return f"{word} {prompt}" if "\uac00" <= word[0] <= "\ud7af" else word + prompt
    article = _ARTICLE.match(prompt)
    if article is not None:
        first = "an" if word == "orange" else "a"
        return f"{first if article[1].lower() != 'the' else article[1]} {word} {prompt[article.end() :]}"
    return f"{word} {prompt}" if word in BY_CODE[FALLBACK].colours else f"{prompt}, {word}"


def part_coloured(prompt: str, part: str, language: Language, colour: Colour) -> str:
    """Return the prompt with another colour for a part of what it names."""
    word = colour_word(prompt, language, colour)
    at = re.search(re.escape(part), prompt, re.IGNORECASE)
    if at is None:
        return f"{prompt}, {word} {part}"
    left, right = prompt[: at.start()], prompt[at.start() :]
    before = [match for _, _, pattern in _COLOURS for match in pattern.finditer(left)]
    old = next((match for match in before if match.end() == len(left.rstrip())), None)
    left = left if old is None else left[: old.start()]
    return f"{left}{word}{'' if word[-1] >= WIDE else ' '}{right}"
