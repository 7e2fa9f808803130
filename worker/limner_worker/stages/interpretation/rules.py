"""Conditions by rules alone: fast, always valid and never without a subject, in every language of the files. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache

from limner_shared.domain.conditions import Conditions, Turn
from limner_worker.stages.interpretation import emoji, patterns
from limner_worker.stages.interpretation.refine import MORE, Found, number, refined
from limner_worker.stages.interpretation.texts import Pattern, compiled, joined, shortened, tidy

READ = 1500
"""The characters that are searched; the rest is appended to the prompt, which bounds the time for any text."""
MAX_SIDE = 65536
ROUNDS = 8
"""The most phrases of asking that are removed one after another."""
_COUNTED, _WITHOUT = compiled(patterns.COUNTED), compiled(patterns.WITHOUT)
_DANGLING = re.compile(patterns.DANGLING, re.IGNORECASE)
_SEED, _SIZE = compiled(patterns.SEED), compiled(patterns.SIZE)
_LEAD_INS = compiled(rf"^[\s¿¡]*{source}[\s,:!]*" for source in (*patterns.LEAD_INS, *patterns.PICTURE_OF))
_TAILS = compiled(rf"{source}\s*[.!?。！？]*\s*$" for source in patterns.TAILS)
_POLITE_TAILS = compiled(rf"{source}\s*[.!?。！？]*\s*$" for source in patterns.POLITE_TAILS)
_SHAPES = {shape: compiled(sources) for shape, sources in patterns.SHAPES.items()}
_JOINED_TWICE = re.compile(patterns.JOINED_TWICE, re.IGNORECASE)
_ASIDES, _AFTER = compiled(patterns.ASIDES), compiled(patterns.PICTURES_AFTER)


def interpret(
    text: str, styles: Sequence[str], history: Sequence[Turn] = (), sizes: Sequence[tuple[int, int]] = ()
) -> Conditions:
    """Return the conditions of a description, or of a message that may change the last picture of a history.

    If nothing sensible would remain, the prompt is the text itself.
    """
    previous: list[Conditions] = []
    for turn in history:
        known = turn.conditions or _one(turn.text, styles, sizes, previous)
        previous.append(known)
    return _one(text, styles, sizes, previous)


def _one(
    text: str, styles: Sequence[str], sizes: Sequence[tuple[int, int]], previous: Sequence[Conditions]
) -> Conditions:
    read, unread = text[:READ], text[READ:]
    found = _take_apart(emoji.spelled(read), styles, sizes)
    if previous and not unread and (changed := refined(found, styles, previous)):
        return changed
    return _new_subject(read, unread, found, previous)


def _new_subject(read: str, unread: str, found: Found, previous: Sequence[Conditions]) -> Conditions:
    """Return conditions for a new subject, which in a conversation keeps the style and size of the last picture."""
    subject = _subject(found.text)
    before = previous[-1] if previous else None
    size = found.size or ((before.width, before.height) if before else (None, None))
    return Conditions(
        prompt=(subject or tidy(emoji.spelled(read)) or read.strip() or "?") + unread,
        # A text such as "no smoking" is a subject and not something to leave out.
        negative_prompt=", ".join(found.negative) if subject else "",
        style=found.style or (before.style if before else None),
        width=size[0],
        height=size[1],
        n=found.n,
        seed=found.seed,
    )


def _take_apart(text: str, styles: Sequence[str], sizes: Sequence[tuple[int, int]]) -> Found:
    found = Found(shortened(" ".join(text.split()), _POLITE_TAILS))
    if match := _cut(found, _SEED):
        seed = int(match["seed"])
        found.seed = seed if seed < 2**32 else None
    if match := _cut(found, _SIZE):
        size = int(match["w"]), int(match["h"])
        found.size = size if max(size) <= MAX_SIDE else None
    for style in sorted(styles, key=len, reverse=True):
        if found.style is None and _cut(found, _style_patterns(style)):
            found.style = style
    if match := _cut(found, _COUNTED):
        found.n, found.more = number(match), bool(MORE.search(match.group()))
    for shape, words in _SHAPES.items():
        if found.size is None and _cut(found, words):
            found.size = _shaped(shape, sizes)
    while match := _cut(found, _WITHOUT):
        found.negative.append(tidy(match["what"]))
    if found.negative:
        found.text = _JOINED_TWICE.sub(r"\g<last>", found.text)
    return found


def _shaped(shape: str, sizes: Sequence[tuple[int, int]]) -> tuple[int, int] | None:
    """Return the size that a shape means; None if no size has that shape."""
    by_area = sorted(sizes, key=lambda size: size[0] * size[1])
    fitting = {
        "small": by_area[:1],
        "large": by_area[-1:],
        "square": [size for size in sizes if size[0] == size[1]],
        "wide": [size for size in sizes if size[0] > size[1]],
        "tall": [size for size in sizes if size[0] < size[1]],
    }[shape]
    return fitting[0] if fitting else None


def _cut(found: Found, patterns: Iterable[Pattern]) -> re.Match[str] | None:
    """Remove the first match of the first pattern that has one from the text; return the match."""
    for pattern in patterns:
        match = pattern.search(found.text)
        if match is not None and (match.group().strip()):
            found.text = joined(found.text[: match.start()].rstrip(), found.text[match.end() :].lstrip())
            return match
    return None


@cache
def _style_patterns(style: str) -> tuple[Pattern, ...]:
    name = re.escape(style).replace(r"\-", "[- ]")
    framed = (frame.replace("{style}", name) for frame in patterns.STYLE_FRAMES)
    return compiled((*patterns.STYLES.get(style, ()), *framed))


def _subject(text: str) -> str:
    """Return the text without phrases of asking; empty if nothing remains."""
    for _ in range(ROUNDS):
        before = text
        text = shortened(text, (*_LEAD_INS, *_ASIDES, *_TAILS, *_AFTER))
        if before == text:
            break
    return tidy(_DANGLING.sub("", f" {tidy(text)}"))
