"""The models that a process knows: their cards, which are read from TOML files."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

from pydantic import ValidationError

from limner_shared.domain import request_limits
from limner_shared.domain.card_fields import Source
from limner_shared.domain.cards import SOURCE_FIELDS, ModelCard
from limner_shared.domain.jobs import MAX_METADATA_BYTES, JobRequest, JobSpec
from limner_shared.errors import CardError


class Catalogue:
    """The models that this process knows, by name."""

    def __init__(self, cards: Iterable[ModelCard], default: str) -> None:
        self.cards = {card.name: card for card in cards}
        if default not in self.cards:
            raise CardError(f"The default model {default!r} has no card; known: {', '.join(sorted(self.cards))}.")
        self.default = default

    @classmethod
    def load(cls, paths: Iterable[Path], default: str) -> Catalogue:
        """Load the built-in cards and those under `paths` (files or folders of `*.toml`); a later card replaces an
        earlier one of the same name.

        Raises CardError with the file and the field at fault.
        """
        named = [file for path in paths for file in (sorted(path.glob("*.toml")) if path.is_dir() else [path])]
        return cls([*built_in_cards(), *map(load_card, named)], default)

    def get(self, name: str | None) -> ModelCard:
        """The card of `name`, or of the default model. Raises InvalidRequest for an unknown name."""
        card = self.cards.get(name or self.default)
        if card is None:
            raise request_limits.refuse("model", repr(name), sorted(self.cards))
        return card

    def resolve(self, request: JobRequest) -> tuple[ModelCard, JobSpec]:
        """Return the card and the complete spec of a request. Raises InvalidRequest."""
        if len(json.dumps(request.metadata, ensure_ascii=False).encode()) > MAX_METADATA_BYTES:
            raise request_limits.refuse("metadata", "this much JSON", f"at most {MAX_METADATA_BYTES} bytes")
        card = self.get(request.model)
        return card, card.resolve(request)


def built_in_cards() -> list[ModelCard]:
    """The cards that come with the service."""
    return [load_card(file) for file in sorted(Path(str(files("limner_shared.domain")), "models").glob("*.toml"))]


def load_card(file: Path) -> ModelCard:
    """Read one card. Raises CardError with the file and the reason; a relative folder is relative to the card."""
    try:
        card = ModelCard.model_validate(tomllib.loads(file.read_text()))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise CardError(f"{file}: {error}") from error
    except ValidationError as error:
        reasons = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise CardError(f"{file}: {reasons}") from error
    adapters = {name: _beside(file, source) for name, source in card.adapters.items()}
    adapter = card.reference and card.reference.adapter
    reference = card.reference and card.reference.model_copy(update={"adapter": adapter and _beside(file, adapter)})
    refiner = card.refiner and card.refiner.model_copy(update={"source": _beside(file, card.refiner.source)})
    named = {field: source and _beside(file, source) for field in SOURCE_FIELDS if (source := getattr(card, field))}
    folder = card.adapter_folder and file.parent / card.adapter_folder
    beside = {"adapters": adapters, "adapter_folder": folder, "reference": reference, "refiner": refiner}
    return card.model_copy(update=named | beside)


def _beside(card: Path, source: Source) -> Source:
    return source if source.folder is None else source.model_copy(update={"folder": card.parent / source.folder})
