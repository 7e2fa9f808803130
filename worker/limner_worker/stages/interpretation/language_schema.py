"""What the interpreter knows of a language: the tables of a language file.

Three kinds of text occur in them:

- a pattern is a complete regular expression; a list of patterns is tried in its order;
- an alternation ("of|from") is placed into a frame in `patterns` or `changes`;
- words are separated by spaces.

All are matched without regard to case. Placeholders: `{number}` any number, `{things}` what a `without` leaves out,
`{nouns}` the nouns of `Pictures`, `{in}` the introduction of a style, `{shape}` and `{ordinal}` the words of that
table, `{end}` the end of a phrase.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

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
    places: Regex = ""
    """Words before a place ("on"), which end a list of things to leave out."""
    thing_ends: Regex = ""
    """Words that end the name of a thing to leave out."""
    links: Regex = ""
    """Words that join a refinement to the one before."""
    and_: Regex = Field(default="", alias="and")
    lists: Regex = ""
    """Words that join things in a list ("and", "or"); in scripts without spaces, a pattern of what separates them."""
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
    """How a request begins ("please draw me"); removed repeatedly."""
    picture_of: Patterns = ()
    """"A picture of" at the beginning, where `Pictures` does not fit."""
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
    """What to leave out, as the group `what`, which may be a list."""
    speech: Regex = ""
    """Words after which a text is quoted ("a sign that says no dogs"); what follows is not left out."""


class Pictures(_Table):
    """Alternations for "a set of four different pictures of", in this order.

    `nouns` mean no more than a picture and are dropped; `media` say how it is made ("photo") and stay in the prompt.
    """

    sets: Regex = ""
    quantities: Regex = ""
    """Indefinite numbers ("several")."""
    before: Regex = ""
    """Adjectives before the noun that describe the request and not the picture ("different")."""
    nouns: Regex = ""
    singular: str = ""
    """The noun in the singular."""
    after: Regex = ""
    """Adjectives after the noun, such as `before`."""
    of: Regex = ""
    in_: Regex = Field(default="", alias="in")
    """Words before a number of versions ("in four versions")."""
    times: Regex = ""
    """Nouns after a number at the end of a request ("four times")."""
    media: dict[str, Regex] = {}
    """By singular, its plurals."""
    of_them: Regex = ""


class Seed(_Table):
    """Alternations for "the seed" before a number."""

    the: Regex = ""
    word: Regex = ""


class Size(_Table):
    """Alternations before, within and after "256 by 256"."""

    before: Regex = ""
    by: Regex = ""
    pixels: Regex = ""
    after: Regex = ""
    """Particles after a size."""


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
    instead: Patterns = ()
    """What the picture should show instead, as the group `what`."""
    change_to: Patterns = ()
    """A part of the picture, `part`, and what replaces it or its new colour, `how`."""
    another: Patterns = ()
    """Messages that as a whole ask for another picture like the last one."""
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
    left: Regex = ""
    middle: Regex = ""
    right: Regex = ""
    """Places in a row of pictures."""


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
    fewer: str
    """`n` of `asked` pictures were made."""
    other_size: str
    """The size `asked` is not available; `size` was used."""
    shorter: str
    """The first `n` characters of the prompt were used."""
    comma: str = ", "


class Language(_Table):
    """All that the interpreter knows of a language."""

    code: str
    order: int
    unspaced: bool = False
    """Words are not separated by spaces, or take particles: patterns match parts of words."""
    cases: bool = False
    """Nouns have cases: the same thing may be named with another ending."""
    colour_endings: bool = False
    """Adjectives of colour are inflected: a colour that replaces another takes its ending."""
    script: Script | None = None
    grammar: str = ""
    """Words without content; two prompts that share only these share nothing."""
    small_words: str = ""
    """Frequent words that identify the language."""
    letters: str = ""
    """Letters that identify the language."""
    keywords: str = ""
    """Words of asking in which typing errors are corrected."""
    other_words: str = ""
    """Words that look like a key word with a typing error, and are not."""
    connectives: Connectives = Connectives()
    requests: Requests = Requests()
    pictures: Pictures = Pictures()
    seed: Seed = Seed()
    size: Size = Size()
    shapes: Shapes
    style: Style = Style()
    styles: dict[str, StyleName] = {}
    numbers: dict[str, int]
    """The values of number words, of which `number_words` composes larger numbers."""
    number_joiners: Regex = ""
    """What may stand between the parts of a number, beside spaces and hyphens."""
    number_multipliers: str = ""
    """The number words that multiply what precedes them ("hundred")."""
    changes: Changes
    additions: dict[str, str] = {}
    """What adds something ("with"), and what adds one thing more ("and")."""
    ordinals: Ordinals
    colours: dict[Colour, Regex]
    """By colour, an alternation: the form that a prompt gets, then the others; comparatives are forms too."""
    attributive: dict[str, str] = {}
    """By colour word, its other form: where the colour that it replaces has that form, or after these articles."""
    attributive_articles: Regex = ""
    colour_after: bool = False
    """Colours follow their noun."""
    measure: Regex = ""
    """What precedes a colour at the beginning of a prompt, such as a number with its classifier."""
    phrases: Phrases

    def __hash__(self) -> int:
        """The hash of the code, so that what is compiled from a language can be cached."""
        return hash(self.code)
