"""Weights of words in prompts, for pipelines whose text encoders are CLIP's: Stable Diffusion and SDXL, also with
control networks.

The embedding of each token is multiplied by its weight, and the whole is brought back to its length before. The texts
are encoded without weights, so that they are cached and batched with those of other requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from inspect import signature
from typing import Any, Final, cast

import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline
from torch import Tensor

from limner_shared.domain.cards import ModelCard
from limner_shared.domain.jobs import JobSpec
from limner_shared.domain.prompt_weights import WeightedText, follows_weights, parts, plain
from limner_worker.generators.diffusers.calls.encoded_prompts import METHOD
from limner_worker.generators.diffusers.text_lengths import TEXT_ENCODER

FAMILIES: Final = ("stable_diffusion", "stable_diffusion_xl")
"""Packages of diffusers whose pipelines return the embeddings of the prompt and of the negative prompt first, with a
row for each token of the first tokenizer."""
MODELS: Final[tuple[Any, ...]] = (StableDiffusionPipeline, StableDiffusionXLPipeline)
"""Pipelines whose `encode_prompt` those of other packages copy, with the same arguments and results."""
CLIP: Final = "CLIPText"
"""How the names of the classes of CLIP's text encoders begin."""
TEXTS: Final = ("prompt", "negative_prompt")
WEIGHTS: Final = "word_weights"
"""What the pipeline of an image is given: results of encoding are cached by all that it holds."""


def check_weights(pipeline: Any, card: ModelCard) -> None:
    """Raise ValueError if the card promises weights that the pipeline cannot follow."""
    if card.prompt_weights and not _is_of_family(pipeline):
        known = "only pipelines of Stable Diffusion and SDXL, whose text encoders are CLIP, can weigh words of prompts"
        raise ValueError(f"{known}: set prompt_weights = false")


def weigh(card: ModelCard, spec: JobSpec, pipeline: Any, arguments: dict[str, Any]) -> None:
    """Let an image's own pipeline follow the weights in its prompts, and change `arguments` to the plain texts."""
    if not (card.prompt_weights and follows_weights(spec)):
        return
    arguments |= {name: plain(arguments[name]) for name in TEXTS if isinstance(arguments.get(name), str)}
    weighted = tuple(tuple(parts(text)) for text in (spec.prompt, spec.negative_prompt))
    encode = partial(_encoded, getattr(pipeline, METHOD), pipeline.tokenizer, weighted)
    vars(pipeline)[WEIGHTS] = weighted
    vars(pipeline)[METHOD] = encode


def _is_of_family(pipeline: Any) -> bool:
    kind = cast("type[object]", type(pipeline))
    if not hasattr(kind, METHOD) or getattr(pipeline, "tokenizer", None) is None:
        return False
    module = kind.__module__.split(".")
    return (module[:2] == ["diffusers", "pipelines"] and module[2] in FAMILIES) or _encodes_alike(pipeline)


def _encodes_alike(pipeline: Any) -> bool:
    """Whether a pipeline of another package encodes texts as Stable Diffusion or SDXL does, such as a ControlNet's."""
    taken, *known = (list(signature(kind.encode_prompt).parameters) for kind in (pipeline.__class__, *MODELS))
    encoders = [each for name, each in pipeline.components.items() if name.startswith(TEXT_ENCODER)]
    return taken in known and all(type(each).__name__.startswith(CLIP) for each in encoders)


def _encoded(encode: Any, tokenizer: Any, texts: Sequence[Sequence[WeightedText]], *args: Any, **kwargs: Any) -> Any:
    """Return what the pipeline's own `encode_prompt` returns, with the embeddings of weighted words scaled."""
    found = encode(*args, **kwargs)
    pairs = zip(found, texts, strict=False)  # pooled embeddings follow, and stay as they are
    scaled = [
        None if each is None else _scaled(each, _of_tokens(tokenizer, text, each.shape[1])) for each, text in pairs
    ]
    return (*scaled, *found[len(scaled) :])


def _of_tokens(tokenizer: Any, text: Sequence[WeightedText], tokens: int) -> list[float]:
    """Return a weight for each of the tokens of a text, of which the first and what follows the text are marks."""
    weights, read = [1.0], ""
    for part in text:
        if len(weights) >= tokens:
            break
        read += part.text
        ends = 1 + len(tokenizer(read, add_special_tokens=False).input_ids)
        weights += [part.weight] * (ends - len(weights))
    return [*weights[: tokens - 1], *[1.0] * max(1, tokens - len(weights))]


def _scaled(embeddings: Tensor, weights: Sequence[float]) -> Tensor:
    """Return embeddings [B, tokens, width] times the weights of the tokens, with the length that they had."""
    if all(weight == 1 for weight in weights):
        return embeddings
    factors = torch.tensor(weights, dtype=torch.float32, device=embeddings.device)[None, :, None]
    exact = embeddings.float()
    scaled = exact * factors
    length = exact.square().sum() / scaled.square().sum()
    return (scaled * length.sqrt()).to(embeddings.dtype)
