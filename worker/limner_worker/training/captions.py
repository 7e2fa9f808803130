"""Which texts a drawing is trained with: everyday ways to ask for it, made from its CLDR name and keywords."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from limner_worker.networks.weights import write_tensors
from limner_worker.training.data import Drawing

FRAMES = ("{a}", "the {it}", "{it} emoji", "a picture of {a}", "a drawing of {a}", "a cute {it}", "an icon of {a}")
# What people say for what CLDR calls otherwise.
EVERYDAY = {
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
SUFFIXES = (" face", " button", " symbol", " sign")
# Capacity goes to what people ask for: each kind's share of the drawings that are looked at.
CATEGORY_WEIGHTS = {
    "Smileys & Emotion": 1.2,
    "Animals & Nature": 1.4,
    "Food & Drink": 1.4,
    "Travel & Places": 1.0,
    "Objects": 1.0,
    "Activities": 1.0,
    "People & Body": 0.3,
    "Symbols": 0.08,
    "Flags": 0.3,
}
TABLE_SIZE = 16


@dataclass(frozen=True)
class CaptionTable:
    """Embedded captions: `embeddings` [captions, 384], and for each drawing `TABLE_SIZE` rows with their shares."""

    embeddings: Tensor
    rows: np.ndarray  # int64 [drawings, TABLE_SIZE]
    shares: np.ndarray  # float64 [drawings, TABLE_SIZE], each row sums to 1

    def draw(self, drawings: np.ndarray, generator: np.random.Generator) -> Tensor:
        """Draw a text for each drawing [B]: float32 [B, 384], unit length.

        Half of the texts are a random mean of two captions of the same drawing: prompts fall between captions too.
        """
        first, second = self._pick(drawings, generator), self._pick(drawings, generator)
        share = torch.from_numpy(generator.random(len(drawings)) * (generator.random(len(drawings)) < 0.5)).float()
        mixed = torch.lerp(self.embeddings[first], self.embeddings[second], share[:, None])
        return torch.nn.functional.normalize(mixed, dim=1)

    def save(self, path: Path) -> None:
        """Store the table as safetensors."""
        tensors = {"rows": torch.from_numpy(self.rows), "shares": torch.from_numpy(self.shares)}
        write_tensors(path, {"embeddings": self.embeddings.half(), **tensors})

    @classmethod
    def load(cls, path: Path) -> CaptionTable:
        """Read what `save` stored."""
        tensors = load_file(path)
        return cls(tensors["embeddings"].float(), tensors["rows"].numpy(), tensors["shares"].numpy())

    def _pick(self, drawings: np.ndarray, generator: np.random.Generator) -> Tensor:
        limits = self.shares[drawings].cumsum(1)
        column = (generator.random((len(drawings), 1)) > limits).sum(1).clip(max=limits.shape[1] - 1)
        return torch.from_numpy(self.rows[drawings, column])


def caption_table(
    drawings: Sequence[Drawing],
    encode: Callable[[Sequence[str]], Tensor],
    generator: np.random.Generator,
    on_progress: Callable[[int, int], None] = lambda *_: None,
) -> CaptionTable:
    """Choose `TABLE_SIZE` captions for each concept and embed each different one once.

    `on_progress` hears (texts done, texts in all).
    """
    counts = Counter(keyword for concept in {d.concept: d for d in drawings}.values() for keyword in concept.keywords)
    chosen: dict[str, list[tuple[str, float]]] = {}
    for drawing in drawings:
        if drawing.concept not in chosen:
            chosen[drawing.concept] = captions(drawing, counts, generator)
    # By length, so that a batch is not padded to its one long text.
    texts = sorted({text for options in chosen.values() for text, _ in options}, key=lambda text: (len(text), text))
    place = {text: row for row, text in enumerate(texts)}
    rows = np.array([[place[text] for text, _ in chosen[d.concept]] for d in drawings])
    shares = np.array([[share for _, share in chosen[d.concept]] for d in drawings])
    parts: list[Tensor] = []
    for start in range(0, len(texts), 64):
        parts.append(encode(texts[start : start + 64]))
        on_progress(min(start + 64, len(texts)), len(texts))
    return CaptionTable(torch.cat(parts), rows, shares / shares.sum(1, keepdims=True))


def captions(drawing: Drawing, counts: Counter[str], generator: np.random.Generator) -> list[tuple[str, float]]:
    """Return `TABLE_SIZE` captions of a drawing's concept with their relative frequencies.

    A keyword alone is the rarer the more concepts share it ("car" names few, "face" names hundreds).
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
    while len(result) < TABLE_SIZE:
        picked = generator.permutation(keywords)[: generator.integers(1, 4)] if keywords else []
        result.append((", ".join([name, *picked]), 0.3))
    return result[:TABLE_SIZE]


def plain_name(name: str) -> str:
    """Write a CLDR name as one would say it: lower case, straight apostrophes, no colon."""
    return name.lower().replace("\u2019", "'").replace(": ", ", ")


def weights(drawings: Sequence[Drawing]) -> np.ndarray:
    """Give each drawing its probability to be looked at, [N], which sum to 1; clocks count as symbols."""
    raw = np.array(
        [
            0.1 if "clock" in d.keywords and ":" in " ".join(d.keywords) else CATEGORY_WEIGHTS[d.category]
            for d in drawings
        ]
    )
    return raw / raw.sum()


def _with_article(name: str) -> str:
    return f"an {name}" if name[:1] in tuple("aeiou") else f"a {name}"
