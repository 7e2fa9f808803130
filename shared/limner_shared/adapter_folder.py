"""The LoRA adapters in the folder of a model card: its safetensors files, read for each request."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from limner_shared.domain.cards import ModelCard
from limner_shared.domain.jobs import JobSpec
from limner_shared.domain.request_limits import refuse

LONGEST_NAME: Final = 200
MOST_SHOWN: Final = 100
"""At most this many names are listed in an error."""


def adapters_in(folder: Path) -> dict[str, Path]:
    """The files of a folder by their names without `.safetensors`, in order; empty if there is no such folder."""
    files = sorted(folder.glob("*.safetensors"))
    return {file.stem: file for file in files if file.stem.isprintable() and len(file.stem) <= LONGEST_NAME}


def adapter_names(card: ModelCard) -> list[str]:
    """The adapters that a request may name: those of the card, and those in its folder now."""
    found = {} if card.adapter_folder is None else adapters_in(card.adapter_folder)
    return list(dict.fromkeys((*card.adapters, *found)))


def check_adapters(card: ModelCard, spec: JobSpec) -> None:
    """Raise InvalidRequest for an adapter that is neither the card's nor in its folder.

    Where this machine does not have the folder, nothing is refused: the worker has it.
    """
    if card.adapter_folder is None or not spec.adapters or not card.adapter_folder.is_dir():
        return
    known = adapter_names(card)
    for adapter in spec.adapters:
        if adapter.name not in known:
            raise refuse("adapters", repr(adapter.name), shortened(known) or "none: the folder is empty")


def shortened(names: list[str]) -> list[str]:
    """The names, of many only the first."""
    return names if len(names) <= MOST_SHOWN else [*names[:MOST_SHOWN], f"and {len(names) - MOST_SHOWN} more"]
