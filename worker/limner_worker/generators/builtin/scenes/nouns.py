"""The known names that nouns of a language mean, in any grammatical form."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile
from typing import Final

from torch import Tensor

from limner_shared.recent_entries import keep_newest
from limner_worker.generators.builtin.known_names import KnownNames
from limner_worker.generators.builtin.scenes.words import SceneWords

Encode = Callable[[Sequence[str]], Tensor]
STEM: Final = 3
"""The fewest letters that remain of a word without its endings."""
LONGEST_ENDING: Final = 2
"""The most letters in which the shorter of two forms of a noun may differ from the longer one."""
OTHER_LETTER: Final = 0.02
"""How uncertain each letter is in which a form differs from the name: a name of another language may be nearer."""
WORDS: Final = 3
"""The most words about a thing whose name is not known."""
KEPT: Final = 1000
"""The words whose meaning is kept; the oldest is forgotten first."""


@dataclass(frozen=True)
class Noun:
    """A noun of a prompt, and the name that is drawn for it."""

    said: str
    name: str
    exact: bool = True
    """Whether the name means what was said."""
    doubt: float = 0.0
    """How much the form differs from the name's; 0 for the name itself, below 1."""


class Lexicon:
    """The nouns of one language: its names for what the model knows, and everyday nouns of its language file."""

    def __init__(self, words: SceneWords, names: KnownNames, encode: Encode) -> None:
        self._words, self._names, self._encode = words, names, encode
        self._exact = {said: name for said, name in words.names.items() if name in names}
        self._exact |= dict(names.in_language(words.code))
        self._exact |= {said: name for said, name in words.nouns.items() if name in names}
        self._nearest: dict[str, tuple[str, float]] = {}
        self._kept_stem = lru_cache(KEPT)(self._word_stem)
        self._stems: dict[str, list[str]] = {}
        for said in self._exact:
            self._stems.setdefault(self._stem(said), []).append(said)
        self._longest = max((len(said.split()) for said in self._exact), default=0)
        """The most words of a noun."""

    def known(self, phrase: str) -> Noun | None:
        """Return the noun that is the whole phrase, in any form; None if it is not known."""
        if phrase in self._exact:
            return Noun(phrase, self._exact[phrase])
        alike = [said for said in self._stems.get(self._stem(phrase), ()) if self._is_form(said, phrase)]
        nearest = min(alike, key=lambda said: _difference(said, phrase), default=None)
        if nearest is None:
            return None
        return Noun(phrase, self._exact[nearest], doubt=min(OTHER_LETTER * _difference(nearest, phrase), 0.4))

    def within(self, phrase: str) -> tuple[Noun, str] | None:
        """Return the longest known noun at the phrase's head, and the other words; None if there is none or several."""
        if self._words.unspaced and " " not in phrase:
            return self._before_predicate(phrase) or self._at_end(phrase)
        words = phrase.split()
        hits = list(self._spans(words))
        if not hits:
            return None
        first, last, noun = hits[0] if self._words.noun_first else hits[-1]
        others = [each for each in hits if each[1] <= first or each[0] >= last]
        apart = [each for each in others if each[1] != first and each[0] != last]
        if apart or not self._is_head(noun, words[:first], words[last:]):
            return None  # two things, and what is between them is not understood; or a thing that only names a material
        return noun, " ".join((*words[:first], *words[last:]))

    def _is_head(self, noun: Noun, before: Sequence[str], after: Sequence[str]) -> bool:
        """Return whether the noun between words is their subject: "mesa de madera" is not about wood."""
        if self._words.noun_first:
            return not self._words.of.search(" ".join((*before, "")))
        return not after or (noun.doubt == 0 and not self._words.unspaced)

    def _before_predicate(self, phrase: str) -> tuple[Noun, str] | None:
        """Return the longest known noun with which a phrase without spaces begins, and what its thing does."""
        for at in range(len(phrase) - 1, 0, -1):
            if self._words.predicates.match(phrase, at) and (noun := self.known(phrase[:at])) is not None:
                return noun, phrase[at:]
        return None

    def _at_end(self, phrase: str) -> tuple[Noun, str] | None:
        """Return the longest known noun at the end of a phrase without spaces, and what precedes it."""
        for at in range(len(phrase)):
            if (noun := self.known(phrase[at:])) is not None:
                return noun, phrase[:at]
        return None

    def _spans(self, words: Sequence[str]) -> Iterator[tuple[int, int, Noun]]:
        """Yield the longest known nouns among words, from left to right, without overlaps."""
        at = 0
        while at < len(words):
            for end in range(min(len(words), at + self._longest), at, -1):
                noun = self.known(" ".join(words[at:end]))
                if noun is not None:
                    yield at, end, noun
                    at = end - 1
                    break
            at += 1

    def nearest(self, phrase: str, least: float) -> tuple[Noun, str] | None:
        """Return the noun of the known name that is nearest in meaning to the phrase's head, and the other words.

        None if none is near enough.
        """
        words = phrase.split()
        if least > 1 or len(words) > WORDS:
            return None
        head = words[0] if self._words.noun_first else words[-1]
        if len(head) < (1 if self._words.unspaced else STEM):
            return None
        if head not in self._nearest:
            keep_newest(self._nearest, head, self._names.nearest(self._encode([head])[0]), KEPT)
        name, cosine = self._nearest[head]
        others = words[1:] if self._words.noun_first else words[:-1]
        return (Noun(head, name, exact=False), " ".join(others)) if cosine >= least else None

    def _is_form(self, said: str, phrase: str) -> bool:
        """Return whether two phrases of one stem can be forms of one noun; stems may be as short as "sch"."""
        if self._words.unspaced or " " in said or " " in phrase:
            return True
        begin = max(0, min(len(said), len(phrase)) - LONGEST_ENDING)
        return plain(said)[:begin] == plain(phrase)[:begin]

    def _stem(self, phrase: str) -> str:
        if self._words.unspaced:
            return self._words.endings.sub("", phrase.replace(" ", "")) or phrase
        return " ".join(map(self._kept_stem, phrase.split()))

    def _word_stem(self, word: str) -> str:
        word = plain(word)
        while (ending := self._words.endings.search(word, STEM)) is not None and ending.group():
            word = word[: ending.start()]
        return re.sub(r"(.)\1$", r"\1", word) if len(word) > STEM else word


def _difference(said: str, phrase: str) -> int:
    """Return the number of letters after the common beginning of two forms."""
    pairs = zip(plain(said), plain(phrase), strict=False)
    common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    return len(said) + len(phrase) - 2 * common


def plain(text: str) -> str:
    """Return a text without accents."""
    return "".join(each for each in unicodedata.normalize("NFD", text) if not unicodedata.combining(each))
