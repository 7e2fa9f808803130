"""Refinements by rules: what a message changes about earlier pictures, or that it starts a new one. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from limner_shared.domain.conditions import Conditions
from limner_worker.stages.interpretation import changes, patterns
from limner_worker.stages.interpretation.colours import colour_in, coloured, part_coloured
from limner_worker.stages.interpretation.texts import WIDE, Pattern, compiled, shortened, stripped, tidy

MOST: Final = 1000
_CHATTER, _UNDO, _ALSO = compiled((changes.CHATTER, changes.UNDO, changes.ALSO))
_WITH = re.compile(rf"(?<!\w)({'|'.join(changes.WITH)})(?!\w)", re.IGNORECASE)
MORE, *_COUNT = compiled((changes.MORE, *changes.COUNT_ALONE))
_POLITE, _SAME, _REMOVE, _LESS = map(compiled, (changes.POLITE, changes.SAME, changes.REMOVE, changes.LESS))
_REPLACE, _PART, _AGAIN, _FILLERS = map(compiled, (changes.REPLACE, changes.PART, changes.AGAIN, changes.FILLERS))
_CHANGE, _CHANGE_AFTER = compiled(changes.CHANGE), compiled(changes.CHANGE_AFTER)
_COMPARATIVES, _PLACED = compiled(changes.COMPARATIVES), compiled(changes.PLACED)
_NAMES = {place: compiled(sources) for place, sources in changes.NAMES.items()}
_INDEFINITE, _LINK, _DETERMINER = compiled((changes.INDEFINITE, changes.LINK, changes.DETERMINER))


@dataclass
class Found:
    """The conditions found in a text, and the rest of the text."""

    text: str
    negative: list[str] = field(default_factory=list[str])
    style: str | None = None
    size: tuple[int, int] | None = None
    n: int | None = None
    seed: int | None = None
    more: bool = False
    """Whether the number means other pictures, not the same ones again."""


@dataclass
class _Change:
    """The changes to the previous picture."""

    before: Conditions
    prompt: str
    negative: list[str]
    n: int | None
    another: bool = False
    """Whether another picture like it is wanted, with a new seed."""

    def append(self, text: str, separator: str = ", ") -> None:
        wide = "\u2e80" <= self.prompt[-1] < "\uac00"
        self.prompt = f"{self.prompt}{'，' if wide else separator}{text}"


def refined(found: Found, styles: Sequence[str], previous: Sequence[Conditions]) -> Conditions | None:
    """Return the previous or the named picture with the changes of a message; None for a message about another picture.

    A changed picture keeps its seed; "again" and "three more" get new ones.
    """
    text = found.text.strip(" .!?。！？")
    if _CHATTER.fullmatch(text):
        return previous[-1]
    if _UNDO.fullmatch(text):
        return previous[-2] if len(previous) > 1 else previous[-1]
    rest = shortened(shortened(text, _POLITE), _POLITE)
    named, rest = _named(rest, previous)
    if named is None:
        named, left = _named(tidy(stripped(rest, _AGAIN)[0]), previous)
        rest = rest if named is None else left
    before = previous[-1] if named is None else named
    n = found.n or (1 if named is not None else before.n)
    change = _Change(before, before.prompt, list(found.negative), n)
    known = _apply_message(change, rest, found, styles) or _also(change, text)
    if not known and named is None:
        return None
    return _concluded(change, found, named is not None)


def _concluded(change: _Change, found: Found, named: bool) -> Conditions:
    before = change.before
    for thing in change.negative:
        change.prompt = _removed(change.prompt, thing)
    negative = [part for part in before.negative_prompt.split(", ") if part] + change.negative
    size = found.size or (before.width, before.height)
    kept = None if change.another and not named else before.seed
    return Conditions(
        prompt=change.prompt,
        negative_prompt=", ".join(dict.fromkeys(negative)),
        style=found.style or before.style,
        width=size[0],
        height=size[1],
        n=change.n,
        seed=kept if found.seed is None else found.seed,
    )


def _apply_message(change: _Change, rest: str, found: Found, styles: Sequence[str]) -> bool:
    """Apply the change that the text describes; return False if it describes none."""
    rest, same = _strip_first(_SAME, rest)
    again = False
    if not same:
        rest, again = stripped(rest, _AGAIN)
        rest = _LINK.sub("", shortened(rest, _POLITE), count=1).strip()
    if again and rest and not _is_filler(rest) and not _tells(rest) and not _familiar(rest, change.before):
        return False  # "another dog"
    change.another = again or found.more
    if again and found.n is None:
        change.n = 1
    if not rest.strip() or _is_filler(rest):
        asked = found.style or found.size or found.n or found.negative or found.seed is not None
        return bool(same or again or asked)
    return _apply(change, rest, found, styles) or same or again


def _apply(change: _Change, rest: str, found: Found, styles: Sequence[str]) -> bool:
    """Apply the first kind of change that the text matches; return False if none does."""
    if (count := _count(rest)) is not None:
        change.n, change.another = count, change.another or bool(MORE.search(rest))
        return True
    if match := _first(_REMOVE, rest) or _first(_LESS, rest):
        change.negative.append(_thing(match["what"]))
        return True
    if (style := _bare_style(rest, styles)) is not None:
        found.style = style
        return True
    if _recoloured(change, rest) or _part(change, rest):
        return True
    if match := _first(_REPLACE, rest):
        change.prompt = tidy(match["what"]) or change.prompt
        return True
    return _added(change, rest)


def _also(change: _Change, text: str) -> bool:
    """Add something, as in "and a dog?"."""
    match = _ALSO.search(text)
    if match is None or not tidy(match["what"]):
        return False
    change.append(tidy(match["what"]))
    return True


def _added(change: _Change, rest: str) -> bool:
    if match := _WITH.match(rest):
        again = _WITH.search(change.prompt)
        change.append(tidy(f"{changes.WITH[match[1].lower()]}{rest[match.end() :]}" if again else rest), " ")
        return True
    if any(pattern.search(rest) for pattern in _PLACED):
        change.append(tidy(rest), " ")
        return True
    if any(pattern.search(rest) for pattern in _COMPARATIVES):
        change.append(tidy(rest))
        return True
    left, first = _strip_first(_CHANGE, rest)
    left, last = _strip_first(_CHANGE_AFTER, left.rstrip(" .!?。！？"))
    if not (first or last):
        return False
    if tidy(left) and not _is_filler(left):
        change.append(tidy(left))
    return True


def _recoloured(change: _Change, rest: str) -> bool:
    """Apply a colour ("make it blue", "a bit bluer", "もっと青く"), alone or followed by another change."""
    left = _strip_first(_CHANGE_AFTER, _strip_first(_CHANGE, rest)[0])[0]
    found = colour_in(left)
    if found is None or _INDEFINITE.match(left.strip()):
        return False
    language, colour, match = found
    before, after = left[: match.start()], left[match.end() :]
    if not _is_filler(before):
        return False
    more = _LINK.sub("", after, count=1).strip()
    if not _is_filler(more) and not _tells(more) and colour_in(more) is None:
        return False  # "blue cat": a subject
    change.prompt = coloured(change.prompt, language, colour)
    if _tells(more):
        _added(change, more)
    return True


def _part(change: _Change, rest: str) -> bool:
    match = _first(_PART, rest)
    if match is None:
        return False
    part, how = tidy(match["part"]), tidy(match["how"])
    colour = colour_in(how)
    if not part or (colour is None and part.lower() not in change.prompt.lower()):
        return False
    if colour is None:
        change.append(f"{how} {part}")
        return True
    change.prompt = part_coloured(change.prompt, part, colour[0], colour[1])
    return True


def _named(text: str, previous: Sequence[Conditions]) -> tuple[Conditions | None, str]:
    """Return the earlier picture that a text names ("the first one"), and the text without its name."""
    for place, names in _NAMES.items():
        for pattern in names:
            if match := pattern.search(text):
                at = place if -len(previous) <= place < len(previous) else -1
                return previous[at], _LINK.sub("", f"{text[: match.start()]} {text[match.end() :]}".strip(), count=1)
    return None, text


def _count(text: str) -> int | None:
    match = _first(_COUNT, text.strip(" ,"))
    return None if match is None else number(match)


def number(match: re.Match[str]) -> int | None:
    """Return the number in the group `n` of a match, at most MOST; None for 0."""
    value = match["n"]
    return min(MOST, int(value)) or None if value.isdecimal() else patterns.NUMBERS.get(value.lower())


def _bare_style(text: str, styles: Sequence[str]) -> str | None:
    left, _ = stripped(_strip_first(_CHANGE, text)[0], _FILLERS)
    return next((style for style in styles if " ".join(left.split()).lower() == style.lower()), None)


def _removed(prompt: str, thing: str) -> str:
    """Return the prompt without a thing that is no longer wanted, such as "with a hat"."""
    name = re.escape(_thing(thing))
    if not name:
        return prompt
    if thing[0] >= WIDE:
        return tidy(re.sub(rf"{changes.WORN_BEFORE}{name}{changes.WORN_AFTER}", "", prompt)) or prompt
    return tidy(re.sub(rf"{changes.WITH_BEFORE}{name}\b", "", prompt, flags=re.IGNORECASE)) or prompt


def _thing(text: str) -> str:
    return tidy(_DETERMINER.sub("", text.strip(), count=1)) or tidy(text)


def _tells(text: str) -> bool:
    """Return whether a text begins or ends like a change or an addition."""
    if _WITH.match(text):
        return True
    found = any(pattern.search(text) for pattern in (*_CHANGE, *_COMPARATIVES, *_PLACED, *_REMOVE, *_CHANGE_AFTER))
    colour = colour_in(text)
    return bool(text) and (found or (colour is not None and _is_filler(text.replace(colour[2].group(), " "))))


def _familiar(text: str, before: Conditions) -> bool:
    return tidy(text).lower() in before.prompt.lower()


def _is_filler(text: str) -> bool:
    return not stripped(text, _FILLERS)[0].strip()


def _first(patterns: Iterable[Pattern], text: str) -> re.Match[str] | None:
    return next((match for pattern in patterns if (match := pattern.search(text))), None)


def _strip_first(patterns: Iterable[Pattern], text: str) -> tuple[str, bool]:
    for pattern in patterns:
        match = pattern.search(text)
        if match is not None and match.group():
            return f"{text[: match.start()]} {text[match.end() :]}".strip(), True
    return text, False
