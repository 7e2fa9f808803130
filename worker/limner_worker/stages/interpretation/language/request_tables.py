"""The tables of a language file that describe requests: how people ask, count, and name sizes and styles.

See `language_schema` for the kinds of text in them.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from limner_worker.languages import Regex

Patterns = tuple[Regex, ...]


class Table(BaseModel):
    """A table of a language file; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Keys(Table):
    """Alternations of the keys of a form, up to a colon; those of English are known everywhere."""

    subject: Regex = ""
    medium: Regex = ""
    about: Regex = ""
    """Keys of what a picture does not show: who orders it, what for, until when."""
    style: Regex = ""
    size: Regex = ""
    number: Regex = ""
    without: Regex = ""


class Requests(Table):
    """Patterns of a request for a picture."""

    keys: Keys = Keys()
    denying: Regex = ""
    """Words that a hashtag has before what is left out ("#nopeople")."""
    stories: Regex = ""
    """Pattern of a story at the beginning, which tells why a picture is asked for, up to the request."""
    corrections: Regex = ""
    """Alternation of what takes back the thing before it ("a cat, no wait, a dog")."""

    lead_ins: Patterns = ()
    """How a request begins ("please draw me"); removed repeatedly."""
    reasons: Regex = ""
    """Alternation of what joins a reason to the request after it ("it is her birthday, so draw ..."), or a clause that
    says a size, a shape or a style ("a fox, so make it square")."""
    courtesies: Regex = ""
    """Alternation of words such as "please"; those of English are left out of texts in every language."""
    because: Regex = ""
    """Alternation of what begins a reason ("as it is her birthday, draw ...")."""
    pronouns: Regex = ""
    """Alternation of what stands for a thing already named, in a language without indefinite articles."""
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
    """What to leave out, as the group `what`, which may be a list; a group `kept` before it is of the subject."""
    unwanted: Regex = ""
    """Of English: things that people leave out in English words in texts of other languages ("no text")."""
    asked: Regex = ""
    """Stems of further words of asking, of which a run of words must have one to be taken for asking by the tagger."""
    emphasis: Regex = ""
    """Words before those that leave something out ("absolutely no")."""
    emphasis_after: Regex = ""
    """The same after a thing ("no people at all")."""
    excluded: Regex = ""
    """Keys of what to leave out, as an order names it ("exclude: shadows"); those of English are known everywhere."""
    closings: Regex = ""
    """How a letter ends; what follows is who signs it."""
    single: Patterns = ()
    """Phrases that ask for no more than one picture ("only one picture")."""
    speech: Regex = ""
    """Words after which a text is quoted ("a sign that says no dogs"); what follows is not left out."""
    titled: Regex = ""
    """Words after which the title of a work follows, up to a mark."""


class Address(Table):
    """Alternations of the words by which a person addresses the service; each is a whole word.

    See `address`: what consists of such words alone is no part of the subject.
    """

    asking: Regex = ""
    """Words that ask, wish, thank or greet."""
    persons: Regex = ""
    """Words for who asks and who is asked, and for those a picture is for."""
    small: Regex = ""
    """Other words that occur in between; also content elsewhere."""
    reasons: Regex = ""
    """Words that begin a reason in the clause that asks ("for our school play we need")."""
    pronouns: Regex = ""
    """Those of the persons that are "I", "we" and "you", not "my"."""
    dative: Regex = ""
    """What ends a command before a thing ("send me"), as a word or with the verb."""
    thanks: Regex = ""
    greetings: Regex = ""
    final: Regex = ""
    """Verbs of asking that stand at the end ("kannst du ... zeichnen")."""
    denied: Regex = ""
    """Words that deny the asking after them at the end of a clause: what stands before is not wanted."""
    softening: Regex = ""
    """Words that begin a clause at the end which only softens the request ("if that is alright", "nothing fancy")."""


class Pictures(Table):
    """Alternations for "a set of four different pictures of", in this order.

    `nouns` mean no more than a picture and are dropped; `media` say how it is made ("photo") and stay in the prompt.
    """

    sets: Regex = ""
    quantities: Regex = ""
    """Indefinite numbers ("several")."""
    before: Regex = ""
    """Adjectives before the noun that describe the request and not the picture ("different")."""
    nouns: Regex = ""
    needed: Regex = ""
    """What asks for something that a picture is made for ("we need")."""
    made_for: Regex = ""
    """What a picture is made for; the first word is for a banner, which is wide."""
    singular: str = ""
    """The noun in the singular."""
    after: Regex = ""
    """Adjectives after the noun, such as `before`."""
    of: Regex = ""
    of_joined: Regex = ""
    """The same without the apostrophe, before an article ("dun dragon")."""
    in_: Regex = Field(default="", alias="in")
    """Words before a number of versions ("in four versions")."""
    times: Regex = ""
    """Nouns after a number at the end of a request ("four times"), or measure words of pictures."""
    media: dict[str, Regex] = {}
    """By singular, its plurals."""
    of_them: Regex = ""
    ranges: Regex = ""
    """What stands between two numbers of which either will do ("two or three pictures")."""
    placed: Regex = ""
    """What follows a number of pictures that are in the picture themselves ("three photos lying on a desk")."""
    counted_as: Regex = ""
    """Keys of a number, as an order names it ("qty=3"); those of English are known everywhere."""


class Seed(Table):
    """Alternations for "the seed" before a number."""

    the: Regex = ""
    word: Regex = ""


class Size(Table):
    """Alternations before, within and after "256 by 256"."""

    before: Regex = ""
    by: Regex = ""
    pixels: Regex = ""
    after: Regex = ""
    """Particles after a size."""
    asked: Regex = ""
    """What introduces a size or a shape in a clause of its own ("the picture should be", "and make it")."""
    asked_after: Regex = ""
    """What may follow the size or the shape then (German "sein")."""


class Shapes(Table):
    """A frame with `{shape}`, and alternations of the words for each shape; none of it describes the subject."""

    frame: Regex
    small: Regex
    large: Regex
    square: Regex
    wide: Regex
    tall: Regex
    endings: Regex = ""
    """What the words may end with where they agree with "picture" and stand alone ("une ville, carrée")."""
    keys: Regex = ""
    """Nouns before a shape ("format: square")."""
    more: dict[str, Patterns] = {}
    """More patterns by shape."""
    uses: dict[str, Patterns] = {}
    """What a picture is for that has a shape, by shape: "as my phone wallpaper"."""


class Style(Table):
    """Alternations around the name of a style: "in the style of", "as a {style} picture"."""

    introductions: Regex = ""
    articles: Regex = ""
    in_: Regex = Field(default="", alias="in")
    the: Regex = ""
    word: Regex = ""
    sought: Regex = ""
    """What introduces a style in a clause of its own ("the look I am after is")."""
    made: Regex = ""
    """Words of how a picture is made, before the name of a style ("rendered in 3d")."""
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


class StyleName(Table):
    """Further names of a style that a model may have; alternations but for `patterns`."""

    patterns: Patterns = ()
    names: Regex = ""
    """What it is called beside the word for style, after its key and between marks ("vlakke stijl", "Stil: flach")."""
    nouns: Regex = ""
    """Nouns that follow "3d" ("3d figure")."""
    noun_tail: Regex = ""
    things: Regex = ""
    """Nouns that follow "3d" where it does not name a style ("3d printer")."""
    things_before: Regex = ""
    """The same before it ("gafas 3d")."""
    adjectives: Regex = ""
    particles: Regex = ""
