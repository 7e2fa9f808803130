"""What a GPU can do better than wait: copies from pinned memory, decodes beside the next steps, compiled denoisers.

On a CPU all of it is the plain thing. The CUDA side follows PyTorch's notes on CUDA semantics (streams, pinned memory,
caching allocator) and on `torch.compile`; docs/gpu.md says what of it was run.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

import torch
from torch import Tensor

from limner_shared.domain.cards import ModelCard
from limner_worker.generators.base import Picture
from limner_worker.generators.nested_tensors import owned

T = TypeVar("T")
Compute = Callable[..., Any]
EACH_SHAPE: Final[dict[str, Any]] = {"dynamic": False, "recompile_limit": 64}
"""Shapes are a card's sizes times its buckets; beyond so many torch would go on without compiling."""


class Device:
    """Where a model runs. For the engine's thread."""

    def __init__(self, name: str, *, beside: bool = True) -> None:
        """`beside`: decodes have a stream of their own. Not for a model whose weights move while others compute."""
        self.torch = torch.device(name)
        self._cuda = self.torch.type == "cuda"
        if self._cuda:
            compute_deterministically()
        self._stream = torch.cuda.Stream(self.torch) if self._cuda and beside else None

    @property
    def kind(self) -> str:
        """What may compute other last bits than another."""
        return torch.cuda.get_device_name(self.torch) if self._cuda else self.torch.type

    def put(self, tensor: Tensor) -> Tensor:
        """A tensor of the CPU, on the device; nobody waits for the copy but what reads it."""
        return tensor.pin_memory().to(self.torch, non_blocking=True) if self._cuda else tensor.to(self.torch)

    def fetch(self, tensor: Tensor) -> Tensor:
        """The way back, within `beside`: it is there once the decode is done."""
        if not self._cuda:
            return tensor.cpu()
        host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        return host.copy_(tensor, non_blocking=True)

    def settle(self, *, decodes: bool = False) -> None:
        """Wait for the steps: so their time is known, and who comes next waits for one at most. `decodes`: for all."""
        if self._cuda:
            torch.cuda.current_stream(self.torch).synchronize()
            if decodes and self._stream is not None:
                self._stream.synchronize()

    def autocast(self, card: ModelCard) -> torch.autocast:
        """Matrix products in the card's dtype."""
        dtype = getattr(torch, card.dtype)
        return torch.autocast(self.torch.type, dtype, enabled=dtype is not torch.float32)

    def beside(self, compute: Callable[[], T], then: Callable[[T], list[Picture]]) -> AsyncDecode[T]:
        """Begin a decode: `compute` now, while the device goes on, and `then` when the pictures are asked for.

        What `compute` reads must be kept by the caller until then, and must have been settled.
        """
        return AsyncDecode(compute, then, self._stream)


def compute_deterministically() -> None:
    """Choose the same kernels every time: what a receipt promises holds for the same batch sizes on the same device.

    PyTorch, "Reproducibility". Operations without a deterministic kernel warn, and go on.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.use_deterministic_algorithms(True, warn_only=True)


class AsyncDecode(Generic[T]):
    """A decode in progress, as `base.Decoding`; without a stream it is done at once."""

    def __init__(
        self, compute: Callable[[], T], then: Callable[[T], list[Picture]], stream: torch.cuda.Stream | None
    ) -> None:
        self._then = then
        self._stream = stream
        self._events: tuple[torch.cuda.Event, torch.cuda.Event] | None = None
        started = time.perf_counter()
        with torch.inference_mode(), torch.cuda.stream(stream):  # None changes nothing
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
        """Whether `pictures` would not wait."""
        return self._events is None or self._events[1].query()

    def pictures(self) -> list[Picture]:
        """Wait for them."""
        if self._events is not None:
            self._events[1].synchronize()
        with torch.inference_mode(), torch.cuda.stream(self._stream):
            pictures = self._then(self._result)
        if self._stream is not None:
            # A pipeline's own code may change its VAE on this stream (SDXL's dtype); steps and encodes come after that.
            torch.cuda.default_stream(self._stream.device).wait_stream(self._stream)
        return pictures

    @property
    def seconds(self) -> float:
        """What the device took, once it is done."""
        return self._took if self._events is None else self._events[0].elapsed_time(self._events[1]) / 1000


def compiled(call: Compute, card: ModelCard) -> Compute:
    """The call as the card wants it compiled: for each shape by itself, so that a picture's bits do not depend on which
    shapes came before. With CUDA graphs, one is recorded for each.
    """
    if card.cuda_graphs:
        return _of_graphs(torch.compile(call, mode="reduce-overhead", **EACH_SHAPE))
    return torch.compile(call, **EACH_SHAPE) if card.compile else call


def _of_graphs(call: Compute) -> Compute:
    def replayed(*args: Any, **kwargs: Any) -> Any:
        torch.compiler.cudagraph_mark_step_begin()
        return owned(call(*args, **kwargs))  # the graph writes into the same memory when it is run again

    return replayed
