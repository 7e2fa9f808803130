"""The LoRA adapters in the folder of a model card: its safetensors files, as they are at each request."""

from __future__ import annotations

import os
import time
from functools import lru_cache
from pathlib import Path
from typing import Final

from limner_shared.domain.cards import ModelCard
from limner_shared.domain.jobs import JobSpec
from limner_shared.domain.request_limits import refuse

SUFFIX: Final = ".safetensors"
LONGEST_NAME: Final = 200
LONGEST_FILE_NAME: Final = 255
"""Bytes of a file's name, which file systems allow."""
MOST_SHOWN: Final = 100
"""At most this many names are listed in an error."""
MOST_LISTED: Final = 1000
"""At most this many adapters of a folder are listed; each that is there may be named."""
LISTED_SECONDS: Final = 10
"""How long a list of the folder is used at most, if the folder's time of change stays the same."""


def adapter_file(folder: Path, name: str) -> Path | None:
    """The file of one adapter; None if it is not there. The folder is not read, so that its size does not matter."""
    if not is_adapter_name(name) or len(os.fsencode(name + SUFFIX)) > LONGEST_FILE_NAME:
        return None
    file = folder / f"{name}{SUFFIX}"
    try:
        return file if file.exists() else None
    except PermissionError:
        return None


def is_adapter_name(name: str) -> bool:
    """Whether a file in the folder itself can have this name."""
    return bool(name) and "/" not in name and name.isprintable() and len(name) <= LONGEST_NAME


def adapters_in(folder: Path) -> tuple[str, ...]:
    """The names of a folder's files without `.safetensors`, in order; empty if there is no such folder.

    The list may be some seconds old where the folder's time does not show changes.
    """
    try:
        return _listed(folder, folder.stat().st_mtime_ns, int(time.monotonic() / LISTED_SECONDS))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return ()


@lru_cache(maxsize=64)
def _listed(folder: Path, changed: int, moment: int) -> tuple[str, ...]:
    """The names in a folder. It is read again for another time of its change, and at another moment."""
    del changed, moment
    names = (file.name.removesuffix(SUFFIX) for file in folder.iterdir() if file.name.endswith(SUFFIX))
    return tuple(sorted(name for name in names if is_adapter_name(name)))


def adapter_names(card: ModelCard) -> list[str]:
    """The adapters that a request may name: those of the card, and those in its folder, of many only the first."""
    found = () if card.adapter_folder is None else adapters_in(card.adapter_folder)[:MOST_LISTED]
    return list(dict.fromkeys((*card.adapters, *found)))


def check_adapters(card: ModelCard, spec: JobSpec) -> None:
    """Raise InvalidRequest for an adapter that is neither the card's nor in its folder.

    Where this machine does not have the folder, nothing is refused: the worker has it.
    """
    folder = card.adapter_folder
    if folder is None or not spec.adapters or not folder.is_dir():
        return
    for adapter in spec.adapters:
        if adapter.name not in card.adapters and adapter_file(folder, adapter.name) is None:
            known = list(dict.fromkeys((*card.adapters, *adapters_in(folder))))
            raise refuse("adapters", repr(adapter.name), shortened(known) or "none: the folder is empty")


def shortened(names: list[str]) -> list[str]:
    """The names, of many only the first."""
    return names if len(names) <= MOST_SHOWN else [*names[:MOST_SHOWN], f"and {len(names) - MOST_SHOWN} more"]
