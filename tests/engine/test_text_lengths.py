"""A prompt that is longer than the text encoders read is drawn in part, and its picture says how much was read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import pytest
from tests.engine.pipeline_jobs import card_of, folder, job_of, run

from limner_shared.settings import Settings
from limner_worker.generators.diffusers.text_lengths import ReadTexts
from limner_worker.generators.registry import load
from limner_worker.stages.picture_files import receipt_of

__all__ = ["folder"]
SHORT, LONG, LONGER = "a red cat", "a red cat and a blue dog", "a red cat and a blue dog under the old green tree"


@pytest.mark.parametrize(
    ("family", "read"),
    [
        ("stable_diffusion", {SHORT: None, LONG: "a red cat and a blu", LONGER: "a red cat and a blu"}),
        ("stable_diffusion_xl", {LONG: "a red cat and a blu"}),
        ("stable_diffusion_3", {LONG: None, LONGER: "a red cat and a blue dog under"}),
        ("qwen_image", {LONGER: None}),
    ],
)
def test_a_picture_says_how_much_of_its_prompt_was_read(family: str, read: dict[str, str | None], folder: Path) -> None:
    """Each letter is a token: CLIP reads 16 with its marks, T5 the 32 of the card; of others no limit is known."""
    card = card_of(family, folder)
    generator: Any = load(card, Settings(device="cpu"))
    jobs = [job_of(card, f"{n}", {"prompt": prompt, "seed": n, "steps": 1}) for n, prompt in enumerate(read)]
    assert run(generator, jobs) == {}
    expected = [None if text is None else len(text) for text in read.values()]
    assert [receipt_of(job.rows[0]).get("read_chars") for job in jobs] == expected


def test_a_tokenizer_without_an_encoder_reads_nothing(folder: Path) -> None:
    """Such as T5's in Stable Diffusion 3 that is loaded without that encoder."""
    card = card_of("stable_diffusion_3", folder)
    kind: Any = diffusers.StableDiffusion3Pipeline
    pipe = kind.from_pretrained(card.source.folder, text_encoder_3=None)
    assert ReadTexts(pipe, {"max_sequence_length": 32}).read_chars(LONG) == len("a red cat and a blu")


def test_weights_of_words_do_not_count(folder: Path) -> None:
    card = card_of("stable_diffusion", folder).model_copy(update={"prompt_weights": True})
    generator: Any = load(card, Settings(device="cpu"))
    tasks = [
        job_of(card, prompt, {"prompt": prompt, "steps": 1}).rows[0].task
        for prompt in ("a (red:1.2) (cat:1.3)", f"(a:0.9) {LONG[2:]}")
    ]
    for state in generator.start(tasks):
        state.close()
    assert [task.read_chars for task in tasks] == [None, len("a red cat and a blu")]
