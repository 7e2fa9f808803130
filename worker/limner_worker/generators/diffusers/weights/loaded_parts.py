"""Whether all of a pipeline has been read. diffusers and transformers go on without it: with weights of their own where
some are missing, and with a tokenizer that knows no words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from torch import nn
from transformers.modeling_utils import PreTrainedModel

from limner_worker.generators.model_errors import DamagedWeights

READ: Final = "_is_hf_initialized"
"""What transformers sets in each parameter that it has read."""
UNUSED: Final = "lm_head"
"""The last layer of a language model, which no pipeline needs of a text encoder."""
TOKENIZER: Final = "tokenizer"
WORDS: Final = ("a", "b")
"""Texts that every vocabulary tells apart."""
SHOWN: Final = 3


def require_complete(parts: Mapping[str, Any]) -> None:
    """Raise DamagedWeights if a part of a pipeline, by its name, lacks weights or the vocabulary of its tokenizer."""
    for name, part in parts.items():
        if isinstance(part, nn.Module):
            if missing := _not_read(part):
                some = ", ".join(missing[:SHOWN]) + (f" and {len(missing) - SHOWN} more" if missing[SHOWN:] else "")
                raise DamagedWeights(f"{name}: its files have no weights for {some}: copy or download it again.")
        elif not _tells_words_apart(part if name.startswith(TOKENIZER) else getattr(part, TOKENIZER, None)):
            raise DamagedWeights(f"{name} knows no words: its files are missing or damaged: copy or download it again.")


def _not_read(module: nn.Module) -> list[str]:
    """The names of the parameters that were not in the files."""
    named = dict(module.named_parameters())
    missing = [name for name, parameter in named.items() if parameter.is_meta]
    # What is quantized has parameters of other types, which do not say it.
    if not missing and isinstance(module, PreTrainedModel) and getattr(module, "hf_quantizer", None) is None:
        read = {name for name, parameter in named.items() if getattr(parameter, READ, False)}
        missing = [name for name in named if name not in read and UNUSED not in name] if read else []
    return missing


def _tells_words_apart(tokenizer: Any) -> bool:
    if tokenizer is None:
        return True
    try:
        first, other = (tokenizer(word, add_special_tokens=False).input_ids for word in WORDS)
    except Exception:  # noqa: BLE001 - one that is called in another way proves nothing; the pipeline is tried as well
        return True
    return bool(first != other)
