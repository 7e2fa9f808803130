"""Reads a prompt as a scene: its things with number and colour, how they stand to each other, and the background."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from limner_shared.domain.scenes import (
    MOST_INSTANCES,
    Background,
    Colour,
    Scene,
    SceneRule,
)
from limner_worker.generators.builtin.known_names import KnownNames
from limner_worker.generators.builtin.scenes.nouns import Encode, Lexicon
from limner_worker.generators.builtin.scenes.parts import Part, beside, related, thing_of
from limner_worker.generators.builtin.scenes.words import SceneWords, languages

LONGEST: Final = 160
"""The most characters of a text that is read as a scene."""
WORDS: Final = 24
MOST_LEFT_OUT: Final = 2
"""The most words for each thing that a scene may leave out."""
MOST_OBJECTS: Final = 6
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
        """Return the scene of a prompt.

        None if the prompt is the name of one thing, if it asks for one thing as it is, or if it is not read with
        certainty: then it is drawn as a whole. The result depends on this text only.
        """
        plain = _SPACES.sub(" ", text.lower().replace("\u2019", "'")).strip(_MARKS)
        if not plain or len(plain) > LONGEST or len(plain.split()) > WORDS or self._names.is_name(plain):
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
        return None if best.plain or len(best.objects) > rule.most else best


@dataclass
class _LanguageReader:
    """Reads prompts in one language."""

    words: SceneWords
    lexicon: Lexicon
    names: KnownNames
    least: float = field(default=1.0, init=False)
    _read: dict[str, Part | None] = field(default_factory=dict[str, "Part | None"], init=False)
    """What parts of the current text were read as: a part may occur in many ways to take the text apart."""

    def read(self, text: str, rule: SceneRule) -> tuple[float, Scene] | None:
        """Return the scene of a text and how uncertain it is (0: all words are understood); None if it is none."""
        if self.words.denials.search(text) or not self._is_scene(text):
            return None
        self.least = rule.least if self._is_likely(text) else NEVER
        text = self.words.lead_ins.sub("", text)
        text, background = self._background(text)
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
            left_out=part.left_out,
        )
        return part.cost, scene

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
            any(pattern.search(text) for pattern in words.hints)
            or any(pattern.search(text) for _, pattern in words.backgrounds)
            or any(pattern.fullmatch(text) for _, pattern in words.relations)
        )

    def _background(self, text: str) -> tuple[str, Background]:
        for name, pattern in self.words.backgrounds:
            match = pattern.search(text)
            if match is None:
                continue
            rest = f"{text[: match.start()]} {text[match.end() :]}".strip(_MARKS)
            colour = next((key for key, value in match.groupdict().items() if value), None)
            if rest:
                return _SPACES.sub(" ", rest), name or colour or "white"  # type: ignore[return-value]
        return text, "white"

    def _part(self, text: str) -> Part | None:
        """Return what a text shows: one thing, things that stand to each other, or several in a list."""
        text = text.strip(_MARKS)
        if text not in self._read:
            self._read[text] = None
            self._read[text] = self._part_of(text) if text else None
        return self._read[text]

    def _part_of(self, text: str) -> Part | None:
        whole = self._thing(text)
        if whole is not None and not whole.cost:
            return whole
        options = [whole, *self._relations(text), self._list(text)]
        return min((each for each in options if each is not None), key=lambda each: each.cost, default=None)

    def _relations(self, text: str) -> Iterator[Part | None]:
        for kind, pattern in self.words.relations:
            match = pattern.fullmatch(text)
            if match is None:
                continue
            left, right = self._part(match["a"]), self._part(match["b"])
            if left is not None and right is not None:
                yield related(kind, left, right, self.names)

    def _list(self, text: str) -> Part | None:
        """Return the things of a list; a name that contains "and" is not taken apart."""
        found: list[Part] = []
        for match in reversed(list(self.words.joins.finditer(text))):
            left, rest = text[: match.start()].strip(_MARKS), text[match.end() :]
            inside = self.words.joins.search(left) and not self.lexicon.known(self._without_article(left))
            if not left or inside:
                continue
            first, others = self._part(left), self._part(rest)
            if first is not None and others is not None:
                may_wear = self.words.accompaniments.fullmatch(match.group().strip()) is not None
                found.append(beside(first, others, self.names, may_wear=may_wear))
        return min(found, key=lambda each: each.cost, default=None)

    def _without_article(self, text: str) -> str:
        match = self.words.articles.match(text)
        return text if match is None else text[match.end() :].strip()

    def _thing(self, text: str) -> Part | None:
        """Return a thing with its number and colour, and the words about it that are left out."""
        rest, count = self._count(text)
        if count is None:
            return None
        rest = _SPACES.sub(" ", self.words.ignored.sub(" ", self._without_article(rest))).strip()
        noun = self.lexicon.known(rest)
        if noun is not None:
            return thing_of(noun, None, count, "")
        bare, colour = self._colour(rest)
        if not bare:
            return None
        whole = self.lexicon.known(bare)
        found = self.lexicon.within(bare) if whole is None else (whole, "")
        if found is None:
            found = self.lexicon.nearest(bare, self.least)
        if found is None or self.words.joins.search(f" {found[1]} "):
            return None
        return thing_of(found[0], colour, count, found[1])

    def _count(self, text: str) -> tuple[str, int | None]:
        """Return the text without its number, and the number; None if a scene cannot have that many."""
        match = self.words.number.search(text)
        if match is None:
            return text, 1
        said = match["n"].lower()
        value = int(said) if said.isdecimal() else self.words.values.get(_SPACES.sub(" ", said))
        rest = f"{text[: match.start()]} {text[match.end() :]}".strip()
        return rest, value if value and 1 <= value <= MOST_INSTANCES else None

    def _colour(self, text: str) -> tuple[str, Colour | None]:
        """Return the text without its first colour, and the colour."""
        first: tuple[int, int] | None = None
        found: Colour | None = None
        for colour, pattern in self.words.colours.items():
            match = pattern.search(text)
            if match is not None and (first is None or (match.start(), -match.end()) < (first[0], -first[1])):
                first, found = match.span(), colour
        if first is None:
            return text, None
        return _SPACES.sub(" ", f"{text[: first[0]]} {text[first[1] :]}").strip(), found
