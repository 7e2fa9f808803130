"""The files with known names that belong to a trained text head: names of all concepts, and other known captions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import torch

from limner_training.captions import EVERYDAY, CaptionTable, Names, plain_name
from limner_training.data import Dataset
from limner_worker.generators.builtin.known_names import save_known, save_names
from limner_worker.generators.text_encoding.sentence_encoder import SentenceEncoder
from limner_worker.networks.text_head import TextHead

TRANSLATIONS: Final = "translations.json"


def write_translations(foreign: Mapping[str, Names], folder: Path) -> None:
    """Write each language's names by concept to `translations.json`, which `write_names` reads."""
    plain = {
        code: {concept: plain_name(name) for concept, (name, _) in names.items()} for code, names in foreign.items()
    }
    (folder / TRANSLATIONS).write_text(json.dumps(plain, ensure_ascii=False), "utf-8")


def write_names(dataset: Dataset, captions: CaptionTable, head: TextHead, folder: Path) -> None:
    """Write `names.safetensors`, the English name of each concept, and `known.safetensors`, its other names.

    `captions` must have passed through `head`. Without `translations.json` in `folder` there are English names only.
    """
    _, first = np.unique(dataset.concepts, return_index=True)
    drawings = [dataset.drawings[int(row)] for row in first]
    save_names([plain_name(each.name) for each in drawings], captions.names()[first], folder)
    file = folder / TRANSLATIONS
    foreign: dict[str, dict[str, str]] = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    translations = {code: [names.get(each.concept, "") for each in drawings] for code, names in foreign.items()}
    everyday = sorted({text for each in drawings for text in EVERYDAY.get(each.name, ())})
    with torch.inference_mode():
        save_known(everyday, head(SentenceEncoder().encode(everyday)), translations, folder)
