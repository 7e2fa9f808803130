"""The names that a built-in model was trained with, and the rule for drawing a prompt as one of them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import torch
from safetensors import safe_open
from torch import Tensor

from limner_shared.domain.scenes import NearestName
from limner_worker.languages import WIDE
from limner_worker.networks.weights import WeightsError, write_tensors

NAMES: Final = "names.safetensors"
KNOWN: Final = "known.safetensors"
LONGEST: Final = 6
"""The most words, or characters of a script without spaces, of a name that is searched for within a text."""
SHORTEST: Final = 3
"""The fewest letters of a name that is searched for within a text; shorter ones are function words elsewhere."""
_WORD: Final = re.compile(r"[\w'-]+")
_ARTICLES: Final = (
    "an? the ein eine einen der die das den un une le la les el los las una unos unas il lo gli i uno um uma o os as"
)
_MARKS: Final = " .!?\u3002\uff01\uff1f"
_ONE: Final = re.compile(r"^(?:1|one)\s+")
_ARTICLE: Final = re.compile(rf"^(?:{'|'.join(_ARTICLES.split())})\s+|^l'\s*")


class NameMatch(NamedTuple):
    """The name that is drawn in place of a text."""

    name: str
    embedding: Tensor  # float32 [384]
    exact: bool
    """Whether the text is the name itself in another language, so that the drawing omits nothing."""


class KnownNames:
    """The English name of every concept with its conditioning, its names in other languages, and everyday captions.

    The captions ("blue car" for CLDR's "sport utility vehicle") were trained along with the names.
    """

    def __init__(self, folder: Path) -> None:
        """Read `names.safetensors` and, if it exists, `known.safetensors` from a text encoder's folder.

        Raises WeightsError for a file that is missing or damaged.
        """
        self.names, self.embeddings, _ = _read(folder / NAMES)
        captions, embeddings, translations = _read(folder / KNOWN) if (folder / KNOWN).is_file() else ([], None, {})
        self._texts = [*self.names, *captions]
        self._all = self.embeddings if embeddings is None else torch.cat([self.embeddings, embeddings])
        self._translations = translations
        self._places = {
            name: place for names in (*translations.values(), self._texts) for place, name in enumerate(names) if name
        }
        self._heads: dict[str, list[int]] = {}  # by the last word of English names of several words
        for place, name in enumerate(self.names):
            *before, last = name.split()
            if before:
                self._heads.setdefault(last, []).append(place)
        files = [file for file in (folder / NAMES, folder / KNOWN) if file.is_file()]
        self.sha256 = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()

    def find(self, text: str, embedding: Tensor, rule: NearestName) -> NameMatch | None:
        """Return the name to draw in place of a text with conditioning `embedding` [384]; None to draw the text itself.

        The result depends on this text only, never on its batch.
        """
        cosines = self._all @ embedding
        nearest = int(cosines.argmax())
        if float(cosines[nearest]) >= rule.keep:
            return None
        plain = _plain(text)
        exact = self._places.get(plain, self._places.get(_ONE.sub("", plain)))  # "one o'clock" is a name
        contained = self._names_within(plain) if exact is None else [exact]
        place = max(contained, key=lambda place: float(cosines[place]), default=nearest)
        if cosines[place] < cosines[nearest] - rule.margin:  # a word of another language, or one of little weight here
            place = nearest
        if place == nearest and place not in contained and float(cosines[nearest]) < rule.least:
            return None
        return NameMatch(self._texts[place], self._all[place].clone(), exact=place == exact)

    def drawn(self, text: str, embedding: Tensor, rule: NearestName | None) -> str:
        """Return the name that is drawn for a text with conditioning `embedding` [384], or the nearest name."""
        found = None if rule is None else self.find(text, embedding, rule)
        return self.nearest(embedding)[0] if found is None else found.name

    def _names_within(self, plain: str) -> Collection[int]:
        """Return the indices of the names in a text, in any language; else of names that end in one of its words."""
        words = _WORD.findall(plain)
        spaced = [" ".join(words[at : at + size]) for size in range(1, LONGEST + 1) for at in range(len(words))]
        spaced += [part.removesuffix("s") for part in spaced]
        wide = "".join(character if character >= WIDE else " " for character in plain)
        unspaced = {wide[at : at + size] for size in range(1, LONGEST + 1) for at in range(len(wide))}
        parts = unspaced.union(part for part in spaced if len(part) >= SHORTEST) & self._places.keys()
        found = {self._places[part] for part in parts}
        return found or {place for part in spaced for place in self._heads.get(part, ())}

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def known(self, text: str) -> str | None:
        """Return the English name or caption that a text is in any language, perhaps with an article; else None."""
        place = self._places.get(_plain(text))
        return None if place is None else self._texts[place]

    def place(self, name: str) -> int | None:
        """Return the place of a name among `names`; None of another text."""
        place = self._places.get(name)
        return place if place is not None and place < len(self.names) else None

    def embedding(self, name: str) -> Tensor | None:
        """Return the conditioning [384] of a name or caption; None of another text."""
        place = self._places.get(name)
        return None if place is None else self._all[place]

    def in_words(self, name: str, language: str) -> str:
        """Return a name as it is said in a language; empty if it has no such name there."""
        if language == "en":
            return name
        place, names = self._places.get(name, len(self.names)), self._translations.get(language, ())
        return names[place] if place < len(names) else ""

    def in_language(self, language: str) -> Iterator[tuple[str, str]]:
        """Yield the names in a language with the English ones; in English, the captions too."""
        names = self._translations.get(language, self._texts if language == "en" else ())
        for said, name in zip(names, self._texts, strict=False):
            if said:
                yield said, name

    @property
    def languages(self) -> list[str]:
        """The languages that have names."""
        return ["en", *self._translations]

    def nearest(self, embedding: Tensor) -> tuple[str, float]:
        """Return the name or caption that is nearest to an embedding [384], and its cosine."""
        cosines = self._all @ embedding
        place = int(cosines.argmax())
        return self._texts[place], float(cosines[place])

    def translated(self, name: str, language: str) -> str:
        """Return CLDR's translation of a name; the name itself if there is none."""
        return self.in_words(name, language) or name


def save_names(names: Sequence[str], embeddings: Tensor, folder: Path) -> None:
    """Store names and their conditioning [names, 384] for `KnownNames` to read."""
    _write(folder / NAMES, embeddings, names=names)


def save_known(
    captions: Sequence[str], embeddings: Tensor, translations: Mapping[str, Sequence[str]], folder: Path
) -> None:
    """Store captions with their conditioning [captions, 384], and translations of the names by language, in order."""
    _write(folder / KNOWN, embeddings, names=captions, translations=translations)


def _write(file: Path, embeddings: Tensor, **texts: object) -> None:
    metadata = {key: json.dumps(value, ensure_ascii=False) for key, value in texts.items()}
    write_tensors(file, {"embeddings": embeddings.half()}, metadata)


def _read(file: Path) -> tuple[list[str], Tensor, dict[str, list[str]]]:
    try:
        with safe_open(file, framework="pt") as opened:
            metadata = opened.metadata() or {}
            texts, translations = json.loads(metadata["names"]), json.loads(metadata.get("translations", "{}"))
            return texts, opened.get_tensor("embeddings").float(), translations
    except Exception as error:
        raise WeightsError(f"{file} is not a names file: {error}") from error


def _plain(text: str) -> str:
    """Return the text in the form of the names: lower case, without a leading article or final punctuation."""
    return _ARTICLE.sub("", " ".join(text.lower().replace("\u2019", "'").split()).strip(_MARKS)).strip()
