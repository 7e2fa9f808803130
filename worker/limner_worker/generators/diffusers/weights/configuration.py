"""What a pipeline is built from beside its weights: configurations, vocabularies and chat templates."""

from __future__ import annotations

import hashlib
import json
from typing import Final

from limner_shared.domain.cards import ModelCard
from limner_worker.generators.weight_files import file_hashes, locate

PATTERNS: Final = ("*.json", "*.txt", "*.model", "*.jinja")


def configuration_hash(card: ModelCard) -> str:
    """Return the SHA-256 of these files in hex; empty if all of them come from a hub, whose revision tells them.

    They can change the picture as the weights can: how the scheduler's times are spaced, or how many layers are used.
    """
    sources = {
        "": card.source,
        "refiner/": card.refiner and card.refiner.source,
        "reference/": card.reference and card.reference.adapter,
    }
    found = {
        place + name: digest
        for place, source in sources.items()
        if source is not None and source.hub is None
        for pattern in PATTERNS
        for name, digest in file_hashes(locate(source), pattern).items()
        if not name.startswith(".")
    }
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest() if found else ""
