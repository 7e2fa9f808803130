"""The languages of the interpreter: one TOML file each in `languages/`, validated once, when this module is imported.

A language is added with a file; no code names a language except for English, the fallback. Three kinds of text occur:

- a pattern is a complete regular expression, a list of patterns is tried in its order;
- an alternation ("of|from") is joined with those of the other languages and placed into a frame in `patterns` or
  `changes`, so that a text may mix languages;
- words are separated by spaces.

All are matched without regard to case. Placeholders: `{number}` any number, `{thing}` what a `without` leaves out,
`{in}` the introduction of a style, `{shape}` and `{ordinal}` the words of that table, `{end}` the end of a phrase.
Languages are tried in the order of their field `order`; later languages should not match what earlier ones mean.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from importlib.resources import files
from operator import attrgetter
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

FALLBACK: Final = "en"
"""The language of texts whose language is unknown."""
Colour = Literal["red", "blue", "green", "yellow", "orange", "purple", "pink", "black", "white", "brown", "grey"]


def _checked(source: str) -> str:
    """Return the source. Raise ValueError if it is not a regular expression once its placeholders are filled."""
    try:
        re.compile(re.sub(r"\{[a-z]+\}", "x", source))
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}: {source}") from error
    return source


Regex = Annotated[str, AfterValidator(_checked)]
Patterns = tuple[Regex, ...]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Script(_Table):
    """A range of characters that identifies a language; among several in a text, the lowest rank decides."""

    first: str
    last: str
    rank: int

    def occurs_in(self, text: str) -> bool:
        """Return whether the text contains a character of the range."""
        return any(self.first <= character <= self.last for character in text)


class Connectives(_Table):
    """Alternations of small words."""

    dangling: Regex = ""
    """Words that introduce a style, a size or a seed; removed at the end of a prompt."""
    thing_ends: Regex = ""
    """Words that end the name of a thing to leave out."""
    links: Regex = ""
    """Words that join a refinement to the one before."""
    and_: Regex = Field(default="", alias="and")
    indefinite: Regex = ""
    """Indefinite articles."""
    determiners: Regex = ""
    """Words before the name of a thing to leave out that do not belong to it."""
    articles: Regex = ""
    """Articles that are removed from a prompt together with a thing."""
    accompaniments: Regex = ""
    """Words that are removed from a prompt together with the thing that they introduce."""
    worn_before: Regex = ""
    """The same in scripts without spaces: a pattern before the thing, and an alternation after it."""
    worn_after: Regex = ""


class Requests(_Table):
    """Patterns of a request for a picture."""

    lead_ins: Patterns = ()
    """How a request begins ("please draw me")."""
    picture_of: Patterns = ()
    """"A picture of" at the beginning."""
    pictures_after: Patterns = ()
    """The same at the end."""
    polite_tails: Patterns = ()
    """Thanks at the end."""
    tails: Patterns = ()
    """Other phrases at the end that are not part of the subject."""
    asides: Patterns = ()
    """Phrases anywhere that are not part of the subject."""
    counted: Patterns = ()
    """A number of pictures, as the group `n`, where `Pictures` does not fit."""
    without: Patterns = ()
    """What to leave out, as the group `what`."""


class Pictures(_Table):
    """Alternations for "a set of four different pictures of", in this order, and for "four of them"."""

    sets: Regex = ""
    qualifiers: Regex = ""
    plurals: Regex = ""
    of: Regex = ""
    of_them: Regex = ""


class Seed(_Table):
    """Alternations for "the seed" before a number."""

    the: Regex = ""
    word: Regex = ""


class Size(_Table):
    """Alternations before and after "256x256"."""

    before: Regex = ""
    pixels: Regex = ""


class Shapes(_Table):
    """A frame with `{shape}`, and alternations of the words for each shape; none of it describes the subject."""

    frame: Regex
    small: Regex
    large: Regex
    square: Regex
    wide: Regex
    tall: Regex
    more: dict[str, Patterns] = {}
    """More patterns by shape."""


class Style(_Table):
    """Alternations around the name of a style: "in the style of", "as a {style} picture"."""

    introductions: Regex = ""
    articles: Regex = ""
    in_: Regex = Field(default="", alias="in")
    the: Regex = ""
    word: Regex = ""
    of: Regex = ""
    tail: Regex = ""
    """What may follow the word for style."""
    pictures_after: Regex = ""
    """Nouns after the name of a style ("flat icon")."""
    as_: Regex = Field(default="", alias="as")
    a: Regex = ""
    as_pictures: Regex = ""
    """Nouns after "as a {style}"."""
    before_word: Regex = ""
    particles: Regex = ""
    """Particles around the word for style in scripts without spaces."""


class StyleName(_Table):
    """Further names of a style that a model may have; alternations but for `patterns`."""

    patterns: Patterns = ()
    nouns: Regex = ""
    """Nouns that follow "3d" ("3d figure")."""
    noun_tail: Regex = ""
    things: Regex = ""
    """Nouns that follow "3d" where it does not name a style ("3d printer")."""
    adjectives: Regex = ""
    particles: Regex = ""


class Changes(_Table):
    """Patterns of a message that refines a picture; `chat`, `chat_degrees` and `undo` are alternations."""

    chat: Regex = ""
    """Messages that ask for nothing, such as thanks."""
    chat_degrees: Regex = ""
    polite: Patterns = ()
    same: Patterns = ()
    remove: Patterns = ()
    less: Patterns = ()
    replace: Patterns = ()
    part: Patterns = ()
    """A part of the picture, `part`, and its new quality, `how`."""
    change: Patterns = ()
    change_after: Patterns = ()
    comparatives: Patterns = ()
    also: Regex = ""
    """What precedes another thing to add."""
    placed: Patterns = ()
    """A place or a time, which has no subject of its own and therefore refers to the picture before."""
    again: Patterns = ()
    more: Regex = ""
    """With a number: other pictures like it, not the same ones again."""
    count_alone: Patterns = ()
    """A message that is only a number of pictures, as the group `n`."""
    undo: Regex = ""
    fillers: Patterns = ()
    """Words that mean nothing on their own."""


class Ordinals(_Table):
    """Alternations that name earlier pictures, and either a `frame` with `{ordinal}` or the words around it."""

    frame: Regex = ""
    back_to: Regex = ""
    the: Regex = ""
    pictures: Regex = ""
    first: Regex
    second: Regex
    third: Regex
    fourth: Regex
    last: Regex


class Phrases(_Table):
    """Sentences that present a picture."""

    one: str
    many: str
    changed: str
    style: str
    without: str
    drawn: str
    """The picture shows less than `asked`; follows a sentence that says what it shows."""
    kept: str
    """The model could not leave `without` out."""
    seen: str
    """The picture looks most like `name`."""
    comma: str = ", "


class Language(_Table):
    """All that the interpreter knows of a language."""

    code: str
    order: int
    unspaced: bool = False
    """Words are not separated by spaces, or take particles: patterns match parts of words."""
    colour_endings: bool = False
    """Adjectives of colour are inflected: a colour that replaces another takes its ending."""
    script: Script | None = None
    grammar: str = ""
    """Words without content; two prompts that share only these share nothing."""
    small_words: str = ""
    """Frequent words that identify the language."""
    letters: str = ""
    """Letters that identify the language."""
    connectives: Connectives = Connectives()
    requests: Requests = Requests()
    pictures: Pictures = Pictures()
    seed: Seed = Seed()
    size: Size = Size()
    shapes: Shapes
    style: Style = Style()
    styles: dict[str, StyleName] = {}
    numbers: dict[str, int]
    """The values of number words."""
    changes: Changes
    additions: dict[str, str] = {}
    """What adds something ("with"), and what adds one thing more ("and")."""
    ordinals: Ordinals
    colours: dict[Colour, Regex]
    """By colour, an alternation: the form that a prompt gets, then the others; comparatives are forms too."""
    phrases: Phrases


def _load() -> tuple[Language, ...]:
    folder = files("limner_worker.stages.interpretation").joinpath("languages")
    texts = [file.read_text("utf-8") for file in folder.iterdir() if file.name.endswith(".toml")]
    return tuple(sorted((Language.model_validate(tomllib.loads(text)) for text in texts), key=lambda each: each.order))


LANGUAGES: Final = _load()
BY_CODE: Final = {language.code: language for language in LANGUAGES}
SPACED: Final = tuple(language for language in LANGUAGES if not language.unspaced)
UNSPACED: Final = tuple(language for language in LANGUAGES if language.unspaced)


def by_script(text: str) -> Language | None:
    """Return the language whose script occurs in the text; None if the text has no such script."""
    scripts = [(language.script.rank, language) for language in LANGUAGES if language.script is not None]
    ranked = [language for _, language in sorted(scripts, key=lambda each: each[0])]
    return next((each for each in ranked if each.script is not None and each.script.occurs_in(text)), None)


def words(field: str, languages: Iterable[Language] = LANGUAGES) -> str:
    """Join an alternation of the languages, such as "style.word"; one that no text matches if it is empty."""
    return "|".join(filter(None, map(attrgetter(field), languages))) or "(?!)"


def patterns_of(field: str) -> tuple[str, ...]:
    """Return the patterns of the languages in their order, such as "requests.tails"."""
    return tuple(source for language in LANGUAGES for source in attrgetter(field)(language))
