"""Changes that a short message asks for by words of which every one is accounted for. No I/O.

People join such words freely: "I didn't ask for a hat", "could the parrot be a monkey?". So a message is taken apart
into words whose role is known and into content, and is read if its content and the earlier prompt leave one meaning.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from limner_shared.domain.scenes import Colour
from limner_worker.languages import expression
from limner_worker.stages.interpretation.language.files import BY_CODE, FALLBACK
from limner_worker.stages.interpretation.language.number_words import number_in
from limner_worker.stages.interpretation.language.texts import tidy
from limner_worker.stages.interpretation.reading.parsed import MOST, ParsedRequest
from limner_worker.stages.interpretation.reading.sizes import shaped
from limner_worker.stages.interpretation.refining.change import Change
from limner_worker.stages.interpretation.refining.changes import PLACES, ROW
from limner_worker.stages.interpretation.refining.colours import colour_in, coloured, part_coloured
from limner_worker.stages.interpretation.refining.finding import without_place
from limner_worker.stages.interpretation.refining.lexemes import LONGEST, MARK, NEW, SHAPES, Lexeme, lexed
from limner_worker.stages.interpretation.refining.message import SIZES, Message
from limner_worker.stages.interpretation.refining.messages import first_match, nominative
from limner_worker.stages.interpretation.refining.naming import picked
from limner_worker.stages.interpretation.refining.preferring import preferred

_NAMES: Final = (*PLACES, *ROW)
_ENDED: Final = re.compile(r"[.!?;。！？；]")
_TIMES: Final = re.compile(r"^[x×]\s?|(?<=\d)\s?[x×]$", re.IGNORECASE)
_ENGLISH: Final = expression(rf"(?<!\w)(?:{BY_CODE[FALLBACK].connectives.indefinite})\s$")
"""An English article, which may be another word in the language of a message."""
THINGS: Final = ("orange", "pink", "purple", "brown")
"""Colours whose words are names of things too ("a rose", "un café")."""


def plainly(change: Change, found: ParsedRequest, styles: Sequence[str]) -> bool:
    """Apply the change of a message all of whose words are accounted for; return False if it is no such message."""
    text = found.said.strip()
    if len(text) > LONGEST:
        return False
    message = Message(text, lexed(text, change.language, change.prompt, styles), change, tuple(styles))
    if not message.words or not _drawn(message, found):
        return False
    readings: tuple[Callable[[Message], bool], ...] = (
        _coloured, _removed, _replaced, _picked, _retried, _counted, preferred,
    )  # fmt: skip
    read = any(reading(message) for reading in readings) or _only_drawn(message)
    if read:
        note(message, found)
    return read


def _drawn(message: Message, found: ParsedRequest) -> bool:
    """Return whether a shape and a style are conditions that the text was found to have, if it has content too."""
    if not message.some(NEW):
        return True
    styled = found.style is not None or not message.some(*message.styles)
    return styled and (found.size is not None or not message.some(*SIZES))


def _only_drawn(message: Message) -> bool:
    """Read a message that only says how it is drawn ("change the style to flat", "carrée s'il te plaît")."""
    if not message.some(*SIZES, *message.styles) or not message.only("contrast", "retried", "added"):
        return False
    return not any(each.has("retried") and not each.has("asking") for each in message.words)


def note(message: Message, found: ParsedRequest) -> None:
    """Note the style and the shape that the words name, where the text was not found to have them."""
    if found.style is None:
        found.style = next((style for style in message.styles if message.some(style)), None)
    if found.size is None:
        found.size = next((shaped(shape, found.sizes) for shape in SHAPES if message.some(shape)), None)


def _removed(message: Message) -> bool:
    """Read that a thing goes which the prompt has: "I didn't ask for a hat", "hat off please"."""
    runs = message.runs("colour")
    if not message.some("away") or message.some("spared") or not runs or _is_kept(message):
        return False
    if not message.only("away", "added", "colour", NEW) or not all(message.named(*run) for run in runs):
        return False
    if any(each.has("colour") and not _inside(each, runs) for each in message.words):
        return False
    names = [message.name(*run) or "" for run in runs]
    if _ENDED.search(message.text, runs[0][1], runs[-1][0]) or any(_is_subject(message.change, name) for name in names):
        return False
    message.change.negative += names
    return True


def _is_kept(message: Message) -> bool:
    """Return whether words that take a thing away are denied themselves: "don't remove the hat"."""
    words = message.words
    for at, word in enumerate(words[1:], 1):
        denied = any(each.has("away") for each in words[max(0, at - 2) : at] if not each.has(MARK, NEW))
        marked = any(each.has(MARK) for each in words[max(0, at - 2) : at])
        removes = word.has("away") and first_match(message.change.patterns.remove, message.text[word.start :])
        if denied and removes and not marked:
            return True
    return False


def _is_subject(change: Change, name: str) -> bool:
    """Return whether the prompt begins with a thing, which cannot go."""
    at = change.find(name)
    before = "" if at is None else change.prompt[: at.start()]
    return not change.language.unspaced and not change.patterns.article.sub("", before).strip()


def _replaced(message: Message) -> bool:
    """Read that one thing takes another's place: "I meant a monkey, not a parrot"."""
    change, runs = message.change, message.runs("colour")
    if change.language.cases:  # two things side by side, of which the case tells the roles
        runs = [part for run in runs for part in _apart(message, run)]
    old = [run for run in runs if message.named(*run)]
    new = [run for run in runs if not message.named(*run)]
    if len(old) != 1 or not new or not message.only("contrast", "away", "added", "retried", "colour", NEW):
        return False
    if any(each.has("colour") and not _inside(each, runs) for each in message.words) or message.takes_and_adds():
        return False
    start, end = new[0][0], new[-1][1]
    if start < old[0][0] < end or _is_place(message, new) or not _contrasted(message, old[0], (start, end)):
        return False
    first = message.with_article(start)
    if first == start and (len(new) > 1 or (change.articles and not _is_bare(message, old[0], (start, end)))):
        return False
    at = change.find(message.name(*old[0]) or "")
    how = nominative(tidy(message.text[first:end]), change.language)
    if at is None or not how:
        return False
    change.replace(without_place(at, how, change), how)
    return True


def _is_place(message: Message, new: Sequence[tuple[int, int]]) -> bool:
    """Return whether what is new is a place, where all that a picture shows may be."""
    place = message.change.patterns.scenery.search(message.text[: new[-1][1]])
    return place is not None and place.start() <= new[0][0]


def _is_bare(message: Message, old: tuple[int, int], new: tuple[int, int]) -> bool:
    """Return whether neither of two things has an article, and the new one is a word: "monkey, not parrot"."""
    before = [each for each in message.words if each.end <= old[0] or each.end <= new[0]]
    beside = [each for each in before if each.has("article", "definite")]
    return not beside and " " not in message.text[new[0] : new[1]]


def _apart(message: Message, run: tuple[int, int]) -> list[tuple[int, int]]:
    """Return the part of some words that the prompt has, and the rest of them; the words if it has all or none."""
    words = [each for each in message.words if run[0] <= each.start < run[1]]
    if message.named(*run) or len(words) == 1:
        return [run]
    for at in range(1, len(words)):
        both = (run[0], words[at - 1].end), (words[at].start, run[1])
        if any(message.named(*part) for part in both):
            return list(both)
    return [run]


def _contrasted(message: Message, old: tuple[int, int], new: tuple[int, int]) -> bool:
    """Return whether words put something new in the place of the old: at least a denial, and a mark between them."""
    if any(each.has("contrast", "meant") and not each.has("article") for each in message.words):
        return True
    between = (min(old[1], new[1]), max(old[0], new[0]))
    return bool(message.some("away")) and any(between[0] <= each.start < between[1] for each in message.some(MARK))


def _inside(word: Lexeme, runs: Sequence[tuple[int, int]]) -> bool:
    return any(start <= word.start < end for start, end in runs)


def _coloured(message: Message) -> bool:
    """Read a colour for the picture's subject or for a part of it: "I asked for blue", "change the hat to blue"."""
    change = message.change
    found = [colour_in(message.text[each.start : each.end], change.language) for each in message.some("colour")]
    colours = list(dict.fromkeys(each[:2] for each in found if each is not None))
    there = colour_in(change.prompt, change.language)
    if len(colours) == len(("old", "new")) and there is not None and there[1] in [each[1] for each in colours]:
        colours = [each for each in colours if each[1] != there[1]]
    runs = message.runs()
    kinds = ("colour", "contrast", "away", NEW)
    if len(colours) != 1 or len(runs) > 1 or not message.only(*kinds) or not all(message.named(*run) for run in runs):
        return False
    if message.some("away") and there is not None and there[1] == colours[0][1]:
        return False
    if runs and _is_taken_away(message, runs[0]):
        return False
    if not _refers(message, runs[0] if runs else None, colours[0][1]) or _is_thing(message, runs, colours[0][1]):
        return False
    if runs:
        part = change.find(message.name(*runs[0]) or "")
        change.prompt = part_coloured(change.prompt, part.group() if part else "", *colours[0])
    else:
        change.prompt = coloured(change.prompt, *colours[0])
    return True


def _refers(message: Message, run: tuple[int, int] | None, colour: Colour) -> bool:
    """Return whether a colour, or a coloured thing, is the prompt's: "a blue cat" and "a rose" are other subjects."""
    first = message.some("colour")[0].start
    first = first if run is None else min(first, run[0])
    new = message.with_article(first) < first
    if run is None:
        return colour not in THINGS or not (new or _ENGLISH.search(message.text[:first]))
    others = [each for each in message.words if not each.has("colour", NEW, MARK, "article")]
    return message.some("meant", "contrast", "rather") != [] if new else bool(others)


def _is_taken_away(message: Message, run: tuple[int, int]) -> bool:
    """Return whether a thing goes in a clause before the one that has a colour: "lose the hat, and make it blue"."""
    colours = message.some("colour")
    if len(colours) > 1:  # "no red hat, a blue one"
        return False
    marks = [each.start for each in message.some(MARK) if run[1] <= each.start < colours[0].start]
    end = marks[0] if marks else colours[0].start if message.change.language.unspaced else 0
    return any(each.start < end and not each.has("opinions") for each in message.some("away"))


def _is_thing(message: Message, runs: Sequence[tuple[int, int]], colour: Colour) -> bool:
    """Return whether a colour's word names what takes the place of something: "rosas en vez de tulipanes"."""
    if colour not in THINGS or not runs or colour_in(message.text[slice(*runs[0])], message.change.language):
        return False
    end = message.some("colour")[0].end
    return any(end <= each.start < runs[0][0] for each in message.some("contrast"))


def _picked(message: Message) -> bool:
    """Read the name of one of several pictures: "number three is the best"."""
    change = message.change
    named = {name for name in _NAMES if message.some(name)}
    if (change.before.n or 1) < len(("one", "two")) or message.some(NEW, "colour", "away"):
        return False
    numbered = message.some("numbered") and message.some("number")
    if numbered and not named and (value := _number(message)) is not None:
        named = {name for name, place in PLACES.items() if place == value - 1}
    if len(named) != 1 or not message.only("pick", "number", "rather", "contrast", "retried", *_NAMES):
        return False
    picture = picked(named.pop(), change.before)
    if picture is None:
        return False
    change.before, change.prompt, change.n = picture, picture.prompt, 1
    return True


def _retried(message: Message) -> bool:
    """Read that other pictures like it are wanted: "do you have any others?", "three more"."""
    change = message.change
    if any(pattern.match(message.text.lstrip("¿¡ ")) for pattern in change.patterns.comparatives):  # "más alegre"
        return False
    drawn = ("asking",) if message.some(*SIZES, *message.styles) else ()
    again = [each for each in message.some("retried") if not each.has("opinions", *drawn)]
    if not again or message.some(NEW, "colour", "contrast") or not message.only("retried", "number", "away", "added"):
        return False
    change.n, change.another = _number(message) or 1, True
    return True


def _counted(message: Message) -> bool:
    """Read a number of pictures: "can I have five?"."""
    value = _number(message)
    if value is None or value < len(("one", "two")) or not message.only("number", "added"):
        return False
    message.change.n, message.change.another = value, bool(message.change.patterns.more.search(message.text))
    return True


def _number(message: Message) -> int | None:
    """Return the number of pictures that the words name; articles are none."""
    numbers = [each for each in message.some("number") if not each.has("article")]
    if len(numbers) != 1:
        return None
    value = number_in(_TIMES.sub("", message.text[numbers[0].start : numbers[0].end]), message.change.language)
    return min(MOST, value) if value else None
