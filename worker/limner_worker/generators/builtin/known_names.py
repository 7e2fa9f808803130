"""The names that a built-in model was trained with, and when a prompt is drawn as one of them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import torch
from safetensors import safe_open
from torch import Tensor

from limner_shared.domain.jobs import NearestName
from limner_worker.networks.weights import WeightsError, write_tensors

NAMES: Final = "names.safetensors"
KNOWN: Final = "known.safetensors"
LONGEST: Final = 6
"""Words, or characters of a script without spaces, in a name that is looked for within a text."""
WIDE: Final = "\u2e80"
"""From here on lie the scripts that are written without spaces."""
SHORTEST: Final = 3
"""Letters of a name that is looked for within a text; shorter ones are other languages' small words."""
_WORD = re.compile(r"[\w'-]+")
_ARTICLES = (
    "an? the ein eine einen der die das den un une le la les el los las una unos unas il lo gli i uno um uma o os as"
)
_MARKS = " .!?\u3002\uff01\uff1f"
_ARTICLE = re.compile(rf"^(?:{'|'.join(_ARTICLES.split())})\s+|^l'\s*")


class Named(NamedTuple):
    """What is drawn instead of a text."""

    name: str
    embedding: Tensor  # float32 [384]
    exact: bool
    """Whether the text is the name itself, in another language: then nothing of it is left out."""


class Names:
    """Every concept's English name with its conditioning, its names in other languages, and everyday captions.

    The captions ("blue car" for what CLDR calls "sport utility vehicle") were trained with as well as the names.
    """

    def __init__(self, folder: Path) -> None:
        """Read `names.safetensors` and, if it is there, `known.safetensors` from a text encoder's folder.

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
        self._heads: dict[str, list[int]] = {}  # of English names of several words, by the last one
        for place, name in enumerate(self.names):
            *before, last = name.split()
            if before:
                self._heads.setdefault(last, []).append(place)
        files = [file for file in (folder / NAMES, folder / KNOWN) if file.is_file()]
        self.sha256 = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()

    def instead_of(self, text: str, embedding: Tensor, rule: NearestName) -> Named | None:
        """The name to draw in place of a text with conditioning `embedding` [384]; None if the text itself is drawn.

        The result depends on this text alone, never on its batch.
        """
        cosines = self._all @ embedding
        nearest = int(cosines.argmax())
        if float(cosines[nearest]) >= rule.keep:
            return None
        plain = _plain(text)
        exact = self._places.get(plain)
        said = self._said(plain) if exact is None else [exact]
        place = max(said, key=lambda place: float(cosines[place]), default=nearest)
        if cosines[place] < cosines[nearest] - rule.margin:  # another language's word, or one that means little here
            place = nearest
        if place == nearest and place not in said and float(cosines[nearest]) < rule.least:
            return None
        return Named(self._texts[place], self._all[place].clone(), exact=place == exact)

    def _said(self, plain: str) -> Collection[int]:
        """The places of names that a text contains, in any language; else of those that end in one of its words."""
        words = _WORD.findall(plain)
        spaced = [" ".join(words[at : at + size]) for size in range(1, LONGEST + 1) for at in range(len(words))]
        spaced += [part.removesuffix("s") for part in spaced]
        wide = "".join(character if character >= WIDE else " " for character in plain)
        unspaced = {wide[at : at + size] for size in range(1, LONGEST + 1) for at in range(len(wide))}
        parts = unspaced.union(part for part in spaced if len(part) >= SHORTEST) & self._places.keys()
        found = {self._places[part] for part in parts}
        return found or {place for part in spaced for place in self._heads.get(part, ())}

    def translated(self, name: str, language: str) -> str:
        """A name in another language, as CLDR has it; the name itself where it has none."""
        place = self._places.get(name, len(self.names))
        names = self._translations.get(language, ())
        return (names[place] if place < len(names) else "") or name


def save_names(names: Sequence[str], embeddings: Tensor, folder: Path) -> None:
    """Store names and their conditioning [names, 384] where `Names` reads them."""
    _write(folder / NAMES, embeddings, names=names)


def save_known(
    captions: Sequence[str], embeddings: Tensor, translations: Mapping[str, Sequence[str]], folder: Path
) -> None:
    """Store captions with their conditioning [captions, 384], and by language the names in the order of the names."""
    _write(folder / KNOWN, embeddings, names=captions, translations=translations)


def _write(file: Path, embeddings: Tensor, **texts: object) -> None:
    told = {key: json.dumps(value, ensure_ascii=False) for key, value in texts.items()}
    write_tensors(file, {"embeddings": embeddings.half()}, told)


def _read(file: Path) -> tuple[list[str], Tensor, dict[str, list[str]]]:
    try:
        with safe_open(file, framework="pt") as opened:
            told = opened.metadata()
            texts, translations = json.loads(told["names"]), json.loads(told.get("translations", "{}"))
            return texts, opened.get_tensor("embeddings").float(), translations
    except Exception as error:
        raise WeightsError(f"{file} is no file of names: {error}") from error


def _plain(text: str) -> str:
    """As names are written: lower case, without an article before them or a mark after them."""
    return _ARTICLE.sub("", " ".join(text.lower().replace("\u2019", "'").split()).strip(_MARKS)).strip()
