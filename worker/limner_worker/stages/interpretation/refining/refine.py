"""Refinements by rules: what a message changes about earlier pictures, or that it starts a new one. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from limner_shared.domain.conditions import MAX_TEXT, Conditions
from limner_shared.domain.scenes import Colour
from limner_worker.stages.interpretation.language.number_words import number_in
from limner_worker.stages.interpretation.language.schema import Language
from limner_worker.stages.interpretation.language.texts import Pattern, shortened, stripped, tidy
from limner_worker.stages.interpretation.reading.taking_apart import MOST, ParsedRequest
from limner_worker.stages.interpretation.refining.changes import ChangePatterns, changes_for
from limner_worker.stages.interpretation.refining.colours import colour_in, coloured, part_coloured
from limner_worker.stages.interpretation.refining.giving import given
from limner_worker.stages.interpretation.refining.naming import named_picture
from limner_worker.stages.interpretation.refining.removing import forms, removed
from limner_worker.stages.interpretation.refining.wishes import asks, without_wishes


@dataclass
class _Change:
    """The changes to the previous picture, as a message in one language asks for them."""

    patterns: ChangePatterns
    language: Language
    before: Conditions
    prompt: str
    negative: list[str]
    n: int | None
    another: bool = False
    """Whether another picture like it is wanted, with a new seed."""

    def append(self, text: str, separator: str = ", ") -> None:
        wide = "\u2e80" <= self.prompt[-1] < "\uac00"
        self.prompt = f"{self.prompt}{'，' if wide else separator}{text}"


def refined(
    found: ParsedRequest, styles: Sequence[str], previous: Sequence[Conditions], *, strict: bool = False
) -> Conditions | None:
    """Return the previous or the named picture with the changes of a message; None for a message about another picture.

    A changed picture keeps its seed; "again" and "three more" get new ones. A `strict` reading, of a message that is
    probably in another language, must account for all of its words.
    """
    patterns = changes_for(found.language)
    text = found.text.strip(" .!?。！？")
    if patterns.chatter.fullmatch(text):
        return previous[-1]
    if patterns.undo.fullmatch(text):
        return previous[-2] if len(previous) > 1 else previous[-1]
    rest = _without_politeness(text, patterns)
    another = any(pattern.fullmatch(rest) for pattern in patterns.another)
    if strict and not another and tidy(rest):
        return None
    named, rest = (None, rest) if another else named_picture(rest, patterns, previous)
    if named is None and not another:
        named, left = named_picture(tidy(stripped(rest, patterns.again)[0]), patterns, previous)
        rest = rest if named is None else left
    before = previous[-1] if named is None else named
    n = found.n or (1 if named is not None or another else before.n)
    change = _Change(patterns, found.language, before, before.prompt, list(found.negative), n, another)
    if _changed_to(change, tidy(found.said)):  # "not a dog, but a cat" leaves nothing out
        change.negative = []
        return _concluded(change, found, named is not None)
    known = another or _apply_message(change, rest, found, styles) or _also(change, text)
    if not known and named is None:
        return None
    return _concluded(change, found, named is not None)


def _concluded(change: _Change, found: ParsedRequest, named: bool) -> Conditions:
    before = change.before
    for thing in change.negative:
        change.prompt = removed(change.prompt, thing)
    negative = [part for part in before.negative_prompt.split(", ") if part] + change.negative
    size = found.size or (before.width, before.height)
    kept = None if change.another and not named else before.seed
    return Conditions(
        prompt=change.prompt[:MAX_TEXT],
        negative_prompt=", ".join(dict.fromkeys(negative))[:MAX_TEXT],
        style=found.style or before.style,
        width=size[0],
        height=size[1],
        n=change.n,
        seed=kept if found.seed is None else found.seed,
    )


def _apply_message(change: _Change, rest: str, found: ParsedRequest, styles: Sequence[str]) -> bool:
    """Apply the change that the text describes; return False if it describes none."""
    patterns = change.patterns
    rest, same = _strip_first(patterns.same, rest)
    again = False
    if not same:
        rest, again = stripped(rest, patterns.again)
        rest = patterns.link.sub("", shortened(rest, patterns.polite), count=1).strip()
    tells = _tells(rest, patterns)
    filler = _is_filler(rest, patterns) or (not tells and _only_asks(rest, change))
    known = filler or tells or _familiar(rest, change.before) or _count(rest, change) is not None
    if again and rest and not known:
        return False  # "another dog"
    change.another = again or (found.n is not None and bool(patterns.more.search(found.said)))
    if again and found.n is None:
        change.n = 1
    if not rest.strip() or filler:
        asked = found.style or found.size or found.n or found.negative or found.seed is not None
        return bool(same or again or asked)
    return _apply(change, rest, found, styles) or same or again


def _apply(change: _Change, rest: str, found: ParsedRequest, styles: Sequence[str]) -> bool:
    """Apply the first kind of change that the text matches; return False if none does."""
    patterns = change.patterns
    if (prompt := given(rest, change.prompt, change.language)) is not None:
        change.prompt = prompt
        return True
    if (count := _count(rest, change)) is not None:
        change.n, change.another = count, change.another or bool(patterns.more.search(found.said))
        return True
    if match := _first(patterns.remove, rest) or _first(patterns.less, rest):
        change.negative.append(_thing(match["what"], patterns))
        return True
    if (style := _bare_style(rest, styles, patterns)) is not None:
        found.style = style
        return True
    if _recoloured(change, rest) or _changed_to(change, rest) or _part(change, rest):
        return True
    if match := _first((*patterns.replace, *patterns.instead), rest):
        change.prompt = _nominative(tidy(match["what"]), change.language) or change.prompt
        return True
    return _added(change, rest)


def _also(change: _Change, text: str) -> bool:
    """Add something, as in "and a dog?"."""
    match = change.patterns.also.search(text)
    if match is None or not tidy(match["what"]):
        return False
    change.append(tidy(match["what"]))
    return True


def _added(change: _Change, rest: str) -> bool:
    patterns = change.patterns
    if match := patterns.adding.match(rest):
        again = patterns.adding.search(change.prompt)
        more = change.language.additions[match[1].lower()]
        change.append(tidy(f"{more}{rest[match.end() :]}" if again else rest), " ")
        return True
    if any(pattern.search(rest) for pattern in patterns.placed):
        change.append(tidy(rest), " ")
        return True
    if any(pattern.search(rest) for pattern in patterns.comparatives):
        change.append(tidy(rest))
        return True
    left, first = _strip_first(patterns.change, rest)
    left, last = _strip_first(patterns.change_after, left.rstrip(" .!?。！？"))
    if not (first or last):
        return False
    if tidy(left) and not _is_filler(left, patterns):
        place = any(pattern.search(left) for pattern in patterns.placed)
        change.append(_nominative(tidy(left), change.language), " " if place else ", ")
    return True


def _recoloured(change: _Change, rest: str) -> bool:
    """Apply a colour ("make it blue", "a bit bluer", "もっと青く"), alone or followed by another change."""
    patterns = change.patterns
    left = _without_old_colour(_strip_first(patterns.change_after, _strip_first(patterns.change, rest)[0])[0], change)
    found = colour_in(left, change.language)
    if found is None or patterns.indefinite.match(left.strip()):
        return False
    language, colour, match = found
    before, after = left[: match.start()], left[match.end() :]
    more = patterns.link.sub("", after, count=1).strip()
    if not _is_filler(before, patterns) or not (_is_filler(more, patterns) or _tells(more, patterns)):
        return _wished(change, before, after, (language, colour))  # "blue cat": a subject
    change.prompt = coloured(change.prompt, language, colour)
    if _tells(more, patterns):
        _added(change, more)
    return True


def _without_old_colour(text: str, change: _Change) -> str:
    """Return a text of two colours, of which the prompt has the first, without this: "could the red kite be blue?"."""
    found, old = colour_in(text, change.language), colour_in(change.prompt, change.language)
    if found is None or old is None or old[1] != found[1]:
        return text
    shorter = f"{text[: found[2].start()]}{text[found[2].end() :]}"
    return text if colour_in(shorter, change.language) is None else shorter


def _wished(change: _Change, before: str, after: str, colour: tuple[Language, Colour]) -> bool:
    """Apply a colour among words of asking, to the picture's subject or to a part that the prompt names.

    "Kannst du ihn blau machen?", "could the hat be purple?" An article before the colour begins another subject.
    """
    language = change.language
    if change.patterns.article_last.search(before) or colour_in(f"{before} {after}", language) is not None:
        return False
    parts = [each for said in (before, after) if (each := without_wishes(said, language))]
    if not parts:
        change.prompt = coloured(change.prompt, *colour)
        return True
    alone = "" if language.unspaced else r"(?<!\w)"
    at = re.search(f"{alone}{forms(parts[0], language)}", change.prompt, re.IGNORECASE)
    if len(parts) > 1 or at is None or not (asks(before, language) or asks(after, language)):
        return False
    change.prompt = part_coloured(change.prompt, at.group(), *colour)
    return True


def _changed_to(change: _Change, rest: str) -> bool:
    """Replace a part that the prompt names ("change the frog to a toad"), or give it another colour."""
    match = _first(change.patterns.change_to, rest)
    if match is None:
        return False
    part, how = _thing(match["part"], change.patterns), tidy(match["how"])
    alone = "" if change.language.unspaced else r"(?<!\w)"
    at = re.search(f"{alone}{forms(part, change.language)}", change.prompt, re.IGNORECASE)
    if at is None or not how:
        return False
    colour = colour_in(how, change.language)
    if colour is not None and _is_filler(how.replace(colour[2].group(), " "), change.patterns):
        swapped = colour_in(part, change.language) is not None
        paint = coloured if swapped else partial(part_coloured, part=at.group())
        change.prompt = paint(change.prompt, language=colour[0], colour=colour[1])
    else:
        change.prompt = _replaced(change, at, _nominative(how, change.language))
    return True


def _replaced(change: _Change, part: re.Match[str], how: str) -> str:
    """Return the prompt with something else in place of a part, together with the part's own article and adjectives."""
    left, right = change.prompt[: part.start()], change.prompt[part.end() :]
    if change.patterns.indefinite.match(how):
        left = re.sub(rf"{change.patterns.article.pattern}(?:[^\W\d]+\s+){{0,2}}$", "", left, flags=re.IGNORECASE)
    return f"{left}{how}{right}"


def _part(change: _Change, rest: str) -> bool:
    match = _first(change.patterns.part, rest)
    if match is None:
        return False
    part, how = tidy(match["part"]), tidy(match["how"])
    colour = colour_in(how, change.language)
    if not part or (colour is None and part.lower() not in change.prompt.lower()):
        return False
    if colour is None:
        change.append(f"{how} {part}")
        return True
    change.prompt = part_coloured(change.prompt, part, colour[0], colour[1])
    return True


def _without_politeness(text: str, patterns: ChangePatterns) -> str:
    for pattern in (*patterns.polite, *patterns.polite):
        text = pattern.sub("", text, count=1)
    return text


def _nominative(text: str, language: Language) -> str:
    article, _, noun = text.partition(" ")
    return f"{language.nominative.get(article.lower(), article)} {noun}".strip()


def _count(text: str, change: _Change) -> int | None:
    match = _first(change.patterns.count_alone, text.strip(" ,"))
    value = None if match is None else number_in(match["n"], change.language)
    return min(MOST, value) if value else None


def _bare_style(text: str, styles: Sequence[str], patterns: ChangePatterns) -> str | None:
    left, _ = stripped(_strip_first(patterns.change, text)[0], patterns.fillers)
    return next((style for style in styles if " ".join(left.split()).lower() == style.lower()), None)


def _thing(text: str, patterns: ChangePatterns) -> str:
    return tidy(patterns.determiner.sub("", text.strip(), count=1)) or tidy(text)


def _tells(text: str, patterns: ChangePatterns) -> bool:
    """Return whether a text begins or ends like a change or an addition."""
    if patterns.adding.match(text):
        return True
    kinds = (patterns.change, patterns.comparatives, patterns.placed, patterns.remove, patterns.change_after)
    return bool(text) and any(pattern.search(text) for kind in kinds for pattern in kind)


def _familiar(text: str, before: Conditions) -> bool:
    return tidy(text).lower() in before.prompt.lower()


def _is_filler(text: str, patterns: ChangePatterns) -> bool:
    return not stripped(text, patterns.fillers)[0].strip()


def _only_asks(text: str, change: _Change) -> bool:
    """Return whether a text has no other words than those of asking, with or without those that mean nothing."""
    plain = stripped(text, change.patterns.fillers)[0]
    return not (without_wishes(text, change.language) and without_wishes(plain, change.language))


def _first(patterns: Iterable[Pattern], text: str) -> re.Match[str] | None:
    return next((match for pattern in patterns if (match := pattern.search(text))), None)


def _strip_first(patterns: Iterable[Pattern], text: str) -> tuple[str, bool]:
    for pattern in patterns:
        match = pattern.search(text)
        if match is not None and match.group():
            return f"{text[: match.start()]} {text[match.end() :]}".strip(), True
    return text, False
