"""Refinements by rules: what a message changes about earlier pictures, or that it starts a new one. No I/O."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from limner_shared.domain.conditions import Conditions
from limner_shared.domain.scenes import Colour
from limner_worker.stages.interpretation.language.schema import Language
from limner_worker.stages.interpretation.language.texts import shortened, stripped, tidy
from limner_worker.stages.interpretation.reading.parsed import ParsedRequest
from limner_worker.stages.interpretation.refining.adding import added
from limner_worker.stages.interpretation.refining.change import Change, concluded
from limner_worker.stages.interpretation.refining.changes import changes_for
from limner_worker.stages.interpretation.refining.colours import colour_in, coloured, part_coloured
from limner_worker.stages.interpretation.refining.giving import given
from limner_worker.stages.interpretation.refining.looks import show_look
from limner_worker.stages.interpretation.refining.messages import (
    bare_style,
    count_alone,
    familiar,
    first_match,
    is_filler,
    name_of,
    nominative,
    only_asks,
    strip_first,
    tells,
    undoes,
    without_politeness,
)
from limner_worker.stages.interpretation.refining.naming import named_picture
from limner_worker.stages.interpretation.refining.plain import THINGS, plainly
from limner_worker.stages.interpretation.refining.remarks import says_nothing, without_asking
from limner_worker.stages.interpretation.refining.times import timed
from limner_worker.stages.interpretation.refining.wishes import asks, without_wishes

_MARKS: Final = re.compile(r"[.!?,;。！？，、；]")
"""What ends a clause: what takes the place of a thing has none."""


def refined(
    found: ParsedRequest, styles: Sequence[str], previous: Sequence[Conditions], *, strict: bool = False
) -> Conditions | None:
    """Return the previous or the named picture with the changes of a message; None for a message about another picture.

    A changed picture keeps its seed; "again" and "three more" get new ones. A `strict` reading, of a message that is
    probably in another language, must account for all of its words.
    """
    patterns = changes_for(found.language)
    text = found.text.strip(" .!?¿¡。！？")
    if patterns.chatter.fullmatch(text):
        if found.n is None and found.style is None and found.size is None and not found.negative:
            return previous[-1]
        text = ""  # "nice! two more"
    if undoes(text, patterns) or undoes(found.said, patterns):
        return previous[-2] if len(previous) > 1 else previous[-1]
    rest = without_politeness(text, patterns)
    another = any(pattern.fullmatch(rest) for pattern in patterns.another)
    if strict and not another and tidy(rest):
        return None
    named, rest = (None, rest) if another else named_picture(rest, patterns, previous)
    if named is None and not another:
        named, left = named_picture(tidy(stripped(rest, patterns.again)[0]), patterns, previous)
        rest = rest if named is None else left
    before = previous[-1] if named is None else named
    n = found.n or (1 if named is not None or another else before.n)
    change = Change(patterns, found.language, before, before.prompt, list(found.negative), n, another)
    if _changed_to(change, tidy(found.said)):  # "not a dog, but a cat" leaves nothing out
        change.negative = []
        return concluded(change, found, named is not None)
    known = another or _apply_message(change, rest, found, styles) or _also(change, text)
    if not known and named is None:
        return None
    return concluded(change, found, named is not None)


def accounted(
    found: ParsedRequest, styles: Sequence[str], previous: Sequence[Conditions], *, adding: bool = False
) -> Conditions | None:
    """Return the previous or a named picture with the changes of a message of which every word is accounted for.

    With `adding`, the message may also add a thing, of which any word is a part.
    """
    before = previous[-1]
    change = Change(changes_for(found.language), found.language, before, before.prompt, [], before.n)
    read = timed(change, found, styles) or plainly(change, found, styles)
    read = read or (adding and (added(change, found, styles) or _beside_left_out(change, found, styles)))
    return concluded(change, found, named=False) if read else None


def _beside_left_out(change: Change, found: ParsedRequest, styles: Sequence[str]) -> bool:
    """Apply what a message says beside what it leaves out: "three variations without gulls"."""
    if not found.negative or not tidy(found.text):
        return False
    change.negative = list(found.negative)
    rest = replace(found, said=tidy(found.text))
    read = plainly(change, rest, styles)
    change.n, found.style, found.size = found.n or change.n, rest.style, rest.size
    return read


def _apply_message(change: Change, rest: str, found: ParsedRequest, styles: Sequence[str]) -> bool:
    """Apply the change that the text describes; return False if it describes none."""
    patterns = change.patterns
    rest, same = strip_first(patterns.same, rest)
    again = False
    if not same:
        rest, again = stripped(rest, patterns.again)
        rest = patterns.link.sub("", shortened(rest, patterns.polite), count=1).strip()
    telling = tells(rest, patterns)
    filler = is_filler(rest, patterns) or (not telling and only_asks(rest, patterns, change.language))
    known = filler or telling or familiar(rest, change.before) or count_alone(rest, change) is not None
    if again and rest and not known:
        return False  # "another dog"
    change.another = again
    if again and found.n is None:
        change.n = 1
    if not rest.strip() or filler:
        asked = found.style or found.size or found.n or found.negative or found.seed is not None
        return bool(same or again or asked)
    if (prompt := given(rest, change.prompt, change.language)) is not None:
        change.prompt, change.another = prompt, False
        return True
    return _apply(change, rest, found, styles) or same or again


def _apply(change: Change, rest: str, found: ParsedRequest, styles: Sequence[str]) -> bool:
    """Apply the first kind of change that the text matches; return False if none does."""
    patterns = change.patterns
    if (count := count_alone(rest, change)) is not None:
        change.n, change.another = count, change.another or bool(patterns.more.search(found.said))
        return True
    if match := first_match(patterns.remove, rest) or first_match(patterns.less, rest):
        change.negative.append(name_of(match["what"], patterns))
        return True
    if (style := bare_style(rest, styles, patterns)) is not None:
        found.style = style
        return True
    if _recoloured(change, rest) or _changed_to(change, rest) or _part(change, rest):
        return True
    if match := first_match((*patterns.replace, *patterns.instead), rest):
        change.prompt = nominative(tidy(match["what"]), change.language) or change.prompt
        return True
    return _added(change, rest)


def _also(change: Change, text: str) -> bool:
    """Add something, as in "and a dog?"."""
    if _moved(change, tidy(text)):
        return True
    match = change.patterns.also.search(text)
    if match is None or not tidy(match["what"]):
        return False
    change.append(tidy(match["what"]))
    return True


def _moved(change: Change, text: str) -> bool:
    """Put the whole picture in another place, as in "and now the whole thing on a beach"."""
    place = change.patterns.scenery.search(text)
    if place is None or not says_nothing(text[: place.start()], change):
        return False
    change.place(place.group())
    return True


def _added(change: Change, rest: str) -> bool:
    patterns = change.patterns
    if _moved(change, tidy(rest)):
        return True
    if match := patterns.adding.match(rest):
        again = patterns.adding.search(change.prompt)
        more = change.language.additions[match[1].lower()]
        change.append(tidy(f"{more}{rest[match.end() :]}" if again else rest), " ")
        return True
    if any(pattern.search(rest) for pattern in patterns.placed):
        change.place(tidy(rest))
        return True
    if any(pattern.search(rest) for pattern in patterns.comparatives):
        look = tidy(rest)
        show_look(change, f"{look[0].lower()}{look[1:]}")
        return True
    left, first = strip_first(patterns.change, rest)
    left, last = strip_first(patterns.change_after, left.rstrip(" .!?。！？"))
    if not (first or last):
        return False
    if tidy(left) and not is_filler(left, patterns):
        if any(pattern.search(left) for pattern in patterns.placed):
            change.place(nominative(tidy(left), change.language))
        else:
            change.append(nominative(tidy(left), change.language))
    return True


def _recoloured(change: Change, rest: str) -> bool:
    """Apply a colour ("make it blue", "a bit bluer", "もっと青く"), alone or followed by another change."""
    patterns = change.patterns
    left = _without_old_colour(strip_first(patterns.change_after, strip_first(patterns.change, rest)[0])[0], change)
    found = colour_in(left, change.language)
    if found is None or patterns.indefinite.match(left.strip()):
        return False
    language, colour, match = found
    before, after = left[: match.start()], left[match.end() :]
    more = patterns.link.sub("", after, count=1).strip()
    if not is_filler(before, patterns) or not (is_filler(more, patterns) or tells(more, patterns)):
        return _wished(change, before, after, (language, colour))  # "blue cat": a subject
    change.prompt = coloured(change.prompt, language, colour)
    if tells(more, patterns):
        _added(change, more)
    return True


def _without_old_colour(text: str, change: Change) -> str:
    """Return a text of two colours, of which the prompt has the first, without this: "could the red kite be blue?"."""
    found, old = colour_in(text, change.language), colour_in(change.prompt, change.language)
    if found is None or old is None or old[1] != found[1]:
        return text
    shorter = f"{text[: found[2].start()]}{text[found[2].end() :]}"
    return text if colour_in(shorter, change.language) is None else shorter


def _wished(change: Change, before: str, after: str, colour: tuple[Language, Colour]) -> bool:
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
    at = change.find(parts[0])
    if len(parts) > 1 or at is None or not (asks(before, language) or asks(after, language)):
        return False
    change.prompt = part_coloured(change.prompt, at.group(), *colour)
    return True


def _changed_to(change: Change, rest: str) -> bool:
    """Replace a part that the prompt names ("change the frog to a toad"), or give it another colour."""
    match = first_match(change.patterns.change_to, rest)
    if match is None:
        return False
    part, how = name_of(match["part"], change.patterns), without_asking(tidy(match["how"]), change)
    at = change.find(part)
    if at is None or not how:
        return False
    if change.moves(at, how):  # "put it on a beach instead of in the park"
        return True
    if _MARKS.search(how):
        return False
    colour = colour_in(how, change.language)
    swapped = colour_in(part, change.language) is not None
    thing = colour is not None and colour[1] in THINGS and not swapped and match.start("how") < match.start("part")
    if colour is not None and not thing and is_filler(how.replace(colour[2].group(), " "), change.patterns):
        paint = coloured if swapped else partial(part_coloured, part=at.group())
        change.prompt = paint(change.prompt, language=colour[0], colour=colour[1])
    else:
        change.replace(at, nominative(how, change.language))
    return True


def _part(change: Change, rest: str) -> bool:
    match = first_match(change.patterns.part, rest)
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
