"""What a tagger holds for things to leave out, where the rules do not know the words that say so. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import Final

from limner_shared.domain.conditions import Conditions
from limner_worker.languages import expression
from limner_worker.stages.interpretation.language.files import BY_CODE, FALLBACK, NOTHING
from limner_worker.stages.interpretation.language.schema import Language
from limner_worker.stages.interpretation.language.texts import WIDE, Pattern, tidy
from limner_worker.stages.interpretation.reading.fixed_names import has_name, is_named
from limner_worker.stages.interpretation.reading.patterns import RequestPatterns, patterns_for
from limner_worker.stages.interpretation.reading.taking_apart import begins_another, is_doubled
from limner_worker.stages.interpretation.tagging.asking_words import Tagged, characters_of, mean_of, units_of

POSSIBLE: Final = 0.1
"""How likely the words beside those that likely leave something out must do so too (hysteresis)."""
LIKELY: Final = 0.5
SURE: Final = 0.8
"""How likely a thing must be one to leave out: the rules found it nowhere, and it may be what to draw."""
CLEAR: Final = 0.6
"""How likely the words beside the things must leave them out."""
UNKNOWN: Final = 0.88
"""How likely a clause in which the rules know no word that denies anything must leave something out."""
REFUSED: Final = 0.1
"""How likely words that the rules hold for leaving out must do so, at least."""
DRAWN: Final = 0.05
"""How likely words after what is left out must be of it, at most, to be drawn."""
UNSPACED: Final = 0.002
"""The same in languages without capitals."""
_BETWEEN: Final = ", "
"""What stands between the things of conditions."""


@dataclass(frozen=True)
class Clause:
    """Words that leave things out, by their place in a text."""

    span: tuple[int, int]
    things: tuple[str, ...]


def clauses(tagged: Tagged, language: Language) -> list[Clause]:
    """Return the runs of words that leave something out and surely name it, from left to right.

    What someone says leaves nothing out ("a sign that says no dogs"), nor does what is negated ("not without a hat").
    """
    # Korean has spaces, but its particles stand at the words.
    units = characters_of(tagged.text) if language.unspaced else units_of(tagged.text, language)
    patterns = patterns_for(language)
    found: list[Clause] = []
    for first, until in runs(tagged.text, tagged.leaving, units, POSSIBLE):
        start = _begun(tagged, (first, until), units, patterns)
        end = start + begins_another(tagged.text[start:until], patterns)
        if not start and (joins := patterns.joined_first.match(tagged.text[end:until])):
            end += joins.end()
        inside = [unit for unit in units if start <= unit[0] and unit[1] <= end]
        named = runs(tagged.text, tagged.left_out, inside)
        spans = [span for span in named if mean_of(tagged.text, tagged.left_out, span) >= SURE]
        sure = [tagged.text[slice(*span)] for span in spans]
        things = [_plain(each, language) for each in sure]
        things = [thing for thing in things if thing and not patterns.idle.fullmatch(thing)]
        others = [unit for unit in inside if not any(begins <= unit[0] < ends for begins, ends in spans)]
        says_so = _has_others(tagged.text[start:end], sure, patterns)
        says_so = says_so and sum(mean_of(tagged.text, tagged.leaving, unit) for unit in others) > CLEAR * len(others)
        says_so = says_so and (_denies(tagged.text[start:end], language) or _mean(tagged, inside) > UNKNOWN)
        named_so = any(is_named(tagged.text, (start, end), thing, patterns) for thing in things)
        if things and says_so and not named_so and not _is_said(tagged.text, (start, end), patterns):
            found.append(Clause((start, end), tuple(things)))
    return found


def _begun(tagged: Tagged, span: tuple[int, int], units: Sequence[tuple[int, int]], patterns: RequestPatterns) -> int:
    """Return where words that leave something out begin.

    If some of the first words are in doubt, it is where the rules have it: "it is raining but leave out the umbrella".
    """
    inside = [unit for unit in units if span[0] <= unit[0] and unit[1] <= span[1]]

    def says_so(unit: tuple[int, int]) -> float:
        return mean_of(tagged.text, tagged.leaving, unit)

    start, end = span
    matches = (pattern.search(tagged.text, start, end) for pattern in patterns.without)
    by_rules = min((match.start() for match in matches if match is not None), default=start)
    before = [unit for unit in inside if unit[1] <= by_rules]
    joined = patterns.joined_last.search(tagged.text[start:by_rules])
    return by_rules if before and not joined and min(map(says_so, before)) < SURE else start


def _mean(tagged: Tagged, units: Sequence[tuple[int, int]]) -> float:
    """Return how likely some words leave something out, each with the same weight."""
    return sum(mean_of(tagged.text, tagged.leaving, unit) for unit in units) / max(1, len(units))


def _denies(text: str, language: Language) -> bool:
    """Return whether a text has a word that denies something, in its language or in English."""
    return any(_denials(each).search(text) is not None for each in (language, BY_CODE[FALLBACK]))


@cache
def _denials(language: Language) -> Pattern:
    away = language.changes.words.away or NOTHING
    return expression(away if language.unspaced else rf"(?<!\w)(?:{away})(?!\w)")


def _has_others(text: str, things: Sequence[str], patterns: RequestPatterns) -> bool:
    """Return whether a text has other words than things and what joins them."""
    for thing in things:
        text = text.replace(thing, ",", 1)
    return any(each.isalnum() for each in patterns.joins.sub("", text))


def extent(tagged: Tagged, language: Language) -> Callable[[str, int], int]:
    """Return what tells how many characters of words of leaving out, as the rules have them, leave something out.

    None do if none of the words may do so in a text with a name, which may be of them ("No Face on a train"). Words
    after the last that may, say what to draw ("without a tail and a dog"); but in a text without a name, the thing
    itself is left out, whatever the tagger holds it for ("un iglú, pero quítale la bandera").
    """
    units, joins = units_of(tagged.text, language), patterns_for(language).joined_first
    named = has_name(tagged.text, language)
    least = REFUSED if named else 0 if not language.unspaced else UNSPACED

    def of(words: str, thing: int) -> int:
        said = words.strip(" ,")
        start = tagged.text.lower().find(said.lower())
        inside = [unit for unit in units if start < unit[1] and unit[0] < start + len(said)]
        if start < 0 or not inside or not tagged.leaving:
            return len(words)
        shares = [mean_of(tagged.text, tagged.leaving, unit) for unit in inside]
        if max(shares) < least:
            return 0
        may = [unit for unit, share in zip(inside, shares, strict=True) if share > DRAWN] or inside
        while len(may) > 1 and joins.match(f"{tagged.text[slice(*may[-1])]} "):  # it joins what is drawn
            may.pop()
        rest = tagged.text[may[-1][1] :].lstrip()
        if language.unspaced or may[-1] == inside[-1] or rest[:1].isupper():  # the rest of a name
            return len(words)
        end = words.find(said) + may[-1][1] - start
        return end if named or end > thing else len(words)

    return of


def named_in(prompt: str, conditions: Conditions) -> bool:
    """Return whether a prompt has a thing that the conditions leave out."""
    return any(_is_part(thing, prompt) for thing in _things(conditions))


def completed(conditions: Conditions, found: Sequence[Clause], tagged: Tagged) -> Conditions:
    """Return conditions that leave out the clauses' things too, and the rules' things without what is none of them.

    What the prompt names is not left out: a text such as "no cat" is its own subject.
    """
    said = [thing for each in found for thing in each.things if not _is_part(thing, conditions.prompt)]
    things = [_trimmed(thing, said, tagged) for thing in _things(conditions)]
    things = [thing for thing in things if thing in said or not any(_is_part(thing, of) for of in said)]
    things += [thing for thing in said if not any(_is_part(thing, of) for of in things)]
    return conditions.model_copy(update={"negative_prompt": _BETWEEN.join(dict.fromkeys(things))})


def runs(
    text: str, shares: Sequence[float], units: Sequence[tuple[int, int]], least: float = LIKELY
) -> list[tuple[int, int]]:
    """Return the runs of units of which each has a role with at least a small share, and one likely has it."""
    if not shares:
        return []
    found: list[tuple[int, int]] = []
    for may, some in groupby(units, key=lambda unit: mean_of(text, shares, unit) > least):
        run = list(some)
        if may and any(mean_of(text, shares, unit) > LIKELY for unit in run):
            found.append((run[0][0], run[-1][1]))
    return found


def _is_said(text: str, span: tuple[int, int], patterns: RequestPatterns) -> bool:
    """Return whether someone says the words, or they are negated: both leave nothing out."""
    return patterns.speech.search(text[: span[0]]) is not None or is_doubled(text, span, patterns)


def _trimmed(thing: str, said: Sequence[str], tagged: Tagged) -> str:
    """Return a thing of the rules as the tagger has it, if it is the beginning or the end: "wires" of "wires in it"."""
    start = tagged.text.lower().find(thing.lower())
    for each in said:
        begins = thing.lower().startswith(f"{each.lower()} ")
        if start < 0 or not (begins or thing.lower().endswith(f" {each.lower()}")):
            continue
        cut = len(thing) - len(each)
        other = (start + len(each), start + len(thing)) if begins else (start, start + cut)
        left_out, leaving, asking = (
            mean_of(tagged.text, shares, other) for shares in (tagged.left_out, tagged.leaving, tagged.asking)
        )
        if left_out < 1 - SURE and leaving + asking > LIKELY:
            return each
    return thing


def _things(conditions: Conditions) -> list[str]:
    return [thing for thing in conditions.negative_prompt.split(_BETWEEN) if thing]


def _is_part(thing: str, of: str) -> bool:
    """Return whether the words of a thing are in another one, or its characters if it has no spaces between words."""
    part, whole = thing.lower(), of.lower()
    return part in whole if part >= WIDE else f" {part} " in f" {whole} "


def _plain(words: str, language: Language) -> str:
    return tidy(patterns_for(language).determiners.sub("", tidy(words), count=1))
