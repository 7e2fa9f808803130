"""What the interpreter knows of a language: the tables of a language file.

Three kinds of text occur in them:

- a pattern is a complete regular expression; a list of patterns is tried in its order;
- an alternation ("of|from") is placed into a frame in `patterns` or `changes`;
- words are separated by spaces.

All are matched without regard to case. A group that is repeated more than four times is possessive (`)*+`): see
`languages.expression`. Placeholders: `{number}` any number, `{things}` what a `without` leaves out,
`{nouns}` the nouns of `Pictures`, `{in}` the introduction of a style, `{shape}` and `{ordinal}` the words of that
table, `{end}` the end of a phrase.
"""

from __future__ import annotations

from pydantic import Field

from limner_shared.domain.scenes import Colour
from limner_worker.generators.builtin.scenes.words import Scenes
from limner_worker.languages import Regex
from limner_worker.stages.interpretation.language.change_tables import Changes, Ordinals
from limner_worker.stages.interpretation.language.request_tables import (
    Address,
    Pictures,
    Requests,
    Seed,
    Shapes,
    Size,
    Style,
    StyleName,
    Table,
)


class Script(Table):
    """A range of characters that identifies a language; among several in a text, the lowest rank decides."""

    first: str
    last: str
    rank: int

    def occurs_in(self, text: str) -> bool:
        """Return whether the text contains a character of the range."""
        return any(self.first <= character <= self.last for character in text)


class Connectives(Table):
    """Alternations of small words."""

    dangling: Regex = ""
    """Words that introduce a style, a size or a seed; removed at the end of a prompt."""
    places: Regex = ""
    """Words before a place ("on"), which end a list of things to leave out."""
    thing_ends: Regex = ""
    """Words that end the name of a thing to leave out."""
    doubled: Regex = ""
    """A negation of leaving out ("not without"), by which nothing is left out."""
    idle: Regex = ""
    """Things that a courtesy denies and no picture has: "no hurry"."""
    fixed: Regex = ""
    """Things that no picture has either, which make a name with words of leaving out: "Ärzte ohne Grenzen"."""
    nominative: Regex = ""
    """Words that cannot be among things to leave out, because those have another case: another thing begins there."""
    links: Regex = ""
    """Words that join a refinement to the one before."""
    clause_ends: str = ""
    """Ends of words after which another clause begins where no mark says so, separated by spaces."""
    and_: Regex = Field(default="", alias="and")
    lists: Regex = ""
    """Words that join things in a list ("and", "or"); in scripts without spaces, a pattern of what separates them."""
    indefinite: Regex = ""
    """Indefinite articles."""
    determiners: Regex = ""
    """Words before the name of a thing to leave out that do not belong to it."""
    sole: Regex = ""
    """Words after those for "no" and "a" that stress them: "not a single car"."""
    articles: Regex = ""
    """Articles that are removed from a prompt together with a thing."""
    accompaniments: Regex = ""
    """Words that are removed from a prompt together with the thing that they introduce."""
    beside: Regex = ""
    """Prepositions that are removed with the thing after them ("next to")."""
    aside: Regex = ""
    """Adverbs for where a thing is beside others ("next to it")."""
    aside_with: Regex = ""
    """Words after which these are prepositions of another thing ("in front of")."""
    aside_half: Regex = ""
    """The first half of such adverbs in a sentence, of which the second is one of `beside` (Dutch "er … naast")."""
    aside_before: Regex = ""
    """In scripts without spaces, a pattern of where a thing is, as its first group, before words that add the thing;
    the group `there` is a verb that the prompt has too.
    """
    agents: Regex = ""
    """Prepositions of what takes the place of something: "replaced by"."""
    made_of: Regex = ""
    """Prepositions of what describes a thing behind it ("of iron")."""
    holding: Regex = ""
    """Verbs that are removed with the thing after them, too ("holding")."""
    worn_before: Regex = ""
    """The same in scripts without spaces: a pattern before the thing, and an alternation after it."""
    worn_after: Regex = ""
    gendered: bool = True
    """Whether adjectives agree with the gender of their noun, which the article tells."""
    scenery: Regex = ""
    """Nouns of places where all that a picture shows may be ("beach"), of which it has one."""
    scenery_before: Regex = ""
    """What stands before them: prepositions with articles."""
    qualities: Regex = ""
    """Adjectives that go together with the thing that they describe, besides colours and numbers."""
    complements: Regex = ""
    """What goes with a thing after it: what it is made of, and where it is worn ("of straw", "on its head")."""
    before_sounds: dict[str, str] = Field(default_factory=dict)
    """By pattern of one of `accompaniments` and the sounds of another thing after it, its form there."""


class Attributes(Table):
    """Alternations of what describes a thing, by kind: one takes the place of another of its kind."""

    colours: Regex
    """Those that are none of the basic ones."""
    materials: Regex
    patterns: Regex


class Moments(Table):
    """Alternations of words for when a picture is, by kind: one takes the place of another of its kind."""

    phrases: Regex
    """Whole phrases that say when ("at night"), which need no preposition beside them."""
    hours: Regex
    seasons: Regex
    weathers: Regex
    weathered: Regex = ""
    """Adjectives for the weather."""
    skies: Regex = ""
    """What has an hour, a season or a weather ("day", "sky")."""


class AtRest(Table):
    """How a language says where a thing is, of which a message says where it is put."""

    prepositions: Regex
    """Prepositions of places that have another case then."""
    articles: dict[str, str] = Field(default_factory=dict)
    """By article of a place to which something is put, the one of a place where it is."""
    contracted: dict[str, str] = Field(default_factory=dict)
    """The same of prepositions with articles ("ins" and "im")."""
    shortened: dict[str, str] = Field(default_factory=dict)
    """By preposition and article, the one word for both."""
    plural: Regex = ""
    """The nouns in the plural, which have other articles."""
    plural_articles: dict[str, str] = Field(default_factory=dict)


class Gender(Table):
    """How words behind a noun agree with its gender, which its article tells."""

    masculine: str
    feminine: str
    """Articles, separated by spaces."""
    endings: dict[str, str]
    """By masculine ending, the feminine one."""
    nearest: dict[str, str]
    """The same of words directly behind a noun, which are adjectives."""
    others: Regex
    """Words with such endings that do not agree."""


class Phrases(Table):
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
    unclear: str
    """The evaluator does not recognise `words` in the picture."""
    unclear_in: str
    """It does not recognise `words` in `count` of `n` pictures."""
    nearer: str
    """The model may draw `prompt` better."""
    fewer: str
    """`n` of `asked` pictures were made."""
    other_size: str
    """The size `asked` is not available; `size` was used."""
    shorter: str
    """The first `n` characters of the prompt were used."""
    left_out: str
    """The picture does not show `words`."""
    stands_for: str
    """The picture shows `name` where `asked` was said."""
    nothing: str
    """The description says nothing but to leave `without` out."""
    comma: str = ", "


class Language(Table):
    """All that the interpreter knows of a language."""

    code: str
    order: int
    unspaced: bool = False
    """Words are not separated by spaces, or take particles: patterns match parts of words."""
    compounds: bool = False
    """A noun may be the end of a longer word for it: "politiepaard" for "paard"."""
    noun_capitals: bool = False
    """Nouns have capitals."""
    cases: bool = False
    """Nouns have cases: the same thing may be named with another ending."""
    nominative: dict[str, str] = Field(default_factory=dict)
    """By article of a thing that is added or replaced, its form in a prompt."""
    at_rest: AtRest | None = None
    gender: Gender | None = None
    dative: dict[str, str] = Field(default_factory=dict)
    """By article of a thing that is given to a subject, its form after "with"."""
    colour_endings: bool = False
    """Adjectives of colour are inflected: a colour that replaces another takes its ending."""
    script: Script | None = None
    also_written_by: tuple[str, ...] = ()
    """The languages that use its script beside their own: Japanese, Chinese characters."""
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
    address: Address = Address()
    pictures: Pictures = Pictures()
    seed: Seed = Seed()
    size: Size = Size()
    shapes: Shapes
    style: Style = Style()
    styles: dict[str, StyleName] = Field(default_factory=dict)
    numbers: dict[str, int]
    """The values of number words, of which `number_words` composes larger numbers."""
    number_joiners: Regex = ""
    """What may stand between the parts of a number, beside spaces and hyphens."""
    number_multipliers: str = ""
    """The number words that multiply what precedes them ("hundred")."""
    changes: Changes
    additions: dict[str, str] = Field(default_factory=dict)
    """What adds something ("with"), and what adds one thing more ("and")."""
    ordinals: Ordinals
    colours: dict[Colour, Regex]
    """By colour, an alternation: the form that a prompt gets, then the others; comparatives are forms too."""
    attributes: Attributes
    moments: Moments
    scenes: Scenes = Scenes()
    """How the language says what stands where, as the built-in model reads it from prompts."""
    indeclinable: str = ""
    """Words of colours without endings, where the others have them."""
    attributive: dict[str, str] = Field(default_factory=dict)
    """By colour word, its other form: where the colour that it replaces has that form, or after these articles."""
    attributive_articles: Regex = ""
    neuter: Regex = ""
    """Ends of nouns before which adjectives have no ending after an indefinite article (Dutch)."""
    oblique_articles: Regex = ""
    """Articles after which that other form has `oblique_ending` too."""
    oblique_ending: str = ""
    colour_after: bool = False
    """Colours follow their noun."""
    measure: Regex = ""
    """What precedes a colour at the beginning of a prompt, such as a number with its classifier."""
    phrases: Phrases

    def __hash__(self) -> int:
        """The hash of the code, so that what is compiled from a language can be cached."""
        return hash(self.code)
