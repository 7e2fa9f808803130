"""Takes a message about a picture apart by the roles that a tagger gives to its words. No I/O."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import groupby
from typing import Final

from limner_worker.networks.word_tagger import MESSAGE_ROLES
from limner_worker.stages.interpretation.language.schema import Language
from limner_worker.stages.interpretation.language.texts import HANGUL, NAMES_IN_I, final_of, tidy
from limner_worker.stages.interpretation.reading.parts import Part
from limner_worker.stages.interpretation.tagging.asking_words import LEAST, characters_of, mean_of, units_of

SWITCH: Final = 1.0
"""The cost, in natural logarithms, of another role for the next word, or character in scripts without spaces."""
_SAID: Final = MESSAGE_ROLES.index("said")
_THINGS: Final = ("new", "old", "gone")
_CONTENT: Final = {
    "subject": ("added", "place", "look", *_THINGS),
    "added": ("place", *_THINGS),
    "place": ("added", *_THINGS),
}
"""By role, those of runs directly after it that go on with it."""
_BEGINS: Final = ("new", "added")
"""Roles of runs that another subject directly after them belongs to."""
_PARTICLES: Final = re.compile(
    "(?:을|를|이|가|은|는|도|만|과|와|으로|로|보다|보다는|처럼|이랑|랑|에|에서|의|이요|요|으로요|로요|이면|이라면|라면|이어야|여야|이었으면)?"
)
"""Korean particles, and none."""
_AFTER_VOWEL: Final = ("이", "은", "을", "과", "으로")
_AFTER_FINAL: Final = ("가", "는", "를", "와")
"""Particles that cannot stand after a vowel, and those that cannot after a final consonant."""
_TO: Final = re.compile("(?<=..)(?:으로|로|을|를|은|는)$")
_CHANGED: Final = re.compile(r"\s+(?:해|바꾸|바꿔|만들|그려|변경|부탁|할|가자|가요|가고|갈|가주|가 주)")
"""What asks to change something to what stands before it."""
_DESCRIBED: Final = re.compile("[가-힣][는은던한운린든]$")
_TIME: Final = re.compile(
    r"\s+([가-힣]{1,3}?)(?:이어야|여야|이었으면|였으면|이면|이라면|라면|에는|에|으로|로|인)?(?![가-힣])"
)
"""What a Korean place or time that ends like an adjective describes: "비 오는 밤이면"."""
_MARKED: Final = re.compile("(?<=..)[을를은는]$")
_LED: Final = re.compile("^(?:[をがはにでの](?=[^ぁ-ん])|有(?:个|只|条|位)?(?=一|几|些|两)|有(?:个|位)(?=.{2}))")
"""What stands before a part in Japanese and Chinese, and belongs to what is said before it."""
_TRAILING: Final = re.compile("(?<=[^的])(?:那种|[的吧])$")


def parts_of(text: str, shares: Sequence[Sequence[float]], language: Language) -> list[Part]:
    """Return the parts of a message that have a role, in their order.

    `shares` has, for each of `MESSAGE_ROLES`, how likely each character has it. The roles are the likeliest sequence
    (Viterbi 1967).
    """
    units = characters_of(text) if language.unspaced else units_of(text, language)
    costs = [[-math.log(max(LEAST, mean_of(text, each, unit))) for each in shares] for unit in units]
    runs: list[tuple[str, int, int]] = []
    for role, some in groupby(zip(_likeliest(costs), units, strict=True), key=lambda each: each[0]):
        run = [unit for _, unit in some]
        if role != _SAID:
            runs.append((MESSAGE_ROLES[role], run[0][0], run[-1][1]))
    found: list[Part] = []
    for role, start, end in _joined(text, runs):
        words = tidy(_whole(text, start, end) if HANGUL.search(text) else text[start:end])
        if role == "place" and (described := _DESCRIBED.search(text, start, end)) is not None:
            time = _TIME.match(text, described.end())
            words = words if time is None else f"{text[start:end]} {time[1]}"
        words = _TRAILING.sub("", _LED.sub("", words)) if language.unspaced and role != "quality" else words
        found += [Part(role, words)] if words else []
    return found


def _joined(text: str, runs: Sequence[tuple[str, int, int]]) -> list[tuple[str, int, int]]:
    """Return runs, of which those directly after another subject, or an added thing, belong to it."""
    found: list[tuple[str, int, int]] = []
    for role, start, end in runs:
        joins = found and not text[found[-1][2] : start].strip()
        if joins and (role in _CONTENT.get(found[-1][0], ()) or (role == "subject" and found[-1][0] in _BEGINS)):
            found[-1] = role if role == "subject" else found[-1][0], found[-1][1], end
        else:
            found.append((role, start, end))
    return found


def _whole(text: str, start: int, end: int) -> str:
    """Return a run of Korean characters, whose last word ends before a particle: pieces of words may cross the two."""
    word_start = text.rfind(" ", 0, end) + 1
    word_end = next((at for at in range(end, len(text)) if not HANGUL.match(text[at])), len(text))
    ends = [at for at in range(end, word_end) if _fits(text[at - 1], text[at:word_end])]
    if end == word_end:
        return _MARKED.sub("", text[start:end]) if _CHANGED.match(text, end) is None else _TO.sub("", text[start:end])
    if ends[:1] == [end]:
        return text[start : end + 1] if NAMES_IN_I.search(text[start : end + 1]) else text[start:end]
    if start < word_start and end - word_start < word_end - end and not ends:
        return text[start:word_start]
    return text[start : ends[0] if ends else end]


def _fits(letter: str, particle: str) -> bool:
    """Return whether a Korean particle, or none, may stand after a syllable."""
    if _PARTICLES.fullmatch(particle) is None or not HANGUL.match(letter):
        return _PARTICLES.fullmatch(particle) is not None
    closed = final_of(letter) != 0
    wants = _AFTER_FINAL if closed else _AFTER_VOWEL
    return particle[:2] not in wants and particle[:1] not in wants


def _likeliest(costs: Sequence[Sequence[float]]) -> list[int]:
    """Return the roles of some units with the least cost."""
    if not costs:
        return []
    totals, came = list(costs[0]), list[list[int]]()
    for each in costs[1:]:
        least = min(range(len(totals)), key=totals.__getitem__)
        before = [role if total <= totals[least] + SWITCH else least for role, total in enumerate(totals)]
        totals = [totals[start] + (SWITCH if start != role else 0) + each[role] for role, start in enumerate(before)]
        came.append(before)
    role = min(range(len(totals)), key=totals.__getitem__)
    found = [role]
    for before in reversed(came):
        role = before[role]
        found.append(role)
    return found[::-1]
