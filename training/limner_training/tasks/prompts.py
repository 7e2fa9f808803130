"""The lists of prompts of each task, in eleven languages: the same for the same seed, and made by rule.

A combination (a colour or number of a noun, a pair) belongs to the tasks if its hash says so: `held_out` is the one
rule, and training data with compositions must leave out what it returns true for.
"""

from __future__ import annotations

import hashlib
import random
import re
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

from limner_training.tasks.colours import TERMS
from limner_training.tasks.vocabulary import Noun, nouns
from limner_worker.stages.interpretation.language.files import BY_CODE

OTHER_LANGUAGES: Final = tuple(code for code in BY_CODE if code != "en")
RELATIONS: Final = ("left", "right", "above", "below")
NUMBERS: Final = (1, 2, 3, 4)
ASKED_COLOURS: Final = tuple(term for term in TERMS if term != "white")
"""White things on a white ground cannot be judged by their colour."""
HELD_OUT_SHARE: Final = 4
NAME: Final = "{name}"
"""The place of the thing in a sentence."""
_AN: Final = re.compile(r"\b([Aa]) (?=[aeio]|u(?!ni|se|kul))")


@dataclass(frozen=True)
class Wanted:
    """A noun that a picture must show, and its colour if one was asked for."""

    noun: Noun
    colour: str | None = None


@dataclass(frozen=True)
class TaskPrompt:
    """A prompt with what a right picture shows: `number` of the thing, or the first in `relation` to the second."""

    task: str
    language: str
    text: str
    wanted: tuple[Wanted, ...]
    number: int = 1
    relation: str | None = None
    style: str | None = None
    """The style to ask for; None leaves it to the model."""


Maker = Callable[[random.Random, str], TaskPrompt]


def prompts(task: str, language: str, count: int, seed: int = 0) -> list[TaskPrompt]:
    """Return `count` prompts of a task in a language, with as few repetitions as the nouns allow."""
    choose = random.Random(f"{task} {language} {seed}")  # noqa: S311 - lists that are the same everywhere
    return _distinct(lambda: TASKS[task](choose, language), count)


def own_sentences(sentences: Sequence[str], count: int, seed: int = 0) -> list[TaskPrompt]:
    """Return `count` English prompts of the task "in sentences", of sentences with `{name}` for the thing."""
    choose = random.Random(f"own sentences {seed}")  # noqa: S311 - lists that are the same everywhere

    def make() -> TaskPrompt:
        noun = choose.choice(nouns())
        text = choose.choice(sentences).replace(NAME, noun.called("en"))
        return TaskPrompt("in sentences", "en", _AN.sub(r"\1n ", text), (Wanted(noun),))

    return _distinct(make, count)


def _distinct(make: Callable[[], TaskPrompt], count: int) -> list[TaskPrompt]:
    found: list[TaskPrompt] = []
    seen: set[tuple[object, ...]] = set()
    misses = 0
    while len(found) < count:
        prompt = make()
        key = (prompt.text, prompt.style)
        if key in seen and misses < 20:
            misses += 1
            continue
        misses = 0
        seen.add(key)
        found.append(prompt)
    return found


def held_out(*combination: object) -> bool:
    """Return whether a combination, such as ("colour", "red", "cat"), is reserved for the tasks: one in four."""
    digest = hashlib.sha256("|".join(map(str, combination)).encode()).digest()
    return digest[0] % HELD_OUT_SHARE == 0


def coloured(noun: Noun, colour: str, language: str) -> str:
    """Return the phrase for a coloured thing, without an article."""
    spoken = BY_CODE[language]
    word = next(word.split("|")[0] for name, word in spoken.colours.items() if name == colour)
    template = templates("colour")[language]
    text = template["text"] if word in spoken.attributive else template.get("invariant", template["text"])
    return text.format(name=noun.called(language), colour=word)


def counted(noun: Noun, number: int, language: str) -> str:
    """Return the phrase for a number of things."""
    template = templates("counting")[language]
    numerals = BY_CODE[language].numbers
    words = [word for word, value in numerals.items() if value == number and " " not in word]
    name = noun.called(language)
    return template["text"].format(
        number=words[0] if number >= template["words_from"] else number,
        name=name,
        names=name if number == 1 else _plural(name, template.get("plural", ())),
    )


@cache
def templates(task: str) -> dict[str, Any]:
    """Return the templates of a task by language."""
    text = files("limner_training.tasks").joinpath("templates", f"{task}.toml").read_text("utf-8")
    return tomllib.loads(text)


def _plural(name: str, suffixes: Sequence[tuple[str, str]]) -> str:
    """Return the plural of a name: of its first word in languages that put the noun first, if it has several."""
    for pattern, replacement in suffixes:
        if re.search(pattern, name):
            return re.sub(pattern, replacement, name, count=1)
    return name


def _text(template: str, language: str, **parts: object) -> str:
    text = template.format(**parts)
    return _AN.sub(r"\1n ", text) if language == "en" else text


def _single(choose: random.Random, language: str) -> TaskPrompt:
    noun = choose.choice([noun for noun in nouns() if noun.styles])
    return TaskPrompt("seen", language, noun.called(language), (Wanted(noun),), style=choose.choice(noun.styles))


def _single_held_out(choose: random.Random, language: str) -> TaskPrompt:
    noun = choose.choice([noun for noun in nouns() if noun.held_out])
    style = choose.choice(noun.held_out)
    return TaskPrompt("held out", language, noun.called(language), (Wanted(noun),), style=style)


def _sentence(choose: random.Random, language: str) -> TaskPrompt:
    noun = choose.choice(nouns())
    text = _text(choose.choice(templates("sentence")[language]), language, name=noun.called(language))
    return TaskPrompt("in sentences", language, text, (Wanted(noun),))


def _colour(choose: random.Random, language: str) -> TaskPrompt:
    wanted = next(_coloured_nouns(choose))
    phrase = coloured(wanted.noun, wanted.colour or "", language)
    text = _text(templates("single")[language], language, name=phrase)
    return TaskPrompt("colour", language, text, (wanted,))


def _counting(choose: random.Random, language: str) -> TaskPrompt:
    while True:
        noun, number = choose.choice([n for n in nouns() if _regular(n)]), choose.choice(NUMBERS)
        if held_out("counting", number, noun.concept):
            return TaskPrompt("counting", language, counted(noun, number, language), (Wanted(noun),), number)


def _two(choose: random.Random, language: str) -> TaskPrompt:
    first, second = _pair(choose)
    text = _pair_text("two", language, first.called(language), second.called(language))
    return TaskPrompt("two objects", language, text, (Wanted(first), Wanted(second)))


def _position(choose: random.Random, language: str) -> TaskPrompt:
    first, second = _pair(choose)
    relation = choose.choice(RELATIONS)
    template = templates("position")[language][relation]
    text = _text(template, language, first=first.called(language), second=second.called(language))
    return TaskPrompt("position", language, text, (Wanted(first), Wanted(second)), relation=relation)


def _attribution(choose: random.Random, language: str) -> TaskPrompt:
    pairs = _coloured_nouns(choose)
    while True:
        first, second = next(pairs), next(pairs)
        if first.noun != second.noun and first.colour != second.colour:
            phrases = [coloured(each.noun, each.colour or "", language) for each in (first, second)]
            return TaskPrompt("colour attribution", language, _pair_text("two", language, *phrases), (first, second))


def _pair(choose: random.Random) -> tuple[Noun, Noun]:
    while True:
        first, second = choose.sample(nouns(), 2)
        if held_out("pair", *sorted((first.concept, second.concept))):
            return first, second


def _coloured_nouns(choose: random.Random) -> Iterator[Wanted]:
    """Yield nouns with colours that are not their own."""
    fit = [noun for noun in nouns() if noun.recolourable]
    while True:
        noun, colour = choose.choice(fit), choose.choice(ASKED_COLOURS)
        if colour not in noun.colours and held_out("colour", colour, noun.concept):
            yield Wanted(noun, colour)


def _pair_text(task: str, language: str, first: str, second: str) -> str:
    return _text(templates(task)[language], language, first=first, second=second)


def _regular(noun: Noun) -> bool:
    """Return whether the rules of plurals hold for a noun: one word in each language with such rules."""
    plain = [code for code, template in templates("counting").items() if "plural" in template]
    return all(" " not in noun.called(code) for code in plain)


TASKS: Final[dict[str, Maker]] = {
    "seen": _single,
    "held out": _single_held_out,
    "in sentences": _sentence,
    "colour": _colour,
    "counting": _counting,
    "two objects": _two,
    "position": _position,
    "colour attribution": _attribution,
}
COLOURED: Final = frozenset(("colour", "colour attribution"))
