"""Weights of words in prompts, as A1111 and its relatives write them: `(word:1.3)`. No I/O.

Only parentheses with a number are read; parentheses alone are parts of ordinary texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final, NamedTuple

from limner_shared.domain.jobs import JobSpec

MOST: Final = 10.0
"""The largest weight; beyond it a number is something else, such as a time."""
WEIGHTS_FROM: Final = 3
"""The version of specs that are read with weights; what stands in the prompts of earlier ones is text."""
_MARK: Final = re.compile(r"\(|:\s*(\d+(?:\.\d+)?|\.\d+)\s*\)|\)")


class WeightedText(NamedTuple):
    """A part of a prompt, and the weight of its words."""

    text: str
    weight: float = 1.0


class _Group(NamedTuple):
    """What is in parentheses with a number. An outer one holds it as one item, so that nothing is read twice."""

    items: list[str | _Group]
    weight: float
    last: str
    """Its last character."""


def parts(prompt: str) -> list[WeightedText]:
    """Return a prompt in parts of equal weight, in order; the weights of nested parentheses are multiplied."""
    items: list[str | _Group] = []
    opened: list[int] = []  # the places of opening parentheses that are not closed yet
    at = 0
    for mark in _MARK.finditer(prompt):
        items.append(prompt[at : mark.start()])
        at = mark.end()
        if mark[0] == "(":
            opened.append(len(items))
        elif opened:
            start = opened.pop()
            if mark[1] is not None:
                items[start:] = [_group(items[start + 1 :], mark)]
                continue
        items.append(mark[0])
    items.append(prompt[at:])
    found = (part for part in _flat(items) if part.text)
    return [
        WeightedText("".join(part.text for part in some), weight)
        for weight, some in groupby(found, key=lambda part: part.weight)
    ]


def _group(items: list[str | _Group], mark: re.Match[str]) -> _Group:
    """Return a group with the number as its weight, or with all of its marks if that is none: 16:9, 1:2 or 10:30."""
    number = mark[1]
    ends = (item.rstrip()[-1:] if isinstance(item, str) else item.last for item in reversed(items))
    last = next(filter(None, ends), "")
    after_digit = last.isdigit() and "." not in number
    has_words = any(not isinstance(item, str) or any(not (c.isdigit() or c.isspace()) for c in item) for item in items)
    if float(number) <= MOST and not after_digit and has_words:
        return _Group(items, float(number), last)
    return _Group(["(", *items, mark[0]], 1.0, ")")


def _flat(items: Sequence[str | _Group]) -> Iterator[WeightedText]:
    stack = [(iter(items), 1.0)]
    while stack:
        rest, weight = stack[-1]
        item = next(rest, None)
        if item is None:
            stack.pop()
        elif isinstance(item, str):
            yield WeightedText(item, weight)
        else:
            stack.append((iter(item.items), min(weight * item.weight, MOST)))


def has_weights(*texts: str | None) -> bool:
    """Return whether words of one of these texts have weights."""
    return any(text and plain(text) != text for text in texts)


def follows_weights(spec: JobSpec) -> bool:
    """Return whether the weights in a spec's prompts, as it is drawn, are followed by a model that can."""
    return spec.version >= WEIGHTS_FROM and has_weights(spec.prompt, spec.negative_prompt)


def plain(prompt: str) -> str:
    """Return a prompt without its weights."""
    return "".join(part.text for part in parts(prompt))


def in_drawn_words(spec: JobSpec) -> JobSpec:
    """Return a spec with the texts that are drawn: without weights, if its model cannot weigh words."""
    if not spec.plain_words:
        return spec
    texts = {"prompt": plain(spec.prompt), "negative_prompt": plain(spec.negative_prompt)}
    return spec.model_copy(update=texts)
