"""What a pipeline's own `encode_prompt` returns, by its arguments: an image with a known prompt skips it.

The outputs of text encoders are cached elsewhere, but a pipeline's code around them takes longer than all the rest of
an image's start: SD 3 splits its prompt into tokens twelve times.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, cast

import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from torch import Tensor

from limner_worker.generators.nested_tensors import PLAIN, leaves, map_leaves, size_in_bytes
from limner_worker.generators.text_encoding.cache import ByteCache

METHOD: Final = "encode_prompt"


class _Unknown(Exception):
    """A value that cannot be compared by content."""


class EncodedPrompts:
    """The results of `encode_prompt` for texts, up to a size in bytes. For the engine's thread.

    They are kept only where they depend on nothing but the texts, numbers and settings that the call and the pipeline
    hold, and where the call leaves the pipeline as it was. Each image gets its own copy, because its pipeline may
    change it. Tensors equal to those of the result before are kept once, such as the embedding of an empty negative
    prompt; the limit counts them each time.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._known: ByteCache[Hashable, Any] = ByteCache(max_bytes)
        self._before: list[Tensor] = []

    def use(self, pipeline: DiffusionPipeline, shared: DiffusionPipeline, adapters: Hashable) -> None:
        """Let an image's own pipeline, a copy of the shared one, use known results. `forget` ends it."""
        encode = getattr(pipeline, METHOD, None)
        if encode is not None:
            vars(pipeline)[METHOD] = partial(self._encode, encode, pipeline, shared, adapters)

    def _encode(
        self, encode: Any, pipeline: DiffusionPipeline, shared: DiffusionPipeline, adapters: Hashable, *args: Any,
        **kwargs: Any,
    ) -> Any:  # fmt: skip
        before = dict(vars(pipeline))
        try:
            key = type(pipeline), adapters, _plain(args), _plain(kwargs), _settings(before, shared)
        except _Unknown:
            return encode(*args, **kwargs)
        found = self._known.get(key)
        if found is not None:
            return map_leaves(found, _copy)
        result = encode(*args, **kwargs)
        after = vars(pipeline)
        if len(after) == len(before) and all(after.get(name) is value for name, value in before.items()):
            self._store(key, result)
        return result

    def _store(self, key: Hashable, result: Any) -> None:
        size = size_in_bytes(result)
        if size <= self._max_bytes:
            with suppress(_Unknown):
                kept = map_leaves(result, self._shared_or_copied)
                self._known.put(key, kept, size)
                self._before = leaves(kept)

    def _shared_or_copied(self, leaf: Any) -> Any:
        if type(leaf) is Tensor:
            for earlier in self._before:
                if _are_equal(earlier, leaf):
                    return earlier
        return _copy(leaf)


def forget(pipeline: DiffusionPipeline | None) -> None:
    """Break the reference cycle between an image's pipeline and its wrapped method."""
    if pipeline is not None:
        vars(pipeline).pop(METHOD, None)


def _settings(attributes: Mapping[str, Any], shared: DiffusionPipeline) -> Hashable:
    """Return what an image's pipeline holds that its encoding may depend on, such as its guidance scale."""
    base = vars(shared)
    return tuple(
        [
            (name, _plain(value))
            for name, value in attributes.items()
            if value is not base.get(name, attributes)
            and name not in (METHOD, "maybe_free_model_hooks")
            and not isinstance(value, SchedulerMixin)
        ]
    )


def _plain(value: Any) -> Hashable:
    """Return an identity of a value of known types by content. Raises _Unknown for any other."""
    if value is None or isinstance(value, PLAIN):
        return type(value), value
    if isinstance(value, (list, tuple)):
        items = cast("Sequence[Any]", value)
        return type(items), tuple([_plain(item) for item in items])
    if type(value) is dict:
        return tuple([(key, _plain(item)) for key, item in cast("dict[str, Any]", value).items()])
    raise _Unknown


def _are_equal(one: Tensor, other: Tensor) -> bool:
    alike = (one.shape, one.dtype, one.device) == (other.shape, other.dtype, other.device)
    return alike and not one.is_meta and torch.equal(one, other)


def _copy(leaf: Any) -> Any:
    """Copy a leaf of a result. Raises _Unknown for one that is neither a tensor nor of a known type."""
    if type(leaf) is Tensor:
        return leaf.clone()
    if leaf is None or isinstance(leaf, PLAIN):
        return cast("Any", leaf)
    raise _Unknown
