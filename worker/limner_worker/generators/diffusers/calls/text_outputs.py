"""Which tensors of a text encoder's output a pipeline reads: only these are worth keeping.

An encoder returns all its hidden layers, and a language model also logits for each token: 41 MB for one prompt of
Qwen-Image, of which the pipeline reads less than 1 MB. What it reads cannot be known from its class, so each tensor
that an image receives notes its first use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any, cast

import torch
from torch import Tensor

from limner_worker.generators.nested_tensors import leaves, map_leaves, plain_or_none
from limner_worker.generators.text_encoding.shared_cache import EncodedTextCache


class _Noticed(Tensor):
    """Stands for a tensor of an output, and obtains it when an operation uses it."""

    obtain: Callable[[], Tensor]

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], _types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        with torch._C.DisableTorchFunctionSubclass():  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            return func(*_obtained(args), **_obtained(kwargs or {}))


def _obtained(value: Any) -> Any:
    if isinstance(value, _Noticed):
        return value.obtain()
    if isinstance(value, (list, tuple)):
        items = [_obtained(item) for item in cast("Sequence[Any]", value)]
        return items if isinstance(value, list) else tuple(items)
    if type(value) is dict:
        return {key: _obtained(item) for key, item in cast("dict[Any, Any]", value).items()}
    return value


class TextOutputs:
    """The cached outputs of a pipeline's text encoders, reduced to the tensors that images read of them."""

    def __init__(self, cache: EncodedTextCache) -> None:
        self._cache = cache
        self._read: dict[str, set[int]] = {}
        """The positions of the tensors that images have read, by the encoder's call."""
        self._settled: set[str] = set()
        """Calls for which an image has reached its first step, so what it reads is known."""
        self._complete: dict[str, dict[str, Any]] = {}
        """Outputs of other calls, by key, until their images reach their first step."""

    def find(self, name: str, keys: Sequence[str]) -> dict[str, Any]:
        """Return the outputs of an encoder's call that are known."""
        complete = self._complete.get(name, {})
        found = {key: complete[key] for key in keys if key in complete}
        return found | self._cache.find(name, [key for key in keys if key not in found])

    def store(self, name: str, outputs: Mapping[str, Any]) -> None:
        """Keep new outputs of an encoder's call, after images were resumed with them."""
        if name in self._settled:
            self._cache.store(name, {key: self.kept(name, output) for key, output in outputs.items()})
        else:
            self._complete.setdefault(name, {}).update(outputs)

    def settle(self) -> None:
        """All images have reached their first step: reduce what they were given."""
        self._settled.update(self._complete)
        for name, outputs in self._complete.items():
            self.store(name, outputs)
        self._complete.clear()

    def noticed(self, name: str, output: Any, repeat: Callable[[], Any]) -> Any:
        """Return an output for an image, of which every use of a tensor is noted.

        A tensor that was not kept is on no device; `repeat` then makes the encoder's call again. Objects of unknown
        types, such as key-value caches, are left out: images with an equal text share the output.
        """
        numbers = count()

        def leaf(value: Any) -> Any:
            return (
                self._notice(name, next(numbers), value, repeat) if isinstance(value, Tensor) else plain_or_none(value)
            )

        return map_leaves(output, leaf)

    def kept(self, name: str, output: Any) -> Any:
        """Return a copy of an output in which tensors that no image has read are replaced by ones on no device.

        A copy, because a tensor may be a view of a whole batch. Objects of unknown types are left out.
        """
        numbers, read = count(), self._read.get(name, set())

        def leaf(value: Any) -> Any:
            if not isinstance(value, Tensor):
                return plain_or_none(value)
            return value.clone() if next(numbers) in read else value.to("meta")

        return map_leaves(output, leaf)

    def _notice(self, name: str, number: int, tensor: Tensor, repeat: Callable[[], Any]) -> Tensor:
        found: list[Tensor] = []

        def obtain() -> Tensor:
            if not found:
                self._read.setdefault(name, set()).add(number)
                found.append(leaves(repeat())[number] if tensor.is_meta else tensor)
            return _obtained(found[0])

        stand_in = torch.empty(0).as_subclass(_Noticed)
        stand_in.obtain = obtain
        return stand_in
