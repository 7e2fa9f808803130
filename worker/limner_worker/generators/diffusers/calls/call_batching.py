"""The calls of modules, and which of them may be joined; `call_joining` joins them."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from limner_worker.generators.diffusers.calls.call_pattern import CallPattern
from limner_worker.generators.diffusers.calls.joined_caches import CACHE, is_cache
from limner_worker.generators.diffusers.calls.layered_tensors import (
    LAYERED,
    SCALED_LAST,
    dimension_of_rows,
    layers_key,
    take_scale,
)
from limner_worker.generators.nested_tensors import PLAIN, is_list

TIMES: Final = ("timestep", "timesteps")
"""Arguments that some pipelines pass once for all rows, although each row may have its own."""
PER_ROW: Final = frozenset({
    "sample", "hidden_states", "x", "z", "latents", "timestep", "timesteps", "t", "timestep_r", "timestep_ratio",
    "timestep_cond", "guidance", "class_labels", "attention_mask", "encoder_attention_mask", "encoder_hidden_states",
    "encoder_hidden_states_mask", "encoder_hidden_states_2", "encoder_attention_mask_2", "encoder_hidden_states_t5",
    "encoder_mask", "text_embedding_mask", "text_embedding_mask_t5", "pooled_projections", "pooled_embeds", "cap_feats",
    "text_embeds", "image_embeds", "image_meta_size", "resolution", "aspect_ratio", "time_ids", "original_size",
    "target_size", "crop_coords", "pooled_text_emb", "micro_conds", "clip_text", "clip_text_pooled", "clip_img",
    "effnet", "text_bth", "text_lens", "proj_embedding", "input_ids", "token_type_ids", "inputs_embeds",
    "control_type", "style", "controlnet_mode", "control_context", "mid_block_additional_residual",
})  # fmt: skip
"""Arguments whose rows the modules of diffusers and transformers process independently."""
POSITIONS: Final = frozenset({"img_ids", "txt_ids", "position_ids", "image_rotary_emb"})
"""Arguments with a row for each image of which a module may read only the first: joined calls must have equal ones."""
LAYOUTS: Final = frozenset({"img_mask"})
"""Likewise; and they say which of the tokens are text, which therefore keeps its length."""
KNOWN_ROWS: Final = PER_ROW | POSITIONS | LAYERED
"""Arguments with rows that do not keep a call from being joined."""
IGNORED: Final = ("generator",)
"""Arguments that the modules called here do not read."""
MASKS: Final = {"encoder_hidden_states": "encoder_hidden_states_mask"}
"""Text arguments whose length varies between images (Qwen-Image), with the argument that masks their padding."""
OBJECT: Final = "object"
"""The first item of the identity of a value of any other type."""
APART: Final = "apart"
"""The first item of the key part of a tensor whose rows may not be independent."""
ALONE: Final = frozenset({APART, OBJECT})
"""Marks in a call's key that keep it from being joined."""
ALONE_IF_ENCODER: Final = ALONE | {"shared"}
"""The same for a text encoder's call."""
LIST_MULTIPLE: Final = 32
"""Z-Image pads each text to a multiple of this number of tokens."""
TEXT_MULTIPLE: Final = 64
"""Texts with a mask are padded to a multiple of this number of tokens, so that few lengths remain and a row's result
depends on its own length only."""


class CallKind(Enum):
    """The purpose of a suspended call."""

    ENCODE = "encode"
    DENOISE = "denoise"
    DECODE = "decode"
    CONTROL = "control"
    """A call of the control network, whose output the denoiser takes."""
    SCHEDULE = "schedule"
    """A step of the scheduler, which may be made together with those of other images."""
    PAUSE = "pause"
    """No call but the end of a step, for a pipeline without a known denoiser, whose calls are not shared."""


DENOISERS: Final = ("transformer", "unet")


def kind_of(component: str) -> CallKind | None:
    """The kind of the calls of a pipeline's component that may be joined, by its name; None for any other component."""
    if component.startswith(DENOISERS):
        return CallKind.DENOISE
    if component.startswith("text_encoder"):
        return CallKind.ENCODE
    return {"vae": CallKind.DECODE, "controlnet": CallKind.CONTROL}.get(component)


@dataclass(eq=False, slots=True)
class Call:
    """One image's call of a module, with `rows` rows: two if guidance evaluates it with and without the text."""

    name: str
    """The module and method, such as `unet.forward` or `vae.decode`."""
    arguments: dict[str, Any]
    rows: int
    key: Hashable
    """Calls with equal keys may be joined."""
    alone: bool = False
    """Whether the call can never be joined or padded, because the rows of an argument are unknown."""
    repeated: bool = False
    """Whether the call must be made although its result is cached, because the cached one is incomplete."""
    layered: bool = False
    """Whether lists in its output have an item for each layer, instead of each row."""
    stateful: bool = False
    """Whether an argument is of an unknown type, such as a cache that the module fills for the next calls."""
    scale: float = 1.0
    """By what its output is to be multiplied; not a part of the key."""

    def again(self, arguments: dict[str, Any], scale: float) -> Call:
        """Return a call with other arguments and an equal key. `dataclasses.replace` takes ten times as long."""
        return Call(self.name, arguments, self.rows, self.key, self.alone, False, self.layered, self.stateful, scale)

    @property
    def device(self) -> torch.device:
        """The device of the call's tensors."""
        return next(value.device for value in self.arguments.values() if isinstance(value, Tensor))

    def require_finite(self) -> None:
        """Raise FloatingPointError if a tensor of the call, such as latents to decode, is not finite."""
        tensors = [value for value in self.arguments.values() if isinstance(value, Tensor)]
        if not all(torch.isfinite(tensor).all() for tensor in tensors):
            raise FloatingPointError("the latents are not finite")


class CallBuilder:
    """Turns calls of one function into `Call`s, by the names of its parameters."""

    def __init__(self, name: str, function: Callable[..., Any], kind: CallKind) -> None:
        """Calls may have tensors without rows in common, such as positions, but for those of a text encoder."""
        self.name = name
        self._kind = kind
        self._marks = ALONE_IF_ENCODER if kind is CallKind.ENCODE else ALONE
        self._scales_last = isinstance(getattr(function, "__self__", None), SCALED_LAST)
        self._signature = inspect.signature(function)
        self._masks = [(name, mask) for name, mask in MASKS.items() if mask in self._signature.parameters]
        parameters = self._signature.parameters.values()
        # Binding by hand takes a tenth of the time of `Signature.bind`, but knows no `*args`.
        self._positional = None if any(p.kind is p.VAR_POSITIONAL for p in parameters) else [p.name for p in parameters]

    def call(self, args: Sequence[Any], kwargs: Mapping[str, Any], memory: CallMemory) -> Call:
        """Return the pipeline's call with its key. Raises TypeError for a call without a tensor or list."""
        arguments = self._bind(args, kwargs)
        for name, mask in self._masks:
            if arguments.get(name) is not None and not _is_alone(arguments, name, mask):
                _pad_text(arguments, name, mask)
        scale = take_scale(arguments) if self._scales_last else 1.0
        earlier = memory.earlier.get(self.name)
        if earlier is not None and earlier[1].matches(arguments):
            return earlier[0].again(arguments, scale)
        rows = next((length_of(value) for value in arguments.values() if isinstance(value, (Tensor, list))), None)
        if rows is None:
            raise TypeError(f"{self.name} is called without a tensor")
        parts = {name: _key_part(name, value, rows, memory) for name, value in arguments.items()}
        alone = any(_has_mark((name, part), mark) for name, part in parts.items() for mark in self._marks)
        stateful = any(part == CACHE or _has_mark((name, part), OBJECT) for name, part in parts.items())
        layered = self._kind is CallKind.CONTROL
        lengths = _item_shapes(arguments) if layered else ()
        key = (self.name, rows, *parts.items(), *lengths)
        call = Call(self.name, arguments, rows, key, alone, layered=layered, stateful=stateful, scale=scale)
        pattern = CallPattern.of_arguments(arguments, parts)
        if pattern is not None:
            memory.earlier[self.name] = dataclasses.replace(call, arguments={}), pattern
        return call

    def _bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        if self._positional is not None:
            given = dict(zip(self._positional, args, strict=False))
            given.update(kwargs)
            for name in IGNORED:
                given.pop(name, None)
            return given
        arguments = self._signature.bind(*args, **kwargs).arguments
        for name, parameter in self._signature.parameters.items():
            if parameter.kind is parameter.VAR_KEYWORD:
                arguments |= arguments.pop(name, {})
        return {name: value for name, value in arguments.items() if name not in IGNORED}


class CallMemory:
    """What is kept of an image's calls: digests of shared tensors, such as positions, which are the same at every step,
    and the last call of each function.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[Tensor, str]] = {}
        self.earlier: dict[str, tuple[Call, CallPattern]] = {}
        """The last call of each function, without its arguments: the next one mostly has the same key."""

    def of(self, tensor: Tensor) -> str:
        """Return the SHA-256 of a tensor's values."""
        known = self._known.get(id(tensor))
        if known is None:
            known = self._known[id(tensor)] = (tensor, _digest(tensor))
        return known[1]

    def identity(self, value: Any) -> tuple[Hashable, ...]:
        """Return an identity that distinguishes a value from any other. Known types are compared by content, all other
        objects by identity: two different objects, such as two key-value caches, may have the same `repr`.

        The caller must keep the value alive while it uses the identity.
        """
        if value is None or isinstance(value, PLAIN):
            return type(value).__name__, value
        if isinstance(value, Tensor):
            return "tensor", tuple(value.shape), str(value.dtype), self.of(value)
        if isinstance(value, (list, tuple)):
            items = cast("Sequence[Any]", value)
            return type(items).__name__, tuple(self.identity(item) for item in items)
        if type(value) is dict:
            pairs = cast("dict[Any, Any]", value).items()
            return "dict", tuple((self.identity(key), self.identity(inner)) for key, inner in pairs)
        return OBJECT, id(value)


def content_digest(call: Call) -> str | None:
    """Return the SHA-256 of all arguments: calls with equal content have equal results. None if an argument cannot be
    compared by content.
    """
    identity = CallMemory().identity({name: call.arguments[name] for name in sorted(call.arguments)})
    return None if _has_mark(identity, OBJECT) else hashlib.sha256(f"{call.name} {identity!r}".encode()).hexdigest()


@functools.lru_cache(1024)
def _has_mark(identity: Hashable, mark: str) -> bool:
    """Whether a mark begins the identity or a part of it. Cached: an image makes calls of one key at each step."""
    if not isinstance(identity, tuple):
        return False
    parts = cast("tuple[Hashable, ...]", identity)
    return bool(parts) and (parts[0] == mark or any(_has_mark(part, mark) for part in parts))


def _digest(tensor: Tensor) -> str:
    raw: Any = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
    return hashlib.sha256(raw).hexdigest()


def _is_alone(arguments: Mapping[str, Any], name: str, mask: str) -> bool:
    """Whether a call with a text cannot be joined anyway, because another argument has rows of an unknown kind, such as
    which of the tokens stand for pictures. Then the text keeps its length, which that argument may depend on.
    """
    rows, known = arguments[name].shape[0], (name, mask, *TIMES)
    others = [value for other, value in arguments.items() if other not in known and other not in KNOWN_ROWS]
    return any(isinstance(other, Tensor) and other.ndim and other.shape[0] == rows for other in others)


def _pad_text(arguments: dict[str, Any], name: str, mask: str) -> None:
    text: Tensor = arguments[name]  # [rows, tokens, width]
    known: Tensor | None = arguments.get(mask)
    valid = torch.ones(text.shape[:2], dtype=torch.bool, device=text.device) if known is None else known.bool()
    missing = -text.shape[1] % TEXT_MULTIPLE
    arguments[name] = F.pad(text, (0, 0, 0, missing))
    arguments[mask] = F.pad(valid, (0, missing))


def _key_part(name: str, value: Any, rows: int, memory: CallMemory) -> Hashable:
    if name in LAYERED:
        return layers_key(value, rows, memory.identity)
    if isinstance(value, Tensor):
        return _tensor_key_part(name, value, rows, memory)
    if is_list(value) and len(value) == rows:
        return ("list", *(_item(item, memory) if name in PER_ROW else memory.identity(item) for item in value))
    if type(value) is dict:
        named = cast("dict[str, Any]", value)
        return tuple((key, _key_part(key, inner, rows, memory)) for key, inner in sorted(named.items()))
    return CACHE if is_cache(value) else ("same", memory.identity(value))


def _tensor_key_part(name: str, value: Tensor, rows: int, memory: CallMemory) -> Hashable:
    if name in TIMES and value.ndim <= 1:
        return "time"
    dimension = dimension_of_rows(name, value, rows)
    if dimension is None:
        return "shared", tuple(value.shape), str(value.dtype), memory.of(value)
    if dimension or name in PER_ROW:
        return "rows", value.shape[:dimension] + value.shape[dimension + 1 :], value.dtype
    return ("equal", *memory.identity(value)) if name in POSITIONS | LAYOUTS else (APART, name)


def _item(item: Any, memory: CallMemory) -> Hashable:
    """The key part of a list item. Modules that take a list accept items of different lengths."""
    return (item.ndim, str(item.dtype)) if isinstance(item, Tensor) else memory.identity(item)


def _item_shapes(arguments: Mapping[str, Any]) -> list[Hashable]:
    """The shapes of all items of lists: a control network pads texts to the longest one of its call, and the denoiser
    to that of another call, after each was padded to a multiple.
    """
    items = [item for value in arguments.values() if is_list(value) for item in value if isinstance(item, Tensor)]
    return [(-(-item.shape[0] // LIST_MULTIPLE), *item.shape[1:]) for item in items]


def length_of(value: Any) -> int:
    """The length of a tensor or list; `len` takes much longer for a tensor."""
    return int(value.shape[0]) if isinstance(value, Tensor) else len(value)
