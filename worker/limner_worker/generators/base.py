"""The protocol between the engine and a generator family."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from limner_shared.domain.cards import ModelCard
from limner_shared.domain.jobs import JobSpec
from limner_shared.domain.scenes import Scene

T = TypeVar("T")
Picture = NDArray[np.uint8]
"""[height, width, 3], RGB."""
Drawn = Callable[[], Picture]
"""A picture that the device has drawn. A call does what is left to do on the CPU: once, and in any thread."""


@dataclass(eq=False, slots=True)
class ImageTask:
    """One image to generate, and the padded sizes of the batches that it took part in.

    A row's bits depend on the size that its batch is padded to, and on some devices on its place in it, but not on the
    other rows. Sizes and places are therefore enough to reproduce the same bytes: `replay` yields them in the order of
    the calls, and the image is then alone in its batches. `reproducible` gives the same bytes at any load: it pads
    every batch to the largest size, or, where places matter, keeps the image alone.
    """

    spec: JobSpec
    seed: int
    replay: Iterator[int] | None = None
    replay_places: Iterator[int] | None = None
    """For a replay, the places of its first row in the original batches; None if places did not matter."""
    placed: bool = False
    """Whether a row's bits depend on its place in a batch; set by `Generator.start`."""
    image: Picture | None = None
    """The input image of an image-to-image or inpainting request."""
    mask: Picture | None = None
    """The inpainting mask; white marks what may change."""
    control_image: Picture | None = None
    """What the picture follows, as the model's control network expects it."""
    reference_images: tuple[Picture, ...] = ()
    """What the picture takes its subject or style from, each in a size of its own."""
    checkpoint: bytes | None = None
    """The state of an earlier attempt, as `RowState.checkpoint` returned it."""
    checkpoint_adapters: dict[str, str] = field(default_factory=dict[str, str])
    """The `adapter_files` that the checkpoint was drawn with."""
    drawn_as: str | None = None
    """The known name that a built-in model draws in place of a longer prompt; set by `Generator.start`."""
    read_chars: int | None = None
    """How many characters of its prompt the model's text encoders read, if not all; set by `Generator.start`."""
    scene: Scene | None = None
    """What a built-in model puts the picture together from; set by `Generator.start`."""
    things: Sequence[Picture] = ()
    """The thing of each drawing of its scene alone on white, 64x64; set when the picture is put together."""
    adapter_files: dict[str, str] = field(default_factory=dict[str, str])
    """SHA-256 of the adapters that come from the card's folder, by name; set by `Generator.start`."""
    buckets: list[int] = field(default_factory=list[int])
    """The padded batch sizes of the calls so far: text encoding, steps, decode."""
    places: list[int] = field(default_factory=list[int])
    """If `placed`: the places of its first row in these batches."""

    @property
    def style(self) -> str | None:
        """The style to draw in."""
        return self.spec.style_for(self.seed)

    @property
    def alone(self) -> Hashable:
        """Part of `RowState.key`: a replayed image never shares a batch, nor does one that must have one place."""
        return id(self) if self.replay is not None or (self.placed and self.spec.reproducible) else None


class RowState(Protocol):
    """The part of a generator's state of one image that the engine reads."""

    task: ImageTask

    @property
    def key(self) -> Hashable:
        """States with equal keys may share the next call. The key may change from step to step."""
        ...

    @property
    def rows(self) -> int:
        """How many rows of a batch the image takes: one, or one for each of several drawings; always the same."""
        ...

    @property
    def steps_done(self) -> int:
        """The number of steps done, out of `task.spec.steps`."""
        ...

    @property
    def finished(self) -> bool:
        """Whether all steps are done and the decode is next."""
        ...

    @property
    def error(self) -> Exception | None:
        """The error that ends this image without affecting the others in its batch; None while there is none."""
        ...

    def checkpoint(self) -> bytes | None:
        """Everything that another worker needs to resume from here; None if the state cannot or need not be stored."""
        ...

    def close(self) -> None:
        """Release the state's resources after it is decoded or dropped. Called once, on the engine's thread."""
        ...


class Decoding(Protocol):
    """A decode that the device may still be computing while it runs the next steps of other images."""

    def done(self) -> bool:
        """Return whether `drawn` would return without waiting."""
        ...

    def drawn(self) -> list[Drawn]:
        """Wait for the device, and return the pictures as it has drawn them. Called once."""
        ...

    @property
    def seconds(self) -> float:
        """The device time in seconds, once the decode is done."""
        ...


@dataclass(frozen=True, slots=True)
class Decoded:
    """A `Decoding` that was complete from the start."""

    result: list[Drawn]
    seconds: float = 0.0

    def done(self) -> bool:
        """Always true."""
        return True

    def drawn(self) -> list[Drawn]:
        """Return the pictures."""
        return self.result


def pictures_of(decoding: Decoding) -> list[Picture]:
    """Wait for the pictures of a decode, and return them."""
    return [finish() for finish in decoding.drawn()]


class Generator(Protocol):
    """One loaded model. All methods run on the engine's thread; each changes every given state or raises.

    The engine keeps batches within `card.buckets`, and only states with equal keys share a call.
    """

    card: ModelCard

    @property
    def nbytes(self) -> int:
        """The size of the weights in bytes."""
        ...

    def start(self, tasks: Sequence[ImageTask]) -> list[Any]:
        """Return the first state of each task, with texts encoded in one batch and noise drawn from the seed."""
        ...

    def step(self, states: Sequence[Any]) -> None:
        """Call the denoiser once for all these states. An error of a single image is stored in its `error`."""
        ...

    def decode(self, states: Sequence[Any]) -> Decoding:
        """Begin to decode finished states; they must not change until the pictures are there.

        A picture that is not finite raises FloatingPointError, here or from `Decoding.drawn`.
        """
        ...

    def preview(self, state: Any) -> Picture | None:
        """A rough preview of an unfinished image, of any size; None if there is no cheap one."""
        ...

    def fingerprint(self) -> dict[str, Any]:
        """The model's entry in a receipt: hashes, versions, device, dtype and sampler."""
        ...


def bucket_for(size: int, buckets: Sequence[int]) -> int:
    """Return the smallest bucket that holds `size` rows. Raises ValueError if none does."""
    for bucket in sorted(buckets):
        if size <= bucket:
            return bucket
    raise ValueError(f"no bucket holds {size} rows: {tuple(buckets)}")


def padded_size(tasks: Sequence[ImageTask], buckets: Sequence[int], rows: int | None = None) -> int:
    """Return the size that a call for all these images is padded to, unless it is replayed.

    `rows` is the number of their rows; by default each has one. Raises ValueError for more rows than the largest bucket
    holds.
    """
    wanted = len(tasks) if rows is None else rows
    if any(task.spec.reproducible and not task.placed for task in tasks):
        return max(buckets)
    return bucket_for(wanted, buckets)


class Padding(NamedTuple):
    """How the rows of a call are padded: `size` rows, of which the call's own begin at `place`."""

    size: int
    place: int = 0

    def filled(self, rows: Sequence[T]) -> list[T]:
        """Return the rows, with copies of the first before and after them."""
        return [*[rows[0]] * self.place, *rows, *[rows[0]] * (self.size - self.place - len(rows))]


@contextmanager
def padding(tasks: Sequence[ImageTask], buckets: Sequence[int], rows: Sequence[int] | None = None) -> Iterator[Padding]:
    """Yield how a call for all these images is padded; record it in each image after the call succeeds.

    `rows` is the number of each image's rows; by default each has one.
    """
    counts = [1] * len(tasks) if rows is None else rows
    replay, places = tasks[0].replay, tasks[0].replay_places
    if replay is None:
        padded = Padding(padded_size(tasks, buckets, sum(counts)))
    else:
        size = max(next(replay, 1), sum(counts))
        padded = Padding(size, 0 if places is None else min(next(places, 0), size - sum(counts)))
    yield padded
    for task, offset in zip(tasks, accumulate(counts[:-1], initial=padded.place), strict=True):
        task.buckets.append(padded.size)
        if task.placed:
            task.places.append(offset)
