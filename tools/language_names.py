"""Writes CLDR's names of what the built-in model draws, in a language that the model's own files lack: Dutch.

    python tools/language_names.py nl

The names come from the packages of `limner train data`, which are downloaded with npm if they are missing.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

import limner_worker
from limner_training import data
from limner_worker.generators.builtin.known_names import KnownNames

WORKER: Final = Path(limner_worker.__file__).parent


def names_in(language: str) -> dict[str, str]:
    """Return the model's English names by their lower-case names in a language; the first of equal names counts."""
    sources = data.fetched(data.cache_folder())
    english, foreign = data.read_names(sources), data.read_names(sources, language)
    known = set(KnownNames(WORKER / "models" / "limner-text").names)
    found: dict[str, str] = {}
    for concept, (name, _) in english.items():
        if name.lower() in known and concept in foreign and not data.is_variant(concept):
            found.setdefault(foreign[concept][0].lower(), name.lower())
    return dict(sorted(found.items()))


if __name__ == "__main__":
    code = sys.argv[1]
    target = WORKER / "languages" / "names" / f"{code}.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(names_in(code), ensure_ascii=False, indent=0) + "\n", "utf-8")
