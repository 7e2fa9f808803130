"""The tables of a language file that describe what a message changes about earlier pictures.

See `language_schema` for the kinds of text in them.
"""

from __future__ import annotations

from pydantic import Field

from limner_worker.languages import Regex
from limner_worker.stages.interpretation.language.request_tables import Patterns, Table


class Words(Table):
    """Alternations of the words of short messages, each a whole word or phrase; see `refining.lexemes`.

    They are beside those of `Address`, `Changes.wishes` and the small words of the language.
    """

    frame: Regex = ""
    """Words that say nothing of their own in a message ("there", "this one", "is")."""
    opinions: Regex = ""
    """Words of what is thought of a picture ("not bad", "what I wanted")."""
    away: Regex = ""
    """Words that deny a thing, or that take it away."""
    spared: Regex = ""
    """Words with which a denied thing stays ("I cannot see the hat")."""
    seen: Regex = ""
    """Words of what someone sees in a picture ("there are", "I keep seeing")."""
    added: Regex = ""
    """Words that add a thing, or miss it."""
    retried: Regex = ""
    """Words for another picture, or another try."""
    contrast: Regex = ""
    """Words that put one thing in the place of another."""
    meant: Regex = ""
    """Words of what was meant or said before."""
    missed: Regex = ""
    """Words that say that something is missing, in a language in which it is in the genitive then."""
    moves: Regex = ""
    """Verbs that put a picture elsewhere."""
    rather: Regex = ""
    """Words that prefer something else."""
    pick: Regex = ""
    """Words that choose one of several pictures."""
    numbered: Regex = ""
    """Words before the number of a picture ("option 2")."""
    within: Regex = ""
    """Small words that may begin a name, in scripts without spaces."""
    particles: Regex = ""
    """What a word may end with, in languages whose nouns take particles."""


class Changes(Table):
    """Patterns of a message that refines a picture; `chat`, `chat_degrees` and `undo` are alternations."""

    dropped: Regex = ""
    """What drops the picture before: "never mind"."""
    otherwise: Regex = ""
    """Words before a request for another picture ("now something totally different"), up to a mark."""
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
    wishes: Regex = ""
    """Alternation of words by which a change is asked for, beside those of `Address` ("could it be", "would be nicer");
    each a whole word, in scripts without spaces parts of what is written."""
    words: Words = Words()
    worn: dict[str, Patterns] = Field(default_factory=dict)
    """What a picture's subject is given, as the group `what`, by how a prompt says that it has it: "with {what}"."""


class Ordinals(Table):
    """Alternations that name earlier pictures, and either a `frame` with `{ordinal}` or the words around it."""

    frame: Regex = ""
    back_to: Regex = ""
    the: Regex = ""
    pictures: Regex = ""
    liked: Regex = ""
    """What may follow the name of a picture that is preferred to others ("the third is best")."""
    first: Regex
    second: Regex
    third: Regex
    fourth: Regex
    last: Regex
    left: Regex = ""
    middle: Regex = ""
    right: Regex = ""
    """Places in a row of pictures."""
