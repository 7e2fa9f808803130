"""Takes away the words that a tagger holds for asking, and merges what the rules find before and after. No I/O."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import groupby, pairwise
from typing import Final

from limner_shared.domain.conditions import Conditions
from limner_worker.languages import expression
from limner_worker.stages.interpretation.language.files import NOTHING
from limner_worker.stages.interpretation.language.schema import Language
from limner_worker.stages.interpretation.language.texts import HANGUL, Pattern
from limner_worker.stages.interpretation.reading.address import may_ask
from limner_worker.stages.interpretation.reading.things import media_of

LEAST: Final = 1e-3
"""Probabilities are limited to the range from this to 1 minus this, so that no single word decides."""
SWITCH: Final = 1.5
"""The cost, in natural logarithms, of beginning or ending a run of words of asking: one word needs more certainty."""
DOUBT: Final = 3.0
"""The cost of dropping a word, in addition: a word stays unless its probability of asking is above 0.95."""
CERTAIN: Final = 0.9
HEADING: Final = 0.1
"""How likely words before a colon may say what a picture shows, at most, to be no more than its heading."""
_COLON: Final = re.compile(r"[:\uff1a](?!\d|//)")
POSSIBLE: Final = 0.5
"""How likely words that only lead to words of asking must ask."""
UNDOUBTED: Final = 0.995
"""How likely words in which the rules know no word of asking must ask."""
_LONGEST_JOINER: Final = 2
"""The most characters that only join two parts of what is drawn, in a language without spaces."""
_UNITS: Final = re.compile(r"\S+")
_CHARACTERS: Final = re.compile(r"\S")
_WORDS: Final = re.compile(r"[^\W\d_]+")
_WORD: Final = re.compile(r"[^\W\d_]")
_BREAK: Final = re.compile(r"[,.;:!?…，。、！？；：]")
_ENDS: Final = ",.;:!?…，。、！？；： "


@dataclass(frozen=True)
class Tagged:
    """A text, and for each character how likely it belongs to words of asking, or to those that leave something out."""

    text: str
    asking: Sequence[float]
    leaving: Sequence[float] = ()
    """How likely it belongs to words that leave something out; empty if that is not known."""
    left_out: Sequence[float] = ()
    """How likely it belongs to a thing to leave out."""
    number: Sequence[float] = ()
    """How likely it belongs to words that say how many pictures to draw."""
    size: Sequence[float] = ()
    """How likely it belongs to words that name a format."""
    subject: Sequence[float] = ()
    """How likely it belongs to what the picture shows; empty if that is not known."""

    @property
    def asking_nothing(self) -> Tagged:
        """The same text, in which no word asks."""
        return replace(self, asking=[0.0] * len(self.text))


def without_asking(tagged: Tagged, language: Language, away: Sequence[tuple[int, int]] = ()) -> str:
    """Return a text without its words of asking, and without the spans `away`; the text if no word would remain.

    The runs are the likeliest ones (Viterbi 1967). Words that say how a picture is made ("portrait") are never of them.
    In a language whose words have no spaces, characters are judged.
    """
    unspaced = _is_unspaced(tagged.text, language)
    away = [*away, *_headings(tagged, language)]
    tagged = _marked(tagged, language, away)
    units = units_of(tagged.text, language)
    words = [tagged.text[start:end] for start, end in units]
    dropped = _sure(tagged, units, language, away)
    if not unspaced:
        dropped = _without_joins(
            _closed(dropped, words), words, [mean_of(tagged.text, tagged.asking, unit) for unit in units], language
        )
    spans: list[tuple[int, int]] = []
    for (start, end), drop in zip(units, dropped, strict=True):
        if drop:
            continue
        if spans and not tagged.text[spans[-1][1] : start].strip():
            spans[-1] = spans[-1][0], end
        else:
            spans.append((start, end))
    rest = _joined(tagged.text, spans, unspaced=unspaced)
    return rest if _says_something(rest, language) else tagged.text


def _says_something(text: str, language: Language) -> bool:
    """Return whether a text has a word that is not only a small one: "because" is."""
    small = {*language.grammar.split(), *language.small_words.split()}
    reasons = expression("|".join(filter(None, (language.requests.because, language.address.reasons))) or NOTHING)
    return any(word not in small and reasons.fullmatch(word) is None for word in _WORDS.findall(text.lower()))


def _without_joins(
    dropped: Sequence[bool], words: Sequence[str], asking: Sequence[float], language: Language
) -> list[bool]:
    """Return which words go, with those that only lead to words that go and rather ask: "and I shall be happy"."""
    found = list(dropped)
    small = "|".join(filter(None, (language.connectives.and_, language.connectives.links, language.address.persons)))
    leads = expression(small or NOTHING)
    for at in range(len(found) - 2, 0, -1):
        found[at] = found[at] or (found[at + 1] and asking[at] > POSSIBLE and leads.fullmatch(words[at]) is not None)
    return found


def _headings(tagged: Tagged, language: Language) -> list[tuple[int, int]]:
    """Return what stands before a colon and hardly says what a picture shows: "for our menu:".

    One word may be a medium.
    """
    colon = _COLON.search(tagged.text)
    if colon is None or not tagged.subject or not _WORD.search(tagged.text, colon.end()):
        return []
    said = tagged.text[: colon.start()]
    if _media(language).search(said) is not None or (not language.unspaced and len(said.split()) == 1):
        return []
    return [(0, colon.end())] if mean_of(tagged.text, tagged.subject, (0, colon.start())) < HEADING else []


def merged(before: Conditions, after: Conditions, language: Language) -> Conditions:
    """Return what the rules find in a text, with the prompt of the text without its words of asking.

    What is found only after is added, but for things to leave out.
    """
    if len(after.prompt) > len(before.prompt) and _says_something(before.prompt, language):
        return before
    size = before if before.width is not None else after
    return before.model_copy(
        update={
            "prompt": after.prompt,
            "n": after.n if before.n is None else before.n,
            "style": before.style or after.style,
            "width": size.width,
            "height": size.height,
        }
    )


def _marked(tagged: Tagged, language: Language, away: Sequence[tuple[int, int]]) -> Tagged:
    """Return the text with words for how a picture is made as surely not of asking, and those to take away as of it."""
    asking = list(tagged.asking)
    for match in _media(language).finditer(tagged.text):
        asking[match.start() : match.end()] = [0.0] * len(match.group())
    for start, end in away:
        asking[start:end] = [1.0] * (end - start)
    return replace(tagged, asking=asking)


@cache
def _media(language: Language) -> Pattern:
    return expression(media_of(language) if language.unspaced else rf"(?<!\w)(?:{media_of(language)})(?!\w)")


def _is_unspaced(text: str, language: Language) -> bool:
    return language.unspaced and not HANGUL.search(text)


def units_of(text: str, language: Language) -> list[tuple[int, int]]:
    """Return where the words of a text are, or its characters if its language has no spaces between words."""
    return characters_of(text) if _is_unspaced(text, language) else [match.span() for match in _UNITS.finditer(text)]


def characters_of(text: str) -> list[tuple[int, int]]:
    """Return where the characters of a text are, without its spaces."""
    return [match.span() for match in _CHARACTERS.finditer(text)]


def mean_of(text: str, shares: Sequence[float], span: tuple[int, int]) -> float:
    """Return the mean of shares over the letters and digits of a span, or over all of it if it has none."""
    places = [at for at in range(*span) if text[at].isalnum()] or list(range(*span))
    return sum(shares[at] for at in places) / len(places)


def _runs(asking: Sequence[float]) -> list[bool]:
    """Return for each unit whether it is of a run of asking."""
    costs = (0.0, 0.0)
    came: list[tuple[bool, bool]] = []
    for each in asking:
        sure = min(max(each, LEAST), 1 - LEAST)
        switched = costs[1] + SWITCH < costs[0], costs[0] + SWITCH < costs[1]
        came.append((switched[0], not switched[1]))
        keep, drop = -math.log(1 - sure), DOUBT - math.log(sure)
        costs = min(costs[0], costs[1] + SWITCH) + keep, min(costs[1], costs[0] + SWITCH) + drop
    dropping = costs[1] < costs[0]
    found: list[bool] = []
    for of_keep, of_drop in reversed(came):
        found.append(dropping)
        dropping = of_drop if dropping else of_keep
    return found[::-1]


def _sure(
    tagged: Tagged, units: Sequence[tuple[int, int]], language: Language, away: Sequence[tuple[int, int]]
) -> list[bool]:
    """Return for each unit whether it is of a run of asking.

    A run has a word that the rules know for asking, or one to take `away`, or is beyond doubt. One that follows what is
    kept, without a mark between, must certainly ask.
    """
    asking = [mean_of(tagged.text, tagged.asking, span) for span in units]
    unspaced = _is_unspaced(tagged.text, language)
    found: list[bool] = []
    for drop, some in groupby(enumerate(_runs(asking)), key=lambda each: each[1]):
        run = [at for at, _ in some]
        start, end = units[run[0]][0], units[run[-1]][1]
        marked = run[0] == 0 or _BREAK.search(tagged.text[units[run[0] - 1][1] - 1 : start + 1]) is not None
        joins = unspaced and run[0] > 0 and len(run) <= _LONGEST_JOINER and run[-1] < len(units) - 1
        sure = drop and not joins and (marked or sum(asking[at] for at in run) / len(run) > CERTAIN)
        known = _may_ask(tagged.text[start:end], language) or _overlaps((start, end), away)
        asks = sure and (known or sum(asking[at] for at in run) / len(run) > UNDOUBTED)
        found += [asks] * len(run)
    return found


def _overlaps(span: tuple[int, int], others: Sequence[tuple[int, int]]) -> bool:
    return any(start < span[1] and span[0] < end for start, end in others)


def _may_ask(words: str, language: Language) -> bool:
    """Return whether words have a stem of asking; marks alone may be dropped."""
    return not _WORD.search(words) or may_ask(words, language)


def _closed(dropped: Sequence[bool], words: Sequence[str]) -> list[bool]:
    """Return the same runs, but for single words within what is kept: "of" joins two parts of a subject."""
    inside = [at for at in range(1, len(dropped) - 1) if not (dropped[at - 1] or dropped[at + 1])]
    kept = {at for at in inside if not _BREAK.search(words[at - 1][-1:] + words[at])}
    return [drop and at not in kept for at, drop in enumerate(dropped)]


def _joined(text: str, spans: Sequence[tuple[int, int]], *, unspaced: bool) -> str:
    """Join what is kept of a text, with a comma where a clause ended within what was dropped."""
    parts = [text[spans[0][0] : spans[0][1]]] if spans else []
    for (_, end), (start, until) in pairwise(spans):
        ended = _BREAK.search(text[end:start]) and text[end - 1] not in _ENDS
        space = "" if unspaced and " " not in text[end:start] else " "
        parts.append(f"{',' if ended else ''}{space}{text[start:until]}")
    return "".join(parts).strip(_ENDS)
