"""The protocol of a family of generators, and the loading of one from its card."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from limner_shared.cards import ModelCard, Source
from limner_shared.errors import CardError
from limner_shared.jobs import JobSpec

Picture = NDArray[np.uint8]
"""[height, width, 3], RGB."""


class RowState(Protocol):
    """What the engine reads of a generator's state of one image."""

    @property
    def steps_done(self) -> int:
        """How many of its steps are behind it."""
        ...


class Generator(Protocol):
    """One loaded model. All methods run on the engine's thread; each either changes every state given or raises.

    The engine keeps batches within `card.buckets`; rows share a call only where `batch_key` is equal.
    """

    card: ModelCard

    def batch_key(self, spec: JobSpec) -> Hashable:
        """What must be equal for two images to share a forward pass."""
        ...

    def start(self, specs: Sequence[tuple[JobSpec, int]]) -> list[Any]:
        """The first state of each (spec, seed): texts encoded in one batch, noise drawn from the seed."""
        ...

    def step(self, states: Sequence[Any]) -> int:
        """One denoising step for all these states; returns the batch size that the forward pass was padded to."""
        ...

    def decode(self, states: Sequence[Any]) -> list[Picture]:
        """The pictures of finished states. One that is not finite raises FloatingPointError."""
        ...

    def fingerprint(self) -> dict[str, Any]:
        """What a receipt says of the model: hashes, versions, device, dtype, sampler."""
        ...


def bucket_for(size: int, buckets: Sequence[int]) -> int:
    """The smallest bucket that holds `size` rows. Raises ValueError when none does."""
    for bucket in sorted(buckets):
        if size <= bucket:
            return bucket
    raise ValueError(f"no bucket holds {size} rows: {tuple(buckets)}")


def locate(source: Source) -> Path:
    """The local folder of a card's source. Raises CardError when it is not there; a hub id is not for this function."""
    if source.package is not None:
        package, _, folder = source.package.partition(":")
        spec = find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise CardError(f"The package {package!r}, which holds this model's weights, is not installed.")
        path = Path(spec.submodule_search_locations[0]) / folder
    elif source.folder is not None:
        path = source.folder
    else:
        raise CardError(f"{source.hub!r} is on a hub, and this family reads local folders only.")
    if not path.is_dir():
        raise CardError(f"The model's folder {path} does not exist.")
    return path
