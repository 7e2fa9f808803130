"""Reads a prompt as a scene: its things with number and colour, their relations, and the background."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, cast

from limner_shared.domain.scenes import (
    MOST_INSTANCES,
    Background,
    Colour,
    Scene,
    SceneRule,
)
from limner_worker.generators.builtin.known_names import KnownNames
from limner_worker.generators.builtin.scenes.nouns import Encode, Lexicon, Noun
from limner_worker.generators.builtin.scenes.parts import PromptPart, beside, elsewhere, related, thing_of
from limner_worker.generators.builtin.scenes.words import SceneWords, languages

LONGEST: Final = 160
"""The most characters of a text that is read as a scene."""
WORDS: Final = 24
MOST_LEFT_OUT: Final = 2
"""The most words for each thing that a scene may leave out, beside places that are not understood."""
MOST_OBJECTS: Final = 6
MOST_JOINS: Final = 8
"""The most places where a text may be taken apart into a list: with each, the ways to do it multiply. Some are words
within a name."""
NEVER: Final = 2.0
"""A cosine that no text has."""
_SPACES: Final = re.compile(r"\s+")
_MARKS: Final = " .!?,\"'\u3002\uff01\uff1f\uff0c\u3001\u201c\u201d\u201e\xab\xbb\u300c\u300d"


class SceneReader:
    """Reads prompts as scenes, in the languages of the language files."""

    def __init__(self, names: KnownNames, encode: Encode) -> None:
        """`encode` returns the embeddings [n, 384] of texts."""
        self._names = names
        self._readers = [_LanguageReader(words, Lexicon(words, names, encode), names) for words in languages()]

    def read(self, text: str, rule: SceneRule) -> Scene | None:
        """Return the scene of a prompt; it is `plain` if the prompt asks for one thing without number or colour.

        None if the prompt is the name of one thing, or is not read with certainty: then it is drawn as a whole. The
        result depends on this text only.
        """
        plain = _SPACES.sub(" ", text.lower().replace("\u2019", "'")).strip(_MARKS)
        if not plain or len(plain) > LONGEST or len(plain.split()) > WORDS or self._names.known(plain) is not None:
            return None
        found: list[tuple[float, Scene]] = []
        for reader in self._readers:
            scene = reader.read(plain, rule)
            if scene is not None:
                found.append(scene)
            if scene is not None and scene[0] == 0:
                break
        if not found:
            return None
        _, best = min(found, key=lambda each: each[0])
        return None if len(best.objects) > rule.most or (best.plain and not best.objects[0].exact) else best


@dataclass
class _LanguageReader:
    """Reads prompts in one language."""

    words: SceneWords
    lexicon: Lexicon
    names: KnownNames
    least: float = field(default=1.0, init=False)
    _read: dict[str, PromptPart | None] = field(default_factory=dict[str, "PromptPart | None"], init=False)
    """What parts of the current text were read as: a part may occur in many ways to take the text apart."""

    def read(self, text: str, rule: SceneRule) -> tuple[float, Scene] | None:
        """Return the scene of a text and how uncertain it is (0: all words are understood); None if it is none."""
        if self.words.denials.search(text) or not self._is_scene(text):
            return None
        if sum(1 for _ in self.words.joins.finditer(text)) > MOST_JOINS:
            return None
        self.least = rule.least if self._is_likely(text) else NEVER
        text = self.words.lead_ins.sub("", text)
        text, background, others = self._background(text)
        self._read.clear()
        part = self._part(text)
        if part is None or len(part.objects) > MOST_OBJECTS:
            return None
        if sum(len(words.split()) for words in part.left_out) > MOST_LEFT_OUT * len(part.objects):
            return None
        if sum(each.count for each in part.objects) > MOST_INSTANCES:
            return None
        scene = Scene(
            objects=part.objects,
            relations=part.relations,
            background=background,
            most=rule.most,
            left_out=(*part.left_out, *part.places, *others),
        )
        return part.cost + len(others), scene

    def _is_likely(self, text: str) -> bool:
        """Return whether a text is in this language: only then may words be looked up by their meaning."""
        if self.words.code == "en" or self.words.unspaced:
            return True
        small = (self.words.articles, self.words.number, *self.words.colours.values())
        return any(
            len(match.group()) > 1 and not match.group().isdecimal() for each in small for match in each.finditer(text)
        )

    def _is_scene(self, text: str) -> bool:
        """Return whether a text has any word that makes it more than the name of one thing."""
        words = self.words
        return (
            self._without_article(text) in words.names
            or any(pattern.search(text) for pattern in words.hints)
            or any(pattern.search(text) for _, pattern in words.backgrounds)
            or any(pattern.fullmatch(text) for _, pattern in words.relations)
        )

    def _background(self, text: str) -> tuple[str, Background, tuple[str, ...]]:
        """Return the text without its backgrounds, the first of them, and the words of the others."""
        first: Background | None = None
        others = [match.group() for match in self.words.around.finditer(text)]
        text = _SPACES.sub(" ", self.words.around.sub(" ", text)).strip(_MARKS) if others else text
        for name, pattern in self.words.backgrounds:
            match = pattern.search(text)
            if match is None:
                continue
            rest = f"{text[: match.start()]} {text[match.end() :]}".strip(_MARKS)
            if not rest:
                continue
            text = _SPACES.sub(" ", rest)
            if first is None:
                colour = next((key for key, value in match.groupdict().items() if value), None)
                first = name or cast("Background | None", colour) or "white"  # the patterns name colours only
            else:
                others.append(match.group().strip(_MARKS))
        return text, first or "white", tuple(others)

    def _part(self, text: str) -> PromptPart | None:
        """Return what a text shows: one thing, things in a relation, or several in a list."""
        text = text.strip(_MARKS)
        if text not in self._read:
            self._read[text] = None
            self._read[text] = self._part_of(text) if text else None
        return self._read[text]

    def _part_of(self, text: str) -> PromptPart | None:
        whole = self._thing(text)
        if whole is not None and not whole.cost:
            return whole
        options = [whole, *self._relations(text), self._list(text)]
        return min((each for each in options if each is not None), key=_worth, default=None)

    def _relations(self, text: str) -> Iterator[PromptPart | None]:
        """Yield the readings of things in a relation; a place that is not understood is left out."""
        for kind, pattern in self.words.relations:
            match = pattern.fullmatch(text)
            left = None if match is None else self._part(match["a"])
            if match is None or left is None:
                continue
            right = self._part(match["b"])
            if right is not None:
                yield related(kind, left, right, self.names)
            if all(each.exact for each in left.objects):
                place = f"{text[: match.start('a')]} {text[match.end('a') :]}".strip(_MARKS)
                yield elsewhere(left, place)

    def _list(self, text: str) -> PromptPart | None:
        """Return the things of a list; a name that contains "and" is not taken apart."""
        found: list[PromptPart] = []
        for match in reversed(list(self.words.joins.finditer(text))):
            left, rest = text[: match.start()].strip(_MARKS), text[match.end() :]
            whole = self._thing(left) if left else None
            inside = self.words.joins.search(left) and (whole is None or whole.cost >= 1)
            if not left or inside:
                continue
            first, others = self._part(left), self._part(rest)
            if first is not None and others is not None:
                may_wear = self.words.accompaniments.fullmatch(match.group().strip()) is not None
                found.append(beside(first, others, self.names, may_wear=may_wear))
        return min(found, key=_worth, default=None)

    def _without_article(self, text: str) -> str:
        match = self.words.articles.match(text)
        return text if match is None else text[match.end() :].strip()

    def _thing(self, text: str) -> PromptPart | None:
        """Return a thing with its number and colour, and the words about it that are left out."""
        rest, count = self._count(text)
        if rest != text:
            named = self._sure(self._without_article(text), 1)  # "24-hour clock", a name with a number
            if named is not None or count is None:
                return named
        rest = self._without_article(rest)
        sure = self._sure(rest, count or 1)
        return self._unsure(rest, count or 1) if sure is None else sure

    def _sure(self, text: str, count: int) -> PromptPart | None:
        """Return a thing of which everything that a text says is known."""
        noun, colour = self._known(text), None
        if noun is None:
            bare, colour = self._colour(text)
            noun = self._known(bare) if bare else None
        return None if noun is None else thing_of(noun, colour, count, "")

    def _unsure(self, text: str, count: int) -> PromptPart | None:
        """Return a thing with other words about it, or whose name is only near to what is said."""
        bare, colour = self._colour(text)
        said = self._cleaned(bare)
        found = self.lexicon.within(said if self.words.unspaced else bare) if said else None
        if found is None and said:
            found = self.lexicon.nearest(said, self.least)
        if found is None or self.words.joins.search(f" {found[1]} "):
            return None
        return thing_of(found[0], colour, count, self._cleaned(found[1]))

    def _known(self, text: str) -> Noun | None:
        noun = self.lexicon.known(text)
        return self.lexicon.known(self._cleaned(text)) if noun is None else noun

    def _cleaned(self, text: str) -> str:
        """Return a text without words that say nothing."""
        return _SPACES.sub(" ", self.words.ignored.sub(" ", text)).strip(_MARKS)

    def _count(self, text: str) -> tuple[str, int | None]:
        """Return the text without its number, and the number; None if a scene cannot have that many."""
        match = self.words.number.search(text)
        if match is None:
            return text, 1
        said = next(filter(None, match.groupdict().values())).lower()
        value = int(said) if said.isdecimal() else self.words.values.get(_SPACES.sub(" ", said))
        rest = f"{text[: match.start()]} {text[match.end() :]}".strip()
        return rest, value if value and 1 <= value <= MOST_INSTANCES else None

    def _colour(self, text: str) -> tuple[str, Colour | None]:
        """Return the text without its first colour, and the colour."""
        span: tuple[int, int] | None = None
        found: Colour | None = None
        for pattern in self.words.colour_phrases:
            match = pattern.search(text)
            if match is not None and span is None:
                span = match.span()
                found = next(name for name in self.words.colours if match[name])
        for colour, pattern in () if span else self.words.colours.items():
            match = pattern.search(text)
            if match is not None and (span is None or (match.start(), -match.end()) < (span[0], -span[1])):
                span, found = match.span(), colour
        if span is None:
            return text, None
        return _SPACES.sub(" ", f"{text[: span[0]]} {text[span[1] :]}").strip(_MARKS), found


def _worth(part: PromptPart) -> tuple[float, int]:
    """Return how uncertain a reading is; of equal ones, the fewest things have the longest names."""
    return part.cost, len(part.objects)
