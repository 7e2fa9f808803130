"""Weights of words in prompts, as A1111 and its relatives write them: `(word:1.3)`. No I/O.

Only parentheses with a number are read; parentheses alone are parts of ordinary texts.
"""

from __future__ import annotations

import re
from itertools import groupby
from typing import Final, NamedTuple

from limner_shared.domain.jobs import JobSpec

MOST: Final = 10.0
"""The largest weight; beyond it a number is something else, such as a time."""
_MARK: Final = re.compile(r"\(|:\s*(\d*\.?\d+)\s*\)|\)")


class Part(NamedTuple):
    """A part of a prompt, and the weight of its words."""

    text: str
    weight: float = 1.0


def parts(prompt: str) -> list[Part]:
    """Return a prompt in parts of equal weight, in order; the weights of nested parentheses are multiplied."""
    found: list[Part] = []
    opened: list[int] = []  # the places of opening parentheses that are not closed yet
    at = 0
    for mark in _MARK.finditer(prompt):
        if mark.start() > at:
            found.append(Part(prompt[at : mark.start()]))
        at = mark.end()
        if mark[0] == "(":
            opened.append(len(found))
        elif opened:
            start = opened.pop()
            if mark[1] is not None and _is_weighed("".join(part.text for part in found[start + 1 :]), mark[1]):
                found[start:] = [Part(text, min(weight * float(mark[1]), MOST)) for text, weight in found[start + 1 :]]
                continue
        found.append(Part(mark[0]))
    found.append(Part(prompt[at:]))
    return [
        Part("".join(part.text for part in some), weight)
        for weight, some in groupby((part for part in found if part.text), key=lambda part: part.weight)
    ]


def _is_weighed(text: str, number: str) -> bool:
    """Return whether a number is the weight of a text: 16:9, 1:2 or 10:30 are none."""
    text = text.strip()
    after_digit = text[-1:].isdigit() and "." not in number
    return float(number) <= MOST and not after_digit and any(not each.isdigit() for each in text)


def has_weights(prompt: str) -> bool:
    """Return whether words of a prompt have weights."""
    return plain(prompt) != prompt


def plain(prompt: str) -> str:
    """Return a prompt without its weights."""
    return "".join(part.text for part in parts(prompt))


def in_drawn_words(spec: JobSpec) -> JobSpec:
    """Return a spec with the texts that are drawn: without weights, if its model cannot weigh words."""
    if not spec.plain_words:
        return spec
    texts = {"prompt": plain(spec.prompt), "negative_prompt": plain(spec.negative_prompt)}
    return spec.model_copy(update=texts)
