"""The protocol of a family of generators: what the engine asks of one, and what it gives to it."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from limner_shared.domain.card_fields import Source
from limner_shared.domain.cards import ModelCard
from limner_shared.domain.jobs import JobSpec
from limner_shared.errors import CardError

Picture = NDArray[np.uint8]
"""[height, width, 3], RGB."""


@dataclass(eq=False, slots=True)
class ImageTask:
    """One image to be made, and the sizes of the batches it took part in.

    A row's bits depend on the size that its batch is padded to, but not on its companions there. So whoever knows the
    sizes can make the same bytes again: `replay` gives them, in the order of the calls, and then the image is alone in
    its batches. `reproducible` means the largest size always, which gives the same bytes at any load.
    """

    spec: JobSpec
    seed: int
    replay: Iterator[int] | None = None
    image: Picture | None = None
    """What an image-to-image or inpainting request starts from."""
    mask: Picture | None = None
    """White where inpainting may change it."""
    checkpoint: bytes | None = None
    """Where an earlier attempt got to, as its state's `checkpoint` told."""
    drawn_as: str | None = None
    """The name that a built-in model draws instead of a prompt that says more; known once it has started."""
    buckets: list[int] = field(default_factory=list)
    """The padded batch size of each call so far: texts, steps, decode."""

    @property
    def alone(self) -> Hashable:
        """Part of a key: what is replayed shares a batch with nobody."""
        return None if self.replay is None else id(self)


class RowState(Protocol):
    """What the engine reads of a generator's state of one image."""

    task: ImageTask

    @property
    def key(self) -> Hashable:
        """What must be equal for two states to share the next call. It may change from step to step."""
        ...

    @property
    def steps_done(self) -> int:
        """How many of `task.spec.steps` are behind it."""
        ...

    @property
    def finished(self) -> bool:
        """Whether what comes next is its decode."""
        ...

    @property
    def error(self) -> Exception | None:
        """Why this image, and no other of its batch, cannot go on."""
        ...

    def checkpoint(self) -> bytes | None:
        """All that another worker needs to go on from here; None for a state that cannot be kept, or need not be."""
        ...

    def close(self) -> None:
        """Release what it holds: its picture is made, or is not wanted. Called once, on the engine's thread."""
        ...


class Decoding(Protocol):
    """Pictures that the device may still be at work on while it takes other images' next steps."""

    def done(self) -> bool:
        """Whether `pictures` would not wait."""
        ...

    def pictures(self) -> list[Picture]:
        """Wait for them; asked for once."""
        ...

    @property
    def seconds(self) -> float:
        """What the device took, once it is done."""
        ...


@dataclass(frozen=True, slots=True)
class Decoded:
    """A `Decoding` that was done at once, in no time."""

    result: list[Picture]
    seconds: float = 0.0

    def done(self) -> bool:
        """It is."""
        return True

    def pictures(self) -> list[Picture]:
        """Here they are."""
        return self.result


class Generator(Protocol):
    """One loaded model. All methods run on the engine's thread; each either changes every state given or raises.

    The engine keeps batches within `card.buckets`; states share a call only where their keys are equal.
    """

    card: ModelCard

    @property
    def nbytes(self) -> int:
        """How much memory its weights take."""
        ...

    def start(self, tasks: Sequence[ImageTask]) -> list[Any]:
        """The first state of each task: texts encoded in one batch, noise drawn from the seed."""
        ...

    def step(self, states: Sequence[Any]) -> None:
        """One call of the denoiser for all these states. What concerns one of them alone is left in its `error`."""
        ...

    def decode(self, states: Sequence[Any]) -> Decoding:
        """Begin the pictures of finished states, which stay as they are until the pictures are there.

        One that is not finite raises FloatingPointError, here or from `Decoding.pictures`.
        """
        ...

    def preview(self, state: Any) -> Picture | None:
        """Roughly what an unfinished image will look like, in any size; None where that cannot be told cheaply."""
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


def padded_size(tasks: Sequence[ImageTask], buckets: Sequence[int]) -> int:
    """The size that a call for all these images is padded to, unless it is replayed.

    Raises ValueError when there are more than the largest bucket holds.
    """
    return max(buckets) if any(task.spec.reproducible for task in tasks) else bucket_for(len(tasks), buckets)


@contextmanager
def padding(tasks: Sequence[ImageTask], buckets: Sequence[int]) -> Iterator[int]:
    """The size that a call for all these images is padded to; noted in each of them once the call went well."""
    replay = tasks[0].replay
    size = padded_size(tasks, buckets) if replay is None else next(replay, 1)
    yield size
    for task in tasks:
        task.buckets.append(size)


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


def checked_hashes(folder: Path, expected: Mapping[str, str]) -> dict[str, str]:
    """SHA-256 in hex of each file of weights below a folder.

    Raises CardError for one that is not what the card expects, or is missing.
    """
    found = {file.relative_to(folder).as_posix(): _sha256(file) for file in sorted(folder.rglob("*.safetensors"))}
    for name, digest in expected.items():
        if found.get(name) != digest.lower():
            raise CardError(f"sha256: {name} has {found.get(name, 'no such file')}, and the card says {digest}.")
    return found


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
