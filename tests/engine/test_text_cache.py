"""The cache of encoded texts holds what pipelines read of them, and images of all tasks draw the same with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from tests.engine.pipeline_jobs import card_of, finish, folder, job_of

from limner_shared.settings import Settings
from limner_worker.generators.nested_tensors import size_in_bytes
from limner_worker.generators.registry import load

__all__ = ["folder"]


def test_of_a_text_encoders_output_only_what_the_pipeline_reads_is_cached(folder: Path) -> None:
    card = card_of("qwen_image", folder)
    generator: Any = load(card, Settings(device="cpu"))
    complete: list[int] = []
    encode = generator._functions["text_encoder.forward"]

    def measured(**given: Any) -> Any:
        output = encode(**given)
        complete.append(size_in_bytes(output))
        return output

    generator._functions["text_encoder.forward"] = measured
    first, second = (job_of(card, name, {"prompt": "a cat", "seed": 1}).rows[0].task for name in "ab")
    [expected] = finish(generator, generator.start([first]))
    [entry, *_] = generator._texts._cache.find(
        "text_encoder.forward", list(generator._texts._cache._known._known)
    ).values()
    assert 0 < size_in_bytes(entry) < complete[0] / card.text_batch / 4
    calls = len(complete)
    [found] = finish(generator, generator.start([second]))
    assert len(complete) == calls, "the cached text was not used"
    assert np.array_equal(found, expected)
