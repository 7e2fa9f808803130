"""Training captions of a drawing: common phrasings, made from its CLDR names and keywords."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from limner_training.data import Drawing
from limner_training.languages import COLUMNS, LANGUAGES, foreign_captions
from limner_worker.networks.weights import write_tensors

FRAMES: Final = (
    "{a}",
    "the {it}",
    "{it} emoji",
    "a picture of {a}",
    "a drawing of {a}",
    "a cute {it}",
    "an icon of {a}",
)
# Common names that differ from the CLDR name.
EVERYDAY: Final = {
    "automobile": ("car", "red car"),
    "oncoming automobile": ("red car from the front",),
    "sport utility vehicle": ("blue car", "car"),
    "watermelon": ("slice of watermelon", "watermelon slice"),
    "pizza": ("slice of pizza",),
    "hamburger": ("burger", "cheeseburger"),
    "birthday cake": ("cake with candles",),
    "shortcake": ("piece of cake",),
    "house with garden": ("house with a garden", "house with a tree"),
    "house": ("home",),
    "red heart": ("heart",),
    "star": ("yellow star",),
    "dog face": ("puppy face",),
    "dog": ("brown dog",),
    "cat": ("walking cat",),
    "grinning face": ("happy face", "smiley"),
    "smiling face with sunglasses": ("face with sunglasses", "cool smiley with sunglasses"),
    "deciduous tree": ("green tree",),
    "evergreen tree": ("pine tree", "fir tree"),
    "hot beverage": ("cup of coffee", "cup of tea"),
    "teacup without handle": ("green tea",),
    "beer mug": ("glass of beer",),
    "wine glass": ("glass of red wine",),
    "glass of milk": ("milk",),
    "sailboat": ("sailing boat",),
    "motorway": ("road",),
    "bicycle": ("bike",),
    "motorcycle": ("motorbike",),
    "locomotive": ("steam train",),
    "helicopter": ("chopper",),
    "airplane": ("plane",),
    "soft ice cream": ("ice cream cone",),
    "doughnut": ("donut",),
    "cut of meat": ("steak",),
    "cooking": ("fried egg in a pan",),
    "television": ("tv",),
    "mobile phone": ("smartphone",),
    "laptop": ("computer",),
    "wrapped gift": ("present", "gift box"),
    "soccer ball": ("football",),
    "light bulb": ("lamp",),
    "sun": ("yellow sun",),
    "full moon": ("moon",),
    "crescent moon": ("moon",),
    "t-shirt": ("blue shirt",),
    "water wave": ("sea wave", "ocean"),
    "snow-capped mountain": ("mountain with snow",),
    "desert island": ("island with a palm tree",),
    "spouting whale": ("whale with water",),
    "lady beetle": ("ladybug", "ladybird"),
    "honeybee": ("bee",),
    "teddy bear": ("toy bear",),
    "pile of poo": ("poop",),
    "alien": ("green alien",),
    "robot": ("robot head",),
    "dragon face": ("dragon head",),
}
# Words that CLDR adds to name the symbol rather than the thing.
SUFFIXES: Final = (" face", " button", " symbol", " sign")
# Relative sampling weight of each category: what users request most gets the most capacity.
CATEGORY_WEIGHTS: Final = {
    "Smileys & Emotion": 1.2,
    "Animals & Nature": 1.4,
    "Food & Drink": 1.4,
    "Travel & Places": 1.0,
    "Objects": 1.0,
    "Activities": 1.0,
    "People & Body": 0.6,
    "Symbols": 0.25,
    "Flags": 0.3,
}
ENGLISH_COLUMNS: Final = 16
ENGLISH_SHARE: Final = 0.4
"""The share of English among sampled captions; the other languages share the rest equally."""
Names = Mapping[str, tuple[str, Sequence[str]]]
"""Maps each concept to its name and keywords in one language."""


@dataclass(frozen=True)
class CaptionTable:
    """Embedded captions: `embeddings` [captions, 384], and each drawing's rows in it with their probabilities.

    The columns are those of English, then those of each of `LANGUAGES`; the first of each language is the name.
    """

    embeddings: Tensor
    rows: np.ndarray  # int64 [drawings, columns]
    shares: np.ndarray  # float64 [drawings, columns], each row sums to 1

    def draw(self, drawings: np.ndarray, generator: np.random.Generator) -> Tensor:
        """Sample a caption for each drawing [B]: float32 [B, 384], unit length.

        Half of them are a random interpolation of two captions of the drawing, since prompts also lie between captions.
        """
        first, second = self._pick(drawings, generator), self._pick(drawings, generator)
        share = torch.as_tensor(generator.random(len(drawings)) * (generator.random(len(drawings)) < 0.5)).float()
        mixed = torch.lerp(self.embeddings[first], self.embeddings[second], share[:, None])
        return torch.nn.functional.normalize(mixed, dim=1)

    def names(self, language: str = "en") -> Tensor:
        """Return the embeddings of all drawings' names in a language: float32 [drawings, 384]."""
        column = 0 if language == "en" else ENGLISH_COLUMNS + COLUMNS * LANGUAGES.index(language)
        return self.embeddings[torch.as_tensor(self.rows[:, column])]

    def through(self, head: Callable[[Tensor], Tensor]) -> CaptionTable:
        """Return the same captions with `head` applied to their embeddings."""
        with torch.no_grad():
            parts = [head(part) for part in torch.split(self.embeddings, 4096)]
        return CaptionTable(torch.cat(parts), self.rows, self.shares)

    def save(self, path: Path) -> None:
        """Store the table as safetensors."""
        tensors = {"rows": torch.as_tensor(self.rows), "shares": torch.as_tensor(self.shares)}
        write_tensors(path, {"embeddings": self.embeddings.half(), **tensors})

    @classmethod
    def load(cls, path: Path) -> CaptionTable:
        """Read what `save` stored."""
        tensors = load_file(path)
        return cls(tensors["embeddings"].float(), tensors["rows"].numpy(), tensors["shares"].numpy())

    def _pick(self, drawings: np.ndarray, generator: np.random.Generator) -> Tensor:
        limits = self.shares[drawings].cumsum(1)
        column = (generator.random((len(drawings), 1)) > limits).sum(1).clip(max=limits.shape[1] - 1)
        return torch.as_tensor(self.rows[drawings, column])


def caption_table(
    drawings: Sequence[Drawing],
    foreign: Mapping[str, Names],
    encode: Callable[[Sequence[str]], Tensor],
    generator: np.random.Generator,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> CaptionTable:
    """Choose captions for each concept, in English and in each of `LANGUAGES`, and embed each distinct text once.

    `on_progress` receives (texts done, total texts).
    """
    chosen = _choose(drawings, foreign, generator)
    texts = sorted({text for options in chosen.values() for text, _ in options})
    place = {text: row for row, text in enumerate(texts)}
    rows = np.array([[place[text] for text, _ in chosen[d.concept]] for d in drawings])
    shares = np.array([[share for _, share in chosen[d.concept]] for d in drawings])
    parts: list[Tensor] = []
    for start in range(0, len(texts), 256):
        parts.append(encode(texts[start : start + 256]))
        on_progress(min(start + 256, len(texts)), len(texts))
    return CaptionTable(torch.cat(parts), rows, shares / shares.sum(1, keepdims=True))


def _choose(
    drawings: Sequence[Drawing], foreign: Mapping[str, Names], generator: np.random.Generator
) -> dict[str, list[tuple[str, float]]]:
    """For each concept, its captions in the order of the table's columns, with their frequencies."""
    concepts = {drawing.concept: drawing for drawing in drawings}
    counts = Counter(keyword for drawing in concepts.values() for keyword in drawing.keywords)
    found = {
        language: Counter(k for c in concepts for k in names.get(c, ("", ()))[1]) for language, names in foreign.items()
    }
    chosen: dict[str, list[tuple[str, float]]] = {}
    for concept, drawing in concepts.items():
        english = captions(drawing, counts, generator)
        options = _weighted(english, ENGLISH_SHARE, ENGLISH_COLUMNS, english[0][0])
        for language in LANGUAGES:
            name, keywords = foreign.get(language, {}).get(concept, ("", ()))
            texts = foreign_captions(language, plain_name(name), keywords, found[language]) if name else []
            options += _weighted(texts, (1 - ENGLISH_SHARE) / len(LANGUAGES), COLUMNS, english[0][0])
        chosen[concept] = options
    return chosen


def _weighted(texts: Sequence[tuple[str, float]], share: float, columns: int, filler: str) -> list[tuple[str, float]]:
    """Scale frequencies to sum to `share`, and pad to `columns` with a text of probability 0."""
    total = sum(weight for _, weight in texts)
    scaled = [(text, share * weight / total) for text, weight in texts]
    return scaled + [(filler, 0.0)] * (columns - len(texts))


def captions(drawing: Drawing, counts: Counter[str], generator: np.random.Generator) -> list[tuple[str, float]]:
    """Return `ENGLISH_COLUMNS` captions of a drawing's concept with their relative frequencies.

    The frequency of a single keyword is divided by the number of concepts that share it ("car": few, "face": hundreds).
    """
    name = plain_name(drawing.name)
    keywords = [keyword for keyword in drawing.keywords if keyword.lower() != name]
    frames = generator.choice(FRAMES, 4, replace=False)
    result = [(name, 3.0)] + [(frame.format(it=name, a=_with_article(name)), 0.5) for frame in frames]
    shorter = [name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix)]
    for other in (*shorter, *EVERYDAY.get(drawing.name, ())):
        result += [(other, 1.0), (_with_article(other), 0.7)]
    keywords.sort(key=lambda keyword: counts[keyword])
    result += [(keyword, 0.8 / counts[keyword]) for keyword in keywords[:4]]
    while len(result) < ENGLISH_COLUMNS:
        picked: list[str] = generator.permutation(keywords)[: generator.integers(1, 4)].tolist() if keywords else []
        result.append((", ".join([name, *picked]), 0.3))
    return result[:ENGLISH_COLUMNS]


def plain_name(name: str) -> str:
    """Normalise a CLDR name: lower case, straight apostrophes, a comma in place of the colon."""
    return name.lower().replace("\u2019", "'").replace(": ", ", ")


def weights(drawings: Sequence[Drawing]) -> np.ndarray:
    """Return the sampling probability of each drawing, [N], with sum 1; clocks have a weight of 0.1."""
    raw = np.array(
        [
            0.1 if "clock" in d.keywords and ":" in " ".join(d.keywords) else CATEGORY_WEIGHTS[d.category]
            for d in drawings
        ]
    )
    return raw / raw.sum()


def _with_article(name: str) -> str:
    return f"an {name}" if name[:1] in tuple("aeiou") else f"a {name}"
