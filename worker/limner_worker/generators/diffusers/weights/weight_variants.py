"""Variants of a pipeline's weights, such as `fp16` of `diffusion_pytorch_model.fp16.safetensors`: which of a folder's
files are read, and what to write into the card where it names none or another one.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

from limner_shared.domain.card_fields import Source
from limner_shared.errors import CardError

PART: Final = r"(?:-\d{5}-of-\d{5})?"
WEIGHTS: Final = re.compile(
    rf"(?:diffusion_pytorch_model|pytorch_model|model){PART}(?:\.([\w-]+?))?{PART}\.safetensors$"
)
"""The names that diffusers and transformers give to weights; the group is the variant."""
NO_VARIANT: Final = "no such modeling files"
"""What diffusers says of a repository or folder without any weights of a variant."""


def files_read(weights: Mapping[str, str], source: Source) -> dict[str, str]:
    """Return which of these weights, by their names, a pipeline of this source reads: in each folder those of its
    variant, or those without any.

    Raises CardError if a folder has weights of other variants only.
    """
    read = dict(weights)
    for folder, variants in _by_folder(weights).items():
        chosen = source.variant if source.variant in variants else None
        if chosen not in variants:
            raise CardError(f"{folder or 'the folder'}: {_only(variants)}")
        for variant, names in variants.items():
            for name in names:
                if variant != chosen:
                    del read[name]
    return read


def remedy(names: Iterable[str], source: Source) -> str | None:
    """Return what to change in the card of a repository with these files, if some folder has weights of a variant that
    the card does not name and no others.
    """
    for folder, variants in _by_folder(names).items():
        if variants and None not in variants and source.variant not in variants:
            return f"{folder or source.name}: {_only(variants)}"
    return None


def _only(variants: Mapping[str | None, object]) -> str:
    names = sorted(str(each) for each in variants)
    return f'it has weights of the variant {" and ".join(names)} only: write variant = "{names[0]}" into source'


def _by_folder(names: Iterable[str]) -> dict[str, dict[str | None, list[str]]]:
    """The names of weights by their folder and variant."""
    found: defaultdict[str, dict[str | None, list[str]]] = defaultdict(dict)
    for name in names:
        folder, _, file = name.rpartition("/")
        if match := WEIGHTS.match(file):
            found[folder].setdefault(match[1], []).append(name)
    return dict(found)
