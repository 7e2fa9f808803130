"""GPU features: copies from pinned memory, decodes on a stream of their own, compiled denoisers.

On a CPU each of them is the plain operation. The CUDA side follows PyTorch's notes on CUDA semantics (streams, pinned
memory, caching allocator) and on `torch.compile`; docs/gpu.md lists what has been run on hardware.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar, cast

import torch
from torch import Tensor

from limner_shared.domain.cards import ModelCard
from limner_worker.generators.base import Drawn
from limner_worker.generators.nested_tensors import owned

T = TypeVar("T")
Compute = Callable[..., Any]
EACH_SHAPE: Final[dict[str, Any]] = {"dynamic": False, "recompile_limit": 64}
"""Compile each shape by itself, up to 64. A model has a shape for each size and bucket of its card; beyond the limit
torch would continue without compiling."""


class Device:
    """The device that a model runs on. For the engine's thread."""

    def __init__(self, name: str, *, own_decode_stream: bool = True) -> None:
        """`own_decode_stream`: decodes use a separate stream. Not for a model whose weights move between calls."""
        self.torch = torch.device(name)
        self._cuda = self.torch.type == "cuda"
        if self._cuda:
            compute_deterministically()
        self.places_matter = self.torch.type != "cpu"
        """Whether a row's bits may depend on its place in a batch: a GPU's kernels may divide the work of a batch so
        that two rows' sums are added in another order. Seen of a convolution of cuDNN on an H100."""
        self._stream = torch.cuda.Stream(self.torch) if self._cuda and own_decode_stream else None

    @property
    def name(self) -> str:
        """The device's model name; devices of other models may differ in the last bits."""
        return torch.cuda.get_device_name(self.torch) if self._cuda else self.torch.type

    def to_device(self, tensor: Tensor) -> Tensor:
        """Return a copy of a CPU tensor on the device; on CUDA only operations that read it wait for the copy."""
        return tensor.pin_memory().to(self.torch, non_blocking=True) if self._cuda else tensor.to(self.torch)

    def to_host(self, tensor: Tensor) -> Tensor:
        """Return a copy on the CPU; within `decode_async` on CUDA it is complete once the decode is done."""
        if not self._cuda:
            return tensor.cpu()
        host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        return host.copy_(tensor, non_blocking=True)

    def synchronize(self, *, decodes: bool = False) -> None:
        """Wait for the queued steps, and with `decodes` for decodes too.

        This makes the time of steps known, and a new job waits for at most one step.
        """
        if self._cuda:
            torch.cuda.current_stream(self.torch).synchronize()
            if decodes and self._stream is not None:
                self._stream.synchronize()

    def autocast(self, card: ModelCard) -> torch.autocast:
        """Return a context in which matrix products run in the card's dtype."""
        dtype = getattr(torch, card.dtype)
        return torch.autocast(self.torch.type, dtype, enabled=dtype is not torch.float32)

    def decode_async(self, compute: Callable[[], T], then: Callable[[T], list[Drawn]]) -> AsyncDecode[T]:
        """Begin a decode: run `compute` now without waiting for the device, and `then` once that is awaited.

        The inputs of `compute` must be synchronized beforehand, and the caller must keep them until then.
        """
        return AsyncDecode(compute, then, self._stream)


def compute_deterministically() -> None:
    """Make torch choose deterministic kernels, so that a receipt holds for the same batch sizes on the same device.

    See PyTorch, "Reproducibility". Operations without a deterministic kernel warn and continue.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.use_deterministic_algorithms(True, warn_only=True)
    # It would fill each new tensor with NaN, by a kernel of its own.
    torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]


class AsyncDecode(Generic[T]):
    """A decode in progress, as `base.Decoding`; without a stream it completes at once."""

    def __init__(
        self, compute: Callable[[], T], then: Callable[[T], list[Drawn]], stream: torch.cuda.Stream | None
    ) -> None:
        self._then = then
        self._stream = stream
        self._events: tuple[torch.cuda.Event, torch.cuda.Event] | None = None
        started = time.perf_counter()
        with torch.inference_mode(), torch.cuda.stream(stream):  # a stream of None changes nothing
            if stream is None:
                self._result = compute()
            else:
                self._events = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
                stream.wait_stream(torch.cuda.default_stream(stream.device))
                stream.record_event(self._events[0])
                self._result = compute()
                stream.record_event(self._events[1])
        self._took = time.perf_counter() - started

    def done(self) -> bool:
        """Return whether `drawn` would return without waiting."""
        return self._events is None or self._events[1].query()

    def drawn(self) -> list[Drawn]:
        """Wait for the device, and return the pictures as it has drawn them."""
        if self._events is not None:
            self._events[1].synchronize()
        with torch.inference_mode(), torch.cuda.stream(self._stream):
            drawn = self._then(self._result)
        if self._stream is not None:
            # A pipeline's own code may cast its VAE on this stream (SDXL), so later steps and encodes must wait for it.
            torch.cuda.default_stream(self._stream.device).wait_stream(self._stream)
        return drawn

    @property
    def seconds(self) -> float:
        """The device time in seconds, once the decode is done."""
        return self._took if self._events is None else self._events[0].elapsed_time(self._events[1]) / 1000


def compilation(card: ModelCard) -> dict[str, bool]:
    """Return how `compiled` compiles, for receipts: its kernels give other bits. Empty where it does not."""
    return {name: True for name in ("compile", "cuda_graphs") if getattr(card, name)}


def compiled(call: Compute, card: ModelCard) -> Compute:
    """Return the call, compiled as the card says.

    Each shape is compiled separately, so that a picture's bits do not depend on the shapes that came before. With CUDA
    graphs, one graph is recorded for each shape.
    """
    if card.cuda_graphs:
        return _with_cuda_graphs(cast("Any", torch).compile(call, mode="reduce-overhead", **EACH_SHAPE))
    return cast("Any", torch).compile(call, **EACH_SHAPE) if card.compile else call


def _with_cuda_graphs(call: Compute) -> Compute:
    @functools.wraps(call)  # pipelines and `tap` read the signature
    def replayed(*args: Any, **kwargs: Any) -> Any:
        torch.compiler.cudagraph_mark_step_begin()
        return owned(call(*args, **kwargs))  # the next replay of the graph overwrites the same memory

    return replayed
