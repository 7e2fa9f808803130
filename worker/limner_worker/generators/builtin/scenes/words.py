"""The words of scenes in a language: the table `scenes` of its language file, and the colours and numbers beside it.

Patterns are regular expressions, matched without regard to case. In the patterns of relations, `{a}` and `{b}` are the
subject and the object, `{v}` an optional verb of standing; in those of backgrounds, `{colour}` is any colour.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from limner_shared.domain.scenes import MOST_INSTANCES, Background, Colour, RelationKind
from limner_worker import languages as language_files
from limner_worker.languages import Regex, expression

MARKS: Final = "[,\u3001\uff0c;+&]"
"""Marks between things in any language, those of Chinese and Japanese among them."""
_NOTHING: Final = "(?!)"


class Scenes(BaseModel):
    """The table `scenes` of a language file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    lead_ins: Regex = ""
    """An alternation of what may precede what is to be seen ("a photo of")."""
    joins: Regex = ""
    """An alternation of what stands between things that are side by side."""
    accompaniments: Regex = ""
    """Those of them that may also introduce what a thing wears."""
    verbs: Regex = ""
    """An alternation of verbs of standing somewhere."""
    ignored: Regex = ""
    """An alternation of words within the name of a thing that say nothing."""
    denials: Regex = ""
    """An alternation of words after which a text is not read as a scene."""
    around: Regex = ""
    """An alternation of weather and other surroundings, which no picture shows, where they stand before a thing."""
    predicates: Regex = ""
    """What begins what a thing does, in a language without spaces in which that follows the thing ("猫在睡觉")."""
    counters: Regex = ""
    """An alternation of what follows a number in languages that count by measure words."""
    endings: Regex = ""
    """An alternation of the endings that inflected words of a noun differ in."""
    of: Regex = ""
    """An alternation of what links a noun to one that says more about it ("mesa de madera")."""
    colour_phrases: tuple[Regex, ...] = ()
    """What says the colour of a thing in more than one word, with `{colour}` ("in der Farbe rot")."""
    nouns: dict[str, str] = Field(default_factory=dict)
    """Known English names by everyday nouns that are no names themselves, and by irregular plurals."""
    relations: dict[RelationKind, tuple[Regex, ...]] = Field(default_factory=dict[RelationKind, tuple[Regex, ...]])
    backgrounds: dict[Background, Regex] = Field(default_factory=dict[Background, Regex])
    coloured: tuple[Regex, ...] = ()
    """Backgrounds of one `{colour}`."""


class _Connectives(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    articles: str = ""
    indefinite: str = ""


class _File(BaseModel):
    """What is read of a language file."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    code: str
    unspaced: bool = False
    colour_after: bool = False
    connectives: _Connectives = _Connectives()
    numbers: dict[str, int]
    colours: dict[Colour, str]
    scenes: Scenes = Scenes()


class SceneWords:
    """The compiled patterns of one language."""

    def __init__(self, file: _File) -> None:
        said = file.scenes
        self.code, self.nouns, self.names = file.code, said.nouns, language_files.names(file.code)
        self.unspaced = file.unspaced
        self.noun_first = file.colour_after
        bounds = ("", "") if file.unspaced else (r"(?<!\w)", r"(?!\w)")
        self.colours: dict[Colour, re.Pattern[str]] = {
            colour: _words(_longest_first(source), bounds) for colour, source in file.colours.items()
        }
        values = {word: value for word, value in file.numbers.items() if 1 <= value <= MOST_INSTANCES}
        self.values = {word.lower(): value for word, value in values.items()}
        self.number = expression(_number(self.values, said.counters or _NOTHING, file.unspaced))
        small = "|".join(filter(None, (file.connectives.articles, file.connectives.indefinite)))
        self.articles = _words(small or _NOTHING, bounds)
        self.ignored = _words(said.ignored or _NOTHING, bounds)
        self.of = expression(f"{bounds[0]}(?:{said.of or _NOTHING})")
        self.denials = _words(said.denials or _NOTHING, bounds)
        self.around = _words(said.around or _NOTHING, bounds)
        self.predicates = expression(said.predicates or _NOTHING)
        self.lead_ins = expression(rf"^(?:{said.lead_ins or _NOTHING})\s*")
        gap = r"\s*" if file.unspaced else r"(?:(?<=\s)|(?<=,))"
        end = r"\s*" if file.unspaced else r"(?=\s)"
        self.joins = expression(rf"{gap}(?:{said.joins or _NOTHING}){end}|\s*{MARKS}\s*")
        self.accompaniments = expression(said.accompaniments or _NOTHING)
        self.endings = expression(rf"(?:{said.endings or _NOTHING})$")
        verbs = f"(?:{said.verbs or _NOTHING})?"
        verb = verbs if file.unspaced else rf"(?:\s+{verbs[:-1]})?"
        self.relations: list[tuple[RelationKind, re.Pattern[str]]] = [
            (kind, expression(_framed(source, verb))) for kind, sources in said.relations.items() for source in sources
        ]
        colour = "|".join(f"(?P<{name}>{source})" for name, source in file.colours.items())
        self.colour_phrases = _colour_phrases(said.colour_phrases, colour, unspaced=file.unspaced)
        self.hints = (self.number, self.joins, *self.colours.values())
        self.backgrounds: list[tuple[Background | None, re.Pattern[str]]] = [
            *((None, expression(source.replace("{colour}", f"(?:{colour})"))) for source in said.coloured),
            *((name, _words(source, bounds)) for name, source in said.backgrounds.items()),
        ]


@cache
def languages() -> tuple[SceneWords, ...]:
    """Return the words of all languages, English first."""
    read = map(_File.model_validate, language_files.read())
    return tuple(SceneWords(file) for file in read if file.scenes.joins)


def _words(alternation: str, bounds: tuple[str, str]) -> re.Pattern[str]:
    return expression(f"{bounds[0]}(?:{alternation}){bounds[1]}")


def _colour_phrases(sources: tuple[str, ...], colour: str, *, unspaced: bool) -> list[re.Pattern[str]]:
    before, end = (r"[\s,\uff0c\u3001]*", "") if unspaced else (r"(?:^|[\s,]+)", r"(?!\w)")
    filled = (source.replace("{colour}", f"(?:{colour})") for source in sources)
    return [expression(f"{before}(?:{source}){end}") for source in filled]


def _longest_first(alternation: str) -> str:
    """Return the forms of a colour with the first one last: it may begin the others."""
    base, _, others = alternation.partition("|")
    return f"{others}|{base}" if others else base


def _number(values: dict[str, int], counters: str, unspaced: bool) -> str:
    words = "|".join(re.escape(word).replace(r"\ ", r"\s+") for word in sorted(values, key=len, reverse=True))
    if unspaced:
        return rf"(?P<n>\d{{1,2}}|{words})\s*(?:{counters})"
    said = rf"(?<!\w)(?:(?P<n>\d{{1,2}}|{words})(?!\w)|(?P<times>\d{{1,2}})\s?[x\u00d7](?!\w))"
    counted = rf"(?:\s+(?:{counters})(?!\w))"
    return rf",\s*(?P<after>\d{{1,2}}|{words}){counted}|{said}{counted}?"


def _framed(source: str, verb: str) -> str:
    spaced = re.sub(r"\s*\{v\}", lambda _: verb, source)
    return spaced.replace("{a}", "(?P<a>.+?)").replace("{b}", "(?P<b>.+?)")
